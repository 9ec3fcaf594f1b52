#pragma once
// Reductions: sum, mean, max, logsumexp over axes; softmax and log_softmax along one.

#include "espalier/ops/elementwise.hpp"
#include "espalier/ops/layout.hpp"
#include "espalier/tensor/kernels/softmax.hpp"

namespace espalier::inline ESPALIER_ABI {

struct ReduceOptions {
  bool keep_axes = false;  // reduced axes stay, with size 1
};

namespace detail {

/// x's shape with the given axes at size 1, and without them.
struct ReducedShape {
  Shape kept, dropped;
  ReducedShape(const Shape& shape, std::initializer_list<int> axes, std::string_view op) : kept(shape) {
    bool reduced[Shape::max_rank] = {};
    for (int a : axes) {
      const int axis = shape.axis(a, op);
      if (reduced[axis]) fail(op, ": axis ", a, " of ", shape, " is named twice");
      reduced[axis] = true;
      kept[axis] = 1;
    }
    for (int i = 0; i < shape.rank(); ++i)
      if (!reduced[i]) dropped.push_back(shape[i]);
  }
};

/// Applies f, which works along the last axis, along any axis.
template <class T, class F>
Tensor<T> along_axis(const Tensor<T>& x, int axis, const F& f) {
  if (axis == x.rank() - 1) return f(x);
  return transpose(f(transpose(x, axis, -1)), axis, -1);
}

}  // namespace detail

/// The sum over all elements, [].
template <Differentiable T>
Tensor<T> sum(const Tensor<T>& x) {
  require(x, "sum");
  return sum_to(x, 0, {});
}
/// The sum over the given axes.
template <Differentiable T>
Tensor<T> sum(const Tensor<T>& x, std::initializer_list<int> axes, ReduceOptions options = {}) {
  require(x, "sum");
  const detail::ReducedShape shape(x.shape(), axes, "sum");
  const Tensor<T> y = sum_to(x, 0, shape.kept);
  return options.keep_axes ? y : reshape(y, shape.dropped);
}
/// The mean over all elements; NaN for none, as in NumPy.
template <Differentiable T>
Tensor<T> mean(const Tensor<T>& x) {
  require(x, "mean");
  return sum(x) / static_cast<T>(x.size());
}
/// The mean over the given axes; NaN where they hold no element.
template <Differentiable T>
Tensor<T> mean(const Tensor<T>& x, std::initializer_list<int> axes, ReduceOptions options = {}) {
  require(x, "mean");
  const detail::ReducedShape shape(x.shape(), axes, "mean");
  Index count = 1;
  for (int axis : axes) count *= x.shape()[axis];
  return reshape(sum_to(x, 0, shape.kept), options.keep_axes ? shape.kept : shape.dropped) / static_cast<T>(count);
}

/// The largest element along an axis; the gradient goes to the first of them.
template <class T>
struct MaxAlong {
  static constexpr std::string_view name = "max";
  static constexpr bool rows_together = true;
  static void samples(auto&& check) {
    check([](const auto& x) { return max(x[0], -1); }, {Shape{3, 5}});
    check([](const auto& x) { return max(x[0], 0); }, {Shape{3, 1, 2}});
  }
  Tensor<bool> chosen;  // [x]
  int axis;             // from the end

  void vjp(Sweep<T>& sweep, Node<T>& node, Cotangent<T>& g) {
    Shape kept = node.in[0]->shape;
    kept[axis] = 1;
    const Shape rows = g.value.shape().part(0, g.lead());
    sweep.emit(node, 0, where(chosen, reshape(g.value, rows + kept), Tensor<T>::scalar(0)), g.labels);
  }
};
/// The largest elements along `axis`; its size must not be 0. NaN where there is one.
template <Differentiable T>
Tensor<T> max(const Tensor<T>& x, int axis, ReduceOptions options = {}) {
  require(x, "max");
  const detail::ReducedShape shape(x.shape(), {axis}, "max");
  axis = x.shape().axis(axis, "max");
  if (x.shape()[axis] == 0) fail("max: axis ", axis, " of ", x.shape(), " is empty; it needs at least one element");
  const Index n = x.shape()[axis], inner = x.shape().span(axis + 1, x.rank()), outer = x.shape().span(0, axis);
  Tensor<T> y = Tensor<T>::empty(options.keep_axes ? shape.kept : shape.dropped);
  Tensor<bool> chosen = Tensor<bool>::zeros(x.shape());
  for (Index o = 0; o < outer; ++o)
    for (Index i = 0; i < inner; ++i) {
      const T* p = x.data() + o * n * inner + i;
      Index best = 0;
      for (Index k = 1; k < n && p[best * inner] == p[best * inner]; ++k)
        if (!(p[k * inner] <= p[best * inner])) best = k;
      y.raw()[o * inner + i] = p[best * inner];
      chosen.raw()[(o * n + best) * inner + i] = true;
    }
  if (recorded(x)) record(y, MaxAlong<T>{chosen, axis - x.rank()}, x);
  return y;
}

/// The position of the largest element along the last axis, the first of equals or the first NaN: class decisions.
template <class T>
Tensor<Index> argmax(const Tensor<T>& x) {
  require(x, "argmax");
  if (x.rank() == 0 || x.shape()[-1] == 0) fail("argmax: x is ", x.shape(), "; its last axis must not be empty");
  const Index n = x.shape()[-1];
  Tensor<Index> y = Tensor<Index>::empty(x.shape().part(0, x.rank() - 1));
  for (Index i = 0; i < y.size(); ++i) {
    const T* row = x.data() + i * n;
    Index best = 0;
    for (Index k = 1; k < n && row[best] == row[best]; ++k)
      if (!(row[k] <= row[best])) best = k;
    y.raw()[i] = best;
  }
  return y;
}

namespace detail {
/// What `kernel(m, n, g, y, dx)` makes of every row of the cotangent, of each task in turn, and of the result y [..., n].
template <class T>
Tensor<T> backward_of_rows(const Tensor<T>& g, const Tensor<T>& y, void (*kernel)(Index, Index, const T*, const T*, T*)) {
  const Index n = y.shape()[-1];
  Tensor<T> dx = Tensor<T>::empty(g.shape());
  for (Index at = 0; at < dx.size(); at += y.size()) kernel(y.size() / n, n, g.data() + at, y.data(), dx.raw() + at);
  return dx;
}
}  // namespace detail

/// e^x / sum e^x along the last axis.
template <class T>
struct Softmax {
  static constexpr std::string_view name = "softmax";
  static constexpr bool rows_together = true;
  static void samples(auto&& check) {
    check([](const auto& x) { return softmax(x[0], -1); }, {Shape{3, 5}});
    check([](const auto& x) { return softmax(x[0], 0); }, {Shape{3, 2}});
    check([](const auto& x) { return softmax(x[0], -1); }, {Shape{2, 1}});
  }
  Saved<T> y;

  void vjp(Sweep<T>& sweep, Node<T>& node, Cotangent<T>& g) {
    if (sweep.recording()) {
      const Tensor<T> p = y.get_output(node);
      return sweep.emit(node, 0, p * (g.value - sum(g.value * p, {-1}, {.keep_axes = true})), g.labels);
    }
    sweep.emit(node, 0, detail::backward_of_rows(g.value, y.get(node), kernels::softmax_backward<T>), g.labels);
  }
};
/// Softmax along `axis`. A row of -inf alone gives zeros.
template <Differentiable T>
Tensor<T> softmax(const Tensor<T>& x, int axis) {
  require(x, "softmax");
  return detail::along_axis(x, x.shape().axis(axis, "softmax"), [](const Tensor<T>& rows) {
    Tensor<T> y = Tensor<T>::empty(rows.shape());
    const Index n = rows.shape()[-1];
    if (rows.size() > 0) kernels::softmax(rows.size() / n, n, rows.data(), y.raw());
    if (recorded(rows)) record(y, Softmax<T>{Saved<T>::output(y)}, rows);
    return y;
  });
}

/// log softmax(x) along the last axis.
template <class T>
struct LogSoftmax {
  static constexpr std::string_view name = "log_softmax";
  static constexpr bool rows_together = true;
  static void samples(auto&& check) {
    check([](const auto& x) { return log_softmax(x[0], -1); }, {Shape{3, 5}});
    check([](const auto& x) { return log_softmax(x[0], 0); }, {Shape{3, 2}});
  }
  Saved<T> y;

  void vjp(Sweep<T>& sweep, Node<T>& node, Cotangent<T>& g) {
    if (sweep.recording())
      return sweep.emit(node, 0, g.value - exp(y.get_output(node)) * sum(g.value, {-1}, {.keep_axes = true}), g.labels);
    sweep.emit(node, 0, detail::backward_of_rows(g.value, y.get(node), kernels::log_softmax_backward<T>), g.labels);
  }
};
template <Differentiable T>
Tensor<T> log_softmax(const Tensor<T>& x, int axis) {
  require(x, "log_softmax");
  return detail::along_axis(x, x.shape().axis(axis, "log_softmax"), [](const Tensor<T>& rows) {
    Tensor<T> y = Tensor<T>::empty(rows.shape());
    const Index n = rows.shape()[-1];
    if (rows.size() > 0) kernels::log_softmax(rows.size() / n, n, rows.data(), y.raw());
    if (recorded(rows)) record(y, LogSoftmax<T>{Saved<T>::output(y)}, rows);
    return y;
  });
}

/// log sum e^x along the last axis.
template <class T>
struct LogSumExp {
  static constexpr std::string_view name = "logsumexp";
  static constexpr bool rows_together = true;
  static void samples(auto&& check) {
    check([](const auto& x) { return logsumexp(x[0], -1); }, {Shape{3, 5}});
    check([](const auto& x) { return logsumexp(x[0], 0); }, {Shape{3, 2}});
  }
  Saved<T> saved;

  void vjp(Sweep<T>& sweep, Node<T>& node, Cotangent<T>& g) {
    const Tensor<T> p = softmax(saved.get(node), -1);
    sweep.emit(node, 0, reshape(g.value, g.value.shape() + Shape{1}) * p, g.labels);
  }
};
/// log(sum e^x) along `axis`; -inf for a row of -inf alone.
template <Differentiable T>
Tensor<T> logsumexp(const Tensor<T>& x, int axis) {
  require(x, "logsumexp");
  axis = x.shape().axis(axis, "logsumexp");
  if (axis != x.rank() - 1) {  // the axis to reduce goes last, the others keep their order
    Tensor<T> moved = x;
    for (int i = axis; i + 1 < x.rank(); ++i) moved = transpose(moved, i, i + 1);
    return logsumexp(moved, -1);
  }
  Tensor<T> y = Tensor<T>::empty(x.shape().part(0, x.rank() - 1));
  kernels::logsumexp(y.size(), x.shape()[-1], x.data(), y.raw());
  if (recorded(x)) record(y, LogSumExp<T>{Saved<T>(x)}, x);
  return y;
}

}  // namespace espalier::inline ESPALIER_ABI
