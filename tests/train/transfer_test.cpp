// Knowledge from one model to another, and from one task to the next: freezing, warm starts, added tasks, distillation.

#include "espalier/train/distillation.hpp"

#include <filesystem>

#include "espalier/autograd/gradcheck.hpp"
#include "espalier/io/checkpoint.hpp"
#include "espalier/model/multi_modal_model.hpp"
#include "espalier/model/multi_task_model.hpp"
#include "espalier/multimodal/fusion/concat.hpp"
#include "espalier/nn/batch_norm.hpp"
#include "espalier/nn/freeze.hpp"
#include "espalier/optim/adam.hpp"
#include "espalier/optim/clip.hpp"
#include "espalier/optim/sgd.hpp"
#include "support/catch.hpp"
#include "support/golden.hpp"
#include "support/models.hpp"

using namespace espalier;
using namespace support;

namespace {

using Model = MultiTaskModel<double>;
using Dense = Linear<double>;

Model make_model(std::uint64_t seed = 1) {
  Rng rng{seed};
  return Model(
      {.trunk = sequential(Dense(4, 5, rng), BatchNorm1d<double>(5), Tanh{}),
       .heads = {
           {"a", Dense(5, 2, rng)}, {"b", Dense(5, 1, rng)}, {"deep", sequential(Dense(5, 3, rng), Tanh{}, Dense(3, 1, rng))}}});
}
Tensor<double> draw(const Shape& shape, std::uint64_t seed) {
  Rng rng{seed};
  return Tensor<double>::normal(shape, rng);
}
MultiObjective<double> objective_of(Combiner combiner) {
  return MultiObjective<double>({{"a", MSE{}}, {"b", MSE{}}, {"deep", MSE{}}}, std::move(combiner));
}
const Targets<double> targets{{"a", draw({8, 2}, 2)}, {"b", draw({8, 1}, 3)}, {"deep", draw({8, 1}, 4)}};
const Tensor<double> x = draw({8, 4}, 5);

template <class AnyModel>
Losses<double> losses_of(const AnyModel& model, const MultiObjective<double>& objective) {
  Pass pass{Rng{7}};
  return objective(model(x, pass), targets);
}
template <class Optimizer>
void steps(Model& model, Combiner combiner, Optimizer& optimizer, int count) {
  auto objective = objective_of(std::move(combiner));
  for (int i = 0; i < count; ++i) {
    objective.backward(losses_of(model, objective));
    clip_grad_norm(optimizer.parameters(), 1.0);
    optimizer.step();
  }
}

/// Everything that an object's fields hold, by path, as bytes.
class Reader final : public Visitor {
 public:
  std::vector<Named<std::string>> found;

 private:
  void keep(const void* data, std::size_t bytes) { found.push_back({path(), std::string(static_cast<const char*>(data), bytes)}); }
  void tensor(Tensor<float>&) override {}
  void tensor(Tensor<double>& t) override {
    if (t.defined()) keep(t.data(), static_cast<std::size_t>(t.size()) * sizeof(double));
  }
  void tensor(Tensor<Index>& t) override { keep(t.data(), static_cast<std::size_t>(t.size()) * sizeof(Index)); }
  void tensor(Tensor<bool>&) override {}
  void number(Index& n) override { keep(&n, sizeof n); }
};
template <class Object>
std::vector<Named<std::string>> state_of(Object& object) {
  Reader reader;
  walk(object, reader);
  return reader.found;
}

/// Trains, freezes what `freezing` says, and trains on: what `is_frozen` names stays to the bit, with its state; all else moves.
template <class Make, class Freezing>
void check_frozen(Make make_optimizer, Freezing freezing, bool (*is_frozen)(std::string_view)) {
  for (const bool aggregate : {false, true}) {
    const auto combiner = [&] { return aggregate ? Combiner(UPGrad{}) : Combiner(Sum{}); };
    Model model = make_model();
    auto optimizer = make_optimizer(parameters<double>(model));
    steps(model, combiner(), optimizer, 3);
    freezing(model, true);
    const auto values = state_of(model), moments = state_of(optimizer);
    steps(model, combiner(), optimizer, 3);
    const auto after = state_of(model), moments_after = state_of(optimizer);
    for (std::size_t i = 0; i < values.size(); ++i) {
      INFO(values[i].name << (aggregate ? " aggregated" : ""));
      CHECK((values[i].value == after[i].value) == is_frozen(values[i].name));
    }
    for (std::size_t i = 0; i < moments.size(); ++i) {
      INFO("optimizer " << moments[i].name);
      if (moments[i].name != "lr") CHECK((moments[i].value == moments_after[i].value) == is_frozen(moments[i].name));
    }
    freezing(model, false);
    steps(model, combiner(), optimizer, 1);
    const auto moved = state_of(model);
    for (std::size_t i = 0; i < values.size(); ++i) {
      INFO(values[i].name);
      CHECK(moved[i].value != after[i].value);
    }
  }
}

}  // namespace

// ---- freezing ----------------------------------------------------------------------------------------------------------

TEST_CASE("what is frozen stays through any step, with its optimizer state, and goes on when it is let go", "[fast]") {
  const auto sgd = [](auto list) { return SGD<double>(list, {.lr = 0.1, .momentum = 0.9, .weight_decay = 0.01}); };
  const auto adamw = [](auto list) { return AdamW<double>(list, {.lr = 0.1}); };
  const auto owner = [](const char* name) { return [name](Model& m, bool on) { on ? freeze(m, name) : unfreeze(m, name); }; };
  check_frozen(sgd, owner("task a"), [](std::string_view n) { return n.starts_with("heads.a"); });
  check_frozen(adamw, owner("task b"), [](std::string_view n) { return n.starts_with("heads.b"); });
  check_frozen(adamw, owner("task deep"), [](std::string_view n) { return n.starts_with("heads.deep"); });
  check_frozen(adamw, owner("shared"), [](std::string_view n) { return n.starts_with("trunk"); });  // with its batch statistics
  check_frozen(
      sgd, [](Model& m, bool on) { on ? freeze(m.trunk()) : unfreeze(m.trunk()); },
      [](std::string_view n) { return n.starts_with("trunk"); });
  check_frozen(
      adamw, [](Model& m, bool on) { on ? freeze(m.heads()) : unfreeze(m.heads()); },
      [](std::string_view n) { return n.starts_with("heads"); });
}

TEST_CASE("frozen parameters take no gradient, leave the others theirs, and are no part of the Gramian", "[fast]") {
  for (const char* owner : {"shared", "task a", "task b", "task deep"}) {
    Model model = make_model();
    freeze(model.trunk());  // so that the batch statistics are the same on both sides
    unfreeze(model, "shared");
    model = clone(model);
    auto sum = objective_of(Sum{});
    freeze(model, "shared");
    unfreeze(model, "shared");
    Model other = clone(model);
    if (std::string_view(owner) == "shared") {  // a part of it
      freeze(*model.trunk().as<Sequential<double>>()->operator[](0).as<Dense>());
    } else {
      freeze(model, owner);
    }
    sum.backward(losses_of(model, sum));
    sum.backward(losses_of(other, sum));
    const auto mine = parameters<double>(model), theirs = parameters<double>(other);
    for (Index i = 0; i < mine.size(); ++i) {
      INFO(owner << ' ' << mine.at(i).name);
      if (frozen(mine.at(i).value))
        CHECK_FALSE(gradient(mine.at(i).value).defined());
      else
        CHECK(same_bits(gradient(mine.at(i).value), gradient(theirs.at(i).value)));
    }
    clear_gradients(model);
    auto upgrad = objective_of(UPGrad{});
    const Losses<double> losses = losses_of(model, upgrad);
    const Values all = tensors_of(model);
    std::vector<bool> shared;
    for (const auto& p : all) shared.push_back(leaf_of(p)->owner.kind == Owner::Kind::shared && !frozen(p));
    Values expected = upgrad_reference(losses, all, shared);
    for (std::size_t i = 0; i < all.size(); ++i)
      if (frozen(all[i])) expected[i] = Tensor<double>::zeros(all[i].shape());
    upgrad.backward(losses);
    CHECK(gradient_error(model, expected) < 1e-10);
  }
}

TEST_CASE("a gradient that had arrived is dropped, and one that arrived while frozen never counts", "[fast]") {
  Model model = make_model(), plain = make_model();
  auto objective = objective_of(Sum{});
  const auto both = [&](auto f) { f(model), f(plain); };
  const auto pass = [&](Model& m) { objective.backward(losses_of(m, objective)); };
  both(pass);
  freeze(model, "task a");
  CHECK_FALSE(gradient(parameters<double>(model)["heads.a.weight"]).defined());
  pass(model);
  unfreeze(model, "task a");
  clear_gradients(plain);
  both(pass);
  CHECK(difference(gradient(parameters<double>(model)["heads.a.weight"]), gradient(parameters<double>(plain)["heads.a.weight"])) <
        1e-14);
}

TEST_CASE("a frozen BatchNorm does in training what it does in inference", "[fast]") {
  Model model = make_model();
  auto optimizer = SGD<double>(parameters<double>(model), {.lr = 0.1});
  steps(model, Sum{}, optimizer, 2);
  freeze(model.trunk());
  Pass pass{Rng{1}};
  CHECK(same_bits(model(x, pass)["b"], model(x)["b"]));
  BatchNorm1d<double> bare(4, {.affine = false});
  freeze(bare);
  Pass other{Rng{1}};
  CHECK(same_bits(bare(x, other), bare(x)));
  CHECK(frozen(parameters<double>(model)["trunk.0.weight"]));
  CHECK_FALSE(frozen(parameters<double>(model)["heads.a.weight"]));
  CHECK(frozen(parameters<double>(clone(model))["trunk.0.weight"]));
  CHECK_THROWS_WITH(freeze(model, "task c"),
                    "freeze: no parameter is owned by 'task c'; owners: shared, task a, task b, task deep");
  CHECK_THROWS_WITH(unfreeze(model.trunk(), "a"), "unfreeze: no parameter is owned by 'a'; owners: shared");
}

// ---- from one model to the next ------------------------------------------------------------------------------------------

TEST_CASE("a trunk starts from another model's file, of weights or of a run", "[fast]") {
  const std::string path = "transfer_test.safetensors";
  const auto made = [] {
    Rng rng{9};
    return Model({.trunk = sequential(Dense(4, 5, rng), BatchNorm1d<double>(5), Tanh{}), .heads = {{"new", Dense(5, 3, rng)}}});
  };
  Model model = make_model(), fresh = made();
  auto optimizer = SGD<double>(parameters<double>(model), {.lr = 0.1});
  steps(model, Sum{}, optimizer, 2);
  const Tensor<double> features = model.trunk()(x);
  save_weights(path, model);
  load_weights(path, fresh.trunk(), {.prefix = "trunk"});
  CHECK(same_bits(fresh.trunk()(x), features));
  CHECK_THROWS_WITH(
      load_weights(path, fresh.trunk(), {.prefix = "body"}),
      Catch::Matchers::StartsWith("load_weights: \"" + path + "\" does not fit: missing body.0.weight [5, 4] float64;"));
  Model again = made();
  save(path, State{{"model", model}, {"optimizer", optimizer}});
  load(path, State{{"model.trunk", again.trunk()}}, {.partial = true});
  CHECK(same_bits(again.trunk()(x), features));
  std::filesystem::remove(path);
}

TEST_CASE("a task that is added changes no bit of the others, in value, gradient or step", "[fast]") {
  Model model = make_model();
  auto optimizer = AdamW<double>(parameters<double>(model), {.lr = 0.05});
  steps(model, UPGrad{}, optimizer, 3);
  Model before = clone(model);
  auto before_optimizer = AdamW<double>(parameters<double>(before), {.lr = 0.05});
  const std::string path = "transfer_test2.safetensors";
  save(path, State{{"optimizer", optimizer}});
  load(path, State{{"optimizer", before_optimizer}});
  std::filesystem::remove(path);

  Rng rng{4};
  model.add_task("c", Dense(5, 3, rng));
  optimizer.add(parameters<double>(model));
  CHECK(optimizer.parameters().size() == before_optimizer.parameters().size() + 2);
  const auto same = [&] {
    const Outputs<double> now = model(x), then = before(x);
    for (const char* task : {"a", "b", "deep"}) CHECK(same_bits(now[task], then[task]));
  };
  same();
  CHECK(model(x)["c"].shape() == Shape{8, 3});
  CHECK(leaf_of(parameters<double>(model)["heads.c.weight"])->owner.text() == "task c");
  CHECK(same_bits(clone(model)(x)["a"], before(x)["a"]));

  // Trained on without labels for it, the model is what it would be without it.
  auto four = MultiObjective<double>({{"a", MSE{}}, {"b", MSE{}}, {"deep", MSE{}}, {"c", MSE{}}}, UPGrad{});
  Targets<double> more = targets;
  more.add("c", {Tensor<double>::full({8, 3}, NAN), Tensor<double>::zeros({8})});
  const Tensor<double> untouched = parameters<double>(model)["heads.c.weight"].clone();
  for (int i = 0; i < 3; ++i) {
    Pass pass{Rng{7}};
    four.backward(four(model(x, pass), more));
    clip_grad_norm(optimizer.parameters(), 1.0);
    optimizer.step();
  }
  steps(before, UPGrad{}, before_optimizer, 3);
  same();
  CHECK(same_bits(parameters<double>(model)["heads.c.weight"], untouched));

  // Trained alone on a frozen rest, it leaves the rest as it is.
  freeze(model);
  unfreeze(model, "task c");
  const Tensor<double> learned = draw({8, 3}, 6);
  auto alone = MultiObjective<double>({{"c", MSE{}}});
  double first = 0, last = 0;
  for (int i = 0; i < 30; ++i) {
    Pass pass{Rng{7}};
    const Losses<double> losses = alone(model(x, pass), {{"c", learned}});
    (i == 0 ? first : last) = losses["c"];
    alone.backward(losses);
    optimizer.step();
  }
  CHECK(last < 0.9 * first);
  same();
}

TEST_CASE("what cannot be added is refused", "[fast]") {
  Model model = make_model();
  Rng rng{4};
  CHECK_THROWS_WITH(model.add_task("a", Dense(5, 3, rng)), "model: task 'a' appears twice; names must differ");
  CHECK_THROWS_WITH(model.add_task("c", {}), "model: the head of task 'c' is empty");
  const AnyModule<double> taken = model.heads()[0];
  CHECK_THROWS_WITH(model.add_task("c", taken),
                    "model: the head of task 'c' has a parameter, weight, of task a; a head that comes later needs its own");
  auto optimizer = SGD<double>(parameters<double>(model), {.lr = 0.1});
  CHECK_THROWS_WITH(optimizer.add({{"w", x}}), "SGD: 'w' [8, 4] is not a parameter; make it one with parameter(tensor)");
  CHECK_THROWS_WITH(optimizer.add({{"heads.a.weight", parameter(x.clone())}}),
                    "SGD: two parameters have the name 'heads.a.weight'; names must differ");
  optimizer.add(parameters<double>(model));
  CHECK(optimizer.parameters().size() == parameters<double>(model).size());

  MultiModalModel<double> modal(
      {.encoders = {{"left", Dense(4, 3, rng)}}, .fusion = ConcatFusion<double>({3}), .heads = {{"a", Dense(3, 1, rng)}}});
  const Tensor<double> a = modal({{"left", x}})["a"];
  modal.add_task("b", Dense(3, 2, rng));
  CHECK(same_bits(modal({{"left", x}})["a"], a));
  CHECK(modal({{"left", x}})["b"].shape() == Shape{8, 2});
}

// ---- distillation --------------------------------------------------------------------------------------------------------

TEST_CASE("the distillation loss is PyTorch's, and what has weight 0 is not read", "[fast]") {
  const Golden file("distillation.txt");
  const auto array = [&](const char* name) { return Tensor<double>::copy(file[name].shape, file[name].values); };
  const Distillation loss{.temperature = 3, .soft = 0.3};
  for (const bool weighted : {false, true}) {
    const std::string name = weighted ? "weighted" : "plain";
    Target<double> target;
    target.classes = cast<Index>(array("labels"));
    target.value = array("teacher");
    if (weighted) target.weight = array("weights");
    Tensor<double> y = array("student");
    for (Index j = 0; weighted && j < 4; ++j)
      target.value.mutate()[static_cast<std::size_t>(12 + j)] = y.mutate()[static_cast<std::size_t>(12 + j)] = NAN;
    if (weighted) target.classes.mutate()[3] = 99;
    y = parameter(y);
    const Tensor<double> found = loss(y, target);
    CHECK(std::abs(found.item() - array((name + ".loss").c_str()).item()) < 1e-12);
    CHECK(difference(grad(found, {y}, {.retain_graph = true})[0], array((name + ".grad").c_str())) < 1e-12);
    if (!weighted) CHECK(gradcheck([&](const auto& p) { return loss(p[0], target); }, {y.detach()}).passed);
  }
  const Tensor<double> y = array("student");
  const Target<double> labels(Tensor<Index>({6}, {0, 3, 2, 1, 2, 0}));
  CHECK(difference(loss(y, labels), cross_entropy(y, labels)) < 1e-14);
  CHECK(std::abs(Distillation{.soft = 1}(y, Target<double>(y)).item()) < 1e-12);  // nothing to learn from oneself
  CHECK_THROWS_WITH((Distillation{.temperature = 0}(y, labels)), "distillation: temperature is 0; it must be above 0");
  CHECK_THROWS_WITH((Distillation{.soft = 2}(y, labels)), "distillation: soft is 2; it must be in [0, 1]");
  CHECK_THROWS_WITH(loss(y, Target<double>(draw({6, 3}, 1))),
                    "distillation: the teacher's logits are [6, 3], the prediction [6, 4]; they must be equal");
  CHECK_THROWS_WITH(loss(y, Target<double>(Tensor<Index>({6}, {0, 4, 2, 1, 2, 0}))),
                    "distillation: sample 1 has class 4; classes must lie in [0, 3], or be -1 for none");
  CHECK_THROWS_WITH(loss(y, Target<double>()), "distillation: the target has neither classes nor a teacher's logits");
}

TEST_CASE("a student learns two tasks from single-task teachers, also where there are no labels", "[fast]") {
  Rng rng{3};
  const Tensor<double> inputs = draw({60, 4}, 8), sums = sum(inputs, {1}, {.keep_axes = true});
  Tensor<Index> kind = Tensor<Index>::zeros({60});
  for (Index i = 0; i < 60; ++i) kind.raw()[i] = sums(i, 0) > 0;
  Tensor<double> some = Tensor<double>::zeros({60});
  for (Index i = 0; i < 12; ++i) some.mutate()[static_cast<std::size_t>(i)] = 2;
  const Dataset<double> data({{"x", inputs}}, {{"kind", {kind, some}}, {"size", {sums, some}}});
  const Model kinds({.heads = {{"kind", Dense(4, 2, rng)}}}), sizes({.heads = {{"size", Dense(4, 1, rng)}}});
  const Dataset<double> taught = distilled(distilled(data, "kind", kinds), "size", sizes, {.soft = 0.25, .batch = 7});

  const Target<double>&k = taught.targets["kind"], &s = taught.targets["size"];
  CHECK(same_bits(k.value, kinds(inputs)["kind"]));
  const Tensor<double> teacher = sizes(inputs)["size"];
  for (Index i = 0; i < 60; ++i) {
    CHECK(k.classes(i) == (i < 12 ? kind(i) : -1));
    CHECK(k.weight(i) == (i < 12 ? 2 : 1));
    CHECK(s.weight(i) == (i < 12 ? 2 : 0.25));
    CHECK(s.value(i, 0) == Approx(i < 12 ? 0.75 * sums(i, 0) + 0.25 * teacher(i, 0) : teacher(i, 0)));
  }
  CHECK(data.targets["kind"].classes(20) == kind(20));  // the data itself is as it was
  CHECK_FALSE(data.targets["kind"].value.defined());

  Model student(
      {.trunk = sequential(Dense(4, 16, rng), Tanh{}), .heads = {{"kind", Dense(16, 2, rng)}, {"size", Dense(16, 1, rng)}}});
  MultiObjective<double> objective({{"kind", Distillation{}}, {"size", MSE{}}});
  Adam<double> optimizer{parameters<double>(student), {.lr = 0.05}};
  double first = 0, last = 0;
  for (int i = 0; i < 60; ++i) {
    Pass pass{rng};
    const auto losses = objective(student(inputs, pass), taught.targets);
    (i == 0 ? first : last) = losses.total();
    objective.backward(losses);
    optimizer.step();
  }
  CHECK(last < 0.5 * first);
  CHECK_THROWS_WITH(distilled(data, "colour", kinds), "distilled: the data has no target 'colour'; it has: kind, size");
  CHECK_THROWS_WITH(distilled(data, "kind", sizes), "distilled: the teacher predicts no task 'kind'; it predicts: size");
  CHECK_THROWS_WITH(distilled(data, "kind", kinds, {.soft = -1}), "distilled: soft is -1; it must be in [0, 1]");
  const Model wide({.heads = {{"size", Dense(4, 2, rng)}}});
  CHECK_THROWS_WITH(distilled(data, "size", wide),
                    "distilled: the teacher's prediction of 'size' is [60, 2], the target [60, 1]; they must be as large");
}
