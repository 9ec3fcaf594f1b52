#pragma once
// gemm: the one matrix product. c = a b (+ c) (+ bias) (activation), operands by strides, so that a transpose is a pair
// of swapped strides. The engine here needs nothing but headers; BLAS or oneDNN take its place where ESPALIER_GEMM_BLAS or
// ESPALIER_GEMM_ONEDNN is defined (CMake: ESPALIER_GEMM), and leave to it what they cannot say. What follows is about this one.
//
// Bits. An element of c is a chain of fused multiply-adds along k, cut into slices of equal length whose sums are added
// in order. The slices follow from k alone, and vectors run along the columns of c, so that no path, tail, block or
// thread has sums of its own: bits depend on the element's row of a and its column of b, never on the rows around it.
// That one rule is also what leaves every other choice below free. Only products of very few columns sum along the
// vectors instead, which follows from k and n, again for any number of rows (narrow_product).
//
// Speed. Innermost is a tile of c held in registers (gemm_micro.hpp): each step along k loads two vectors of b,
// broadcasts the numbers of a one by one and multiplies all with all. Around it are the loops of Goto and van de Geijn
// ("Anatomy of high-performance matrix multiplication", TOMS 2008): slices of k, so short that a panel of b (as many
// columns as a tile) stays in the first-level cache while the rows of a pass by, which come from the second level. What
// is read many times is first copied into the order of reading; what is read a few times is not: small products copy
// next to nothing.

#include "espalier/core/parallel.hpp"
#include "espalier/tensor/kernels/elementwise.hpp"
#include "espalier/tensor/kernels/gemm_micro.hpp"
#include "espalier/tensor/kernels/gemm_pack.hpp"
#if defined(ESPALIER_GEMM_BLAS)
#include "espalier/tensor/kernels/gemm_blas.hpp"
#elif defined(ESPALIER_GEMM_ONEDNN)
#include "espalier/tensor/kernels/gemm_onednn.hpp"
#endif

namespace espalier::inline ESPALIER_ABI::kernels {

/// What follows the sum, in the last store: `bias` ([n], or none) is added, then the activation applied.
template <class T>
struct Epilogue {
  const T* bias = nullptr;
  Activation activation = Activation::none;
};

namespace detail {

/// One call of gemm.
template <class T>
struct Product {
  Index m, n, k;
  Strided<T> a, b;
  T* c;
  Index ldc;
  bool accumulate;
  Epilogue<T> epilogue;
};

/// How a product is cut: by its shape, never by the number of threads. The constants suit every vector width.
struct Blocking {
  /// Length of a slice of k: a packed panel of b, two 64-byte vectors wide, then takes 32 kB, a first-level cache's
  /// size.
  static constexpr Index depth = 256;
  /// Rows and columns of c in one task: the task's share of a takes 240 kB (float) and stays in the second-level cache,
  /// and a product of medium size still has tasks for several cores.
  static constexpr Index task_rows = 240, task_columns = 256;
  /// Rows and columns of c in one pass, which bounds the packed copies of a and b.
  static constexpr Index pass = 1024;

  /// `total` in equal parts of at most `limit`, but for rounding up to a multiple of `step`.
  static Index part(Index total, Index limit, Index step) {
    if (total <= limit) return total;
    const Index parts = (total + limit - 1) / limit;
    return ((total + parts - 1) / parts + step - 1) / step * step;
  }
  /// The slices of k: their length but for the last, shorter one.
  static Index slice(Index k) { return std::max<Index>(1, part(k, depth, 4)); }
};

/// One task: a slice of k for few rows and columns of c. `a` is read as `run` says; `b_copy`, where there is one, holds
/// the packed panels of b. The task fills in what `run` says of a panel.
template <class T>
void gemm_task(const Product<T>& x, const T* a, const T* b_copy, TileRun<T>& run) {
  const GemmKernels<T>& kernels = gemm_kernels<T>();
  const Index width = kernels.width, tile_columns = kernels.tile_columns();
  // Rows of b that are dense and fill whole vectors are read where they lie, unless so often that a copy's order pays.
  const bool in_place = !b_copy && x.b.column_stride == 1 && x.m <= 8 * kernels.tile_rows;
  const T* const bias = x.epilogue.bias;
  if (!b_copy && ThinProduct::suits(x.m, x.k, x.b)) {
    run.bias = bias;
    return kernels.thin(x.n, a, &x.b, x.c, &run);
  }
  Index j = 0;
  if (in_place && x.m <= kernels.wide_rows) {
    run.columns = kernels.wide_columns;
    run.b_step = x.b.row_stride;
    for (; j + run.columns <= x.n; j += run.columns) {
      run.bias = bias ? bias + j : nullptr;
      kernels.wide(x.m, a, x.b.data + j, x.c + j, run);
    }
  }
  for (; j < x.n; j += tile_columns) {
    run.columns = std::min(tile_columns, x.n - j);
    run.bias = bias ? bias + j : nullptr;
    run.b_step = kernels.panel_step(run.columns);
    const T* panel;
    if (b_copy) {
      panel = b_copy + j * x.k;
    } else if (in_place && run.columns % width == 0) {
      panel = x.b.data + j;
      run.b_step = x.b.row_stride;
    } else {
      T* const copy = scratch<T, 1>(x.k * tile_columns);
      const Strided<T> from = x.b.from(0, j);
      kernels.pack_panel(x.k, run.columns, &from, copy, run.b_step);
      panel = copy;
    }
    (run.columns <= width ? kernels.one : kernels.two)(x.m, a, panel, x.c + j, run);
  }
}

/// A slice of k for all rows and columns of one pass: packs what is worth it, then cuts c into tasks.
template <class T>
void gemm_slice(const Product<T>& x) {
  const GemmKernels<T>& kernels = gemm_kernels<T>();
  const Index tile_rows = kernels.tile_rows, tile_columns = kernels.tile_columns();
  const Index m = x.m, n = x.n, depth = x.k;
  TileRun<T> run{.depth = depth, .ldc = x.ldc, .accumulate = x.accumulate, .activation = x.epilogue.activation};
  set_layout(tile_rows, x.a, run);
  // Copying a pays when several panels of b read it and it is larger than the first-level cache.
  const bool pack_a = n > 4 * tile_columns && m * depth > 8192;
  if (!pack_a && m <= Blocking::task_rows && n <= Blocking::task_columns)
    return gemm_task<T>(x, x.a.data, nullptr, run);

  const Index rows = Blocking::part(m, Blocking::task_rows, tile_rows), row_tasks = (m + rows - 1) / rows;
  const Index columns = Blocking::part(n, Blocking::task_columns, tile_columns),
              column_tasks = (n + columns - 1) / columns;
  // A panel of b that only one task reads is packed by that task, right before its use; others are packed beforehand.
  const bool pack_b = row_tasks > 1;
  T *a_copy = nullptr, *b_copy = nullptr;
  if (pack_a || pack_b) {
    if (pack_a) set_copy_layout(tile_rows, depth, x.a, run);
    const Index a_size = pack_a ? (m + tile_rows - 1) / tile_rows * run.a_block : 0;
    T* const memory = scratch<T, 0>(a_size + (pack_b ? (n + tile_columns) * depth : 0));
    if (pack_a) a_copy = memory;
    if (pack_b) b_copy = memory + a_size;
    const Index a_blocks = pack_a ? row_tasks : 0, b_blocks = pack_b ? column_tasks : 0;
    // A copied number costs about as much as eight multiply-adds.
    parallel_for(a_blocks + b_blocks, 8 * depth * ((pack_a ? m : 0) + (pack_b ? n : 0)), [&](Index block) {
      if (block < a_blocks) {
        const Index i = block * rows;
        const Strided<T> from = x.a.from(i, 0);
        kernels.pack_rows(std::min(rows, m - i), depth, &from, a_copy + i / tile_rows * run.a_block, &run);
      } else {
        const Index first = (block - a_blocks) * columns, last = std::min(n, first + columns);
        for (Index j = first; j < last; j += tile_columns) {
          const Index here = std::min(tile_columns, last - j);
          const Strided<T> from = x.b.from(0, j);
          kernels.pack_panel(depth, here, &from, b_copy + j * depth, kernels.panel_step(here));
        }
      }
    });
  }

  parallel_for(row_tasks * column_tasks, m * n * depth, [&](Index task) {
    TileRun<T> task_run = run;
    const Index i = task / column_tasks * rows, j = task % column_tasks * columns;
    Product<T> part = x;
    part.m = std::min(rows, m - i);
    part.n = std::min(columns, n - j);
    part.b = x.b.from(0, j);
    part.c = x.c + i * x.ldc + j;
    if (x.epilogue.bias) part.epilogue.bias = x.epilogue.bias + j;
    const T* const a = pack_a ? a_copy + i / tile_rows * run.a_block : x.a.from(i, 0).data;
    gemm_task<T>(part, a, pack_b ? b_copy + j * depth : nullptr, task_run);
  });
}

/// A product of so few columns that they would fill a quarter of a vector: vectors run along k instead, and the sum of
/// an element ends with the sum of its lanes, in a fixed order.
template <class T>
void narrow_product(const Product<T>& x) {
  constexpr Index block_rows = 16;
  const GemmKernels<T>& kernels = gemm_kernels<T>();
  const Index dense =
      (x.k + 15) / 16 * 16;  // from row to row of the copies; they are made only of what is not dense along k
  const T* columns = x.b.data;
  Index column_step = x.b.column_stride;
  if (x.b.row_stride != 1) {
    T* const copy = scratch<T, 0>(x.n * dense);
    const Strided<T> from = x.b.transposed();
    kernels.pack_panel(x.n, x.k, &from, copy, dense);
    columns = copy;
    column_step = dense;
  }
  parallel_for((x.m + block_rows - 1) / block_rows, x.m * x.n * x.k, [&](Index block) {
    const Index i = block * block_rows, rows = std::min(block_rows, x.m - i);
    Strided<T> a = x.a.from(i, 0);
    if (a.column_stride != 1) {
      T* const copy = scratch<T, 1>(block_rows * dense);
      kernels.pack_panel(rows, x.k, &a, copy, dense);
      a = {copy, dense, 1};
    }
    for (Index j = 0; j < x.n; ++j) {
      T sums[block_rows] = {};
      kernels.dots(rows, x.k, a.data, a.row_stride, columns + j * column_step, sums);
      T* const out = x.c + i * x.ldc + j;
      if (x.accumulate)
        for (Index r = 0; r < rows; ++r) sums[r] += out[r * x.ldc];
      if (x.epilogue.bias)
        for (Index r = 0; r < rows; ++r) sums[r] += x.epilogue.bias[j];
      if (x.epilogue.activation == Activation::relu)
        for (Index r = 0; r < block_rows; r += pack<T>::size) relu(pack<T>::load(sums + r)).store(sums + r);
      for (Index r = 0; r < rows; ++r) out[r * x.ldc] = sums[r];
    }
  });
}

#if defined(ESPALIER_GEMM_BLAS) || defined(ESPALIER_GEMM_ONEDNN)
/// The epilogue, where the engine has none.
template <class T>
void finish(Index m, Index n, T* c, Index ldc, const Epilogue<T>& epilogue) {
  const auto add = [](const auto& x, const auto& b) __attribute__((always_inline)) { return x + b; };
  const auto bend = [](const auto& x) __attribute__((always_inline)) { return relu(x); };
  for (Index i = 0; i < m && (epilogue.bias || epilogue.activation == Activation::relu); ++i, c += ldc) {
    const T* const row = c;
    if (epilogue.bias) map_block(n, c, add, row, epilogue.bias);
    if (epilogue.activation == Activation::relu) map_block(n, c, bend, row);
  }
}
#endif

/// Whether a product is one for narrow_product: from about ten steps along k for each column on, a sum of lanes costs less
/// than the idle part of a vector.
template <class T>
bool is_narrow(const GemmKernels<T>& kernels, Index n, Index k) {
  return kernels.dots && n <= kernels.width / 4 && k >= 10 * n;
}

/// The engine that needs nothing but headers.
template <class T>
void gemm_default(const Product<T>& x) {
  if (x.m <= 0 || x.n <= 0) return;
  if (is_narrow(gemm_kernels<T>(), x.n, x.k)) return narrow_product(x);
  if (x.k <= Blocking::depth && x.m <= Blocking::pass && x.n <= Blocking::pass) return gemm_slice(x);
  const Index depth = Blocking::slice(x.k);
  for (Index i = 0; i < x.m; i += Blocking::pass)
    for (Index j = 0; j < x.n; j += Blocking::pass)
      for (Index p = 0; p < x.k || p == 0; p += depth) {
        Epilogue<T> epilogue;
        if (p + depth >= x.k) epilogue = {x.epilogue.bias ? x.epilogue.bias + j : nullptr, x.epilogue.activation};
        gemm_slice(Product<T>{std::min(Blocking::pass, x.m - i), std::min(Blocking::pass, x.n - j),
                              std::min(depth, x.k - p), x.a.from(i, p), x.b.from(p, j), x.c + i * x.ldc + j, x.ldc,
                              x.accumulate || p > 0, epilogue});
      }
}

}  // namespace detail

/// c[m, n] (rows ldc apart) = a[m, k] b[k, n] (+ c, when `accumulate`) (+ bias[n]) (activation). T is float or double.
/// Any stride is right, 0 (a repeated row or column) and negative ones too; fast are operands with a stride of 1. Sizes
/// may be 0; with k == 0 the product is 0. c may not overlap a, b or bias. Nothing is checked: shapes are the caller's.
template <class T>
ESPALIER_INLINE void gemm(Index m, Index n, Index k, Strided<T> a, Strided<T> b, T* c, Index ldc,
                          bool accumulate = false, Epilogue<T> epilogue = {}) {
#if defined(ESPALIER_GEMM_BLAS) || defined(ESPALIER_GEMM_ONEDNN)
  if (m <= 0 || n <= 0) return;
  if (detail::engine_gemm<T>(m, n, k, a, b, c, ldc, accumulate)) return detail::finish(m, n, c, ldc, epilogue);
#endif
  detail::gemm_default(detail::Product<T>{m, n, k, a, b, c, ldc, accumulate, epilogue});
}

}  // namespace espalier::inline ESPALIER_ABI::kernels
