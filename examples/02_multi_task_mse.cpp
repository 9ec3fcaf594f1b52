// Several tasks on one trunk, summed MSE, Adam: the multi-task reference program.
// tolerance: 0.001
// Arguments: the number of tasks (3); 1 is the ordinary single-head network.

#include <espalier/espalier.hpp>

#include <cstdio>
#include <cstdlib>

using namespace espalier;

int main(int argc, char** argv) {
  const int tasks = argc > 1 ? std::atoi(argv[1]) : 3;
  if (tasks < 1) {
    std::fprintf(stderr, "usage: 02_multi_task_mse [TASKS >= 1]\n");
    return 1;
  }
  Rng rng{0};
  const auto x = Tensor<float>::normal({100, 10}, rng);

  MultiTaskOptions<float> options{.trunk = Sequential{Linear{10, 20, rng}, ReLU{}, Linear{20, 10, rng}}};
  std::vector<Named<TaskLoss<float>>> losses_of;
  Targets<float> targets;
  for (int k = 0; k < tasks; ++k) {
    const std::string name = "task" + std::to_string(k);
    options.heads.push_back({name, Linear{10, 1, rng}});
    losses_of.push_back({name, MSE{}});
    targets.add(name, Tensor<float>::normal({100, 1}, rng));
  }
  MultiTaskModel<float> model{options};
  MultiObjective<float> objective{losses_of};  // the sum of the losses
  Adam optimizer{parameters(model)};

  for (int epoch = 0; epoch < 100; ++epoch) {
    Pass pass{rng, static_cast<std::uint64_t>(epoch)};
    const auto losses = objective(model(x, pass), targets);
    if (epoch % 20 == 0 || epoch == 99) {
      std::printf("epoch %2d  total %.4f ", epoch, losses.total());
      for (Index k = 0; k < losses.size(); ++k) std::printf("  %s %.4f", losses.name(k).c_str(), losses.value(k));
      std::printf("\n");
    }
    objective.backward(losses);
    optimizer.step();
  }
}
