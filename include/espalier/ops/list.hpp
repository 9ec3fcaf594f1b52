#pragma once
// The operations with structure, in one list. Their tests fold over it, as those of the elementwise operations fold over
// ArithmeticOps and FunctionOps: an operation that is added here is checked against central differences in first and second
// order, with rows of several tasks at once, and with its fused backward against the recorded one.

#include <type_traits>

#include "espalier/ops/columns.hpp"
#include "espalier/ops/layer_norm.hpp"
#include "espalier/ops/linalg.hpp"
#include "espalier/ops/loss.hpp"

namespace espalier::inline ESPALIER_ABI {

/// Rules of operations, `Op<T>` each, with `name` and `samples(check)`, which calls `check(f, {shapes of the inputs})`.
template <template <class> class... Ops>
struct StructuredOpList {
  static constexpr int size = sizeof...(Ops);
  /// Calls `visit` with std::type_identity<Op<T>> for each.
  template <class T>
  static void each(auto&& visit) {
    (visit(std::type_identity<Ops<T>>{}), ...);
  }
};

using StructuredOps = StructuredOpList<Reshape, ExpandTo, SumTo, AddSame, Where, MaxAlong, Softmax, LogSoftmax, LogSumExp,
                                       Transpose, Pad, Slice, Concat, Gather, ScatterAdd, TaskColumns, Matmul, LinearOp,
                                       LayerNormOp, SegmentLosses>;

}  // namespace espalier::inline ESPALIER_ABI
