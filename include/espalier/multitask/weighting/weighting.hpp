#pragma once
// Weightings map the tasks' losses (and what they have learned) to weights; the whole gradient of a task, its head's
// included, is scaled by its weight. A weighting is a plain struct:
//
//   static constexpr std::string_view name = "...";
//   void weights(std::span<const double> losses, const StepInfo& info, std::span<double> out);   // losses and out: [rows]
//   void fields(auto&& visit);                                                                   // its state, if any
//
// Rows are the tasks present in the batch; `info.task(row)` is the number of each, which indexes per-task state. A weighting
// that learns updates itself in `weights`: the update of its own parameters belongs to the step whose losses it was shown.
//
// What else a weighting may have, each called by the objective where it is there:
//
//   void prepare(Index tasks);                                              // before the first step, with all tasks
//   void begin_epoch(Index epoch);                                          // at the start of every epoch, from 0
//   void after_step(std::span<const double> losses, const StepInfo& info);  // the losses of the batch again, after the step
//   static constexpr WeightingClaims claims{...};                           // what is true of it, for tests
//
// One whose `weights` takes `(losses, GramianView gramian, info, out)` is also shown the inner products of the tasks'
// gradients in what they share, which costs a sweep of its own. With `static constexpr bool norms_alone = true` it is promised to
// look at the diagonal alone, and what is beside it is left out.

#include <cmath>
#include <concepts>
#include <vector>

#include "espalier/multitask/aggregator/aggregator.hpp"

namespace espalier::inline ESPALIER_ABI {

/// A weighting that looks at the tasks' gradients as well.
template <class W>
concept GradientWeighting =
    requires(W& w, std::span<const double> losses, GramianView gramian, const StepInfo& info, std::span<double> out) {
      { W::name } -> std::convertible_to<std::string_view>;
      { w.weights(losses, gramian, info, out) } -> std::same_as<void>;
    };

template <class W>
concept LossWeighting = GradientWeighting<W> || requires(W& w, std::span<const double> losses, const StepInfo& info,
                                                         std::span<double> out) {
  { W::name } -> std::convertible_to<std::string_view>;
  { w.weights(losses, info, out) } -> std::same_as<void>;
};

/// What is true of a weighting in whatever state it is, for losses that it takes.
struct WeightingClaims {
  bool positive = false;                 ///< Every weight is above 0 (a number that underflows apart).
  bool permutation_equivariant = false;  ///< The order of the tasks does not matter.
  bool sums_to_count = false;            ///< The weights of m tasks sum to m.
  bool sums_to_one = false;              ///< They sum to 1.
  bool scale_free = false;               ///< Multiplying all losses by one number changes no weight.
  bool unit_free = false;  ///< Multiplying a task's loss does not change which way the weighted sum's gradient points.
};

namespace detail {

/// Throws Error for a loss that is not above 0, as methods that take its logarithm need it.
inline void check_positive(std::string_view method, std::span<const double> losses, const StepInfo& info) {
  for (std::size_t i = 0; i < losses.size(); ++i)
    if (!(losses[i] > 0))
      fail(method, ": the loss of ", info.name(static_cast<Index>(i)), " is ", losses[i],
           "; it must be above 0; add a constant to the loss, or choose a method that takes any");
}
inline void check_not_negative(std::string_view method, std::span<const double> losses, const StepInfo& info) {
  for (std::size_t i = 0; i < losses.size(); ++i)
    if (!(losses[i] >= 0))
      fail(method, ": the loss of ", info.name(static_cast<Index>(i)), " is ", losses[i],
           "; it must not be negative; add a constant to the loss, or choose a method that takes any");
}

/// The place of a row's task in per-task state.
inline std::size_t place(const StepInfo& info, std::size_t row) {
  return static_cast<std::size_t>(info.task(static_cast<Index>(row)));
}
/// How many tasks the state needs room for: all that are named, or at least those of the step.
inline Index task_count(const StepInfo& info, std::size_t rows) {
  auto tasks = static_cast<Index>(info.names.size());
  for (std::size_t i = 0; i < rows; ++i) tasks = std::max(tasks, info.task(static_cast<Index>(i)) + 1);
  return tasks;
}

/// Turns scores into weights above 0 that sum to `total`; no score is too large.
inline void softmax_in_place(std::span<double> scores, double total) {
  double most = -std::numeric_limits<double>::infinity(), sum = 0;
  for (const double s : scores) most = std::max(most, s);
  for (double& s : scores) sum += s = std::exp(s - most);
  for (double& s : scores) s *= total / sum;
}

/// Throws Error for a rate that is not above 0; `method` names the one whose own Adam has it.
inline void check_lr(std::string_view method, double lr) {
  if (!(lr > 0)) fail(method, ": lr is ", lr, "; it must be above 0");
}

/// Adam in double for one number a task, each with moments and a step count of its own, so that a task which is absent from
/// a step keeps them. Without weight decay.
class TaskAdam {
 public:
  void resize(Index tasks) {
    for (auto* state : {&first_, &second_, &steps_}) state->resize(static_cast<std::size_t>(tasks), 0);
  }
  /// What the number of a task is to be changed by.
  double update(std::size_t task, double slope, double lr) {
    steps_[task] += 1;
    first_[task] = 0.9 * first_[task] + 0.1 * slope;
    second_[task] = 0.999 * second_[task] + 0.001 * slope * slope;
    const double mean = first_[task] / (1 - std::pow(0.9, steps_[task])),
                 square = second_[task] / (1 - std::pow(0.999, steps_[task]));
    return -lr * mean / (std::sqrt(square) + 1e-8);
  }
  void fields(auto&& visit) {
    visit("exp_avg", first_);
    visit("exp_avg_sq", second_);
    visit("step", steps_);
  }

 private:
  std::vector<double> first_, second_, steps_;
};

}  // namespace detail

}  // namespace espalier::inline ESPALIER_ABI
