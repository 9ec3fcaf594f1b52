// Handwritten digits (1797 images of 8 x 8, see examples/data): two modalities, the left and the right half of the image;
// three tasks, which digit it is, whether it is even, and how much ink it took. One trunk, trained on all three at once, and
// asked with both halves and with each half missing.
// tolerance: 0.04

#include <espalier/espalier.hpp>

#include <cstdio>

using namespace espalier;

namespace {

/// The pixels of image columns [first, last), as table columns.
std::vector<std::string> pixels(int first, int last) {
  std::vector<std::string> names;
  for (int row = 0; row < 8; ++row)
    for (int column = first; column < last; ++column) names.push_back(join("pixel_", row, "_", column));
  return names;
}

/// The share of samples whose decision is the class.
double accuracy(const Tensor<Index>& decided, const Tensor<Index>& classes) {
  Index right = 0;
  for (Index i = 0; i < classes.size(); ++i) right += decided.data()[i] == classes.data()[i];
  return static_cast<double>(right) / static_cast<double>(classes.size());
}

/// The explained share of the target's variance.
double r2(const Tensor<float>& predicted, const Tensor<float>& target) {
  const double mean = kernels::sum(target.size(), target.data()) / static_cast<double>(target.size());
  double left = 0, total = 0;
  for (Index i = 0; i < target.size(); ++i) {
    left += std::pow(target.data()[i] - predicted.data()[i], 2);
    total += std::pow(target.data()[i] - mean, 2);
  }
  return 1 - left / total;
}

void report(const char* title, const Outputs<float>& outputs, const Targets<float>& targets) {
  const auto even = cast<Index>(outputs["even"] > Tensor<float>::scalar(0));
  std::printf("%-18s digit accuracy %.3f   even accuracy %.3f   ink R2 %.3f\n", title,
              accuracy(argmax(outputs["digit"]), targets["digit"].classes), accuracy(even, targets["even"].classes),
              r2(outputs["ink"], targets["ink"].value));
}

void run() {
  const Table table = read_csv("examples/data/digits.csv");
  const Tensor<float> left = table.matrix(pixels(0, 4)) / 16, right = table.matrix(pixels(4, 8)) / 16;
  const Tensor<Index> digit = table.classes("digit", 10);
  Tensor<Index> even = digit.clone();
  for (Index& d : even.mutate()) d = d % 2 == 0;
  const Tensor<float> ink = mean(concat<float>({left, right}, 1), {1}, {.keep_axes = true});

  Rng rng{0};
  auto [train, test] = split(Dataset<float>({{"left", left}, {"right", right}}, {{"digit", digit}, {"even", even}, {"ink", ink}}),
                             0.8, rng);
  const Standardise<float> scale(train.targets["ink"]);  // fitted on the training part alone
  for (auto* part : {&train, &test}) *part->targets.find("ink") = scale(part->targets["ink"]);

  MultiModalModel model{{.encoders = {{"left", Linear{32, 64, rng}}, {"right", Linear{32, 64, rng}}},
                         .fusion = GatedFusion{64, rng},
                         .trunk = Sequential{Linear{64, 64, rng}, ReLU{}},
                         .heads = {{"digit", Linear{64, 10, rng}}, {"even", Linear{64, 1, rng}}, {"ink", Linear{64, 1, rng}}},
                         .modality_dropout = 0.2}};
  MultiObjective objective{{{"digit", CrossEntropy{}}, {"even", BCEWithLogits{}}, {"ink", MSE{}}}};
  Adam optimizer{parameters(model), {.lr = 3e-3}};

  Loader<float> loader{train, {.batch = 32}, rng};
  std::uint64_t step = 0;
  for (Index epoch = 0; epoch < 30; ++epoch) {
    double sums[3] = {};
    for (const auto& batch : loader.epoch(epoch)) {
      Pass pass{rng, step++};
      const auto losses = objective(model(batch.inputs, pass), batch.targets);
      objective.backward(losses);
      optimizer.step();
      for (Index k = 0; k < 3; ++k) sums[k] += losses.value(k) / static_cast<double>(loader.batches());
    }
    if (epoch % 5 == 4)
      std::printf("epoch %2d   digit %.3f   even %.3f   ink %.3f\n", static_cast<int>(epoch) + 1, sums[0], sums[1], sums[2]);
  }

  std::printf("\non %d images not seen in training:\n", static_cast<int>(test.size()));
  report("both halves", model(test.inputs), test.targets);
  report("left half alone", model({{"left", test.inputs["left"]}}), test.targets);
  report("right half alone", model({{"right", test.inputs["right"]}}), test.targets);
}

}  // namespace

int main() {
  try {
    run();
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
