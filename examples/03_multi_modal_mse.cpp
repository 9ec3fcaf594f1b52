// Several modalities through the same trunk, then a head each, summed MSE, Adam: the multi-modal reference program.
// The second modality is missing in a quarter of the samples.
// tolerance: 0.001

#include <espalier/espalier.hpp>

#include <cstdio>

using namespace espalier;

int main() {
  Rng rng{0};
  ModalityHeads model{{.trunk = Sequential{Linear{10, 20, rng}, ReLU{}, Linear{20, 10, rng}},
                       .heads = {{"camera", Linear{10, 1, rng}}, {"lidar", Linear{10, 1, rng}}}}};
  MultiObjective objective{{{"camera", MSE{}}, {"lidar", MSE{}}}};
  Adam optimizer{parameters(model)};

  Tensor<bool> present = Tensor<bool>::ones({100});
  for (std::size_t i = 0; i < 100; i += 4) present.mutate()[i] = false;
  const Inputs<float> inputs{{"camera", Tensor<float>::normal({100, 10}, rng)},
                             {"lidar", {Tensor<float>::normal({100, 10}, rng), present}}};
  const Targets<float> targets{{"camera", Tensor<float>::normal({100, 1}, rng)},
                               {"lidar", {Tensor<float>::normal({100, 1}, rng), present}}};

  for (int epoch = 0; epoch < 100; ++epoch) {
    Pass pass{rng, static_cast<std::uint64_t>(epoch)};
    const auto losses = objective(model(inputs, pass), targets);
    if (epoch % 20 == 0 || epoch == 99)
      std::printf("epoch %2d  camera %.4f  lidar %.4f (%.0f samples)\n", epoch, losses["camera"], losses["lidar"],
                  losses.weight(1));
    objective.backward(losses);
    optimizer.step();
  }
}
