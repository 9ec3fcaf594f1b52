#pragma once
// LogLoss: the negative log-likelihood of the labels.

#include "espalier/train/metrics/scored.hpp"
#include "espalier/train/metrics/total.hpp"

namespace espalier::inline ESPALIER_ABI::metrics {

/// The mean over the labels of -log p(label), in nats, from logits: of classes the loss cross_entropy over the whole
/// set, of binary and multi-label targets bce_with_logits, a mean over all elements. Nothing is clipped: a confident
/// mistake costs what it costs. NaN without labels, and when a prediction is NaN.
struct LogLoss {
  static constexpr std::string_view name = "log_loss";
  static constexpr bool higher_is_better = false;
  /// Throws Error for values outside [0, 1], and for a batch of another width than before.
  void add(const Scored& batch) {
    if (!kind_.admits(name, batch, detail::Values::probabilities)) return;
    for (std::size_t i = 0; i < batch.weight.size(); ++i) {
      if (!(batch.weight[i] > 0)) continue;
      double loss = 0;
      if (batch.of_classes) {
        const double* row = batch.prediction.data() + static_cast<Index>(i) * batch.width;
        const Index best = detail::best_column(row, batch.width), label = batch.classes[i];
        const double most = best < 0 ? std::numeric_limits<double>::quiet_NaN() : row[best];
        detail::Total others;  // beside the largest logit, whose exp(0) is the 1 in log1p
        for (Index j = 0; j < batch.width; ++j)
          if (j != best) others.add(std::exp(row[j] - most));
        loss = (label == best ? 0 : most - row[label]) + std::log1p(others.value());
      } else {
        const double y = batch.prediction[i], positive = batch.value[i], negative = 1 - positive;
        loss = (positive > 0 ? positive * softplus(-y) : 0) + (negative > 0 ? negative * softplus(y) : 0);
      }
      mean_.add(batch.weight[i], loss);
    }
  }
  double value() const { return mean_.value(); }
  void reset() { *this = {}; }

 private:
  static double softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }

  detail::BatchKind kind_;
  detail::WeightedMean mean_;
};

}  // namespace espalier::inline ESPALIER_ABI::metrics
