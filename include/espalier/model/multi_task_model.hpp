#pragma once
// MultiTaskModel: a shared trunk and a head per task.

#include "espalier/model/heads.hpp"

namespace espalier::inline ESPALIER_ABI {

template <Differentiable T = float>
struct MultiTaskOptions {
  AnyModule<T> trunk = {};                        // shared; empty: the heads see the input
  std::vector<Named<AnyModule<T>>> heads = {};    // one per task
};

///   MultiTaskModel model{{.trunk = Sequential{Linear{10, 20, rng}, ReLU{}}, .heads = {{"price", Linear{20, 1, rng}}}}};
///   auto outputs = model(x);            // inference: values only, const, deterministic, safe from several threads
///   auto outputs = model(x, pass);      // recorded, for training
/// Copies share parameters, as in PyTorch; `clone` is deep.
template <Differentiable T = float>
class MultiTaskModel {
 public:
  explicit MultiTaskModel(MultiTaskOptions<T> options);

  Outputs<T> operator()(const Tensor<T>& x) const;
  Outputs<T> operator()(const Tensor<T>& x, Pass& pass) const { return run(x, &pass); }
  AnyModule<T>& trunk() { return trunk_; }
  Heads<T>& heads() { return heads_; }
  /// One more task on the trained model; the outputs of the others stay as they are, bit for bit. Give the optimizer the head's
  /// parameters (`optimizer.add`) and make an objective of all tasks. Throws Error as Heads::add does.
  void add_task(std::string name, AnyModule<T> head) { heads_.add(std::move(name), std::move(head)); }
  void fields(auto&& visit) {
    visit("trunk", trunk_);
    visit("heads", heads_);
  }

 private:
  Outputs<T> run(const Tensor<T>& x, Pass* pass) const;

  AnyModule<T> trunk_;
  Heads<T> heads_;
};

template <Differentiable T>
MultiTaskModel<T>::MultiTaskModel(MultiTaskOptions<T> options)
    : trunk_(std::move(options.trunk)), heads_(std::move(options.heads), "task") {
  set_owner<T>(trunk_, {Owner::Kind::shared, ""});
  heads_.pack();
}

template <Differentiable T>
Outputs<T> MultiTaskModel<T>::operator()(const Tensor<T>& x) const {
  const NoGrad no_grad;
  return run(x, nullptr);
}

template <Differentiable T>
Outputs<T> MultiTaskModel<T>::run(const Tensor<T>& x, Pass* pass) const {
  require(x, "MultiTaskModel");
  if (!trunk_) return heads_(x, pass);
  if (!pass) return heads_(trunk_(x), nullptr);
  static constexpr std::uint64_t trunk = detail::hash_name("trunk"), heads = detail::hash_name("heads");
  Tensor<T> features;
  {
    const Pass::Scope scope(*pass, trunk);
    features = trunk_(x, pass);
  }
  const Pass::Scope scope(*pass, heads);
  return heads_(features, pass);
}

MultiTaskModel(MultiTaskOptions<float>) -> MultiTaskModel<float>;

}  // namespace espalier::inline ESPALIER_ABI
