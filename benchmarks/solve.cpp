// solve/*: the weights of a method alone, from a Gramian of random gradients, against a budget. aggregate/*: a whole step
// (forward, backward, Adam) with a method against the same step with Sum, for K tasks on a small trunk, mid (64-256-256), and
// a large one, big (512-1024-1024), at batch 256, in processor time. Some methods by default; with --only aggregate, or more of
// a name, all there are, which takes minutes. Methods of the gradients' inner products have a budget of 1 + 0.7 K of Sum's
// step, at the representation 1 + 0.15 K; the others are what they are.

#include "espalier/espalier.hpp"
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
    objective.begin_epoch(static_cast<Index>(count / 100));
    Pass pass{Rng{0}, count++};
    objective.backward(objective(model(x, pass), targets));
    optimizer.step();
    objective.after_step([&] { return objective(model(x), targets); });
  }
};

/// `budget`: the multiple of Sum's step that may be spent is 1 + budget K; 0: there is none.
void step(bench::Report& report, const std::string& trunk, Index in, Index width, Index tasks, const std::string& method_name,
          const Combiner& method, AggregationOptions options, double budget) {
  const std::string name = "aggregate/" + trunk + "/" + method_name + "/k" + std::to_string(tasks);
  if (!report.wants(name)) return;
  Rng rng{1};
  const Tensor<float> x = Tensor<float>::normal({256, in}, rng);
  Targets<float> targets;
  for (Index k = 0; k < tasks; ++k) targets.add(join("task", k), Tensor<float>::normal({256, 1}, rng));
  Step ours(in, width, tasks, method, std::move(options)), sum(in, width, tasks, Sum{}, {});
  const bool big = width > 512;
  const auto [a, b] = bench::alternate(
      big ? 1 : 4, [&] { ours(x, targets); }, [&] { sum(x, targets); }, big ? (tasks > 8 ? 3 : 7) : 9, bench::cpu_seconds);
  report.add({name, "us", a * 1e6, b * 1e6,
              budget > 0 ? "Sum; budget " + std::to_string(1 + budget * static_cast<double>(tasks)).substr(0, 4) : "Sum"});
}

struct Method {
  std::string name;
  Combiner combiner;
  double budget = 0;
  AggregationOptions options = {};
  bool by_default = false;

  Method(Combiner c, double budget_, bool by_default_ = false)
      : name(c.name()), combiner(std::move(c)), budget(budget_), by_default(by_default_) {}
  Method(std::string name_, AggregationOptions options_, double budget_)
      : name(std::move(name_)), combiner(UPGrad{}), budget(budget_), options(std::move(options_)), by_default(true) {}
};

std::vector<Method> methods(Index tasks) {
  const double gramian = 0.7;
  std::vector<Method> all{{UPGrad{}, gramian, true},
                          {"at_representation", {.at_representation = true}, 0.15},
                          {"every10", {.every = 10}, gramian},
                          {GradDrop{}, 0, true},
                          {DualProj{}, gramian},
                          {MGDA{}, gramian},
                          {CAGrad{}, gramian},
                          {NashMTL{}, gramian},
                          {FairGrad{}, gramian},
                          {IMTLG{}, gramian},
                          {ConFIG{}, gramian},
                          {AlignedMTL{}, gramian},
                          {PCGrad{}, gramian},
                          {GradVac{}, gramian},
                          {MoCo{}, 0},
                          {DBMTL{}, 0},
                          {Mean{}, 0},
                          {FixedWeights{std::vector<double>(static_cast<std::size_t>(tasks), 1)}, 0},
                          {RLW{}, 0},
                          {UncertaintyWeighting{}, 0},
                          {IMTLL{}, 0},
                          {DWA{}, 0},
                          {GLS{}, 0},
                          {ScaleInvariant{}, 0},
                          {STCH{{.mu = 0.1}}, 0},
                          {FAMO{}, 0},
                          {GradNorm{}, 0}};
  if (tasks > 2) all.push_back({TrimmedMean{1}, 0});  // of two nothing is left
  return all;
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
      for (const Method& m : methods(tasks))
        if (m.by_default || report.asked("aggregate"))
          step(report, trunk, in, width, tasks, m.name, m.combiner, m.options, m.budget);
    }
}
