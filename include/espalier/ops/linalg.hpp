#pragma once
// Products: matmul over batches, and linear, the layer's product with bias and activation in one.

#include "espalier/ops/reduce.hpp"
#include "espalier/tensor/kernels/gemm.hpp"

namespace espalier::inline ESPALIER_ABI {

namespace detail {

/// A matrix operand in its last two axes, transposed or not.
template <class T>
kernels::Strided<T> operand(const T* data, Index columns, bool transposed) {
  return transposed ? kernels::Strided<T>{data, 1, columns} : kernels::Strided<T>{data, columns, 1};
}

template <class T>
Tensor<T> product(const Tensor<T>& a, bool transpose_a, const Tensor<T>& b, bool transpose_b);

/// Where element i of a broadcast lies in each of its two operands.
struct BroadcastIndex {
  kernels::detail::BroadcastAxes axes;
  BroadcastIndex(const Shape& out, const Shape& a, const Shape& b) : axes(out, a, b) {}
  std::pair<Index, Index> operator()(Index i) const {
    Index a = 0, b = 0;
    for (int k = 0; k < axes.rank; ++k) {
      a += i % axes.size[k] * axes.a[k];
      b += i % axes.size[k] * axes.b[k];
      i /= axes.size[k];
    }
    return {a, b};
  }
};

}  // namespace detail

/// The product of the last two axes, the axes before them broadcast.
template <class T>
struct Matmul {
  static constexpr std::string_view name = "matmul";
  static constexpr bool rows_together = true;
  static void samples(auto&& check) {
    check([](const auto& x) { return matmul(x[0], x[1]); }, {Shape{4, 3}, Shape{3, 5}});
    check([](const auto& x) { return matmul(x[0], x[1]); }, {Shape{2, 4, 3}, Shape{3, 5}});
    check([](const auto& x) { return matmul(x[0], x[1]); }, {Shape{4, 3}, Shape{2, 3, 1}});
    check([](const auto& x) { return matmul(x[0], x[1]); }, {Shape{2, 4, 3}, Shape{2, 3, 5}});
    check([](const auto& x) { return matmul(x[0], x[1]); }, {Shape{2, 1, 4, 3}, Shape{3, 3, 5}});
    check([](const auto& x) { return matmul(x[0], x[1]); }, {Shape{4, 0}, Shape{0, 5}});
    check([](const auto& x) { return matmul(x[0], x[1]); }, {Shape{0, 3}, Shape{3, 5}});
  }
  Saved<T> a, b;
  bool transpose_a, transpose_b;

  void vjp(Sweep<T>& sweep, Node<T>& node, Cotangent<T>& g) {
    const Tensor<T>&x = a.get(node), &y = b.get(node);
    if (sweep.wants(node, 0)) {
      sweep.emit(node, 0,
                 transpose_a ? detail::product(y, transpose_b, g.value, true) : detail::product(g.value, false, y, !transpose_b),
                 g.labels);
    }
    if (!sweep.wants(node, 1)) return;
    if (y.rank() == 2 && x.rank() > 2 && !transpose_a) {  // x's batch joins the summed axis: no product to sum up afterwards
      const Shape rows = g.value.shape().part(0, g.lead());
      const Index inner = x.shape()[-1], width = g.value.shape()[-1], m = x.shape().span(0, x.rank() - 1);
      const Tensor<T> flat = reshape(x, {m, inner}), flat_g = reshape(g.value, rows + Shape{m, width});
      sweep.emit(node, 1,
                 transpose_b ? detail::product(flat_g, true, flat, false) : detail::product(flat, true, flat_g, false), g.labels);
    } else {
      sweep.emit(node, 1,
                 transpose_b ? detail::product(g.value, true, x, transpose_a) : detail::product(x, !transpose_a, g.value, false),
                 g.labels);
    }
  }
};

namespace detail {

/// a b over the last two axes (each possibly transposed), the axes before them broadcast.
template <class T>
Tensor<T> product(const Tensor<T>& a, bool transpose_a, const Tensor<T>& b, bool transpose_b) {
  const Index m = a.shape()[transpose_a ? -1 : -2], k = a.shape()[transpose_a ? -2 : -1];
  const Index n = b.shape()[transpose_b ? -2 : -1];
  const Shape batch_a = a.shape().part(0, a.rank() - 2), batch_b = b.shape().part(0, b.rank() - 2);
  const Shape batch = broadcast(batch_a, batch_b, "matmul");
  Tensor<T> y = Tensor<T>::empty(batch + Shape{m, n});
  const Index columns_a = a.shape()[-1], columns_b = b.shape()[-1];
  if (batch_b.size() == 1 && !transpose_a) {  // one right operand: the batch is more rows
    kernels::gemm<T>(batch.size() * m, n, k, operand(a.data(), columns_a, false), operand(b.data(), columns_b, transpose_b),
                     y.raw(), n);
  } else {
    const BroadcastIndex at(batch, batch_a, batch_b);
    for (Index i = 0, count = batch.size(); i < count; ++i) {
      const auto [ia, ib] = at(i);
      kernels::gemm<T>(m, n, k, operand(a.data() + ia * m * k, columns_a, transpose_a),
                       operand(b.data() + ib * k * n, columns_b, transpose_b), y.raw() + i * m * n, n);
    }
  }
  if (recorded(a, b)) record(y, Matmul<T>{Saved<T>(a), Saved<T>(b), transpose_a, transpose_b}, a, b);
  return y;
}

}  // namespace detail

/// a [..., m, k] times b [..., k, n]; the axes before the last two are broadcast.
template <Differentiable T>
Tensor<T> matmul(const Tensor<T>& a, const Tensor<T>& b) {
  require(a, "matmul", "a");
  require(b, "matmul", "b");
  if (a.rank() < 2 || b.rank() < 2)
    fail("matmul: a is ", a.shape(), ", b is ", b.shape(), "; both need at least two axes (reshape a vector to [1, n] or [n, 1])");
  for (int i = 3; i <= std::min(a.rank(), b.rank()); ++i)
    if (const Index x = a.shape()[-i], y = b.shape()[-i]; x != y && x != 1 && y != 1)
      fail("matmul: a is ", a.shape(), ", b is ", b.shape(), "; axis ", -i, " (", x, " and ", y,
           ") must be equal, or one of them 1");
  if (a.shape()[-1] != b.shape()[-2])
    fail("matmul: a is ", a.shape(), ", b is ", b.shape(), "; a's last axis (", a.shape()[-1],
         ") must equal b's second-to-last (", b.shape()[-2], ")");
  return detail::product(a, false, b, false);
}

/// What a linear layer does after adding the bias, in the same pass.
using kernels::Activation;

/// x weight^T + bias, then the activation. Where the rows of `weight` belong to tasks (packed heads) the rule keeps a
/// diagonal cotangent diagonal: the weight's gradient stays one matrix, only that of x opens into a row per task, and where
/// x comes from a linear layer not even that: K tasks' rows are K thin products, whose gradients are thin products again.
template <class T>
struct LinearOp {
  static constexpr std::string_view name = "linear";
  static constexpr bool rows_together = true;
  static constexpr bool keeps_diagonal = true;
  static constexpr bool takes_products = true;
  static void samples(auto&& check) {
    check([](const auto& x) { return linear(x[0], x[1], x[2]); }, {Shape{7, 3}, Shape{5, 3}, Shape{5}});
    check([](const auto& x) { return linear(x[0], x[1], x[2]); }, {Shape{2, 3, 3}, Shape{1, 3}, Shape{1}});
    check([](const auto& x) { return linear(x[0], x[1], x[2], Activation::relu); }, {Shape{7, 3}, Shape{5, 3}, Shape{5}});
    check([](const auto& x) { return linear(x[0], x[1], x[2]); }, {Shape{0, 3}, Shape{5, 3}, Shape{5}});
    check([](const auto& x) { return linear(x[0], x[1], x[2]); }, {Shape{2, 0}, Shape{5, 0}, Shape{5}});
  }
  Saved<T> saved_x, weight, output;
  Activation activation;

  void vjp(Sweep<T>& sweep, Node<T>& node, Cotangent<T>& g) {
    if (sweep.recording()) return generic(sweep, node, g);
    const Tensor<T>&input = saved_x.get(node), &w = weight.get(node);
    const Index out = w.shape()[0], in = w.shape()[1], m = node.shape.size() / std::max<Index>(1, out);
    if (sweep.factor().defined()) {
      if (activation == Activation::none) return product(sweep, node, g.value, sweep.factor(), g.labels, input, w, m, in, out);
      sweep.open_product(node, g);
    }
    const Shape rows = g.value.shape().part(0, g.lead());
    Tensor<T> dy = std::move(g.value);
    if (activation == Activation::relu) dy = masked(node, std::move(dy));
    if (g.labels.diagonal() && sweep.separate()) return diagonal(sweep, node, dy, g.labels, input, w, m, in, out);
    const Index count = rows.size();
    if (sweep.wants(node, 0)) {
      Tensor<T> dx = Tensor<T>::empty(rows + input.shape());
      kernels::gemm<T>(count * m, in, out, detail::operand(dy.data(), out, false), detail::operand(w.data(), in, false),
                       dx.raw(), in);
      sweep.emit(node, 0, std::move(dx), g.labels.diagonal() ? Labels{} : g.labels);
    }
    if (sweep.wants(node, 1)) weight_gradient(sweep, node, dy, g.labels, input, m, in, out, count);
    if (sweep.wants(node, 2)) bias_gradient(sweep, node, dy, g.labels, rows, m, out, count);
  }

 private:
  /// Graph operations only: the truth that the fused paths are tested against.
  void generic(Sweep<T>& sweep, Node<T>& node, Cotangent<T>& g) {
    Tensor<T> dy = g.value;
    if (activation == Activation::relu) dy = dy * step(output.get_output(node));
    const Tensor<T>&input = saved_x.get(node), &w = weight.get(node);
    const Index out = w.shape()[0], in = w.shape()[1], m = node.shape.size() / std::max<Index>(1, out);
    const Tensor<T> flat = reshape(dy, {m, out});
    if (sweep.wants(node, 0)) sweep.emit(node, 0, reshape(detail::product(flat, false, w, false), input.shape()));
    if (sweep.wants(node, 1)) sweep.emit(node, 1, detail::product(flat, true, reshape(input, {m, in}), false));
    if (sweep.wants(node, 2)) sweep.emit(node, 2, sum_to(flat, 0, {out}));
  }

  Tensor<T> masked(Node<T>& node, Tensor<T> dy) {
    const Tensor<T>& y = output.get(node);
    Tensor<T> out = dy.sole() ? dy.detach() : Tensor<T>::empty(dy.shape());
    const Index n = y.size();
    for (Index at = 0; at < dy.size(); at += n)
      kernels::map(n, out.raw() + at, detail::SlopeTimes<ReLU>{}, dy.data() + at, y.data());
    return out;
  }

  void weight_gradient(Sweep<T>& sweep, Node<T>& node, const Tensor<T>& dy, const Labels& labels, const Tensor<T>& input,
                       Index m, Index in, Index out, Index count) {
    const auto into = [&](T* to, Index row, bool accumulate) {
      kernels::gemm<T>(out, in, m, detail::operand(dy.data() + row * m * out, out, true),
                       detail::operand(input.data(), in, false), to, in, accumulate);
    };
    if (Leaf<T>* leaf = sweep.direct_leaf(node, 1)) {
      if (!labels.rows()) {  // straight into the parameter's gradient
        const bool accumulate = leaf->open_grad(labels);
        return into(leaf->grad_view().raw(), 0, accumulate);
      }
      if (sweep.sink() && sweep.sink()->factored(*leaf, dy.view({count, m, out}), input.view({m, in}), labels)) return;
    }
    const Labels emitted = labels.diagonal() ? Labels{} : labels;
    Tensor<T> dw = Tensor<T>::empty(labels.rows() ? Shape{count, out, in} : Shape{out, in});
    for (Index r = 0; r < count; ++r) into(dw.raw() + r * out * in, r, false);
    sweep.emit(node, 1, std::move(dw), emitted);
  }

  void bias_gradient(Sweep<T>& sweep, Node<T>& node, const Tensor<T>& dy, const Labels& labels, const Shape& rows, Index m,
                     Index out, Index count) {
    if (Leaf<T>* leaf = sweep.direct_leaf(node, 2); leaf && !labels.rows()) {
      const bool accumulate = leaf->open_grad(labels);
      Tensor<T> grad = leaf->grad_view();
      if (!accumulate) grad.fill(T(0));
      return kernels::add_column_sums(m, out, grad.raw(), dy.data());
    }
    Tensor<T> db = Tensor<T>::zeros(rows + Shape{out});
    for (Index r = 0; r < count; ++r) kernels::add_column_sums(m, out, db.raw() + r * out, dy.data() + r * m * out);
    sweep.emit(node, 2, std::move(db), labels.diagonal() ? Labels{} : labels);
  }

  /// Rows of the weight belong to tasks: its gradient is one product for all, the input's a thin product per task.
  void diagonal(Sweep<T>& sweep, Node<T>& node, const Tensor<T>& dy, const Labels& labels, const Tensor<T>& input,
                const Tensor<T>& w, Index m, Index in, Index out) {
    // In factors a layer as wide as this one costs out (2 in + 2 m) in, multiplied out (2 in + out) m in for a task.
    const bool thin = 4 * out * (in + m) <= m * (2 * in + out);
    if (sweep.wants(node, 0) && !(thin && sweep.emit_product(node, 0, dy, w.detach(), labels)))
      sweep.emit(node, 0, detail::segment_products<T>(m, in, {dy.data(), out, 1}, w.data(), labels, input.shape()),
                 detail::as_rows(labels));
    const auto pack_of = [&](int i) {
      Leaf<T>* leaf = sweep.direct_leaf(node, i);
      return leaf && !leaf->parts.empty() ? leaf : nullptr;
    };
    // To a pack as it is, written straight into its gradient; to anything else one row per task.
    if (Leaf<T>* pack = pack_of(1)) {
      const bool accumulate = pack->open_grad(labels);
      kernels::gemm<T>(out, in, m, detail::operand(dy.data(), out, true), detail::operand(input.data(), in, false),
                       pack->grad_view().raw(), in, accumulate);
    } else if (sweep.wants(node, 1)) {
      Tensor<T> dw = Tensor<T>::empty({out, in});
      kernels::gemm<T>(out, in, m, detail::operand(dy.data(), out, true), detail::operand(input.data(), in, false), dw.raw(), in);
      emit_rows(sweep, node, 1, dw, labels);
    }
    if (Leaf<T>* pack = pack_of(2)) {
      const bool accumulate = pack->open_grad(labels);
      Tensor<T> grad = pack->grad_view();
      if (!accumulate) grad.fill(T(0));
      kernels::add_column_sums(m, out, grad.raw(), dy.data());
    } else if (sweep.wants(node, 2)) {
      Tensor<T> db = Tensor<T>::zeros({out});
      kernels::add_column_sums(m, out, db.raw(), dy.data());
      emit_rows(sweep, node, 2, db, labels);
    }
  }
  /// The cotangent of task k is its segment of e's columns times the same rows of h; e is [..., columns], h [columns, out].
  void product(Sweep<T>& sweep, Node<T>& node, const Tensor<T>& e, const Tensor<T>& h, const Labels& labels,
               const Tensor<T>& input, const Tensor<T>& w, Index m, Index in, Index out) {
    const Index columns = h.shape()[0];
    if (sweep.wants(node, 0)) {
      Tensor<T> hw = Tensor<T>::empty({columns, in});
      kernels::gemm<T>(columns, in, out, detail::operand(h.data(), out, false), detail::operand(w.data(), in, false), hw.raw(), in);
      if (!sweep.emit_product(node, 0, e, hw, labels))
        sweep.emit(node, 0, detail::segment_products<T>(m, in, {e.data(), columns, 1}, hw.data(), labels, input.shape()),
                   detail::as_rows(labels));
    }
    if (sweep.wants(node, 1)) {
      Tensor<T> ex = Tensor<T>::empty({columns, in});
      kernels::gemm<T>(columns, in, m, detail::operand(e.data(), columns, true),
                       detail::operand(input.data(), in, false), ex.raw(), in);
      Leaf<T>* leaf = sweep.direct_leaf(node, 1);
      if (!leaf || !sweep.sink() || !sweep.sink()->products(*leaf, h, ex, labels))
        sweep.emit(node, 1, detail::segment_products<T>(out, in, {h.data(), 1, out}, ex.data(), labels, w.shape()),
                   detail::as_rows(labels));
    }
    if (sweep.wants(node, 2)) {
      Tensor<T> sums = Tensor<T>::zeros({columns});
      kernels::add_column_sums(m, columns, sums.raw(), e.data());
      sweep.emit(node, 2, detail::segment_products<T>(1, out, {sums.data(), columns, 1}, h.data(), labels, {out}),
                 detail::as_rows(labels));
    }
  }
  /// A gradient whose axis 0 belongs to tasks, opened into one row per task.
  static void emit_rows(Sweep<T>& sweep, Node<T>& node, int input, const Tensor<T>& g, const Labels& labels) {
    const Index row = g.shape().span(1, g.rank());
    Labels rows(labels.count(), false);
    Tensor<T> open = Tensor<T>::zeros(Shape{labels.count()} + g.shape());
    for (Index k = 0; k < labels.count(); ++k) {
      const Label& label = labels[k];
      rows.begin()[k] = {label.task, 0, 0};
      std::copy_n(g.data() + label.begin * row, (label.end - label.begin) * row, open.raw() + k * g.size() + label.begin * row);
    }
    sweep.emit(node, input, std::move(open), rows);
  }
};

namespace detail {
/// `linear: layer 'trunk.0': `, once parameters(model) has named the weight.
template <class T>
[[gnu::cold]] std::string linear_name(const Tensor<T>& weight) {
  const Leaf<T>* leaf = leaf_of(weight);
  if (!leaf || leaf->name.empty()) return "linear: ";
  const std::string_view path = leaf->name;
  return join("linear: layer '", path.substr(0, path.ends_with(".weight") ? path.size() - 7 : path.size()), "': ");
}
}  // namespace detail

/// x [..., in] times weight^T, weight [out, in], plus bias [out] (may be undefined), then the activation: [..., out].
template <Differentiable T>
Tensor<T> linear(const Tensor<T>& x, const Tensor<T>& weight, const Tensor<T>& bias, Activation activation = Activation::none) {
  require(x, "linear");
  require(weight, "linear", "weight");
  if (weight.rank() != 2 || x.rank() < 1 || x.shape()[-1] != weight.shape()[1])
    fail(detail::linear_name(weight), "x is ", x.shape(), ", weight is ", weight.shape(),
         "; weight is [out, in] and x's last axis must equal in",
         weight.rank() == 2 ? join(" (", weight.shape()[1], ")") : "");
  const Index out = weight.shape()[0], in = weight.shape()[1];
  if (bias.defined() && !(bias.shape() == Shape{out}))
    fail(detail::linear_name(weight), "bias is ", bias.shape(), ", weight is ", weight.shape(), "; bias must be [", out, "]");
  Shape shape = x.shape();
  const Index m = x.shape().span(0, x.rank() - 1);
  shape[-1] = out;
  Tensor<T> y = Tensor<T>::empty(shape);
  kernels::gemm<T>(m, out, in, detail::operand(x.data(), in, false), detail::operand(weight.data(), in, true), y.raw(), out, false,
                   {bias.defined() ? bias.data() : nullptr, activation});
  if (recorded(x, weight, bias))
    record(y,
           LinearOp<T>{Saved<T>(x), Saved<T>(weight), activation == Activation::none ? Saved<T>() : Saved<T>::output(y),
                       activation},
           x, weight, bias);
  return y;
}

}  // namespace espalier::inline ESPALIER_ABI
