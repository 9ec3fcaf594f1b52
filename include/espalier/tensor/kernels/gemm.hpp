#pragma once
// gemm: the one matrix product. c = a b (+ c) (+ bias) (activation), operands by strides, so that a transpose is a pair
// of swapped strides; an engine behind it may be exchanged at build time (this one needs nothing but headers).
//
// Bits. An element of c is one chain of fused multiply-adds along k, a[i,0] b[0,j] first, in slices of equal depth whose
// sums are added in order; slices follow from k alone. Vectors run along the columns of c, so no path, no tail, no block and
// no thread has a sum of its own: the bits depend on the element's row of a, its column of b and k, whatever surrounds it.
// One exact rule of summation is therefore also what leaves all other choices below free (blocks, packing, swapping a, b).
//
// Speed. Innermost is a tile of c held in registers (gemm_micro.hpp): each step along k loads two vectors of b, broadcasts
// the numbers of a one by one and multiplies all with all. Around it, for each task (a block of c; tasks share nothing):
//   for each slice of k             its length bounds what a panel of b takes: half of the first-level cache
//     copy the rows of a densely    only where they are read often enough, and would otherwise not stay in the second level
//     for each panel of b           as many columns as a tile: packed, read by all rows of the task, forgotten
//       for each tile of rows
// (The loops of Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", TOMS 2008, with the packing of b
// moved inwards: a panel is still in the first-level cache when it is used, and small products pack next to nothing.)

#include <algorithm>

#include "espalier/core/parallel.hpp"
#include "espalier/tensor/kernels/gemm_micro.hpp"
#include "espalier/tensor/kernels/gemm_pack.hpp"

namespace espalier::inline ESPALIER_ABI::kernels {

/// What follows the sum, in the last store: `bias` ([n], or none) is added, then the activation applied.
template <class T>
struct Epilogue {
  const T* bias = nullptr;
  Activation activation = Activation::none;
};

namespace detail {

/// How a product is cut. All of it follows from the shape; the constants hold for every vector width.
template <class T>
struct Blocking {
  /// Length of a slice of k. A packed panel of two 64-byte vectors is then 48 kB at most and 32 kB on average.
  static constexpr Index depth = 384;
  /// Rows of c in a task: their slice of a takes 384 kB (float) at most, and lives in the second-level cache.
  static constexpr Index rows = 1024 / sizeof(T);
  /// Columns of c in a task: enough to make the copy of a cheap, few enough to give every core something to do.
  static constexpr Index columns = 256;

  /// Equal parts of at most `limit`, their length rounded up to a multiple of `step`.
  static Index part(Index total, Index limit, Index step) {
    const Index parts = (total + limit - 1) / limit;
    return parts <= 1 ? total : ((total + parts - 1) / parts + step - 1) / step * step;
  }
};

/// The rows [0, m) and columns [0, n) of one task. `bias_step` is 1, or 0 where all columns share bias[0 .. tile columns).
template <class T>
void gemm_task(Index m, Index n, Index k, Strided<T> a, Strided<T> b, T* c, Index ldc, bool accumulate,
               const Epilogue<T>& epilogue, Index bias_step) {
  using Tile = RegisterTile<T>;
  const Index depth = Blocking<T>::part(k, Blocking<T>::depth, 4);
  // Copying a pays when several panels of b read it and it is too large for the first-level cache.
  const bool pack_a = n > 4 * Tile::columns && m * depth > 8192;
  // Rows of b that are dense and fill whole vectors are read where they lie, unless so often that a copy's order pays.
  const bool dense_b = b.column_stride == 1 && m <= 8 * Tile::rows;
  T* const panel = scratch<T>(depth * Tile::columns + (pack_a ? packed_rows_size<T>(m, depth) : 0));
  T* const rows = panel + depth * Tile::columns;

  TileRun<T> run{.ldc = ldc};
  for (Index p = 0; p < k || p == 0; p += depth) {
    run.depth = std::min(depth, k - p);
    const bool last = p + depth >= k;
    run.accumulate = accumulate || p > 0;
    run.activation = last ? epilogue.activation : Activation::none;
    const T* const bias = last ? epilogue.bias : nullptr;
    const T* a_slice = a.data + p * a.column_stride;
    if (pack_a) {
      pack_rows(m, run.depth, Strided<T>{a_slice, a.row_stride, a.column_stride}, rows, run);
      a_slice = rows;
    } else {
      run.a_row = a.row_stride;
      run.a_step = a.column_stride;
      run.a_block = Tile::rows * a.row_stride;
    }
    for (Index j = 0; j < n; j += Tile::columns) {
      run.columns = std::min(Tile::columns, n - j);
      run.bias = bias ? bias + j * bias_step : nullptr;
      const Strided<T> b_panel{b.data + p * b.row_stride + j * b.column_stride, b.row_stride, b.column_stride};
      const T* b_slice = panel;
      const bool narrow = run.columns <= Tile::width;
      if (dense_b && run.columns % Tile::width == 0) {
        b_slice = b_panel.data;
        run.b_step = b.row_stride;
      } else {
        run.b_step = narrow ? Tile::width : Tile::columns;
        pack_panel(run.depth, run.columns, b_panel, panel, run.b_step);
      }
      if (narrow)
        tiles<T, 1>(m, a_slice, b_slice, c + j, run);
      else
        tiles<T, 2>(m, a_slice, b_slice, c + j, run);
    }
  }
}

/// Cuts c into tasks.
template <class T>
void gemm_tasks(Index m, Index n, Index k, Strided<T> a, Strided<T> b, T* c, Index ldc, bool accumulate,
                const Epilogue<T>& epilogue, Index bias_step) {
  using Tile = RegisterTile<T>;
  const Index rows = Blocking<T>::part(m, Blocking<T>::rows, Tile::rows);
  const Index columns = Blocking<T>::part(n, Blocking<T>::columns, Tile::columns);
  const Index row_blocks = (m + rows - 1) / rows, column_blocks = (n + columns - 1) / columns;
  parallel_for(row_blocks * column_blocks, m * n * k, [&](Index block) {
    const Index i = block / column_blocks * rows, j = block % column_blocks * columns;
    gemm_task(std::min(rows, m - i), std::min(columns, n - j), k,
              Strided<T>{a.data + i * a.row_stride, a.row_stride, a.column_stride},
              Strided<T>{b.data + j * b.column_stride, b.row_stride, b.column_stride}, c + i * ldc + j, ldc, accumulate,
              Epilogue<T>{epilogue.bias ? epilogue.bias + j * bias_step : nullptr, epilogue.activation}, bias_step);
  });
}

/// The engine that needs nothing but headers.
template <class T>
void gemm_default(Index m, Index n, Index k, Strided<T> a, Strided<T> b, T* c, Index ldc, bool accumulate,
                  const Epilogue<T>& epilogue) {
  using Tile = RegisterTile<T>;
  if (m <= 0 || n <= 0) return;
  if (n == 1 && ldc == 1 && m > 1) {
    // One column fills one lane of a vector. Its transpose is a row: b^T a^T, the same products in the same order.
    T bias[Tile::columns];
    if (epilogue.bias) std::fill_n(bias, Tile::columns, *epilogue.bias);
    gemm_tasks(Index{1}, m, k, Strided<T>{b.data, b.column_stride, b.row_stride},
               Strided<T>{a.data, a.column_stride, a.row_stride}, c, m, accumulate,
               Epilogue<T>{epilogue.bias ? bias : nullptr, epilogue.activation}, 0);
    return;
  }
  gemm_tasks(m, n, k, a, b, c, ldc, accumulate, epilogue, 1);
}

}  // namespace detail

/// c[m, n] (rows ldc apart) = a[m, k] b[k, n] (+ c, when `accumulate`) (+ bias[n]) (activation). T is float or double.
/// Any stride is right, 0 (a repeated row or column) and negative ones too; fast are operands with a stride of 1. Sizes may
/// be 0; with k == 0 the product is 0. c may not overlap a, b or bias. Nothing is checked: shapes are the caller's.
template <class T>
void gemm(Index m, Index n, Index k, Strided<T> a, Strided<T> b, T* c, Index ldc, bool accumulate = false,
          Epilogue<T> epilogue = {}) {
  detail::gemm_default(m, n, k, a, b, c, ldc, accumulate, epilogue);
}

}  // namespace espalier::inline ESPALIER_ABI::kernels
