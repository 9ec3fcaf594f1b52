#pragma once
// Encoded: what a fusion receives, one encoded tensor per modality and who has it.

#include "espalier/core/owned.hpp"
#include "espalier/nn/linear.hpp"

namespace espalier::inline ESPALIER_ABI {

/// The encoders' results in the model's order. Rows of samples that lack the modality are zero; a modality that nobody in the
/// batch has is undefined.
template <Differentiable T = float>
struct Encoded {
  PoolVector<Tensor<T>> values;      // [batch, width]
  PoolVector<Tensor<bool>> present;  // [batch]; undefined: everybody has it
  PoolVector<std::string_view> names;  // for messages; may be empty
  Index batch = 0;

  Index size() const { return static_cast<Index>(values.size()); }
  const Tensor<T>& value(Index m) const { return values[static_cast<std::size_t>(m)]; }
  /// What messages call a modality: `'left'`, or its number.
  std::string name(Index m) const {
    const auto i = static_cast<std::size_t>(m);
    return i < names.size() ? join('\'', names[i], '\'') : std::to_string(m);
  }
  /// Whether every sample has the modality, and the mask as [batch, 1] otherwise.
  bool complete(Index m) const { return !present[static_cast<std::size_t>(m)].defined(); }
  Tensor<bool> mask(Index m) const { return present[static_cast<std::size_t>(m)].view({batch, 1}); }
};

/// A fusion: from the encoded modalities to one tensor [batch, width]. Presence is the same in training and inference.
template <class F, class T = float>
concept FusionFor = requires(const F& fusion, const Encoded<T>& encoded) {
  { fusion(encoded) } -> std::convertible_to<Tensor<T>>;
};

/// A fusion of any type, held by value.
template <Differentiable T = float>
class AnyFusion {
 public:
  AnyFusion() = default;
  template <class F>
    requires(!std::same_as<std::remove_cvref_t<F>, AnyFusion> && FusionFor<std::remove_cvref_t<F>, T>)
  AnyFusion(F&& fusion) : held_(new Held<std::remove_cvref_t<F>>(std::forward<F>(fusion))) {}
  explicit operator bool() const { return static_cast<bool>(held_); }
  Tensor<T> operator()(const Encoded<T>& encoded) const { return held_->call(encoded); }
  void fields(Visitor& visit) {
    if (held_) held_->fields(visit);
  }

 private:
  struct Base {
    virtual ~Base() = default;
    virtual Tensor<T> call(const Encoded<T>& encoded) const = 0;
    virtual void fields(Visitor& visit) = 0;
    virtual Base* copy() const = 0;
  };
  template <class F>
  struct Held final : Base {
    F fusion;
    explicit Held(F f) : fusion(std::move(f)) {}
    Tensor<T> call(const Encoded<T>& encoded) const override { return fusion(encoded); }
    void fields(Visitor& visit) override { walk(fusion, visit); }
    Base* copy() const override { return new Held(fusion); }
  };
  Owned<Base> held_;
};

}  // namespace espalier::inline ESPALIER_ABI
