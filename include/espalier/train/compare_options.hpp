#pragma once
// What a comparison is told: its models, methods, optimizer and options.
//
// Included by name: train/compare.hpp brings it.

#include <cstdio>
#include <string>
#include <type_traits>
#include <utility>

#include "espalier/core/owned.hpp"
#include "espalier/multitask/combiner.hpp"
#include "espalier/multitask/objective_record.hpp"
#include "espalier/optim/adam.hpp"
#include "espalier/train/optimizer_ref.hpp"
#include "espalier/train/trainer_options.hpp"

namespace espalier::inline ESPALIER_ABI {

/// A model to be compared: a name, and a function that makes one with initial values from the Rng. It is called on several
/// threads at once.
template <Differentiable T = float>
class ComparedModel {
 public:
  template <class Make>
    requires ModelFor<std::invoke_result_t<Make&, Rng&>, T>
  ComparedModel(std::string name, Make make) : name_(std::move(name)), held_(new Held<Make>(std::move(make))) {}

  const std::string& name() const { return name_; }
  /// Makes one and calls `use(ModelRef<T>, Parameters<T>)` with it.
  template <class Use>
  void with(Rng& rng, Use&& use) const {
    held_->with(rng, &use, [](void* f, ModelRef<T> model, const Parameters<T>& parameters) {
      (*static_cast<std::remove_reference_t<Use>*>(f))(model, parameters);
    });
  }

 private:
  using Call = void (*)(void*, ModelRef<T>, const Parameters<T>&);
  struct Base {
    virtual ~Base() = default;
    virtual void with(Rng& rng, void* use, Call call) = 0;
    virtual Base* copy() const = 0;
  };
  template <class Make>
  struct Held final : Base {
    Make make;
    explicit Held(Make m) : make(std::move(m)) {}
    void with(Rng& rng, void* use, Call call) override {
      auto model = make(rng);
      call(use, ModelRef<T>(model), parameters<T>(model));
    }
    Base* copy() const override { return new Held(make); }
  };
  std::string name_;
  Owned<Base> held_;
};

/// How the runs' optimizers are made: a function of the parameters, `[](const auto& p) { return SGD{p, {.lr = 0.1}}; }`.
template <Differentiable T = float>
class ComparedOptimizer {
 public:
  ComparedOptimizer() : ComparedOptimizer([](const Parameters<T>& p) { return Adam<T>(p); }) {}
  template <class Make>
    requires std::is_invocable_v<Make&, const Parameters<T>&>
  ComparedOptimizer(Make make) : held_(new Held<Make>(std::move(make))) {}

  template <class Use>
  void with(const Parameters<T>& parameters, Use&& use) const {
    held_->with(parameters, &use,
                [](void* f, OptimizerRef<T> optimizer) { (*static_cast<std::remove_reference_t<Use>*>(f))(optimizer); });
  }

 private:
  using Call = void (*)(void*, OptimizerRef<T>);
  struct Base {
    virtual ~Base() = default;
    virtual void with(const Parameters<T>& parameters, void* use, Call call) = 0;
    virtual Base* copy() const = 0;
  };
  template <class Make>
  struct Held final : Base {
    Make make;
    explicit Held(Make m) : make(std::move(m)) {}
    void with(const Parameters<T>& parameters, void* use, Call call) override {
      auto optimizer = make(parameters);
      call(use, OptimizerRef<T>(optimizer));
    }
    Base* copy() const override { return new Held(make); }
  };
  Owned<Base> held_;
};

/// A way of joining the losses, under the method's own name or another one: `{"upgrad, every 10", UPGrad{}, {.every = 10}}`. What
/// it draws at random (a field called "seed") differs from seed to seed.
struct ComparedMethod {
  std::string name;
  Combiner combiner;
  AggregationOptions options = {};

  template <class Method>
    requires std::convertible_to<Method, Combiner>
  ComparedMethod(Method method) : combiner(std::move(method)) {
    name = combiner.name();
  }
  ComparedMethod(std::string name_, Combiner method, AggregationOptions options_ = {})
      : name(std::move(name_)), combiner(std::move(method)), options(std::move(options_)) {}
};

template <Differentiable T = float>
struct CompareOptions {
  Index seeds = 5;
  std::uint64_t first_seed = 0;
  double validation = 0.2, test = 0.2;  // shares of the rows; the rest is to train on
  std::string stratify = {};            // a task of classes, of which each part is to have its share; empty: at random
  Index candidates = 8;                 // of fixed weights besides equal ones; 0: no tuned weights
  double weights_range = 10;            // candidates lie between 1 / range and range, before they are scaled to sum to the tasks
  /// Epochs, batch size, schedule, early stopping, metrics. With a patience a run's best epoch on the validation data counts; a
  /// single-task run is judged by its own loss. Metrics that are listed for a task all count in Delta_m and the ranks; else
  /// the first usual one of its loss, or the loss.
  TrainerOptions train = {};
  ComparedOptimizer<T> optimizer = {};
  std::string file = {};      // the runs as CSV: kept up to date, and taken up again
  std::FILE* log = nullptr;   // a line for every run that is done
  /// The file knows its data, models, methods, learning rates and options from others. What is only in code (an activation, the
  /// optimizer's other settings) it cannot see: give it another name, or change this, when that changes.
  std::string tag = {};
};

}  // namespace espalier::inline ESPALIER_ABI
