#pragma once
// DWA, dynamic weight average: Liu, Johns and Davison, "End-to-end multi-task learning with attention", CVPR 2019,
// arXiv 1803.10704.

#include "espalier/multitask/weighting/weighting.hpp"

namespace espalier::inline ESPALIER_ABI {

struct DWAOptions {
  double temperature = 2;  // large: all weights near 1
};

/// Weighs a task by how fast its loss falls: with r the ratio of its mean losses over the last two epochs,
/// w = m softmax(r / temperature) over the m tasks of the step. It must be told when an epoch begins: the Trainer does, a loop
/// of one's own calls `objective.begin_epoch(epoch)`; without that it weighs nothing. In the first two epochs, and for a
/// task that had no labels in one of the two, r is 1; so it is where the older mean is 0. An epoch without a label of a task
/// does not count for it.
///
/// Throws Error for a negative loss, and for a temperature that is not above 0.
struct DWA {
  static constexpr std::string_view name = "dwa";
  static constexpr WeightingClaims claims{.positive = true, .permutation_equivariant = true, .sums_to_count = true};
  DWAOptions options;

  explicit DWA(DWAOptions options_ = {}) : options(options_) {
    if (!(options.temperature > 0)) fail("DWA: the temperature is ", options.temperature, "; it must be above 0");
  }

  void weights(std::span<const double> losses, const StepInfo& info, std::span<double> out) {
    detail::check_not_negative("DWA", losses, info);
    prepare(detail::task_count(info, out.size()));
    for (std::size_t i = 0; i < out.size(); ++i) {
      const std::size_t task = detail::place(info, i);
      sum_[task] += losses[i];
      count_[task] += 1;
      out[i] = (older_[task] > 0 ? last_[task] / older_[task] : 1) / options.temperature;
    }
    detail::softmax_in_place(out, static_cast<double>(out.size()));
  }
  /// Ends the epoch before: its means become the last ones. Without a step in between nothing changes.
  void begin_epoch(Index) {
    for (std::size_t task = 0; task < sum_.size(); ++task) {
      if (count_[task] == 0) continue;
      older_[task] = last_[task];
      last_[task] = sum_[task] / count_[task];
      sum_[task] = count_[task] = 0;
    }
  }

  void prepare(Index tasks) {
    if (sum_.size() >= static_cast<std::size_t>(tasks)) return;
    for (auto* state : {&sum_, &count_, &last_, &older_}) state->resize(static_cast<std::size_t>(tasks), 0);
  }
  void fields(auto&& visit) {
    visit("sum", sum_);
    visit("count", count_);
    visit("last_mean", last_);
    visit("older_mean", older_);
  }

 private:
  std::vector<double> sum_, count_;   // of this epoch's losses
  std::vector<double> last_, older_;  // mean losses of the two epochs before; 0 where there was none
};

}  // namespace espalier::inline ESPALIER_ABI
