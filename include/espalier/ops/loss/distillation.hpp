#pragma once
// Distillation: a student learns from its labels and from a teacher's logits.

#include "espalier/ops/linalg.hpp"
#include "espalier/ops/reduce.hpp"
#include "espalier/tensor/values.hpp"

namespace espalier::inline ESPALIER_ABI {

/// (1 - soft) cross-entropy(y, class) + soft t^2 KL(softmax(v / t) || softmax(y / t)), t the temperature and v the teacher's logits
/// (Hinton, Vinyals & Dean 2015, arXiv 1503.02531): a loss function for a task whose target has both, `classes` [batch] and the
/// logits as `value` [batch, classes]; `distilled` (train/distillation.hpp) makes such targets. The mean over the samples, by their
/// weights. A sample of class -1 has no label and learns from the teacher alone; without logits it is plain cross-entropy.
struct Distillation {
  double temperature = 2;
  double soft = 0.5;  // the teacher's part, in [0, 1]

  /// Throws Error for options that make no sense, and for targets that do not fit the prediction [batch, classes].
  template <Differentiable T>
  Tensor<T> operator()(const Tensor<T>& logits, const Target<T>& target) const {
    if (!(temperature > 0)) fail("distillation: temperature is ", temperature, "; it must be above 0");
    if (!(soft >= 0 && soft <= 1)) fail("distillation: soft is ", soft, "; it must be in [0, 1]");
    require(logits, "distillation", "prediction");
    if (logits.rank() != 2) fail("distillation: the prediction is ", logits.shape(), "; it must be [batch, classes]");
    const Index batch = logits.shape()[0], width = logits.shape()[1];
    const Tensor<T>&v = target.value, &w = target.weight;
    const bool labels = target.classes.defined();
    if (!v.defined() && !labels) fail("distillation: the target has neither classes nor a teacher's logits");
    if (v.defined() && !(v.shape() == logits.shape()))
      fail("distillation: the teacher's logits are ", v.shape(), ", the prediction ", logits.shape(), "; they must be equal");
    if ((labels && target.classes.size() != batch) || (w.defined() && w.size() != batch))
      fail("distillation: there must be one class and one weight per sample, ", batch);
    PoolVector<Index> there;  // what lies behind a weight of 0 is not read
    double total = 0;
    for (Index i = 0; i < batch; ++i)
      if (!w.defined() || w.data()[i] > 0) {
        there.push_back(i);
        total += w.defined() ? static_cast<double>(w.data()[i]) : 1;
      }
    const auto count = static_cast<Index>(there.size());
    Tensor<Index> rows = Tensor<Index>::empty({count});
    Tensor<T> hard = Tensor<T>::zeros({count, width}),
              taught = Tensor<T>::zeros({count, width});  // factors of the log-probabilities
    double entropy = 0;                                   // of the teacher: the part that depends on no parameter
    const double teacher = v.defined() ? soft * temperature * temperature : 0, label = v.defined() ? 1 - soft : 1;
    for (Index k = 0; k < count; ++k) {
      const Index i = there[static_cast<std::size_t>(k)];
      rows.raw()[k] = i;
      const double share = (w.defined() ? static_cast<double>(w.data()[i]) : 1) / total;
      const Index c = labels ? target.classes.data()[i] : -1;
      if (c < -1 || c >= width)
        fail("distillation: sample ", i, " has class ", c, "; classes must lie in [0, ", width - 1, "], or be -1 for none");
      if (c >= 0) hard.raw()[k * width + c] = static_cast<T>(share * label);
      if (!v.defined()) continue;
      double most = -std::numeric_limits<double>::infinity(), sum = 0;
      const auto at = [&](Index j) { return static_cast<double>(v.data()[i * width + j]) / temperature; };
      for (Index j = 0; j < width; ++j) most = std::max(most, at(j));
      for (Index j = 0; j < width; ++j) sum += std::exp(at(j) - most);
      for (Index j = 0; j < width; ++j) {
        const double p = std::exp(at(j) - most) / sum;
        taught.raw()[k * width + j] = static_cast<T>(share * teacher * p);
        if (p > 0) entropy += share * teacher * p * std::log(p);
      }
    }
    const Tensor<T> y = gather(logits, rows, 0);
    Tensor<T> loss = -sum(hard * log_softmax(y, -1));
    if (v.defined()) loss = loss - sum(taught * log_softmax(y / static_cast<T>(temperature), -1)) + static_cast<T>(entropy);
    return loss;
  }
};

}  // namespace espalier::inline ESPALIER_ABI
