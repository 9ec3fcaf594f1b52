#pragma once
// A whole training step (forward, backward, Adam) of program 02's kind, in any size. Everything is local to the unit that
// includes it, so that a program may hold the step once for each instruction set.

#include <string>
#include <utility>
#include <vector>

#include "espalier/model/multi_task_model.hpp"
#include "espalier/multitask/objective.hpp"
#include "espalier/optim/adam.hpp"

namespace {

struct Case {
  const char* name;
  std::vector<int> trunk;
  int heads, batch, calls;
};

espalier::MultiTaskModel<float> make_model(const Case& c, espalier::Rng& rng) {
  using namespace espalier;
  std::vector<AnyModule<float>> layers;
  for (std::size_t i = 0; i + 1 < c.trunk.size(); ++i) {
    layers.emplace_back(Linear{c.trunk[i], c.trunk[i + 1], rng});
    if (i + 2 < c.trunk.size()) layers.emplace_back(ReLU{});
  }
  std::vector<Named<AnyModule<float>>> heads;
  for (int k = 0; k < c.heads; ++k) heads.push_back({"task" + std::to_string(k), Linear{c.trunk.back(), 1, rng}});
  return MultiTaskModel<float>{{.trunk = Sequential<float>(std::move(layers)), .heads = std::move(heads)}};
}

struct TrainingStep {
  explicit TrainingStep(const Case& c) : model(make_model(c, rng)), objective(losses(c)) {
    for (int k = 0; k < c.heads; ++k)
      targets.add("task" + std::to_string(k), espalier::Tensor<float>::normal({c.batch, 1}, rng));
    x = espalier::Tensor<float>::normal({c.batch, c.trunk[0]}, rng);
  }
  void operator()() {
    espalier::Pass pass{rng, epoch++};
    const auto values = objective(model(x, pass), targets);
    objective.backward(values);
    optimizer.step();
  }

 private:
  static std::vector<espalier::Named<espalier::TaskLoss<float>>> losses(const Case& c) {
    std::vector<espalier::Named<espalier::TaskLoss<float>>> all;
    for (int k = 0; k < c.heads; ++k) all.push_back({"task" + std::to_string(k), espalier::MSE{}});
    return all;
  }

  espalier::Rng rng{0};
  espalier::MultiTaskModel<float> model;
  espalier::MultiObjective<float> objective;
  espalier::Adam<float> optimizer{parameters(model), {.lr = 1e-3}};
  espalier::Targets<float> targets;
  espalier::Tensor<float> x;
  std::uint64_t epoch = 0;
};

}  // namespace
