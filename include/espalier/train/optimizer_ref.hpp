#pragma once
// OptimizerRef: an optimizer of any type, by reference, so that training is compiled once and not once per optimizer.

#include "espalier/tensor/fields.hpp"
#include "espalier/tensor/named.hpp"

namespace espalier::inline ESPALIER_ABI {

/// Refers to an optimizer, which must outlive it.
template <Differentiable T = float>
class OptimizerRef {
 public:
  template <class O>
    requires(!std::same_as<O, OptimizerRef>)
  OptimizerRef(O& optimizer)
      : optimizer_(&optimizer),
        step_([](void* o) { static_cast<O*>(o)->step(); }),
        lr_([](void* o) { return static_cast<O*>(o)->lr(); }),
        set_lr_([](void* o, double lr) { static_cast<O*>(o)->set_lr(lr); }),
        zero_grad_([](void* o) { static_cast<O*>(o)->zero_grad(); }),
        parameters_([](void* o) -> const NamedList<Tensor<T>>& { return static_cast<O*>(o)->parameters(); }),
        walk_([](void* o, Visitor& visit) { walk(*static_cast<O*>(o), visit); }) {}

  void step() { step_(optimizer_); }
  void zero_grad() { zero_grad_(optimizer_); }
  double lr() const { return lr_(optimizer_); }
  void set_lr(double lr) { set_lr_(optimizer_, lr); }
  const NamedList<Tensor<T>>& parameters() const { return parameters_(optimizer_); }
  void fields(Visitor& visit) { walk_(optimizer_, visit); }

 private:
  void* optimizer_;
  void (*step_)(void*);
  double (*lr_)(void*);
  void (*set_lr_)(void*, double);
  void (*zero_grad_)(void*);
  const NamedList<Tensor<T>>& (*parameters_)(void*);
  void (*walk_)(void*, Visitor&);
};

}  // namespace espalier::inline ESPALIER_ABI
