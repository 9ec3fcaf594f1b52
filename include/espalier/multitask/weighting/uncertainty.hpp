#pragma once
// Uncertainty weighting: Kendall, Gal & Cipolla, CVPR 2018, arXiv 1705.07115.

#include <algorithm>
#include <cmath>

#include "espalier/multitask/weighting/weighting.hpp"

namespace espalier::inline ESPALIER_ABI {

struct UncertaintyOptions {
  double lr = 0.025;     // of the log variances' own Adam
  double initial = 0;    // log variance of every task at the start
  double limit = 20;     // log variances are kept in [-limit, limit]: a loss that reaches 0 would drive them away
};

/// Minimises sum over tasks of 0.5 e^-s l + 0.5 s over the log variances s as well: weight 0.5 e^-s, which settles where
/// e^s = l. Every task has its own s, moments and step count; a task absent from a batch keeps them as they are. The log
/// variances learn by Adam (without weight decay) in double.
struct UncertaintyWeighting {
  static constexpr std::string_view name = "uncertainty";
  static constexpr WeightingClaims claims{.positive = true, .permutation_equivariant = true};
  UncertaintyOptions options;

  explicit UncertaintyWeighting(UncertaintyOptions options_ = {}) : options(options_) {
    detail::check_lr("UncertaintyWeighting", options.lr);
    if (!(options.limit > 0)) fail("UncertaintyWeighting: limit is ", options.limit, "; it must be above 0");
  }

  void weights(std::span<const double> losses, const StepInfo& info, std::span<double> out) {
    prepare(detail::task_count(info, out.size()));
    for (std::size_t i = 0; i < out.size(); ++i) {
      const std::size_t task = detail::place(info, i);
      double& s = log_variance_[task];
      out[i] = 0.5 * std::exp(-s);
      s = std::clamp(s + adam_.update(task, 0.5 - out[i] * losses[i], options.lr), -options.limit, options.limit);
    }
  }
  /// The log variances s, by task; empty before the first step.
  std::span<const double> log_variances() const { return log_variance_; }

  /// Makes room for all tasks, so that the number of fields does not depend on the steps taken.
  void prepare(Index tasks) {
    if (log_variance_.size() >= static_cast<std::size_t>(tasks)) return;
    log_variance_.resize(static_cast<std::size_t>(tasks), options.initial);
    adam_.resize(tasks);
  }
  void fields(auto&& visit) {
    visit("log_variance", log_variance_);
    adam_.fields(visit);
  }

 private:
  std::vector<double> log_variance_;
  detail::TaskAdam adam_;
};

}  // namespace espalier::inline ESPALIER_ABI
