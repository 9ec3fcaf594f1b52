// Diagnostics from the record of a step to the picture: multitask/diagnostics.hpp, train/diagnostics_meter.hpp,
// train/diagnostics_chart.hpp, and the Trainer that uses them.
#include "espalier/multitask/diagnostics.hpp"

#include "espalier/espalier.hpp"
#include "espalier/train/diagnostics_chart.hpp"
#include "io/scratch.hpp"
#include "support/catch.hpp"
#include "support/near.hpp"

using namespace espalier;

namespace {

const ProgressOptions quiet{.mode = Progress::quiet};

/// g_0 = (3, 4), g_1 = (-5, 0), g_2 = 0 with weights 1, 2, 1: d = (-7, 4).
ObjectiveRecord record() {
  return {.active = {0, 2, 3}, .weights = {1, 2, 1}, .gramian = {25, -15, 0, -15, 25, 0, 0, 0, 0}, .certificate = {}};
}

Dataset<float> data(Index rows) {
  Rng rng{4};
  const auto x = Tensor<float>::normal({rows, 3}, rng);
  Tensor<float> weight = Tensor<float>::ones({rows});
  for (Index i = 0; i < rows / 4; ++i) weight.raw()[i] = 0;
  return {{{"x", x}}, {{"sum", sum(x, {1}, {.keep_axes = true})}, {"difference", {slice(x, 1, 0, 1) - slice(x, 1, 1, 2), weight}}}};
}

struct Setup {
  Rng rng{1};
  MultiTaskModel<float> model{{.trunk = Sequential{Linear{3, 8, rng}, BatchNorm1d{8}, ReLU{}, Dropout{0.2}},
                               .heads = {{"sum", Linear{8, 1, rng}}, {"difference", Linear{8, 1, rng}}}}};
  MultiObjective<float> objective;
  Adam<float> optimizer{parameters(model), {.lr = 1e-2}};
  explicit Setup(Combiner combiner) : objective({{"sum", MSE{}}, {"difference", MSE{}}}, std::move(combiner)) {}
};

std::vector<float> weights(Setup& setup) {
  std::vector<float> all;
  detail::each_tensor(setup.model, [&](const std::string&, auto& tensor) {
    for (auto v : tensor.values()) all.push_back(static_cast<float>(v));
  });
  return all;
}

bool same_number(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

/// What a reader of the file would see.
std::string text_of(std::FILE* file) {
  std::rewind(file);
  std::string text;
  for (int c; (c = std::fgetc(file)) != EOF;) text += static_cast<char>(c);
  return text;
}

}  // namespace

TEST_CASE("diagnostics of a record", "[fast]") {
  Diagnostics d = diagnostics(record());
  CHECK(d.active == std::vector<Index>{0, 2, 3});
  CHECK(d.weights == std::vector<double>{1, 2, 1});
  CHECK(d.norms == std::vector<double>{5, 5, 0});
  CHECK(d.cosines == std::vector<double>{1, -0.6, 0, -0.6, 1, 0, 0, 0, 1});
  CHECK(d.descent == std::vector<double>{-5, 35, 0});  // g_i d
  CHECK(d.conflict_rate == Approx(1.0 / 3));
  CHECK_FALSE(d.fallback);
  ObjectiveRecord solved = record();
  solved.certificate = {.residual = 1e-3, .status = Certificate::Status::capped};
  CHECK(diagnostics(solved).residual == 1e-3);
  CHECK(diagnostics(solved).capped);
  solved.certificate = {.status = Certificate::Status::fallback, .fallback = "mean"};
  CHECK(diagnostics(solved).fallback);
  const ObjectiveRecord one{.active = {1}, .weights = {1}, .gramian = {4}, .certificate = {}};
  CHECK(std::isnan(diagnostics(one).conflict_rate));
  CHECK(diagnostics(ObjectiveRecord{}).norms.empty());
  solved.gramian.clear();
  const Diagnostics unseen = diagnostics(solved);
  CHECK(unseen.weights == solved.weights);
  CHECK(unseen.norms.empty());
  CHECK(unseen.descent.empty());
  CHECK(std::isnan(unseen.conflict_rate));
  // With groups the record holds the sum of their Gramians and the mean of their weights, which J d does not follow from.
  const ObjectiveRecord grouped{.active = {0, 1}, .weights = {0.5, 0.5}, .gramian = {1, 0, 0, 1}, .certificate = {},
                                .group_weights = {0, 1, 1, 0}};
  CHECK(diagnostics(grouped).norms == std::vector<double>{1, 1});
  CHECK(diagnostics(grouped).descent.empty());
}

TEST_CASE("a meter has means over the steps, each task over those it was in", "[fast]") {
  DiagnosticsMeter meter({"a", "b", "c", "d"});
  const std::vector<std::string> names = meter.columns();
  const History columns{names};
  meter.add(record());
  meter.add({.active = {0, 3}, .weights = {3, 1}, .gramian = {1, 1, 1, 1}, .certificate = {.residual = 0.25}});
  meter.add({});
  meter.add({.active = {0, 2}, .weights = {2, 2}, .gramian = {}, .certificate = {}});  // nobody looked at gradients
  CHECK(meter.weight(0) == 2);
  CHECK(std::isnan(meter.weight(1)));
  History history(names);
  history.append(meter.take());
  const auto at = [&](std::string_view column) { return history[std::string("diagnostics/").append(column)][0]; };
  CHECK(at("a/weight") == 2);
  CHECK(at("a/gradient_norm") == 3);
  CHECK(at("c/gradient_norm") == 5);
  CHECK(at("a/descent") == (-5 + 4) / 2.0);
  CHECK(at("a ~ c/cosine") == Approx(-0.6));
  CHECK(at("a ~ d/cosine") == 0.5);
  CHECK(at("c ~ d/cosine") == 0);
  CHECK(std::isnan(at("a ~ b/cosine")));
  CHECK(at("conflict_rate") == Approx(1.0 / 6));
  CHECK(at("kkt_residual") == 0.25);
  CHECK(at("fallback_rate") == 0);
  for (const double x : meter.take()) CHECK(std::isnan(x));
  // What the model notes comes last, by name; what is not among the columns is left out.
  DiagnosticsMeter noting({"a"}, {"a/gate/0", "penalty"});
  CHECK(noting.columns().back() == "diagnostics/penalty");
  noting.add({.active = {0}, .weights = {1}, .notes = {{"a/gate/0", 0.5}, {"penalty", 2}}});
  noting.add({.active = {0}, .weights = {1}, .notes = {{"other", 9}, {"penalty", 4}, {"a/gate/0", 1}}});
  const std::vector<double> noted = noting.take();
  REQUIRE(noted.size() == noting.columns().size());
  CHECK(noted[noted.size() - 2] == 0.75);
  CHECK(noted.back() == 3);
  noting.add({.active = {0}, .weights = {1}, .notes = {{"a/gate/0", 0.5}, {"penalty", 2}}});
  noting.add({.active = {0}, .weights = {1}, .notes = {{"a/gate/0", std::nan("")}, {"penalty", 4}}});  // no row came to the gate
  const std::vector<double> partly = noting.take();
  CHECK(partly[partly.size() - 2] == 0.5);
  CHECK(partly.back() == 3);
  DiagnosticsMeter none;
  CHECK(none.columns().empty());
  none.add(record());
  CHECK(none.take().empty());
}

TEST_CASE("the Trainer's history has the diagnostics of its steps, and training is the same", "[fast]") {
  const Dataset<float> train = data(60);
  for (const Combiner& combiner : {Combiner(Sum{}), Combiner(UPGrad{}), Combiner(GradNorm{}), Combiner(FAMO{})}) {
    INFO(combiner.name());
    Setup plain(combiner), diagnosed(combiner), looped(combiner);
    Trainer without{plain.model, plain.objective, plain.optimizer, {.epochs = 3, .batch = 20, .progress = quiet}};
    CHECK_FALSE(without.fit(train).has("diagnostics/conflict_rate"));
    diagnosed.objective.diagnose();
    Trainer with{diagnosed.model, diagnosed.objective, diagnosed.optimizer, {.epochs = 3, .batch = 20, .progress = quiet}};
    const History& history = with.fit(train);
    CHECK(weights(plain) == weights(diagnosed));

    looped.objective.diagnose();
    DiagnosticsMeter meter(looped.objective.names());
    const Rng rng{0};
    Loader<float> loader{train, {.batch = 20}, rng};
    for (Index epoch = 0; epoch < 3; ++epoch) {
      looped.objective.begin_epoch(epoch);
      for (const auto& batch : loader.epoch(epoch)) {
        Pass pass{rng, loader.step()};
        const auto losses = looped.objective(looped.model(batch.inputs["x"].values, pass), batch.targets);
        looped.objective.backward(losses);
        meter.add(looped.objective.record());
        looped.optimizer.step();
        looped.objective.after_step([&] {
          const NoGrad no_grad;
          Pass again{rng, loader.step()};
          const auto after = looped.objective(looped.model(batch.inputs["x"].values, again), batch.targets);
          again.discard();
          return after;
        });
      }
      const std::vector<std::string> columns = meter.columns();
      const std::vector<double> row = meter.take();
      for (std::size_t i = 0; i < row.size(); ++i) CHECK(history[columns[i]][static_cast<std::size_t>(epoch)] == row[i]);
    }
    CHECK(weights(looped) == weights(plain));
    CHECK(history["diagnostics/sum/gradient_norm"][0] > 0);
    CHECK(std::abs(history["diagnostics/sum ~ difference/cosine"][2]) <= 1);
  }
}

TEST_CASE("the second look of FAMO leaves no trace in batch statistics and sees the same dropout", "[fast]") {
  // With a learning rate of 0 the losses after the step are those before it, so the logits do not move.
  Setup setup((Combiner(FAMO{})));
  Adam<float> still{parameters(setup.model), {.lr = 0}};
  Index batches = 0;
  Trainer trainer{setup.model, setup.objective, still,
                  {.epochs = 2, .batch = 20, .progress = quiet, .callbacks = {[&](const StepEvent&) { ++batches; }}}};
  trainer.fit(data(60));
  for (const double logit : setup.objective.method<FAMO>()->logits()) CHECK(logit == 0);
  detail::each_tensor(setup.model, [&](const std::string& name, auto& tensor) {
    if (name.ends_with("num_batches_tracked")) CHECK(static_cast<Index>(tensor.values()[0]) == batches);
  });
}

TEST_CASE("a step after which FAMO meets a loss that is not finite is taken, counted and told of", "[fast]") {
  // The second evaluation of the third step sees a NaN: the run goes on with the fourth batch, as one that learned nothing there.
  const Dataset<float> train = data(100);
  const auto run = [&](Index broken, Index fits) {
    Setup setup((Combiner(FAMO{})));
    Index calls = 0, steps = 0;
    const auto spoilt = [&](const Tensor<float>& y, const Target<float>& t) {
      return ++calls == broken ? Tensor<float>::full({}, NAN) : mse(y, t.value);
    };
    setup.objective = MultiObjective<float>({{"sum", spoilt}, {"difference", MSE{}}}, FAMO{});
    Trainer trainer{setup.model, setup.objective, setup.optimizer,
                    {.epochs = 1, .batch = 20, .progress = quiet, .callbacks = {[&](const StepEvent&) { ++steps; }}}};
    std::vector<float> at_error;
    for (Index i = 1; i < fits; ++i) {
      CHECK_THROWS_WITH(trainer.fit(train), "objective: after the step the loss of task 'sum' is nan; look at the learning rate; the "
                                            "step has been taken, but famo has learned nothing from it");
      at_error = weights(setup);
    }
    trainer.fit(train);
    CHECK(steps == 5 - (fits - 1));  // the step's callbacks were not called
    CHECK(calls == 10);              // every batch was seen once, before and after its step
    if (broken < calls) CHECK(weights(setup) != at_error);
    return weights(setup);
  };
  const std::vector<float> whole = run(-1, 1);
  CHECK(run(10, 2) == whole);  // nothing follows the last step, so nothing it might have learned counts
  CHECK(run(6, 2) != whole);
}

TEST_CASE("diagnosed runs resume in the middle of an epoch", "[fast]") {
  const Scratch scratch;
  const Dataset<float> train = data(60);
  const auto options = [&](Index stop) {
    return TrainerOptions{.epochs = 2, .batch = 20, .checkpoint = {.last = scratch("run.safetensors")}, .progress = quiet,
                          .callbacks = {[stop](const StepEvent& e) { return e.epoch * 3 + e.batch != stop; }}};
  };
  for (const Combiner& combiner : {Combiner(DWA{}), Combiner(FAMO{}), Combiner(GradNorm{})}) {
    Setup whole(combiner), half(combiner);
    whole.objective.diagnose();
    half.objective.diagnose();
    Trainer all{whole.model, whole.objective, whole.optimizer, options(-1)};
    all.fit(train);
    {
      Setup first(combiner);
      first.objective.diagnose();
      Trainer part{first.model, first.objective, first.optimizer, options(4)};
      part.fit(train);
    }
    Trainer rest{half.model, half.objective, half.optimizer, options(-1)};
    rest.resume(scratch("run.safetensors"));
    rest.fit(train);
    CHECK(weights(half) == weights(whole));
    for (const std::string& column : DiagnosticsMeter(half.objective.names()).columns())
      for (std::size_t row = 0; row < 2; ++row) CHECK(same_number(rest.history()[column][row], all.history()[column][row]));
  }
}

TEST_CASE("diagnostics in the progress bar on request", "[fast]") {
  Setup setup((Combiner(UPGrad{})));
  CHECK_THROWS_WITH(Trainer(setup.model, setup.objective, setup.optimizer, {.show_diagnostics = true}),
                    "Trainer: show_diagnostics is set, but the objective takes none; call objective.diagnose() first");
  setup.objective.diagnose();
  std::FILE* file = std::tmpfile();
  REQUIRE(file);
  Trainer trainer{setup.model, setup.objective, setup.optimizer,
                  {.epochs = 1, .progress = {.mode = Progress::lines, .stream = file}, .show_diagnostics = true}};
  trainer.fit(data(60));
  const std::string text = text_of(file);
  std::fclose(file);
  for (const char* shown : {"  sum weight ", "  difference weight ", "  conflicts "}) CHECK(text.find(shown) != std::string::npos);
}

TEST_CASE("diagnostics are drawn over time, apart from the learning curves", "[fast]") {
  DiagnosticsMeter meter({"a", "b/c"});
  std::vector<std::string> columns{"epoch", "train/a/loss"};
  for (const std::string& column : meter.columns()) columns.push_back(column);
  History history(columns);
  for (int epoch = 1; epoch < 4; ++epoch) {
    meter.add({.active = {0, 1}, .weights = {1, 0.5 * epoch}, .gramian = {4, -1, -1, 9}, .certificate = {}});
    std::vector<double> row{static_cast<double>(epoch), 1.0};
    for (const double x : meter.take()) row.push_back(x);
    history.append(row);
  }
  const Chart chart = diagnostics_curves(history);
  std::vector<std::string> titles;
  for (const Panel& p : chart.panels) titles.push_back(p.title);
  CHECK(titles == std::vector<std::string>{"task weights", "gradient norms", "J d", "cosines", "conflict rate"});
  REQUIRE(chart.panels[0].series.size() == 2);
  CHECK(chart.panels[0].series[1].name == "b/c");
  CHECK(chart.panels[0].series[1].y == std::vector<double>{0.5, 1, 1.5});
  CHECK(chart.panels[3].series[0].name == "a ~ b/c");
  CHECK(chart.panels[3].x_label == "epoch");
  CHECK(svg(chart).find("conflict rate") != std::string::npos);
  CHECK(learning_curves(history).panels.size() == 1);
  {  // whatever the tasks are called
    DiagnosticsMeter odd({"gate", "investigate"}, {"gate/gate/0", "gate/gate/1", "investigate/gate/0", "gate/0"});
    History of(odd.columns());
    odd.add({.active = {0, 1},
             .weights = {1, 1},
             .gramian = {4, 1, 1, 9},
             .notes = {{"gate/gate/0", 0.25}, {"gate/gate/1", 0.75}, {"investigate/gate/0", 1}, {"gate/0", 1}}});
    of.append(odd.take());
    std::vector<std::string> gates;
    for (const Panel& p : diagnostics_curves(of).panels)
      if (p.title.starts_with("gate of"))
        for (const Series& s : p.series) gates.push_back(p.title + ": " + s.name);
    CHECK(gates == std::vector<std::string>{"gate of gate: 0", "gate of gate: 1", "gate of investigate: 0", "gate of all tasks: 0"});
  }
  CHECK_THROWS_WITH(diagnostics_curves(History({"epoch"})),
                    "diagnostics_curves: the history has no diagnostics; call objective.diagnose() before the Trainer is made");
}
