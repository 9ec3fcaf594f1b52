#pragma once
// Adam and AdamW, with PyTorch's formulas and defaults.

#include <array>

#include "espalier/optim/optimizer.hpp"

namespace espalier::inline ESPALIER_ABI {

namespace kernels {

/// x / y for y at least the smallest normal number, to about an ulp; a NaN comes through in x only. Division and
/// square root wait for the same slow unit, so where the processor fuses, float divides by its multipliers instead: a
/// guess from the exponent, then two cubic steps. No table of the processor's own takes part, so all processors of one
/// ISA give the same bits.
template <class T, int Bytes>
ESPALIER_INLINE pack<T, Bytes> quotient(const pack<T, Bytes>& x, const pack<T, Bytes>& y) {
  using V = pack<T, Bytes>;
  if constexpr (sizeof(T) == 4 && V::fused) {
    const V bounded = min(V(T(8e37)), y);             // an infinite y still gives about 0
    V r = V::from_bits(0x7ef311c3 - bounded.bits());  // 1 / y to 12 %
    for (int i = 0; i < 2; ++i) {
      const V e = fma(-bounded, r, V(1));
      r = fma(r, fma(e, e, e), r);
    }
    return x * r;
  } else {
    return x / y;
  }
}

}  // namespace kernels

struct AdamOptions {
  double lr = 1e-3;
  double beta1 = 0.9, beta2 = 0.999;
  double eps = 1e-8;        // added outside the square root
  double weight_decay = 0;  // added to the gradient, as weight_decay * value
};
struct AdamWOptions {
  double lr = 1e-3;
  double beta1 = 0.9, beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0.01;  // takes the share lr * weight_decay off the value, beside the update
};

namespace detail {

/// With m and v the running means of g and g^2:
///   value -= lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
/// computed as rate * m / (sqrt(v) + margin), which is the same with one division less.
template <class T, bool decoupled>
class AdamRule {
 public:
  static constexpr std::string_view name = decoupled ? "AdamW" : "Adam";
  static constexpr std::array<std::string_view, 2> moments{"exp_avg", "exp_avg_sq"};
  static constexpr Index kept() { return 2; }

  struct Update {
    T keep1, take1, keep2, take2;  // of m and v
    T rate, margin;
    T decay, shrink;  // weight decay: within the gradient, or as a factor of the value

    template <class V>
    ESPALIER_INLINE void operator()(V& p, V g, V& m, V& v) const {
      if (decay != 0) g = fma(V(decay), p, g);
      m = fma(V(keep1), m, V(take1) * g);
      v = fma(V(keep2), v, V(take2) * g * g);
      p = fma(V(-rate), kernels::quotient(m, sqrt(v) + V(margin)), p * V(shrink));
    }
  };

  template <class Options>
  explicit AdamRule(const Options& o) : beta1_(o.beta1), beta2_(o.beta2), eps_(o.eps), weight_decay_(o.weight_decay) {
    require_below_one(name, "beta1", beta1_);
    require_below_one(name, "beta2", beta2_);
    require_not_negative(name, "eps", eps_);
    require_not_negative(name, "weight_decay", weight_decay_);
  }

  Update at(Index step, double lr) {
    Correction& c = corrections_[static_cast<std::size_t>(step) % corrections_.size()];
    if (c.step != step) {
      const auto t = static_cast<double>(step);
      c = {step, 1 - std::pow(beta1_, t), std::sqrt(1 - std::pow(beta2_, t))};
    }
    // Never 0, so that a gradient that has always been 0 moves nothing, whatever eps.
    const T margin = std::max(static_cast<T>(eps_ * c.second), std::numeric_limits<T>::min());
    return {static_cast<T>(beta1_),
            static_cast<T>(1 - beta1_),
            static_cast<T>(beta2_),
            static_cast<T>(1 - beta2_),
            static_cast<T>(lr * c.second / c.first),
            margin,
            static_cast<T>(decoupled ? 0 : weight_decay_),
            static_cast<T>(decoupled ? 1 - lr * weight_decay_ : 1)};
  }

  static void apply(Index n, const Update& update, T* value, const T* gradient, T* state, Index stride) {
    kernels::update_span(n, update, value, gradient, state, state + stride);
  }

 private:
  struct Correction {
    Index step = 0;
    double first = 0, second = 0;  // 1 - beta1^t and sqrt(1 - beta2^t)
  };

  double beta1_, beta2_, eps_, weight_decay_;
  std::array<Correction, 64> corrections_;  // pow costs more than a small span, and heads differ in their counts
};

}  // namespace detail

/// Adam (Kingma and Ba 2015, arXiv 1412.6980).
/// Throws Error as Optimizer does, and for a beta outside [0, 1) and a negative eps or weight decay.
template <Differentiable T = float>
class Adam : public Optimizer<T, detail::AdamRule<T, false>> {
 public:
  explicit Adam(NamedList<Tensor<T>> parameters, const AdamOptions& options = {})
      : Optimizer<T, detail::AdamRule<T, false>>(std::move(parameters), options.lr,
                                                 detail::AdamRule<T, false>(options)) {}
};

/// Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv 1711.05101). Throws as Adam does.
template <Differentiable T = float>
class AdamW : public Optimizer<T, detail::AdamRule<T, true>> {
 public:
  explicit AdamW(NamedList<Tensor<T>> parameters, const AdamWOptions& options = {})
      : Optimizer<T, detail::AdamRule<T, true>>(std::move(parameters), options.lr, detail::AdamRule<T, true>(options)) {
  }
};

}  // namespace espalier::inline ESPALIER_ABI
