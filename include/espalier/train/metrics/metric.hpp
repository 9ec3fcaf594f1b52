#pragma once
// Metrics are plain structs, fed batch by batch:
//
//   static constexpr std::string_view name = "accuracy";        // or a function, where the options show in the name
//   static constexpr bool higher_is_better = true;
//   void add(const Scored& batch);                              // sums and counts, so that batches may be cut anyhow
//   double value() const;                                       // NaN when it is not defined
//   void reset();                                               // before the next set
//
// AnyMetric holds any of them by value.

#include <concepts>
#include <utility>

#include "espalier/core/owned.hpp"
#include "espalier/train/metrics/scored.hpp"

namespace espalier::inline ESPALIER_ABI {

namespace detail {
template <class M>
std::string metric_name(const M& metric) {
  if constexpr (requires { metric.name(); })
    return std::string(metric.name());
  else
    return std::string(M::name);
}
}  // namespace detail

template <class M>
concept Metric = requires(M& m, const M& fixed, const Scored& batch) {
  { detail::metric_name(fixed) } -> std::same_as<std::string>;
  { M::higher_is_better } -> std::convertible_to<bool>;
  { m.add(batch) } -> std::same_as<void>;
  { fixed.value() } -> std::convertible_to<double>;
  { m.reset() } -> std::same_as<void>;
};

/// Any metric, held by value.
class AnyMetric {
 public:
  template <Metric M>
  AnyMetric(M metric) : held_(new Held<M>(std::move(metric))) {}

  std::string name() const { return held_->name(); }
  bool higher_is_better() const { return held_->higher_is_better(); }
  void add(const Scored& batch) { held_->add(batch); }
  double value() const { return held_->value(); }
  void reset() { held_->reset(); }
  /// The metric as an M, or null when it is another.
  template <class M>
  M* as() {
    return held_->type() == &type_tag<M> ? &static_cast<Held<M>&>(*held_).metric : nullptr;
  }

 private:
  template <class M>
  static constexpr char type_tag = 0;

  struct Base {
    virtual ~Base() = default;
    virtual std::string name() const = 0;
    virtual bool higher_is_better() const = 0;
    virtual void add(const Scored& batch) = 0;
    virtual double value() const = 0;
    virtual void reset() = 0;
    virtual const void* type() const = 0;
    virtual Base* copy() const = 0;
  };
  template <class M>
  struct Held final : Base {
    M metric;
    explicit Held(M m) : metric(std::move(m)) {}
    std::string name() const override { return detail::metric_name(metric); }
    bool higher_is_better() const override { return M::higher_is_better; }
    void add(const Scored& batch) override { metric.add(batch); }
    double value() const override { return metric.value(); }
    void reset() override { metric.reset(); }
    const void* type() const override { return &type_tag<M>; }
    Base* copy() const override { return new Held(metric); }
  };

  Owned<Base> held_;
};

}  // namespace espalier::inline ESPALIER_ABI
