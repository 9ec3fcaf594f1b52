#pragma once
// gemm: the one matrix product. c = a b (+ c) (+ bias) (activation), operands by strides, so that a transpose is a pair
// of swapped strides; the engine behind it may be exchanged at build time (this one needs nothing but headers).
//
// Bits. An element of c is a chain of fused multiply-adds along k, in order, cut into slices of equal length whose sums are
// added in order. How k is cut follows from k and n alone, and vectors run along the columns of c, so that no path, tail,
// block or thread has sums of its own: bits depend on the element's row of a, its column of b, k and n, never on the rows
// around it. That one rule is also what leaves every other choice below free. (Very narrow products sum along the vectors
// instead, for every number of rows; see narrow_product.)
//
// Speed. Innermost is a tile of c held in registers (gemm_micro.hpp): each step along k loads two vectors of b, broadcasts
// the numbers of a one by one and multiplies all with all. Around it are the loops of Goto and van de Geijn ("Anatomy of
// high-performance matrix multiplication", TOMS 2008): slices of k, so short that a panel of b (as many columns as a tile)
// stays in the first-level cache while the rows of a pass by, which come from the second level. What is read many times
// is first copied into the order of reading; what is read a few times is not: small products copy next to nothing.

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
  /// Length of a slice of k: a packed panel of two 64-byte vectors then takes 48 kB at most and 32 kB mostly.
  static constexpr Index depth = 384;
  /// Rows and columns of c in one task: the task's share of a takes 360 kB (float) at most, within any second-level cache
  /// together with a panel of b, and a product of medium size still has some tasks for every core.
  static constexpr Index task_rows = 240, task_columns = 256;
  /// Rows and columns of c in one pass, which bounds the packed copies of a and b.
  static constexpr Index pass = 1024;

  /// `total` in equal parts of at most `limit`, but for rounding up to a multiple of `step`.
  static Index part(Index total, Index limit, Index step) {
    if (total <= limit) return total;
    const Index parts = (total + limit - 1) / limit;
    return ((total + parts - 1) / parts + step - 1) / step * step;
  }
};

/// A slice of k for m rows and n columns of c, all that one pass takes: x.c += x.a x.b, and the epilogue if there is one.
template <class T>
void gemm_slice(const Product<T>& x) {
  using Tile = RegisterTile<T>;
  const Index m = x.m, n = x.n, depth = x.k;
  const Strided<T> a = x.a, b = x.b;
  TileRun<T> shared{.depth = depth, .ldc = x.ldc, .accumulate = x.accumulate, .activation = x.epilogue.activation};
  const Index rows = Blocking::part(m, Blocking::task_rows, Tile::rows);
  const Index columns = Blocking::part(n, Blocking::task_columns, Tile::columns);
  const Index row_tasks = (m + rows - 1) / rows, column_tasks = (n + columns - 1) / columns;

  // Copying a pays when several panels of b read it and it is larger than the first-level cache.
  const bool pack_a = n > 4 * Tile::columns && m * depth > 8192;
  // Rows of b that are dense and fill whole vectors are read where they lie, unless so often that a copy's order pays.
  const bool b_in_place = b.column_stride == 1 && m <= 8 * Tile::rows;
  // A panel that only one task reads is packed by that task, right before its use; others are packed beforehand.
  const bool pack_b = row_tasks > 1;
  const T* a_data = a.data;
  T* b_copy = nullptr;
  if (pack_a)
    rows_layout(depth, a, shared);
  else
    set_layout(a, shared);
  if (pack_a || pack_b) {
    T* const a_copy = scratch<T, 0>((pack_a ? rows_copy_size(m, shared) : 0) + (pack_b ? (n + Tile::columns) * depth : 0));
    b_copy = a_copy + (pack_a ? rows_copy_size(m, shared) : 0);
    const Index a_blocks = pack_a ? row_tasks : 0, b_blocks = pack_b ? column_tasks : 0;
    parallel_for(a_blocks + b_blocks, 8 * depth * ((pack_a ? m : 0) + (pack_b ? n : 0)), [&](Index block) {
      if (block < a_blocks) {
        const Index i = block * rows;
        pack_rows(std::min(rows, m - i), depth, a.from(i, 0), a_copy + i / Tile::rows * shared.a_block, shared);
      } else {
        const Index j = (block - a_blocks) * columns;
        for (Index end = std::min(n, j + columns), q = j; q < end; q += Tile::columns)
          pack_panel(depth, std::min(Tile::columns, end - q), b.from(0, q), b_copy + q * depth, panel_step<T>(end - q));
      }
    });
    if (pack_a) a_data = a_copy;
  }

  parallel_for(row_tasks * column_tasks, m * n * depth, [&](Index task) {
    const Index i = task / column_tasks * rows, first = task % column_tasks * columns;
    const Index last = std::min(n, first + columns);
    const T* const a_task = pack_a ? a_data + i / Tile::rows * shared.a_block : a.from(i, 0).data;
    TileRun<T> run = shared;
    Index j = first;
    if (m <= Tile::wide_rows && b_in_place) {
      run.columns = Tile::wide_vectors * Tile::width;
      run.b_step = b.row_stride;
      for (; j + run.columns <= last; j += run.columns) {
        run.bias = x.epilogue.bias ? x.epilogue.bias + j : nullptr;
        tiles<T, Tile::wide_vectors, Tile::wide_rows>(m, a_task, b.from(0, j).data, x.c + j, run);
      }
    }
    for (; j < last; j += Tile::columns) {
      run.columns = std::min(Tile::columns, last - j);
      run.bias = x.epilogue.bias ? x.epilogue.bias + j : nullptr;
      run.b_step = panel_step<T>(run.columns);
      const T* b_panel = b_copy + j * depth;
      if (b_in_place && run.columns % Tile::width == 0) {
        b_panel = b.from(0, j).data;
        run.b_step = b.row_stride;
      } else if (!pack_b) {
        T* const panel = scratch<T, 1>(depth * Tile::columns);
        pack_panel(depth, run.columns, b.from(0, j), panel, run.b_step);
        b_panel = panel;
      }
      T* const out = x.c + i * x.ldc + j;
      if (run.columns <= Tile::width)
        tiles<T, 1>(std::min(rows, m - i), a_task, b_panel, out, run);
      else
        tiles<T, 2>(std::min(rows, m - i), a_task, b_panel, out, run);
    }
  });
}

/// A product of so few columns that they would fill a quarter of a vector: vectors run along k instead, and the sum of an
/// element ends with the sum of its lanes, in a fixed order.
template <class T>
void narrow_product(const Product<T>& x) {
  constexpr Index block_rows = 16;
  const Index dense = (x.k + 15) / 16 * 16;  // from row to row of the copies; they are made only of what is not dense along k
  const T* columns = x.b.data;
  Index column_step = x.b.column_stride;
  if (x.b.row_stride != 1) {
    T* const copy = scratch<T, 0>(x.n * dense);
    pack_panel(x.n, x.k, x.b.transposed(), copy, dense);
    columns = copy;
    column_step = dense;
  }
  parallel_for((x.m + block_rows - 1) / block_rows, x.m * x.n * x.k, [&](Index block) {
    const Index i = block * block_rows, rows = std::min(block_rows, x.m - i);
    Strided<T> a = x.a.from(i, 0);
    if (a.column_stride != 1) {
      T* const copy = scratch<T, 1>(block_rows * dense);
      pack_panel(rows, x.k, a, copy, dense);
      a = {copy, dense, 1};
    }
    const bool accumulate = x.accumulate, relu = x.epilogue.activation == Activation::relu;
    const Index ldc = x.ldc;
    for (Index j = 0; j < x.n; ++j) {
      T sums[block_rows];
      dots(rows, x.k, a.data, a.row_stride, columns + j * column_step, sums);
      T* out = x.c + i * ldc + j;
      const T bias = x.epilogue.bias ? x.epilogue.bias[j] : T(0);
      for (Index r = 0; r < rows; ++r, out += ldc) {
        const T sum = (accumulate ? *out + sums[r] : sums[r]) + bias;
        *out = relu && sum < 0 ? T(0) : sum;
      }
    }
  });
}

/// The engine that needs nothing but headers.
template <class T>
void gemm_default(const Product<T>& x) {
  if (x.m <= 0 || x.n <= 0) return;
  // From about ten steps along k for each column on, a sum of lanes costs less than the idle part of a vector.
  if constexpr (RegisterTile<T>::width >= 4)
    if (x.n <= RegisterTile<T>::width / 4 && x.k >= 10 * x.n) return narrow_product(x);
  const Index depth = std::max<Index>(1, Blocking::part(x.k, Blocking::depth, 4));
  for (Index i = 0; i < x.m; i += Blocking::pass)
    for (Index j = 0; j < x.n; j += Blocking::pass)
      for (Index p = 0; p < x.k || p == 0; p += depth) {
        Epilogue<T> epilogue;
        if (p + depth >= x.k) epilogue = {x.epilogue.bias ? x.epilogue.bias + j : nullptr, x.epilogue.activation};
        gemm_slice(Product<T>{std::min(Blocking::pass, x.m - i), std::min(Blocking::pass, x.n - j), std::min(depth, x.k - p),
                              x.a.from(i, p), x.b.from(p, j), x.c + i * x.ldc + j, x.ldc, x.accumulate || p > 0, epilogue});
      }
}

}  // namespace detail

/// c[m, n] (rows ldc apart) = a[m, k] b[k, n] (+ c, when `accumulate`) (+ bias[n]) (activation). T is float or double.
/// Any stride is right, 0 (a repeated row or column) and negative ones too; fast are operands with a stride of 1. Sizes may
/// be 0; with k == 0 the product is 0. c may not overlap a, b or bias. Nothing is checked: shapes are the caller's.
template <class T>
void gemm(Index m, Index n, Index k, Strided<T> a, Strided<T> b, T* c, Index ldc, bool accumulate = false,
          Epilogue<T> epilogue = {}) {
  detail::gemm_default(detail::Product<T>{m, n, k, a, b, c, ldc, accumulate, epilogue});
}

}  // namespace espalier::inline ESPALIER_ABI::kernels
