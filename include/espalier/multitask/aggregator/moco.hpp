#pragma once
// MoCo, multi-objective gradient correction: weights that follow running means of the gradients instead of one batch's.
// Fernando et al., "Mitigating gradient bias in multi-objective learning", ICLR 2023, arXiv 2210.12624; with LibMTL's softmax
// in place of the paper's projection onto the simplex.

#include <string_view>
#include <vector>

#include "espalier/multitask/aggregator/jacobian.hpp"

namespace espalier::inline ESPALIER_ABI {

struct MoCoOptions {
  double beta = 0.5, beta_decay = 0.5;    ///< The running means move by beta / t^beta_decay.
  double gamma = 0.1, gamma_decay = 0.5;  ///< The weights move by gamma / t^gamma_decay.
  double rho = 0;                         ///< Pulls the weights together.
};

/// y_i += beta_t (l_i g_i / |g_i| - y_i); lambda = softmax(lambda - gamma_t (YY' + rho I) lambda); d = Y'lambda. The y start at
/// 0, a task's lambda, in its first step, at one over the number of that step's tasks. They and the counts t are kept per
/// task; a task absent from a step keeps them as they are.
struct MoCo {
  static constexpr std::string_view name = "moco";

  MoCoOptions options;

  /// Throws Error unless all options are finite and not negative, and beta at most 1.
  explicit MoCo(MoCoOptions options_ = {}) : options(options_) {
    detail::check_option(name, "beta", options.beta);
    detail::check_option(name, "beta_decay", options.beta_decay);
    detail::check_option(name, "gamma", options.gamma);
    detail::check_option(name, "gamma_decay", options.gamma_decay);
    detail::check_option(name, "rho", options.rho);
    if (options.beta > 1) fail(name, ": beta is ", options.beta, "; it must be at most 1");
  }

  /// Writes lambda to `out`. Throws Error when sizes disagree, a gradient is not finite or losses are missing.
  Certificate aggregate(JacobianBlocks& jacobian, const StepInfo& info, std::span<double> out);

  /// The weights lambda, by task.
  std::span<const double> lambda() const { return lambda_; }
  /// Makes room for all tasks, so that the number of fields does not depend on the steps taken.
  void prepare(Index tasks) {
    lambda_.resize(static_cast<std::size_t>(tasks), 0);
    steps_.resize(static_cast<std::size_t>(tasks), 0);
  }
  void fields(auto&& visit) {
    visit("lambda", lambda_);
    visit("step", steps_);
    visit("kept", kept_);
  }

 private:
  std::vector<double> lambda_, steps_;  // [tasks]
  KeptRows kept_;                       // y
};

namespace detail {

struct KeptScratch {
  std::vector<double> squares, gram, moved, direction;  // [rows], [rows, rows], [rows], [size]
};

/// |g_i|^2 over all blocks, checked on the way.
inline void squared_lengths(std::string_view method, JacobianBlocks& jacobian, const StepInfo& info, std::vector<double>& out) {
  out.assign(static_cast<std::size_t>(jacobian.tasks()), 0);
  for (Index b = 0; b < jacobian.blocks(); ++b) {
    const double* rows = checked_rows(method, jacobian, info, b).data();
    const Index size = jacobian.size(b);
    for (Index i = 0; i < jacobian.tasks(); ++i) out[static_cast<std::size_t>(i)] += inner(rows + i * size, rows + i * size, size);
  }
}

/// d = sum_i weights[i] times the kept row of task i, for every block.
inline void combine_kept(std::string_view method, JacobianBlocks& jacobian, const StepInfo& info, KeptRows& kept,
                         std::span<const double> weights, std::vector<double>& direction) {
  const Index m = jacobian.tasks();
  for (Index b = 0; b < jacobian.blocks(); ++b) {
    const Index size = jacobian.size(b);
    const double* y = kept.of(method, jacobian, b, info.tasks(m));
    direction.assign(static_cast<std::size_t>(size), 0);
    for (Index i = 0; i < m; ++i) {
      const double* row = y + info.task(i) * jacobian.whole(b);
      const double w = weights[static_cast<std::size_t>(i)];
      for (Index k = 0; k < size; ++k) direction[static_cast<std::size_t>(k)] += w * row[k];
    }
    jacobian.direction(b, direction);
  }
}

}  // namespace detail

inline Certificate MoCo::aggregate(JacobianBlocks& jacobian, const StepInfo& info, std::span<double> out) {
  detail::check_jacobian(name, jacobian, info, out.size());
  const Index m = jacobian.tasks(), tasks = info.tasks(m);
  if (m == 0) return {.status = Certificate::Status::no_active_task};
  if (static_cast<Index>(lambda_.size()) < tasks) prepare(tasks);
  auto& memory = detail::scratch<detail::KeptScratch>();
  detail::squared_lengths(name, jacobian, info, memory.squares);
  for (Index i = 0; i < m; ++i) detail::row_loss(name, info, i);
  for (Index i = 0; i < m; ++i) steps_[static_cast<std::size_t>(info.task(i))] += 1;
  const auto count = [&](Index i) { return steps_[static_cast<std::size_t>(info.task(i))]; };

  memory.gram.assign(static_cast<std::size_t>(m * m), 0);
  for (Index b = 0; b < jacobian.blocks(); ++b) {
    const Index size = jacobian.size(b);
    const double* rows = jacobian.rows(b).data();
    double* y = kept_.of(name, jacobian, b, tasks);
    for (Index i = 0; i < m; ++i) {
      const double square = memory.squares[static_cast<std::size_t>(i)];
      const double scale = square > 0 ? detail::row_loss(name, info, i) / std::sqrt(square) : 0;
      const double move = options.beta / std::pow(count(i), options.beta_decay);
      double* kept = y + info.task(i) * jacobian.whole(b);
      for (Index k = 0; k < size; ++k) kept[k] += move * (scale * rows[i * size + k] - kept[k]);
    }
    for (Index i = 0; i < m; ++i)
      for (Index j = 0; j <= i; ++j)
        memory.gram[static_cast<std::size_t>(i * m + j)] +=
            detail::inner(y + info.task(i) * jacobian.whole(b), y + info.task(j) * jacobian.whole(b), size);
  }
  for (Index i = 0; i < m; ++i)
    for (Index j = 0; j < i; ++j)
      memory.gram[static_cast<std::size_t>(j * m + i)] = memory.gram[static_cast<std::size_t>(i * m + j)];

  memory.moved.resize(out.size());
  for (Index i = 0; i < m; ++i)
    out[static_cast<std::size_t>(i)] = count(i) > 1 ? lambda_[static_cast<std::size_t>(info.task(i))] : 1 / static_cast<double>(m);
  detail::times({memory.gram, m}, out.data(), memory.moved.data());
  double most = -HUGE_VAL, total = 0;
  for (Index i = 0; i < m; ++i) {
    const auto row = static_cast<std::size_t>(i);
    const double move = options.gamma / std::pow(count(i), options.gamma_decay);
    out[row] -= move * (memory.moved[row] + options.rho * out[row]);
    most = std::max(most, out[row]);
  }
  for (double& w : out) total += w = std::exp(w - most);
  for (Index i = 0; i < m; ++i)
    lambda_[static_cast<std::size_t>(info.task(i))] = out[static_cast<std::size_t>(i)] /= total;
  detail::combine_kept(name, jacobian, info, kept_, out, memory.direction);
  return {};
}

static_assert(JacobianAggregator<MoCo>);

}  // namespace espalier::inline ESPALIER_ABI
