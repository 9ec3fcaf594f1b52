#pragma once
// Layout: transpose, concat, stack, gather and its adjoint; slice and pad come from the engine. A slice of the first axis
// shares the buffer; everything else copies. All work for any scalar type; float and double are differentiable.

#include "espalier/autograd/engine_ops.hpp"

namespace espalier::inline ESPALIER_ABI {

/// Two axes exchanged.
template <class T>
struct Transpose {
  static constexpr std::string_view name = "transpose";
  static constexpr bool rows_together = true;
  static void samples(auto&& check) {
    check([](const auto& x) { return transpose(x[0], 0, 1); }, {Shape{3, 2}});
    check([](const auto& x) { return transpose(x[0], 0, -1); }, {Shape{2, 3, 5}});
    check([](const auto& x) { return transpose(x[0], 0, 1); }, {Shape{0, 5}});
  }
  int a, b;  // from the end
  void vjp(Sweep<T>& sweep, Node<T>& node, Cotangent<T>& g) { sweep.emit(node, 0, transpose(g.value, a, b), g.labels); }
};
/// x with axes a and b exchanged; the default is the matrix transpose.
template <class T>
Tensor<T> transpose(const Tensor<T>& x, int a = -1, int b = -2) {
  require(x, "transpose");
  a = x.shape().axis(a, "transpose");
  b = x.shape().axis(b, "transpose");
  if (a > b) std::swap(a, b);
  Shape shape = x.shape();
  std::swap(shape[a], shape[b]);
  Tensor<T> y = Tensor<T>::empty(shape);
  const Index outer = x.shape().span(0, a), m = x.shape()[a], middle = x.shape().span(a + 1, b), n = x.shape()[b],
              inner = x.shape().span(b + 1, x.rank());
  if (a != b && x.size() > 0) {  // [outer, m, middle, n, inner] -> [outer, n, middle, m, inner]
    for (Index o = 0; o < outer; ++o)
      for (Index j = 0; j < n; ++j)
        for (Index k = 0; k < middle; ++k)
          for (Index i = 0; i < m; ++i)
            std::copy_n(x.data() + (((o * m + i) * middle + k) * n + j) * inner, inner,
                        y.raw() + (((o * n + j) * middle + k) * m + i) * inner);
  } else {
    std::copy_n(x.data(), x.size(), y.raw());
  }
  if constexpr (Differentiable<T>)
    if (recorded(x)) record(y, Transpose<T>{a - x.rank(), b - x.rank()}, x);
  return y;
}

/// Tensors one after another along an axis.
template <class T>
struct Concat {
  static constexpr std::string_view name = "concat";
  static constexpr bool rows_together = true;
  static void samples(auto&& check) {
    check([](const auto& x) { return concat(x, 0); }, {Shape{2, 3}, Shape{1, 3}, Shape{0, 3}});
    check([](const auto& x) { return concat(x, -1); }, {Shape{2, 3}, Shape{2, 1}});
  }
  int axis;  // from the end
  void vjp(Sweep<T>& sweep, Node<T>& node, Cotangent<T>& g) {
    Index at = 0;
    for (int i = 0; i < node.inputs; ++i) {
      // An input that needs no gradient has no node to ask for its size.
      const Index n = sizes[static_cast<std::size_t>(i)];
      if (sweep.wants(node, i)) sweep.emit(node, i, slice(g.value, axis, at, at + n), g.labels);
      at += n;
    }
  }
  PoolVector<Index> sizes;
};
/// The tensors joined along `axis`; their other axes must be equal.
template <class T>
Tensor<T> concat(std::span<const Tensor<T>> xs, int axis) {
  if (xs.empty()) fail("concat: no tensors given");
  for (const Tensor<T>& x : xs) require(x, "concat");
  axis = xs[0].shape().axis(axis, "concat");
  Index total = 0;
  for (const Tensor<T>& x : xs) {
    if (x.rank() != xs[0].rank() || !(detail::with_axis(x.shape(), axis, 0) == detail::with_axis(xs[0].shape(), axis, 0)))
      fail("concat: tensor ", &x - xs.data(), " is ", x.shape(), ", tensor 0 is ", xs[0].shape(), "; all axes but ", axis,
           " must be equal");
    total += x.shape()[axis];
  }
  const detail::AxisView v(xs[0].shape(), axis);
  Tensor<T> y = Tensor<T>::empty(detail::with_axis(xs[0].shape(), axis, total));
  Index at = 0;
  bool record_it = false;
  for (const Tensor<T>& x : xs) {
    const Index run = x.shape()[axis] * v.inner;
    for (Index o = 0; o < v.outer; ++o) std::copy_n(x.data() + o * run, run, y.raw() + o * total * v.inner + at);
    at += run;
    record_it |= recorded(x);
  }
  if constexpr (Differentiable<T>)
    if (record_it) {
      Concat<T> rule{axis - xs[0].rank(), {}};
      for (const Tensor<T>& x : xs) rule.sizes.push_back(x.shape()[axis]);
      record_many(y, std::move(rule), xs);
    }
  return y;
}
template <class T>
Tensor<T> concat(const std::vector<Tensor<T>>& xs, int axis) {
  return concat(std::span<const Tensor<T>>(xs), axis);
}
/// concat({a, b}, 0)
template <class T>
Tensor<T> concat(std::initializer_list<Tensor<T>> xs, int axis) {
  return concat(std::span<const Tensor<T>>(xs.begin(), xs.size()), axis);
}
/// Tensors of equal shape along a new axis.
template <class T>
Tensor<T> stack(std::span<const Tensor<T>> xs, int axis) {
  if (xs.empty()) fail("stack: no tensors given");
  PoolVector<Tensor<T>> parts;
  for (const Tensor<T>& x : xs) {
    require(x, "stack");
    if (!(x.shape() == xs[0].shape()))
      fail("stack: tensor ", &x - xs.data(), " is ", x.shape(), ", tensor 0 is ", xs[0].shape(), "; they must be equal");
    const int rank = x.rank() + 1, at = axis < 0 ? axis + rank : axis;
    if (at < 0 || at >= rank)
      fail("stack: axis ", axis, " of a result of rank ", rank, " does not exist; the axis must be in [", -rank, ", ",
           rank - 1, "]");
    parts.push_back(reshape(x, x.shape().part(0, at) + Shape{1} + x.shape().part(at, x.rank())));
  }
  return concat(std::span<const Tensor<T>>(parts), axis);
}
template <class T>
Tensor<T> stack(const std::vector<Tensor<T>>& xs, int axis) {
  return stack(std::span<const Tensor<T>>(xs), axis);
}
template <class T>
Tensor<T> stack(std::initializer_list<Tensor<T>> xs, int axis) {
  return stack(std::span<const Tensor<T>>(xs.begin(), xs.size()), axis);
}

namespace detail {
inline void check_indices(const Tensor<Index>& indices, Index n, std::string_view op) {
  require(indices, op, "indices");
  if (indices.rank() != 1) fail(op, ": indices is ", indices.shape(), "; it must have one axis");
  for (Index i = 0; i < indices.size(); ++i)
    if (indices.data()[i] < 0 || indices.data()[i] >= n)
      fail(op, ": index ", indices.data()[i], " at position ", i, "; indices must lie in [0, ", n, ")");
}
}  // namespace detail

/// x at the given positions of an axis, in their order, repeats allowed (NumPy's take).
template <class T>
struct Gather {
  static constexpr std::string_view name = "gather";
  static constexpr bool rows_together = true;
  static void samples(auto&& check) {
    const Tensor<Index> at({4}, {2, 0, 2, 1});
    check([at](const auto& x) { return gather(x[0], at, 0); }, {Shape{3, 2}});
    check([at](const auto& x) { return gather(x[0], at, -1); }, {Shape{2, 5}});
  }
  Saved<Index> indices;
  int axis;  // from the end
  void vjp(Sweep<T>& sweep, Node<T>& node, Cotangent<T>& g) {
    sweep.emit(node, 0, scatter_add(g.value, indices.get(node), axis, node.in[0]->shape[axis]), g.labels);
  }
};
template <class T>
Tensor<T> gather(const Tensor<T>& x, const Tensor<Index>& indices, int axis = 0) {
  require(x, "gather");
  axis = x.shape().axis(axis, "gather");
  const detail::AxisView v(x.shape(), axis);
  detail::check_indices(indices, v.n, "gather");
  const Index n = indices.size();
  Tensor<T> y = Tensor<T>::empty(detail::with_axis(x.shape(), axis, n));
  for (Index o = 0; o < v.outer; ++o)
    for (Index i = 0; i < n; ++i)
      std::copy_n(x.data() + (o * v.n + indices.data()[i]) * v.inner, v.inner, y.raw() + (o * n + i) * v.inner);
  if constexpr (Differentiable<T>)
    if (recorded(x)) record(y, Gather<T>{Saved<Index>(indices), axis - x.rank()}, x);
  return y;
}

/// Adds slices of x into a tensor of zeros with `size` positions along an axis: the adjoint of gather.
template <class T>
struct ScatterAdd {
  static constexpr std::string_view name = "scatter_add";
  static constexpr bool rows_together = true;
  static void samples(auto&& check) {
    const Tensor<Index> at({3}, {4, 0, 4});
    check([at](const auto& x) { return scatter_add(x[0], at, 0, 5); }, {Shape{3, 2}});
  }
  Saved<Index> indices;
  int axis;  // from the end
  void vjp(Sweep<T>& sweep, Node<T>& node, Cotangent<T>& g) {
    sweep.emit(node, 0, gather(g.value, indices.get(node), axis), g.labels);
  }
};
template <Differentiable T>
Tensor<T> scatter_add(const Tensor<T>& x, const Tensor<Index>& indices, int axis, Index size) {
  require(x, "scatter_add");
  axis = x.shape().axis(axis, "scatter_add");
  if (size < 0) fail("scatter_add: size is ", size, "; it must not be negative");
  detail::check_indices(indices, size, "scatter_add");
  const detail::AxisView v(x.shape(), axis);
  if (indices.size() != v.n)
    fail("scatter_add: ", indices.size(), " indices for axis ", axis, " of ", x.shape(), "; one is needed for each position");
  Tensor<T> y = Tensor<T>::zeros(detail::with_axis(x.shape(), axis, size));
  for (Index o = 0; o < v.outer; ++o)
    for (Index i = 0; i < v.n; ++i)
      kernels::add_to(v.inner, y.raw() + (o * size + indices.data()[i]) * v.inner, x.data() + (o * v.n + i) * v.inner);
  if (recorded(x)) record(y, ScatterAdd<T>{Saved<Index>(indices), axis - x.rank()}, x);
  return y;
}

}  // namespace espalier::inline ESPALIER_ABI
