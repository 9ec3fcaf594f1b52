#pragma once
// Blocks that a piece of work asks of the system.

#include "espalier/core/memory.hpp"

namespace support {

/// What `work` asks for once it has run `warm` times: 0 where its steady state is reached.
template <class Work>
std::uint64_t steady_allocations(const Work& work, int warm = 3, int steps = 10) {
  for (int i = 0; i < warm; ++i) work();
  const std::uint64_t before = espalier::system_allocations();
  for (int i = 0; i < steps; ++i) work();
  return espalier::system_allocations() - before;
}

/// What `work` asks for when nothing waits in the bins: the number of blocks it holds at once.
template <class Work>
std::uint64_t cold_allocations(const Work& work) {
  espalier::release_memory();
  const std::uint64_t before = espalier::system_allocations();
  work();
  return espalier::system_allocations() - before;
}

}  // namespace support
