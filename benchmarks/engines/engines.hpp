#pragma once
// kernels::gemm with another engine behind it, each compiled in a unit of its own. False where the engine is not installed.

#include "espalier/core/shape.hpp"

namespace bench {

/// c[m, n] = a[m, k] b, where b is stored [n, k], as in a layer's forward pass.
bool blas_engine(espalier::Index m, espalier::Index n, espalier::Index k, const float* a, const float* b, float* c);
bool onednn_engine(espalier::Index m, espalier::Index n, espalier::Index k, const float* a, const float* b, float* c);

}  // namespace bench
