#pragma once
// PCGrad, projecting conflicting gradients: every task gradient gives up what it has against the others, one after another,
// and the results are added. Yu et al., "Gradient surgery for multi-task learning", NeurIPS 2020, arXiv 2001.06782.

#include <string_view>
#include <vector>

#include "espalier/multitask/aggregator/visit_order.hpp"

namespace espalier::inline ESPALIER_ABI {

struct PCGradOptions {
  VisitOrder order = VisitOrder::random;
  std::uint64_t seed = 0;  ///< Of the random order; with the step's number it says all, so there is nothing else to save.
  /// How much each task's projected gradient counts in the sum, one number for every task of the objective, or none: each
  /// once. Only the ratios matter: they are scaled to mean 1 over the active tasks.
  std::vector<double> preference = {};
};

/// For every task i: c = e_i; for every other j in turn, if g_j (J'c) < 0: c_j -= g_j (J'c) / |g_j|^2. w = sum of the c.
/// A sum, so it grows with the number of tasks. For two tasks it is twice UPGrad; for more it may conflict, and depends on
/// the order. There is nothing to solve and no residual: the certificate says exact.
struct PCGrad {
  static constexpr std::string_view name = "pcgrad";
  static constexpr Claims claims{.degree = 1, .linear_under_scaling = true, .non_negative = true};

  PCGradOptions options = {};

  /// Writes the weights [m]. Throws Error when sizes disagree, a gradient is not finite or a preference is negative.
  Certificate weights(GramianView gramian, const StepInfo& info, std::span<double> out) const;

  void fields(auto&& visit) {
    visit("seed", options.seed);
    visit("preference", options.preference);
  }
};

namespace detail {

struct SurgeryScratch {
  Cosines cosines;
  std::vector<double> preference, own, image, sum;  // [m]: c and C c in units of g_i's length; the weights
  std::vector<Index> order;
  std::vector<std::uint64_t> keys;

  /// Starts with g_i: c = e_i.
  void start(Index i) {
    own.assign(preference.size(), 0);
    own[static_cast<std::size_t>(i)] = 1;
    const auto row = cosines.view().row(i);
    image.assign(row.begin(), row.end());
  }
  /// c_j += amount.
  void add(Index j, double amount) {
    own[static_cast<std::size_t>(j)] += amount;
    const auto row = cosines.view().row(j);
    for (std::size_t k = 0; k < image.size(); ++k) image[k] += amount * row[k];
  }
  /// Adds c to the weights; a gradient of length zero, whose cosines are 0, met nobody and has c = e_i.
  void finish(Index i) {
    const double p = preference[static_cast<std::size_t>(i)];
    sum[static_cast<std::size_t>(i)] += p * own[static_cast<std::size_t>(i)];
    for (Index j = 0; j < static_cast<Index>(own.size()); ++j)
      if (const double c = own[static_cast<std::size_t>(j)]; j != i && c != 0)
        sum[static_cast<std::size_t>(j)] += p * c * (cosines.length(i) / cosines.length(j));
  }
};

}  // namespace detail

inline Certificate PCGrad::weights(GramianView gramian, const StepInfo& info, std::span<double> out) const {
  detail::check_gramian(name, gramian, info, out.size());
  if (!detail::row_preferences(name, options.preference, info, out))
    return {.status = Certificate::Status::no_active_task};
  const Index m = gramian.tasks;
  auto& memory = detail::scratch<detail::SurgeryScratch>();
  memory.cosines.assign(gramian);
  memory.preference.assign(out.begin(), out.end());
  memory.sum.assign(out.size(), 0);
  for (Index i = 0; i < m; ++i) {
    memory.preference[static_cast<std::size_t>(i)] *= static_cast<double>(m);
    memory.start(i);
    detail::visit_order(options.order, options.seed, info, m, i, memory.order, memory.keys);
    for (const Index j : memory.order)
      if (const double against = memory.image[static_cast<std::size_t>(j)]; against < 0) memory.add(j, -against);
    memory.finish(i);
  }
  std::copy(memory.sum.begin(), memory.sum.end(), out.begin());
  return {};
}

static_assert(GramianAggregator<const PCGrad>);

}  // namespace espalier::inline ESPALIER_ABI
