#pragma once
// Copies that bring gemm's operands into the order in which the tiles read them, and the memory they go to.

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "espalier/tensor/kernels/gemm_thin.hpp"

namespace espalier::inline ESPALIER_ABI::kernels {

namespace detail {

/// Memory of one thread that grows to what its largest product needs, and is released when the thread ends.
struct Scratch {
  void* data;
  std::size_t bytes;
};
inline constinit thread_local Scratch thread_scratch[2] = {};  // without a destructor, so that access needs no guard

struct ScratchRelease {
  bool armed = false;
  ~ScratchRelease() {
    for (Scratch& s : thread_scratch) {
      ::operator delete (s.data, std::align_val_t{64});
      s = {};
    }
  }
};

__attribute__((noinline, cold)) inline void grow(Scratch& s, std::size_t bytes) {
  static constinit thread_local ScratchRelease at_thread_end;
  at_thread_end.armed = true;
  ::operator delete (s.data, std::align_val_t{64});
  s = {};
  bytes = (bytes + 4095) / 4096 * 4096;
  s.data = ::operator new (bytes, std::align_val_t{64});
  s.bytes = bytes;
}

/// At least `count` numbers, 64-byte aligned, of unknown content, valid until the thread asks for the same `Which`
/// again: 0 is what tasks share, 1 a task's own.
template <class T, int Which>
ESPALIER_INLINE T* scratch(Index count) {
  const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(T);
  if (thread_scratch[Which].bytes < bytes) grow(thread_scratch[Which], bytes);
  return static_cast<T*>(thread_scratch[Which].data);
}

/// dest[p * step + j] = b(p, j) for p < depth, j < columns; step is a whole number of vectors, and what lies behind the
/// last column is defined, but any number of b or 0: it only meets sums that are not stored.
struct PackPanel {
  template <int Bytes, class T>
  ESPALIER_INLINE static void run(Index depth, Index columns, const Strided<T>* operand, T* dest, Index step) {
    const Strided<T> b = *operand;
    if (b.column_stride == 1) {
      using Lanes = pack<T, Bytes>;
      for (Index j = 0; j < columns; j += Lanes::size) {
        const T* from = b.data + j;
        T* to = dest + j;
        const Index here = columns - j;
        if (here >= Lanes::size)
          for (Index p = 0; p < depth; ++p, from += b.row_stride, to += step) Lanes::load(from).store(to);
        else
          for (Index p = 0; p < depth; ++p, from += b.row_stride, to += step) Lanes::load(from, here).store(to);
      }
      return;
    }
    using Block = Transposer<T, Bytes>;
    for (Index j = 0; j < step; j += Block::columns) {
      T* to = dest + j;
      if (j >= columns) {
        for (Index p = 0; p < depth; ++p, to += step) typename Block::Lanes().store(to);
        continue;
      }
      const T* column[Block::columns];
      for (int i = 0; i < Block::columns; ++i) column[i] = b.data + std::min(j + i, columns - 1) * b.column_stride;
      if (b.row_stride == 1 && depth >= Block::rows) {
        for (Index p = 0; p + Block::rows <= depth; p += Block::rows) Block::run(column, p, to + p * step, step);
        const Index p = depth - Block::rows;
        if (depth % Block::rows != 0) Block::run(column, p, to + p * step, step);  // some numbers again, the same
      } else {
        for (Index p = 0; p < depth; ++p)
          for (int i = 0; i < Block::columns; ++i) to[p * step + i] = column[i][p * b.row_stride];
      }
    }
  }
};

/// How the tiles, `tile` rows each, read a where it lies.
template <class T>
void set_layout(Index tile, const Strided<T>& a, TileRun<T>& run) {
  run.a_row = a.row_stride;
  run.a_step = a.column_stride;
  run.a_block = tile * a.row_stride;
}

/// How they read the copy of PackRows: rows stay rows, at a distance that is an odd number of cache lines (lines at a
/// power of two from each other would evict each other); a transposed operand is cut into pieces of a tile's rows.
template <class T>
void set_copy_layout(Index tile, Index depth, const Strided<T>& a, TileRun<T>& run) {
  constexpr Index line = 64 / Index(sizeof(T));
  const bool transposed = a.row_stride == 1;
  run.a_row = transposed ? 1 : ((depth + line - 1) / line | 1) * line;
  run.a_step = transposed ? tile : 1;
  run.a_block = tile * (transposed ? depth : run.a_row);
}

/// A dense copy of rows of a, in the layout that `layout` describes.
struct PackRows {
  template <int Bytes, class T>
  ESPALIER_INLINE static void run(Index rows, Index depth, const Strided<T>* operand, T* dest,
                                  const TileRun<T>* layout) {
    constexpr Index tile = RegisterTile<T, Bytes>::rows;
    const Strided<T> a = *operand;
    if (layout->a_row == 1) {
      for (Index i = 0; i < rows; i += tile, dest += layout->a_block) {
        const T* from = a.data + i;
        if (rows - i >= tile)
          for (Index p = 0; p < depth; ++p) std::memcpy(dest + p * tile, from + p * a.column_stride, tile * sizeof(T));
        else
          for (Index p = 0; p < depth; ++p) std::copy_n(from + p * a.column_stride, rows - i, dest + p * tile);
      }
    } else {
      for (Index i = 0; i < rows; ++i, dest += layout->a_row) {
        const T* from = a.data + i * a.row_stride;
        if (a.column_stride == 1)
          std::copy_n(from, depth, dest);
        else
          for (Index p = 0; p < depth; ++p) dest[p] = from[p * a.column_stride];
      }
    }
  }
};

/// What gemm needs of one level: the shape of its tile, and its compiled kernels. The code around them is compiled once.
template <class T>
struct GemmKernels {
  using Tiles = void (*)(Index rows, const T* a, const T* b, T* c, const TileRun<T>& run);

  Index width, tile_rows, wide_rows, wide_columns;
  Tiles one, two, wide;  // of panels of one, two and wide_columns / width vectors
  void (*pack_panel)(Index depth, Index columns, const Strided<T>* b, T* dest, Index step);
  void (*pack_rows)(Index rows, Index depth, const Strided<T>* a, T* dest, const TileRun<T>* layout);
  void (*thin)(Index columns, const T* a, const Strided<T>* b, T* c, const TileRun<T>* run);
  void (*dots)(Index rows, Index k, const T* a, Index a_row, const T* b, T* sums);  // null for vectors of less than 4

  Index tile_columns() const { return 2 * width; }
  /// From row to row of a packed panel of `columns` columns.
  Index panel_step(Index columns) const { return columns <= width ? width : 2 * width; }
};

template <class T, int Bytes>
constexpr GemmKernels<T> make_gemm_kernels() {
  using Tile = RegisterTile<T, Bytes>;
  GemmKernels<T> made{Tile::width,
                      Tile::rows,
                      Tile::wide_rows,
                      Tile::wide_vectors * Tile::width,
                      &tiles<1, Tile::rows, Bytes, T>,
                      &tiles<2, Tile::rows, Bytes, T>,
                      &tiles<Tile::wide_vectors, Tile::wide_rows, Bytes, T>,
                      entry<PackPanel, Bytes, Index, Index, const Strided<T>*, T*, Index>(),
                      entry<PackRows, Bytes, Index, Index, const Strided<T>*, T*, const TileRun<T>*>(),
                      entry<ThinProduct, Bytes, Index, const T*, const Strided<T>*, T*, const TileRun<T>*>(),
                      nullptr};
  if constexpr (Tile::width >= 4) made.dots = entry<Dots, Bytes, Index, Index, const T*, Index, const T*, T*>();
  return made;
}
template <class T, int Bytes>
inline constexpr GemmKernels<T> gemm_kernels_at = make_gemm_kernels<T, Bytes>();

/// Those of the level in use.
template <class T>
ESPALIER_INLINE const GemmKernels<T>& gemm_kernels() {
#if defined(ESPALIER_DISPATCH)
  const Isa level = isa();
  if (level == Isa::avx2) return gemm_kernels_at<T, 32>;
  if (level == Isa::avx512) return gemm_kernels_at<T, 64>;
#endif
  return gemm_kernels_at<T, ESPALIER_VECTOR_BYTES>;
}

}  // namespace detail
}  // namespace espalier::inline ESPALIER_ABI::kernels
