#pragma once
// Reductions with a fixed order: lanes and blocks of a fixed number of elements, the blocks' sums added in double. The order
// follows from the shape alone, never from threads, alignment or optimisation level.

#include "espalier/core/pool_vector.hpp"
#include "espalier/tensor/kernels/elementwise.hpp"

namespace espalier::inline ESPALIER_ABI::kernels {

/// Elements that are summed in T before the sum goes on in double.
inline constexpr Index sum_block = 1024;

namespace detail {

struct SumOf {
  template <int Bytes, class T, class F, class... P>
  ESPALIER_INLINE static double run(Index n, F f, const T* x, const P*... more) {
    using V = pack<T, Bytes>;
    double total = 0;
    for (Index start = 0; start < n; start += sum_block) {
      const Index end = std::min(n, start + sum_block);
      V s0, s1, s2, s3;
      Index i = start;
      for (; i + 4 * V::size <= end; i += 4 * V::size) {
        s0 += f(V::load(x + i), V::load(more + i)...);
        s1 += f(V::load(x + i + V::size), V::load(more + i + V::size)...);
        s2 += f(V::load(x + i + 2 * V::size), V::load(more + i + 2 * V::size)...);
        s3 += f(V::load(x + i + 3 * V::size), V::load(more + i + 3 * V::size)...);
      }
      for (; i + V::size <= end; i += V::size) s0 += f(V::load(x + i), V::load(more + i)...);
      if (i < end)  // padded lanes are selected away: f(0) need not be 0
        s1 += select(V::first(end - i), f(V::load(x + i, end - i), V::load(more + i, end - i)...), V());
      total += static_cast<double>(sum((s0 + s1) + (s2 + s3)));
    }
    return total;
  }
};
template <class T, class F, class... P>
[[gnu::noinline]] double sum_here(Index n, const F& f, const T* x, const P*... more) {
  return SumOf::run<ESPALIER_VECTOR_BYTES>(n, f, x, more...);
}

}  // namespace detail

/// Sum of f(x[i]...) over i, f on packs.
template <class T, class F, class... P>
ESPALIER_INLINE double sum_of(Index n, const F& f, const T* x, const P*... more) {
  if constexpr (EveryIsa<F>) return dispatch<detail::SumOf>(n, f, x, more...);
  else return detail::sum_here(n, f, x, more...);
}

template <class T>
double sum(Index n, const T* x) {
  return sum_of(n, [](const auto& a) __attribute__((always_inline)) { return a; }, x);
}
template <class T>
double dot(Index n, const T* x, const T* y) {
  return sum_of(n, [](const auto& a, const auto& b) __attribute__((always_inline)) { return a * b; }, x, y);
}

namespace detail {

inline constexpr Index column_rows = 64, column_most = 64 * column_rows;

/// Four vectors of columns side by side, so that every line of the cache is read once and whole, then one by one.
struct ColumnSums {
  template <int Bytes, class T, class Sum>
  ESPALIER_INLINE static void run(Index m, Index n, Sum* y, const T* x) {
    constexpr Index width = pack<T, Bytes>::size;
    Index j = 0;
    for (; j + 4 * width <= n; j += 4 * width) strip<4, Bytes>(m, n, 4 * width, y + j, x + j);
    for (; j < n; j += width) strip<1, Bytes>(m, n, std::min(width, n - j), y + j, x + j);
  }

 private:
  template <int Vectors, int Bytes, class T, class Sum>
  ESPALIER_INLINE static void strip(Index m, Index n, Index columns, Sum* y, const T* x) {
    using V = pack<T, Bytes>;
    const bool whole = columns == Vectors * V::size;
    const auto load = [&](const T* p) __attribute__((always_inline)) { return whole ? V::load(p) : V::load(p, columns); };
    constexpr auto vectors = std::size_t{Vectors}, numbers = std::size_t{Vectors * V::size};
    V total[vectors];
    double totals[numbers] = {};
    alignas(64) T lanes[numbers];
    const auto take_down = [&]() __attribute__((always_inline)) {
      for (int v = 0; v < Vectors; ++v) total[v].store(lanes + v * V::size);
      for (int k = 0; k < Vectors * V::size; ++k) totals[k] += static_cast<double>(lanes[k]);
      for (int v = 0; v < Vectors; ++v) total[v] = V();
    };
    for (Index i = 0; i < m;) {
      const Index end = std::min(m, i + column_rows);
      V s0[vectors], s1[vectors];
      for (; i + 2 <= end; i += 2) {
        const T* p = x + i * n;
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; ++v) {
          s0[v] += load(p + v * V::size);
          s1[v] += load(p + n + v * V::size);
        }
      }
      if (i < end) {
        const T* p = x + i++ * n;
        for (int v = 0; v < Vectors; ++v) s0[v] += load(p + v * V::size);
      }
      for (int v = 0; v < Vectors; ++v) total[v] += s0[v] + s1[v];
      if (m > column_most && (i % column_most == 0 || i == m)) take_down();
    }
    if constexpr (std::is_same_v<Sum, T>) {
      if (m <= column_most) {
        for (int v = 0; v < Vectors; ++v) {
          T* const to = y + v * V::size;
          if (whole) (V::load(to) + total[v]).store(to);
          else (V::load(to, columns) + total[v]).store(to, columns);
        }
        return;
      }
    } else if (m <= column_most) {
      take_down();
    }
    for (Index k = 0; k < columns; ++k) y[k] += static_cast<Sum>(totals[k]);
  }
};

}  // namespace detail

/// y[j] += sum over i of x[i * n + j], i in [0, m): rows are added in blocks of 64, so that rounding grows slowly, and beyond
/// 4,096 rows the sum goes on in double. Sum is T or double.
template <class T, class Sum>
void add_column_sums(Index m, Index n, Sum* y, const T* x) {
  if (n == 1) *y += static_cast<Sum>(sum(m, x));
  else dispatch<detail::ColumnSums>(m, n, y, x);
}

namespace detail {

/// y += x summed along the axes where the sum's stride is 0: the inner one or two at once, the others one by one.
template <class T, class Sum>
void add_sum_along(const BroadcastAxes& axes, Sum* y, const T* x) {
  const Index inner = axes.size[0];
  const bool kept = axes.b[0] != 0, columns = kept && axes.rank > 1;  // neighbours that are both kept have been merged
  const int first = columns ? 2 : 1;
  Index outer = 1;
  for (int i = first; i < axes.rank; ++i) outer *= axes.size[i];
  for (Index row = 0; row < outer; ++row) {
    Index rest = row, from = 0, to = 0;
    for (int i = first; i < axes.rank; ++i) {
      const Index position = rest % axes.size[i];
      rest /= axes.size[i];
      from += position * axes.a[i];
      to += position * axes.b[i];
    }
    if (columns) add_column_sums(axes.size[1], inner, y + to, x + from);
    else if (kept) for (Index i = 0; i < inner; ++i) y[to + i] += static_cast<Sum>(x[from + i]);
    else y[to] += static_cast<Sum>(sum(inner, x + from));
  }
}

}  // namespace detail

/// y += x summed down to `out`, a shape that broadcasts to `shape`. Where many sums come together in one element they are
/// added in double.
template <class T>
void add_sum_to(const Shape& shape, const T* x, const Shape& out, T* y) {
  if (shape.size() == 0) return;
  const detail::BroadcastAxes axes(shape, shape, out);  // strides of the source (a) and of the sum (b)
  Index folds = 1;
  for (int i = axes.b[0] != 0 ? 2 : 1; i < axes.rank; ++i)
    if (axes.b[i] == 0) folds *= axes.size[i];
  if (folds <= 64) return detail::add_sum_along(axes, y, x);
  PoolVector<double> sums(static_cast<std::size_t>(out.size()), 0.0);
  detail::add_sum_along(axes, sums.data(), x);
  for (std::size_t i = 0; i < sums.size(); ++i) y[i] += static_cast<T>(sums[i]);
}

namespace detail {
struct Largest {
  template <int Bytes, class T>
  ESPALIER_INLINE static T run(Index n, const T* x) {
    using V = pack<T, Bytes>;
    const auto larger = [](const V& v, const V& best)
                            __attribute__((always_inline)) { return select(is_nan(v) | (v > best), v, best); };
    if (n < V::size) return max(select(V::first(n), V::load(x, n), V(*x)));
    V even = V::load(x), odd = V::load(x + n - V::size);  // the tail, some of it twice
    Index i = V::size;
    for (; i + 2 * V::size <= n; i += 2 * V::size) {
      even = larger(V::load(x + i), even);
      odd = larger(V::load(x + i + V::size), odd);
    }
    if (i + V::size <= n) even = larger(V::load(x + i), even);
    return max(larger(even, odd));
  }
};
}  // namespace detail

/// The largest of n >= 1 elements; NaN when one is NaN.
template <class T>
T max(Index n, const T* x) {
  return dispatch<detail::Largest>(n, x);
}

}  // namespace espalier::inline ESPALIER_ABI::kernels
