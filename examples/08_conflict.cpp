// Conflict: a second task joins a model that was trained on a first. The trunk passes on a single number. The second
// task wants another number than the first, and its loss is a hundred times as large, only because its target is in
// other units. The sum of the losses gives the trunk to the louder task, and what the first had learned is lost. UPGrad
// steps only where neither loss rises: the first keeps what it has, and the second learns what that allows. It is a
// change of one word.
// tolerance: 0.02

#include <espalier/espalier.hpp>

#include <cstdio>

using namespace espalier;

int main() {
  Rng rng{0};
  const auto x = Tensor<float>::normal({200, 2}, rng);
  const auto first = slice(x, 1, 0, 1), second = 0.5f * first + 0.866f * slice(x, 1, 1, 2);
  const Targets<float> targets{{"first", first}, {"second", 10 * second}};

  // `steps` of gradient descent; the last losses, before the last step.
  const auto descend = [&](auto& model, auto& objective, int steps) {
    SGD optimizer{parameters(model), {.lr = 0.002}};
    Losses<float> losses;
    for (int step = 0; step < steps; ++step) {
      Pass pass{rng};  // nothing here is random: every pass may be the same
      losses = objective(model(x, pass), targets);
      objective.backward(losses);
      optimizer.step();
    }
    return losses;
  };

  MultiTaskModel start{{.trunk = Linear{2, 1, rng, {.bias = false}},
                        .heads = {{"first", Linear{1, 1, rng}}, {"second", Linear{1, 1, rng}}}}};
  MultiObjective alone{{{"first", MSE{}}}};
  std::printf("first alone  %7.3f\n\n", descend(start, alone, 1000)["first"]);

  const auto both = [&](const char* name, Combiner method) {
    std::printf("%-12s   first   second\n", name);
    auto model = clone(start);
    MultiObjective objective{{{"first", MSE{}}, {"second", MSE{}}}, method};
    int done = 0;
    for (int steps : {1, 19, 980}) {
      const auto losses = descend(model, objective, steps);
      std::printf("  step %4d   %7.3f  %7.3f\n", done += steps, losses["first"], losses["second"]);
    }
    return objective.record();
  };
  both("Sum", Sum{});
  const ObjectiveRecord record = both("UPGrad", UPGrad{});

  // What UPGrad saw and chose in the last step: the inner products of the tasks' gradients in the trunk, and weights.
  std::printf("\nGramian  %8.3f %8.3f\n         %8.3f %8.3f\n", record.gramian[0], record.gramian[1], record.gramian[2],
              record.gramian[3]);
  std::printf("weights  %8.3f %8.3f\n", record.weights[0], record.weights[1]);
}
