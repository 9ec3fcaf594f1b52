// Save and resume: a run that Ctrl-C stops, and that goes on when the program is started again, ends with the very bits of
// a run that was not stopped. For inference the weights are enough.

#include <espalier/espalier.hpp>

#include <algorithm>
#include <csignal>
#include <cstdio>

using namespace espalier;

namespace {

/// Ctrl-C: the step that is being taken is finished, the run is saved, and `fit` returns. A second one ends the program at once,
/// and costs the steps since the last save: a file is never left half written.
volatile std::sig_atomic_t interrupted = 0;
void interrupt(int) {
  interrupted = 1;
  std::signal(SIGINT, SIG_DFL);
}

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

/// What the program does whenever it is started.
void start(Run& run, const Dataset<float>& data) {
  Trainer<float>& trainer = run.trainer;
  if (trainer.resume("run.safetensors", {.if_exists = true}))
    std::printf("goes on after %d epochs\n", static_cast<int>(trainer.history().rows()));
  if (!trainer.finished()) trainer.fit(data);
  std::printf("%s\n", trainer.ending().c_str());
}

}  // namespace

int main() try {
  Rng rng{1};
  const auto x = Tensor<float>::normal({500, 4}, rng);
  const Dataset data{{{"x", x}}, {{"sum", sum(x, {1})}, {"norm", sum(x * x, {1})}}};
  TrainerOptions options{.epochs = 6, .schedule = CosineSchedule{}, .progress = {.mode = Progress::quiet}};

  Run whole{options};
  whole.trainer.fit(data);

  // The whole state goes to a file every 10 steps, and after every epoch. Here somebody presses Ctrl-C in the fourth one.
  std::remove("run.safetensors");
  std::signal(SIGINT, interrupt);
  options.checkpoint = {.last = "run.safetensors", .steps = 10};
  options.callbacks = {[](const StepEvent& at) {
                         if (at.epoch == 3 && at.batch == 14) std::raise(SIGINT);
                       },
                       [](const StepEvent&) { return !interrupted; }};
  Run first{options};
  start(first, data);

  // The program is started again: the same objects, made anew, take over from the file. And once more.
  interrupted = 0;
  options.callbacks = {[](const StepEvent&) { return !interrupted; }};
  Run second{options}, third{options};
  start(second, data);
  std::printf("the bits of the run that was not stopped? %s\n", same_bits(second.model, whole.model) ? "yes" : "no");
  start(third, data);

  // And in a program that only predicts.
  save_weights("model.safetensors", second.model);
  auto served = make_model();
  load_weights("model.safetensors", served);
  std::printf("the same in a program that only predicts?   %s\n", same_bits(served, whole.model) ? "yes" : "no");
} catch (const Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
