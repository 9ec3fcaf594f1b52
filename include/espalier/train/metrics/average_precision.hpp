#pragma once
// AveragePrecision: the area under the curve of precision over recall, by steps.

#include "espalier/train/metrics/ranking.hpp"

namespace espalier::inline ESPALIER_ABI::metrics {

/// sum (R_n - R_{n-1}) P_n over the scores from the highest down, P_n and R_n being precision and recall of what is scored as
/// high or higher (scikit-learn's average_precision_score): for rare positives more telling than AUROC. Targets as there:
/// multi-label targets are averaged over the columns, classes are scored one against the rest and averaged, two classes by
/// class 1 alone. A column without positives is left out; NaN when all are, and when a prediction is NaN.
///
/// Keeps all scores: rows * width doubles.
struct AveragePrecision {
  static constexpr std::string_view name = "average_precision";
  static constexpr bool higher_is_better = true;
  /// Throws Error for values outside [0, 1], and for a batch of another width than before.
  void add(const Scored& batch) { ranking_.add(name, batch); }
  double value() const {
    return ranking_.mean_of([](const PoolVector<detail::Ranking::Tie>& ties) {
      detail::Total area, hit, predicted;
      for (std::size_t i = ties.size(); i-- > 0;) {
        hit.add(ties[i].positive);
        predicted.add(ties[i].positive);
        predicted.add(ties[i].negative);
        area.add(ties[i].positive * (hit.value() / predicted.value()));
      }
      return hit.value() > 0 ? area.value() / hit.value() : -1;
    });
  }
  void reset() { *this = {}; }

 private:
  detail::Ranking ranking_;
};

}  // namespace espalier::inline ESPALIER_ABI::metrics
