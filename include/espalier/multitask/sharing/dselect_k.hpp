#pragma once
// DSelectK: a gate that chooses at most k of the experts, and learns which by gradients.
// Included by name, as models with a trunk for all do without.

#include "espalier/multitask/sharing/sharing.hpp"

namespace espalier::inline ESPALIER_ABI {

struct DSelectKOptions {
  Index k = 2;       // experts chosen at most
  double gamma = 1;  // the smooth step goes from 0 to 1 over this width
};

/// A gate for MMoE (Hazimeh et al., NeurIPS 2021, arXiv 2106.03760), [batch, in] -> [batch, experts]: sum over j < k of
/// softmax(W x)_j r(Z_j x), where r(z)_e is the product over the bits b of S(z_b) or 1 - S(z_b), by the binary code of e, and S is
/// the cubic smooth step, which reaches 0 and 1. Once every S has, k experts at most have a weight. Where their number is no power
/// of two the codes beyond it get weight too, which `penalty` drives out.
template <Differentiable T = float>
struct DSelectK {
  Linear<T> select, mix;  // Z: [k * bits, in], W: [k, in]; without bias
  DSelectKOptions options;
  Index experts, bits;

  /// Throws Error when a size is not positive, or k is above the number of experts.
  DSelectK(Index in, Index experts_, Rng& rng, DSelectKOptions options_ = {})
      : select(std::max<Index>(in, 1), std::max<Index>(options_.k, 1) * bits_of(experts_), rng, {.bias = false}),
        mix(std::max<Index>(in, 1), std::max<Index>(options_.k, 1), rng, {.bias = false}),
        options(options_),
        experts(experts_),
        bits(bits_of(experts_)) {
    if (in < 1 || experts < 1) fail("DSelectK: in is ", in, ", experts is ", experts, "; both must be at least 1");
    if (options.k < 1 || options.k > experts)
      fail("DSelectK: k is ", options.k, "; for ", experts, " experts it must be in [1, ", experts, "]");
    if (!(options.gamma > 0)) fail("DSelectK: gamma is ", options.gamma, "; it must be above 0");
    // The authors' start: all near the middle of the step, where every expert has weight and gradient.
    rng.uniform(select.weight.mutate(), -options.gamma / 100, options.gamma / 100);
    rng.uniform(mix.weight.mutate(), -0.05, 0.05);
  }

  Tensor<T> operator()(const Tensor<T>& x) const {
    return sum(reshape(softmax(mix(x), -1), {x.shape()[0], options.k, 1}) * choices(x), {1});
  }
  /// Per sample the entropy of the k choices, and sum 1 / (weight on experts there are) where that can be below 1, [batch, 1]: 0 at
  /// best, or k. To be added to the loss, some 1e-6 times its mean: SharingOptions::penalty.
  Tensor<T> penalty(const Tensor<T>& x) const {
    const Tensor<T> r = choices(x);
    Tensor<T> all = -sum(r * log(r + T(1e-6)), {1, 2});
    if ((Index{1} << bits) != experts) all = all + sum(1 / (sum(r, {2}) + T(1e-6)), {1});
    return reshape(all, {x.shape()[0], 1});
  }
  void fields(auto&& visit) {
    visit("select", select);
    visit("mix", mix);
  }

 private:
  static Index bits_of(Index experts) {
    Index bits = 1;
    while ((Index{1} << bits) < experts) ++bits;
    return bits;
  }
  /// r, [batch, k, experts].
  Tensor<T> choices(const Tensor<T>& x) const {
    if (x.rank() != 2) fail("DSelectK: x is ", x.shape(), "; it must be [batch, ", select.in(), "]");
    const Index batch = x.shape()[0];
    const auto g = static_cast<T>(options.gamma);
    const Tensor<T> half = Tensor<T>::scalar(g / 2),
                    z = minimum(maximum(reshape(select(x), {batch, options.k, bits}), -half), half);
    const Tensor<T> s = z * (T(1.5) / g - z * z * (2 / (g * g * g))) + T(0.5);
    Tensor<T> r;
    for (Index b = 0; b < bits; ++b) {
      Tensor<T> code = Tensor<T>::empty({experts}), rest = Tensor<T>::empty({experts});
      for (Index e = 0; e < experts; ++e) {
        code.raw()[e] = static_cast<T>(e >> b & 1);
        rest.raw()[e] = 1 - code.raw()[e];
      }
      const Tensor<T> step = slice(s, 2, b, b + 1), factor = step * (code - rest) + rest;
      r = b == 0 ? factor : r * factor;
    }
    return r;
  }
};
DSelectK(Index, Index, Rng&)->DSelectK<float>;
DSelectK(Index, Index, Rng&, DSelectKOptions)->DSelectK<float>;

}  // namespace espalier::inline ESPALIER_ABI
