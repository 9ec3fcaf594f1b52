#pragma once
// RLW, random loss weighting: Lin, Ye, Zhang and Tsang, "Reasonable effectiveness of random weighting", TMLR 2022,
// arXiv 2111.10603.

#include <string_view>

#include "espalier/core/random.hpp"
#include "espalier/multitask/weighting/weighting.hpp"

namespace espalier::inline ESPALIER_ABI {

struct RLWOptions {
  std::uint64_t seed = 0;
};

/// The softmax of a standard normal number a task, drawn anew in every step. A draw is a function of the seed, the step and
/// the task's name alone: it is the same after a resume, and no task shifts another one's. A baseline: what learns its
/// weights should do better.
struct RLW {
  static constexpr std::string_view name = "rlw";
  static constexpr WeightingClaims claims{.positive = true, .sums_to_one = true, .scale_free = true};
  RLWOptions options = {};

  void weights(std::span<const double>, const StepInfo& info, std::span<double> out) const {
    const Rng rng(options.seed);
    for (std::size_t i = 0; i < out.size(); ++i) {
      const std::size_t task = detail::place(info, i);
      const std::uint64_t key = info.names.empty() ? detail::mix(task) : detail::hash_name(info.names[task]);
      out[i] = rng.draws(key, info.step).normal(0);
    }
    detail::softmax_in_place(out, 1);
  }
  void fields(auto&& visit) { visit("seed", options.seed); }
};

}  // namespace espalier::inline ESPALIER_ABI
