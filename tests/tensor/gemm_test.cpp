#include "espalier/tensor/kernels/gemm.hpp"

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#ifdef _OPENMP
#include <omp.h>
#endif

#include "espalier/core/random.hpp"
#include "support/catch.hpp"

using namespace espalier;
using kernels::Activation;
using kernels::Epilogue;
using kernels::gemm;
using kernels::Strided;

namespace {

template <class T>
std::vector<T> numbers(Index count, std::uint64_t seed) {
  std::vector<T> v(static_cast<std::size_t>(count));
  Rng(seed).uniform(std::span<T>(v), -1, 1);
  return v;
}

/// A rows x columns matrix of random numbers, stored by rows or by columns.
template <class T>
struct Matrix {
  Matrix(Index rows, Index columns, bool by_columns, std::uint64_t seed)
      : data(numbers<T>(rows * columns + 1, seed)),
        row_stride(by_columns ? 1 : columns),
        column_stride(by_columns ? rows : 1) {}
  Strided<T> view() const { return {data.data(), row_stride, column_stride}; }
  std::vector<T> data;
  Index row_stride, column_stride;
};

template <class T>
T at(const Strided<T>& s, Index i, Index j) {
  return s.data[i * s.row_stride + j * s.column_stride];
}

struct Options {
  bool accumulate = false, bias = false, relu = false;
  Index padding = 0;  // ldc - n
};

/// Largest difference to a plain loop of more digits, in units of what rounding may cause; infinite if gemm wrote beyond
/// the columns of c.
template <class T>
double error(Index m, Index n, Index k, Strided<T> a, Strided<T> b, Options options) {
  using Wide = std::conditional_t<std::is_same_v<T, float>, double, long double>;
  const Index ldc = n + options.padding;
  std::vector<T> c = numbers<T>(m * ldc + 3, 3), before = c;
  const std::vector<T> bias = numbers<T>(n + 1, 4);
  const Activation activation = options.relu ? Activation::relu : Activation::none;
  gemm<T>(m, n, k, a, b, c.data(), ldc, options.accumulate,
          Epilogue<T>{options.bias ? bias.data() : nullptr, activation});
  double worst = 0;
  for (Index i = 0; i < m; ++i)
    for (Index j = 0; j < n; ++j) {
      const auto at_c = static_cast<std::size_t>(i * ldc + j);
      Wide sum = options.accumulate ? before[at_c] : T(0), size = 1;
      const T *x = &a.data[i * a.row_stride], *y = &b.data[j * b.column_stride];
      for (Index p = 0; p < k; ++p, x += a.column_stride, y += b.row_stride) {
        const Wide product = static_cast<Wide>(*x) * *y;
        sum += product;
        size += product < 0 ? -product : product;
      }
      if (options.bias) sum += bias[static_cast<std::size_t>(j)];
      if (options.relu && sum < 0) sum = 0;
      const Wide unit = size * std::numeric_limits<T>::epsilon();
      worst = std::max(worst, static_cast<double>(std::fabs(sum - c[at_c]) / unit));
      before[at_c] = c[at_c];
    }
  return c == before ? worst : std::numeric_limits<double>::infinity();  // all else is untouched
}

template <class T>
double error(Index m, Index n, Index k, bool ta, bool tb, Options options) {
  const Matrix<T> a(m, k, ta, 1), b(k, n, tb, 2);
  return error<T>(m, n, k, a.view(), b.view(), options);
}

template <class T>
std::vector<T> product(Index m, Index n, Index k, Strided<T> a, Strided<T> b) {
  std::vector<T> c(static_cast<std::size_t>(m * n));
  gemm<T>(m, n, k, a, b, c.data(), n);
  return c;
}

template <class T>
bool same_bits(const T* x, const T* y, Index count) {
  return std::memcmp(x, y, static_cast<std::size_t>(count) * sizeof(T)) == 0;
}

/// Whether every row, alone and in blocks of 7 rows, gets the bits that it gets among all of them.
template <class T>
bool rows_stand_alone(Index m, Index n, Index k, bool ta, bool tb) {
  const Matrix<T> a(m, k, ta, 5), b(k, n, tb, 6);
  const std::vector<T> whole = product<T>(m, n, k, a.view(), b.view());
  for (const Index block : {Index{1}, Index{7}})
    for (Index i = 0; i < m; i += block) {
      const Index rows = std::min(block, m - i);
      const std::vector<T> part = product<T>(rows, n, k, a.view().from(i, 0), b.view());
      if (!same_bits(part.data(), whole.data() + i * n, rows * n)) return false;
    }
  return true;
}

}  // namespace

TEMPLATE_TEST_CASE("gemm equals a plain loop at every tail and transpose", "[fast][gemm]", float, double) {
  int turn = 0;
  for (const Index m : {0, 1, 2, 5, 11, 12, 13, 25})
    for (const Index n : {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 65})
      for (const Index k : {0, 1, 2, 3, 9, 17, 40}) {
        ++turn;
        const Options options{turn % 2 == 0, turn % 3 == 0, turn % 5 == 0, turn % 7};
        for (const int transposed : {0, 1, 2, 3}) {
          const double worst = error<TestType>(m, n, k, (transposed & 1) != 0, (transposed & 2) != 0, options);
          INFO("m " << m << ", n " << n << ", k " << k << ", transposed " << transposed);
          if (worst > 4) REQUIRE(worst <= 4);
        }
      }
  SUCCEED();
}

TEMPLATE_TEST_CASE("gemm equals a plain loop at every boundary of its blocks", "[fast][gemm]", float, double) {
  const Index shapes[][3] = {{97, 129, 257},  {241, 257, 40}, {130, 140, 769}, {1030, 40, 20}, {20, 1030, 30},
                             {1025, 1025, 3}, {7, 130, 256},  {130, 2, 1000},  {300, 65, 200}, {96, 64, 800}};
  int turn = 0;
  for (const auto& [m, n, k] : shapes) {
    ++turn;
    const Options options{turn % 2 == 0, turn % 3 != 0, turn % 4 == 0, turn % 3};
    for (const int transposed : {0, 1, 2, 3}) {
      INFO("m " << m << ", n " << n << ", k " << k << ", transposed " << transposed);
      REQUIRE(error<TestType>(m, n, k, (transposed & 1) != 0, (transposed & 2) != 0, options) <= 8);
    }
  }
}

TEMPLATE_TEST_CASE("gemm takes operands by any strides", "[fast][gemm]", float, double) {
  using T = TestType;
  const std::vector<T> data = numbers<T>(60000, 7);
  const T* const p = data.data();
  REQUIRE(error<T>(13, 17, 21, Strided<T>{p, 70, 3}, Strided<T>{p + 1, 2, 50}, {}) <= 4);
  REQUIRE(error<T>(13, 17, 21, Strided<T>{p, 0, 1}, Strided<T>{p + 1, 17, 1}, {}) <= 4);  // one row, repeated
  REQUIRE(error<T>(13, 17, 21, Strided<T>{p, 1, 0}, Strided<T>{p + 1, 1, 0}, {}) <= 4);   // one column, repeated
  REQUIRE(error<T>(13, 17, 21, Strided<T>{p, 0, 0}, Strided<T>{p + 1, 0, 0}, {}) <= 4);   // a single number
  REQUIRE(error<T>(13, 17, 21, Strided<T>{p, 21, 1}, Strided<T>{p, 0, 1}, {}) <= 4);
  REQUIRE(error<T>(13, 17, 21, Strided<T>{p + 300, -21, 1}, Strided<T>{p + 400, 1, -21}, {}) <= 4);
  REQUIRE(error<T>(100, 200, 130, Strided<T>{p, 260, 2}, Strided<T>{p, 3, 130}, {true, true}) <= 8);
  REQUIRE(error<T>(40, 2, 130, Strided<T>{p, 260, 2}, Strided<T>{p, 3, 500}, {}) <= 4);
  REQUIRE(error<T>(40, 1, 130, Strided<T>{p, 1, 40}, Strided<T>{p, 7, 1}, {}) <= 4);
  REQUIRE(error<T>(40, 1, 130, Strided<T>{p, 0, 1}, Strided<T>{p, 0, 0}, {}) <= 4);
}

TEST_CASE("gemm is the chain of multiply-adds along k that its header describes", "[fast][gemm]") {
  if constexpr (pack<float>::fused) {
    const Index m = 30, n = 50;
    for (const Index k : {1, 20, 256, 257, 1000}) {
      const Matrix<float> a(m, k, false, 8), b(k, n, true, 9);
      const std::vector<float> c = product<float>(m, n, k, a.view(), b.view());
      const Index slices = (k + 255) / 256, depth = slices == 1 ? k : (k / slices + (k % slices != 0) + 3) / 4 * 4;
      std::vector<float> expected(static_cast<std::size_t>(m * n));
      for (Index i = 0; i < m; ++i)
        for (Index j = 0; j < n; ++j)
          for (Index first = 0; first < k; first += depth) {
            float sum = 0;
            for (Index p = first; p < std::min(k, first + depth); ++p)
              sum = std::fma(at(a.view(), i, p), at(b.view(), p, j), sum);
            expected[static_cast<std::size_t>(i * n + j)] += sum;
          }
      REQUIRE(same_bits(c.data(), expected.data(), m * n));
    }
  }
}

TEMPLATE_TEST_CASE("a row's bits do not depend on the rows around it", "[fast][gemm]", float, double) {
  REQUIRE(rows_stand_alone<TestType>(40, 20, 10, false, true));
  REQUIRE(rows_stand_alone<TestType>(40, 20, 10, true, false));
  REQUIRE(rows_stand_alone<TestType>(40, 33, 70, false, false));
  REQUIRE(rows_stand_alone<TestType>(40, 32, 70, true, false));
  REQUIRE(rows_stand_alone<TestType>(40, 1, 70, false, true));
  REQUIRE(rows_stand_alone<TestType>(40, 1, 7, false, true));
  REQUIRE(rows_stand_alone<TestType>(40, 2, 70, true, false));
  REQUIRE(rows_stand_alone<TestType>(40, 4, 70, false, true));
  REQUIRE(rows_stand_alone<TestType>(60, 140, 400, false, true));
  REQUIRE(rows_stand_alone<TestType>(260, 300, 90, true, true));
  REQUIRE(rows_stand_alone<TestType>(260, 64, 800, false, false));
  for (const Index k : {4, 5, 7, 8, 61, 520, 1024})  // one row of a layer's product goes a way of its own
    for (const Index n : {3, 5, 16, 37}) REQUIRE(rows_stand_alone<TestType>(8, n, k, false, true));
}

TEMPLATE_TEST_CASE("bits depend neither on transposition nor on alignment nor on the place of c", "[fast][gemm]", float,
                   double) {
  using T = TestType;
  for (const Index n : {1, 3, 20, 32, 100}) {
    const Index m = 27, k = 50;
    const Matrix<T> a(m, k, false, 10), b(k, n, false, 11);
    const std::vector<T> c = product<T>(m, n, k, a.view(), b.view());
    std::vector<T> at_columns(static_cast<std::size_t>(m * k + 1)), bt(static_cast<std::size_t>(n * k + 1));
    for (Index i = 0; i < m; ++i)
      for (Index p = 0; p < k; ++p) at_columns[static_cast<std::size_t>(1 + p * m + i)] = at(a.view(), i, p);
    for (Index j = 0; j < n; ++j)
      for (Index p = 0; p < k; ++p) bt[static_cast<std::size_t>(1 + j * k + p)] = at(b.view(), p, j);
    std::vector<T> d(static_cast<std::size_t>(m * (n + 5) + 1));
    gemm<T>(m, n, k, Strided<T>{at_columns.data() + 1, 1, m}, Strided<T>{bt.data() + 1, 1, k}, d.data() + 1, n + 5);
    for (Index i = 0; i < m; ++i) REQUIRE(same_bits(c.data() + i * n, d.data() + 1 + i * (n + 5), n));
  }
}

TEST_CASE("bits do not depend on the number of threads", "[fast][gemm]") {
  const Index shapes[][3] = {{300, 300, 400}, {32, 512, 200}, {2000, 20, 50}, {5000, 1, 300}, {30, 2000, 40}};
  for (const auto& [m, n, k] : shapes) {
    const Matrix<float> a(m, k, false, 12), b(k, n, true, 13);
    const std::vector<float> c = product<float>(m, n, k, a.view(), b.view());
#ifdef _OPENMP
    const int before = omp_get_max_threads();
    for (const int threads : {1, 2, 3, 4}) {
      omp_set_num_threads(threads);
      const std::vector<float> d = product<float>(m, n, k, a.view(), b.view());
      REQUIRE(same_bits(c.data(), d.data(), m * n));
    }
    omp_set_num_threads(before);
#endif
    std::vector<float> d(c.size());
    std::thread(gemm<float>, m, n, k, a.view(), b.view(), d.data(), n, false, Epilogue<float>{}).join();
    REQUIRE(same_bits(c.data(), d.data(), m * n));
  }
}

TEMPLATE_TEST_CASE("a NaN stays in its row, and relu keeps it", "[fast][gemm]", float, double) {
  using T = TestType;
  for (const Index n : {1, 3, 20, 40}) {
    const Index m = 30, k = 45;
    Matrix<T> a(m, k, false, 14);
    const Matrix<T> b(k, n, true, 15);
    const std::vector<T> clean = product<T>(m, n, k, a.view(), b.view());
    a.data[13 * 45 + 6] = std::numeric_limits<T>::quiet_NaN();
    std::vector<T> c(clean.size());
    gemm<T>(m, n, k, a.view(), b.view(), c.data(), n, false, Epilogue<T>{nullptr, Activation::relu});
    for (Index i = 0; i < m; ++i)
      for (Index j = 0; j < n; ++j) {
        const auto q = static_cast<std::size_t>(i * n + j);
        if (i == 13 ? !std::isnan(c[q]) : c[q] != std::max(clean[q], T(0)))
          FAIL("row " << i << ", column " << j << ", n " << n);
      }
  }
}

TEST_CASE("gemm with nothing to sum leaves c, the bias and the activation", "[fast][gemm]") {
  const float bias[] = {1, -2, 3};
  float c[] = {-5, 5, 1, 9};
  gemm<float>(1, 3, 0, {nullptr, 0, 0}, {nullptr, 0, 0}, c, 3, true, {bias, Activation::relu});
  REQUIRE(std::vector<float>(c, c + 4) == std::vector<float>{0, 3, 4, 9});
  gemm<float>(1, 3, 0, {nullptr, 0, 0}, {nullptr, 0, 0}, c, 3);
  REQUIRE(std::vector<float>(c, c + 4) == std::vector<float>{0, 0, 0, 9});
  gemm<float>(0, 3, 7, {nullptr, 0, 0}, {nullptr, 0, 0}, c, 3);
  gemm<float>(3, 0, 7, {nullptr, 0, 0}, {nullptr, 0, 0}, c, 3);
  REQUIRE(c[3] == 9);
}
