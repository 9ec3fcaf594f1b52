#include "espalier/tensor/kernels/elementwise.hpp"

#include <cmath>
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

/// Where element `at` of `out` lies in a tensor of shape `from` that repeats to it.
Index naive_position(const Shape& out, const Shape& from, Index at) {
  Index position = 0, stride = 1;
  for (int i = 1; i <= out.rank(); ++i) {
    const Index p = at % out[-i];
    at /= out[-i];
    if (i > from.rank()) continue;
    if (from[-i] != 1) position += p * stride;
    stride *= from[-i];
  }
  return position;
}

/// Two shapes that broadcast, of up to five axes with sizes 0 to 9.
std::pair<Shape, Shape> random_pair(const Draws& d, std::uint64_t seed) {
  const Index sizes[] = {1, 1, 2, 3, 4, 5, 7, 8, 9, 0};
  std::uint64_t at = seed * 64;
  const auto below = [&](Index bound) { return d.below(bound, at++); };
  const Index rank_a = below(6), rank_b = below(6), rank = std::max(rank_a, rank_b);
  std::vector<Index> a, b;
  for (Index i = 0; i < rank; ++i) {  // from the last axis on
    const Index n = sizes[below(i == 0 || below(8) == 0 ? 10 : 9)], how = below(4);
    if (i < rank_a) a.insert(a.begin(), how == 1 ? 1 : n);
    if (i < rank_b) b.insert(b.begin(), how == 2 ? 1 : n);
  }
  Shape x, y;
  for (Index n : a) x.push_back(n);
  for (Index n : b) y.push_back(n);
  return {x, y};
}

}  // namespace

TEMPLATE_TEST_CASE("map applies a function at every length", "[fast]", float, double) {
  using T = TestType;
  Rng rng{1};
  const Index block = kernels::block_size, width = pack<T>::size;
  for (const Index n : {Index{0}, Index{1}, width - 1, width, width + 1, 3 * width + 1, block - 1, block, block + 1, 3 * block + 5}) {
    const std::vector<T> a = numbers<T>(n, rng), b = numbers<T>(n, rng);
    std::vector<T> y(index(n + 1), T(77));
    kernels::map(n, y.data(), [](const auto& p, const auto& q) __attribute__((always_inline)) { return p - q; }, a.data(), b.data());
    for (Index i = 0; i < n; ++i) REQUIRE(y[index(i)] == a[index(i)] - b[index(i)]);
    CHECK(y[index(n)] == 77);  // nothing is written beyond the end
  }
}

TEST_CASE("map may write over its input", "[fast]") {
  Rng rng{2};
  const std::vector<float> x = numbers<float>(20001, rng);
  std::vector<float> y = x;
  kernels::map(Index{20001}, y.data(), [](const auto& v) __attribute__((always_inline)) { return v + v; }, static_cast<const float*>(y.data()));
  for (std::size_t i = 0; i < x.size(); ++i) REQUIRE(y[i] == 2 * x[i]);
}

TEST_CASE("add_to adds", "[fast]") {
  std::vector<double> y{1, 2, 3};
  const std::vector<double> x{10, 20, 30};
  kernels::add_to(Index{3}, y.data(), x.data());
  CHECK(y == std::vector<double>{11, 22, 33});
}

TEST_CASE("broadcasts agree with a loop over elements for 2,000 pairs of shapes", "[fast]") {
  Rng rng{3};
  const Draws d{99};
  for (std::uint64_t round = 0; round < 2000; ++round) {
    const auto [shape_a, shape_b] = random_pair(d, round);
    const Shape out = broadcast(shape_a, shape_b, "test");
    if (out.size() > 3000) continue;
    INFO(shape_a.text() << " and " << shape_b.text());
    const std::vector<float> a = numbers<float>(shape_a.size(), rng), b = numbers<float>(shape_b.size(), rng);
    std::vector<float> y(index(out.size() + 1), 77), z = y;
    kernels::broadcast_map(out, y.data(), [](const auto& p, const auto& q) __attribute__((always_inline)) { return p - q; }, shape_a, a.data(), shape_b, b.data());
    kernels::expand(out, z.data(), shape_a, a.data());
    bool same = y.back() == 77 && z.back() == 77;
    for (Index i = 0; i < out.size(); ++i) {
      const float p = a[index(naive_position(out, shape_a, i))];
      same = same && y[index(i)] == p - b[index(naive_position(out, shape_b, i))] && z[index(i)] == p;
    }
    REQUIRE(same);
  }
}

TEST_CASE("a broadcast row longer than the buffer for constants is whole", "[fast]") {
  Rng rng{4};
  for (const Index n : {Index{511}, Index{512}, Index{513}, Index{1500}}) {
    const std::vector<float> a = numbers<float>(3, rng), b = numbers<float>(n, rng);
    std::vector<float> y(index(3 * n));
    kernels::broadcast_map({3, n}, y.data(), [](const auto& p, const auto& q) __attribute__((always_inline)) { return p - q; }, {3, 1}, a.data(), {n}, b.data());
    for (Index i = 0; i < 3; ++i)
      for (Index j = 0; j < n; ++j) REQUIRE(y[index(i * n + j)] == a[index(i)] - b[index(j)]);
  }
}

TEST_CASE("a broadcast constant keeps its sign of zero and its NaN", "[fast]") {
  const float a[] = {1, 1, 1}, b[] = {0.0f, -0.0f, std::nanf(""), 2};
  float y[12];
  kernels::broadcast_map({4, 3}, y, [](const auto& p, const auto& q) __attribute__((always_inline)) { return p / q; }, {3}, a, {4, 1}, b);
  CHECK(y[0] == HUGE_VALF);
  CHECK(y[3] == -HUGE_VALF);
  CHECK(std::isnan(y[6]));
  CHECK(y[9] == 0.5f);
}

TEST_CASE("elementwise work has the same bits for every number of threads", "[fast]") {
  Rng rng{5};
  const Index rows = 700, columns = 300;  // enough to be shared out
  const std::vector<float> x = numbers<float>(rows * columns, rng), b = numbers<float>(columns, rng);
  CHECK(support::same_for_all_threads([&] {
    std::vector<float> y(x.size());
    kernels::map(rows * columns, y.data(), [](const auto& v) __attribute__((always_inline)) { return v * v + v; }, x.data());
    kernels::broadcast_map({rows, columns}, y.data(), [](const auto& p, const auto& q) __attribute__((always_inline)) { return p / q; }, {rows, columns}, y.data(),
                           {columns}, b.data());
    return y;
  }));
}
