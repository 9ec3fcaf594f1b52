// A layer that forgets its fields would not be trained, and nobody would know.
// error: lists them in .void fields
#include "espalier/nn/sequential.hpp"

using namespace espalier;

struct Scale {
  Tensor<float> factor = parameter(Tensor<float>::ones({1}));
  Tensor<float> operator()(const Tensor<float>& x) const { return x * factor; }
#ifdef MISUSE
  // forgotten
#else
  void fields(auto&& visit) { visit("factor", factor); }
#endif
};

int main() {
  const Sequential model{Scale{}};
  return model(Tensor<float>::ones({1, 2}))(0, 0) == 1 ? 0 : 1;
}
