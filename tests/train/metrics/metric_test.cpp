#include "espalier/train/metrics/metric.hpp"

#include "espalier/train/metrics/accuracy.hpp"
#include "espalier/train/metrics/f1.hpp"
#include "support/catch.hpp"

using namespace espalier;

namespace {

/// A metric of one's own.
struct Rows {
  static constexpr std::string_view name = "rows";
  static constexpr bool higher_is_better = false;
  Index rows = 0;
  void add(const Scored& batch) { rows += batch.rows; }
  double value() const { return static_cast<double>(rows); }
  void reset() { rows = 0; }
};
struct NoValue {
  static constexpr std::string_view name = "none";
  static constexpr bool higher_is_better = false;
  void add(const Scored&) {}
  void reset() {}
};
static_assert(Metric<Rows> && Metric<metrics::Accuracy> && Metric<metrics::F1>);
static_assert(!Metric<NoValue> && !Metric<int>);

Scored rows(Index n) { return scored(Tensor<double>::zeros({n, 1}), Tensor<double>::zeros({n}), "a"); }

}  // namespace

TEST_CASE("an AnyMetric is the metric it holds", "[fast]") {
  AnyMetric metric = Rows{};
  CHECK(metric.name() == "rows");
  CHECK_FALSE(metric.higher_is_better());
  metric.add(rows(3));
  metric.add(rows(4));
  CHECK(metric.value() == 7);
  REQUIRE(metric.as<Rows>() != nullptr);
  CHECK(metric.as<Rows>()->rows == 7);
  CHECK(metric.as<metrics::Accuracy>() == nullptr);
  metric.reset();
  CHECK(metric.value() == 0);
  metric = metrics::F1{.average = metrics::Average::micro};
  CHECK(metric.name() == "f1_micro");
  CHECK(metric.higher_is_better());
}

TEST_CASE("a copy of an AnyMetric is a value of its own", "[fast]") {
  AnyMetric one = Rows{};
  one.add(rows(1));
  AnyMetric two = one;
  two.add(rows(5));
  CHECK(one.value() == 1);
  CHECK(two.value() == 6);
  one = two;
  two.reset();
  CHECK(one.value() == 6);
}
