#pragma once
// distilled: targets with a teacher's word in them, for a student that learns several tasks from single-task teachers.
//
//   Dataset<float> taught = distilled(train, "digit", digit_teacher);          // any model that predicts the task
//   taught = distilled(taught, "ink", ink_teacher, {.soft = 0.3});
//   MultiObjective objective{{{"digit", Distillation{.soft = 0.5}}, {"ink", MSE{}}}, UPGrad{}};
//
// A teacher knows an answer for every row, labelled or not: rows without a label learn from it alone.
// Included by name, as most programs have no teacher.

#include "espalier/ops/loss/distillation.hpp"
#include "espalier/train/evaluate.hpp"

namespace espalier::inline ESPALIER_ABI {

struct DistilledOptions {
  double soft = 0.5;  // of values: the teacher's part of the target, in [0, 1]
  Index batch = 256;  // rows that the teacher sees at once
};

/// The data with the teacher's predictions in the target of `task`; the rest is shared, not copied. Classes get the logits beside
/// them, for the loss Distillation, and class -1 where there was no label. Values become (1 - soft) value + soft prediction, which
/// for MSE is to learn from both, and where there was no label the prediction, with weight `soft`. Throws Error for an unknown
/// task, a teacher that does not predict it or predicts another shape of it, and as `predict` does.
template <Differentiable T, ModelFor<T> Model>
Dataset<T> distilled(Dataset<T> data, std::string_view task, const Model& teacher, const DistilledOptions& options = {}) {
  if (!(options.soft >= 0 && options.soft <= 1)) fail("distilled: soft is ", options.soft, "; it must be in [0, 1]");
  Target<T>* target = data.targets.find(task);
  if (!target) fail("distilled: the data has no target '", task, "'; it has: ", data.targets.names());
  const NamedList<Tensor<T>> all = predict(teacher, data, {.batch = options.batch});
  const Tensor<T>* found = all.find(task);
  if (!found) fail("distilled: the teacher predicts no task '", task, "'; it predicts: ", all.names());
  const Tensor<T>& w = target->weight;
  if (target->classes.defined()) {
    if (found->rank() != 2)
      fail("distilled: the teacher's logits of '", task, "' are ", found->shape(), "; they must be [rows, classes]");
    target->value = *found;
    if (!w.defined()) return data;
    target->classes = target->classes.clone();
    Tensor<T> weight = w.clone();
    for (Index i = 0; i < w.size(); ++i)
      if (!(w.data()[i] > 0)) {
        target->classes.raw()[i] = -1;
        weight.raw()[i] = T(1);
      }
    target->weight = weight;
    return data;
  }
  if (found->size() != target->value.size())
    fail("distilled: the teacher's prediction of '", task, "' is ", found->shape(), ", the target ", target->value.shape(),
         "; they must be as large");
  const Index each = w.defined() ? target->value.size() / std::max<Index>(1, w.size()) : 1;  // elements of one weight
  Tensor<T> value = Tensor<T>::empty(target->value.shape()), weight = w.defined() ? w.clone() : w;
  for (Index i = 0; i < value.size(); ++i) {
    const bool labelled = !w.defined() || w.data()[i / each] > 0;
    const double y = static_cast<double>(found->data()[i]);
    value.raw()[i] =
        static_cast<T>(labelled ? (1 - options.soft) * static_cast<double>(target->value.data()[i]) + options.soft * y : y);
    if (!labelled) weight.raw()[i / each] = static_cast<T>(options.soft);
  }
  target->value = value;
  target->weight = weight;
  return data;
}

}  // namespace espalier::inline ESPALIER_ABI
