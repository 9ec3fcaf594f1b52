// Masks: what lies behind a weight of 0 or an absent modality changes nothing by a bit, and no pattern of what is missing
// makes anything infinite.

#include "espalier/model/multi_modal_model.hpp"
#include "espalier/multimodal/fusion/concat.hpp"
#include "espalier/multimodal/fusion/gated.hpp"
#include "espalier/nn/batch_norm.hpp"
#include "espalier/ops/functions.hpp"
#include "support/catch.hpp"
#include "support/models.hpp"

using namespace espalier;
using namespace support;

namespace {

using Dense = Linear<double>;
using Model = MultiModalModel<double>;

Model make_model(bool gated, double modality_dropout = 0) {
  Rng rng{1};
  AnyFusion<double> fusion = ConcatFusion<double>({5, 5});
  if (gated) fusion = GatedFusion<double>(5, rng);
  return Model({.encoders = {{"left", sequential(Dense(4, 5, rng), BatchNorm1d<double>(5), Tanh{})},
                             {"right", sequential(Dense(3, 5, rng), BatchNorm1d<double>(5), ReLU{})}},
                .fusion = fusion,
                .trunk = sequential(Dense(gated ? 5 : 10, 6, rng), Tanh{}),
                .heads = {{"kind", Dense(6, 3, rng)},
                          {"size", Dense(6, 2, rng)},
                          {"deep", sequential(Dense(6, 4, rng), Tanh{}, Dense(4, 1, rng))},
                          {"done", Dense(6, 1, rng)}},
                .modality_dropout = modality_dropout});
}
MultiObjective<double> make_objective(Combiner combiner) {
  return MultiObjective<double>({{"kind", CrossEntropy{}}, {"size", MSE{}}, {"deep", MAE{}}, {"done", BCEWithLogits{}}},
                                std::move(combiner));
}

/// What is there in a batch.
struct Pattern {
  Tensor<bool> left, right;               // [batch]
  Tensor<double> kind, size, deep, done;  // weights; those of size by element

  Pattern(Index batch, double share, Rng& rng) {
    const auto draw = [&](const Shape& shape) {
      Tensor<double> x = Tensor<double>::uniform(shape, 0, 1, rng);
      for (double& v : x.mutate()) v = v < share ? 1 + v : 0;
      return x;
    };
    left = draw({batch}) > Tensor<double>::scalar(0);
    right = draw({batch}) > Tensor<double>::scalar(0);
    kind = draw({batch});
    size = draw({batch, 2});
    deep = draw({batch});
    done = draw({batch});
  }
};
struct Samples {
  Inputs<double> inputs;
  Targets<double> targets;

  /// Numbers by `seed`; `garbage` behind every mask.
  Samples(const Pattern& p, std::uint64_t seed, double garbage) {
    Rng rng{seed};
    const Index n = p.left.size();
    const auto behind = [&](const Tensor<double>& weight, const Tensor<double>& x) {
      const Tensor<double> w = weight.rank() == 2 ? weight : reshape(weight, {n, 1});
      return where(w > Tensor<double>::scalar(0), x, Tensor<double>::scalar(garbage));
    };
    inputs = {{"left", {behind(cast<double>(p.left), Tensor<double>::normal({n, 4}, rng)), p.left}},
              {"right", {behind(cast<double>(p.right), Tensor<double>::normal({n, 3}, rng)), p.right}}};
    Tensor<Index> classes = Tensor<Index>::empty({n});
    for (Index i = 0; i < n; ++i) classes.raw()[i] = p.kind.data()[i] > 0 ? i % 3 : std::isfinite(garbage) ? 0 : -99;
    targets = {{"kind", {classes, p.kind}},
               {"size", {behind(p.size, Tensor<double>::normal({n, 2}, rng)), p.size}},
               {"deep", {behind(p.deep, Tensor<double>::normal({n, 1}, rng)), p.deep}},
               {"done", {behind(p.done, Tensor<double>::uniform({n, 1}, 0, 1, rng)), p.done}}};
  }
};

/// Everything in a model, running statistics too.
Values state_of(Model& model) {
  Values all;
  detail::each_tensor(model, [&](const std::string&, auto& tensor) {
    if constexpr (std::same_as<std::remove_cvref_t<decltype(tensor)>, Tensor<double>>) all.push_back(tensor.clone());
  });
  return all;
}

struct Trace {
  std::vector<double> losses;
  std::vector<Values> gradients, states;
};
Trace train(bool gated, const Combiner& combiner, double garbage, double modality_dropout) {
  Model model = make_model(gated, modality_dropout);
  MultiObjective<double> objective = make_objective(combiner);
  Rng patterns{7};
  Trace trace;
  for (std::uint64_t step = 0; step < 6; ++step) {
    const Samples batch(Pattern(9, step == 5 ? 0.2 : 0.6, patterns), step, garbage);
    {
      Pass pass{Rng{3}, step};
      const Losses<double> losses = objective(model(batch.inputs, pass), batch.targets);
      trace.losses.insert(trace.losses.end(), losses.values().begin(), losses.values().end());
      objective.backward(losses);
    }
    trace.gradients.push_back(gradients_of(model));
    descend(model, 0.1);
    trace.states.push_back(state_of(model));
    for (const char* name : {"kind", "size", "deep", "done"}) trace.states.push_back({model(batch.inputs)[name]});
  }
  return trace;
}

}  // namespace

TEST_CASE("what lies behind a mask changes no loss, gradient, statistic, update or prediction by a bit", "[fast]") {
  for (const bool gated : {true, false})
    for (const Combiner& combiner : {Combiner(), Combiner(UncertaintyWeighting{}), Combiner(UPGrad{})})
      for (const double dropout : {0.0, 0.3}) {
        const Trace clean = train(gated, combiner, 0, dropout);
        for (const double garbage : {double{NAN}, HUGE_VAL, -1e308}) {
          const Trace dirty = train(gated, combiner, garbage, dropout);
          INFO(combiner.name() << (gated ? " gated" : " concat") << " behind: " << garbage);
          CHECK(dirty.losses == clean.losses);
          for (std::size_t i = 0; i < clean.gradients.size(); ++i)
            CHECK(same_bits(dirty.gradients[i], clean.gradients[i]));
          for (std::size_t i = 0; i < clean.states.size(); ++i) {
            CHECK(same_bits(dirty.states[i], clean.states[i]));
            CHECK(finite(clean.states[i]));
          }
        }
      }
}

TEST_CASE("1,000 patterns of what is missing keep everything finite", "[fast]") {
  for (const bool gated : {true, false}) {
    Model model = make_model(gated, 0.2);
    MultiObjective<double> aggregated = make_objective(UPGrad{}), weighted = make_objective(UncertaintyWeighting{});
    Rng rng{11};
    const double shares[] = {0, 0.05, 0.2, 0.5, 0.9, 1};
    int empty = 0;
    for (std::uint64_t i = 0; i < 500; ++i) {
      const Pattern pattern(static_cast<Index>(1 + i % 5), shares[i % 6], rng);
      const Samples batch(pattern, i, NAN);
      MultiObjective<double>& objective = i % 2 == 0 ? aggregated : weighted;
      Pass pass{Rng{3}, i};
      const Losses<double> losses = objective(model(batch.inputs, pass), batch.targets);
      objective.backward(losses);
      pass.commit();
      if (!finite(gradients_of(model))) FAIL("gradients, pattern " << i);
      empty += objective.record().active.empty();
      descend(model, 0.05);
      if (!finite(state_of(model))) FAIL("parameters, pattern " << i);
      const Outputs<double> y = model(batch.inputs);
      for (const char* name : {"kind", "size", "deep", "done"})
        if (!finite(y[name])) FAIL("predictions, pattern " << i);
    }
    CHECK(empty > 50);
  }
}

TEST_CASE("a batch without any modality trains what is left: finite, and encoders are not reached", "[fast]") {
  for (const bool gated : {true, false})
    for (const Combiner& combiner : {Combiner(), Combiner(UPGrad{})}) {
      Model model = make_model(gated);
      const Values before = state_of(model);
      Rng rng{5};
      Pattern pattern(4, 1, rng);
      pattern.left = pattern.right = Tensor<bool>::zeros({4});
      const Samples batch(pattern, 1, NAN);
      MultiObjective<double> objective = make_objective(combiner);
      {
        Pass pass{Rng{0}};
        const Losses<double> losses = objective(model(batch.inputs, pass), batch.targets);
        for (Index k = 0; k < 4; ++k) CHECK(std::isfinite(losses.value(k)));
        objective.backward(losses);
      }
      for (const auto& p : parameters<double>(model)) {
        INFO(p.name);
        const bool outside = p.name.starts_with("encoders") || (gated && p.name.starts_with("fusion"));
        CHECK(gradient(p.value).defined() == !outside);
        CHECK(finite(gradient(p.value)));
      }
      clear_gradients(model);
      CHECK(same_bits(state_of(model), before));
    }
}

TEST_CASE("a sample without any modality does not disturb the others", "[fast]") {
  for (const bool gated : {true, false}) {
    Model model = make_model(gated);
    Rng rng{6};
    Pattern pattern(5, 1, rng);
    pattern.left = Tensor<bool>({5}, {true, false, true, false, true});
    pattern.right = Tensor<bool>({5}, {true, false, false, true, true});
    const Samples batch(pattern, 1, NAN);
    const Outputs<double> y = model(batch.inputs);
    CHECK(finite(y["kind"]));
    MultiObjective<double> objective = make_objective(UPGrad{});
    Pass pass{Rng{0}};
    objective.backward(objective(model(batch.inputs, pass), batch.targets));
    for (const auto& p : parameters<double>(model)) {
      INFO(p.name);
      CHECK(gradient(p.value).defined());
      CHECK(finite(gradient(p.value)));
    }
  }
}

TEST_CASE("an encoder without present rows gets no gradient and keeps its statistics", "[fast]") {
  for (const bool gated : {true, false}) {
    Model model = make_model(gated);
    Rng rng{8};
    Pattern pattern(6, 1, rng);
    pattern.right = Tensor<bool>::zeros({6});
    const Samples batch(pattern, 2, NAN);
    const auto statistics = [&](const char* name) {
      Values found;
      detail::each_tensor(model, [&](const std::string& path, auto& tensor) {
        if constexpr (std::same_as<std::remove_cvref_t<decltype(tensor)>, Tensor<double>>)
          if (path.starts_with(std::string("encoders.") + name + ".1.running")) found.push_back(tensor.clone());
      });
      return found;
    };
    const Values left = statistics("left"), right = statistics("right");
    MultiObjective<double> objective = make_objective(Sum{});
    {
      Pass pass{Rng{0}};
      objective.backward(objective(model(batch.inputs, pass), batch.targets));
    }
    for (const auto& p : parameters<double>(model))
      if (p.name.starts_with("encoders")) CHECK(gradient(p.value).defined() == p.name.starts_with("encoders.left"));
    CHECK(same_bits(statistics("right"), right));
    CHECK_FALSE(same_bits(statistics("left"), left));
    if (!gated) {
      CHECK(gradient(parameters<double>(model)["fusion.missing.1"]).defined());
      CHECK_FALSE(gradient(parameters<double>(model)["fusion.missing.0"]).defined());
    }
  }
}
