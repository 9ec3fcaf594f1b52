#pragma once
// Freezing: parameters that training leaves as they are, bit for bit, and their optimizer's state with them.
//
//   freeze(model.trunk());                 // a part of a model, with its batch statistics
//   freeze(model, "task price");           // what an owner has, by the name that `summary` prints: shared, task x, modality y
//   unfreeze(model);                       // everything
//
// A frozen parameter takes no gradient, so no optimizer, clipping or aggregator sees it, and what lies behind it still gets its
// own. A frozen BatchNorm normalises with its running statistics. Dropout goes on. Being frozen is not part of a checkpoint.

#include "espalier/nn/module.hpp"

namespace espalier::inline ESPALIER_ABI {

namespace detail {
template <class T>
void set_frozen(Tensor<T>& tensor, bool on) {
  if constexpr (Differentiable<T>)
    if (Leaf<T>* leaf = leaf_of(tensor)) return leaf->set_frozen(on);
  if (tensor.defined()) tensor.buffer()->frozen = on;
}
template <class Object>
void set_frozen(std::string_view who, Object& object, std::string_view owner, bool on) {
  std::string known;
  bool any = false;
  each_tensor(object, [&](const std::string&, auto& tensor) {
    if constexpr (Differentiable<typename std::remove_cvref_t<decltype(tensor)>::value_type>)
      if (auto* leaf = leaf_of(tensor)) {
        const std::string text = leaf->owner.text();
        if (text == owner)
          leaf->set_frozen(on), any = true;
        else if ((", " + known + ",").find(", " + text + ",") == std::string::npos)
          known += (known.empty() ? "" : ", ") + text;
      }
  });
  if (!any) fail(who, ": no parameter is owned by '", owner, "'; owners: ", known.empty() ? "none" : known);
}
}  // namespace detail

/// Freezes all tensors of an object: its parameters, and buffers such as running statistics. Gradients that have arrived are
/// dropped.
template <class Object>
void freeze(Object& object) {
  detail::each_tensor(object, [](const std::string&, auto& tensor) { detail::set_frozen(tensor, true); });
}
/// Lets all of it be trained again.
template <class Object>
void unfreeze(Object& object) {
  detail::each_tensor(object, [](const std::string&, auto& tensor) { detail::set_frozen(tensor, false); });
}
/// The parameters of one owner alone. Throws Error when there is none, listing the owners. Statistics have no owner: those of a
/// BatchNorm without weights are frozen with the layer only.
template <class Object>
void freeze(Object& object, std::string_view owner) {
  detail::set_frozen("freeze", object, owner, true);
}
template <class Object>
void unfreeze(Object& object, std::string_view owner) {
  detail::set_frozen("unfreeze", object, owner, false);
}
/// Whether a parameter takes no gradient.
template <Differentiable T>
bool frozen(const Tensor<T>& parameter) {
  const Leaf<T>* leaf = leaf_of(parameter);
  return leaf && leaf->frozen;
}

}  // namespace espalier::inline ESPALIER_ABI
