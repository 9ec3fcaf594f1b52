#pragma once
// The named values that travel between data, model and objective: Input, Target, Outputs, Losses.
//
// One polarity everywhere: true (or a weight above 0) means present, valid, labelled. What lies behind false or 0 is never
// read by anything that reaches a loss, a gradient, a statistic or a metric; it may be NaN.

#include "espalier/core/owned.hpp"
#include "espalier/tensor/named.hpp"
#include "espalier/tensor/tensor.hpp"

namespace espalier::inline ESPALIER_ABI {

/// One modality of a batch: values or tokens, and what of them exists.
template <Differentiable T = float>
struct Input {
  static constexpr std::string_view kind = "input";

  Tensor<T> values = {};      // [batch, ...]; undefined when the modality is tokens
  Tensor<bool> present = {};  // [batch]; undefined: every sample has the modality
  Tensor<Index> tokens = {};  // [batch, steps]
  Tensor<bool> valid = {};    // [batch, steps]; undefined: every step counts

  Input() = default;
  Input(Tensor<T> values_, Tensor<bool> present_ = {}) : values(std::move(values_)), present(std::move(present_)) {}
  Input(Tensor<Index> tokens_, Tensor<bool> present_ = {}, Tensor<bool> valid_ = {})
      : present(std::move(present_)), tokens(std::move(tokens_)), valid(std::move(valid_)) {}

  /// The samples in the batch; 0 for an empty Input.
  Index batch() const {
    const Shape& shape = tokens.defined() ? tokens.shape() : values.shape();
    return (tokens.defined() || values.defined()) && shape.rank() > 0 ? shape[0] : 0;
  }
};

namespace detail {
template <class T>
inline constexpr std::string_view kind_of<Tensor<T>> = "tensor";
}

/// The modalities of a batch by name.
template <Differentiable T = float>
using Inputs = NamedList<Input<T>>;

/// What one task is to predict: numbers or classes, with a weight per sample ([batch]) or per element (the value's shape).
/// Weight 0 means no label; an undefined weight means 1 throughout.
template <Differentiable T = float>
struct Target {
  static constexpr std::string_view kind = "target";

  Tensor<T> value = {};        // [batch, width] or [batch]
  Tensor<Index> classes = {};  // [batch]
  Tensor<T> weight = {};

  Target() = default;
  Target(Tensor<T> value_, Tensor<T> weight_ = {}) : value(std::move(value_)), weight(std::move(weight_)) {}
  Target(Tensor<Index> classes_, Tensor<T> weight_ = {}) : classes(std::move(classes_)), weight(std::move(weight_)) {}
  /// With a mask instead of weights: true where there is a label.
  Target(Tensor<T> value_, const Tensor<bool>& labelled) : value(std::move(value_)), weight(cast<T>(labelled)) {}
  Target(Tensor<Index> classes_, const Tensor<bool>& labelled) : classes(std::move(classes_)), weight(cast<T>(labelled)) {}
};

/// The targets of a batch by task.
template <Differentiable T = float>
using Targets = NamedList<Target<T>>;

/// Where each task's prediction is: a segment of the packed block, or a tensor of its own.
struct OutputLayout {
  struct Place {
    Index begin = 0, end = 0;  // columns of the block
    Index separate = -1;       // or the number of the separate tensor
    bool packed() const { return separate < 0; }
  };
  std::vector<std::string> names;
  std::vector<Place> places;
  std::vector<std::string> notes = {};  // what a recording call tells of itself: see Outputs::note
};

/// What a model wants small besides the tasks' losses, the indecision of its gates for instance.
template <Differentiable T = float>
struct Penalty {
  Tensor<T> value;  // one element, recorded
  Index task = -1;  // of what this task has for itself: it counts while the task takes part; -1: of what is shared
};

template <class T>
Tensor<T> task_columns(const Tensor<T>& x, Index begin, Index end);  // ops/columns.hpp

/// A model's predictions: linear heads on one trunk come as one block [batch, columns], cut into tensors on demand.
template <Differentiable T = float>
class Outputs {
 public:
  Outputs() = default;
  /// From a model written by hand: one tensor per task.
  Outputs(std::initializer_list<Named<Tensor<T>>> predictions) { list(predictions); }
  /// The same, of as many tasks as there are.
  explicit Outputs(const NamedList<Tensor<T>>& predictions) { list(predictions); }
  Outputs(Shared<OutputLayout> layout, Tensor<T> block, PoolVector<Tensor<T>> separate)
      : layout_(std::move(layout)), block_(std::move(block)), separate_(std::move(separate)) {}

  Index size() const { return layout_ ? static_cast<Index>(layout_->names.size()) : 0; }
  const std::string& name(Index task) const { return layout_->names[static_cast<std::size_t>(task)]; }
  const OutputLayout::Place& place(Index task) const { return layout_->places[static_cast<std::size_t>(task)]; }
  const Shared<OutputLayout>& layout() const { return layout_; }
  /// A task's prediction [batch, width]. Throws Error listing the known tasks.
  Tensor<T> operator[](std::string_view name) const {
    const Index task = find(name);
    if (task < 0) fail("outputs: unknown task '", name, "'; known: ", names());
    return at(task);
  }
  /// The same by number; unchecked.
  Tensor<T> at(Index task) const {
    const OutputLayout::Place& p = place(task);
    return p.packed() ? task_columns(block_, p.begin, p.end) : separate(p.separate);
  }
  /// [batch, columns] of all packed heads; undefined when there are none.
  const Tensor<T>& block() const { return block_; }
  const Tensor<T>& separate(Index i) const { return separate_[static_cast<std::size_t>(i)]; }

  /// Adds to what training minimises: MultiObjective::backward takes the penalty's gradient as it is, beside the joined one of the
  /// losses. `value` has one element; `task` names the task whose own parameters it is about, which leave a step that the task
  /// does not take part in as they are. Throws Error for another size and for an unknown task.
  void penalise(Tensor<T> value, std::string_view task = {}) {
    const Index number = task.empty() ? -1 : find(task);
    if (!task.empty() && number < 0) fail("outputs: a penalty of the unknown task '", task, "'; known: ", names());
    if (!value.defined() || value.size() != 1)
      fail("outputs: a penalty is ", value.defined() ? value.shape().text() : "undefined", "; it must be one number");
    penalties_.push_back({std::move(value), number});
  }
  const PoolVector<Penalty<T>>& penalties() const { return penalties_; }
  /// What a model has to tell of a step besides, such as the mean weights of its experts: a number for each of `layout()->notes`. It
  /// reaches ObjectiveRecord; a model whose `notes()` gives the names has it in the Trainer's diagnostics. Throws Error for another
  /// number of them.
  void note(PoolVector<double> numbers) {
    const std::size_t names = layout_ ? layout_->notes.size() : 0;
    if (numbers.size() != names) fail("outputs: ", numbers.size(), " notes for ", names, " names; they must be as many");
    notes_ = std::move(numbers);
  }
  const PoolVector<double>& notes() const { return notes_; }
  /// The number of a task, -1 when there is none of this name.
  Index find(std::string_view name, Index hint = 0) const {
    if (hint < size() && this->name(hint) == name) return hint;
    for (Index i = 0; i < size(); ++i)
      if (this->name(i) == name) return i;
    return -1;
  }
  std::string names() const {
    return layout_ ? listing(layout_->names, [](const std::string& n) { return n; }) : "none";
  }

 private:
  void list(const auto& predictions) {
    OutputLayout layout;
    for (const Named<Tensor<T>>& p : predictions) {
      layout.names.push_back(p.name);
      layout.places.push_back({.separate = static_cast<Index>(separate_.size())});
      separate_.push_back(p.value);
    }
    layout_ = Shared<OutputLayout>(std::move(layout));
  }

  Shared<OutputLayout> layout_;
  Tensor<T> block_;
  PoolVector<Tensor<T>> separate_;
  PoolVector<Penalty<T>> penalties_;
  PoolVector<double> notes_;
};

/// One loss per task, with names and the weight each was averaged over.
template <Differentiable T = float>
class Losses {
 public:
  /// Losses of several tasks from one operation (values [n]), or of a single task (values []).
  struct Part {
    Tensor<T> values;
    PoolVector<Index> tasks;
    bool whole = true;  // false: from a block of predictions that other heads have columns of as well
  };
  using Names = Shared<std::vector<std::string>>;

  Losses() = default;
  explicit Losses(Names names) : names_(std::move(names)), values_(names_->size(), 0), weights_(names_->size(), 0) {}

  Index size() const { return static_cast<Index>(values_.size()); }
  const std::string& name(Index task) const { return (*names_)[static_cast<std::size_t>(task)]; }
  const Names& names() const { return names_; }
  /// The task's loss: the weighted mean over what is labelled, 0 when nothing is.
  double value(Index task) const { return values_[static_cast<std::size_t>(task)]; }
  /// The sum of the label weights behind it; 0: the task is absent from this batch.
  double weight(Index task) const { return weights_[static_cast<std::size_t>(task)]; }
  bool present(Index task) const { return weight(task) > 0; }
  std::span<const double> values() const { return values_; }
  std::span<const double> weights() const { return weights_; }
  /// By name; throws Error listing the known tasks.
  double operator[](std::string_view name) const {
    for (Index k = 0; k < size(); ++k)
      if (this->name(k) == name) return value(k);
    fail("losses: unknown task '", name, "'; known: ", names_ ? listing(*names_, [](const std::string& n) { return n; }) : "none");
  }
  double total() const {
    double sum = 0;
    for (double v : values_) sum += v;
    return sum;
  }

  // For objectives: the recorded values, and adding to them.
  const PoolVector<Part>& parts() const { return parts_; }
  void add(Part part, std::span<const double> weights) {
    for (std::size_t i = 0; i < part.tasks.size(); ++i) {
      const auto k = static_cast<std::size_t>(part.tasks[i]);
      values_[k] = static_cast<double>(part.values.data()[i]);
      weights_[k] = weights[i];
    }
    parts_.push_back(std::move(part));
  }
  /// What the model adds to the losses, their values and total apart; the tasks by their numbers here.
  const PoolVector<Penalty<T>>& penalties() const { return penalties_; }
  void penalise(Penalty<T> penalty) { penalties_.push_back(std::move(penalty)); }
  /// What the model has noted, with its names.
  void note(const Outputs<T>& outputs) {
    noted_by_ = outputs.layout();
    notes_ = outputs.notes();
  }
  Named<double> note(Index i) const { return {noted_by_->notes[static_cast<std::size_t>(i)], notes_[static_cast<std::size_t>(i)]}; }
  Index notes() const { return static_cast<Index>(notes_.size()); }

 private:
  Names names_;
  PoolVector<Part> parts_;
  PoolVector<Penalty<T>> penalties_;
  Shared<OutputLayout> noted_by_;
  PoolVector<double> values_, weights_, notes_;
};

}  // namespace espalier::inline ESPALIER_ABI
