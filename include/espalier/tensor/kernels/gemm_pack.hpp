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
};

namespace detail {

/// Memory of one thread that grows to what its largest product needs, and is released when the thread ends.
struct Scratch {
  void* data = nullptr;
  std::size_t bytes = 0;

  static constexpr std::align_val_t alignment{64};
  __attribute__((noinline, cold)) void grow(std::size_t wanted);
  void release() {
    ::operator delete(data, alignment);
    data = nullptr;
    bytes = 0;
  }
};
inline constinit thread_local Scratch thread_scratch;  // no destructor of its own: access needs no guard

inline void Scratch::grow(std::size_t wanted) {
  struct AtThreadEnd {
    bool armed = false;
    ~AtThreadEnd() { thread_scratch.release(); }
  };
  static constinit thread_local AtThreadEnd at_thread_end;
  at_thread_end.armed = true;
  release();
  wanted = (wanted + 4095) / 4096 * 4096;
  data = ::operator new(wanted, alignment);
  bytes = wanted;
}

/// At least `count` numbers, 64-byte aligned, of unknown content; valid until this thread asks again.
template <class T>
ESPALIER_INLINE T* scratch(Index count) {
  const std::size_t wanted = static_cast<std::size_t>(count) * sizeof(T);
  if (thread_scratch.bytes < wanted) thread_scratch.grow(wanted);
  return static_cast<T*>(thread_scratch.data);
}

/// In each 16 bytes: the first (High: the second) halves of a and b, number by number in turn.
template <bool High, class Vector>
ESPALIER_INLINE void zip(const Vector& a, const Vector& b, Vector& out) {
  constexpr int quarter = 16 / int(sizeof(a[0])), all = int(sizeof(Vector) / sizeof(a[0]));
  [&]<int... I>(std::integer_sequence<int, I...>) __attribute__((always_inline)) {
    out = __builtin_shufflevector(
        a, b, (I / quarter * quarter + (High ? quarter / 2 : 0) + I % quarter / 2 + (I % 2 ? all : 0))...);
  }(std::make_integer_sequence<int, all>{});
}

/// How a block of a transposed operand is turned round: `columns` columns of `rows` numbers each, in registers. With 64-byte
/// vectors, too, it is done in 32 bytes, for which today's cores have more than one port to shuffle on.
template <class T>
struct Transposer {
  static constexpr int bytes = ESPALIER_VECTOR_BYTES >= 32 ? 32 : 16;
  static constexpr int rows = 16 / int(sizeof(T)), columns = bytes / int(sizeof(T));
  typedef typename pack<T>::lane_int vector __attribute__((vector_size(bytes)));  // integer shuffles have more ports
  typedef float quarter __attribute__((vector_size(16)));
  typedef float unaligned __attribute__((vector_size(16), aligned(4), may_alias));

  /// 16 bytes of one column, and the same of the one `rows` further: the columns come into order by loads, so that the
  /// shuffles can stay within 16 bytes.
  ESPALIER_INLINE static void load(const T* const* column, Index offset, vector& v) {
    const quarter low = *reinterpret_cast<const unaligned*>(column[0] + offset);
#if ESPALIER_VECTOR_BYTES >= 32
    const quarter high = *reinterpret_cast<const unaligned*>(column[rows] + offset);
    typedef float half __attribute__((vector_size(32)));
    const half wide = __builtin_shufflevector(low, low, 0, 1, 2, 3, -1, -1, -1, -1);
    v = reinterpret_cast<vector>(__builtin_ia32_vinsertf128_ps256(wide, high, 1));  // as one instruction, from memory
#else
    v = reinterpret_cast<vector>(low);
#endif
  }

  /// dest[i * step + j] = column[j][offset + i].
  ESPALIER_INLINE static void run(const T* const* column, Index offset, T* dest, Index step) {
    vector in[rows], out[rows];
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
    for (int i = 0; i < rows; ++i) pack<T, bytes>::from_bits(out[i]).store(dest + i * step);
  }
};

/// dest[p * step + j] = b(p, j) for p < depth, j < columns; step is a whole number of vectors, and what lies behind the last
/// column is defined, but any number of b or 0: it only meets sums that are not stored.
template <class T>
void pack_panel(Index depth, Index columns, Strided<T> b, T* dest, Index step) {
  if (b.column_stride == 1) {
    constexpr Index width = pack<T>::size;
    for (Index j = 0; j < columns; j += width) {
      const T* from = b.data + j;
      T* to = dest + j;
      const Index here = columns - j;
      if (here >= width)
        for (Index p = 0; p < depth; ++p, from += b.row_stride, to += step) pack<T>::load(from).store(to);
      else
        for (Index p = 0; p < depth; ++p, from += b.row_stride, to += step) pack<T>::load(from, here).store(to);
    }
    return;
  }
  using Block = Transposer<T>;
  for (Index j = 0; j < step; j += Block::columns) {
    T* to = dest + j;
    if (j >= columns) {
      for (Index p = 0; p < depth; ++p, to += step) pack<T, Block::bytes>().store(to);
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

/// The size of pack_rows' copy.
template <class T>
Index packed_rows_size(Index rows, Index depth) {
  return (rows + RegisterTile<T>::rows) * (depth + 64 / Index(sizeof(T)));
}

/// A dense copy of a's rows, and the strides by which the tiles read it: rows stay rows, their distance no power of two (lines
/// at such distances would evict each other); a transposed operand is cut into the rows of a tile.
template <class T>
void pack_rows(Index rows, Index depth, Strided<T> a, T* dest, TileRun<T>& run) {
  constexpr Index tile = RegisterTile<T>::rows;
  if (a.row_stride == 1) {
    run.a_row = 1;
    run.a_step = tile;
    run.a_block = tile * depth;
    for (Index i = 0; i < rows; i += tile, dest += run.a_block) {
      const T* from = a.data + i;
      if (rows - i >= tile)
        for (Index p = 0; p < depth; ++p) std::memcpy(dest + p * tile, from + p * a.column_stride, tile * sizeof(T));
      else
        for (Index p = 0; p < depth; ++p)
          for (Index r = 0; r < rows - i; ++r) dest[p * tile + r] = from[p * a.column_stride + r];
    }
  } else {
    run.a_row = (depth / (64 / Index(sizeof(T))) | 1) * (64 / Index(sizeof(T)));
    if (run.a_row < depth) run.a_row += 2 * (64 / Index(sizeof(T)));
    run.a_step = 1;
    run.a_block = tile * run.a_row;
    for (Index i = 0; i < rows; ++i, dest += run.a_row) {
      const T* from = a.data + i * a.row_stride;
      if (a.column_stride == 1)
        std::memcpy(dest, from, static_cast<std::size_t>(depth) * sizeof(T));
      else
        for (Index p = 0; p < depth; ++p) dest[p] = from[p * a.column_stride];
    }
  }
}

}  // namespace detail
}  // namespace espalier::inline ESPALIER_ABI::kernels
