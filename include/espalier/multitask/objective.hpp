#pragma once
// MultiObjective: one loss per task, and the way they are joined.
//
//   MultiObjective objective{{{"digit", CrossEntropy{}}, {"ink", MSE{}}}, UPGrad{}};      // default: Sum
//   auto losses = objective(outputs, targets);
//   objective.backward(losses);
//   optimizer.step();
//
// A weighting (Sum, FixedWeights, UncertaintyWeighting, ...) scales each task's whole gradient. An aggregator (UPGrad, ...)
// sees the Gramian of the tasks' gradients in what they share and weighs that alone; heads keep their own gradients. What is
// shared: parameters that the assemblies tag so, encoders, and untagged parameters that two or more tasks reach.
// A task without labels in a batch is absent: no loss, no gradient, no row of the Gramian, no update of its head.

#include "espalier/autograd/functional.hpp"
#include "espalier/multitask/aggregator/upgrad.hpp"
#include "espalier/multitask/combiner.hpp"
#include "espalier/multitask/task_gradients.hpp"
#include "espalier/multitask/weighting/uncertainty.hpp"
#include "espalier/ops/loss.hpp"

namespace espalier::inline ESPALIER_ABI {

/// A task's loss: a loss struct, with its options (MSE, CrossEntropy, Huber, ...), or any function of (prediction, Target<T>)
/// that gives a tensor of one element. Such a function sees only targets that have a label somewhere, and honours the weights
/// itself.
template <Differentiable T = float>
class TaskLoss {
 public:
  template <SegmentLoss Loss>
  TaskLoss(Loss loss) : methods_(&loss_methods<T, Loss>), name_(Loss::name) {
    if (!detail::plain_loss(loss)) held_ = Owned<Base>(new Options<Loss>(std::move(loss)));
  }
  template <class F>
    requires std::is_invocable_r_v<Tensor<T>, F, const Tensor<T>&, const Target<T>&>
  TaskLoss(F function) : name_("custom"), held_(new Function<F>(std::move(function))) {}

  bool custom() const { return !methods_; }
  const LossMethods<T>& methods() const { return *methods_; }
  /// The struct, where it has options that count; null otherwise. See LossSegment.
  const void* options() const { return methods_ && held_ ? held_->options() : nullptr; }
  std::string_view name() const { return name_; }
  Tensor<T> operator()(const Tensor<T>& prediction, const Target<T>& target) const { return held_->call(prediction, target); }

 private:
  struct Base {
    virtual ~Base() = default;
    virtual Tensor<T> call(const Tensor<T>&, const Target<T>&) { return {}; }
    virtual const void* options() const { return nullptr; }
    virtual Base* copy() const = 0;
  };
  template <class F>
  struct Function final : Base {
    F function;
    explicit Function(F f) : function(std::move(f)) {}
    Tensor<T> call(const Tensor<T>& prediction, const Target<T>& target) override { return function(prediction, target); }
    Base* copy() const override { return new Function(function); }
  };
  template <class Loss>
  struct Options final : Base {
    Loss loss;
    explicit Options(Loss l) : loss(std::move(l)) {}
    const void* options() const override { return &loss; }
    Base* copy() const override { return new Options(loss); }
  };

  const LossMethods<T>* methods_ = nullptr;
  std::string_view name_;
  Owned<Base> held_;
};

/// What the last backward did: for diagnostics.
struct ObjectiveRecord {
  std::vector<Index> active;     // the tasks present, in order
  std::vector<double> weights;   // [active]: scaled losses, or shared gradients
  std::vector<double> gramian;   // [active, active]; empty for weightings
  Certificate certificate;       // an aggregator's; exact for weightings
};

template <Differentiable T = float>
class MultiObjective {
 public:
  /// `method` is a weighting or an aggregator. Throws Error when there is no task or a name appears twice.
  template <class Method = Sum>
    requires LossWeighting<Method> || GramianAggregator<Method>
  MultiObjective(std::initializer_list<Named<TaskLoss<T>>> losses, Method method = {})
      : MultiObjective(std::vector<Named<TaskLoss<T>>>(losses), std::move(method)) {}
  template <class Method = Sum>
    requires LossWeighting<Method> || GramianAggregator<Method>
  explicit MultiObjective(std::vector<Named<TaskLoss<T>>> losses, Method method = {})
      : MultiObjective(std::move(losses), Combiner(std::move(method)), join_of<Method>()) {}
  /// With a method chosen at run time.
  MultiObjective(std::initializer_list<Named<TaskLoss<T>>> losses, Combiner combiner)
      : MultiObjective(std::vector<Named<TaskLoss<T>>>(losses), std::move(combiner)) {}
  MultiObjective(std::vector<Named<TaskLoss<T>>> losses, Combiner combiner)
      : MultiObjective(std::move(losses), combiner, combiner.aggregates() ? &MultiObjective::aggregate : &MultiObjective::weigh) {}

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
  /// A task that has learned enough: its loss is still computed, but takes no part in `backward`, as if the task were absent, so
  /// that neither its head nor what is shared moves for it. Among the fields. Throws Error for an unknown task.
  void stop(std::string_view task, bool stopped = true) {
    for (Index k = 0; k < size(); ++k)
      if (names()[static_cast<std::size_t>(k)] == task) {
        stopped_ = stopped_.clone();  // a copy of this objective keeps its own
        stopped_.mutate()[static_cast<std::size_t>(k)] = stopped;
        return;
      }
    fail("objective: unknown task '", task, "'; known: ", listing(names(), [](const std::string& n) { return n; }));
  }
  bool stopped(Index task) const { return stopped_.data()[task]; }

  /// The losses of a batch. Throws Error for a task that the model does not predict or that has no target, naming what there
  /// is, and for every mismatch of shapes, classes and weights.
  Losses<T> operator()(const Outputs<T>& outputs, const Targets<T>& targets) const {
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

  /// Adds the joined gradient to the parameters. Throws Error, before anything is changed, when a loss is NaN or infinite.
  void backward(const Losses<T>& losses, BackwardOptions options = {}) {
    if (losses.size() != size()) fail("objective: ", losses.size(), " losses given for ", size(), " tasks");
    record_.active.clear();
    bool any = false;
    for (Index k = 0; k < size(); ++k) {
      if (!std::isfinite(losses.value(k)))
        fail("objective: the loss of task '", losses.name(k), "' is ", std::isnan(losses.value(k)) ? "nan" : "infinite",
             "; nothing was updated. Look at the inputs, the labels and the learning rate");
      any |= takes_part(losses, k);
    }
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
    if (m == 0) return;
    const StepInfo info{step_++, names(), record_.active};
    (this->*join_)(losses, info, options);
  }

  void fields(auto&& visit) {
    visit("step", step_);
    visit("stopped", stopped_);
    visit("combiner", combiner_);
  }

 private:
  /// How a method joins the losses. A program compiles the way it uses: aggregation is worth seconds.
  using Join = void (MultiObjective::*)(const Losses<T>&, const StepInfo&, BackwardOptions);
  template <class Method>
  static constexpr Join join_of() {
    if constexpr (GramianAggregator<Method>) return &MultiObjective::aggregate;
    else return &MultiObjective::weigh;
  }
  MultiObjective(std::vector<Named<TaskLoss<T>>> losses, Combiner combiner, Join join)
      : combiner_(std::move(combiner)), join_(join) {
    if (losses.empty()) fail("MultiObjective: no task given; it needs at least one loss");
    if (const std::string* twice = detail::repeated_name(losses))
      fail("MultiObjective: task '", *twice, "' appears twice; names must differ");
    std::vector<std::string> names;
    for (Named<TaskLoss<T>>& loss : losses) {
      names.push_back(loss.name);
      losses_.push_back(std::move(loss.value));
    }
    names_ = typename Losses<T>::Names(std::move(names));
    combiner_.prepare(size());
    stopped_ = Tensor<bool>::zeros({size()});
  }

  static void add_single(Losses<T>& losses, Index task, const TaskLoss<T>& loss, const Tensor<T>& prediction,
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
          fail("objective: task '", losses.name(task), "': weight ", i, " is ", weight, "; weights are finite and not negative");
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

  bool takes_part(const Losses<T>& losses, Index task) const { return losses.present(task) && !stopped_.data()[task]; }

  /// The cotangent of one part: weights of the tasks present, labelled where it matters.
  void start(Sweep<T>& sweep, const Losses<T>& losses, const typename Losses<T>::Part& part, std::span<const double> weights) {
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

  void weigh(const Losses<T>& losses, const StepInfo& info, BackwardOptions options) {
    std::vector<double>& values = scratch_;
    values.clear();
    for (Index task : record_.active) values.push_back(losses.value(task));
    combiner_.weights(std::span<const double>(values), info, record_.weights);
    check_weights();
    Sweep<T> sweep({.retain = options.retain_graph});
    for (const auto& part : losses.parts()) start(sweep, losses, part, record_.weights);
    sweep.run();
  }

  /// A method of the program's own may be wrong; its weights would reach every parameter.
  void check_weights() const {
    for (std::size_t i = 0; i < record_.weights.size(); ++i)
      if (!std::isfinite(record_.weights[i]))
        fail("objective: ", combiner_.name(), " gave task '", names()[static_cast<std::size_t>(record_.active[i])], "' the weight ",
             std::isnan(record_.weights[i]) ? "nan" : "inf", "; weights are finite. Clear the gradients before going on");
  }

  void aggregate(const Losses<T>& losses, const StepInfo& info, BackwardOptions options) {
    TaskGradients<T> gradients(record_.active);
    {
      Sweep<T> sweep({.retain = options.retain_graph, .separate = true}, &gradients);
      for (const auto& part : losses.parts()) start(sweep, losses, part, {});
      sweep.run();
    }
    gradients.settle();
    const auto m = record_.active.size();
    record_.gramian.resize(m * m);
    gradients.gramian(record_.gramian);
    record_.certificate = combiner_.weights(GramianView{record_.gramian, static_cast<Index>(m)}, info, record_.weights);
    check_weights();
    gradients.combine(record_.weights);
  }

  typename Losses<T>::Names names_;
  std::vector<TaskLoss<T>> losses_;
  Combiner combiner_;
  Join join_;
  std::uint64_t step_ = 0;
  Tensor<bool> stopped_;  // [tasks]
  ObjectiveRecord record_;
  std::vector<double> scratch_;
};
template <class Method = Sum>
MultiObjective(std::initializer_list<Named<TaskLoss<float>>>, Method = {}) -> MultiObjective<float>;

}  // namespace espalier::inline ESPALIER_ABI
