#pragma once
// Cases: the fixtures of golden/metrics.txt, all metrics by name, and rows of a batch in any order.

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "espalier/train/metrics.hpp"
#include "support/golden.hpp"

namespace espalier::support {

constexpr double hole = std::numeric_limits<double>::quiet_NaN();

/// |a - b| / (1 + |b|); 0 for two NaN, infinite where one alone is.
inline double apart(double a, double b) {
  if (a == b || (std::isnan(a) && std::isnan(b))) return 0;
  const double d = std::abs(a - b) / (1 + std::abs(b));
  return std::isnan(d) ? HUGE_VAL : d;
}

/// Every metric with every option.
inline std::vector<AnyMetric> all_metrics() {
  using metrics::Average;
  std::vector<AnyMetric> all{metrics::MSE{},      metrics::MAE{},        metrics::RMSE{},  metrics::R2{},
                             metrics::ARRMSE{},   metrics::Pinball{},    metrics::Accuracy{}, metrics::LogLoss{},
                             metrics::OrdinalMAE{}, metrics::QuadraticKappa{}, metrics::AUROC{}, metrics::AveragePrecision{}};
  for (const Average average : {Average::macro, Average::micro, Average::weighted, Average::binary}) {
    all.emplace_back(metrics::Precision{.average = average});
    all.emplace_back(metrics::Recall{.average = average});
    all.emplace_back(metrics::F1{.average = average});
  }
  return all;
}
inline AnyMetric metric_of(std::string_view name) {
  for (const AnyMetric& metric : all_metrics())
    if (metric.name() == name) return metric;
  fail("cases: no metric '", name, "'");
}

/// The elements at `rows` of the first axis.
template <class T>
Tensor<T> pick(const Tensor<T>& x, const std::vector<Index>& rows) {
  if (!x.defined()) return {};
  Shape shape = x.shape();
  const Index each = shape.span(1, shape.rank());
  shape[0] = static_cast<Index>(rows.size());
  Tensor<T> y = Tensor<T>::empty(shape);
  for (std::size_t i = 0; i < rows.size(); ++i)
    std::copy_n(x.data() + rows[i] * each, each, y.raw() + static_cast<Index>(i) * each);
  return y;
}

/// A prediction with its target, and what scikit-learn makes of them.
struct Case {
  std::string name;
  Tensor<double> prediction;
  Target<double> target;
  std::vector<std::pair<std::string, double>> results;  // metric, value

  Index batch() const { return prediction.shape()[0]; }
  ScoredOptions options() const { return {.ordered = name.starts_with("ordered")}; }
  Scored all() const { return scored(prediction, target, name, options()); }
  Scored rows(const std::vector<Index>& which) const {
    Target<double> part;
    part.value = pick(target.value, which);
    part.classes = pick(target.classes, which);
    part.weight = pick(target.weight, which);
    return scored(pick(prediction, which), part, name, options());
  }
  /// The metric of all rows in one batch.
  double of(AnyMetric metric) const {
    metric.add(all());
    return metric.value();
  }
};

inline std::vector<Case> golden_cases() {
  const Golden file("metrics.txt");
  std::vector<Case> cases;
  for (const auto& array : file.arrays()) {
    const std::size_t dot = array.name.rfind('.');
    const std::string name = array.name.substr(0, dot), part = array.name.substr(dot + 1);
    if (part == "prediction") cases.emplace_back().name = name;
    Case& c = cases.back();
    const Tensor<double> x = Tensor<double>::copy(array.shape, array.values);
    if (part == "prediction")
      c.prediction = x;
    else if (part == "value")
      c.target.value = x;
    else if (part == "classes")
      c.target.classes = cast<Index>(x);
    else if (part == "weights")
      c.target.weight = x;
    else
      c.results.emplace_back(part, x.item());
  }
  return cases;
}

}  // namespace espalier::support
