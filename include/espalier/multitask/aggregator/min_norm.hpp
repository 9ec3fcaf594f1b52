#pragma once
// The shortest vector in the convex hull of the rows, from their Gramian: minimise w'Gw over w >= 0 with sum 1. It is a
// non-negative least-squares problem in disguise: the minimiser of |J'z|^2 + c (1'z - 1)^2 over z >= 0 is, scaled to sum 1,
// the minimiser sought, whatever c > 0. With c the smallest squared length nothing is lost to rounding, as that is also an
// upper bound of the minimum.

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "espalier/multitask/aggregator/nnls.hpp"

namespace espalier::inline ESPALIER_ABI {

/// What a MinNorm found.
struct MinNormResult {
  double residual = 0;  ///< max_i (w'Gw - (Gw)_i) / (max(|g_i|, u) u) with u = sum_j w_j |g_j|: 0 at the optimum.
  double square = 0;    ///< w'Gw
  double unit = 0;      ///< u: what the length would be if no two rows cancelled.
  int iterations = 0;
};

/// The solver and its working memory, which grows to the largest problem seen and is then reused.
class MinNorm {
 public:
  /// Writes the weights to `w` [m]; rows of length zero, where there are any, share the weight among themselves.
  MinNormResult solve(GramianView gram, std::span<double> w) {
    const Index m = gram.tasks;
    const auto size = static_cast<std::size_t>(m);
    for (auto* v : {&length_, &scale_, &linear_, &image_}) v->resize(size);
    double shortest = std::numeric_limits<double>::infinity();
    Index zeros = 0;
    for (Index i = 0; i < m; ++i) {
      const double square = gram(i, i) < std::numeric_limits<double>::min() ? 0 : gram(i, i);
      at(length_, i) = std::sqrt(square);
      if (square > 0) shortest = std::min(shortest, square);
      else ++zeros;
    }
    MinNormResult result;
    if (zeros > 0) {
      for (Index i = 0; i < m; ++i) w[static_cast<std::size_t>(i)] = at(length_, i) > 0 ? 0 : 1 / static_cast<double>(zeros);
      return result;
    }

    // In units of sqrt(c), with columns scaled to length 1: A = D (G / c + 11') D, b = -D 1, y'y = 1.
    scaled_.resize(size * size);
    for (Index i = 0; i < m; ++i) {
      at(scale_, i) = 1 / std::sqrt(gram(i, i) / shortest + 1);
      at(linear_, i) = -at(scale_, i);
    }
    for (Index i = 0; i < m; ++i)
      for (Index j = 0; j < m; ++j)
        at(scaled_, i * m + j) = i == j ? 1 : at(scale_, i) * at(scale_, j) * (gram(i, j) / shortest + 1);
    result.iterations = nnls_.solve({scaled_, m}, linear_, 1, w).iterations;
    double sum = 0;
    for (Index i = 0; i < m; ++i) sum += w[static_cast<std::size_t>(i)] *= at(scale_, i);
    for (double& x : w) x /= sum;

    detail::times(gram, w.data(), image_.data());
    result.square = std::max(0.0, detail::inner(w.data(), image_.data(), m));
    result.unit = detail::inner(w.data(), length_.data(), m);
    for (Index i = 0; i < m; ++i)
      result.residual = std::max(result.residual,
                                 (result.square - at(image_, i)) / std::max(at(length_, i), result.unit) / result.unit);
    return result;
  }

 private:
  static double& at(std::vector<double>& v, Index i) { return v[static_cast<std::size_t>(i)]; }

  Nnls nnls_;
  std::vector<double> length_, scale_, linear_, image_, scaled_;  // [m], [m, m]
};

}  // namespace espalier::inline ESPALIER_ABI
