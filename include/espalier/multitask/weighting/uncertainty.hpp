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
  UncertaintyOptions options;

  explicit UncertaintyWeighting(UncertaintyOptions options_ = {}) : options(options_) {}

  void weights(std::span<const double> losses, const StepInfo& info, std::span<double> out) {
    auto tasks = static_cast<Index>(info.names.size());
    for (std::size_t i = 0; i < out.size(); ++i) tasks = std::max(tasks, info.task(static_cast<Index>(i)) + 1);
    if (log_variance_.size() < static_cast<std::size_t>(tasks)) prepare(tasks);
    for (std::size_t i = 0; i < out.size(); ++i) {
      const auto k = static_cast<std::size_t>(info.task(static_cast<Index>(i)));
      double& s = log_variance_[k];
      out[i] = 0.5 * std::exp(-s);
      const double slope = 0.5 - out[i] * losses[i];
      steps_[k] += 1;
      first_[k] = 0.9 * first_[k] + 0.1 * slope;
      second_[k] = 0.999 * second_[k] + 0.001 * slope * slope;
      const double mean = first_[k] / (1 - std::pow(0.9, steps_[k])), square = second_[k] / (1 - std::pow(0.999, steps_[k]));
      s = std::clamp(s - options.lr * mean / (std::sqrt(square) + 1e-8), -options.limit, options.limit);
    }
  }
  /// The log variances s, by task; empty before the first step.
  std::span<const double> log_variances() const { return log_variance_; }

  /// Makes room for all tasks, so that the number of fields does not depend on the steps taken.
  void prepare(Index tasks) {
    log_variance_.resize(static_cast<std::size_t>(tasks), options.initial);
    for (auto* state : {&first_, &second_, &steps_}) state->resize(static_cast<std::size_t>(tasks), 0);
  }
  void fields(auto&& visit) {
    visit("log_variance", log_variance_);
    visit("exp_avg", first_);
    visit("exp_avg_sq", second_);
    visit("step", steps_);
  }

 private:
  std::vector<double> log_variance_, first_, second_, steps_;
};

}  // namespace espalier::inline ESPALIER_ABI
