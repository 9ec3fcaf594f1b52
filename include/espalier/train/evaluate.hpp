#pragma once
// evaluate and predict: a model on data, in batches, without recording.
//
//   const Evaluation result = evaluate(model, objective, test);
//   std::printf("%s", result.text().c_str());                       // a table: task, loss, metrics
//   double accuracy = result("digit", "accuracy");
//   const NamedList<Tensor<float>> outputs = predict(model, test);   // outputs["digit"] is [rows, 10]

#include "espalier/core/names.hpp"
#include "espalier/core/nearest.hpp"
#include "espalier/data/loader.hpp"
#include "espalier/model/model_ref.hpp"
#include "espalier/multitask/objective.hpp"
#include "espalier/train/loss_sums.hpp"
#include "espalier/train/metrics.hpp"
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
    for (const Measure& m : measures_)
      if (m.task == task && m.name == name) return m.value;
    fail("evaluation: there is no '", name, "' of task '", task,
         "'; there are: ", listing(measures_, [](const Measure& m) { return join(m.task, '/', m.name); }));
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
  /// Throws Error when metrics are given for a task that the objective does not have, or twice for one, or when two of a task's
  /// metrics have one name.
  Evaluator(const MultiObjective<T>& objective, const TaskMetrics& metrics) : objective_(&objective), losses_(objective.size()) {
    if (const std::string* twice = detail::repeated_name(metrics))
      fail("metrics: task '", *twice, "' is listed twice; list all of its metrics at once");
    const std::vector<std::string>& tasks = objective.names();
    NameIndex known(objective.size(), [&](Index k) { return std::string_view(tasks[static_cast<std::size_t>(k)]); });
    std::vector<const std::vector<AnyMetric>*> chosen(tasks.size(), nullptr);
    for (std::size_t i = 0; i < metrics.size(); ++i) {
      const Index k = known.find(metrics[i].name, static_cast<Index>(i));
      if (k < 0)
        fail("metrics: unknown task '", metrics[i].name, "'; known: ", listing(tasks, [](const std::string& n) { return n; }),
             did_you_mean(metrics[i].name, tasks));
      chosen[static_cast<std::size_t>(k)] = &metrics[i].value;
    }
    for (std::size_t k = 0; k < tasks.size(); ++k) {
      metrics_.push_back(chosen[k] ? *chosen[k] : metrics::defaults(objective.loss(static_cast<Index>(k)).name()));
      check_names(tasks[k], metrics_[k]);
    }
    reset();
  }

  void reset() {
    losses_.reset();
    for (std::vector<AnyMetric>& list : metrics_)
      for (AnyMetric& metric : list) metric.reset();
  }
  void add(const Outputs<T>& outputs, const Targets<T>& targets) {
    const Losses<T> losses = (*objective_)(outputs, targets);
    losses_.add(losses);
    NameIndex predicted(outputs.size(), [&](Index i) { return std::string_view(outputs.name(i)); });
    NameIndex given(targets.size(), [&](Index i) { return std::string_view(targets.at(i).name); });
    for (Index k = 0; k < losses.size(); ++k) {
      const auto task = static_cast<std::size_t>(k);
      if (!losses.present(k) || metrics_[task].empty()) continue;
      const std::string& name = losses.name(k);
      const Tensor<T> prediction = outputs.at(predicted.find(name, k));
      const ScoredOptions reading = detail::reading_of(objective_->loss(k), prediction, name);
      const Scored batch = scored(prediction, targets.at(given.find(name, k)).value, name, reading);
      for (AnyMetric& metric : metrics_[task]) metric.add(batch);
    }
  }
  Evaluation result() const {
    std::vector<Evaluation::Measure> measures;
    for (std::size_t k = 0; k < metrics_.size(); ++k) {
      const std::string& task = objective_->names()[k];
      const bool any = losses_.any(k);
      measures.push_back({task, "loss", losses_.mean(k), false, any});
      for (const AnyMetric& metric : metrics_[k])
        measures.push_back({task, metric.name(), metric.value(), metric.higher_is_better(), any});
    }
    return Evaluation(std::move(measures));
  }

 private:
  [[gnu::cold]] static void check_names(const std::string& task, const std::vector<AnyMetric>& metrics) {
    NameTable names;
    names.add("loss");
    for (const AnyMetric& metric : metrics)
      if (!names.add(metric.name()))
        fail("metrics: task '", task, "' has '", metric.name(), "' twice; its metrics must differ in name, and 'loss' is its loss");
  }

  const MultiObjective<T>* objective_;
  std::vector<std::vector<AnyMetric>> metrics_;  // of each task
  LossSums losses_;
};

namespace detail {
/// Calls f, which uses the loader's current batch. What is wrong with a sample of it is said of the row of the data: the
/// place in a batch, shuffled perhaps, tells nobody anything.
template <class T, class F>
decltype(auto) naming_rows(const Loader<T>& loader, std::string_view data, F&& f) {
  try {
    return f();
  } catch (const SampleError& error) {
    const std::span<const Index> rows = loader.batch_rows();
    const auto sample = static_cast<std::size_t>(error.sample());
    if (sample >= rows.size()) throw;
    throw Error(error.text(join("row ", rows[sample], " of the ", data)));
  }
}

template <class T>
Evaluation evaluate(const ModelRef<T>& model, const MultiObjective<T>& objective, Loader<T> loader, const TaskMetrics& metrics) {
  Evaluator<T> evaluator(objective, metrics);
  for (const Batch<T>& batch : loader.epoch(0))
    naming_rows(loader, "data", [&] { evaluator.add(model(batch.inputs), batch.targets); });
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
      parts[task].push_back(outputs.at(k));
    }
  }
  NamedList<Tensor<T>> all;
  for (std::size_t k = 0; k < parts.size(); ++k) all.add(names[k], concat(parts[k], 0));
  return all;
}
}  // namespace detail

/// A model's losses and metrics on all rows of the data, each row counted by its weights: exact, however the batches are cut.
/// Throws Error as model, objective and metrics do (of a sample with its row in the data, from 0), and for data without a row.
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
