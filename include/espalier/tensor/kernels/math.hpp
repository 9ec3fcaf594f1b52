#pragma once
// Exponentials, logarithms and what is built on them, for pack<float> and pack<double>.
//
// Free functions, found by argument-dependent lookup, so a formula may say `exp(x)` of a pack, as of a Tensor. Without
// branches or tables: arguments are reduced by multiples of ln 2 (in two parts, Cody and Waite 1980), polynomials are
// minimax (Remez) fits of our own, evaluated with `fma`. NaN gives NaN, infinities and overflow give their limits, and
// results below the normal range round as others do unless a comment says otherwise. Only `pow`, and `erf` in double,
// call std:: per lane. Errors in units of the last place (ulp), the worst over the sweeps of tests/tensor/math_test.cpp
// (float: also over every 53rd number), with and without hardware fma:
//
//           exp   expm1  log   log1p  tanh  sigmoid  softplus  erf
//   float   1.05  1.8    0.9   1.5    2.6   2.5      1.7       1.4
//   double  1.0   2.1    0.9   1.5    2.6   2.1      1.7       (std)

#include <cmath>
#include <limits>
#include <type_traits>

#include "espalier/tensor/kernels/pack.hpp"

namespace espalier::inline ESPALIER_ABI {

namespace detail {

/// c0 + c1 x + c2 x^2 + ..., by Horner's rule.
template <class P, class T>
ESPALIER_INLINE P polynomial(const P&, T c) {
  return P(c);
}
template <class P, class T, class... Rest>
ESPALIER_INLINE P polynomial(const P& x, T c0, Rest... rest) {
  P sum = polynomial(x, rest...);
  sum.multiply_add(x, P(c0));
  return sum;
}

/// The constants of a binary format.
template <class T>
struct FloatTraits;
template <>
struct FloatTraits<float> {
  static constexpr int mantissa_bits = 23, bias = 127;
  static constexpr int infinity = 0x7f800000, nan = 0x7fc00000, sqrt_half = 0x3f3504f3;
  static constexpr float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;  // high: 9 bits, so n * high is exact
  static constexpr float exp_low = -104, exp_high = 89, expm1_low = -20;      // beyond, results are 0, inf and -1
  static constexpr float exp_down_low = -88;  // n is -127
};
template <>
struct FloatTraits<double> {
  static constexpr int mantissa_bits = 52, bias = 1023;
  static constexpr long long infinity = 0x7ff0000000000000, nan = 0x7ff8000000000000, sqrt_half = 0x3fe6a09e667f3bcd;
  static constexpr double ln2_high = 0x1.62e42feep-1, ln2_low = 0x1.a39ef35793c76p-33;
  static constexpr double exp_low = -746, exp_high = 710, expm1_low = -40;
  static constexpr double exp_down_low = -709;  // n is -1023
};

/// Added to a number far smaller than itself it rounds that number to an integer, left in the lowest mantissa bits.
template <class T>
inline constexpr T rounder = T(3LL << (FloatTraits<T>::mantissa_bits - 1));

template <class P, class Int>
ESPALIER_INLINE P bit_constant(Int bits) {
  return P::from_bits(static_cast<typename P::lane_int>(bits));
}

/// 2^n for integers n whose power is a normal number.
template <class T, int B>
ESPALIER_INLINE pack<T, B> power_of_two(const pack<T, B>& n) {
  using P = pack<T, B>;
  return P::from_bits(((n + rounder<T>).bits() << FloatTraits<T>::mantissa_bits) + P(1).bits());
}
/// x * 2^n, rounded once, also where 2^n alone would overflow or underflow.
template <class T, int B>
ESPALIER_INLINE pack<T, B> scale(const pack<T, B>& x, const pack<T, B>& n) {
#if defined(__SSE2__)
  if constexpr (B == 64) {
    pack<T, B> r;
    if constexpr (sizeof(T) == 4) asm("vscalefps {%2, %1, %0|%0, %1, %2}" : "=?v"(r.v) : "?v"(x.v), "?v"(n.v));
    if constexpr (sizeof(T) == 8) asm("vscalefpd {%2, %1, %0|%0, %1, %2}" : "=?v"(r.v) : "?v"(x.v), "?v"(n.v));
    return r;
  }
#endif
  const auto half = fma(n, pack<T, B>(T(0.5)), pack<T, B>(rounder<T>)) - rounder<T>;
  return x * power_of_two(half) * power_of_two(n - half);
}

/// expm1(r) and n, where x = n ln 2 + r and |r| <= ln(2) / 2.
template <class T, int B>
struct ReducedExp {
  pack<T, B> expm1_r, n;
};
template <class T, int B>
ESPALIER_INLINE ReducedExp<T, B> reduced_exp(const pack<T, B>& x) {
  using P = pack<T, B>;
  const P n = fma(x, P(T(1.4426950408889634)), P(rounder<T>)) - rounder<T>;
  P r = fma(n, P(-FloatTraits<T>::ln2_high), x);
  r = fma(n, P(-FloatTraits<T>::ln2_low), r);
  P p;  // (expm1(r) - r) / r^2; relative error of expm1: 2^-25.8 and 2^-53
  if constexpr (sizeof(T) == 4)
    p = polynomial(r, 0.49999997f, 0.166665435f, 0.0416672006f, 0.00836654752f, 0.0013882512f);
  else
    p = polynomial(r, 0.50000000000000011, 0.16666666666666283, 0.041666666666637285, 0.0083333333337311626,
                   0.0013888888912160209, 0.00019841268698732526, 2.4801526625711577e-5, 2.7558503211176709e-6,
                   2.7618452983294054e-7, 2.4666526071122329e-8);
  return {fma(r * r, p, r), n};
}

/// m - 1 and e, where u = m 2^e and m in [sqrt(1/2), sqrt(2)). For positive normal u.
template <class T, int B>
struct Significand {
  pack<T, B> f, e;
};
template <class T, int B>
ESPALIER_INLINE Significand<T, B> significand(const pack<T, B>& u) {
  using P = pack<T, B>;
  using F = FloatTraits<T>;
  using lane_int = typename P::lane_int;
  const lane_int mantissa = (lane_int(1) << F::mantissa_bits) - 1, one = lane_int(F::bias) << F::mantissa_bits;
  const T offset = T(lane_int(1) << F::mantissa_bits);  // integers below it, put into its mantissa, are added to it
  const auto bits = u.bits() + (one - F::sqrt_half);
  return {P::from_bits((bits & mantissa) + F::sqrt_half) - T(1),
          P::from_bits((bits >> F::mantissa_bits) | P(offset).bits()) - (offset + T(F::bias))};
}
/// log1p(f) + e ln 2 for f in [sqrt(1/2) - 1, sqrt(2) - 1).
template <class T, int B>
ESPALIER_INLINE pack<T, B> log_sum(const pack<T, B>& f, const pack<T, B>& e) {
  using P = pack<T, B>;
  const P high(FloatTraits<T>::ln2_high), low(FloatTraits<T>::ln2_low), f2 = f * f;
  if constexpr (sizeof(T) == 4) {
    // f - f^2 / 2 + f^3 p(f), relative error 2^-26.9
    const P p = polynomial(f, 0.333333313f, -0.250008225f, 0.200012267f, -0.166233569f, 0.142017514f, -0.13160184f,
                           0.127616212f, -0.0763454735f);
    const P tail = fma(P(-0.5f), f2, fma(f * f2, p, e * low));
    return fma(e, high, f + tail);
  } else {
    // With s = f / (2 + f): log1p(f) = f - f^2 / 2 + s (f^2 / 2 + s^2 p(s^2)), relative error 2^-58.9
    const P s = f / (f + 2.0), s2 = s * s, half = 0.5 * f2;
    const P p = polynomial(s2, 0.6666666666666734, 0.39999999999414299, 0.28571428742478971, 0.22222198563131837,
                           0.18183564883178302, 0.15314035436912549, 0.14796109336156382);
    const P tail = fma(s, fma(s2, p, half), e * low) - half;
    return fma(e, high, f + tail);
  }
}
/// `y` where u is positive and finite, else the logarithm of such a u: -inf for 0, NaN below, `x` (inf, NaN) otherwise.
template <class T, int B>
ESPALIER_INLINE pack<T, B> log_limits(const pack<T, B>& u, const pack<T, B>& x, const pack<T, B>& y) {
  using P = pack<T, B>;
  using F = FloatTraits<T>;
  const P rest = select(u == P(), -bit_constant<P>(F::infinity), select(u < P(), bit_constant<P>(F::nan), x));
  return select((u.bits() > 0) & (u.bits() < F::infinity), y, rest);
}
/// log1p for x > -1, finite (or NaN).
template <class T, int B>
ESPALIER_INLINE pack<T, B> log1p_finite(const pack<T, B>& x, const pack<T, B>& u) {
  using P = pack<T, B>;
  const auto [f, e] = significand(u);
  // What rounding 1 + x lost (two-sum, Knuth), brought to the scale of f. For large x it no longer counts.
  const P x_part = u - T(1), one_part = u - x_part, lost = (x - x_part) + (T(1) - one_part);
  return log_sum(fma(lost, power_of_two(max(-e, P(-64))), f), e);
}

/// f of each lane by itself. The barrier keeps compilers from other last bits: by evaluating a constant call
/// themselves, or by calling a vector library (g++ with -ffast-math).
template <class F, class T, int B, class... P>
ESPALIER_INLINE pack<T, B> per_lane(const F& f, const pack<T, B>& x, const P&... more) {
  const auto opaque = [](T lane) {
    keep_rounded(lane);
    return lane;
  };
  pack<T, B> r;
  for (int i = 0; i < pack<T, B>::size; ++i) r.v[i] = f(opaque(x.v[i]), opaque(more.v[i])...);
  return r;
}

}  // namespace detail

/// e^x.
template <class T, int B>
ESPALIER_INLINE pack<T, B> exp(const pack<T, B>& x) {
  using P = pack<T, B>;
  using F = detail::FloatTraits<T>;
  const auto [q, n] = detail::reduced_exp(min(max(x, P(F::exp_low)), P(F::exp_high)));
  return detail::scale(q + T(1), n);
}

/// e^x for x <= 0 with fewer instructions: 0 where it is below 2^-126.5 (float) and 2^-1022.5 (double).
template <class T, int B>
ESPALIER_INLINE pack<T, B> exp_down(const pack<T, B>& x) {
  using P = pack<T, B>;
  const auto [q, n] = detail::reduced_exp(max(x, P(detail::FloatTraits<T>::exp_down_low)));
  const P power = detail::power_of_two(n);  // 0 for the lowest n, whose exponent's bits are zeros
  return fma(q, power, power);
}

/// e^x - 1, accurate near 0.
template <class T, int B>
ESPALIER_INLINE pack<T, B> expm1(const pack<T, B>& x) {
  using P = pack<T, B>;
  using F = detail::FloatTraits<T>;
  const auto [q, n] = detail::reduced_exp(min(max(x, P(F::expm1_low)), P(F::exp_high)));
  const P half = detail::power_of_two(n - T(1));  // 2^n itself may overflow where the result does not
  return T(2) * fma(q, half, half - T(0.5));
}

/// The natural logarithm: -inf at 0, NaN below.
template <class T, int B>
ESPALIER_INLINE pack<T, B> log(const pack<T, B>& x) {
  using P = pack<T, B>;
  const T up = T(1LL << detail::FloatTraits<T>::mantissa_bits);
  const auto denormal = x < P(std::numeric_limits<T>::min());
  const auto [f, e] = detail::significand(select(denormal, x * up, x));
  return detail::log_limits(x, x,
                            detail::log_sum(f, e - select(denormal, P(T(detail::FloatTraits<T>::mantissa_bits)), P())));
}

/// log(1 + x), accurate near 0: -inf at -1, NaN below.
template <class T, int B>
ESPALIER_INLINE pack<T, B> log1p(const pack<T, B>& x) {
  const pack<T, B> u = x + T(1);
  return detail::log_limits(u, x, detail::log1p_finite(x, u));
}

/// The hyperbolic tangent, accurate near 0: t / (t + 2) with t = expm1(2 |x|), and x's sign.
template <class T, int B>
ESPALIER_INLINE pack<T, B> tanh(const pack<T, B>& x) {
  using P = pack<T, B>;
  const P t = expm1(min(T(2) * abs(x), P(T(sizeof(T) == 4 ? 20 : 40))));  // beyond, the result rounds to 1
  return copysign(t / (t + T(2)), x);
}

/// 1 / (1 + e^-x), the logistic function; 0 where e^-x overflows, below -88.7 in float and -709.8 in double.
template <class T, int B>
ESPALIER_INLINE pack<T, B> sigmoid(const pack<T, B>& x) {
  return T(1) / (T(1) + exp(-x));
}

/// log(1 + e^x), without overflow: max(x, 0) + log1p(e^-|x|).
template <class T, int B>
ESPALIER_INLINE pack<T, B> softplus(const pack<T, B>& x) {
  const pack<T, B> t = exp(-abs(x));
  return relu(x) + detail::log1p_finite(t, t + T(1));
}

/// The error function: near 0 an odd polynomial, beyond it 1 - e^-g with a polynomial g for -log(erfc).
template <class T, int B>
ESPALIER_INLINE pack<T, B> erf(const pack<T, B>& x) {
  using P = pack<T, B>;
  if constexpr (sizeof(T) == 8) {
    return detail::per_lane([](double lane) { return std::erf(lane); }, x);
  } else {
    const P q = detail::polynomial(x * x, 0.128379166f, -0.376126319f, 0.112836637f, -0.0268577039f, 0.0051969518f,
                                   -0.000809769961f, 8.1850827e-5f);
    const P t = min(abs(x), P(4.0f));  // erf(4) rounds to 1
    const P g = detail::polynomial(t, 0.000254799175f, 1.1274327f, 0.637589097f, 0.10357628f, -0.0220564306f,
                                   0.00300063123f, -0.00019161329f);
    const auto [r, n] = detail::reduced_exp(-g);
    const P power = detail::power_of_two(n);
    return select(abs(x) < P(0.95f), fma(x, q, x), copysign(1.0f - fma(r, power, power), x));
  }
}

/// x to the power y, with std::pow's special cases; per lane.
template <class T, int B>
ESPALIER_INLINE pack<T, B> pow(const pack<T, B>& x, const std::type_identity_t<pack<T, B>>& y) {
  return detail::per_lane([](T base, T exponent) { return std::pow(base, exponent); }, x, y);
}

}  // namespace espalier::inline ESPALIER_ABI
