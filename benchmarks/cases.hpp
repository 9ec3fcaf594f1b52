#pragma once
// The training steps that the benchmarks measure, by themselves and against other libraries: a trunk of linear layers with
// ReLU between them, a linear head of one number per task, MSE summed over the tasks, Adam at 1e-3. Program 02's kind.
// Everything is local to the unit that includes it, so that a program may hold a step once for each instruction set.

#include <string>
#include <vector>

#include "espalier/model/multi_task_model.hpp"
#include "espalier/multitask/objective.hpp"
#include "espalier/optim/adam.hpp"

namespace bench {
namespace {

struct Case {
  std::string name;
  std::vector<int> trunk;  // in, hidden..., out
  int heads, batch, calls;
  bool upgrad = false;  // the tasks' gradients joined by UPGrad instead of summed
};

[[maybe_unused]] const std::vector<Case>& cases() {
  static const std::vector<Case> all = {{"train/seed", {10, 20, 10}, 1, 100, 500},
                                        {"train/mid", {64, 256, 256}, 4, 256, 10},
                                        {"train/wide", {64, 128, 128}, 64, 128, 30},
                                        {"train/big", {512, 1024, 1024}, 8, 1024, 1},
                                        {"upgrad/mid", {64, 256, 256}, 4, 256, 10, true},
                                        {"upgrad/big32", {512, 1024, 1024}, 8, 32, 1, true}};
  return all;
}
/// The heads' tasks are task0, task1, ...
std::string task_name(int k) { return "task" + std::to_string(k); }

espalier::MultiTaskModel<float> make_model(const Case& c, espalier::Rng& rng) {
  using namespace espalier;
  std::vector<AnyModule<float>> layers;
  for (std::size_t i = 0; i + 1 < c.trunk.size(); ++i) {
    layers.emplace_back(Linear{c.trunk[i], c.trunk[i + 1], rng});
    if (i + 2 < c.trunk.size()) layers.emplace_back(ReLU{});
  }
  std::vector<Named<AnyModule<float>>> heads;
  for (int k = 0; k < c.heads; ++k) heads.push_back({task_name(k), Linear{c.trunk.back(), 1, rng}});
  return MultiTaskModel<float>{{.trunk = Sequential<float>(std::move(layers)), .heads = std::move(heads)}};
}

/// One of the cases with everything that a step needs, drawn from a fixed seed.
struct Training {
  espalier::Rng rng{0};
  espalier::MultiTaskModel<float> model;
  espalier::MultiObjective<float> objective;
  espalier::Targets<float> targets;
  espalier::Adam<float> optimizer;
  espalier::Tensor<float> x;
  std::uint64_t steps = 0;

  explicit Training(const Case& c)
      : model(make_model(c, rng)),
        objective(losses(c), c.upgrad ? espalier::Combiner(espalier::UPGrad{}) : espalier::Combiner()),
        optimizer(parameters(model), {.lr = 1e-3}) {
    for (int k = 0; k < c.heads; ++k) targets.add(task_name(k), espalier::Tensor<float>::normal({c.batch, 1}, rng));
    x = espalier::Tensor<float>::normal({c.batch, c.trunk[0]}, rng);
  }
  /// Forward, backward, Adam; returns the loss before it.
  double step() {
    espalier::Pass pass{rng, steps++};
    const auto values = objective(model(x, pass), targets);
    objective.backward(values);
    optimizer.step();
    return values.total();
  }

 private:
  static std::vector<espalier::Named<espalier::TaskLoss<float>>> losses(const Case& c) {
    std::vector<espalier::Named<espalier::TaskLoss<float>>> all;
    for (int k = 0; k < c.heads; ++k) all.push_back({task_name(k), espalier::MSE{}});
    return all;
  }
};

}  // namespace
}  // namespace bench
