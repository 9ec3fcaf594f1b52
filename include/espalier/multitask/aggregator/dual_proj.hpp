#pragma once
// DualProj: the mean gradient, projected onto the directions that harm no task. Lopez-Paz and Ranzato, "Gradient episodic
// memory for continual learning", NeurIPS 2017, arXiv 1706.08840; under this name in Quinton and Rey, arXiv 2406.16232.

#include <string_view>
#include <vector>

#include "espalier/multitask/aggregator/nnls.hpp"

namespace espalier::inline ESPALIER_ABI {

struct DualProjOptions {
  /// How much each task counts in the mean, one number for every task of the objective, or none: all alike. Only the
  /// ratios matter: they are scaled to sum to 1 over the active tasks.
  std::vector<double> preference = {};
};

/// w = argmin { v'Gv : v >= p }. UPGrad projects every gradient and averages then; this averages first, which lets a large
/// gradient outvote the small ones. The residual is the violation of the optimality conditions per unit of the gradients:
/// g_j d >= -residual |g_j| sum_i p_i |g_i|.
struct DualProj {
  static constexpr std::string_view name = "dual_proj";
  static constexpr Claims claims{.degree = 1,
                                 .non_conflicting = true,
                                 .permutation_equivariant = true,
                                 .non_negative = true,
                                 .stops_at_strong_only = true};
  static constexpr double tolerance = 1e-9;

  DualProjOptions options = {};

  /// Writes the weights [m]. Throws Error when sizes disagree, a gradient is not finite or a preference is negative.
  Certificate weights(GramianView gramian, const StepInfo& info, std::span<double> out) const;

  void fields(auto&& visit) { visit("preference", options.preference); }
};

namespace detail {

struct DualProjScratch {
  Cosines cosines;
  std::vector<double> start, linear, z;  // [m]
  Nnls solver;
};

}  // namespace detail

inline Certificate DualProj::weights(GramianView gramian, const StepInfo& info, std::span<double> out) const {
  detail::check_gramian(name, gramian, info, out.size());
  if (!detail::row_preferences(name, options.preference, info, out))
    return {.status = Certificate::Status::no_active_task};

  // With w_j = p_j + z_j unit / |g_j| and a_j = p_j |g_j| / unit: minimise z'Cz / 2 + (Ca)'z over z >= 0.
  auto& memory = detail::scratch<detail::DualProjScratch>();
  memory.cosines.assign(gramian);
  const Index m = gramian.tasks;
  for (auto* v : {&memory.start, &memory.linear, &memory.z}) v->resize(out.size());
  double unit = 0;
  for (std::size_t i = 0; i < out.size(); ++i) unit += out[i] * memory.cosines.lengths[i];
  for (std::size_t i = 0; i < out.size(); ++i) memory.start[i] = detail::share(out[i] * memory.cosines.lengths[i], unit);
  detail::times(memory.cosines.view(), memory.start.data(), memory.linear.data());
  const double square = detail::inner(memory.start.data(), memory.linear.data(), m);
  // Where the mean vanishes, slopes are rounding; so is the mean's square, which must not be taken at its word either.
  const double noise = 4 * std::numeric_limits<double>::epsilon() * static_cast<double>(m);
  for (double& b : memory.linear)
    if (std::abs(b) <= noise) b = 0;
  const NnlsResult result =
      memory.solver.solve(memory.cosines.view(), memory.linear, std::max(square, 0.0) + noise, memory.z);
  for (std::size_t j = 0; j < out.size(); ++j)
    if (memory.z[j] > 0) out[j] += memory.z[j] * (unit / memory.cosines.lengths[j]);
  return {.residual = result.residual,
          .iterations = result.iterations,
          .status = result.residual <= tolerance ? Certificate::Status::exact : Certificate::Status::capped};
}

static_assert(GramianAggregator<const DualProj>);

}  // namespace espalier::inline ESPALIER_ABI
