#pragma once
// Concat fusion: the encoded modalities side by side, a learned embedding where one is absent.

#include "espalier/multimodal/encoded.hpp"

namespace espalier::inline ESPALIER_ABI {

/// [h_1; ...; h_M] with h_m replaced by a learned e_m, initially zero, for every sample that lacks modality m, in training
/// and in inference alike. A sample with no modality at all gives [e_1; ...; e_M].
template <Differentiable T = float>
struct ConcatFusion {
  std::vector<Tensor<T>> missing;  // e_m, [width of encoder m]

  /// The widths that the encoders give, in their order: `ConcatFusion{64, 64}`.
  ConcatFusion(std::initializer_list<Index> widths) : ConcatFusion(std::vector<Index>(widths)) {}
  explicit ConcatFusion(const std::vector<Index>& widths) {
    for (Index width : widths) {
      if (width < 1) fail("ConcatFusion: width ", width, "; every width must be at least 1");
      missing.push_back(parameter(Tensor<T>::zeros({width})));
    }
    if (missing.empty()) fail("ConcatFusion: no widths given; give the width of each encoder, in their order");
  }

  Tensor<T> operator()(const Encoded<T>& encoded) const {
    if (encoded.size() != static_cast<Index>(missing.size()))
      fail("ConcatFusion: made for ", missing.size(), " modalities, the model has ", encoded.size());
    PoolVector<Tensor<T>> parts;
    for (Index m = 0; m < encoded.size(); ++m) {
      const Tensor<T>&h = encoded.value(m), &e = missing[static_cast<std::size_t>(m)];
      if (h.defined() && !(h.shape() == Shape{encoded.batch, e.size()}))
        fail("ConcatFusion: modality ", encoded.name(m), " is encoded as ", h.shape(), "; it must be [batch, ", e.size(), "]");
      if (!h.defined()) parts.push_back(expand_to(e, {encoded.batch, e.size()}));
      else parts.push_back(encoded.complete(m) ? h : where(encoded.mask(m), h, e));
    }
    return concat(std::span<const Tensor<T>>(parts), 1);
  }
  void fields(auto&& visit) { visit("missing", missing); }
};
ConcatFusion(const std::vector<Index>&) -> ConcatFusion<float>;
ConcatFusion(std::initializer_list<Index>) -> ConcatFusion<float>;

}  // namespace espalier::inline ESPALIER_ABI
