#pragma once
// MultiModalModel: an encoder per modality, a fusion that knows who has what, a shared trunk, and a head per task.

#include "espalier/model/encoders.hpp"
#include "espalier/model/heads.hpp"

namespace espalier::inline ESPALIER_ABI {

template <Differentiable T = float>
struct MultiModalOptions {
  std::vector<Named<AnyModule<T>>> encoders = {};  // one per modality
  AnyFusion<T> fusion = {};
  AnyModule<T> trunk = {};                         // shared; may be empty
  std::vector<Named<AnyModule<T>>> heads = {};     // one per task
  double modality_dropout = 0;  // in training, each present modality is hidden with this probability, never the last one
};

///   MultiModalModel model{{
///       .encoders = {{"left", Linear{32, 64, rng}}, {"right", Linear{32, 64, rng}}},
///       .fusion = GatedFusion{64, rng},
///       .trunk = Sequential{ReLU{}, Linear{64, 64, rng}, ReLU{}},
///       .heads = {{"digit", Linear{64, 10, rng}}, {"ink", Linear{64, 1, rng}}}}};
///   auto outputs = model({{"left", x}, {"right", {y, present}}});          // inference
///   auto outputs = model(inputs, pass);                                      // recorded
/// A modality that is not given is absent for every sample. Throws Error for an unknown one, listing the known.
template <Differentiable T = float>
class MultiModalModel {
 public:
  explicit MultiModalModel(MultiModalOptions<T> options);

  Outputs<T> operator()(const Inputs<T>& inputs) const;
  Outputs<T> operator()(const Inputs<T>& inputs, Pass& pass) const { return run(inputs, &pass); }
  const NamedList<AnyModule<T>>& encoders() const { return front_.encoders(); }
  AnyModule<T>& trunk() { return trunk_; }
  Heads<T>& heads() { return heads_; }
  /// One more task on the trained model; the outputs of the others stay as they are, bit for bit. Give the optimizer the head's
  /// parameters (`optimizer.add`) and make an objective of all tasks. Throws Error as Heads::add does.
  void add_task(std::string name, AnyModule<T> head) { heads_.add(std::move(name), std::move(head)); }
  void fields(auto&& visit) {
    front_.fields(visit);
    visit("trunk", trunk_);
    visit("heads", heads_);
  }

 private:
  Outputs<T> run(const Inputs<T>& inputs, Pass* pass) const;

  detail::FusedEncoders<T> front_;
  AnyModule<T> trunk_;
  Heads<T> heads_;
};

template <Differentiable T>
MultiModalModel<T>::MultiModalModel(MultiModalOptions<T> options)
    : front_("MultiModalModel", std::move(options.encoders), std::move(options.fusion), options.modality_dropout),
      trunk_(std::move(options.trunk)),
      heads_(std::move(options.heads), "task") {
  front_.own();
  set_owner<T>(trunk_, {Owner::Kind::shared, ""});
  heads_.pack();
}

template <Differentiable T>
Outputs<T> MultiModalModel<T>::operator()(const Inputs<T>& inputs) const {
  const NoGrad no_grad;
  return run(inputs, nullptr);
}

template <Differentiable T>
Outputs<T> MultiModalModel<T>::run(const Inputs<T>& inputs, Pass* pass) const {
  Tensor<T> features = front_(inputs, pass);
  static constexpr std::uint64_t trunk = detail::hash_name("trunk"), heads = detail::hash_name("heads");
  if (trunk_) {
    if (pass) {
      const Pass::Scope scope(*pass, trunk);
      features = trunk_(features, pass);
    } else {
      features = trunk_(features);
    }
  }
  if (!pass) return heads_(features, nullptr);
  const Pass::Scope scope(*pass, heads);
  return heads_(features, pass);
}

MultiModalModel(MultiModalOptions<float>) -> MultiModalModel<float>;

}  // namespace espalier::inline ESPALIER_ABI
