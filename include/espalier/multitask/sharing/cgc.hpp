#pragma once
// CGC: customised gate control. Experts that all tasks share and experts that a task has for itself; a gate per task weighs both.
// Included by name, as models with a trunk for all do without.

#include "espalier/multitask/sharing/sharing.hpp"

namespace espalier::inline ESPALIER_ABI {

template <Differentiable T = float>
struct CGCOptions {
  std::vector<AnyModule<T>> shared = {};                   // experts of all tasks; see `repeat`
  std::vector<Named<std::vector<AnyModule<T>>>> own = {};  // experts of each task, by its name; a task may have none
};

///   CGC sharing{10, {.shared = repeat(2, expert), .own = {{"price", repeat(1, expert)}, {"sold", repeat(1, expert)}}}, rng};
/// f_t(x) = sum_e softmax(W_t x)_e e(x) over the shared experts and the task's own (Tang et al., RecSys 2020, doi
/// 10.1145/3383313.3412236). One CGC is one level of PLE.
template <Differentiable T = float>
class CGC {
 public:
  static constexpr std::string_view name = "CGC";

  /// `in` is the width of x, for the gates. Throws Error for no task, and for a task without any expert.
  CGC(Index in, CGCOptions<T> options, Rng& rng) : in_(in), shared_(detail::numbered(name, "shared.", options.shared)) {
    for (const auto& [task, experts] : options.own) {
      tasks_.push_back(task);
      own_.push_back(detail::numbered(name, "own." + task + ".", experts));
    }
    detail::check_tasks(name, tasks_);
    for (std::size_t t = 0; t < tasks_.size(); ++t) add_gate(t, rng);
  }

  const std::vector<std::string>& tasks() const { return tasks_; }
  PoolVector<Tensor<T>> operator()(const Tensor<T>& x, Pass* pass) const {
    return run(PoolVector<Tensor<T>>(tasks_.size() + 1, x), pass);
  }
  /// A level of several: xs are the tasks' features, and behind them the shared ones. Gives as many where there is a shared gate,
  /// otherwise the tasks' alone.
  PoolVector<Tensor<T>> run(const PoolVector<Tensor<T>>& xs, Pass* pass) const {
    const std::size_t count = tasks_.size();
    PoolVector<Tensor<T>> shared, all;  // the experts' features
    for (const detail::ModelPart<T>& expert : shared_) shared.push_back(expert(xs[count], pass));
    all = shared;
    PoolVector<Tensor<T>> out;
    for (std::size_t t = 0; t < count; ++t) {
      PoolVector<Tensor<T>> features = shared;
      for (const detail::ModelPart<T>& expert : own_[t]) features.push_back(expert(xs[t], pass));
      all.append(features.begin() + shared.size(), features.end());
      out.push_back(detail::mixed(name, gates_[t](xs[t], pass), detail::stacked_experts(name, features), pass));
    }
    for (const detail::ModelPart<T>& gate : shared_gate_)
      out.push_back(detail::mixed(name, gate(xs[count], pass), detail::stacked_experts(name, all), pass));
    return out;
  }
  /// `price/gate/shared.0`, `price/gate/own.price.0`, and `gate/...` of the shared gate: the mean weights that a recording call
  /// notes. `level` comes before the expert's name.
  std::vector<std::string> notes(std::string_view level = {}) const {
    std::vector<std::string> all;
    for (std::size_t t = 0; t < tasks_.size(); ++t) {
      for (const detail::ModelPart<T>& expert : shared_) all.push_back(join(tasks_[t], "/gate/", level, expert.name));
      for (const detail::ModelPart<T>& expert : own_[t]) all.push_back(join(tasks_[t], "/gate/", level, expert.name));
    }
    if (shared_gate_.empty()) return all;
    for (const detail::ModelPart<T>& expert : shared_) all.push_back(join("gate/", level, expert.name));
    for (const auto& own : own_)
      for (const detail::ModelPart<T>& expert : own) all.push_back(join("gate/", level, expert.name));
    return all;
  }
  /// Gives it the gate of the shared features, over all experts. For PLE.
  void add_shared_gate(Rng& rng) {
    std::size_t experts = shared_.size();
    for (const auto& own : own_) experts += own.size();
    shared_gate_.clear();
    shared_gate_.emplace_back("gates_shared", AnyModule<T>(detail::SoftmaxGate<T>(in_, static_cast<Index>(experts), rng)));
  }
  /// The width of x, and of the features.
  Index in() const { return in_; }
  Index out() const { return detail::width_of(name, shared_.empty() ? first_own() : shared_[0], in_); }

  /// The new task's gate weighs the shared experts and those it brings. Throws Error for experts where there is a shared gate,
  /// which would weigh them for all.
  void add_task(const std::string& task, const AddedTask<T>& added, Rng& rng) {
    if (!shared_gate_.empty() && !added.experts.empty())
      fail(name, ": task '", task, "' brings experts, which the gate of the shared features would weigh for all tasks");
    std::vector<std::string> tasks = detail::with_task(name, tasks_, task, added, true, false);
    std::vector<detail::ModelPart<T>> own = detail::numbered(name, "own." + task + ".", added.experts);
    const Shape there = detail::shape_of(shared_.empty() ? first_own() : shared_[0], in_);
    for (const detail::ModelPart<T>& expert : own)
      if (const Shape gives = detail::shape_of(expert, in_); !(gives == there))
        fail(name, ": ", expert.name, " gives ", gives, ", the experts there are ", there, "; all must give the same shape");
    own_.push_back(std::move(own));
    tasks_ = std::move(tasks);
    add_gate(tasks_.size() - 1, rng);
  }
  /// For PLE: whether a task has experts of its own here; and says that its gate feeds none that others reach.
  bool has_own(std::size_t task) const { return !own_[task].empty(); }
  void own_gate(std::size_t task) { set_owner<T>(gates_[task], {Owner::Kind::task, tasks_[task]}); }

  void own() {
    for (detail::ModelPart<T>& expert : shared_) set_owner<T>(expert, {Owner::Kind::shared, ""});
    for (detail::ModelPart<T>& gate : shared_gate_) set_owner<T>(gate, {Owner::Kind::shared, ""});
    for (std::size_t t = 0; t < tasks_.size(); ++t) {
      // Where shared features are mixed of all experts, every task reaches every expert; the gate stays its task's.
      const Owner owner{Owner::Kind::task, tasks_[t]};
      for (detail::ModelPart<T>& expert : own_[t])
        set_owner<T>(expert, shared_gate_.empty() ? owner : Owner{Owner::Kind::shared, ""});
      set_owner<T>(gates_[t], owner);
    }
  }
  void fields(auto&& visit) {
    for (detail::ModelPart<T>& expert : shared_) visit(expert.name, expert);
    for (auto& own : own_)
      for (detail::ModelPart<T>& expert : own) visit(expert.name, expert);
    for (detail::ModelPart<T>& gate : gates_) visit(gate.name, gate);
    for (detail::ModelPart<T>& gate : shared_gate_) visit(gate.name, gate);
  }

 private:
  void add_gate(std::size_t t, Rng& rng) {
    const std::size_t experts = shared_.size() + own_[t].size();
    if (experts == 0) fail(name, ": task '", tasks_[t], "' has no expert, and none is shared; it needs at least one");
    gates_.emplace_back("gates." + tasks_[t], AnyModule<T>(detail::SoftmaxGate<T>(in_, static_cast<Index>(experts), rng)));
  }
  const detail::ModelPart<T>& first_own() const {
    std::size_t t = 0;
    while (own_[t].empty()) ++t;
    return own_[t][0];
  }

  Index in_;
  std::vector<std::string> tasks_;
  std::vector<detail::ModelPart<T>> shared_, gates_, shared_gate_;
  std::vector<std::vector<detail::ModelPart<T>>> own_;
};
CGC(Index, CGCOptions<float>, Rng&)->CGC<float>;

}  // namespace espalier::inline ESPALIER_ABI
