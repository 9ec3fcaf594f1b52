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
  const NamedList<AnyModule<T>>& encoders() const { return encoders_; }
  AnyModule<T>& trunk() { return trunk_; }
  Heads<T>& heads() { return heads_; }
  /// One more task on the trained model; the outputs of the others stay as they are, bit for bit. Give the optimizer the head's
  /// parameters (`optimizer.add`) and make an objective of all tasks. Throws Error as Heads::add does.
  void add_task(std::string name, AnyModule<T> head) { heads_.add(std::move(name), std::move(head)); }
  void fields(auto&& visit) {
    for (Named<AnyModule<T>>& encoder : encoders_) visit("encoders." + encoder.name, encoder.value);
    visit("fusion", fusion_);
    visit("trunk", trunk_);
    visit("heads", heads_);
  }

 private:
  Outputs<T> run(const Inputs<T>& inputs, Pass* pass) const;

  Tensor<T> encode(Index m, const Input<T>& input, const detail::Presence& presence, Index batch, Pass* pass) const {
    const Named<AnyModule<T>>& encoder = encoders_.at(m);
    if (!pass) return detail::encode_present(encoder.value, input, presence, batch, encoder.name, nullptr);
    const Pass::Scope scope(*pass, hashes_[static_cast<std::size_t>(m)]);
    return detail::encode_present(encoder.value, input, presence, batch, encoder.name, pass);
  }

  /// The inputs in the encoders' order, some of what is present hidden: it turns true to false, never back, and leaves every
  /// sample that had a modality at least one, drawn uniformly.
  PoolVector<Input<T>> dropped(const Inputs<T>& inputs, Index batch, Pass& pass) const {
    static constexpr std::uint64_t name = detail::hash_name("modality_dropout");
    const Pass::Scope scope(pass, name);
    const auto count = static_cast<std::size_t>(encoders_.size());
    PoolVector<Input<T>> out;
    PoolVector<Tensor<bool>> before;
    for (Index m = 0; m < encoders_.size(); ++m) {
      const Input<T>* given = inputs.find(encoders_.at(m).name, m);
      out.push_back(given ? *given : Input<T>());
      const bool masked = given && given->present.defined();
      if (masked && !(given->present.shape() == Shape{batch})) detail::presence_of(*given, batch, encoders_.at(m).name);  // throws
      before.push_back(masked ? given->present : Tensor<bool>::full({batch}, given != nullptr));
      out.back().present = before.back().clone();
      const Pass::Scope modality(pass, hashes_[static_cast<std::size_t>(m)]);
      const Draws draws = pass.draws();
      for (Index i = 0; i < batch; ++i)
        if (draws.uniform(static_cast<std::uint64_t>(i)) < modality_dropout_) out.back().present.raw()[i] = false;
    }
    const Draws draws = pass.draws();
    for (Index i = 0; i < batch; ++i) {
      Index had = 0, has = 0;
      for (std::size_t m = 0; m < count; ++m) had += before[m].data()[i], has += out[m].present.data()[i];
      if (had == 0 || has > 0) continue;
      Index chosen = draws.below(had, static_cast<std::uint64_t>(i));
      for (std::size_t m = 0; m < count; ++m)
        if (before[m].data()[i] && chosen-- == 0) out[m].present.raw()[i] = true;
    }
    return out;
  }

  NamedList<AnyModule<T>> encoders_;
  std::vector<std::uint64_t> hashes_;
  AnyFusion<T> fusion_;
  AnyModule<T> trunk_;
  Heads<T> heads_;
  double modality_dropout_;
};

template <Differentiable T>
MultiModalModel<T>::MultiModalModel(MultiModalOptions<T> options) : encoders_(std::move(options.encoders)),
      fusion_(std::move(options.fusion)),
      trunk_(std::move(options.trunk)),
      heads_(std::move(options.heads), "task"),
      modality_dropout_(options.modality_dropout) {
  if (encoders_.empty()) fail("MultiModalModel: no encoder given; it needs at least one modality");
  if (!fusion_) fail("MultiModalModel: no fusion given; use ConcatFusion or GatedFusion");
  if (!(modality_dropout_ >= 0 && modality_dropout_ < 1))
    fail("MultiModalModel: modality_dropout is ", modality_dropout_, "; it must lie in [0, 1)");
  for (Named<AnyModule<T>>& encoder : encoders_) {
    if (!encoder.value) fail("MultiModalModel: the encoder of '", encoder.name, "' is empty");
    hashes_.push_back(detail::hash_name(encoder.name));
    set_owner<T>(encoder.value, {Owner::Kind::modality, encoder.name});
  }
  set_owner<T>(fusion_, {Owner::Kind::shared, ""});
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
  Encoded<T> encoded;
  for (const Named<Input<T>>& input : inputs) {
    if (!encoders_.find(input.name))
      fail("MultiModalModel: unknown modality '", input.name, "'; known: ", encoders_.names());
    const Index batch = input.value.batch();
    if (!input.value.values.defined() && !input.value.tokens.defined())
      fail("MultiModalModel: modality '", input.name, "' has neither values nor tokens");
    if (&input != &*inputs.begin() && batch != encoded.batch)
      fail("MultiModalModel: modality '", input.name, "' has ", batch, " samples, '", inputs.at(0).name, "' has ", encoded.batch);
    encoded.batch = batch;
  }
  if (inputs.empty()) fail("MultiModalModel: no modality given; known: ", encoders_.names());
  const bool drop = pass && modality_dropout_ > 0;
  PoolVector<Input<T>> hidden;  // inputs with modality dropout applied
  if (drop) hidden = dropped(inputs, encoded.batch, *pass);
  for (Index m = 0; m < encoders_.size(); ++m) {
    const Named<AnyModule<T>>& encoder = encoders_.at(m);
    const Input<T>* given = drop ? &hidden[static_cast<std::size_t>(m)] : inputs.find(encoder.name, m);
    detail::Presence presence;
    presence.any = given && (given->values.defined() || given->tokens.defined());
    if (presence.any) presence = detail::presence_of(*given, encoded.batch, encoder.name);
    encoded.names.push_back(encoder.name);
    encoded.values.push_back(presence.any ? encode(m, *given, presence, encoded.batch, pass) : Tensor<T>());
    encoded.present.push_back(presence.any ? presence.mask : Tensor<bool>::zeros({encoded.batch}));
  }
  Tensor<T> features = fusion_(encoded);
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
