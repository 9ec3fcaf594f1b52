#pragma once
// How far two tensors, or lists of tensors, are apart.

#include <cmath>
#include <vector>

#include "espalier/tensor/tensor.hpp"

namespace support {

/// The largest |a - b| / (1 + |b|); infinite for different shapes, and where one side alone is NaN or infinite.
template <class T>
double difference(const espalier::Tensor<T>& a, const espalier::Tensor<T>& b) {
  if (a.defined() != b.defined() || !(a.shape() == b.shape())) return HUGE_VAL;
  double worst = 0;
  for (espalier::Index i = 0; a.defined() && i < a.size(); ++i) {
    const auto x = static_cast<double>(a.data()[i]), y = static_cast<double>(b.data()[i]);
    if (x == y || (std::isnan(x) && std::isnan(y))) continue;
    const double d = std::abs(x - y) / (1 + std::abs(y));
    worst = d <= worst ? worst : std::isfinite(d) ? d : HUGE_VAL;
  }
  return worst;
}
template <class T>
double difference(const std::vector<espalier::Tensor<T>>& a, const std::vector<espalier::Tensor<T>>& b) {
  if (a.size() != b.size()) return HUGE_VAL;
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) worst = std::max(worst, difference(a[i], b[i]));
  return worst;
}

/// Equal shapes and equal bits.
template <class T>
bool same_bits(const espalier::Tensor<T>& a, const espalier::Tensor<T>& b) {
  return a.shape() == b.shape() &&
         std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.size()) * sizeof(T)) == 0;
}

template <class T>
std::vector<T> list(const espalier::Tensor<T>& x) {
  return {x.values().begin(), x.values().end()};
}

}  // namespace support
