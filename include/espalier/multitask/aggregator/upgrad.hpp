#pragma once
// UPGrad: every task gradient is projected onto the directions that harm no task, and the projections are averaged.
// Quinton and Rey, "Jacobian descent for multi-objective optimization", 2024, arXiv 2406.16232.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <string_view>
#include <vector>

#include "espalier/core/parallel.hpp"
#include "espalier/multitask/aggregator/aggregator.hpp"
#include "espalier/multitask/aggregator/nnls.hpp"

namespace espalier::inline ESPALIER_ABI {

struct UPGradOptions {
  /// How much each task counts, one number for every task of the objective, absent ones included; empty: all alike.
  /// Only the ratios matter: they are scaled to sum to 1 over the active tasks, so that leaving a task out for a step
  /// and not having it are the same. A task of preference 0 is not pursued, but not harmed either.
  std::vector<double> preference = {};
};

/// w = sum_i p_i argmin { v'Gv : v >= e_i }, in closed form for two conflicting tasks:
/// w_1 = p_1 - p_2 G_12 / G_11, w_2 = p_2 - p_1 G_12 / G_22. Nothing is regularised, and the scale of the gradients
/// cancels: the programs are solved on cosines. The weights are at least p, and equal p when no two gradients conflict.
///
/// The certificate's residual is the largest violation of the optimality conditions over the programs, per unit of the
/// two gradients concerned: g_j d >= -residual |g_j| sum_i p_i |g_i|. Up to 1e-9 the result is exact, else capped. Rows
/// that depend on each other, exactly or nearly, are fine (their weights are then one choice of many); a capped result
/// means that G is no Gramian up to rounding in double, for instance because its sums were taken in float.
struct UPGrad {
  static constexpr std::string_view name = "upgrad";
  static constexpr Claims claims{.degree = 1,
                                 .non_conflicting = true,
                                 .permutation_equivariant = true,
                                 .linear_under_scaling = true,
                                 .non_negative = true,
                                 .stops_at_strong_only = true};
  static constexpr double tolerance = 1e-9;

  UPGradOptions options = {};

  /// Writes the weights [m]. Throws Error when sizes disagree, a gradient is not finite or a preference is negative.
  Certificate weights(GramianView gramian, const StepInfo& info, std::span<double> out) const;

  void fields(auto&& visit) { visit("preference", options.preference); }
};

namespace detail {

struct UPGradScratch {
  Cosines cosines;
  std::vector<double> preference;   // [m]
  std::vector<double> linear;       // [m, m]
  std::vector<double> projections;  // [m, m]: row i holds z of program i
  std::vector<NnlsResult> results;  // [m]
};

}  // namespace detail

inline Certificate UPGrad::weights(GramianView gramian, const StepInfo& info, std::span<double> out) const {
  detail::check_gramian(name, gramian, info, out.size());
  if (!detail::row_preferences(name, options.preference, info, out))
    return {.status = Certificate::Status::no_active_task};

  // Program i, with v_j = (e_i + z)_j |g_i| / |g_j|: minimise z'Cz / 2 + c_i'z over z >= 0, C the cosines. The norm of
  // g_i cancels, and so does p_i. z_i stays 0, as more of g_i would only make v'Gv larger.
  const Index m = gramian.tasks;
  const std::size_t size = out.size();
  auto& memory = detail::scratch<detail::UPGradScratch>();
  memory.cosines.assign(gramian);
  memory.preference.assign(out.begin(), out.end());
  memory.linear = memory.cosines.values;
  memory.projections.resize(size * size);
  memory.results.resize(size);
  parallel_for(m, m * m * m * m / 4, [&](Index i) {
    const auto row = static_cast<std::size_t>(i);
    const auto linear = std::span(memory.linear).subspan(row * size, size);
    const auto z = std::span(memory.projections).subspan(row * size, size);
    linear[row] = std::numeric_limits<double>::infinity();
    if (memory.preference[row] > 0) {
      memory.results[row] = detail::scratch<Nnls>().solve(memory.cosines.view(), linear, 1, z);
    } else {
      memory.results[row] = {};
      std::ranges::fill(z, 0.0);
    }
  });

  Certificate certificate;
  for (std::size_t i = 0; i < size; ++i) {
    const NnlsResult& result = memory.results[i];
    certificate.iterations += result.iterations;
    certificate.residual = std::max(certificate.residual, result.residual);
    const double* z = memory.projections.data() + i * size;
    for (std::size_t j = 0; j < size; ++j)
      if (z[j] > 0) out[j] += memory.preference[i] * z[j] * (memory.cosines.lengths[i] / memory.cosines.lengths[j]);
  }
  if (!(certificate.residual <= tolerance)) certificate.status = Certificate::Status::capped;
  return certificate;
}

static_assert(GramianAggregator<const UPGrad>);

}  // namespace espalier::inline ESPALIER_ABI
