#include "espalier/multitask/weighting/uncertainty.hpp"

#include "espalier/multitask/combiner.hpp"
#include "support/catch.hpp"
#include "support/golden.hpp"

using namespace espalier;

namespace {

using Numbers = std::vector<double>;

template <class Weighting>
Numbers weights_of(Weighting& weighting, const Numbers& losses, const StepInfo& info = {}) {
  Numbers out(losses.size(), -1);
  weighting.weights(std::span<const double>(losses), info, std::span<double>(out));
  return out;
}

/// Writes numbers into an object's fields, or reads them.
class NumberVisitor final : public Visitor {
 public:
  std::vector<std::pair<std::string, double>> seen;
  bool write = false;

 private:
  void tensor(Tensor<float>&) override {}
  void tensor(Tensor<double>&) override {}
  void tensor(Tensor<Index>&) override {}
  void tensor(Tensor<bool>&) override {}
  void number(double& field) override {
    if (!write) return seen.push_back({path(), field});
    for (const auto& [name, value] : seen)
      if (name == path()) field = value;
  }
};

}  // namespace

TEST_CASE("Sum and FixedWeights", "[fast]") {
  Sum sum;
  CHECK(weights_of(sum, {3, 4, 5}) == Numbers{1, 1, 1});
  FixedWeights fixed({0.5, 0, 2});
  CHECK(weights_of(fixed, {3, 4, 5}) == Numbers{0.5, 0, 2});
  const Index active[] = {0, 2};
  CHECK(weights_of(fixed, {3, 5}, {.active = active}) == Numbers{0.5, 2});
  const Index beyond[] = {1, 3};
  CHECK_THROWS_WITH(weights_of(fixed, {3, 5}, {.active = beyond}),
                    "FixedWeights: 3 weights for at least 4 tasks; give one per task");
  CHECK_THROWS_WITH(FixedWeights({1, -2}), "FixedWeights: weight 1 is -2; weights are finite and not negative");
  CHECK_THROWS_WITH(FixedWeights({NAN}), "FixedWeights: weight 0 is nan; weights are finite and not negative");
  CHECK_THROWS_WITH(FixedWeights({1, 1, HUGE_VAL}),
                    "FixedWeights: weight 2 is inf; weights are finite and not negative");
}

TEST_CASE("uncertainty weighting has the published weights and slopes", "[fast]") {
  const Golden file("weighting.txt");
  for (const std::string name : {"uncertainty_start", "uncertainty"}) {
    const auto &s = file[name + ".s"].values, &losses = file[name + ".losses"].values;
    const auto &slopes = file[name + ".grad.s"].values, &weights = file[name + ".grad.losses"].values;
    for (std::size_t k = 0; k < s.size(); ++k) {
      INFO(name << " task " << k);
      UncertaintyWeighting method{{.lr = 0.1, .initial = s[k]}};
      CHECK(weights_of(method, {losses[k]})[0] == Approx(weights[k]).epsilon(1e-14));
      // Adam's first update is lr times the slope's sign, up to eps.
      const double step = 0.1 * slopes[k] / (std::abs(slopes[k]) + 1e-8);
      CHECK(method.log_variances()[0] == Approx(s[k] - step).epsilon(1e-12));
    }
  }
}

TEST_CASE("uncertainty weighting settles where e^s is the loss", "[fast]") {
  const Golden file("weighting.txt");
  const auto& losses = file["uncertainty.losses"].values;
  UncertaintyWeighting method{{.lr = 0.01}};
  for (int step = 0; step < 3000; ++step) weights_of(method, losses);
  for (std::size_t k = 0; k < losses.size(); ++k)
    CHECK(std::exp(method.log_variances()[k]) == Approx(losses[k]).epsilon(1e-3));
}

TEST_CASE("a loss of 0 or a huge one keeps the log variances within their limit", "[fast]") {
  UncertaintyWeighting method{{.lr = 1, .limit = 5}};
  for (int step = 0; step < 100; ++step) weights_of(method, {0, 1e30});
  CHECK(method.log_variances()[0] == -5);
  CHECK(method.log_variances()[1] == 5);
  CHECK(weights_of(method, {0, 1e30})[0] == Approx(0.5 * std::exp(5)));
}

TEST_CASE("a task absent from a step keeps its state", "[fast]") {
  UncertaintyWeighting both, alone;
  const std::vector<std::string> names{"a", "b"};
  const Index second[] = {1};
  for (int step = 0; step < 5; ++step) {
    weights_of(both, {2, 3}, {.names = names});
    weights_of(alone, {2}, {});
    weights_of(both, {7}, {.names = names, .active = second});
  }
  CHECK(both.log_variances()[0] == alone.log_variances()[0]);
  CHECK(both.log_variances()[1] != alone.log_variances()[0]);
}

TEST_CASE("state resumes by fields", "[fast]") {
  Combiner whole = UncertaintyWeighting{}, resumed = UncertaintyWeighting{};
  whole.prepare(2);
  resumed.prepare(2);
  const auto step = [](Combiner& c, int i) {
    const Numbers losses{0.5 + 0.1 * i, 4.0 / (1 + i)};
    return weights_of(c, losses);
  };
  for (int i = 0; i < 10; ++i) step(whole, i);
  NumberVisitor visitor;
  walk(whole, visitor, "objective");
  CHECK(visitor.seen.size() == 8);
  CHECK(visitor.seen[0].first == "objective.log_variance.0");
  visitor.write = true;
  walk(resumed, visitor, "objective");
  for (int i = 10; i < 20; ++i) CHECK(step(resumed, i) == step(whole, i));
}
