#pragma once
// PLE: progressive layered extraction. Levels of CGC, between which shared features and every task's own run side by side.
// Included by name, as models with a trunk for all do without.

#include "espalier/multitask/sharing/cgc.hpp"

namespace espalier::inline ESPALIER_ABI {

///   PLE sharing{{CGC{10, {...}, rng}, CGC{16, {...}, rng}}, rng};   // the second level takes what the first one gives
/// At level l task t's gate weighs the shared experts, run on the shared features, and its own, run on its own features; between
/// levels a shared gate weighs all experts, shared and of all tasks, to the next shared features (Tang et al., RecSys 2020, doi
/// 10.1145/3383313.3412236). Below the last level every task reaches every expert, so these are shared.
template <Differentiable T = float>
class PLE {
 public:
  static constexpr std::string_view name = "PLE";

  /// Throws Error for no level, levels of different tasks, and for one that does not take what the one before gives.
  PLE(std::vector<CGC<T>> levels, Rng& rng) : levels_(std::move(levels)) {
    if (levels_.empty()) fail(name, ": there is no level; give it at least one CGC");
    for (std::size_t l = 0; l + 1 < levels_.size(); ++l) {
      const CGC<T>& next = levels_[l + 1];
      if (next.tasks() != levels_[0].tasks())
        fail(name, ": level ", l + 1, " is for the tasks ", listing(next.tasks(), text), ", level 0 for ",
             listing(levels_[0].tasks(), text), "; all must be for the same, in the same order");
      if (const Index width = levels_[l].out(); width != next.in())
        fail(name, ": level ", l, " gives ", width, " features, level ", l + 1, " takes ", next.in(), "; they must be as many");
      levels_[l].add_shared_gate(rng);
    }
    for (std::size_t l = 0; l < levels_.size(); ++l) hashes_.push_back(detail::hash_name(join("levels.", l)));
  }

  const std::vector<std::string>& tasks() const { return levels_[0].tasks(); }
  PoolVector<Tensor<T>> operator()(const Tensor<T>& x, Pass* pass) const {
    PoolVector<Tensor<T>> xs(tasks().size() + 1, x);
    for (std::size_t l = 0; l < levels_.size(); ++l) {
      if (!pass) {
        xs = levels_[l].run(xs, nullptr);
        continue;
      }
      const Pass::Scope scope(*pass, hashes_[l]);
      xs = levels_[l].run(xs, pass);
    }
    return xs;
  }

  /// As CGC's, with the level: `price/gate/levels.0.shared.0`.
  std::vector<std::string> notes() const {
    std::vector<std::string> all;
    for (std::size_t l = 0; l < levels_.size(); ++l)
      for (std::string& note : levels_[l].notes(join("levels.", l, '.'))) all.push_back(std::move(note));
    return all;
  }
  /// The new task has experts of its own at the last level alone, those it brings; below, where a shared gate would weigh them for
  /// all, it takes what is shared.
  void add_task(const std::string& task, const AddedTask<T>& added, Rng& rng) {
    std::vector<CGC<T>> levels = levels_;
    for (std::size_t l = 0; l < levels.size(); ++l)
      levels[l].add_task(task, l + 1 < levels.size() ? AddedTask<T>{{}, added.gate} : added, rng);
    levels_ = std::move(levels);
  }
  void own() {
    for (CGC<T>& level : levels_) level.own();
    // Below the last two levels a task's gate, too, reaches all, where it feeds experts that the next shared gates take in.
    for (std::size_t l = 0; l + 2 < levels_.size(); ++l) {
      set_owner<T>(levels_[l], {Owner::Kind::shared, ""});
      for (std::size_t t = 0; t < tasks().size(); ++t) {
        bool feeds = false;
        for (std::size_t above = l + 1; above + 1 < levels_.size(); ++above) feeds |= levels_[above].has_own(t);
        if (!feeds) levels_[l].own_gate(t);
      }
    }
  }
  void fields(auto&& visit) { visit("levels", levels_); }

 private:
  static const std::string& text(const std::string& task) { return task; }
  std::vector<CGC<T>> levels_;
  std::vector<std::uint64_t> hashes_;
};
template <class T>
PLE(std::vector<CGC<T>>, Rng&) -> PLE<T>;

}  // namespace espalier::inline ESPALIER_ABI
