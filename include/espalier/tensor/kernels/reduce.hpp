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
/// Columns that are summed together: their totals, and the rows of a block, stay in the cache.
inline constexpr Index column_chunk = 512;

/// Blocks of rows one after another, as memory likes it; in a block four vectors of columns side by side, then one by one.
struct ColumnSums {
  template <int Bytes, class T, class Sum>
  ESPALIER_INLINE static void run(Index m, Index n, Index columns, Sum* y, const T* x) {
    using V = pack<T, Bytes>;
    alignas(64) T total[column_chunk];
    double totals[column_chunk];
    std::fill_n(total, std::min<Index>(column_chunk, columns + V::size), T(0));
    if (m > column_most) std::fill_n(totals, columns, 0.0);
    const bool far = m * n * Index{sizeof(T)} > 1 << 18;  // not in the second-level cache
    for (Index i = 0; i < m;) {
      const Index rows = std::min(column_rows, m - i);
      const T* const block = x + i * n;
      Index j = 0;
      for (; j + 4 * V::size <= columns; j += 4 * V::size) strip<4, Bytes>(rows, n, 4 * V::size, far, total + j, block + j);
      for (; j < columns; j += V::size) strip<1, Bytes>(rows, n, std::min<Index>(V::size, columns - j), far, total + j, block + j);
      i += rows;
      if (m > column_most && (i % column_most == 0 || i == m)) {
        for (Index k = 0; k < columns; ++k) totals[k] += static_cast<double>(total[k]);
        std::fill_n(total, columns, T(0));
      }
    }
    const auto end = [&](const auto* sums) __attribute__((always_inline)) {
      for (Index k = 0; k < columns; ++k) y[k] += static_cast<Sum>(sums[k]);
    };
    if (m > column_most) return end(totals);
    if constexpr (!std::is_same_v<Sum, T>) end(total);
    else for_each_pack<Bytes>(columns, y, [](const auto& a, const auto& b) __attribute__((always_inline)) { return a + b; },
                              static_cast<const T*>(y), static_cast<const T*>(total));
  }

 private:
  /// total += the rows' sum, even and odd rows apart. The rows of a block are too many for the processor to see what comes next
  /// in each, so it is told where they are `far`.
  template <int Vectors, int Bytes, class T>
  ESPALIER_INLINE static void strip(Index rows, Index n, Index columns, bool far, T* total, const T* x) {
    using V = pack<T, Bytes>;
    const bool whole = columns == Vectors * V::size;
    const auto load = [&](const T* p) __attribute__((always_inline)) { return whole ? V::load(p) : V::load(p, columns); };
    V s0[std::size_t{Vectors}], s1[std::size_t{Vectors}];
    Index i = 0;
    for (; i + 2 <= rows; i += 2, x += 2 * n) {
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) {
        s0[v] += load(x + v * V::size);
        s1[v] += load(x + n + v * V::size);
      }
      if (far)  // the strip after the next
        for (int v = 0; v < Vectors; v += 64 / Bytes) {
          __builtin_prefetch(x + (2 * Vectors + v) * V::size);
          __builtin_prefetch(x + n + (2 * Vectors + v) * V::size);
        }
    }
    if (i < rows)
      for (int v = 0; v < Vectors; ++v) s0[v] += load(x + v * V::size);
    for (int v = 0; v < Vectors; ++v) (V::load(total + v * V::size) + (s0[v] + s1[v])).store(total + v * V::size);
  }
};

}  // namespace detail

/// y[j] += sum over i of x[i * n + j], i in [0, m): rows are added in blocks of 64, so that rounding grows slowly, and beyond
/// 4,096 rows the sum goes on in double. Columns are shared among threads. Sum is T or double.
template <class T, class Sum>
void add_column_sums(Index m, Index n, Sum* y, const T* x) {
  if (n == 1) return (void)(*y += static_cast<Sum>(sum(m, x)));
  constexpr Index chunk = detail::column_chunk;
  parallel_for((n + chunk - 1) / chunk, m * n, [&](Index block) {
    const Index j = block * chunk;
    dispatch<detail::ColumnSums>(m, n, std::min(chunk, n - j), y + j, x + j);
  });
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
