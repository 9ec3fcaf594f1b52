#pragma once
// Initialisers with PyTorch's names and numbers. They fill a tensor in place and count as an update of it:
//
//   Linear layer{64, 10, rng};
//   xavier_uniform_(layer.weight, rng);

#include <cmath>

#include "espalier/tensor/tensor.hpp"

namespace espalier::inline ESPALIER_ABI {

/// What follows a layer; `calculate_gain` says by how much its weights must grow to make up for it.
enum class Nonlinearity : unsigned char { linear, sigmoid, tanh, relu, leaky_relu, selu };
/// Which variance stays as it is: that of the values on their way forward, or of the gradients on their way back.
enum class FanMode : unsigned char { fan_in, fan_out };

struct XavierOptions {
  double gain = 1;
};
struct KaimingOptions {
  double a = 0;  // the negative slope of leaky_relu
  FanMode mode = FanMode::fan_in;
  Nonlinearity nonlinearity = Nonlinearity::leaky_relu;
};

/// The factor PyTorch recommends; `a` is the negative slope of leaky_relu.
inline double calculate_gain(Nonlinearity nonlinearity, double a = 0.01) {
  switch (nonlinearity) {
    case Nonlinearity::tanh: return 5.0 / 3;
    case Nonlinearity::relu: return std::sqrt(2.0);
    case Nonlinearity::leaky_relu: return std::sqrt(2 / (1 + a * a));
    case Nonlinearity::selu: return 0.75;
    default: return 1;
  }
}

namespace detail {

/// The inputs that reach one output of a weight [out, in, kernel...], and the outputs that one input reaches.
struct Fans {
  double in, out;
  Fans(const Shape& shape, std::string_view op) {
    if (shape.rank() < 2) fail(op, ": weight is ", shape, "; it must be [out, in, ...], with at least two axes");
    const auto kernel = static_cast<double>(shape.span(2, shape.rank()));
    in = static_cast<double>(shape[1]) * kernel;
    out = static_cast<double>(shape[0]) * kernel;
  }
};

template <class T>
void fill_uniform(Tensor<T>& weight, double bound, Rng& rng) {
  if (weight.size() > 0) rng.uniform(weight.mutate(), -bound, bound);
}
template <class T>
void fill_normal(Tensor<T>& weight, double deviation, Rng& rng) {
  if (weight.size() == 0) return;
  const Draws draws = rng.next();
  std::uint64_t i = 0;
  for (T& w : weight.mutate()) w = static_cast<T>(deviation * draws.normal(i++));
}
inline double xavier_deviation(const Shape& shape, XavierOptions options, std::string_view op) {
  const Fans fans(shape, op);
  return options.gain * std::sqrt(2 / (fans.in + fans.out));
}
inline double kaiming_deviation(const Shape& shape, KaimingOptions options, std::string_view op) {
  const Fans fans(shape, op);
  const double fan = options.mode == FanMode::fan_in ? fans.in : fans.out;
  return calculate_gain(options.nonlinearity, options.a) / std::sqrt(fan);
}

}  // namespace detail

/// Uniform in +-gain sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio, AISTATS 2010). Advances the generator. This and the
/// others throw Error when the weight has fewer than two axes or is borrowed memory.
template <Differentiable T>
void xavier_uniform_(Tensor<T> weight, Rng& rng, XavierOptions options = {}) {
  const double deviation = detail::xavier_deviation(weight.shape(), options, "xavier_uniform_");
  detail::fill_uniform(weight, std::sqrt(3.0) * deviation, rng);
}
/// Normal with standard deviation gain sqrt(2 / (fan_in + fan_out)).
template <Differentiable T>
void xavier_normal_(Tensor<T> weight, Rng& rng, XavierOptions options = {}) {
  detail::fill_normal(weight, detail::xavier_deviation(weight.shape(), options, "xavier_normal_"), rng);
}
/// Uniform in +-gain sqrt(3 / fan) (He et al. 2015, arXiv 1502.01852). Advances the generator.
template <Differentiable T>
void kaiming_uniform_(Tensor<T> weight, Rng& rng, KaimingOptions options = {}) {
  const double deviation = detail::kaiming_deviation(weight.shape(), options, "kaiming_uniform_");
  detail::fill_uniform(weight, std::sqrt(3.0) * deviation, rng);
}
/// Normal with standard deviation gain / sqrt(fan).
template <Differentiable T>
void kaiming_normal_(Tensor<T> weight, Rng& rng, KaimingOptions options = {}) {
  detail::fill_normal(weight, detail::kaiming_deviation(weight.shape(), options, "kaiming_normal_"), rng);
}

}  // namespace espalier::inline ESPALIER_ABI
