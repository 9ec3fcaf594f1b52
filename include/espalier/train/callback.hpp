#pragma once
// Callbacks: code of the program's own that the Trainer runs after every step or epoch.
//
//   .callbacks = {[](const EpochEvent& e) { return e.history["validation/loss"].back() > 0.01; }}   // false: stop here
//
// A callback is a function of an EpochEvent or a StepEvent (not of `auto`), or a struct with `epoch(event)`, `step(event)` or
// both. Where it returns a bool, false interrupts the run there; `fit` goes on with it. With `fields` it is part of the
// checkpoint.

#include "espalier/core/owned.hpp"
#include "espalier/tensor/fields.hpp"
#include "espalier/tensor/named.hpp"
#include "espalier/train/history.hpp"

namespace espalier::inline ESPALIER_ABI {

/// After an optimizer step.
struct StepEvent {
  Index epoch, batch;  // from 0
  double lr;
  std::span<const Named<double>> losses;  // of the batch, by task; NaN for a task without labels in it
};
/// After an epoch, validation included.
struct EpochEvent {
  Index epoch;  // from 0
  const History& history;
};

/// A callback of any type, held by value.
class Callback {
 public:
  template <class C>
    requires(!std::same_as<C, Callback>)
  Callback(C callback) : held_(new Held<C>(std::move(callback))) {
    static_assert(Held<C>::on_step || Held<C>::on_epoch,
                  "Callback: it must be callable with a StepEvent or an EpochEvent, or have step(event) or epoch(event)");
  }
  /// False to end the run.
  bool step(const StepEvent& event) { return held_->step(event); }
  bool epoch(const EpochEvent& event) { return held_->epoch(event); }
  void fields(Visitor& visit) { held_->fields(visit); }

 private:
  struct Base {
    virtual ~Base() = default;
    virtual bool step(const StepEvent& event) = 0;
    virtual bool epoch(const EpochEvent& event) = 0;
    virtual void fields(Visitor& visit) = 0;
    virtual Base* copy() const = 0;
  };
  /// What a call returned, true where that was no bool.
  template <class F>
  static bool goes_on(F&& call) {
    if constexpr (std::same_as<decltype(call()), bool>) return call();
    else return static_cast<void>(call()), true;
  }
  template <class C>
  struct Held final : Base {
    C callback;
    explicit Held(C c) : callback(std::move(c)) {}
    static constexpr bool calls_step = requires(C& c, const StepEvent& e) { c(e); };
    static constexpr bool calls_epoch = requires(C& c, const EpochEvent& e) { c(e); };
    static constexpr bool on_step = calls_step || requires(C& c, const StepEvent& e) { c.step(e); };
    static constexpr bool on_epoch = calls_epoch || requires(C& c, const EpochEvent& e) { c.epoch(e); };
    bool step([[maybe_unused]] const StepEvent& event) override {
      if constexpr (calls_step) return goes_on([&] { return callback(event); });
      else if constexpr (on_step) return goes_on([&] { return callback.step(event); });
      else return true;
    }
    bool epoch([[maybe_unused]] const EpochEvent& event) override {
      if constexpr (calls_epoch) return goes_on([&] { return callback(event); });
      else if constexpr (on_epoch) return goes_on([&] { return callback.epoch(event); });
      else return true;
    }
    void fields(Visitor& visit) override {
      if constexpr (std::is_class_v<C>) walk(callback, visit);
    }
    Base* copy() const override { return new Held(callback); }
  };
  Owned<Base> held_;
};

}  // namespace espalier::inline ESPALIER_ABI
