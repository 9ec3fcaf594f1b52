#pragma once
// Included by name. Predictor: a trained model made ready for predictions of single samples or small batches: weights packed
// once in the order in which products read them, layers in one list.

#include <optional>

#include "espalier/model/multi_task_model.hpp"
#include "espalier/nn/dropout.hpp"
#include "espalier/nn/identity.hpp"
#include "espalier/ops/functions.hpp"
#include "espalier/tensor/kernels/gemm_packed.hpp"

namespace espalier::inline ESPALIER_ABI {

namespace detail {

/// What a module does in inference, as a list of steps. Linear layers are packed, activations applied in place, what does
/// nothing left out; any other module is called as it is.
template <class T>
class PackedChain {
 public:
  PackedChain() = default;
  explicit PackedChain(AnyModule<T> module) {
    if (module) add(std::move(module));
  }
  /// A linear layer of these tensors.
  PackedChain(const Tensor<T>& weight, const Tensor<T>& bias) { add(weight, bias); }

  bool empty() const { return steps_.empty(); }
  /// x is [batch, width].
  Tensor<T> operator()(Tensor<T> x) const {
    for (const Step& step : steps_)
      x = step.packed ? product(step, x) : step.function ? mapped(step, std::move(x)) : step.module(x);
    return x;
  }

 private:
  struct Step {
    std::optional<kernels::PackedWeight<T>> packed = {};  // a linear layer ...
    Tensor<T> weight = {}, bias = {};
    std::uint32_t version = 0;
    Activation activation = Activation::none;
    kernels::Block<T, T> function = nullptr;  // ... or an activation ...
    AnyModule<T> module = {};                 // ... or anything else
  };

  void add(const Tensor<T>& weight, const Tensor<T>& bias) {
    steps_.push_back({.packed = kernels::PackedWeight<T>(weight.shape()[0], weight.shape()[1], weight.data()),
                      .weight = weight.detach(),
                      .bias = bias.detach(),
                      .version = weight.version()});
    steps_.back().weight.set_node(weight.node());  // it has the layer's name
  }
  void add(AnyModule<T> module) {
    if (auto* all = module.template as<Sequential<T>>()) {
      for (Index i = 0; i < all->size(); ++i) add((*all)[i]);
    } else if (const auto* layer = module.template as<Linear<T>>()) {
      add(layer->weight, layer->bias);
    } else if (module.template as<ReLU>() && !steps_.empty() && steps_.back().packed &&
               steps_.back().activation == Activation::none) {
      steps_.back().activation = Activation::relu;
    } else if (!module.template as<Identity>() && !module.template as<Dropout>() &&
               !add_function<ReLU, Tanh, Sigmoid, GELU, GELUTanh, Softplus>(module)) {
      steps_.push_back({.module = std::move(module)});
    }
  }
  template <class... Op>
  bool add_function(AnyModule<T>& module) {
    return ((module.template as<Op>() && (steps_.push_back({.function = UnaryTable<T, Op>::op.value}), true)) || ...);
  }

  static Tensor<T> product(const Step& step, const Tensor<T>& x) {
    if (step.weight.version() != step.version) [[unlikely]] stale(step);
    if (x.rank() != 2 || x.shape()[1] != step.packed->in()) [[unlikely]]
      return linear(x, step.weight, step.bias, step.activation);  // which says what is wrong
    const Index rows = x.shape()[0];
    Tensor<T> y = Tensor<T>::empty({rows, step.packed->out()});
    step.packed->apply(rows, x.data(), y.raw(), {step.bias.defined() ? step.bias.data() : nullptr, step.activation});
    return y;
  }
  static Tensor<T> mapped(const Step& step, Tensor<T> x) {
    Tensor<T> y = x.sole() ? x : Tensor<T>::empty(x.shape());
    kernels::map(x.size(), y.raw(), step.function, x.data());
    return y;
  }
  [[noreturn, gnu::cold, gnu::noinline]] static void stale(const Step& step) {
    const Leaf<T>* leaf = leaf_of(step.weight);
    fail("Predictor: the weight ", leaf && !leaf->name.empty() ? join("'", leaf->name, "' ") : "", step.weight.shape(),
         " was changed (by an optimizer step, load() or mutate()) after it had been packed; make a new Predictor of the ",
         "model, or make it of clone(model), which no training changes");
  }

  std::vector<Step> steps_;
};

}  // namespace detail

///   const Predictor predictor{model};              // once the model is trained
///   auto price = predictor(x)["price"];            // the bits of model(x)["price"], for any number of rows, sooner
/// Const, and safe from several threads. The weights stay the model's: where training, loading or mutate() has changed them
/// since, a call throws Error. Predictor{clone(model)} is independent of the model and predicts with what it was made
/// of. Modules put in place of others in the model later are not seen.
template <Differentiable T = float>
class Predictor {
 public:
  explicit Predictor(const MultiTaskModel<T>& model) : model_(model), trunk_(model_.trunk()) {
    Heads<T>& heads = model_.heads();
    if (heads.packed_weight().defined()) block_ = detail::PackedChain<T>(heads.packed_weight(), heads.packed_bias());
    layout_ = heads.layout();
    for (Index i = 0; i < heads.size(); ++i)
      if (!layout_->places[static_cast<std::size_t>(i)].packed()) separate_.emplace_back(heads[i]);
  }

  /// What model(x) gives.
  Outputs<T> operator()(const Tensor<T>& x) const {
    if (!x.defined() || x.rank() != 2) return model_(x);
    const NoGrad no_grad;
    const Tensor<T> features = trunk_(x.detach());
    Tensor<T> block = block_.empty() ? Tensor<T>() : block_(features);
    PoolVector<Tensor<T>> separate;
    for (const auto& head : separate_) separate.push_back(head(features));
    return Outputs<T>(layout_, std::move(block), std::move(separate));
  }

 private:
  MultiTaskModel<T> model_;  // holds the weights
  detail::PackedChain<T> trunk_, block_;
  std::vector<detail::PackedChain<T>> separate_;
  Shared<OutputLayout> layout_;
};

}  // namespace espalier::inline ESPALIER_ABI
