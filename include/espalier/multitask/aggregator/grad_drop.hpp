#pragma once
// GradDrop: in every coordinate the tasks' gradients of one sign are dropped, at random, so that those that stay agree. Chen et
// al., "Just pick a sign", NeurIPS 2020, arXiv 2010.06808; here on the gradients of the parameters.

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include "espalier/core/random.hpp"
#include "espalier/multitask/aggregator/jacobian.hpp"

namespace espalier::inline ESPALIER_ABI {

struct GradDropOptions {
  /// How much of a task's gradient is kept whatever its sign, from 0 to 1: one number for every task of the objective, absent
  /// ones included, or none: 0 for all.
  std::vector<double> leak = {};
  std::uint64_t seed = 0;  ///< Of the draws; with the step's number and the parameters' names it says all.
};

/// With P = (1 + sum_i g_i / sum_i |g_i|) / 2 (1/2 where all vanish) and U uniform in [0, 1): where P > U the positive
/// numbers stay, else the negative ones; d = sum_i (leak_i + (1 - leak_i) stays_i) g_i.
struct GradDrop {
  static constexpr std::string_view name = "grad_drop";

  GradDropOptions options;

  /// Throws Error unless every leak is in [0, 1].
  explicit GradDrop(GradDropOptions options_ = {}) : options(std::move(options_)) {
    for (std::size_t i = 0; i < options.leak.size(); ++i)
      if (!(options.leak[i] >= 0 && options.leak[i] <= 1))
        fail(name, ": leak ", i, " is ", options.leak[i], "; it must be in [0, 1]");
  }

  /// Writes 1 to `out`. Throws Error when sizes disagree, a gradient is not finite or a task has no leak.
  Certificate aggregate(JacobianBlocks& jacobian, const StepInfo& info, std::span<double> out) const;

  void fields(auto&& visit) {
    visit("leak", options.leak);
    visit("seed", options.seed);
  }
};

namespace detail {

struct GradDropScratch {
  std::vector<double> leak, up, down, kept_up, kept_down;  // [tasks]; sums over the rows of one sign, and of what leaks, [size]
};

}  // namespace detail

inline Certificate GradDrop::aggregate(JacobianBlocks& jacobian, const StepInfo& info, std::span<double> out) const {
  detail::check_jacobian(name, jacobian, info, out.size());
  const Index m = jacobian.tasks();
  if (m == 0) return {.status = Certificate::Status::no_active_task};
  auto& memory = detail::scratch<detail::GradDropScratch>();
  memory.leak.assign(out.size(), 0);
  for (Index i = 0; i < m && !options.leak.empty(); ++i) {
    if (info.task(i) >= static_cast<Index>(options.leak.size()))
      fail(name, ": there are ", options.leak.size(), " leaks, but ", info.name(i), " is number ", info.task(i),
           "; give one a task, absent tasks included, or none");
    memory.leak[static_cast<std::size_t>(i)] = options.leak[static_cast<std::size_t>(info.task(i))];
  }
  for (double& w : out) w = 1;
  const Rng rng{options.seed};
  bool leaks = false;
  for (const double leak : memory.leak) leaks |= leak > 0;
  for (Index b = 0; b < jacobian.blocks(); ++b) {
    const double* rows = detail::checked_rows(name, jacobian, info, b).data();
    const Index size = jacobian.size(b);
    for (auto* sum : {&memory.up, &memory.down, &memory.kept_up, &memory.kept_down}) sum->assign(static_cast<std::size_t>(size), 0);
    double *up = memory.up.data(), *down = memory.down.data(), *kept_up = memory.kept_up.data(),
           *kept_down = memory.kept_down.data();
    for (Index i = 0; i < m; ++i) {
      const double* row = rows + i * size;
      const double leak = memory.leak[static_cast<std::size_t>(i)];
      for (Index k = 0; k < size; ++k) {
        up[k] += std::max(row[k], 0.0);
        down[k] += std::min(row[k], 0.0);
      }
      for (Index k = 0; k < size && leaks; ++k) {
        kept_up[k] += leak * std::max(row[k], 0.0);
        kept_down[k] += leak * std::min(row[k], 0.0);
      }
    }
    const Draws draws = rng.draws(jacobian.name(b), info.step);
    std::array<std::uint32_t, 4> words{};
    for (Index k = 0; k < size; ++k) {
      const Index number = jacobian.offset(b) + k;
      if (k == 0 || number % 4 == 0) words = draws.words(static_cast<std::uint64_t>(number / 4));
      const double total = up[k] - down[k], positive = total > 0 ? up[k] / total : 0.5;
      const bool keep_up = positive > static_cast<double>(words[static_cast<std::size_t>(number % 4)]) * 0x1p-32;
      up[k] = keep_up ? up[k] + kept_down[k] : down[k] + kept_up[k];
    }
    jacobian.direction(b, memory.up);
  }
  return {};
}

static_assert(JacobianAggregator<const GradDrop>);

}  // namespace espalier::inline ESPALIER_ABI
