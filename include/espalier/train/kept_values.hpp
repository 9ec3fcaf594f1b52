#pragma once
// KeptValues: the values of all of a model's tensors at one time, beside the model: those of the best epoch, while training goes
// on.

#include <algorithm>
#include <vector>

#include "espalier/model/model_ref.hpp"

namespace espalier::inline ESPALIER_ABI {

/// The model must be of one structure throughout.
template <Differentiable T = float>
class KeptValues {
 public:
  /// Makes room, and takes the values that there are.
  void make(ModelRef<T>& model) {
    each(model, [&](auto& tensor) { this->list(tensor).push_back(tensor.clone()); });
  }
  /// Takes the model's values.
  void take(ModelRef<T>& model) {
    each_pair(model, [](auto values, auto kept) { std::copy(values.begin(), values.end(), kept.begin()); });
  }
  /// The kept values come into the model, and the model's are kept.
  void swap(ModelRef<T>& model) {
    each_pair(model, [](auto values, auto kept) { std::swap_ranges(values.begin(), values.end(), kept.begin()); });
  }
  void fields(auto&& visit) {
    visit("float", float_);
    visit("double", double_);
    visit("index", index_);
    visit("bool", bool_);
  }

 private:
  template <class F>
  static void each(ModelRef<T>& model, F f) {
    detail::each_tensor(model, [&](const std::string&, auto& tensor) {
      if (tensor.defined()) f(tensor);
    });
  }
  template <class U>
  std::vector<Tensor<U>>& list(const Tensor<U>&) {
    if constexpr (std::same_as<U, float>) return float_;
    else if constexpr (std::same_as<U, double>) return double_;
    else if constexpr (std::same_as<U, Index>) return index_;
    else return bool_;
  }
  /// Calls f(values of the model, values kept) for every tensor.
  template <class F>
  [[gnu::cold]] void each_pair(ModelRef<T>& model, F f) {
    std::size_t at[4] = {};
    each(model, [&](auto& tensor) {
      using U = typename std::remove_cvref_t<decltype(tensor)>::value_type;
      constexpr std::size_t kind = std::same_as<U, float> ? 0 : std::same_as<U, double> ? 1 : std::same_as<U, Index> ? 2 : 3;
      Tensor<U>& kept = this->list(tensor)[at[kind]++];
      f(tensor.mutate(), kept.mutate());
    });
  }

  std::vector<Tensor<float>> float_;
  std::vector<Tensor<double>> double_;
  std::vector<Tensor<Index>> index_;
  std::vector<Tensor<bool>> bool_;
};

}  // namespace espalier::inline ESPALIER_ABI
