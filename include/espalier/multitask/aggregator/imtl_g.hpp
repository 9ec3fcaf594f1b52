#pragma once
// IMTL-G, impartial learning: the direction whose projections on all task gradients, as unit vectors, are equal. Liu et al.,
// "Towards impartial multi-task learning", ICLR 2021.

#include <string_view>
#include <vector>

#include "espalier/multitask/aggregator/symmetric_eigen.hpp"

namespace espalier::inline ESPALIER_ABI {

struct IMTLGOptions {
  /// The projections asked for, one number for every task of the objective, or none: all alike. Only the ratios matter.
  std::vector<double> preference = {};
};

/// w = v / sum v with v_i = x_i / |g_i|, C x = p, C the cosines (the pseudo-inverse where they are singular). A gradient of
/// length zero gets no weight. The residual is the largest |Cx - p| / max p: up to 1e-9 the result is exact; else capped,
/// since gradients that depend on each other need not have equal projections on anything.
///
/// For three tasks and more sum v may be negative, and v / sum v would then make every loss rise; where it is, or vanishes
/// beside sum |v|, the result falls back to the mean, w = p, and says so.
struct IMTLG {
  static constexpr std::string_view name = "imtl_g";
  /// Where exact, it is non-conflicting as well.
  static constexpr Claims claims{.degree = 1, .permutation_equivariant = true};
  static constexpr double tolerance = 1e-9;

  IMTLGOptions options = {};

  /// Writes the weights [m]. Throws Error when sizes disagree, a gradient is not finite or a preference is negative.
  Certificate weights(GramianView gramian, const StepInfo& info, std::span<double> out) const;

  void fields(auto&& visit) { visit("preference", options.preference); }
};

namespace detail {

/// C x = p by eigenvalues, with one step of refinement: IMTL-G, ConFIG.
struct EqualAngles {
  Cosines cosines;
  SymmetricEigen eigen;
  std::vector<double> preference, x, rest, correction;  // [m]

  /// Returns the largest |Cx - p| / max p, for p in `preference`.
  double solve(GramianView gramian, double epsilon) {
    cosines.assign(gramian);
    eigen.assign(cosines.view());
    for (auto* v : {&x, &rest, &correction}) v->resize(preference.size());
    eigen.apply(-1, epsilon, preference, x);
    double worst = 0, unit = 0;
    for (int pass = 0; pass < 2; ++pass) {
      times(cosines.view(), x.data(), rest.data());
      worst = unit = 0;
      for (std::size_t i = 0; i < x.size(); ++i) {
        rest[i] = preference[i] - rest[i];
        worst = std::max(worst, std::abs(rest[i]));
        unit = std::max(unit, preference[i]);
      }
      if (pass > 0) break;
      eigen.apply(-1, epsilon, rest, correction);
      for (std::size_t i = 0; i < x.size(); ++i) x[i] += correction[i];
    }
    return worst / unit;
  }
};

}  // namespace detail

inline Certificate IMTLG::weights(GramianView gramian, const StepInfo& info, std::span<double> out) const {
  using Status = Certificate::Status;
  detail::check_gramian(name, gramian, info, out.size());
  if (!detail::row_preferences(name, options.preference, info, out)) return {.status = Status::no_active_task};
  auto& memory = detail::scratch<detail::EqualAngles>();
  memory.preference.assign(out.begin(), out.end());
  const double residual = memory.solve(gramian, info.epsilon);
  double sum = 0, size = 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const double length = memory.cosines.lengths[i];
    memory.x[i] = length > 0 ? memory.x[i] / length : 0;
    sum += memory.x[i];
    size += std::abs(memory.x[i]);
  }
  const int iterations = memory.eigen.rotations;
  if (!(sum > 1e-9 * size)) return {residual, iterations, Status::fallback, "mean"};
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = memory.x[i] / sum;
  return {residual, iterations, residual <= tolerance ? Status::exact : Status::capped, {}};
}

static_assert(GramianAggregator<const IMTLG>);

}  // namespace espalier::inline ESPALIER_ABI
