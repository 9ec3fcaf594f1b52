// gemm through the engine of this name, whatever the other units of the program take.

#undef ESPALIER_GEMM_BLAS
#undef ESPALIER_GEMM_ONEDNN
#if defined(BENCH_CBLAS)
#define ESPALIER_GEMM_BLAS
#endif

#include "engines.hpp"
#include "espalier/tensor/kernels/gemm.hpp"

namespace bench {

bool blas_engine(espalier::Index m, espalier::Index n, espalier::Index k, const float* a, const float* b, float* c) {
#if defined(BENCH_CBLAS)
  espalier::kernels::gemm<float>(m, n, k, {a, k, 1}, {b, 1, k}, c, n);
  return true;
#else
  return (void)m, (void)n, (void)k, (void)a, (void)b, (void)c, false;
#endif
}

}  // namespace bench
