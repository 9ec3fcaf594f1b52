#pragma once
// The product of one row with a transposed operand, as a layer's weight is for one sample: every number of the operand is
// needed once, so that a copy in the order of reading costs more than the product. Blocks are turned round in registers.

#include <algorithm>
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

  /// out[i][j] = column[j][offset + i].
  ESPALIER_INLINE static void turn(const T* const* column, Index offset, vector (&out)[std::size_t{rows}]) {
    vector in[std::size_t{rows}];
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
  }
  ESPALIER_INLINE static Lanes lanes(const vector& v) { return Lanes::from_bits(typename Lanes::integers(v)); }

  /// dest[i * step + j] = column[j][offset + i].
  ESPALIER_INLINE static void run(const T* const* column, Index offset, T* dest, Index step) {
    vector out[std::size_t{rows}];
    turn(column, offset, out);
#pragma GCC unroll 4
    for (int i = 0; i < rows; ++i) lanes(out[i]).store(dest + i * step);
  }
};

/// One row of c: the sums that a tile forms, in the tile's order along k, of an operand b whose rows have a stride of 1. The
/// depth is at least a block's rows. Two chains of multiply-adds run side by side, to hide their latency.
struct ThinProduct {
  /// Not where columns are a multiple of 4 kB apart: their lines share one set of a first-level cache.
  template <class T>
  static bool suits(Index rows, Index depth, const Strided<T>& b) {
    constexpr Index size = sizeof(T);
    return rows == 1 && b.row_stride == 1 && depth >= 16 / size && b.column_stride * size % 4096 != 0;
  }

  template <int Bytes, class T>
  ESPALIER_INLINE static void run(Index columns, const T* a, const Strided<T>* b, T* c, const TileRun<T>* of) {
    constexpr Index side = Transposer<T, Bytes>::columns;
    Index j = 0;
    for (; j + 2 * side <= columns; j += 2 * side) strip<2, Bytes>(2 * side, a, b->from(0, j), c + j, *of, j);
    for (; j < columns; j += side) strip<1, Bytes>(std::min(side, columns - j), a, b->from(0, j), c + j, *of, j);
  }

 private:
  template <int Blocks, int Bytes, class T>
  ESPALIER_INLINE static void strip(Index columns, const T* a, const Strided<T>& b, T* c, const TileRun<T>& of,
                                    Index first) {
    using Block = Transposer<T, Bytes>;
    using Lanes = typename Block::Lanes;
    constexpr Index side = Block::columns;
    const T* column[std::size_t{Blocks * Block::columns}];
    for (Index i = 0; i < Blocks * side; ++i) column[i] = b.data + std::min(i, columns - 1) * b.column_stride;

    typename Lanes::vector sum[1][std::size_t{Blocks}] = {};
    const auto add_block = [&](int g, Index offset, int from) __attribute__((always_inline)) {
      typename Block::vector turned[std::size_t{Block::rows}];
      Block::turn(column + g * side, offset, turned);
#pragma GCC unroll 4
      for (int i = 0; i < Block::rows; ++i)
        if (i >= from) {
          Lanes grown(sum[0][g]);
          grown.add_product(Lanes::repeat(a + (offset + i) * of.a_step), Block::lanes(turned[i]));
          sum[0][g] = grown.v;
        }
    };
    Index p = 0;
    for (; p + 2 * Block::rows <= of.depth; p += 2 * Block::rows)
#pragma GCC unroll 2
      for (int g = 0; g < Blocks; ++g) {
        add_block(g, p, 0);
        add_block(g, p + Block::rows, 0);
      }
    for (; p < of.depth; p += Block::rows) {  // the last block begins earlier, with numbers that have been added already
      const Index offset = std::min(p, of.depth - Block::rows);
#pragma GCC unroll 2
      for (int g = 0; g < Blocks; ++g) add_block(g, offset, static_cast<int>(p - offset));
    }

    const Index last = columns - (Blocks - 1) * side;
    if (of.accumulate) add<1, Blocks, Lanes>(c, Index{0}, last, sum);
    if (of.bias) add<1, Blocks, Lanes>(of.bias + first, Index{0}, last, sum);
    if (of.activation == Activation::relu)
#pragma GCC unroll 2
      for (int g = 0; g < Blocks; ++g) sum[0][g] = relu(Lanes(sum[0][g])).v;
#pragma GCC unroll 2
    for (int g = 0; g < Blocks - 1; ++g) Lanes(sum[0][g]).store(c + g * side);
    store_first(Lanes(sum[0][Blocks - 1]), c + (Blocks - 1) * side, last);
  }
};

}  // namespace detail
}  // namespace espalier::inline ESPALIER_ABI::kernels
