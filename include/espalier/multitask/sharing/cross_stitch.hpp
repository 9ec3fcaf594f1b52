#pragma once
// CrossStitch: a tower per task, and between the stages every task takes a learned mixture of all.
// Included by name, as models with a trunk for all do without.

#include "espalier/multitask/sharing/sharing.hpp"

namespace espalier::inline ESPALIER_ABI {

template <Differentiable T = float>
struct CrossStitchOptions {
  /// The stages of each task's tower, by its name; as many for each, and equally wide at each stage.
  std::vector<Named<std::vector<AnyModule<T>>>> towers = {};
  double own = 0.9;          // what a task takes of itself at the start; the others share the rest
  bool per_channel = false;  // a number per feature, not per stage
};

///   CrossStitch sharing{10, {.towers = {{"price", {stage(), stage()}}, {"sold", {stage(), stage()}}}}};
/// x_t of stage l + 1 is F_t(sum_s A_ts x_s) of stage l (Misra et al., CVPR 2016, arXiv 1604.03539); the heads get the stitched
/// features of the last stage. Row t of A is `stitches.l.t`, [tasks, 1] or [tasks, width]. All of it is shared, as every task
/// reaches it, but for the rows of the last stitch, which are their task's own.
template <Differentiable T = float>
class CrossStitch {
 public:
  static constexpr std::string_view name = "CrossStitch";

  /// `in` is the width of x, by which those of the stages are found. Throws Error for no task, towers of different heights or
  /// widths, and for a share of the own features outside [0, 1].
  explicit CrossStitch(Index in, CrossStitchOptions<T> options) {
    for (const auto& [task, stages] : options.towers) {
      tasks_.push_back(task);
      towers_.push_back(detail::numbered(name, "towers." + task + ".", stages));
      if (towers_.back().empty()) fail(name, ": the tower of task '", task, "' has no stage; it needs at least one");
      if (towers_.back().size() != towers_[0].size())
        fail(name, ": the tower of task '", task, "' has ", towers_.back().size(), " stages, that of '", tasks_[0], "' ",
             towers_[0].size(), "; all must have as many");
    }
    detail::check_tasks(name, tasks_);
    if (!(options.own >= 0 && options.own <= 1)) fail(name, ": own is ", options.own, "; it must be in [0, 1]");
    const std::size_t count = tasks_.size();
    for (std::size_t l = 0; l < towers_[0].size(); ++l) {
      Index width = 0;
      for (std::size_t t = 0; t < count; ++t) {
        const Index found = detail::width_of(name, towers_[t][l], in);
        if (t > 0 && found != width)
          fail(name, ": stage ", l, " of task '", tasks_[t], "' gives ", found, " features, that of '", tasks_[0], "' ", width,
               "; all must give as many");
        width = found;
      }
      std::vector<Tensor<T>> rows;
      for (std::size_t t = 0; t < count; ++t) {
        const Shape shape{static_cast<Index>(count), options.per_channel ? width : 1};
        const double rest = count > 1 ? (1 - options.own) / static_cast<double>(count - 1) : 0;
        Tensor<T> row = Tensor<T>::full(shape, static_cast<T>(rest));
        const Index own = static_cast<Index>(t);
        std::fill_n(row.raw() + own * shape[1], shape[1], static_cast<T>(count > 1 ? options.own : 1));
        rows.push_back(parameter(row));
      }
      stitches_.push_back(std::move(rows));
      in = width;
    }
  }

  const std::vector<std::string>& tasks() const { return tasks_; }
  PoolVector<Tensor<T>> operator()(const Tensor<T>& x, Pass* pass) const {
    const std::size_t count = tasks_.size();
    PoolVector<Tensor<T>> xs(count, x);
    for (std::size_t l = 0; l < stitches_.size(); ++l) {
      PoolVector<Tensor<T>> ys;
      for (std::size_t t = 0; t < count; ++t) ys.push_back(towers_[t][l](xs[t], pass));
      for (std::size_t t = 0; t < count; ++t)
        for (std::size_t s = 0; s < count; ++s) {
          const Index row = static_cast<Index>(s);
          const Tensor<T> taken = ys[s] * slice(stitches_[l][t], 0, row, row + 1);
          xs[t] = s == 0 ? taken : xs[t] + taken;
        }
    }
    return xs;
  }
  /// A of a stage, [tasks, tasks, 1] or [tasks, tasks, width]: row t is what task t takes of each. Throws Error for
  /// an unknown stage.
  Tensor<T> stitch(Index stage) const {
    if (stage < 0 || stage >= static_cast<Index>(stitches_.size()))
      fail(name, ": stage ", stage, " is asked for; there are ", stitches_.size(), ", counted from 0");
    const NoGrad no_grad;
    return stack(stitches_[static_cast<std::size_t>(stage)], 0);
  }

  /// Throws Error: there is no way to.
  void add_task(const std::string& task, const AddedTask<T>&, Rng&) {
    fail(name, ": task '", task, "' cannot be added, as every task's mixture has a number for every tower; make a new model of all ",
         "tasks, and load the towers' weights into it");
  }
  void own() {
    for (std::size_t t = 0; t < tasks_.size(); ++t) {
      for (detail::ModelPart<T>& stage : towers_[t]) set_owner<T>(stage, {Owner::Kind::shared, ""});
      for (std::size_t l = 0; l < stitches_.size(); ++l)
        leaf_of(stitches_[l][t])->owner =
            l + 1 < stitches_.size() ? Owner{Owner::Kind::shared, ""} : Owner{Owner::Kind::task, tasks_[t]};
    }
  }
  void fields(auto&& visit) {
    for (auto& tower : towers_)
      for (detail::ModelPart<T>& stage : tower) visit(stage.name, stage);
    for (std::size_t l = 0; l < stitches_.size(); ++l)
      for (std::size_t t = 0; t < tasks_.size(); ++t) visit(join("stitches.", l, '.', tasks_[t]), stitches_[l][t]);
  }

 private:
  std::vector<std::string> tasks_;
  std::vector<std::vector<detail::ModelPart<T>>> towers_;
  std::vector<std::vector<Tensor<T>>> stitches_;  // [stage][task]: a row of A
};
CrossStitch(Index, CrossStitchOptions<float>)->CrossStitch<float>;

}  // namespace espalier::inline ESPALIER_ABI
