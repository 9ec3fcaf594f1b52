#pragma once
// Sharing: what stands between the input and the tasks' heads, from one tensor to one tensor of features per task. Which of it
// is common to all tasks and which is a task's own is what the architectures of this folder differ in.
//
//   static constexpr std::string_view name = "MMoE";
//   const std::vector<std::string>& tasks() const;
//   PoolVector<Tensor<T>> operator()(const Tensor<T>& x, Pass* pass) const;   // features in the order of the tasks
//   void own();                                                               // tags the parameters with their owners
//   void fields(auto&& visit);
//
// and, where it has such a thing,
//
//   PoolVector<Tensor<T>> penalty(const Tensor<T>& x, Pass* pass) const;      // what training is to keep small besides the losses
//                                       // (SharingOptions::penalty): [batch, 1] for each task, of what it has for itself, undefined
//                                       // for a task without; or one for what all share; or none
//   std::vector<std::string> notes() const;                                   // what a recording call notes (Pass::note), which is
//                                       // what its gates do: "price/gate/experts.0"
//   void add_task(const std::string& task, const AddedTask<T>& added, Rng& rng);   // one more, the others as they were
//
// SharingModel (model/sharing_model.hpp) puts heads on any of them. Every part runs under its own name, so that adding a task or an
// expert shifts nobody's random numbers.
// Included by name, as models with a trunk for all do without.

#include "espalier/nn/sequential.hpp"
#include "espalier/ops/functions.hpp"

namespace espalier::inline ESPALIER_ABI {

/// What a task that comes later brings along besides its head, for the architectures that have a use for it.
template <Differentiable T = float>
struct AddedTask {
  std::vector<AnyModule<T>> experts = {};  // of its own: CGC, and the last level of PLE
  AnyModule<T> gate = {};                  // MMoE, where every task has one; empty: softmax(W x)
};

namespace detail {

/// A module and the name it runs under.
template <class T>
struct ModelPart {
  std::string name;
  AnyModule<T> module;
  std::uint64_t hash;

  ModelPart(std::string name_, AnyModule<T> module_) : name(std::move(name_)), module(std::move(module_)), hash(hash_name(name)) {}
  Tensor<T> operator()(const Tensor<T>& x, Pass* pass) const {
    if (!pass) return module(x);
    const Pass::Scope scope(*pass, hash);
    return module(x, pass);
  }
  void fields(auto&& visit) { visit("", module); }
};

/// Throws Error for no task, and for two of one name.
inline void check_tasks(std::string_view who, const std::vector<std::string>& tasks) {
  if (tasks.empty()) fail(who, ": no task is named; give it at least one");
  for (std::size_t i = 0; i < tasks.size(); ++i)
    for (std::size_t j = 0; j < i; ++j)
      if (tasks[i] == tasks[j]) fail(who, ": task '", tasks[i], "' appears twice; names must differ");
}

/// The tasks and one more. Throws Error when it is there already, and when it brings along what there is no use for.
template <class T>
std::vector<std::string> with_task(std::string_view who, std::vector<std::string> tasks, const std::string& task,
                                   const AddedTask<T>& added, bool takes_experts, bool takes_gate) {
  if (!takes_experts && !added.experts.empty())
    fail(who, ": task '", task, "' brings experts of its own, for which there is no use here; leave them out");
  if (!takes_gate && added.gate)
    fail(who, ": task '", task, "' brings a gate, for which there is no use here; leave it out");
  tasks.push_back(task);
  check_tasks(who, tasks);
  return tasks;
}

/// Modules under the names `prefix`0, `prefix`1, ... Throws Error for an empty one.
template <class T>
std::vector<ModelPart<T>> numbered(std::string_view who, std::string_view prefix, const std::vector<AnyModule<T>>& modules) {
  std::vector<ModelPart<T>> parts;
  for (std::size_t i = 0; i < modules.size(); ++i) {
    if (!modules[i]) fail(who, ": ", prefix, i, " is empty; give it a module");
    parts.emplace_back(join(prefix, i), modules[i]);
  }
  return parts;
}

/// The shape of what a module makes of two samples of `in` features.
template <class T>
Shape shape_of(const ModelPart<T>& part, Index in) {
  const NoGrad no_grad;
  return part.module(Tensor<T>::zeros({2, in})).shape();
}
/// The features that a module makes of `in` features. Throws Error when that is not one row per sample.
template <class T>
Index width_of(std::string_view who, const ModelPart<T>& part, Index in) {
  const Shape y = shape_of(part, in);
  if (y.rank() != 2 || y[0] != 2)
    fail(who, ": ", part.name, " makes ", y, " of ", Shape{2, in}, "; it must be [batch, width]");
  return y[1];
}

/// sum_e gate[:, e] of the experts' features [batch, ...], stacked along axis 1. Notes each expert's mean weight.
template <class T>
Tensor<T> mixed(std::string_view who, const Tensor<T>& gate, const Tensor<T>& stacked, Pass* pass) {
  if (gate.rank() != 2 || gate.shape()[0] != stacked.shape()[0] || gate.shape()[1] != stacked.shape()[1])
    fail(who, ": a gate gave ", gate.shape(), "; for ", stacked.shape()[1], " experts it must be ",
         Shape{stacked.shape()[0], stacked.shape()[1]});
  const Index batch = gate.shape()[0], experts = gate.shape()[1];
  for (Index e = 0; pass && e < experts; ++e) {
    double sum = 0;
    for (Index i = 0; i < batch; ++i) sum += static_cast<double>(gate.data()[i * experts + e]);
    pass->note(sum / static_cast<double>(batch));
  }
  Shape shape = gate.shape();
  while (shape.rank() < stacked.rank()) shape.push_back(1);
  return sum(reshape(gate, shape) * stacked, {1});
}
template <class T>
Tensor<T> stacked_experts(std::string_view who, const PoolVector<Tensor<T>>& features) {
  for (const Tensor<T>& f : features)
    if (!(f.shape() == features[0].shape()))
      fail(who, ": one expert gives ", features[0].shape(), ", another ", f.shape(), "; all must give the same shape");
  return stack(std::span<const Tensor<T>>(features.data(), features.size()), 1);
}

/// A gate: softmax of a linear layer without bias, as the papers have it.
template <class T>
struct SoftmaxGate {
  Linear<T> linear;
  SoftmaxGate(Index in, Index experts, Rng& rng) : linear(in, experts, rng, {.bias = false}) {}
  Tensor<T> operator()(const Tensor<T>& x) const { return softmax(linear(x), -1); }
  void fields(auto&& visit) { visit("", linear); }
};

}  // namespace detail

/// As many modules as wanted, each made anew: repeat(8, [&] { return Sequential{Linear{10, 16, rng}, ReLU{}}; }).
template <Differentiable T = float, class Make>
std::vector<AnyModule<T>> repeat(Index count, Make make) {
  std::vector<AnyModule<T>> modules;
  for (Index i = 0; i < count; ++i) modules.emplace_back(make());
  return modules;
}

template <class S, class T = float>
concept SharingFor = requires(S& sharing, const S& fixed, const Tensor<T>& x, Pass* pass) {
  { S::name } -> std::convertible_to<std::string_view>;
  { fixed.tasks() } -> std::convertible_to<const std::vector<std::string>&>;
  { fixed(x, pass) } -> std::same_as<PoolVector<Tensor<T>>>;
  sharing.own();
};

/// Any of them, held by value.
template <Differentiable T = float>
class AnySharing {
 public:
  AnySharing() = default;
  template <class S>
    requires(!std::same_as<S, AnySharing> && SharingFor<S, T>)
  AnySharing(S sharing) : held_(new Held<S>(std::move(sharing))) {}

  explicit operator bool() const { return static_cast<bool>(held_); }
  std::string_view name() const { return held_->name(); }
  const std::vector<std::string>& tasks() const { return held_->tasks(); }
  PoolVector<Tensor<T>> operator()(const Tensor<T>& x, Pass* pass) const { return held_->call(x, pass); }
  /// One for each task, one for all, or none.
  PoolVector<Tensor<T>> penalty(const Tensor<T>& x, Pass* pass) const { return held_->penalty(x, pass); }
  std::vector<std::string> notes() const { return held_->notes(); }
  void own() { held_->own(); }
  /// One more task, the last one; what the others get stays as it is, bit for bit. Throws Error where that cannot be.
  void add_task(const std::string& task, const AddedTask<T>& added, Rng& rng) { held_->add_task(task, added, rng); }
  /// It as an S, or null when it is another.
  template <class S>
  S* as() {
    return held_ && held_->type() == &type_tag<S> ? &static_cast<Held<S>&>(*held_).sharing : nullptr;
  }
  void fields(Visitor& visit) {
    if (held_) held_->fields(visit);
  }

 private:
  template <class S>
  static constexpr char type_tag = 0;

  struct Base {
    virtual ~Base() = default;
    virtual std::string_view name() const = 0;
    virtual const std::vector<std::string>& tasks() const = 0;
    virtual PoolVector<Tensor<T>> call(const Tensor<T>& x, Pass* pass) const = 0;
    virtual PoolVector<Tensor<T>> penalty(const Tensor<T>& x, Pass* pass) const = 0;
    virtual std::vector<std::string> notes() const = 0;
    virtual void own() = 0;
    virtual void add_task(const std::string& task, const AddedTask<T>& added, Rng& rng) = 0;
    virtual const void* type() const = 0;
    virtual void fields(Visitor& visit) = 0;
    virtual Base* copy() const = 0;
  };
  template <class S>
  struct Held final : Base {
    S sharing;
    explicit Held(S s) : sharing(std::move(s)) {}
    std::string_view name() const override { return S::name; }
    const std::vector<std::string>& tasks() const override { return sharing.tasks(); }
    PoolVector<Tensor<T>> call(const Tensor<T>& x, Pass* pass) const override { return sharing(x, pass); }
    PoolVector<Tensor<T>> penalty([[maybe_unused]] const Tensor<T>& x, [[maybe_unused]] Pass* pass) const override {
      if constexpr (requires { sharing.penalty(x, pass); })
        return sharing.penalty(x, pass);
      else
        return {};
    }
    std::vector<std::string> notes() const override {
      if constexpr (requires { sharing.notes(); }) return sharing.notes();
      else return {};
    }
    void own() override { sharing.own(); }
    void add_task(const std::string& task, [[maybe_unused]] const AddedTask<T>& added, [[maybe_unused]] Rng& rng) override {
      if constexpr (requires { sharing.add_task(task, added, rng); }) sharing.add_task(task, added, rng);
      else fail(S::name, ": task '", task, "' cannot be added, as it has no add_task; make a new model of all tasks");
    }
    const void* type() const override { return &type_tag<S>; }
    void fields(Visitor& visit) override { walk(sharing, visit); }
    Base* copy() const override { return new Held(sharing); }
  };

  Owned<Base> held_;
};

}  // namespace espalier::inline ESPALIER_ABI
