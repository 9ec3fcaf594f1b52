#pragma once
// Gated fusion: a gate per modality and feature decides how much of each present modality goes through.

#include <limits>

#include "espalier/multimodal/encoded.hpp"

namespace espalier::inline ESPALIER_ABI {

/// sum over the present m of z_m * tanh(value(h_m)), z = softmax over the present m of gate(h_m), feature by feature: the
/// softmax form of the gated multimodal unit (Arevalo et al. 2017, arXiv 1702.01992) with one gate and one value layer for all
/// modalities, so that it takes any number of them. Equal gates give the mean over what is present. An absent modality is
/// left out; a sample with none gives 0, with gradient 0.
template <Differentiable T = float>
struct GatedFusion {
  Linear<T> gate, value;  // [width, width]

  /// Every encoder must give `width` features.
  GatedFusion(Index width, Rng& rng) : gate(width, width, rng), value(width, width, rng) {}

  Tensor<T> operator()(const Encoded<T>& encoded) const {
    const Index width = gate.in();
    PoolVector<Tensor<T>> scores, values;
    for (Index m = 0; m < encoded.size(); ++m) {
      const Tensor<T>& h = encoded.value(m);
      if (!h.defined()) continue;
      if (!(h.shape() == Shape{encoded.batch, width}))
        fail("GatedFusion: modality ", encoded.name(m), " is encoded as ", h.shape(),
             "; every modality must be [batch, ", width, "]");
      const Tensor<T> score = gate(h);
      scores.push_back(encoded.complete(m) ? score : where(encoded.mask(m), score, Tensor<T>::scalar(-infinity)));
      values.push_back(tanh(value(h)));
    }
    if (scores.empty()) return Tensor<T>::zeros({encoded.batch, width});
    const auto stacked = [](const PoolVector<Tensor<T>>& xs) { return stack(std::span<const Tensor<T>>(xs), -1); };
    const Tensor<T> z = softmax(stacked(scores), -1);  // [batch, width, modalities]
    return sum(z * stacked(values), {-1});
  }
  void fields(auto&& visit) {
    visit("gate", gate);
    visit("value", value);
  }

 private:
  static constexpr T infinity = std::numeric_limits<T>::infinity();
};
GatedFusion(Index, Rng&) -> GatedFusion<float>;

}  // namespace espalier::inline ESPALIER_ABI
