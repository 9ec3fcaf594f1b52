#pragma once
// The weights of Nash-MTL and FairGrad: w > 0 with (Gw)_i = (w_i / p_i)^-a. They minimise a smooth, strictly convex function,
// w'Gw / 2 - sum_i p_i^a w_i^(1-a) / (1 - a), for a = 1 w'Gw / 2 - sum_i p_i log w_i, by a damped Newton method.

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "espalier/multitask/aggregator/aggregator.hpp"

namespace espalier::inline ESPALIER_ABI {

namespace detail {

/// The solver and its memory. The unknowns are y_i = w_i |g_i|, and its steps are relative to them, so that tasks of any
/// scale are alike: y_i (Cy)_i = e_i with C the cosines, e_i = k_i y_i^(1-a), k_i = p_i^a |g_i|^(a-1).
class Bargaining {
 public:
  static constexpr double tolerance = 1e-9;

  /// Turns `out` [m] from preferences, scaled to sum 1, into weights with |J'w| <= max_norm (0: no bound). Rows without a
  /// preference get no weight, rows of length zero neither. The latter have no solution: the residual is then 1. It is the
  /// largest |(w_i / p_i)^a (Gw)_i - 1|. Rows that have 0 in their hull have no finite solution either; y stops at 1e4 times
  /// the largest that it would be if the rows were orthogonal, and the residual tells.
  Certificate solve(GramianView gramian, double power, double max_norm, std::span<double> out) {
    const auto rows = static_cast<Index>(out.size());
    cosines_.assign(gramian);
    kept_.clear();
    Certificate certificate;
    for (Index i = 0; i < rows; ++i) {
      if (out[static_cast<std::size_t>(i)] > 0 && cosines_.length(i) > 0) kept_.push_back(i);
      else if (out[static_cast<std::size_t>(i)] > 0) certificate.residual = 1;
    }
    size_ = static_cast<Index>(kept_.size());
    const auto m = static_cast<std::size_t>(size_);
    for (auto* v : {&k_, &y_, &e_, &image_, &step_, &trial_, &product_}) v->resize(m);
    c_.clear();
    factor_.resize(m * m);
    double start = 0;
    for (Index t = 0; t < size_; ++t) {
      const Index i = kept_[static_cast<std::size_t>(t)];
      for (const Index j : kept_) c_.push_back(cosines_.at(i, j));
      const double p = out[static_cast<std::size_t>(i)] * static_cast<double>(rows);
      at(k_, t) = std::pow(p, power) * std::pow(cosines_.length(i), power - 1);
      at(y_, t) = std::pow(at(k_, t), 1 / (1 + power));
      start = std::max(start, at(y_, t));
    }

    double last = HUGE_VAL;
    for (bool damped = true; certificate.iterations < 100; ++certificate.iterations) {
      const double decrement = newton(power);  // relative to the sum of e
      if (!(decrement < HUGE_VAL)) break;
      damped = damped && decrement > 1e-16;
      if (!damped && decrement >= 0.25 * last) break;  // rounding is all that is left
      last = decrement;
      double length = 1;
      for (Index t = 0; t < size_; ++t)
        if (at(step_, t) * length < -0.9) length = -0.9 / at(step_, t);
      if (damped) length = line_search(power, length, decrement);
      double most = 0;
      for (Index t = 0; t < size_; ++t) most = std::max(most, at(y_, t) *= 1 + length * at(step_, t));
      if (decrement < 1e-31 || length == 0 || most > 1e4 * start) break;
    }

    times({c_, size_}, y_.data(), image_.data());
    const double norm = std::sqrt(std::max(0.0, inner(y_.data(), image_.data(), size_)));
    const double clip = max_norm > 0 && norm > max_norm ? max_norm / norm : 1;
    std::fill(out.begin(), out.end(), 0.0);
    for (Index t = 0; t < size_; ++t) {
      const Index i = kept_[static_cast<std::size_t>(t)];
      const double ratio = at(image_, t) * std::pow(at(y_, t), power) / at(k_, t);
      certificate.residual = std::max(certificate.residual, std::abs(ratio - 1));
      out[static_cast<std::size_t>(i)] = clip * at(y_, t) / cosines_.length(i);
    }
    if (!(certificate.residual <= tolerance)) certificate.status = Certificate::Status::capped;
    return certificate;
  }

 private:
  static double& at(std::vector<double>& v, Index i) { return v[static_cast<std::size_t>(i)]; }

  /// step_ = -(YCY + a E)^-1 (YCy - e), relative to y; returns its squared decrement per sum of e.
  double newton(double power) {
    times({c_, size_}, y_.data(), image_.data());
    double total = 0, decrement = 0;
    for (Index t = 0; t < size_; ++t) {
      at(e_, t) = at(k_, t) * std::pow(at(y_, t), 1 - power);
      at(step_, t) = at(e_, t) - at(y_, t) * at(image_, t);
      total += at(e_, t);
    }
    for (Index i = 0; i < size_; ++i) {  // L of the Cholesky factorisation, row by row, and the forward substitution
      double* row = factor_.data() + i * size_;
      for (Index j = 0; j <= i; ++j) {
        const double* other = factor_.data() + j * size_;
        const double entry =
            at(y_, i) * at(c_, i * size_ + j) * at(y_, j) + (i == j ? power * at(e_, i) : 0) - inner(row, other, j);
        if (i != j) row[j] = entry / other[j];
        else if (!(entry > 0)) return HUGE_VAL;
        else row[i] = std::sqrt(entry);
      }
      at(step_, i) = (at(step_, i) - inner(row, step_.data(), i)) / row[i];
      decrement += at(step_, i) * at(step_, i);
    }
    for (Index i = size_ - 1; i >= 0; --i) {
      const double* row = factor_.data() + i * size_;
      const double s = at(step_, i) /= row[i];
      for (Index j = 0; j < i; ++j) at(step_, j) -= s * row[j];
    }
    return total > 0 ? decrement / total : 0;
  }

  /// The first of length, length / 2, ... that lets the function fall by a tenth of what its slope promises; 0 without one.
  double line_search(double power, double length, double decrement) {
    double total = 0;
    for (double e : e_) total += e;
    times({c_, size_}, y_.data(), image_.data());
    for (int halvings = 0; halvings < 50; ++halvings, length *= 0.5) {
      double change = 0;  // computed from differences, as the function itself may be large
      for (Index t = 0; t < size_; ++t) trial_[static_cast<std::size_t>(t)] = length * at(step_, t) * at(y_, t);
      times({c_, size_}, trial_.data(), product_.data());
      for (Index t = 0; t < size_; ++t) {
        const double grown = std::log1p(length * at(step_, t));
        change += at(trial_, t) * (at(image_, t) + 0.5 * at(product_, t));
        change -= power == 1 ? at(e_, t) * grown : at(e_, t) * std::expm1((1 - power) * grown) / (1 - power);
      }
      if (change <= -0.1 * length * decrement * total) return length;
    }
    return 0;
  }

  Index size_ = 0;
  Cosines cosines_;
  std::vector<Index> kept_;                                              // [size]: the rows that get a weight
  std::vector<double> c_, factor_;                                       // [size, size]
  std::vector<double> k_, y_, e_, image_, step_, trial_, product_;       // [size]
};

}  // namespace detail

}  // namespace espalier::inline ESPALIER_ABI
