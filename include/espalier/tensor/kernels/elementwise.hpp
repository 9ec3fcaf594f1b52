#pragma once
// Elementwise loops: one function on packs, applied over arrays of equal shape or with NumPy's broadcasting.
//
// Arrays are cut into blocks of a fixed size, so that threads change no bit. Each formula is compiled once per type: a
// broadcast side that would need its own loop (a constant along the last axis) is written out into a short buffer instead.
//
// A formula is a functor on packs, and always_inline with all that it calls: it is compiled for every ISA (isa.hpp). A
// struct that cannot promise it says `static constexpr bool every_isa = false`, and is compiled for the unit's own.

#include <algorithm>
#include <cstring>

#include "espalier/core/parallel.hpp"
#include "espalier/tensor/kernels/isa.hpp"
#include "espalier/tensor/kernels/pack.hpp"

namespace espalier::inline ESPALIER_ABI::kernels {

/// Elements in a block: a few fit into the first-level cache, and one outweighs the cost of handing it out.
inline constexpr Index block_size = 1 << 13;
/// What an element of an elementwise pass counts for in `parallel_for`, in multiply-adds.
inline constexpr Index element_work = 8;

/// A functor that is compiled for every ISA.
template <class F>
concept EveryIsa = !requires { requires !F::every_isa; };

namespace detail {
struct MapBlock {
  template <int Bytes, class T, class F, class... P>
  ESPALIER_INLINE static void run(Index n, T* y, F f, const P*... x) {
    for_each_pack<Bytes>(n, y, f, x...);
  }
};
template <class T, class F, class... P>
[[gnu::noinline]] void map_block_here(Index n, T* y, const F& f, const P*... x) {
  for_each_pack(n, y, f, x...);
}
template <class T, class F, class... P>
ESPALIER_INLINE void map_block(Index n, T* y, const F& f, const P*... x) {
  if constexpr (EveryIsa<F>) dispatch<MapBlock>(n, y, f, x...);
  else map_block_here(n, y, f, x...);
}
}  // namespace detail

/// A formula compiled as a loop over one block: y[i] = F{}(x[i]...).
template <class T, class F, class... P>
void block_of(Index n, T* y, const P*... x) {
  detail::map_block(n, y, F{}, x...);
}
/// Its address is a formula, too: what goes through it is compiled once for all of them.
template <class T, class... P>
using Block = void (*)(Index n, T* y, const P*... x);

namespace detail {
template <class T, class... P>
ESPALIER_INLINE void map_block(Index n, T* y, const Block<T, P...>& f, const P*... x) {
  f(n, y, x...);
}
}  // namespace detail

/// y[i] = f(x[i]...) on packs; y may be one of the inputs.
template <class T, class F, class... P>
void map(Index n, T* y, const F& f, const P*... x) {
  if (n <= block_size) return detail::map_block(n, y, f, x...);
  parallel_for((n + block_size - 1) / block_size, n * element_work, [&](Index block) {
    const Index start = block * block_size;
    detail::map_block(std::min(block_size, n - start), y + start, f, (x + start)...);
  });
}

/// y[i] += x[i].
template <class T>
void add_to(Index n, T* y, const T* x) {
  map(n, y, [](const auto& a, const auto& b) __attribute__((always_inline)) { return a + b; }, static_cast<const T*>(y), x);
}

namespace detail {

/// The axes of a broadcast with neighbours merged where both sides run on; strides in elements, 0 where a side repeats.
struct BroadcastAxes {
  int rank = 0;
  Index size[Shape::max_rank], a[Shape::max_rank], b[Shape::max_rank];

  BroadcastAxes(const Shape& out, const Shape& shape_a, const Shape& shape_b) {
    Index run_a = 1, run_b = 1;
    for (int i = 1; i <= out.rank(); ++i) {  // from the last axis on; axis 0 of the result is the last axis of `out`
      const Index n = out[-i];
      const Index na = i <= shape_a.rank() ? shape_a[-i] : 1, nb = i <= shape_b.rank() ? shape_b[-i] : 1;
      if (n == 1) continue;
      const Index stride_a = na == 1 ? 0 : run_a, stride_b = nb == 1 ? 0 : run_b;
      if (rank > 0 && stride_a == a[rank - 1] * size[rank - 1] && stride_b == b[rank - 1] * size[rank - 1]) {
        size[rank - 1] *= n;
      } else {
        size[rank] = n;
        a[rank] = stride_a;
        b[rank++] = stride_b;
      }
      run_a *= na;
      run_b *= nb;
    }
    if (rank == 0) size[0] = 1, a[0] = b[0] = 1, rank = 1;
  }
  Index outer() const {
    Index n = 1;
    for (int i = 1; i < rank; ++i) n *= size[i];
    return n;
  }
};

}  // namespace detail

/// Calls body(first, rows) for blocks of whole rows, m rows of n >= 1 in all, shared among threads. `work`: of an element.
template <class Body>
void for_row_blocks(Index m, Index n, Index work, Body&& body) {
  const Index rows = std::max<Index>(1, block_size / n);
  parallel_for((m + rows - 1) / rows, m * n * work,
               [&](Index block) { body(block * rows, std::min(rows, m - block * rows)); });
}

/// y = f(a, b) over the broadcast shape `out`.
template <class T, class F>
void broadcast_map(const Shape& out, T* y, const F& f, const Shape& shape_a, const T* a, const Shape& shape_b, const T* b) {
  if (shape_a == shape_b) return map(out.size(), y, f, a, b);
  const detail::BroadcastAxes axes(out, shape_a, shape_b);
  const Index inner = axes.size[0], outer = axes.outer();
  if (inner == 0 || outer == 0) return;
  const Index rows = std::max<Index>(1, block_size / inner), blocks = (outer + rows - 1) / rows;
  parallel_for(blocks, out.size() * element_work, [&](Index block) {
    constexpr Index chunk = 512;
    alignas(64) T constant[chunk];
    T filled{};
    Index filled_to = 0;  // constant[0, filled_to) holds `filled`
    for (Index row = block * rows, end = std::min(outer, row + rows); row < end; ++row) {
      Index rest = row, at_a = 0, at_b = 0;
      for (int i = 1; i < axes.rank; ++i) {
        const Index position = rest % axes.size[i];
        rest /= axes.size[i];
        at_a += position * axes.a[i];
        at_b += position * axes.b[i];
      }
      const T *from_a = a + at_a, *from_b = b + at_b;
      T* to = y + row * inner;
      if (axes.a[0] == 1 && axes.b[0] == 1) {
        detail::map_block(inner, to, f, from_a, from_b);
        continue;
      }
      const bool a_constant = axes.a[0] == 0;
      const T value = a_constant ? *from_a : *from_b;
      const Index width = std::min(chunk, inner);
      if (filled_to < width || std::memcmp(&value, &filled, sizeof value) != 0) {  // by bits: -0 == 0
        std::fill_n(constant, width, value);
        filled = value;
        filled_to = width;
      }
      for (Index i = 0; i < inner; i += chunk) {
        const Index n = std::min(chunk, inner - i);
        if (a_constant) detail::map_block(n, to + i, f, static_cast<const T*>(constant), from_b + i);
        else detail::map_block(n, to + i, f, from_a + i, static_cast<const T*>(constant));
      }
    }
  });
}

/// y = x repeated to the broadcast shape `out`.
template <class T>
void expand(const Shape& out, T* y, const Shape& shape, const T* x) {
  const detail::BroadcastAxes axes(out, shape, shape);
  const Index inner = axes.size[0], outer = axes.outer();
  if (inner == 0) return;
  for (Index row = 0; row < outer; ++row) {
    Index rest = row, at = 0;
    for (int i = 1; i < axes.rank; ++i) {
      at += rest % axes.size[i] * axes.a[i];
      rest /= axes.size[i];
    }
    if (axes.a[0] == 0) std::fill_n(y + row * inner, inner, x[at]);
    else std::copy_n(x + at, inner, y + row * inner);
  }
}

}  // namespace espalier::inline ESPALIER_ABI::kernels
