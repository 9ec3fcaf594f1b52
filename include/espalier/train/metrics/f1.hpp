#pragma once
// Precision, recall and F1: what is found of each class, averaged in scikit-learn's ways.
//
//   metrics::F1{}                                          // "f1_macro"
//   metrics::Recall{.average = metrics::Average::binary}   // "recall"
//
// A class is hit where it is predicted and true. Precision is hit / predicted, recall hit / true, F1 2 hit / (predicted
// + true), in weights; 0 / 0 is 0. Classes are predicted by the largest logit (the first of equal ones), binary and
// multi-label targets by a logit above 0, true where the target is above 1/2. All three are NaN without labels, and
// when a prediction is NaN.

#include "espalier/train/metrics/scored.hpp"
#include "espalier/train/metrics/total.hpp"

namespace espalier::inline ESPALIER_ABI {

namespace metrics {

/// Over what a score is averaged. A binary target (one logit) has two classes, 0 and 1; a multi-label one has a class,
/// 1, in every column.
enum class Average {
  macro,  // over the classes, each counting alike: those true or predicted somewhere; of labels, the columns labelled
  micro,  // none: one score of all classes' hits together
  weighted,  // over the classes, each by the weight of what is truly of it
  binary     // none: the score of class 1 of two
};

}  // namespace metrics

namespace detail {

/// Weights of what is of each class: hit, predicted, true.
struct ClassCounts {
  struct Counts {
    double hit = 0, predicted = 0, actual = 0;
  };
  BatchKind kind = {};
  bool lost = false;               // a prediction was NaN
  std::vector<Total> totals = {};  // [classes, 4]: hit, predicted, true, seen

  void add(std::string_view metric, metrics::Average average, const Scored& batch) {
    const bool labels = !batch.of_classes && batch.width > 1;
    const Index classes = batch.width == 1 ? 2 : batch.width;
    if (average == metrics::Average::binary && (labels || classes != 2))
      fail(metric, ": task '", batch.task, "' has ", classes, labels ? " labels" : " classes",
           "; the average `binary` is for two classes; choose macro, micro or weighted");
    if (!kind.admits(metric, batch, Values::probabilities)) return;
    totals.resize(static_cast<std::size_t>(4 * classes));
    for (std::size_t i = 0; i < batch.weight.size(); ++i) {
      const double w = batch.weight[i];
      if (!(w > 0)) continue;
      const double* row = batch.prediction.data() + static_cast<Index>(i) * (batch.of_classes ? batch.width : 1);
      if (batch.of_classes) {
        const Index best = best_column(row, batch.width);
        if (best >= 0) decide(w, best, batch.classes[i]);
        lost |= best < 0;
        continue;
      }
      const bool predicted = *row > 0, actual = batch.value[i] > 0.5;
      lost |= std::isnan(*row);
      if (!labels)
        decide(w, predicted, actual);
      else
        count(static_cast<Index>(i) % batch.width, w, predicted, actual);
    }
  }

  double average(metrics::Average average, double (*score)(const Counts&)) const {
    if (lost || totals.empty()) return std::numeric_limits<double>::quiet_NaN();
    if (average == metrics::Average::binary) return score(of(1));
    Total hit, predicted, actual;
    WeightedMean mean;
    for (std::size_t k = 0; 4 * k < totals.size(); ++k) {
      if (totals[4 * k + 3].value() == 0) continue;
      const Counts c = of(k);
      hit.add(c.hit);
      predicted.add(c.predicted);
      actual.add(c.actual);
      mean.add(average == metrics::Average::weighted ? c.actual : 1, score(c));
    }
    if (average == metrics::Average::micro) return score({hit.value(), predicted.value(), actual.value()});
    return mean.weight.value() > 0 ? mean.value() : 0;  // nothing true: nothing hit
  }

 private:
  Counts of(std::size_t k) const {
    return {totals[4 * k].value(), totals[4 * k + 1].value(), totals[4 * k + 2].value()};
  }
  /// One of several classes was chosen.
  void decide(double w, Index predicted, Index actual) {
    count(predicted, w, true, predicted == actual);
    if (predicted != actual) count(actual, w, false, true);
  }
  [[gnu::noinline]] void count(Index k, double w, bool predicted, bool actual) {
    Total* at = totals.data() + 4 * k;
    if (predicted && actual) at[0].add(w);
    if (predicted) at[1].add(w);
    if (actual) at[2].add(w);
    at[3].add(w);
  }
};

inline double precision(const ClassCounts::Counts& c) { return c.predicted > 0 ? c.hit / c.predicted : 0; }
inline double recall(const ClassCounts::Counts& c) { return c.actual > 0 ? c.hit / c.actual : 0; }
inline double f1(const ClassCounts::Counts& c) {
  return c.predicted + c.actual > 0 ? 2 * c.hit / (c.predicted + c.actual) : 0;
}

}  // namespace detail

namespace metrics {

/// The share of what is predicted that is true.
struct Precision {
  Average average = Average::macro;
  detail::ClassCounts counts = {};

  static constexpr bool higher_is_better = true;
  std::string_view name() const {
    constexpr std::string_view names[] = {"precision_macro", "precision_micro", "precision_weighted", "precision"};
    return names[static_cast<int>(average)];
  }
  /// Throws Error for values outside [0, 1], for a batch of another width than before, and for `binary` of more than
  /// two classes.
  void add(const Scored& batch) { counts.add(name(), average, batch); }
  double value() const { return counts.average(average, &detail::precision); }
  void reset() { counts = {}; }
};

/// The share of what is true that is predicted.
struct Recall {
  Average average = Average::macro;
  detail::ClassCounts counts = {};

  static constexpr bool higher_is_better = true;
  std::string_view name() const {
    constexpr std::string_view names[] = {"recall_macro", "recall_micro", "recall_weighted", "recall"};
    return names[static_cast<int>(average)];
  }
  /// Throws Error as Precision does.
  void add(const Scored& batch) { counts.add(name(), average, batch); }
  double value() const { return counts.average(average, &detail::recall); }
  void reset() { counts = {}; }
};

/// The harmonic mean of precision and recall.
struct F1 {
  Average average = Average::macro;
  detail::ClassCounts counts = {};

  static constexpr bool higher_is_better = true;
  std::string_view name() const {
    constexpr std::string_view names[] = {"f1_macro", "f1_micro", "f1_weighted", "f1"};
    return names[static_cast<int>(average)];
  }
  /// Throws Error as Precision does.
  void add(const Scored& batch) { counts.add(name(), average, batch); }
  double value() const { return counts.average(average, &detail::f1); }
  void reset() { counts = {}; }
};

}  // namespace metrics
}  // namespace espalier::inline ESPALIER_ABI
