// Missing modalities and missing labels: of handwritten digits the left and the right half are seen, and either may be
// absent, in some rows or altogether. Modality dropout hides halves in training, so that the model learns to do
// without; GatedFusion weighs what is there. What lies behind a mask is never read: here it is NaN.
// tolerance: 0.03

#include <espalier/espalier.hpp>

#include <cmath>
#include <cstdio>

#include "data_file.hpp"

using namespace espalier;

namespace {

Dataset<float> digits() {
  const Table table = read_csv(data_file("digits.csv"));  // pixel_<row>_<column>, 0 to 16
  const auto left = table.names([](const auto& name) { return name.starts_with("pixel_") && name.back() < '4'; });
  const auto right = table.names([](const auto& name) { return name.starts_with("pixel_") && name.back() >= '4'; });
  return {{{"left", table.matrix(left) / 16}, {"right", table.matrix(right) / 16}},
          {{"digit", table.classes("digit", 10)}}};
}

/// The input in the rows where `present` [rows] says so.
Input<float> only_where(const Tensor<bool>& present, const Input<float>& input) {
  const auto column = reshape(present, {present.size(), 1});
  return {where(column, input.values, Tensor<float>::scalar(NAN)), present};
}

}  // namespace

int main() try {
  Rng rng{0};
  auto [train, test] = split(digits(), 0.8, rng);

  // Three labels in ten are missing: their weight is 0, whatever class stands there.
  const auto draw = Tensor<float>::uniform({train.size()}, 0, 1, rng);
  train.targets = {{"digit", {train.targets["digit"].classes, draw < 0.7f}}};

  // The test images with both halves, with one alone, and with three in ten lacking the one or the other.
  const Input<float>&left = test.inputs["left"], &right = test.inputs["right"];
  const auto u = Tensor<float>::uniform({test.size()}, 0, 1, rng);
  const Inputs<float> views[] = {
      {{"left", left}, {"right", right}},
      {{"left", left}},
      {{"right", right}},
      {{"left", only_where(u > 0.15f, left)}, {"right", only_where(u < 0.85f, right)}}};

  std::printf("accuracy                both halves    left alone   right alone   some lack one\n");
  for (double dropout : {0.0, 0.3}) {
    MultiModalModel model{{.encoders = {{"left", Linear{32, 64, rng}}, {"right", Linear{32, 64, rng}}},
                           .fusion = GatedFusion{64, rng},
                           .trunk = Sequential{Linear{64, 64, rng}, ReLU{}},
                           .heads = {{"digit", Linear{64, 10, rng}}},
                           .modality_dropout = dropout}};
    MultiObjective objective{{{"digit", CrossEntropy{}}}};
    Adam optimizer{parameters(model), {.lr = 3e-3}};
    Trainer trainer{model, objective, optimizer, {.epochs = 30, .progress = {.mode = Progress::quiet}}};
    trainer.fit(train);

    std::printf("modality dropout %.1f", dropout);
    for (const auto& inputs : views) {
      const Evaluation result = evaluate(model, objective, Dataset{inputs, test.targets});
      std::printf("  %12.3f", result("digit", "accuracy"));
    }
    std::printf("\n");
  }
} catch (const Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
