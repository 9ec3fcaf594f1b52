#pragma once
// The zoo: small Jacobians on which every gradient aggregator is tried, from two well-known conflicting ones to rows
// that depend on each other, vanish, oppose each other or differ in scale by 1e6. Rows are task gradients. Plain
// doubles, no linear algebra library, so that a claim is checked by arithmetic anyone can read.

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "espalier/core/random.hpp"
#include "espalier/core/shape.hpp"

namespace support {

using espalier::Index;

/// Is there a combination of the rows with weights >= 0 that vanishes? Strong: one with every weight positive.
enum class Stationarity { unknown, none, weak, strong };

struct Jacobian {
  std::string name;
  Index rows = 0, cols = 0;
  std::vector<double> values;  // [rows, cols]
  Stationarity stationarity = Stationarity::unknown;
  double blur = 0;  // how much of |w| |g| the direction may move by rounding, where rows depend on each other to 1e-8

  double& operator()(Index i, Index k) { return values[static_cast<std::size_t>(i * cols + k)]; }
  double operator()(Index i, Index k) const { return values[static_cast<std::size_t>(i * cols + k)]; }
};

inline double inner(const Jacobian& j, Index a, Index b) {
  double sum = 0;
  for (Index k = 0; k < j.cols; ++k) sum += j(a, k) * j(b, k);
  return sum;
}

/// J J' as [rows, rows].
inline std::vector<double> gramian(const Jacobian& j) {
  std::vector<double> g(static_cast<std::size_t>(j.rows * j.rows));
  for (Index a = 0; a < j.rows; ++a)
    for (Index b = 0; b <= a; ++b)
      g[static_cast<std::size_t>(a * j.rows + b)] = g[static_cast<std::size_t>(b * j.rows + a)] = inner(j, a, b);
  return g;
}

/// J' w as [cols].
inline std::vector<double> direction(const Jacobian& j, std::span<const double> w) {
  std::vector<double> d(static_cast<std::size_t>(j.cols));
  for (Index i = 0; i < j.rows; ++i)
    for (Index k = 0; k < j.cols; ++k) d[static_cast<std::size_t>(k)] += w[static_cast<std::size_t>(i)] * j(i, k);
  return d;
}

/// Row i multiplied by scale[i].
inline Jacobian scaled_rows(Jacobian j, std::span<const double> scale) {
  for (Index i = 0; i < j.rows; ++i)
    for (Index k = 0; k < j.cols; ++k) j(i, k) *= scale[static_cast<std::size_t>(i)];
  return j;
}

inline Jacobian scaled(Jacobian j, double scale) {
  return scaled_rows(j, std::vector<double>(static_cast<std::size_t>(j.rows), scale));
}

/// The rows in the given order; rows left out of the order are gone.
inline Jacobian picked_rows(const Jacobian& j, std::span<const Index> order) {
  Jacobian out = j;
  out.rows = static_cast<Index>(order.size());
  out.values.clear();
  for (const Index i : order)
    for (Index k = 0; k < j.cols; ++k) out.values.push_back(j(i, k));
  return out;
}

/// A matrix of standard normal products, of the given rank.
inline Jacobian normal(Index rows, Index cols, Index rank, std::uint64_t seed = 0) {
  espalier::Rng rng{seed};
  std::vector<double> left(static_cast<std::size_t>(rows * rank)), right(static_cast<std::size_t>(rank * cols));
  rng.normal(std::span(left));
  rng.normal(std::span(right));
  Jacobian j{"normal " + std::to_string(rows) + " x " + std::to_string(cols) + " of rank " + std::to_string(rank), rows,
             cols, std::vector<double>(static_cast<std::size_t>(rows * cols))};
  for (Index i = 0; i < rows; ++i)
    for (Index r = 0; r < rank; ++r)
      for (Index k = 0; k < cols; ++k)
        j(i, k) += left[static_cast<std::size_t>(i * rank + r)] * right[static_cast<std::size_t>(r * cols + k)];
  return j;
}

/// The last of the first `rows` rows balances the ones before it, with positive weights.
inline Jacobian balanced(std::string name, Jacobian j, Index rows, Stationarity stationarity) {
  for (Index k = 0; k < j.cols; ++k) {
    j(rows - 1, k) = 0;
    for (Index i = 0; i < rows - 1; ++i) j(rows - 1, k) -= (0.5 + 0.25 * static_cast<double>(i)) * j(i, k);
  }
  j.name = std::move(name);
  j.stationarity = stationarity;
  return j;
}

/// Every animal, in double precision.
inline std::vector<Jacobian> zoo() {
  std::vector<Jacobian> all{
      {"J2", 2, 3, {-4, 1, 1, 6, 1, 1}, Stationarity::none},
      {"J3", 3, 4, {1, 2, -1, 0, -2, 1, 0, 1, 0.5, -3, 1, 1}, Stationarity::none},
      {"sign flip of IMTL-G", 3, 3, {-2, 1, -1, -1, -2, 1, -1, 0, 0}},
      {"zero", 3, 4, std::vector<double>(12)},
      {"one zero row", 3, 3, {1, 2, 3, 0, 0, 0, -2, 1, -1}},
      {"duplicated rows", 4, 3, {1, -2, 1, 1, -2, 1, -1, 1, 2, -1, 1, 2}},
      {"opposite rows", 3, 3, {1, 2, -1, -1, -2, 1, 0.5, 0, 1}, Stationarity::weak},
      {"opposite pair", 2, 2, {1, 2, -2, -4}, Stationarity::strong},
      {"orthogonal rows", 3, 4, {2, 0, 0, 0, 0, -3, 0, 0, 0, 0, 0.5, 0}, Stationarity::none},
      {"one row", 1, 4, {1, -2, 3, 0}, Stationarity::none},
      {"one column", 3, 1, {1, -2, 3}, Stationarity::strong},
  };
  for (const auto& [rows, cols, rank] : std::vector<std::array<Index, 3>>{{1, 1, 1},
                                                                          {4, 3, 1},
                                                                          {4, 3, 2},
                                                                          {4, 3, 3},
                                                                          {9, 11, 5},
                                                                          {9, 11, 9},
                                                                          {20, 10, 10},
                                                                          {20, 10, 5},
                                                                          {20, 10, 1},
                                                                          {20, 100, 1},
                                                                          {20, 100, 19},
                                                                          {64, 500, 64}})
    all.push_back(normal(rows, cols, rank));

  Jacobian twins = normal(5, 8, 5, 1);
  twins.name = "rows equal up to 1e-8";
  twins.blur = 1e-7;
  for (Index k = 0; k < twins.cols; ++k) twins(1, k) = twins(0, k) * (1 + 1e-8 * static_cast<double>(k - 4));
  all.push_back(twins);
  twins.name = "rows opposite up to 1e-8";
  for (Index k = 0; k < twins.cols; ++k) twins(1, k) *= -1;
  all.push_back(twins);
  Jacobian nearly = normal(12, 15, 4, 6);
  nearly.name += ", up to 1e-8";
  nearly.blur = 1e-7;
  espalier::Rng rng{7};
  std::vector<double> noise(nearly.values.size());
  rng.normal(std::span(noise));
  for (std::size_t k = 0; k < noise.size(); ++k) nearly.values[k] += 1e-8 * noise[k];
  all.push_back(nearly);

  const Jacobian base = normal(5, 8, 5, 2);
  for (const double scale : {1e-10, 1e3, 1e5, 1e10, 1e15}) {
    all.push_back(scaled(base, scale));
    all.back().name += ", scaled by 1e" + std::to_string(std::lround(std::log10(scale)));
  }
  all.push_back(scaled_rows(base, std::vector{1e-3, 1.0, 1e3, 1e-1, 30.0}));
  all.back().name += ", task scales 1e-3 to 1e3";

  all.push_back(balanced("strongly stationary", normal(5, 8, 5, 3), 5, Stationarity::strong));
  all.push_back(balanced("weakly stationary", normal(6, 9, 6, 4), 4, Stationarity::weak));
  Jacobian friends = normal(5, 8, 5, 5);
  friends.name = "not stationary";
  friends.stationarity = Stationarity::none;
  for (Index i = 0; i < friends.rows; ++i)
    for (Index k = 0; k < friends.cols; ++k) friends(i, k) += 2;
  all.push_back(friends);
  return all;
}

/// The zoo with its values rounded to float, as gradients in float arrive.
inline std::vector<Jacobian> zoo_in_float() {
  std::vector<Jacobian> all = zoo();
  for (Jacobian& j : all) {
    j.name += " (float)";
    bool changed = false;
    for (double& v : j.values) {
      changed |= v != static_cast<double>(static_cast<float>(v));
      v = static_cast<double>(static_cast<float>(v));
    }
    if (!changed) continue;
    j.stationarity = Stationarity::unknown;
    j.blur = 1e-7;
  }
  return all;
}

}  // namespace support
