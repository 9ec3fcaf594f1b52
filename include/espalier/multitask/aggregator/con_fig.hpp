#pragma once
// ConFIG, conflict-free inverse gradients: the direction that has the same cosine with every task gradient, as long as the
// sum of the gradients' projections on it. Liu, Chu and Thuerey, ICLR 2025, arXiv 2408.11104.

#include <string_view>
#include <vector>

#include "espalier/multitask/aggregator/imtl_g.hpp"

namespace espalier::inline ESPALIER_ABI {

struct ConFIGOptions {
  /// The cosines asked for, one number for every task of the objective, or none: all alike. Only the ratios matter.
  std::vector<double> preference = {};
};

/// u_i = b_i / |g_i| / sqrt(b'Cb) with C b = p, C the cosines (the pseudo-inverse where they are singular);
/// w = (1'Gu) u. The papers' pseudo-inverse of the [m, n] matrix of unit gradients, by its [m, m] form. A gradient of length
/// zero gets no weight. The residual is the largest |Cb - p| / max p: up to 1e-9 the result is exact; else capped, since
/// gradients that depend on each other need not have equal cosines with anything, and the direction may conflict. Where
/// they cancel altogether, b'Cb = 0, it falls back to the sum and says so.
struct ConFIG {
  static constexpr std::string_view name = "config";
  /// Where exact, it is non-conflicting, linear and, apart from its length, invariant under scaling as well.
  static constexpr Claims claims{.degree = 1, .permutation_equivariant = true};
  static constexpr double tolerance = 1e-9;

  ConFIGOptions options = {};

  /// Writes the weights [m]. Throws Error when sizes disagree, a gradient is not finite or a preference is negative.
  Certificate weights(GramianView gramian, const StepInfo& info, std::span<double> out) const;

  void fields(auto&& visit) { visit("preference", options.preference); }
};

inline Certificate ConFIG::weights(GramianView gramian, const StepInfo& info, std::span<double> out) const {
  using Status = Certificate::Status;
  detail::check_gramian(name, gramian, info, out.size());
  if (!detail::row_preferences(name, options.preference, info, out)) return {.status = Status::no_active_task};
  auto& memory = detail::scratch<detail::EqualAngles>();
  const Index m = gramian.tasks;
  memory.preference.assign(out.begin(), out.end());
  const double residual = memory.solve(gramian, info.epsilon);
  const int iterations = memory.eigen.rotations;
  // b'Cb, and the projections of the gradients on J'u, without the gradients of length zero.
  for (std::size_t i = 0; i < out.size(); ++i)
    if (memory.cosines.lengths[i] == 0) memory.x[i] = 0;
  detail::times(memory.cosines.view(), memory.x.data(), memory.rest.data());
  const double square = detail::inner(memory.x.data(), memory.rest.data(), m);
  const double unit = detail::inner(memory.x.data(), memory.x.data(), m);
  if (!(square > 4 * static_cast<double>(m) * info.epsilon * unit) || unit < 1e-20) {
    for (double& w : out) w *= static_cast<double>(m);
    return {residual, iterations, Status::fallback, "sum"};
  }
  const double length = std::sqrt(square), gain = detail::inner(memory.rest.data(), memory.cosines.lengths.data(), m) / length;
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = memory.x[i] == 0 ? 0 : gain * memory.x[i] / length / memory.cosines.lengths[i];
  return {residual, iterations, residual <= tolerance ? Status::exact : Status::capped, {}};
}

static_assert(GramianAggregator<const ConFIG>);

}  // namespace espalier::inline ESPALIER_ABI
