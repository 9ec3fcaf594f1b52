#pragma once
// Identity: the module that does nothing, for a place that needs one.

#include "espalier/nn/module.hpp"

namespace espalier::inline ESPALIER_ABI {

/// y = x: an encoder for inputs that are features already, or a layer switched off.
struct Identity {
  template <Differentiable T>
  Tensor<T> operator()(const Tensor<T>& x) const {
    return x;
  }
};

}  // namespace espalier::inline ESPALIER_ABI
