#pragma once
// GradVac, gradient vaccine: as PCGrad, but a gradient is turned towards another one as soon as their cosine is below the
// one that the two tasks have had so far. Wang et al., "Gradient vaccine", ICLR 2021, arXiv 2010.05874.

#include <string_view>
#include <vector>

#include "espalier/multitask/aggregator/pcgrad.hpp"

namespace espalier::inline ESPALIER_ABI {

struct GradVacOptions {
  double beta = 0.5;  ///< How fast the targets follow the cosines seen, in (0, 1].
  VisitOrder order = VisitOrder::random;
  std::uint64_t seed = 0;
  /// As PCGrad's.
  std::vector<double> preference = {};
};

/// For every task i: g = g_i; for every other j in turn, phi = cos(g, g_j); if phi < target_ij,
/// g += g_j |g| (target sqrt(1 - phi^2) - phi sqrt(1 - target^2)) / (|g_j| sqrt(1 - target^2)), which makes the cosine the
/// target; then target_ij = (1 - beta) target_ij + beta phi. The sum of the g, as weights. Targets start at 0 (the first
/// step is PCGrad's) and are kept per pair of tasks, through steps that a task is absent from. They are kept within
/// +-(1 - 1e-6): to reach a cosine of 1 no multiple of g_j is enough.
struct GradVac {
  static constexpr std::string_view name = "gradvac";
  static constexpr Claims claims{.degree = 1, .linear_under_scaling = true, .non_negative = true};

  GradVacOptions options;

  /// Throws Error unless beta is in (0, 1].
  explicit GradVac(GradVacOptions options_ = {}) : options(std::move(options_)) {
    if (!(options.beta > 0 && options.beta <= 1)) fail(name, ": beta is ", options.beta, "; it must be in (0, 1]");
  }

  /// Writes the weights [m]. Throws Error when sizes disagree, a gradient is not finite or a preference is negative.
  Certificate weights(GramianView gramian, const StepInfo& info, std::span<double> out);

  /// The target cosines [tasks, tasks].
  std::span<const double> targets() const { return targets_; }
  /// Makes room for all tasks, so that the number of fields does not depend on the steps taken.
  void prepare(Index tasks) {
    std::vector<double> grown(static_cast<std::size_t>(tasks * tasks), 0);
    for (Index i = 0; i < tasks_; ++i)
      for (Index j = 0; j < tasks_; ++j)
        grown[static_cast<std::size_t>(i * tasks + j)] = targets_[static_cast<std::size_t>(i * tasks_ + j)];
    targets_ = std::move(grown);
    tasks_ = tasks;
  }
  void fields(auto&& visit) {
    visit("seed", options.seed);
    visit("preference", options.preference);
    visit("targets", targets_);
  }

 private:
  Index tasks_ = 0;
  std::vector<double> targets_;  // [tasks, tasks]
};

inline Certificate GradVac::weights(GramianView gramian, const StepInfo& info, std::span<double> out) {
  detail::check_gramian(name, gramian, info, out.size());
  if (!detail::row_preferences(name, options.preference, info, out))
    return {.status = Certificate::Status::no_active_task};
  const Index m = gramian.tasks;
  if (const Index tasks = info.tasks(m); tasks > tasks_) prepare(tasks);
  auto& memory = detail::scratch<detail::SurgeryScratch>();
  memory.cosines.assign(gramian);
  memory.preference.assign(out.begin(), out.end());
  memory.sum.assign(out.size(), 0);
  constexpr double limit = 1 - 1e-6;
  for (Index i = 0; i < m; ++i) {
    memory.preference[static_cast<std::size_t>(i)] *= static_cast<double>(m);
    memory.start(i);
    detail::visit_order(options.order, options.seed, info, m, i, memory.order, memory.keys);
    for (const Index j : memory.order) {
      if (memory.cosines.length(i) == 0 || memory.cosines.length(j) == 0) continue;  // no length, no angle to learn from
      const double square = detail::inner(memory.own.data(), memory.image.data(), m);
      if (!(square > std::numeric_limits<double>::epsilon() * static_cast<double>(m))) break;  // nothing is left of g
      const double size = std::sqrt(square), phi = std::clamp(memory.image[static_cast<std::size_t>(j)] / size, -1.0, 1.0);
      double& target = targets_[static_cast<std::size_t>(info.task(i) * tasks_ + info.task(j))];
      if (phi < target) {
        const double across = std::sqrt(1 - target * target);
        memory.add(j, size * (target * std::sqrt(1 - phi * phi) - phi * across) / across);
      }
      target = std::clamp((1 - options.beta) * target + options.beta * phi, -limit, limit);
    }
    memory.finish(i);
  }
  std::copy(memory.sum.begin(), memory.sum.end(), out.begin());
  return {};
}

static_assert(GramianAggregator<GradVac>);

}  // namespace espalier::inline ESPALIER_ABI
