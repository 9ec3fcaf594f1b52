#pragma once
// MultiObjective: one loss per task, and the way they are joined.
//
//   MultiObjective objective{{{"digit", CrossEntropy{}}, {"ink", MSE{}}}, UPGrad{}};      // default: Sum
//   MultiObjective objective{{...}, NashMTL{}, {.every = 10}};                            // weights found in every tenth step
//   auto losses = objective(outputs, targets);
//   objective.backward(losses);
//   optimizer.step();
//
// A weighting (Sum, FixedWeights, UncertaintyWeighting, DWA, FAMO, ...) scales each task's whole gradient. An aggregator (UPGrad,
// ...) sees the Gramian of the tasks' gradients in what they share, or these gradients themselves (GradDrop, ...), and joins those
// alone; heads keep their own gradients. What is shared: parameters that the assemblies tag so, encoders, and untagged parameters
// that two or more tasks reach.
// A task without labels in a batch is absent: no loss, no gradient, no row of the Gramian, no update of its head.
// What a model wants small besides (Outputs::penalise) is no task: its gradient is added as it is.

#include "espalier/autograd/functional.hpp"
#include "espalier/multitask/aggregator/upgrad.hpp"
#include "espalier/multitask/combiner.hpp"
#include "espalier/multitask/objective_record.hpp"
#include "espalier/multitask/task_gradients.hpp"
#include "espalier/multitask/task_loss.hpp"
#include "espalier/multitask/weighting/uncertainty.hpp"

namespace espalier::inline ESPALIER_ABI {

template <Differentiable T = float>
class MultiObjective {
 public:
  /// `method` is a weighting or an aggregator. Throws Error when there is no task, a name appears twice, or the method has no
  /// use for the options.
  template <class Method = Sum>
    requires(!std::same_as<Method, Combiner>)
  MultiObjective(std::initializer_list<Named<TaskLoss<T>>> losses, Method method = {}, AggregationOptions options = {})
      : MultiObjective(std::vector<Named<TaskLoss<T>>>(losses), std::move(method), std::move(options)) {}
  template <class Method = Sum>
    requires(!std::same_as<Method, Combiner>)
  explicit MultiObjective(std::vector<Named<TaskLoss<T>>> losses, Method method = {}, AggregationOptions options = {})
      : MultiObjective(std::move(losses), as_combiner(std::move(method)), join_of<Method>(), measure_of<Method>(),
                       std::move(options)) {}
  /// With a method chosen at run time.
  MultiObjective(std::initializer_list<Named<TaskLoss<T>>> losses, Combiner combiner, AggregationOptions options = {});
  MultiObjective(std::vector<Named<TaskLoss<T>>> losses, Combiner combiner, AggregationOptions options = {});

  Index size() const { return static_cast<Index>(losses_.size()); }
  const std::vector<std::string>& names() const { return *names_; }
  /// The loss of a task, by its position in `names`.
  const TaskLoss<T>& loss(Index task) const { return losses_[static_cast<std::size_t>(task)]; }
  /// The method, when it is an M; null otherwise.
  template <class M>
  M* method() {
    return combiner_.as<M>();
  }
  std::string_view method_name() const { return combiner_.name(); }
  const ObjectiveRecord& record() const { return record_; }
  const AggregationOptions& options() const { return options_; }
  /// A task that has learned enough: its loss is still computed, but takes no part in `backward`, as if the task were absent, so
  /// that neither its head nor what is shared moves for it; it may even be NaN. Among the fields. Throws Error for an unknown task.
  void stop(std::string_view task, bool stopped = true);
  bool stopped(Index task) const { return stopped_.data()[task]; }

  /// From now on the record holds the Gramian for weightings too, which then costs them a sweep over what the tasks share, and for
  /// methods that see the gradients themselves. (Of the others it is a part.) A program that never calls this does not compile it.
  void diagnose() {
    diagnoses_ = true;
    if (!combiner_.aggregates()) measure_ = &MultiObjective::measure;
    if (combiner_.kind() == CombinerKind::jacobian)
      rows_gramian_ = [](TaskGradients<T>& gradients, std::span<double> out) { gradients.gramian(out); };
  }
  bool diagnoses() const { return diagnoses_; }

  /// The losses of a batch. Throws Error for a task that the model does not predict or that has no target, naming what there
  /// is, and for every mismatch of shapes, classes and weights.
  Losses<T> operator()(const Outputs<T>& outputs, const Targets<T>& targets) const;

  /// Adds the joined gradient to the parameters. Throws Error, before anything is changed, when a loss is NaN or infinite.
  void backward(const Losses<T>& losses, BackwardOptions options = {});

  // ---- what some methods need besides `backward`; the Trainer calls all of it --------------------------------------------

  /// At the start of every epoch, counted from 0: DWA weighs by the epochs' mean losses.
  void begin_epoch(Index epoch) { combiner_.begin_epoch(epoch); }

  /// After `optimizer.step()`; FAMO learns from what the step did to the losses. `evaluate` gives the losses of the same batch
  /// again. It is called only where the method wants it, so this costs others nothing:
  ///
  ///   objective.after_step([&] { return objective(model(batch.inputs), batch.targets); });
  ///
  /// To be exact where there is dropout or batch normalisation, evaluate in a Pass of the same step, within NoGrad, and
  /// discard the Pass. Throws Error when a loss is missing or not finite; the step has been taken then, and the method is as it was.
  template <class Evaluate>
    requires std::is_invocable_r_v<Losses<T>, Evaluate>
  void after_step(Evaluate&& evaluate) {
    if (!waits_) return;
    waits_ = false;
    const Losses<T> losses = evaluate();
    learn(losses);
  }
  /// After a `backward` that no step follows: nothing is learned from it.
  void abandon_step() { waits_ = false; }

  void fields(auto&& visit) {
    visit("step", step_);
    stopped_ = stopped_.clone();  // a copy of this objective keeps its own
    visit("stopped", stopped_);
    visit("combiner", combiner_);
    if (!group_combiners_.empty()) visit("groups", group_combiners_);
    if (options_.every > 1) {
      visit("since", since_);
      visit("weights", kept_weights_);
    }
  }

 private:
  /// How a method joins the losses. A program compiles the way it uses: aggregation is worth seconds.
  using Join = void (MultiObjective::*)(const Losses<T>&, const StepInfo&, BackwardOptions);
  template <class Method>
  static constexpr Join join_of() {
    if constexpr (LossWeighting<Method>) return &MultiObjective::weigh;
    else if constexpr (GramianAggregator<Method>) return &MultiObjective::aggregate;
    else return &MultiObjective::aggregate_rows;
  }
  /// Fills the record's Gramian for a weighting; null where nobody wants it.
  using Measure = void (MultiObjective::*)(const Losses<T>&);
  template <class Method>
  static constexpr Measure measure_of() {
    if constexpr (GradientWeighting<Method>) return &MultiObjective::measure;
    else return nullptr;
  }
  template <class Method>
  static Combiner as_combiner(Method method) {
    static_assert(CombinerMethod<Method>,
                  "MultiObjective: the method is neither a weighting nor an aggregator. It needs `name` and one of weights(losses, "
                  "info, out) -> void, weights(gramian, info, out) -> Certificate, aggregate(jacobian, info, out) -> Certificate; "
                  "see multitask/weighting/weighting.hpp and multitask/aggregator/aggregator.hpp");
    return Combiner(std::move(method));
  }
  MultiObjective(std::vector<Named<TaskLoss<T>>> losses, Combiner combiner, Join join, Measure measurement,
                 AggregationOptions options);

  static void add_single(Losses<T>& losses, Index task, const TaskLoss<T>& loss, const Tensor<T>& prediction,
                         const Target<T>& target);

  /// The number of a task, -1 when there is none of this name.
  Index known(const std::string& name, Index hint) const {
    if (hint < size() && names()[static_cast<std::size_t>(hint)] == name) return hint;
    const auto at = std::find(names().begin(), names().end(), name);
    return at == names().end() ? -1 : at - names().begin();
  }
  /// Adds the gradients of the penalties that count, before those of the losses. Keeps the graph.
  void penalise(const Losses<T>& losses);
  bool counts(const Losses<T>& losses, const Penalty<T>& p) const { return p.task < 0 || takes_part(losses, p.task); }
  bool takes_part(const Losses<T>& losses, Index task) const { return losses.present(task) && !stopped_.data()[task]; }

  /// The cotangent of one part: weights of the tasks present, labelled where it matters.
  void start(Sweep<T>& sweep, const Losses<T>& losses, const typename Losses<T>::Part& part, std::span<const double> weights);

  void weigh(const Losses<T>& losses, const StepInfo& info, BackwardOptions options);

  /// Whether nobody looks at the inner products of different tasks.
  bool norms_alone() const { return combiner_.looks_at_norms() && !diagnoses_; }
  /// A sweep that changes no gradient, for the Gramian alone.
  void measure(const Losses<T>& losses);

  [[gnu::cold]] void learn(const Losses<T>& losses);

  /// A method of the program's own may be wrong; its weights would reach every parameter.
  void check_weights() const;

  void aggregate(const Losses<T>& losses, const StepInfo& info, BackwardOptions options);
  /// For the Gramian in the record.
  void find_weights(Combiner& method, const StepInfo& info, std::span<double> weights);
  void find_group_weights(TaskGradients<T>& gradients, const StepInfo& info, std::span<double> weights);

  /// Between two solutions: the weights found last. False when it is time for new ones, or when a task present has none.
  bool take_kept(std::span<double> weights);
  void keep(std::span<const double> weights);

  void aggregate_rows(const Losses<T>& losses, const StepInfo& info, BackwardOptions options);

  typename Losses<T>::Names names_;
  std::vector<TaskLoss<T>> losses_;
  Combiner combiner_;
  Join join_;
  Measure measure_;
  void (*rows_gramian_)(TaskGradients<T>&, std::span<double>) = nullptr;  // of a method that does without, for the record
  bool diagnoses_ = false;
  bool kept_step_ = false;  // the last step's weights were those of an earlier one
  bool waits_ = false;  // the method is yet to see the losses after the step
  AggregationOptions options_;
  std::vector<Combiner> group_combiners_;  // one per group; combiner_ serves the rest
  Index since_ = 0;                        // steps since the weights were found, where they are kept
  std::vector<double> kept_weights_;       // [groups, tasks]; NaN: none
  std::vector<double> row_losses_;         // [active]
  std::uint64_t step_ = 0;
  Tensor<bool> stopped_;  // [tasks]
  ObjectiveRecord record_;
  std::vector<double> scratch_;
};

template <Differentiable T>
void MultiObjective<T>::backward(const Losses<T>& losses, BackwardOptions options) {
  if (losses.size() != size()) fail("objective: ", losses.size(), " losses given for ", size(), " tasks");
  if (waits_)
    fail("objective: ", combiner_.name(), " learns from the losses after the step; after optimizer.step() call "
         "after_step(evaluate), or abandon_step() when there was no step");
  record_.active.clear();
  bool any = false;
  for (Index k = 0; k < size(); ++k) {
    if (!std::isfinite(losses.value(k)) && !stopped_.data()[k])
      fail("objective: the loss of task '", losses.name(k), "' is ", std::isnan(losses.value(k)) ? "nan" : "infinite",
           "; nothing was updated. Look at the inputs, the labels and the learning rate");
    any |= takes_part(losses, k);
  }
  for (const Penalty<T>& p : losses.penalties())
    if (counts(losses, p) && !std::isfinite(p.value.data()[0]))
      fail("objective: the model's penalty", p.task < 0 ? "" : join(" for task '", losses.name(p.task), "'"), " is ",
           std::isnan(p.value.data()[0]) ? "nan" : "infinite", "; nothing was updated. Look at the inputs and the learning rate");
  for (const auto& part : losses.parts()) {
    const Node<T>* node = part.values.node().get();
    if (!node) continue;  // a loss that depends on no parameter has no gradient: such a task is absent
    if (node->consumed)
      fail("objective: these losses have been through backward already; pass {.retain_graph = true} to the first one");
    for (const Index k : part.tasks)
      if (takes_part(losses, k)) record_.active.push_back(k);
  }
  detail::sort_numbers(record_.active);
  if (any && record_.active.empty())
    fail("objective: the losses were not recorded; call the model with a Pass: model(inputs, pass)");
  const std::size_t m = record_.active.size();
  record_.weights.assign(m, 0);
  record_.gramian.clear();
  record_.certificate = {};
  record_.descent.clear();
  record_.group_weights.clear();
  record_.notes.resize(static_cast<std::size_t>(losses.notes()));
  for (Index i = 0; i < losses.notes(); ++i) record_.notes[static_cast<std::size_t>(i)] = losses.note(i);
  if (m == 0) return;
  row_losses_.clear();
  for (const Index task : record_.active) row_losses_.push_back(losses.value(task));
  const StepInfo info{step_, names(), record_.active, row_losses_, double{std::numeric_limits<T>::epsilon()}};
  if (!losses.penalties().empty()) penalise(losses);
  (this->*join_)(losses, info, options);
  ++step_;
  waits_ = combiner_.learns_after_step() && !kept_step_;
}

template <Differentiable T>
MultiObjective<T>::MultiObjective(std::initializer_list<Named<TaskLoss<T>>> losses, Combiner combiner,
                                  AggregationOptions options)
    : MultiObjective(std::vector<Named<TaskLoss<T>>>(losses), std::move(combiner), std::move(options)) {}

template <Differentiable T>
MultiObjective<T>::MultiObjective(std::vector<Named<TaskLoss<T>>> losses, Combiner combiner, AggregationOptions options)
    : MultiObjective(std::move(losses), combiner,
                     combiner.kind() == CombinerKind::gramian    ? &MultiObjective::aggregate
                     : combiner.kind() == CombinerKind::jacobian ? &MultiObjective::aggregate_rows
                                                                 : &MultiObjective::weigh,
                     combiner.looks_at_gradients() ? &MultiObjective::measure : nullptr, std::move(options)) {}

template <Differentiable T>
MultiObjective<T>::MultiObjective(std::vector<Named<TaskLoss<T>>> losses, Combiner combiner, Join join,
                                  Measure measurement, AggregationOptions options)
    : combiner_(std::move(combiner)), join_(join), measure_(measurement), options_(std::move(options)) {
  if (options_.every < 1) fail("MultiObjective: every is ", options_.every, "; it must be at least 1");
  if (combiner_.kind() == CombinerKind::jacobian && options_.every > 1)
    fail("MultiObjective: ", combiner_.name(), " works on the gradients of every step; it has no weights to be kept for `every` ",
         options_.every, " steps");
  if (combiner_.kind() != CombinerKind::gramian && (options_.at_representation || !options_.groups.empty()))
    fail("MultiObjective: ", combiner_.name(), " does not work on inner products of gradients; it takes neither at_representation ",
         "nor groups");
  if (options_.at_representation && !options_.groups.empty())
    fail("MultiObjective: at_representation and groups exclude each other; the representation has no parameters to group");
  if (losses.empty()) fail("MultiObjective: no task given; it needs at least one loss");
  for (std::size_t k = 0; k < losses.size(); ++k)
    if (losses[k].name.empty()) fail("MultiObjective: task ", k, " has no name; losses, metrics and files go by it");
  if (const std::string* twice = detail::repeated_name(losses))
    fail("MultiObjective: task '", *twice, "' appears twice; names must differ");
  std::vector<std::string> names;
  for (Named<TaskLoss<T>>& loss : losses) {
    names.push_back(loss.name);
    losses_.push_back(std::move(loss.value));
  }
  names_ = typename Losses<T>::Names(std::move(names));
  combiner_.prepare(size());
  group_combiners_.assign(options_.groups.size(), combiner_);
  kept_weights_.assign(losses_.size() * (options_.groups.size() + 1), std::numeric_limits<double>::quiet_NaN());
  stopped_ = Tensor<bool>::zeros({size()});
}

template <Differentiable T>
void MultiObjective<T>::start(Sweep<T>& sweep, const Losses<T>& losses, const typename Losses<T>::Part& part,
                              std::span<const double> weights) {
  Index present = 0;
  for (Index task : part.tasks) present += takes_part(losses, task);
  if (present == 0 || !part.values.node()) return;
  const auto count = static_cast<Index>(part.tasks.size());
  const bool labelled = sweep.separate() || present < count || !part.whole;  // without labels all heads count as reached
  Labels labels = labelled ? Labels(present, true) : Labels{};
  Tensor<T> g = Tensor<T>::zeros({count});
  Index at = 0;
  for (Index i = 0; i < count; ++i) {
    const Index task = part.tasks[static_cast<std::size_t>(i)];
    if (!takes_part(losses, task)) continue;
    const auto row = std::lower_bound(record_.active.begin(), record_.active.end(), task) - record_.active.begin();
    g.raw()[i] = weights.empty() ? T(1) : static_cast<T>(weights[static_cast<std::size_t>(row)]);
    if (labelled) labels.begin()[at++] = {task, i, i + 1};
  }
  if (sweep.separate() && count == 1 && part.whole) {  // a row of its own
    labels = Labels::row(part.tasks[0]);
    g = g.view({1, 1});
  }
  sweep.start(part.values, std::move(g), labels);
}

template <Differentiable T>
void MultiObjective<T>::weigh(const Losses<T>& losses, const StepInfo& info, BackwardOptions options) {
  std::vector<double>& values = scratch_;
  values.clear();
  for (Index task : record_.active) values.push_back(losses.value(task));
  const bool solve = !take_kept(record_.weights);
  if (solve) {
    if (measure_) (this->*measure_)(losses);
    if (combiner_.looks_at_gradients())
      combiner_.weights(values, GramianView{record_.gramian, static_cast<Index>(record_.active.size())}, info, record_.weights);
    else combiner_.weights(std::span<const double>(values), info, record_.weights);
    if (norms_alone()) record_.gramian.clear();  // it is none
    check_weights();
  }
  Sweep<T> sweep({.retain = options.retain_graph});
  for (const auto& part : losses.parts()) start(sweep, losses, part, record_.weights);
  sweep.run();
  kept_step_ = !solve;
  if (solve && options_.every > 1) keep(record_.weights);
  since_ = ((solve ? 0 : since_) + 1) % options_.every;
}

template <Differentiable T>
void MultiObjective<T>::check_weights() const {
  for (std::size_t i = 0; i < record_.weights.size(); ++i)
    if (!std::isfinite(record_.weights[i]))
      fail("objective: ", combiner_.name(), " gave task '", names()[static_cast<std::size_t>(record_.active[i])], "' the weight ",
           std::isnan(record_.weights[i]) ? "nan" : "inf", "; weights are finite. Clear the gradients before going on");
}

template <Differentiable T>
void MultiObjective<T>::stop(std::string_view task, bool stopped) {
  for (Index k = 0; k < size(); ++k)
    if (names()[static_cast<std::size_t>(k)] == task) {
      stopped_ = stopped_.clone();  // a copy of this objective keeps its own
      stopped_.mutate()[static_cast<std::size_t>(k)] = stopped;
      return;
    }
  fail("objective: unknown task '", task, "'; known: ", listing(names(), [](const std::string& n) { return n; }));
}

template <Differentiable T>
void MultiObjective<T>::learn(const Losses<T>& losses) {
  if (losses.size() != size()) fail("objective: ", losses.size(), " losses after the step for ", size(), " tasks");
  scratch_.clear();
  for (const Index task : record_.active) {
    if (!losses.present(task))
      fail("objective: task '", losses.name(task), "' has no label after the step, but had before; evaluate the same batch");
    if (!std::isfinite(losses.value(task)))
      fail("objective: after the step the loss of task '", losses.name(task), "' is ",
           std::isnan(losses.value(task)) ? "nan" : "infinite", "; look at the learning rate");
    scratch_.push_back(losses.value(task));
  }
  combiner_.after_step(scratch_, StepInfo{step_ - 1, names(), record_.active});
}

template <class Method = Sum>
MultiObjective(std::initializer_list<Named<TaskLoss<float>>>, Method = {}, AggregationOptions = {}) -> MultiObjective<float>;

}  // namespace espalier::inline ESPALIER_ABI

#include "espalier/multitask/objective_aggregate.hpp"
#include "espalier/multitask/objective_losses.hpp"
