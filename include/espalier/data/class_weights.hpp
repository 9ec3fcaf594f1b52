#pragma once
// Class weights from the classes' counts, for CrossEntropy, Focal and Ordinal; and positive weights for BCEWithLogits.
//
//   CrossEntropy{.class_weights = class_weights(train.targets["digit"], 10)}
//   BCEWithLogits{.positive_weights = positive_weights(train.targets["tags"])}

#include <cmath>
#include <vector>

#include "espalier/tensor/values.hpp"

namespace espalier::inline ESPALIER_ABI {

struct ClassWeightOptions {
  /// 0: what the classes weigh together is the same for all, n / (classes n_c), scikit-learn's "balanced". In (0, 1): the effective
  /// number of samples, (1 - beta) / (1 - beta^n_c), scaled to the mean 1 (Cui et al., CVPR 2019, arXiv 1901.05555).
  double beta = 0;
};

/// A weight per class, from the labelled samples and their weights. A class that no sample has gets 0. Throws Error for a target
/// without classes, a class out of range, and a beta outside [0, 1).
template <Differentiable T>
[[gnu::cold]] std::vector<double> class_weights(const Target<T>& target, Index classes, const ClassWeightOptions& options = {}) {
  if (!target.classes.defined()) fail("class_weights: the target has values; it must have classes");
  if (!(options.beta >= 0 && options.beta < 1)) fail("class_weights: beta is ", options.beta, "; it must be in [0, 1)");
  if (classes < 1) fail("class_weights: classes is ", classes, "; it must be at least 1");
  if (target.weight.defined() && target.weight.size() != target.classes.size())
    fail("class_weights: the weight is ", target.weight.shape(), ", the classes ", target.classes.shape(),
         "; there must be one per sample");
  std::vector<double> counts(static_cast<std::size_t>(classes)), weights(counts.size());
  double all = 0;
  for (Index i = 0; i < target.classes.size(); ++i) {
    const double w = target.weight.defined() ? static_cast<double>(target.weight.data()[i]) : 1;
    if (!(w > 0)) continue;
    const Index c = target.classes.data()[i];
    if (c < 0 || c >= classes) fail("class_weights: sample ", i, " has class ", c, "; classes must lie in [0, ", classes - 1, "]");
    counts[static_cast<std::size_t>(c)] += w;
    all += w;
  }
  double sum = 0, present = 0;
  for (std::size_t c = 0; c < counts.size(); ++c) {
    if (counts[c] == 0) continue;
    weights[c] = options.beta == 0 ? all / (static_cast<double>(classes) * counts[c])
                                   : (1 - options.beta) / -std::expm1(counts[c] * std::log(options.beta));
    sum += weights[c];
    ++present;
  }
  for (double& w : weights)
    if (options.beta > 0) w *= present / sum;
  return weights;
}

/// Negatives over positives of each column, from labels 0 and 1 and their weights. Throws Error for a column that has no
/// positive or no negative: no weight balances that.
template <Differentiable T>
[[gnu::cold]] std::vector<double> positive_weights(const Target<T>& target) {
  const bool given_classes = target.classes.defined();
  const Shape& shape = given_classes ? target.classes.shape() : target.value.shape();
  if (!given_classes && !target.value.defined()) fail("positive_weights: the target is undefined");
  const Index rows = shape.rank() > 0 ? shape[0] : 0, width = rows > 0 ? shape.size() / rows : 0;
  const Tensor<T>& w = target.weight;
  if (w.defined() && w.size() != rows && w.size() != rows * width)
    fail("positive_weights: the weight is ", w.shape(), ", the target ", shape, "; there must be one per sample or per element");
  std::vector<double> weights;
  for (Index j = 0; j < width; ++j) {
    double positive = 0, negative = 0;
    for (Index i = 0; i < rows; ++i) {
      const Index at = i * width + j;
      const double weight = !w.defined() ? 1 : static_cast<double>(w.data()[w.size() == rows ? i : at]);
      if (!(weight > 0)) continue;
      const double t =
          given_classes ? static_cast<double>(target.classes.data()[at]) : static_cast<double>(target.value.data()[at]);
      positive += weight * t;
      negative += weight * (1 - t);
    }
    if (!(positive > 0 && negative > 0))
      fail("positive_weights: column ", j, " has ", positive, " positives and ", negative, " negatives; it must have both");
    weights.push_back(negative / positive);
  }
  return weights;
}

}  // namespace espalier::inline ESPALIER_ABI
