#if defined(BENCH_CBLAS)
#define ESPALIER_GEMM_BLAS
#endif
#include "engines.hpp"
#include "espalier/tensor/kernels/gemm.hpp"

// Declared without the engine's tag, which `Index` here does not depend on: it is a plain integer.
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
