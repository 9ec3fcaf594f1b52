#pragma once
// FairGrad: the direction of the largest alpha-fair utility of the tasks' gains. Ban and Ji, "Fair resource allocation in
// multi-task learning", ICML 2024, arXiv 2402.15638.

#include <string_view>
#include <vector>

#include "espalier/multitask/aggregator/bargaining.hpp"

namespace espalier::inline ESPALIER_ABI {

struct FairGradOptions {
  /// How fair: 1 is Nash-MTL, towards 0 it becomes the mean, towards infinity the worst task decides. The authors' scripts
  /// use 2.
  double alpha = 2;
  double max_norm = 1;  ///< The longest direction; longer ones are scaled down, as the authors do. 0: as it is.
  /// The weight of each task's utility, one number for every task of the objective, or none: all alike. Only the ratios
  /// matter: they are scaled to mean 1. A task without any gets no weight.
  std::vector<double> preference = {};
};

/// w > 0 with (Gw)_i = (w_i / p_i)^(-1 / alpha). The residual is the largest |(w_i / p_i)^(1 / alpha) (Gw)_i - 1|, before
/// scaling down; above 1e-9 the result is capped, as with Nash-MTL. J'w is of degree (1 - alpha) / (1 + alpha) in J while
/// max_norm does not bind.
struct FairGrad {
  static constexpr std::string_view name = "fair_grad";
  /// Where exact, for alpha = 2 without max_norm.
  static constexpr Claims claims{
      .degree = -1.0 / 3, .non_conflicting = true, .permutation_equivariant = true, .non_negative = true};

  FairGradOptions options;

  /// Throws Error unless alpha is positive and max_norm not negative, both finite.
  explicit FairGrad(FairGradOptions options_ = {}) : options(std::move(options_)) {
    if (!(options.alpha > 0) || !std::isfinite(options.alpha))
      fail(name, ": alpha is ", options.alpha, "; it must be finite and positive");
    detail::check_option(name, "max_norm", options.max_norm);
  }

  /// Writes the weights [m]. Throws Error when sizes disagree, a gradient is not finite or a preference is negative.
  Certificate weights(GramianView gramian, const StepInfo& info, std::span<double> out) const {
    detail::check_gramian(name, gramian, info, out.size());
    if (!detail::row_preferences(name, options.preference, info, out))
      return {.status = Certificate::Status::no_active_task};
    return detail::scratch<detail::Bargaining>().solve(gramian, 1 / options.alpha, options.max_norm, out);
  }

  void fields(auto&& visit) { visit("preference", options.preference); }
};

static_assert(GramianAggregator<const FairGrad>);

}  // namespace espalier::inline ESPALIER_ABI
