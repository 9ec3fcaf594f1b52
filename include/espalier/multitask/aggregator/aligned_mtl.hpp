#pragma once
// Aligned-MTL: makes the principal components of the gradients equally long, so that none dominates. Senushkin et al.,
// "Independent component alignment for multi-task learning", CVPR 2023, arXiv 2305.19000.

#include <string_view>
#include <vector>

#include "espalier/core/order.hpp"
#include "espalier/multitask/aggregator/symmetric_eigen.hpp"

namespace espalier::inline ESPALIER_ABI {

struct AlignedMTLOptions {
  /// The common length: of the shortest component (the paper), of the median one (the lower of two), or the root of the
  /// mean square of them all.
  enum class Scale { min, median, rmse };
  Scale scale = Scale::min;
  /// How much each task counts, one number for every task of the objective, or none: all alike. Scaled to sum 1.
  std::vector<double> preference = {};
};

/// With G = V L V': w = s V L^-1/2 V'p over the eigenvalues that stand out of the rounding (above m epsilon times the
/// largest), s the square root of one of them or of their mean. The residual is the largest |(V'GV - L)_kl| /
/// sqrt(L_k max L) that the decomposition left, over those eigenvalues.
struct AlignedMTL {
  static constexpr std::string_view name = "aligned_mtl";
  static constexpr Claims claims{.degree = 1, .permutation_equivariant = true};
  static constexpr double tolerance = 1e-9;

  AlignedMTLOptions options = {};

  /// Writes the weights [m]. Throws Error when sizes disagree, a gradient is not finite or a preference is negative.
  Certificate weights(GramianView gramian, const StepInfo& info, std::span<double> out) const;

  void fields(auto&& visit) { visit("preference", options.preference); }
};

namespace detail {

struct AlignedScratch {
  SymmetricEigen eigen;
  std::vector<double> scaled, preference, image;  // G in units of its largest entry; [m]
  std::vector<Index> kept;                        // eigenvalues that count, rising
};

}  // namespace detail

inline Certificate AlignedMTL::weights(GramianView gramian, const StepInfo& info, std::span<double> out) const {
  using Status = Certificate::Status;
  detail::check_gramian(name, gramian, info, out.size());
  if (!detail::row_preferences(name, options.preference, info, out)) return {.status = Status::no_active_task};
  auto& memory = detail::scratch<detail::AlignedScratch>();
  const Index m = gramian.tasks;
  double unit = 0;
  for (Index i = 0; i < m; ++i) unit = std::max(unit, gramian(i, i));
  if (unit < std::numeric_limits<double>::min()) return {};  // nothing to align: w = p
  memory.scaled.assign(gramian.values.begin(), gramian.values.end());
  for (double& g : memory.scaled) g /= unit;
  memory.eigen.assign({memory.scaled, m});
  const std::vector<double>& values = memory.eigen.values;
  const auto value = [&](Index k) { return values[static_cast<std::size_t>(k)]; };
  memory.kept.clear();
  for (Index k = 0; k < m; ++k)
    if (memory.eigen.counts(k, info.epsilon)) memory.kept.push_back(k);
  detail::sort_numbers(memory.kept, &values, [](const void* context, Index a, Index b) {
    const auto& v = *static_cast<const std::vector<double>*>(context);
    const double x = v[static_cast<std::size_t>(a)], y = v[static_cast<std::size_t>(b)];
    return x < y || (x == y && a < b);
  });
  double square = 0;
  if (options.scale == AlignedMTLOptions::Scale::rmse) {
    for (const Index k : memory.kept) square += value(k) / static_cast<double>(memory.kept.size());
  } else {
    square = value(memory.kept[options.scale == AlignedMTLOptions::Scale::min ? 0 : (memory.kept.size() - 1) / 2]);
  }
  memory.preference.assign(out.begin(), out.end());
  memory.eigen.apply(-0.5, info.epsilon, memory.preference, out);
  for (double& w : out) w *= std::sqrt(square);

  Certificate certificate{.iterations = memory.eigen.rotations};
  memory.image.resize(out.size());
  for (const Index k : memory.kept) {
    detail::times({memory.scaled, m}, memory.eigen.vector(k).data(), memory.image.data());
    for (const Index l : memory.kept) {
      const double entry = detail::inner(memory.image.data(), memory.eigen.vector(l).data(), m) - (k == l ? value(k) : 0);
      certificate.residual = std::max(certificate.residual, std::abs(entry) / std::sqrt(memory.eigen.largest * value(k)));
    }
  }
  if (!(certificate.residual <= tolerance)) certificate.status = Status::capped;
  return certificate;
}

static_assert(GramianAggregator<const AlignedMTL>);

}  // namespace espalier::inline ESPALIER_ABI
