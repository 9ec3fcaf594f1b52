#pragma once
// Coral: a head for ordered classes whose logits never contradict each other.

#include "espalier/nn/linear.hpp"

namespace espalier::inline ESPALIER_ABI {

/// y_j = x . weight + bias_j: [..., in] -> [..., classes - 1], the head for the loss Ordinal (Cao, Mirjalili & Raschka 2020, arXiv
/// 1901.07884). One weight for all columns; where the biases fall, as they do at the start and, by the paper's theorem, at the
/// optimum, so do the logits. The biases start falling evenly from 1, as in the authors' code.
template <Differentiable T = float>
struct Coral {
  Tensor<T> weight;  // [1, in]
  Tensor<T> bias;    // [classes - 1]

  /// Throws Error for no input or fewer than two classes.
  Coral(Index in, Index classes, Rng& rng) {
    if (in < 1 || classes < 2) fail("Coral: in is ", in, ", classes is ", classes, "; there must be at least 1 and 2");
    const double bound = 1 / std::sqrt(static_cast<double>(in));
    weight = parameter(Tensor<T>::uniform({1, in}, -bound, bound, rng));
    Tensor<T> falling = Tensor<T>::empty({classes - 1});
    for (Index j = 0; j < classes - 1; ++j)
      falling.raw()[j] = static_cast<T>(static_cast<double>(classes - 1 - j) / static_cast<double>(classes - 1));
    bias = parameter(falling);
  }

  Tensor<T> operator()(const Tensor<T>& x) const { return linear(x, weight, {}) + bias; }
  void fields(auto&& visit) {
    visit("weight", weight);
    visit("bias", bias);
  }
};
Coral(Index, Index, Rng&) -> Coral<float>;

}  // namespace espalier::inline ESPALIER_ABI
