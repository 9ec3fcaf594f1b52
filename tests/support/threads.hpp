#pragma once
// The same work with 1 to 4 threads, where there is OpenMP.

#ifdef _OPENMP
#include <omp.h>
#endif

namespace support {

/// Whether `work()`, a list of numbers, is the same for every number of threads.
template <class Work>
bool same_for_all_threads(const Work& work) {
  bool same = true;
#ifdef _OPENMP
  const int before = omp_get_max_threads();
  omp_set_num_threads(1);
#endif
  const auto first = work();
  for (int threads = 1; threads <= 4; ++threads) {
#ifdef _OPENMP
    omp_set_num_threads(threads);
#endif
    same = same && work() == first;
  }
#ifdef _OPENMP
  omp_set_num_threads(before);
#endif
  return same;
}

}  // namespace support
