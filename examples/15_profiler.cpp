// Where does the time go? A Profiler that lives hears of every operation: how often, how long, how much it made. The table
// is sorted by time; so that this example prints the same on every machine it goes by name.

#include <espalier/autograd/profiler.hpp>
#include <espalier/espalier.hpp>

#include <cstdio>

using namespace espalier;

int main() {
  Rng rng{0};
  MultiTaskModel model{{.trunk = Sequential{Linear{64, 256, rng}, Tanh{}, Linear{256, 256, rng}},
                        .heads = {{"price", Linear{256, 1, rng}}, {"kind", Linear{256, 3, rng}}}}};
  MultiObjective objective{{{"price", MSE{}}, {"kind", MSE{}}}, UPGrad{}};
  Adam optimizer{parameters(model), {.lr = 1e-3}};
  const auto x = Tensor<float>::normal({256, 64}, rng);
  const Targets<float> targets{{"price", Tensor<float>::normal({256, 1}, rng)}, {"kind", Tensor<float>::normal({256, 3}, rng)}};

  Profiler profiler;
  for (int step = 0; step < 20; ++step) {
    Pass pass{rng};
    objective.backward(objective(model(x, pass), targets));
    optimizer.step();
  }

  auto rows = profiler.rows();  // profiler.table() is all of it, ready to print
  std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) {
    return a.name != b.name ? a.name < b.name : a.phase < b.phase;
  });
  for (const auto& row : rows)
    std::printf("%-15s %s %3d times %10.1f us %8.2f MB\n", row.name.c_str(), row.phase == Profiler::Phase::backward ? "back" : "    ",
                static_cast<int>(row.count), row.seconds / static_cast<double>(row.count) * 1e6, row.bytes / 1e6);
}
