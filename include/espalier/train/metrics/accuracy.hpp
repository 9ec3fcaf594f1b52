#pragma once
// Accuracy: how much of what is labelled is predicted right.

#include "espalier/train/metrics/scored.hpp"
#include "espalier/train/metrics/total.hpp"

namespace espalier::inline ESPALIER_ABI::metrics {

/// The share of the weight that is predicted right: of classes, rows whose largest logit (the first of equal ones) is
/// that of the class; of ordered classes, rows with as many logits above 0 as the class says; of binary and multi-label
/// targets, elements whose logit is above 0 exactly when the target is above 1/2. NaN without labels, and when a
/// prediction is NaN.
struct Accuracy {
  static constexpr std::string_view name = "accuracy";
  static constexpr bool higher_is_better = true;
  /// Throws Error for values outside [0, 1], and for a batch of another width than before.
  void add(const Scored& batch) {
    if (!kind_.admits(name, batch, detail::Values::labels)) return;
    for (std::size_t i = 0; i < batch.weight.size(); ++i) {
      if (!(batch.weight[i] > 0)) continue;
      bool right = false, known = true;
      if (batch.of_classes) {
        const Index best = detail::decision(batch, static_cast<Index>(i));
        known = best >= 0;
        right = best == batch.classes[i];
      } else {
        known = !std::isnan(batch.prediction[i]);
        right = (batch.prediction[i] > 0) == (batch.value[i] > 0.5);
      }
      mean_.add(batch.weight[i], known ? right : std::numeric_limits<double>::quiet_NaN());
    }
  }
  double value() const { return mean_.value(); }
  void reset() { *this = {}; }

 private:
  detail::BatchKind kind_;
  detail::WeightedMean mean_;
};

}  // namespace espalier::inline ESPALIER_ABI::metrics
