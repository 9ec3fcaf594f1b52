#include "espalier/multitask/aggregator/nnls.hpp"

#include <Eigen/Dense>

#include "support/catch.hpp"
#include "support/zoo.hpp"

using namespace espalier;

namespace {

struct Problem {
  std::vector<double> gram, linear;  // of the unit columns, and of the columns with the target
};

/// Unit columns x_j = j's rows but the last, target y = the last row, of length 1.
Problem problem(support::Jacobian j) {
  for (Index i = 0; i < j.rows; ++i) {
    const double length = std::sqrt(support::inner(j, i, i));
    for (Index k = 0; k < j.cols; ++k) j(i, k) /= length;
  }
  const Index m = j.rows - 1;
  Problem p{std::vector<double>(static_cast<std::size_t>(m * m)), {}};
  for (Index a = 0; a < m; ++a) {
    for (Index b = 0; b < m; ++b) p.gram[static_cast<std::size_t>(a * m + b)] = a == b ? 1 : support::inner(j, a, b);
    p.linear.push_back(support::inner(j, a, m));
  }
  return p;
}

/// The largest violation of z >= 0, r >= 0, z r = 0, summed in long double.
double violation(const Problem& p, const std::vector<double>& z) {
  long double worst = 0;
  for (std::size_t j = 0; j < z.size(); ++j) {
    long double r = p.linear[j];
    for (std::size_t k = 0; k < z.size(); ++k) r += static_cast<long double>(p.gram[j * z.size() + k]) * z[k];
    worst = std::max({worst, -static_cast<long double>(z[j]), -r, z[j] > 0 ? std::abs(r) : 0});
  }
  return static_cast<double>(worst);
}

/// The smallest |Xz + y|^2 - 1 over all supports whose unconstrained minimiser is not negative.
double best_by_enumeration(const Problem& p) {
  using Matrix = Eigen::Matrix<long double, Eigen::Dynamic, Eigen::Dynamic>;
  const auto m = static_cast<Index>(p.linear.size());
  long double best = 0;
  for (Index mask = 1; mask < (Index{1} << m); ++mask) {
    std::vector<std::size_t> support;
    for (Index j = 0; j < m; ++j)
      if (mask >> j & 1) support.push_back(static_cast<std::size_t>(j));
    const auto n = static_cast<Index>(support.size());
    Matrix a(n, n), b(n, 1);
    for (Index i = 0; i < n; ++i) {
      b(i, 0) = -p.linear[support[static_cast<std::size_t>(i)]];
      for (Index k = 0; k < n; ++k)
        a(i, k) = p.gram[support[static_cast<std::size_t>(i)] * p.linear.size() + support[static_cast<std::size_t>(k)]];
    }
    const Eigen::FullPivLU<Matrix> lu(a);
    if (!lu.isInvertible()) continue;
    const Matrix z = lu.solve(b);
    if (z.minCoeff() >= 0) best = std::min(best, -(z.transpose() * b)(0, 0));
  }
  return static_cast<double>(best);
}

double objective(const Problem& p, const std::vector<double>& z) {
  double sum = 0;
  for (std::size_t j = 0; j < z.size(); ++j) {
    sum += 2 * p.linear[j] * z[j];
    for (std::size_t k = 0; k < z.size(); ++k) sum += z[j] * p.gram[j * z.size() + k] * z[k];
  }
  return sum;
}

NnlsResult solve(const Problem& p, std::vector<double>& z) {
  z.assign(p.linear.size(), 7.0);
  return Nnls{}.solve({p.gram, static_cast<Index>(z.size())}, p.linear, 1, z);
}

}  // namespace

TEST_CASE("nnls solves what can be seen", "[fast]") {
  std::vector<double> z;
  SECTION("nothing pulls: z is zero") {
    const NnlsResult result = solve({{1, 0.5, 0.5, 1}, {0.2, 0}}, z);
    CHECK(z == std::vector<double>{0, 0});
    CHECK(result.iterations == 0);
    CHECK(result.residual == 0);
  }
  SECTION("orthogonal columns: z = max(-b, 0)") {
    solve({{1, 0, 0, 0, 1, 0, 0, 0, 1}, {-0.5, 0.25, -0.125}}, z);
    CHECK(z[0] == Approx(0.5).epsilon(1e-15));
    CHECK(z[1] == 0);
    CHECK(z[2] == Approx(0.125).epsilon(1e-15));
  }
  SECTION("an infinite linear term keeps a variable out") {
    const NnlsResult result = solve({{1, 0.5, 0.5, 1}, {std::numeric_limits<double>::infinity(), -0.5}}, z);
    CHECK(z[0] == 0);
    CHECK(z[1] == Approx(0.5).epsilon(1e-15));
    CHECK(result.residual <= 1e-15);
  }
  SECTION("no variable") { CHECK(solve({}, z).residual == 0); }
  SECTION("equal columns share") {
    const NnlsResult result = solve({{1, 1, 1, 1}, {-0.5, -0.5}}, z);
    CHECK(z[0] + z[1] == Approx(0.5).epsilon(1e-14));
    CHECK(result.residual <= 1e-15);
  }
  SECTION("opposite columns") {
    solve({{1, -1, -1, 1}, {-0.5, 0.5}}, z);
    CHECK(z[0] == Approx(0.5).epsilon(1e-14));
    CHECK(z[1] == 0);
  }
}

TEST_CASE("nnls meets the optimality conditions", "[fast]") {
  Nnls reused;
  for (const Index m : {2, 3, 5, 9, 17, 33, 65})
    for (const Index rank : {m, (m + 1) / 2, Index{1}})
      for (std::uint64_t seed = 0; seed < (m < 33 ? 20 : 3); ++seed) {
        CAPTURE(m, rank, seed);
        const Problem p = problem(support::normal(m + 1, m + 3, rank, seed));
        std::vector<double> z, again(p.linear.size());
        const NnlsResult result = solve(p, z);
        REQUIRE(violation(p, z) <= 1e-11);
        REQUIRE(std::abs(result.residual - violation(p, z)) <= 1e-13);
        REQUIRE(result.iterations <= 10 * m);
        reused.solve({p.gram, m}, p.linear, 1, again);
        REQUIRE(again == z);
      }
}

TEST_CASE("nnls finds the optimum that enumeration finds", "[fast]") {
  for (const Index m : {1, 2, 3, 4, 5, 6})
    for (const Index cols : {2, 4, 8})
      for (std::uint64_t seed = 0; seed < 5; ++seed) {
        CAPTURE(m, cols, seed);
        const Problem p = problem(support::normal(m + 1, cols, cols, seed));
        std::vector<double> z;
        solve(p, z);
        REQUIRE(objective(p, z) == Approx(best_by_enumeration(p)).margin(1e-12));
      }
}

TEST_CASE("nnls stays bounded where columns depend on each other up to any amount", "[fast]") {
  for (const double amount : {1e-6, 1e-7, 3e-8, 1e-8, 3e-9, 1e-9, 1e-12})
    for (std::uint64_t seed = 0; seed < 60; ++seed) {
      CAPTURE(amount, seed);
      support::Jacobian j = support::normal(13, 16, 4 + static_cast<Index>(seed % 3), seed);
      Rng rng{1000 + seed};
      std::vector<double> noise(j.values.size()), z;
      rng.normal(std::span(noise));
      for (std::size_t k = 0; k < noise.size(); ++k) j.values[k] += amount * noise[k];
      REQUIRE(solve(problem(j), z).residual <= 1e-9);
      REQUIRE(*std::ranges::max_element(z) <= 1e4);
    }
}

TEST_CASE("nnls says so when no columns have the inner products given", "[fast]") {
  std::vector<double> z;
  CHECK(solve({{1, -0.9, -0.9, -0.9, 1, -0.9, -0.9, -0.9, 1}, {-0.5, -0.5, -0.5}}, z).residual > 1e-3);
  CHECK(*std::ranges::max_element(z) <= 10);
  CHECK(solve({{1, -1, -1, 1}, {-0.5, 0.4}}, z).residual > 1e-3);  // opposite columns whose slopes are not opposite
  CHECK(*std::ranges::max_element(z) <= 100);
}
