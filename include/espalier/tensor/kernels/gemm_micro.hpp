#pragma once
// The innermost part of gemm: a tile of c held in registers, one template for every instruction set and scalar.

#include "espalier/tensor/kernels/pack.hpp"

namespace espalier::inline ESPALIER_ABI::kernels {

/// What gemm applies to a finished element.
enum class Activation : unsigned char { none, relu };

namespace detail {

/// A tile is `rows` x `columns` elements of c. Its sums, one vector of a's repeated number and two vectors of b take 27 of
/// AVX-512's (and AArch64's) 32 registers, 15 of the 16 of AVX2 and SSE2, and leave enough independent sums to hide the
/// latency of a multiply-add (4 cycles, two a cycle). Two vectors of b halve the broadcasts of a, else the bottleneck.
template <class T>
struct RegisterTile {
  static constexpr Index width = pack<T>::size;
  static constexpr Index columns = 2 * width;
#if defined(__aarch64__)
  static constexpr int rows = 12;
#else
  static constexpr int rows = ESPALIER_VECTOR_BYTES == 64 ? 12 : 6;
#endif
  /// The rows left over are taken in tiles of 8, 4, 2 and 1 rows: few kernels, none of which computes rows that are not there.
  static constexpr int fewer(int rows) { return rows > 8 ? 8 : rows > 4 ? 4 : rows / 2; }
};

/// What the tiles of one panel (and slice of k) have in common.
template <class T>
struct TileRun {
  Index depth = 0;                         ///< multiply-adds in each element's chain
  Index a_row = 0, a_step = 0;             ///< from one row of a to the next, from one column to the next
  Index a_block = 0;                       ///< from one full tile's first row to the next one's
  Index b_step = 0;                        ///< from one row of b's panel to the next; whole vectors of it are readable
  Index ldc = 0;                           ///< from one row of c to the next
  Index columns = 0;                       ///< of the panel that exist
  bool accumulate = false;                 ///< add to c
  Activation activation = Activation::none;
  const T* bias = nullptr;                 ///< one for each of the columns, or none
};

/// One tile. `columns` is more than Vectors - 1 vectors, at most Vectors.
template <int Rows, int Vectors, class T>
ESPALIER_INLINE void tile(const T* a, const T* b, T* c, const TileRun<T>& run) {
  using Lanes = pack<T>;
  constexpr Index width = Lanes::size;
  // Rows are addressed from every fourth one: base + stride * {0, 1, 2, 3} needs three registers where a pointer for each row
  // would need more than there are.
  const T* base[(Rows + 3) / 4];
  const Index row = run.a_row, step = run.a_step, b_step = run.b_step;
#pragma GCC unroll 4
  for (int i = 0; i < Rows; i += 4) base[i / 4] = a + i * row;

  typename Lanes::vector sum[Rows][Vectors];  // bare vectors: an array of packs would be constructed in memory
#pragma GCC unroll 12
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 2
    for (int j = 0; j < Vectors; ++j) sum[i][j] = Lanes().v;

  for (Index p = run.depth; p > 0; --p) {
    typename Lanes::vector right[Vectors];
#pragma GCC unroll 2
    for (int j = 0; j < Vectors; ++j) right[j] = Lanes::load(b + j * width).v;
#pragma GCC unroll 12
    for (int i = 0; i < Rows; ++i) {
      const Lanes left(base[i / 4][i % 4 * row]);
#pragma GCC unroll 2
      for (int j = 0; j < Vectors; ++j) sum[i][j] = fma(left, Lanes(right[j]), Lanes(sum[i][j])).v;
    }
#pragma GCC unroll 4
    for (int i = 0; i < Rows; i += 4) base[i / 4] += step;
    b += b_step;
  }

  // Only the last vector can be cut short. Masks are free with AVX-512; elsewhere whole vectors take the plain instructions.
  const Index last = run.columns - (Vectors - 1) * width, ldc = run.ldc;
  const bool whole = sizeof(Lanes) < 64 && last == width;
  const auto load = [=](const T* p, int j) __attribute__((always_inline)) {
    return j < Vectors - 1 || whole ? Lanes::load(p + j * width) : Lanes::load(p + j * width, last);
  };
  const auto each = [&](const auto& f) __attribute__((always_inline)) {
#pragma GCC unroll 12
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 2
      for (int j = 0; j < Vectors; ++j) sum[i][j] = f(i, j, Lanes(sum[i][j])).v;
  };
  if (run.accumulate) each([=](int i, int j, const Lanes& x) __attribute__((always_inline)) { return load(c + i * ldc, j) + x; });
  if (const T* const bias = run.bias)
    each([=](int, int j, const Lanes& x) __attribute__((always_inline)) { return x + load(bias, j); });
  if (run.activation == Activation::relu)
    each([](int, int, const Lanes& x) __attribute__((always_inline)) { return relu(x); });
  each([=](int i, int j, const Lanes& x) __attribute__((always_inline)) {
    T* const out = c + i * ldc + j * width;
    if (j < Vectors - 1 || whole)
      x.store(out);
    else
      x.store(out, last);
    return x;
  });
}

/// All rows of a panel: full tiles, then what is left over.
template <class T, int Vectors, int Rows = RegisterTile<T>::rows>
void tiles(Index rows, const T* a, const T* b, T* c, const TileRun<T>& run) {
  for (; rows >= Rows; rows -= Rows) {
    tile<Rows, Vectors>(a, b, c, run);
    a += Rows == RegisterTile<T>::rows ? run.a_block : Rows * run.a_row;
    c += Rows * run.ldc;
  }
  if constexpr (Rows > 1) {
    if (rows > 0) tiles<T, Vectors, RegisterTile<T>::fewer(Rows)>(rows, a, b, c, run);
  }
}

}  // namespace detail
}  // namespace espalier::inline ESPALIER_ABI::kernels
