#pragma once
// Linear and its initialisation.

#include "espalier/nn/module.hpp"

namespace espalier::inline ESPALIER_ABI {

struct LinearOptions {
  bool bias = true;
};

/// y = x weight^T + bias: [..., in] -> [..., out]. Initialised as in PyTorch, both uniform in +-1/sqrt(in)
/// (He et al. 2015, arXiv 1502.01852, with a = sqrt 5).
template <Differentiable T = float>
struct Linear {
  Tensor<T> weight;  // [out, in]
  Tensor<T> bias;    // [out]; undefined without

  /// Throws Error when a size is not positive.
  Linear(Index in, Index out, Rng& rng, LinearOptions options = {}) {
    if (in < 1 || out < 1) fail("Linear: in is ", in, ", out is ", out, "; both must be at least 1");
    const double bound = 1 / std::sqrt(static_cast<double>(in));
    weight = parameter(Tensor<T>::uniform({out, in}, -bound, bound, rng));
    const Tensor<T> drawn = Tensor<T>::uniform({out}, -bound, bound, rng);
    if (options.bias) bias = parameter(drawn);
  }

  Index in() const { return weight.shape()[1]; }
  Index out() const { return weight.shape()[0]; }
  Tensor<T> operator()(const Tensor<T>& x) const { return linear(x, weight, bias); }
  /// With the activation after it in the same pass.
  Tensor<T> fused(const Tensor<T>& x, Activation activation) const { return linear(x, weight, bias, activation); }
  void fields(auto&& visit) {
    visit("weight", weight);
    if (bias.defined()) visit("bias", bias);
  }
};
Linear(Index, Index, Rng&) -> Linear<float>;
Linear(Index, Index, Rng&, LinearOptions) -> Linear<float>;

}  // namespace espalier::inline ESPALIER_ABI
