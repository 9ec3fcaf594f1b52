#include "espalier/model/predictor.hpp"

#include <cstring>

#include "espalier/nn/batch_norm.hpp"
#include "espalier/nn/layer_norm.hpp"
#include "espalier/optim/sgd.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

using namespace espalier;

namespace {

/// A module that Predictor does not know.
template <class T>
struct Scale {
  Tensor<T> factor;
  Tensor<T> operator()(const Tensor<T>& x) const { return x * factor; }
  void fields(auto&& visit) { visit("factor", factor); }
};

template <class T>
bool same_bits(const Tensor<T>& a, const Tensor<T>& b) {
  return a.shape() == b.shape() && std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.size()) * sizeof(T)) == 0;
}

/// Whether a predictor gives every task of every batch the bits of the model, and of a row alone those of the batch.
template <class T>
bool predicts(const MultiTaskModel<T>& model, Index width) {
  Rng rng{7};
  const Predictor<T> predictor(model);
  for (const Index batch : {0, 1, 2, 3, 5, 13, 50, 110}) {
    const Tensor<T> x = Tensor<T>::normal({batch, width}, rng);
    const Outputs<T> expected = model(x), given = predictor(x);
    const Outputs<T> alone = predictor(batch > 0 ? x.view({1, width}, (batch - 1) * width) : x);
    if (given.names() != expected.names()) return false;
    for (Index k = 0; k < expected.size(); ++k) {
      const Tensor<T> all = expected.at(k);
      if (!same_bits(given.at(k), all)) return false;
      if (batch > 0 && !same_bits(alone.at(k), all.view({1, all.shape()[1]}, (batch - 1) * all.shape()[1]))) return false;
    }
  }
  return true;
}

template <class T>
MultiTaskModel<T> plain(Index in, Index hidden, Index heads, Rng& rng) {
  std::vector<Named<AnyModule<T>>> named;
  for (Index k = 0; k < heads; ++k) named.push_back({"task" + std::to_string(k), Linear<T>{hidden, 1, rng}});
  return MultiTaskModel<T>(
      {.trunk = Sequential<T>(std::vector<AnyModule<T>>{Linear<T>{in, hidden, rng}, ReLU{}, Linear<T>{hidden, hidden, rng}}),
       .heads = std::move(named)});
}

}  // namespace

TEMPLATE_TEST_CASE("a predictor has the bits of its model, for any number of rows", "[fast][predictor]", float, double) {
  using T = TestType;
  Rng rng{0};
  SECTION("sizes around those of vectors, panels and slices") {
    for (const Index in : {1, 10, 33})
      for (const Index hidden : {1, 7, 20, 32, 65, 300})
        for (const Index heads : {1, 3, 40}) {
          INFO(in << " " << hidden << " " << heads);
          REQUIRE(predicts(plain<T>(in, hidden, heads, rng), in));
        }
    REQUIRE(predicts(plain<T>(520, 40, 2, rng), 520));
  }
  SECTION("every layer, heads of their own, modules it does not know") {
    BatchNorm1d<T> norm{24};
    norm.running_mean = Tensor<T>::normal({24}, rng);
    norm.running_var = Tensor<T>::uniform({24}, 0.5, 2, rng);
    const MultiTaskModel<T> model(
        {.trunk = Sequential<T>(std::vector<AnyModule<T>>{
             ReLU{}, Linear<T>{9, 24, rng, {.bias = false}}, std::move(norm), GELU{}, Dropout{0.3}, Identity{},
             Sequential<T>(std::vector<AnyModule<T>>{Linear<T>{24, 24, rng}, LayerNorm<T>{24}}), ReLU{}, ReLU{},
             Scale<T>{parameter(Tensor<T>::normal({24}, rng))}, Tanh{}, Softplus{}}),
         .heads = {{"a", Linear<T>{24, 3, rng}},
                   {"b", Sequential<T>(std::vector<AnyModule<T>>{Linear<T>{24, 5, rng}, Sigmoid{}})},
                   {"c", Linear<T>{24, 1, rng}},
                   {"d", [](const Tensor<T>& x) { return x + x; }}}});
    REQUIRE(predicts(model, 9));
  }
  SECTION("no trunk, no packed head, a task that came later") {
    REQUIRE(predicts(MultiTaskModel<T>({.heads = {{"a", Linear<T>{6, 2, rng}}}}), 6));
    MultiTaskModel<T> model({.trunk = Identity{}, .heads = {{"a", Tanh{}}, {"b", Identity{}}}});
    REQUIRE(predicts(model, 6));
    model.add_task("c", Linear<T>{6, 2, rng});
    REQUIRE(predicts(model, 6));
  }
}

TEST_CASE("a predictor leaves its input as it is and records nothing", "[fast][predictor]") {
  Rng rng{0};
  const MultiTaskModel<float> model({.trunk = Sequential{Tanh{}}, .heads = {{"a", Identity{}}}});
  const Predictor predictor{model};
  const Tensor<float> x = Tensor<float>::normal({3, 4}, rng), before = x.clone();
  const auto y = predictor(x)["a"];
  REQUIRE(same_bits(x, before));
  REQUIRE(same_bits(y, tanh(x)));
  const MultiTaskModel<float> linear = plain<float>(4, 8, 2, rng);
  REQUIRE_FALSE(Predictor{linear}(parameter(x.clone()))["task0"].node());
}

TEST_CASE("a predictor's bits do not depend on the number of threads", "[fast][predictor]") {
  Rng rng{0};
  const MultiTaskModel<float> model = plain<float>(100, 300, 3, rng);
  const Predictor predictor{model};
  const Tensor<float> x = Tensor<float>::normal({200, 100}, rng);
  REQUIRE(same_bits(predictor(x).block(), model(x).block()));
  REQUIRE(support::same_for_all_threads([&] {
    const auto y = predictor(x).block();
    return std::vector<float>(y.values().begin(), y.values().end());
  }));
}

TEST_CASE("a predictor never predicts with weights that the model no longer has", "[fast][predictor]") {
  Rng rng{0};
  MultiTaskModel<float> model = plain<float>(4, 8, 2, rng);
  const Tensor<float> x = Tensor<float>::normal({1, 4}, rng);
  const Predictor live{model}, own{clone(model)};
  const Tensor<float> before = model(x).block();
  Pass pass{rng};
  backward(sum(model(x, pass)["task1"]));
  SGD optimizer{parameters(model), {.lr = 0.1}};
  optimizer.step();
  REQUIRE_THROWS_WITH(live(x),
                      "Predictor: the weight 'trunk.0.weight' [8, 4] was changed (by an optimizer step, load() or mutate()) "
                      "after it had been packed; make a new Predictor of the model, or make it of clone(model), which no "
                      "training changes");
  REQUIRE(same_bits(own(x).block(), before));
  REQUIRE(same_bits(Predictor{model}(x).block(), model(x).block()));

  const Predictor again{model};  // the block of heads alone
  Tensor(parameters(model)["heads.task1.weight"]).mutate()[0] = 3;
  REQUIRE_THROWS_AS(again(x), Error);
  const Predictor biased{model};  // what is not packed is read as it is
  Tensor(parameters(model)["heads.task1.bias"]).mutate()[0] = 3;
  REQUIRE(same_bits(biased(x).block(), model(x).block()));
}

TEST_CASE("a predictor refuses what its model refuses, in its words", "[fast][predictor]") {
  Rng rng{0};
  const MultiTaskModel<float> model = plain<float>(4, 8, 2, rng);
  const Predictor predictor{model};
  REQUIRE_THROWS_WITH(predictor(Tensor<float>()), "MultiTaskModel: x is an undefined tensor; give it values first");
  REQUIRE_THROWS_WITH(predictor(Tensor<float>::ones({2, 5})),
                      "linear: x is [2, 5], weight is [8, 4]; weight is [out, in] and x's last axis must equal in (4)");
  REQUIRE_THROWS_WITH(predictor(Tensor<float>::ones({4})), "model: the heads take [batch, 8], the trunk gives [8]");
}
