#pragma once
// Softmax, log-softmax and log-sum-exp of rows, each row in one piece while it is in the cache: its maximum, the sum of
// e^(x - maximum), its result. A row that is -inf throughout gives zeros (softmax) and -inf (logsumexp, log_softmax),
// never NaN; where there is +inf, the infinite elements share the row. A NaN makes its row NaN. The order of a sum follows
// from the row's length and the instruction set alone.

#include <cmath>
#include <limits>

#include "espalier/tensor/kernels/math.hpp"
#include "espalier/tensor/kernels/reduce.hpp"

namespace espalier::inline ESPALIER_ABI::kernels {

namespace detail {

/// Softmax of a row whose largest number is infinite or NaN: the limit. y may be x.
template <class T>
[[gnu::cold, gnu::noinline]] void softmax_limit(Index n, const T* x, T* y) {
  constexpr T infinity = std::numeric_limits<T>::infinity();
  const T top = max(n, x), share = 1 / static_cast<T>(std::count(x, x + n, infinity));
  std::transform(x, x + n, y, [=](T v) { return std::isnan(top) ? top : v == infinity ? share : T(0); });
}

/// What the three have in common.
struct SoftmaxRow {
  /// The largest number; one that is NaN does not count, and -inf is what is left when none does.
  template <int Bytes, class T>
  ESPALIER_INLINE static T top(Index n, const T* x) {
    using V = pack<T, Bytes>;
    constexpr T least = -std::numeric_limits<T>::infinity();
    if (n < V::size) return max(select(V::first(n), max(V(least), V::load(x, n)), V(least)));
    V t0(least), t1(least), t2(least), t3 = max(t0, V::load(x + n - V::size));  // the tail, some of it twice
    Index i = 0;
    for (; i + 4 * V::size <= n; i += 4 * V::size) {
      t0 = max(t0, V::load(x + i));
      t1 = max(t1, V::load(x + i + V::size));
      t2 = max(t2, V::load(x + i + 2 * V::size));
      t3 = max(t3, V::load(x + i + 3 * V::size));
    }
    for (; i + V::size <= n; i += V::size) t0 = max(t0, V::load(x + i));
    return max(max(max(t0, t1), max(t2, t3)));
  }

  /// The sum of e^(x - top). `keep`: y takes each of them but those of the last vector, which is padded with zeros: `last`.
  template <bool keep, class T, int Bytes>
  ESPALIER_INLINE static double sum_exp(Index n, const T* x, T top, T* y, pack<T, Bytes>& last) {
    using V = pack<T, Bytes>;
    constexpr Index block = sum_block / 4;  // one vector adds up what in sum_of four do
    const V shift(top);
    double total = 0;
    Index i = 0;
    const auto whole = [&](Index end) __attribute__((always_inline)) {
      V s;
      for (; i < end; i += V::size) {
        __builtin_prefetch(x + i + n);  // the next row, while this one computes
        const V e = exp_down(V::load(x + i) - shift);
        if constexpr (keep) e.store(y + i);
        s += e;
      }
      return s;
    };
    while (n - i > block) total += static_cast<double>(sum(whole(i + block)));
    const Index tail = (n - 1) / V::size * V::size;
    const V s = whole(tail);
    const V end = n - tail < V::size ? V::load(x + tail, n - tail) : V::load(x + tail);
    last = select(V::first(n - tail), exp_down(end - shift), V());
    return total + static_cast<double>(sum(s + last));
  }
};

struct SoftmaxRows {
  template <int Bytes, class T>
  ESPALIER_INLINE static void run(Index m, Index n, const T* x, T* y) {
    using V = pack<T, Bytes>;
    for (Index i = 0; i < m; ++i, x += n, y += n) {
      const T top = SoftmaxRow::top<Bytes>(n, x);
      if (std::isinf(top)) {
        softmax_limit(n, x, y);
        continue;
      }
      V last;
      const V scale(static_cast<T>(1 / SoftmaxRow::sum_exp<true>(n, x, top, y, last)));
      Index k = 0;
      for (; k + V::size < n; k += V::size) (V::load(y + k) * scale).store(y + k);
      if (k + V::size == n) (last * scale).store(y + k);
      else (last * scale).store(y + k, n - k);
    }
  }
};

struct SoftmaxRowsBackward {
  template <int Bytes, class T>
  ESPALIER_INLINE static void run(Index m, Index n, const T* g, const T* y, T* dx) {
    for (Index i = 0; i < m; ++i, g += n, y += n, dx += n) {
      const auto product = [](const auto& a, const auto& b) __attribute__((always_inline)) { return a * b; };
      const T along = static_cast<T>(SumOf::run<Bytes>(n, product, g, y));
      for_each_pack<Bytes>(n, dx, [along](const auto& a, const auto& b)
                                      __attribute__((always_inline)) { return b * (a - along); }, g, y);
    }
  }
};

struct LogSumExpRows {
  template <int Bytes, class T>
  ESPALIER_INLINE static void run(Index m, Index n, const T* x, T* out) {
    for (Index i = 0; i < m; ++i, x += n) {
      const T top = SoftmaxRow::top<Bytes>(n, x);
      pack<T, Bytes> last;
      if (std::isinf(top)) out[i] = max(n, x);  // NaN where there is one
      else out[i] = static_cast<T>(static_cast<double>(top) +
                                   std::log(SoftmaxRow::sum_exp<false>(n, x, top, static_cast<T*>(nullptr), last)));
    }
  }
};

struct LogSoftmaxRows {
  template <int Bytes, class T>
  ESPALIER_INLINE static void run(Index m, Index n, const T* x, T* y) {
    for (Index i = 0; i < m; ++i, x += n, y += n) {
      const T top = SoftmaxRow::top<Bytes>(n, x);
      if (std::isinf(top)) {
        softmax_limit(n, x, y);
        std::transform(y, y + n, y, [](T share) { return std::log(share); });
        continue;
      }
      pack<T, Bytes> last;
      const T rest = static_cast<T>(std::log(SoftmaxRow::sum_exp<false>(n, x, top, static_cast<T*>(nullptr), last)));
      for_each_pack<Bytes>(n, y, [top, rest](const auto& v) __attribute__((always_inline)) { return (v - top) - rest; }, x);
    }
  }
};

struct LogSoftmaxRowsBackward {
  template <int Bytes, class T>
  ESPALIER_INLINE static void run(Index m, Index n, const T* g, const T* y, T* dx) {
    for (Index i = 0; i < m; ++i, g += n, y += n, dx += n) {
      const auto itself = [](const auto& a) __attribute__((always_inline)) { return a; };
      const T total = static_cast<T>(SumOf::run<Bytes>(n, itself, g));
      for_each_pack<Bytes>(n, dx, [total](const auto& a, const auto& b)
                                      __attribute__((always_inline)) { return a - exp_down(b) * total; }, g, y);
    }
  }
};

/// Kernel::run on blocks of m rows of n; `inputs` and y are [m, n].
template <class Kernel, class T, class... P>
void by_rows(Index m, Index n, T* y, const P*... inputs) {
  if (n == 0) return;
  for_row_blocks(m, n, 2 * element_work, [&](Index i, Index rows) {
    dispatch<Kernel>(rows, n, inputs + i * n..., y + i * n);
  });
}

}  // namespace detail

/// y = softmax of each of m rows of n. y may be x.
template <class T>
void softmax(Index m, Index n, const T* x, T* y) {
  detail::by_rows<detail::SoftmaxRows>(m, n, y, x);
}

/// out[i] = log(sum over j of exp x[i, j]).
template <class T>
void logsumexp(Index m, Index n, const T* x, T* out) {
  if (n == 0) return (void)std::fill_n(out, m, -std::numeric_limits<T>::infinity());
  for_row_blocks(m, n, 2 * element_work, [&](Index i, Index rows) {
    dispatch<detail::LogSumExpRows>(rows, n, x + i * n, out + i);
  });
}

/// y = x - logsumexp(x) of each row. y may be x.
template <class T>
void log_softmax(Index m, Index n, const T* x, T* y) {
  detail::by_rows<detail::LogSoftmaxRows>(m, n, y, x);
}

/// dx = y (g - <g, y>) row by row: the backward of softmax, y its result.
template <class T>
void softmax_backward(Index m, Index n, const T* g, const T* y, T* dx) {
  detail::by_rows<detail::SoftmaxRowsBackward>(m, n, dx, g, y);
}

/// dx = g - e^y sum(g) row by row: the backward of log_softmax, y its result.
template <class T>
void log_softmax_backward(Index m, Index n, const T* g, const T* y, T* dx) {
  detail::by_rows<detail::LogSoftmaxRowsBackward>(m, n, dx, g, y);
}

}  // namespace espalier::inline ESPALIER_ABI::kernels
