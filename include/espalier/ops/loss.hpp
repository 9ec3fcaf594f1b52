#pragma once
// Losses with label weights: mse, mae, bce_with_logits, cross_entropy; and segment_losses, which computes those of many heads
// from one block of predictions.
//
// A loss is the weighted mean over what is labelled: sum w l / sum w, with w = 1 where no weights are given. Weight 0 means no
// label: the value behind it is selected away, never multiplied, so it may be NaN. Nothing labelled gives loss 0, gradient 0.

#include "espalier/ops/columns.hpp"
#include "espalier/ops/linalg.hpp"
#include "espalier/tensor/values.hpp"

namespace espalier::inline ESPALIER_ABI {

enum class LossKind : unsigned char { mse, mae, bce_with_logits, cross_entropy };

/// (y - t)^2
struct MSE {
  static constexpr std::string_view name = "mse";
  static constexpr LossKind kind = LossKind::mse;
  ESPALIER_INLINE static auto value(const auto& y, const auto& t) {
    const auto d = y - t;
    return d * d;
  }
  ESPALIER_INLINE static auto slope(const auto& y, const auto& t) { return 2 * (y - t); }
};
/// |y - t|
struct MAE {
  static constexpr std::string_view name = "mae";
  static constexpr LossKind kind = LossKind::mae;
  ESPALIER_INLINE static auto value(const auto& y, const auto& t) { return abs(y - t); }
  ESPALIER_INLINE static auto slope(const auto& y, const auto& t) { return sign(y - t); }
};
/// -(t log p + (1 - t) log(1 - p)) with p = sigmoid(y), from the logit.
struct BCEWithLogits {
  static constexpr std::string_view name = "bce_with_logits";
  static constexpr LossKind kind = LossKind::bce_with_logits;
  ESPALIER_INLINE static auto value(const auto& y, const auto& t) { return softplus(y) - y * t; }
  ESPALIER_INLINE static auto slope(const auto& y, const auto& t) { return sigmoid(y) - t; }
};
/// -log softmax(y)[class]
struct CrossEntropy {
  static constexpr std::string_view name = "cross_entropy";
  static constexpr LossKind kind = LossKind::cross_entropy;
};

/// One head's part of a block of predictions, and what it should have predicted.
template <class T>
struct LossSegment {
  LossKind kind;
  Index begin, end;  // columns
  const Target<T>* target;
  std::string_view task;  // for messages
};

namespace detail {

/// Calls f with the loss struct of an elementwise kind.
template <class F>
void with_loss(LossKind kind, F&& f) {
  if (kind == LossKind::mse) f(MSE{});
  else if (kind == LossKind::mae) f(MAE{});
  else f(BCEWithLogits{});
}
constexpr std::string_view loss_name(LossKind kind) {
  switch (kind) {
    case LossKind::mse: return MSE::name;
    case LossKind::mae: return MAE::name;
    case LossKind::bce_with_logits: return BCEWithLogits::name;
    default: return CrossEntropy::name;
  }
}

// Packs see the weights as numbers; a selection keeps what has no weight out even when it is NaN.
template <class Loss>
struct WeightedLoss {
  ESPALIER_INLINE auto operator()(const auto& sum, const auto& y, const auto& t) const { return sum + Loss::value(y, t); }
  ESPALIER_INLINE auto operator()(const auto& sum, const auto& y, const auto& t, const auto& w) const {
    return sum + select(w > 0, w * Loss::value(y, t), 0);
  }
};
template <class Loss>
struct WeightedSlope {
  ESPALIER_INLINE auto operator()(const auto& y, const auto& t, const auto& scale) const { return Loss::slope(y, t) * scale; }
  ESPALIER_INLINE auto operator()(const auto& y, const auto& t, const auto& scale, const auto& w) const {
    return select(w > 0, Loss::slope(y, t) * (w * scale), 0);
  }
};

}  // namespace detail

/// The losses of the segments of a block, [segments]. Keeps a diagonal cotangent diagonal: a task's loss depends on its own
/// columns alone. Columns of no segment have gradient 0.
template <class T>
struct SegmentLosses {
  static constexpr std::string_view name = "segment_losses";
  static constexpr bool rows_together = true;
  static constexpr bool keeps_diagonal = true;
  static void samples(auto&& check) {
    Rng rng{3};
    const Target<T> numbers(Tensor<T>::normal({4, 2}, rng)), weighted(Tensor<T>::normal({4, 1}, rng), Tensor<T>({4}, {1, 0, 2, 1}));
    const Target<T> elements(Tensor<T>::uniform({4, 2}, 0, 1, rng), Tensor<T>({4, 2}, {1, 0, 2, 1, 0, 0, 1, 3}));
    const Target<T> classes(Tensor<Index>({4}, {2, 0, 1, 1}), Tensor<T>({4}, {1, 2, 0, 1}));
    const Target<T> none(Tensor<T>::normal({4}, rng), Tensor<T>::zeros({4}));
    check(
        [=](const auto& x) {
          const LossSegment<T> all[] = {{LossKind::mse, 0, 2, &numbers, "a"},
                                        {LossKind::mae, 2, 3, &weighted, "b"},
                                        {LossKind::bce_with_logits, 3, 5, &elements, "c"},
                                        {LossKind::cross_entropy, 5, 8, &classes, "d"},
                                        {LossKind::mse, 8, 9, &none, "e"}};
          return segment_losses(x[0], std::span<const LossSegment<T>>(all));
        },
        {Shape{4, 9}});
    check([=](const auto& x) { return mse(x[0], numbers); }, {Shape{4, 2}});
    check([=](const auto& x) { return cross_entropy(x[0], classes); }, {Shape{4, 3}});
  }

  struct Segment {
    LossKind kind;
    Index begin, end;
    T scale;  // 1 / sum of weights; 0 where nothing is labelled
  };
  Saved<T> block;                   // [batch, columns]
  Saved<T> targets;                 // [batch, columns]; only columns of elementwise losses are filled
  Tensor<T> weights;                // [batch, columns]; undefined when all are 1
  Tensor<Index> classes;            // [segments, batch] where there is cross-entropy
  PoolVector<Segment> segments;

  void vjp(Sweep<T>& sweep, Node<T>& node, Cotangent<T>& g) {
    const Tensor<T>&y = block.get(node), &t = targets.get(node);
    if (sweep.recording()) return sweep.emit(node, 0, generic(y, t, g.value));
    const Index count = static_cast<Index>(segments.size()), columns = y.shape()[1], batch = y.shape()[0];
    const Index rows = g.labels.rows() ? g.labels.count() : 1;
    Tensor<T> dy = Tensor<T>::empty(g.value.shape().part(0, g.lead()) + y.shape());
    Tensor<T> scale = Tensor<T>::empty({columns});
    for (Index r = 0; r < rows; ++r) {
      for (Index k = 0; k < count; ++k) {
        const Segment& s = segments[static_cast<std::size_t>(k)];
        std::fill(scale.raw() + s.begin, scale.raw() + s.end, s.scale * g.value.data()[r * count + k]);
      }
      slopes(y, t.data(), scale.data(), dy.raw() + r * batch * columns);
    }
    Labels labels = g.labels;
    if (labels.diagonal()) {  // from positions among the losses to columns of the block
      labels = Labels(g.labels.count(), true);
      for (Index i = 0; i < labels.count(); ++i) {
        const Segment& s = segments[static_cast<std::size_t>(g.labels[i].begin)];
        labels.begin()[i] = {g.labels[i].task, s.begin, s.end};
      }
    }
    sweep.emit(node, 0, std::move(dy), labels);
  }

  /// Sums over the batch of weight times loss, per segment, in double.
  void sums(const Tensor<T>& y, const Tensor<T>& t, double* out) const {
    const Index columns = y.shape()[1], batch = y.shape()[0];
    PoolVector<double> column_sums(static_cast<std::size_t>(columns), 0);
    each_run([&](LossKind kind, Index begin, Index end) {
      const Index width = end - begin;
      if (width == columns && !weights.defined()) {  // one run of all columns: an array
        if (segments.size() == 1)
          detail::with_loss(kind, [&]<class Loss>(Loss) {
            column_sums[0] = kernels::sum_of(batch * columns, detail::ValueOf<Loss>{}, y.data(), t.data());
          });
        if (segments.size() == 1) return;
      }
      Tensor<T> part = Tensor<T>::empty({width});
      for (Index start = 0; start < batch; start += 64) {
        part.fill(T(0));
        for (Index i = start; i < std::min(batch, start + 64); ++i) {
          const Index at = i * columns + begin;
          detail::with_loss(kind, [&]<class Loss>(Loss) {
            if (weights.defined())
              kernels::detail::map_block(width, part.raw(), detail::WeightedLoss<Loss>{}, part.data(), y.data() + at,
                                         t.data() + at, weights.data() + at);
            else
              kernels::detail::map_block(width, part.raw(), detail::WeightedLoss<Loss>{}, part.data(), y.data() + at,
                                         t.data() + at);
          });
        }
        for (Index j = 0; j < width; ++j)
          column_sums[static_cast<std::size_t>(begin + j)] += static_cast<double>(part.data()[j]);
      }
    });
    for (std::size_t k = 0; k < segments.size(); ++k) {
      const Segment& s = segments[k];
      out[k] = 0;
      if (s.kind == LossKind::cross_entropy) out[k] = cross_entropy_sum(y, static_cast<Index>(k));
      else if (segments.size() == 1 && !weights.defined() && s.end - s.begin == columns) out[k] = column_sums[0];
      else
        for (Index j = s.begin; j < s.end; ++j) out[k] += column_sums[static_cast<std::size_t>(j)];
    }
  }

 private:
  /// Runs of neighbouring segments of one elementwise kind.
  template <class F>
  void each_run(F&& f) const {
    for (std::size_t k = 0; k < segments.size();) {
      const std::size_t first = k;
      do ++k;
      while (k < segments.size() && segments[k].kind == segments[first].kind && segments[k].begin == segments[k - 1].end);
      if (segments[first].kind != LossKind::cross_entropy) f(segments[first].kind, segments[first].begin, segments[k - 1].end);
    }
  }
  const Index* classes_of(Index k) const { return classes.data() + k * classes.shape()[1]; }
  T weight_of(Index row, const Segment& s, Index columns) const {
    return weights.defined() ? weights.data()[row * columns + s.begin] : T(1);
  }

  double cross_entropy_sum(const Tensor<T>& y, Index k) const {
    const Segment& s = segments[static_cast<std::size_t>(k)];
    const Index columns = y.shape()[1], width = s.end - s.begin;
    Tensor<T> scratch = Tensor<T>::empty({width});
    double sum = 0;
    for (Index i = 0; i < y.shape()[0]; ++i) {
      const T w = weight_of(i, s, columns);
      if (!(w > 0)) continue;
      const T* row = y.data() + i * columns + s.begin;
      T lse;
      kernels::logsumexp(1, width, row, &lse, scratch.raw());
      sum += static_cast<double>(w) * (static_cast<double>(lse) - static_cast<double>(row[classes_of(k)[i]]));
    }
    return sum;
  }

  /// dy = scale * weight * slope, column by column.
  void slopes(const Tensor<T>& y, const T* target, const T* scale, T* dy) const {
    const Index columns = y.shape()[1], batch = y.shape()[0];
    Index covered = 0;
    for (const Segment& s : segments) covered += s.end - s.begin;
    if (covered < columns) std::fill_n(dy, batch * columns, T(0));
    each_run([&](LossKind kind, Index begin, Index end) {
      const Index width = end - begin;
      detail::with_loss(kind, [&]<class Loss>(Loss) {
        if (width == columns && segments.size() == 1 && !weights.defined()) {  // an array with one factor
          const pack<T> factor(scale[begin]);
          const auto f = [&factor](const auto& p, const auto& t) { return Loss::slope(p, t) * factor; };
          kernels::map(batch * columns, dy, f, y.data(), target);
          return;
        }
        for (Index i = 0; i < batch; ++i) {
          const Index at = i * columns + begin;
          if (weights.defined())
            kernels::detail::map_block(width, dy + at, detail::WeightedSlope<Loss>{}, y.data() + at, target + at,
                                       scale + begin, weights.data() + at);
          else
            kernels::detail::map_block(width, dy + at, detail::WeightedSlope<Loss>{}, y.data() + at, target + at,
                                       scale + begin);
        }
      });
    });
    for (std::size_t k = 0; k < segments.size(); ++k) {
      const Segment& s = segments[k];
      if (s.kind != LossKind::cross_entropy) continue;
      const Index width = s.end - s.begin;
      for (Index i = 0; i < batch; ++i) {
        T* out = dy + i * columns + s.begin;
        const T w = weight_of(i, s, columns);
        if (!(w > 0)) {
          std::fill_n(out, width, T(0));
          continue;
        }
        kernels::softmax(1, width, y.data() + i * columns + s.begin, out);
        out[classes_of(static_cast<Index>(k))[i]] -= T(1);
        const pack<T> factor(w * scale[s.begin]);
        kernels::map(width, out, [&factor](const auto& p) { return p * factor; }, static_cast<const T*>(out));
      }
    }
  }

  /// Graph operations only: the truth that `slopes` is tested against, and the way to second derivatives.
  Tensor<T> generic(const Tensor<T>& y, const Tensor<T>& target, const Tensor<T>& g) const {
    std::vector<Tensor<T>> parts;
    Index covered = 0;
    const auto gap = [&](Index end) {
      if (covered < end) parts.push_back(Tensor<T>::zeros({y.shape()[0], end - covered}));
    };
    for (std::size_t k = 0; k < segments.size(); ++k) {
      const Segment& s = segments[k];
      gap(s.begin);
      covered = s.end;
      const Tensor<T> p = slice(y, 1, s.begin, s.end);
      Tensor<T> slope;
      if (s.kind == LossKind::cross_entropy) {
        Tensor<T> chosen = Tensor<T>::zeros(p.shape());
        for (Index i = 0; i < p.shape()[0]; ++i)
          chosen.raw()[i * p.shape()[1] + classes_of(static_cast<Index>(k))[i]] = T(1);
        slope = softmax(p, -1) - chosen;
      } else {
        const Tensor<T> t = slice(target, 1, s.begin, s.end);
        detail::with_loss(s.kind, [&]<class Loss>(Loss) { slope = Loss::slope(p, t); });
      }
      slope = slope * (s.scale * slice(g, 0, static_cast<Index>(k), static_cast<Index>(k) + 1));
      if (weights.defined()) {
        const Tensor<T> w = slice(weights, 1, s.begin, s.end);
        slope = where(w > Tensor<T>::scalar(0), slope * w, Tensor<T>::scalar(0));
      }
      parts.push_back(slope);
    }
    gap(y.shape()[1]);
    return concat(parts, 1);
  }
};

namespace detail {

template <class T>
[[noreturn]] void bad_target(const LossSegment<T>& s, const std::string& what) {
  fail(loss_name(s.kind), ": task '", s.task, "': ", what);
}

/// Copies the targets and weights of one segment into the blocks; returns the sum of its weights.
template <class T>
double fill_segment(const LossSegment<T>& s, Index batch, Index columns, Tensor<T>& targets, Tensor<T>& weights, Index* classes) {
  const Target<T>& target = *s.target;
  const Index width = s.end - s.begin;
  const bool by_class = s.kind == LossKind::cross_entropy;
  const Tensor<T>&value = target.value, &w = target.weight;
  const bool class_values = target.classes.defined();
  if (by_class && !class_values) bad_target(s, "the target has values; cross-entropy needs classes, a Tensor<Index> [batch]");
  if (!value.defined() && !class_values) bad_target(s, "the target is undefined");
  if (class_values && !by_class && s.kind != LossKind::bce_with_logits)
    bad_target(s, "the target has classes; this loss needs values");
  const Shape& shape = class_values ? target.classes.shape() : value.shape();
  const Index expected_width = by_class ? 1 : width;
  const auto is = [batch](const Shape& found, Index elements) {
    return found.rank() > 0 && found[0] == batch && found.size() == batch * elements;
  };
  if (!is(shape, expected_width))
    bad_target(s, join("the target is ", shape, ", the prediction [", batch, ", ", width, "]; the target must be ",
                       Shape{batch, expected_width}, expected_width == 1 ? join(" or ", Shape{batch}) : ""));
  const bool per_sample = w.defined() && is(w.shape(), 1);
  if (w.defined() && !per_sample && (by_class || !is(w.shape(), width)))
    bad_target(s, join("the weight is ", w.shape(), "; it must be [", batch, "], one per sample",
                       by_class ? "" : ", or the target's shape"));
  double sum = 0;
  for (Index i = 0; i < batch; ++i)
    for (Index j = 0; j < (by_class ? 1 : width); ++j) {
      const T weight = !w.defined() ? T(1) : per_sample ? w.data()[i] : w.data()[i * width + j];
      if (!(weight >= T(0)) || weight == std::numeric_limits<T>::infinity())
        bad_target(s, join("the weight of sample ", i, " is ", static_cast<double>(weight), "; weights are finite and not negative"));
      sum += static_cast<double>(weight);
      if (weights.defined())
        std::fill_n(weights.raw() + i * columns + s.begin + j, by_class ? width : 1, weight);
      if (by_class) {
        const Index c = target.classes.data()[i];
        if (weight > T(0) && (c < 0 || c >= width))
          bad_target(s, join("sample ", i, " has class ", c, "; classes must lie in [0, ", width - 1, "]"));
        classes[i] = weight > T(0) ? c : 0;
      } else if (class_values) {
        const Index c = target.classes.data()[i * expected_width + j];
        if (weight > T(0) && (c < 0 || c > 1)) bad_target(s, join("sample ", i, " has class ", c, "; it must be 0 or 1"));
        targets.raw()[i * columns + s.begin + j] = weight > T(0) ? static_cast<T>(c) : T(0);
      } else {
        targets.raw()[i * columns + s.begin + j] = weight > T(0) ? value.data()[i * width + j] : T(0);
      }
    }
  return sum;
}

}  // namespace detail

/// The losses of `segments` (in the order of the columns) of a block [batch, columns]; columns of no segment count for
/// nothing. Writes the sums of the label weights to `weight_sums` where given. Throws Error naming the task for every
/// mismatch.
template <Differentiable T>
Tensor<T> segment_losses(const Tensor<T>& block, std::span<const LossSegment<T>> segments, std::span<double> weight_sums = {}) {
  require(block, "segment_losses", "block");
  if (block.rank() != 2) fail("segment_losses: the predictions are ", block.shape(), "; they must be [batch, columns]");
  const Index batch = block.shape()[0], columns = block.shape()[1], count = static_cast<Index>(segments.size());
  SegmentLosses<T> rule;
  rule.block = Saved<T>(block);
  bool weighted = false, classes = false;
  Index covered = 0;
  for (const LossSegment<T>& s : segments) {
    if (s.begin < covered || s.end < s.begin || s.end > columns)
      fail("segment_losses: segment '", s.task, "' is [", s.begin, ", ", s.end, "); it must lie in [", covered, ", ", columns, "]");
    covered = s.end;
    weighted |= s.target->weight.defined();
    classes |= s.kind == LossKind::cross_entropy;
  }
  double local_sums[16];
  PoolVector<double> many;
  double* sums = weight_sums.data();
  if (weight_sums.empty()) {
    if (count > 16) many.resize(static_cast<std::size_t>(count));
    sums = count > 16 ? many.data() : local_sums;
  }
  rule.segments.reserve(segments.size());
  const bool plain = count == 1 && segments[0].begin == 0 && covered == columns && !weighted && !classes &&
                     segments[0].target->value.size() == block.size() && segments[0].target->value.rank() > 0 &&
                     segments[0].target->value.shape()[0] == batch && segments[0].target->value.defined();
  Tensor<T> targets;
  if (plain) {  // the target itself is the block of targets
    targets = segments[0].target->value.view(block.shape());
    sums[0] = static_cast<double>(block.size());
  } else {
    targets = Tensor<T>::empty(block.shape());
    if (weighted) rule.weights = Tensor<T>::empty(block.shape());
    if (classes) rule.classes = Tensor<Index>::empty({count, batch});
    for (Index k = 0; k < count; ++k)
      sums[k] = detail::fill_segment(segments[static_cast<std::size_t>(k)], batch, columns, targets, rule.weights,
                                     classes ? rule.classes.raw() + k * batch : nullptr);
  }
  for (Index k = 0; k < count; ++k) {
    const LossSegment<T>& s = segments[static_cast<std::size_t>(k)];
    rule.segments.push_back({s.kind, s.begin, s.end, sums[k] > 0 ? static_cast<T>(1 / sums[k]) : T(0)});
  }
  Tensor<T> losses = Tensor<T>::empty({count});
  PoolVector<double> totals(static_cast<std::size_t>(count));
  rule.targets = Saved<T>(targets);
  rule.sums(block, targets, totals.data());
  for (Index k = 0; k < count; ++k)
    losses.raw()[k] = sums[k] > 0 ? static_cast<T>(totals[static_cast<std::size_t>(k)] / sums[k]) : T(0);
  if (recorded(block)) record(losses, std::move(rule), block);
  return losses;
}

namespace detail {
/// The loss of one prediction [batch, ...], [1], and the sum of its label weights.
template <class T>
Tensor<T> one_loss(LossKind kind, const Tensor<T>& prediction, const Target<T>& target, std::string_view task, double& weight_sum) {
  require(prediction, loss_name(kind), "prediction");
  const Shape& shape = prediction.shape();
  if (kind == LossKind::cross_entropy ? shape.rank() != 2 : shape.rank() == 0)
    fail(loss_name(kind), ": task '", task, "': the prediction is ", shape, "; it must be [batch, ",
         kind == LossKind::cross_entropy ? "classes]" : "...]");
  const Tensor<T> block = shape.rank() == 2 ? prediction : reshape(prediction, {shape[0], shape.span(1, shape.rank())});
  const LossSegment<T> segment{kind, 0, block.shape()[1], &target, task};
  return segment_losses(block, std::span<const LossSegment<T>>(&segment, 1), std::span<double>(&weight_sum, 1));
}
template <class T>
Tensor<T> scalar_loss(LossKind kind, const Tensor<T>& prediction, const Target<T>& target) {
  double weight_sum = 0;
  return reshape(one_loss(kind, prediction, target, "loss", weight_sum), {});
}
}  // namespace detail

/// Mean squared error, [] (PyTorch's mean reduction). The prediction is [batch, ...], the target as large.
template <Differentiable T>
Tensor<T> mse(const Tensor<T>& prediction, const std::type_identity_t<Target<T>>& target) {
  return detail::scalar_loss(LossKind::mse, prediction, target);
}
/// Mean absolute error.
template <Differentiable T>
Tensor<T> mae(const Tensor<T>& prediction, const std::type_identity_t<Target<T>>& target) {
  return detail::scalar_loss(LossKind::mae, prediction, target);
}
/// Binary cross-entropy of logits; the target is in [0, 1], or classes 0 and 1.
template <Differentiable T>
Tensor<T> bce_with_logits(const Tensor<T>& logits, const std::type_identity_t<Target<T>>& target) {
  return detail::scalar_loss(LossKind::bce_with_logits, logits, target);
}
/// Cross-entropy of logits [batch, classes] with classes [batch].
template <Differentiable T>
Tensor<T> cross_entropy(const Tensor<T>& logits, const std::type_identity_t<Target<T>>& target) {
  return detail::scalar_loss(LossKind::cross_entropy, logits, target);
}

}  // namespace espalier::inline ESPALIER_ABI
