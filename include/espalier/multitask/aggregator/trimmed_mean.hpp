#pragma once
// TrimmedMean: in every coordinate, the mean of the tasks' gradients without the largest and the smallest ones. Yin et al.,
// "Byzantine-robust distributed learning", ICML 2018, arXiv 1803.01498.

#include <algorithm>
#include <string_view>
#include <vector>

#include "espalier/multitask/aggregator/jacobian.hpp"

namespace espalier::inline ESPALIER_ABI {

/// Drops the `trim` largest and the `trim` smallest numbers. A step with too few tasks for that (2 trim and fewer) drops as
/// many as leave one or two, which gives the median, and reports the fallback.
struct TrimmedMean {
  static constexpr std::string_view name = "trimmed_mean";

  Index trim;

  /// Throws Error when trim is negative.
  explicit TrimmedMean(Index trim_) : trim(trim_) {
    if (trim < 0) fail(name, ": trim is ", trim, "; it must not be negative");
  }

  /// Writes 1 / tasks to `out`. Throws Error when sizes disagree or a gradient is not finite.
  Certificate aggregate(JacobianBlocks& jacobian, const StepInfo& info, std::span<double> out) const;

  void fields(auto&& visit) { visit("trim", trim); }
};

namespace detail {

struct TrimmedScratch {
  std::vector<double> column, direction;  // [tasks], [size]
};

}  // namespace detail

inline Certificate TrimmedMean::aggregate(JacobianBlocks& jacobian, const StepInfo& info, std::span<double> out) const {
  detail::check_jacobian(name, jacobian, info, out.size());
  const Index m = jacobian.tasks();
  if (m == 0) return {.status = Certificate::Status::no_active_task};
  const bool enough = m > 2 * trim;
  const Index drop = enough ? trim : (m - 1) / 2;
  for (double& w : out) w = 1 / static_cast<double>(m);
  auto& memory = detail::scratch<detail::TrimmedScratch>();
  memory.column.resize(static_cast<std::size_t>(m));
  for (Index b = 0; b < jacobian.blocks(); ++b) {
    const double* rows = detail::checked_rows(name, jacobian, info, b).data();
    const Index size = jacobian.size(b);
    memory.direction.resize(static_cast<std::size_t>(size));
    for (Index k = 0; k < size; ++k) {
      double* column = memory.column.data();
      for (Index i = 0; i < m; ++i) {  // sorted as they come; tasks are few
        Index place = i;
        const double value = rows[i * size + k];
        for (; place > 0 && column[place - 1] > value; --place) column[place] = column[place - 1];
        column[place] = value;
      }
      double sum = 0;
      for (Index i = drop; i < m - drop; ++i) sum += column[i];
      memory.direction[static_cast<std::size_t>(k)] = sum / static_cast<double>(m - 2 * drop);
    }
    jacobian.direction(b, memory.direction);
  }
  if (!enough) return {.status = Certificate::Status::fallback, .fallback = "median"};
  return {};
}

static_assert(JacobianAggregator<const TrimmedMean>);

}  // namespace espalier::inline ESPALIER_ABI
