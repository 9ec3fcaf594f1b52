#pragma once
// Huber and SmoothL1: squared near the target, absolute far from it, so that an outlier pulls with bounded force.

#include "espalier/ops/loss_methods.hpp"

namespace espalier::inline ESPALIER_ABI {

/// d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), with d = y - t (Huber 1964; PyTorch's huber_loss).
struct Huber {
  using every_isa = Huber;
  static constexpr std::string_view name = "huber";
  static constexpr Index parameters = 1;
  double delta = 1;  // in the target's unit

  void settle(LossHead& head) const {
    head.positive("delta", delta);
    head.set(0, delta);
  }
  ESPALIER_INLINE static auto value(const auto& y, const auto& t, const auto& delta) {
    const auto d = abs(y - t), near = min(d, delta);
    return near * (d - 0.5f * near);
  }
  ESPALIER_INLINE static auto slope(const auto& y, const auto& t, const auto& delta) {
    const auto d = y - t;
    return min(max(d, -delta), delta);
  }
};

/// d^2 / (2 beta) where |d| < beta, else |d| - beta / 2: the Huber loss over beta (Girshick 2015, arXiv 1504.08083; PyTorch's
/// smooth_l1_loss).
struct SmoothL1 {
  using every_isa = SmoothL1;
  static constexpr std::string_view name = "smooth_l1";
  static constexpr Index parameters = 1;
  double beta = 1;  // in the target's unit

  void settle(LossHead& head) const {
    head.positive("beta", beta);
    head.set(0, beta);
  }
  ESPALIER_INLINE static auto value(const auto& y, const auto& t, const auto& beta) { return Huber::value(y, t, beta) / beta; }
  ESPALIER_INLINE static auto slope(const auto& y, const auto& t, const auto& beta) { return Huber::slope(y, t, beta) / beta; }
};

}  // namespace espalier::inline ESPALIER_ABI
