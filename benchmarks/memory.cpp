// memory/*: what training holds at its peak, against the floor: weights, gradients, Adam's two moments, the batch with its
// targets, and what the layers put out. A program of its own, as the peak is the process's.

#include "cases.hpp"
#include "measure.hpp"

int main(int argc, char** argv) {
  bench::Report report(argc, argv);
  const bench::Case& c = bench::cases()[3];
  if (!report.wants("memory/big")) return 0;
  const double before = bench::peak_memory();
  bench::Training training(c);
  for (int i = 0; i < 3; ++i) training.step();
  double parameters = 0, width = c.trunk[0];
  for (const auto& p : espalier::parameters(training.model)) parameters += static_cast<double>(p.value.size());
  for (std::size_t i = 1; i < c.trunk.size(); ++i) width += c.trunk[i];
  width += 2 * c.heads;  // predictions and targets
  const double floor = (4 * parameters + c.batch * width) * sizeof(float) / (1 << 20);
  report.add({"memory/big", "MB", bench::peak_memory() - before, floor, "weights, gradients, moments, values"});
}
