#pragma once
// Dropout: elements left out at random while training.

#include "espalier/nn/module.hpp"

namespace espalier::inline ESPALIER_ABI {

/// With a pass, every element is 0 with probability p and 1 / (1 - p) times itself otherwise (Srivastava et al., JMLR 2014);
/// without one, the identity. Whether an element stays is a function of the pass, the module's path and the element's
/// position alone. What is dropped is selected away, so that it may be NaN.
struct Dropout {
  double p;

  /// Throws Error when p is outside [0, 1).
  explicit Dropout(double p_ = 0.5) : p(p_) {
    if (!(p >= 0 && p < 1)) fail("Dropout: p is ", p, "; it must be in [0, 1)");
  }

  template <Differentiable T>
  Tensor<T> operator()(const Tensor<T>& x) const {
    return x;
  }
  template <Differentiable T>
  Tensor<T> operator()(const Tensor<T>& x, Pass& pass) const {
    require(x, "Dropout");
    if (p == 0) return x;
    return where(kept(x.shape(), pass.draws()), x * static_cast<T>(1 / (1 - p)), Tensor<T>::scalar(0));
  }

 private:
  /// True where an element stays. 32 random bits an element are plenty, so a draw of 64 serves two neighbours.
  Tensor<bool> kept(const Shape& shape, const Draws& draws) const {
    const auto bound = static_cast<std::uint64_t>(p * 0x1p32);
    Tensor<bool> keep = Tensor<bool>::empty(shape);
    bool* const out = keep.raw();
    const Index n = keep.size();
    parallel_for((n + kernels::block_size - 1) / kernels::block_size, n * kernels::element_work, [&](Index block) {
      for (Index i = block * kernels::block_size, end = std::min(n, i + kernels::block_size); i < end; i += 2) {
        const std::uint64_t bits = draws.bits(static_cast<std::uint64_t>(i / 2));
        out[i] = (bits & 0xFFFFFFFFu) >= bound;
        if (i + 1 < end) out[i + 1] = (bits >> 32) >= bound;
      }
    });
    return keep;
  }
};

}  // namespace espalier::inline ESPALIER_ABI
