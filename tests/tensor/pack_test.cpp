#include "espalier/tensor/kernels/pack.hpp"

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "support/catch.hpp"

using namespace espalier;

namespace {

template <class T>
constexpr T nan_of = std::numeric_limits<T>::quiet_NaN();

/// Every lane of a pack, for comparisons.
template <class T>
std::vector<T> lanes(const pack<T>& x) {
  std::vector<T> out(pack<T>::size);
  x.store(out.data());
  return out;
}

/// A pack holding the given numbers, then zeros.
template <class T>
pack<T> of(std::initializer_list<double> values) {
  T data[64] = {};
  int i = 0;
  for (double value : values) data[i++] = static_cast<T>(value);
  return pack<T>::load(data);
}

template <class T>
T first(const pack<T>& x) {
  return lanes(x)[0];
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

/// Numbers whose products and sums round.
template <class T>
std::vector<T> awkward(Index n, unsigned seed) {
  std::vector<T> x(static_cast<std::size_t>(n));
  for (T& value : x) {
    seed = seed * 1664525u + 1013904223u;
    value = static_cast<T>(seed) / T(1e9) - T(2.1);
  }
  return x;
}

}  // namespace

TEMPLATE_TEST_CASE("pack: loads and stores whole and part", "[fast]", float, double) {
  using P = pack<TestType>;
  CHECK(P::size * int(sizeof(TestType)) == ESPALIER_VECTOR_BYTES);
  CHECK(lanes(P()) == std::vector<TestType>(P::size, 0));
  CHECK(lanes(P(3)) == std::vector<TestType>(P::size, 3));
  std::vector<TestType> data(2 * P::size + 2);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<TestType>(i + 1);
  CHECK(lanes(P::load(data.data() + 1))[P::size - 1] == static_cast<TestType>(P::size + 1));
  for (Index n = 0; n < P::size; ++n) {
    const auto part = lanes(P::load(data.data() + 1, n));
    bool loaded = true;
    for (Index i = 0; i < P::size; ++i)
      loaded &= part[std::size_t(i)] == (i < n ? static_cast<TestType>(i + 2) : TestType(0));
    CHECK(loaded);
    std::vector<TestType> out(P::size + 1, -1);
    P(7).store(out.data(), n);
    bool stored = true;
    for (Index i = 0; i <= P::size; ++i) stored &= out[std::size_t(i)] == (i < n ? TestType(7) : TestType(-1));
    CHECK(stored);
  }
}

TEMPLATE_TEST_CASE("pack: a partial load touches nothing beyond its elements", "[fast]", float, double) {
  using P = pack<TestType>;
  for (Index n = 1; n < P::size; ++n) {  // under the address sanitizer an overrun of these exact blocks is an error
    std::vector<TestType> in(static_cast<std::size_t>(n), 2), out(static_cast<std::size_t>(n), 0);
    (P::load(in.data(), n) * 3).store(out.data(), n);
    CHECK(out == std::vector<TestType>(static_cast<std::size_t>(n), 6));
  }
}

TEMPLATE_TEST_CASE("pack: arithmetic, also with plain numbers", "[fast]", float, double) {
  const pack<TestType> a(6), b(4);
  CHECK(first(a + b) == 10);
  CHECK(first(a - b) == 2);
  CHECK(first(a * b) == 24);
  CHECK(first(a / b) == TestType(1.5));
  CHECK(first(-a) == -6);
  CHECK(first(1 - a) == -5);
  CHECK(first(a * 2) == 12);
  CHECK(first(TestType(0.5) * a) == 3);
  pack<TestType> c = a;
  c += b;
  c *= 3;
  c -= 6;
  c /= 2;
  CHECK(first(c) == 12);
}

TEMPLATE_TEST_CASE("pack: min and max keep the first argument's NaN", "[fast]", float, double) {
  using P = pack<TestType>;
  CHECK(first(max(P(2), P(3))) == 3);
  CHECK(first(min(P(2), P(3))) == 2);
  CHECK(first(max(P(2), 1)) == 2);
  CHECK(std::isnan(first(max(P(nan_of<TestType>), P(3)))));
  CHECK(std::isnan(first(min(P(nan_of<TestType>), P(3)))));
  CHECK(first(max(P(3), P(nan_of<TestType>))) == 3);
  CHECK(first(min(P(3), P(nan_of<TestType>))) == 3);
}

TEMPLATE_TEST_CASE("pack: abs, copysign, sqrt, relu, step, sign", "[fast]", float, double) {
  using P = pack<TestType>;
  CHECK(first(abs(P(-3))) == 3);
  CHECK_FALSE(std::signbit(first(abs(P(TestType(-0.0))))));
  CHECK(first(copysign(P(3), P(TestType(-0.0)))) == -3);
  CHECK(first(copysign(P(-3), P(1))) == 3);
  CHECK(first(sqrt(P(9))) == 3);
  CHECK(first(sqrt(P(2))) == std::sqrt(TestType(2)));
  CHECK(std::isnan(first(sqrt(P(-1)))));
  CHECK(first(relu(P(-2))) == 0);
  CHECK(first(relu(P(2))) == 2);
  CHECK(std::isnan(first(relu(P(nan_of<TestType>)))));
  CHECK(first(step(P(2))) == 1);
  CHECK(first(step(P(0))) == 0);
  CHECK(first(step(P(nan_of<TestType>))) == 0);
  CHECK(first(sign(P(-2))) == -1);
  CHECK(first(sign(P(0))) == 0);
  CHECK(first(sign(P(5))) == 1);
}

TEMPLATE_TEST_CASE("pack: comparisons and select", "[fast]", float, double) {
  using P = pack<TestType>;
  const P a = of<TestType>({1, 2}), b = of<TestType>({2, 1});
  CHECK(lanes(less(a, b))[0] == 1);
  CHECK(lanes(less(a, b))[1] == 0);
  CHECK(lanes(greater(a, b))[0] == 0);
  CHECK(lanes(greater(a, b))[1] == 1);
  CHECK(first(equal(a, b)) == 0);
  CHECK(first(equal(a, a)) == 1);
  CHECK(first(equal(P(nan_of<TestType>), P(nan_of<TestType>))) == 0);
  CHECK(lanes(select(a < b, P(5), P(6)))[0] == 5);
  CHECK(lanes(select(a < b, P(5), P(6)))[1] == 6);
  CHECK(first(select((a < b) & (a > 0), a, b)) == 1);
  CHECK(first(select((a > b) | (a >= 1), a, b)) == 1);
  CHECK(first(select(!(a <= b), a, b)) == 2);
  CHECK(first(select(a != b, a, b + 1)) == 1);
  CHECK(first(select(a == b, a, b + 1)) == 3);
  CHECK(first(select(is_nan(P(nan_of<TestType>)), P(1), P(2))) == 1);
  CHECK(first(select(is_nan(P(std::numeric_limits<TestType>::infinity())), P(1), P(2))) == 2);
}

TEMPLATE_TEST_CASE("pack: reductions follow one tree", "[fast]", float, double) {
  using P = pack<TestType>;
  std::vector<TestType> x = awkward<TestType>(P::size, 3), tree = x;
  for (std::size_t half = P::size / 2; half > 0; half /= 2)
    for (std::size_t i = 0; i < half; ++i) tree[i] += tree[i + half];
  CHECK(sum(P::load(x.data())) == tree[0]);
  for (std::size_t i = 0; i < std::size_t(P::size); ++i) {
    std::vector<TestType> y(P::size, 1);
    y[i] = 2;
    CHECK(max(P::load(y.data())) == 2);
    y[i] = nan_of<TestType>;
    CHECK(std::isnan(max(P::load(y.data()))));
  }
}

TEMPLATE_TEST_CASE("pack: products and sums round one by one", "[fast]", float, double) {
  using P = pack<TestType>;
  const auto a = awkward<TestType>(P::size, 1), b = awkward<TestType>(P::size, 2), c = awkward<TestType>(P::size, 3);
  const P x = P::load(a.data()), y = P::load(b.data()), z = P::load(c.data());
  std::vector<TestType> sums, differences, fused, halves;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const volatile TestType product = a[i] * b[i], square = c[i] * c[i];
    sums.push_back(product + c[i]);
    differences.push_back(product - square);
    fused.push_back(P::fused ? std::fma(a[i], b[i], c[i]) : product + c[i]);
    const volatile TestType far = a[i] + TestType(1e6);
    halves.push_back(far - TestType(1e6));
  }
  CHECK(same_bits(lanes(x * y + z), sums));
  CHECK(same_bits(lanes(x * y - z * z), differences));
  CHECK(same_bits(lanes(fma(x, y, z)), fused));
  CHECK(same_bits(lanes(x + TestType(1e6) - TestType(1e6)), halves));
}

TEST_CASE("pack: fma rounds once where it says so", "[fast]") {
  const float e = 0x1p-12f;  // (1 + e)^2 = 1 + 2e + e^2, whose last term a rounded product loses
  const pack<float> r = fma(pack<float>(1 + e), pack<float>(1 + e), pack<float>(-1 - 2 * e));
  CHECK(first(r) == (pack<float>::fused ? e * e : 0.0f));
}

TEMPLATE_TEST_CASE("for_each_pack: an element's bits do not depend on its position", "[fast]", float, double) {
  using T = TestType;
  const Index most = 3 * pack<T>::size + 1;
  const auto a = awkward<T>(most, 5), b = awkward<T>(most, 6);
  const auto f = [](const auto& x, const auto& y) { return (x * y + x) / (1 + abs(x - y * y)) - sqrt(abs(x * y)); };
  std::vector<T> whole(a.size());
  for_each_pack(most, whole.data(), f, a.data(), b.data());
  for (Index start = 0; start < most; ++start) {
    std::vector<T> part(static_cast<std::size_t>(most - start) + 1, T(-9));
    for_each_pack(most - start, part.data(), f, a.data() + start, b.data() + start);
    CHECK(part.back() == T(-9));
    part.pop_back();
    CHECK(same_bits(part, std::vector<T>(whole.begin() + start, whole.end())));
  }
}

TEST_CASE("for_each_pack: works in place and on nothing", "[fast]") {
  std::vector<float> x = awkward<float>(37, 8), expected = x;
  for (float& value : expected) value *= 2;
  for_each_pack(
      Index(37), x.data(), [](const auto& v) { return 2 * v; }, x.data());
  CHECK(x == expected);
  for_each_pack(
      Index(0), static_cast<float*>(nullptr), [](const auto& v) { return v; }, static_cast<const float*>(nullptr));
}
