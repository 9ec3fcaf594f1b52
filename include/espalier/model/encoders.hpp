#pragma once
// Encoders: one module per modality, each run on the samples that have the modality and on nothing else. What lies behind an
// absent modality is therefore never read: it cannot leak, batch statistics are right, and the work is saved. FusedEncoders is
// what the assemblies have of them in front.

#include "espalier/multimodal/encoded.hpp"

namespace espalier::inline ESPALIER_ABI {

namespace detail {

/// The presence of one modality over a batch, resolved.
struct Presence {
  Tensor<bool> mask;      // [batch]; undefined: all
  Tensor<Index> rows;     // the samples that have it, when not all do
  bool any = true;
};

/// Which samples have the input.
template <class T>
Presence presence_of(const Input<T>& input, Index batch, std::string_view name) {
  Presence p;
  if (!input.present.defined()) return p;
  if (!(input.present.shape() == Shape{batch}))
    fail("model: the presence of modality '", name, "' is ", input.present.shape(), "; it must be [", batch, "]");
  const Index count = std::count(input.present.data(), input.present.data() + batch, true);
  p.any = count > 0 || batch == 0;
  if (count == batch) return p;
  p.mask = input.present;
  p.rows = Tensor<Index>::empty({count});
  for (Index i = 0, at = 0; i < batch; ++i)
    if (input.present.data()[i]) p.rows.raw()[at++] = i;
  return p;
}

/// The given samples of an input, which count as complete.
template <class T>
Input<T> rows_of(const Input<T>& input, const Tensor<Index>& rows) {
  Input<T> out;
  if (input.values.defined()) out.values = gather(input.values, rows, 0);
  if (input.tokens.defined()) out.tokens = gather(input.tokens, rows, 0);
  if (input.valid.defined()) out.valid = gather(input.valid, rows, 0);
  return out;
}

/// Runs a module on the samples that have the input and puts the results in their places, zeros elsewhere.
template <class T>
Tensor<T> encode_present(const AnyModule<T>& encoder, const Input<T>& input, const Presence& presence, Index batch,
                         std::string_view name, Pass* pass) {
  if (!presence.any) return {};
  const bool all = !presence.mask.defined();
  const Tensor<T> h = all ? encoder(input, pass) : encoder(rows_of(input, presence.rows), pass);
  const Index expected = all ? batch : presence.rows.size();
  if (h.rank() < 1 || h.shape()[0] != expected)
    fail("model: the encoder of '", name, "' turned ", expected, " samples into ", h.shape(), "; axis 0 must stay");
  return all ? h : scatter_add(h, presence.rows, 0, batch);
}

/// An encoder per modality and the fusion of what they give, with modality dropout: what stands in front of a model's trunk or
/// sharing. Named inputs in, one tensor [batch, width] out.
template <class T>
class FusedEncoders {
 public:
  /// None.
  FusedEncoders() = default;
  /// `model` is what messages begin with. Throws Error for no encoder, an empty one, two of one name, no fusion, and a dropout
  /// outside [0, 1).
  FusedEncoders(std::string_view model, std::vector<Named<AnyModule<T>>> encoders, AnyFusion<T> fusion, double modality_dropout);

  bool empty() const { return encoders_.empty(); }
  const NamedList<AnyModule<T>>& encoders() const { return encoders_; }
  /// A modality that is not given is absent for every sample. Throws Error for an unknown one, listing the known.
  Tensor<T> operator()(const Inputs<T>& inputs, Pass* pass) const;

  /// Tags the parameters with their owners.
  void own() {
    for (Named<AnyModule<T>>& encoder : encoders_) set_owner<T>(encoder.value, {Owner::Kind::modality, encoder.name});
    set_owner<T>(fusion_, {Owner::Kind::shared, ""});
  }
  void fields(auto&& visit) {
    for (Named<AnyModule<T>>& encoder : encoders_) visit("encoders." + encoder.name, encoder.value);
    if (fusion_) visit("fusion", fusion_);
  }

 private:
  Tensor<T> encode(Index m, const Input<T>& input, const Presence& presence, Index batch, Pass* pass) const {
    const Named<AnyModule<T>>& encoder = encoders_.at(m);
    if (!pass) return encode_present(encoder.value, input, presence, batch, encoder.name, nullptr);
    const Pass::Scope scope(*pass, hashes_[static_cast<std::size_t>(m)]);
    return encode_present(encoder.value, input, presence, batch, encoder.name, pass);
  }

  /// The inputs in the encoders' order, some of what is present hidden: it turns true to false, never back, and leaves every
  /// sample that had a modality at least one, drawn uniformly.
  PoolVector<Input<T>> dropped(const Inputs<T>& inputs, Index batch, Pass& pass) const {
    static constexpr std::uint64_t name = hash_name("modality_dropout");
    const Pass::Scope scope(pass, name);
    const auto count = static_cast<std::size_t>(encoders_.size());
    PoolVector<Input<T>> out;
    PoolVector<Tensor<bool>> before;
    for (Index m = 0; m < encoders_.size(); ++m) {
      const Input<T>* given = inputs.find(encoders_.at(m).name, m);
      out.push_back(given ? *given : Input<T>());
      const bool masked = given && given->present.defined();
      if (masked && !(given->present.shape() == Shape{batch})) presence_of(*given, batch, encoders_.at(m).name);  // throws
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

  std::string_view model_;
  NamedList<AnyModule<T>> encoders_;
  std::vector<std::uint64_t> hashes_;
  AnyFusion<T> fusion_;
  double modality_dropout_ = 0;
};

template <class T>
FusedEncoders<T>::FusedEncoders(std::string_view model, std::vector<Named<AnyModule<T>>> encoders, AnyFusion<T> fusion,
                                double modality_dropout)
    : model_(model), encoders_(std::move(encoders)), fusion_(std::move(fusion)), modality_dropout_(modality_dropout) {
  if (encoders_.empty()) fail(model_, ": no encoder given; it needs at least one modality");
  if (!fusion_) fail(model_, ": no fusion given; use ConcatFusion or GatedFusion");
  if (!(modality_dropout_ >= 0 && modality_dropout_ < 1))
    fail(model_, ": modality_dropout is ", modality_dropout_, "; it must lie in [0, 1)");
  for (const Named<AnyModule<T>>& encoder : encoders_) {
    if (!encoder.value) fail(model_, ": the encoder of '", encoder.name, "' is empty");
    hashes_.push_back(hash_name(encoder.name));
  }
}

template <class T>
Tensor<T> FusedEncoders<T>::operator()(const Inputs<T>& inputs, Pass* pass) const {
  Encoded<T> encoded;
  for (const Named<Input<T>>& input : inputs) {
    if (!encoders_.find(input.name))
      fail(model_, ": unknown modality '", input.name, "'; known: ", encoders_.names());
    const Index batch = input.value.batch();
    if (!input.value.values.defined() && !input.value.tokens.defined())
      fail(model_, ": modality '", input.name, "' has neither values nor tokens");
    if (&input != &*inputs.begin() && batch != encoded.batch)
      fail(model_, ": modality '", input.name, "' has ", batch, " samples, '", inputs.at(0).name, "' has ", encoded.batch);
    encoded.batch = batch;
  }
  if (inputs.empty()) fail(model_, ": no modality given; known: ", encoders_.names());
  const bool drop = pass && modality_dropout_ > 0;
  PoolVector<Input<T>> hidden;  // inputs with modality dropout applied
  if (drop) hidden = dropped(inputs, encoded.batch, *pass);
  for (Index m = 0; m < encoders_.size(); ++m) {
    const Named<AnyModule<T>>& encoder = encoders_.at(m);
    const Input<T>* given = drop ? &hidden[static_cast<std::size_t>(m)] : inputs.find(encoder.name, m);
    Presence presence;
    presence.any = given && (given->values.defined() || given->tokens.defined());
    if (presence.any) presence = presence_of(*given, encoded.batch, encoder.name);
    encoded.names.push_back(encoder.name);
    encoded.values.push_back(presence.any ? encode(m, *given, presence, encoded.batch, pass) : Tensor<T>());
    encoded.present.push_back(presence.any ? presence.mask : Tensor<bool>::zeros({encoded.batch}));
  }
  return fusion_(encoded);
}

}  // namespace detail

}  // namespace espalier::inline ESPALIER_ABI
