#pragma once
// Inner products of all pairs of two lists of long vectors: the Gramian of many gradients. Each stretch of the vectors is
// read once for all pairs of a tile, so that the vectors pass through the cache once and not once a pair.

#include <span>

#include "espalier/tensor/kernels/reduce.hpp"

namespace espalier::inline ESPALIER_ABI::kernels {

/// out[i * columns + j] += <left[i], right[j]>, vectors of n, for every j and the i <= first + j: of the pairs that a
/// symmetric matrix has twice, one; with `diagonal` for i = first + j alone, to the same bits. `columns` is right.size(). Summed
/// as `dot` does, and over stretches in double.
template <class T>
void add_pair_dots(Index n, std::span<const T* const> left, std::span<const T* const> right, Index first, double* out,
                   bool diagonal = false) {
  constexpr Index tile = 8, chunk = 64 * sum_block;  // two tiles of sum_block numbers fit into a second-level cache
  const auto rows = static_cast<Index>(left.size()), columns = static_cast<Index>(right.size());
  const Index row_tiles = (rows + tile - 1) / tile, tiles = row_tiles * ((columns + tile - 1) / tile);
  // Few tiles are cut along the vectors as well, to be work for several threads.
  const Index chunks = tiles >= 16 ? 1 : std::clamp<Index>(n / chunk, 1, 16);
  const Index length = (n + chunks * sum_block - 1) / (chunks * sum_block) * sum_block;
  PoolVector<double> parts(static_cast<std::size_t>(tiles * chunks * tile * tile), 0.0);
  parallel_for(tiles * chunks, (diagonal ? columns : rows * columns) * n, [&](Index block) {
    const Index t = block / chunks, begin = block % chunks * length, end = std::min(n, begin + length);
    const Index i0 = t % row_tiles * tile, j0 = t / row_tiles * tile;
    double* const sums = parts.data() + block * tile * tile;
    for (Index at = begin; at < end; at += sum_block)
      for (Index j = j0; j < std::min(columns, j0 + tile); ++j)
        for (Index i = diagonal ? std::max(i0, first + j) : i0; i < std::min({rows, i0 + tile, first + j + 1}); ++i)
          sums[(i - i0) * tile + j - j0] += dot(std::min(sum_block, end - at), left[static_cast<std::size_t>(i)] + at,
                                                right[static_cast<std::size_t>(j)] + at);
  });
  for (Index t = 0; t < tiles; ++t)
    for (Index c = 0; c < chunks; ++c)
      for (Index i = 0; i < tile; ++i)
        for (Index j = 0; j < tile; ++j) {
          const Index row = t % row_tiles * tile + i, column = t / row_tiles * tile + j;
          if (row < rows && column < columns && row <= first + column)
            out[row * columns + column] += parts[static_cast<std::size_t>(((t * chunks + c) * tile + i) * tile + j)];
        }
}

}  // namespace espalier::inline ESPALIER_ABI::kernels
