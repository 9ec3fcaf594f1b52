#pragma once
// Derivatives as functions: backward, grad, vjp, jacobian, gramian, hvp.

#include "espalier/autograd/engine_ops.hpp"

namespace espalier::inline ESPALIER_ABI {

struct BackwardOptions {
  bool retain_graph = false;  // keep the graph for a second backward pass
};

namespace detail {
template <class T>
void require_recorded(const Tensor<T>& y, std::string_view op) {
  require(y, op, "y");
  if (!y.node())
    fail(op, ": y ", y.shape(), " does not depend on any parameter; it was computed from plain tensors or within NoGrad");
}
template <class T>
void require_recorded(const std::vector<Tensor<T>>& xs, std::string_view op) {
  for (std::size_t i = 0; i < xs.size(); ++i) {
    if (!xs[i].defined()) fail(op, ": x ", i, " is an undefined tensor; give it values first");
    if (!xs[i].node())
      fail(op, ": x ", i, ' ', xs[i].shape(), " is not recorded; make it a parameter before y is computed from it");
  }
}
template <class T>
Tensor<T> unit_cotangent(const Tensor<T>& y, std::string_view op) {
  require_recorded(y, op);
  if (y.size() != 1) fail(op, ": y is ", y.shape(), "; it must have one element (sum it, or give the cotangent)");
  return Tensor<T>::ones(y.shape());
}
template <class T>
void require_cotangent(const Tensor<T>& y, const Tensor<T>& cotangent, std::string_view op) {
  require_recorded(y, op);
  require(cotangent, op, "the cotangent");
  if (!(cotangent.shape() == y.shape()))
    fail(op, ": y is ", y.shape(), ", the cotangent is ", cotangent.shape(), "; they must be equal");
}
}  // namespace detail

/// Adds the gradient of `y` to every parameter it depends on. `cotangent` (1 for a scalar y) is d(loss)/dy.
/// Throws Error when y is not a scalar and has no cotangent, when nothing was recorded, when the graph was used up by an
/// earlier backward pass, or when a value it needs was changed in place since.
template <class T>
void backward(const Tensor<T>& y, const Tensor<T>& cotangent, BackwardOptions options = {}) {
  detail::require_cotangent(y, cotangent, "backward");
  Sweep<T> sweep({.retain = options.retain_graph});
  sweep.start(y, cotangent);
  sweep.run();
}
template <class T>
void backward(const Tensor<T>& y, BackwardOptions options = {}) {
  backward(y, detail::unit_cotangent(y, "backward"), options);
}

struct GradOptions {
  bool create_graph = false;  // record the backward pass, so that the gradients can be differentiated
  bool retain_graph = false;
};

namespace detail {
/// What the captured nodes of a sweep received: zeros where nothing did.
template <class T>
std::vector<Tensor<T>> take_all(Sweep<T>& sweep, const std::vector<Tensor<T>>& xs) {
  std::vector<Tensor<T>> out;
  for (const Tensor<T>& x : xs) {
    out.push_back(sweep.take(x));
    if (!out.back().defined()) out.back() = Tensor<T>::zeros(x.shape());
  }
  return out;
}
template <class T>
void capture_all(Sweep<T>& sweep, const std::vector<Tensor<T>>& xs) {
  for (const Tensor<T>& x : xs)
    if (!x.node()->captured) sweep.capture(x);
}
template <class T>
std::vector<Tensor<T>> vjp(const Tensor<T>& y, const std::vector<Tensor<T>>& xs, const Tensor<T>& cotangent, GradOptions options,
                           std::string_view op) {
  require_cotangent(y, cotangent, op);
  require_recorded(xs, op);
  Sweep<T> sweep({.record = options.create_graph, .retain = options.retain_graph, .leaves = false});
  capture_all(sweep, xs);
  sweep.start(y, cotangent);
  sweep.run();
  return take_all(sweep, xs);
}
}  // namespace detail

/// The product of `cotangent` (shape of y) with the derivative of y in each of `xs`: one tensor of each x's shape, zeros where
/// y does not depend on x. Parameters' own gradients stay as they are. xs are any recorded tensors.
template <class T>
std::vector<Tensor<T>> vjp(const Tensor<T>& y, const std::vector<Tensor<T>>& xs, const Tensor<T>& cotangent,
                           GradOptions options = {}) {
  return detail::vjp(y, xs, cotangent, options, "vjp");
}

/// The gradients of a scalar y in `xs`.
template <class T>
std::vector<Tensor<T>> grad(const Tensor<T>& y, const std::vector<Tensor<T>>& xs, GradOptions options = {}) {
  return detail::vjp(y, xs, detail::unit_cotangent(y, "grad"), options, "grad");
}

/// The derivative of y in each of `xs`, [y's shape..., x's shape...], in one sweep of y.size() rows. The graph is kept.
template <class T>
std::vector<Tensor<T>> jacobian(const Tensor<T>& y, const std::vector<Tensor<T>>& xs) {
  detail::require_recorded(y, "jacobian");
  detail::require_recorded(xs, "jacobian");
  const Index n = y.size();
  std::vector<Tensor<T>> out;
  if (n == 0) {
    for (const Tensor<T>& x : xs) out.push_back(Tensor<T>::zeros(y.shape() + x.shape()));
    return out;
  }
  Labels rows(n, false);
  Tensor<T> identity = Tensor<T>::zeros(Shape{n} + y.shape());
  for (Index i = 0; i < n; ++i) {
    rows.begin()[i] = {i, 0, 0};
    identity.raw()[i * n + i] = T(1);
  }
  Sweep<T> sweep({.retain = true, .separate = true, .leaves = false});
  detail::capture_all(sweep, xs);
  sweep.start(y, identity, rows);
  sweep.run();
  for (const Tensor<T>& x : xs) {
    const Tensor<T> rows_of_x = sweep.take(x);
    out.push_back(rows_of_x.defined() ? rows_of_x.view(y.shape() + x.shape()) : Tensor<T>::zeros(y.shape() + x.shape()));
  }
  return out;
}

/// The Gramian J J^T of the derivative of y in all of `xs` together: [n, n] with n = y.size(), summed in double.
template <class T>
Tensor<double> gramian(const Tensor<T>& y, const std::vector<Tensor<T>>& xs) {
  detail::require_recorded(y, "gramian");
  detail::require_recorded(xs, "gramian");
  const std::vector<Tensor<T>> rows = jacobian(y, xs);
  const Index n = y.size();
  Tensor<double> g = Tensor<double>::zeros({n, n});
  for (std::size_t k = 0; k < xs.size(); ++k) {
    const Index width = xs[k].size();
    for (Index i = 0; i < n; ++i)
      for (Index j = 0; j <= i; ++j)
        g.raw()[i * n + j] += kernels::dot(width, rows[k].data() + i * width, rows[k].data() + j * width);
  }
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < i; ++j) g.raw()[j * n + i] = g.raw()[i * n + j];
  return g;
}

/// The Hessian of a scalar y in `xs`, times `directions` (one of each x's shape): the gradient of <grad y, directions>.
template <class T>
std::vector<Tensor<T>> hvp(const Tensor<T>& y, const std::vector<Tensor<T>>& xs, const std::vector<Tensor<T>>& directions) {
  if (xs.size() != directions.size())
    fail("hvp: ", xs.size(), " tensors and ", directions.size(), " directions given; they must be as many");
  for (std::size_t i = 0; i < xs.size(); ++i) {
    if (!directions[i].defined()) fail("hvp: direction ", i, " is an undefined tensor; give it values first");
    if (!(directions[i].shape() == xs[i].shape()))
      fail("hvp: x ", i, " is ", xs[i].shape(), ", its direction is ", directions[i].shape(), "; they must be equal");
  }
  const std::vector<Tensor<T>> gradients = detail::vjp(y, xs, detail::unit_cotangent(y, "hvp"), {.create_graph = true}, "hvp");
  Sweep<T> sweep({.retain = true, .leaves = false});
  detail::capture_all(sweep, xs);
  for (std::size_t i = 0; i < xs.size(); ++i) sweep.start(gradients[i], directions[i]);
  sweep.run();
  return detail::take_all(sweep, xs);
}

}  // namespace espalier::inline ESPALIER_ABI
