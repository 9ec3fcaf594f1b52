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
    requires(!std::same_as<std::remove_cvref_t<First>, Sequential> && ModuleFor<std::remove_cvref_t<First>, T> &&
             (ModuleFor<std::remove_cvref_t<Rest>, T> && ...))
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
  AnyModule<T>& operator[](Index i) { return modules_[static_cast<std::size_t>(i)]; }
  void fields(auto&& visit) {
    for (std::size_t i = 0; i < modules_.size(); ++i) visit(std::to_string(i), modules_[i]);
  }

 private:
  void name() {
    for (std::size_t i = 0; i < modules_.size(); ++i) {
      if (!modules_[i]) fail("Sequential: module ", i, " is empty");
      hashes_.push_back(detail::hash_name(std::to_string(i)));
      const bool fuse = i + 1 < modules_.size() && modules_[i].fuses() && modules_[i + 1] &&
                        modules_[i + 1].activation() != Activation::none;
      fused_.push_back(fuse ? modules_[i + 1].activation() : Activation::none);
    }
  }
  Tensor<T> run(const Tensor<T>& x, Pass* pass) const {
    Tensor<T> y = x;
    for (std::size_t i = 0; i < modules_.size(); ++i) {
      if (fused_[i] != Activation::none) {
        y = modules_[i].fused(y, fused_[i]);
        ++i;
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

  std::vector<AnyModule<T>> modules_;
  std::vector<std::uint64_t> hashes_;
  std::vector<Activation> fused_;
};
template <class... M>
Sequential(M&&...) -> Sequential<float>;

}  // namespace espalier::inline ESPALIER_ABI
