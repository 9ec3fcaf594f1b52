#pragma once
// Nash-MTL: the direction that the tasks would agree on as a Nash bargain, where the product of their gains is largest.
// Navon et al., "Multi-task learning as a bargaining game", ICML 2022, arXiv 2202.01017.

#include <string_view>
#include <vector>

#include "espalier/multitask/aggregator/bargaining.hpp"

namespace espalier::inline ESPALIER_ABI {

struct NashMTLOptions {
  double max_norm = 1;  ///< The longest direction; longer ones are scaled down, as the authors do. 0: as it is.
  /// The bargaining power of each task, one number for every task of the objective, or none: all alike. Only the ratios
  /// matter: they are scaled to mean 1. A task without any gets no weight.
  std::vector<double> preference = {};
};

/// w > 0 with w_i (Gw)_i = p_i. |J'w|^2 is then m, whatever the losses: without max_norm the step says nothing of them, and
/// w_i is about 1 / |g_i|. The residual is the largest |w_i (Gw)_i / p_i - 1|, before scaling down. Where it is above 1e-9
/// the result is capped: a gradient is zero (it gets no weight), or they cancel and no finite w solves the equations.
struct NashMTL {
  static constexpr std::string_view name = "nash_mtl";
  /// Where exact.
  static constexpr Claims claims{.degree = 0,
                                 .non_conflicting = true,
                                 .permutation_equivariant = true,
                                 .invariant_under_scaling = true,
                                 .non_negative = true};

  NashMTLOptions options;

  /// Throws Error unless max_norm is finite and not negative.
  explicit NashMTL(NashMTLOptions options_ = {}) : options(std::move(options_)) {
    detail::check_option(name, "max_norm", options.max_norm);
  }

  /// Writes the weights [m]. Throws Error when sizes disagree, a gradient is not finite or a preference is negative.
  Certificate weights(GramianView gramian, const StepInfo& info, std::span<double> out) const {
    detail::check_gramian(name, gramian, info, out.size());
    if (!detail::row_preferences(name, options.preference, info, out))
      return {.status = Certificate::Status::no_active_task};
    return detail::scratch<detail::Bargaining>().solve(gramian, 1, options.max_norm, out);
  }

  void fields(auto&& visit) { visit("preference", options.preference); }
};

static_assert(GramianAggregator<const NashMTL>);

}  // namespace espalier::inline ESPALIER_ABI
