// The scaling page: what a training step costs as tasks, batch and threads grow, drawn by the library's own chart.
//   scaling FILE.svg [seconds per point, 0.3]
// Also prints the numbers. The machine may have other things to do: points are the fastest of many rounds, and one thread's
// are what it computed, not what the clock says.

#include <cmath>
#include <cstdlib>
#ifdef _OPENMP
#include <omp.h>
#endif

#include "../cases.hpp"
#include "../measure.hpp"
#include "espalier/train/chart.hpp"

using namespace espalier;

namespace {

double point_seconds = 0.3;
int threads_used = 1;

/// Seconds of a step: the fastest round.
template <class F>
double fastest(F&& step) {
  const auto now = [] { return threads_used == 1 ? bench::cpu_seconds() : bench::seconds(); };
  step();
  int calls = 1;
  double best = HUGE_VAL;
  for (const double end = bench::seconds() + point_seconds; bench::seconds() < end;) {
    const double start = now();
    for (int i = 0; i < calls; ++i) step();
    const double took = now() - start;
    best = std::min(best, took / calls);
    if (took < 1e-3) calls *= 2;
  }
  return best;
}

void use_threads(int count) {
  threads_used = count;
#ifdef _OPENMP
  omp_set_num_threads(count);
#endif
}
int most_threads() {
#ifdef _OPENMP
  return omp_get_num_procs();
#else
  return 1;
#endif
}

struct Line {
  Series series;
  void add(double x, double y, const char* unit) {
    series.x.push_back(x);
    series.y.push_back(y);
    std::printf("%-34s %8.0f %12.3f %s\n", series.name.c_str(), x, y, unit);
    std::fflush(stdout);
  }
};

/// A head that is not packed: a module of its own around the layer.
struct Separate {
  Linear<float> inner;
  Tensor<float> operator()(const Tensor<float>& x) const { return inner(x); }
  void fields(auto&& visit) { inner.fields(visit); }
};

/// A step of a trunk 64-128-128 with ever more heads, at a batch of 64.
Series over_tasks(const std::string& name, bool packed, std::initializer_list<int> counts) {
  Line line{{.name = name}};
  for (const int count : counts) {
    Rng rng{0};
    std::vector<Named<AnyModule<float>>> heads;
    std::vector<Named<TaskLoss<float>>> losses;
    std::vector<Named<Target<float>>> targets;
    for (int k = 0; k < count; ++k) {
      const Linear<float> head{128, 1, rng};
      heads.push_back({bench::task_name(k), packed ? AnyModule<float>(head) : AnyModule<float>(Separate{head})});
      losses.push_back({bench::task_name(k), MSE{}});
      targets.push_back({bench::task_name(k), Tensor<float>::normal({64, 1}, rng)});
    }
    MultiTaskModel<float> model({.trunk = Sequential{Linear{64, 128, rng}, ReLU{}, Linear{128, 128, rng}, ReLU{}}, .heads = std::move(heads)});
    MultiObjective<float> objective(std::move(losses));
    const Targets<float> given(std::move(targets));
    Adam<float> optimizer(parameters(model), {.lr = 1e-3});
    const Tensor<float> x = Tensor<float>::normal({64, 64}, rng);
    line.add(count, 1e6 * fastest([&] {
               Pass pass{rng};
               objective.backward(objective(model(x, pass), given));
               optimizer.step();
             }), "us");
  }
  return line.series;
}

Series over_batch(int threads) {
  Line line{{.name = threads == 1 ? "1 thread" : std::to_string(threads) + " threads"}};
  use_threads(threads);
  for (int batch = 1; batch <= 16384; batch *= 4) {
    bench::Case c = bench::cases()[1];
    c.batch = batch;
    bench::Training training(c);
    line.add(batch, 1e6 * fastest([&] { training.step(); }) / batch, "us per sample");
  }
  use_threads(1);
  return line.series;
}

/// Steps a second times samples, against one thread's.
Series over_threads(const bench::Case& c) {
  Line line{{.name = c.name}};
  bench::Training training(c);
  double one = 0;
  for (int threads = 1; threads <= most_threads(); threads *= 2) {
    use_threads(threads);
    const double time = fastest([&] { training.step(); });
    if (threads == 1) one = time;
    line.add(threads, one / time, "times as fast");
  }
  use_threads(1);
  return line.series;
}

/// A step of `mid` with ever more tasks.
Series over_combined(const std::string& name, const Combiner& combiner) {
  Line line{{.name = name}};
  for (const int count : {1, 2, 4, 8, 16, 32, 64}) {
    bench::Case c = bench::cases()[1];
    c.heads = count;
    bench::Training training(c);
    std::vector<Named<TaskLoss<float>>> losses;
    for (int k = 0; k < count; ++k) losses.push_back({bench::task_name(k), MSE{}});
    training.objective = MultiObjective<float>(std::move(losses), combiner);
    line.add(count, 1e3 * fastest([&] { training.step(); }), "ms");
  }
  return line.series;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return std::fprintf(stderr, "usage: %s FILE.svg [seconds per point]\n", argv[0]), 2;
  if (argc > 2) point_seconds = std::atof(argv[2]);
  use_threads(1);
  Chart chart{.title = "A training step of espalier as it grows"};
  Panel tasks{.title = "Tasks", .x_label = "heads, batch 64", .y_label = "us a step", .log_x = true, .log_y = true};
  tasks.series = {over_tasks("packed heads", true, {1, 4, 16, 64, 256, 1024, 4096, 10000}),
                  over_tasks("separate heads", false, {1, 4, 16, 64, 256, 1024, 4096, 10000})};
  Panel batch{.title = "Batch", .x_label = "samples, trunk 64-256-256", .y_label = "us a sample", .log_x = true, .log_y = true};
  batch.series = {over_batch(1)};
  if (most_threads() > 1) batch.series.push_back(over_batch(most_threads()));
  Panel combined{.title = "Task gradients", .x_label = "tasks, batch 256", .y_label = "ms a step", .log_x = true, .log_y = true};
  combined.series = {over_combined("Sum", Sum{}), over_combined("UPGrad", UPGrad{})};
  Panel threads{.title = "Threads", .x_label = "threads", .y_label = "times as fast"};
  for (const int i : {1, 2, 3}) threads.series.push_back(over_threads(bench::cases()[static_cast<std::size_t>(i)]));
  chart.panels = {tasks, batch, combined, threads};
  save_svg(argv[1], chart);
}
