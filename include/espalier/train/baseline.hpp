#pragma once
// Baseline: the model to beat, which looks at no input.
//
//   const Baseline baseline(objective, model(train.inputs), train.targets);
//   const Evaluation least = evaluate(baseline, objective, test), found = evaluate(model, objective, test);
//
// A model that is no better has learned nothing that another row could use, whatever its loss in training.

#include <cmath>
#include <string_view>
#include <utility>

#include "espalier/multitask/objective.hpp"
#include "espalier/train/metrics/scored.hpp"

namespace espalier::inline ESPALIER_ABI {

namespace detail {

/// A column's constant of least error: the mean or the median of its labels, or of labels in [0, 1] the logit of the mean.
/// Half a count is added to either side of a share (Krichevsky, Trofimov 1981), as none of a sample is not never.
inline double constant_of(std::string_view loss, const Scored& labels, Index column) {
  const auto at = [&](Index row) { return static_cast<std::size_t>(row * labels.width + column); };
  double weights = 0, sum = 0;
  for (Index r = 0; r < labels.rows; ++r) {
    weights += labels.weight[at(r)];
    sum += labels.weight[at(r)] > 0 ? labels.weight[at(r)] * labels.value[at(r)] : 0;
  }
  if (loss == BCEWithLogits::name) return std::log((sum + 0.5) / (weights - sum + 0.5));
  if (weights == 0) return 0;
  if (loss == MSE::name) return sum / weights;
  double below = 0;
  for (Index r : sorted_order(static_cast<std::size_t>(labels.rows),
                              [&](Index a, Index b) { return labels.value[at(a)] < labels.value[at(b)]; })) {
    below += labels.weight[at(r)];
    if (labels.weight[at(r)] > 0 && 2 * below >= weights) return labels.value[at(r)];
  }
  return 0;
}

/// The constant prediction [width] for one task.
[[gnu::cold]] inline std::vector<double> constant_prediction(std::string_view loss, const Scored& labels) {
  std::vector<double> row(static_cast<std::size_t>(labels.width));
  if (!labels.of_classes) {
    for (Index c = 0; c < labels.width; ++c) row[static_cast<std::size_t>(c)] = constant_of(loss, labels, c);
    return row;
  }
  for (Index r = 0; r < labels.rows; ++r)
    row[static_cast<std::size_t>(labels.classes[static_cast<std::size_t>(r)])] +=
        labels.weight[static_cast<std::size_t>(r)];
  for (double& count : row) count = std::log(count + 0.5);
  return row;
}

}  // namespace detail

/// Predicts for every row the same: the constant of least loss on the training labels. It is known for four losses without
/// options: for MSE their mean, for MAE
/// their median, for CrossEntropy logits of the classes' shares (so the most frequent class), for BCEWithLogits the logit
/// of the share of ones. A task without a label gets 0.
template <Differentiable T = float>
class Baseline {
 public:
  /// `outputs` are any model's on the rows of `targets`: they say how wide each task's prediction is. Throws Error for a
  /// task that has no output or target, one with another loss, and as `scored` does.
  Baseline(const MultiObjective<T>& objective, const Outputs<T>& outputs, const Targets<T>& targets) {
    for (Index k = 0; k < objective.size(); ++k) {
      const std::string& task = objective.names()[static_cast<std::size_t>(k)];
      const TaskLoss<T>& loss = objective.loss(k);
      const std::string_view known[] = {MSE::name, MAE::name, CrossEntropy::name, BCEWithLogits::name};
      if (std::find(std::begin(known), std::end(known), loss.name()) == std::end(known) || loss.options())
        fail("Baseline: task '", task, loss.custom() ? "' has a loss of its own" : join("' has the loss ", loss.name()),
             loss.options() ? " with options" : "", "; the best constant is known for mse, mae, cross_entropy and bce_with_logits");
      const Tensor<T> prediction = outputs[task];
      const std::vector<double> row = detail::constant_prediction(loss.name(), scored(prediction, targets[task], task));
      Tensor<T> constant = Tensor<T>::empty(Shape{1} + prediction.shape().part(1, prediction.rank()));
      for (std::size_t c = 0; c < row.size(); ++c) constant.raw()[c] = static_cast<T>(row[c]);
      constants_.add(task, std::move(constant));
    }
  }

  /// The constant of each task, [1, width].
  const NamedList<Tensor<T>>& constants() const { return constants_; }
  Outputs<T> operator()(const Inputs<T>& inputs) const {
    if (inputs.empty()) fail("Baseline: no input is given; it says how many rows there are");
    const Index rows = inputs.at(0).value.batch();
    NamedList<Tensor<T>> all;
    for (const auto& [task, row] : constants_)
      all.add(task, expand_to(row, Shape{rows} + row.shape().part(1, row.rank())));
    return Outputs<T>(all);
  }

 private:
  NamedList<Tensor<T>> constants_;
};

}  // namespace espalier::inline ESPALIER_ABI
