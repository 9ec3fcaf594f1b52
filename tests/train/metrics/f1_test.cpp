#include "espalier/train/metrics/f1.hpp"

#include "support/catch.hpp"

using namespace espalier;
using metrics::Average;

namespace {

template <class M>
double of(const Scored& batch, Average average) {
  M metric{.average = average};
  metric.add(batch);
  return metric.value();
}
/// Predictions and classes, as rows of one-hot logits.
Scored classes(const std::vector<Index>& predicted, const std::vector<Index>& actual, Index width) {
  Scored s{.task = "a", .rows = static_cast<Index>(actual.size()), .width = width, .of_classes = true};
  for (const Index p : predicted)
    for (Index j = 0; j < width; ++j) s.prediction.push_back(j == p);
  s.classes = actual;
  s.weight.assign(actual.size(), 1);
  return s;
}

}  // namespace

TEST_CASE("scores by hand", "[fast]") {
  const Scored batch = classes({0, 0, 1, 2, 2, 2}, {0, 1, 1, 2, 2, 0}, 3);
  CHECK(of<metrics::Precision>(batch, Average::macro) == Approx((0.5 + 1 + 2.0 / 3) / 3).epsilon(1e-15));
  CHECK(of<metrics::Recall>(batch, Average::macro) == Approx((0.5 + 0.5 + 1) / 3).epsilon(1e-15));
  CHECK(of<metrics::F1>(batch, Average::macro) == Approx((0.5 + 2.0 / 3 + 0.8) / 3).epsilon(1e-15));
  for (const double score : {of<metrics::Precision>(batch, Average::micro), of<metrics::Recall>(batch, Average::micro),
                             of<metrics::F1>(batch, Average::micro), of<metrics::Recall>(batch, Average::weighted)})
    CHECK(score == Approx(4.0 / 6).epsilon(1e-15));
}

TEST_CASE("a class that is neither true nor predicted does not count", "[fast]") {
  CHECK(of<metrics::F1>(classes({0, 2}, {0, 2}, 5), Average::macro) == 1);
  CHECK(of<metrics::F1>(classes({0, 4}, {0, 2}, 5), Average::macro) == Approx(1.0 / 3));
}

TEST_CASE("a label column nobody has labelled does not count, one never true counts 0", "[fast]") {
  const Tensor<double> logits({2, 3}, {1, 1, 1, 1, -1, -1}), value({2, 3}, {1, 0, 1, 1, 0, 0});
  const Tensor<double> all = Tensor<double>::ones({2, 3}), two({2, 3}, {1, 0, 1, 1, 0, 1});
  CHECK(of<metrics::F1>(scored(logits, {value, all}, "a"), Average::macro) == Approx(2.0 / 3));
  CHECK(of<metrics::F1>(scored(logits, {value, two}, "a"), Average::macro) == 1);
}

TEST_CASE("nothing true and nothing predicted: 0, as scikit-learn has it", "[fast]") {
  const Scored none = scored(Tensor<double>({2, 2}, {-1, -1, -1, -1}), Tensor<double>::zeros({2, 2}), "a");
  for (const Average average : {Average::macro, Average::micro, Average::weighted})
    CHECK(of<metrics::F1>(none, average) == 0);
  CHECK(of<metrics::F1>(classes({0, 0}, {0, 0}, 2), Average::binary) == 0);
}

TEST_CASE("one logit is two classes", "[fast]") {
  const Scored logit = scored(Tensor<double>({4}, {1, -1, 1, -1}), Tensor<double>({4}, {1, 0, 0, 0}), "a");
  const Scored two = classes({1, 0, 1, 0}, {1, 0, 0, 0}, 2);
  for (const Average average : {Average::macro, Average::micro, Average::weighted, Average::binary}) {
    CHECK(of<metrics::F1>(logit, average) == of<metrics::F1>(two, average));
    CHECK(of<metrics::Precision>(logit, average) == of<metrics::Precision>(two, average));
    CHECK(of<metrics::Recall>(logit, average) == of<metrics::Recall>(two, average));
  }
}

TEST_CASE("names tell the average", "[fast]") {
  CHECK(metrics::F1{}.name() == "f1_macro");
  CHECK(metrics::F1{.average = Average::binary}.name() == "f1");
  CHECK(metrics::Precision{.average = Average::micro}.name() == "precision_micro");
  CHECK(metrics::Recall{.average = Average::weighted}.name() == "recall_weighted");
}

TEST_CASE("reset forgets the counts and keeps the average", "[fast]") {
  metrics::F1 f1{.average = Average::binary};
  f1.add(classes({1, 0}, {0, 1}, 2));
  CHECK(f1.value() == 0);
  f1.reset();
  CHECK(std::isnan(f1.value()));
  CHECK(f1.average == Average::binary);
  f1.add(classes({1, 0}, {1, 0}, 2));
  CHECK(f1.value() == 1);
}

TEST_CASE("binary is for two classes", "[fast]") {
  metrics::F1 f1{.average = Average::binary};
  REQUIRE_THROWS_WITH(
      f1.add(classes({0}, {1}, 4)),
      "f1: task 'a' has 4 classes; the average `binary` is for two classes; choose macro, micro or weighted");
  REQUIRE_THROWS_WITH(
      f1.add(scored(Tensor<double>::zeros({1, 2}), Tensor<double>::zeros({1, 2}), "a")),
      "f1: task 'a' has 2 labels; the average `binary` is for two classes; choose macro, micro or weighted");
}
