#include "espalier/train/baseline.hpp"

#include <cmath>
#include <limits>

#include "espalier/train/evaluate.hpp"
#include "support/catch.hpp"

using namespace espalier;

namespace {

constexpr Index rows = 400;

/// A target of each kind, weighted; what has no weight is nonsense.
struct Sample {
  Targets<float> targets;
  Outputs<float> outputs{{"mse", Tensor<float>::zeros({rows, 2})},
                         {"mae", Tensor<float>::zeros({rows, 1})},
                         {"classes", Tensor<float>::zeros({rows, 3})},
                         {"binary", Tensor<float>::zeros({rows, 1})}};
  MultiObjective<float> objective{
      {{"mse", MSE{}}, {"mae", MAE{}}, {"classes", CrossEntropy{}}, {"binary", BCEWithLogits{}}}};
  Inputs<float> inputs{{"x", Tensor<float>::zeros({rows, 1})}};

  explicit Sample(Rng rng) {
    constexpr float nan = std::numeric_limits<float>::quiet_NaN();
    Tensor<float> weight = Tensor<float>::uniform({rows}, 0, 1, rng), wide = Tensor<float>::normal({rows, 2}, rng),
                  skewed = exp(Tensor<float>::normal({rows, 1}, rng)),
                  binary = Tensor<float>::uniform({rows, 1}, 0, 1, rng);
    Tensor<Index> classes = Tensor<Index>::zeros({rows});
    for (Index r = 0; r < rows; ++r) {
      classes.raw()[r] = binary(r, 0) < 0.2F ? 2 : binary(r, 0) < 0.4F ? 1 : 0;
      binary.raw()[r] = binary(r, 0) < 0.3F;
      if (r % 4 != 0) continue;
      weight.raw()[r] = 0;
      wide.raw()[2 * r] = wide.raw()[2 * r + 1] = skewed.raw()[r] = binary.raw()[r] = nan;
      classes.raw()[r] = 1000;
    }
    targets = {{"mse", {wide, weight}},
               {"mae", {skewed, weight}},
               {"classes", {classes, weight}},
               {"binary", {binary, weight}}};
  }
};

}  // namespace

TEST_CASE("no other constant has less loss", "[fast]") {
  for (std::uint64_t seed : {1U, 2U, 3U}) {
    const Sample l{Rng(seed)};
    const Baseline baseline(l.objective, l.outputs, l.targets);
    const auto least = l.objective(baseline(l.inputs), l.targets);
    for (const auto& [task, constant] : baseline.constants())
      for (Index c = 0; c < constant.size(); ++c)
        for (const float off : {-0.5F, -0.1F, 0.1F, 0.5F}) {
          NamedList<Tensor<float>> moved;
          for (const auto& [name, row] : baseline.constants()) {
            Tensor<float> other = row.clone();
            if (name == task) other.mutate()[static_cast<std::size_t>(c)] += off;
            moved.add(name, expand_to(other, Shape{rows, row.size()}));
          }
          CAPTURE(task, c, off);
          CHECK(l.objective(Outputs<float>(moved), l.targets)[task] > least[task]);
        }
  }
}

TEST_CASE("the constants by hand", "[fast]") {
  const Outputs<double> outputs{{"mean", Tensor<double>::zeros({4, 1})},
                                {"median", Tensor<double>::zeros({4, 1})},
                                {"class", Tensor<double>::zeros({4, 3})},
                                {"none", Tensor<double>::zeros({4, 1})}};
  const MultiObjective<double> objective{
      {{"class", CrossEntropy{}}, {"median", MAE{}}, {"mean", MSE{}}, {"none", MSE{}}}};
  const Tensor<double> x({4}, {1, 2, 3, 100}), weight({4}, {1, 1, 2, 0});
  const Baseline<double> baseline(objective, outputs,
                                  {{"mean", {x, weight}},
                                   {"median", {x, Tensor<double>({4}, {1, 1, 1, 4})}},
                                   {"class", {Tensor<Index>({4}, {2, 0, 2, 1}), weight}},
                                   {"none", {x, Tensor<double>::zeros({4})}}});
  CHECK(baseline.constants().names() == "class, median, mean, none");
  CHECK(baseline.constants()["mean"](0, 0) == 2.25);
  CHECK(baseline.constants()["median"](0, 0) == 100);
  CHECK(baseline.constants()["none"](0, 0) == 0);
  const Tensor<double>& logits = baseline.constants()["class"];
  CHECK(logits(0, 2) == std::log(3.5));
  CHECK(logits(0, 0) == std::log(1.5));
  CHECK(logits(0, 1) == std::log(0.5));  // behind a weight of 0
}

TEST_CASE("a baseline is evaluated as any model is", "[fast]") {
  const Sample l{Rng(4)};
  const Baseline baseline(l.objective, l.outputs, l.targets);
  const Evaluation found = evaluate(baseline, l.objective, Dataset<float>(l.inputs, l.targets));
  CHECK(std::abs(found("mse", "r2")) < 0.05);  // its mean is weighted, as the measure is
  CHECK(found("classes", "accuracy") > 0.5);
  CHECK(found("binary", "auroc") == 0.5);
}

TEST_CASE("what has no best constant is refused", "[fast]") {
  Sample l{Rng(5)};
  const MultiObjective<float> custom{{{"mse", [](const Tensor<float>& y, const Target<float>&) { return mean(y); }}}};
  CHECK_THROWS_WITH(
      Baseline(custom, l.outputs, l.targets),
      "Baseline: task 'mse' has a loss of its own; the best constant is known for mse, mae, cross_entropy and "
      "bce_with_logits");
  CHECK_THROWS_WITH(Baseline(l.objective, Outputs<float>{{"mse", Tensor<float>::zeros({rows, 2})}}, l.targets),
                    "outputs: unknown task 'mae'; known: mse");
  CHECK_THROWS_WITH(Baseline(l.objective, l.outputs, Targets<float>{}), "targets: unknown target 'mse'; known: none");
  CHECK_THROWS_WITH(Baseline(l.objective, l.outputs, l.targets)(Inputs<float>{}),
                    "Baseline: no input is given; it says how many rows there are");
}
