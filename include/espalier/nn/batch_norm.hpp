#pragma once
// BatchNorm1d: every feature normalised over the batch.

#include "espalier/nn/module.hpp"

namespace espalier::inline ESPALIER_ABI {

struct BatchNorm1dOptions {
  double eps = 1e-5;
  double momentum = 0.1;  // the share of the newest batch in the running statistics
  bool affine = true;     // learn a weight and a bias per feature
};

/// y = (x - mean) / sqrt(var + eps) * weight + bias per feature, [batch, features] or [batch, features, length]
/// (Ioffe & Szegedy 2015, arXiv 1502.03167). Names and numbers are PyTorch's. Inference uses the running statistics.
/// With a pass, those of the batch are used, and the running ones take them up when the pass ends: the batch is
/// normalised with its biased variance, the running variance takes the unbiased one. Fewer than 2 values per feature
/// have no variance: such a batch is normalised with the running statistics and leaves them as they are. So is every batch once
/// the layer, or its weight, is frozen (nn/freeze.hpp).
template <Differentiable T = float>
struct BatchNorm1d {
  Tensor<T> weight, bias;               // [features], 1 and 0 at the start; undefined without affine
  Tensor<T> running_mean, running_var;  // [features], 0 and 1 at the start
  Tensor<Index> num_batches_tracked;    // []
  BatchNorm1dOptions options;

  /// Throws Error when features or eps is not positive, or momentum outside [0, 1].
  explicit BatchNorm1d(Index features, BatchNorm1dOptions options_ = {}) : options(options_) {
    if (features < 1) fail("BatchNorm1d: features is ", features, "; it must be at least 1");
    if (!(options.eps > 0)) fail("BatchNorm1d: eps is ", options.eps, "; it must be above 0");
    if (!(options.momentum >= 0 && options.momentum <= 1))
      fail("BatchNorm1d: momentum is ", options.momentum, "; it must be in [0, 1]");
    if (options.affine) {
      weight = parameter(Tensor<T>::ones({features}));
      bias = parameter(Tensor<T>::zeros({features}));
    }
    running_mean = Tensor<T>::zeros({features});
    running_var = Tensor<T>::ones({features});
    num_batches_tracked = Tensor<Index>::scalar(0);
  }

  Index features() const { return running_mean.size(); }
  Tensor<T> operator()(const Tensor<T>& x) const {
    const Shape shape = statistics_shape(x);
    return scaled(x - per_feature(running_mean, shape), per_feature(running_var, shape), shape);
  }
  Tensor<T> operator()(const Tensor<T>& x, Pass& pass) const {
    const Shape shape = statistics_shape(x);
    const Index n = x.size() / features();
    if (n < 2 || frozen()) return (*this)(x);
    const Tensor<T> mean = sum_to(x, 0, shape) / static_cast<T>(n);
    const Tensor<T> centred = x - mean;
    const Tensor<T> var = sum_to(square(centred), 0, shape) / static_cast<T>(n);
    const double unbiased = static_cast<double>(n) / static_cast<double>(n - 1);
    pass.update(running_mean, mean, options.momentum);
    pass.update(running_var, var.detach() * static_cast<T>(unbiased), options.momentum);
    pass.increment(num_batches_tracked);
    return scaled(centred, var, shape);
  }
  void fields(auto&& visit) {
    if (weight.defined()) {
      visit("weight", weight);
      visit("bias", bias);
    }
    visit("running_mean", running_mean);
    visit("running_var", running_var);
    visit("num_batches_tracked", num_batches_tracked);
  }

 private:
  bool frozen() const {
    const Leaf<T>* leaf = weight.defined() ? leaf_of(weight) : nullptr;
    return running_mean.buffer()->frozen || (leaf && leaf->frozen);
  }
  /// The shape in which a number per feature broadcasts against x.
  Shape statistics_shape(const Tensor<T>& x) const {
    require(x, "BatchNorm1d");
    const Shape& shape = x.shape();
    const bool sequence = shape.rank() == 3;
    if ((!sequence && shape.rank() != 2) || shape[1] != features())
      fail("BatchNorm1d: x is ", shape, "; it must be [batch, ", features(), sequence ? ", length]" : "]");
    return sequence ? Shape{features(), 1} : Shape{features()};
  }
  static Tensor<T> per_feature(const Tensor<T>& x, const Shape& shape) {
    return x.shape() == shape ? x : reshape(x, shape);
  }
  Tensor<T> scaled(const Tensor<T>& centred, const Tensor<T>& var, const Shape& shape) const {
    const Tensor<T> scale = 1 / sqrt(var + static_cast<T>(options.eps));
    if (!weight.defined()) return centred * scale;
    return centred * (per_feature(weight, shape) * scale) + per_feature(bias, shape);
  }
};
BatchNorm1d(Index) -> BatchNorm1d<float>;
BatchNorm1d(Index, BatchNorm1dOptions) -> BatchNorm1d<float>;

}  // namespace espalier::inline ESPALIER_ABI
