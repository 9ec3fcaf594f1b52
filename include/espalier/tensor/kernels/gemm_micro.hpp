#pragma once
// The innermost part of gemm: a tile of c held in registers, one template for every instruction set and scalar.
// As all kernels, what is called on vectors here is always_inline, and compiled for a level by isa.hpp.

#include <algorithm>
#include <utility>

#include "espalier/tensor/kernels/isa.hpp"
#include "espalier/tensor/kernels/pack.hpp"

namespace espalier::inline ESPALIER_ABI::kernels {

/// What gemm applies to a finished element.
enum class Activation : unsigned char { none, relu };

namespace detail {

/// A tile is `rows` x `columns` elements of c. Its sums, one vector of a's repeated number and two vectors of b take 27
/// of AVX-512's (and AArch64's) 32 registers, 15 of the 16 of AVX2 and SSE2, and leave enough independent sums to hide
/// the latency of a multiply-add (4 cycles, two a cycle). Two vectors of b halve the broadcasts of a, else the
/// bottleneck.
template <class T, int Bytes>
struct RegisterTile {
  static constexpr Index width = pack<T, Bytes>::size;
  static constexpr Index columns = 2 * width;
#if defined(__aarch64__)
  static constexpr int rows = 12;
#else
  static constexpr int rows = Bytes == 64 ? 12 : 6;
#endif
  /// The rows left over are taken in tiles of 10, 8, 4, 2 and 1 rows: few kernels, and none computes rows that are not
  /// there.
  static constexpr int fewer(int than) { return than > 8 ? than - 2 : than > 4 ? 4 : than / 2; }
  /// A product of one or two rows forms the sums of more columns at once instead.
  static constexpr int wide_rows = 2, wide_vectors = Bytes == 64 ? 8 : 4;
};

/// What the tiles of one panel (and slice of k) have in common.
template <class T>
struct TileRun {
  Index depth = 0;              ///< multiply-adds in each element's chain
  Index a_row = 0, a_step = 0;  ///< from one row of a to the next, from one column to the next
  Index a_block = 0;            ///< from one full tile's first row to the next one's
  Index b_step = 0;             ///< from one row of b's panel to the next; whole vectors of it are readable
  Index ldc = 0;                ///< from one row of c to the next
  Index columns = 0;            ///< of the panel that exist
  bool accumulate = false;      ///< add to c
  Activation activation = Activation::none;
  const T* bias = nullptr;  ///< one for each of the columns, or none
};

// The first n numbers, 0 < n <= size. Masks are free with AVX-512; elsewhere whole vectors take the plain instructions.
template <class Lanes, class T>
ESPALIER_INLINE Lanes load_first(const T* p, Index n) {
  return sizeof(Lanes) < 64 && n == Lanes::size ? Lanes::load(p) : Lanes::load(p, n);
}
template <class Lanes, class T>
ESPALIER_INLINE void store_first(const Lanes& x, T* p, Index n) {
  if (sizeof(Lanes) < 64 && n == Lanes::size)
    x.store(p);
  else
    x.store(p, n);
}

/// Adds the rows at `from` to a tile's sums. Of the last vector, `last` numbers exist.
template <int Rows, int Vectors, class Lanes, class T, class Sums>
ESPALIER_INLINE void add(const T* from, Index step, Index last, Sums& sum) {
#pragma GCC unroll 12
  for (int i = 0; i < Rows; ++i, from += step) {
#pragma GCC unroll 8
    for (int j = 0; j < Vectors - 1; ++j) sum[i][j] = (Lanes(sum[i][j]) + Lanes::load(from + j * Lanes::size)).v;
    const Lanes part = load_first<Lanes>(from + (Vectors - 1) * Lanes::size, last);
    sum[i][Vectors - 1] = (Lanes(sum[i][Vectors - 1]) + part).v;
  }
}

/// One tile. `columns` is more than Vectors - 1 vectors, at most Vectors.
template <int Rows, int Vectors, int Bytes, class T>
ESPALIER_INLINE void tile(const T* a, const T* b, T* c, const TileRun<T>& run) {
  using Lanes = pack<T, Bytes>;
  using Vector = typename Lanes::vector;
  constexpr Index width = Lanes::size;
  // Rows are addressed from every fourth one: base + stride * {0, 1, 2, 3} needs three registers where a pointer for
  // each row would need more than there are.
  const T* base[std::size_t{(Rows + 3) / 4}];
  const Index row = run.a_row, step = run.a_step, b_step = run.b_step;
#pragma GCC unroll 4
  for (int i = 0; i < Rows; i += 4) base[i / 4] = a + i * row;

  // What is far from the core arrives while the sums are formed: else every tile would end in a wait for c.
  if (run.depth >= 128)
    for (int i = 0; i < Rows; ++i)
      for (int j = 0; j < Vectors; ++j) __builtin_prefetch(c + i * run.ldc + j * width, 1);

  Vector sum[std::size_t{Rows}]
            [std::size_t{Vectors}];  // bare vectors: an array of packs would be constructed in memory
#pragma GCC unroll 12
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < Vectors; ++j) sum[i][j] = Vector{};

  for (Index p = run.depth; p > 0; --p) {
    Vector right[std::size_t{Vectors}];
#pragma GCC unroll 8
    for (int j = 0; j < Vectors; ++j) right[j] = Lanes::load(b + j * width).v;
#pragma GCC unroll 12
    for (int i = 0; i < Rows; ++i) {
      const Lanes left = Lanes::repeat(base[i / 4] + i % 4 * row);
#pragma GCC unroll 8
      for (int j = 0; j < Vectors; ++j) {
        Lanes grown(sum[i][j]);
        grown.add_product(left, Lanes(right[j]));
        sum[i][j] = grown.v;
      }
    }
#pragma GCC unroll 4
    for (int i = 0; i < Rows; i += 4) base[i / 4] += step;
    b += b_step;
  }

  const Index ldc = run.ldc, last = run.columns - (Vectors - 1) * width;
  if (run.accumulate) add<Rows, Vectors, Lanes>(c, ldc, last, sum);
  if (run.bias) add<Rows, Vectors, Lanes>(run.bias, Index{0}, last, sum);
  if (run.activation == Activation::relu)
#pragma GCC unroll 12
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < Vectors; ++j) sum[i][j] = relu(Lanes(sum[i][j])).v;
#pragma GCC unroll 12
  for (int i = 0; i < Rows; ++i, c += ldc) {
#pragma GCC unroll 8
    for (int j = 0; j < Vectors - 1; ++j) Lanes(sum[i][j]).store(c + j * width);
    store_first(Lanes(sum[i][Vectors - 1]), c + (Vectors - 1) * width, last);
  }
}

/// `count` tiles, one below the other.
template <int Rows, int Vectors>
struct TileColumn {
  template <int Bytes, class T>
  ESPALIER_INLINE static void run(Index count, const T* a, const T* b, T* c, const TileRun<T>* of) {
    for (; count > 0; --count, a += of->a_block, c += Rows * of->ldc) tile<Rows, Vectors, Bytes>(a, b, c, *of);
  }
};

template <int Vectors, int Rows, int Bytes, class T>
ESPALIER_INLINE void tiles_of_at_most(Index rows, const T* a, const T* b, T* c, const TileRun<T>& run) {
  constexpr bool full = Rows == RegisterTile<T, Bytes>::rows;
  if (rows >= Rows) {
    const Index count = full ? rows / Rows : 1;
    run_at<TileColumn<Rows, Vectors>, Bytes>(count, a, b, c, &run);
    rows -= count * Rows;
    a += full ? count * run.a_block : Rows * run.a_row;
    c += count * Rows * run.ldc;
  }
  if constexpr (Rows > 1) {
    if (rows > 0) tiles_of_at_most<Vectors, RegisterTile<T, Bytes>::fewer(Rows), Bytes>(rows, a, b, c, run);
  }
}
/// All rows of a panel: full tiles, then what is left over.
template <int Vectors, int Rows, int Bytes, class T>
void tiles(Index rows, const T* a, const T* b, T* c, const TileRun<T>& run) {
  tiles_of_at_most<Vectors, Rows, Bytes>(rows, a, b, c, run);
}

/// Sums pairs of lanes of a, then of b: in each group of `Group` lanes, the i-th of the first half with the i-th of the
/// second. The halves so summed lie side by side in out.
template <int Group, class Lanes>
ESPALIER_INLINE void fold(const Lanes& a, const Lanes& b, Lanes& out) {
  [&]<int... Lane>(std::integer_sequence<int, Lane...>) __attribute__((always_inline)) {
    constexpr int half = Group / 2;
    out = Lanes(__builtin_shufflevector(a.v, b.v, (Lane / half * Group + Lane % half)...)) +
          Lanes(__builtin_shufflevector(a.v, b.v, (Lane / half * Group + half + Lane % half)...));
  }
  (std::make_integer_sequence<int, Lanes::size>{});
}

/// sums[i] = the dot product of row i of a and b, both dense: first each lane's own sum, then lanes are added, halves
/// to halves. Writes four sums at a time: sums has room for a multiple of 4.
struct Dots {
  template <int Bytes, class T>
  ESPALIER_INLINE static void run(Index rows, Index k, const T* a, Index a_row, const T* b, T* sums) {
    using Lanes = pack<T, Bytes>;
    constexpr int width = Lanes::size;
    static_assert(width >= 4);
    for (Index i = 0; i < rows; i += 4) {
      const T* row[4];
      for (Index r = 0; r < 4; ++r)
        row[r] = a + std::min(i + r, rows - 1) * a_row;  // behind the last row, that row again
      Lanes s0, s1, s2, s3;
      const auto step = [&](Index p, const auto&... n) __attribute__((always_inline)) {
        const Lanes right = Lanes::load(b + p, n...);
        s0 = fma(Lanes::load(row[0] + p, n...), right, s0);
        s1 = fma(Lanes::load(row[1] + p, n...), right, s1);
        s2 = fma(Lanes::load(row[2] + p, n...), right, s2);
        s3 = fma(Lanes::load(row[3] + p, n...), right, s3);
      };
      Index p = 0;
      for (; p + width <= k; p += width) step(p);
      if (p < k) step(p, k - p);
      fold<width>(s0, s1, s0);
      fold<width>(s2, s3, s2);
      fold<width / 2>(s0, s2, s0);
      if constexpr (width >= 8) fold<width / 4>(s0, s0, s0);
      if constexpr (width >= 16) fold<width / 8>(s0, s0, s0);
      pack<T, 4 * int(sizeof(T))>(__builtin_shufflevector(s0.v, s0.v, 0, 1, 2, 3)).store(sums + i);
    }
  }
};

}  // namespace detail
}  // namespace espalier::inline ESPALIER_ABI::kernels
