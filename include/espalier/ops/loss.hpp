#pragma once
// Losses with label weights: mse, mae, bce_with_logits, cross_entropy, mean_loss (of any loss struct, with its options); and
// segment_losses, which computes those of many heads from one block of predictions.
//
// A loss is the weighted mean over what is labelled: sum w l / sum w, with w = 1 where no weights are given. Weight 0 means no
// label: the value behind it is selected away, never multiplied, so it may be NaN. Nothing labelled gives loss 0, gradient 0.

#include "espalier/ops/columns.hpp"
#include "espalier/ops/loss_methods.hpp"

namespace espalier::inline ESPALIER_ABI {

/// One head's part of a block of predictions, and what it should have predicted.
template <class T>
struct LossSegment {
  const LossMethods<T>* loss;  // &loss_methods<T, MSE>, ...
  Index begin, end;  // columns
  const Target<T>* target;
  std::string_view task;  // for messages
  const void* options = nullptr;  // the loss itself, where its options are to count or it has no others; read in the call alone
};

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
    const BCEWithLogits rare{.positive_weights = {3, 0.5}};
    const CrossEntropy smooth{.class_weights = {1, 3, 0.5}, .label_smoothing = 0.2};
    check(
        [=](const auto& x) {
          const LossSegment<T> all[] = {{&loss_methods<T, MSE>, 0, 2, &numbers, "a"},
                                        {&loss_methods<T, MAE>, 2, 3, &weighted, "b"},
                                        {&loss_methods<T, BCEWithLogits>, 3, 5, &elements, "c"},
                                        {&loss_methods<T, CrossEntropy>, 5, 8, &classes, "d"},
                                        {&loss_methods<T, MSE>, 8, 9, &none, "e"},
                                        {&loss_methods<T, BCEWithLogits>, 9, 11, &elements, "f", &rare},
                                        {&loss_methods<T, CrossEntropy>, 11, 14, &classes, "g", &smooth}};
          return segment_losses(x[0], std::span<const LossSegment<T>>(all));
        },
        {Shape{4, 14}});
    check([=](const auto& x) { return mse(x[0], numbers); }, {Shape{4, 2}});
    check([=](const auto& x) { return cross_entropy(x[0], classes); }, {Shape{4, 3}});
  }

  struct Segment {
    const LossMethods<T>* loss;
    Index begin, end;
    T scale;  // 1 / sum of weights; 0 where nothing is labelled
    bool settled;  // has parameters
  };
  Saved<T> block;                   // [batch, columns]
  Saved<T> targets;                 // [batch, columns]; only columns of elementwise losses are filled
  Tensor<T> weights;                // [batch, columns]; undefined when all are 1
  Tensor<Index> classes;            // [segments, batch] where there is a loss of classes
  Tensor<T> parameters;             // [count, columns] where there is a loss with options
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
      slopes(y, t, scale.data(), dy.raw() + r * batch * columns);
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
    const Index columns = y.shape()[1];
    PoolVector<double> column_sums(static_cast<std::size_t>(std::max<Index>(1, columns)), 0);
    each_run(y, t, [&](const LossMethods<T>& loss, const LossColumns<T>& at) {
      loss.sums(at, column_sums.data() + std::min(at.begin, std::max<Index>(0, columns - 1)));
    });
    for (std::size_t k = 0; k < segments.size(); ++k) {
      const Segment& s = segments[k];
      out[k] = 0;
      const Index end = s.loss->of_classes() ? std::min(s.end, s.begin + 1) : s.end;
      for (Index j = s.begin; j < end; ++j) out[k] += column_sums[static_cast<std::size_t>(j)];
    }
  }

 private:
  /// Runs of neighbouring segments of one elementwise loss, and segments of classes one by one. With `scale`, [columns], those
  /// where it is 0 are left out.
  template <class F>
  void each_run(const Tensor<T>& y, const Tensor<T>& t, F&& f, const T* scale = nullptr) const {
    const Index batch = y.shape()[0], columns = y.shape()[1];
    const auto left_out = [&](std::size_t k) {
      const Segment& s = segments[k];
      return scale && s.begin < s.end && scale[s.begin] == 0;
    };
    for (std::size_t k = 0; k < segments.size();) {
      const std::size_t first = k++;
      if (left_out(first)) continue;
      const LossMethods<T>& loss = *segments[first].loss;
      const bool settled = segments[first].settled;
      while (!loss.of_classes() && k < segments.size() && segments[k].loss == &loss && segments[k].settled == settled &&
             segments[k].begin == segments[k - 1].end && !left_out(k))
        ++k;
      f(loss, LossColumns<T>{batch, columns, segments[first].begin, segments[k - 1].end, y.data(), t.data(),
                             weights.defined() ? weights.data() : nullptr,
                             classes.defined() ? classes_of(static_cast<Index>(first)) : nullptr,
                             settled ? parameters.data() : nullptr});
    }
  }
  const Index* classes_of(Index k) const { return classes.data() + k * classes.shape()[1]; }

  /// dy = scale * weight * slope, column by column. Where the scale is 0, a task that is absent or has been stopped, dy is 0
  /// whatever the slope, which may be NaN.
  void slopes(const Tensor<T>& y, const Tensor<T>& target, const T* scale, T* dy) const {
    Index covered = 0;
    for (const Segment& s : segments) covered += s.begin < s.end && scale[s.begin] != 0 ? s.end - s.begin : 0;
    if (covered < y.shape()[1]) std::fill_n(dy, y.size(), T(0));
    each_run(y, target, [&](const LossMethods<T>& loss, const LossColumns<T>& at) { loss.slopes(at, scale, dy); }, scale);
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
      Tensor<T> slope = s.loss->slope(p, slice(target, 1, s.begin, s.end),
                                      classes.defined() ? classes_of(static_cast<Index>(k)) : nullptr,
                                      s.settled ? slice(slice(parameters, 0, 0, s.loss->parameters), 1, s.begin, s.end)
                                                : Tensor<T>());
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
  fail(s.loss->name, ": task '", s.task, "': ", what);
}

template <class T>
[[noreturn]] void bad_sample(const LossSegment<T>& s, Index sample, std::string_view before, std::string after) {
  throw SampleError(sample, join(s.loss->name, ": task '", s.task, "': ", before), std::move(after));
}
/// Writes neighbouring columns of a block row by row: one by one they would fetch every row's cache line once a column.
template <class T>
class ColumnCopies {
 public:
  ColumnCopies(T* block, Index rows, Index columns) : block_(block), rows_(rows), columns_(columns) {}
  void add(Index column, const T* from) {
    if (count_ == most || (count_ > 0 && column != first_ + count_)) flush();
    if (count_ == 0) first_ = column;
    from_[count_++] = from;
  }
  void flush() {
    for (Index i = 0; i < rows_; ++i)
      for (Index j = 0; j < count_; ++j) block_[i * columns_ + first_ + j] = from_[j][i];
    count_ = 0;
  }

 private:
  static constexpr Index most = 16;
  T* block_;
  Index rows_, columns_, first_ = 0, count_ = 0;
  const T* from_[most];
};

/// Copies the targets and weights of one segment into the blocks; returns the sum of its weights.
template <class T>
double fill_segment(const LossSegment<T>& s, const LossHead& head, Index batch, Index columns, Tensor<T>& targets,
                    ColumnCopies<T>& copies, Tensor<T>& weights, Index* classes) {
  const Target<T>& target = *s.target;
  const Index width = s.end - s.begin;
  const bool of_classes = s.loss->of_classes(), by_class = s.loss->by_class();
  const Tensor<T>&value = target.value, &w = target.weight;
  const bool class_values = target.classes.defined();
  if (by_class && !class_values) bad_target(s, "the target has values; this loss needs classes, a Tensor<Index> [batch]");
  if (!value.defined() && !class_values) bad_target(s, "the target is undefined");
  if (class_values && !by_class && !s.loss->takes_classes) bad_target(s, "the target has classes; this loss needs values");
  const Shape& shape = class_values ? target.classes.shape() : value.shape();
  const Index each = by_class ? width : head.each, labels = by_class ? 1 : width / head.each;  // columns a label; labels a sample
  const auto is = [batch](const Shape& found, Index elements) {
    return found.rank() > 0 && found[0] == batch && found.size() == batch * elements;
  };
  if (!is(shape, labels))
    bad_target(s, join("the target is ", shape, ", the prediction [", batch, ", ", width, "]; the target must be ",
                       Shape{batch, labels}, labels == 1 ? join(" or ", Shape{batch}) : ""));
  const bool per_sample = w.defined() && is(w.shape(), 1);
  if (w.defined() && !per_sample && (by_class || !is(w.shape(), labels)))
    bad_target(s, join("the weight is ", w.shape(), "; it must be [", batch, "], one per sample",
                       by_class ? "" : ", or the target's shape"));
  if (!w.defined() && value.defined() && !class_values && !by_class &&
      each == 1) {  // the common case: every label there, numbers to copy
    if (width == 1) copies.add(s.begin, value.data());
    for (Index i = 0; width > 1 && i < batch; ++i)
      std::copy_n(value.data() + i * width, width, targets.raw() + i * columns + s.begin);
    for (Index i = 0; weights.defined() && i < batch; ++i) std::fill_n(weights.raw() + i * columns + s.begin, width, T(1));
    return static_cast<double>(batch * width);
  }
  const Index last = of_classes ? width - 1 : by_class ? width : 1;  // class
  double sum = 0;
  for (Index i = 0; i < batch; ++i)
    for (Index j = 0; j < labels; ++j) {
      T weight = !w.defined() ? T(1) : per_sample ? w.data()[i] : w.data()[i * labels + j];
      if (!(weight >= T(0)) || weight == std::numeric_limits<T>::infinity())
        bad_sample(s, i, "the weight of ", join(" is ", static_cast<double>(weight), "; weights are finite and not negative"));
      const Index at = i * columns + s.begin + j * each;
      Index label = 0;
      T number = 0;
      if (class_values && weight > T(0)) {
        label = target.classes.data()[i * labels + j];
        if (by_class && (label < 0 || label > last))
          bad_sample(s, i, "", join(" has class ", label, "; classes must lie in [0, ", last, "]"));
        if (label < 0 || label > last) bad_sample(s, i, "", join(" has class ", label, "; it must be 0 or 1"));
        number = static_cast<T>(label);
        if (!head.class_weights.empty()) weight *= static_cast<T>(head.class_weights[static_cast<std::size_t>(label)]);
      } else if (weight > T(0)) {
        number = value.data()[i * labels + j];
      }
      sum += static_cast<double>(weight) * static_cast<double>(by_class ? 1 : each);
      if (weights.defined()) std::fill_n(weights.raw() + at, each, weight);
      if (of_classes) classes[i] = label;
      else if (by_class)
        for (Index c = 0; c < width; ++c) targets.raw()[at + c] = static_cast<T>(label > c);
      else std::fill_n(targets.raw() + at, each, number);
    }
  return sum;
}

/// Brings the options of a loss, where there are any, to a head of so many columns.
template <class T>
void settle_loss_of(const LossMethods<T>& loss, const void* options, std::string_view task, Index width, LossHead& head) {
  head.loss = loss.name;
  head.task = task;
  head.width = width;
  head.each = 1;
  head.class_weights = {};
  head.parameters.clear();
  if (!options) return;
  head.parameters.resize(static_cast<std::size_t>(loss.parameters * width));
  loss.settle(options, head);
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
  Index covered = 0, parameters = 0;
  for (const LossSegment<T>& s : segments) {
    if (s.begin < covered || s.end < s.begin || s.end > columns)
      fail("segment_losses: segment '", s.task, "' is [", s.begin, ", ", s.end, "); it must lie in [", covered, ", ", columns, "]");
    if (!s.options && s.loss->needs_options)
      fail("segment_losses: segment '", s.task, "' has the loss ", s.loss->name,
           " without its options; let `options` point to the loss");
    covered = s.end;
    weighted |= s.target->weight.defined();
    classes |= s.loss->of_classes();
    parameters = std::max(parameters, s.options ? s.loss->parameters : 0);
  }
  LossHead head;  // settled twice: whether there are class weights must be known before anything is laid out
  for (const LossSegment<T>& s : segments) {
    if (!s.options) continue;
    detail::settle_loss_of(*s.loss, s.options, s.task, s.end - s.begin, head);
    weighted |= !head.class_weights.empty();
  }
  double local_sums[16];
  PoolVector<double> many;
  double* sums = weight_sums.data();
  if (weight_sums.empty()) {
    if (count > 16) many.resize(static_cast<std::size_t>(count));
    sums = count > 16 ? many.data() : local_sums;
  }
  rule.segments.reserve(segments.size());
  const bool plain = count == 1 && segments[0].begin == 0 && covered == columns && !weighted && parameters == 0 &&
                     !segments[0].options && !segments[0].loss->by_class() && !segments[0].target->classes.defined() &&
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
    detail::ColumnCopies<T> copies(targets.raw(), batch, columns);
    if (parameters > 0) rule.parameters = Tensor<T>::zeros({parameters, columns});
    for (Index k = 0; k < count; ++k) {
      const LossSegment<T>& s = segments[static_cast<std::size_t>(k)];
      detail::settle_loss_of(*s.loss, s.options, s.task, s.end - s.begin, head);
      for (std::size_t i = 0; i < head.parameters.size(); ++i) {
        const Index row = static_cast<Index>(i) / head.width, column = static_cast<Index>(i) % head.width;
        rule.parameters.raw()[row * columns + s.begin + column] = static_cast<T>(head.parameters[i]);
      }
      Index* const labels = classes ? rule.classes.raw() + k * batch : nullptr;
      sums[k] = detail::fill_segment(s, head, batch, columns, targets, copies, rule.weights, labels);
    }
    copies.flush();
  }
  for (Index k = 0; k < count; ++k) {
    const LossSegment<T>& s = segments[static_cast<std::size_t>(k)];
    rule.segments.push_back({s.loss, s.begin, s.end, sums[k] > 0 ? static_cast<T>(1 / sums[k]) : T(0),
                             s.options && s.loss->parameters > 0});
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
/// The loss of one prediction [batch, ...], [1], and the sum of its label weights. `options`: see LossSegment.
template <class T>
Tensor<T> one_loss(const LossMethods<T>& loss, const void* options, const Tensor<T>& prediction, const Target<T>& target,
                   std::string_view task, double& weight_sum) {
  require(prediction, loss.name, "prediction");
  const Shape& shape = prediction.shape();
  if (loss.by_class() ? shape.rank() != 2 : shape.rank() == 0)
    fail(loss.name, ": task '", task, "': the prediction is ", shape, "; it must be [batch, ",
         loss.of_classes() ? "classes]" : loss.by_class() ? "classes - 1]" : "...]");
  const Tensor<T> block = shape.rank() == 2 ? prediction : reshape(prediction, {shape[0], shape.span(1, shape.rank())});
  const LossSegment<T> segment{&loss, 0, block.shape()[1], &target, task, options};
  return segment_losses(block, std::span<const LossSegment<T>>(&segment, 1), std::span<double>(&weight_sum, 1));
}
}  // namespace detail

/// The weighted mean of a loss, []: mean_loss(Huber{.delta = 2}, y, t). The prediction is [batch, ...]. Throws Error for a target
/// that does not fit it, and for options that make no sense.
template <Differentiable T, SegmentLoss Loss>
Tensor<T> mean_loss(const Loss& loss, const Tensor<T>& prediction, const std::type_identity_t<Target<T>>& target) {
  double weight_sum = 0;
  return reshape(detail::one_loss(loss_methods<T, Loss>, detail::plain_loss(loss) ? nullptr : &loss, prediction, target, "loss",
                                  weight_sum), {});
}

/// Mean squared error, [] (PyTorch's mean reduction). The prediction is [batch, ...], the target as large.
template <Differentiable T>
Tensor<T> mse(const Tensor<T>& prediction, const std::type_identity_t<Target<T>>& target) {
  return mean_loss(MSE{}, prediction, target);
}
/// Mean absolute error.
template <Differentiable T>
Tensor<T> mae(const Tensor<T>& prediction, const std::type_identity_t<Target<T>>& target) {
  return mean_loss(MAE{}, prediction, target);
}
/// Binary cross-entropy of logits; the target is in [0, 1], or classes 0 and 1.
template <Differentiable T>
Tensor<T> bce_with_logits(const Tensor<T>& logits, const std::type_identity_t<Target<T>>& target,
                          const BCEWithLogits& options = {}) {
  return mean_loss(options, logits, target);
}
/// Cross-entropy of logits [batch, classes] with classes [batch].
template <Differentiable T>
Tensor<T> cross_entropy(const Tensor<T>& logits, const std::type_identity_t<Target<T>>& target, const CrossEntropy& options = {}) {
  return mean_loss(options, logits, target);
}

}  // namespace espalier::inline ESPALIER_ABI
