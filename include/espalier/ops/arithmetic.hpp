#pragma once
// Arithmetic on tensors with broadcasting: + - * /, minimum, maximum, pow, where; comparisons give Tensor<bool>.
// Numbers mix in as `2 * x` and `x > 0.5f`; they are never converted to tensors elsewhere.

#include "espalier/ops/elementwise.hpp"

namespace espalier::inline ESPALIER_ABI {

struct Add {
  using every_isa = Add;
  static constexpr std::string_view name = "add";
  static constexpr bool linear = true;
  ESPALIER_INLINE static auto value(const auto& a, const auto& b) { return a + b; }
  template <int Argument>
  ESPALIER_INLINE static One slope(const auto&, const auto&) { return {}; }
};
struct Subtract {
  using every_isa = Subtract;
  static constexpr std::string_view name = "subtract";
  static constexpr bool linear = false;
  ESPALIER_INLINE static auto value(const auto& a, const auto& b) { return a - b; }
  template <int Argument>
  ESPALIER_INLINE static auto slope(const auto&, const auto& b) {
    if constexpr (Argument == 0) return One{};
    else return constant_like(b, -1);
  }
};
struct Multiply {
  using every_isa = Multiply;
  static constexpr std::string_view name = "multiply";
  static constexpr bool linear = false;
  ESPALIER_INLINE static auto value(const auto& a, const auto& b) { return a * b; }
  template <int Argument>
  ESPALIER_INLINE static auto slope(const auto& a, const auto& b) {
    if constexpr (Argument == 0) return b;
    else return a;
  }
};
struct Divide {
  using every_isa = Divide;
  static constexpr std::string_view name = "divide";
  static constexpr bool linear = false;
  static constexpr detail::Domain domain{0.5, 3};
  ESPALIER_INLINE static auto value(const auto& a, const auto& b) { return a / b; }
  template <int Argument>
  ESPALIER_INLINE static auto slope(const auto& a, const auto& b) {
    if constexpr (Argument == 0) return 1 / b;
    else return -(a / (b * b));
  }
};
/// The larger; NaN where either is. Where a == b each side takes half of the gradient, as in PyTorch.
struct Maximum {
  using every_isa = Maximum;
  static constexpr std::string_view name = "maximum";
  static constexpr bool linear = false;
  ESPALIER_INLINE static auto value(const auto& a, const auto& b) { return select(is_nan(b), b, max(a, b)); }
  template <int Argument>
  ESPALIER_INLINE static auto slope(const auto& a, const auto& b) {
    if constexpr (Argument == 0) return 0.5f * (1 + sign(a - b));
    else return 0.5f * (1 + sign(b - a));
  }
};
/// The smaller, likewise.
struct Minimum {
  using every_isa = Minimum;
  static constexpr std::string_view name = "minimum";
  static constexpr bool linear = false;
  ESPALIER_INLINE static auto value(const auto& a, const auto& b) { return select(is_nan(b), b, min(a, b)); }
  template <int Argument>
  ESPALIER_INLINE static auto slope(const auto& a, const auto& b) {
    if constexpr (Argument == 0) return 0.5f * (1 + sign(b - a));
    else return 0.5f * (1 + sign(a - b));
  }
};
/// a^b; the slope in a is 0 where b is 0, also at a = 0, and the slope in b is 0 where a is 0.
struct Pow {
  using every_isa = Pow;
  static constexpr std::string_view name = "pow";
  static constexpr bool linear = false;
  static constexpr detail::Domain domain{0.5, 2.5};
  ESPALIER_INLINE static auto value(const auto& a, const auto& b) { return pow(a, b); }
  template <int Argument>
  ESPALIER_INLINE static auto slope(const auto& a, const auto& b) {
    if constexpr (Argument == 0) return b * pow(a, b - 1 + equal(b, constant_like(b, 0)));
    else return pow(a, b) * log(a + equal(a, constant_like(a, 0)));
  }
};

using ArithmeticOps = OpList<Add, Subtract, Multiply, Divide, Maximum, Minimum, Pow>;

namespace detail {
template <class T>
using number = std::type_identity_t<T>;  // a parameter that follows the tensor's type and takes no part in deduction
}

/// A constant of the kind of its first argument: what slopes use for a plain number.
template <class T, int B>
ESPALIER_INLINE pack<T, B> constant_like(const pack<T, B>&, double value) {
  return pack<T, B>(static_cast<T>(value));
}
template <class T>
Tensor<T> constant_like(const Tensor<T>&, double value) {
  return Tensor<T>::scalar(static_cast<T>(value));
}

template <Differentiable T> Tensor<T> operator+(const Tensor<T>& a, const Tensor<T>& b) { return apply<Add>(a, b); }
template <Differentiable T> Tensor<T> operator-(const Tensor<T>& a, const Tensor<T>& b) { return apply<Subtract>(a, b); }
template <Differentiable T> Tensor<T> operator*(const Tensor<T>& a, const Tensor<T>& b) { return apply<Multiply>(a, b); }
template <Differentiable T> Tensor<T> operator/(const Tensor<T>& a, const Tensor<T>& b) { return apply<Divide>(a, b); }
template <Differentiable T> Tensor<T> maximum(const Tensor<T>& a, const Tensor<T>& b) { return apply<Maximum>(a, b); }
template <Differentiable T> Tensor<T> minimum(const Tensor<T>& a, const Tensor<T>& b) { return apply<Minimum>(a, b); }
template <Differentiable T> Tensor<T> pow(const Tensor<T>& a, const Tensor<T>& b) { return apply<Pow>(a, b); }
// The names that formulas use for packs and tensors alike.
template <Differentiable T> Tensor<T> max(const Tensor<T>& a, const Tensor<T>& b) { return maximum(a, b); }
template <Differentiable T> Tensor<T> min(const Tensor<T>& a, const Tensor<T>& b) { return minimum(a, b); }

template <Differentiable T> Tensor<T> operator+(const Tensor<T>& a, detail::number<T> b) { return a + Tensor<T>::scalar(b); }
template <Differentiable T> Tensor<T> operator-(const Tensor<T>& a, detail::number<T> b) { return a - Tensor<T>::scalar(b); }
template <Differentiable T> Tensor<T> operator*(const Tensor<T>& a, detail::number<T> b) { return a * Tensor<T>::scalar(b); }
template <Differentiable T> Tensor<T> operator/(const Tensor<T>& a, detail::number<T> b) { return a / Tensor<T>::scalar(b); }
template <Differentiable T> Tensor<T> operator+(detail::number<T> a, const Tensor<T>& b) { return Tensor<T>::scalar(a) + b; }
template <Differentiable T> Tensor<T> operator-(detail::number<T> a, const Tensor<T>& b) { return Tensor<T>::scalar(a) - b; }
template <Differentiable T> Tensor<T> operator*(detail::number<T> a, const Tensor<T>& b) { return Tensor<T>::scalar(a) * b; }
template <Differentiable T> Tensor<T> operator/(detail::number<T> a, const Tensor<T>& b) { return Tensor<T>::scalar(a) / b; }
template <Differentiable T> Tensor<T> pow(const Tensor<T>& a, detail::number<T> b) { return pow(a, Tensor<T>::scalar(b)); }
template <Differentiable T> Tensor<T> operator-(const Tensor<T>& x) { return Tensor<T>::scalar(-1) * x; }

// ---- comparisons and selection ---------------------------------------------------------------------------------------

namespace detail {
template <class T, class F>
Tensor<bool> compare(const Tensor<T>& a, const Tensor<T>& b, std::string_view name, F f) {
  require(a, name, "a");
  require(b, name, "b");
  const Shape shape = broadcast(a.shape(), b.shape(), name);
  Tensor<bool> y = Tensor<bool>::empty(shape);
  const Tensor<T> p = expanded(a, shape), q = expanded(b, shape);
  std::transform(p.data(), p.data() + p.size(), q.data(), y.raw(), f);
  return y;
}
template <class T, class F>
Tensor<bool> compare(const Tensor<T>& a, T b, std::string_view name, F f) {
  require(a, name, "a");
  Tensor<bool> y = Tensor<bool>::empty(a.shape());
  std::transform(a.data(), a.data() + a.size(), y.raw(), [&](T x) { return f(x, b); });
  return y;
}
/// The values repeated to a shape, outside the graph, for any scalar type.
template <class T>
Tensor<T> expanded(const Tensor<T>& x, const Shape& shape) {
  if (x.shape() == shape) return x.detach();
  Tensor<T> y = Tensor<T>::empty(shape);
  kernels::expand(shape, y.raw(), x.shape(), x.data());
  return y;
}
}  // namespace detail

// Element by element; with NaN all but != are false. The number of `x > 0.5` is of the tensor's type.
template <class T>
Tensor<bool> operator<(const Tensor<T>& a, const Tensor<T>& b) { return detail::compare(a, b, "less", std::less<T>{}); }
template <class T>
Tensor<bool> operator>(const Tensor<T>& a, const Tensor<T>& b) { return detail::compare(a, b, "greater", std::greater<T>{}); }
template <class T>
Tensor<bool> operator<=(const Tensor<T>& a, const Tensor<T>& b) {
  return detail::compare(a, b, "less_equal", std::less_equal<T>{});
}
template <class T>
Tensor<bool> operator>=(const Tensor<T>& a, const Tensor<T>& b) {
  return detail::compare(a, b, "greater_equal", std::greater_equal<T>{});
}
template <class T>
Tensor<bool> operator==(const Tensor<T>& a, const Tensor<T>& b) { return detail::compare(a, b, "equal", std::equal_to<T>{}); }
template <class T>
Tensor<bool> operator!=(const Tensor<T>& a, const Tensor<T>& b) {
  return detail::compare(a, b, "not_equal", std::not_equal_to<T>{});
}
template <class T>
Tensor<bool> operator<(const Tensor<T>& a, detail::number<T> b) { return detail::compare(a, b, "less", std::less<T>{}); }
template <class T>
Tensor<bool> operator>(const Tensor<T>& a, detail::number<T> b) { return detail::compare(a, b, "greater", std::greater<T>{}); }
template <class T>
Tensor<bool> operator<=(const Tensor<T>& a, detail::number<T> b) {
  return detail::compare(a, b, "less_equal", std::less_equal<T>{});
}
template <class T>
Tensor<bool> operator>=(const Tensor<T>& a, detail::number<T> b) {
  return detail::compare(a, b, "greater_equal", std::greater_equal<T>{});
}
template <class T>
Tensor<bool> operator==(const Tensor<T>& a, detail::number<T> b) { return detail::compare(a, b, "equal", std::equal_to<T>{}); }
template <class T>
Tensor<bool> operator!=(const Tensor<T>& a, detail::number<T> b) {
  return detail::compare(a, b, "not_equal", std::not_equal_to<T>{});
}
template <class T>
Tensor<bool> operator<(detail::number<T> a, const Tensor<T>& b) { return b > a; }
template <class T>
Tensor<bool> operator>(detail::number<T> a, const Tensor<T>& b) { return b < a; }
template <class T>
Tensor<bool> operator<=(detail::number<T> a, const Tensor<T>& b) { return b >= a; }
template <class T>
Tensor<bool> operator>=(detail::number<T> a, const Tensor<T>& b) { return b <= a; }
template <class T>
Tensor<bool> operator==(detail::number<T> a, const Tensor<T>& b) { return b == a; }
template <class T>
Tensor<bool> operator!=(detail::number<T> a, const Tensor<T>& b) { return b != a; }
template <class T>
Tensor<bool> operator!(const Tensor<T>& a) requires std::same_as<T, bool> {
  return detail::compare(a, a, "not", [](bool p, bool) { return !p; });
}
template <class T>
Tensor<bool> operator&&(const Tensor<T>& a, const Tensor<T>& b) requires std::same_as<T, bool> {
  return detail::compare(a, b, "and", [](bool p, bool q) { return p && q; });
}

/// a where the condition holds, b elsewhere: a selection, so what is not chosen may be NaN and gets gradient exactly 0.
template <class T>
struct Where {
  using every_isa = Where;
  static constexpr std::string_view name = "where";
  static constexpr bool rows_together = true;
  static void samples(auto&& check) {
    const Tensor<bool> c({2, 3}, {true, false, true, true, false, false});
    check([c](const auto& x) { return where(c, x[0], x[1]); }, {Shape{2, 3}, Shape{2, 3}});
    check([c](const auto& x) { return where(c, x[0], x[1]); }, {Shape{1, 3}, Shape{}});
  }
  Saved<bool> saved;

  void vjp(Sweep<T>& sweep, Node<T>& node, Cotangent<T>& g) {
    const Tensor<bool>& condition = saved.get(node);
    const Tensor<T> zero = Tensor<T>::scalar(0);
    if (sweep.wants(node, 0)) sweep.emit(node, 0, where(condition, g.value, zero), g.labels);
    if (sweep.wants(node, 1)) sweep.emit(node, 1, where(condition, zero, g.value), g.labels);
  }
};
template <Differentiable T>
Tensor<T> where(const Tensor<bool>& condition, const Tensor<T>& a, const Tensor<T>& b) {
  require(condition, "where", "condition");
  require(a, "where", "a");
  require(b, "where", "b");
  const Shape both = broadcast(a.shape(), b.shape(), "where");
  if (!broadcastable(condition.shape(), both))
    fail("where: condition is ", condition.shape(), ", a is ", a.shape(), ", b is ", b.shape(),
         "; each axis, from the last, must be equal in all three, or 1");
  const Shape shape = broadcast(both, condition.shape(), "where");
  const Tensor<bool> c = detail::expanded(condition, shape);
  const Tensor<T> p = detail::expanded(a, shape), q = detail::expanded(b, shape);
  Tensor<T> y = Tensor<T>::empty(shape);
  for (Index i = 0, n = y.size(); i < n; ++i) y.raw()[i] = c.data()[i] ? p.data()[i] : q.data()[i];
  if (recorded(a, b)) record(y, Where<T>{Saved<bool>(c)}, a, b);
  return y;
}

}  // namespace espalier::inline ESPALIER_ABI
