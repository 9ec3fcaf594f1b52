#pragma once
// MTAN: multi-task attention. One trunk for all, and for every task and stage a mask of what of its features the task looks at.
// Included by name, as models with a trunk for all do without.

#include "espalier/multitask/sharing/sharing.hpp"
#include "espalier/nn/batch_norm.hpp"

namespace espalier::inline ESPALIER_ABI {

/// A stage of the trunk. `first` gives u, `last` makes p of it (empty: p is u), `next` brings what a task has chosen of p to the
/// task's following stage (empty: as it is).
template <Differentiable T = float>
struct MTANStage {
  AnyModule<T> first, last, next;
  // A constructor, as g++ 12 breaks on a list of aggregates with default members inside another one's list.
  MTANStage(AnyModule<T> first_, AnyModule<T> last_ = {}, AnyModule<T> next_ = {})
      : first(std::move(first_)), last(std::move(last_)), next(std::move(next_)) {}
};

template <Differentiable T = float>
struct MTANOptions {
  std::vector<std::string> tasks = {};
  std::vector<MTANStage<T>> stages = {};
  Index reduction = 4;     // the masks' hidden layer is the stage's width over this, at least 1
  bool batch_norm = true;  // after each of the masks' two layers
};

///   MTAN sharing{10, {.tasks = {"price", "sold"}, .stages = {{block(10)}, {block(32)}}}, rng};
/// e_t = next(a_t * p), a_t = sigmoid(BN(W_2 relu(BN(W_1 [u ; e_t of the stage before])))) (Liu, Johns & Davison, CVPR 2019, arXiv
/// 1803.10704), with linear layers for the paper's 1x1 convolutions. The stages, `next` included, are shared; the masks are their
/// task's own.
template <Differentiable T = float>
class MTAN {
 public:
  static constexpr std::string_view name = "MTAN";

  /// `in` is the width of x, by which those of the stages are found. Throws Error for no task, no stage, or one without `first`.
  MTAN(Index in, MTANOptions<T> options, Rng& rng)
      : tasks_(std::move(options.tasks)), reduction_(options.reduction), batch_norm_(options.batch_norm) {
    detail::check_tasks(name, tasks_);
    if (options.stages.empty()) fail(name, ": no stage is given; it needs at least one");
    if (options.reduction < 1) fail(name, ": reduction is ", options.reduction, "; it must be at least 1");
    const auto part = [](const char* what, std::size_t l, AnyModule<T> module) {
      return detail::ModelPart<T>(join("stages.", l, '.', what), std::move(module));
    };
    Index before = 0;  // the width of the task's features so far
    for (std::size_t l = 0; l < options.stages.size(); ++l) {
      MTANStage<T>& given = options.stages[l];
      if (!given.first) fail(name, ": stage ", l, " has no `first`; give it a module");
      Stage& stage = stages_.emplace_back(
          Stage{part("first", l, given.first), part("last", l, given.last), part("next", l, given.next), {}, 0, 0});
      const Index u = detail::width_of(name, stage.first, in), p = given.last ? detail::width_of(name, stage.last, u) : u;
      stage.seen = u + before;
      stage.width = p;
      for (const std::string& task : tasks_) add_mask(task, l, rng);
      before = given.next ? detail::width_of(name, stage.next, p) : p;
      in = p;
    }
  }

  const std::vector<std::string>& tasks() const { return tasks_; }
  PoolVector<Tensor<T>> operator()(const Tensor<T>& x, Pass* pass) const {
    PoolVector<Tensor<T>> chosen(tasks_.size());
    Tensor<T> p = x;
    for (std::size_t l = 0; l < stages_.size(); ++l) {
      const Stage& stage = stages_[l];
      const Tensor<T> u = stage.first(p, pass);
      p = stage.last.module ? stage.last(u, pass) : u;
      for (std::size_t t = 0; t < tasks_.size(); ++t) {
        const Tensor<T> seen = l == 0 ? u : concat(std::vector<Tensor<T>>{u, chosen[t]}, 1);
        const Tensor<T> e = stage.masks[t](seen, pass) * p;
        chosen[t] = stage.next.module ? stage.next(e, pass) : e;
      }
    }
    return chosen;
  }

  /// The new task has masks of its own over the stages there are.
  void add_task(const std::string& task, const AddedTask<T>& added, Rng& rng) {
    tasks_ = detail::with_task(name, tasks_, task, added, false, false);
    for (std::size_t l = 0; l < stages_.size(); ++l) add_mask(task, l, rng);
  }
  void own() {
    for (Stage& stage : stages_) {
      for (detail::ModelPart<T>* part : {&stage.first, &stage.last, &stage.next}) set_owner<T>(*part, {Owner::Kind::shared, ""});
      for (std::size_t t = 0; t < tasks_.size(); ++t) set_owner<T>(stage.masks[t], {Owner::Kind::task, tasks_[t]});
    }
  }
  void fields(auto&& visit) {
    for (Stage& stage : stages_)
      for (detail::ModelPart<T>* part : {&stage.first, &stage.last, &stage.next}) visit(part->name, *part);
    for (Stage& stage : stages_)
      for (detail::ModelPart<T>& mask : stage.masks) visit(mask.name, mask);
  }

 private:
  struct Stage {
    detail::ModelPart<T> first, last, next;
    std::vector<detail::ModelPart<T>> masks;  // one per task
    Index seen, width;                        // what a mask takes and gives
  };
  void add_mask(const std::string& task, std::size_t l, Rng& rng) {
    Stage& stage = stages_[l];
    const Index hidden = std::max<Index>(1, stage.width / reduction_);
    std::vector<AnyModule<T>> layers{Linear<T>(stage.seen, hidden, rng),  BatchNorm1d<T>(hidden),      ReLU{},
                                     Linear<T>(hidden, stage.width, rng), BatchNorm1d<T>(stage.width), Sigmoid{}};
    if (!batch_norm_) {
      layers.erase(layers.begin() + 4);
      layers.erase(layers.begin() + 1);
    }
    stage.masks.emplace_back(join("masks.", task, '.', l), Sequential<T>(std::move(layers)));
  }

  std::vector<std::string> tasks_;
  Index reduction_;
  bool batch_norm_;
  std::vector<Stage> stages_;
};
MTAN(Index, MTANOptions<float>, Rng&)->MTAN<float>;

}  // namespace espalier::inline ESPALIER_ABI
