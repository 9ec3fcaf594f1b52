// growth/*: how a training step's time grows with the batch, the width, the depth and the number of tasks, against how its
// multiply-adds grow: the slopes of both in a log-log plot, by least squares. Above 1, a cost outgrows the arithmetic.
//
// What is above 1 for `tasks` and `batch` is no work that grows faster than they do. Counted by callgrind (AVX2), a step takes
// 1.55 million instructions + 10,200 per task (at 16, 64, 256 and 1,024 tasks, within 0.5%), and 0.7 million + 73,500 per sample
// (at 64, 256 and 1,024). The trunk, which does not grow with the tasks, does more multiply-adds per instruction than the heads:
// that alone makes a ratio of 1.05. The rest is likely the cache: a head has 2 KB of weights, gradients and moments, a sample
// 1 KB of activations in each layer, and both leave the second-level cache within the sweep.

#include <cmath>
#include <functional>

#include "cases.hpp"
#include "measure.hpp"

namespace {

/// The fastest of many rounds, in processor time, as the machine may have other things to do.
double fastest(bench::Training& training) {
  training.step();
  double best = HUGE_VAL;
  int calls = 1;
  for (const double end = bench::seconds() + 0.25; bench::seconds() < end || best == HUGE_VAL;) {
    const double start = bench::cpu_seconds();
    for (int i = 0; i < calls; ++i) training.step();
    const double took = bench::cpu_seconds() - start;
    best = std::min(best, took / calls);
    if (took < 1e-3) calls *= 2;
  }
  return best;
}

double multiply_adds(const bench::Case& c) {
  std::vector<int> sizes = c.trunk;
  sizes.push_back(c.heads);
  double sum = 0;
  for (std::size_t i = 0; i + 1 < sizes.size(); ++i) sum += (i ? 3.0 : 2.0) * c.batch * sizes[i] * sizes[i + 1];
  return sum;
}

double slope(const std::vector<double>& x, const std::vector<double>& y) {
  const auto n = static_cast<double>(x.size());
  double mean_x = 0, mean_y = 0, top = 0, bottom = 0;
  for (std::size_t i = 0; i < x.size(); ++i) mean_x += x[i] / n, mean_y += y[i] / n;
  for (std::size_t i = 0; i < x.size(); ++i) {
    top += (x[i] - mean_x) * (y[i] - mean_y);
    bottom += (x[i] - mean_x) * (x[i] - mean_x);
  }
  return top / bottom;
}

void sweep(bench::Report& report, const std::string& name, const std::vector<int>& sizes,
           const std::function<bench::Case(int)>& at) {
  if (!report.wants(name)) return;
  std::vector<double> size, time, work;
  for (const int n : sizes) {
    const bench::Case c = at(n);
    bench::Training training(c);
    size.push_back(std::log(n));
    time.push_back(std::log(fastest(training)));
    work.push_back(std::log(multiply_adds(c)));
  }
  report.add({name, "", slope(size, time), slope(size, work), "of its multiply-adds"});
}

}  // namespace

int main(int argc, char** argv) {
  bench::Report report(argc, argv);
  sweep(report, "growth/batch", {64, 128, 256, 512, 1024, 2048}, [](int n) {
    return bench::Case{"", {64, 256, 256}, 4, n, 1};
  });
  sweep(report, "growth/width", {64, 128, 256, 512, 1024}, [](int n) { return bench::Case{"", {n, n, n}, 4, 128, 1}; });
  sweep(report, "growth/depth", {2, 4, 8, 16, 32}, [](int n) {
    return bench::Case{"", std::vector<int>(static_cast<std::size_t>(n), 128), 4, 128, 1};
  });
  sweep(report, "growth/tasks", {4, 16, 64, 256, 1024}, [](int n) { return bench::Case{"", {64, 128, 128}, n, 64, 1}; });
}
