#pragma once
// What metrics of a ranking have in common: all scores of a set, and how much of what is true is among equal ones.

#include <cmath>
#include <vector>

#include "espalier/core/order.hpp"
#include "espalier/train/metrics/scored.hpp"
#include "espalier/train/metrics/total.hpp"

namespace espalier::inline ESPALIER_ABI {

namespace detail {

/// In place of the logits of a row, the logarithms of the odds p / (1 - p) of each class: in the order of the softmax
/// probabilities p, but without their ties where p rounds to 0 or 1. One NaN makes all of them NaN.
inline void log_odds(double* row, Index width) {
  const Index best = best_column(row, width);
  if (best < 0) {
    std::fill_n(row, width, std::numeric_limits<double>::quiet_NaN());
    return;
  }
  const double most = row[best];
  double second = -std::numeric_limits<double>::infinity();
  for (Index j = 0; j < width; ++j)
    if (j != best) second = std::max(second, row[j]);
  Total all, others;                   // compensated, so that rows that differ in the order of their logits alone stay tied
  for (Index j = 0; j < width; ++j) {  // the difference of two infinite logits is none
    all.add(row[j] == most ? 1 : std::exp(row[j] - most));
    if (j != best) others.add(row[j] == second ? 1 : std::exp(row[j] - second));
  }
  for (Index j = 0; j < width; ++j) {
    if (j == best) {
      row[j] = (most - second) - std::log(others.value());
    } else {
      Total rest = all;
      rest.add(row[j] == most ? -1 : -std::exp(row[j] - most));
      row[j] = (row[j] - most) - std::log(rest.value());
    }
  }
}

/// Keeps all scores: rows * width doubles. Positive are targets above 1/2, scored by their logit; classes are scored one against
/// the rest, two classes by class 1 alone.
class Ranking {
 public:
  /// Rows of one score: what is positive of them and what is negative, in weights.
  struct Tie {
    double positive, negative;
  };

  /// Throws Error for values outside [0, 1], and for a batch of another width than before.
  void add(std::string_view metric, const Scored& batch) {
    if (!kind_.admits(metric, batch, Values::probabilities)) return;
    const Index start = kept_.rows;
    const auto more = [](auto& to, const auto& from) { to.insert(to.end(), from.begin(), from.end()); };
    kept_.rows += batch.rows;
    more(kept_.prediction, batch.prediction);
    more(kept_.value, batch.value);
    more(kept_.classes, batch.classes);
    more(kept_.weight, batch.weight);
    for (Index i = start; kind_.of_classes && i < kept_.rows; ++i)
      if (kept_.weight[static_cast<std::size_t>(i)] > 0) log_odds(kept_.prediction.data() + i * kind_.width, kind_.width);
  }
  /// The mean over the columns of score(ties in rising order), where that is not negative; NaN when all are, and when a
  /// prediction is NaN.
  double mean_of(double (*score)(const PoolVector<Tie>& ties)) const {
    WeightedMean mean;
    for (Index k = kind_.of_classes && kind_.width == 2 ? 1 : 0; k < kind_.width; ++k) {
      PoolVector<Tie> ties;
      if (!column(k, ties)) return std::numeric_limits<double>::quiet_NaN();
      if (const double found = score(ties); found >= 0) mean.add(1, found);
    }
    return mean.value();
  }

 private:
  /// The ties of column k; false when a prediction is NaN.
  bool column(Index k, PoolVector<Tie>& ties) const {
    const auto width = static_cast<std::size_t>(kind_.width), column = static_cast<std::size_t>(k);
    const auto weight = [&](std::size_t row) { return kept_.weight[kind_.of_classes ? row : row * width + column]; };
    const auto score = [&](std::size_t row) { return kept_.prediction[row * width + column]; };
    std::vector<std::size_t> rows;  // that are labelled
    for (std::size_t row = 0; row < static_cast<std::size_t>(kept_.rows); ++row) {
      if (!(weight(row) > 0)) continue;
      if (std::isnan(score(row))) return false;
      rows.push_back(row);
    }
    const auto row_at = [&](Index i) { return rows[static_cast<std::size_t>(i)]; };
    const PoolVector<Index> order =
        sorted_order(rows.size(), [&](Index a, Index b) { return score(row_at(a)) < score(row_at(b)); });
    for (std::size_t i = 0; i < order.size();) {
      Total positive, negative;
      const double tied = score(row_at(order[i]));
      for (; i < order.size() && score(row_at(order[i])) == tied; ++i) {
        const std::size_t row = row_at(order[i]);
        const bool is = kind_.of_classes ? kept_.classes[row] == k : kept_.value[row * width + column] > 0.5;
        (is ? positive : negative).add(weight(row));
      }
      ties.push_back({positive.value(), negative.value()});
    }
    return true;
  }

  BatchKind kind_;
  Scored kept_;  // all batches; of classes, the predictions are log odds
};

}  // namespace detail

}  // namespace espalier::inline ESPALIER_ABI
