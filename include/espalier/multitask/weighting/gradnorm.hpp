#pragma once
// GradNorm: Chen, Badrinarayanan, Lee and Rabinovich, "Gradient normalization for adaptive loss balancing in deep multitask
// networks", ICML 2018, arXiv 1711.02257.

#include <algorithm>
#include <cmath>

#include "espalier/multitask/weighting/weighting.hpp"

namespace espalier::inline ESPALIER_ABI {

struct GradNormOptions {
  double alpha = 1.5;  // how strongly a task that trains slowly is pulled up; 0: all gradients equally long
  double lr = 0.025;   // of the scores' own Adam
};

/// Lets the lengths of the weighted gradients in what the tasks share follow the tasks' training rates. With w = m softmax(s)
/// over the m tasks of the step, N_i = w_i |g_i|, r_i = (l_i / l_i0) / mean: minimises sum_i |N_i - mean(N) r_i^alpha| over the
/// scores s, the right-hand side held fixed. l_i0 is the task's first loss above 0. (The paper looks at the last shared layer
/// alone, here it is all that is shared; weights that sum to m by a softmax are LibMTL's, the paper rescales them.)
///
/// Every task has its own score, moments and step count; one absent from a batch keeps them. Throws Error for a negative loss.
struct GradNorm {
  static constexpr std::string_view name = "gradnorm";
  static constexpr bool norms_alone = true;
  static constexpr WeightingClaims claims{.positive = true, .permutation_equivariant = true, .sums_to_count = true};
  GradNormOptions options;

  explicit GradNorm(GradNormOptions options_ = {}) : options(options_) {
    if (!(options.alpha >= 0)) fail("GradNorm: alpha is ", options.alpha, "; it must not be negative");
    detail::check_lr("GradNorm", options.lr);
  }

  void weights(std::span<const double> losses, GramianView gramian, const StepInfo& info, std::span<double> out) {
    detail::check_gramian("GradNorm", gramian, info, out.size());
    detail::check_not_negative("GradNorm", losses, info);
    prepare(detail::task_count(info, out.size()));
    const auto count = static_cast<double>(out.size());
    rate_.resize(out.size());
    double mean_rate = 0, mean_norm = 0;
    for (std::size_t i = 0; i < out.size(); ++i) {
      const std::size_t task = detail::place(info, i);
      out[i] = scores_[task];
      if (first_loss_[task] == 0) first_loss_[task] = losses[i];
      rate_[i] = first_loss_[task] > 0 ? losses[i] / first_loss_[task] : 1;
      mean_rate += rate_[i] / count;
    }
    detail::softmax_in_place(out, count);
    const auto norm = [&](std::size_t i) { return std::sqrt(gramian(static_cast<Index>(i), static_cast<Index>(i))); };
    for (std::size_t i = 0; i < out.size(); ++i) mean_norm += out[i] * norm(i) / count;

    // The slope in w_i is |g_i| times the sign of N_i's distance, in the scores the softmax's derivative times that.
    double inner = 0;
    for (std::size_t i = 0; i < out.size(); ++i) {
      const double wanted = mean_norm * (mean_rate > 0 ? std::pow(rate_[i] / mean_rate, options.alpha) : 1);
      const double distance = out[i] * norm(i) - wanted;
      rate_[i] = distance > 0 ? norm(i) : distance < 0 ? -norm(i) : 0;
      inner += out[i] * rate_[i] / count;
    }
    for (std::size_t i = 0; i < out.size(); ++i) {
      const std::size_t task = detail::place(info, i);
      scores_[task] += adam_.update(task, out[i] * (rate_[i] - inner), options.lr);
    }
  }
  /// The scores s, by task; empty before the first step.
  std::span<const double> scores() const { return scores_; }

  void prepare(Index tasks) {
    if (scores_.size() >= static_cast<std::size_t>(tasks)) return;
    for (auto* state : {&scores_, &first_loss_}) state->resize(static_cast<std::size_t>(tasks), 0);
    adam_.resize(tasks);
  }
  void fields(auto&& visit) {
    visit("score", scores_);
    visit("first_loss", first_loss_);
    adam_.fields(visit);
  }

 private:
  std::vector<double> scores_, first_loss_;
  detail::TaskAdam adam_;
  std::vector<double> rate_;  // of the rows
};

}  // namespace espalier::inline ESPALIER_ABI
