// Does sharing pay? Handwritten digits (1797 images of 8 x 8, see examples/data): two modalities, the left and the right half of
// the image; three tasks, which digit it is, whether it is even, and how much ink it took. One model is trained on all three
// at once, and one on each task alone; all are asked with both halves and with each half missing, over three seeds.
// tolerance: 0.04
// Writes the learning curves to digits.svg, or to the file given as the argument.

#include <espalier/espalier.hpp>
#include <espalier/train/chart.hpp>

#include <cstdio>
#include <ctime>

#include "data_file.hpp"

using namespace espalier;

namespace {

struct Task {
  std::string name;
  Index width;
  TaskLoss<float> loss;
  AnyMetric metric;
};
const std::vector<Task> all_tasks{{"digit", 10, CrossEntropy{}, metrics::Accuracy{}},
                                  {"even", 1, BCEWithLogits{}, metrics::Accuracy{}},
                                  {"ink", 1, MSE{}, metrics::R2{}}};
const std::vector<std::string> views{"both halves", "left half alone", "right half alone"};

Dataset<float> digits() {
  const Table table = read_csv(data_file("digits.csv"));
  const auto half = [&](char first, char last) {  // pixel_<row>_<column>
    return table.matrix(table.names([=](const std::string& n) { return n.starts_with("pixel") && n.back() >= first && n.back() <= last; })) / 16;
  };
  const Tensor<float> left = half('0', '3'), right = half('4', '7');
  const Tensor<Index> digit = table.classes("digit", 10);
  Tensor<Index> even = digit.clone();
  for (Index& d : even.mutate()) d = d % 2 == 0;
  const Tensor<float> ink = mean(left + right, {1}, {.keep_axes = true});
  return {{{"left", left}, {"right", right}}, {{"digit", digit}, {"even", even}, {"ink", ink}}};
}

/// The data without one modality.
Dataset<float> seen_as(const Dataset<float>& data, std::size_t view) {
  if (view == 0) return data;
  const std::string half = view == 1 ? "left" : "right";
  return {{{half, data.inputs[half]}}, data.targets};
}

struct Trained {
  History history;
  std::vector<double> test;  // of each view and task
  double seconds = 0;
  Index parameters = 0;
};

/// Trains one model on some of the tasks and judges it.
Trained train_on(const std::vector<Task>& tasks, const Dataset<float>& train, const Dataset<float>& validation,
                 const Dataset<float>& test, std::uint64_t seed, bool show) {
  Rng rng{seed};
  MultiModalOptions<float> options{.encoders = {{"left", Sequential{Linear{32, 128, rng}, ReLU{}}},
                                                {"right", Sequential{Linear{32, 128, rng}, ReLU{}}}},
                                   .fusion = ConcatFusion{128, 128},
                                   .trunk = Sequential{Linear{256, 128, rng}, ReLU{}},
                                   .modality_dropout = 0.2};
  std::vector<Named<TaskLoss<float>>> losses;
  TaskMetrics measures;
  for (const Task& task : tasks) {
    options.heads.push_back({task.name, Linear{128, task.width, rng}});
    losses.push_back({task.name, task.loss});
    measures.push_back({task.name, {task.metric}});
  }
  MultiModalModel<float> model{options};
  MultiObjective<float> objective{losses};
  AdamW optimizer{parameters(model), {.lr = 3e-3}};
  Trainer trainer{model, objective, optimizer,
                  {.epochs = 120,
                   .seed = seed,
                   .schedule = CosineSchedule{},
                   .early_stopping = {.patience = 40},
                   .metrics = measures,
                   .progress = {.mode = show ? Progress::automatic : Progress::quiet, .stream = stderr}}};
  if (show) std::fprintf(stderr, "%s\n", summary(model, train.inputs).c_str());

  Trained result;
  const std::clock_t start = std::clock();
  result.history = trainer.fit(train, validation);
  result.seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  for (const auto& p : parameters(model)) result.parameters += p.value.size();
  for (std::size_t view = 0; view < views.size(); ++view) {
    const Evaluation found = evaluate(model, objective, seen_as(test, view), {.metrics = measures});
    for (const Task& task : tasks) result.test.push_back(found(task.name, task.metric.name()));
  }
  return result;
}

void run(const std::string& picture) {
  constexpr int seeds = 3;
  const Dataset<float> data = digits();
  double joint[9] = {}, alone[9] = {}, joint_seconds = 0, alone_seconds = 0;  // [view, task]
  Index joint_parameters = 0, alone_parameters = 0;
  for (int seed = 0; seed < seeds; ++seed) {
    Rng rng{static_cast<std::uint64_t>(seed)};
    const auto [rest, test] = split(data, 0.8, rng);
    const auto [train, validation] = split(rest, 0.875, rng);
    // What is predicted as a number is standardised by the training part.
    const Standardise<float> scale(train.targets["ink"]);
    const auto scaled = [&](Dataset<float> part) {
      *part.targets.find("ink") = scale(part.targets["ink"]);
      return part;
    };
    const auto fit = [&](const std::vector<Task>& tasks, bool show) {
      return train_on(tasks, scaled(train), scaled(validation), scaled(test), static_cast<std::uint64_t>(seed), show);
    };
    const Trained together = fit(all_tasks, seed == 0);
    if (seed == 0) save_svg(picture, learning_curves(together.history));
    joint_seconds += together.seconds / seeds;
    joint_parameters = together.parameters;
    for (std::size_t i = 0; i < 9; ++i) joint[i] += together.test[i] / seeds;
    alone_parameters = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      const Trained single = fit({all_tasks[k]}, false);
      alone_seconds += single.seconds / seeds;
      alone_parameters += single.parameters;
      for (std::size_t view = 0; view < 3; ++view) alone[3 * view + k] += single.test[view] / seeds;
    }
  }

  std::printf("on images not seen in training, mean of %d seeds      digit accuracy   even accuracy   ink R2\n", seeds);
  for (std::size_t view = 0; view < 3; ++view) {
    const double *j = joint + 3 * view, *a = alone + 3 * view;
    std::printf("%-18s one model for all three tasks          %.3f           %.3f    %.3f\n", views[view].c_str(), j[0], j[1], j[2]);
    std::printf("%-18s a model for each task                  %.3f           %.3f    %.3f\n", "", a[0], a[1], a[2]);
  }
  std::printf("\nparameters: %d for the joint model, %d for the three single ones\n", static_cast<int>(joint_parameters),
              static_cast<int>(alone_parameters));
  std::printf("training: %.1fs against %.1fs (seconds of processor time a seed)\nlearning curves: %s\n", joint_seconds,
              alone_seconds, picture.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const std::string picture = argc > 1 ? argv[1] : "digits.svg";
    if (argc > 2 || picture.starts_with('-')) fail("01_digits: takes one argument at most, the file for the learning curves");
    check_replaceable(picture);  // before there is any work to lose
    run(picture);
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
