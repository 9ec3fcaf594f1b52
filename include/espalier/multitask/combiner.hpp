#pragma once
// Combiner: any way of joining the tasks' losses, a weighting or an aggregator, held by value.

#include "espalier/core/owned.hpp"
#include "espalier/multitask/aggregator/jacobian.hpp"
#include "espalier/multitask/weighting/constant.hpp"
#include "espalier/tensor/fields.hpp"

namespace espalier::inline ESPALIER_ABI {

/// What a method works on.
enum class CombinerKind : unsigned char {
  weighting,  ///< The losses: LossWeighting; it scales whole gradients.
  gramian,    ///< The inner products of the gradients of what is shared: GramianAggregator.
  jacobian,   ///< Those gradients themselves: JacobianAggregator.
};

/// Something that a Combiner can hold.
template <class M>
concept CombinerMethod = LossWeighting<M> || GramianAggregator<M> || JacobianAggregator<M>;

namespace detail {
template <class M>
inline constexpr CombinerKind combiner_kind = LossWeighting<M>       ? CombinerKind::weighting
                                              : GramianAggregator<M> ? CombinerKind::gramian
                                                                     : CombinerKind::jacobian;
}  // namespace detail

/// Holds a LossWeighting (losses -> weights, heads included), a GramianAggregator (Gramian -> weights of what is shared) or a
/// JacobianAggregator (gradients of what is shared -> their direction).
class Combiner {
 public:
  Combiner() : Combiner(Sum{}) {}
  template <CombinerMethod M>
  Combiner(M method) : held_(new Held<M>(std::move(method))) {}

  std::string_view name() const { return held_->name(); }
  /// Whether it works on the tasks' gradients instead of their losses.
  bool aggregates() const { return kind() != CombinerKind::weighting; }
  CombinerKind kind() const { return held_->kind(); }
  void weights(std::span<const double> losses, const StepInfo& info, std::span<double> out) { held_->weights(losses, info, out); }
  Certificate weights(GramianView gramian, const StepInfo& info, std::span<double> out) {
    return held_->weights(gramian, info, out);
  }
  Certificate aggregate(JacobianBlocks& jacobian, const StepInfo& info, std::span<double> out) {
    return held_->aggregate(jacobian, info, out);
  }
  /// Tells the method how many tasks there are, before the first step.
  void prepare(Index tasks) { held_->prepare(tasks); }
  // What a weighting may have besides (weighting/weighting.hpp); nothing happens where the method has no such thing.
  /// Whether it is a weighting that looks at the gradients as well, so that `weights` must be given the Gramian.
  bool looks_at_gradients() const { return held_->looks_at_gradients(); }
  /// Whether it looks at that Gramian's diagonal alone.
  bool looks_at_norms() const { return held_->looks_at_norms(); }
  void weights(std::span<const double> losses, GramianView gramian, const StepInfo& info, std::span<double> out) {
    held_->weights(losses, gramian, info, out);
  }
  void begin_epoch(Index epoch) { held_->begin_epoch(epoch); }
  /// Whether it learns from the losses after the step, by `after_step`.
  bool learns_after_step() const { return held_->learns_after_step(); }
  void after_step(std::span<const double> losses, const StepInfo& info) { held_->after_step(losses, info); }
  /// The method as an M, or null when it is another.
  template <class M>
  M* as() {
    return held_->type() == &type_tag<M> ? &static_cast<Held<M>&>(*held_).method : nullptr;
  }
  void fields(Visitor& visit) { held_->fields(visit); }

 private:
  template <class M>
  static constexpr char type_tag = 0;

  struct Base {
    virtual ~Base() = default;
    virtual std::string_view name() const = 0;
    virtual CombinerKind kind() const = 0;
    virtual void weights(std::span<const double> losses, const StepInfo& info, std::span<double> out) = 0;
    virtual Certificate weights(GramianView gramian, const StepInfo& info, std::span<double> out) = 0;
    virtual Certificate aggregate(JacobianBlocks& jacobian, const StepInfo& info, std::span<double> out) = 0;
    virtual void prepare(Index tasks) = 0;
    virtual bool looks_at_gradients() const = 0;
    virtual bool looks_at_norms() const = 0;
    virtual void weights(std::span<const double> losses, GramianView gramian, const StepInfo& info, std::span<double> out) = 0;
    virtual void begin_epoch(Index epoch) = 0;
    virtual bool learns_after_step() const = 0;
    virtual void after_step(std::span<const double> losses, const StepInfo& info) = 0;
    virtual const void* type() const = 0;
    virtual void fields(Visitor& visit) = 0;
    virtual Base* copy() const = 0;
  };
  template <class M>
  struct Held final : Base {
    M method;
    explicit Held(M m) : method(std::move(m)) {}
    std::string_view name() const override { return M::name; }
    CombinerKind kind() const override { return detail::combiner_kind<M>; }
    void weights(std::span<const double> losses, const StepInfo& info, std::span<double> out) override {
      if constexpr (LossWeighting<M> && !GradientWeighting<M>) method.weights(losses, info, out);
      else (void)losses, (void)info, (void)out;
    }
    Certificate weights(GramianView gramian, const StepInfo& info, std::span<double> out) override {
      if constexpr (GramianAggregator<M>) return method.weights(gramian, info, out);
      else return (void)gramian, (void)info, (void)out, Certificate{};
    }
    Certificate aggregate(JacobianBlocks& jacobian, const StepInfo& info, std::span<double> out) override {
      if constexpr (JacobianAggregator<M>) return method.aggregate(jacobian, info, out);
      else return (void)jacobian, (void)info, (void)out, Certificate{};
    }
    void prepare(Index tasks) override {
      if constexpr (requires { method.prepare(tasks); }) method.prepare(tasks);
    }
    bool looks_at_gradients() const override { return GradientWeighting<M>; }
    bool looks_at_norms() const override {
      if constexpr (requires { M::norms_alone; }) return GradientWeighting<M> && M::norms_alone;
      else return false;
    }
    void weights([[maybe_unused]] std::span<const double> losses, [[maybe_unused]] GramianView gramian,
                 [[maybe_unused]] const StepInfo& info, [[maybe_unused]] std::span<double> out) override {
      if constexpr (GradientWeighting<M>) method.weights(losses, gramian, info, out);
    }
    void begin_epoch([[maybe_unused]] Index epoch) override {
      if constexpr (requires { method.begin_epoch(epoch); }) method.begin_epoch(epoch);
    }
    static constexpr bool learns = requires(M& m, std::span<const double> l, const StepInfo& i) { m.after_step(l, i); };
    bool learns_after_step() const override { return learns; }
    void after_step([[maybe_unused]] std::span<const double> losses, [[maybe_unused]] const StepInfo& info) override {
      if constexpr (learns) method.after_step(losses, info);
    }
    const void* type() const override { return &type_tag<M>; }
    void fields(Visitor& visit) override { walk(method, visit); }
    Base* copy() const override { return new Held(method); }
  };

  Owned<Base> held_;
};

}  // namespace espalier::inline ESPALIER_ABI
