#pragma once
// Elementwise operations. One operation is one struct: `value`, and `slope`, the derivative written once with unqualified
// maths. Kernels see both on pack<T>; a recorded backward pass sees `slope` on Tensor<T>, so higher orders come free.
//
// To add one: write the struct (about six lines), its free function, and put it in the list at the end of its family's
// header; tests, gradient checks and rows-at-once checks follow from the list.
//   name         what messages call it
//   from_output  slope takes the output instead of the input, so that only that is saved
//   domain       [low, high] that tests draw inputs from; `kink` is a point they avoid
//   slope        returns One for a slope of 1, which costs nothing

#include "espalier/autograd/engine_ops.hpp"
#include "espalier/tensor/kernels/math.hpp"

namespace espalier::inline ESPALIER_ABI {

/// A slope of one: multiplies for free.
struct One {};
template <class G>
ESPALIER_INLINE const G& operator*(const G& g, One) {
  return g;
}
/// A slope of zero: nothing is passed on.
struct Zero {};

template <class... Ops>
struct OpList {
  static void each(auto&& visit) { (visit(Ops{}), ...); }
};

namespace detail {

struct Domain {
  double low = -3, high = 3;
};
template <class Op>
concept FromOutput = Op::from_output;

// Functors instead of lambdas: their calls are inlined at every optimisation level, so packs never cross a call.
template <class Op>
struct ValueOf {
  ESPALIER_INLINE auto operator()(const auto&... x) const { return Op::value(x...); }
};
template <class Op>
struct SlopeTimes {
  ESPALIER_INLINE auto operator()(const auto& g, const auto& x) const { return g * Op::slope(x); }
};
template <class Op, int Argument>
struct PartialTimes {
  ESPALIER_INLINE auto operator()(const auto& g, const auto& a, const auto& b) const {
    return g * Op::template slope<Argument>(a, b);
  }
};

}  // namespace detail

// ---- the rules -----------------------------------------------------------------------------------------------------

template <class T, class Op>
struct UnaryRule {
  static constexpr std::string_view name = Op::name;
  static constexpr bool rows_together = true;
  static constexpr bool keeps_diagonal = true;
  Saved<T> saved;

  void vjp(Sweep<T>& sweep, Node<T>& node, Cotangent<T>& g) {
    if (sweep.recording()) {
      if constexpr (detail::FromOutput<Op>) sweep.emit(node, 0, g.value * Op::slope(saved.get_output(node)), g.labels);
      else {
        Tensor<T> x = saved.get(node);
        sweep.emit(node, 0, g.value * Op::slope(x), g.labels);
      }
      return;
    }
    const Tensor<T>& x = saved.get(node);
    Tensor<T> out = g.value.sole() ? g.value.detach() : Tensor<T>::empty(g.value.shape());
    const Index n = x.size();
    for (Index at = 0; at < g.value.size(); at += n)
      kernels::map(n, out.raw() + at, detail::SlopeTimes<Op>{}, g.value.data() + at, x.data());
    sweep.emit(node, 0, std::move(out), g.labels);
  }
};

/// The op applied to every element.
template <class Op, Differentiable T>
Tensor<T> apply(const Tensor<T>& x) {
  require(x, Op::name);
  Tensor<T> y = Tensor<T>::empty(x.shape());
  kernels::map(y.size(), y.raw(), detail::ValueOf<Op>{}, x.data());
  if constexpr (!requires { Op::flat; })
    if (recorded(x)) {
      if constexpr (detail::FromOutput<Op>) record(y, UnaryRule<T, Op>{Saved<T>::output(y)}, x);
      else record(y, UnaryRule<T, Op>{Saved<T>(x)}, x);
    }
  return y;
}

/// Base of the ops of one argument: makes the op a module without fields.
template <class Op>
struct Unary {
  template <class T>
  Tensor<T> operator()(const Tensor<T>& x) const {
    return apply<Op>(x);
  }
};

template <class T, class Op>
struct BinaryRule {
  static constexpr std::string_view name = Op::name;
  static constexpr bool rows_together = true;
  static constexpr bool keeps_diagonal = Op::linear;
  Saved<T> a, b;

  template <int Argument>
  void one(Sweep<T>& sweep, Node<T>& node, Cotangent<T>& g) {
    using V = pack<T>;
    using Slope = std::decay_t<decltype(Op::template slope<Argument>(std::declval<V>(), std::declval<V>()))>;
    if (!sweep.wants(node, Argument)) return;
    if constexpr (std::is_same_v<Slope, One>) {
      sweep.emit(node, Argument, g.value, g.labels);
    } else if (sweep.recording()) {
      Tensor<T> x = a.get(node), y = b.get(node);
      sweep.emit(node, Argument, g.value * Op::template slope<Argument>(x, y), g.labels);
    } else {
      const Tensor<T>&x = a.get(node), &y = b.get(node);
      Tensor<T> out = Tensor<T>::empty(g.value.shape());
      const Index n = node.shape.size();
      if (x.shape() == y.shape()) {
        for (Index at = 0; at < g.value.size(); at += n)
          kernels::map(n, out.raw() + at, detail::PartialTimes<Op, Argument>{}, g.value.data() + at, x.data(), y.data());
      } else {  // the slope over the broadcast shape once, then every row of g times it
        Tensor<T> slope = Tensor<T>::empty(node.shape);
        kernels::broadcast_map(node.shape, slope.raw(), Partial<Argument>{}, x.shape(), x.data(), y.shape(), y.data());
        for (Index at = 0; at < g.value.size(); at += n)
          kernels::map(n, out.raw() + at, Times{}, g.value.data() + at, slope.data());
      }
      sweep.emit(node, Argument, std::move(out), g.labels);
    }
  }
  void vjp(Sweep<T>& sweep, Node<T>& node, Cotangent<T>& g) {
    one<0>(sweep, node, g);
    one<1>(sweep, node, g);
  }

 private:
  struct Times {
    ESPALIER_INLINE auto operator()(const auto& g, const auto& s) const { return g * s; }
  };
  template <int Argument>
  struct Partial {
    ESPALIER_INLINE pack<T> operator()(const pack<T>& x, const pack<T>& y) const { return Op::template slope<Argument>(x, y); }
  };
};

/// The op applied to every pair of elements of the broadcast shape.
template <class Op, Differentiable T>
Tensor<T> apply(const Tensor<T>& a, const Tensor<T>& b) {
  require(a, Op::name, "a");
  require(b, Op::name, "b");
  Tensor<T> y = Tensor<T>::empty(broadcast(a.shape(), b.shape(), Op::name));
  kernels::broadcast_map(y.shape(), y.raw(), detail::ValueOf<Op>{}, a.shape(), a.data(), b.shape(), b.data());
  if constexpr (!requires { Op::flat; })
    if (recorded(a, b)) {
      if constexpr (Op::linear) record(y, BinaryRule<T, Op>{}, a, b);
      else record(y, BinaryRule<T, Op>{Saved<T>(a), Saved<T>(b)}, a, b);
    }
  return y;
}

}  // namespace espalier::inline ESPALIER_ABI

#include "espalier/ops/arithmetic.hpp"
#include "espalier/ops/functions.hpp"
