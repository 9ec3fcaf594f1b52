#pragma once
// Modules are plain structs: fields, and a const call operator from tensor to tensor.
//
//   struct Scale {                                                      // a module of one's own
//     Tensor<float> factor = parameter(Tensor<float>::ones({1}));
//     Tensor<float> operator()(const Tensor<float>& x) const { return x * factor; }
//     void fields(auto&& visit) { visit("factor", factor); }
//   };
//
// A module that behaves differently in training takes the Pass as well: `operator()(x, pass)`. One that reads tokens or masks
// takes an `Input<T>` or a `Tensor<Index>`. Functions and lambdas are modules without fields. AnyModule<T> holds any of them.

#include "espalier/core/owned.hpp"
#include "espalier/nn/pass.hpp"
#include "espalier/ops/linalg.hpp"
#include "espalier/tensor/fields.hpp"
#include "espalier/tensor/values.hpp"

namespace espalier::inline ESPALIER_ABI {

/// What can be called with an X (and perhaps a Pass) and gives a Tensor<T>.
template <class M, class T, class X>
concept CallableWith = requires(const M& m, const X& x, Pass& pass) {
  { m(x) } -> std::convertible_to<Tensor<T>>;
} || requires(const M& m, const X& x, Pass& pass) {
  { m(x, pass) } -> std::convertible_to<Tensor<T>>;
};
template <class M, class T = float>
concept ModuleFor = CallableWith<M, T, Tensor<T>> || CallableWith<M, T, Input<T>> || CallableWith<M, T, Tensor<Index>>;

/// The activation that a module is, when a layer before it can do it in the same pass.
template <class M>
inline constexpr Activation activation_of = Activation::none;
template <>
inline constexpr Activation activation_of<ReLU> = Activation::relu;

/// Calls a module, with the pass where it takes one.
template <class M, class X>
auto call(const M& module, const X& x, Pass* pass) {
  if constexpr (requires(Pass& p) { module(x, p); }) {
    if (pass) return module(x, *pass);
    if constexpr (requires { module(x); }) return module(x);
    else fail("module: it can only be called with a Pass; give it a call operator without one for inference");
  } else {
    return module(x);
  }
}

/// A module of any type: a value that copies as modules do (handles are shared; `clone` is deep).
template <Differentiable T = float>
class AnyModule {
 public:
  AnyModule() = default;
  template <class M>
    requires(!std::same_as<std::decay_t<M>, AnyModule> && ModuleFor<std::decay_t<M>, T>)
  AnyModule(M&& module) : held_(new Held<std::decay_t<M>>(std::forward<M>(module))) {
    static_assert(!hides_tensors<std::decay_t<M>>,
                  "module: a struct that holds tensors or layers lists them in `void fields(auto&& visit)`, or they are neither "
                  "trained nor saved; if it holds none, an empty one says so: `void fields(auto&&) {}`");
  }

  explicit operator bool() const { return static_cast<bool>(held_); }
  /// Throws Error when there is no module.
  Tensor<T> operator()(const Tensor<T>& x, Pass* pass = nullptr) const { return held().call(x, pass); }
  Tensor<T> operator()(const Tensor<T>& x, Pass& pass) const { return held().call(x, &pass); }
  Tensor<T> operator()(const Input<T>& input, Pass* pass = nullptr) const { return held().call(input, pass); }

  /// See activation_of.
  Activation activation() const { return held().activation(); }
  /// Whether `fused` works.
  bool fuses() const { return held().fuses(); }
  /// The module followed by an activation, in one pass.
  Tensor<T> fused(const Tensor<T>& x, Activation activation) const { return held().fused(x, activation); }

  /// The module as an M, or null when it is another type.
  template <class M>
  M* as() {
    return held_ && held_->type() == &type_tag<M> ? &static_cast<Held<M>&>(*held_).module : nullptr;
  }
  void fields(Visitor& visit) {
    if (held_) held_->fields(visit);
  }

 private:
  template <class M>
  static constexpr char type_tag = 0;

  struct Base {
    virtual ~Base() = default;
    virtual Tensor<T> call(const Tensor<T>& x, Pass* pass) const = 0;
    virtual Tensor<T> call(const Input<T>& input, Pass* pass) const = 0;
    virtual Activation activation() const = 0;
    virtual bool fuses() const = 0;
    virtual Tensor<T> fused(const Tensor<T>& x, Activation activation) const = 0;
    virtual const void* type() const = 0;
    virtual void fields(Visitor& visit) = 0;
    virtual Base* copy() const = 0;
  };
  template <class M>
  struct Held final : Base {
    M module;
    explicit Held(M m) : module(std::move(m)) {}

    Tensor<T> call(const Tensor<T>& x, Pass* pass) const override {
      if constexpr (CallableWith<M, T, Tensor<T>>) return espalier::call(module, x, pass);
      else return call(Input<T>(x), pass);
    }
    Tensor<T> call(const Input<T>& input, Pass* pass) const override {
      if constexpr (CallableWith<M, T, Input<T>>) {
        return espalier::call(module, input, pass);
      } else if constexpr (CallableWith<M, T, Tensor<T>>) {
        if (!input.values.defined()) fail("module: it takes values [batch, ...], but the input has tokens only");
        return espalier::call(module, input.values, pass);
      } else {
        if (!input.tokens.defined()) fail("module: it takes tokens [batch, steps], but the input has values only");
        return espalier::call(module, input.tokens, pass);
      }
    }
    Activation activation() const override {
      return activation_of<M>;
    }
    static constexpr bool can_fuse = requires(const M& m, const Tensor<T>& x) { m.fused(x, Activation::relu); };
    bool fuses() const override { return can_fuse; }
    Tensor<T> fused(const Tensor<T>& x, Activation a) const override {
      if constexpr (can_fuse) return module.fused(x, a);
      else fail("module: it cannot take an activation along");
    }
    const void* type() const override { return &type_tag<M>; }
    void fields(Visitor& visit) override {
      if constexpr (std::is_class_v<M>) walk(module, visit);  // a pointer to a function has none
    }
    Base* copy() const override { return new Held(module); }
  };

  const Base& held() const {
    if (!held_) fail("module: it is empty; assign a module to it first");
    return *held_;
  }

  Owned<Base> held_;
};

// ---- parameters ------------------------------------------------------------------------------------------------------

/// A model's parameters by path, in the order of its fields; a tensor used twice appears once. Handles, not copies.
template <Differentiable T = float>
using Parameters = NamedList<Tensor<T>>;

namespace detail {

/// Does the same for every tensor type and nothing for numbers.
template <class F>
class TensorVisitor final : public Visitor {
 public:
  explicit TensorVisitor(F f) : f_(std::move(f)) {}

 private:
  void tensor(Tensor<float>& field) override { f_(path(), field); }
  void tensor(Tensor<double>& field) override { f_(path(), field); }
  void tensor(Tensor<Index>& field) override { f_(path(), field); }
  void tensor(Tensor<bool>& field) override { f_(path(), field); }
  F f_;
};

template <class Object, class F>
void each_tensor(Object& object, F f) {
  TensorVisitor<F> visitor(std::move(f));
  walk(object, visitor);
}

}  // namespace detail

/// The parameters of anything with fields. Names them after their paths, so that messages can.
template <Differentiable T = float, class Model>
Parameters<T> parameters(Model& model) {
  static_assert(!hides_tensors<Model>, "parameters: a model lists its layers and tensors in `void fields(auto&& visit)`");
  std::vector<Named<Tensor<T>>> found;
  std::vector<std::uint64_t> seen;
  detail::each_tensor(model, [&](const std::string& path, auto& tensor) {
    if constexpr (std::same_as<std::remove_cvref_t<decltype(tensor)>, Tensor<T>>) {
      Leaf<T>* leaf = leaf_of(tensor);
      if (!leaf) return;
      if (leaf->name.empty() || leaf->name == path) leaf->name = path;
      seen.push_back(detail::key_of(leaf));
      found.push_back({path, tensor});
    }
  });
  // Ties: keep the first of each leaf.
  const std::vector<std::size_t> first = detail::first_places(seen);
  std::vector<Named<Tensor<T>>> unique;
  for (std::size_t i = 0; i < found.size(); ++i)
    if (first[i] == i) unique.push_back(std::move(found[i]));
  return Parameters<T>(std::move(unique));
}

/// The same of a const object: the handles are what it holds.
template <Differentiable T = float, class Model>
Parameters<T> parameters(const Model& model) {
  return parameters<T>(const_cast<Model&>(model));  // `fields` is for readers and writers alike
}

/// Says whose the parameters of an object are.
template <Differentiable T = float, class Object>
void set_owner(Object& object, const Owner& owner) {
  detail::each_tensor(object, [&](const std::string&, auto& tensor) {
    if constexpr (std::same_as<std::remove_cvref_t<decltype(tensor)>, Tensor<T>>)
      if (Leaf<T>* leaf = leaf_of(tensor)) leaf->owner = owner;
  });
}

/// A deep copy: parameters and buffers of its own, ties kept. (Copying a module copies handles, as in PyTorch.)
template <class Model>
Model clone(const Model& model) {
  Model copy = model;
  std::vector<std::uint64_t> ids;  // of the values; a parameter's is its leaf
  detail::each_tensor(copy, [&](const std::string&, auto& tensor) {
    using T = typename std::remove_cvref_t<decltype(tensor)>::value_type;
    std::uint64_t id = tensor.defined() ? detail::key_of(tensor.data()) : 0;
    if constexpr (Differentiable<T>)
      if (const Leaf<T>* leaf = leaf_of(tensor)) id = detail::key_of(leaf);
    ids.push_back(id);
  });
  const std::vector<std::size_t> first = detail::first_places(ids);
  std::vector<void*> cloned;  // the tensors visited so far
  detail::each_tensor(copy, [&](const std::string&, auto& tensor) {
    using T = typename std::remove_cvref_t<decltype(tensor)>::value_type;
    const std::size_t at = cloned.size();
    cloned.push_back(&tensor);
    if (!tensor.defined()) return;
    if (first[at] < at)  // tied to an earlier one
      if (const auto& twin = *static_cast<const Tensor<T>*>(cloned[first[at]]); twin.shape() == tensor.shape()) {
        tensor = twin;
        return;
      }
    Tensor<T> fresh = tensor.clone();
    if constexpr (Differentiable<T>)
      if (const Leaf<T>* leaf = leaf_of(tensor)) {
        fresh = parameter(std::move(fresh));
        leaf_of(fresh)->owner = leaf->owner;
        leaf_of(fresh)->name = leaf->name;
        leaf_of(fresh)->frozen = leaf->frozen;
      }
    fresh.buffer()->frozen = tensor.buffer()->frozen;
    tensor = std::move(fresh);
  });
  return copy;
}

}  // namespace espalier::inline ESPALIER_ABI
