#include "espalier/tensor/kernels/math.hpp"

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "support/catch.hpp"

namespace math_test {  // whose Exp, Log, ... are not the operations of those names

using namespace espalier;

namespace {

// Each function in a loop of its own, with the reference in a wider format beside it.
struct Exp {
  static auto value(const auto& x) { return exp(x); }
  template <class W>
  static W reference(W x) {
    return std::exp(x);
  }
};
struct Expm1 {
  static auto value(const auto& x) { return expm1(x); }
  template <class W>
  static W reference(W x) {
    return std::expm1(x);
  }
};
struct Log {
  static auto value(const auto& x) { return log(x); }
  template <class W>
  static W reference(W x) {
    return std::log(x);
  }
};
struct Log1p {
  static auto value(const auto& x) { return log1p(x); }
  template <class W>
  static W reference(W x) {
    return std::log1p(x);
  }
};
struct Tanh {
  static auto value(const auto& x) { return tanh(x); }
  template <class W>
  static W reference(W x) {
    return std::tanh(x);
  }
};
struct Sigmoid {
  static auto value(const auto& x) { return sigmoid(x); }
  template <class W>
  static W reference(W x) {
    return 1 / (1 + std::exp(-x));
  }
};
struct Softplus {
  static auto value(const auto& x) { return softplus(x); }
  template <class W>
  static W reference(W x) {
    return std::log1p(std::exp(x));
  }
};
struct Erf {
  static auto value(const auto& x) { return erf(x); }
  template <class W>
  static W reference(W x) {
    return std::erf(x);
  }
};

template <class Function, class T>
std::vector<T> map(const std::vector<T>& x) {
  std::vector<T> y(x.size());
  for_each_pack(
      Index(x.size()), y.data(), [](const auto& v) { return Function::value(v); }, x.data());
  return y;
}
template <class Function, class T>
T at(T x) {
  return map<Function>(std::vector<T>{x})[0];
}

/// Distance from the true value in units of the last place of T at that value (of the smallest normal below it).
template <class T, class W>
double ulps(T got, W want) {
  if (std::isinf(T(want))) return got == T(want) ? 0 : 1e9;
  int exponent = std::numeric_limits<T>::min_exponent;
  if (want != 0) exponent = std::max(exponent, std::ilogb(want) + 1);
  return double(std::abs(W(got) - want) / std::ldexp(W(1), exponent - std::numeric_limits<T>::digits));
}

template <class T>
constexpr int points = sizeof(T) == 4 ? 200000 : 50000;

/// The worst error on evenly spaced points of [low, high], or, for `sweep_scales`, points of evenly spaced exponents.
template <class Function, class T>
double worst(const std::vector<T>& x) {
  using Wide = std::conditional_t<sizeof(T) == 4, double, long double>;
  const std::vector<T> y = map<Function>(x);
  double error = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double e = ulps(y[i], Function::template reference<Wide>(x[i]));
    error = e > error || std::isnan(e) ? e : error;
  }
  return error;
}
template <class Function, class T>
double sweep(double low, double high) {
  std::vector<T> x;
  for (int i = 0; i < points<T>; ++i) x.push_back(static_cast<T>(low + (high - low) * (i + 0.37) / points<T>));
  return worst<Function>(x);
}
template <class Function, class T>
double sweep_scales(double low, double high, int sign = 1) {
  std::vector<T> x;
  for (int i = 0; i < points<T>; ++i)
    x.push_back(static_cast<T>(sign * std::exp2(std::log2(low) + std::log2(high / low) * (i + 0.37) / points<T>)));
  return worst<Function>(x);
}

template <class T>
constexpr T infinity = std::numeric_limits<T>::infinity();
template <class T>
constexpr T nan_of = std::numeric_limits<T>::quiet_NaN();
template <class T>
constexpr T tiny = std::numeric_limits<T>::min();
template <class T>
constexpr T largest = std::numeric_limits<T>::max();
template <class T>
constexpr double overflow = sizeof(T) == 4 ? 88.72 : 709.78;  // where exp does

}  // namespace

TEMPLATE_TEST_CASE("math: exp and expm1 to the last places", "[fast]", float, double) {
  using T = TestType;
  CHECK(sweep<Exp, T>(-overflow<T> + 2, overflow<T>) < 1.1);
  CHECK(sweep<Exp, T>(-1, 1) < 1.1);
  CHECK(sweep<Exp, T>(-1.19 * overflow<T>, -overflow<T> + 2) < 1.1);  // into the denormal range
  CHECK(sweep<Expm1, T>(-50, overflow<T>) < 2.2);
  CHECK(sweep<Expm1, T>(-2, 2) < 2.2);
  CHECK(sweep_scales<Expm1, T>(tiny<T>, 1) < 2.2);
  CHECK(sweep_scales<Expm1, T>(tiny<T>, 1, -1) < 2.2);
}

TEMPLATE_TEST_CASE("math: log and log1p to the last places", "[fast]", float, double) {
  using T = TestType;
  CHECK(sweep_scales<Log, T>(tiny<T>, largest<T>) < 1);
  CHECK(sweep<Log, T>(0.3, 3) < 1);
  CHECK(sweep<Log, T>(0.99, 1.01) < 1);
  CHECK(sweep_scales<Log, T>(double(tiny<T>) * 1e-5, tiny<T>) < 1);  // denormal arguments
  CHECK(sweep_scales<Log1p, T>(tiny<T>, largest<T>) < 1.6);
  CHECK(sweep_scales<Log1p, T>(tiny<T>, 0.9999, -1) < 1.6);
  CHECK(sweep<Log1p, T>(-0.999999, 4) < 1.6);
}

TEMPLATE_TEST_CASE("math: tanh, sigmoid and softplus to the last places", "[fast]", float, double) {
  using T = TestType;
  CHECK(sweep<Tanh, T>(-25, 25) < 2.7);
  CHECK(sweep<Tanh, T>(-2, 2) < 2.7);
  CHECK(sweep_scales<Tanh, T>(tiny<T>, 1) < 2.7);
  CHECK(sweep<Sigmoid, T>(-overflow<T> + 2, overflow<T>) < 2.6);
  CHECK(sweep<Sigmoid, T>(-4, 4) < 2.6);
  CHECK(sweep<Softplus, T>(-overflow<T> + 2, overflow<T>) < 2);
  CHECK(sweep<Softplus, T>(-5, 5) < 2);
}

TEST_CASE("math: erf to the last places", "[fast]") {
  CHECK(sweep<Erf, float>(-5, 5) < 1.5);
  CHECK(sweep<Erf, float>(0.8, 1.2) < 1.5);  // around the switch from the polynomial to the exponential
  CHECK(sweep_scales<Erf, float>(tiny<float>, 1) < 1.5);
  CHECK(sweep<Erf, double>(-6, 6) < 1.5);
}

TEMPLATE_TEST_CASE("math: NaN gives NaN", "[fast]", float, double) {
  const TestType nan = nan_of<TestType>;
  CHECK(std::isnan(at<Exp>(nan)));
  CHECK(std::isnan(at<Expm1>(nan)));
  CHECK(std::isnan(at<Log>(nan)));
  CHECK(std::isnan(at<Log1p>(nan)));
  CHECK(std::isnan(at<Tanh>(nan)));
  CHECK(std::isnan(at<Sigmoid>(nan)));
  CHECK(std::isnan(at<Softplus>(nan)));
  CHECK(std::isnan(at<Erf>(nan)));
  CHECK(std::isnan(at<Log>(-nan)));
  CHECK(std::isnan(at<Tanh>(-nan)));
}

TEMPLATE_TEST_CASE("math: limits", "[fast]", float, double) {
  using T = TestType;
  const T inf = infinity<T>;
  CHECK(at<Exp>(inf) == inf);
  CHECK(at<Exp>(-inf) == 0);
  CHECK(at<Exp>(T(-2000)) == 0);
  CHECK(at<Exp>(T(2000)) == inf);
  CHECK(at<Exp>(T(0)) == 1);
  CHECK(at<Expm1>(inf) == inf);
  CHECK(at<Expm1>(-inf) == -1);
  CHECK(at<Expm1>(T(0)) == 0);
  CHECK(at<Log>(inf) == inf);
  CHECK(at<Log>(T(0)) == -inf);
  CHECK(at<Log>(T(-0.0)) == -inf);
  CHECK(at<Log>(T(1)) == 0);
  CHECK(std::isnan(at<Log>(T(-1))));
  CHECK(std::isnan(at<Log>(-inf)));
  CHECK(std::isnan(at<Log>(-std::numeric_limits<T>::denorm_min())));
  CHECK(at<Log1p>(inf) == inf);
  CHECK(at<Log1p>(T(-1)) == -inf);
  CHECK(at<Log1p>(T(0)) == 0);
  CHECK(std::isnan(at<Log1p>(T(-2))));
  CHECK(std::isnan(at<Log1p>(-inf)));
  CHECK(at<Tanh>(inf) == 1);
  CHECK(at<Tanh>(-inf) == -1);
  CHECK(std::signbit(at<Tanh>(T(-0.0))));
  CHECK(at<Sigmoid>(inf) == 1);
  CHECK(at<Sigmoid>(-inf) == 0);
  CHECK(at<Sigmoid>(T(0)) == T(0.5));
  CHECK(at<Softplus>(inf) == inf);
  CHECK(at<Softplus>(-inf) == 0);
  CHECK(at<Softplus>(T(1000)) == 1000);
  CHECK(at<Erf>(inf) == 1);
  CHECK(at<Erf>(-inf) == -1);
  CHECK(at<Erf>(T(0)) == 0);
}

TEST_CASE("math: float over- and underflow", "[fast]") {
  CHECK(at<Exp>(-200.0f) == 0);
  CHECK(at<Exp>(100.0f) == infinity<float>);
  CHECK(at<Exp>(88.72f) == Approx(std::exp(double(88.72f))));
  CHECK(at<Expm1>(88.72f) == Approx(std::expm1(double(88.72f))));
  CHECK(at<Exp>(-103.0f) > 0);
}

TEMPLATE_TEST_CASE("math: pow is std::pow of each lane", "[fast]", float, double) {
  using T = TestType;
  const std::vector<T> x = {2, 9, -2, -8, 0, 0, infinity<T>, 1, T(0.5), nan_of<T>};
  const std::vector<T> y = {3, T(0.5), 3, T(0.5), 0, -1, -1, nan_of<T>, -2, 0};
  std::vector<T> z(x.size());
  for_each_pack(
      Index(x.size()), z.data(), [](const auto& a, const auto& b) { return pow(a, b); }, x.data(), y.data());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const T want = std::pow(x[i], y[i]);
    CHECK((z[i] == want || (std::isnan(z[i]) && std::isnan(want))));
  }
  T square[1] = {3};
  for_each_pack(
      Index(1), square, [](const auto& a) { return pow(a, 2); }, square);
  CHECK(square[0] == 9);
}

TEMPLATE_TEST_CASE("math: an element's bits do not depend on its position", "[fast]", float, double) {
  using T = TestType;
  const auto f = [](const auto& x) {
    return exp(x) + log1p(abs(x)) * tanh(x) - sigmoid(x) * log(2 + x * x) + softplus(x) * erf(x) + expm1(x * x);
  };
  std::vector<T> x, whole(3 * pack<T>::size + 1);
  for (std::size_t i = 0; i < whole.size(); ++i) x.push_back(static_cast<T>(std::sin(double(i) * 1.7) * 3));
  for_each_pack(Index(x.size()), whole.data(), f, x.data());
  for (std::size_t start = 1; start < x.size(); ++start) {
    std::vector<T> part(x.size() - start);
    for_each_pack(Index(part.size()), part.data(), f, x.data() + start);
    CHECK(std::memcmp(part.data(), whole.data() + start, part.size() * sizeof(T)) == 0);
  }
}

}  // namespace math_test
