#pragma once
// layer_norm: rows normalised to mean 0 and variance 1, with a weight and a bias per element, in one operation.

#include "espalier/ops/functions.hpp"
#include "espalier/ops/reduce.hpp"
#include "espalier/tensor/kernels/layer_norm.hpp"

namespace espalier::inline ESPALIER_ABI {

template <class T>
struct LayerNormOp {
  static constexpr std::string_view name = "layer_norm";
  static constexpr bool rows_together = true;
  static void samples(auto&& check) {
    check([](const auto& x) { return layer_norm(x[0], x[1], x[2], 0.1); }, {Shape{4, 5}, Shape{5}, Shape{5}});
    check([](const auto& x) { return layer_norm(x[0], x[1], {}, 0.1); }, {Shape{2, 3, 4}, Shape{4}});
    check([](const auto& x) { return layer_norm(x[0], {}, x[1], 0.1); }, {Shape{3, 4}, Shape{4}});
    check([](const auto& x) { return layer_norm(x[0], x[1], x[2], 0.1); }, {Shape{0, 3}, Shape{3}, Shape{3}});
  }
  Saved<T> saved_x, saved_weight;
  Tensor<T> statistics;  // [rows, 2]: mean, 1 / sqrt(variance + eps)
  double eps;

  void vjp(Sweep<T>& sweep, Node<T>& node, Cotangent<T>& g) {
    const Tensor<T>&x = saved_x.get(node), &weight = saved_weight.get(node);
    const Index n = x.shape()[-1], m = x.size() / n;
    if (sweep.recording()) return generic(sweep, node, g.value, x, weight);
    const Shape lead = g.value.shape().part(0, g.lead());
    Tensor<T> dx, gx;
    if (sweep.wants(node, 0)) dx = Tensor<T>::empty(g.value.shape());
    if (weight.defined() && sweep.wants(node, 1)) gx = Tensor<T>::empty(g.value.shape());
    for (Index at = 0; at < g.value.size(); at += x.size())
      kernels::layer_norm_backward(m, n, g.value.data() + at, x.data(), statistics.data(),
                                   weight.defined() ? weight.data() : nullptr, dx.defined() ? dx.raw() + at : nullptr,
                                   gx.defined() ? gx.raw() + at : nullptr);
    const auto columns = [&](int input, const Tensor<T>& of) {
      Tensor<T> sums = Tensor<T>::zeros(lead + Shape{n});
      for (Index r = 0; r < lead.size(); ++r) kernels::add_column_sums(m, n, sums.raw() + r * n, of.data() + r * m * n);
      sweep.emit(node, input, std::move(sums), g.labels);
    };
    if (gx.defined()) columns(1, gx);
    if (sweep.wants(node, 2)) columns(2, g.value);
    if (dx.defined()) sweep.emit(node, 0, std::move(dx), g.labels);
  }

 private:
  /// Graph operations only: the truth that the fused path is tested against.
  void generic(Sweep<T>& sweep, Node<T>& node, const Tensor<T>& g, const Tensor<T>& x, const Tensor<T>& weight) {
    const auto n = static_cast<T>(x.shape()[-1]);
    const auto mean = [n](const Tensor<T>& t) { return sum(t, {-1}, {.keep_axes = true}) / n; };
    const Tensor<T> centred = x - mean(x);
    const Tensor<T> scale = 1 / sqrt(mean(square(centred)) + static_cast<T>(eps)), normal = centred * scale;
    const Tensor<T> h = weight.defined() ? g * weight : g;
    if (sweep.wants(node, 0)) sweep.emit(node, 0, scale * (h - mean(h) - normal * mean(h * normal)));
    if (weight.defined() && sweep.wants(node, 1)) sweep.emit(node, 1, sum_to(g * normal, 0, weight.shape()));
    if (sweep.wants(node, 2)) sweep.emit(node, 2, sum_to(g, 0, node.in[2]->shape));
  }
};

/// (x - mean) / sqrt(variance + eps) * weight + bias over the last axis, x [..., n], with the biased variance (Ba, Kiros &
/// Hinton 2016, arXiv 1607.06450). weight and bias are [n] or undefined.
template <Differentiable T>
Tensor<T> layer_norm(const Tensor<T>& x, const std::type_identity_t<Tensor<T>>& weight,
                     const std::type_identity_t<Tensor<T>>& bias, double eps = 1e-5) {
  require(x, "layer_norm");
  if (x.rank() < 1 || x.shape()[-1] < 1) fail("layer_norm: x is ", x.shape(), "; it must be [..., n] with n at least 1");
  if (!(eps > 0)) fail("layer_norm: eps is ", eps, "; it must be above 0");
  const Index n = x.shape()[-1], m = x.size() / n;
  for (const Tensor<T>* given : {&weight, &bias})
    if (given->defined() && !(given->shape() == Shape{n}))
      fail("layer_norm: ", given == &weight ? "weight" : "bias", " is ", given->shape(), ", x is ", x.shape(),
           "; it must be [", n, "]");
  if (bias.defined() && !weight.defined()) return layer_norm(x, {}, {}, eps) + bias;
  Tensor<T> y = Tensor<T>::empty(x.shape()), statistics = Tensor<T>::empty({m, 2});
  kernels::layer_norm(m, n, x.data(), y.raw(), eps, statistics.raw(), weight.defined() ? weight.data() : nullptr,
                      bias.defined() ? bias.data() : nullptr);
  if (recorded(x, weight, bias))
    record(y, LayerNormOp<T>{Saved<T>(x), Saved<T>(weight), std::move(statistics), eps}, x, weight, bias);
  return y;
}

}  // namespace espalier::inline ESPALIER_ABI
