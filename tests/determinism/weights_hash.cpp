// Trains a multi-modal, multi-task model in float (100 steps on the sum, 30 with UPGrad) and prints a hash of every weight and statistic.
// tests/CMakeLists.txt builds it at several optimisation levels, with and without OpenMP, and runs it with several numbers of
// threads: all must print the same. The layers are large enough for the parallel paths to be taken. It also checks that one
// sample's prediction has the same bits alone and in batches of other sizes.

#include <bit>
#include <cstdio>

#include "espalier/model/multi_modal_model.hpp"
#include "espalier/multimodal/fusion/gated.hpp"
#include "espalier/multitask/objective.hpp"
#include "espalier/nn/batch_norm.hpp"
#include "espalier/nn/dropout.hpp"
#include "espalier/nn/layer_norm.hpp"
#include "espalier/optim/adam.hpp"

using namespace espalier;

namespace {

constexpr Index batch = 150;

std::uint64_t hash(std::uint64_t h, std::span<const float> values) {
  for (float v : values) h = detail::mix(h ^ std::bit_cast<std::uint32_t>(v));
  return h;
}

/// Rows [0, n) of an input.
Inputs<float> head_of(const Inputs<float>& inputs, Index n) {
  Inputs<float> out;
  for (const auto& input : inputs) {
    Input<float> part(slice(input.value.values, 0, 0, n));
    if (input.value.present.defined()) part.present = slice(input.value.present, 0, 0, n);
    out.add(input.name, part);
  }
  return out;
}

std::uint64_t train(Combiner combiner, std::uint64_t steps) {
  Rng rng{3};
  MultiModalModel model{{
      .encoders = {{"image", Sequential{Linear{96, 160, rng}, BatchNorm1d{160}, ReLU{}}},
                   {"sound", Sequential{Linear{40, 160, rng}, LayerNorm{160}, GELU{}}}},
      .fusion = GatedFusion{160, rng},
      .trunk = Sequential{Linear{160, 192, rng}, ReLU{}, Dropout{0.2}, Linear{192, 128, rng}, Tanh{}},
      .heads = {{"class", Linear{128, 17, rng}}, {"size", Linear{128, 3, rng}}, {"even", Linear{128, 1, rng}},
                {"deep", Sequential{Linear{128, 32, rng}, Sigmoid{}, Linear{32, 1, rng}}}}}};
  MultiObjective objective{{{"class", CrossEntropy{}}, {"size", MSE{}}, {"even", BCEWithLogits{}}, {"deep", MAE{}}},
                           std::move(combiner)};
  Adam optimizer{parameters(model), {.lr = 1e-3}};

  Tensor<bool> hears = Tensor<bool>::ones({batch});
  Tensor<Index> classes = Tensor<Index>::zeros({batch}), even = Tensor<Index>::zeros({batch});
  Tensor<float> weight = Tensor<float>::ones({batch});
  for (Index i = 0; i < batch; ++i) {
    hears.raw()[i] = i % 4 != 0;
    classes.raw()[i] = i * 7 % 17;
    even.raw()[i] = i % 2;
    weight.raw()[i] = static_cast<float>(i % 3);
  }
  const Inputs<float> inputs{{"image", Tensor<float>::normal({batch, 96}, rng)},
                             {"sound", {Tensor<float>::normal({batch, 40}, rng), hears}}};
  const Targets<float> targets{{"class", {classes, weight}},
                               {"size", Tensor<float>::normal({batch, 3}, rng)},
                               {"even", even},
                               {"deep", {Tensor<float>::normal({batch, 1}, rng), weight}}};
  for (std::uint64_t step = 0; step < steps; ++step) {
    Pass pass{rng, step};
    const auto losses = objective(model(inputs, pass), targets);
    objective.backward(losses);
    optimizer.step();
  }
  std::uint64_t h = 0;
  detail::each_tensor(model, [&](const std::string&, auto& t) {
    if constexpr (std::same_as<std::remove_cvref_t<decltype(t)>, Tensor<float>>) h = hash(h, t.values());
  });
  const auto whole = model(inputs);
  for (Index n : {1, 2, 7, 64, 149})
    for (const char* task : {"class", "size", "even", "deep"}) {
      const Tensor<float> all = slice(whole[task], 0, 0, n), part = model(head_of(inputs, n))[task];
      if (hash(0, all.values()) != hash(0, part.values())) {
        std::printf("the prediction '%s' of the first %d samples depends on the batch\n", task, static_cast<int>(n));
        std::exit(1);
      }
    }
  return hash(h, whole.block().values());
}

}  // namespace

int main() {
  std::printf("sum %016llx\n", static_cast<unsigned long long>(train(Sum{}, 100)));
  std::printf("upgrad %016llx\n", static_cast<unsigned long long>(train(UPGrad{}, 30)));
}
