#pragma once
// MGDA, the multiple-gradient descent algorithm: the shortest vector in the convex hull of the task gradients. Desideri,
// "Multiple-gradient descent algorithm for multiobjective optimization", 2012; Sener and Koltun, "Multi-task learning as
// multi-objective optimization", NeurIPS 2018, arXiv 1810.04650.

#include <string_view>
#include <vector>

#include "espalier/multitask/aggregator/min_norm.hpp"

namespace espalier::inline ESPALIER_ABI {

struct MGDAOptions {
  /// What the gradients are divided by before the weights are sought; the weights are then those of the plain gradients.
  enum class Normalise {
    none,
    length,       ///< |g_i| (Sener and Koltun's l2)
    loss,         ///< l_i, which must be positive
    loss_length,  ///< l_i |g_i| (their loss+)
  };
  Normalise normalise = Normalise::none;
  /// How much each task's loss counts, one number for every task of the objective, or none: all alike. A task of
  /// preference 0 gets no weight.
  std::vector<double> preference = {};
};

/// w = argmin { w'Gw : w >= 0, sum w = 1 }. It is zero as soon as one gradient is: without a step for that task there is no
/// step for anyone. The residual is the largest violation of (Gw)_i >= w'Gw per max(|g_i|, u) u with u = sum_j w_j |g_j|.
///
/// With preferences p (scaled to mean 1) the hull is that of p_i g_i, and w_i its weight times p_i: the tasks' losses are
/// multiplied by p.
struct MGDA {
  static constexpr std::string_view name = "mgda";
  static constexpr Claims claims{
      .degree = 1, .non_conflicting = true, .permutation_equivariant = true, .non_negative = true};
  static constexpr double tolerance = 1e-9;

  MGDAOptions options = {};

  /// Writes the weights [m]. Throws Error when sizes disagree, a gradient is not finite or a preference is negative.
  Certificate weights(GramianView gramian, const StepInfo& info, std::span<double> out) const;

  void fields(auto&& visit) { visit("preference", options.preference); }
};

namespace detail {

struct MGDAScratch {
  std::vector<Index> kept;                 // rows of positive preference
  std::vector<double> factor, gram, best;  // [m]: what a row is multiplied by; [kept, kept]; [kept]
  MinNorm solver;
};

}  // namespace detail

inline Certificate MGDA::weights(GramianView gramian, const StepInfo& info, std::span<double> out) const {
  detail::check_gramian(name, gramian, info, out.size());
  if (!detail::row_preferences(name, options.preference, info, out))
    return {.status = Certificate::Status::no_active_task};
  auto& memory = detail::scratch<detail::MGDAScratch>();
  memory.kept.clear();
  memory.factor.resize(out.size());
  const bool by_loss =
      options.normalise == MGDAOptions::Normalise::loss || options.normalise == MGDAOptions::Normalise::loss_length;
  const bool by_length =
      options.normalise == MGDAOptions::Normalise::length || options.normalise == MGDAOptions::Normalise::loss_length;
  for (Index i = 0; i < gramian.tasks; ++i) {
    const auto row = static_cast<std::size_t>(i);
    if (out[row] > 0) memory.kept.push_back(i);
    out[row] *= static_cast<double>(gramian.tasks);
    memory.factor[row] = out[row];
    if (by_loss) {
      const double loss = detail::row_loss(name, info, i);
      if (!(loss > 0)) fail(name, ": the loss of ", info.name(i), " is ", loss, "; to divide by it, it must be positive");
      memory.factor[row] /= loss;
    }
    if (by_length && gramian(i, i) > 0) memory.factor[row] /= std::sqrt(gramian(i, i));
  }
  const auto kept = static_cast<Index>(memory.kept.size());
  memory.gram.clear();
  memory.best.resize(memory.kept.size());
  for (const Index i : memory.kept)
    for (const Index j : memory.kept)
      memory.gram.push_back(memory.factor[static_cast<std::size_t>(i)] * gramian(i, j) *
                            memory.factor[static_cast<std::size_t>(j)]);
  const MinNormResult result = memory.solver.solve({memory.gram, kept}, memory.best);
  for (std::size_t k = 0; k < memory.kept.size(); ++k) out[static_cast<std::size_t>(memory.kept[k])] *= memory.best[k];
  return {.residual = result.residual,
          .iterations = result.iterations,
          .status = result.residual <= tolerance ? Certificate::Status::exact : Certificate::Status::capped};
}

static_assert(GramianAggregator<const MGDA>);

}  // namespace espalier::inline ESPALIER_ABI
