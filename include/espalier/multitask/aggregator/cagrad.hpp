#pragma once
// CAGrad, conflict-averse gradient descent: near the mean gradient, the direction whose worst task gains most. Liu et al.,
// NeurIPS 2021, arXiv 2110.14048.

#include <string_view>
#include <utility>
#include <vector>

#include "espalier/multitask/aggregator/min_norm.hpp"

namespace espalier::inline ESPALIER_ABI {

struct CAGradOptions {
  double c = 0.5;  ///< How far from the mean the direction may go, in its lengths; from 1 on no task is harmed.
  /// What the result is divided by: nothing; 1 + c (the authors' toy problem); 1 + c^2 (LibMTL).
  enum class Rescale { none, one_plus_c, one_plus_c_squared };
  Rescale rescale = Rescale::none;
  /// The weights of the mean g_0 = J'p, one number for every task of the objective, or none: all alike. Scaled to sum 1.
  std::vector<double> preference = {};
};

/// max over d of min_i g_i d with |d - g_0| <= c |g_0|: w = p + c (|g_0| / |J'v|) v, where v minimises
/// v'Gp + c |g_0| |J'v| over the simplex. Since |x| = min over t > 0 of (|x|^2 / t + t) / 2, v is the shortest vector in the
/// hull of the g_i + tau g_0 for the one tau = t / (c |g_0|) at which |J'v| = t, found as a root.
///
/// The residual is the largest violation of g_i d >= sum_j v_j g_j d per max(|g_i|, u) |g_0| (1 + c), u = sum_j v_j |g_j|.
/// Where J'v = 0 is best, so that there is no direction to lean to (a gradient is zero, or they cancel), it falls back to
/// the mean, w = p, and says so.
struct CAGrad {
  static constexpr std::string_view name = "cagrad";
  /// For c >= 1 it is non-conflicting as well.
  static constexpr Claims claims{.degree = 1, .permutation_equivariant = true, .non_negative = true};
  static constexpr double tolerance = 1e-9;

  CAGradOptions options;

  /// Throws Error unless c is finite and not negative.
  explicit CAGrad(CAGradOptions options_ = {}) : options(std::move(options_)) { detail::check_option(name, "c", options.c); }

  /// Writes the weights [m]. Throws Error when sizes disagree, a gradient is not finite or a preference is negative.
  Certificate weights(GramianView gramian, const StepInfo& info, std::span<double> out) const;

  void fields(auto&& visit) { visit("preference", options.preference); }
};

namespace detail {

/// The family of hulls, in units of the longest gradient.
struct CAGradScratch {
  std::vector<double> gram, shifted;  // [m, m]: G; that of g_i + tau g_0
  std::vector<double> mean, v, image;  // [m]: Gp; the point of the hull; G v
  double square = 0, radius = 0;       // |g_0|^2, c |g_0|
  double reached = 0, unit = 0;        // of the last v: |J'v|^2, and sum_j v_j |g_j|
  int iterations = 0;
  MinNorm solver;

  GramianView view() const { return {gram, static_cast<Index>(mean.size())}; }
  /// Makes v the hull's shortest vector at tau = t / radius; returns |J'v|^2.
  double solve(double t) {
    const double tau = t / radius;
    const std::size_t m = mean.size();
    shifted.resize(gram.size());
    for (std::size_t i = 0; i < m; ++i)
      for (std::size_t j = 0; j < m; ++j) shifted[i * m + j] = gram[i * m + j] + tau * (mean[i] + mean[j] + tau * square);
    iterations += solver.solve({shifted, static_cast<Index>(m)}, v).iterations;
    times(view(), v.data(), image.data());
    unit = 0;
    for (std::size_t i = 0; i < m; ++i) unit += v[i] * std::sqrt(gram[i * m + i]);
    return reached = std::max(0.0, inner(v.data(), image.data(), static_cast<Index>(m)));
  }
};

}  // namespace detail

inline Certificate CAGrad::weights(GramianView gramian, const StepInfo& info, std::span<double> out) const {
  using Status = Certificate::Status;
  detail::check_gramian(name, gramian, info, out.size());
  if (!detail::row_preferences(name, options.preference, info, out)) return {.status = Status::no_active_task};
  const double shrink = options.rescale == CAGradOptions::Rescale::none         ? 1
                        : options.rescale == CAGradOptions::Rescale::one_plus_c ? 1 / (1 + options.c)
                                                                                : 1 / (1 + options.c * options.c);
  const Index m = gramian.tasks;
  auto& memory = detail::scratch<detail::CAGradScratch>();
  for (auto* x : {&memory.mean, &memory.v, &memory.image}) x->resize(out.size());
  memory.iterations = 0;
  double longest = 0, total = 0;
  for (Index i = 0; i < m; ++i) longest = std::max(longest, gramian(i, i));
  memory.gram.resize(gramian.values.size());
  for (std::size_t k = 0; k < memory.gram.size(); ++k) memory.gram[k] = detail::share(gramian.values[k], longest);
  for (Index i = 0; i < m; ++i) total += out[static_cast<std::size_t>(i)] * std::sqrt(memory.view()(i, i));
  detail::times(memory.view(), out.data(), memory.mean.data());
  memory.square = detail::inner(out.data(), memory.mean.data(), m);
  const bool mean_vanishes = !(memory.square > 1e-15 * static_cast<double>(m) * total * total);
  memory.radius = mean_vanishes ? 0 : options.c * std::sqrt(memory.square);
  if (memory.radius == 0) {  // the ball is a point: the mean is the answer
    for (double& w : out) w *= shrink;
    return {};
  }

  // |J'v(t)| / t falls in t; its root lies between the least |J'v| there is and the longest gradient, 1.
  constexpr double resolution = 1e-12;  // of |J'v|^2 per u^2: what is left of it after cancellation
  const MinNormResult least = memory.solver.solve(memory.view(), memory.v);
  memory.iterations += least.iterations;
  const double floor = resolution * least.unit * least.unit, low = std::sqrt(std::max(least.square, floor));
  if (low == 0 || (least.square < floor && memory.solve(low) < low * low)) {
    for (double& w : out) w *= shrink;
    return {.iterations = memory.iterations, .status = Status::fallback, .fallback = "mean"};
  }
  const auto excess = [&](double x) { return 0.5 * std::log(std::max(memory.solve(std::exp(x)), 1e-300)) - x; };
  double a = std::log(low), b = 0, fa = excess(a), fb = fa > 0 ? excess(b) : 0;
  int last = 0;
  for (int step = 0; step < 100 && fa > 0 && fb < 0; ++step) {  // false position on logarithms, Illinois' variant
    const double x = (a * fb - b * fa) / (fb - fa), fx = excess(x);
    if (std::abs(fx) < 1e-15 || !(x > a && x < b)) break;
    (fx > 0 ? a : b) = x;
    (fx > 0 ? fa : fb) = fx;
    if (const int side = fx > 0 ? 1 : -1; std::exchange(last, side) == side) (side > 0 ? fb : fa) *= 0.5;
  }

  const double factor = memory.radius / std::sqrt(memory.reached), reach = std::sqrt(memory.square) * (1 + options.c);
  double level = 0;  // sum_j v_j g_j d
  for (std::size_t i = 0; i < out.size(); ++i) level += memory.v[i] * (memory.mean[i] + factor * memory.image[i]);
  Certificate certificate{.iterations = memory.iterations};
  for (Index i = 0; i < m; ++i) {
    const auto row = static_cast<std::size_t>(i);
    const double gain = memory.mean[row] + factor * memory.image[row];
    certificate.residual = std::max(certificate.residual,
                                    (level - gain) / (std::max(std::sqrt(memory.view()(i, i)), memory.unit) * reach));
    out[row] = (out[row] + factor * memory.v[row]) * shrink;
  }
  if (!(certificate.residual <= tolerance)) certificate.status = Status::capped;
  return certificate;
}

static_assert(GramianAggregator<const CAGrad>);

}  // namespace espalier::inline ESPALIER_ABI
