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
//   every_isa    the struct itself, when value and slope, and all that they call, are ESPALIER_INLINE: kernels are then
//                compiled for every ISA (kernels/isa.hpp). An op without it is right, too, with the vectors of the unit's flags.

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
template <class Op>
concept OfEveryIsa = std::same_as<typename Op::every_isa, Op>;  // not what it inherits

// Functors instead of lambdas: their calls are inlined at every optimisation level, so packs never cross a call.
template <class Op>
struct ValueOf {
  static constexpr bool every_isa = OfEveryIsa<Op>;
  ESPALIER_INLINE auto operator()(const auto&... x) const { return Op::value(x...); }
};
template <class Op>
struct SlopeTimes {
  static constexpr bool every_isa = OfEveryIsa<Op>;
  ESPALIER_INLINE auto operator()(const auto& g, const auto& x) const { return g * Op::slope(x); }
};
template <class Op, int Argument>
struct PartialTimes {
  static constexpr bool every_isa = OfEveryIsa<Op>;
  ESPALIER_INLINE auto operator()(const auto& g, const auto& a, const auto& b) const {
    return g * Op::template slope<Argument>(a, b);
  }
};

}  // namespace detail

// ---- the rules -----------------------------------------------------------------------------------------------------
//
// An op reaches the engine as a table of its formulas' addresses: the code around them is compiled once per scalar type, not
// once per op, which is most of what an op costs a program to compile.

template <class T>
struct UnaryOp {
  std::string_view name;
  bool from_output;
  kernels::Block<T, T> value;
  kernels::Block<T, T, T> slope_times;                               // g * slope
  Tensor<T> (*slope_graph)(const Tensor<T>& g, const Tensor<T>& x);  // the same, recorded
  const NodeType<T>* type;
};

template <class T>
struct UnaryRule {
  static constexpr std::string_view name = "unary";
  static constexpr bool rows_together = true;
  static constexpr bool keeps_diagonal = true;
  const UnaryOp<T>* op;
  Saved<T> saved;

  void vjp(Sweep<T>& sweep, Node<T>& node, Cotangent<T>& g);
};

template <class T>
void UnaryRule<T>::vjp(Sweep<T>& sweep, Node<T>& node, Cotangent<T>& g) {
  if (sweep.recording())
    return sweep.emit(node, 0, op->slope_graph(g.value, op->from_output ? saved.get_output(node) : saved.get(node)), g.labels);
  const Tensor<T>& x = saved.get(node);
  Tensor<T> out = g.value.sole() ? g.value.detach() : Tensor<T>::empty(g.value.shape());
  const Index n = x.size();
  for (Index at = 0; at < g.value.size(); at += n)
    kernels::map(n, out.raw() + at, op->slope_times, g.value.data() + at, x.data());
  sweep.emit(node, 0, std::move(out), g.labels);
}


template <class T>
struct BinaryOp {
  struct Partial {
    bool one;                                 // the slope is 1
    kernels::Block<T, T, T, T> slope_times;   // g * slope
    Tensor<T> (*slope_graph)(const Tensor<T>& g, const Tensor<T>& a, const Tensor<T>& b);
  };
  std::string_view name;
  bool linear;  // neither slope needs the operands
  kernels::Block<T, T, T> value;
  Partial partial[2];
  const NodeType<T>* type;
};

template <class T>
struct BinaryRule {
  static constexpr std::string_view name = "binary";
  static constexpr bool rows_together = true;
  static constexpr bool keeps_diagonal = false;
  const BinaryOp<T>* op;
  Saved<T> a, b;

  void vjp(Sweep<T>& sweep, Node<T>& node, Cotangent<T>& g);

 private:
  static Tensor<T> repeated(const Tensor<T>& x, const Shape& shape);
};

template <class T>
void BinaryRule<T>::vjp(Sweep<T>& sweep, Node<T>& node, Cotangent<T>& g) {
  for (int i = 0; i < 2; ++i) {
    const auto& partial = op->partial[i];
    if (!sweep.wants(node, i)) continue;
    if (partial.one) {
      sweep.emit(node, i, g.value, g.labels);
    } else if (sweep.recording()) {
      sweep.emit(node, i, partial.slope_graph(g.value, a.get(node), b.get(node)), g.labels);
    } else {
      const Tensor<T> x = repeated(a.get(node), node.shape), y = repeated(b.get(node), node.shape);
      Tensor<T> out = Tensor<T>::empty(g.value.shape());
      const Index n = node.shape.size();
      for (Index at = 0; at < g.value.size(); at += n)
        kernels::map(n, out.raw() + at, partial.slope_times, g.value.data() + at, x.data(), y.data());
      sweep.emit(node, i, std::move(out), g.labels);
    }
  }
}

template <class T>
Tensor<T> BinaryRule<T>::repeated(const Tensor<T>& x, const Shape& shape) {
  if (x.shape() == shape) return x.detach();
  Tensor<T> y = Tensor<T>::empty(shape);
  kernels::expand(shape, y.raw(), x.shape(), x.data());
  return y;
}


namespace detail {

template <class T>
constexpr NodeType<T> named_type(NodeType<T> type, std::string_view name, bool keeps_diagonal) {
  type.name = name;
  type.keeps_diagonal = keeps_diagonal;
  return type;
}
template <class Op>
concept Flat = requires { Op::flat; };

template <class T, class Op>
struct UnaryTable {
  static constexpr NodeType<T> type = named_type(OpNode<T, UnaryRule<T>, 1>::node_type, Op::name, true);
  static Tensor<T> graph(const Tensor<T>& g, const Tensor<T>& x) { return g * Op::slope(x); }
  static constexpr UnaryOp<T> make() {
    UnaryOp<T> made{Op::name, Op::from_output, &kernels::block_of<T, ValueOf<Op>, T>, nullptr, nullptr, nullptr};
    if constexpr (!Flat<Op>) {
      made.slope_times = &kernels::block_of<T, SlopeTimes<Op>, T, T>;
      made.slope_graph = &graph;
      made.type = &type;
    }
    return made;
  }
  static constexpr UnaryOp<T> op = make();
};

template <class T, class Op>
struct BinaryTable {
  static constexpr NodeType<T> type = named_type(OpNode<T, BinaryRule<T>, 2>::node_type, Op::name, Op::linear);
  template <int Argument>
  static Tensor<T> graph(const Tensor<T>& g, const Tensor<T>& a, const Tensor<T>& b) {
    return g * Op::template slope<Argument>(a, b);
  }
  template <int Argument>
  static constexpr typename BinaryOp<T>::Partial partial() {
    using V = pack<T>;
    using Slope = std::decay_t<decltype(Op::template slope<Argument>(std::declval<V>(), std::declval<V>()))>;
    if constexpr (std::is_same_v<Slope, One>) return {true, nullptr, nullptr};
    else return {false, &kernels::block_of<T, PartialTimes<Op, Argument>, T, T, T>, &graph<Argument>};
  }
  static constexpr BinaryOp<T> make() {
    BinaryOp<T> made{Op::name, Op::linear, &kernels::block_of<T, ValueOf<Op>, T, T>, {}, nullptr};
    if constexpr (!Flat<Op>) {
      made.partial[0] = partial<0>();
      made.partial[1] = partial<1>();
      made.type = &type;
    }
    return made;
  }
  static constexpr BinaryOp<T> op = make();
};

template <class T>
Tensor<T> apply_unary(const UnaryOp<T>& op, const Tensor<T>& x) {
  require(x, op.name);
  Tensor<T> y = Tensor<T>::empty(x.shape());
  kernels::map(y.size(), y.raw(), op.value, x.data());
  if (op.type && recorded(x))
    record_as(*op.type, y, UnaryRule<T>{&op, op.from_output ? Saved<T>::output(y) : Saved<T>(x)}, x);
  return y;
}
template <class T>
Tensor<T> apply_binary(const BinaryOp<T>& op, const Tensor<T>& a, const Tensor<T>& b) {
  require(a, op.name, "a");
  require(b, op.name, "b");
  Tensor<T> y = Tensor<T>::empty(broadcast(a.shape(), b.shape(), op.name));
  kernels::broadcast_map(y.shape(), y.raw(), op.value, a.shape(), a.data(), b.shape(), b.data());
  if (op.type && recorded(a, b))
    record_as(*op.type, y, op.linear ? BinaryRule<T>{&op, {}, {}} : BinaryRule<T>{&op, Saved<T>(a), Saved<T>(b)}, a, b);
  return y;
}

}  // namespace detail

/// The op applied to every element.
template <class Op, Differentiable T>
Tensor<T> apply(const Tensor<T>& x) {
  return detail::apply_unary(detail::UnaryTable<T, Op>::op, x);
}
/// The op applied to every pair of elements of the broadcast shape.
template <class Op, Differentiable T>
Tensor<T> apply(const Tensor<T>& a, const Tensor<T>& b) {
  return detail::apply_binary(detail::BinaryTable<T, Op>::op, a, b);
}

/// Base of the ops of one argument: makes the op a module without fields.
template <class Op>
struct Unary {
  template <class T>
  Tensor<T> operator()(const Tensor<T>& x) const {
    return apply<Op>(x);
  }
};

}  // namespace espalier::inline ESPALIER_ABI

#include "espalier/ops/arithmetic.hpp"
#include "espalier/ops/functions.hpp"
