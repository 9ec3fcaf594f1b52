#pragma once
// Dataset: named inputs and targets with one row per sample; a batch is a dataset of few rows.

#include <cstring>
#include <span>
#include <string>
#include <utility>

#include "espalier/tensor/values.hpp"

namespace espalier::inline ESPALIER_ABI {

template <Differentiable T = float>
struct Dataset {
  Inputs<T> inputs;
  Targets<T> targets;

  Dataset() = default;
  /// Checks as `check` does.
  Dataset(Inputs<T> inputs_, Targets<T> targets_) : inputs(std::move(inputs_)), targets(std::move(targets_)) {
    check();
  }

  /// The number of rows: of the first input or, without inputs, of the first target.
  Index size() const;
  /// Throws Error unless all values, tokens, classes, masks and weights have the same first axis, naming all that
  /// differ from the first; and unless masks and weights have their values' leading axes.
  void check() const;
  /// The given rows, in the given order, copied; a row may come twice. Throws Error for a row that is not there.
  Dataset rows(std::span<const Index> rows) const;
};
Dataset(Inputs<float>, Targets<float>) -> Dataset<float>;

/// What a loader hands out.
template <Differentiable T = float>
using Batch = Dataset<T>;

namespace detail {

/// Throws Error unless all of the rows are among `count`.
inline void check_rows(std::string_view what, std::span<const Index> rows, Index count) {
  for (Index r : rows)
    if (r < 0 || r >= count) fail(what, ": row ", r, " is asked for; there are ", count, ", counted from 0");
}

/// The given rows of a tensor, unchecked; an undefined tensor stays undefined.
template <class T>
Tensor<T> take_rows(const Tensor<T>& x, std::span<const Index> rows) {
  if (!x.defined()) return {};
  const Shape row = x.shape().part(1, x.rank());
  Tensor<T> y = Tensor<T>::empty(Shape{static_cast<Index>(rows.size())} + row);
  const Index size = row.size();
  const auto bytes = static_cast<std::size_t>(size) * sizeof(T);
  T* out = y.raw();
  for (Index r : rows) {
    std::memcpy(static_cast<void*>(out), x.data() + r * size, bytes);
    out += size;
  }
  return y;
}

template <class T>
Index rows_of(const Target<T>& target) {
  const Shape& shape = target.classes.defined() ? target.classes.shape() : target.value.shape();
  return shape.rank() > 0 ? shape[0] : 0;
}

/// `mask` is undefined or has the first `axes` axes of `of`.
template <class M>
bool leads(const Tensor<M>& mask, const Shape& of, int axes) {
  return !mask.defined() || (mask.rank() == axes && of.rank() >= axes && mask.shape() == of.part(0, axes));
}

}  // namespace detail

template <Differentiable T>
Index Dataset<T>::size() const {
  if (!inputs.empty()) return inputs.at(0).value.batch();
  return targets.empty() ? 0 : detail::rows_of(targets.at(0).value);
}

template <Differentiable T>
void Dataset<T>::check() const {
  std::string_view first_what, first_name;
  Index rows = -1;
  std::string others;
  const auto part = [&](std::string_view what, std::string_view name, const Shape& shape) {
    if (shape.rank() == 0) fail("dataset: ", what, " '", name, "' is a scalar; the first axis counts the samples");
    if (rows < 0) {
      first_what = what;
      first_name = name;
      rows = shape[0];
    } else if (shape[0] != rows) {
      others += join(others.empty() ? "" : ", ", what, " '", name, "' has ", shape[0]);
    }
  };
  for (const auto& [name, input] : inputs) {
    if (!input.values.defined() && !input.tokens.defined())
      fail("dataset: input '", name, "' has neither values nor tokens");
    if (input.tokens.defined()) part("input", name, input.tokens.shape());
    if (input.values.defined()) part("input", name, input.values.shape());
  }
  for (const auto& [name, target] : targets) {
    if (!target.value.defined() && !target.classes.defined())
      fail("dataset: target '", name, "' has neither values nor classes");
    if (target.classes.defined()) part("target", name, target.classes.shape());
    if (target.value.defined()) part("target", name, target.value.shape());
  }
  if (!others.empty())
    fail("dataset: ", first_what, " '", first_name, "' has ", rows, " rows, but ", others, "; all must have as many");
  for (const auto& [name, input] : inputs) {
    const Shape& shape = input.tokens.defined() ? input.tokens.shape() : input.values.shape();
    if (!detail::leads(input.present, shape, 1))
      fail("dataset: input '", name, "' is ", shape, ", present is ", input.present.shape(), "; it must be [batch]");
    if (!detail::leads(input.valid, shape, 2))
      fail("dataset: input '", name, "' is ", shape, ", valid is ", input.valid.shape(), "; it must be [batch, steps]");
  }
  for (const auto& [name, target] : targets) {
    const Shape& shape = target.classes.defined() ? target.classes.shape() : target.value.shape();
    if (!detail::leads(target.weight, shape, 1) && !(target.weight.shape() == shape))
      fail("dataset: target '", name, "' is ", shape, ", the weight is ", target.weight.shape(),
           "; it must be [batch] or as the target");
  }
}

template <Differentiable T>
Dataset<T> Dataset<T>::rows(std::span<const Index> rows) const {
  check();
  detail::check_rows("dataset", rows, size());
  Dataset taken;
  for (const auto& [name, from] : inputs) {
    Input<T> input;
    input.values = detail::take_rows(from.values, rows);
    input.present = detail::take_rows(from.present, rows);
    input.tokens = detail::take_rows(from.tokens, rows);
    input.valid = detail::take_rows(from.valid, rows);
    taken.inputs.add(name, std::move(input));
  }
  for (const auto& [name, from] : targets) {
    Target<T> target;
    target.value = detail::take_rows(from.value, rows);
    target.classes = detail::take_rows(from.classes, rows);
    target.weight = detail::take_rows(from.weight, rows);
    taken.targets.add(name, std::move(target));
  }
  return taken;
}

}  // namespace espalier::inline ESPALIER_ABI
