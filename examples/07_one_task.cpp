// One task: the explicit training loop, on noisy samples of a curve, and inference after it.
// tolerance: 0.01

#include <espalier/espalier.hpp>

#include <cstdio>

using namespace espalier;

int main() {
  Rng rng{0};
  const auto curve = [](const Tensor<float>& x) { return tanh(4 * x) - x; };
  const auto x = Tensor<float>::uniform({256, 1}, -2, 2, rng);
  const auto y = curve(x) + 0.1f * Tensor<float>::normal({256, 1}, rng);
  const Dataset data{{{"x", x}}, {{"y", y}}};

  Sequential model{Linear{1, 32, rng}, Tanh{}, Linear{32, 32, rng}, Tanh{}, Linear{32, 1, rng}};
  Adam optimizer{parameters(model), {.lr = 1e-2}};
  Loader loader{data, {.batch = 32}, rng};

  for (int epoch = 0; epoch < 60; ++epoch) {
    for (const auto& batch : loader.epoch(epoch)) {
      Pass pass{rng, loader.step()};  // tells layers such as Dropout that this is training
      const auto loss = mse(model(batch.inputs["x"].values, pass), batch.targets["y"]);
      backward(loss);
      optimizer.step();  // applies the gradients, and clears them
    }
    if (epoch % 10 == 9) std::printf("epoch %d  loss %.4f\n", epoch + 1, mse(model(x), y).item());
  }

  // Without a Pass, layers do as at inference; under NoGrad, nothing is recorded.
  const NoGrad no_grad;
  const Tensor<float> at({5, 1}, {-1.5, -0.5, 0, 0.5, 1.5});
  const auto predicted = model(at), truth = curve(at);
  std::printf("\n   x   predicted    true\n");
  for (Index i = 0; i < 5; ++i) std::printf("%4.1f      %6.3f  %6.3f\n", at(i, 0), predicted(i, 0), truth(i, 0));
}
