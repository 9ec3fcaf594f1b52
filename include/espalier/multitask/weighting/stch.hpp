#pragma once
// STCH, smooth Tchebycheff scalarisation: Lin et al., "Smooth Tchebycheff scalarization for multi-objective optimization",
// ICML 2024, arXiv 2402.19078.

#include <cmath>

#include "espalier/multitask/weighting/weighting.hpp"

namespace espalier::inline ESPALIER_ABI {

struct STCHOptions {
  double mu = 0;                         // how smooth; must be given: it is in the losses' unit (the paper tries 0.01 to 1)
  std::vector<double> preference = {};   // lambda: one number a task; empty: all alike; scaled to sum to 1 over the step's tasks
  std::vector<double> ideal = {};        // z: the best loss that a task can reach, one a task; empty: 0
};

/// Minimises mu log sum_i exp(lambda_i (l_i - z_i) / mu), a smooth form of the largest lambda_i (l_i - z_i): the worst task is
/// pursued most, and for mu -> 0 alone. w_i = lambda_i softmax(lambda (l - z) / mu)_i. (LibMTL's method of this name is
/// another one, on logarithms, with a warm-up.)
///
/// Throws Error for a mu that is not above 0 and for a wrong number of preferences or ideals.
struct STCH {
  static constexpr std::string_view name = "stch";
  static constexpr WeightingClaims claims{.positive = true, .permutation_equivariant = true};
  STCHOptions options;

  explicit STCH(STCHOptions options_) : options(std::move(options_)) {
    if (!(options.mu > 0 && std::isfinite(options.mu)))
      fail("STCH: mu is ", options.mu, "; it must be above 0; give it in the unit of the losses: {.mu = 0.1}");
    for (std::size_t i = 0; i < options.ideal.size(); ++i)
      if (!std::isfinite(options.ideal[i])) fail("STCH: ideal ", i, " is ", options.ideal[i], "; it must be finite");
  }

  void weights(std::span<const double> losses, const StepInfo& info, std::span<double> out) {
    preference_.resize(out.size());
    if (!detail::row_preferences("STCH", options.preference, info, preference_)) {
      for (double& w : out) w = 0;
      return;
    }
    for (std::size_t i = 0; i < out.size(); ++i) {
      const std::size_t task = detail::place(info, i);
      if (!options.ideal.empty() && task >= options.ideal.size())
        fail("STCH: there are ", options.ideal.size(), " ideals, but ", info.name(static_cast<Index>(i)), " is number ", task,
             "; give one a task, absent tasks included, or none");
      out[i] = preference_[i] * (losses[i] - (options.ideal.empty() ? 0 : options.ideal[task])) / options.mu;
    }
    detail::softmax_in_place(out, 1);
    for (std::size_t i = 0; i < out.size(); ++i) out[i] *= preference_[i];
  }
  void fields(auto&& visit) {
    visit("mu", options.mu);
    visit("preference", options.preference);
    visit("ideal", options.ideal);
  }

 private:
  std::vector<double> preference_;  // of the rows
};

}  // namespace espalier::inline ESPALIER_ABI
