#include "espalier/train/evaluate.hpp"

#include "support/catch.hpp"

using namespace espalier;

namespace {

struct Small {
  Rng rng{4};
  MultiTaskModel<float> model{{.trunk = Sequential{Linear{3, 5, rng}, Tanh{}}, .heads = {{"c", Linear{5, 3, rng}}, {"y", Linear{5, 2, rng}}}}};
  MultiObjective<float> objective{{{"c", CrossEntropy{}}, {"y", MSE{}}}};
  Dataset<float> data = [this] {
    Tensor<Index> classes = Tensor<Index>::zeros({31});
    Tensor<float> weight = Tensor<float>::ones({31});
    for (Index i = 0; i < 31; ++i) classes.raw()[i] = i % 3, weight.raw()[i] = i % 4 == 0 ? 0.0f : 0.5f;
    return Dataset<float>({{"x", Tensor<float>::normal({31, 3}, rng)}},
                          {{"c", {classes, weight}}, {"y", Tensor<float>::normal({31, 2}, rng)}});
  }();
};

struct Hand {
  Linear<float> layer;
  Outputs<float> operator()(const Inputs<float>& inputs) const { return {{"y", layer(inputs["x"].values)}}; }
  void fields(auto&& visit) { visit("layer", layer); }
};

}  // namespace

TEST_CASE("evaluate gives the same numbers however the batches are cut", "[fast]") {
  Small s;
  const Evaluation whole = evaluate(s.model, s.objective, s.data, {.batch = 1000});
  const auto losses = s.objective(s.model(s.data.inputs["x"].values), s.data.targets);
  CHECK(whole("c", "loss") == losses["c"]);
  CHECK(whole("y", "loss") == losses["y"]);
  CHECK(whole.loss() == losses.total());
  for (Index batch : {1, 7, 30}) {
    const Evaluation cut = evaluate(s.model, s.objective, s.data, {.batch = batch});
    for (std::size_t i = 0; i < whole.measures().size(); ++i)
      CHECK(cut.measures()[i].value == Approx(whole.measures()[i].value).epsilon(1e-6));
  }
}

TEST_CASE("what lies behind a weight of 0 counts for nothing, and a task without labels has no measures", "[fast]") {
  Small s;
  const Evaluation before = evaluate(s.model, s.objective, s.data);
  Tensor<Index> classes = s.data.targets["c"].classes.clone();
  classes.mutate()[4] = 12345;
  s.data.targets.find("c")->classes = classes;
  const Evaluation after = evaluate(s.model, s.objective, s.data);
  for (std::size_t i = 0; i < before.measures().size(); ++i) CHECK(after.measures()[i].value == before.measures()[i].value);

  s.data.targets.find("c")->weight = Tensor<float>::zeros({31});
  const Evaluation without = evaluate(s.model, s.objective, s.data);
  CHECK(std::isnan(without("c", "loss")));
  CHECK(std::isnan(without("c", "accuracy")));
  CHECK(without.loss() == without("y", "loss"));
  CHECK(without.text().starts_with("c      loss -   accuracy -   f1_macro -\ny      loss "));
}

TEST_CASE("predict gives what the model gives, row by row", "[fast]") {
  Small s;
  const NamedList<Tensor<float>> all = predict(s.model, s.data, {.batch = 4});
  const auto outputs = s.model(s.data.inputs["x"].values);
  for (const char* task : {"c", "y"}) {
    REQUIRE(all[task].shape() == outputs[task].shape());
    CHECK(std::equal(all[task].values().begin(), all[task].values().end(), outputs[task].values().begin()));
  }
  CHECK(predict(s.model, Dataset<float>(s.data.inputs, {}))["y"].shape() == Shape{31, 2});
}

TEST_CASE("metrics are chosen by task", "[fast]") {
  Small s;
  const Evaluation found = evaluate(s.model, s.objective, s.data, {.metrics = {{"y", {metrics::MAE{}}}, {"c", {}}}});
  REQUIRE(found.measures().size() == 3);
  CHECK(found.measures()[2].name == "mae");
  CHECK_THROWS_WITH(found("y", "rmse"), "evaluation: there is no 'rmse' of task 'y'; there are: c/loss, y/loss, y/mae");
}

TEST_CASE("a model of one tensor says what is wrong with the data", "[fast]") {
  Small s;
  const Tensor<float> x = s.data.inputs["x"].values;
  Tensor<bool> present = Tensor<bool>::full({31}, true);
  CHECK(predict(s.model, Dataset<float>({{"x", {x, present}}}, {})).size() == 2);
  present.raw()[3] = false;
  CHECK_THROWS_WITH(predict(s.model, Dataset<float>({{"x", {x, present}}}, {})),
                    "model: it takes a tensor, but some rows lack input 'x'; use a MultiModalModel, which knows who has what");
  CHECK_THROWS_WITH(predict(s.model, Dataset<float>({{"x", x}, {"z", x}}, {})),
                    "model: it takes one tensor, the data has 2 inputs: x, z; use a MultiModalModel, or data of one input");
}

TEST_CASE("a model written by hand is evaluated without recording", "[fast]") {
  Rng rng{1};
  Hand model{Linear{3, 1, rng}};
  const Dataset<float> data({{"x", Tensor<float>::ones({5, 3})}}, {{"y", Tensor<float>::zeros({5, 1})}});
  CHECK_FALSE(predict(model, data)["y"].node());
  MultiObjective<float> objective{{{"y", MSE{}}}};
  CHECK(evaluate(model, objective, data)("y", "loss") >= 0);
}
