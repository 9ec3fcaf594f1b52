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
/// The outputs carry the modalities' names; samples that lack a modality get the prediction 0, with gradient 0. A modality
/// that is not given has no output rows but zeros. Modalities that are tasks of their own: give the objective a loss per
/// modality, and targets with weight 0 where the modality is absent.
template <Differentiable T = float>
class ModalityHeads {
 public:
  explicit ModalityHeads(ModalityHeadsOptions<T> options) : trunk_(std::move(options.trunk)) {
    if (!trunk_) fail("ModalityHeads: no trunk given");
    if (options.heads.empty()) fail("ModalityHeads: no head given; it needs at least one modality");
    auto layout = std::make_shared<OutputLayout>();
    for (Named<AnyModule<T>>& head : options.heads) {
      if (!head.value) fail("ModalityHeads: the head of '", head.name, "' is empty");
      hashes_.push_back(detail::hash_name(head.name));
      set_owner<T>(head.value, {Owner::Kind::task, head.name});
      layout->places.push_back({.separate = static_cast<Index>(layout->names.size())});
      layout->names.push_back(head.name);
    }
    layout_ = std::move(layout);
    heads_ = NamedList<AnyModule<T>>(std::move(options.heads));
    set_owner<T>(trunk_, {Owner::Kind::shared, ""});
  }

  Outputs<T> operator()(const Inputs<T>& inputs) const {
    const NoGrad no_grad;
    return run(inputs, nullptr);
  }
  Outputs<T> operator()(const Inputs<T>& inputs, Pass& pass) const { return run(inputs, &pass); }
  void fields(auto&& visit) {
    visit("trunk", trunk_);
    for (Named<AnyModule<T>>& head : heads_) visit("heads." + head.name, head.value);
  }

 private:
  Outputs<T> run(const Inputs<T>& inputs, Pass* pass) const {
    for (const Named<Input<T>>& input : inputs)
      if (!heads_.find(input.name)) fail("ModalityHeads: unknown modality '", input.name, "'; known: ", heads_.names());
    PoolVector<Tensor<T>> predictions;
    for (Index m = 0; m < heads_.size(); ++m) {
      const Named<AnyModule<T>>& head = heads_.at(m);
      const Input<T>* input = inputs.find(head.name, m);
      if (!input) fail("ModalityHeads: modality '", head.name, "' is not given; give it with presence false where it is absent");
      const Index batch = input->batch();
      const detail::Presence presence = detail::presence_of(*input, batch, head.name);
      predictions.push_back(one(static_cast<std::size_t>(m), head, *input, presence, batch, pass));
    }
    return Outputs<T>(layout_, {}, std::move(predictions));
  }

  Tensor<T> one(std::size_t m, const Named<AnyModule<T>>& head, const Input<T>& input, const detail::Presence& presence,
                Index batch, Pass* pass) const {
    Tensor<T> features;
    if (pass) {
      static constexpr std::uint64_t trunk = detail::hash_name("trunk");
      const Pass::Scope shared(*pass, trunk), scope(*pass, hashes_[m]);
      features = detail::encode_present(trunk_, input, presence, batch, head.name, pass);
      return on_present(head.value, features, presence, batch, pass);
    }
    return on_present(head.value, detail::encode_present(trunk_, input, presence, batch, head.name, pass), presence, batch, pass);
  }
  /// The head on the samples that have the modality; zeros elsewhere.
  static Tensor<T> on_present(const AnyModule<T>& head, const Tensor<T>& features, const detail::Presence& presence, Index batch,
                              Pass* pass) {
    if (!presence.any) return Tensor<T>::zeros({batch, 1});
    if (!presence.mask.defined()) return head(features, pass);
    return scatter_add(head(gather(features, presence.rows, 0), pass), presence.rows, 0, batch);
  }

  AnyModule<T> trunk_;
  NamedList<AnyModule<T>> heads_;
  std::vector<std::uint64_t> hashes_;
  std::shared_ptr<const OutputLayout> layout_;
};
ModalityHeads(ModalityHeadsOptions<float>) -> ModalityHeads<float>;

}  // namespace espalier::inline ESPALIER_ABI
