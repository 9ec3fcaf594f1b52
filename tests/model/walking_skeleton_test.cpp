// The walking skeleton: one run that crosses every seam at once. Two encoders with BatchNorm, one modality absent in some
// rows; three packed heads, one without labels in some batches and one never; UPGrad; Adam; 20 steps, saved, loaded, 20 more,
// equal bit for bit to 40; NaN and Inf behind every mask change nothing.

#include <cstdio>
#include <limits>

#include "espalier/io/checkpoint.hpp"
#include "espalier/model/multi_modal_model.hpp"
#include "espalier/multimodal/fusion/concat.hpp"
#include "espalier/multimodal/fusion/gated.hpp"
#include "espalier/multitask/objective.hpp"
#include "espalier/nn/batch_norm.hpp"
#include "espalier/nn/dropout.hpp"
#include "espalier/optim/adam.hpp"
#include "support/catch.hpp"

using namespace espalier;

namespace {

constexpr Index batch = 12;

MultiModalModel<float> make_model(std::uint64_t seed) {
  Rng rng{seed};
  return MultiModalModel{{
      .encoders = {{"camera", Sequential{Linear{6, 8, rng}, BatchNorm1d{8}, ReLU{}}},
                   {"sound", Sequential{Linear{5, 8, rng}, BatchNorm1d{8}, Tanh{}}}},
      .fusion = GatedFusion{8, rng},
      .trunk = Sequential{Linear{8, 8, rng}, ReLU{}, Dropout{0.25}},
      .heads = {{"class", Linear{8, 4, rng}}, {"size", Linear{8, 1, rng}}, {"never", Linear{8, 2, rng}}},
      .modality_dropout = 0.1}};
}

struct Samples {
  Inputs<float> inputs;
  Targets<float> targets;
};

/// Samples number `step`; `garbage` lies behind every mask.
Samples make_batch(int step, float garbage) {
  Rng rng{static_cast<std::uint64_t>(100 + step)};
  Tensor<float> camera = Tensor<float>::normal({batch, 6}, rng), sound = Tensor<float>::normal({batch, 5}, rng);
  Tensor<float> size = Tensor<float>::normal({batch, 1}, rng), never = Tensor<float>::full({batch, 2}, garbage);
  Tensor<bool> hears = Tensor<bool>::ones({batch});
  Tensor<Index> classes = Tensor<Index>::zeros({batch});
  Tensor<float> class_weight = Tensor<float>::ones({batch}), size_weight = Tensor<float>::ones({batch});
  for (Index i = 0; i < batch; ++i) {
    const auto at = static_cast<std::size_t>(i);
    classes.mutate()[at] = (i + step) % 4;
    if ((i + step) % 3 == 0) {  // no sound
      hears.mutate()[at] = false;
      for (std::size_t j = 0; j < 5; ++j) sound.mutate()[at * 5 + j] = garbage;
    }
    if ((i + step) % 5 == 0) {  // no class label
      class_weight.mutate()[at] = 0;
      classes.mutate()[at] = std::isfinite(garbage) ? 0 : 99;
    }
    if (step % 2 == 1 || i % 4 == 1) {  // in odd batches nobody has a size
      size_weight.mutate()[at] = 0;
      size.mutate()[at] = garbage;
    }
  }
  return {{{"camera", camera}, {"sound", {sound, hears}}},
          {{"class", {classes, class_weight}}, {"size", {size, size_weight}}, {"never", {never, Tensor<float>::zeros({batch})}}}};
}

/// Everything that a run changes.
struct Run {
  MultiModalModel<float> model;
  MultiObjective<float> objective{{{"class", CrossEntropy{}}, {"size", MSE{}}, {"never", MSE{}}}, UPGrad{}};
  Adam<float> optimizer{parameters(model), {.lr = 1e-2}};
  Rng rng{7};

  explicit Run(std::uint64_t seed) : model(make_model(seed)) {}

  void steps(int first, int last, float garbage = 0) {
    for (int step = first; step < last; ++step) {
      const Samples b = make_batch(step, garbage);
      Pass pass{rng, static_cast<std::uint64_t>(step)};
      const auto losses = objective(model(b.inputs, pass), b.targets);
      REQUIRE(losses.present(1) == (step % 2 == 0));
      REQUIRE_FALSE(losses.present(2));
      REQUIRE(losses["never"] == 0);
      objective.backward(losses);
      optimizer.step();
    }
  }
  State state() { return State{{"model", model}, {"optimizer", optimizer}, {"objective", objective}, {"rng", rng}}; }
};

/// All values of a model, parameters and buffers, as bits.
std::vector<std::uint32_t> bits(MultiModalModel<float>& model) {
  std::vector<std::uint32_t> all;
  detail::each_tensor(model, [&](const std::string&, auto& t) {
    if constexpr (std::same_as<std::remove_cvref_t<decltype(t)>, Tensor<float>>)
      for (float v : t.values()) all.push_back(std::bit_cast<std::uint32_t>(v));
  });
  return all;
}

}  // namespace

TEST_CASE("20 steps, saved, loaded into a fresh run, 20 more: equal to 40 bit for bit", "[skeleton][fast]") {
  Run whole(1);
  whole.steps(0, 40);

  const std::string path = "walking_skeleton.safetensors";
  Run first(1);
  first.steps(0, 20);
  State saved = first.state();
  save(path, saved);
  Run second(2);  // other initial weights: everything must come from the file
  State loaded = second.state();
  load(path, loaded);
  std::remove(path.c_str());
  REQUIRE(bits(second.model) == bits(first.model));
  second.steps(20, 40);
  REQUIRE(bits(second.model) == bits(whole.model));
}

TEST_CASE("NaN and Inf behind every mask change nothing", "[skeleton][fast]") {
  Run clean(1);
  clean.steps(0, 20);
  for (float garbage : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), -1e30f}) {
    Run dirty(1);
    dirty.steps(0, 20, garbage);
    REQUIRE(bits(dirty.model) == bits(clean.model));
  }
}

TEST_CASE("a head that is never labelled keeps its first weights; the others learn", "[skeleton][fast]") {
  Run run(1);
  const Tensor<float> before = parameters(run.model)["heads.never.weight"].clone();
  const Samples b = make_batch(0, 0);
  const auto first = run.objective(run.model(b.inputs), b.targets);
  for (std::uint64_t step = 0; step < 100; ++step) {
    Pass pass{run.rng, step};
    run.objective.backward(run.objective(run.model(b.inputs, pass), b.targets));
    run.optimizer.step();
  }
  const auto last = run.objective(run.model(b.inputs), b.targets);
  REQUIRE(last["class"] < 0.5 * first["class"]);
  REQUIRE(last["size"] < 0.5 * first["size"]);
  const Tensor<float> after = parameters(run.model)["heads.never.weight"];
  REQUIRE(std::equal(before.data(), before.data() + before.size(), after.data()));
}
