#include "espalier/model/heads.hpp"

#include "espalier/model/modality_heads.hpp"
#include "espalier/model/multi_task_model.hpp"
#include "espalier/ops/functions.hpp"
#include "support/catch.hpp"
#include "support/models.hpp"

using namespace espalier;
using namespace support;

namespace {

using Dense = Linear<double>;
using Model = MultiTaskModel<double>;

/// Not a Linear, with the same parameters.
struct Wrapped {
  Dense inner;
  Tensor<double> operator()(const Tensor<double>& x) const { return inner(x); }
  void fields(auto&& visit) { inner.fields(visit); }
};
/// The same model with packed and with separate heads; the deep one is separate in both.
Model make_model(bool packed, std::uint64_t seed = 1) {
  Rng rng{seed};
  std::vector<Named<AnyModule<double>>> heads{{"price", Dense(6, 1, rng)}, {"class", Dense(6, 4, rng)}};
  heads.push_back({"deep", sequential(Dense(6, 3, rng), Tanh{}, Dense(3, 2, rng))});
  heads.push_back({"size", Dense(6, 2, rng)});
  for (auto& head : heads)
    if (Dense* linear = head.value.as<Dense>(); linear && !packed) head.value = Wrapped{*linear};
  return Model({.trunk = sequential(Dense(4, 6, rng), ReLU{}), .heads = heads});
}
MultiObjective<double> make_objective(Combiner combiner = {}) {
  return MultiObjective<double>(
      {{"price", MSE{}}, {"class", CrossEntropy{}}, {"deep", MAE{}}, {"size", BCEWithLogits{}}}, std::move(combiner));
}
struct Samples {
  Tensor<double> x;
  Targets<double> targets;
  explicit Samples(std::uint64_t seed = 5, bool classes = true) {
    Rng rng{seed};
    x = Tensor<double>::normal({9, 4}, rng);
    const Target<double> kind(Tensor<Index>({9}, {0, 1, 2, 3, 3, 2, 1, 0, 1}),
                              Tensor<double>::full({9}, classes ? 1 : 0));
    targets = {{"price", Tensor<double>::normal({9}, rng)},
               {"class", kind},
               {"deep", Tensor<double>::normal({9, 2}, rng)},
               {"size", {Tensor<double>::uniform({9, 2}, 0, 1, rng), Tensor<double>::uniform({9}, 0, 2, rng)}}};
  }
};
void step(Model& model, MultiObjective<double>& objective, const Samples& batch, double lr = 0.1) {
  Pass pass{Rng{0}};
  objective.backward(objective(model(batch.x, pass), batch.targets));
  if (lr > 0) descend(model, lr);
}
Tensor<double> parameter_of(Model& model, const std::string& path) { return parameters<double>(model)[path]; }
Tensor<double> gradient_at(Model& model, const std::string& path) { return gradient(parameter_of(model, path)); }

}  // namespace

TEST_CASE("packed heads have the names, values, outputs and gradients of separate ones", "[fast]") {
  Model packed = make_model(true), separate = make_model(false);
  REQUIRE(packed.heads().layout()->places[0].packed());
  REQUIRE_FALSE(packed.heads().layout()->places[2].packed());
  REQUIRE(packed.heads().layout()->places[3].packed());
  REQUIRE_FALSE(separate.heads().layout()->places[0].packed());

  const auto p = parameters<double>(packed), s = parameters<double>(separate);
  REQUIRE(p.size() == 12);
  CHECK(p.names() == s.names());
  CHECK(p.at(2).name == "heads.price.weight");
  CHECK(same_bits(values_of(packed), values_of(separate)));

  const Samples batch;
  const Outputs<double> a = packed(batch.x), b = separate(batch.x);
  for (const std::string name : {"price", "class", "deep", "size"}) {
    REQUIRE(a[name].shape() == b[name].shape());
    CHECK(difference(a[name], b[name]) < 1e-12);
  }
  CHECK(a.block().shape() == Shape{9, 7});
  CHECK_FALSE(b.block().defined());

  for (const Combiner& combiner : {Combiner(), Combiner(FixedWeights({1, 2, 3, 0.5})), Combiner(UPGrad{})})
    for (const bool classes : {true, false}) {
      MultiObjective<double> one = make_objective(combiner), two = make_objective(combiner);
      step(packed, one, Samples(6, classes), 0);
      step(separate, two, Samples(6, classes), 0);
      const Values x = gradients_of(packed), y = gradients_of(separate);
      for (std::size_t i = 0; i < x.size(); ++i) {
        INFO(p.at(static_cast<Index>(i)).name);
        CHECK(difference(x[i], y[i]) < 1e-12);
      }
      clear_gradients(packed);
      clear_gradients(separate);
    }
  MultiObjective<double> one = make_objective(UPGrad{}), two = make_objective(UPGrad{});
  for (int i = 0; i < 20; ++i) {
    step(packed, one, Samples(static_cast<std::uint64_t>(i), i % 3 > 0));
    step(separate, two, Samples(static_cast<std::uint64_t>(i), i % 3 > 0));
  }
  CHECK(difference(values_of(packed), values_of(separate)) < 1e-11);
}

TEST_CASE("gradients of packed heads by grad, jacobian and hvp", "[fast]") {
  Model packed = make_model(true), separate = make_model(false);
  const Samples batch;
  const auto loss = [&](Model& model) {
    Pass pass{Rng{0}};
    const Outputs<double> y = model(batch.x, pass);
    return sum(square(y["class"])) + sum(y["price"] * y["price"] * y["size"]) +
           sum(square(parameter_of(model, "heads.class.weight")));  // reaches the member itself too
  };
  const Tensor<double> a = loss(packed), b = loss(separate);
  const Values x = tensors_of(packed), y = tensors_of(separate);
  CHECK(difference(grad(a, x, {.retain_graph = true}), grad(b, y, {.retain_graph = true})) < 1e-12);
  CHECK(difference(jacobian(a, x), jacobian(b, y)) < 1e-12);
  Rng rng{4};
  Values directions;
  for (const auto& t : x) directions.push_back(Tensor<double>::normal(t.shape(), rng));
  CHECK(difference(hvp(a, x, directions), hvp(b, y, directions)) < 1e-12);
  Pass pass{Rng{0}};
  const Tensor<double> rows = packed(slice(batch.x, 0, 0, 2), pass)["size"];
  Pass again{Rng{0}};
  CHECK(difference(jacobian(rows, x), jacobian(separate(slice(batch.x, 0, 0, 2), again)["size"], y)) < 1e-12);
}

TEST_CASE("copies of a model share its parameters", "[fast]") {
  Model model = make_model(true);
  Model copy = model;
  Model assigned = make_model(true, 2);
  assigned = model;
  MultiObjective<double> objective = make_objective();
  step(copy, objective, Samples());
  CHECK(same_bits(values_of(model), values_of(copy)));
  CHECK(same_bits(values_of(model), values_of(assigned)));
  const Samples batch;
  CHECK(same_bits(model(batch.x).block(), copy(batch.x).block()));
  CHECK(same_bits(model(batch.x).block(), assigned(batch.x).block()));
}

namespace {
/// A model within a model.
struct Ensemble {
  std::vector<Model> members;
  AnyModule<double> judge;
  void fields(auto&& visit) {
    visit("members", members);
    visit("judge", judge);
  }
};
}  // namespace

TEST_CASE("a clone is deep, and packed again", "[fast]") {
  Model model = make_model(true);
  const Values before = values_of(model);
  Model copy = clone(model);
  CHECK(same_bits(values_of(copy), before));
  CHECK(copy.heads().layout()->places[0].packed());
  MultiObjective<double> objective = make_objective(UPGrad{});
  const Samples batch;
  const Outputs<double> outputs = model(batch.x);
  step(copy, objective, batch);
  CHECK(same_bits(values_of(model), before));
  CHECK_FALSE(same_bits(values_of(copy), before));
  CHECK(same_bits(model(batch.x).block(), outputs.block()));
  CHECK_FALSE(same_bits(copy(batch.x).block(), outputs.block()));
  for (const auto& g : gradients_of(model)) CHECK_FALSE(g.defined());
  step(model, objective, batch);
  CHECK(same_bits(values_of(model), values_of(copy)));
  CHECK(same_bits(model(batch.x).block(), copy(batch.x).block()));

  Ensemble ensemble{{make_model(true, 1), make_model(true, 2)}, {}};
  Ensemble other = clone(ensemble);
  step(other.members[1], objective, batch);
  CHECK(same_bits(ensemble.members[1](batch.x).block(), make_model(true, 2)(batch.x).block()));
  CHECK_FALSE(same_bits(other.members[1](batch.x).block(), ensemble.members[1](batch.x).block()));
  CHECK(other.members[1].heads().layout()->places[0].packed());
}

TEST_CASE("a member that is written to is seen by the model", "[fast]") {
  Model model = make_model(true);
  const Samples batch;
  Dense* head = model.heads()[1].as<Dense>();
  REQUIRE(head != nullptr);
  std::ranges::fill(head->weight.mutate(), 0.0);
  std::ranges::copy(std::vector<double>{1, 2, 3, 4}, head->bias.mutate().begin());
  const Tensor<double> y = model(batch.x)["class"];
  for (Index i = 0; i < 9; ++i)
    for (Index j = 0; j < 4; ++j) CHECK(y(i, j) == static_cast<double>(j + 1));
  // Writing to one member does not move the others.
  CHECK(same_bits(model(batch.x)["price"], make_model(true)(batch.x)["price"]));
}

TEST_CASE("a head that was replaced is used once the model's fields are walked", "[fast]") {
  Model model = make_model(true);
  const Samples batch;
  const Tensor<double> other = model(batch.x)["size"];
  Rng rng{77};
  const Dense fresh(6, 4, rng);
  model.heads()[1] = fresh;
  const auto list = parameters<double>(model);
  CHECK(list["heads.class.weight"].data() == fresh.weight.data());
  CHECK(difference(model(batch.x)["class"], fresh((*model.trunk().as<Sequential<double>>())(batch.x))) < 1e-14);
  CHECK(difference(model(batch.x)["size"], other) < 1e-14);
  MultiObjective<double> objective = make_objective(UPGrad{});
  step(model, objective, batch, 0);
  for (const auto& p : list) CHECK(gradient(p.value).defined());
}

TEST_CASE("a regulariser on one head's weight adds to its gradient", "[fast]") {
  Model model = make_model(true), separate = make_model(false);
  const auto regularise = [](Model& m, double factor) {
    backward(factor * sum(square(parameter_of(m, "heads.size.weight"))));
  };
  for (const bool before : {true, false}) {
    for (Model* m : {&model, &separate}) {
      clear_gradients(*m);
      MultiObjective<double> objective = make_objective();
      if (before) regularise(*m, 0.5);
      step(*m, objective, Samples(), 0);
      if (!before) regularise(*m, 0.5);
    }
    CHECK(difference(gradients_of(model), gradients_of(separate)) < 1e-12);
  }
  clear_gradients(model);
  regularise(model, 0.5);
  CHECK(same_bits(gradient_at(model, "heads.size.weight"), parameter_of(model, "heads.size.weight")));
  CHECK_FALSE(gradient_at(model, "heads.price.weight").defined());
  CHECK_FALSE(gradient_at(model, "heads.size.bias").defined());
}

TEST_CASE("no gradient arrives at the head of an absent task", "[fast]") {
  for (const bool packed : {true, false})
    for (const Combiner& combiner : {Combiner(), Combiner(UncertaintyWeighting{}), Combiner(UPGrad{})}) {
      Model model = make_model(packed);
      MultiObjective<double> objective = make_objective(combiner);
      step(model, objective, Samples(5, false), 0);
      CHECK_FALSE(gradient_at(model, "heads.class.weight").defined());
      CHECK_FALSE(gradient_at(model, "heads.class.bias").defined());
      for (const std::string path : {"heads.price.weight", "heads.size.bias", "heads.deep.0.weight", "trunk.0.weight"})
        CHECK(gradient_at(model, path).defined());
      // Present in the next batch, it starts from nothing.
      clear_gradients(model);
      step(model, objective, Samples(6, true), 0);
      Model fresh = make_model(packed);
      MultiObjective<double> other = make_objective(combiner.name() == "uncertainty" ? Combiner() : combiner);
      step(fresh, other, Samples(6, true), 0);
      if (combiner.name() != "uncertainty") CHECK(same_bits(gradients_of(model), gradients_of(fresh)));
    }
}

// ---- ties --------------------------------------------------------------------------------------------------------------

TEST_CASE("tied heads stay unpacked and are shared", "[fast]") {
  Rng rng{1};
  const Dense tied(6, 2, rng), own(6, 1, rng), other(6, 1, rng);
  const auto make = [&] {
    Rng r{2};
    return Model(
        {.trunk = sequential(Dense(4, 6, r), Tanh{}), .heads = {{"a", tied}, {"x", own}, {"b", tied}, {"y", other}}});
  };
  Model model = make();
  const auto& places = model.heads().layout()->places;
  CHECK_FALSE(places[0].packed());
  CHECK_FALSE(places[2].packed());
  CHECK(places[1].packed());
  CHECK(places[3].packed());
  CHECK(parameters<double>(model).size() == 8);
  const Samples batch;
  CHECK(same_bits(model(batch.x)["a"], model(batch.x)["b"]));

  for (const bool aggregated : {false, true}) {
    clear_gradients(model);
    Pass pass{Rng{0}};
    MultiObjective<double> objective({{"a", MSE{}}, {"x", MSE{}}, {"b", MAE{}}, {"y", MSE{}}},
                                     aggregated ? Combiner(UPGrad{}) : Combiner());
    const Tensor<double> two = Tensor<double>::ones({9, 2}), one = Tensor<double>::ones({9});
    const auto losses = objective(model(batch.x, pass), {{"a", two}, {"x", one}, {"b", -two}, {"y", one}});
    const Values tensors = tensors_of(model);
    std::vector<bool> shared;
    for (const auto& p : parameters<double>(model))
      shared.push_back(p.name.starts_with("trunk") || p.name.starts_with("heads.a"));
    Values expected = upgrad_reference(losses, tensors, shared);
    if (!aggregated) {
      const auto rows = explicit_gradients(losses, tensors);
      for (std::size_t p = 0; p < tensors.size(); ++p) expected[p] = rows[0][p] + rows[1][p] + rows[2][p] + rows[3][p];
    }
    objective.backward(losses);
    CHECK(gradient_error(model, expected) < 1e-12);
  }
  Model copy = clone(model);
  CHECK(same_bits(copy(batch.x)["a"], copy(batch.x)["b"]));
  CHECK_FALSE(copy.heads().layout()->places[0].packed());
  CHECK(parameters<double>(copy).size() == 8);
}

TEST_CASE("a head tied to the trunk stays unpacked and is shared", "[fast]") {
  Rng rng{1};
  const Dense square_layer(4, 4, rng);
  Model model({.trunk = sequential(square_layer, Tanh{}),
               .heads = {{"a", square_layer}, {"b", Dense(4, 1, rng)}, {"c", Dense(4, 1, rng)}}});
  CHECK_FALSE(model.heads().layout()->places[0].packed());
  CHECK(model.heads().layout()->places[1].packed());
  CHECK(leaf_of(square_layer.weight)->owner.kind == Owner::Kind::shared);
  Pass pass{Rng{0}};
  MultiObjective<double> objective({{"a", MSE{}}, {"b", MSE{}}, {"c", MSE{}}}, UPGrad{});
  const Samples batch;
  const Tensor<double> one = Tensor<double>::ones({9});
  const auto losses = objective(model(batch.x, pass), {{"a", Tensor<double>::ones({9, 4})}, {"b", -one}, {"c", one}});
  std::vector<bool> shared;
  for (const auto& p : parameters<double>(model)) shared.push_back(p.name.starts_with("trunk"));
  const Values expected = upgrad_reference(losses, tensors_of(model), shared);
  objective.backward(losses);
  CHECK(gradient_error(model, expected) < 1e-12);
}

TEST_CASE("heads of one model in another", "[fast]") {
  Model model = make_model(true);
  Rng rng{1};
  Model user({.trunk = model.trunk(), .heads = {{"kind", *model.heads()[1].as<Dense>()}, {"new", Dense(6, 2, rng)}}});
  const Samples batch;
  CHECK(difference(user(batch.x)["kind"], model(batch.x)["class"]) < 1e-14);
  std::ranges::fill(model.heads()[1].as<Dense>()->weight.mutate(), 0.25);
  CHECK(difference(user(batch.x)["kind"], model(batch.x)["class"]) < 1e-14);
  Pass pass{Rng{0}};
  backward(sum(user(batch.x, pass)["kind"]));
  CHECK(gradient_at(model, "heads.class.weight").defined());
  CHECK_FALSE(gradient_at(model, "heads.price.weight").defined());
}

TEST_CASE("views of a larger tensor are not packed away from it", "[fast]") {
  Rng rng{1};
  Tensor<double> whole = Tensor<double>::normal({3, 6}, rng), biases = Tensor<double>::normal({3}, rng);
  Dense a(6, 1, rng), b(6, 2, rng);
  a.weight = parameter(slice(whole, 0, 0, 1));
  a.bias = parameter(slice(biases, 0, 0, 1));
  b.weight = parameter(slice(whole, 0, 1, 3));
  b.bias = parameter(slice(biases, 0, 1, 3));
  const Tensor<double> before = whole.clone(), x = Tensor<double>::normal({5, 6}, rng);
  const Tensor<double> expected = linear(x, before, biases.clone());
  Model model({.heads = {{"a", a}, {"c", Dense(6, 7, rng)}, {"b", b}}});
  CHECK(same_bits(whole, before));
  CHECK(difference(model(x)["b"], slice(expected, 1, 1, 3)) < 1e-14);
  CHECK(difference(model(x)["a"], slice(expected, 1, 0, 1)) < 1e-14);
}
