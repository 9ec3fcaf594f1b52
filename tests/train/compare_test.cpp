// Comparisons: the arithmetic (train/comparison.hpp), the runs (train/compare.hpp), their file (train/compare_file.hpp) and the
// picture (train/comparison_chart.hpp).
#include "espalier/train/compare.hpp"

#include "espalier/espalier.hpp"
#include "espalier/train/comparison_chart.hpp"
#include "io/scratch.hpp"
#include "support/catch.hpp"

#ifdef _OPENMP
#include <omp.h>
#endif

using namespace espalier;

namespace {

/// The work's result on this many threads, where there is OpenMP.
template <class Work>
auto with_threads([[maybe_unused]] int threads, const Work& work) {
#ifdef _OPENMP
  struct Threads {
    int before = omp_get_max_threads();
    ~Threads() { omp_set_num_threads(before); }
  } restored;
  omp_set_num_threads(threads);
#endif
  return work();
}

constexpr double none = std::numeric_limits<double>::quiet_NaN();

const std::vector<ComparedMeasure> two_measures{{"a", "accuracy", true, true}, {"b", "rmse", false, true}, {"b", "loss", false, false}};

ComparedRun run(std::string method, Index seed, double accuracy, double rmse, std::string task = "") {
  return {.model = "m", .method = std::move(method), .task = std::move(task), .seed = seed, .steps = 10, .milliseconds = 2,
          .validation = {accuracy, rmse, 0}, .test = {accuracy, rmse, 0}};
}
/// Single-task runs of seeds 0 and 1: accuracy 0.5 and 0.8, RMSE 2 and 4.
std::vector<ComparedRun> baselines() {
  return {run("single task", 0, 0.5, none, "a"), run("single task", 0, none, 2, "b"), run("single task", 1, 0.8, none, "a"),
          run("single task", 1, none, 4, "b")};
}

Dataset<float> data(Index rows = 80) {
  Rng rng{4};
  const auto x = Tensor<float>::normal({rows, 3}, rng);
  Tensor<Index> sign = Tensor<Index>::zeros({rows});
  for (Index i = 0; i < rows; ++i) sign.raw()[i] = x(i, 0) + x(i, 1) > 0;
  return {{{"x", x}}, {{"sum", sum(x, {1}, {.keep_axes = true})}, {"sign", sign}}};
}
MultiTaskModel<float> model(Rng& rng) {
  return MultiTaskModel{{.trunk = Sequential{Linear{3, 8, rng}, Tanh{}, Dropout{0.1}},
                         .heads = {{"sum", Linear{8, 1, rng}}, {"sign", Linear{8, 2, rng}}}}};
}
const std::vector<Named<TaskLoss<float>>> losses{{"sum", MSE{}}, {"sign", CrossEntropy{}}};

CompareOptions<float> options() {
  return {.seeds = 2, .candidates = 2, .train = {.epochs = 2, .batch = 16},
          .optimizer = [](const auto& p) { return SGD<float>(p, {.lr = 0.05}); }};
}
std::vector<ComparedMethod> methods() { return {UPGrad{}, RLW{}, FAMO{}, {"stch 1", STCH{{.mu = 1}}}}; }

/// All that two comparisons found is equal, cost apart.
void check_same(const Comparison& a, const Comparison& b) {
  const auto same = [](double x, double y) { return x == y || (std::isnan(x) && std::isnan(y)); };
  REQUIRE(a.runs().size() == b.runs().size());
  for (std::size_t r = 0; r < a.runs().size(); ++r) {
    INFO(a.runs()[r].method << ' ' << a.runs()[r].task << " seed " << a.runs()[r].seed);
    CHECK(a.runs()[r].same_run(b.runs()[r]));
    CHECK(a.runs()[r].steps == b.runs()[r].steps);
    for (std::size_t m = 0; m < a.measures().size(); ++m) {
      CHECK(same(a.runs()[r].validation[m], b.runs()[r].validation[m]));
      CHECK(same(a.runs()[r].test[m], b.runs()[r].test[m]));
    }
  }
}

struct Interrupted {};
struct Wrong {
  static constexpr std::string_view name = "wrong";
  void weights(std::span<const double>, const StepInfo& info, std::span<double> out) const {
    for (double& w : out) w = info.step < 3 ? 1 : none;
  }
};

}  // namespace

TEST_CASE("means with Student's intervals, Delta_m and Delta_p", "[fast]") {
  // scipy.stats.t.ppf(0.975, n)
  CHECK(detail::student_t(1) == Approx(12.706204736432095).epsilon(1e-6));
  CHECK(detail::student_t(4) == Approx(2.7764451051977987).epsilon(1e-6));
  CHECK(detail::student_t(30) == Approx(2.0422724563012373).epsilon(1e-6));
  CHECK(detail::student_t(31) == Approx(2.0395134463964077).epsilon(2e-6));
  CHECK(detail::student_t(100) == Approx(1.9839715185235518).epsilon(1e-7));
  CHECK(std::isnan(detail::student_t(0)));
  const double values[] = {1, none, 2, 4};
  CHECK(interval(values).mean == Approx(7.0 / 3));
  CHECK(interval(values).half_width == Approx(4.302653 * std::sqrt(7.0 / 3 / 3)).epsilon(1e-6));
  CHECK(interval(values).text() == "2.333 +- 3.8");
  CHECK(interval(std::span(values, 1)).text() == "1");
  CHECK(interval(std::span(values + 1, 1)).text() == "-");

  const double baseline[] = {.40, .60, .70, 25}, found[] = {.42, .57, .63, 26};
  const std::vector<bool> up{true, true, false, false};
  const Index task[] = {0, 0, 1, 2};
  CHECK(delta_m(found, baseline, up) == Approx(-1.5));
  CHECK(delta_p(found, baseline, up, task) == Approx(2.0));
  const double nothing[] = {.40, 0, .70, 25}, negative[] = {-2.0}, less[] = {-1.0};
  const double others[] = {0.5, 1, none, 3};  // differences 0.5 and 1; scipy.stats.ttest_rel(...).confidence_interval()
  CHECK(paired_difference(values, others).mean == Approx(0.75));
  CHECK(paired_difference(values, others).half_width == Approx(12.706205 * 0.25).epsilon(1e-6));
  CHECK_THROWS_WITH(paired_difference(values, std::span(others, 3)),
                    "paired_difference: a has 4 values, b 3; there must be one of each for every pair");
  CHECK(std::isnan(delta_m(found, nothing, up)));
  CHECK(delta_m(less, negative, {true}) == Approx(-50));
}

TEST_CASE("rows of a comparison: paired changes, shared ranks, tuned weights, failures", "[fast]") {
  std::vector<ComparedRun> runs = baselines();
  for (const Index seed : {0, 1}) {
    const double scale = seed == 0 ? 1 : 2;
    runs.push_back(run("sum", seed, seed == 0 ? 0.5 : 0.8, 2.2 * scale));                    // +5 % both times
    runs.push_back(run("fixed weights 1", seed, seed == 0 ? 0.55 : 0.88, 2 * scale));        // -5
    runs.push_back(run("fixed weights 2", seed, seed == 0 ? 0.6 : 0.96, 2.4 * scale));       // 0
    runs.push_back(run("mine", seed, seed == 0 ? 0.5 : 0.88, 2.2 * scale));                  // +5, 0
    runs.push_back(run("broken", seed, 0.9, 1));
    if (seed == 1) continue;
    runs.back().error = "it broke";
    runs.back().test = {none, none, none};
  }
  const Comparison c(two_measures, runs, {{0.5, 1.5}, {1.5, 0.5}});
  REQUIRE(c.rows().size() == 5);
  CHECK(c.rows()[0].baseline);
  CHECK(c.rows()[0].measures[0].mean == Approx(0.65));
  CHECK(c.rows()[0].delta_m.mean == 0);
  CHECK(c.rows()[0].milliseconds == 4);  // of both models
  CHECK(c.row("sum").delta_m.mean == Approx(5));
  CHECK(c.row("sum").delta_m.half_width == Approx(0).margin(1e-12));
  CHECK(c.row("sum").delta_p.mean == Approx(-5));
  CHECK(c.row("tuned fixed weights").delta_m.mean == Approx(-5));
  CHECK(c.row("tuned fixed weights").note == "chosen on the validation data: weights 0.5, 1.5");
  CHECK(c.row("mine").delta_m.mean == Approx(2.5));
  CHECK(c.row("mine").delta_m.half_width == Approx(12.706205 * 2.5).epsilon(1e-6));
  CHECK(c.row("broken").note == "1 of 2 seeds failed: it broke");
  // Seed 0: accuracy .5, .55, .5 and none: 2.5, 1, 2.5, 4; RMSE 2.2, 2, 2.2, none: 2.5, 1, 2.5, 4. Seed 1: accuracy .8, .88, .88,
  // .9: 4, 2.5, 2.5, 1; RMSE 4.4, 4, 4.4, 1: 3.5, 2, 3.5, 1.
  CHECK(c.row("sum").rank.mean == Approx((2.5 + 3.75) / 2));
  CHECK(c.row("tuned fixed weights").rank.mean == Approx((1 + 2.25) / 2));
  CHECK(c.row("mine").rank.mean == Approx((2.5 + 3) / 2));
  CHECK(c.row("broken").rank.mean == Approx((4.0 + 1) / 2));
  CHECK(c.value(c.row("mine"), "b", "rmse").mean == Approx(3.3));
  // Paired: of accuracy 0 and .08 against sum, whose own values lie .3 apart; RMSE does not differ.
  CHECK(c.difference(c.row("mine"), c.row("sum"), "a", "accuracy").mean == Approx(0.04));
  CHECK(c.difference(c.row("mine"), c.row("sum"), "a", "accuracy").half_width == Approx(12.706205 * 0.04).epsilon(1e-6));
  CHECK(c.difference(c.row("mine"), c.row("sum"), "b", "rmse").half_width == 0);
  CHECK(c.difference(c.row("mine"), c.row("sum")).mean == Approx(-2.5));
  CHECK(c.difference(c.row("sum"), c.rows()[0]).mean == Approx(5));                        // the baseline's Delta_m is 0
  CHECK(c.difference(c.row("broken"), c.row("sum"), "a", "accuracy").mean == Approx(0.1));  // seed 1 alone
  CHECK(std::isnan(c.difference(c.row("broken"), c.row("sum"), "a", "accuracy").half_width));
  CHECK_THROWS_WITH(c.difference(c.rows()[0], c.rows()[1], "a", "f1"),
                    "comparison: there is no 'f1' of task 'a'; there are: a/accuracy, b/rmse, b/loss");
  CHECK(c.text() ==
        "                                 a            b    Delta_m          mean      ms\n"
        "method               accuracy (up)  rmse (down)   % (down)          rank  a step\n"
        "single task            0.65 +- 1.9      3 +- 13          0             -       4\n"
        "sum                    0.65 +- 1.9    3.3 +- 14     5 +- 0  3.125 +- 7.9       2\n"
        "tuned fixed weights   0.715 +- 2.1      3 +- 13    -5 +- 0  1.625 +- 7.9       2\n"
        "mine                   0.69 +- 2.4    3.3 +- 14  2.5 +- 32   2.75 +- 3.2       2\n"
        "broken                         0.9            1     -43.75     2.5 +- 19       2\n"
        "tuned fixed weights: chosen on the validation data: weights 0.5, 1.5\n"
        "broken: 1 of 2 seeds failed: it broke\n"
        "test data, mean over 2 seeds +- half of its 95 % confidence interval (Student's t).\n"
        "Delta_m: mean change for the worse against the single-task models, below 0 is better. Rank: 1 is best. ms: processor time.\n");
  CHECK_THROWS_WITH(c.row("other"), "comparison: there is no method 'other'; there are: single task, sum, tuned fixed weights, mine, broken");
  CHECK_THROWS_WITH(c.value(c.rows()[0], "a", "f1"),
                    "comparison: there is no 'f1' of task 'a'; there are: a/accuracy, b/rmse, b/loss");
  const Chart chart = trade_off(c);
  REQUIRE(chart.panels.size() == 2);
  CHECK(chart.panels[0].series.size() == 5);
  CHECK(chart.panels[1].x_label == "a accuracy (up)");
  CHECK(svg(chart).find("tuned fixed weights") != std::string::npos);

  runs.erase(runs.begin() + 1);
  CHECK_THROWS_WITH(Comparison(two_measures, runs), "comparison: seed 0 has no single-task run of task 'b'; Delta_m needs one");
  runs[0].error = "no";
  CHECK_THROWS_WITH(Comparison(two_measures, runs), "comparison: the single-task run of task 'a', seed 0, failed: no");
}

TEST_CASE("candidates of weights are spread over all ratios and sum to the tasks", "[fast]") {
  for (const Index tasks : {1, 2, 5}) {
    double least = HUGE_VAL, most = 0;
    for (const auto& w : detail::weight_candidates(8, tasks, 10)) {
      REQUIRE(static_cast<Index>(w.size()) == tasks);
      double sum = 0;
      for (const double x : w) sum += x;
      CHECK(sum == Approx(static_cast<double>(tasks)));
      least = std::min(least, w[0] / w.back());
      most = std::max(most, w[0] / w.back());
    }
    if (tasks > 1) CHECK((least < 0.3 && most > 3));
  }
}

TEST_CASE("a comparison finds the same on any number of threads, and what a loop of one's own finds", "[fast]") {
  const Dataset<float> all = data();
  const auto compared = [&] { return compare({{"m", model}}, losses, methods(), all, options()); };
  const Comparison one = with_threads(1, compared), two = with_threads(2, compared);
  check_same(one, two);
  CHECK(one.rows().size() == 7);
  REQUIRE(one.runs().size() == 2 * (2 + 1 + 2 + 4));

  Rng splits(1, detail::hash_name("compare"));
  auto [train, validation, test] = split(all, {0.6, 0.2, 0.2}, splits);
  Rng rng{1};
  auto own = model(rng);
  MultiObjective<float> objective(losses, UPGrad{});
  SGD<float> optimizer(parameters(own), {.lr = 0.05});
  Trainer trainer{own, objective, optimizer, {.epochs = 2, .batch = 16, .seed = 1, .progress = {.mode = Progress::quiet}}};
  trainer.fit(train, validation);
  const Evaluation found = evaluate(own, objective, test);
  for (const ComparedRun& r : one.runs()) {
    if (r.seed != 1 || r.method != "upgrad") continue;
    CHECK(r.steps == 6);
    for (std::size_t m = 0; m < one.measures().size(); ++m) CHECK(r.test[m] == found.measures()[m].value);
  }
  std::vector<std::string> counted;
  for (const ComparedMeasure& m : one.measures())
    if (m.counts) counted.push_back(m.task + ' ' + m.name);
  CHECK(counted == std::vector<std::string>{"sum rmse", "sign accuracy"});
}

TEST_CASE("a comparison that was ended goes on where it stopped, and grows", "[fast]") {
  const Scratch scratch;
  const Dataset<float> all = data();
  CompareOptions<float> kept = options();
  const Comparison whole = compare({{"m", model}}, losses, methods(), all, kept);
  kept.file = scratch("runs.csv");
  int made = 0, end = 7;
  const auto counting = [&](Rng& rng) {
    if (++made == end) throw Interrupted{};
    return model(rng);
  };
  with_threads(1, [&] { CHECK_THROWS_AS(compare({{"m", counting}}, losses, methods(), all, kept), Interrupted); });
  CHECK(made == 7);  // one to know the model by, and six runs
  made = end = 0;
  check_same(with_threads(1, [&] { return compare({{"m", counting}}, losses, methods(), all, kept); }), whole);
  CHECK(made == 1 + 13);
  made = 0;
  const Comparison again = compare({{"m", counting}}, losses, methods(), all, kept);
  check_same(again, whole);
  CHECK(made == 1);
  CHECK(again.row("upgrad").milliseconds > 0);

  made = 0;
  kept.seeds = 3;
  std::vector<ComparedMethod> more = methods();
  more.push_back({"a, \"quoted\" name", GLS{}});
  with_threads(1, [&] { compare({{"m", counting}}, losses, more, all, kept); });
  CHECK(made == 1 + 2 + 10);
  made = 0;
  more.erase(more.begin());  // its runs stay in the file
  compare({{"m", counting}}, losses, more, all, kept);
  compare({{"m", counting}}, losses, methods(), all, kept);
  CHECK(made == 2);

  kept.train.epochs = 3;
  CHECK_THROWS_WITH(compare({{"m", counting}}, losses, methods(), all, kept),
                    "compare: \"" + kept.file + "\" has a run of model 'm', method 'single task', seed 0 with other data or options; name "
                    "another file, or remove this one");
  kept.train.epochs = 2;
  CHECK_THROWS_WITH(compare({{"m", counting}}, losses, {{"stch 1", STCH{{.mu = 2}}}}, all, kept),
                    "compare: \"" + kept.file + "\" has a run of model 'm', method 'stch 1', seed 0 with other data or options; name "
                    "another file, or remove this one");
  const std::string text = read_file(kept.file, 1 << 20);
  const auto changed = [&](auto&& change) {
    CompareOptions<float> other = kept;
    Dataset<float> rows = all;
    std::vector<ComparedModel<float>> models{{"m", model}};
    change(other, rows, models);
    CHECK_THROWS_AS(compare(models, losses, methods(), rows, other), FileError);
    CHECK(read_file(kept.file, 1 << 20) == text);
  };
  changed([](auto& o, auto&, auto&) { o.optimizer = [](const auto& p) { return SGD<float>(p, {.lr = 0.06}); }; });
  changed([](auto& o, auto&, auto&) { o.train.schedule = CosineSchedule{}; });
  changed([](auto& o, auto&, auto&) { o.tag = "2"; });
  changed([](auto&, auto& rows, auto&) { rows = data(81); });
  changed([](auto&, auto& rows, auto&) { rows.targets.find("sum")->value = 2 * rows.targets.find("sum")->value; });
  changed([](auto&, auto&, auto& models) {
    models = {{"m", [](Rng& rng) { return MultiTaskModel{{.heads = {{"sum", Linear{3, 1, rng}}, {"sign", Linear{3, 2, rng}}}}}; }}};
  });
  const std::string rest = "; name another file, or remove this one";
  CHECK(text.starts_with("model,method,task,seed,setup,steps,ms_per_step,error,validation/sum/loss,validation/sum/rmse,"));
  replace_file(kept.file, "epoch,lr\n");
  CHECK_THROWS_WITH(compare({{"m", counting}}, losses, methods(), all, kept),
                    "compare: \"" + kept.file + "\" has other columns than the runs of this comparison" + rest);
  replace_file(kept.file, text.substr(0, text.size() - 9));
  CHECK_THROWS_WITH(compare({{"m", counting}}, losses, methods(), all, kept), "compare: \"" + kept.file + "\" has a broken line" + rest);
  replace_file(kept.file, text.substr(0, text.find('\n') + 1) + "m,sum\n");
  CHECK_THROWS_WITH(compare({{"m", counting}}, losses, methods(), all, kept),
                    "compare: \"" + kept.file + "\" has a line of 2 fields, not 20" + rest);
}

TEST_CASE("a method that diverges is reported, methods of one's own join, two models are compared", "[fast]") {
  const Dataset<float> all = data();
  CompareOptions<float> few = options();
  few.candidates = 0;
  few.stratify = "sign";
  few.train.metrics = {{"sum", {metrics::MAE{}, metrics::R2{}}}};
  few.train.early_stopping = {.patience = 1};
  few.train.monitor = "validation/sign/loss";
  std::FILE* log = std::tmpfile();
  REQUIRE(log);
  few.log = log;
  const auto small = [](Rng& rng) {
    return MultiTaskModel{{.trunk = Linear{3, 2, rng}, .heads = {{"sum", Linear{2, 1, rng}}, {"sign", Linear{2, 2, rng}}}}};
  };
  const Combiner chosen_at_run_time = Wrong{};
  const Comparison c = compare({{"large", model}, {"small", small}}, losses, {{"mine", chosen_at_run_time}, DWA{}}, all, few);
  std::rewind(log);
  std::string text;
  for (int ch; (ch = std::fgetc(log)) != EOF;) text += static_cast<char>(ch);
  std::fclose(log);
  CHECK(text.find("compare: 16/16  ") != std::string::npos);
  CHECK(text.find("small, mine, seed 1, failed: objective: wrong gave task 'sum' the weight nan") != std::string::npos);
  CHECK(c.row("mine", "small").note.starts_with("2 of 2 seeds failed: objective: wrong gave task 'sum' the weight nan"));
  CHECK(c.row("mine").rank.mean == 5.5);  // with the small one's behind all others
  CHECK(c.row("dwa", "small").measures[1].mean > 0);
  CHECK(c.text().find("\nsmall  dwa ") != std::string::npos);
  std::vector<std::string> counted;
  for (const ComparedMeasure& m : c.measures())
    if (m.counts) counted.push_back(m.task + ' ' + m.name);
  CHECK(counted == std::vector<std::string>{"sum mae", "sum r2", "sign accuracy"});
}

TEST_CASE("a method is compared with itself, used in other ways", "[fast]") {
  const Scratch scratch;
  auto o = options();
  o.seeds = 1;
  o.candidates = 0;
  o.file = scratch("runs.csv");
  const std::vector<ComparedMethod> ways{UPGrad{}, {"every 3", UPGrad{}, {.every = 3}}, {"at the trunk", UPGrad{}, {.at_representation = true}},
                                         {"by groups", UPGrad{}, {.groups = {"trunk.0.weight"}}}};
  const Comparison found = compare({{"hard", model}}, losses, ways, data(), o);
  std::vector<double> values;
  for (const ComparedRun& run : found.runs()) {
    CHECK(run.error.empty());
    if (run.method != "sum" && run.task.empty()) values.push_back(run.test[0]);
  }
  REQUIRE(values.size() == 4);
  for (std::size_t i = 1; i < 4; ++i) CHECK(values[i] != values[0]);
  check_same(found, compare({{"hard", model}}, losses, ways, data(), o));  // all of it from the file
  CHECK_THROWS_AS(compare({{"hard", model}}, losses, {UPGrad{}, {"every 3", UPGrad{}, {.every = 4}}}, data(), o), Error);
  CHECK_THROWS_WITH(compare({{"hard", model}}, losses, {{"sum, grouped", Mean{}, {.groups = {"trunk.0"}}}}, data(), o),
                    Catch::Contains("compare: method 'sum, grouped': MultiObjective: mean does not work on inner products of gradients"));
  CHECK_THROWS_WITH(compare({{"hard", model}}, losses, {{"sum", UPGrad{}}}, data(), o),
                    "compare: upgrad is called 'sum', which is the name of equal weights; give it another one");
}

TEST_CASE("a comparison refuses what makes no sense", "[fast]") {
  const Dataset<float> all = data(20);
  const auto refused = [&](auto&& change, const std::string& why, std::vector<ComparedMethod> methods = {}) {
    CompareOptions<float> o = options();
    change(o);
    CHECK_THROWS_WITH(compare({{"m", model}}, losses, methods, all, o), why);
  };
  const auto nothing = [](auto&) {};
  refused([](auto& o) { o.seeds = 0; }, "compare: seeds is 0; it must be at least 1");
  refused([](auto& o) { o.test = 0.8; },
          "compare: the shares of validation and test data are 0.2 and 0.8; both must be above 0, and their sum below 1");
  refused([](auto& o) { o.candidates = -1; }, "compare: candidates is -1; it must not be negative");
  refused([](auto& o) { o.weights_range = 1; }, "compare: weights_range is 1; it must be above 1");
  refused([](auto& o) { o.train.checkpoint.last = "x"; },
          "compare: train.checkpoint names a file, which the runs would overwrite for each other; name none: .file keeps what is done");
  refused([](auto& o) { o.stratify = "x"; }, "stratified_split: unknown task 'x'; known: sum, sign");
  refused(nothing, "compare: method 'upgrad' appears twice; names must differ: give it as {\"name\", method}", {UPGrad{}, UPGrad{}});
  refused(nothing, "compare: a method is called 'fixed weights 1'; that name is the comparison's own", {{"fixed weights 1", Sum{}}});
  CHECK_THROWS_WITH(compare({}, losses, {}, all), "compare: no model is given; it needs at least one");
  CHECK_THROWS_WITH(compare({{"m", model}, {"m", model}}, losses, {}, all), "compare: model 'm' appears twice; names must differ");
  refused([](auto& o) { o.train.epochs = 0; },
          "comparison: the single-task run of task 'sum', seed 0, failed: Trainer: epochs is 0; it must be at least 1");
}
