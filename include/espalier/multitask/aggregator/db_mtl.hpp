#pragma once
// DB-MTL, dual balancing: gradients of the losses' logarithms, averaged over steps and made equally long. Lin et al.,
// "Dual-balancing for multi-task learning", 2023, arXiv 2308.12029.

#include <string_view>
#include <vector>

#include "espalier/multitask/aggregator/moco.hpp"

namespace espalier::inline ESPALIER_ABI {

struct DBMTLOptions {
  double beta = 0.9, beta_decay = 0;  ///< The running means keep beta / t^beta_decay of what they were; 0: no memory.
};

/// h_i = g_i / (l_i + 1e-8); y_i = h_i + (beta / t^beta_decay) (y_i - h_i); d = sum_i (max_j |y_j| / |y_i|) y_i. Losses must not be
/// negative. The y start at 0; they and the counts t are kept per task, and a task absent from a step keeps them.
struct DBMTL {
  static constexpr std::string_view name = "db_mtl";

  DBMTLOptions options;

  /// Throws Error unless beta is in [0, 1) and beta_decay finite and not negative.
  explicit DBMTL(DBMTLOptions options_ = {}) : options(options_) {
    if (!(options.beta >= 0 && options.beta < 1)) fail(name, ": beta is ", options.beta, "; it must be in [0, 1)");
    detail::check_option(name, "beta_decay", options.beta_decay);
  }

  /// Writes max_j |y_j| / |y_i| to `out`. Throws Error when sizes disagree, a gradient is not finite, or a loss is missing or
  /// negative.
  Certificate aggregate(JacobianBlocks& jacobian, const StepInfo& info, std::span<double> out);

  /// Makes room for all tasks, so that the number of fields does not depend on the steps taken.
  void prepare(Index tasks) { steps_.resize(static_cast<std::size_t>(tasks), 0); }
  void fields(auto&& visit) {
    visit("step", steps_);
    visit("kept", kept_);
  }

 private:
  std::vector<double> steps_;  // [tasks]
  KeptRows kept_;              // y
};

inline Certificate DBMTL::aggregate(JacobianBlocks& jacobian, const StepInfo& info, std::span<double> out) {
  detail::check_jacobian(name, jacobian, info, out.size());
  const Index m = jacobian.tasks(), tasks = info.tasks(m);
  if (m == 0) return {.status = Certificate::Status::no_active_task};
  if (static_cast<Index>(steps_.size()) < tasks) prepare(tasks);
  for (Index i = 0; i < m; ++i)
    if (const double loss = detail::row_loss(name, info, i); !(loss >= 0))
      fail(name, ": the loss of ", info.name(i), " is ", loss, "; its logarithm is needed, so it must not be negative");
  for (Index b = 0; b < jacobian.blocks(); ++b) detail::checked_rows(name, jacobian, info, b);  // before anything kept changes
  for (Index i = 0; i < m; ++i) steps_[static_cast<std::size_t>(info.task(i))] += 1;
  auto& memory = detail::scratch<detail::KeptScratch>();
  memory.squares.assign(out.size(), 0);
  for (Index b = 0; b < jacobian.blocks(); ++b) {
    const Index size = jacobian.size(b);
    const double* rows = jacobian.rows(b).data();
    double* y = kept_.of(name, jacobian, b, tasks);
    for (Index i = 0; i < m; ++i) {
      const double scale = 1 / (detail::row_loss(name, info, i) + 1e-8);
      const double keep = options.beta / std::pow(steps_[static_cast<std::size_t>(info.task(i))], options.beta_decay);
      double* kept = y + info.task(i) * jacobian.whole(b);
      for (Index k = 0; k < size; ++k) {
        const double h = scale * rows[i * size + k];
        kept[k] = h + keep * (kept[k] - h);
      }
      memory.squares[static_cast<std::size_t>(i)] += detail::inner(kept, kept, size);
    }
  }
  double most = 0;
  for (const double square : memory.squares) most = std::max(most, square);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = memory.squares[i] > 0 ? std::sqrt(most / memory.squares[i]) : 0;
  detail::combine_kept(name, jacobian, info, kept_, out, memory.direction);
  return {};
}

static_assert(JacobianAggregator<DBMTL>);

}  // namespace espalier::inline ESPALIER_ABI
