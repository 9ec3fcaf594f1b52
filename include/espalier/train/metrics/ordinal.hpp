#pragma once
// Metrics of ordered classes, which say how far off a wrong class is: OrdinalMAE, QuadraticKappa.
//
// They take classes of either kind: ordered ones (the loss Ordinal: the predicted class is the number of logits above 0) and
// plain ones (CrossEntropy: that of the largest logit). NaN without labels, and when a prediction is NaN.

#include "espalier/train/metrics/scored.hpp"
#include "espalier/train/metrics/total.hpp"

namespace espalier::inline ESPALIER_ABI::metrics {

/// The mean number of classes that the prediction is away from the truth, sum w |predicted - true| / sum w.
struct OrdinalMAE {
  static constexpr std::string_view name = "ordinal_mae";
  static constexpr bool higher_is_better = false;
  /// Throws Error for values, and for a batch of another width than before.
  void add(const Scored& batch) {
    if (!kind_.admits(name, batch, detail::Values::classes)) return;
    for (Index i = 0; i < batch.rows; ++i) {
      const double w = batch.weight[static_cast<std::size_t>(i)];
      if (!(w > 0)) continue;
      const Index found = detail::decision(batch, i), off = found - batch.classes[static_cast<std::size_t>(i)];
      mean_.add(w, found < 0 ? std::numeric_limits<double>::quiet_NaN() : static_cast<double>(std::abs(off)));
    }
  }
  double value() const { return mean_.value(); }
  void reset() { *this = {}; }

 private:
  detail::BatchKind kind_;
  detail::WeightedMean mean_;
};

/// Cohen's kappa with quadratic weights, 1 - sum w (predicted - true)^2 / what that would be were the two independent
/// (scikit-learn's cohen_kappa_score(weights="quadratic", labels=range(classes))). 1 is perfect, 0 what chance gives. NaN where
/// all is of one class and predicted so.
struct QuadraticKappa {
  static constexpr std::string_view name = "quadratic_kappa";
  static constexpr bool higher_is_better = true;
  /// Throws Error for values, and for a batch of another width than before.
  void add(const Scored& batch) {
    if (!kind_.admits(name, batch, detail::Values::classes)) return;
    predicted_.resize(static_cast<std::size_t>(batch.count()));
    actual_.resize(predicted_.size());
    for (Index i = 0; i < batch.rows; ++i) {
      const auto row = static_cast<std::size_t>(i);
      const double w = batch.weight[row];
      if (!(w > 0)) continue;
      const Index found = detail::decision(batch, i);
      lost_ |= found < 0;
      if (lost_) continue;
      const auto off = static_cast<double>(found - batch.classes[row]);
      predicted_[static_cast<std::size_t>(found)].add(w);
      actual_[static_cast<std::size_t>(batch.classes[row])].add(w);
      all_.add(w);
      squares_.add(w * off * off);
    }
  }
  double value() const {
    if (lost_) return std::numeric_limits<double>::quiet_NaN();
    detail::Total expected;
    for (std::size_t p = 0; p < predicted_.size(); ++p)
      for (std::size_t t = 0; t < actual_.size(); ++t) {
        const double off = static_cast<double>(p) - static_cast<double>(t);
        expected.add(predicted_[p].value() * actual_[t].value() * off * off);
      }
    const double chance = expected.value() / all_.value();
    return chance > 0 ? 1 - squares_.value() / chance : std::numeric_limits<double>::quiet_NaN();
  }
  void reset() { *this = {}; }

 private:
  detail::BatchKind kind_;
  std::vector<detail::Total> predicted_, actual_;  // weights by class
  detail::Total all_, squares_;
  bool lost_ = false;  // a prediction was NaN
};

}  // namespace espalier::inline ESPALIER_ABI::metrics
