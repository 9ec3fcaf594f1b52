// All architectures of multitask/sharing at once: every test goes through the zoo below.

#include "espalier/model/sharing_model.hpp"

#include <filesystem>

#include "espalier/autograd/gradcheck.hpp"
#include "espalier/io/checkpoint.hpp"
#include "espalier/model/multi_modal_model.hpp"
#include "espalier/model/summary.hpp"
#include "espalier/multimodal/fusion/concat.hpp"
#include "espalier/multimodal/fusion/gated.hpp"
#include "espalier/nn/coral.hpp"
#include "espalier/nn/dropout.hpp"
#include "espalier/nn/identity.hpp"
#include "espalier/optim/adam.hpp"
#include "espalier/train/diagnostics_chart.hpp"
#include "espalier/train/trainer.hpp"
#include "support/catch.hpp"
#include "support/golden.hpp"
#include "support/models.hpp"

using namespace espalier;
using namespace support;

namespace {

using Model = SharingModel<double>;
using Dense = Linear<double>;
const std::vector<std::string> tasks{"a", "b"};

struct Architecture {
  std::string name;  // as in golden/sharing.txt
  AnySharing<double> (*make)(Rng& rng);
  bool penalty = false;
};

auto stage(Rng& rng, Index in = 4) {
  return [&rng, in] { return sequential(Dense(in, 3, rng), Tanh{}); };
}
CGC<double> level(Rng& rng, Index in = 4) {
  return CGC<double>(in,
                     {.shared = repeat<double>(2, stage(rng, in)),
                      .own = {{"a", repeat<double>(1, stage(rng, in))}, {"b", repeat<double>(2, stage(rng, in))}}},
                     rng);
}
AnySharing<double> cross_stitch(Rng& rng, bool per_channel) {
  return CrossStitch<double>(
      4, {.towers = {{"a", {stage(rng)(), stage(rng, 3)()}}, {"b", {stage(rng)(), stage(rng, 3)()}}}, .per_channel = per_channel});
}
AnySharing<double> mtan(Rng& rng, bool norm) {
  return MTAN<double>(4,
                      {.tasks = tasks,
                       .stages = {{stage(rng)(), stage(rng, 3)(), stage(rng, 3)()}, {stage(rng, 3)()}},
                       .reduction = 1,
                       .batch_norm = norm},
                      rng);
}

const std::vector<Architecture> zoo{
    {"mmoe",
     [](Rng& rng) -> AnySharing<double> {
       return MMoE<double>(4, {.tasks = tasks, .experts = repeat<double>(3, stage(rng))}, rng);
     }},
    {"omoe",
     [](Rng& rng) -> AnySharing<double> {
       return MMoE<double>(
           4, {.tasks = tasks, .experts = repeat<double>(3, stage(rng)), .gates = {detail::SoftmaxGate<double>(4, 3, rng)}}, rng);
     }},
    {"dselect",
     [](Rng& rng) -> AnySharing<double> {
       return MMoE<double>(4,
                           {.tasks = tasks,
                            .experts = repeat<double>(3, stage(rng)),
                            .gates = {DSelectK<double>(4, 3, rng), DSelectK<double>(4, 3, rng)}},
                           rng);
     },
     true},
    {"cgc", [](Rng& rng) -> AnySharing<double> { return level(rng); }},
    {"ple",
     [](Rng& rng) -> AnySharing<double> {
       return PLE<double>({level(rng), level(rng, 3), level(rng, 3)}, rng);
     }},
    {"cross_stitch", [](Rng& rng) { return cross_stitch(rng, false); }},
    {"cross_stitch_channels", [](Rng& rng) { return cross_stitch(rng, true); }},
    {"mtan", [](Rng& rng) { return mtan(rng, false); }},
    {"mtan_norm", [](Rng& rng) { return mtan(rng, true); }},
    {"film",
     [](Rng& rng) -> AnySharing<double> {
       return FiLM<double>(4, {.tasks = tasks, .stages = {Dense(4, 3, rng), Dense(3, 3, rng)}});
     }},
};

Model make(const Architecture& a, std::uint64_t seed = 1, double penalty = 0.1) {
  Rng rng{seed};
  AnySharing<double> sharing = a.make(rng);
  return Model(
      {.sharing = sharing, .heads = {{"a", Dense(3, 1, rng)}, {"b", Dense(3, 2, rng)}}, .penalty = a.penalty ? penalty : 0});
}
Tensor<double> draw(const Shape& shape, std::uint64_t seed) {
  Rng rng{seed};
  return Tensor<double>::normal(shape, rng);
}
MultiObjective<double> objective_of(Combiner combiner) {
  return MultiObjective<double>({{"a", MSE{}}, {"b", MSE{}}}, std::move(combiner));
}
Targets<double> targets_of(Index batch, const Tensor<double>& weight_b = {}) {
  return {{"a", draw({batch, 1}, 11)}, {"b", {draw({batch, 2}, 12), weight_b}}};
}
Outputs<double> recorded(const Model& model, const Tensor<double>& x) {
  Rng rng{3};
  Pass pass{rng};
  Outputs<double> y = model(x, pass);
  pass.discard();
  return y;
}

}  // namespace

TEST_CASE("architectures and their gradients are PyTorch's", "[fast]") {
  const Golden file("sharing.txt");
  for (const Architecture& a : zoo) {
    INFO(a.name);
    const auto array = [&](const std::string& part) {
      const auto& found = file[a.name + "." + part];
      return Tensor<double>::copy(found.shape, found.values);
    };
    Model model = make(a);
    Values xs{parameter(array("x"))}, expected{array("gx")};
    for (auto& p : parameters<double>(model)) {
      INFO(p.name);
      const Tensor<double> value = array("p." + p.name);
      REQUIRE(value.shape() == p.value.shape());
      std::ranges::copy(value.values(), p.value.mutate().begin());
      xs.push_back(p.value);
      expected.push_back(array("g." + p.name));
    }
    const Outputs<double> y = recorded(model, xs[0]);
    Tensor<double> total = Tensor<double>::scalar(0);
    for (Index k = 0; k < y.size(); ++k) {
      CHECK(difference(y.at(k), array("y." + y.name(k))) < 1e-12);
      total = total + sum(y.at(k) * array("c." + y.name(k)));
    }
    if (a.penalty) {
      const auto each = model.sharing().penalty(xs[0], nullptr);
      const Tensor<double> penalty = concat(std::vector<Tensor<double>>{each[0], each[1]}, 1);
      CHECK(difference(penalty, array("y.penalty")) < 1e-12);
      total = total + sum(penalty * array("c.penalty"));
    }
    CHECK(difference(grad(total, xs), expected) < 1e-12);
  }
}

TEST_CASE("gradients through every architecture are what central differences find, to second order", "[fast]") {
  for (const Architecture& a : zoo) {
    const Model model = make(a);
    const GradcheckResult result = gradcheck(
        [&](const auto& x) {
          const Outputs<double> y = recorded(model, x[0]);
          return concat(std::vector<Tensor<double>>{y["a"], y["b"]}, 1);
        },
        {draw({3, 4}, 5)});
    INFO(a.name << ": " << result.text);
    CHECK(result.passed);
  }
}

TEST_CASE("what is a task's own no other task reaches, what is shared both do", "[fast]") {
  for (const Architecture& a : zoo) {
    Model model = make(a);
    const Tensor<double> x = draw({6, 4}, 5);
    const Losses<double> losses = objective_of(Sum{})(recorded(model, x), targets_of(6));
    const Values all = tensors_of(model);
    const std::vector<Values> rows = explicit_gradients(losses, all);
    const auto names = parameters<double>(model);
    for (std::size_t p = 0; p < all.size(); ++p) {
      const Owner& owner = leaf_of(all[p])->owner;
      INFO(a.name << ' ' << names.at(static_cast<Index>(p)).name << ": " << owner.text());
      REQUIRE(owner.kind != Owner::Kind::unknown);
      CHECK(zero(rows[0][p]) == (owner.text() == "task b"));
      CHECK(zero(rows[1][p]) == (owner.text() == "task a"));
    }
    const std::string text = summary<double>(model, x);
    CHECK(text.find("task a") != std::string::npos);
    CHECK(text.find("shared") != std::string::npos);
  }
}

TEST_CASE("an aggregated step is UPGrad of the explicit gradients, and heads keep their own", "[fast]") {
  for (const Architecture& a : zoo) {
    Model model = make(a, 1, 0);
    auto objective = objective_of(UPGrad{});
    const Losses<double> losses = objective(recorded(model, draw({6, 4}, 5)), targets_of(6));
    const Values all = tensors_of(model);
    std::vector<bool> shared;
    for (const auto& p : all) shared.push_back(leaf_of(p)->owner.kind == Owner::Kind::shared);
    const Values expected = upgrad_reference(losses, all, shared);
    objective.backward(losses);
    INFO(a.name);
    CHECK(gradient_error(model, expected) < 1e-10);
  }
}

TEST_CASE("a task without labels leaves the others as they are, its own parameters untouched", "[fast]") {
  for (const Architecture& a : zoo) {
    Model model = make(a);
    const Tensor<double> x = draw({6, 4}, 5);
    auto alone = MultiObjective<double>({{"a", MSE{}}}, UPGrad{}), both = objective_of(UPGrad{});
    alone.backward(alone(recorded(model, x), targets_of(6)));
    const Values expected = gradients_of(model);
    clear_gradients(model);
    Targets<double> targets = targets_of(6, Tensor<double>::zeros({6}));
    targets.find("b")->value = Tensor<double>::full({6, 2}, NAN);
    both.backward(both(recorded(model, x), targets));
    INFO(a.name);
    CHECK(same_bits(gradients_of(model), expected));
    for (const auto& p : parameters<double>(model))
      if (leaf_of(p.value)->owner.text() == "task b") CHECK_FALSE(gradient(p.value).defined());
  }
}

TEST_CASE("with an input per task each has its own rows, and what is behind an absent one is not read", "[fast]") {
  for (const Architecture& a : zoo) {
    const Model model = make(a);
    const Tensor<double> x = draw({5, 4}, 5), z = draw({7, 4}, 6);
    const Outputs<double> y = model({{"b", z}, {"a", x}});
    INFO(a.name);
    CHECK(same_bits(y["a"], model(x)["a"]));
    CHECK(same_bits(y["b"], model(z)["b"]));
    Tensor<double> holes = z.clone();
    Tensor<bool> present = Tensor<bool>::ones({7});
    for (const Index i : {0, 4}) {
      present.mutate()[static_cast<std::size_t>(i)] = false;
      for (Index j = 0; j < 4; ++j) holes.mutate()[static_cast<std::size_t>(4 * i + j)] = NAN;
    }
    const Outputs<double> some = model({{"a", x}, {"b", {holes, present}}});
    CHECK(same_bits(some["a"], y["a"]));
    for (Index i = 0; i < 7; ++i)
      for (Index j = 0; j < 2; ++j) CHECK(some["b"](i, j) == (present(i) ? y["b"](i, j) : 0));
  }
}

TEST_CASE("inference records nothing, and a row has the bits that it has in any batch", "[fast]") {
  for (const Architecture& a : zoo) {
    const Model model = make(a);
    const Tensor<double> x = draw({9, 4}, 5);
    const Outputs<double> all = model(x), part = model(slice(x, 0, 3, 5));
    for (const std::string& task : tasks) {
      INFO(a.name << ' ' << task);
      CHECK_FALSE(all[task].node());
      CHECK(same_bits(part[task], slice(all[task], 0, 3, 5)));
    }
  }
}

TEST_CASE("state goes into a file and back, clones are deep, copies share", "[fast]") {
  const std::string path = "sharing_model_test.safetensors";
  for (const Architecture& a : zoo) {
    Model model = make(a), other = make(a, 2), deep = clone(model), copy = model;
    const Tensor<double> x = draw({5, 4}, 5);
    INFO(a.name);
    CHECK_FALSE(same_bits(model(x)["b"], other(x)["b"]));
    save_weights(path, model);
    load_weights(path, other);
    const Tensor<double> before = model(x)["b"];
    CHECK(same_bits(other(x)["b"], before));
    for (auto& p : parameters<double>(model)) p.value.mutate()[0] += 1;
    CHECK(same_bits(deep(x)["b"], before));
    CHECK(same_bits(copy(x)["b"], model(x)["b"]));
    for (const auto& p : parameters<double>(deep)) CHECK(leaf_of(p.value)->owner.kind != Owner::Kind::unknown);
  }
  std::filesystem::remove(path);
}

TEST_CASE("every architecture trains", "[fast]") {
  for (const Architecture& a : zoo) {
    Model model = make(a);
    const Tensor<double> x = draw({64, 4}, 5), u = slice(x, 1, 0, 1), v = slice(x, 1, 1, 2);
    Dataset<double> data({{"x", x}}, {{"a", tanh(u + v)}, {"b", concat(std::vector<Tensor<double>>{tanh(u - v), v}, 1)}});
    MultiObjective<double> objective = objective_of(Sum{});
    const double before = evaluate(model, objective, data)("b", "loss");
    Adam<double> optimizer{parameters<double>(model), {.lr = 2e-2}};
    Trainer trainer{model, objective, optimizer, {.epochs = 25, .progress = {.mode = Progress::quiet}}};
    trainer.fit(data);
    INFO(a.name);
    CHECK(evaluate(model, objective, data)("b", "loss") < 0.6 * before);
  }
}

namespace {

struct Fused {
  Model model;
  MultiModalModel<double> front;  // the same encoders and fusion, and nothing behind them
  Model bare;                     // the same sharing and heads, and nothing in front
};
Fused make_fused(const Architecture& a, bool gated = true, double dropout = 0) {
  Rng rng{4};
  const std::vector<Named<AnyModule<double>>> encoders{{"left", sequential(Dense(2, 4, rng), Tanh{})}, {"right", Dense(3, 4, rng)}};
  const auto fusion = gated ? AnyFusion<double>(GatedFusion<double>(4, rng)) : AnyFusion<double>(ConcatFusion<double>{2, 2});
  std::vector<Named<AnyModule<double>>> narrow{{"left", Dense(2, 2, rng)}, {"right", Dense(3, 2, rng)}};
  const auto& used = gated ? encoders : narrow;
  const AnySharing<double> sharing = a.make(rng);
  const std::vector<Named<AnyModule<double>>> heads{{"a", Dense(3, 1, rng)}, {"b", Dense(3, 2, rng)}};
  MultiModalModel<double> front({.encoders = used, .fusion = fusion, .heads = {{"f", Identity{}}}});
  Model bare({.sharing = sharing, .heads = heads});
  return {Model({.encoders = used, .fusion = fusion, .sharing = sharing, .heads = heads, .modality_dropout = dropout}), front, bare};
}
/// Every third row lacks the left, every fourth the right one, row 0 both; what is behind that is NaN.
Inputs<double> with_holes(Index rows, bool holes = true) {
  Tensor<double> left = draw({rows, 2}, 21), right = draw({rows, 3}, 22);
  Tensor<bool> has_left = Tensor<bool>::ones({rows}), has_right = Tensor<bool>::ones({rows});
  for (Index i = 0; i < rows && holes; ++i) {
    has_left.raw()[i] = i % 3 != 0;
    has_right.raw()[i] = i % 4 != 0;
    if (i % 3 == 0) left.raw()[2 * i] = left.raw()[2 * i + 1] = NAN;
    if (i % 4 == 0) right.raw()[3 * i] = NAN;
  }
  return {{"left", {left, has_left}}, {"right", {right, has_right}}};
}

}  // namespace

TEST_CASE("encoders and a fusion in front of any architecture, with modalities missing", "[fast]") {
  for (const Architecture& a : zoo)
    for (const bool gated : {true, false}) {
      INFO(a.name << (gated ? " gated" : " concatenated"));
      Fused fused = make_fused(a, gated);
      const Inputs<double> inputs = with_holes(13);
      const Outputs<double> y = fused.model(inputs);
      const Tensor<double> features = fused.front(inputs)["f"];
      for (const std::string& task : tasks) CHECK(same_bits(y[task], fused.bare(features)[task]));
      for (Index i = 0; i < 13; ++i) {  // alone, with what it lacks left out
        Inputs<double> row;
        for (const auto& [name, input] : inputs)
          if (input.present(i) || i % 12 == 0) row.add(name, Input<double>(slice(input.values, 0, i, i + 1), slice(input.present, 0, i, i + 1)));
        CHECK(same_bits(fused.model(row)["b"], slice(y["b"], 0, i, i + 1)));
      }
      // The gradient joins as UPGrad joins the explicit ones; encoders and fusion are among what is shared.
      Model& model = fused.model;
      auto objective = objective_of(UPGrad{});
      Pass pass{Rng{3}};
      const Losses<double> losses = objective(model(inputs, pass), targets_of(13));
      pass.discard();
      const Values all = tensors_of(model);
      std::vector<bool> shared;
      for (const auto& p : all) shared.push_back(leaf_of(p)->owner.kind != Owner::Kind::task);
      const Values expected = upgrad_reference(losses, all, shared);
      objective.backward(losses);
      CHECK(gradient_error(model, expected) < 1e-10);
      CHECK(leaf_of(all[0])->owner.text() == "modality left");
      CHECK(leaf_of(parameters<double>(model)[gated ? "fusion.gate.weight" : "fusion.missing.0"])->owner.text() == "shared");
      const auto names = parameters<double>(model).names();
      CHECK(names.starts_with("encoders.left."));
      CHECK(names.find("sharing.") != std::string::npos);
    }
}

TEST_CASE("a fused SharingModel trains, hides modalities, takes on a task, and goes into a file and back", "[fast]") {
  const std::string path = "sharing_model_test.safetensors";
  const auto find = [](const char* name) { return *std::ranges::find(zoo, name, &Architecture::name); };
  for (const char* name : {"mmoe", "ple", "film"}) {
    INFO(name);
    Fused fused = make_fused(find(name), true, 0.3);
    Model& model = fused.model;
    const Inputs<double> inputs = with_holes(64);
    Dataset<double> data(inputs, {{"a", draw({64, 1}, 5)}, {"b", draw({64, 2}, 6)}});
    for (Index i = 0; i < 64; ++i)
      if (i % 3 != 0) data.targets.find("a")->value.mutate()[static_cast<std::size_t>(i)] = std::tanh(inputs["left"].values(i, 0));
    MultiObjective<double> objective = objective_of(UPGrad{});
    const double before = evaluate(model, objective, data)("a", "loss");
    Adam<double> optimizer{parameters<double>(model), {.lr = 2e-2}};
    Trainer trainer{model, objective, optimizer, {.epochs = 40, .progress = {.mode = Progress::quiet}}};
    trainer.fit(data);
    CHECK(evaluate(model, objective, data)("a", "loss") < 0.7 * before);
    const Outputs<double> trained = model(inputs);
    Rng rng{7};
    model.add_task("c", Dense(3, 1, rng), rng);
    CHECK(same_bits(model(inputs)["a"], trained["a"]));
    save_weights(path, model);
    Fused other = make_fused(find(name));
    other.model.add_task("c", Dense(3, 1, rng), rng);
    load_weights(path, other.model);
    CHECK(same_bits(other.model(inputs)["c"], model(inputs)["c"]));
    CHECK(same_bits(clone(model)(inputs)["b"], trained["b"]));
    const Outputs<double> y = [&] {
      Pass pass{Rng{3}};
      return model(with_holes(64, false), pass);
    }();
    CHECK_FALSE(same_bits(y["b"], model(with_holes(64, false))["b"]));  // in training some of the modalities are hidden
  }
  std::filesystem::remove(path);
}

TEST_CASE("a task added later changes no bit of the others, and has what it needs for itself", "[fast]") {
  const std::string path = "sharing_model_test.safetensors";
  for (const Architecture& a : zoo) {
    INFO(a.name);
    Model model = make(a);
    const Tensor<double> x = draw({6, 4}, 5);
    Adam<double> optimizer{parameters<double>(model), {.lr = 1e-2}};
    auto two = objective_of(UPGrad{});
    two.backward(two(recorded(model, x), targets_of(6)));
    optimizer.step();
    const Outputs<double> before = model(x), trained = recorded(model, x);
    const std::string names = parameters<double>(model).names();
    Rng rng{8};
    const auto add = [](Model& m, Rng& r) { m.add_task("c", Dense(3, 1, r), r); };
    if (a.name.starts_with("cross_stitch")) {
      CHECK_THROWS_WITH(add(model, rng), "CrossStitch: task 'c' cannot be added, as every task's mixture has a number for every tower; "
                                         "make a new model of all tasks, and load the towers' weights into it");
      CHECK(same_bits(model(x)["a"], before["a"]));
      CHECK(parameters<double>(model).names() == names);
      continue;
    }
    add(model, rng);
    REQUIRE(model(x).find("c") == 2);
    for (const std::string& task : tasks) {
      CHECK(same_bits(model(x)[task], before[task]));
      CHECK(same_bits(recorded(model, x)[task], trained[task]));
    }
    // Owners are right: nobody else reaches what is the new task's, and it reaches nothing of theirs.
    const Targets<double> targets{{"a", draw({6, 1}, 11)}, {"b", draw({6, 2}, 12)}, {"c", draw({6, 1}, 13)}};
    MultiObjective<double> three({{"a", MSE{}}, {"b", MSE{}}, {"c", MSE{}}}, UPGrad{});
    const Losses<double> losses = three(recorded(model, x), targets);
    const Values all = tensors_of(model);
    const std::vector<Values> rows = explicit_gradients(losses, all);
    for (std::size_t p = 0; p < all.size(); ++p) {
      const std::string owner = leaf_of(all[p])->owner.text();
      INFO(parameters<double>(model).at(static_cast<Index>(p)).name << ": " << owner);
      if (owner == "task c") CHECK((zero(rows[0][p]) && zero(rows[1][p])));
      else if (owner != "shared") CHECK(zero(rows[2][p]));
    }
    // It trains with the optimizer it had, and goes into a file and back.
    optimizer.add(parameters<double>(model));
    three.backward(losses);
    optimizer.step();
    CHECK_FALSE(same_bits(model(x)["a"], before["a"]));
    save_weights(path, model);
    Model other = make(a, 2);
    Rng seed{9};
    add(other, seed);
    load_weights(path, other);
    for (const char* task : {"a", "b", "c"}) CHECK(same_bits(other(x)[task], model(x)[task]));
    CHECK(same_bits(clone(model)(x)["c"], model(x)["c"]));
    CHECK_THROWS_WITH(add(model, rng), Catch::Contains(": task 'c' appears twice; names must differ"));
  }
  std::filesystem::remove(path);
}

TEST_CASE("an added task brings experts or a gate where there is a use for them", "[fast]") {
  Rng rng{1};
  const Tensor<double> x = draw({6, 4}, 5);
  const auto find = [](const char* name) { return *std::ranges::find(zoo, name, &Architecture::name); };
  Model ple = make(find("ple")), cgc = make(find("cgc")), mmoe = make(find("mmoe")), omoe = make(find("omoe")), film = make(find("film"));
  const Tensor<double> before = ple(x)["a"];
  const auto count = [](Model& model, std::string_view part) {
    const auto all = parameters<double>(model);
    return std::ranges::count_if(all, [&](const auto& p) { return p.name.find(part) != std::string::npos; });
  };
  ple.add_task("c", Dense(3, 1, rng), rng, {.experts = repeat<double>(2, stage(rng, 3))});
  CHECK(same_bits(ple(x)["a"], before));
  CHECK(count(ple, "own.c.") == 4);  // weights and biases, at the last level alone
  CHECK(count(ple, "gates.c") == 3);
  cgc.add_task("c", Dense(3, 1, rng), rng, {.experts = repeat<double>(1, stage(rng))});
  CHECK(count(cgc, "own.c.") == 2);
  const DSelectK<double> gate(4, 3, rng);
  mmoe.add_task("c", Dense(3, 1, rng), rng, {.gate = gate});
  CHECK(count(mmoe, "gates.c.select") == 1);
  omoe.add_task("c", Dense(3, 1, rng), rng);
  CHECK(count(omoe, "gate") == 1);

  const auto experts = [&] { return AddedTask<double>{.experts = repeat<double>(1, stage(rng))}; };
  CHECK_THROWS_WITH(mmoe.add_task("d", Dense(3, 1, rng), rng, experts()),
                    "MMoE: task 'd' brings experts of its own, for which there is no use here; leave them out");
  CHECK_THROWS_WITH(omoe.add_task("d", Dense(3, 1, rng), rng, {.gate = DSelectK<double>(4, 3, rng)}),
                    "MMoE: task 'd' brings a gate, for which there is no use here; leave it out");
  CHECK_THROWS_WITH(ple.add_task("d", Dense(3, 1, rng), rng, {.gate = DSelectK<double>(4, 3, rng)}),
                    "CGC: task 'd' brings a gate, for which there is no use here; leave it out");
  CHECK_THROWS_WITH(film.add_task("d", Dense(3, 1, rng), rng, experts()),
                    "FiLM: task 'd' brings experts of its own, for which there is no use here; leave them out");
  CHECK_THROWS_WITH(mmoe.add_task("d", Dense(3, 1, rng), rng, {.gate = Dense(4, 2, rng)}),
                    "MMoE: the gate of task 'd' gives 2 weights for 3 experts; they must be as many");
  CHECK_THROWS_WITH(cgc.add_task("d", Dense(3, 1, rng), rng, {.experts = {Dense(4, 2, rng)}}),
                    "CGC: own.d.0 gives [2, 2], the experts there are [2, 3]; all must give the same shape");
  CHECK_THROWS_WITH(film.add_task("d", {}, rng), "SharingModel: the head of task 'd' is empty");
  CHECK_THROWS_WITH(mmoe.add_task("d", Dense(3, 1, rng), rng, {.gate = gate}),
                    "model: the gate of task 'd' has a parameter, select.weight, of task c; a gate that comes later needs its own");
  for (Model* model : {&ple, &cgc, &mmoe, &omoe, &film}) CHECK((*model)(x).find("d") < 0);
}

// ---- the penalty -------------------------------------------------------------------------------------------------------

namespace {

/// DSelectK's penalty of one sample from the definition, in plain numbers: two choices among three experts, two bits each.
double penalty_by_hand(const Tensor<double>& select, const Tensor<double>& x, Index row) {
  double total = 0;
  for (Index j = 0; j < 2; ++j) {
    double s[2];
    for (Index b = 0; b < 2; ++b) {
      double z = 0;
      for (Index i = 0; i < 4; ++i) z += select(2 * j + b, i) * x(row, i);
      s[b] = z <= -0.5 ? 0 : z >= 0.5 ? 1 : -2 * z * z * z + 1.5 * z + 0.5;
    }
    double all = 0;
    for (Index e = 0; e < 3; ++e) {
      const double r = (e & 1 ? s[0] : 1 - s[0]) * (e & 2 ? s[1] : 1 - s[1]);
      total -= r * std::log(r + 1e-6);
      all += r;
    }
    total += 1 / (all + 1e-6);
  }
  return total;
}
Model dselect(double penalty, bool one_gate = false) {
  Rng rng{1};
  std::vector<AnyModule<double>> gates{DSelectK<double>(4, 3, rng), DSelectK<double>(4, 3, rng)};
  if (one_gate) gates.pop_back();
  const AnySharing<double> sharing = MMoE<double>(4, {.tasks = tasks, .experts = repeat<double>(3, stage(rng)), .gates = gates}, rng);
  return Model({.sharing = sharing, .heads = {{"a", Dense(3, 1, rng)}, {"b", Dense(3, 2, rng)}}, .penalty = penalty});
}
/// Least squares with a penalty on its weights, written by hand.
struct Ridge {
  Tensor<double> w = parameter(draw({2, 3}, 1));
  double factor = 0.5;
  Outputs<double> operator()(const Tensor<double>& x) const {
    Outputs<double> y{{"y", linear(x, w, Tensor<double>())}};
    y.penalise(sum(w * w) * factor);
    return y;
  }
  void fields(auto&& visit) { visit("w", w); }
};
/// An architecture whose penalty is one number, not one per sample.
struct Summed {
  static constexpr std::string_view name = "Summed";
  std::vector<std::string> names = {"a", "b"};
  Tensor<double> factor = parameter(Tensor<double>::ones({3}));
  const std::vector<std::string>& tasks() const { return names; }
  PoolVector<Tensor<double>> operator()(const Tensor<double>& x, Pass*) const { return PoolVector<Tensor<double>>(2, x * factor); }
  PoolVector<Tensor<double>> penalty(const Tensor<double>&, Pass*) const { return PoolVector<Tensor<double>>(1, sum(factor)); }
  void own() {}
  void fields(auto&& visit) { visit("factor", factor); }
};
Values gradients(Model& model, MultiObjective<double>& objective, const Tensor<double>& x, const Targets<double>& targets) {
  clear_gradients(model);
  objective.backward(objective(recorded(model, x), targets));
  return gradients_of(model);
}

}  // namespace

TEST_CASE("the penalty is that of the definition, and its gradient is added to the joined one as it is", "[fast]") {
  const Tensor<double> x = draw({6, 4}, 5);
  for (const Combiner& combiner : {Combiner(Sum{}), Combiner(FixedWeights{{3, 0.5}}), Combiner(UPGrad{}), Combiner(GradDrop{})})
    for (const bool one_gate : {false, true}) {
      Model without = dselect(0, one_gate), with = dselect(0.3, one_gate);
      auto objective = objective_of(combiner);
      const Losses<double> losses = objective(recorded(with, x), targets_of(6));
      INFO(combiner.name() << (one_gate ? ", one gate for all" : ""));
      REQUIRE(losses.penalties().size() == (one_gate ? 1 : 2));
      const auto all = parameters<double>(with);
      Tensor<double> total = Tensor<double>::scalar(0);
      for (std::size_t t = 0; t < losses.penalties().size(); ++t) {
        const auto& [value, task] = losses.penalties()[t];
        const Tensor<double> select = all[one_gate ? "sharing.gate.select.weight" : "sharing.gates." + tasks[t] + ".select.weight"];
        double mean = 0;
        for (Index i = 0; i < 6; ++i) mean += penalty_by_hand(select, x, i) / 6;
        CHECK(std::abs(value.data()[0] - 0.3 * mean) < 1e-12);
        CHECK(task == (one_gate ? -1 : static_cast<Index>(t)));
        total = total + reshape(value, {});
      }
      const Values added = grad(total, tensors_of(with));
      const auto fresh = [&] { return objective_of(combiner); };
      auto first = fresh(), second = fresh();
      Values expected = gradients(without, first, x, targets_of(6));
      Index moved = 0;
      for (std::size_t p = 0; p < expected.size(); ++p)
        if (!zero(added[p])) expected[p] = expected[p].defined() ? expected[p] + added[p] : added[p], ++moved;
      CHECK(moved == (one_gate ? 1 : 2));  // the choices' weights alone
      CHECK(difference(gradients(with, second, x, targets_of(6)), expected) < 1e-12);
      CHECK(losses.total() == fresh()(recorded(without, x), targets_of(6)).total());
    }
}

TEST_CASE("the penalty of a task that takes no part, or is not ours, counts for nothing", "[fast]") {
  const Tensor<double> x = draw({6, 4}, 5);
  Model with = dselect(0.3), without = dselect(0);
  const auto check = [&](auto&& prepare) {
    auto first = objective_of(Sum{}), second = objective_of(Sum{});
    const Targets<double> targets = prepare(first);
    prepare(second);
    const Values expected = gradients(without, first, x, targets), found = gradients(with, second, x, targets);
    const auto names = parameters<double>(with);
    for (std::size_t p = 0; p < found.size(); ++p) {
      const std::string& name = names.at(static_cast<Index>(p)).name;
      INFO(name);
      if (name == "sharing.gates.a.select.weight") CHECK_FALSE(same_bits(found[p], expected[p]));
      else CHECK((found[p].defined() ? same_bits(found[p], expected[p]) : !expected[p].defined()));
    }
  };
  check([](auto&) { return targets_of(6, Tensor<double>::zeros({6})); });
  check([](auto& objective) {
    objective.stop("b");
    return targets_of(6);
  });
  check([](auto& objective) {
    objective = MultiObjective<double>({{"a", MSE{}}});
    return targets_of(6);
  });
  // With an input per task each gate is judged by its task's own rows.
  Pass pass{Rng{3}};
  const auto y = with({{"a", draw({5, 4}, 5)}, {"b", draw({7, 4}, 6)}}, pass);
  pass.discard();
  REQUIRE(y.penalties().size() == 2);
  for (const Index t : {0, 1}) {
    const Index rows = t == 0 ? 5 : 7;
    const Tensor<double> own = draw({rows, 4}, t == 0 ? 5 : 6);
    double mean = 0;
    for (Index i = 0; i < rows; ++i)
      mean += penalty_by_hand(parameters<double>(with)[join("sharing.gates.", tasks[static_cast<std::size_t>(t)], ".select.weight")], own, i) /
              static_cast<double>(rows);
    CHECK(std::abs(y.penalties()[static_cast<std::size_t>(t)].value.data()[0] - 0.3 * mean) < 1e-12);
  }
}

TEST_CASE("a task whose gate is another one has no penalty", "[fast]") {
  Rng rng{1};
  const AnySharing<double> sharing =
      MMoE<double>(4, {.tasks = tasks, .experts = repeat<double>(3, stage(rng)),
                       .gates = {DSelectK<double>(4, 3, rng), detail::SoftmaxGate<double>(4, 3, rng)}}, rng);
  const Model model({.sharing = sharing, .heads = {{"a", Dense(3, 1, rng)}, {"b", Dense(3, 2, rng)}}, .penalty = 0.3});
  const auto y = recorded(model, draw({5, 4}, 5));
  REQUIRE(y.penalties().size() == 1);
  CHECK(y.penalties()[0].task == 0);
}

TEST_CASE("a model of one's own penalises what it likes, and a penalty that is not finite is refused", "[fast]") {
  Ridge model;
  MultiObjective<double> objective({{"y", MSE{}}});
  const Tensor<double> x = draw({4, 3}, 2), t = draw({4, 2}, 3);
  objective.backward(objective(model(x), {{"y", t}}));
  const Tensor<double> loss_slope = grad(mse(linear(x, model.w, Tensor<double>()), t), {model.w})[0];
  CHECK(difference(gradient(model.w), loss_slope + model.w.detach()) < 1e-14);
  clear_gradients(model);
  model.factor = NAN;
  CHECK_THROWS_WITH(objective.backward(objective(model(x), {{"y", t}})),
                    "objective: the model's penalty is nan; nothing was updated. Look at the inputs and the learning rate");
  CHECK_FALSE(gradient(model.w).defined());
  Outputs<double> y = model(x);
  CHECK_THROWS_WITH(y.penalise(model.w), "outputs: a penalty is [2, 3]; it must be one number");
  CHECK_THROWS_WITH(y.penalise(Tensor<double>::scalar(1), "z"), "outputs: a penalty of the unknown task 'z'; known: y");
}

TEST_CASE("an architecture's penalty is a number per sample", "[fast]") {
  Rng rng{1};
  const Model model({.sharing = Summed{}, .heads = {{"a", Dense(3, 1, rng)}, {"b", Dense(3, 1, rng)}}, .penalty = 1});
  CHECK_THROWS_WITH(recorded(model, draw({5, 3}, 1)),
                    "SharingModel: a penalty of Summed is []; it must be [5, 1], a number per sample");
}

TEST_CASE("a penalised run decides its gates, and resumes in the middle of an epoch bit for bit", "[fast]") {
  const std::string path = "sharing_penalty_test.safetensors";
  const Tensor<double> x = draw({60, 4}, 5);
  const Dataset<double> data({{"x", x}}, {{"a", draw({60, 1}, 6)}, {"b", draw({60, 2}, 7)}});
  const auto run = [&](double penalty, Index stop, bool resume) {
    Model model = dselect(penalty);
    auto objective = objective_of(UPGrad{});
    Adam<double> optimizer{parameters<double>(model), {.lr = 3e-2}};
    Trainer trainer{model, objective, optimizer,
                    {.epochs = 10, .batch = 20, .checkpoint = {.last = path}, .progress = {.mode = Progress::quiet},
                     .callbacks = {[stop](const StepEvent& e) { return e.epoch * 3 + e.batch != stop; }}}};
    if (resume) CHECK(trainer.resume(path));
    trainer.fit(data);
    return model;
  };
  const auto undecided = [&](Model model) { return sum(model.sharing().penalty(x, nullptr)[0])(); };
  Model whole = run(0.1, -1, false);
  CHECK(undecided(whole) < 0.9 * undecided(run(0, -1, false)));
  run(0.1, 16, false);
  Model resumed = run(0.1, -1, true);
  CHECK(same_bits(tensors_of(resumed), tensors_of(whole)));
  std::filesystem::remove(path);
}

// ---- the gates in the diagnostics --------------------------------------------------------------------------------------

TEST_CASE("a step's record tells every gate's mean weights", "[fast]") {
  const std::string cgc = "a/gate/shared.0, a/gate/shared.1, a/gate/own.a.0, b/gate/shared.0, b/gate/shared.1, b/gate/own.b.0, "
                          "b/gate/own.b.1";
  const auto names_of = [](const auto& notes) { return listing(notes, [](const std::string& n) { return n; }); };
  for (const Architecture& a : zoo) {
    INFO(a.name);
    Model model = make(a);
    const std::string names = names_of(model.notes());
    if (a.name == "mmoe")
      CHECK(names == "a/gate/experts.0, a/gate/experts.1, a/gate/experts.2, b/gate/experts.0, b/gate/experts.1, b/gate/experts.2");
    if (a.name == "omoe") CHECK(names == "gate/experts.0, gate/experts.1, gate/experts.2");
    if (a.name == "dselect") CHECK(names.ends_with("b/gate/experts.2, penalty"));
    if (a.name == "cgc") CHECK(names == cgc);
    if (a.name == "ple") {
      CHECK(names.starts_with("a/gate/levels.0.shared.0, a/gate/levels.0.shared.1, a/gate/levels.0.own.a.0, b/gate/levels.0.shared.0"));
      CHECK(names.find("gate/levels.1.shared.0, gate/levels.1.shared.1, gate/levels.1.own.a.0, gate/levels.1.own.b.0, "
                       "gate/levels.1.own.b.1, a/gate/levels.2.shared.0") != std::string::npos);
      CHECK(model.notes().size() == 3 * 7 + 2 * 5);
    }
    const Tensor<double> x = draw({6, 4}, 5);
    auto objective = objective_of(Sum{});
    objective.backward(objective(recorded(model, x), targets_of(6)));
    const auto& notes = objective.record().notes;
    REQUIRE(notes.size() == model.notes().size());
    const auto all = parameters<double>(model);
    for (std::size_t i = 0; i < notes.size(); ++i) {
      CHECK(notes[i].name == model.notes()[i]);
      // The first level's gates take the input: their weights are softmax(W x), of each row by hand.
      const std::size_t end = notes[i].name.find("/gate/");
      std::string weight = end == std::string::npos ? "sharing.gate.weight" : "sharing.gates." + notes[i].name.substr(0, end) + ".weight";
      if (a.name == "ple") weight = "sharing.levels.0.gates." + notes[i].name.substr(0, 1) + ".weight";
      if (a.name == "dselect" || (a.name == "ple" && i >= 7)) continue;
      const Tensor<double>& w = all[weight];
      std::size_t first = i;  // of this gate's experts
      const std::string gate = notes[i].name.substr(0, 2);
      while (first > 0 && notes[first - 1].name.substr(0, 2) == gate) --first;
      double mean = 0;
      for (Index row = 0; row < 6; ++row) {
        double sum = 0, mine = 0;
        for (Index e = 0; e < w.shape()[0]; ++e) {
          double z = 0;
          for (Index k = 0; k < 4; ++k) z += w(e, k) * x(row, k);
          sum += std::exp(z);
          if (e == static_cast<Index>(i - first)) mine = std::exp(z);
        }
        mean += mine / sum / 6;
      }
      INFO(notes[i].name);
      CHECK(std::abs(notes[i].value - mean) < 1e-12);
    }
    if (a.name == "dselect") {
      double total = 0;
      for (const std::string& task : tasks)
        for (Index i = 0; i < 6; ++i) total += 0.1 / 6 * penalty_by_hand(all["sharing.gates." + task + ".select.weight"], x, i);
      CHECK(std::abs(notes.back().value - total) < 1e-12);
    }
    CHECK(model(x).notes().empty());
  }
}

namespace {

/// An architecture of one's own, of a part that notes what its gates do, without names for that.
struct Wrapped {
  static constexpr std::string_view name = "Wrapped";
  MMoE<double> inner;
  const std::vector<std::string>& tasks() const { return inner.tasks(); }
  PoolVector<Tensor<double>> operator()(const Tensor<double>& x, Pass* pass) const { return inner(x, pass); }
  void own() { inner.own(); }
  void fields(auto&& visit) { visit("inner", inner); }
};

}  // namespace

TEST_CASE("an architecture of one's own need not name its gates, and says that it takes on no task", "[fast]") {
  Rng rng{1};
  const MMoE<double> mmoe(4, {.tasks = tasks, .experts = repeat<double>(3, stage(rng))}, rng);
  Model model({.sharing = Wrapped{mmoe}, .heads = {{"a", Dense(3, 1, rng)}, {"b", Dense(3, 2, rng)}}});
  const Tensor<double> x = draw({5, 4}, 5);
  CHECK(model.notes().empty());
  Pass pass{Rng{1}};
  mmoe(x, &pass);  // notes of somebody else
  CHECK(model(x, pass).notes().empty());
  mmoe(x, &pass);
  CHECK(make(zoo[0])(x, pass).notes().size() == 6);
  CHECK_THROWS_WITH(model.add_task("c", Dense(3, 1, rng), rng),
                    "Wrapped: task 'c' cannot be added, as it has no add_task; make a new model of all tasks");
}

TEST_CASE("the Trainer's history has the gates, over steps, resumed runs and a task more; the chart draws them", "[fast]") {
  const std::string path = "sharing_gates_test.safetensors", csv = "sharing_gates_test.csv";
  const Tensor<double> x = draw({60, 4}, 5);
  Dataset<double> data({{"x", x}}, {{"a", draw({60, 1}, 6)}, {"b", draw({60, 2}, 7)}});
  const auto run = [&](Index batch, Index stop, bool resume) {
    Model model = dselect(0.1);
    auto objective = objective_of(UPGrad{});
    objective.diagnose();
    Adam<double> optimizer{parameters<double>(model), {.lr = 3e-2}};
    Trainer trainer{model, objective, optimizer,
                    {.epochs = 3, .batch = batch, .checkpoint = {.last = path}, .progress = {.mode = Progress::quiet},
                     .callbacks = {[stop](const StepEvent& e) { return e.epoch * 3 + e.batch != stop; }}}};
    if (resume) CHECK(trainer.resume(path));
    trainer.fit(data);
    return trainer.history();
  };
  Model model = dselect(0.1);
  const Tensor<double> gate = model.sharing().as<MMoE<double>>()->gates(x)["b"];
  const History at_once = run(60, -1, false);
  for (Index e = 0; e < 3; ++e)  // the first epoch's only step sees the model as it was made
    CHECK(at_once[join("diagnostics/b/gate/experts.", e)][0] == Approx(mean(slice(gate, 1, e, e + 1))()));
  const History whole = run(20, -1, false);
  run(20, 4, false);
  const History resumed = run(20, -1, true);
  for (const std::string& note : model.notes()) {
    const auto &first = whole["diagnostics/" + note], &second = resumed["diagnostics/" + note];
    CHECK(std::ranges::equal(first, second));
  }
  whole.save_csv(csv);
  CHECK(read_csv(csv).names([](const std::string& n) { return n.starts_with("diagnostics/a/gate/"); }).size() == 3);
  std::vector<std::string> titles;
  for (const Panel& panel : diagnostics_curves(whole).panels) titles.push_back(panel.title);
  CHECK(std::ranges::count(titles, "gate of a") == 1);
  CHECK(std::ranges::count(titles, "gate of b") == 1);
  CHECK(std::ranges::count(titles, "penalty") == 1);

  Rng rng{1};
  model.add_task("c", Dense(3, 1, rng), rng);
  CHECK(model.notes().size() == 10);
  data.targets.add("c", draw({60, 1}, 8));
  MultiObjective<double> three({{"c", MSE{}}, {"a", MSE{}}, {"b", MSE{}}});
  three.diagnose();
  Adam<double> optimizer{parameters<double>(model)};
  Trainer trainer{model, three, optimizer, {.epochs = 1, .progress = {.mode = Progress::quiet}}};
  CHECK(trainer.fit(data)["diagnostics/c/gate/experts.2"][0] > 0);
  std::filesystem::remove(path);
  std::filesystem::remove(csv);
}

TEST_CASE("gates show what they use, and a decided DSelectK uses at most k experts", "[fast]") {
  Rng rng{1};
  DSelectK<double> gate(4, 5, rng, {.k = 2});
  const Tensor<double> x = draw({8, 4}, 5), soft = gate(x);
  for (auto& w : gate.select.weight.mutate()) w *= 1e6;
  const Tensor<double> hard = gate(x), penalty = gate.penalty(x);
  CHECK(penalty.shape() == Shape{8, 1});
  Index reached = 0;
  for (Index i = 0; i < 8; ++i) {
    Index used = 0;
    double all = 0;
    for (Index e = 0; e < 5; ++e) used += hard(i, e) > 0, all += hard(i, e), reached += soft(i, e) > 0;
    CHECK(used <= 2);
    CHECK(all <= 1 + 1e-12);
  }
  CHECK(reached == 40);
  DSelectK<double> four(4, 4, rng, {.k = 1});
  for (auto& w : four.select.weight.mutate()) w *= 1e6;
  CHECK(difference(sum(four(x), {1}), Tensor<double>::ones({8})) < 1e-12);
  for (const double p : four.penalty(x).values()) CHECK(std::abs(p) < 1e-5);

  MMoE<double> mmoe(4, {.tasks = tasks, .experts = repeat<double>(3, stage(rng))}, rng);
  const auto gates = mmoe.gates(x);
  CHECK(gates.names() == "a, b");
  CHECK(difference(sum(gates["b"], {1}), Tensor<double>::ones({8})) < 1e-12);
  CrossStitch<double> stitched(4, {.towers = {{"a", {stage(rng)()}}, {"b", {stage(rng)()}}, {"c", {stage(rng)()}}}});
  CHECK(difference(stitched.stitch(0), Tensor<double>({3, 3, 1}, {.9, .05, .05, .05, .9, .05, .05, .05, .9})) < 1e-15);
}

TEST_CASE("dropout draws by names: an expert more changes nobody else's numbers", "[fast]") {
  Rng rng{1};
  const Dense first(4, 3, rng), second(4, 3, rng);
  const auto model = [&](bool more) {
    std::vector<AnyModule<double>> experts{sequential(first, Dropout{0.5})};
    if (more) experts.emplace_back(sequential(second, Dropout{0.5}));
    return MMoE<double>(
        4, {.tasks = {"a"}, .experts = experts, .gates = {[more](const Tensor<double>& x) {
                                                  Tensor<double> g = Tensor<double>::zeros({x.shape()[0], more ? 2 : 1});
                                                  for (Index i = 0; i < x.shape()[0]; ++i) g.raw()[i * (more ? 2 : 1)] = 1;
                                                  return g;
                                                }}},
        rng);
  };
  const auto run = [&](bool more) {
    Pass pass{Rng{9}};
    return model(more)(draw({6, 4}, 5), &pass)[0];
  };
  CHECK(same_bits(run(true), run(false)));
}

TEST_CASE("Coral's logits fall from column to column, and its names are PyTorch's", "[fast]") {
  Rng rng{1};
  Coral<double> head(4, 4, rng);
  CHECK(parameters<double>(head).names() == "weight, bias");
  CHECK(list(head.bias) == std::vector<double>{1, 2.0 / 3, 1.0 / 3});
  const Tensor<double> y = head(draw({5, 4}, 5));
  REQUIRE(y.shape() == Shape{5, 3});
  for (Index i = 0; i < 5; ++i)
    for (Index j = 1; j < 3; ++j) CHECK(y(i, j) < y(i, j - 1));
  CHECK_THROWS_WITH(Coral<double>(4, 1, rng), "Coral: in is 4, classes is 1; there must be at least 1 and 2");
}

TEST_CASE("what does not fit together is refused", "[fast]") {
  Rng rng{1};
  const auto experts = [&] { return repeat<double>(2, stage(rng)); };
  const auto heads = [&]() -> std::vector<Named<AnyModule<double>>> { return {{"a", Dense(3, 1, rng)}, {"b", Dense(3, 1, rng)}}; };
  const auto mmoe = [&](std::vector<std::string> names) { return MMoE<double>(4, {.tasks = names, .experts = experts()}, rng); };
  CHECK_THROWS_WITH(mmoe({}), "MMoE: no task is named; give it at least one");
  CHECK_THROWS_WITH(mmoe({"a", "a"}), "MMoE: task 'a' appears twice; names must differ");
  CHECK_THROWS_WITH(MMoE<double>(4, {.tasks = tasks}, rng), "MMoE: no expert is given; it needs at least one");
  CHECK_THROWS_WITH(MMoE<double>(4, {.tasks = tasks, .experts = {AnyModule<double>()}}, rng),
                    "MMoE: experts.0 is empty; give it a module");
  CHECK_THROWS_WITH(
      MMoE<double>(
          4, {.tasks = {"a", "b", "c"}, .experts = experts(), .gates = std::vector<AnyModule<double>>(2, Dense(4, 2, rng))}, rng),
      "MMoE: there are 2 gates for 3 tasks; give one per task, one for all, or none");
  CHECK_THROWS_WITH(
      MMoE<double>(4, {.tasks = {"a"}, .experts = experts(), .gates = {Dense(4, 3, rng)}}, rng)(draw({5, 4}, 1), nullptr),
      "MMoE: a gate gave [5, 3]; for 2 experts it must be [5, 2]");
  CHECK_THROWS_WITH(
      MMoE<double>(4, {.tasks = {"a"}, .experts = {Dense(4, 3, rng), Dense(4, 2, rng)}}, rng)(draw({5, 4}, 1), nullptr),
      "MMoE: one expert gives [5, 3], another [5, 2]; all must give the same shape");
  CHECK_THROWS_WITH(DSelectK<double>(4, 3, rng, {.k = 4}), "DSelectK: k is 4; for 3 experts it must be in [1, 3]");
  CHECK_THROWS_WITH(DSelectK<double>(4, 3, rng, {.gamma = 0}), "DSelectK: gamma is 0; it must be above 0");
  CHECK_THROWS_WITH(CGC<double>(4, {.own = {{"a", {}}}}, rng),
                    "CGC: task 'a' has no expert, and none is shared; it needs at least one");
  CHECK_THROWS_WITH(PLE<double>({}, rng), "PLE: there is no level; give it at least one CGC");
  CHECK_THROWS_WITH(PLE<double>({level(rng), level(rng)}, rng),
                    "PLE: level 0 gives 3 features, level 1 takes 4; they must be as many");
  CHECK_THROWS_WITH(PLE<double>({level(rng), CGC<double>(3, {.own = {{"a", repeat<double>(1, stage(rng, 3))}}}, rng)}, rng),
                    "PLE: level 1 is for the tasks a, level 0 for a, b; all must be for the same, in the same order");
  CHECK_THROWS_WITH(CrossStitch<double>(4, {.towers = {{"a", {stage(rng)()}}, {"b", {stage(rng)(), stage(rng, 3)()}}}}),
                    "CrossStitch: the tower of task 'b' has 2 stages, that of 'a' 1; all must have as many");
  CHECK_THROWS_WITH(CrossStitch<double>(4, {.towers = {{"a", {stage(rng)()}}, {"b", {Dense(4, 2, rng)}}}}),
                    "CrossStitch: stage 0 of task 'b' gives 2 features, that of 'a' 3; all must give as many");
  CHECK_THROWS_WITH(CrossStitch<double>(4, {.towers = {{"a", {stage(rng)()}}}, .own = 2}),
                    "CrossStitch: own is 2; it must be in [0, 1]");
  CHECK_THROWS_WITH(MTAN<double>(4, {.tasks = tasks}, rng), "MTAN: no stage is given; it needs at least one");
  CHECK_THROWS_WITH(FiLM<double>(4, {.tasks = tasks}), "FiLM: no stage is given; it needs at least one");

  CHECK_THROWS_WITH(Model({.heads = heads()}), "SharingModel: no sharing given; use MMoE, PLE, ...");
  CHECK_THROWS_WITH(Model({.sharing = mmoe({"a", "c"}), .heads = heads()}),
                    "SharingModel: MMoE is for the tasks a, c; heads are given for: a, b; each task needs one");
  CHECK_THROWS_WITH(Model({.sharing = mmoe(tasks), .heads = heads(), .penalty = -1}),
                    "SharingModel: penalty is -1; it must be finite and not negative");
  CHECK_THROWS_WITH(recorded(Model({.sharing = mmoe(tasks), .heads = heads(), .penalty = 0.5}), draw({5, 4}, 1)),
                    "SharingModel: penalty is 0.5, but MMoE wants nothing small; leave it out");
  CHECK_THROWS_WITH(Model({.sharing = mmoe(tasks), .heads = {{"a", Dense(3, 1, rng)}, {"b", Dense(7, 1, rng)}}})(draw({5, 4}, 1)),
                    "SharingModel: the head of task 'b', on the features [5, 3]: linear: x is [5, 3], weight is [1, 7]; weight is [out, "
                    "in] and x's last axis must equal in (7)");
  const std::vector<Named<AnyModule<double>>> encoders{{"left", Dense(2, 4, rng)}};
  CHECK_THROWS_WITH(Model({.encoders = encoders, .sharing = mmoe(tasks), .heads = heads()}),
                    "SharingModel: no fusion given; use ConcatFusion or GatedFusion");
  CHECK_THROWS_WITH(Model({.fusion = GatedFusion<double>(4, rng), .sharing = mmoe(tasks), .heads = heads()}),
                    "SharingModel: there are no encoders for the fusion and modality_dropout to work on; give some, or leave these out");
  const Model fused({.encoders = encoders, .fusion = GatedFusion<double>(4, rng), .sharing = mmoe(tasks), .heads = heads()});
  CHECK_THROWS_WITH(fused(draw({5, 2}, 1)), "SharingModel: it has encoders; give it inputs by the names of left");
  CHECK_THROWS_WITH(fused({{"a", draw({5, 2}, 1)}}), "SharingModel: unknown modality 'a'; known: left");
  const Model model({.sharing = mmoe(tasks), .heads = heads()});
  CHECK_THROWS_WITH(model({{"a", draw({5, 4}, 1)}, {"c", draw({5, 4}, 1)}}),
                    "SharingModel: unknown input 'c'; give one for all tasks, or one per task: a, b");
  CHECK_THROWS_WITH(model(Inputs<double>{}), "SharingModel: task 'a' has no input; give one for all tasks, or one per task");
}
