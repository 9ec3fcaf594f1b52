#pragma once
// Ordinal: classes that have an order, such as grades, by cumulative logits.

#include "espalier/ops/loss_methods.hpp"

namespace espalier::inline ESPALIER_ABI {

/// CORAL's loss (Cao, Mirjalili & Raschka 2020, arXiv 1901.07884): the target is a class c of K, the head has K - 1 columns, and
/// column j is the logit of c > j. The sample's loss is sum_j w_j bce(y_j, c > j). The predicted class is the number of logits
/// above 0. `Coral` (nn/coral.hpp) is the head whose logits never contradict each other; any head of K - 1 columns will do.
struct Ordinal {
  using every_isa = Ordinal;
  static constexpr std::string_view name = "ordinal";
  static constexpr LossTarget target = LossTarget::levels;
  static constexpr Index parameters = 1;
  std::vector<double> importance = {};     // w_j, one per column, or one for all; none: 1
  std::vector<double> class_weights = {};  // multiply the samples' weights, one per class; see CrossEntropy

  bool plain() const { return importance.empty() && class_weights.empty(); }
  void settle(LossHead& head) const {
    head.weigh_classes(class_weights, head.width + 1);
    if (importance.empty())
      head.set(0, 1);
    else
      head.set(0, importance, "importance weight");
  }
  ESPALIER_INLINE static auto value(const auto& y, const auto& t) { return softplus(y) - y * t; }
  ESPALIER_INLINE static auto slope(const auto& y, const auto& t) { return sigmoid(y) - t; }
  ESPALIER_INLINE static auto value(const auto& y, const auto& t, const auto& w) { return w * (softplus(y) - y * t); }
  ESPALIER_INLINE static auto slope(const auto& y, const auto& t, const auto& w) { return w * (sigmoid(y) - t); }
};

}  // namespace espalier::inline ESPALIER_ABI
