#pragma once
// AUROC: the area under the receiver operating characteristic, exact.

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
  Total all, others;  // compensated, so that rows that differ in the order of their logits alone stay tied
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

}  // namespace detail

namespace metrics {

/// The probability that a positive is scored above a negative, ties counting half: over all pairs
/// sum w+ w- ([s+ > s-] + [s+ = s-] / 2) / sum w+ w-. Positive are targets above 1/2, scored by their logit;
/// multi-label targets are averaged over the columns. Classes are scored one against the rest by their softmax
/// probability and averaged over the classes, two classes by class 1 alone (scikit-learn's
/// roc_auc_score(multi_class="ovr", average="macro")). A column without positives or without negatives has no area and
/// is left out; NaN when all are, and when a prediction is NaN.
///
/// Keeps all scores: rows * width doubles.
struct AUROC {
  static constexpr std::string_view name = "auroc";
  static constexpr bool higher_is_better = true;
  /// Throws Error for values outside [0, 1], and for a batch of another width than before.
  void add(const Scored& batch) {
    if (!kind_.admits(name, batch, detail::Values::probabilities)) return;
    const Index start = kept_.rows;
    append(batch);
    for (Index i = start; kind_.of_classes && i < kept_.rows; ++i)
      if (kept_.weight[static_cast<std::size_t>(i)] > 0)
        detail::log_odds(kept_.prediction.data() + i * kind_.width, kind_.width);
  }
  double value() const {
    detail::WeightedMean mean;
    for (Index k = kind_.of_classes && kind_.width == 2 ? 1 : 0; k < kind_.width; ++k) {
      double pairs = 0;
      const double area = column(k, pairs);
      if (pairs > 0) mean.add(1, area / pairs);
      if (std::isnan(area)) return area;
    }
    return mean.value();
  }
  void reset() { *this = {}; }

 private:
  void append(const Scored& batch) {
    const auto more = [](auto& to, const auto& from) { to.insert(to.end(), from.begin(), from.end()); };
    kept_.rows += batch.rows;
    more(kept_.prediction, batch.prediction);
    more(kept_.value, batch.value);
    more(kept_.classes, batch.classes);
    more(kept_.weight, batch.weight);
  }
  /// The weight of the pairs of column k in the right order, and of all pairs.
  double column(Index k, double& pairs) const {
    const auto width = static_cast<std::size_t>(kind_.width), column = static_cast<std::size_t>(k);
    const auto weight = [&](std::size_t row) { return kept_.weight[kind_.of_classes ? row : row * width + column]; };
    const auto score = [&](std::size_t row) { return kept_.prediction[row * width + column]; };
    std::vector<std::size_t> rows;  // that are labelled
    for (std::size_t row = 0; row < static_cast<std::size_t>(kept_.rows); ++row) {
      if (!(weight(row) > 0)) continue;
      if (std::isnan(score(row))) return score(row);
      rows.push_back(row);
    }
    const auto row_at = [&](Index i) { return rows[static_cast<std::size_t>(i)]; };
    const PoolVector<Index> order =
        detail::sorted_order(rows.size(), [&](Index a, Index b) { return score(row_at(a)) < score(row_at(b)); });
    detail::Total area, positives, below;  // below: the negatives of lower score
    for (std::size_t i = 0; i < order.size();) {
      detail::Total positive, negative;
      const double tied = score(row_at(order[i]));
      for (; i < order.size() && score(row_at(order[i])) == tied; ++i) {
        const std::size_t row = row_at(order[i]);
        const bool is = kind_.of_classes ? kept_.classes[row] == k : kept_.value[row * width + column] > 0.5;
        (is ? positive : negative).add(weight(row));
      }
      area.add(positive.value() * (below.value() + negative.value() / 2));
      positives.add(positive.value());
      below.add(negative.value());
    }
    pairs = positives.value() * below.value();
    return area.value();
  }

  detail::BatchKind kind_;
  Scored kept_;  // all batches; of classes, the predictions are log odds
};

}  // namespace metrics
}  // namespace espalier::inline ESPALIER_ABI
