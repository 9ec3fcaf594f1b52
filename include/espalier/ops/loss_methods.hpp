#pragma once
// The losses as structs, and what each brings to segment_losses: a table of functions made from its struct, so that a program
// compiles only the losses it names. A loss of one's own that works element by element is a struct with `name`, `value` and
// `slope` (of the prediction y), like MSE, and then runs on packed heads as they do. For `every_isa` see ops/elementwise.hpp.
//
// Options are members. `settle` brings them to the columns of a head, as `parameters` numbers per column, which `value` and
// `slope` get behind y and t (ops/loss/huber.hpp is the one to imitate): heads of different options still run as one.

#include "espalier/core/pool_vector.hpp"
#include "espalier/ops/linalg.hpp"
#include "espalier/tensor/values.hpp"

namespace espalier::inline ESPALIER_ABI {

/// What a loss compares a head's columns with.
enum class LossTarget : unsigned char {
  values,   // a number for every column, or for every few (LossHead::each)
  classes,  // a class per sample, which decides over all columns
  levels,   // an ordered class per sample, from 0 to the number of columns: column j is the logit of being above class j
};

/// What the options of a loss come to for one head; `settle` fills it in.
struct LossHead {
  std::string_view loss, task;                 // for messages
  Index width = 0;                             // columns
  Index each = 1;                              // columns that one number of the target is for
  std::span<const double> class_weights = {};  // multiply the weights of the samples; none: all 1
  PoolVector<double> parameters = {};          // [count, width]

  /// A parameter of all columns.
  void set(Index parameter, double value) {
    for (Index j = 0; j < width; ++j) set(parameter, j, value);
  }
  void set(Index parameter, Index column, double value) {
    parameters[static_cast<std::size_t>(parameter * width + column)] = value;
  }
  /// One parameter per column, or one for all of them. Throws Error for another number of them, and unless all are finite and
  /// above 0.
  void set(Index parameter, std::span<const double> values, std::string_view what) {
    if (values.size() != 1 && static_cast<Index>(values.size()) != width)
      bad(join("there are ", values.size(), ' ', what, "s for ", width, " columns; give one per column, or one for all"));
    for (const double v : values) positive(what, v);
    for (Index j = 0; j < width; ++j) set(parameter, j, values[values.size() == 1 ? 0 : static_cast<std::size_t>(j)]);
  }
  /// Throws Error unless there is one weight per class, finite and not negative, or none at all.
  void weigh_classes(std::span<const double> weights, Index classes) {
    if (!weights.empty() && static_cast<Index>(weights.size()) != classes)
      bad(join("there are ", weights.size(), " class weights for ", classes, " classes; give one per class"));
    for (const double w : weights)
      if (!(w >= 0) || w == std::numeric_limits<double>::infinity())
        bad(join("a class weight is ", w, "; weights are finite and not negative"));
    class_weights = weights;
  }
  void positive(std::string_view what, double value) const {
    if (!(value > 0) || value == std::numeric_limits<double>::infinity())
      bad(join("the ", what, " is ", value, "; it must be finite and above 0"));
  }
  [[noreturn, gnu::cold, gnu::noinline]] void bad(const std::string& what) const { fail(loss, ": task '", task, "': ", what); }
};

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
/// -(w t log p + (1 - t) log(1 - p)) with p = sigmoid(y), from the logit. The target is in [0, 1], or a class, 0 or 1.
struct BCEWithLogits {
  using every_isa = BCEWithLogits;
  static constexpr std::string_view name = "bce_with_logits";
  static constexpr bool takes_classes = true;
  static constexpr Index parameters = 1;
  /// w, what a positive counts for against a negative, one per column or one for all; none: 1 (PyTorch's pos_weight).
  std::vector<double> positive_weights = {};

  bool plain() const { return positive_weights.empty(); }
  void settle(LossHead& head) const { head.set(0, positive_weights, "positive weight"); }
  ESPALIER_INLINE static auto value(const auto& y, const auto& t) { return softplus(y) - y * t; }
  ESPALIER_INLINE static auto slope(const auto& y, const auto& t) { return sigmoid(y) - t; }
  ESPALIER_INLINE static auto value(const auto& y, const auto& t, const auto& w) {
    return (1 - t) * y + (1 + (w - 1) * t) * softplus(-y);
  }
  ESPALIER_INLINE static auto slope(const auto& y, const auto& t, const auto& w) {
    return (1 - t) - (1 + (w - 1) * t) * sigmoid(-y);
  }
};

/// Neighbouring columns [begin, end) of a block of predictions that share a loss, with their targets and weights.
template <class T>
struct LossColumns {
  Index batch, columns, begin, end;
  const T* y;
  const T* targets;
  const T* weights;       // [batch, columns]; null: all 1
  const Index* classes;   // [batch], for a loss of classes
  const T* parameters;    // [count, columns]; null: none

  Index width() const { return end - begin; }
  /// The block is these columns alone and without weights: one array.
  bool array() const { return width() == columns && !weights; }
  T weight(Index row) const { return weights ? weights[row * columns + begin] : T(1); }
  /// A parameter of the columns, from `begin` on.
  const T* parameter(Index p) const { return parameters + p * columns + begin; }
};

/// What segment_losses calls.
template <class T>
struct LossMethods {
  std::string_view name;
  LossTarget target;
  bool takes_classes;  // numbers may be given as classes 0 and 1
  Index parameters;    // per column, of a loss with options
  /// Brings the options to a head; null for a loss that has none.
  void (*settle)(const void* loss, LossHead& head);
  /// Adds the sum over the batch of weight times loss to `out`: per column, or, of classes, to its first element.
  void (*sums)(const LossColumns<T>& at, double* out);
  /// dy = scale * weight * slope; `scale` has one factor per column of the block.
  void (*slopes)(const LossColumns<T>& at, const T* scale, T* dy);
  /// The slope by graph operations: the truth that `slopes` is tested against, and the way to second derivatives. `parameters`
  /// is [count, width], undefined where there are none.
  Tensor<T> (*slope)(const Tensor<T>& y, const Tensor<T>& target, const Index* classes, const Tensor<T>& parameters);
  bool needs_options;  // computes nothing without its struct, as Huber does not know its delta

  bool of_classes() const { return target == LossTarget::classes; }
  /// The target is one class per sample.
  bool by_class() const { return target != LossTarget::values; }
};

namespace detail {

// Packs see the weights as numbers; a selection keeps what has no weight out even when it is NaN.
template <class Loss>
struct AddLoss {
  static constexpr bool every_isa = OfEveryIsa<Loss>;
  ESPALIER_INLINE auto operator()(const auto& sum, const auto& y, const auto& t, const auto&... p) const {
    return sum + Loss::value(y, t, p...);
  }
};
template <class Loss, class T>
struct ScaledSlope {
  static constexpr bool every_isa = OfEveryIsa<Loss>;
  T scale;
  ESPALIER_INLINE auto operator()(const auto& y, const auto& t) const { return Loss::slope(y, t) * scale; }
};
template <class Loss>
struct AddWeightedLoss {
  static constexpr bool every_isa = OfEveryIsa<Loss>;
  ESPALIER_INLINE auto operator()(const auto& sum, const auto& y, const auto& t, const auto& w, const auto&... p) const {
    return sum + select(w > 0, w * Loss::value(y, t, p...), 0);
  }
};
template <class Loss>
struct LossSlope {
  static constexpr bool every_isa = OfEveryIsa<Loss>;
  ESPALIER_INLINE auto operator()(const auto& y, const auto& t, const auto& scale, const auto&... p) const {
    return Loss::slope(y, t, p...) * scale;
  }
};
template <class Loss>
struct WeightedLossSlope {
  static constexpr bool every_isa = OfEveryIsa<Loss>;
  ESPALIER_INLINE auto operator()(const auto& y, const auto& t, const auto& scale, const auto& w, const auto&... p) const {
    return select(w > 0, Loss::slope(y, t, p...) * (w * scale), 0);
  }
};

/// The facts about a loss that have defaults.
template <class Loss>
constexpr Index loss_parameters() {
  if constexpr (requires { Loss::parameters; }) return Loss::parameters;
  else return 0;
}
template <class Loss>
constexpr LossTarget loss_target() {
  if constexpr (requires { Loss::target; }) return Loss::target;
  else return LossTarget::values;
}
template <class Loss>
void settle_loss(const void* loss, LossHead& head) {
  static_cast<const Loss*>(loss)->settle(head);
}
template <class Loss>
inline constexpr bool has_loss_options = requires(const Loss& loss, LossHead& head) { loss.settle(head); };
template <class Loss>
constexpr void (*settle_of())(const void*, LossHead&) {
  if constexpr (has_loss_options<Loss>) return &settle_loss<Loss>;
  else return nullptr;
}
/// Whether a loss is the one without options, for which nothing needs to be settled.
template <class Loss>
bool plain_loss([[maybe_unused]] const Loss& loss) {
  if constexpr (!has_loss_options<Loss>) return true;
  else if constexpr (requires { loss.plain(); }) return loss.plain();
  else return false;
}

template <class T, class Loss>
struct ElementwiseLoss {
  static void sums(const LossColumns<T>& at, double* out) {
    if constexpr (plain) {
      if (!at.parameters) return sums_with(at, out);
    }
    if constexpr (count > 0) with_parameters([&](auto... p) { sums_with(at, out, at.parameter(p)...); });
  }
  static void slopes(const LossColumns<T>& at, const T* scale, T* dy) {
    if constexpr (plain) {
      if (!at.parameters) return slopes_with(at, scale, dy);
    }
    if constexpr (count > 0) with_parameters([&](auto... p) { slopes_with(at, scale, dy, at.parameter(p)...); });
  }
  static Tensor<T> slope(const Tensor<T>& y, const Tensor<T>& target, const Index*, const Tensor<T>& parameters) {
    if constexpr (plain) {
      if (!parameters.defined()) return Loss::slope(y, target);
    }
    if constexpr (count > 0)
      return with_parameters([&](auto... p) { return Loss::slope(y, target, slice(parameters, 0, p, p + 1)...); });
    else return {};
  }

  static constexpr Index count = loss_parameters<Loss>();
  static constexpr bool plain = requires(const pack<T>& v) { Loss::value(v, v); };  // works without parameters
  static constexpr bool takes_classes = requires { Loss::takes_classes; };
  static constexpr LossMethods<T> methods{Loss::name,
                                          loss_target<Loss>(),
                                          takes_classes,
                                          count,
                                          settle_of<Loss>(),
                                          &sums,
                                          &slopes,
                                          &slope,
                                          count > 0 && !plain};

 private:
  template <class F>
  static auto with_parameters(F f) {
    return [&]<Index... p>(std::integer_sequence<Index, p...>) { return f(p...); }(std::make_integer_sequence<Index, count>());
  }
  template <class... P>
  static void sums_with(const LossColumns<T>& at, double* out, const P*... p) {
    if constexpr (sizeof...(p) == 0)
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
          kernels::detail::map_block(width, part.raw(), AddWeightedLoss<Loss>{}, part.data(), at.y + from, at.targets + from,
                                     at.weights + from, p...);
        else
          kernels::detail::map_block(width, part.raw(), AddLoss<Loss>{}, part.data(), at.y + from, at.targets + from, p...);
      }
      for (Index j = 0; j < width; ++j) out[j] += static_cast<double>(part.data()[j]);
    }
  }
  template <class... P>
  static void slopes_with(const LossColumns<T>& at, const T* scale, T* dy, const P*... p) {
    if constexpr (sizeof...(p) == 0)
      if (at.array() && at.width() == 1) {
        return kernels::map(at.batch, dy, ScaledSlope<Loss, T>{scale[0]}, at.y, at.targets);
      }
    for (Index i = 0; i < at.batch; ++i) {
      const Index from = i * at.columns + at.begin;
      if (at.weights)
        kernels::detail::map_block(at.width(), dy + from, WeightedLossSlope<Loss>{}, at.y + from, at.targets + from,
                                   scale + at.begin, at.weights + from, p...);
      else
        kernels::detail::map_block(at.width(), dy + from, LossSlope<Loss>{}, at.y + from, at.targets + from, scale + at.begin,
                                   p...);
    }
  }
};

/// One sample of a loss of classes.
template <class T>
struct ClassRow {
  Index width, label;
  const T* y;
  const T* parameters;  // of the segment's first column, the rows `stride` apart; null: none
  Index stride;

  double parameter(Index p, Index column = 0) const { return static_cast<double>(parameters[p * stride + column]); }
};

/// A loss of classes has, for a row, `value(row)` and `slope(row, out)`; and `slope(y, chosen, parameters)` on
/// tensors, `chosen` being 1 at each sample's class and 0 elsewhere.
template <class T, class Loss>
struct ClassLoss {
  static void sums(const LossColumns<T>& at, double* out) {
    for (Index i = 0; i < at.batch; ++i) {
      const T w = at.weight(i);
      if (w > 0) *out += static_cast<double>(w) * Loss::value(row(at, i));
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
      Loss::slope(row(at, i), out);
      const T factor = w * scale[at.begin];
      kernels::map(at.width(), out, [factor](const auto& p) __attribute__((always_inline)) { return p * factor; },
                   static_cast<const T*>(out));
    }
  }
  static Tensor<T> slope(const Tensor<T>& y, const Tensor<T>&, const Index* classes, const Tensor<T>& parameters) {
    Tensor<T> chosen = Tensor<T>::zeros(y.shape());
    for (Index i = 0; i < y.shape()[0]; ++i) chosen.raw()[i * y.shape()[1] + classes[i]] = T(1);
    return Loss::slope(y, chosen, parameters);
  }
  static constexpr LossMethods<T> methods{Loss::name, LossTarget::classes, true,    loss_parameters<Loss>(),
                                          &settle_loss<Loss>, &sums,       &slopes, &slope, !requires(const Loss& l) { l.plain(); }};

 private:
  static ClassRow<T> row(const LossColumns<T>& at, Index i) {
    return {at.width(), at.classes[i], at.y + i * at.columns + at.begin, at.parameters ? at.parameter(0) : nullptr, at.columns};
  }
};

}  // namespace detail

/// -log softmax(y)[class], over the columns of a segment.
struct CrossEntropy {
  static constexpr std::string_view name = "cross_entropy";
  static constexpr LossTarget target = LossTarget::classes;
  static constexpr Index parameters = 2;  // smoothing, class weight
  /// Multiply the samples' weights: the loss is sum w l / sum w (PyTorch's weight). A sample whose class has weight 0 counts as
  /// one without a label.
  std::vector<double> class_weights = {};
  /// So much of a label is spread evenly over all classes, in [0, 1) (Szegedy et al. 2016, arXiv 1512.00567). With class
  /// weights each class's share is weighted by its own, as in PyTorch.
  double label_smoothing = 0;

  bool plain() const { return class_weights.empty() && label_smoothing == 0; }
  void settle(LossHead& head) const {
    if (!(label_smoothing >= 0 && label_smoothing < 1))
      head.bad(join("label_smoothing is ", label_smoothing, "; it must be in [0, 1)"));
    head.weigh_classes(class_weights, head.width);
    head.set(0, label_smoothing);
    for (Index j = 0; j < head.width; ++j) head.set(1, j, class_weights.empty() ? 1 : class_weights[static_cast<std::size_t>(j)]);
  }

  template <class T>
  static double value(const detail::ClassRow<T>& at) {
    T lse;
    kernels::logsumexp(1, at.width, at.y, &lse);
    const auto loss = [&](Index j) { return static_cast<double>(lse) - static_cast<double>(at.y[j]); };
    if (!smooth(at)) return loss(at.label);
    double sum = 0;
    for (Index j = 0; j < at.width; ++j)
      if (const double q = share(at, j); q > 0) sum += q * loss(j);
    return sum;
  }
  template <class T>
  static void slope(const detail::ClassRow<T>& at, T* out) {
    kernels::softmax(1, at.width, at.y, out);
    if (!smooth(at)) {
      out[at.label] -= T(1);
      return;
    }
    double all = 0;
    for (Index j = 0; j < at.width; ++j) all += share(at, j);
    for (Index j = 0; j < at.width; ++j) out[j] = static_cast<T>(all * static_cast<double>(out[j]) - share(at, j));
  }
  template <class T>
  static Tensor<T> slope(const Tensor<T>& y, const Tensor<T>& chosen, const Tensor<T>& numbers) {
    const Tensor<T> p = softmax(y, -1);
    if (!numbers.defined()) return p - chosen;
    Tensor<T> shares = Tensor<T>::empty(y.shape());
    const Index width = y.shape()[1];
    for (Index i = 0; i < y.shape()[0]; ++i) {
      const T* const row = chosen.data() + i * width;
      const Index label = std::max_element(row, row + width) - row;
      const detail::ClassRow<T> at{width, label, nullptr, numbers.data(), width};
      for (Index j = 0; j < width; ++j) shares.raw()[i * width + j] = static_cast<T>(share(at, j));
    }
    return p * sum(shares, {-1}, {.keep_axes = true}) - shares;
  }

 private:
  template <class T>
  static bool smooth(const detail::ClassRow<T>& at) {
    return at.parameters && at.parameter(0) > 0;
  }
  /// What class j has of the label. The sample's own class weight is in its weight already.
  template <class T>
  static double share(const detail::ClassRow<T>& at, Index j) {
    const double smoothing = at.parameter(0), own = at.parameter(1, at.label);
    const double spread = own > 0 ? smoothing / static_cast<double>(at.width) * (at.parameter(1, j) / own) : 0;
    return spread + (j == at.label ? 1 - smoothing : 0);
  }
};

namespace detail {
template <class Loss>
inline constexpr bool is_class_loss = loss_target<Loss>() == LossTarget::classes;

/// Which way a loss computes.
template <class T, class Loss>
struct LossTable : ElementwiseLoss<T, Loss> {};
template <class T, class Loss>
  requires is_class_loss<Loss>
struct LossTable<T, Loss> : ClassLoss<T, Loss> {};

template <class Loss, class V>
constexpr bool computes_on() {
  return []<Index... p>(std::integer_sequence<Index, p...>) {
    return requires(const V& v) {
      { Loss::value(v, v, (static_cast<void>(p), v)...) } -> std::convertible_to<V>;
      { Loss::slope(v, v, (static_cast<void>(p), v)...) } -> std::convertible_to<V>;
    };
  }(std::make_integer_sequence<Index, loss_parameters<Loss>()>());
}
}  // namespace detail

/// A struct that segment_losses can run: elementwise, or one of classes like CrossEntropy.
template <class Loss>
concept SegmentLoss = requires {
  { Loss::name } -> std::convertible_to<std::string_view>;
} && (detail::is_class_loss<Loss> || detail::computes_on<Loss, pack<float>>());

/// The table of a loss.
template <class T, SegmentLoss Loss>
constexpr const LossMethods<T>& loss_methods = detail::LossTable<T, Loss>::methods;

}  // namespace espalier::inline ESPALIER_ABI
