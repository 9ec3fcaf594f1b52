#pragma once
// ModalityHeads: every modality through the same trunk, then its own head.

#include "espalier/model/encoders.hpp"
#include "espalier/model/heads.hpp"

namespace espalier::inline ESPALIER_ABI {

template <Differentiable T = float>
struct ModalityHeadsOptions {
  AnyModule<T> trunk = {};                      // shared by all modalities
  std::vector<Named<AnyModule<T>>> heads = {};  // one per modality
};

///   ModalityHeads model{{.trunk = Sequential{Linear{10, 20, rng}, ReLU{}}, .heads = {{"camera", Linear{20, 1, rng}}, ...}}};
/// The outputs carry the modalities' names; samples that lack a modality get the prediction 0, with gradient 0. Every modality
/// must be given, if only with presence false. Modalities that are tasks of their own: give the objective a loss per modality,
/// and targets with weight 0 where the modality is absent.
template <Differentiable T = float>
class ModalityHeads {
 public:
  explicit ModalityHeads(ModalityHeadsOptions<T> options);

  Outputs<T> operator()(const Inputs<T>& inputs) const;
  Outputs<T> operator()(const Inputs<T>& inputs, Pass& pass) const { return run(inputs, &pass); }
  void fields(auto&& visit) {
    visit("trunk", trunk_);
    for (Named<AnyModule<T>>& head : heads_) visit("heads." + head.name, head.value);
  }

 private:
  Outputs<T> run(const Inputs<T>& inputs, Pass* pass) const;

  /// The predictions of one modality: trunk and head see the samples that have it, the others get zeros.
  Tensor<T> one(Index m, const Input<T>& input, Pass* pass) const {
    const Index batch = input.batch();
    const detail::Presence presence = detail::presence_of(input, batch, heads_.at(m).name);
    if (!presence.mask.defined()) return predict(m, input, pass);
    const Input<T> rows = detail::rows_of(input, presence.rows);
    if (presence.any) return scatter_add(predict(m, rows, pass), presence.rows, 0, batch);
    const NoGrad no_grad;  // no sample reaches anything; this only tells the prediction's shape
    return scatter_add(predict(m, rows, nullptr), presence.rows, 0, batch);
  }
  Tensor<T> predict(Index m, const Input<T>& input, Pass* pass) const {
    const AnyModule<T>& head = heads_.at(m).value;
    if (!pass) return head(trunk_(input));
    static constexpr std::uint64_t trunk = detail::hash_name("trunk"), heads = detail::hash_name("heads");
    const std::uint64_t name = hashes_[static_cast<std::size_t>(m)];
    Tensor<T> features;
    {
      const Pass::Scope outer(*pass, trunk), scope(*pass, name);
      features = trunk_(input, pass);
    }
    const Pass::Scope outer(*pass, heads), scope(*pass, name);
    return head(features, pass);
  }

  AnyModule<T> trunk_;
  NamedList<AnyModule<T>> heads_;
  std::vector<std::uint64_t> hashes_;
  Shared<OutputLayout> layout_;
};

template <Differentiable T>
ModalityHeads<T>::ModalityHeads(ModalityHeadsOptions<T> options) : trunk_(std::move(options.trunk)) {
  if (!trunk_) fail("ModalityHeads: no trunk given");
  if (options.heads.empty()) fail("ModalityHeads: no head given; it needs at least one modality");
  OutputLayout layout;
  for (Named<AnyModule<T>>& head : options.heads) {
    if (!head.value) fail("ModalityHeads: the head of '", head.name, "' is empty");
    hashes_.push_back(detail::hash_name(head.name));
    layout.places.push_back({.separate = static_cast<Index>(layout.names.size())});
    layout.names.push_back(head.name);
  }
  layout_ = Shared<OutputLayout>(std::move(layout));
  detail::own_heads(options.heads);
  heads_ = NamedList<AnyModule<T>>(std::move(options.heads));
  set_owner<T>(trunk_, {Owner::Kind::shared, ""});
}

template <Differentiable T>
Outputs<T> ModalityHeads<T>::operator()(const Inputs<T>& inputs) const {
  const NoGrad no_grad;
  return run(inputs, nullptr);
}

template <Differentiable T>
Outputs<T> ModalityHeads<T>::run(const Inputs<T>& inputs, Pass* pass) const {
  for (const Named<Input<T>>& input : inputs)
    if (!heads_.find(input.name)) fail("ModalityHeads: unknown modality '", input.name, "'; known: ", heads_.names());
  PoolVector<Tensor<T>> predictions;
  for (Index m = 0; m < heads_.size(); ++m) {
    const Named<AnyModule<T>>& head = heads_.at(m);
    const Input<T>* input = inputs.find(head.name, m);
    if (!input) fail("ModalityHeads: modality '", head.name, "' is not given; give it with presence false where it is absent");
    predictions.push_back(one(m, *input, pass));
  }
  return Outputs<T>(layout_, {}, std::move(predictions));
}

ModalityHeads(ModalityHeadsOptions<float>) -> ModalityHeads<float>;

}  // namespace espalier::inline ESPALIER_ABI
