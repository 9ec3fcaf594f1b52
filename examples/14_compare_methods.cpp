// Which way of joining the losses, and does sharing pay at all? Try them: `compare` trains single-task models, equal and tuned
// fixed weights, and the methods that it is given, on the same splits of 600 handwritten digits over three seeds. Methods are
// chosen at run time and join by name, a program's own like the library's. The runs go to compare.csv; started again, the
// program goes on where it was.
// tolerance: 0.06

#include <espalier/espalier.hpp>
#include <espalier/train/compare.hpp>
#include <espalier/train/comparison_chart.hpp>

#include <cstdio>
#include <cstdlib>

using namespace espalier;

/// A weighting of one's own: the worst loss, for its size at the start, counts twice.
struct WorstTwice {
  static constexpr std::string_view name = "worst_twice";
  std::vector<double> first;
  void prepare(Index tasks) { first.resize(static_cast<std::size_t>(tasks)); }
  void weights(std::span<const double> losses, const StepInfo& info, std::span<double> out) {
    std::size_t worst = 0;
    for (std::size_t i = 0; i < out.size(); ++i) {
      double& start = first[static_cast<std::size_t>(info.task(static_cast<Index>(i)))];
      if (start == 0) start = losses[i];
      out[i] = losses[i] / start;
      if (out[i] > out[worst]) worst = i;
    }
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = i == worst ? 2 : 1;
  }
  void fields(auto&& visit) { visit("first", first); }
};

Dataset<float> digits(Index rows) {
  const Table table = read_csv("examples/data/digits.csv");
  const Tensor<float> pixels = table.matrix(table.names([](const std::string& n) { return n.starts_with("pixel"); })) / 16;
  const Tensor<Index> digit = table.classes("digit", 10);
  Tensor<Index> even = digit.clone();
  for (Index& d : even.mutate()) d = d % 2 == 0;
  const Tensor<float> ink = 10 * mean(pixels, {1}, {.keep_axes = true});
  const Dataset<float> all({{"pixels", pixels}}, {{"digit", digit}, {"even", even}, {"ink", ink}});
  std::vector<Index> first;
  for (Index r = 0; r < rows; ++r) first.push_back(r);
  return all.rows(first);
}

int main() {
  const auto model = [](Rng& rng) {
    return MultiTaskModel{{.trunk = Sequential{Linear{64, 32, rng}, ReLU{}},
                           .heads = {{"digit", Linear{32, 10, rng}}, {"even", Linear{32, 1, rng}}, {"ink", Linear{32, 1, rng}}}}};
  };
  const std::vector<ComparedMethod> methods{UPGrad{}, FAMO{}, DWA{}, {"uncertainty, fast", UncertaintyWeighting{{.lr = 0.1}}}, WorstTwice{}};

  const Comparison result = compare({{"hard sharing", model}}, {{"digit", CrossEntropy{}}, {"even", BCEWithLogits{}}, {"ink", MSE{}}},
                                    methods, digits(600),
                                    {.seeds = 3,
                                     .stratify = "digit",
                                     .candidates = 4,
                                     .train = {.epochs = 80, .batch = 32, .early_stopping = {.patience = 15}, .metrics = {{"ink", {metrics::R2{}}}}},
                                     .optimizer = [](const auto& p) { return Adam{p, {.lr = 5e-3}}; },
                                     .file = "compare.csv",
                                     .log = stderr});
  std::printf("%s", result.text().c_str());
  save_svg("compare.svg", trade_off(result));
}
