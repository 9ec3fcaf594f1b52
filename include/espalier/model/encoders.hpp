#pragma once
// Encoders: one module per modality, each run on the samples that have the modality and on nothing else. What lies behind an
// absent modality is therefore never read: it cannot leak, batch statistics are right, and the work is saved.

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

}  // namespace detail

}  // namespace espalier::inline ESPALIER_ABI
