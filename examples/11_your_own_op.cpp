// An operation of one's own: a struct with its value and its slope, each written once. The kernels run them on vectors
// of numbers, the graph on tensors, so that second derivatives come free. gradcheck finds a wrong slope.
// tolerance: 0.01

#include <espalier/espalier.hpp>

#include <cstdio>

using namespace espalier;

/// x sigmoid(x) (Ramachandran, Zoph & Le 2017, arXiv 1710.05941).
struct Swish : Unary<Swish> {  // Unary makes it a layer
  static constexpr std::string_view name = "swish";
  static constexpr bool from_output = false;  // the slope is a function of x, not of the result
  static auto value(const auto& x) { return x * sigmoid(x); }
  static auto slope(const auto& x) { return sigmoid(x) * (1 + x * (1 - sigmoid(x))); }
};

/// The same with a mistake.
struct Mistaken : Swish {
  static auto slope(const auto& x) { return sigmoid(x) * (1 + x); }
};

template <class Op>
void check(const char* name) {
  Rng rng{0};
  const auto points = Tensor<double>::normal({8}, rng);
  const auto result = gradcheck([](const auto& in) { return apply<Op>(in[0]); }, {points});  // first and second order
  std::printf("%-9s %s\n", name, result.passed ? "passed" : result.text.c_str());
}

int main() {
  check<Swish>("Swish");
  check<Mistaken>("Mistaken");

  Rng rng{0};
  const auto x = Tensor<float>::uniform({256, 1}, -2, 2, rng), y = square(x);
  Sequential model{Linear{1, 16, rng}, Swish{}, Linear{16, 1, rng}};
  Adam optimizer{parameters(model), {.lr = 1e-2}};
  for (std::uint64_t step = 0; step < 500; ++step) {
    Pass pass{rng, step};
    const auto loss = mse(model(x, pass), y);
    backward(loss);
    optimizer.step();
    if (step % 100 == 99) std::printf("loss %.4f\n", loss.item());
  }
}
