#pragma once
// Layer norm of rows, each in one piece: its statistics and its result while it is in the cache, so that memory is read and
// written once. Statistics are summed as kernels::sum does and end in double.

#include <cmath>

#include "espalier/tensor/kernels/reduce.hpp"

namespace espalier::inline ESPALIER_ABI::kernels {

namespace detail {

/// A row's mean and 1 / sqrt(variance + eps), side by side.
struct NormaliseRows {
  template <int Bytes, class T>
  ESPALIER_INLINE static void run(Index m, Index n, const T* x, T* y, double eps, T* statistics, const T* weight,
                                  const T* bias) {
    for (Index i = 0; i < m; ++i, x += n, y += n, statistics += 2) {
      const T mean = static_cast<T>(
          SumOf::run<Bytes>(n, [](const auto& v) __attribute__((always_inline)) { return v; }, x) / static_cast<double>(n));
      const auto square = [mean](const auto& v) __attribute__((always_inline)) { return (v - mean) * (v - mean); };
      const T scale = static_cast<T>(1 / std::sqrt(SumOf::run<Bytes>(n, square, x) / static_cast<double>(n) + eps));
      statistics[0] = mean;
      statistics[1] = scale;
      const auto normal = [mean, scale](const auto& v) __attribute__((always_inline)) { return (v - mean) * scale; };
      if (weight && bias)
        for_each_pack<Bytes>(n, y, [&](const auto& v, const auto& w, const auto& b)
                                       __attribute__((always_inline)) { return fma(normal(v), w, b); }, x, weight, bias);
      else if (weight)
        for_each_pack<Bytes>(n, y, [&](const auto& v, const auto& w)
                                       __attribute__((always_inline)) { return normal(v) * w; }, x, weight);
      else
        for_each_pack<Bytes>(n, y, normal, x);
    }
  }
};

/// dx = scale (h - mean(h) - x^ mean(h x^)) with h = g weight, x^ the normalised row; and gx = g x^, where it is wanted.
struct NormaliseRowsBackward {
  template <int Bytes, class T>
  ESPALIER_INLINE static void run(Index m, Index n, const T* g, const T* x, const T* statistics, const T* weight, T* dx,
                                  T* gx) {
    for (Index i = 0; i < m; ++i, x += n, g += n, statistics += 2) {
      if (dx) {
        if (weight) row<Bytes>(n, g, x, statistics, dx + i * n, weight);
        else row<Bytes>(n, g, x, statistics, dx + i * n);
      }
      const T mean = statistics[0], scale = statistics[1];
      if (gx)
        for_each_pack<Bytes>(n, gx + i * n, [mean, scale](const auto& h, const auto& v)
                                                __attribute__((always_inline)) { return h * ((v - mean) * scale); }, g, x);
    }
  }

 private:
  template <int Bytes, class T, class... W>
  ESPALIER_INLINE static void row(Index n, const T* g, const T* x, const T* statistics, T* dx, const W*... weight) {
    const T mean = statistics[0], scale = statistics[1];
    const auto times = [](const auto& h, const auto&... w) __attribute__((always_inline)) { return (h * ... * w); };
    const auto along = [=](const auto& h, const auto& v, const auto&... w)
                           __attribute__((always_inline)) { return times(h, w...) * ((v - mean) * scale); };
    const T first = static_cast<T>(SumOf::run<Bytes>(n, times, g, weight...) / static_cast<double>(n));
    const T second = static_cast<T>(SumOf::run<Bytes>(n, along, g, x, weight...) / static_cast<double>(n));
    for_each_pack<Bytes>(n, dx, [&](const auto& h, const auto& v, const auto&... w) __attribute__((always_inline)) {
      return scale * (times(h, w...) - first - (v - mean) * scale * second);
    }, g, x, weight...);
  }
};

}  // namespace detail

/// y = (x - mean) / sqrt(variance + eps) (* weight (+ bias)) for each of m rows of n >= 1, with the biased variance;
/// statistics [m, 2] takes each row's mean and 1 / sqrt(...). weight and bias are [n] or null, a bias only with a weight.
template <class T>
void layer_norm(Index m, Index n, const T* x, T* y, double eps, T* statistics, const T* weight, const T* bias) {
  for_row_blocks(m, n, element_work, [&](Index i, Index rows) {
    dispatch<detail::NormaliseRows>(rows, n, x + i * n, y + i * n, eps, statistics + 2 * i, weight, bias);
  });
}

/// Its backward: dx [m, n], and gx, whose column sums are the weight's gradient; either may be null.
template <class T>
void layer_norm_backward(Index m, Index n, const T* g, const T* x, const T* statistics, const T* weight, T* dx, T* gx) {
  for_row_blocks(m, n, element_work, [&](Index i, Index rows) {
    dispatch<detail::NormaliseRowsBackward>(rows, n, g + i * n, x + i * n, statistics + 2 * i, weight,
                                            dx ? dx + i * n : nullptr, gx ? gx + i * n : nullptr);
  });
}

}  // namespace espalier::inline ESPALIER_ABI::kernels
