#pragma once
// Standardise: columns of mean 0 and standard deviation 1, by the numbers of the training data.
//
//   const Standardise scale(train.inputs["sensors"]);                 // fitted on the training part alone
//   const Input<float> sensors = scale(test.inputs["sensors"]);       // applied to anything of the same columns

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "espalier/tensor/values.hpp"

namespace espalier::inline ESPALIER_ABI {

namespace detail {

/// Mean and deviation of weighted numbers, in two passes over them: `add` for all, `centre`, `add_square` for all.
struct Moments {
  double weights = 0, sum = 0, squares = 0, mean = 0, reach = 0;
  double least = std::numeric_limits<double>::max(), most = std::numeric_limits<double>::lowest();

  void add(double w, double value) {
    weights += w;
    sum += w * value;
    least = std::min(least, value);
    most = std::max(most, value);
  }
  void centre() {
    if (weights == 0) return;
    mean = std::clamp(sum / weights, least, most);  // of a constant column: that constant, exactly
    reach = std::max(most - mean, mean - least);
  }
  void add_square(double w, double value) {
    if (reach == 0) return;
    const double part = (value - mean) / reach;  // at most 1: its square neither overflows nor vanishes
    squares += w * part * part;
  }
  /// 1 when the numbers do not differ, so that they are only shifted.
  double deviation() const { return reach > 0 ? reach * std::sqrt(squares / weights) : 1; }
};

}  // namespace detail

/// y = (x - mean) / deviation, per column; columns are the last axis, and a tensor [batch] is one column. The deviation
/// is the population's, sqrt(sum w (x - mean)^2 / sum w). A column that is constant, or has no value at all, is only
/// shifted. What lies behind a mask counts for nothing (it may be NaN) and comes out as 0, the mean of what there is.
/// All is kept in double, so a float column far from 0 loses nothing to a rounded mean.
template <Differentiable T = float>
class Standardise {
 public:
  /// Changes nothing; to be loaded into. Throws Error for less than one column.
  explicit Standardise(Index columns) {
    if (columns < 1) fail("Standardise: ", columns, " columns; there must be at least 1");
    mean_ = Tensor<double>::zeros({columns});
    deviation_ = Tensor<double>::ones({columns});
  }
  /// Fitted on x [batch, ..., columns]. The mask (bool, or weights) has x's shape or leading axes of it: [batch] is one
  /// per sample. Throws Error when it has neither, and for a weight that is negative or a value that counts and is not
  /// finite.
  template <Scalar M = bool>
  explicit Standardise(const Tensor<T>& x, const Tensor<M>& mask = Tensor<bool>()) : Standardise(columns_of(x)) {
    check_mask(x, mask);
    fit(x, [&](Index i) { return weight(x, mask, i); });
  }
  /// Fitted on what is present and valid.
  explicit Standardise(const Input<T>& input) : Standardise(columns_of(input.values)) {
    check_masks(input);
    fit(input.values, [&](Index i) { return weight(input, i); });
  }
  /// Fitted on a regression target by its weights.
  explicit Standardise(const Target<T>& target) : Standardise(target.value, target.weight) {}

  Index columns() const { return mean_.size(); }
  const Tensor<double>& mean() const { return mean_; }            // [columns]
  const Tensor<double>& deviation() const { return deviation_; }  // [columns]; 1 for a constant column

  /// Standardised; 0 where the mask is false or the weight 0. Throws Error unless there are as many columns as fitted.
  template <Scalar M = bool>
  Tensor<T> operator()(const Tensor<T>& x, const Tensor<M>& mask = Tensor<bool>()) const {
    check_columns(x);
    check_mask(x, mask);
    return apply(x, [&](Index i) { return weight(x, mask, i); });
  }
  Input<T> operator()(const Input<T>& input) const {
    check_columns(input.values);
    check_masks(input);
    Input<T> out = input;
    out.values = apply(input.values, [&](Index i) { return weight(input, i); });
    return out;
  }
  Target<T> operator()(const Target<T>& target) const { return {(*this)(target.value, target.weight), target.weight}; }
  /// The way back, x = y deviation + mean: for predictions of a standardised target.
  Tensor<T> undo(const Tensor<T>& y) const {
    check_columns(y);
    Tensor<T> x = Tensor<T>::empty(y.shape());
    for (Index i = 0; i < y.size(); ++i) {
      const Index c = i % columns();
      x.raw()[i] = static_cast<T>(static_cast<double>(y.data()[i]) * deviation_.data()[c] + mean_.data()[c]);
    }
    return x;
  }

  void fields(auto&& visit) {
    visit("mean", mean_);
    visit("deviation", deviation_);
  }

 private:
  static Index columns_of(const Tensor<T>& x) {
    if (!x.defined() || x.rank() == 0) fail("Standardise: there are no values; tokens and classes have no mean");
    return x.rank() == 1 ? 1 : x.shape()[-1];
  }
  void check_columns(const Tensor<T>& x) const {
    if (columns_of(x) != columns())
      fail("Standardise: x is ", x.shape(), ", but ", columns(), " columns were fitted; the last axis must be as long");
  }
  template <class M>
  static void check_mask(const Tensor<T>& x, const Tensor<M>& mask) {
    if (mask.defined() && !(mask.rank() <= x.rank() && mask.shape() == x.shape().part(0, mask.rank())))
      fail("Standardise: x is ", x.shape(), ", its mask is ", mask.shape(),
           "; a mask has x's shape or leading axes of it");
  }
  static void check_masks(const Input<T>& input) {
    check_mask(input.values, input.present);
    check_mask(input.values, input.valid);
  }

  /// How much element i of x counts.
  template <class M>
  static double weight(const Tensor<T>& x, const Tensor<M>& mask, Index i) {
    return mask.defined() ? static_cast<double>(mask.data()[i / (x.size() / mask.size())]) : 1.0;
  }
  static double weight(const Input<T>& input, Index i) {
    return weight(input.values, input.present, i) * weight(input.values, input.valid, i);
  }

  template <class Weight>
  void fit(const Tensor<T>& x, Weight&& weight) {
    std::vector<detail::Moments> all(static_cast<std::size_t>(columns()));
    const auto each = [&](auto&& take) {  // elements that count; the others are not read
      for (Index i = 0; i < x.size(); ++i)
        if (const double w = weight(i); w != 0)
          take(i, w, static_cast<double>(x.data()[i]), all[static_cast<std::size_t>(i % columns())]);
    };
    each([&](Index i, double w, double value, detail::Moments& c) {
      if (!(w > 0) || !std::isfinite(w) || !std::isfinite(value))
        fail("Standardise: row ", i / (x.size() / x.shape()[0]), ", column ", i % columns(), " is ", value,
             " with weight ", w, "; values that count are finite, weights are finite and not negative");
      c.add(w, value);
    });
    for (detail::Moments& c : all) c.centre();
    each([](Index, double w, double value, detail::Moments& c) { c.add_square(w, value); });
    for (std::size_t k = 0; k < all.size(); ++k) {
      mean_.raw()[k] = all[k].mean;
      deviation_.raw()[k] = all[k].deviation();
    }
  }

  template <class Weight>
  Tensor<T> apply(const Tensor<T>& x, Weight&& weight) const {
    Tensor<T> y = Tensor<T>::empty(x.shape());
    for (Index i = 0; i < x.size(); ++i) {
      const Index c = i % columns();
      y.raw()[i] = weight(i) == 0
                       ? T(0)
                       : static_cast<T>((static_cast<double>(x.data()[i]) - mean_.data()[c]) / deviation_.data()[c]);
    }
    return y;
  }

  Tensor<double> mean_, deviation_;
};

}  // namespace espalier::inline ESPALIER_ABI
