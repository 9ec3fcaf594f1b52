#pragma once
// MMoE: multi-gate mixture of experts. Experts that all tasks share, a gate per task that weighs them sample by sample.
// Included by name, as models with a trunk for all do without.

#include "espalier/multitask/sharing/dselect_k.hpp"

namespace espalier::inline ESPALIER_ABI {

template <Differentiable T = float>
struct MMoEOptions {
  std::vector<std::string> tasks = {};
  std::vector<AnyModule<T>> experts = {};  // of equal output; see `repeat`
  /// From x to the experts' weights [batch, experts], one per task, or one for all tasks (OMoE); none: softmax(W x), one per
  /// task. DSelectK is another.
  std::vector<AnyModule<T>> gates = {};
};

///   SharingModel model{{.sharing = MMoE{10, {.tasks = {"price", "sold"}, .experts = repeat(8, make_expert)}, rng},
///                       .heads = {{"price", Linear{16, 1, rng}}, {"sold", Linear{16, 1, rng}}}}};
/// f_t(x) = sum_e gate_t(x)_e expert_e(x) (Ma et al., KDD 2018, doi 10.1145/3219819.3220007). Experts are shared, a gate is its
/// task's own, one gate for all tasks is shared.
template <Differentiable T = float>
class MMoE {
 public:
  static constexpr std::string_view name = "MMoE";

  /// `in` is the width of x, for the gates. Throws Error for no task, no expert, or another number of gates.
  MMoE(Index in, MMoEOptions<T> options, Rng& rng)
      : in_(in), tasks_(std::move(options.tasks)), experts_(detail::numbered(name, "experts.", options.experts)) {
    detail::check_tasks(name, tasks_);
    if (experts_.empty()) fail(name, ": no expert is given; it needs at least one");
    const std::size_t given = options.gates.size();
    if (given > 1 && given != tasks_.size())
      fail(name, ": there are ", given, " gates for ", tasks_.size(), " tasks; give one per task, one for all, or none");
    if (given == 1 && tasks_.size() > 1) {
      gates_.emplace_back("gate", options.gates[0]);
    } else {
      for (std::size_t t = 0; t < tasks_.size(); ++t)
        gates_.emplace_back("gates." + tasks_[t],
                            given ? options.gates[t] : AnyModule<T>(detail::SoftmaxGate<T>(in, experts(), rng)));
    }
    for (const detail::ModelPart<T>& gate : gates_)
      if (!gate.module) fail(name, ": ", gate.name, " is empty; give it a module");
  }

  const std::vector<std::string>& tasks() const { return tasks_; }
  Index experts() const { return static_cast<Index>(experts_.size()); }
  PoolVector<Tensor<T>> operator()(const Tensor<T>& x, Pass* pass) const {
    PoolVector<Tensor<T>> features;
    for (const detail::ModelPart<T>& expert : experts_) features.push_back(expert(x, pass));
    const Tensor<T> stacked = detail::stacked_experts(name, features);
    PoolVector<Tensor<T>> all;
    for (const detail::ModelPart<T>& gate : gates_) all.push_back(detail::mixed(name, gate(x, pass), stacked, pass));
    while (all.size() < tasks_.size()) all.push_back(all[0]);
    return all;
  }
  /// The experts' weights [batch, experts] of every gate: how much each expert is used, and by whom.
  NamedList<Tensor<T>> gates(const Tensor<T>& x) const {
    const NoGrad no_grad;
    NamedList<Tensor<T>> all;
    for (const detail::ModelPart<T>& gate : gates_)
      all.add(gates_.size() == tasks_.size() ? gate.name.substr(6) : "all", gate(x, nullptr));
    return all;
  }
  /// `price/gate/experts.0`, or `gate/experts.0` of one gate for all: the mean weights that a recording call notes.
  std::vector<std::string> notes() const {
    std::vector<std::string> all;
    for (std::size_t g = 0; g < gates_.size(); ++g)
      for (const detail::ModelPart<T>& expert : experts_)
        all.push_back(join(gates_.size() == tasks_.size() ? tasks_[g] + "/gate/" : "gate/", expert.name));
    return all;
  }
  /// What each gate would like small, [batch, 1]; undefined for one without such a wish, none when no gate has. See DSelectK.
  PoolVector<Tensor<T>> penalty(const Tensor<T>& x, Pass*) const {
    PoolVector<Tensor<T>> all;
    bool any = false;
    for (const detail::ModelPart<T>& gate : gates_) {
      AnyModule<T> same = gate.module;
      const DSelectK<T>* sparse = same.template as<DSelectK<T>>();
      all.push_back(sparse ? sparse->penalty(x) : Tensor<T>());
      any |= sparse != nullptr;
    }
    return any ? all : PoolVector<Tensor<T>>();
  }

  /// The new task has a gate of its own over the experts there are; where one gate serves all, that one.
  void add_task(const std::string& task, const AddedTask<T>& added, Rng& rng) {
    const bool one_for_all = gates_.size() < tasks_.size();
    std::vector<std::string> tasks = detail::with_task(name, tasks_, task, added, false, !one_for_all);
    if (added.gate) {
      const Index width = detail::width_of(name, detail::ModelPart<T>("gates." + task, added.gate), in_);
      if (width != experts())
        fail(name, ": the gate of task '", task, "' gives ", width, " weights for ", experts(),
             " experts; they must be as many");
    }
    tasks_ = std::move(tasks);
    if (one_for_all) return;
    gates_.emplace_back("gates." + task, added.gate ? added.gate : AnyModule<T>(detail::SoftmaxGate<T>(in_, experts(), rng)));
  }
  void own() {
    for (detail::ModelPart<T>& expert : experts_) set_owner<T>(expert, {Owner::Kind::shared, ""});
    for (std::size_t t = 0; t < gates_.size(); ++t)
      set_owner<T>(gates_[t],
                   gates_.size() == tasks_.size() ? Owner{Owner::Kind::task, tasks_[t]} : Owner{Owner::Kind::shared, ""});
  }
  void fields(auto&& visit) {
    for (detail::ModelPart<T>& expert : experts_) visit(expert.name, expert);
    for (detail::ModelPart<T>& gate : gates_) visit(gate.name, gate);
  }

 private:
  Index in_;
  std::vector<std::string> tasks_;
  std::vector<detail::ModelPart<T>> experts_, gates_;
};
MMoE(Index, MMoEOptions<float>, Rng&)->MMoE<float>;

}  // namespace espalier::inline ESPALIER_ABI
