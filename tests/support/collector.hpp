#pragma once
// What a separate sweep brings to the parameters, added up by parameter and task.

#include <map>
#include <vector>

#include "espalier/autograd/sweep.hpp"

namespace support {

struct Collector final : espalier::LeafSink<double> {
  using Leaf = espalier::Leaf<double>;
  using Tensor = espalier::Tensor<double>;
  using Index = espalier::Index;

  bool takes_factors = false;
  std::map<std::pair<const Leaf*, Index>, Tensor> sums;
  std::map<const Leaf*, std::vector<Index>> counts;  // rows in each delivery

  void rows(Leaf& leaf, Tensor value, const espalier::Labels& labels) override {
    if (!(value.shape() == espalier::Shape{labels.count()} + leaf.shape)) espalier::fail("rows of another shape: ", value.shape());
    counts[&leaf].push_back(labels.count());
    for (Index r = 0; r < labels.count(); ++r) add(leaf, labels[r].task, value.data() + r * leaf.shape.size());
  }
  bool factored(Leaf& leaf, const Tensor& g, const Tensor& x, const espalier::Labels& labels) override {
    if (!takes_factors) return false;
    counts[&leaf].push_back(labels.count());
    const Index batch = x.shape()[0], in = x.shape()[1], out = g.shape()[2];
    for (Index r = 0; r < labels.count(); ++r) {
      Tensor product = Tensor::zeros({out, in});
      for (Index b = 0; b < batch; ++b)
        for (Index o = 0; o < out; ++o)
          for (Index i = 0; i < in; ++i) product.raw()[o * in + i] += g.data()[(r * batch + b) * out + o] * x.data()[b * in + i];
      add(leaf, labels[r].task, product.data());
    }
    return true;
  }
  /// The gradient of a task in a parameter; undefined when none came.
  Tensor of(const Tensor& parameter, Index task) const {
    const auto found = sums.find({espalier::leaf_of(parameter), task});
    return found == sums.end() ? Tensor() : found->second;
  }

 private:
  void add(const Leaf& leaf, Index task, const double* values) {
    Tensor& sum = sums[{&leaf, task}];
    if (!sum.defined()) {
      sum = Tensor::copy(leaf.shape, {values, static_cast<std::size_t>(leaf.shape.size())});
      return;
    }
    for (Index i = 0; i < sum.size(); ++i) sum.raw()[i] += values[i];
  }
};

/// Labels of one row for each task.
inline espalier::Labels rows_of(std::initializer_list<espalier::Index> tasks) {
  espalier::Labels labels(static_cast<espalier::Index>(tasks.size()), false);
  auto* label = labels.begin();
  for (espalier::Index task : tasks) *label++ = {task, 0, 0};
  return labels;
}
/// Diagonal labels: a segment for each task.
inline espalier::Labels segments_of(std::initializer_list<espalier::Label> segments) {
  espalier::Labels labels(static_cast<espalier::Index>(segments.size()), true);
  std::copy(segments.begin(), segments.end(), labels.begin());
  return labels;
}

}  // namespace support
