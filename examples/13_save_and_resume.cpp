// Save and resume: a run that is cut off, and goes on in another program from one file, ends with the very bits of a
// run that was not. For inference the weights are enough.

#include <espalier/espalier.hpp>

#include <algorithm>
#include <cstdio>
#include <stdexcept>

using namespace espalier;

namespace {

MultiTaskModel<float> make_model() {
  Rng rng{0};
  return MultiTaskModel{{.trunk = Sequential{Linear{4, 32, rng}, ReLU{}, Dropout{0.1}},
                         .heads = {{"sum", Linear{32, 1, rng}}, {"norm", Linear{32, 1, rng}}}}};
}

/// All that a run consists of.
struct Run {
  TrainerOptions options;
  MultiTaskModel<float> model = make_model();
  MultiObjective<float> objective{{{"sum", MSE{}}, {"norm", MSE{}}}, UncertaintyWeighting{}};
  Adam<float> optimizer{parameters(model), {.lr = 3e-3}};
  Trainer<float> trainer{model, objective, optimizer, options};
};

bool same_bits(MultiTaskModel<float>& a, MultiTaskModel<float>& b) {
  const auto ours = parameters(a), theirs = parameters(b);
  return std::equal(ours.begin(), ours.end(), theirs.begin(), theirs.end(), [](const auto& p, const auto& q) {
    return std::ranges::equal(p.value.values(), q.value.values());
  });
}

}  // namespace

int main() try {
  Rng rng{1};
  const auto x = Tensor<float>::normal({500, 4}, rng);
  const Dataset data{{{"x", x}}, {{"sum", sum(x, {1})}, {"norm", sum(x * x, {1})}}};
  TrainerOptions options{.epochs = 6, .schedule = CosineSchedule{}, .progress = {.mode = Progress::quiet}};

  Run whole{options};
  whole.trainer.fit(data);

  // The whole state goes to a file every 10 steps, and after every epoch. Then something happens.
  options.checkpoint = {.last = "run.safetensors", .steps = 10};
  options.callbacks = {[](const StepEvent& at) {
    if (at.epoch == 3 && at.batch == 14) throw std::runtime_error("power cut in epoch 4, after 15 of 16 batches");
  }};
  Run first{options};
  try {
    first.trainer.fit(data);
  } catch (const std::runtime_error& error) {
    std::printf("%s\n", error.what());
  }

  // In another program: the same objects, made anew, take over from the file.
  options.callbacks.clear();
  Run second{options};
  second.trainer.resume("run.safetensors");
  second.trainer.fit(data);
  std::printf("resumed: the bits of the uninterrupted run? %s\n", same_bits(second.model, whole.model) ? "yes" : "no");

  // And in a program that only predicts.
  save_weights("model.safetensors", second.model);
  auto served = make_model();
  load_weights("model.safetensors", served);
  std::printf("served:  the bits of the uninterrupted run? %s\n", same_bits(served, whole.model) ? "yes" : "no");
} catch (const Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
