#pragma once
// Copies that bring gemm's operands into the order in which the tiles read them, and the memory they go to.

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "espalier/tensor/kernels/gemm_micro.hpp"

namespace espalier::inline ESPALIER_ABI::kernels {

/// A matrix operand: element (i, j) is data[i * row_stride + j * column_stride]. Its transpose has the strides swapped.
template <class T>
struct Strided {
  const T* data;
  Index row_stride;
  Index column_stride;

  /// The part that begins at (i, j).
  Strided from(Index i, Index j) const {
    return {data + i * row_stride + j * column_stride, row_stride, column_stride};
  }
  Strided transposed() const { return {data, column_stride, row_stride}; }
};

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

/// In each 16 bytes: the first (High: the second) halves of a and b, number by number in turn.
template <bool High, class Vector>
ESPALIER_INLINE void zip(const Vector& a, const Vector& b, Vector& out) {
  constexpr int quarter = 16 / int(sizeof(a[0])), all = int(sizeof(Vector) / sizeof(a[0]));
  [&]<int... Lane>(std::integer_sequence<int, Lane...>) __attribute__((always_inline)) {
    out = __builtin_shufflevector(
        a, b, (Lane / quarter * quarter + (High ? quarter / 2 : 0) + Lane % quarter / 2 + (Lane % 2 ? all : 0))...);
  }
  (std::make_integer_sequence<int, all>{});
}

/// How a block of a transposed operand is turned round: `columns` columns of `rows` numbers each, in registers. With
/// 64-byte vectors, too, it is done in 32 bytes, for which today's cores have more than one port to shuffle on.
template <class T, int Bytes>
struct Transposer {
  static constexpr int bytes = Bytes >= 32 ? 32 : 16;
  static constexpr int rows = 16 / int(sizeof(T)), columns = bytes / int(sizeof(T));
  using Lanes = pack<T, bytes>;
  typedef typename Lanes::lane_int vector __attribute__((vector_size(bytes)));  // integer shuffles have more ports
  typedef typename Lanes::lane_int unaligned __attribute__((vector_size(16), aligned(sizeof(T)), may_alias));

  /// 16 bytes of one column, and the same of the one `rows` further: the columns come into order by loads, so that the
  /// shuffles can stay within 16 bytes.
  ESPALIER_INLINE static void load(const T* const* column, Index offset, vector& v) {
    const auto& low = *reinterpret_cast<const unaligned*>(column[0] + offset);
#if defined(__SSE2__)
    if constexpr (bytes == 32) {  // by name, as compilers may load the second half apart
      const auto& high = *reinterpret_cast<const unaligned*>(column[rows] + offset);
      asm("{vmovups %1, %x0|vmovups %x0, %1}\n\t{vinsertf128 $1, %2, %t0, %t0|vinsertf128 %t0, %t0, %2, 1}"
          : "=?x"(v)
          : "m"(low), "m"(high));
      return;
    }
#endif
    __builtin_memcpy(&v, &low, 16);
  }

  /// dest[i * step + j] = column[j][offset + i].
  ESPALIER_INLINE static void run(const T* const* column, Index offset, T* dest, Index step) {
    vector in[std::size_t{rows}], out[std::size_t{rows}];
#pragma GCC unroll 4
    for (int i = 0; i < rows; ++i) load(column + i, offset, in[i]);
    if constexpr (rows == 2) {
      zip<false>(in[0], in[1], out[0]);
      zip<true>(in[0], in[1], out[1]);
    } else {
      vector even_low, even_high, odd_low, odd_high;
      zip<false>(in[0], in[2], even_low);
      zip<true>(in[0], in[2], even_high);
      zip<false>(in[1], in[3], odd_low);
      zip<true>(in[1], in[3], odd_high);
      zip<false>(even_low, odd_low, out[0]);
      zip<true>(even_low, odd_low, out[1]);
      zip<false>(even_high, odd_high, out[2]);
      zip<true>(even_high, odd_high, out[3]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < rows; ++i) Lanes::from_bits(typename Lanes::integers(out[i])).store(dest + i * step);
  }
};

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
