#pragma once
// Weights that do not move: Sum, Mean and FixedWeights.

#include "espalier/multitask/weighting/weighting.hpp"

namespace espalier::inline ESPALIER_ABI {

/// Every task counts 1: the plain sum of the losses.
struct Sum {
  static constexpr std::string_view name = "sum";
  static constexpr WeightingClaims claims{
      .positive = true, .permutation_equivariant = true, .sums_to_count = true, .scale_free = true};
  void weights(std::span<const double>, const StepInfo&, std::span<double> out) const {
    for (double& w : out) w = 1;
  }
};

/// Every task that is present counts 1 / m: Sum with steps that do not grow with the number of tasks.
struct Mean {
  static constexpr std::string_view name = "mean";
  static constexpr WeightingClaims claims{
      .positive = true, .permutation_equivariant = true, .sums_to_one = true, .scale_free = true};
  void weights(std::span<const double>, const StepInfo&, std::span<double> out) const {
    for (double& w : out) w = 1 / static_cast<double>(out.size());
  }
};

/// The given weights, one per task in the objective's order (tuned fixed weights are the baseline that is hard to beat).
struct FixedWeights {
  static constexpr std::string_view name = "fixed_weights";
  static constexpr WeightingClaims claims{.scale_free = true};
  std::vector<double> values;

  /// Throws Error for a weight that is negative or not finite.
  explicit FixedWeights(std::vector<double> values_) : values(std::move(values_)) {
    for (std::size_t i = 0; i < values.size(); ++i)
      if (!(values[i] >= 0) || !std::isfinite(values[i]))
        fail("FixedWeights: weight ", i, " is ", values[i], "; weights are finite and not negative");
  }
  void weights(std::span<const double>, const StepInfo& info, std::span<double> out) const {
    for (std::size_t i = 0; i < out.size(); ++i) {
      const auto task = static_cast<std::size_t>(info.task(static_cast<Index>(i)));
      if (task >= values.size())
        fail("FixedWeights: ", values.size(), " weights for at least ", task + 1, " tasks; give one per task");
      out[i] = values[task];
    }
  }
  void fields(auto&& visit) { visit("values", values); }
};

}  // namespace espalier::inline ESPALIER_ABI
