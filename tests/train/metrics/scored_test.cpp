#include "espalier/train/metrics/scored.hpp"

#include "espalier/autograd/node.hpp"
#include "support/catch.hpp"

using namespace espalier;

namespace {

const double hole = std::numeric_limits<double>::quiet_NaN();
using Doubles = std::vector<double>;

Tensor<double> zeros(const Shape& shape) { return Tensor<double>::zeros(shape); }
std::string error_of(const Tensor<double>& prediction, const Target<double>& target) {
  try {
    scored(prediction, target, "ink");
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("values: labelled rows alone, elements without weight as 0", "[fast]") {
  const Tensor<double> y({3, 2}, {1, 2, hole, hole, 5, hole}), t({3, 2}, {10, 20, hole, hole, 50, hole});
  const Scored all = scored(y, {t, Tensor<double>({3, 2}, {1, 2, 0, 0, 3, 0})}, "ink");
  CHECK(all.task == "ink");
  CHECK(all.rows == 2);
  CHECK(all.width == 2);
  CHECK_FALSE(all.of_classes);
  CHECK(all.prediction == Doubles{1, 2, 5, 0});
  CHECK(all.value == Doubles{10, 20, 50, 0});
  CHECK(all.weight == Doubles{1, 2, 3, 0});
  CHECK(all.classes.empty());
  const Scored sample = scored(y, {t, Tensor<double>({3}, {0.5, 0, 0})}, "ink");
  CHECK(sample.rows == 1);
  CHECK(sample.prediction == Doubles{1, 2});
  CHECK(sample.weight == Doubles{0.5, 0.5});
}

TEST_CASE("classes: one label and one weight per row", "[fast]") {
  const Tensor<double> y({3, 2}, {1, 2, hole, hole, 5, 6});
  for (const Shape& shape : {Shape{3}, Shape{3, 1}}) {
    const Scored s = scored(y, {Tensor<Index>(shape, {1, -7, 0}), Tensor<bool>({3}, {true, false, true})}, "ink");
    CHECK(s.of_classes);
    CHECK(s.rows == 2);
    CHECK(s.prediction == Doubles{1, 2, 5, 6});
    CHECK(s.classes == std::vector<Index>{1, 0});
    CHECK(s.weight == Doubles{1, 1});
    CHECK(s.value.empty());
  }
}

TEST_CASE("classes 0 and 1, one per logit, are binary values", "[fast]") {
  const Scored one = scored(Tensor<double>({3, 1}, {1, 2, 3}), Tensor<Index>({3}, {1, 0, 1}), "ink");
  CHECK_FALSE(one.of_classes);
  CHECK(one.value == Doubles{1, 0, 1});
  const Target<double> two(Tensor<Index>({2, 2}, {1, 0, 9, 1}), Tensor<double>({2, 2}, {1, 1, 0, 1}));
  const Scored several = scored(zeros({2, 2}), two, "ink");
  CHECK_FALSE(several.of_classes);
  CHECK(several.value == Doubles{1, 0, 0, 1});
}

TEST_CASE("predictions and targets of any rank, the batch first", "[fast]") {
  const Tensor<double> t({4}, {1, 2, 3, 4});
  CHECK(scored(zeros({4, 1}), t, "ink").value == Doubles{1, 2, 3, 4});
  CHECK(scored(zeros({4}), t, "ink").width == 1);
  CHECK(scored(zeros({4}), Tensor<double>({4, 1}, {1, 2, 3, 4}), "ink").value == Doubles{1, 2, 3, 4});
  const Scored wide = scored(zeros({1, 2, 2}), Tensor<double>({1, 2, 2}, {1, 2, 3, 4}), "ink");
  CHECK(wide.rows == 1);
  CHECK(wide.width == 4);
  CHECK(wide.value == Doubles{1, 2, 3, 4});
  CHECK(scored(zeros({0, 3}), Tensor<Index>({0}, {}), "ink").rows == 0);
  CHECK(scored(zeros({0, 3}), zeros({0, 3}), "ink").rows == 0);
  CHECK(scored(Tensor<float>::ones({2, 1}), Tensor<float>({2}, {0.5F, 0.25F}), "ink").value == Doubles{0.5, 0.25});
}

TEST_CASE("what does not fit is refused by the task's name", "[fast]") {
  const Tensor<Index> c({3}, {0, 1, 2});
  CHECK(error_of({}, zeros({3})) == "metrics: task 'ink': the prediction is undefined");
  CHECK(error_of(zeros({3}), {}) == "metrics: task 'ink': the target is undefined");
  CHECK(error_of(zeros({}), zeros({3})) == "metrics: task 'ink': the prediction is []; it must be [batch, ...]");
  CHECK(error_of(zeros({3, 2}), zeros({3})) ==
        "metrics: task 'ink': the target is [3], the prediction [3, 2]; the target must be [3, 2]");
  CHECK(error_of(zeros({3, 1}), zeros({2})) ==
        "metrics: task 'ink': the target is [2], the prediction [3, 1]; the target must be [3, 1] or [3]");
  CHECK(error_of(zeros({4, 5}), c) ==
        "metrics: task 'ink': the target is [3], the prediction [4, 5]; the target must be [4, 5] or [4]");
  CHECK(error_of(zeros({3, 2, 2}), c) ==
        "metrics: task 'ink': the prediction is [3, 2, 2]; for classes it must be [batch, classes]");
  CHECK(error_of(zeros({3, 3}), {c, zeros({3, 3})}) ==
        "metrics: task 'ink': the weight is [3, 3]; it must be [3], one per sample");
  CHECK(error_of(zeros({3, 2}), {zeros({3, 2}), zeros({2})}) ==
        "metrics: task 'ink': the weight is [2]; it must be [3], one per sample, or the target's shape");
  CHECK(error_of(zeros({3, 2}), c) == "metrics: task 'ink': sample 2 has class 2; classes must lie in [0, 1]");
  CHECK(error_of(zeros({3, 1}), c) == "metrics: task 'ink': sample 2 has class 2; it must be 0 or 1");
  CHECK(error_of(zeros({1, 3}), {Tensor<Index>({1}, {-1}), Tensor<double>({1}, {1})}) ==
        "metrics: task 'ink': sample 0 has class -1; classes must lie in [0, 2]");
  CHECK(error_of(zeros({2}), {zeros({2}), Tensor<double>({2}, {1, -1})}) ==
        "metrics: task 'ink': the weight of sample 1 is -1; weights are finite and not negative");
  CHECK(error_of(zeros({1}), {zeros({1}), Tensor<double>({1}, {hole})}) ==
        "metrics: task 'ink': the weight of sample 0 is nan; weights are finite and not negative");
  CHECK(error_of(zeros({1}), {zeros({1}), Tensor<double>({1}, {HUGE_VAL})}) ==
        "metrics: task 'ink': the weight of sample 0 is inf; weights are finite and not negative");
  CHECK(error_of(zeros({2}), Tensor<double>({2}, {1, hole})) ==
        "metrics: task 'ink': the value of sample 1 is nan; values are finite where the weight is above 0");
}

TEST_CASE("a Scored made by hand is checked", "[fast]") {
  const Scored good{.task = "ink", .rows = 2, .width = 1, .prediction = {1, 2}, .value = {3, 4}, .weight = {1, 1}};
  CHECK_NOTHROW(good.check("mse"));
  Scored bad = good;
  bad.weight.pop_back();
  REQUIRE_THROWS_WITH(
      bad.check("mse"),
      "mse: task 'ink': 2 predictions, 2 values, 1 weights for 2 rows of width 1; a prediction belongs to every "
      "column, a label and a weight to every column");
  bad = good;
  bad.rows = -2;
  bad.width = -1;
  CHECK_THROWS_AS(bad.check("mse"), Error);
  bad = good;
  bad.of_classes = true;
  REQUIRE_THROWS_WITH(
      bad.check("accuracy"),
      "accuracy: task 'ink': 2 predictions, 0 classes, 2 weights for 2 rows of width 1; a prediction belongs to "
      "every column, a label and a weight to every row");
  bad.value.clear();
  bad.classes = {0, 1};
  REQUIRE_THROWS_WITH(bad.check("accuracy"), "accuracy: task 'ink': row 1 has class 1; classes must lie in [0, 0]");
}

TEST_CASE("a metric sees batches of one kind", "[fast]") {
  detail::BatchKind kind;
  const auto admits = [&](const Scored& batch, detail::Values values) {
    return kind.admits("accuracy", batch, values);
  };
  const Scored two = scored(zeros({1, 2}), zeros({1, 2}), "ink"),
               classes = scored(zeros({1, 2}), Tensor<Index>({1}, {1}), "ink");
  CHECK_FALSE(admits(scored(zeros({0, 3}), zeros({0, 3}), "ink"), detail::Values::numbers));
  CHECK(admits(two, detail::Values::probabilities));
  REQUIRE_THROWS_WITH(
      admits(classes, detail::Values::probabilities),
      "accuracy: task 'ink': a batch of 2 classes after one of 2 values; all batches are alike; reset() "
      "comes before another task");
  REQUIRE_THROWS_WITH(admits(scored(zeros({1}), zeros({1}), "ink"), detail::Values::probabilities),
                      "accuracy: task 'ink': a batch of 1 values after one of 2 values; all batches are alike; reset() "
                      "comes before another task");
  REQUIRE_THROWS_WITH(
      admits(classes, detail::Values::numbers),
      "accuracy: task 'ink' has classes; this metric compares values; use accuracy, f1, auroc or log_loss");
  REQUIRE_THROWS_WITH(admits(scored(zeros({1}), Tensor<double>({1}, {1.5}), "ink"), detail::Values::probabilities),
                      "accuracy: task 'ink' has a target of 1.5; binary targets lie in [0, 1]; use rmse, mae or r2 for "
                      "other values");
  CHECK(admits(two, detail::Values::numbers));  // a batch that was refused leaves no trace
}

TEST_CASE("ordered classes are one more than the columns, and have metrics of their own", "[fast]") {
  const Tensor<double> y({3, 2}, {1, -2, -3, -4, 5, 6});
  const Scored s = scored(y, Tensor<Index>({3}, {1, 0, 2}), "ink", {.ordered = true});
  CHECK(s.of_classes);
  CHECK(s.ordered);
  CHECK(s.count() == 3);
  for (Index i = 0; i < 3; ++i) CHECK(detail::decision(s, i) == s.classes[static_cast<std::size_t>(i)]);
  CHECK_THROWS_WITH(scored(y, Tensor<Index>({3}, {1, 0, 3}), "ink", {.ordered = true}),
                    "metrics: task 'ink': sample 2 has class 3; classes must lie in [0, 2]");
  CHECK_THROWS_WITH(scored(y, Tensor<Index>({4}, {1, 0, 2, 0}), "ink", {.ordered = true}),
                    "metrics: task 'ink': the target is [4], the prediction [3, 2]; the target must be [3, 1] or [3]");
  detail::BatchKind kind;
  CHECK_THROWS_WITH(kind.admits("f1", s, detail::Values::probabilities),
                    "f1: task 'ink' has ordered classes; use ordinal_mae, quadratic_kappa or accuracy");
  CHECK_THROWS_WITH(kind.admits("quadratic_kappa", scored(y, y, "ink"), detail::Values::classes),
                    "quadratic_kappa: task 'ink' has values; this metric compares classes, one per row");
}
