#pragma once
// LayerNorm: every sample normalised over its own features.

#include "espalier/nn/module.hpp"
#include "espalier/ops/layer_norm.hpp"

namespace espalier::inline ESPALIER_ABI {

struct LayerNormOptions {
  double eps = 1e-5;
  bool elementwise_affine = true;  // learn a weight (and a bias) per element
  bool bias = true;
};

/// y = (x - mean) / sqrt(var + eps) * weight + bias over the last axis, or the last axes: [..., shape] -> [..., shape],
/// with the biased variance (Ba, Kiros & Hinton 2016, arXiv 1607.06450). The same in training and inference.
template <Differentiable T = float>
struct LayerNorm {
  Tensor<T> weight, bias;  // [shape], 1 and 0 at the start; undefined without
  Shape normalized_shape;
  LayerNormOptions options;

  /// Throws Error when a size or eps is not positive.
  explicit LayerNorm(Index features, LayerNormOptions options_ = {}) : LayerNorm(Shape{features}, options_) {}
  explicit LayerNorm(const Shape& shape, LayerNormOptions options_ = {}) : normalized_shape(shape), options(options_) {
    if (shape.rank() < 1 || shape.size() < 1)
      fail("LayerNorm: shape is ", shape, "; it must have at least one axis, and no axis of size 0");
    if (!(options.eps > 0)) fail("LayerNorm: eps is ", options.eps, "; it must be above 0");
    if (!options.elementwise_affine) return;
    weight = parameter(Tensor<T>::ones(shape));
    if (options.bias) bias = parameter(Tensor<T>::zeros(shape));
  }

  Tensor<T> operator()(const Tensor<T>& x) const {
    require(x, "LayerNorm");
    const int lead = x.rank() - normalized_shape.rank();
    if (lead < 0 || !(x.shape().part(lead, x.rank()) == normalized_shape)) {
      const std::string sizes = normalized_shape.text().substr(1);
      fail("LayerNorm: x is ", x.shape(), "; it must be [..., ", sizes);
    }
    const Index n = normalized_shape.size();
    if (normalized_shape.rank() == 1) return layer_norm(x, weight, bias, options.eps);
    const auto flat = [n](const Tensor<T>& t) { return t.defined() ? reshape(t, {n}) : t; };
    const Tensor<T> rows = reshape(x, x.shape().part(0, lead) + Shape{n});
    return reshape(layer_norm(rows, flat(weight), flat(bias), options.eps), x.shape());
  }
  void fields(auto&& visit) {
    if (weight.defined()) visit("weight", weight);
    if (bias.defined()) visit("bias", bias);
  }
};
LayerNorm(Index) -> LayerNorm<float>;
LayerNorm(Index, LayerNormOptions) -> LayerNorm<float>;
LayerNorm(const Shape&) -> LayerNorm<float>;
LayerNorm(const Shape&, LayerNormOptions) -> LayerNorm<float>;

}  // namespace espalier::inline ESPALIER_ABI
