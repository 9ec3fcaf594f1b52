#pragma once
// Eigenvalues and eigenvectors of a small symmetric matrix by cyclic Jacobi rotations (Golub and Van Loan, "Matrix
// computations", section 8.5). Slower than a tridiagonal method and worth it: a page of plain code, and small eigenvalues of
// a badly scaled Gramian keep their digits (Demmel and Veselic, "Jacobi's method is more accurate than QR", 1992).

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "espalier/multitask/aggregator/aggregator.hpp"

namespace espalier::inline ESPALIER_ABI {

/// A = sum_k values[k] v_k v_k'. The memory is kept for the next matrix.
class SymmetricEigen {
 public:
  /// Decomposes `matrix` [m, m]; its upper triangle is not read. The values come in no particular order.
  void assign(GramianView matrix) {
    size_ = matrix.tasks;
    const auto m = static_cast<std::size_t>(size_);
    rows_.assign(matrix.values.begin(), matrix.values.end());
    vectors_.assign(m * m, 0);
    values.resize(m);
    rotations = 0;
    for (Index i = 0; i < size_; ++i) {
      vectors_[static_cast<std::size_t>(i * (size_ + 1))] = 1;
      for (Index j = 0; j < i; ++j) at(j, i) = at(i, j);
    }
    for (int sweep = 0, before = -1; sweep < 40 && before != rotations; ++sweep) {
      before = rotations;
      for (Index p = 0; p < size_; ++p)
        for (Index q = p + 1; q < size_; ++q) rotate(p, q);
    }
    largest = 0;
    for (Index i = 0; i < size_; ++i) {
      values[static_cast<std::size_t>(i)] = at(i, i);
      largest = std::max(largest, at(i, i));
    }
  }
  std::span<const double> vector(Index k) const {
    return std::span(vectors_).subspan(static_cast<std::size_t>(k * size_), static_cast<std::size_t>(size_));
  }
  /// Whether the k-th value stands out of the rounding of a matrix whose entries were summed with unit `epsilon`.
  bool counts(Index k, double epsilon) const {
    return values[static_cast<std::size_t>(k)] > static_cast<double>(size_) * epsilon * largest;
  }
  /// out = sum over the values that count of values[k]^power (v_k'x) v_k: power -1 is the pseudo-inverse.
  void apply(double power, double epsilon, std::span<const double> x, std::span<double> out) const {
    std::fill(out.begin(), out.end(), 0.0);
    for (Index k = 0; k < size_; ++k) {
      if (!counts(k, epsilon)) continue;
      const std::span<const double> v = vector(k);
      const double factor =
          std::pow(values[static_cast<std::size_t>(k)], power) * detail::inner(v.data(), x.data(), size_);
      for (std::size_t i = 0; i < out.size(); ++i) out[i] += factor * v[i];
    }
  }

  std::vector<double> values;  // [m]
  double largest = 0;
  int rotations = 0;

 private:
  double& at(Index i, Index j) { return rows_[static_cast<std::size_t>(i * size_ + j)]; }

  /// Makes a_pq zero, unless it is rounding beside its own row and column.
  void rotate(Index p, Index q) {
    const double off = at(p, q), a = at(p, p), b = at(q, q);
    const double unit = std::sqrt(std::abs(a)) * std::sqrt(std::abs(b));
    if (off == 0 || std::abs(off) <= 0.25 * std::numeric_limits<double>::epsilon() * unit) return;
    if (std::abs(off) < 1e-30 * largest_entry(a, b)) {  // too small to turn by: it would come back for ever
      at(p, q) = at(q, p) = 0;
      return;
    }
    ++rotations;
    const double theta = (b - a) / (2 * off), t = (theta < 0 ? -1 : 1) / (std::abs(theta) + std::sqrt(theta * theta + 1));
    const double c = 1 / std::sqrt(t * t + 1), s = t * c;
    turn(&at(p, 0), &at(q, 0), c, s);
    for (Index k = 0; k < size_; ++k) {
      at(k, p) = at(p, k);
      at(k, q) = at(q, k);
    }
    at(p, p) = a - t * off;
    at(q, q) = b + t * off;
    at(p, q) = at(q, p) = 0;
    turn(&vectors_[static_cast<std::size_t>(p * size_)], &vectors_[static_cast<std::size_t>(q * size_)], c, s);
  }
  static double largest_entry(double a, double b) { return std::max(std::abs(a), std::abs(b)); }
  void turn(double* x, double* y, double c, double s) const {
    for (Index k = 0; k < size_; ++k) {
      const double u = x[k], v = y[k];
      x[k] = c * u - s * v;
      y[k] = s * u + c * v;
    }
  }

  Index size_ = 0;
  std::vector<double> rows_, vectors_;  // [m, m]: the matrix on its way to a diagonal; row k is v_k
};

}  // namespace espalier::inline ESPALIER_ABI
