// solve/*: the weights of a method alone, from a Gramian of random gradients, against a budget. aggregate/*: a whole step
// (forward, backward, Adam) with an aggregator against the same step with Sum, for K tasks on a small and a large trunk.

#include "espalier/model/multi_task_model.hpp"
#include "espalier/multitask/aggregator.hpp"
#include "espalier/multitask/objective.hpp"
#include "espalier/optim/adam.hpp"
#include "measure.hpp"

using namespace espalier;

namespace {

std::vector<double> random_gramian(Index m, Index n) {
  std::vector<double> rows(static_cast<std::size_t>(m * n)), g(static_cast<std::size_t>(m * m));
  Rng{7}.normal(std::span(rows));
  for (Index i = 0; i < m; ++i)
    for (Index j = 0; j < m; ++j) g[static_cast<std::size_t>(i * m + j)] = detail::inner(&rows[static_cast<std::size_t>(i * n)], &rows[static_cast<std::size_t>(j * n)], n);
  return g;
}

void solve(bench::Report& report, const std::string& name, Combiner method, Index m, double budget_ms, int calls) {
  if (!report.wants(name)) return;
  const std::vector<double> g = random_gramian(m, m + m / 2);
  std::vector<double> w(static_cast<std::size_t>(m));
  const auto run = [&] { method.weights(GramianView{g, m}, {}, w); };
  const auto [ours, again] = bench::alternate(calls, run, run, 15);
  report.add({name, "ms", std::min(ours, again) * 1e3, budget_ms, "budget"});
}

struct Step {
  MultiTaskModel<float> model;
  MultiObjective<float> objective;
  Adam<float> optimizer;
  std::uint64_t count = 0;

  static MultiTaskModel<float> make_model(Index in, Index width, Index tasks) {
    Rng rng{0};
    std::vector<Named<AnyModule<float>>> heads;
    for (Index k = 0; k < tasks; ++k) heads.push_back({join("task", k), Linear{width, 1, rng}});
    return MultiTaskModel<float>{{.trunk = Sequential<float>(Linear{in, width, rng}, ReLU{}, Linear{width, width, rng}, ReLU{}),
                                  .heads = std::move(heads)}};
  }
  static std::vector<Named<TaskLoss<float>>> losses(Index tasks) {
    std::vector<Named<TaskLoss<float>>> all;
    for (Index k = 0; k < tasks; ++k) all.push_back({join("task", k), MSE{}});
    return all;
  }
  Step(Index in, Index width, Index tasks, const Combiner& method, AggregationOptions options)
      : model(make_model(in, width, tasks)), objective(losses(tasks), method, std::move(options)), optimizer(parameters(model), {.lr = 1e-4}) {}
  void operator()(const Tensor<float>& x, const Targets<float>& targets) {
    Pass pass{Rng{0}, count++};
    objective.backward(objective(model(x, pass), targets));
    optimizer.step();
  }
};

/// `budget`: the multiple of Sum's step that may be spent is 1 + budget K.
void step(bench::Report& report, const std::string& trunk, Index in, Index width, Index tasks, const std::string& method_name,
          const Combiner& method, AggregationOptions options, double budget) {
  const std::string name = "aggregate/" + trunk + "/" + method_name + "/k" + std::to_string(tasks);
  if (!report.wants(name)) return;
  Rng rng{1};
  const Tensor<float> x = Tensor<float>::normal({256, in}, rng);
  Targets<float> targets;
  for (Index k = 0; k < tasks; ++k) targets.add(join("task", k), Tensor<float>::normal({256, 1}, rng));
  Step ours(in, width, tasks, method, std::move(options)), sum(in, width, tasks, Sum{}, {});
  const auto [a, b] = bench::alternate(width > 512 ? 1 : 4, [&] { ours(x, targets); }, [&] { sum(x, targets); }, width > 512 ? 7 : 15);
  report.add({name, "us", a * 1e6, b * 1e6, "Sum; budget " + std::to_string(1 + budget * static_cast<double>(tasks)).substr(0, 4)});
}

}  // namespace

int main(int argc, char** argv) {
  bench::Report report(argc, argv);
  solve(report, "solve/upgrad32", UPGrad{}, 32, 1, 20);
  solve(report, "solve/upgrad128", UPGrad{}, 128, 100, 1);
  for (const bool big : {false, true})
    for (const Index tasks : {2, 8, 32}) {
      const std::string trunk = big ? "big" : "mid";
      const Index in = big ? 512 : 64, width = big ? 1024 : 256;
      step(report, trunk, in, width, tasks, "upgrad", UPGrad{}, {}, 0.7);
      step(report, trunk, in, width, tasks, "at_representation", UPGrad{}, {.at_representation = true}, 0.15);
      step(report, trunk, in, width, tasks, "every10", UPGrad{}, {.every = 10}, 0.7);
      step(report, trunk, in, width, tasks, "grad_drop", GradDrop{}, {}, 0.7);
    }
}
