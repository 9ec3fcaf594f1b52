#include "espalier/model/multi_modal_model.hpp"

#include <thread>

#include "espalier/multimodal/fusion/concat.hpp"
#include "espalier/multimodal/fusion/gated.hpp"
#include "espalier/multitask/objective.hpp"
#include "espalier/nn/batch_norm.hpp"
#include "espalier/nn/dropout.hpp"
#include "espalier/ops/functions.hpp"
#include "support/catch.hpp"
#include "support/near.hpp"

using namespace espalier;
using support::same_bits;

namespace {

MultiModalModel<float> make_model(bool gated, double modality_dropout = 0, std::uint64_t seed = 1) {
  Rng rng{seed};
  AnyFusion<float> fusion = ConcatFusion{{9, 9, 9}};
  if (gated) fusion = GatedFusion{9, rng};
  return MultiModalModel{{.encoders = {{"camera", Sequential{Linear{7, 9, rng}, BatchNorm1d{9}, ReLU{}}},
                                       {"sound", Sequential{Linear{5, 9, rng}, Tanh{}}},
                                       {"radar", Linear{3, 9, rng}}},
                          .fusion = fusion,
                          .trunk = Sequential{Linear{gated ? 9 : 27, 8, rng}, ReLU{}},
                          .heads = {{"kind", Linear{8, 4, rng}}, {"size", Linear{8, 1, rng}}},
                          .modality_dropout = modality_dropout}};
}

/// Row i lacks modality m where bit m of i % 8 is set: every combination, none included.
Inputs<float> make_inputs(Index batch, std::uint64_t seed = 2) {
  Rng rng{seed};
  Inputs<float> inputs;
  Index m = 0;
  for (const auto& [name, width] : {std::pair{"camera", 7}, {"sound", 5}, {"radar", 3}}) {
    Input<float> input(Tensor<float>::normal({batch, width}, rng), Tensor<bool>::ones({batch}));
    for (Index i = 0; i < batch; ++i) input.present.mutate()[static_cast<std::size_t>(i)] = (i >> m) % 2 == 0;
    inputs.add(name, input);
    ++m;
  }
  return inputs;
}
Inputs<float> rows(const Inputs<float>& inputs, Index first, Index last) {
  Inputs<float> part;
  for (const auto& input : inputs)
    part.add(input.name,
             Input<float>(slice(input.value.values, 0, first, last), slice(input.value.present, 0, first, last)));
  return part;
}

}  // namespace

TEST_CASE("a multi-modal model has PyTorch's names and says whose its parameters are", "[fast]") {
  MultiModalModel<float> model = make_model(true);
  CHECK(
      parameters(model).names() ==
      "encoders.camera.0.weight, encoders.camera.0.bias, encoders.camera.1.weight, encoders.camera.1.bias, "
      "encoders.sound.0.weight, encoders.sound.0.bias, encoders.radar.weight, encoders.radar.bias, fusion.gate.weight, "
      "fusion.gate.bias, fusion.value.weight, fusion.value.bias, trunk.0.weight, trunk.0.bias, heads.kind.weight, "
      "heads.kind.bias, heads.size.weight, heads.size.bias");
  const auto owner = [&](const char* path) { return leaf_of(parameters(model)[path])->owner.text(); };
  CHECK(owner("encoders.sound.0.weight") == "modality sound");
  CHECK(owner("fusion.gate.weight") == "shared");
  CHECK(owner("trunk.0.bias") == "shared");
  CHECK(owner("heads.size.bias") == "task size");
}

TEST_CASE("each sample's row is what it is alone, whatever is missing around it", "[fast]") {
  for (const bool gated : {true, false}) {
    const MultiModalModel<float> model = make_model(gated);
    const Inputs<float> inputs = make_inputs(35);
    const Outputs<float> all = model(inputs);
    for (const Index count : {1, 2, 5, 16})
      for (Index first = 0; first + count <= 35; first += 3) {
        const Outputs<float> part = model(rows(inputs, first, first + count));
        for (const char* name : {"kind", "size"})
          if (!same_bits(part[name], slice(all[name], 0, first, first + count)))
            FAIL((gated ? "gated, " : "concat, ") << name << ", rows [" << first << ", " << first + count << ")");
      }
  }
}

TEST_CASE("a modality that is not given is absent for everybody", "[fast]") {
  for (const bool gated : {true, false}) {
    const MultiModalModel<float> model = make_model(gated);
    const Inputs<float> inputs = make_inputs(16);
    Inputs<float> absent = inputs, without;
    absent.find("sound")->present = Tensor<bool>::zeros({16});
    without.add("radar", inputs["radar"]);  // in another order
    without.add("camera", inputs["camera"]);
    CHECK(same_bits(model(absent)["kind"], model(without)["kind"]));
    Inputs<float> empty = without;
    empty.add("sound", Input<float>(Tensor<float>(), Tensor<bool>()));
    CHECK_THROWS_WITH(model(empty), "MultiModalModel: modality 'sound' has neither values nor tokens");
  }
}

TEST_CASE("a mask that is true throughout is no mask", "[fast]") {
  const MultiModalModel<float> model = make_model(true);
  Inputs<float> masked = make_inputs(6), plain = make_inputs(6);
  for (auto& input : masked) input.value.present = Tensor<bool>::ones({6});
  for (auto& input : plain) input.value.present = {};
  CHECK(same_bits(model(masked)["kind"], model(plain)["kind"]));
}

TEST_CASE("a const multi-modal model serves two threads at once", "[fast]") {
  const MultiModalModel<float> model = make_model(true, 0.5);
  const Inputs<float> inputs = make_inputs(16);
  const Outputs<float> expected = model(inputs);
  CHECK_FALSE(expected["kind"].node());
  bool equal[2] = {true, true};
  const auto work = [&](bool& good) {
    for (int i = 0; i < 100; ++i) good &= same_bits(model(inputs)["kind"], expected["kind"]);
  };
  std::thread other(work, std::ref(equal[0]));
  work(equal[1]);
  other.join();
  CHECK(equal[0]);
  CHECK(equal[1]);
}

TEST_CASE("a clone of a multi-modal model is deep and packed again", "[fast]") {
  MultiModalModel<float> model = make_model(true);
  MultiModalModel<float> copy = clone(model);
  const Inputs<float> inputs = make_inputs(8);
  const Tensor<float> before = model(inputs)["kind"];
  CHECK(same_bits(copy(inputs)["kind"], before));
  for (auto& p : parameters(copy)) std::ranges::fill(p.value.mutate(), 0.125f);
  CHECK(same_bits(model(inputs)["kind"], before));
  CHECK_FALSE(same_bits(copy(inputs)["kind"], before));
  CHECK(copy.heads().layout()->places[1].packed());
}

// ---- modality dropout --------------------------------------------------------------------------------------------------

namespace {

/// Writes down which samples it is asked for: the first value of each, a number of the sample.
struct Recorder {
  std::shared_ptr<std::vector<float>> seen = std::make_shared<std::vector<float>>();
  Tensor<float> weight = parameter(Tensor<float>::ones({1}));
  Tensor<float> operator()(const Tensor<float>& x) const {
    for (Index i = 0; i < x.shape()[0]; ++i) seen->push_back(x(i, 0));
    return x * weight;
  }
  void fields(auto&& visit) { visit("weight", weight); }
};
constexpr Index samples = 400;

struct Watched {
  std::vector<std::string> names;
  std::vector<Recorder> recorders;
  MultiModalModel<float> model;

  Watched(std::vector<std::string> names_, double p)
      : names(std::move(names_)), recorders(names.size()), model(make(p)) {}
  MultiModalModel<float> make(double p) {
    std::vector<Named<AnyModule<float>>> encoders;
    for (std::size_t m = 0; m < names.size(); ++m) encoders.push_back({names[m], recorders[m]});
    Rng rng{1};
    return MultiModalModel<float>({.encoders = encoders,
                                   .fusion = ConcatFusion{std::vector<Index>(names.size(), 1)},
                                   .heads = {{"y", Linear{static_cast<Index>(names.size()), 1, rng}}},
                                   .modality_dropout = p});
  }
  /// For each modality, which samples its encoder sees.
  std::vector<std::vector<bool>> run(const Inputs<float>& inputs, std::uint64_t step, bool training = true) {
    for (auto& r : recorders) r.seen->clear();
    Pass pass{Rng{9}, step};
    if (training)
      model(inputs, pass);
    else
      model(inputs);
    std::vector<std::vector<bool>> saw;
    for (auto& r : recorders) {
      saw.emplace_back(samples, false);
      for (const float i : *r.seen) saw.back()[static_cast<std::size_t>(i)] = true;
    }
    return saw;
  }
};
Inputs<float> numbered(const std::vector<std::string>& names) {
  Inputs<float> inputs;
  Tensor<float> x = Tensor<float>::empty({samples, 1});
  for (Index i = 0; i < samples; ++i) x.raw()[i] = static_cast<float>(i);
  for (std::size_t m = 0; m < names.size(); ++m) {
    Tensor<bool> present = Tensor<bool>::ones({samples});
    for (std::size_t i = 0; i < samples; ++i) present.mutate()[i] = (i >> m) % 3 != 1;
    inputs.add(names[m], {x, present});
  }
  return inputs;
}

}  // namespace

TEST_CASE("modality dropout hides some of what is there and never the last", "[fast]") {
  const std::vector<std::string> names{"a", "b", "c"};
  const Inputs<float> inputs = numbered(names);
  for (const double p : {0.3, 0.9}) {
    Watched w(names, p);
    const auto saw = w.run(inputs, 1);
    double hidden = 0, expected = 0;
    for (std::size_t i = 0; i < samples; ++i) {
      int had = 0, has = 0;
      for (std::size_t m = 0; m < 3; ++m) {
        const bool before = inputs.at(static_cast<Index>(m)).value.present.data()[i];
        if (saw[m][i] && !before) FAIL("an absent modality came back");
        had += before;
        has += saw[m][i];
      }
      if (had > 0 && has == 0) FAIL("sample " << i << " has lost everything");
      hidden += had - has;
      expected += had * p - (had > 0 ? std::pow(p, had) : 0);  // one is spared where all would go
    }
    CHECK(hidden == Approx(expected).epsilon(0.1));
    CHECK(w.run(inputs, 1) == saw);
    CHECK(w.run(inputs, 2) != saw);
    // Inference hides nothing.
    const auto inferred = w.run(inputs, 1, false);
    for (std::size_t m = 0; m < 3; ++m)
      for (std::size_t i = 0; i < samples; ++i)
        if (inferred[m][i] != inputs.at(static_cast<Index>(m)).value.present.data()[i])
          FAIL("inference differs from presence");
  }
}

TEST_CASE("modality dropout goes by name, not by order", "[fast]") {
  // With everything present and a low probability no sample needs rescue, so each modality's draws are its own.
  const auto all = [](const std::vector<std::string>& names) {
    Inputs<float> inputs = numbered(names);
    for (auto& input : inputs) input.value.present = {};
    return inputs;
  };
  Watched one({"a", "b", "c", "d"}, 0.05), two({"c", "x", "a", "d"}, 0.05);
  const auto first = one.run(all(one.names), 5), second = two.run(all(two.names), 5);
  CHECK(first[0] == second[2]);
  CHECK(first[2] == second[0]);
  CHECK(first[3] == second[3]);
  CHECK(first[1] != second[1]);
}

TEST_CASE("modality dropout with one modality, and with batches that lack some", "[fast]") {
  Watched single({"a"}, 0.9);
  const auto saw = single.run(numbered({"a"}), 1);
  for (std::size_t i = 0; i < samples; ++i) CHECK(saw[0][i] == (i % 3 != 1));
  Watched two({"a", "b"}, 0.9);  // b is not given at all
  CHECK(two.run(numbered({"a"}), 1)[0] == saw[0]);
}
