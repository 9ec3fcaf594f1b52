#pragma once
// evaluate and predict: a model on data, in batches, without recording.
//
//   const Evaluation result = evaluate(model, objective, test);
//   std::printf("%s", result.text().c_str());                       // a table: task, loss, metrics
//   double accuracy = result("digit", "accuracy");
//   const NamedList<Tensor<float>> outputs = predict(model, test);   // outputs["digit"] is [rows, 10]

#include "espalier/data/loader.hpp"
#include "espalier/multitask/objective.hpp"
#include "espalier/train/metrics.hpp"
#include "espalier/model/model_ref.hpp"
#include "espalier/train/text.hpp"

namespace espalier::inline ESPALIER_ABI {

/// The metrics of each task by its name; a task that is not listed has those of `metrics::defaults`.
using TaskMetrics = std::vector<Named<std::vector<AnyMetric>>>;

struct EvaluateOptions {
  Index batch = 256;
  TaskMetrics metrics = {};
};

/// What a model is worth on some data: the loss and the metrics of every task.
class Evaluation {
 public:
  struct Measure {
    std::string task, name;  // name: "loss", or a metric's
    double value = 0;        // NaN: not defined, for instance without a label
    bool higher_is_better = false;
    bool labelled = false;  // the task has labels in the data
  };

  Evaluation() = default;
  explicit Evaluation(std::vector<Measure> measures) : measures_(std::move(measures)) {}

  /// Task by task, the loss first.
  const std::vector<Measure>& measures() const { return measures_; }
  /// Throws Error for an unknown one, listing the known.
  double operator()(std::string_view task, std::string_view name) const {
    std::string known;
    for (const Measure& m : measures_) {
      if (m.task == task && m.name == name) return m.value;
      known += join(known.empty() ? "" : ", ", m.task, '/', m.name);
    }
    fail("evaluation: there is no '", name, "' of task '", task, "'; there are: ", known);
  }
  /// The sum of the losses of the tasks that have labels; NaN when none has, or one of them is NaN.
  double loss() const {
    double sum = 0;
    bool any = false;
    for (const Measure& m : measures_)
      if (m.name == "loss" && m.labelled) {
        sum += m.value;
        any = true;
      }
    return any ? sum : std::numeric_limits<double>::quiet_NaN();
  }
  /// A table for people, a line per task.
  [[gnu::cold]] std::string text() const {
    Index width = 4;
    for (const Measure& m : measures_) width = std::max(width, detail::display_width(m.task));
    std::string text;
    for (std::size_t i = 0; i < measures_.size(); ++i) {
      const Measure& m = measures_[i];
      if (i == 0 || m.task != measures_[i - 1].task) {
        if (i > 0) text += '\n';
        text += m.task;
        text.append(static_cast<std::size_t>(width - detail::display_width(m.task)), ' ');
      }
      text += join("   ", m.name, ' ', std::isnan(m.value) ? std::string("-") : detail::short_number(m.value));
    }
    return text + '\n';
  }

 private:
  std::vector<Measure> measures_;
};

namespace detail {
/// How a task's loss reads its targets.
template <class T>
ScoredOptions reading_of(const TaskLoss<T>& loss, const Tensor<T>& prediction, std::string_view task) {
  ScoredOptions options;
  if (loss.custom()) return options;
  options.ordered = loss.methods().target == LossTarget::levels;
  if (loss.options() && !loss.methods().by_class()) {
    LossHead head;
    settle_loss_of(loss.methods(), loss.options(), task, prediction.shape().span(1, prediction.rank()), head);
    options.each = head.each;
  }
  return options;
}
}  // namespace detail

/// Adds up a model's losses and metrics batch by batch.
template <Differentiable T = float>
class Evaluator {
 public:
  /// Throws Error when metrics are given for a task that the objective does not have.
  Evaluator(const MultiObjective<T>& objective, const TaskMetrics& metrics) : objective_(&objective) {
    for (const auto& [task, list] : metrics) {
      bool known = false;
      for (const std::string& name : objective.names()) known |= name == task;
      if (!known)
        fail("metrics: unknown task '", task, "'; known: ", listing(objective.names(), [](const std::string& n) { return n; }));
    }
    for (Index k = 0; k < objective.size(); ++k) {
      const std::string& name = objective.names()[static_cast<std::size_t>(k)];
      const std::vector<AnyMetric>* chosen = nullptr;
      for (const auto& [task, list] : metrics)
        if (task == name) chosen = &list;
      metrics_.push_back(chosen ? *chosen : metrics::defaults(objective.loss(k).name()));
    }
    reset();
  }

  void reset() {
    sums_.assign(metrics_.size(), 0);
    weights_.assign(metrics_.size(), 0);
    for (std::vector<AnyMetric>& list : metrics_)
      for (AnyMetric& metric : list) metric.reset();
  }
  void add(const Outputs<T>& outputs, const Targets<T>& targets) {
    const Losses<T> losses = (*objective_)(outputs, targets);
    for (Index k = 0; k < losses.size(); ++k) {
      const auto task = static_cast<std::size_t>(k);
      if (!losses.present(k)) continue;
      sums_[task] += losses.value(k) * losses.weight(k);
      weights_[task] += losses.weight(k);
      if (metrics_[task].empty()) continue;
      const std::string& name = losses.name(k);
      const Tensor<T> prediction = outputs.at(outputs.find(name, k));
      const ScoredOptions reading = detail::reading_of(objective_->loss(k), prediction, name);
      const Scored batch = scored(prediction, *targets.find(name, k), name, reading);
      for (AnyMetric& metric : metrics_[task]) metric.add(batch);
    }
  }
  Evaluation result() const {
    std::vector<Evaluation::Measure> measures;
    for (std::size_t k = 0; k < metrics_.size(); ++k) {
      const std::string& task = objective_->names()[k];
      const bool any = weights_[k] > 0;
      measures.push_back({task, "loss", any ? sums_[k] / weights_[k] : std::numeric_limits<double>::quiet_NaN(), false, any});
      for (const AnyMetric& metric : metrics_[k])
        measures.push_back({task, metric.name(), metric.value(), metric.higher_is_better(), any});
    }
    return Evaluation(std::move(measures));
  }

 private:
  const MultiObjective<T>* objective_;
  std::vector<std::vector<AnyMetric>> metrics_;  // of each task
  std::vector<double> sums_, weights_;           // of the losses
};

namespace detail {
template <class T>
Evaluation evaluate(const ModelRef<T>& model, const MultiObjective<T>& objective, Loader<T> loader, const TaskMetrics& metrics) {
  Evaluator<T> evaluator(objective, metrics);
  for (const Batch<T>& batch : loader.epoch(0)) evaluator.add(model(batch.inputs), batch.targets);
  return evaluator.result();
}

template <class T>
NamedList<Tensor<T>> predict(const ModelRef<T>& model, Loader<T> loader) {
  std::vector<std::string> names;
  std::vector<std::vector<Tensor<T>>> parts;  // of each task
  for (const Batch<T>& batch : loader.epoch(0)) {
    const Outputs<T> outputs = model(batch.inputs);
    for (Index k = 0; k < outputs.size(); ++k) {
      const auto task = static_cast<std::size_t>(k);
      if (task == parts.size()) {
        names.push_back(outputs.name(k));
        parts.emplace_back();
      }
      parts[task].push_back(outputs[outputs.name(k)]);
    }
  }
  NamedList<Tensor<T>> all;
  for (std::size_t k = 0; k < parts.size(); ++k) all.add(names[k], concat(parts[k], 0));
  return all;
}
}  // namespace detail

/// A model's losses and metrics on all rows of the data, each row counted by its weights: exact, however the batches are cut.
/// Throws Error as model, objective and metrics do, and for data without a row.
template <Differentiable T, ModelFor<T> Model, DatasetFor<T> Data>
Evaluation evaluate(const Model& model, const MultiObjective<T>& objective, const Data& data, const EvaluateOptions& options = {}) {
  if (data.size() == 0) fail("evaluate: the data has no rows; there must be at least 1");
  return detail::evaluate(ModelRef<T>(model), objective,
                          Loader<T>(detail::Borrowed<Data>{&data}, {.batch = options.batch, .shuffle = false}, Rng{}),
                          options.metrics);
}

struct PredictOptions {
  Index batch = 256;
};

/// Every task's predictions [rows, width] as the heads give them (logits for classes). `data` needs no targets.
template <class Data, class Model>
  requires requires(const Data& data) { detail::scalar_of(data.rows(std::span<const Index>())); }
auto predict(const Model& model, const Data& data, const PredictOptions& options = {}) {
  using T = decltype(detail::scalar_of(data.rows(std::span<const Index>())));
  if (data.size() == 0) fail("predict: the data has no rows; there must be at least 1");
  return detail::predict(ModelRef<T>(model),
                         Loader<T>(detail::Borrowed<Data>{&data}, {.batch = options.batch, .shuffle = false}, Rng{}));
}
template <Differentiable T, ModelFor<T> Model>
NamedList<Tensor<T>> predict(const Model& model, const Inputs<T>& inputs, const PredictOptions& options = {}) {
  return predict(model, Dataset<T>(inputs, {}), options);
}

}  // namespace espalier::inline ESPALIER_ABI
