#pragma once
// FAMO, fast adaptive multitask optimization: Liu, Feng, Stone and Liu, NeurIPS 2023, arXiv 2306.03792.

#include <cmath>

#include "espalier/multitask/weighting/weighting.hpp"

namespace espalier::inline ESPALIER_ABI {

struct FAMOOptions {
  double lr = 0.025;              // of the logits' own Adam
  double weight_decay = 1e-3;     // of the logits, added to their gradient
  std::vector<double> minima = {};  // b: a lower bound of each task's loss; empty: 0
};

/// Lets the logarithms of all losses fall at the same rate, without looking at a gradient. With D = l - b + 1e-8 and
/// z = softmax(logits), w_i = (z_i / D_i) / sum_j (z_j / D_j). After the step it must see the same batch's losses again, D':
/// the logits descend along the softmax's derivative times log D - log D', so a task whose loss fell more gets less. The
/// Trainer shows it the losses; a loop of one's own calls, after `optimizer.step()`,
///
///   objective.after_step([&] { return objective(model(batch.inputs), batch.targets); });
///
/// Every task has its own logit, moments and step count; one absent from a batch keeps them. The published code also clips the
/// gradients of what is shared to norm 1. Throws Error for a loss below its minimum.
struct FAMO {
  static constexpr std::string_view name = "famo";
  static constexpr WeightingClaims claims{.positive = true, .permutation_equivariant = true, .sums_to_one = true};
  FAMOOptions options;

  explicit FAMO(FAMOOptions options_ = {}) : options(std::move(options_)) {
    detail::check_lr("FAMO", options.lr);
    if (!(options.weight_decay >= 0)) fail("FAMO: weight_decay is ", options.weight_decay, "; it must not be negative");
  }

  void weights(std::span<const double> losses, const StepInfo& info, std::span<double> out) {
    prepare(detail::task_count(info, out.size()));
    measure(losses, info, before_);
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = logits_[detail::place(info, i)];
    detail::softmax_in_place(out, 1);
    double sum = 0;
    for (std::size_t i = 0; i < out.size(); ++i) sum += out[i] /= before_[i];
    for (double& w : out) w /= sum;
  }
  /// Learns from the losses [rows] of the same batch after the step; the rows are those of the last `weights`.
  void after_step(std::span<const double> losses, const StepInfo& info) {
    if (losses.size() != before_.size())
      fail("FAMO: ", losses.size(), " losses after the step, ", before_.size(), " before; they must be of the same batch");
    measure(losses, info, slope_);
    softmax_.resize(losses.size());
    for (std::size_t i = 0; i < losses.size(); ++i) softmax_[i] = logits_[detail::place(info, i)];
    detail::softmax_in_place(softmax_, 1);
    double mean = 0;
    for (std::size_t i = 0; i < losses.size(); ++i) {
      slope_[i] = std::log(before_[i]) - std::log(slope_[i]);
      mean += softmax_[i] * slope_[i];
    }
    for (std::size_t i = 0; i < losses.size(); ++i) {
      const std::size_t task = detail::place(info, i);
      double& logit = logits_[task];
      logit += adam_.update(task, softmax_[i] * (slope_[i] - mean) + options.weight_decay * logit, options.lr);
    }
  }
  /// The logits, by task; empty before the first step.
  std::span<const double> logits() const { return logits_; }

  void prepare(Index tasks) {
    if (!options.minima.empty() && options.minima.size() < static_cast<std::size_t>(tasks))
      fail("FAMO: ", options.minima.size(), " minima for ", tasks, " tasks; give one a task, or none");
    if (logits_.size() >= static_cast<std::size_t>(tasks)) return;
    logits_.resize(static_cast<std::size_t>(tasks), 0);
    adam_.resize(tasks);
  }
  void fields(auto&& visit) {
    visit("logits", logits_);
    adam_.fields(visit);
  }

 private:
  /// D, [rows].
  void measure(std::span<const double> losses, const StepInfo& info, std::vector<double>& out) const {
    out.resize(losses.size());
    for (std::size_t i = 0; i < losses.size(); ++i) {
      const double least = options.minima.empty() ? 0 : options.minima[detail::place(info, i)];
      if (!(losses[i] >= least))
        fail("FAMO: the loss of ", info.name(static_cast<Index>(i)), " is ", losses[i],
             "; it must not be below its minimum, ", least, "; give lower ones: {.minima = {...}}");
      out[i] = losses[i] - least + 1e-8;
    }
  }

  std::vector<double> logits_;
  detail::TaskAdam adam_;
  std::vector<double> before_, slope_, softmax_;  // of the rows
};

}  // namespace espalier::inline ESPALIER_ABI
