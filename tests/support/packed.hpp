#pragma once
// A weight [4, 2], and a bias [4] where wanted, that three tasks share by rows: [0, 1), [1, 3), [3, 4).

#include <vector>

#include "espalier/autograd/node.hpp"

namespace support {

struct Pack {
  using Tensor = espalier::Tensor<double>;
  using Index = espalier::Index;

  Tensor whole;
  std::vector<Tensor> parts;

  explicit Pack(const Tensor& values = Tensor::zeros({4, 2})) : whole(espalier::parameter(values)) {
    espalier::Leaf<double>& leaf = *espalier::leaf_of(whole);
    const Index row = whole.shape().span(1, whole.rank());
    for (const auto& [begin, end] : {std::pair<Index, Index>{0, 1}, {1, 3}, {3, 4}}) {
      espalier::Shape shape = whole.shape();
      shape[0] = end - begin;
      Tensor part = espalier::parameter(whole.detach().view(shape, begin * row));
      espalier::leaf_of(part)->pack = whole.node();
      espalier::leaf_of(part)->part = static_cast<Index>(leaf.parts.size());
      leaf.parts.push_back({begin, end, true});
      parts.push_back(part);
    }
  }
  /// Which parts hold a gradient.
  std::vector<bool> reached() const {
    std::vector<bool> out;
    for (const Tensor& p : parts) out.push_back(espalier::gradient(p).defined());
    return out;
  }
};

}  // namespace support
