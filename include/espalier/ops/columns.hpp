#pragma once
// task_columns: a task's part of a block that several tasks share, such as the predictions of packed heads.

#include "espalier/ops/layout.hpp"

namespace espalier::inline ESPALIER_ABI {

/// Slice along the last axis. Its cotangent says which columns it is about: where they are the outputs of packed heads, the
/// other heads are not reached.
template <class T>
struct TaskColumns {
  static constexpr std::string_view name = "task_columns";
  static constexpr bool rows_together = true;
  static void samples(auto&& check) {
    check([](const auto& x) { return task_columns(x[0], 1, 3); }, {Shape{2, 4}});
    check([](const auto& x) { return task_columns(x[0], 0, 2); }, {Shape{3, 2}});
  }
  Index begin, end;

  void vjp(Sweep<T>& sweep, Node<T>& node, Cotangent<T>& g) {
    const bool one_task = g.labels.rows() && g.labels.count() == 1;
    Labels labels = g.labels;
    if (one_task || (!labels && !sweep.separate())) {
      labels = Labels(1, true);
      *labels.begin() = {one_task ? g.labels[0].task : 0, begin, end};
    }
    const Tensor<T>& own = one_task ? g.value.view(node.shape) : g.value;
    sweep.emit(node, 0, pad(own, -1, begin, node.in[0]->shape[-1] - end), labels);
  }
};
/// x at positions [begin, end) of its last axis, which belong to one task.
template <class T>
Tensor<T> task_columns(const Tensor<T>& x, Index begin, Index end) {
  Tensor<T> y = slice(x.detach(), -1, begin, end);
  if (recorded(x)) record(y, TaskColumns<T>{begin, end}, x);
  return y;
}

}  // namespace espalier::inline ESPALIER_ABI
