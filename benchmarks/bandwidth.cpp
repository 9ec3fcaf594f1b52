// bandwidth/*: how many GB/s elementwise passes, reductions, softmax and layer norm read and write, in the first-level cache and
// from memory, beside a copy (a loop of loads and stores) of arrays of the same size. What an operation has to touch is counted once: a ratio
// below 1 says how far it is from the copy's pace.

#include "espalier/nn/layer_norm.hpp"
#include "espalier/ops/reduce.hpp"
#include "espalier/optim/adam.hpp"
#include "measure.hpp"

using namespace espalier;

namespace {

/// One line: f touches `streams` arrays of n numbers.
template <class F>
void line(bench::Report& report, const std::string& name, Index n, int streams, F f) {
  if (!report.wants(name)) return;
  const auto from = Tensor<float>::ones({n});
  auto to = Tensor<float>::zeros({n});
  float* const out = to.raw();
  const int calls = static_cast<int>(std::max<Index>(1, (1 << 22) / n));
  const auto [ours, copy] = bench::alternate(
      calls, f, [&] { kernels::map(n, out, [](const auto& x) __attribute__((always_inline)) { return x; }, from.data()); }, 15);
  const double gigabytes = static_cast<double>(n) * sizeof(float) * 1e-9;
  report.add({name, "GB/s", gigabytes * streams / ours, gigabytes * 2 / copy, "a copy"});
}

void size(bench::Report& report, const std::string& where, Index rows, Index columns) {
  const Index n = rows * columns;
  Rng rng{0};
  const auto a = Tensor<float>::uniform({rows, columns}, -1, 1, rng), b = Tensor<float>::uniform({rows, columns}, -1, 1, rng);
  auto y = Tensor<float>::zeros({rows, columns});
  float* const out = y.raw();
  const auto name = [&](const char* what) { return std::string("bandwidth/") + what + "/" + where; };
  const auto map = [&](const char* what, const auto& f) { line(report, name(what), n, 2, [&] { kernels::map(n, out, f, a.data()); }); };
  volatile double sink = 0;
  line(report, name("add"), n, 3, [&] {
    kernels::map(n, out, [](const auto& p, const auto& q) __attribute__((always_inline)) { return p + q; }, a.data(), b.data());
  });
  map("relu", detail::ValueOf<ReLU>{});
  map("exp", detail::ValueOf<Exp>{});
  map("sigmoid", detail::ValueOf<Sigmoid>{});
  map("tanh", detail::ValueOf<Tanh>{});
  line(report, name("sum"), n, 1, [&] { sink = kernels::sum(n, a.data()); });
  line(report, name("dot"), n, 2, [&] { sink = kernels::dot(n, a.data(), b.data()); });
  std::vector<float> sums(static_cast<std::size_t>(columns));
  line(report, name("columns"), n, 1, [&] { kernels::add_column_sums(rows, columns, sums.data(), a.data()); });
  line(report, name("softmax"), n, 2, [&] { kernels::softmax(rows, columns, a.data(), out); });
  const LayerNorm norm{columns};
  line(report, name("layer_norm"), n, 2, [&] { sink = static_cast<double>(norm(a).data()[0]); });
  const auto update = detail::AdamRule<float, false>(AdamOptions{}).at(1, 1e-3);
  auto first = Tensor<float>::zeros({n}), second = Tensor<float>::zeros({n});
  line(report, name("adam"), n, 7, [&] { kernels::update_span(n, update, out, a.data(), first.raw(), second.raw()); });
}

}  // namespace

int main(int argc, char** argv) {
  bench::Report report(argc, argv);
  size(report, "cache", 4, 512);
  size(report, "memory", 1 << 14, 1 << 10);
}
