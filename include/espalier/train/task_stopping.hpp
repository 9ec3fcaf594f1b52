#pragma once
// TaskStopping: early stopping of each task for itself, as a callback of the Trainer.
//
//   Trainer trainer{model, objective, optimizer, {.epochs = 100, .callbacks = {TaskStopping(objective, {.patience = 5})}}};
//
// A task that has not become better for `patience` epochs takes no further part in the training (MultiObjective::stop): the others
// go on, over what is shared too. The run ends when all tasks have stopped. Its counts are part of the checkpoint.
// Included by name, as the Trainer's own early stopping is what most programs use.

#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "espalier/multitask/objective.hpp"
#include "espalier/train/callback.hpp"

namespace espalier::inline ESPALIER_ABI {

struct TaskStoppingOptions {
  Index patience = 5;                   // epochs in a row without an improvement
  double min_delta = 0;                 // an improvement is one by more than this
  std::string set = "validation";       // or "train"
  std::string measure = "loss";         // a column <set>/<task>/<measure> of the history
  std::optional<bool> higher_is_better = {};  // of the measure; must be said of any but the loss
  std::vector<std::string> tasks = {};  // that may be stopped; none: all
};

template <Differentiable T = float>
class TaskStopping {
 public:
  /// Refers to the objective, which must outlive the run. Throws Error for options that make no sense and for an unknown task.
  explicit TaskStopping(MultiObjective<T>& objective, TaskStoppingOptions options = {})
      : objective_(&objective), options_(std::move(options)) {
    if (options_.patience < 1) fail("TaskStopping: patience is ", options_.patience, "; it must be at least 1");
    if (!(options_.min_delta >= 0)) fail("TaskStopping: min_delta is ", options_.min_delta, "; it must not be negative");
    if (!options_.higher_is_better && options_.measure != "loss")
      fail("TaskStopping: the measure is '", options_.measure, "'; say which way is better, for instance {.higher_is_better = true}");
    higher_is_better_ = options_.higher_is_better.value_or(false);
    const std::vector<std::string>& known = objective.names();
    if (options_.tasks.empty()) options_.tasks = known;
    for (const std::string& task : options_.tasks)
      if (std::find(known.begin(), known.end(), task) == known.end())
        fail("TaskStopping: unknown task '", task, "'; known: ", listing(known, [](const std::string& n) { return n; }));
    best_.assign(options_.tasks.size(), std::numeric_limits<double>::quiet_NaN());
    since_.assign(options_.tasks.size(), 0);
  }

  /// False when all tasks have stopped. Throws Error when the history has no such column. An epoch in which a measure is NaN, a
  /// task without labels say, counts neither way.
  bool epoch(const EpochEvent& event) {
    for (std::size_t i = 0; i < options_.tasks.size(); ++i) {
      const std::string& task = options_.tasks[i];
      const double value = event.history[join(options_.set, '/', task, '/', options_.measure)].back();
      if (std::isnan(value)) continue;
      const double gain = higher_is_better_ ? value - best_[i] : best_[i] - value;
      if (std::isnan(best_[i]) || gain > options_.min_delta) {
        best_[i] = value;
        since_[i] = 0;
      } else if (++since_[i] >= options_.patience) {
        objective_->stop(task);
      }
    }
    for (Index k = 0; k < objective_->size(); ++k)
      if (!objective_->stopped(k)) return true;
    return false;
  }

  void fields(auto&& visit) {
    visit("best", best_);
    visit("epochs_since_best", since_);
  }

 private:
  MultiObjective<T>* objective_;
  TaskStoppingOptions options_;
  bool higher_is_better_ = false;
  std::vector<double> best_;
  std::vector<Index> since_;
};
template <class T>
TaskStopping(MultiObjective<T>&) -> TaskStopping<T>;
template <class T>
TaskStopping(MultiObjective<T>&, TaskStoppingOptions) -> TaskStopping<T>;

}  // namespace espalier::inline ESPALIER_ABI
