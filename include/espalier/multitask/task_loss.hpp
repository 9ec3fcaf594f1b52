#pragma once
// TaskLoss: the loss of one task, a struct of the library's or a function of the program's.

#include "espalier/core/owned.hpp"
#include "espalier/ops/loss.hpp"

namespace espalier::inline ESPALIER_ABI {

/// A task's loss: a loss struct, with its options (MSE, CrossEntropy, Huber, ...), or any function of (prediction, Target<T>)
/// that gives a tensor of one element. Such a function sees only targets that have a label somewhere, and honours the weights
/// itself.
template <Differentiable T = float>
class TaskLoss {
 public:
  template <SegmentLoss Loss>
  TaskLoss(Loss loss) : methods_(&loss_methods<T, Loss>), name_(Loss::name) {
    if (!detail::plain_loss(loss)) held_ = Owned<Base>(new Options<Loss>(std::move(loss)));
  }
  template <class F>
    requires std::is_invocable_r_v<Tensor<T>, F, const Tensor<T>&, const Target<T>&>
  TaskLoss(F function) : name_("custom"), held_(new Function<F>(std::move(function))) {}

  bool custom() const { return !methods_; }
  const LossMethods<T>& methods() const { return *methods_; }
  /// The struct, where it has options that count; null otherwise. See LossSegment.
  const void* options() const { return methods_ && held_ ? held_->options() : nullptr; }
  std::string_view name() const { return name_; }
  Tensor<T> operator()(const Tensor<T>& prediction, const Target<T>& target) const { return held_->call(prediction, target); }

 private:
  struct Base {
    virtual ~Base() = default;
    virtual Tensor<T> call(const Tensor<T>&, const Target<T>&) { return {}; }
    virtual const void* options() const { return nullptr; }
    virtual Base* copy() const = 0;
  };
  template <class F>
  struct Function final : Base {
    F function;
    explicit Function(F f) : function(std::move(f)) {}
    Tensor<T> call(const Tensor<T>& prediction, const Target<T>& target) override { return function(prediction, target); }
    Base* copy() const override { return new Function(function); }
  };
  template <class Loss>
  struct Options final : Base {
    Loss loss;
    explicit Options(Loss l) : loss(std::move(l)) {}
    const void* options() const override { return &loss; }
    Base* copy() const override { return new Options(loss); }
  };

  const LossMethods<T>* methods_ = nullptr;
  std::string_view name_;
  Owned<Base> held_;
};

}  // namespace espalier::inline ESPALIER_ABI
