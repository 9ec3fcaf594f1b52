#pragma once
// oneDNN as the engine of gemm, in float; double, which it does not have, stays with the default engine.
// It is included by gemm.hpp where ESPALIER_GEMM_ONEDNN is defined (CMake: -DESPALIER_GEMM=onednn).
//
// Threads are oneDNN's. Its usual build takes OpenMP's, GNU's pool, which g++ programs have anyway (OMP_NUM_THREADS); clang's
// OpenMP is another pool beside it. Bits are oneDNN's, too: they may depend on the batch, the threads and the machine.

#include <dnnl.h>

#include "espalier/tensor/kernels/gemm_pack.hpp"

namespace espalier::inline ESPALIER_ABI::kernels::detail {

/// c = a b (+ c) by oneDNN; false, and nothing done, for what it cannot say: double, or operands that are not dense along
/// either axis.
template <class T>
bool engine_gemm(Index m, Index n, Index k, const Strided<T>& a, const Strided<T>& b, T* c, Index ldc,
                 bool accumulate) {
  if constexpr (sizeof(T) == 4) {
    const auto dense = [](const Strided<T>& x, Index rows, Index columns, char& letter, Index& step) {
      const bool by_columns = x.column_stride != 1;
      letter = by_columns ? 'T' : 'N';
      step = by_columns ? x.column_stride : x.row_stride;
      return (!by_columns || x.row_stride == 1) && step >= std::max<Index>(1, by_columns ? rows : columns);
    };
    char a_letter, b_letter;
    Index a_step, b_step;
    if (k <= 0 || !dense(a, m, k, a_letter, a_step) || !dense(b, k, n, b_letter, b_step)) return false;
    return dnnl_sgemm(a_letter, b_letter, m, n, k, 1, a.data, a_step, b.data, b_step, accumulate ? 1.0f : 0.0f, c,
                      ldc) == dnnl_success;
  } else {
    return (void)m, (void)n, (void)k, (void)a, (void)b, (void)c, (void)ldc, (void)accumulate, false;
  }
}

}  // namespace espalier::inline ESPALIER_ABI::kernels::detail
