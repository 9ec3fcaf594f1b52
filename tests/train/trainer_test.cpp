#include "espalier/train/trainer.hpp"

#include "io/scratch.hpp"
#include "support/catch.hpp"

using namespace espalier;

namespace {

const ProgressOptions quiet{.mode = Progress::quiet};

/// 60 rows, two inputs with holes, a class and a number with missing labels.
Dataset<float> data(std::uint64_t seed, Index rows = 60) {
  Rng rng{seed};
  const Tensor<float> a = Tensor<float>::normal({rows, 3}, rng), b = Tensor<float>::normal({rows, 2}, rng);
  Tensor<bool> present = Tensor<bool>::full({rows}, true);
  Tensor<Index> classes = Tensor<Index>::zeros({rows});
  Tensor<float> weight = Tensor<float>::ones({rows}), y = Tensor<float>::zeros({rows, 1});
  for (Index i = 0; i < rows; ++i) {
    classes.raw()[i] = a(i, 0) + b(i, 1) > 0;
    y.raw()[i] = a(i, 1) - b(i, 0);
    present.raw()[i] = i % 7 != 0;
    weight.raw()[i] = i % 5 != 0;
  }
  return {{{"a", a}, {"b", {b, present}}}, {{"sign", {classes, weight}}, {"sum", y}}};
}

/// Everything of a run.
struct Setup {
  Rng rng{1};
  MultiModalModel<float> model{{.encoders = {{"a", Sequential{Linear{3, 8, rng}, BatchNorm1d{8}, ReLU{}, Dropout{0.2}}},
                                             {"b", Sequential{Linear{2, 8, rng}, ReLU{}}}},
                                .fusion = GatedFusion{8, rng},
                                .trunk = Sequential{Linear{8, 8, rng}, ReLU{}},
                                .heads = {{"sign", Linear{8, 2, rng}}, {"sum", Linear{8, 1, rng}}},
                                .modality_dropout = 0.1}};
  MultiObjective<float> objective{{{"sign", CrossEntropy{}}, {"sum", MSE{}}}, UncertaintyWeighting{}};
  Adam<float> optimizer{parameters(model), {.lr = 1e-2}};
};

std::vector<float> weights(Setup& setup) {
  std::vector<float> all;
  detail::each_tensor(setup.model, [&](const std::string&, auto& tensor) {
    for (auto v : tensor.values()) all.push_back(static_cast<float>(v));
  });
  return all;
}

struct Interrupted {};

struct Counter {
  Index* steps;
  Index* epochs;
  Index seen = 0;
  void step(const StepEvent& e) {
    ++*steps;
    ++seen;
    CHECK(e.lr == 0.01);
    CHECK(e.losses[1].name == "sum");
  }
  bool epoch(const EpochEvent& e) {
    ++*epochs;
    CHECK(e.history.rows() == e.epoch + 1);
    return e.epoch < 2;
  }
  void fields(auto&& visit) { visit("seen", seen); }
};

/// A callback that throws at the given step, counted over epochs of `batches`.
auto interrupt_at(Index step, Index batches) {
  return [=](const StepEvent& e) {
    if (e.epoch * batches + e.batch == step) throw Interrupted{};
  };
}

}  // namespace

TEST_CASE("the trainer takes the very steps of the explicit loop", "[fast]") {
  const Dataset<float> train = data(2);
  Setup trained, looped;
  Trainer trainer{trained.model, trained.objective, trained.optimizer,
                  {.epochs = 3, .batch = 16, .seed = 5, .clip_norm = 1, .progress = quiet}};
  const History& history = trainer.fit(train);

  const Rng rng{5};
  Loader<float> loader{train, {.batch = 16}, rng};
  double last = 0, rows = 0;
  for (Index epoch = 0; epoch < 3; ++epoch) {
    last = rows = 0;
    for (const auto& batch : loader.epoch(epoch)) {
      Pass pass{rng, loader.step()};
      const auto losses = looped.objective(looped.model(batch.inputs, pass), batch.targets);
      looped.objective.backward(losses);
      clip_grad_norm(looped.optimizer.parameters(), 1);
      looped.optimizer.step();
      last += losses["sign"] * losses.weight(0);
      rows += losses.weight(0);
    }
  }
  CHECK(weights(trained) == weights(looped));
  REQUIRE(history.rows() == 3);
  CHECK(history["train/sign/loss"][2] == last / rows);
  CHECK(history["train/loss"][2] == history["train/sign/loss"][2] + history["train/sum/loss"][2]);
  CHECK(std::isnan(history["validation/loss"][2]));
  CHECK(history["epoch"][2] == 3);
  CHECK(trainer.finished());
  CHECK(trainer.ending() == "all epochs are done");
}

TEST_CASE("a resumed run is the uninterrupted one, at every step of two epochs", "[fast]") {
  const Scratch scratch;
  const std::string file = scratch("run.safetensors");
  const Dataset<float> train = data(2), validation = data(3, 20);
  constexpr Index batches = 4;
  const auto options = [&](std::vector<Callback> callbacks) {
    return TrainerOptions{.epochs = 2,
                          .batch = 16,
                          .schedule = WarmUp{.epochs = 1, .then = PlateauSchedule{.patience = 0}, .start = 0.1},
                          .early_stopping = {.patience = 2},
                          .checkpoint = {.last = file, .steps = 1},
                          .progress = quiet,
                          .callbacks = std::move(callbacks)};
  };
  Setup whole;
  Trainer uninterrupted{whole.model, whole.objective, whole.optimizer, options({interrupt_at(-1, batches)})};
  uninterrupted.fit(train, validation);
  for (Index step = 1; step < 2 * batches; ++step) {
    Setup first, second;
    Trainer one{first.model, first.objective, first.optimizer, options({interrupt_at(step, batches)})};
    REQUIRE_THROWS_AS(one.fit(train, validation), Interrupted);
    second.rng = Rng{99};  // what the program draws at its start does not matter
    for (float& w : const_cast<Tensor<float>&>(second.optimizer.parameters().at(0).value).mutate()) w = 7;
    Trainer two{second.model, second.objective, second.optimizer, options({interrupt_at(-1, batches)})};
    two.resume(file);
    two.fit(train, validation);
    INFO("interrupted at step " << step);
    CHECK(weights(second) == weights(whole));
    for (const std::string& column : two.history().columns()) {
      if (column == "seconds") continue;
      for (std::size_t row = 0; row < 2; ++row) {
        const double a = two.history()[column][row], b = uninterrupted.history()[column][row];
        CHECK((a == b || (std::isnan(a) && std::isnan(b))));
      }
    }
  }
}

TEST_CASE("a run that is over goes on with more epochs as if it had been longer, and keeps its best values otherwise", "[fast]") {
  const Scratch scratch;
  const std::string file = scratch("run.safetensors");
  const Dataset<float> train = data(2), validation = data(3, 20);
  const auto options = [&](Index epochs) {
    return TrainerOptions{
        .epochs = epochs, .batch = 16, .early_stopping = {.patience = 50}, .checkpoint = {.last = file}, .progress = quiet};
  };
  Setup longer, shorter, extended, same;
  Trainer whole{longer.model, longer.objective, longer.optimizer, options(5)};
  whole.fit(train, validation);
  Trainer first{shorter.model, shorter.objective, shorter.optimizer, options(3)};
  first.fit(train, validation);
  Trainer over{same.model, same.objective, same.optimizer, options(3)};
  over.resume(file);
  CHECK(over.finished());
  CHECK(weights(same) == weights(shorter));
  CHECK(over.ending() == "all epochs are done");
  CHECK_THROWS_WITH(over.fit(train, validation),
                    "Trainer: all 3 epochs are done; ask finished() before fit, give it more with extend(epochs), or make a new Trainer");
  Trainer second{extended.model, extended.objective, extended.optimizer, options(5)};
  second.resume(file);
  CHECK_FALSE(second.finished());
  second.fit(train, validation);
  CHECK(weights(extended) == weights(longer));
  CHECK(second.history().rows() == 5);

  // What is saved by hand when the best values are in the model serves as well, and so does a longer run of the same Trainer.
  Setup by_hand;
  first.save(file);
  Trainer third{by_hand.model, by_hand.objective, by_hand.optimizer, options(5)};
  third.resume(file);
  CHECK(weights(by_hand) == weights(shorter));
  third.fit(train, validation);
  CHECK(weights(by_hand) == weights(longer));
  first.extend(2);
  first.fit(train, validation);
  CHECK(weights(shorter) == weights(longer));
}

TEST_CASE("a run that a callback interrupts, by false or by an exception, goes on where it was", "[fast]") {
  const Dataset<float> train = data(2), validation = data(3, 20);
  const auto options = [](Callback callback) {
    return TrainerOptions{.epochs = 3, .batch = 16, .schedule = PlateauSchedule{.patience = 0},
                          .early_stopping = {.patience = 9}, .progress = quiet, .callbacks = {std::move(callback)}};
  };
  Setup whole;
  Trainer uninterrupted{whole.model, whole.objective, whole.optimizer, options([](const StepEvent&) {})};
  uninterrupted.fit(train, validation);
  Setup thrown, stopped, after;
  bool once = true;
  Trainer one{thrown.model, thrown.objective, thrown.optimizer, options([&](const StepEvent& e) {
                if (e.epoch == 1 && e.batch == 2 && std::exchange(once, false)) throw Interrupted{};
              })};
  CHECK_THROWS_AS(one.fit(train, validation), Interrupted);
  one.fit(train, validation);
  CHECK(weights(thrown) == weights(whole));
  bool again = true;
  Trainer two{stopped.model, stopped.objective, stopped.optimizer,
              options([&](const StepEvent& e) { return e.epoch != 1 || !std::exchange(again, false); })};
  two.fit(train, validation);
  CHECK(two.ending() == "a callback ended it");
  CHECK_FALSE(two.finished());
  two.fit(train, validation);
  CHECK(weights(stopped) == weights(whole));
  bool epoch = true;
  Trainer three{after.model, after.objective, after.optimizer, options([&](const EpochEvent&) {
                  if (std::exchange(epoch, false)) throw Interrupted{};
                })};
  CHECK_THROWS_AS(three.fit(train, validation), Interrupted);
  three.fit(train, validation);
  CHECK(weights(after) == weights(whole));
  CHECK(three.history().rows() == 3);
}

TEST_CASE("in the middle of an epoch the data must be what it was, and a run has one measure", "[fast]") {
  const Scratch scratch;
  const std::string file = scratch("run.safetensors");
  CHECK_FALSE([&] {
    Setup setup;
    return Trainer{setup.model, setup.objective, setup.optimizer, {.progress = quiet}}.resume(file, {.if_exists = true});
  }());
  Setup setup;
  const auto stop = [](const StepEvent& e) { return e.batch != 1; };
  Trainer trainer{setup.model, setup.objective, setup.optimizer,
                  {.batch = 16, .checkpoint = {.last = file}, .progress = quiet, .callbacks = {stop}}};
  trainer.fit(data(2));
  Trainer other{setup.model, setup.objective, setup.optimizer,
                {.batch = 8, .shuffle = false, .progress = quiet, .callbacks = {stop}}};
  CHECK(other.resume(file, {.if_exists = true}));
  CHECK_THROWS_WITH(other.fit(data(2, 50)),
                    "Trainer: the run is in the middle of an epoch of 60 rows in batches of 16, shuffled; the data now is 50 rows "
                    "in batches of 8; they must be the same");
  CHECK_THROWS_WITH(trainer.fit(data(2), data(3, 20)),
                    "Trainer: the run was judged by train/loss so far, and would be by validation/loss now; a run has one measure");
}

TEST_CASE("the optimizer has its own learning rate back after the run", "[fast]") {
  Setup setup;
  Trainer trainer{setup.model, setup.objective, setup.optimizer,
                  {.epochs = 2, .schedule = CosineSchedule{}, .progress = quiet}};
  trainer.fit(data(2));
  CHECK(setup.optimizer.lr() == 0.01);
}

TEST_CASE("data without a label has no loss, and no epoch of it is the best", "[fast]") {
  Dataset<float> validation = data(3, 20);
  for (auto& [name, target] : validation.targets) target.weight = Tensor<float>::zeros({20});
  Setup setup;
  Trainer trainer{setup.model, setup.objective, setup.optimizer, {.epochs = 2, .early_stopping = {.patience = 5}, .progress = quiet}};
  trainer.fit(data(2), validation);
  CHECK(std::isnan(trainer.history()["validation/loss"][1]));
  CHECK(trainer.ending() == "all epochs are done, but validation/loss was nan after all 2 epochs, as validation/sign/loss, "
                            "validation/sum/loss were: none is the best");
  CHECK_THROWS_WITH(trainer.extend(0), "Trainer: extend by 0 epochs; it must be at least 1");
}

TEST_CASE("data without rows is refused by name", "[fast]") {
  const Dataset<float> none = data(2).rows({});
  Setup setup;
  Trainer trainer{setup.model, setup.objective, setup.optimizer, {.progress = quiet}};
  CHECK_THROWS_WITH(trainer.fit(none), "Trainer: the training data has no rows; there must be at least 1");
  CHECK_THROWS_WITH(trainer.fit(data(2), none), "Trainer: the validation data has no rows; there must be at least 1, or none be given");
  CHECK_THROWS_WITH(evaluate(setup.model, setup.objective, none), "evaluate: the data has no rows; there must be at least 1");
}

TEST_CASE("early stopping ends the run and puts the best epoch's values back", "[fast]") {
  const Dataset<float> train = data(2), validation = data(3, 20);
  Setup setup;
  std::vector<std::vector<float>> after;  // each epoch
  Trainer trainer{setup.model, setup.objective, setup.optimizer,
                  {.epochs = 200,
                   .batch = 16,
                   .monitor = "validation/sign/accuracy",
                   .early_stopping = {.patience = 3},
                   .progress = quiet,
                   .callbacks = {[&](const EpochEvent&) { after.push_back(weights(setup)); }}}};
  const History& history = trainer.fit(train, validation);
  const Index best = history.best("validation/sign/accuracy", true);
  REQUIRE(history.rows() < 200);
  CHECK(history.rows() == best + 4);
  CHECK(weights(setup) == after[static_cast<std::size_t>(best)]);
  CHECK(trainer.ending() == "no better validation/sign/accuracy for 3 epochs");
  CHECK(evaluate(setup.model, setup.objective, validation)("sign", "accuracy") ==
        history["validation/sign/accuracy"][static_cast<std::size_t>(best)]);
  CHECK_THROWS_WITH(trainer.fit(train, validation),
                    "Trainer: early stopping has ended the run (no better validation/sign/accuracy for 3 epochs); give it more "
                    "patience when it is resumed, or make a new Trainer");
}

TEST_CASE("callbacks see every step and epoch, keep their state, and can end the run", "[fast]") {
  Index steps = 0, epochs = 0;
  Setup setup;
  Trainer trainer{setup.model, setup.objective, setup.optimizer,
                  {.epochs = 9, .batch = 16, .progress = quiet, .callbacks = {Counter{&steps, &epochs}}}};
  trainer.fit(data(2));
  CHECK(steps == 12);
  CHECK(epochs == 3);
  CHECK(trainer.ending() == "a callback ended it");
}

TEST_CASE("a loss that is not finite ends fit by an error, changes nothing, and training can go on", "[fast]") {
  Dataset<float> poisoned = data(2);
  poisoned.targets.find("sum")->value.mutate()[33] = std::numeric_limits<float>::infinity();
  Setup setup;
  const std::vector<float> before = weights(setup);
  Trainer trainer{setup.model, setup.objective, setup.optimizer, {.epochs = 1, .batch = 60, .progress = quiet}};
  CHECK_THROWS_WITH(trainer.fit(poisoned), "objective: the loss of task 'sum' is infinite; nothing was updated. Look at the "
                                           "inputs, the labels and the learning rate");
  CHECK(weights(setup) == before);
  CHECK_FALSE(trainer.finished());
  trainer.fit(data(2));
  CHECK(weights(setup) != before);
}

TEST_CASE("the learning rate follows the schedule before every step", "[fast]") {
  std::vector<double> rates;
  Setup setup;
  Trainer trainer{setup.model, setup.objective, setup.optimizer,
                  {.epochs = 2, .batch = 30, .schedule = CosineSchedule{}, .progress = quiet,
                   .callbacks = {[&](const StepEvent& e) { rates.push_back(e.lr); }}}};
  trainer.fit(data(2));
  REQUIRE(rates.size() == 4);
  for (std::size_t i = 0; i < 4; ++i)
    CHECK(rates[i] == Approx(0.01 * 0.5 * (1 + std::cos(3.14159265358979 * static_cast<double>(i) / 4))).margin(1e-15));
}

TEST_CASE("the best weights are written for load_weights", "[fast]") {
  const Scratch scratch;
  Setup setup, loaded;
  Trainer trainer{setup.model, setup.objective, setup.optimizer,
                  {.epochs = 5, .batch = 16, .early_stopping = {.patience = 5},
                   .checkpoint = {.best = scratch("best.safetensors")}, .progress = quiet}};
  trainer.fit(data(2), data(3, 20));
  load_weights(scratch("best.safetensors"), loaded.model);
  CHECK(weights(loaded) == weights(setup));
}

TEST_CASE("options that make no sense are refused", "[fast]") {
  const auto refused = [](TrainerOptions options, const std::string& text) {
    options.progress = quiet;
    Setup setup;
    CHECK_THROWS_WITH((Trainer{setup.model, setup.objective, setup.optimizer, options}), text);
  };
  refused({.epochs = 0}, "Trainer: epochs is 0; it must be at least 1");
  refused({.batch = 0}, "Trainer: batch is 0; it must be at least 1");
  refused({.clip_norm = 0}, "Trainer: clip_norm is 0; it must be above 0");
  refused({.early_stopping = {.patience = -1}}, "Trainer: early_stopping.patience is -1; it must not be negative");
  refused({.early_stopping = {.min_delta = -1}}, "Trainer: early_stopping.min_delta is -1; it must not be negative");
  refused({.checkpoint = {.steps = 2}}, "Trainer: checkpoint.steps is 2, but checkpoint.last names no file");
  refused({.monitor = "validation/sign/acc"},
          "Trainer: monitor is 'validation/sign/acc', which is no loss or metric of this run; it can be: train/loss, "
          "train/sign/loss, train/sum/loss, validation/loss, validation/sign/loss, validation/sign/accuracy, "
          "validation/sign/f1_macro, validation/sum/loss, validation/sum/rmse, validation/sum/r2; did you mean "
          "'validation/sign/accuracy'?");
  refused({.monitor = "lr", .metrics = {{"sign", {}}, {"sum", {}}}},
          "Trainer: monitor is 'lr', which is no loss or metric of this run; it can be: train/loss, train/sign/loss, "
          "train/sum/loss, validation/loss, validation/sign/loss, validation/sum/loss");
  refused({.metrics = {{"digit", {metrics::Accuracy{}}}}}, "metrics: unknown task 'digit'; known: sign, sum");
  refused({.metrics = {{"sing", {metrics::Accuracy{}}}}}, "metrics: unknown task 'sing'; known: sign, sum; did you mean 'sign'?");
  refused({.metrics = {{"sum", {metrics::R2{}}}, {"sign", {}}, {"sum", {metrics::MAE{}}}}},
          "metrics: task 'sum' is listed twice; list all of its metrics at once");
  refused({.metrics = {{"sum", {metrics::R2{}, metrics::MAE{}, metrics::R2{}}}}},
          "metrics: task 'sum' has 'r2' twice; its metrics must differ in name, and 'loss' is its loss");
  Setup setup;
  Trainer trainer{setup.model, setup.objective, setup.optimizer, {.monitor = "validation/loss", .progress = quiet}};
  CHECK_THROWS_WITH(trainer.fit(data(2)), "Trainer: monitor is 'validation/loss', but fit was given no validation data");
}

TEST_CASE("what would be lost after hours is refused at once", "[fast]") {
  const Scratch scratch;
  Setup setup, another;
  const auto with = [&](CheckpointOptions files) {
    Trainer trainer{setup.model, setup.objective, setup.optimizer, {.checkpoint = files, .progress = quiet}};
  };
  CHECK_THROWS_WITH(with({.last = scratch("a"), .best = scratch("a")}),
                    "Trainer: checkpoint.last and checkpoint.best are one file, " + scratch("a") + "; name two");
  CHECK_THROWS_AS(with({.last = scratch("no/folder")}), FileError);
  CHECK_THROWS_AS(with({.best = scratch.folder()}), FileError);
  CHECK_THROWS_WITH((Trainer{another.model, setup.objective, setup.optimizer, {.progress = quiet}}),
                    "Trainer: the optimizer has no parameter of the model; make it with parameters(model), of this very model");
}

TEST_CASE("early stopping without a value to judge by says so, and goes on when it is resumed with more patience", "[fast]") {
  const Scratch scratch;
  const std::string file = scratch("run.safetensors");
  Dataset<float> validation = data(3, 20);
  validation.targets.find("sum")->value.mutate()[7] = std::numeric_limits<float>::quiet_NaN();
  const auto options = [&](Index patience, std::string monitor = "") {
    return TrainerOptions{.epochs = 50, .monitor = std::move(monitor), .early_stopping = {.patience = patience},
                          .checkpoint = {.last = file}, .metrics = {{"sum", {}}}, .progress = quiet};
  };
  Setup setup, more, one_task;
  Trainer trainer{setup.model, setup.objective, setup.optimizer, options(3)};
  const std::string text =
      "Trainer: validation/loss was nan after all 3 epochs, as validation/sum/loss was; early stopping needs a value to judge by, "
      "and neither data without labels nor a nan among the inputs gives one; look at the data, or set another .monitor";
  CHECK_THROWS_WITH(trainer.fit(data(2), validation), text);
  CHECK_THROWS_WITH(trainer.fit(data(2), validation), text);
  CHECK(trainer.ending().empty());
  Trainer second{more.model, more.objective, more.optimizer, options(5)};
  second.resume(file);
  second.fit(data(2), data(3, 20));
  CHECK(second.history().rows() > 5);
  CHECK(second.ending().starts_with("no better") == (second.history().rows() < 50));
  // A measure that has values serves.
  Trainer third{one_task.model, one_task.objective, one_task.optimizer, options(3, "validation/sign/accuracy")};
  third.fit(data(2), validation);
  CHECK(third.ending() == "no better validation/sign/accuracy for 3 epochs");
}

TEST_CASE("a run does not go on under other options, and the message is about these", "[fast]") {
  const Scratch scratch;
  const std::string file = scratch("run.safetensors");
  const auto resume = [&](TrainerOptions options, ResumeOptions how = {}) {
    options.progress = quiet;
    Setup setup;
    Trainer trainer{setup.model, setup.objective, setup.optimizer, std::move(options)};
    trainer.resume(file, how);
    if (!trainer.finished()) trainer.fit(data(2), data(3, 20));
    return trainer.history()["lr"].back();
  };
  Setup setup;
  Trainer trainer{setup.model, setup.objective, setup.optimizer,
                  {.epochs = 2, .schedule = StepSchedule{.every = 1}, .early_stopping = {.patience = 5}, .checkpoint = {.last = file},
                   .progress = quiet}};
  trainer.fit(data(2), data(3, 20));
  const std::string begin = "Trainer: the run in " + file + " has other options: ", end = "; it goes on with its own";
  const StepSchedule same{.every = 1};
  CHECK_THROWS_WITH(resume({.schedule = same}), begin + "early stopping with restore_best is on there, off here" + end);
  CHECK_THROWS_WITH(resume({.schedule = same, .early_stopping = {.patience = 5, .restore_best = false}}),
                    begin + "early stopping with restore_best is on there, off here" + end);
  CHECK_THROWS_WITH(resume({.schedule = same, .monitor = "train/loss", .early_stopping = {.patience = 5}}),
                    begin + "the monitor is validation/loss there, train/loss here" + end);
  const std::string other = "the schedule is StepSchedule{.every = 1, .gamma = 0.1} there, ",
                    way = "; resume(path, {.other_schedule = true}) changes the schedule";
  CHECK_THROWS_WITH(resume({.early_stopping = {.patience = 5}}), begin + other + "ConstantSchedule{} here" + end + way);
  CHECK_THROWS_WITH(resume({.schedule = StepSchedule{.every = 2}, .early_stopping = {.patience = 5}}),
                    begin + other + "StepSchedule{.every = 2, .gamma = 0.1} here" + end + way);
  CHECK_THROWS_WITH(resume({.schedule = WarmUp{.then = PlateauSchedule{}}, .monitor = "train/loss"}),
                    begin + "early stopping with restore_best is on there, off here, the monitor is validation/loss there, train/loss "
                            "here, " + other + "WarmUp{.epochs = 1, .then = PlateauSchedule{.gamma = 0.1, .patience = 10, .threshold "
                            "= 0.0001, .cooldown = 0, .floor = 0}, .start = 0} here" + end + way);
  struct Mine {  // describes nothing: its type is all that is noticed
    double factor(double, double) const { return 1; }
  };
  CHECK_THROWS_WITH(resume({.schedule = Mine{}, .early_stopping = {.patience = 5}}),
                    begin + other + "Mine, which describes no options here" + end + way);
  const auto resume_with = [&](Combiner method, bool diagnosed) {
    Setup mine;
    MultiObjective<float> objective{{{"sum", MSE{}}, {"sign", CrossEntropy{}}}, std::move(method)};
    if (diagnosed) objective.diagnose();
    Trainer again{mine.model, objective, mine.optimizer, {.schedule = same, .early_stopping = {.patience = 5}, .progress = quiet}};
    again.resume(file);
  };
  CHECK_THROWS_WITH(resume_with(MGDA{}, false), begin + "the objective's method is " + std::string(setup.objective.method_name()) +
                                                    " there, mgda here" + end);
  CHECK_THROWS_WITH(resume_with(Combiner(), true), Catch::Contains("objective.diagnose() is off there, on here"));
  // What may be another: the length, patience and min_delta; and the schedule, where that is asked for, with its state or without.
  CHECK(resume({.epochs = 3, .schedule = same, .early_stopping = {.patience = 1, .min_delta = 1e-9}}) == Approx(1e-4));
  CHECK(resume({.epochs = 3, .schedule = PlateauSchedule{}, .early_stopping = {.patience = 5}}, {.other_schedule = true}) == 0.01);
}

TEST_CASE("early stopping on the mean of a measure over the tasks that have it", "[fast]") {
  const auto run = [](TrainerOptions options) {
    Setup setup;
    options.epochs = 12;
    options.progress = quiet;
    options.metrics = {{"sign", {metrics::Accuracy{}}}, {"sum", {metrics::R2{}, metrics::RMSE{}}}};
    Trainer trainer{setup.model, setup.objective, setup.optimizer, options};
    return History(trainer.fit(data(2), data(3, 40)));
  };
  const History losses = run({.monitor = "validation/*/loss", .early_stopping = {.patience = 4}});
  for (Index e = 0; e < losses.rows(); ++e) {
    const auto i = static_cast<std::size_t>(e);
    CHECK(losses["validation/*/loss"][i] == Approx((losses["validation/sign/loss"][i] + losses["validation/sum/loss"][i]) / 2));
  }
  // A measure that one task has: the run is the one that looks at it, upwards.
  const History both = run({.monitor = "validation/*/r2", .early_stopping = {.patience = 1}}),
                alone = run({.monitor = "validation/sum/r2", .early_stopping = {.patience = 1}});
  CHECK(both.rows() == alone.rows());
  CHECK(std::ranges::equal(both["validation/*/r2"], alone["validation/sum/r2"]));
  CHECK(both["validation/*/r2"].back() > both["validation/*/r2"][0]);
  CHECK_FALSE(alone.has("validation/*/r2"));
  CHECK_THROWS_WITH(run({.monitor = "validation/*/auroc"}),
                    Catch::Contains("Trainer: monitor is 'validation/*/auroc', which is no loss or metric of this run; it can be: train/loss, "));
  CHECK_THROWS_WITH(run({.monitor = "*/loss"}), Catch::Contains("which is no loss or metric of this run"));
}

TEST_CASE("a group of parameters that the model does not have, or does not share, is refused", "[fast]") {
  Setup setup;
  const auto make = [&](std::vector<std::string> groups) {
    MultiObjective<float> objective{{{"sign", CrossEntropy{}}, {"sum", MSE{}}}, UPGrad{}, {.groups = std::move(groups)}};
    Trainer trainer{setup.model, objective, setup.optimizer, {.epochs = 1, .progress = quiet}};
    trainer.fit(data(2));
  };
  CHECK_NOTHROW(make({"trunk.0", "encoders", "encoders.b", "fusion.gate.weight"}));
  CHECK_THROWS_WITH(make({"trunk.9"}), Catch::Contains("Trainer: the objective's group 'trunk.9' has no parameter of this model that tasks "
                                                       "share; shared are: encoders, encoders.a, encoders.a.0, encoders.a.0.weight, ") &&
                                           Catch::EndsWith("; did you mean 'trunk.0'?"));
  CHECK_THROWS_WITH(make({"heads.sign"}), Catch::Contains("the objective's group 'heads.sign' has no parameter"));
}

TEST_CASE("what is wrong with a sample is said of its row in the data, wherever the shuffled batch has it", "[fast]") {
  Dataset<float> train = data(2), validation = data(3, 300);
  const auto fit = [&](Index batch) {
    Setup setup;
    Trainer trainer{setup.model, setup.objective, setup.optimizer, {.epochs = 1, .batch = batch, .seed = 7, .progress = quiet}};
    trainer.fit(train, validation);
  };
  train.targets.find("sign")->classes.mutate()[41] = 7;
  for (Index batch : {1, 16, 60})
    CHECK_THROWS_WITH(fit(batch), "cross_entropy: task 'sign': row 41 of the training data has class 7; classes must lie in [0, 1]");
  train.targets.find("sign")->classes.mutate()[41] = 1;
  train.targets.find("sign")->weight.mutate()[58] = -1;
  CHECK_THROWS_WITH(fit(16), "cross_entropy: task 'sign': the weight of row 58 of the training data is -1; weights are finite and not "
                             "negative");
  train.targets.find("sign")->weight.mutate()[58] = 1;
  validation.targets.find("sum")->value.mutate()[299] = std::numeric_limits<float>::infinity();
  CHECK_THROWS_WITH(fit(16), "metrics: task 'sum': the value of row 299 of the validation data is inf; values are finite where the "
                             "weight is above 0");
  Setup setup;
  CHECK_THROWS_WITH(evaluate(setup.model, setup.objective, validation),
                    "metrics: task 'sum': the value of row 299 of the data is inf; values are finite where the weight is above 0");
}

TEST_CASE("a task whose validation loss is NaN makes no epoch the best", "[fast]") {
  Dataset<float> validation = data(3, 20);
  validation.inputs.find("a")->values.mutate()[0] = std::numeric_limits<float>::quiet_NaN();
  Setup setup;
  const Evaluation found = evaluate(setup.model, setup.objective, validation, {.metrics = {{"sign", {}}, {"sum", {}}}});
  CHECK(std::isnan(found.loss()));
}
