#pragma once
// Non-negative least squares from inner products alone: minimise |Xz + y|^2 = z'Az + 2b'z + y'y over z >= 0, where
// A = X'X is the Gramian of the columns and b = X'y. The active-set method of Lawson and Hanson ("Solving least squares
// problems", 1974, chapter 23): the support grows by the variable that most wants to become positive and gives up
// variables that would turn negative.
//
// The matrix comes scaled to a unit diagonal, so one set of thresholds, all of them multiples of the rounding unit,
// serves every input. Columns that depend on each other are legal: the factorisation adds a ridge to the diagonal,
// large enough that its pivots stay positive in spite of rounding, and the solution on the final support is then
// refined without it. Without the ridge, columns that agree to about 1e-8 let the solution grow without bound; refusing
// such columns instead leaves a slope of that size.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

#include "espalier/multitask/aggregator/aggregator.hpp"

namespace espalier::inline ESPALIER_ABI {

/// What a solve found. The optimality conditions are z >= 0, r = Az + b >= 0 and z_j r_j = 0.
struct NnlsResult {
  double residual = 0;  ///< The largest of |r_j| where z_j > 0 and of -r_j elsewhere, computed from z and A alone.
  int iterations = 0;   ///< How many times a variable entered the support.
};

/// The solver and its working memory, which grows to the largest problem seen and is then reused.
class Nnls {
 public:
  /// Writes the minimiser to `z` [m]. `gram` is A [m, m] with a unit diagonal; `linear` is b [m], where an infinite b_j
  /// keeps z_j at 0; `square` is y'y. Sizes and finite numbers are the caller's care. When no X and y have these inner
  /// products, beyond rounding, the ridge grows until it makes up for that, and the residual tells what it cost.
  template <class Lazy = void>
  NnlsResult solve(GramianView gram, std::span<const double> linear, double square, std::span<double> z) {
    NnlsResult result;
    square_ = square;
    ridge_ = 8 * rounding_ * static_cast<double>(gram.tasks);
    for (; std::isfinite(ridge_); ridge_ *= 100) {
      start(gram, linear, z);
      if (grow_support(result)) break;
    }
    refine();
    result.residual = residual();
    return result;
  }

 private:
  static constexpr double rounding_ = std::numeric_limits<double>::epsilon();

  static double& at(std::vector<double>& v, Index i) { return v[static_cast<std::size_t>(i)]; }
  Index& support(Index i) { return support_[static_cast<std::size_t>(i)]; }
  double* factor(Index row) { return factor_.data() + row * size_; }

  /// Adds variables until none wants to grow, or until 10 a variable were tried. False when the ridge is too small.
  template <class Lazy = void>
  bool grow_support(NnlsResult& result) {
    const int limit = result.iterations + 10 * static_cast<int>(size_);
    for (Index entering = most_negative(); entering >= 0 && result.iterations < limit; entering = most_negative()) {
      ++result.iterations;
      if (!append(entering)) return false;
      solve_factor(image_.data());
      if (at(step_, count_ - 1) <= 0) {  // its wish to grow was rounding: pass it over until something changes
        --count_;
        at(slope_, entering) = 0;
        continue;
      }
      while (const Index leaving = advance()) {
        if (!remove(leaving - 1)) return false;
        solve_factor(image_.data());
      }
      update_slope();
    }
    update_slope();  // of those passed over as well
    return true;
  }

  /// Takes the ridge out of the solution: Newton steps with the factor at hand, as long as they help.
  template <class Lazy = void>
  void refine() {
    for (double before = residual(); before > 2 * rounding_ * unit_;) {
      for (Index t = 0; t < count_; ++t)
        at(step_, t) = (-at(slope_, support(t)) - detail::inner(factor(t), step_.data(), t)) * at(inverse_, t);
      solve_factor(step_.data());
      for (Index t = 0; t < count_; ++t)
        if (!(z_[support(t)] + at(step_, t) > 0)) return;
      for (Index t = 0; t < count_; ++t) z_[support(t)] += at(step_, t);
      update_slope();
      const double after = residual();
      if (after <= before / 2) {
        before = after;
        continue;
      }
      if (after > before) {
        for (Index t = 0; t < count_; ++t) z_[support(t)] = std::max(0.0, z_[support(t)] - at(step_, t));
        update_slope();
      }
      return;
    }
  }

  template <class Lazy = void>
  double residual() {
    double worst = 0;
    for (Index j = 0; j < size_; ++j) worst = std::max(worst, z_[j] > 0 ? std::abs(at(slope_, j)) : -at(slope_, j));
    return worst;
  }

  template <class Lazy = void>
  void start(GramianView gram, std::span<const double> linear, std::span<double> z) {
    size_ = gram.tasks;
    gram_ = gram.values.data();
    linear_ = linear.data();
    z_ = z.data();
    count_ = 0;
    const auto m = static_cast<std::size_t>(size_);
    if (support_.size() < m) {
      support_.resize(m);
      factor_.resize(m * m);
      for (auto* v : {&inverse_, &image_, &step_, &slope_}) v->resize(m);
    }
    unit_ = 0;
    for (Index j = 0; j < size_; ++j) {
      z_[j] = 0;
      at(slope_, j) = linear_[j];
      if (std::isfinite(linear_[j])) unit_ = std::max(unit_, std::abs(linear_[j]));
    }
  }

  /// The variable at zero whose slope is the most negative, beyond what rounding explains; -1 without one.
  template <class Lazy = void>
  Index most_negative() {
    double total = unit_;
    for (Index t = 0; t < count_; ++t) total += z_[support(t)];
    double lowest = -16 * rounding_ * total;
    Index found = -1;
    for (Index j = 0; j < size_; ++j)
      if (z_[j] == 0 && at(slope_, j) < lowest) {
        lowest = at(slope_, j);
        found = j;
      }
    return found;
  }

  /// Extends the Cholesky factor L of A + ridge over the support, and the image -L^-1 b, by variable j. False when the
  /// ridge is too small: by its pivot, A is indefinite, or the image, whose square is the part of y'y that the support
  /// explains, is longer than y.
  template <class Lazy = void>
  bool append(Index j) {
    double* row = factor(count_);
    const double* a = gram_ + j * size_;
    for (Index t = 0; t < count_; ++t) row[t] = (a[support(t)] - detail::inner(factor(t), row, t)) * at(inverse_, t);
    const double pivot = a[j] + ridge_ - detail::inner(row, row, count_);
    if (!(pivot >= ridge_ / 2)) return false;
    at(inverse_, count_) = 1 / std::sqrt(pivot);
    at(image_, count_) = (-linear_[j] - detail::inner(row, image_.data(), count_)) * at(inverse_, count_);
    support(count_++) = j;
    return detail::inner(image_.data(), image_.data(), count_) <= square_ * (1 + 1e-6);
  }

  /// Takes the variable at `place` of the support out of it; the factor's later rows are computed again.
  template <class Lazy = void>
  bool remove(Index place) {
    const Index end = count_;
    for (count_ = place; count_ < end - 1;)
      if (!append(support(count_ + 1))) return false;
    return true;
  }

  /// step_ = L'^-1 y.
  template <class Lazy = void>
  void solve_factor(const double* y) {
    if (y != step_.data()) std::copy_n(y, count_, step_.data());
    for (Index t = count_ - 1; t >= 0; --t) {
      const double s = at(step_, t) *= at(inverse_, t);
      const double* row = factor(t);
      for (Index i = 0; i < t; ++i) step_[static_cast<std::size_t>(i)] -= s * row[i];
    }
  }

  /// Moves z to step_, the minimiser over the support, and returns 0; or only up to the first variable that reaches
  /// zero, and returns one more than its place.
  template <class Lazy = void>
  Index advance() {
    double share = 1;
    Index leaving = -1;
    for (Index t = 0; t < count_; ++t) {
      const double z = z_[support(t)], s = at(step_, t);
      if (s > 0) continue;
      const double reach = z > 0 ? z / (z - s) : 0;
      if (reach <= share) {
        share = reach;
        leaving = t;
      }
    }
    for (Index t = 0; t < count_; ++t) {
      double& z = z_[support(t)];
      z = leaving < 0 ? at(step_, t) : std::max(0.0, z + share * (at(step_, t) - z));
    }
    if (leaving >= 0) z_[support(leaving)] = 0;
    return leaving + 1;
  }

  /// r = Az + b, four columns at a time.
  template <class Lazy = void>
  void update_slope() {
    double* r = slope_.data();
    std::copy_n(linear_, size_, r);
    Index t = 0;
    for (; t + 4 <= count_; t += 4) {
      const Index j0 = support(t), j1 = support(t + 1), j2 = support(t + 2), j3 = support(t + 3);
      const double *a0 = gram_ + j0 * size_, *a1 = gram_ + j1 * size_, *a2 = gram_ + j2 * size_,
                   *a3 = gram_ + j3 * size_;
      const double z0 = z_[j0], z1 = z_[j1], z2 = z_[j2], z3 = z_[j3];
      for (Index i = 0; i < size_; ++i) r[i] += (z0 * a0[i] + z1 * a1[i]) + (z2 * a2[i] + z3 * a3[i]);
    }
    for (; t < count_; ++t) {
      const double* a = gram_ + support(t) * size_;
      const double z = z_[support(t)];
      for (Index i = 0; i < size_; ++i) r[i] += z * a[i];
    }
  }

  Index size_ = 0, count_ = 0;        // variables; those in the support
  const double* gram_ = nullptr;      // [size, size]
  const double* linear_ = nullptr;    // [size]
  double* z_ = nullptr;               // [size]
  double square_ = 0;                 // y'y
  double unit_ = 0;                   // the largest finite |b_j|
  double ridge_ = 0;                  // added to the diagonal in the factorisation
  std::vector<Index> support_;        // [count]
  std::vector<double> factor_;        // [count, size]: rows of L below the diagonal
  std::vector<double> inverse_;       // [count]: one over the diagonal of L
  std::vector<double> image_, step_;  // [count]: -L^-1 b; the minimiser over the support, or a step
  std::vector<double> slope_;         // [size]: r
};

}  // namespace espalier::inline ESPALIER_ABI
