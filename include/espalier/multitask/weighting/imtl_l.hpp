#pragma once
// IMTL-L, the loss half of impartial multi-task learning: Liu et al., "Towards impartial multi-task learning", ICLR 2021.

#include <algorithm>
#include <cmath>

#include "espalier/multitask/weighting/weighting.hpp"

namespace espalier::inline ESPALIER_ABI {

struct IMTLLOptions {
  double lr = 0.025;   // of the log scales' own Adam
  double initial = 0;  // log scale of every task at the start
  double limit = 20;   // log scales are kept in [-limit, limit]: a loss that reaches 0 would drive them away
};

/// Minimises sum over tasks of e^s l - s over the log scales s as well: weight e^s, which settles where every weighted loss
/// is 1. The gradients are twice those of UncertaintyWeighting at log variance -s. Every task has its own s, moments and step
/// count; a task absent from a batch keeps them as they are. The log scales learn by Adam in double.
struct IMTLL {
  static constexpr std::string_view name = "imtl_l";
  static constexpr WeightingClaims claims{.positive = true, .permutation_equivariant = true};
  IMTLLOptions options;

  explicit IMTLL(IMTLLOptions options_ = {}) : options(options_) {
    detail::check_lr("IMTLL", options.lr);
    if (!(options.limit > 0)) fail("IMTLL: limit is ", options.limit, "; it must be above 0");
  }

  void weights(std::span<const double> losses, const StepInfo& info, std::span<double> out) {
    prepare(detail::task_count(info, out.size()));
    for (std::size_t i = 0; i < out.size(); ++i) {
      const std::size_t task = detail::place(info, i);
      double& s = log_scale_[task];
      out[i] = std::exp(s);
      s = std::clamp(s + adam_.update(task, out[i] * losses[i] - 1, options.lr), -options.limit, options.limit);
    }
  }
  /// The log scales s, by task; empty before the first step.
  std::span<const double> log_scales() const { return log_scale_; }

  void prepare(Index tasks) {
    if (log_scale_.size() >= static_cast<std::size_t>(tasks)) return;
    log_scale_.resize(static_cast<std::size_t>(tasks), options.initial);
    adam_.resize(tasks);
  }
  void fields(auto&& visit) {
    visit("log_scale", log_scale_);
    adam_.fields(visit);
  }

 private:
  std::vector<double> log_scale_;
  detail::TaskAdam adam_;
};

}  // namespace espalier::inline ESPALIER_ABI
