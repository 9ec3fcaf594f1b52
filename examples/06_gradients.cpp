// Gradients: parameters and backward, second derivatives, a Jacobian, and gradcheck, which compares the derivatives of
// a function of one's own with central differences.

#include <espalier/espalier.hpp>

#include <cstdio>

using namespace espalier;

namespace {

template <class T>
void show(const char* what, const Tensor<T>& x) {
  std::printf("%-28s %s\n", what, x.text().c_str());
}

/// How close each of the points [n] is to each of the centres [m]: [n, m].
template <class T>
Tensor<T> closeness(const Tensor<T>& points, const Tensor<T>& centres) {
  return exp(-square(reshape(points, {points.size(), 1}) - centres));
}

}  // namespace

int main() {
  // A parameter collects gradients; whatever is computed from it is recorded. Backward passes add up until cleared.
  const auto x = parameter(Tensor<double>({3}, {1, 2, 3}));
  backward(sum(x * x * x));
  show("gradient of sum x^3", gradient(x));
  backward(sum(x));
  show("and of sum x, added to it", gradient(x));
  clear_gradient(x);

  // `grad` returns the gradients instead; recorded by create_graph they can be differentiated again.
  const auto first = grad(sum(x * x * x), {x}, {.create_graph = true});
  const auto second = grad(sum(first[0]), {x});
  show("second derivative of x^3", second[0]);

  // The derivative of every output in every input: [outputs..., inputs...].
  const auto derivative = jacobian(x * sum(x), {x});
  show("jacobian of x_i sum x", derivative[0]);

  // What is computed without recording has no gradient, and says so.
  const auto unrecorded = [&] {
    const NoGrad no_grad;
    return sum(x * x);
  }();
  try {
    backward(unrecorded);
  } catch (const Error& error) {
    std::printf("\n%s\n", error.what());
  }

  // A function of one's own, its first and second derivatives in all inputs.
  Rng rng{0};
  const auto points = Tensor<double>::normal({4}, rng), centres = Tensor<double>::normal({3}, rng);
  const auto check = gradcheck([](const auto& in) { return closeness(in[0], in[1]); }, {points, centres});
  std::printf("\ngradcheck %s\n", check.passed ? "passed" : check.text.c_str());
}
