#pragma once
// Checks what a gradient aggregator claims (espalier::Claims), and what holds for all of them, on the Jacobians of
// zoo.hpp.
//
// To test a method: `CHECK(support::broken_claims(Method{}, support::zoo()).empty())`, or compare with an empty list to
// see the broken ones. A method whose claims depend on its options, or that falls back on some inputs, hands in the
// claims that hold and the inputs that they hold for. upgrad_test.cpp shows that wrong methods are caught.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "espalier/multitask/aggregator/aggregator.hpp"
#include "support/zoo.hpp"

namespace support {

/// A direction and its yardstick, the length that it would have if no two rows cancelled: sum_i |w_i| |g_i|.
struct Direction {
  std::vector<double> values, weights;
  double unit = 0;
};

inline double length(std::span<const double> v) {
  return std::sqrt(std::inner_product(v.begin(), v.end(), v.begin(), 0.0));
}

/// A(J).
inline Direction aggregate(auto aggregator, const Jacobian& j, const espalier::StepInfo& info = {}) {
  Direction d;
  d.weights.resize(static_cast<std::size_t>(j.rows), std::nan(""));  // a method must overwrite it all
  const std::vector<double> g = gramian(j);
  aggregator.weights({g, j.rows}, info, d.weights);
  d.values = direction(j, d.weights);
  for (Index i = 0; i < j.rows; ++i)
    d.unit += std::abs(d.weights[static_cast<std::size_t>(i)]) * std::sqrt(inner(j, i, i));
  return d;
}

/// One line for every claim that fails: `<method> on <matrix>: <claim>`. `tolerance` is for directions that shall be
/// equal, relative to `Direction::unit`; a conflict is a cosine below -1e-9.
template <espalier::GramianAggregator A>
std::vector<std::string> broken_claims(const A& aggregator, const std::vector<Jacobian>& zoo, espalier::Claims claims,
                                       double tolerance = 1e-9) {
  std::vector<std::string> broken;
  for (const Jacobian& j : zoo) {
    const auto require = [&](bool holds, const std::string& claim) {
      if (!holds) broken.push_back(std::string(A::name) + " on " + j.name + ": " + claim);
    };
    const auto close = [&](const Direction& a, const Direction& b, double factor = 1) {  // a = factor * b
      double square = 0;
      for (std::size_t k = 0; k < a.values.size(); ++k) square += std::pow(a.values[k] - factor * b.values[k], 2);
      return std::sqrt(square) <= std::max(tolerance, j.blur) * std::max(a.unit, factor * b.unit);
    };
    const auto rows = static_cast<std::size_t>(j.rows);
    const Direction d = aggregate(aggregator, j);
    const double size = length(d.values);

    require(std::ranges::all_of(d.weights, [](double w) { return std::isfinite(w); }), "finite");
    require(d.weights == aggregate(aggregator, j).weights, "the same twice");
    if (claims.non_negative) require(std::ranges::all_of(d.weights, [](double w) { return w >= 0; }), "non_negative");

    if (claims.non_conflicting) {
      bool holds = true;  // the second term is the rounding of the sum that d is
      for (Index i = 0; i < j.rows; ++i) {
        double gain = 0;
        for (Index k = 0; k < j.cols; ++k) gain += j(i, k) * d.values[static_cast<std::size_t>(k)];
        holds &= gain >= -std::sqrt(inner(j, i, i)) * (1e-9 * size + 1e-13 * d.unit);
      }
      require(holds, "non_conflicting");
    }
    if (claims.stops_at_strong_only && (j.stationarity == Stationarity::weak || j.stationarity == Stationarity::none))
      require(size > 1e-6 * d.unit, "stops_at_strong_only");

    for (const double c : {1e-10, 1e-3, 7.0, 1e10})
      require(close(aggregate(aggregator, scaled(j, c)), d, std::pow(c, claims.degree)), "degree");

    if (claims.permutation_equivariant) {
      std::vector<Index> order(rows);
      std::iota(order.rbegin(), order.rend(), 0);  // reversed, then shuffled
      for (espalier::Rng rng{9}; rng.step() < 3; rng.shuffle(std::span(order)))
        require(close(aggregate(aggregator, picked_rows(j, order)), d), "permutation_equivariant");
    }

    // Scales over 1e-2 .. 1e2, two draws of them.
    std::vector<double> first(rows), second(rows), both(rows);
    espalier::Rng rng{11};
    rng.uniform(std::span(first), -2, 2);
    rng.uniform(std::span(second), -2, 2);
    for (std::size_t i = 0; i < rows; ++i) {
      first[i] = std::pow(10, first[i]);
      second[i] = std::pow(10, second[i]);
      both[i] = 3 * first[i] + 0.5 * second[i];
    }
    const Direction a = aggregate(aggregator, scaled_rows(j, first));
    if (claims.linear_under_scaling) {
      const Direction b = aggregate(aggregator, scaled_rows(j, second));
      Direction sum = a;
      for (std::size_t k = 0; k < sum.values.size(); ++k) sum.values[k] = 3 * a.values[k] + 0.5 * b.values[k];
      sum.unit = 3 * a.unit + 0.5 * b.unit;
      require(close(aggregate(aggregator, scaled_rows(j, both)), sum), "linear_under_scaling");
    }
    if (claims.invariant_under_scaling)
      require(close(a, d, size > 0 ? length(a.values) / size : 1), "invariant_under_scaling");

    // J and a reflected J have the same Gramian apart from rounding.
    Jacobian reflected = j;
    std::vector<double> axis(static_cast<std::size_t>(j.cols));
    rng.normal(std::span(axis));
    const double square = std::pow(length(axis), 2);
    const auto reflect = [&](double* row) {
      const double share = 2 * std::inner_product(axis.begin(), axis.end(), row, 0.0) / square;
      for (std::size_t k = 0; k < axis.size(); ++k) row[k] -= share * axis[k];
    };
    for (Index i = 0; i < j.rows; ++i) reflect(&reflected(i, 0));
    Direction mirrored = aggregate(aggregator, reflected);
    reflect(mirrored.values.data());
    require(close(mirrored, d), "turns with J");

    // A task that is absent from a step, and a task that does not exist.
    for (std::size_t gone = 0; j.rows > 1 && gone < rows; gone += std::max<std::size_t>(1, rows / 3)) {
      std::vector<Index> active(rows);
      std::iota(active.begin(), active.end(), 0);
      active.erase(active.begin() + static_cast<std::ptrdiff_t>(gone));
      const Jacobian rest = picked_rows(j, active);
      require(aggregate(aggregator, rest, {.active = active}).weights == aggregate(aggregator, rest).weights,
              "an absent task is no task");
    }
  }
  return broken;
}

template <espalier::GramianAggregator A>
std::vector<std::string> broken_claims(const A& aggregator, const std::vector<Jacobian>& zoo, double tolerance = 1e-9) {
  return broken_claims(aggregator, zoo, aggregator.claims, tolerance);
}

}  // namespace support
