#include "espalier/multitask/combiner.hpp"

#include "espalier/multitask/aggregator/upgrad.hpp"
#include "espalier/multitask/weighting/uncertainty.hpp"
#include "support/catch.hpp"

using namespace espalier;

namespace {

/// A weighting of one's own, with state.
struct Counting {
  static constexpr std::string_view name = "counting";
  double calls = 0;
  void weights(std::span<const double>, const StepInfo&, std::span<double> out) { std::ranges::fill(out, calls += 1); }
  void fields(auto&& visit) { visit("calls", calls); }
};

std::vector<double> weights_of(Combiner& combiner, std::vector<double> losses) {
  std::vector<double> out(losses.size());
  combiner.weights(std::span<const double>(losses), {}, out);
  return out;
}

}  // namespace

TEST_CASE("a Combiner is Sum until told otherwise", "[fast]") {
  Combiner combiner;
  CHECK(combiner.name() == "sum");
  CHECK_FALSE(combiner.aggregates());
  CHECK(weights_of(combiner, {4, 5}) == std::vector<double>{1, 1});
  CHECK(combiner.as<Sum>() != nullptr);
  CHECK(combiner.as<UPGrad>() == nullptr);
}

TEST_CASE("a Combiner holds weightings and aggregators", "[fast]") {
  Combiner combiner = FixedWeights({1, 2});
  CHECK(combiner.name() == "fixed_weights");
  combiner = UPGrad{};
  CHECK(combiner.name() == "upgrad");
  CHECK(combiner.aggregates());
  const double gramian[] = {1, -0.5, -0.5, 1};
  double out[2];
  CHECK(combiner.weights(GramianView{gramian, 2}, {}, out).status == Certificate::Status::exact);
  CHECK(out[0] == Approx(0.75));
  REQUIRE(combiner.as<UPGrad>() != nullptr);
  combiner.as<UPGrad>()->options.preference = {1, 0};
  combiner.weights(GramianView{gramian, 2}, {}, out);
  CHECK(out[0] == Approx(1));
  CHECK(out[1] == Approx(0.5));
}

TEST_CASE("a copy of a Combiner is a value of its own", "[fast]") {
  Combiner one = Counting{};
  weights_of(one, {0});
  Combiner two = one;
  CHECK(weights_of(one, {0})[0] == 2);
  CHECK(weights_of(one, {0})[0] == 3);
  CHECK(weights_of(two, {0})[0] == 2);
  two = one;
  CHECK(weights_of(two, {0})[0] == 4);
  CHECK(one.as<Counting>()->calls == 3);
}
