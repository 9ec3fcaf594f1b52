#pragma once
// AUROC: the area under the receiver operating characteristic, exact.

#include "espalier/train/metrics/ranking.hpp"

namespace espalier::inline ESPALIER_ABI::metrics {

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
  void add(const Scored& batch) { ranking_.add(name, batch); }
  double value() const {
    return ranking_.mean_of([](const PoolVector<detail::Ranking::Tie>& ties) {
      detail::Total area, positives, below;  // below: the negatives of lower score
      for (const auto& [positive, negative] : ties) {
        area.add(positive * (below.value() + negative / 2));
        positives.add(positive);
        below.add(negative);
      }
      const double pairs = positives.value() * below.value();
      return pairs > 0 ? area.value() / pairs : -1;
    });
  }
  void reset() { *this = {}; }

 private:
  detail::Ranking ranking_;
};

}  // namespace espalier::inline ESPALIER_ABI::metrics
