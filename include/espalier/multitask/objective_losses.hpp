#pragma once
// How a MultiObjective finds the losses of a batch: those of heads that predict into one block in one pass over it, in the
// order of its columns, the others one by one; and which of the model's penalties and notes go along.

#include "espalier/multitask/objective.hpp"

namespace espalier::inline ESPALIER_ABI {

template <Differentiable T>
Losses<T> MultiObjective<T>::operator()(const Outputs<T>& outputs, const Targets<T>& targets) const {
  Losses<T> losses(names_);
  PoolVector<LossSegment<T>> segments;  // of the packed block, by column
  PoolVector<Index> segment_tasks;
  PoolVector<double> sums;
  const bool packed = outputs.block().defined();
  if (packed) {
    const auto columns = static_cast<std::size_t>(outputs.size());
    segments.reserve(columns);
    segment_tasks.reserve(columns);
  }
  NameIndex predicted(outputs.size(), [&](Index i) { return std::string_view(outputs.name(i)); });
  NameIndex given(targets.size(), [&](Index i) { return std::string_view(targets.at(i).name); });
  bool in_order = true;
  Index covered = 0;
  for (Index k = 0; k < size(); ++k) {
    const std::string& name = names()[static_cast<std::size_t>(k)];
    const Index output = predicted.find(name, k);
    if (output < 0) fail("objective: the model predicts no task '", name, "'; it predicts: ", outputs.names());
    const Index number = given.find(name, k);
    if (number < 0) fail("objective: no target for task '", name, "'; targets given: ", targets.names());
    const Target<T>* target = &targets.at(number).value;
    const OutputLayout::Place& place = outputs.place(output);
    const TaskLoss<T>& loss = losses_[static_cast<std::size_t>(k)];
    if (packed && place.packed() && !loss.custom()) {
      in_order &= segments.empty() || segments.back().end <= place.begin;
      covered += place.end - place.begin;
      segments.push_back({&loss.methods(), place.begin, place.end, target, name, loss.options()});
      segment_tasks.push_back(k);
    } else {
      add_single(losses, k, loss, place.packed() ? task_columns(outputs.block(), place.begin, place.end)
                                                 : outputs.separate(place.separate), *target);
    }
  }
  for (const Penalty<T>& p : outputs.penalties()) {
    const Index task = p.task < 0 ? -1 : known(outputs.name(p.task), p.task);
    if (p.task < 0 || task >= 0) losses.penalise({p.value, task});  // a task that is not ours has no part in what we do
  }
  if (!outputs.notes().empty()) losses.note(outputs);
  if (segments.empty()) return losses;
  if (!in_order) {  // tasks in another order than the heads
    const PoolVector<LossSegment<T>> unsorted = segments;
    const PoolVector<Index> tasks = segment_tasks;
    const auto begin = [&](Index i) { return unsorted[static_cast<std::size_t>(i)].begin; };
    const PoolVector<Index> order =
        detail::sorted_order(segments.size(), [&](Index a, Index b) { return begin(a) < begin(b); });
    for (std::size_t i = 0; i < order.size(); ++i) {
      segments[i] = unsorted[static_cast<std::size_t>(order[i])];
      segment_tasks[i] = tasks[static_cast<std::size_t>(order[i])];
    }
  }
  sums.resize(segments.size());
  Tensor<T> values = segment_losses(outputs.block(), std::span<const LossSegment<T>>(segments), std::span<double>(sums));
  losses.add({std::move(values), std::move(segment_tasks), covered == outputs.block().shape()[1]}, sums);
  return losses;
}

template <Differentiable T>
void MultiObjective<T>::add_single(Losses<T>& losses, Index task, const TaskLoss<T>& loss, const Tensor<T>& prediction,
                                   const Target<T>& target) {
  double sum = 0;
  Tensor<T> value;
  if (loss.custom()) {
    const Tensor<T>& w = target.weight;
    sum = static_cast<double>(prediction.rank() > 0 ? prediction.shape()[0] : 1);
    if (w.defined()) sum = 0;
    for (Index i = 0; w.defined() && i < w.size(); ++i) {
      const auto weight = static_cast<double>(w.data()[i]);
      if (!(weight >= 0) || std::isinf(weight))
        throw SampleError(i * w.shape()[0] / w.size(), join("objective: task '", losses.name(task), "': the weight of "),
                          join(" is ", weight, "; weights are finite and not negative"));
      sum += weight;
    }
    value = sum > 0 ? loss(prediction, target) : Tensor<T>::zeros({1});
    if (!value.defined() || value.size() != 1)
      fail("objective: the loss of task '", losses.name(task), "' is ", value.defined() ? value.shape().text() : "undefined",
           "; a loss function must give one number");
    value = reshape(value, {1});
  } else {
    value = detail::one_loss(loss.methods(), loss.options(), prediction, target, losses.name(task), sum);
  }
  losses.add({std::move(value), {task}}, std::span<const double>(&sum, 1));
}

}  // namespace espalier::inline ESPALIER_ABI
