#pragma once
// SGD: gradient descent, with momentum (plain or Nesterov's) on request; PyTorch's formulas.

#include <array>

#include "espalier/optim/optimizer.hpp"

namespace espalier::inline ESPALIER_ABI {

struct SGDOptions {
  double lr = 1e-3;
  double momentum = 0;
  bool nesterov = false;
  double weight_decay = 0;  // added to the gradient, as weight_decay * value
  double dampening = 0;     // of the gradient on its way into the momentum
};

namespace detail {

/// buffer = momentum * buffer + (1 - dampening) * g, the first time buffer = g;
/// value -= lr * buffer, with Nesterov's momentum value -= lr * (g + momentum * buffer).
template <class T>
class SGDRule {
 public:
  static constexpr std::string_view name = "SGD";
  static constexpr std::array<std::string_view, 1> moments{"momentum_buffer"};
  Index kept() const { return options_.momentum != 0 ? 1 : 0; }

  struct Update {
    T rate, decay;
    T keep, take;  // of the buffer
    T ahead;       // Nesterov's share of the buffer
    bool momentum, nesterov;

    template <class V>
    ESPALIER_INLINE void operator()(V& p, V g) const {
      if (decay != 0) g = fma(V(decay), p, g);
      p = fma(V(-rate), g, p);
    }
    template <class V>
    ESPALIER_INLINE void operator()(V& p, V g, V& buffer) const {
      if (decay != 0) g = fma(V(decay), p, g);
      buffer = fma(V(keep), buffer, V(take) * g);
      p = fma(V(-rate), nesterov ? fma(V(ahead), buffer, g) : buffer, p);
    }
  };

  explicit SGDRule(const SGDOptions& options) : options_(options) {
    require_not_negative(name, "momentum", options.momentum);
    require_not_negative(name, "weight_decay", options.weight_decay);
    if (options.nesterov && !(options.momentum > 0 && options.dampening == 0))
      fail(name, ": nesterov is set, momentum is ", options.momentum, ", dampening is ", options.dampening,
           "; nesterov needs a momentum above 0 and no dampening");
  }

  Update at(Index step, double lr) const {
    const bool first = step == 1;
    return {static_cast<T>(lr),
            static_cast<T>(options_.weight_decay),
            static_cast<T>(first ? 0 : options_.momentum),
            static_cast<T>(first ? 1 : 1 - options_.dampening),
            static_cast<T>(options_.momentum),
            options_.momentum != 0,
            options_.nesterov};
  }

  static void apply(Index n, const Update& update, T* value, const T* gradient, T* state, Index) {
    if (update.momentum)
      kernels::update_span(n, update, value, gradient, state);
    else
      kernels::update_span(n, update, value, gradient);
  }

 private:
  SGDOptions options_;
};

}  // namespace detail

/// Stochastic gradient descent. Its state, the momentum, starts at the first gradient that a parameter gets.
/// Throws Error as Optimizer does, for a negative momentum or weight decay, and for `nesterov` without momentum or with
/// dampening.
template <Differentiable T = float>
class SGD : public Optimizer<T, detail::SGDRule<T>> {
 public:
  explicit SGD(NamedList<Tensor<T>> parameters, const SGDOptions& options = {})
      : Optimizer<T, detail::SGDRule<T>>(std::move(parameters), options.lr, detail::SGDRule<T>(options)) {}
};

}  // namespace espalier::inline ESPALIER_ABI
