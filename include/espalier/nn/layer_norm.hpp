#pragma once
// LayerNorm: every sample normalised over its own features.

#include "espalier/nn/module.hpp"

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
    const Tensor<T> rows = normalized_shape.rank() == 1 ? x : reshape(x, x.shape().part(0, lead) + Shape{n});
    const Tensor<T> centred = rows - sum(rows, {-1}, {.keep_axes = true}) / static_cast<T>(n);
    const Tensor<T> var = sum(square(centred), {-1}, {.keep_axes = true}) / static_cast<T>(n);
    Tensor<T> y = centred * (1 / sqrt(var + static_cast<T>(options.eps)));
    if (normalized_shape.rank() > 1) y = reshape(y, x.shape());
    if (weight.defined()) y = y * weight;
    if (bias.defined()) y = y + bias;
    return y;
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
