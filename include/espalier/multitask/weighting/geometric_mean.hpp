#pragma once
// GLS, the geometric loss strategy: Chennupati, Sistu, Yogamani and Rawashdeh, "MultiNet++", CVPR Workshops 2019,
// arXiv 1904.08492.

#include <cmath>

#include "espalier/multitask/weighting/weighting.hpp"

namespace espalier::inline ESPALIER_ABI {

/// Minimises the geometric mean L of the losses: w_i = dL/dl_i = L / (m l_i), so every task pulls alike, in whatever unit its
/// loss is. Computed on logarithms: neither many tasks nor tiny losses underflow. Throws Error for a loss that is not above 0.
struct GLS {
  static constexpr std::string_view name = "gls";
  static constexpr WeightingClaims claims{
      .positive = true, .permutation_equivariant = true, .scale_free = true, .unit_free = true};

  void weights(std::span<const double> losses, const StepInfo& info, std::span<double> out) const {
    detail::check_positive("GLS", losses, info);
    const auto count = static_cast<double>(losses.size());
    double mean = 0;
    for (std::size_t i = 0; i < out.size(); ++i) mean += (out[i] = std::log(losses[i])) / count;
    for (double& w : out) w = std::exp(mean - w) / count;
  }
};

}  // namespace espalier::inline ESPALIER_ABI
