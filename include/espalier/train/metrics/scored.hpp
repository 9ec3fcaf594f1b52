#pragma once
// Scored: what a metric sees of one task in one batch, the labelled rows as doubles; `scored` makes it.
//
//   accuracy.add(scored(outputs["digit"], batch.targets["digit"], "digit"));
//
// Targets and weights are the losses' (ops/loss.hpp): whatever a loss accepts can be scored. Weight 0 means no label;
// what lies behind it is never read.

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "espalier/tensor/values.hpp"

namespace espalier::inline ESPALIER_ABI {

/// The labelled rows of one task. A target is either one class per row, decided by all columns of the prediction, or
/// one value per column; binary and multi-label targets are values in [0, 1] and their predictions are logits. Ordered classes
/// (the loss Ordinal) are one more than the columns, each of which is the logit of being above a class.
struct Scored {
  std::string task = {};  // for messages
  Index rows = 0, width = 0;
  bool of_classes = false;              // one class per row; otherwise a value per column
  bool ordered = false;                 // the classes are ordered ones
  std::vector<double> prediction = {};  // [rows, width]: what the model gave, so logits for classes and binary targets
  std::vector<double> value = {};       // [rows, width]; empty of classes
  std::vector<Index> classes = {};      // [rows], in [0, count()); empty of values
  std::vector<double> weight = {};      // [rows] of classes, otherwise [rows, width]; 0: no label

  /// The number of classes.
  Index count() const { return width + ordered; }
  /// Throws Error naming the metric when a vector has another size than rows and width say, or a class is out of range.
  [[gnu::noinline]] void check(std::string_view metric) const {
    const auto all = static_cast<std::size_t>(rows * width), labels = of_classes ? static_cast<std::size_t>(rows) : all;
    if (rows < 0 || width < 0 || prediction.size() != all || weight.size() != labels ||
        (of_classes ? classes.size() : value.size()) != labels)
      fail(metric, ": task '", task, "': ", prediction.size(), " predictions, ",
           of_classes ? classes.size() : value.size(), of_classes ? " classes, " : " values, ", weight.size(),
           " weights for ", rows, " rows of width ", width,
           "; a prediction belongs to every column, a label and a weight to every ", of_classes ? "row" : "column");
    for (std::size_t i = 0; of_classes && i < classes.size(); ++i)
      if (classes[i] < 0 || classes[i] >= count())
        fail(metric, ": task '", task, "': row ", i, " has class ", classes[i], "; classes must lie in [0, ", count() - 1,
             "]");
  }
};

/// How a loss reads its targets, where that is not told by their shapes.
struct ScoredOptions {
  bool ordered = false;  // classes are ordered ones, as the loss Ordinal takes them
  Index each = 1;        // columns that one number of the target is for: the levels of the loss Quantile
};

namespace detail {

/// What the targets of a metric may be: numbers alone; values in [0, 1] or classes; these or ordered classes; classes, ordered
/// or not.
enum class Values { numbers, probabilities, labels, classes };

/// What all batches of a metric have in common, taken from the first that has a label.
struct BatchKind {
  Index width = -1;
  bool of_classes = false;

  /// Whether there is anything to add. Throws Error for a batch that is not whole, for classes where numbers are
  /// compared, for values outside [0, 1] where probabilities are, and for a batch of another kind than those before.
  [[gnu::noinline]] bool admits(std::string_view metric, const Scored& batch, Values values) {
    batch.check(metric);
    if (values == Values::numbers && batch.of_classes)
      fail(metric, ": task '", batch.task,
           "' has classes; this metric compares values; use accuracy, f1, auroc or log_loss");
    const bool shares = values == Values::probabilities || values == Values::labels;
    for (std::size_t i = 0; shares && i < batch.value.size(); ++i)
      if (batch.weight[i] > 0 && !(batch.value[i] >= 0 && batch.value[i] <= 1))
        fail(metric, ": task '", batch.task, "' has a target of ", batch.value[i],
             "; binary targets lie in [0, 1]; use rmse, mae or r2 for other values");
    if (values == Values::probabilities && batch.ordered)
      fail(metric, ": task '", batch.task, "' has ordered classes; use ordinal_mae, quadratic_kappa or accuracy");
    if (batch.rows == 0) return false;
    if (values == Values::classes && !batch.of_classes)
      fail(metric, ": task '", batch.task, "' has values; this metric compares classes, one per row");
    if (width >= 0 && (width != batch.width || of_classes != batch.of_classes))
      fail(metric, ": task '", batch.task, "': a batch of ", batch.width, batch.of_classes ? " classes" : " values",
           " after one of ", width, of_classes ? " classes" : " values",
           "; all batches are alike; reset() comes before another task");
    width = batch.width;
    of_classes = batch.of_classes;
    return true;
  }
};

/// The column of the largest prediction, the first of equal ones; -1 when one is NaN.
inline Index best_column(const double* row, Index width) {
  Index best = 0;
  for (Index j = 0; j < width; ++j) {
    if (std::isnan(row[j])) return -1;
    if (row[j] > row[best]) best = j;
  }
  return best;
}

/// The class that a row is predicted to be: that of the largest logit, or of ordered classes the number of logits above 0; -1
/// when one is NaN.
inline Index decision(const Scored& batch, Index row) {
  const double* y = batch.prediction.data() + row * batch.width;
  if (!batch.ordered) return best_column(y, batch.width);
  Index above = 0;
  for (Index j = 0; j < batch.width; ++j) {
    if (std::isnan(y[j])) return -1;
    above += y[j] > 0;
  }
  return above;
}

[[noreturn, gnu::cold]] inline void bad_scored(std::string_view task, const std::string& what) {
  fail("metrics: task '", task, "': ", what);
}
[[noreturn, gnu::cold]] inline void bad_sample(std::string_view task, Index sample, std::string_view before, std::string after) {
  throw SampleError(sample, join("metrics: task '", task, "': ", before), std::move(after));
}

}  // namespace detail

/// The labelled rows of a prediction [batch, ...] and its target; rows whose weights are all 0 are left out. Classes
/// [batch] of a prediction [batch, classes] are classes; classes 0 and 1, one per logit, are binary values, as
/// bce_with_logits takes them. Throws Error naming the task for every mismatch of shapes, a class out of range, a
/// weight that is negative or not finite, and a value that counts and is not finite.
template <Differentiable T>
Scored scored(const Tensor<T>& prediction, const std::type_identity_t<Target<T>>& target, std::string_view task,
              const ScoredOptions& options = {}) {
  const auto bad = [task](const auto&... what) { detail::bad_scored(task, join(what...)); };
  const Tensor<T>&value = target.value, &w = target.weight;
  const bool given_classes = target.classes.defined();
  if (!prediction.defined()) bad("the prediction is undefined");
  if (!given_classes && !value.defined()) bad("the target is undefined");
  const Shape& shape = prediction.shape();
  if (shape.rank() == 0) bad("the prediction is ", shape, "; it must be [batch, ...]");
  const Index batch = shape[0], width = shape.span(1, shape.rank());
  const auto is = [batch](const Shape& found, Index elements) {
    return found.rank() > 0 && found[0] == batch && found.size() == batch * elements;
  };
  const Shape& labels = given_classes ? target.classes.shape() : value.shape();
  const bool ordered = options.ordered && given_classes, of_classes = ordered || (given_classes && width != 1 && is(labels, 1));
  const Index span = of_classes || options.each < 1 || width % options.each != 0 ? 1 : options.each;  // columns of one number
  if (of_classes && shape.rank() != 2)
    bad("the prediction is ", shape, "; for classes it must be [batch, classes", ordered ? " - 1]" : "]");
  if (of_classes ? !is(labels, 1) : !is(labels, width / span))
    bad("the target is ", labels, ", the prediction ", shape, "; the target must be ", Shape{batch, ordered ? 1 : width / span},
        width / span == 1 || given_classes ? join(" or ", Shape{batch}) : "");
  const bool per_sample = w.defined() && is(w.shape(), 1);
  if (w.defined() && !per_sample && (of_classes || !is(w.shape(), width / span)))
    bad("the weight is ", w.shape(), "; it must be [", batch, "], one per sample",
        of_classes ? "" : ", or the target's shape");

  Scored out;
  out.task = task;
  out.width = width;
  out.of_classes = of_classes;
  out.ordered = ordered;
  const Index each = of_classes ? 1 : width;  // labels per row
  out.prediction.resize(static_cast<std::size_t>(batch * width));
  out.weight.resize(static_cast<std::size_t>(batch * each));
  if (of_classes)
    out.classes.resize(static_cast<std::size_t>(batch));
  else
    out.value.resize(static_cast<std::size_t>(batch * width));
  for (Index i = 0; i < batch; ++i) {
    bool labelled = false;
    double* const weights = out.weight.data() + out.rows * each;
    for (Index j = 0; j < each; ++j) {
      weights[j] = !w.defined() ? 1 : static_cast<double>(w.data()[per_sample ? i : (i * width + j) / span]);
      if (!(weights[j] >= 0) || std::isinf(weights[j]))
        detail::bad_sample(task, i, "the weight of ", join(" is ", weights[j], "; weights are finite and not negative"));
      labelled |= weights[j] > 0;
    }
    if (!labelled) continue;
    const Index to = out.rows * width;
    if (of_classes) {
      const Index c = target.classes.data()[i];
      if (c < 0 || c >= out.count())
        detail::bad_sample(task, i, "", join(" has class ", c, "; classes must lie in [0, ", out.count() - 1, "]"));
      out.classes[static_cast<std::size_t>(out.rows)] = c;
    }
    for (Index j = 0; j < width; ++j) {
      const auto at = static_cast<std::size_t>(to + j);
      const bool counts = of_classes || weights[j] > 0;
      out.prediction[at] = counts ? static_cast<double>(prediction.data()[i * width + j]) : 0;
      if (of_classes) continue;
      out.value[at] = 0;
      if (!counts) continue;
      if (given_classes) {
        const Index c = target.classes.data()[(i * width + j) / span];
        if (c < 0 || c > 1) detail::bad_sample(task, i, "", join(" has class ", c, "; it must be 0 or 1"));
        out.value[at] = static_cast<double>(c);
      } else {
        out.value[at] = static_cast<double>(value.data()[(i * width + j) / span]);
        if (!std::isfinite(out.value[at]))
          detail::bad_sample(task, i, "the value of ",
                             join(" is ", out.value[at], "; values are finite where the weight is above 0"));
      }
    }
    ++out.rows;
  }
  out.prediction.resize(static_cast<std::size_t>(out.rows * width));
  out.weight.resize(static_cast<std::size_t>(out.rows * each));
  out.value.resize(of_classes ? 0 : out.prediction.size());
  out.classes.resize(of_classes ? static_cast<std::size_t>(out.rows) : 0);
  return out;
}

}  // namespace espalier::inline ESPALIER_ABI
