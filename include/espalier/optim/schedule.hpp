#pragma once
// Schedules: the learning rate over a run, as a factor of the one the optimizer was given. A schedule is a plain struct:
//
//   double factor(double epoch, double epochs) const;   // epoch counts from 0 and has fractions: 2.5 is halfway through the third
//   void observe(double monitored, bool higher_is_better);   // optional: told the monitored value after every epoch
//   void check() const;                                 // optional: throws Error for options that make no sense
//   std::string text() const;                           // optional: what it is, options included; a run is resumed with the
//                                                       // same one. Without it the type's name alone is compared, so that
//                                                       // other numbers in the same struct are not noticed
//   void fields(auto&& visit);                          // its state, if any
//
//   double lr = 0.1 * schedule.factor(3, 30);            // in a loop of one's own; the Trainer does it before every step

#include <algorithm>
#include <cmath>
#include <concepts>
#include <string>

#include "espalier/core/owned.hpp"
#include "espalier/tensor/fields.hpp"

namespace espalier::inline ESPALIER_ABI {

template <class S>
concept LearningRateSchedule = requires(const S& s, double epoch) {
  { s.factor(epoch, epoch) } -> std::convertible_to<double>;
};

/// The optimizer's own learning rate throughout.
struct ConstantSchedule {
  double factor(double, double) const { return 1; }
  std::string text() const { return "ConstantSchedule{}"; }
};

/// factor^k after k periods of `every` epochs: PyTorch's StepLR.
struct StepSchedule {
  double every = 10;  // epochs
  double gamma = 0.1;
  void check() const {
    if (!(every > 0)) fail("StepSchedule: every is ", every, " epochs; it must be above 0");
  }
  double factor(double epoch, double) const { return std::pow(gamma, std::floor(epoch / every)); }
  std::string text() const { return join("StepSchedule{.every = ", every, ", .gamma = ", gamma, '}'); }
};

/// From 1 down to `floor` along half a cosine (Loshchilov and Hutter 2017, arXiv 1608.03983, without restarts): PyTorch's
/// CosineAnnealingLR. Stays at the floor afterwards.
struct CosineSchedule {
  double epochs = 0;  // how long the way down takes; 0: the whole run
  double floor = 0;
  void check() const {
    if (!(epochs >= 0)) fail("CosineSchedule: epochs is ", epochs, "; it must not be negative (0 is the whole run)");
  }
  double factor(double epoch, double run) const {
    const double length = epochs > 0 ? epochs : run;
    if (!(epoch < length)) return floor;
    return floor + (1 - floor) * 0.5 * (1 + std::cos(3.14159265358979323846 * epoch / length));
  }
  std::string text() const { return join("CosineSchedule{.epochs = ", epochs, ", .floor = ", floor, '}'); }
};

/// Lower when the monitored value has not improved for more than `patience` epochs: PyTorch's ReduceLROnPlateau, whose
/// defaults these are. An improvement is one by more than the share `threshold` of the best value so far.
struct PlateauSchedule {
  double gamma = 0.1;
  Index patience = 10;
  double threshold = 1e-4;
  Index cooldown = 0;  // epochs after a reduction in which nothing is counted
  double floor = 0;
  struct State {
    double factor = 1, best = 0;
    bool seen = false;
    Index bad_epochs = 0, waiting = 0;
  } state = {};

  void check() const {
    if (!(gamma > 0 && gamma < 1)) fail("PlateauSchedule: gamma is ", gamma, "; it must lie between 0 and 1");
    if (patience < 0 || cooldown < 0)
      fail("PlateauSchedule: patience is ", patience, ", cooldown is ", cooldown, "; neither may be negative");
  }
  double factor(double, double) const { return state.factor; }
  std::string text() const {
    return join("PlateauSchedule{.gamma = ", gamma, ", .patience = ", patience, ", .threshold = ", threshold, ", .cooldown = ",
                cooldown, ", .floor = ", floor, '}');
  }
  void observe(double value, bool higher_is_better) {
    const double sign = higher_is_better ? 1 : -1;
    const bool better = !std::isnan(value) &&  // a value that is not there is no better one
                        (!state.seen || sign * value > sign * state.best + threshold * std::abs(state.best));
    if (better) state.best = value;
    state.bad_epochs = better ? 0 : state.bad_epochs + 1;
    state.seen = state.seen || better;
    if (state.waiting > 0) {
      --state.waiting;
      state.bad_epochs = 0;
    }
    if (state.bad_epochs <= patience) return;
    state.factor = std::max(floor, state.factor * gamma);
    state.bad_epochs = 0;
    state.waiting = cooldown;
  }
  void fields(auto&& visit) {
    visit("factor", state.factor);
    visit("best", state.best);
    visit("seen", state.seen);
    visit("bad_epochs", state.bad_epochs);
    visit("waiting", state.waiting);
  }
};

namespace detail {
/// A type's name without its namespaces, and without the arguments of a template: what compilers agree on.
template <class S>
std::string_view type_name() {
  std::string_view name = __PRETTY_FUNCTION__;  // "... [with S = ours::Mine; ...]", "... [S = ours::Mine]"
  name.remove_prefix(name.find("S = ") + 4);
  name = name.substr(0, name.find_first_of("<;]"));
  const std::size_t colons = name.rfind("::");
  return colons == std::string_view::npos ? name : name.substr(colons + 2);
}
}  // namespace detail

/// A schedule of any type, held by value. Throws Error for options that make no sense.
class Schedule {
 public:
  Schedule() : Schedule(ConstantSchedule{}) {}
  template <LearningRateSchedule S>
  Schedule(S schedule) {
    if constexpr (requires { schedule.check(); }) schedule.check();
    held_ = Owned<Base>(new Held<S>(std::move(schedule)));
  }

  double factor(double epoch, double epochs) const { return held_->factor(epoch, epochs); }
  void observe(double monitored, bool higher_is_better) { held_->observe(monitored, higher_is_better); }
  /// Whether it looks at the monitored value at all.
  bool observes() const { return held_->observes(); }
  /// What it is, with its options: `StepSchedule{.every = 10, .gamma = 0.1}`; without a text of its own, its type.
  std::string text() const { return held_->text(); }
  void fields(Visitor& visit) { held_->fields(visit); }

 private:
  struct Base {
    virtual ~Base() = default;
    virtual double factor(double epoch, double epochs) const = 0;
    virtual void observe(double monitored, bool higher_is_better) = 0;
    virtual bool observes() const = 0;
    virtual std::string text() const = 0;
    virtual void fields(Visitor& visit) = 0;
    virtual Base* copy() const = 0;
  };
  template <class S>
  struct Held final : Base {
    S schedule;
    explicit Held(S s) : schedule(std::move(s)) {}
    static constexpr bool listens = requires(S& s) { s.observe(0.0, true); };
    double factor(double epoch, double epochs) const override { return schedule.factor(epoch, epochs); }
    void observe(double monitored, bool higher_is_better) override {
      if constexpr (listens) schedule.observe(monitored, higher_is_better);
      else (void)monitored, (void)higher_is_better;
    }
    bool observes() const override {
      if constexpr (requires { schedule.observes(); }) return schedule.observes();
      else return listens;
    }
    std::string text() const override {
      if constexpr (requires { schedule.text(); }) return schedule.text();
      else return join(detail::type_name<S>(), ", which describes no options");
    }
    void fields(Visitor& visit) override { walk(schedule, visit); }
    Base* copy() const override { return new Held(schedule); }
  };
  Owned<Base> held_;
};

/// Rises in a line from `start` to 1 over the first epochs, then follows another schedule, whose clock starts there.
struct WarmUp {
  double epochs = 1;
  Schedule then = {};
  double start = 0;

  void check() const {
    if (!(epochs >= 0)) fail("WarmUp: epochs is ", epochs, "; it must not be negative");
  }
  double factor(double epoch, double run) const {
    if (epoch < epochs) return start + (1 - start) * epoch / epochs;
    return then.factor(epoch - epochs, std::max(0.0, run - epochs));
  }
  void observe(double monitored, bool higher_is_better) { then.observe(monitored, higher_is_better); }
  bool observes() const { return then.observes(); }
  std::string text() const { return join("WarmUp{.epochs = ", epochs, ", .then = ", then, ", .start = ", start, '}'); }
  void fields(auto&& visit) { visit("then", then); }
};

}  // namespace espalier::inline ESPALIER_ABI
