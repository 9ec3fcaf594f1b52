#pragma once
// BLAS as the engine of gemm: sgemm and dgemm of whatever library the program links (OpenBLAS, BLIS, MKL, ...).
// It is included by gemm.hpp where ESPALIER_GEMM_BLAS is defined (CMake: -DESPALIER_GEMM=blas).
//
// Threads are the library's. OpenBLAS in its common build starts a pool of its own, beside OpenMP's: give the two together no
// more threads than there are cores (OPENBLAS_NUM_THREADS, OMP_NUM_THREADS), or link its OpenMP build, which shares ours.
// Bits are the library's, too: they may depend on the batch, the number of threads and the machine.

#include <cblas.h>

#include "espalier/tensor/kernels/gemm_pack.hpp"

namespace espalier::inline ESPALIER_ABI::kernels::detail {

/// How BLAS is told of an operand: dense rows, or dense columns, `step` apart. False for any other strides.
template <class T>
bool dense_operand(const Strided<T>& x, Index rows, Index columns, bool& by_columns, Index& step) {
  by_columns = x.column_stride != 1;
  if (by_columns && x.row_stride != 1) return false;
  step = by_columns ? x.column_stride : x.row_stride;
  return step >= std::max<Index>(1, by_columns ? rows : columns);
}

/// c = a b (+ c) by BLAS; false, and nothing done, for what BLAS cannot say: other strides, or sizes beyond its integers.
template <class T>
bool engine_gemm(Index m, Index n, Index k, const Strided<T>& a, const Strided<T>& b, T* c, Index ldc,
                 bool accumulate) {
  bool a_columns, b_columns;
  Index a_step, b_step;
  if (!dense_operand(a, m, k, a_columns, a_step) || !dense_operand(b, k, n, b_columns, b_step)) return false;
  if (std::max({m, n, k, a_step, b_step, ldc}) > std::numeric_limits<int>::max()) return false;
  const auto number = [](Index i) { return static_cast<int>(i); };
  const auto transposed = [](bool by_columns) { return by_columns ? CblasTrans : CblasNoTrans; };
  const T beta = accumulate ? T(1) : T(0);
  if constexpr (sizeof(T) == 4)
    cblas_sgemm(CblasRowMajor, transposed(a_columns), transposed(b_columns), number(m), number(n), number(k), 1, a.data,
                number(a_step), b.data, number(b_step), beta, c, number(ldc));
  else
    cblas_dgemm(CblasRowMajor, transposed(a_columns), transposed(b_columns), number(m), number(n), number(k), 1, a.data,
                number(a_step), b.data, number(b_step), beta, c, number(ldc));
  return true;
}

}  // namespace espalier::inline ESPALIER_ABI::kernels::detail
