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

#include <concepts>
#include <vector>

#include "espalier/multitask/aggregator/aggregator.hpp"

namespace espalier::inline ESPALIER_ABI {

template <class W>
concept LossWeighting = requires(W& w, std::span<const double> losses, const StepInfo& info, std::span<double> out) {
  { W::name } -> std::convertible_to<std::string_view>;
  { w.weights(losses, info, out) } -> std::same_as<void>;
};

}  // namespace espalier::inline ESPALIER_ABI
