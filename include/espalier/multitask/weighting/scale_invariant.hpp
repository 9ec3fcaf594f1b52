#pragma once
// Scale-invariant weighting, the baseline "SI" of Navon et al., "Multi-task learning as a bargaining game", ICML 2022,
// arXiv 2202.01017.

#include "espalier/multitask/weighting/weighting.hpp"

namespace espalier::inline ESPALIER_ABI {

/// Minimises the sum of the losses' logarithms: w_i = 1 / l_i. Throws Error for a loss that is not above 0.
struct ScaleInvariant {
  static constexpr std::string_view name = "scale_invariant";
  static constexpr WeightingClaims claims{.positive = true, .permutation_equivariant = true, .unit_free = true};

  void weights(std::span<const double> losses, const StepInfo& info, std::span<double> out) const {
    detail::check_positive("ScaleInvariant", losses, info);
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = 1 / losses[i];
  }
};

}  // namespace espalier::inline ESPALIER_ABI
