#pragma once
// The losses as structs, and what each brings to segment_losses: a table of functions made from its struct, so that a program
// compiles only the losses it names. A loss of one's own that works element by element is a struct with `name`, `value` and
// `slope` (of the prediction y), like MSE, and then runs on packed heads as they do. For `every_isa` see ops/elementwise.hpp.

#include "espalier/ops/linalg.hpp"
#include "espalier/tensor/values.hpp"

namespace espalier::inline ESPALIER_ABI {

/// (y - t)^2
struct MSE {
  using every_isa = MSE;
  static constexpr std::string_view name = "mse";
  ESPALIER_INLINE static auto value(const auto& y, const auto& t) {
    const auto d = y - t;
    return d * d;
  }
  ESPALIER_INLINE static auto slope(const auto& y, const auto& t) { return 2 * (y - t); }
};
/// |y - t|
struct MAE {
  using every_isa = MAE;
  static constexpr std::string_view name = "mae";
  ESPALIER_INLINE static auto value(const auto& y, const auto& t) { return abs(y - t); }
  ESPALIER_INLINE static auto slope(const auto& y, const auto& t) { return sign(y - t); }
};
/// -(t log p + (1 - t) log(1 - p)) with p = sigmoid(y), from the logit. The target is in [0, 1], or a class, 0 or 1.
struct BCEWithLogits {
  using every_isa = BCEWithLogits;
  static constexpr std::string_view name = "bce_with_logits";
  static constexpr bool takes_classes = true;
  ESPALIER_INLINE static auto value(const auto& y, const auto& t) { return softplus(y) - y * t; }
  ESPALIER_INLINE static auto slope(const auto& y, const auto& t) { return sigmoid(y) - t; }
};
/// -log softmax(y)[class], over the columns of a segment.
struct CrossEntropy {
  static constexpr std::string_view name = "cross_entropy";
};

/// Neighbouring columns [begin, end) of a block of predictions that share a loss, with their targets and weights.
template <class T>
struct LossColumns {
  Index batch, columns, begin, end;
  const T* y;
  const T* targets;
  const T* weights;      // [batch, columns]; null: all 1
  const Index* classes;  // [batch], for a loss of classes

  Index width() const { return end - begin; }
  /// The block is these columns alone and without weights: one array.
  bool array() const { return width() == columns && !weights; }
  T weight(Index row) const { return weights ? weights[row * columns + begin] : T(1); }
};

/// What segment_losses calls.
template <class T>
struct LossMethods {
  std::string_view name;
  bool of_classes;     // one class per sample decides over all columns of the segment; otherwise a number per column
  bool takes_classes;  // numbers may be given as classes 0 and 1
  /// Adds the sum over the batch of weight times loss to `out`: per column, or, of classes, to its first element.
  void (*sums)(const LossColumns<T>& at, double* out);
  /// dy = scale * weight * slope; `scale` has one factor per column of the block.
  void (*slopes)(const LossColumns<T>& at, const T* scale, T* dy);
  /// The slope by graph operations: the truth that `slopes` is tested against, and the way to second derivatives.
  Tensor<T> (*slope)(const Tensor<T>& y, const Tensor<T>& target, const Index* classes);
};

namespace detail {

// Packs see the weights as numbers; a selection keeps what has no weight out even when it is NaN.
template <class Loss>
struct WeightedLoss {
  static constexpr bool every_isa = OfEveryIsa<Loss>;
  ESPALIER_INLINE auto operator()(const auto& sum, const auto& y, const auto& t) const { return sum + Loss::value(y, t); }
  ESPALIER_INLINE auto operator()(const auto& sum, const auto& y, const auto& t, const auto& w) const {
    return sum + select(w > 0, w * Loss::value(y, t), 0);
  }
};
template <class Loss, class T>
struct ScaledSlope {
  static constexpr bool every_isa = OfEveryIsa<Loss>;
  T scale;
  ESPALIER_INLINE auto operator()(const auto& y, const auto& t) const { return Loss::slope(y, t) * scale; }
};
template <class Loss>
struct WeightedSlope {
  static constexpr bool every_isa = OfEveryIsa<Loss>;
  ESPALIER_INLINE auto operator()(const auto& y, const auto& t, const auto& scale) const { return Loss::slope(y, t) * scale; }
  ESPALIER_INLINE auto operator()(const auto& y, const auto& t, const auto& scale, const auto& w) const {
    return select(w > 0, Loss::slope(y, t) * (w * scale), 0);
  }
};

template <class T, class Loss>
struct ElementwiseLoss {
  static void sums(const LossColumns<T>& at, double* out) {
    if (at.array() && at.width() == 1) {
      *out += kernels::sum_of(at.batch, ValueOf<Loss>{}, at.y, at.targets);
      return;
    }
    constexpr Index rows = 64;  // summed in T before the sum goes on in double
    const Index width = at.width();
    Tensor<T> part = Tensor<T>::empty({width});
    for (Index start = 0; start < at.batch; start += rows) {
      part.fill(T(0));
      for (Index i = start; i < std::min(at.batch, start + rows); ++i) {
        const Index from = i * at.columns + at.begin;
        if (at.weights)
          kernels::detail::map_block(width, part.raw(), WeightedLoss<Loss>{}, part.data(), at.y + from, at.targets + from,
                                     at.weights + from);
        else
          kernels::detail::map_block(width, part.raw(), WeightedLoss<Loss>{}, part.data(), at.y + from, at.targets + from);
      }
      for (Index j = 0; j < width; ++j) out[j] += static_cast<double>(part.data()[j]);
    }
  }
  static void slopes(const LossColumns<T>& at, const T* scale, T* dy) {
    if (at.array() && at.width() == 1) {
      return kernels::map(at.batch, dy, ScaledSlope<Loss, T>{scale[0]}, at.y, at.targets);
    }
    for (Index i = 0; i < at.batch; ++i) {
      const Index from = i * at.columns + at.begin;
      if (at.weights)
        kernels::detail::map_block(at.width(), dy + from, WeightedSlope<Loss>{}, at.y + from, at.targets + from,
                                   scale + at.begin, at.weights + from);
      else
        kernels::detail::map_block(at.width(), dy + from, WeightedSlope<Loss>{}, at.y + from, at.targets + from,
                                   scale + at.begin);
    }
  }
  static Tensor<T> slope(const Tensor<T>& y, const Tensor<T>& target, const Index*) { return Loss::slope(y, target); }

  static constexpr bool takes_classes = requires { Loss::takes_classes; };
  static constexpr LossMethods<T> methods{Loss::name, false, takes_classes, &sums, &slopes, &slope};
};

template <class T>
struct ElementwiseLoss<T, CrossEntropy> {
  static void sums(const LossColumns<T>& at, double* out) {
    Tensor<T> scratch = Tensor<T>::empty({at.width()});
    for (Index i = 0; i < at.batch; ++i) {
      const T w = at.weight(i);
      if (!(w > 0)) continue;
      const T* row = at.y + i * at.columns + at.begin;
      T lse;
      kernels::logsumexp(1, at.width(), row, &lse, scratch.raw());
      *out += static_cast<double>(w) * (static_cast<double>(lse) - static_cast<double>(row[at.classes[i]]));
    }
  }
  static void slopes(const LossColumns<T>& at, const T* scale, T* dy) {
    for (Index i = 0; i < at.batch; ++i) {
      T* out = dy + i * at.columns + at.begin;
      const T w = at.weight(i);
      if (!(w > 0)) {
        std::fill_n(out, at.width(), T(0));
        continue;
      }
      kernels::softmax(1, at.width(), at.y + i * at.columns + at.begin, out);
      out[at.classes[i]] -= T(1);
      const T factor = w * scale[at.begin];
      kernels::map(at.width(), out, [factor](const auto& p) __attribute__((always_inline)) { return p * factor; },
                   static_cast<const T*>(out));
    }
  }
  static Tensor<T> slope(const Tensor<T>& y, const Tensor<T>&, const Index* classes) {
    Tensor<T> chosen = Tensor<T>::zeros(y.shape());
    for (Index i = 0; i < y.shape()[0]; ++i) chosen.raw()[i * y.shape()[1] + classes[i]] = T(1);
    return softmax(y, -1) - chosen;
  }
  static constexpr LossMethods<T> methods{CrossEntropy::name, true, true, &sums, &slopes, &slope};
};

}  // namespace detail

/// A struct that segment_losses can run: elementwise, or CrossEntropy.
template <class Loss>
concept SegmentLoss = std::same_as<Loss, CrossEntropy> || requires(const pack<float>& v) {
  { Loss::name } -> std::convertible_to<std::string_view>;
  { Loss::value(v, v) } -> std::convertible_to<pack<float>>;
  { Loss::slope(v, v) } -> std::convertible_to<pack<float>>;
};

/// The table of a loss.
template <class T, SegmentLoss Loss>
constexpr const LossMethods<T>& loss_methods = detail::ElementwiseLoss<T, Loss>::methods;

}  // namespace espalier::inline ESPALIER_ABI
