#pragma once
// Clipping: bounds the norm of all gradients together, so that one wild batch cannot throw the parameters away.

#include <bit>
#include <cmath>

#include "espalier/autograd/node.hpp"
#include "espalier/tensor/kernels/reduce.hpp"
#include "espalier/tensor/named.hpp"

namespace espalier::inline ESPALIER_ABI {

namespace kernels {

/// Sum of (x[i] * scale)^2 in double, in a fixed order, for floats.
struct FloatSquares {
  template <int Bytes>
  ESPALIER_INLINE static double run(Index n, const float* x, double scale) {
    using V = pack<double, Bytes>;
    typedef float half __attribute__((vector_size(V::size * sizeof(float)), aligned(sizeof(float)), may_alias));
    const auto square = [scale](const float* p) __attribute__((always_inline)) {
      const V a = V(__builtin_convertvector(*reinterpret_cast<const half*>(p), typename V::vector)) * V(scale);
      return a * a;
    };
    V s0, s1, s2, s3;
    Index i = 0;
    for (; i + 4 * V::size <= n; i += 4 * V::size) {
      s0 += square(x + i);
      s1 += square(x + i + V::size);
      s2 += square(x + i + 2 * V::size);
      s3 += square(x + i + 3 * V::size);
    }
    for (; i < n; i += V::size) {
      alignas(64) float lanes[V::size] = {};
      for (Index k = i; k < std::min<Index>(n, i + V::size); ++k) lanes[k - i] = x[k];
      s0 += square(lanes);
    }
    return sum((s0 + s1) + (s2 + s3));
  }
};
inline double squares_in_order(Index n, const float* x, double scale) { return dispatch<FloatSquares>(n, x, scale); }
inline double squares_in_order(Index n, const double* x, double scale) {
  return sum_of(n, [scale](const auto& a) __attribute__((always_inline)) { return (a * scale) * (a * scale); }, x);
}

/// The same with threads: long arrays are cut into blocks whose sums are added in their order.
template <class T>
double sum_of_squares(Index n, const T* x, double scale = 1) {
  if (n <= block_size) return squares_in_order(n, x, scale);
  PoolVector<double> sums(static_cast<std::size_t>((n + block_size - 1) / block_size));
  parallel_for(static_cast<Index>(sums.size()), n * 2, [&](Index block) {
    const Index start = block * block_size;
    sums[static_cast<std::size_t>(block)] = squares_in_order(std::min(block_size, n - start), x + start, scale);
  });
  double total = 0;
  for (double s : sums) total += s;
  return total;
}

}  // namespace kernels

namespace detail {

/// By its bits, so that -ffinite-math-only does not assume the answer.
template <class T>
bool finite(T x) {
  using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  constexpr Bits exponent = std::bit_cast<Bits>(std::numeric_limits<T>::infinity());
  return (std::bit_cast<Bits>(x) & exponent) != exponent;
}

/// Calls f(item, leaf, gradient, size) for every listed parameter that holds a gradient, of that many elements.
template <class T, class F>
void each_gradient(const NamedList<Tensor<T>>& parameters, F f) {
  for (const Named<Tensor<T>>& item : parameters) {
    Leaf<T>* leaf = leaf_of(item.value);
    if (!leaf)
      fail("clip_grad_norm: '", item.name, "' ", item.value.shape(),
           " is not a parameter; make it one with parameter(tensor)");
    if (!leaf->has_grad()) continue;
    Leaf<T>& whole = leaf->pack ? *leaf->pack_leaf() : *leaf;
    const Index row = leaf->shape.span(1, leaf->shape.rank());
    f(item, whole, whole.grad.raw() + (leaf->pack ? leaf->my_part().begin * row : 0), leaf->shape.size());
  }
}

}  // namespace detail

/// Scales the gradients of all parameters together, in place, so that their common Euclidean norm is at most
/// `max_norm` (Pascanu et al. 2013, arXiv 1211.5063): by max_norm / (norm + 1e-6) where that is below 1, as PyTorch
/// does. Parameters without a gradient do not count. Returns the norm before, computed in double; an infinite
/// `max_norm` only measures. Throws Error, and leaves every gradient as it is, when a gradient is not finite (naming
/// the first such parameter), for a negative or NaN `max_norm`, and for a tensor that is no parameter.
template <Differentiable T>
double clip_grad_norm(const NamedList<Tensor<T>>& parameters, double max_norm) {
  if (!(max_norm >= 0)) fail("clip_grad_norm: max_norm is ", max_norm, "; it must be at least 0");
  double squares = 0;
  detail::each_gradient(parameters, [&](const auto&, const auto&, const T* gradient, Index size) {
    squares += kernels::sum_of_squares(size, gradient);
  });
  double norm = std::sqrt(squares);
  if (!detail::finite(squares)) {
    double largest = 0;
    detail::each_gradient(parameters, [&](const auto& item, const auto&, const T* gradient, Index size) {
      for (Index i = 0; i < size; ++i) {
        if (const T g = gradient[i]; !detail::finite(g))
          fail("clip_grad_norm: the gradient of '", item.name, "' ", item.value.shape(), " holds ",
               std::isnan(g) ? std::abs(g) : g, " at position ", i, "; no gradient was changed");
        largest = std::max(largest, std::abs(static_cast<double>(gradient[i])));
      }
    });
    squares = 0;  // finite after all: only the squares are too large
    detail::each_gradient(parameters, [&](const auto&, const auto&, const T* gradient, Index size) {
      squares += kernels::sum_of_squares(size, gradient, 1 / largest);
    });
    norm = largest * std::sqrt(squares);
  }
  const double scale = max_norm / (norm + 1e-6);
  if (scale < 1)
    detail::each_gradient(parameters, [&](const auto&, Leaf<T>& leaf, T* gradient, Index size) {
      leaf.grad.buffer()->bump_version();
      kernels::map(
          size, gradient, [s = static_cast<T>(scale)](const auto& g) __attribute__((always_inline)) { return g * s; },
          static_cast<const T*>(gradient));
    });
  return norm;
}

}  // namespace espalier::inline ESPALIER_ABI
