#pragma once
// parallel_for: the one home of OpenMP's regions.
//
// Work is cut into blocks by the caller, by shape alone; the number of threads only decides who runs a block, so it can
// change no bit. Without OpenMP the same blocks run one after another. An exception never crosses a region: the one of the
// lowest block is kept and rethrown, so that the message, too, is the same for every thread count.

#include <exception>

#include "espalier/core/shape.hpp"

namespace espalier::inline ESPALIER_ABI {

/// Multiply-adds (or elements, for elementwise work: count about ten for a transcendental) below which one thread is
/// faster than the waking of a second one. Measured on 2 cores: a region costs 1-5 us when its threads are awake.
inline constexpr Index parallel_grain = 1 << 20;

/// Calls `body(block)` for block = 0 .. blocks - 1, in any order and on any thread; on the calling thread alone when
/// `work` (see parallel_grain) is small. The body must write to its own block of the output only.
template <class Body>
void parallel_for(Index blocks, Index work, Body&& body) {
#ifdef _OPENMP
  if (blocks > 1 && work >= parallel_grain) {
    std::exception_ptr error;
    Index first = blocks;
    ESPALIER_OMP(omp parallel for schedule(static))
    for (Index block = 0; block < blocks; ++block) {
      try {
        body(block);
      } catch (...) {
        ESPALIER_OMP(omp critical(espalier_parallel_for))
        if (block < first) {
          first = block;
          error = std::current_exception();
        }
      }
    }
    if (error) std::rethrow_exception(error);
    return;
  }
#endif
  (void)work;
  for (Index block = 0; block < blocks; ++block) body(block);
}

/// Whole pieces of work of unequal length, such as training runs: calls `body(i)` for i = 0 .. count - 1, begun in that order,
/// each on one thread, on which regions inside it stay; after each `done(i)`, never two at a time. An exception ends what has
/// not begun; that of the lowest piece is rethrown.
template <class Body, class Done>
void parallel_pieces(Index count, Body&& body, Done&& done) {
#ifdef _OPENMP
  std::exception_ptr error;
  Index first = count;
  ESPALIER_OMP(omp parallel for schedule(dynamic, 1))
  for (Index i = 0; i < count; ++i) {
    bool ended = false;
    ESPALIER_OMP(omp critical(espalier_parallel_pieces))
    ended = static_cast<bool>(error);
    if (ended) continue;
    std::exception_ptr own;
    try {
      body(i);
    } catch (...) {
      own = std::current_exception();
    }
    ESPALIER_OMP(omp critical(espalier_parallel_pieces)) {
      try {
        if (!own) done(i);
      } catch (...) {
        own = std::current_exception();
      }
      if (own && i < first) {
        first = i;
        error = own;
      }
    }
  }
  if (error) std::rethrow_exception(error);
#else
  for (Index i = 0; i < count; ++i) {
    body(i);
    done(i);
  }
#endif
}

}  // namespace espalier::inline ESPALIER_ABI
