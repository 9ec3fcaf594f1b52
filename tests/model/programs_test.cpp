// The two reference programs against PyTorch in float64: equal losses and weights after 1, 10 and 100 steps.

#include "espalier/model/modality_heads.hpp"
#include "espalier/model/multi_task_model.hpp"
#include "espalier/multitask/objective.hpp"
#include "espalier/optim/adam.hpp"
#include "support/catch.hpp"
#include "support/golden.hpp"

using namespace espalier;

namespace {

Tensor<double> tensor(const Golden& golden, const std::string& name) {
  const auto& a = golden[name];
  return Tensor<double>::copy(a.shape, a.values);
}

/// Puts the golden weights of a step into a model.
template <class Model>
void set_weights(Model& model, const Golden& golden) {
  for (auto& p : parameters<double>(model)) {
    const auto& a = golden["step0." + p.name];
    REQUIRE(a.shape == p.value.shape());
    std::copy(a.values.begin(), a.values.end(), p.value.mutate().begin());
  }
}

/// The largest relative difference of the model's weights from the golden ones after `step` steps.
template <class Model>
double weights_error(Model& model, const Golden& golden, int step) {
  double worst = 0;
  for (auto& p : parameters<double>(model)) {
    const auto& a = golden["step" + std::to_string(step) + "." + p.name];
    for (Index i = 0; i < p.value.size(); ++i) {
      const double want = a.values[static_cast<std::size_t>(i)], got = p.value.data()[i];
      worst = std::max(worst, std::abs(got - want) / std::max(1e-3, std::abs(want)));
    }
  }
  return worst;
}

Sequential<double> trunk(Rng& rng) { return Sequential<double>{Linear<double>{10, 20, rng}, ReLU{}, Linear<double>{20, 10, rng}}; }

/// Trains and compares; `predict` records a forward pass.
template <class Model, class Predict>
void compare(Model& model, const std::vector<std::string>& tasks, const Targets<double>& targets, const Golden& golden, int steps,
             Predict predict) {
  set_weights(model, golden);
  std::vector<Named<TaskLoss<double>>> losses_of;
  for (const std::string& name : tasks) losses_of.push_back({name, MSE{}});
  MultiObjective<double> objective(std::move(losses_of));
  Adam<double> optimizer{parameters<double>(model)};
  const auto& losses = golden["losses"];
  for (int step = 0; step <= steps; ++step) {
    Rng rng{0};
    Pass pass{rng, static_cast<std::uint64_t>(step)};
    const auto values = objective(predict(pass), targets);
    for (Index k = 0; k < values.size(); ++k) {
      const double want = losses.values[static_cast<std::size_t>(step * values.size() + k)];
      CAPTURE(step, k, values.value(k), want);
      REQUIRE(std::abs(values.value(k) - want) <= 1e-10 * std::max(1e-3, std::abs(want)));
    }
    if (step == 0 || step == 1 || step == 10 || step == 100) {
      CAPTURE(step);
      REQUIRE(weights_error(model, golden, step) <= 1e-10);
    }
    objective.backward(values);
    optimizer.step();
  }
}

void multi_task(const char* file, int tasks, bool masked, int steps) {
  const Golden golden(file);
  Rng rng{0};
  MultiTaskOptions<double> options{.trunk = trunk(rng)};
  std::vector<std::string> names;
  Targets<double> targets;
  for (int k = 0; k < tasks; ++k) {
    names.push_back("task" + std::to_string(k));
    options.heads.push_back({names.back(), Linear<double>{10, 1, rng}});
    Target<double> target(tensor(golden, "targets." + names.back()));
    if (masked) target.weight = tensor(golden, "label_weights." + names.back());
    targets.add(names.back(), target);
  }
  MultiTaskModel<double> model(options);
  const Tensor<double> x = tensor(golden, "inputs");
  compare(model, names, targets, golden, steps, [&](Pass& pass) { return model(x, pass); });
}

}  // namespace

TEST_CASE("program 02 with one task is the single-head network of PyTorch", "[programs][fast]") {
  multi_task("programs_02_k1.txt", 1, false, 100);
}
TEST_CASE("program 02 with three tasks follows PyTorch", "[programs][fast]") { multi_task("programs_02_k3.txt", 3, false, 100); }
TEST_CASE("program 02 with missing labels follows PyTorch; a task without labels keeps its head", "[programs][fast]") {
  multi_task("programs_02_masked.txt", 3, true, 10);
}
TEST_CASE("program 03 follows PyTorch", "[programs][fast]") {
  const Golden golden("programs_03.txt");
  Rng rng{0};
  ModalityHeadsOptions<double> options{.trunk = trunk(rng)};
  std::vector<std::string> names;
  Targets<double> targets;
  Inputs<double> inputs;
  for (int m = 0; m < 2; ++m) {
    names.push_back("modality" + std::to_string(m));
    options.heads.push_back({names.back(), Linear<double>{10, 1, rng}});
    targets.add(names.back(), Target<double>(tensor(golden, "targets." + names.back())));
    inputs.add(names.back(), Input<double>(tensor(golden, "inputs." + names.back())));
  }
  ModalityHeads<double> model(options);
  compare(model, names, targets, golden, 100, [&](Pass& pass) { return model(inputs, pass); });
}
