#include "espalier/train/metrics/accuracy.hpp"

#include "support/catch.hpp"

using namespace espalier;

namespace {

double of(const Scored& batch) {
  metrics::Accuracy accuracy;
  accuracy.add(batch);
  return accuracy.value();
}

}  // namespace

TEST_CASE("classes are right by their largest logit, the first of equal ones", "[fast]") {
  const Tensor<double> logits({4, 3}, {1, 3, 2, 5, 5, 0, -1, -1, -2, -HUGE_VAL, -HUGE_VAL, 0});
  CHECK(of(scored(logits, Tensor<Index>({4}, {1, 0, 0, 2}), "a")) == 1);
  CHECK(of(scored(logits, Tensor<Index>({4}, {1, 1, 1, 2}), "a")) == 0.5);
  CHECK(of(scored(logits, {Tensor<Index>({4}, {1, 1, 0, 0}), Tensor<double>({4}, {3, 1, 0, 0})}, "a")) == 0.75);
}

TEST_CASE("binary and multi-label targets are right element by element", "[fast]") {
  const Tensor<double> logits({2, 2}, {0.1, -0.1, 0, 7});
  CHECK(of(scored(logits, Tensor<double>({2, 2}, {1, 0, 0, 1}), "a")) == 1);
  CHECK(of(scored(logits, Tensor<double>({2, 2}, {1, 1, 0, 1}), "a")) == 0.75);
  CHECK(of(scored(logits, Tensor<Index>({2, 2}, {1, 1, 1, 1}), "a")) == 0.5);
  // Soft labels count as what they lean to.
  CHECK(of(scored(logits, Tensor<double>({2, 2}, {0.9, 0.1, 0.5, 0.51}), "a")) == 1);
}

TEST_CASE("accuracy of numbers is refused", "[fast]") {
  REQUIRE_THROWS_WITH(
      of(scored(Tensor<double>({1}, {1}), Tensor<double>({1}, {-3}), "ink")),
      "accuracy: task 'ink' has a target of -3; binary targets lie in [0, 1]; use rmse, mae or r2 for other "
      "values");
}
