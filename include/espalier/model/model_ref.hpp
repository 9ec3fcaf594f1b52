#pragma once
// ModelRef: a model of any type, by reference, so that evaluation and training are compiled once and not once per model.

#include "espalier/nn/module.hpp"

namespace espalier::inline ESPALIER_ABI {

/// What can be trained and evaluated: an assembly, or any struct whose call operator turns `Inputs<T>` (or, where there is one
/// input only, its tensor) into `Outputs<T>`; with a Pass as the second argument where it behaves differently in training.
template <class M, class T = float>
concept ModelFor = requires(const M& model, const Inputs<T>& inputs, const Tensor<T>& x) {
  { model(inputs) } -> std::same_as<Outputs<T>>;
} || requires(const M& model, const Tensor<T>& x) {
  { model(x) } -> std::same_as<Outputs<T>>;
};

namespace detail {

/// The tensor for a model that takes one. Throws Error when there are several inputs, tokens, or rows without it.
template <class T>
const Tensor<T>& only_input(const Inputs<T>& inputs) {
  if (inputs.size() != 1)
    fail("model: it takes one tensor, the data has ", inputs.size(), " inputs: ", inputs.names(),
         "; use a MultiModalModel, or data of one input");
  const auto& [name, input] = inputs.at(0);
  if (!input.values.defined()) fail("model: it takes a tensor, but input '", name, "' has tokens only");
  if (input.valid.defined())
    for (bool counts : input.valid.values())
      if (!counts)
        fail("model: it takes a tensor, but some steps of input '", name, "' are no data; it must take an Input to know which");
  if (input.present.defined())
    for (bool there : input.present.values())
      if (!there)
        fail("model: it takes a tensor, but some rows lack input '", name, "'; use a MultiModalModel, which knows who has what");
  return input.values;
}

template <class T, class M>
Outputs<T> call_model(const void* address, const Inputs<T>& inputs, Pass* pass) {
  const M& model = *static_cast<const M*>(address);
  const auto with = [&](const auto& x) {
    if (pass) {
      if constexpr (requires { model(x, *pass); }) return model(x, *pass);
      else return model(x);
    }
    const NoGrad no_grad;  // a model without a Pass would record
    return model(x);
  };
  if constexpr (requires { model(inputs); }) return with(inputs);
  else return with(only_input(inputs));
}

}  // namespace detail

/// Refers to a model, which must outlive it.
template <Differentiable T = float>
class ModelRef {
 public:
  template <class M>
    requires(!std::same_as<M, ModelRef> && ModelFor<M, T>)
  ModelRef(const M& model)
      : model_(&model),
        call_(&detail::call_model<T, M>),
        walk_([](const void* m, Visitor& visit) {
          walk(*const_cast<M*>(static_cast<const M*>(m)), visit);  // `fields` is for readers and writers alike
        }),
        notes_([](const void* m) -> std::vector<std::string> {
          if constexpr (requires(const M& named) { named.notes(); }) return static_cast<const M*>(m)->notes();
          else return (void)m, std::vector<std::string>();
        }) {}

  /// Inference.
  Outputs<T> operator()(const Inputs<T>& inputs) const { return call_(model_, inputs, nullptr); }
  /// Recorded.
  Outputs<T> operator()(const Inputs<T>& inputs, Pass& pass) const { return call_(model_, inputs, &pass); }
  void fields(Visitor& visit) { walk_(model_, visit); }
  /// The names of what a recording call notes (Outputs::note): those of the model's `notes()`, where it has such.
  std::vector<std::string> notes() const { return notes_(model_); }

 private:
  const void* model_;
  Outputs<T> (*call_)(const void*, const Inputs<T>&, Pass*);
  void (*walk_)(const void*, Visitor&);
  std::vector<std::string> (*notes_)(const void*);
};

}  // namespace espalier::inline ESPALIER_ABI
