#pragma once
// Elementwise functions of one argument. Each struct is also a module: `Sequential{Linear{4, 8, rng}, Tanh{}}`.

#include "espalier/ops/arithmetic.hpp"

namespace espalier::inline ESPALIER_ABI {

struct Exp : Unary<Exp> {
  using every_isa = Exp;
  static constexpr std::string_view name = "exp";
  static constexpr bool from_output = true;
  ESPALIER_INLINE static auto value(const auto& x) { return exp(x); }
  ESPALIER_INLINE static auto slope(const auto& y) { return y; }
};
struct Log : Unary<Log> {
  using every_isa = Log;
  static constexpr std::string_view name = "log";
  static constexpr bool from_output = false;
  static constexpr detail::Domain domain{0.2, 4};
  ESPALIER_INLINE static auto value(const auto& x) { return log(x); }
  ESPALIER_INLINE static auto slope(const auto& x) { return 1 / x; }
};
struct Log1p : Unary<Log1p> {
  using every_isa = Log1p;
  static constexpr std::string_view name = "log1p";
  static constexpr bool from_output = false;
  static constexpr detail::Domain domain{-0.6, 4};
  ESPALIER_INLINE static auto value(const auto& x) { return log1p(x); }
  ESPALIER_INLINE static auto slope(const auto& x) { return 1 / (1 + x); }
};
struct Expm1 : Unary<Expm1> {
  using every_isa = Expm1;
  static constexpr std::string_view name = "expm1";
  static constexpr bool from_output = true;
  ESPALIER_INLINE static auto value(const auto& x) { return expm1(x); }
  ESPALIER_INLINE static auto slope(const auto& y) { return 1 + y; }
};
/// The slope at 0 is defined as 0, so that a norm of zero has a finite gradient.
struct Sqrt : Unary<Sqrt> {
  using every_isa = Sqrt;
  static constexpr std::string_view name = "sqrt";
  static constexpr bool from_output = true;
  static constexpr detail::Domain domain{0.2, 4};
  ESPALIER_INLINE static auto value(const auto& x) { return sqrt(x); }
  ESPALIER_INLINE static auto slope(const auto& y) { return 0.5f * sign(y) / (y + equal(y, constant_like(y, 0))); }
};
struct Square : Unary<Square> {
  using every_isa = Square;
  static constexpr std::string_view name = "square";
  static constexpr bool from_output = false;
  ESPALIER_INLINE static auto value(const auto& x) { return x * x; }
  ESPALIER_INLINE static auto slope(const auto& x) { return 2 * x; }
};
struct Abs : Unary<Abs> {
  using every_isa = Abs;
  static constexpr std::string_view name = "abs";
  static constexpr bool from_output = false;
  static constexpr double kink = 0;
  ESPALIER_INLINE static auto value(const auto& x) { return abs(x); }
  ESPALIER_INLINE static auto slope(const auto& x) { return sign(x); }
};
struct Tanh : Unary<Tanh> {
  using every_isa = Tanh;
  static constexpr std::string_view name = "tanh";
  static constexpr bool from_output = true;
  ESPALIER_INLINE static auto value(const auto& x) { return tanh(x); }
  ESPALIER_INLINE static auto slope(const auto& y) { return 1 - y * y; }
};
/// 1 / (1 + e^-x)
struct Sigmoid : Unary<Sigmoid> {
  using every_isa = Sigmoid;
  static constexpr std::string_view name = "sigmoid";
  static constexpr bool from_output = true;
  ESPALIER_INLINE static auto value(const auto& x) { return sigmoid(x); }
  ESPALIER_INLINE static auto slope(const auto& y) { return y * (1 - y); }
};
struct ReLU : Unary<ReLU> {
  using every_isa = ReLU;
  static constexpr std::string_view name = "relu";
  static constexpr bool from_output = true;
  static constexpr double kink = 0;
  ESPALIER_INLINE static auto value(const auto& x) { return relu(x); }
  ESPALIER_INLINE static auto slope(const auto& y) { return step(y); }
};
/// log(1 + e^x), without overflow.
struct Softplus : Unary<Softplus> {
  using every_isa = Softplus;
  static constexpr std::string_view name = "softplus";
  static constexpr bool from_output = false;
  ESPALIER_INLINE static auto value(const auto& x) { return softplus(x); }
  ESPALIER_INLINE static auto slope(const auto& x) { return sigmoid(x); }
};
struct Erf : Unary<Erf> {
  using every_isa = Erf;
  static constexpr std::string_view name = "erf";
  static constexpr bool from_output = false;
  ESPALIER_INLINE static auto value(const auto& x) { return erf(x); }
  ESPALIER_INLINE static auto slope(const auto& x) {
    return constant_like(x, 1.1283791670955126) * exp(-(x * x));  // 2 / sqrt(pi)
  }
};
/// x Phi(x), Phi the normal distribution function (Hendrycks & Gimpel 2016, arXiv 1606.08415).
struct GELU : Unary<GELU> {
  using every_isa = GELU;
  static constexpr std::string_view name = "gelu";
  static constexpr bool from_output = false;
  ESPALIER_INLINE static auto value(const auto& x) { return x * cumulative(x); }
  ESPALIER_INLINE static auto slope(const auto& x) {
    return cumulative(x) + x * (constant_like(x, 0.39894228040143268) * exp(-0.5f * (x * x)));  // 1 / sqrt(2 pi)
  }

 private:
  ESPALIER_INLINE static auto cumulative(const auto& x) {
    return 0.5f * (1 + erf(constant_like(x, 0.70710678118654752) * x));  // 1 / sqrt(2)
  }
};
/// The usual approximation of gelu by tanh.
struct GELUTanh : Unary<GELUTanh> {
  using every_isa = GELUTanh;
  static constexpr std::string_view name = "gelu_tanh";
  static constexpr bool from_output = false;
  ESPALIER_INLINE static auto value(const auto& x) { return 0.5f * x * (1 + inner(x)); }
  ESPALIER_INLINE static auto slope(const auto& x) {
    const auto t = inner(x);
    const auto inner_slope = constant_like(x, 0.79788456080286536) * (1 + constant_like(x, 0.134145) * (x * x));
    return 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * inner_slope;
  }

 private:
  ESPALIER_INLINE static auto inner(const auto& x) {  // tanh(sqrt(2 / pi) (x + 0.044715 x^3))
    return tanh(constant_like(x, 0.79788456080286536) * (x + constant_like(x, 0.044715) * (x * x * x)));
  }
};

using FunctionOps =
    OpList<Exp, Log, Log1p, Expm1, Sqrt, Square, Abs, Tanh, Sigmoid, ReLU, Softplus, Erf, GELU, GELUTanh>;

/// 1 where x > 0, else 0: the slope of relu; flat, so never recorded.
struct Step {
  using every_isa = Step;
  static constexpr std::string_view name = "step";
  static constexpr bool from_output = true, flat = true;
  ESPALIER_INLINE static auto value(const auto& x) { return step(x); }
};
/// -1, 0 or 1.
struct Sign {
  using every_isa = Sign;
  static constexpr std::string_view name = "sign";
  static constexpr bool from_output = true, flat = true;
  ESPALIER_INLINE static auto value(const auto& x) { return sign(x); }
};
/// 1 where a == b, else 0, as numbers: for formulas.
struct Equal {
  using every_isa = Equal;
  static constexpr std::string_view name = "equal";
  static constexpr bool linear = false, flat = true;
  ESPALIER_INLINE static auto value(const auto& a, const auto& b) { return equal(a, b); }
};

template <Differentiable T> Tensor<T> exp(const Tensor<T>& x) { return apply<Exp>(x); }
template <Differentiable T> Tensor<T> log(const Tensor<T>& x) { return apply<Log>(x); }
template <Differentiable T> Tensor<T> log1p(const Tensor<T>& x) { return apply<Log1p>(x); }
template <Differentiable T> Tensor<T> expm1(const Tensor<T>& x) { return apply<Expm1>(x); }
template <Differentiable T> Tensor<T> sqrt(const Tensor<T>& x) { return apply<Sqrt>(x); }
template <Differentiable T> Tensor<T> square(const Tensor<T>& x) { return apply<Square>(x); }
template <Differentiable T> Tensor<T> abs(const Tensor<T>& x) { return apply<Abs>(x); }
template <Differentiable T> Tensor<T> tanh(const Tensor<T>& x) { return apply<Tanh>(x); }
template <Differentiable T> Tensor<T> sigmoid(const Tensor<T>& x) { return apply<Sigmoid>(x); }
template <Differentiable T> Tensor<T> relu(const Tensor<T>& x) { return apply<ReLU>(x); }
template <Differentiable T> Tensor<T> softplus(const Tensor<T>& x) { return apply<Softplus>(x); }
template <Differentiable T> Tensor<T> erf(const Tensor<T>& x) { return apply<Erf>(x); }
template <Differentiable T> Tensor<T> gelu(const Tensor<T>& x) { return apply<GELU>(x); }
template <Differentiable T> Tensor<T> gelu_tanh(const Tensor<T>& x) { return apply<GELUTanh>(x); }
template <Differentiable T> Tensor<T> step(const Tensor<T>& x) { return apply<Step>(x); }
template <Differentiable T> Tensor<T> sign(const Tensor<T>& x) { return apply<Sign>(x); }
template <Differentiable T> Tensor<T> equal(const Tensor<T>& a, const Tensor<T>& b) { return apply<Equal>(a, b); }

}  // namespace espalier::inline ESPALIER_ABI
