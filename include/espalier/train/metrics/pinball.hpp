#pragma once
// Pinball: the loss of predicted quantiles.

#include "espalier/train/metrics/scored.hpp"
#include "espalier/train/metrics/total.hpp"

namespace espalier::inline ESPALIER_ABI::metrics {

/// The mean over all columns of q (t - y) where t > y, else (1 - q) (y - t) (scikit-learn's mean_pinball_loss). The columns are
/// those of the loss Quantile: all levels of the first number, then of the next. NaN without labels, and when a prediction is.
struct Pinball {
  static constexpr std::string_view name = "pinball";
  static constexpr bool higher_is_better = false;
  std::vector<double> levels = {0.1, 0.5, 0.9};  // as the loss has them

  /// Throws Error for classes, for a level outside (0, 1), for a width that is no multiple of the levels' number, and for a batch
  /// of another width than before.
  void add(const Scored& batch) {
    if (!kind_.admits(name, batch, detail::Values::numbers)) return;
    for (const double q : levels)
      if (!(q > 0 && q < 1)) fail(name, ": a level is ", q, "; levels lie in (0, 1)");
    const std::size_t count = levels.size();
    if (count == 0 || static_cast<std::size_t>(batch.width) % count != 0)
      fail(name, ": task '", batch.task, "' has ", batch.width, " columns for ", count, " levels; give it the levels of its loss");
    for (std::size_t i = 0; i < batch.value.size(); ++i) {
      if (!(batch.weight[i] > 0)) continue;
      const double q = levels[i % count], below = batch.value[i] - batch.prediction[i];
      mean_.add(batch.weight[i], below > 0 ? q * below : (q - 1) * below);
    }
  }
  double value() const { return mean_.value(); }
  void reset() { *this = Pinball{.levels = std::move(levels)}; }

  detail::BatchKind kind_ = {};
  detail::WeightedMean mean_ = {};
};

}  // namespace espalier::inline ESPALIER_ABI::metrics
