#pragma once
// Dropout: elements left out at random while training.

#include "espalier/nn/module.hpp"

namespace espalier::inline ESPALIER_ABI {

namespace detail {

/// x times a mask; where that is 0 the product is 0 whatever x is. x may have leading axes of its own.
template <class T>
struct MaskOp {
  static constexpr std::string_view name = "dropout";
  static constexpr bool rows_together = true;
  Tensor<T> mask;

  static Tensor<T> apply(const Tensor<T>& x, const Tensor<T>& mask) {
    Tensor<T> y = Tensor<T>::empty(x.shape());
    const Index n = mask.size();
    for (Index at = 0; at < x.size(); at += n) kernels::map(n, y.raw() + at, Product{}, x.data() + at, mask.data());
    if (recorded(x)) record(y, MaskOp{mask}, x);
    return y;
  }
  void vjp(Sweep<T>& sweep, Node<T>& node, Cotangent<T>& g) { sweep.emit(node, 0, apply(g.value, mask), g.labels); }

 private:
  struct Product {
    ESPALIER_INLINE auto operator()(const auto& x, const auto& m) const { return select(m > 0, x * m, 0); }
  };
};

}  // namespace detail

/// With a pass, every element is 0 with probability p and 1 / (1 - p) times itself otherwise (Srivastava et al., JMLR
/// 2014); without one, the identity. Whether an element stays is a function of the pass's draws and the element's
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
    return p == 0 ? x : detail::MaskOp<T>::apply(x, mask<T>(x.shape(), pass.draws()));
  }

 private:
  /// 0 or 1 / (1 - p). 32 random bits an element are plenty, so a draw serves four neighbours.
  template <class T>
  Tensor<T> mask(const Shape& shape, const Draws& draws) const {
    const auto bound = static_cast<std::uint32_t>(p * 0x1p32);
    const T scale = static_cast<T>(1 / (1 - p));
    Tensor<T> mask = Tensor<T>::empty(shape);
    T* const out = mask.raw();
    const Index n = mask.size(), blocks = (n + kernels::block_size - 1) / kernels::block_size;
    parallel_for(blocks, n * kernels::element_work, [&](Index block) {
      for (Index i = block * kernels::block_size, end = std::min(n, i + kernels::block_size); i < end; i += 4) {
        const auto words = draws.words(static_cast<std::uint64_t>(i / 4));
        for (Index k = 0; k < std::min<Index>(4, end - i); ++k)
          out[i + k] = words[static_cast<std::size_t>(k)] >= bound ? scale : T(0);
      }
    });
    return mask;
  }
};

}  // namespace espalier::inline ESPALIER_ABI
