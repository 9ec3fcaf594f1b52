#include "espalier/model/modality_heads.hpp"

#include <thread>

#include "espalier/nn/dropout.hpp"
#include "espalier/ops/functions.hpp"
#include "support/catch.hpp"
#include "support/models.hpp"

using namespace espalier;
using namespace support;

namespace {

using Dense = Linear<double>;
using Model = ModalityHeads<double>;

Model make_model(Rng rng = Rng{1}) {
  return Model({.trunk = sequential(Dense(4, 6, rng), ReLU{}, Dense(6, 5, rng)),
                .heads = {{"camera", Dense(5, 3, rng)}, {"lidar", sequential(Dense(5, 2, rng), Tanh{})}}});
}
Inputs<double> make_inputs(const Tensor<bool>& lidar_present, double behind = 0) {
  Rng rng{2};
  const Index n = lidar_present.size();
  Inputs<double> inputs{{"camera", Tensor<double>::normal({n, 4}, rng)}};
  const Tensor<double> lidar = Tensor<double>::normal({n, 4}, rng);
  inputs.add("lidar", {where(lidar_present.view({n, 1}), lidar, Tensor<double>::scalar(behind)), lidar_present});
  return inputs;
}
Targets<double> make_targets(const Tensor<bool>& lidar_present) {
  Rng rng{3};
  const Index n = lidar_present.size();
  Targets<double> targets{{"camera", Tensor<double>::normal({n, 3}, rng)}};
  targets.add("lidar", {Tensor<double>::normal({n, 2}, rng), lidar_present});
  return targets;
}
MultiObjective<double> make_objective(Combiner combiner = {}) {
  return MultiObjective<double>({{"camera", MSE{}}, {"lidar", MAE{}}}, std::move(combiner));
}
const Tensor<bool> some({6}, {true, false, true, true, false, true}), none = Tensor<bool>::zeros({6});

}  // namespace

TEST_CASE("every modality goes through the same trunk, then its own head", "[fast]") {
  Model model = make_model();
  CHECK(parameters<double>(model).names() ==
        "trunk.0.weight, trunk.0.bias, trunk.2.weight, trunk.2.bias, heads.camera.weight, heads.camera.bias, "
        "heads.lidar.0.weight, heads.lidar.0.bias");
  const Inputs<double> inputs = make_inputs(some);
  const Outputs<double> y = model(inputs);
  const auto p = parameters<double>(model);
  const auto trunk = [&](const Tensor<double>& x) {
    return linear(linear(x, p.at(0).value, p.at(1).value, Activation::relu), p.at(2).value, p.at(3).value);
  };
  CHECK(difference(y["camera"], linear(trunk(inputs["camera"].values), p.at(4).value, p.at(5).value)) < 1e-14);
  const Tensor<double> lidar = tanh(linear(trunk(inputs["lidar"].values), p.at(6).value, p.at(7).value));
  for (Index i = 0; i < 6; ++i)
    for (Index j = 0; j < 2; ++j) CHECK(y["lidar"](i, j) == (some(i) ? lidar(i, j) : 0));
  CHECK_FALSE(y["camera"].node());
}

TEST_CASE("the gradients are those of the sum over modalities", "[fast]") {
  Model model = make_model();
  for (const bool aggregated : {false, true}) {
    clear_gradients(model);
    MultiObjective<double> objective = make_objective(aggregated ? Combiner(UPGrad{}) : Combiner());
    Pass pass{Rng{0}};
    const auto losses = objective(model(make_inputs(some), pass), make_targets(some));
    CHECK(losses.weight(1) == 8);
    const Values tensors = tensors_of(model);
    Values expected = upgrad_reference(losses, tensors, {true, true, true, true, false, false, false, false});
    if (!aggregated) expected = grad(loss_of(losses, 0) + loss_of(losses, 1), tensors, {.retain_graph = true});
    objective.backward(losses);
    CHECK(gradient_error(model, expected) < 1e-12);
  }
}

TEST_CASE("an absent modality: predictions 0 of the right shape, and no gradient", "[fast]") {
  for (const bool aggregated : {false, true}) {
    Model model = make_model();
    MultiObjective<double> objective = make_objective(aggregated ? Combiner(UPGrad{}) : Combiner());
    Pass pass{Rng{0}};
    const Outputs<double> y = model(make_inputs(none, NAN), pass);
    CHECK(same_bits(y["lidar"], Tensor<double>::zeros({6, 2})));
    CHECK(same_bits(model(make_inputs(none, NAN))["lidar"], Tensor<double>::zeros({6, 2})));
    const auto losses = objective(y, make_targets(none));
    CHECK(losses.weight(1) == 0);
    objective.backward(losses);
    const auto list = parameters<double>(model);
    for (const auto& p : list) {
      INFO(p.name);
      CHECK(gradient(p.value).defined() == !p.name.starts_with("heads.lidar"));
      CHECK(finite(gradient(p.value)));
    }
    // Labelled all the same: a loss without a gradient, which counts for nothing in the aggregation.
    clear_gradients(model);
    Pass again{Rng{0}};
    const auto labelled = objective(model(make_inputs(none, NAN), again), make_targets(some));
    CHECK(labelled.weight(1) == 8);
    objective.backward(labelled);
    CHECK(objective.record().active == std::vector<Index>{0});
    CHECK_FALSE(gradient(list["heads.lidar.0.weight"]).defined());
  }
}

TEST_CASE("what lies behind an absent modality changes nothing by a bit", "[fast]") {
  std::vector<Values> runs;
  for (const double behind : {0.0, double{NAN}, HUGE_VAL}) {
    Model model = make_model();
    MultiObjective<double> objective = make_objective(UPGrad{});
    for (int i = 0; i < 3; ++i) {
      Pass pass{Rng{0}};
      objective.backward(objective(model(make_inputs(some, behind), pass), make_targets(some)));
      descend(model, 0.1);
    }
    runs.push_back(values_of(model));
    CHECK(finite(runs.back()));
    CHECK(same_bits(runs.back(), runs.front()));
  }
}

TEST_CASE("a row alone has the bits that it has in any batch, on two threads too", "[fast]") {
  const Model model = make_model();
  const Inputs<double> inputs = make_inputs(some);
  const Outputs<double> all = model(inputs);
  for (Index i = 0; i < 6; ++i) {
    const Inputs<double> one{{"camera", slice(inputs["camera"].values, 0, i, i + 1)},
                             {"lidar", {slice(inputs["lidar"].values, 0, i, i + 1), slice(some, 0, i, i + 1)}}};
    for (const char* name : {"camera", "lidar"}) CHECK(same_bits(model(one)[name], slice(all[name], 0, i, i + 1)));
  }
  bool good = true;
  std::thread other([&] {
    for (int i = 0; i < 100; ++i) good &= same_bits(model(inputs)["lidar"], all["lidar"]);
  });
  for (int i = 0; i < 100; ++i)
    if (!same_bits(model(inputs)["camera"], all["camera"])) FAIL("other bits");
  other.join();
  CHECK(good);
}

TEST_CASE("modalities may have batches of their own", "[fast]") {
  const Model model = make_model();
  Rng rng{4};
  const Outputs<double> y =
      model({{"camera", Tensor<double>::normal({3, 4}, rng)}, {"lidar", Tensor<double>::normal({5, 4}, rng)}});
  CHECK(y["camera"].shape() == Shape{3, 3});
  CHECK(y["lidar"].shape() == Shape{5, 2});
}

TEST_CASE("trunk and head draw different numbers, and modalities too", "[fast]") {
  Rng rng{5};
  const Sequential<double> drop(Dropout{0.5});
  const Model model({.trunk = drop, .heads = {{"a", Sequential<double>(Dropout{0.0})}, {"b", drop}}});
  const Tensor<double> x = Tensor<double>::ones({40, 4});
  Pass pass{rng};
  const Outputs<double> y = model({{"a", x}, {"b", x}}, pass);
  Index kept_once = 0, kept_twice = 0;
  for (const double v : y["a"].values()) kept_once += v != 0;
  for (const double v : y["b"].values()) kept_twice += v != 0;
  CHECK(kept_once == Approx(80).margin(25));
  CHECK(kept_twice == Approx(40).margin(20));
}

TEST_CASE("heads that share a layer share its gradient", "[fast]") {
  Rng rng{6};
  const Dense tied(5, 2, rng);
  Model model({.trunk = sequential(Dense(4, 5, rng), Tanh{}), .heads = {{"camera", tied}, {"lidar", tied}}});
  CHECK(leaf_of(tied.weight)->owner.kind == Owner::Kind::shared);
  Model copy = clone(model);
  CHECK(parameters<double>(copy).size() == 4);
  CHECK(leaf_of(parameters<double>(copy)["heads.camera.weight"])->owner.kind == Owner::Kind::shared);
}

TEST_CASE("ModalityHeads refuses what does not fit", "[fast]") {
  Rng rng{7};
  const Model model = make_model();
  const Tensor<double> x = Tensor<double>::zeros({2, 4});
  CHECK_THROWS_WITH(Model({.heads = {{"a", Dense(4, 1, rng)}}}), "ModalityHeads: no trunk given");
  CHECK_THROWS_WITH(Model({.trunk = Dense(4, 4, rng)}), "ModalityHeads: no head given; it needs at least one modality");
  CHECK_THROWS_WITH(Model({.trunk = Dense(4, 4, rng), .heads = {{"a", {}}}}),
                    "ModalityHeads: the head of 'a' is empty");
  CHECK_THROWS_WITH(Model({.trunk = Dense(4, 4, rng), .heads = {{"a", Dense(4, 1, rng)}, {"a", Dense(4, 1, rng)}}}),
                    "names: 'a' appears twice; names must differ");
  CHECK_THROWS_WITH(model({{"camera", x}}),
                    "ModalityHeads: modality 'lidar' is not given; give it with presence false where it is absent");
  CHECK_THROWS_WITH(model({{"camera", x}, {"radar", x}}),
                    "ModalityHeads: unknown modality 'radar'; known: camera, lidar");
  CHECK_THROWS_WITH(model({{"camera", x}, {"lidar", {x, Tensor<bool>::ones({3})}}}),
                    "model: the presence of modality 'lidar' is [3]; it must be [2]");
}
