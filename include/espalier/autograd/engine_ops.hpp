#pragma once
// The operations the engine itself is built on: reshape, expand_to, sum_to, add_same, slice and pad. Recorded like any other,
// so a backward pass made of them can be differentiated again.
//
// An operation with structure is one struct: its name, sample calls for the tests, what its rule saves, and the rule. A rule
// that says `rows_together` counts axes from the end and takes cotangents with a leading task axis.

#include "espalier/autograd/sweep.hpp"

namespace espalier::inline ESPALIER_ABI {

template <class T>
Tensor<T> expand_to(const Tensor<T>& x, const Shape& shape);
template <class T>
Tensor<T> reshape(const Tensor<T>& x, const Shape& shape);

template <class T>
Tensor<T> pad(const Tensor<T>& x, int axis, Index before, Index after);

/// Throws when a tensor argument is undefined.
template <class T>
void require(const Tensor<T>& x, std::string_view op, std::string_view argument = "x") {
  if (!x.defined()) fail(op, ": ", argument, " is an undefined tensor; give it values first");
}

/// The same values under another shape; shares the buffer.
template <class T>
struct Reshape {
  static constexpr std::string_view name = "reshape";
  static constexpr bool rows_together = true;
  static void samples(auto&& check) {
    check([](const auto& x) { return reshape(x[0], {3, 4}); }, {Shape{2, 6}});
    check([](const auto& x) { return reshape(x[0], {0, 5}); }, {Shape{5, 0, 2}});
  }
  void vjp(Sweep<T>& sweep, Node<T>& node, Cotangent<T>& g) {
    sweep.emit(node, 0, reshape(g.value, g.value.shape().part(0, g.lead()) + node.in[0]->shape), g.labels);
  }
};
/// x under another shape of equal size. Shares the buffer. Throws Error when the sizes differ.
template <class T>
Tensor<T> reshape(const Tensor<T>& x, const Shape& shape) {
  require(x, "reshape");
  if (shape.size() != x.size())
    fail("reshape: x is ", x.shape(), " (", x.size(), " elements), shape is ", shape, " (", shape.size(), "); they must be equal");
  Tensor<T> y = x.view(shape);
  if constexpr (Differentiable<T>)
    if (recorded(x)) record(y, Reshape<T>{}, x);
  return y;
}
/// One of the sizes may be -1: it is worked out from the others.
template <class T>
Tensor<T> reshape(const Tensor<T>& x, std::initializer_list<Index> sizes) {
  require(x, "reshape");
  Shape shape;
  int unknown = -1;
  for (Index size : sizes) {
    if (size == -1 && unknown >= 0) fail("reshape: two sizes are -1; at most one can be worked out");
    if (size == -1) unknown = shape.rank();
    shape.push_back(size == -1 ? 1 : size);
  }
  shape.check_size();
  if (unknown >= 0) {
    const Index known = shape.size();
    if (known == 0 || x.size() % known != 0)
      fail("reshape: x is ", x.shape(), " (", x.size(), " elements), the sizes given hold ", known,
           "; the one that is -1 cannot be worked out");
    shape[unknown] = x.size() / known;
  }
  return reshape(x, shape);
}

/// x repeated along missing axes and axes of size 1 (NumPy's broadcast_to).
template <class T>
struct ExpandTo {
  static constexpr std::string_view name = "expand_to";
  static constexpr bool rows_together = true;
  static void samples(auto&& check) {
    check([](const auto& x) { return expand_to(x[0], {2, 3, 4}); }, {Shape{3, 1}});
    check([](const auto& x) { return expand_to(x[0], {5}); }, {Shape{}});
  }
  void vjp(Sweep<T>& sweep, Node<T>& node, Cotangent<T>& g) {  // the engine sums the repeats
    sweep.emit(node, 0, std::move(g.value), g.labels);
  }
};
/// Throws Error when x's shape does not repeat to `shape`.
template <class T>
Tensor<T> expand_to(const Tensor<T>& x, const Shape& shape) {
  require(x, "expand_to");
  if (!repeats_to(x.shape(), shape))
    fail("expand_to: x is ", x.shape(), ", shape is ", shape, "; each axis of x, from the last, must be 1 or equal to the shape's");
  if (x.shape() == shape) return x;
  Tensor<T> y = Tensor<T>::empty(shape);
  kernels::expand(shape, y.raw(), x.shape(), x.data());
  if constexpr (Differentiable<T>)
    if (recorded(x)) record(y, ExpandTo<T>{}, x);
  return y;
}

/// x summed over the axes that broadcasting `shape` to x's shape repeats; the first `lead` axes of x stay.
template <class T>
struct SumTo {
  static constexpr std::string_view name = "sum_to";
  static constexpr bool rows_together = true;
  static void samples(auto&& check) {
    check([](const auto& x) { return sum_to(x[0], 0, {3, 1}); }, {Shape{2, 3, 4}});
    check([](const auto& x) { return sum_to(x[0], 1, {4}); }, {Shape{2, 3, 4}});
    check([](const auto& x) { return sum_to(x[0], 0, {}); }, {Shape{7}});
  }
  Shape aligned;  // the sum's shape with an axis of size 1 for every axis summed away

  void vjp(Sweep<T>& sweep, Node<T>& node, Cotangent<T>& g) {
    const Shape rows = g.value.shape().part(0, g.lead());
    sweep.emit(node, 0, expand_to(reshape(g.value, rows + aligned), rows + node.in[0]->shape), g.labels);
  }
};
/// Throws Error when `shape` does not repeat to x's shape without its first `lead` axes.
template <class T>
Tensor<T> sum_to(const Tensor<T>& x, int lead, const Shape& shape) {
  require(x, "sum_to");
  const Shape head = x.shape().part(0, lead), target = head + shape;
  if (x.shape() == target) return x;
  if (!repeats_to(shape, x.shape().part(lead, x.rank())))
    fail("sum_to: x is ", x.shape(), ", shape is ", shape, "; each axis of the shape, from the last, must be 1 or equal to x's");
  Shape aligned = head;
  for (int i = target.rank(); i < x.rank(); ++i) aligned.push_back(1);
  aligned = aligned + shape;
  if (x.size() == target.size() && x.size() != 0) return reshape(x, target);
  Tensor<T> y = Tensor<T>::zeros(target);
  kernels::add_sum_to(x.shape(), x.data(), aligned, y.raw());
  if (recorded(x)) record(y, SumTo<T>{aligned}, x);
  return y;
}

/// a + b of equal shape. Unchecked: it is the engine's own.
template <class T>
struct AddSame {
  static constexpr std::string_view name = "add";
  static constexpr bool rows_together = true;
  static void samples(auto&& check) {
    check([](const auto& x) { return add_same(x[0], x[1]); }, {Shape{2, 3}, Shape{2, 3}});
  }
  void vjp(Sweep<T>& sweep, Node<T>& node, Cotangent<T>& g) {
    sweep.emit(node, 0, g.value, g.labels);
    sweep.emit(node, 1, std::move(g.value), g.labels);
  }
};
template <class T>
Tensor<T> add_same(const Tensor<T>& a, const Tensor<T>& b) {
  Tensor<T> y = Tensor<T>::empty(a.shape());
  kernels::map(y.size(), y.raw(), [](const auto& p, const auto& q) __attribute__((always_inline)) { return p + q; }, a.data(),
               b.data());
  if (recorded(a, b)) record(y, AddSame<T>{}, a, b);
  return y;
}

namespace detail {
/// A tensor seen as [outer, n, inner] around one axis.
struct AxisView {
  Index outer, n, inner;
  AxisView(const Shape& shape, int axis)
      : outer(shape.span(0, axis < 0 ? axis + shape.rank() : axis)),
        n(shape[axis]),
        inner(shape.span((axis < 0 ? axis + shape.rank() : axis) + 1, shape.rank())) {}
};
inline Shape with_axis(Shape shape, int axis, Index size) {
  shape[axis] = size;
  return shape;
}
}  // namespace detail

/// x with `before` and `after` zeros added along an axis.
template <class T>
struct Pad {
  static constexpr std::string_view name = "pad";
  static constexpr bool rows_together = true;
  static void samples(auto&& check) {
    check([](const auto& x) { return pad(x[0], 0, 2, 1); }, {Shape{3, 2}});
    check([](const auto& x) { return pad(x[0], -1, 0, 3); }, {Shape{2, 0}});
  }
  int axis;  // from the end
  Index before;
  void vjp(Sweep<T>& sweep, Node<T>& node, Cotangent<T>& g) {
    sweep.emit(node, 0, slice(g.value, axis, before, before + node.in[0]->shape[axis]), g.labels);
  }
};
template <class T>
Tensor<T> pad(const Tensor<T>& x, int axis, Index before, Index after) {
  require(x, "pad");
  axis = x.shape().axis(axis, "pad");
  if (before < 0 || after < 0) fail("pad: before is ", before, ", after is ", after, "; neither may be negative");
  const detail::AxisView v(x.shape(), axis);
  const Index n = before + v.n + after;
  Tensor<T> y = Tensor<T>::zeros(detail::with_axis(x.shape(), axis, n));
  for (Index o = 0; o < v.outer; ++o)
    std::copy_n(x.data() + o * v.n * v.inner, v.n * v.inner, y.raw() + (o * n + before) * v.inner);
  if constexpr (Differentiable<T>)
    if (recorded(x)) record(y, Pad<T>{axis - x.rank(), before}, x);
  return y;
}

/// Positions [begin, end) of an axis.
template <class T>
struct Slice {
  static constexpr std::string_view name = "slice";
  static constexpr bool rows_together = true;
  static void samples(auto&& check) {
    check([](const auto& x) { return slice(x[0], 0, 1, 3); }, {Shape{5, 2}});
    check([](const auto& x) { return slice(x[0], -1, 0, 1); }, {Shape{2, 3, 3}});
    check([](const auto& x) { return slice(x[0], 0, 2, 2); }, {Shape{3}});
  }
  int axis;  // from the end
  Index begin, end;
  void vjp(Sweep<T>& sweep, Node<T>& node, Cotangent<T>& g) {
    sweep.emit(node, 0, pad(g.value, axis, begin, node.in[0]->shape[axis] - end), g.labels);
  }
};
/// x at positions [begin, end) of `axis`. Shares the buffer where the axes before it have size 1.
template <class T>
Tensor<T> slice(const Tensor<T>& x, int axis, Index begin, Index end) {
  require(x, "slice");
  axis = x.shape().axis(axis, "slice");
  const detail::AxisView v(x.shape(), axis);
  if (begin < 0 || end < begin || end > v.n)
    fail("slice: [", begin, ", ", end, ") of axis ", axis, " of ", x.shape(), "; it must lie in [0, ", v.n, "]");
  const Shape shape = detail::with_axis(x.shape(), axis, end - begin);
  Tensor<T> y;
  if (v.outer == 1) {
    y = x.view(shape, begin * v.inner);
  } else {
    y = Tensor<T>::empty(shape);
    for (Index o = 0; o < v.outer; ++o)
      std::copy_n(x.data() + (o * v.n + begin) * v.inner, (end - begin) * v.inner, y.raw() + o * (end - begin) * v.inner);
  }
  if constexpr (Differentiable<T>)
    if (recorded(x)) record(y, Slice<T>{axis - x.rank(), begin, end}, x);
  return y;
}

}  // namespace espalier::inline ESPALIER_ABI
