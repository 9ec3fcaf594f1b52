// PLACEHOLDER, to be replaced by a program that trains a small model and prints a hash of all its weights.
// Prints a hash; tests/CMakeLists.txt builds it at several optimisation levels, with and without OpenMP, and runs it with
// several numbers of threads: all must print the same.
#include <cstdint>
#include <cstdio>
#include <vector>

#include "espalier/core/parallel.hpp"
#include "espalier/core/random.hpp"

int main() {
  using namespace espalier;
  constexpr Index blocks = 64, block_size = 1024;
  const Draws draws = Rng{7}.next();
  std::vector<double> numbers(blocks * block_size);
  parallel_for(blocks, 100 * blocks * block_size, [&](Index block) {
    for (Index i = block * block_size; i < (block + 1) * block_size; ++i)
      numbers[static_cast<std::size_t>(i)] = draws.uniform(static_cast<std::uint64_t>(i));
  });
  std::uint64_t hash = 0;
  for (double number : numbers) hash = detail::mix(hash ^ static_cast<std::uint64_t>(number * 0x1p53));
  std::printf("%016llx\n", static_cast<unsigned long long>(hash));
}
