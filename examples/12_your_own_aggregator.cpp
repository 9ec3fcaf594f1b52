// An aggregator of one's own: from the inner products of the tasks' gradients in what they share (the Gramian) to a
// weight for each task. It sees a small matrix of doubles, no tensor and no graph, and so works with every model.
// tolerance: 0.02

#include <espalier/espalier.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>

using namespace espalier;

/// Gradients cut to the length of the shortest, so that no task pulls harder than another: w_i = min_j |g_j| / |g_i|.
struct EqualPull {
  static constexpr std::string_view name = "equal_pull";
  static constexpr Claims claims{.permutation_equivariant = true, .non_negative = true};

  Certificate weights(GramianView gramian, const StepInfo&, std::span<double> out) const {
    double shortest = INFINITY;
    Index task = 0;
    for (double& length : out) {
      length = std::sqrt(gramian(task, task));
      if (length > 0) shortest = std::min(shortest, length);
      ++task;
    }
    for (double& w : out) w = w > 0 ? shortest / w : 0;
    return {};  // exact: there was nothing to solve
  }
};

int main() {
  // The trunk passes on a single number, and the tasks want different ones. The second, in feet, has the larger
  // numbers: the sum gives it everything. Equal pulls share; how evenly depends on the start.
  constexpr float foot = 0.3048f;
  Rng rng{0};
  const auto x = Tensor<float>::normal({200, 2}, rng);
  const Targets<float> targets{{"metres", slice(x, 1, 0, 1)}, {"feet", slice(x, 1, 1, 2) / foot}};

  const auto train = [&](const char* name, Combiner method) {
    Rng start{1};  // the same for both
    MultiTaskModel model{{.trunk = Linear{2, 1, start},
                          .heads = {{"metres", Linear{1, 1, start}}, {"feet", Linear{1, 1, start}}}}};
    MultiObjective objective{{{"metres", MSE{}}, {"feet", MSE{}}}, method};
    SGD optimizer{parameters(model), {.lr = 1e-2}};
    Losses<float> losses;
    for (std::uint64_t step = 0; step < 2000; ++step) {
      Pass pass{start, step};
      losses = objective(model(x, pass), targets);
      objective.backward(losses);
      optimizer.step();
    }
    const std::vector<double>& weights = objective.record().weights;
    std::printf("%-10s squared errors in m2: %.3f, %.3f   last weights: %.3f, %.3f\n", name, losses["metres"],
                losses["feet"] * foot * foot, weights[0], weights[1]);
  };
  train("Sum", Sum{});
  train("EqualPull", EqualPull{});
}
