// Misuse of models and objectives: what the messages say, and that nothing has changed when they are thrown.

#include "espalier/model/multi_modal_model.hpp"
#include "espalier/model/multi_task_model.hpp"
#include "espalier/multimodal/fusion/concat.hpp"
#include "espalier/multimodal/fusion/gated.hpp"
#include "espalier/ops/functions.hpp"
#include "support/catch.hpp"
#include "support/models.hpp"

using namespace espalier;
using namespace support;

namespace {

using Dense = Linear<double>;
using Model = MultiTaskModel<double>;

Model make_model() {
  Rng rng{1};
  return Model({.trunk = sequential(Dense(3, 4, rng), Tanh{}),
                .heads = {{"kind", Dense(4, 3, rng)}, {"size", Dense(4, 1, rng)}}});
}
MultiObjective<double> make_objective(Combiner combiner = {}) {
  return MultiObjective<double>({{"kind", CrossEntropy{}}, {"size", MSE{}}}, std::move(combiner));
}
const Tensor<double> x({2, 3}, {1, 2, 3, 4, 5, 6});
Targets<double> make_targets() { return {{"kind", Tensor<Index>({2}, {0, 2})}, {"size", Tensor<double>({2}, {1, 2})}}; }
const std::vector<Combiner> combiners{Combiner(), Combiner(UncertaintyWeighting{}), Combiner(UPGrad{})};

}  // namespace

TEST_CASE("models say what they need", "[fast]") {
  Rng rng{1};
  const Dense head(4, 1, rng);
  CHECK_THROWS_WITH(Model({.trunk = head}), "model: no task head given; it needs at least one");
  CHECK_THROWS_WITH(Model({.heads = {{"a", head}, {"b", {}}}}), "model: the head of task 'b' is empty");
  CHECK_THROWS_WITH(Model({.heads = {{"a", head}, {"b", head}, {"a", head}}}),
                    "model: task 'a' appears twice; names must differ");
  const Model model = make_model();
  CHECK_THROWS_WITH(model(Tensor<double>()), "MultiTaskModel: x is an undefined tensor; give it values first");
  CHECK_THROWS_WITH(model(Tensor<double>::zeros({2, 5})),
                    "linear: x is [2, 5], weight is [4, 3]; weight is [out, in] and x's last axis must equal in (3)");
  const Model narrow({.trunk = sequential(Dense(3, 5, rng)), .heads = {{"a", head}, {"b", Dense(4, 2, rng)}}});
  CHECK_THROWS_WITH(narrow(x), "model: the heads take [batch, 4], the trunk gives [2, 5]");
  CHECK_THROWS_WITH(model(x)["colour"], "outputs: unknown task 'colour'; known: kind, size");
}

TEST_CASE("multi-modal models say what they need", "[fast]") {
  Rng rng{1};
  using Modal = MultiModalModel<double>;
  const Dense encoder(3, 4, rng), head(8, 1, rng);
  const ConcatFusion<double> fusion({4, 4});
  CHECK_THROWS_WITH(Modal({.fusion = fusion, .heads = {{"y", head}}}),
                    "MultiModalModel: no encoder given; it needs at least one modality");
  CHECK_THROWS_WITH(Modal({.encoders = {{"a", encoder}}, .heads = {{"y", head}}}),
                    "MultiModalModel: no fusion given; use ConcatFusion or GatedFusion");
  CHECK_THROWS_WITH(Modal({.encoders = {{"a", {}}}, .fusion = fusion, .heads = {{"y", head}}}),
                    "MultiModalModel: the encoder of 'a' is empty");
  CHECK_THROWS_WITH(Modal({.encoders = {{"a", encoder}, {"a", encoder}}, .fusion = fusion, .heads = {{"y", head}}}),
                    "names: 'a' appears twice; names must differ");
  CHECK_THROWS_WITH(Modal({.encoders = {{"a", encoder}}, .fusion = fusion}),
                    "model: no task head given; it needs at least one");
  CHECK_THROWS_WITH(
      Modal({.encoders = {{"a", encoder}}, .fusion = fusion, .heads = {{"y", head}}, .modality_dropout = 1}),
      "MultiModalModel: modality_dropout is 1; it must lie in [0, 1)");
  CHECK_THROWS_WITH(
      Modal({.encoders = {{"a", encoder}}, .fusion = fusion, .heads = {{"y", head}}, .modality_dropout = NAN}),
      "MultiModalModel: modality_dropout is nan; it must lie in [0, 1)");

  const Modal model(
      {.encoders = {{"left", encoder}, {"right", Dense(3, 4, rng)}}, .fusion = fusion, .heads = {{"y", head}}});
  CHECK_THROWS_WITH(model({}), "MultiModalModel: no modality given; known: left, right");
  CHECK_THROWS_WITH(model({{"left", x}, {"top", x}}), "MultiModalModel: unknown modality 'top'; known: left, right");
  CHECK_THROWS_WITH(model({{"left", x}, {"left", x}}), "inputs: 'left' appears twice; names must differ");
  CHECK_THROWS_WITH(model({{"left", Input<double>()}}),
                    "MultiModalModel: modality 'left' has neither values nor tokens");
  CHECK_THROWS_WITH(model({{"left", x}, {"right", Tensor<double>::zeros({3, 3})}}),
                    "MultiModalModel: modality 'right' has 3 samples, 'left' has 2");
  CHECK_THROWS_WITH(model({{"left", {x, Tensor<bool>::ones({3})}}}),
                    "model: the presence of modality 'left' is [3]; it must be [2]");
  CHECK_THROWS_WITH(model({{"left", {x, Tensor<bool>::ones({2, 1})}}}),
                    "model: the presence of modality 'left' is [2, 1]; it must be [2]");
  CHECK_THROWS_WITH(model({{"left", Tensor<Index>::zeros({2, 3})}}),
                    "module: it takes values [batch, ...], but the input has tokens only");
  const Modal folding({.encoders = {{"left", [](const Tensor<double>& v) { return sum(v, {0}); }}},
                       .fusion = ConcatFusion<double>({3}),
                       .heads = {{"y", Dense(3, 1, rng)}}});
  CHECK_THROWS_WITH(folding({{"left", x}}), "model: the encoder of 'left' turned 2 samples into [3]; axis 0 must stay");
}

TEST_CASE("an objective says which task and what there is", "[fast]") {
  const Model model = make_model();
  const MultiObjective<double> objective = make_objective(), other({{"kind", CrossEntropy{}}, {"colour", MSE{}}});
  const Outputs<double> y = model(x);
  CHECK_THROWS_WITH(other(y, make_targets()),
                    "objective: the model predicts no task 'colour'; it predicts: kind, size");
  CHECK_THROWS_WITH(objective(y, {{"kind", Tensor<Index>({2}, {0, 2})}}),
                    "objective: no target for task 'size'; targets given: kind");
  CHECK_THROWS_WITH(objective(Outputs<double>(), make_targets()),
                    "objective: the model predicts no task 'kind'; it predicts: none");
  Targets<double> targets = make_targets();
  targets.find("size")->value = Tensor<double>::zeros({3, 1});
  CHECK_THROWS_WITH(objective(y, targets),
                    "mse: task 'size': the target is [3, 1], the prediction [2, 1]; the target must be [2, 1] or [2]");
  targets = make_targets();
  targets.find("size")->weight = Tensor<double>({2}, {1, -1});
  CHECK_THROWS_WITH(objective(y, targets),
                    "mse: task 'size': the weight of sample 1 is -1; weights are finite and not negative");
  targets.find("size")->weight = Tensor<double>({3}, {1, 1, 1});
  CHECK_THROWS_WITH(objective(y, targets),
                    "mse: task 'size': the weight is [3]; it must be [2], one per sample, or the target's shape");
  targets = make_targets();
  targets.find("kind")->classes = Tensor<Index>({2}, {0, 3});
  CHECK_THROWS_WITH(objective(y, targets),
                    "cross_entropy: task 'kind': sample 1 has class 3; classes must lie in [0, 2]");
  *targets.find("kind") = Target<double>(Tensor<double>::zeros({2, 3}));
  CHECK_THROWS_WITH(
      objective(y, targets),
      "cross_entropy: task 'kind': the target has values; this loss needs classes, a Tensor<Index> [batch]");
  CHECK_THROWS_WITH(objective(y, make_targets())["colour"], "losses: unknown task 'colour'; known: kind, size");
  CHECK_THROWS_WITH(make_targets()["colour"], "targets: unknown target 'colour'; known: kind, size");
}

TEST_CASE("backward needs recorded losses of this objective, once", "[fast]") {
  for (const Combiner& combiner : combiners) {
    Model model = make_model();
    MultiObjective<double> objective = make_objective(combiner), one({{"size", MSE{}}});
    CHECK_THROWS_WITH(objective.backward(objective(model(x), make_targets())),
                      "objective: the losses were not recorded; call the model with a Pass: model(inputs, pass)");
    Pass pass{Rng{0}};
    const auto losses = objective(model(x, pass), make_targets());
    CHECK_THROWS_WITH(one.backward(losses), "objective: 2 losses given for 1 tasks");
    objective.backward(losses);
    const Values once = gradients_of(model);
    CHECK_THROWS_WITH(
        objective.backward(losses),
        "objective: these losses have been through backward already; pass {.retain_graph = true} to the first one");
    CHECK(same_bits(gradients_of(model), once));
  }
}

TEST_CASE("an update between forward and backward is refused", "[fast]") {
  for (const Combiner& combiner : combiners)
    for (const bool head : {true, false}) {
      Model model = make_model();
      MultiObjective<double> objective = make_objective(combiner);
      Pass pass{Rng{0}};
      const auto losses = objective(model(x, pass), make_targets());
      auto list = parameters<double>(model);
      Tensor<double> weight = list[head ? "heads.size.weight" : "trunk.0.weight"];
      weight.mutate()[0] += 0.1;
      CHECK_THROWS_WITH(
          objective.backward(losses),
          join("backward: a value ", head ? Shape{4, 4} : Shape{4, 3},
               " that linear needs was changed in place after the forward pass (by an optimizer step or mutate()); "
               "run the forward pass again before backward"));
      for (const auto& p : list) CHECK(leaf_of(p.value)->slot == -1);
      // The next step works as if nothing had happened.
      clear_gradients(model);
      Model twin = clone(model);
      MultiObjective<double> fresh = make_objective(combiner);
      for (Model* m : {&model, &twin}) {
        Pass again{Rng{0}};
        (m == &twin ? fresh : objective).backward(objective((*m)(x, again), make_targets()));
      }
      if (combiner.name() != "uncertainty") CHECK(same_bits(gradients_of(model), gradients_of(twin)));
    }
}

TEST_CASE("a NaN or infinite loss names its task and leaves everything unchanged", "[fast]") {
  for (const Combiner& combiner : combiners)
    for (const bool infinite : {false, true}) {
      Model model = make_model();
      MultiObjective<double> objective = make_objective(combiner), twin = make_objective(combiner);
      const auto step = [&](MultiObjective<double>& o, const Targets<double>& targets) {
        Pass pass{Rng{0}};
        o.backward(o(model(x, pass), targets));
      };
      step(objective, make_targets());
      step(twin, make_targets());
      clear_gradients(model);
      const Values before = values_of(model);
      Targets<double> bad = make_targets();
      bad.find("size")->value = Tensor<double>({2}, {1, infinite ? HUGE_VAL : NAN});
      CHECK_THROWS_WITH(step(objective, bad),
                        join("objective: the loss of task 'size' is ", infinite ? "infinite" : "nan",
                             "; nothing was updated. Look at the inputs, the labels and the learning rate"));
      for (const auto& g : gradients_of(model)) CHECK_FALSE(g.defined());
      CHECK(same_bits(values_of(model), before));
      // The objective's own state, too: it goes on like one that never saw the bad batch.
      step(objective, make_targets());
      const Values after = gradients_of(model);
      clear_gradients(model);
      step(twin, make_targets());
      CHECK(same_bits(gradients_of(model), after));
      CHECK(objective.record().weights == twin.record().weights);
    }
}

TEST_CASE("a gradient too steep for its square is refused by the aggregator, naming the task", "[fast]") {
  const Tensor<double> w = parameter(Tensor<double>({1, 1}, {1e-200})), one = Tensor<double>::ones({1, 1});
  const Outputs<double> y{{"good", linear(one, w, {})}, {"steep", linear(one * 1e200, w, {})}};
  MultiObjective<double> objective({{"good", MAE{}}, {"steep", MAE{}}}, UPGrad{});
  const auto losses = objective(y, {{"good", one * 3.0}, {"steep", one * 3.0}});
  CHECK_THROWS_WITH(objective.backward(losses),
                    "upgrad: the squared gradient norm of task 'steep' is inf; look at its loss and its labels");
  CHECK_FALSE(gradient(w).defined());
  CHECK(leaf_of(w)->slot == -1);
}
