#pragma once
// Sequential: modules one after another, named "0", "1", ...

#include "espalier/nn/linear.hpp"

namespace espalier::inline ESPALIER_ABI {

/// Calls its modules in order. A layer followed by an activation it can fuse runs with it as one operation.
template <Differentiable T = float>
class Sequential {
 public:
  Sequential() = default;
  template <class First, class... Rest>
    requires(!std::same_as<std::decay_t<First>, Sequential> && ModuleFor<std::decay_t<First>, T> &&
             (ModuleFor<std::decay_t<Rest>, T> && ...))
  explicit Sequential(First&& first, Rest&&... rest) {
    modules_.reserve(1 + sizeof...(rest));
    modules_.emplace_back(std::forward<First>(first));
    (modules_.emplace_back(std::forward<Rest>(rest)), ...);
    name();
  }
  explicit Sequential(std::vector<AnyModule<T>> modules) : modules_(std::move(modules)) { name(); }

  Tensor<T> operator()(const Tensor<T>& x) const { return run(x, nullptr); }
  Tensor<T> operator()(const Tensor<T>& x, Pass& pass) const { return run(x, &pass); }
  Index size() const { return static_cast<Index>(modules_.size()); }
  /// A module, which may be replaced. Throws Error when there is none of this number.
  AnyModule<T>& operator[](Index i);
  void fields(auto&& visit) {
    for (std::size_t i = 0; i < modules_.size(); ++i) visit(std::to_string(i), modules_[i]);
  }

 private:
  void name();
  Tensor<T> run(const Tensor<T>& x, Pass* pass) const;

  std::vector<AnyModule<T>> modules_;
  std::vector<std::uint64_t> hashes_;
};

template <Differentiable T>
void Sequential<T>::name() {
  for (std::size_t i = 0; i < modules_.size(); ++i) {
    if (!modules_[i]) fail("Sequential: module ", i, " is empty");
    hashes_.push_back(detail::hash_name(std::to_string(i)));
  }
}

template <Differentiable T>
Tensor<T> Sequential<T>::run(const Tensor<T>& x, Pass* pass) const {
  Tensor<T> y = x;
  for (std::size_t i = 0; i < modules_.size(); ++i) {
    // Asked at every call, which costs next to nothing, as modules may have been replaced.
    if (i + 1 < modules_.size() && modules_[i].fuses())
      if (const Activation next = modules_[i + 1].activation(); next != Activation::none) {
        y = modules_[i++].fused(y, next);
        continue;
      }
    if (pass) {
      const Pass::Scope scope(*pass, hashes_[i]);
      y = modules_[i](y, pass);
    } else {
      y = modules_[i](y);
    }
  }
  return y;
}

template <Differentiable T>
AnyModule<T>& Sequential<T>::operator[](Index i) {
  if (i < 0 || i >= size()) fail("Sequential: module ", i, " is asked for; there are ", size(), ", counted from 0");
  return modules_[static_cast<std::size_t>(i)];
}

template <class... M>
Sequential(M&&...) -> Sequential<float>;

}  // namespace espalier::inline ESPALIER_ABI
