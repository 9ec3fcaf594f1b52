#include "espalier/tensor/kernels/reduce.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "espalier/core/random.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

using namespace espalier;

namespace {

std::size_t index(Index i) { return static_cast<std::size_t>(i); }

template <class T>
std::vector<T> numbers(Index n, Rng& rng) {
  std::vector<T> x(index(n));
  rng.normal(std::span<T>(x));
  return x;
}

}  // namespace

TEMPLATE_TEST_CASE("sums and dots of every length are right", "[fast]", float, double) {
  using T = TestType;
  Rng rng{1};
  for (Index n = 0; n < 2100; n += n < 80 ? 1 : 61) {
    const std::vector<T> x = numbers<T>(n, rng), y = numbers<T>(n, rng);
    long double s = 0, d = 0;
    for (Index i = 0; i < n; ++i) {
      s += x[index(i)];
      d += static_cast<long double>(x[index(i)]) * y[index(i)];
    }
    const double near = 50 * static_cast<double>(std::numeric_limits<T>::epsilon());
    REQUIRE(std::abs(kernels::sum(n, x.data()) - static_cast<double>(s)) < near * (1 + std::sqrt(static_cast<double>(n))));
    REQUIRE(std::abs(kernels::dot(n, x.data(), y.data()) - static_cast<double>(d)) < near * (1 + std::sqrt(static_cast<double>(n))));
  }
}

TEST_CASE("the lanes that pad a sum count nothing", "[fast]") {
  const float x[] = {2, 3, 5};
  CHECK(kernels::sum_of(Index{3}, [](const auto& v) __attribute__((always_inline)) { return v + 100; }, x) == 310);
  CHECK(kernels::sum_of(Index{3}, [](const auto& v) __attribute__((always_inline)) { return 30 / v; }, x) == 31);  // 30 / 0 is infinite
}

TEST_CASE("a sum of a million floats is accurate", "[fast]") {
  std::vector<float> x(1000000, 0.1f);
  CHECK(std::abs(kernels::sum(Index{1000000}, x.data()) / (1e6 * double(0.1f)) - 1) < 1e-6);
  Rng rng{2};
  rng.uniform(std::span<float>(x), 0, 1);
  double exact = 0;
  for (float v : x) exact += v;
  CHECK(std::abs(kernels::sum(Index{1000000}, x.data()) / exact - 1) < 1e-7);
  CHECK(std::abs(kernels::dot(Index{1000000}, x.data(), x.data()) - [&] {
          double s = 0;
          for (float v : x) s += double(v) * v;
          return s;
        }()) < 1);
}

TEST_CASE("a sum's bits do not depend on where it lies in memory", "[fast]") {
  Rng rng{3};
  const std::vector<float> x = numbers<float>(5000, rng);
  std::vector<float> moved(5020);
  for (std::size_t start = 0; start < 17; ++start) {
    std::copy(x.begin(), x.end(), moved.begin() + static_cast<std::ptrdiff_t>(start));
    REQUIRE(kernels::sum(Index{5000}, moved.data() + start) == kernels::sum(Index{5000}, x.data()));
  }
}

TEST_CASE("sums over any axes agree with a loop over elements", "[fast]") {
  Rng rng{4};
  const Draws d{5};
  std::uint64_t at = 0;
  const Index sizes[] = {1, 2, 3, 5, 8, 9, 17, 0};
  for (int round = 0; round < 1500; ++round) {
    Shape shape, out;
    for (Index i = d.below(6, at++); i > 0; --i) {
      shape.push_back(sizes[d.below(8, at++)]);
      out.push_back(d.below(2, at++) ? shape[-1] : 1);
    }
    if (shape.size() > 5000) continue;
    INFO(shape.text() << " to " << out.text());
    const std::vector<double> x = numbers<double>(shape.size(), rng);
    std::vector<double> y(index(out.size() + 1), 0.5), expected = y;
    for (Index i = 0; i < shape.size(); ++i) {
      Index rest = i, position = 0, stride = 1;
      for (int k = 1; k <= shape.rank(); ++k) {
        const Index p = rest % shape[-k];
        rest /= shape[-k];
        if (out[-k] != 1) position += p * stride;
        stride *= out[-k];
      }
      expected[index(position)] += x[index(i)];
    }
    kernels::add_sum_to(shape, x.data(), out, y.data());
    double worst = 0;
    for (std::size_t i = 0; i < y.size(); ++i) worst = std::max(worst, std::abs(y[i] - expected[i]));
    REQUIRE(worst < 1e-11);
  }
}

TEST_CASE("sums of a million floats are accurate whichever axes they run along", "[fast]") {
  const Index n = 1000000 / 6;
  std::vector<float> x(index(6 * n));
  Rng rng{6};
  rng.uniform(std::span<float>(x), 0, 1);
  const auto worst = [&](const Shape& shape, const Shape& out) {
    std::vector<double> exact(index(out.size()), 0);
    std::vector<float> found(index(out.size()), 0);
    for (Index i = 0; i < shape.size(); ++i) {
      Index rest = i, position = 0, stride = 1;
      for (int k = 1; k <= shape.rank(); ++k) {
        if (out[-k] != 1) position += rest % shape[-k] * stride;
        rest /= shape[-k];
        stride *= out[-k];
      }
      exact[index(position)] += x[index(i)];
    }
    kernels::add_sum_to(shape, x.data(), out, found.data());
    double error = 0;
    for (std::size_t i = 0; i < exact.size(); ++i) error = std::max(error, std::abs(found[i] / exact[i] - 1));
    return error;
  };
  CHECK(worst({n, 6}, {1, 1}) < 1e-6);
  CHECK(worst({n, 6}, {1, 6}) < 2e-6);
  CHECK(worst({6, n}, {6, 1}) < 1e-6);
  CHECK(worst({n, 2, 3}, {1, 2, 1}) < 2e-6);
  CHECK(worst({n, 3, 2}, {1, 1, 2}) < 2e-6);
  CHECK(worst({n / 2, 2, 2, 3}, {1, 2, 1, 3}) < 2e-6);
  CHECK(worst({n / 2, 2, 2, 3}, {1, 2, 1, 1}) < 2e-6);
  CHECK(worst({n / 2, 2, 2, 3}, {1, 1, 2, 1}) < 2e-6);
}

TEST_CASE("column sums add to what is there, for every width", "[fast]") {
  Rng rng{7};
  for (const Index n : {Index{1}, Index{2}, Index{3}, Index{4}, Index{5}, Index{7}, Index{8}, Index{9}, Index{17}})
    for (const Index m : {Index{0}, Index{1}, Index{2}, Index{63}, Index{64}, Index{65}, Index{129}}) {
      const std::vector<double> x = numbers<double>(m * n, rng);
      std::vector<double> y(index(n + 1), 1);
      kernels::add_column_sums(m, n, y.data(), x.data());
      for (Index j = 0; j < n; ++j) {
        double s = 1;
        for (Index i = 0; i < m; ++i) s += x[index(i * n + j)];
        REQUIRE(std::abs(y[index(j)] - s) < 1e-12);
      }
      REQUIRE(y[index(n)] == 1);
    }
}

TEST_CASE("the largest element is found, and NaN wins", "[fast]") {
  const float nan = std::nanf(""), infinity = HUGE_VALF;
  const float a[] = {1, 3, 2}, b[] = {nan, 5}, c[] = {5, nan, 7}, d[] = {-infinity, -infinity}, e[] = {2};
  CHECK(kernels::max(Index{3}, a) == 3);
  CHECK(std::isnan(kernels::max(Index{2}, b)));
  CHECK(std::isnan(kernels::max(Index{3}, c)));
  CHECK(kernels::max(Index{2}, d) == -infinity);
  CHECK(kernels::max(Index{1}, e) == 2);
}

TEST_CASE("reductions have the same bits for every number of threads", "[fast]") {
  Rng rng{8};
  const std::vector<float> x = numbers<float>(300000, rng);
  CHECK(support::same_for_all_threads([&] {
    std::vector<float> y(300, 0);
    kernels::add_sum_to({1000, 300}, x.data(), {1, 300}, y.data());
    y.push_back(static_cast<float>(kernels::sum(Index{300000}, x.data())));
    return y;
  }));
}
