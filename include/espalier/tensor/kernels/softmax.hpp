#pragma once
// Softmax, log-softmax and log-sum-exp of rows. The maximum is subtracted first; a row that is -inf throughout gives zeros
// (softmax) and -inf (logsumexp, log_softmax), never NaN; where there is +inf, the infinite elements share the row. A NaN
// makes its row NaN.

#include <cmath>
#include <limits>

#include "espalier/tensor/kernels/math.hpp"
#include "espalier/tensor/kernels/reduce.hpp"

namespace espalier::inline ESPALIER_ABI::kernels {

/// y = exp(x - max x) over one row of n; returns the sum, and the maximum through `top`. Where the maximum is infinite, the
/// limit: each +inf counts 1, all else 0.
template <class T>
double exp_shifted(Index n, const T* x, T* y, T& top) {
  top = max(n, x);
  constexpr T infinity = std::numeric_limits<T>::infinity();
  if (top == -infinity || top == infinity) {
    const auto tops = top > 0 ? std::count(x, x + n, infinity) : 0;
    std::transform(x, x + n, y, [top](T v) { return top > 0 && v == top ? T(1) : T(0); });
    return static_cast<double>(tops);
  }
  map(n, y, [top](const auto& v) __attribute__((always_inline)) { return exp(v - top); }, x);
  return sum(n, y);
}

/// y = softmax of each of m rows of n. y may be x.
template <class T>
void softmax(Index m, Index n, const T* x, T* y) {
  if (n == 0) return;
  parallel_for(m, m * n * 16, [&](Index i) {
    T top;
    const double total = exp_shifted(n, x + i * n, y + i * n, top);
    const T scale = total == 0 ? T(0) : static_cast<T>(1 / total);
    map(n, y + i * n, [scale](const auto& v) __attribute__((always_inline)) { return v * scale; },
        static_cast<const T*>(y + i * n));
  });
}

/// out[i] = log(sum over j of exp x[i, j]); `scratch` has n elements.
template <class T>
void logsumexp(Index m, Index n, const T* x, T* out, T* scratch) {
  for (Index i = 0; i < m; ++i) {
    if (n == 0) {
      out[i] = -std::numeric_limits<T>::infinity();
      continue;
    }
    T top;
    const double total = exp_shifted(n, x + i * n, scratch, top);
    out[i] = total == 0 ? top : static_cast<T>(static_cast<double>(top) + std::log(total));
  }
}

/// y = x - logsumexp(x) of each row.
template <class T>
void log_softmax(Index m, Index n, const T* x, T* y) {
  for (Index i = 0; i < m && n > 0; ++i) {
    T lse;
    logsumexp(1, n, x + i * n, &lse, y + i * n);
    if (std::isinf(lse)) {  // `y` holds what exp_shifted wrote
      const T share = -static_cast<T>(std::log(sum(n, y + i * n)));
      std::transform(y + i * n, y + (i + 1) * n, y + i * n,
                     [share](T v) { return v > 0 ? share : -std::numeric_limits<T>::infinity(); });
      continue;
    }
    map(n, y + i * n, [lse](const auto& v) __attribute__((always_inline)) { return v - lse; }, x + i * n);
  }
}

/// dx = y (g - <g, y>) row by row: the backward of softmax, for `rows` cotangents over the same y [m, n].
template <class T>
void softmax_backward(Index rows, Index m, Index n, const T* g, const T* y, T* dx) {
  for (Index i = 0; i < rows * m; ++i) {
    const T* p = y + i % m * n;
    const T mean = static_cast<T>(dot(n, g + i * n, p));
    map(n, dx + i * n, [mean](const auto& a, const auto& b) __attribute__((always_inline)) { return b * (a - mean); },
        g + i * n, p);
  }
}

}  // namespace espalier::inline ESPALIER_ABI::kernels
