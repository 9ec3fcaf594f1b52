#pragma once
// What a gradient aggregator is: a pure function from the Gramian of the task gradients to one weight a task.
//
// With J [m, n] holding the gradient of every active task with respect to what the tasks share, G = J J^T is the
// Gramian [m, m] and d = J^T w the direction that replaces the sum of gradients. An aggregator computes w from G alone:
// it sees small views of doubles, no tensor and no graph, so that it can be read, tested and replaced by itself.
//
// To add a method, write a struct of its own header: `name`, `claims` (what is true of it, tested over
// tests/support/zoo.hpp by tests/support/claims.hpp), `weights`, and `fields` for whatever it learns or is set to.
// upgrad.hpp is the one to imitate; a method that needs more than inner products is one of jacobian.hpp. A method certifies
// its result, works to relative thresholds only, and never falls back to another one silently.

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "espalier/core/error.hpp"
#include "espalier/core/shape.hpp"

namespace espalier::inline ESPALIER_ABI {

/// The inner products of the task gradients: `values` is [tasks, tasks], row-major and symmetric. Borrowed.
struct GramianView {
  std::span<const double> values;
  Index tasks = 0;

  double operator()(Index i, Index j) const { return values[static_cast<std::size_t>(i * tasks + j)]; }
  std::span<const double> row(Index i) const {
    return values.subspan(static_cast<std::size_t>(i * tasks), static_cast<std::size_t>(tasks));
  }
};

/// What a method may want to know besides the Gramian. The Gramian has rows for the tasks of this step only: a task
/// without labels in the batch is left out of it (it is not a zero row), and `active` says which tasks the rows are.
/// Whatever a method keeps per task (names, preferences, state) is indexed by task, never by row.
struct StepInfo {
  std::uint64_t step = 0;                   ///< Counts the steps; keys what a method draws at random.
  std::span<const std::string> names = {};  ///< Of all tasks, absent ones included; empty: tasks are known by number.
  std::span<const Index> active = {};       ///< The task of each row; empty: row i is task i.
  std::span<const double> losses = {};      ///< The loss of each row, for the methods that want it; may be empty.
  /// The rounding unit of the type that the Gramian was summed in: eigenvalues below rows * epsilon * largest are noise.
  double epsilon = std::numeric_limits<double>::epsilon();

  /// The task that `row` belongs to.
  Index task(Index row) const { return active.empty() ? row : active[static_cast<std::size_t>(row)]; }
  /// `task 'ink'`, or `task 3` without names: for messages.
  std::string name(Index row) const {
    const Index t = task(row);
    return names.empty() ? join("task ", t) : join("task '", names[static_cast<std::size_t>(t)], "'");
  }
  /// How many tasks there are at least, absent ones included: the size of what a method keeps per task.
  Index tasks(Index rows) const {
    auto most = std::max(static_cast<Index>(names.size()), rows);
    for (const Index t : active) most = std::max(most, t + 1);
    return most;
  }
};

/// How far a result can be trusted.
struct Certificate {
  enum class Status {
    exact,     ///< Optimal up to rounding: `residual` is within the method's documented bound.
    capped,    ///< The solver missed that bound; the weights are its best, and `residual` tells how good they are.
    fallback,  ///< The method has no answer here; the weights are those of the method named `fallback`.
    no_active_task,  ///< There was nothing to weigh: skip the update.
  };
  double residual = 0;  ///< How far the optimality conditions are from holding, scale-free.
  int iterations = 0;
  Status status = Status::exact;
  std::string_view fallback = {};  ///< A text that outlives the certificate; empty unless status is fallback.
};

/// What is true of a method for every J, apart from rounding; A(J) is its direction d. Equal directions are meant, not
/// equal weights: those are not unique when gradients depend on each other.
struct Claims {
  double degree = 1;                     ///< A(c J) = c^degree A(J) for c > 0.
  bool non_conflicting = false;          ///< J d >= 0: no task's loss rises, to first order.
  bool permutation_equivariant = false;  ///< The order of the tasks does not matter.
  bool linear_under_scaling = false;     ///< A(diag(a b + a' b') J) = a A(diag(b) J) + a' A(diag(b') J), all positive.
  bool invariant_under_scaling = false;  ///< A(diag(b) J) points where A(J) does, for b > 0.
  bool non_negative = false;             ///< w >= 0.
  bool stops_at_strong_only = false;     ///< d = 0 only where some w > 0, every entry, has J^T w = 0.
};

/// A method that needs the Gramian: `weights` fills `out` [m] and certifies it. Throws Error when sizes disagree or a
/// gradient is not finite. A method without state has a const `weights`.
template <class A>
concept GramianAggregator = requires(A& a, GramianView gramian, const StepInfo& info, std::span<double> out) {
  { A::name } -> std::convertible_to<std::string_view>;
  { a.claims } -> std::convertible_to<Claims>;
  { a.weights(gramian, info, out) } -> std::same_as<Certificate>;
};

namespace detail {

/// Throws Error unless sizes agree and every inner product is finite; every method calls it first.
inline void check_gramian(std::string_view method, GramianView gramian, const StepInfo& info, std::size_t weights) {
  const Index m = gramian.tasks;
  const auto size = static_cast<std::size_t>(m);
  if (m < 0 || gramian.values.size() != size * size)
    fail(method, ": the Gramian holds ", gramian.values.size(), " values for ", m, " tasks; it must hold [", m, ", ", m,
         "]");
  if (weights != size) fail(method, ": out has room for ", weights, " weights, the Gramian has ", m, " tasks");
  if (!info.active.empty() && info.active.size() != size)
    fail(method, ": ", info.active.size(), " tasks are active, the Gramian has ", m, "; every row belongs to one task");
  const auto known = static_cast<Index>(info.names.size());
  for (Index i = 0; i < m; ++i)
    if (info.task(i) < 0 || (known > 0 && info.task(i) >= known))
      fail(method, ": row ", i, " of the Gramian belongs to task ", info.task(i), ", but ", known, " tasks are named");
  for (Index i = 0; i < m; ++i) {  // the diagonal first: it tells whose gradient is wrong
    if (!std::isfinite(gramian(i, i)))
      fail(method, ": the squared gradient norm of ", info.name(i), " is ", std::isnan(gramian(i, i)) ? "nan" : "inf",
           "; look at its loss and its labels");
    if (gramian(i, i) < 0)
      fail(method, ": the squared gradient norm of ", info.name(i), " is negative (", gramian(i, i), ")");
  }
  for (Index i = 0; i < m; ++i)
    for (Index j = 0; j < m; ++j)
      if (!std::isfinite(gramian(i, j)))
        fail(method, ": the inner product of the gradients of ", info.name(i), " and ", info.name(j), " is not finite");
}

/// Fills `out` [m] with the preferences of the rows, scaled to sum to 1: `preference` has one number for every task of
/// the objective, or none when all count alike. False when the rows' preferences are all zero, or there is no row.
inline bool row_preferences(std::string_view method, std::span<const double> preference, const StepInfo& info,
                            std::span<double> out) {
  const auto m = static_cast<Index>(out.size()), known = static_cast<Index>(preference.size());
  if (info.active.empty() && known > 0 && known != m)
    fail(method, ": there are ", known, " preferences for ", m, " tasks; give one a task, or none");
  double total = 0;
  for (Index i = 0; i < m; ++i) {
    if (known > 0 && info.task(i) >= known)
      fail(method, ": there are ", known, " preferences, but ", info.name(i), " is number ", info.task(i),
           "; give one a task, absent tasks included, or none");
    const double p = known > 0 ? preference[static_cast<std::size_t>(info.task(i))] : 1;
    if (!(p >= 0 && std::isfinite(p)))
      fail(method, ": the preference of ", info.name(i), " is ", p, "; preferences are finite and not negative");
    total += out[static_cast<std::size_t>(i)] = p;
  }
  for (double& p : out) p = total > 0 ? p / total : 0;
  return total > 0;
}

/// The loss of a row; throws Error when the caller gave none.
inline double row_loss(std::string_view method, const StepInfo& info, Index row) {
  if (row >= static_cast<Index>(info.losses.size()))
    fail(method, ": there are ", info.losses.size(), " losses, but ", info.name(row), " is row ", row,
         "; it needs the loss of every row (StepInfo::losses)");
  return info.losses[static_cast<std::size_t>(row)];
}

/// Throws Error unless an option is finite and not negative.
inline void check_option(std::string_view method, std::string_view option, double value) {
  if (!(value >= 0) || !std::isfinite(value))
    fail(method, ": ", option, " is ", value, "; it must be finite and not negative");
}

/// How much of `part` there is in `whole`: part / whole, and 0 when both are 0.
inline double share(double part, double whole) { return part == 0 ? 0 : part / whole; }

/// sum_i a[i] b[i]. Four running sums, since one would wait for itself at every element.
inline double inner(const double* a, const double* b, Index n) {
  double s0 = 0, s1 = 0, s2 = 0, s3 = 0;
  Index i = 0;
  for (; i + 4 <= n; i += 4) {
    s0 += a[i] * b[i];
    s1 += a[i + 1] * b[i + 1];
    s2 += a[i + 2] * b[i + 2];
    s3 += a[i + 3] * b[i + 3];
  }
  for (; i < n; ++i) s0 += a[i] * b[i];
  return (s0 + s1) + (s2 + s3);
}

/// The Gramian (or the cosines) times a vector of one number a row.
inline void times(GramianView gramian, const double* x, double* out) {
  for (Index i = 0; i < gramian.tasks; ++i) out[i] = inner(gramian.row(i).data(), x, gramian.tasks);
}

/// The lengths of the gradients and the cosines between them. A gradient of length zero has cosine 0 with all others.
struct Cosines {
  std::vector<double> values, lengths;  // [m, m], [m]

  void assign(GramianView gramian) {
    const Index m = gramian.tasks;
    values.resize(gramian.values.size());
    lengths.resize(static_cast<std::size_t>(m));
    for (Index i = 0; i < m; ++i) {
      const double square = gramian(i, i);  // a subnormal number has too few digits to divide by
      length(i) = square < std::numeric_limits<double>::min() ? 0 : std::sqrt(square);
      for (Index j = 0; j < i; ++j) {
        const bool any = length(i) > 0 && length(j) > 0;
        at(i, j) = at(j, i) = any ? std::clamp(gramian(i, j) / length(i) / length(j), -1.0, 1.0) : 0;
      }
      at(i, i) = 1;
    }
  }
  double& length(Index i) { return lengths[static_cast<std::size_t>(i)]; }
  double& at(Index i, Index j) {
    return values[static_cast<std::size_t>(i) * lengths.size() + static_cast<std::size_t>(j)];
  }
  GramianView view() const { return {values, static_cast<Index>(lengths.size())}; }
};

/// One T per thread: the working memory that a method keeps between steps, so that a step allocates nothing.
template <class T>
T& scratch() {
  constinit thread_local T memory;
  return memory;
}

}  // namespace detail

}  // namespace espalier::inline ESPALIER_ABI
