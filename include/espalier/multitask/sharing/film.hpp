#pragma once
// FiLM: one trunk, told which task it works for by a scale and a shift of every feature.
// Included by name, as models with a trunk for all do without.

#include "espalier/multitask/sharing/sharing.hpp"

namespace espalier::inline ESPALIER_ABI {

template <Differentiable T = float>
struct FiLMOptions {
  std::vector<std::string> tasks = {};
  std::vector<AnyModule<T>> stages = {};  // of the trunk; without their activation
  AnyModule<T> activation = ReLU{};       // after each modulation; empty: none
};

///   FiLM sharing{10, {.tasks = {"price", "sold"}, .stages = {Linear{10, 32, rng}, Linear{32, 32, rng}}}};
/// x_t of stage l is activation(gamma_t * F(x_t) + beta_t), feature by feature (Perez et al., AAAI 2018, arXiv 1709.07871), with a
/// learned gamma (1 at the start) and beta (0) per task and stage in place of a network that makes them. The trunk is shared, run
/// once per task from its second stage on; gamma and beta are their task's own.
template <Differentiable T = float>
class FiLM {
 public:
  static constexpr std::string_view name = "FiLM";

  /// `in` is the width of x, by which those of the stages are found. Throws Error for no task and for no stage.
  FiLM(Index in, FiLMOptions<T> options)
      : tasks_(std::move(options.tasks)),
        stages_(detail::numbered(name, "stages.", options.stages)),
        activation_("activation", std::move(options.activation)) {
    detail::check_tasks(name, tasks_);
    if (stages_.empty()) fail(name, ": no stage is given; it needs at least one");
    for (const detail::ModelPart<T>& stage : stages_) {
      in = detail::width_of(name, stage, in);
      for (std::size_t t = 0; t < tasks_.size(); ++t) {
        gammas_.push_back(parameter(Tensor<T>::ones({in})));
        betas_.push_back(parameter(Tensor<T>::zeros({in})));
      }
      if (activation_.module) in = detail::width_of(name, activation_, in);
    }
  }

  const std::vector<std::string>& tasks() const { return tasks_; }
  PoolVector<Tensor<T>> operator()(const Tensor<T>& x, Pass* pass) const {
    const std::size_t count = tasks_.size();
    PoolVector<Tensor<T>> xs(count, x);
    for (std::size_t l = 0; l < stages_.size(); ++l) {
      Tensor<T> y;
      for (std::size_t t = 0; t < count; ++t) {
        if (t == 0 || l > 0) y = stages_[l](xs[t], pass);
        const Tensor<T> told = y * gammas_[l * count + t] + betas_[l * count + t];
        xs[t] = activation_.module ? activation_(told, pass) : told;
      }
    }
    return xs;
  }

  /// The new task begins with a scale of 1 and a shift of 0.
  void add_task(const std::string& task, const AddedTask<T>& added, Rng&) {
    const std::size_t before = tasks_.size();
    tasks_ = detail::with_task(name, tasks_, task, added, false, false);
    for (std::size_t l = stages_.size(); l-- > 0;) {  // from the last stage, so that the places before stay
      const Shape width = gammas_[l * before].shape();
      const auto end = static_cast<std::ptrdiff_t>((l + 1) * before);
      gammas_.insert(gammas_.begin() + end, parameter(Tensor<T>::ones(width)));
      betas_.insert(betas_.begin() + end, parameter(Tensor<T>::zeros(width)));
    }
  }
  void own() {
    for (detail::ModelPart<T>& stage : stages_) set_owner<T>(stage, {Owner::Kind::shared, ""});
    set_owner<T>(activation_, {Owner::Kind::shared, ""});
    for (std::size_t i = 0; i < gammas_.size(); ++i)
      leaf_of(gammas_[i])->owner = leaf_of(betas_[i])->owner = {Owner::Kind::task, tasks_[i % tasks_.size()]};
  }
  void fields(auto&& visit) {
    for (detail::ModelPart<T>& stage : stages_) visit(stage.name, stage);
    visit(activation_.name, activation_);
    for (std::size_t i = 0; i < gammas_.size(); ++i) {
      const std::string task = join(tasks_[i % tasks_.size()], '.', i / tasks_.size());
      visit("gamma." + task, gammas_[i]);
      visit("beta." + task, betas_[i]);
    }
  }

 private:
  std::vector<std::string> tasks_;
  std::vector<detail::ModelPart<T>> stages_;
  detail::ModelPart<T> activation_;
  std::vector<Tensor<T>> gammas_, betas_;  // [stage][task], each [width]
};
FiLM(Index, FiLMOptions<float>)->FiLM<float>;

}  // namespace espalier::inline ESPALIER_ABI
