// A layer of one's own: a plain struct with fields and a call operator. Parameters, their names, cloning and saving
// follow from the fields. Here a residual block, used in a Sequential, and saved under the names that PyTorch would
// give.

#include <espalier/espalier.hpp>

#include <cstdio>

using namespace espalier;

/// x + mlp(norm(x)): [..., width] -> [..., width].
struct ResidualBlock {
  LayerNorm<float> norm;
  Sequential<float> mlp;

  ResidualBlock(Index width, Rng& rng)
      : norm(width), mlp(Linear{width, 2 * width, rng}, ReLU{}, Dropout{0.1}, Linear{2 * width, width, rng}) {}

  Tensor<float> operator()(const Tensor<float>& x) const { return x + mlp(norm(x)); }
  // In training, for the sake of the Dropout inside; a layer that does the same in both needs only the one above.
  Tensor<float> operator()(const Tensor<float>& x, Pass& pass) const { return x + mlp(norm(x), pass); }

  void fields(auto&& visit) {
    visit("norm", norm);
    visit("mlp", mlp);
  }
};

int main() try {
  Rng rng{0};
  Sequential model{Linear{3, 8, rng}, ResidualBlock{8, rng}, Linear{8, 1, rng}};
  for (const auto& [name, value] : parameters(model))
    std::printf("%-15s %s\n", name.c_str(), value.shape().text().c_str());

  // A copy shares its parameters with the original, as in PyTorch; a clone has its own.
  auto copy = model, cloned = clone(model);
  model[1].as<ResidualBlock>()->norm.bias.mutate()[0] = 1;
  const auto x = Tensor<float>::normal({4, 3}, rng);
  const auto seems = [&](const Sequential<float>& other) {
    return sum(abs(model(x) - other(x))).item() == 0 ? "as the original" : "another";
  };
  std::printf("\nafter a change  copy: %s   clone: %s\n", seems(copy), seems(cloned));

  // In Python: model.load_state_dict(safetensors.torch.load_file("block.safetensors")). The other way is as short.
  save_weights("block.safetensors", model);
  load_weights("block.safetensors", cloned);
  std::printf("after loading                           clone: %s\n", seems(cloned));
} catch (const Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
