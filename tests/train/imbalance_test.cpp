// Tasks of different sizes: data of their own, class weights, and early stopping one by one.

#include <filesystem>
#include <limits>

#include "espalier/data/class_weights.hpp"
#include "espalier/data/task_mixture.hpp"
#include "espalier/model/multi_task_model.hpp"
#include "espalier/ops/functions.hpp"
#include "espalier/optim/adam.hpp"
#include "espalier/train/task_stopping.hpp"
#include "espalier/train/trainer.hpp"
#include "support/catch.hpp"
#include "support/models.hpp"

using namespace espalier;
using namespace support;

namespace {

constexpr double round_robin = std::numeric_limits<double>::infinity();
const ProgressOptions quiet{.mode = Progress::quiet};

/// A set of `rows` rows whose one input numbers them from `first` on.
Dataset<double> numbered(std::string task, Index rows, double first) {
  Tensor<double> x = Tensor<double>::zeros({rows, 1});
  for (Index i = 0; i < rows; ++i) x.raw()[i] = first + static_cast<double>(i);
  return {{{"x", x}}, {{task, x * 2}}};
}
TaskMixture<double> three(TaskMixtureOptions options = {}) {
  return TaskMixture<double>({{"a", numbered("a", 7, 0)}, {"b", numbered("b", 40, 100)}, {"c", numbered("c", 120, 1000)}}, options);
}
const std::vector<Index> sizes{7, 40, 120}, starts{0, 7, 47, 167};
std::size_t set_of(Index row) { return row < 7 ? 0 : row < 47 ? 1 : 2; }
/// How often each row of the mixture comes in some epochs.
std::vector<Index> visits(const TaskMixture<double>& mixture, Index first, Index epochs) {
  std::vector<Index> count(static_cast<std::size_t>(mixture.size()));
  for (Index e = first; e < first + epochs; ++e)
    for (const Index r : mixture.order(Rng{5}, e)) ++count[static_cast<std::size_t>(r)];
  return count;
}

}  // namespace

TEST_CASE("an epoch has of each set its share, and every row at least once", "[fast]") {
  for (const double temperature : {1.0, 2.0, 5.0, round_robin}) {
    const auto mixture = three({.temperature = temperature});
    INFO(temperature);
    CHECK(mixture.size() == 167);
    const std::vector<Index> order = mixture.order(Rng{5}, 3);
    CHECK(static_cast<Index>(order.size()) == mixture.epoch_rows());
    std::vector<Index> found(3);
    for (const Index r : order) ++found[set_of(r)];
    for (std::size_t k = 0; k < 3; ++k) {
      CHECK(found[k] == mixture.epoch_rows(static_cast<Index>(k)));
      const double share = std::pow(static_cast<double>(sizes[k]), 1 / temperature), largest = std::pow(120.0, 1 / temperature);
      CHECK(std::abs(static_cast<double>(found[k]) - 120 * share / largest) <= 0.5);
    }
    for (const Index n : visits(mixture, 3, 1)) CHECK(n >= 1);
    if (temperature == 1)
      for (const Index n : visits(mixture, 3, 1)) CHECK(n == 1);
  }
  CHECK(three({.shares = {1, 1, 2}}).epoch_rows() == 240);
  const auto shorter = three({.temperature = round_robin, .rows = 30});
  for (Index k = 0; k < 3; ++k) CHECK(shorter.epoch_rows(k) == 10);
}

TEST_CASE("over the epochs the rows of a set come equally often, however short the epochs", "[fast]") {
  for (const Index rows : {0, 30, 90})
    for (const Index first : {0, 4}) {
      const std::vector<Index> count = visits(three({.temperature = 3, .rows = rows}), 0, first + 5);
      for (std::size_t k = 0; k < 3; ++k) {
        const auto [least, most] = std::minmax_element(count.begin() + starts[k], count.begin() + starts[k + 1]);
        CHECK(*most - *least <= 1);
      }
    }
}

TEST_CASE("every batch has its share of each set, or one set alone where a block is a batch", "[fast]") {
  const auto mixture = three({.temperature = 2});
  const std::vector<Index> order = mixture.order(Rng{6}, 1);
  for (std::size_t from = 0; from + 20 <= order.size(); from += 20) {
    std::vector<Index> found(3);
    for (std::size_t i = from; i < from + 20; ++i) ++found[set_of(order[i])];
    for (std::size_t k = 0; k < 3; ++k) {
      const double share = 20 * static_cast<double>(mixture.epoch_rows(static_cast<Index>(k))) / static_cast<double>(order.size());
      CHECK(std::abs(static_cast<double>(found[k]) - share) < 1.5);
    }
  }
  const std::vector<Index> blocks = three({.temperature = round_robin, .block = 8}).order(Rng{6}, 1);
  for (std::size_t i = 0; i < blocks.size(); ++i) CHECK(set_of(blocks[i]) == set_of(blocks[i / 8 * 8]));
}

TEST_CASE("an order is a function of seed and epoch, and a set more shifts nobody's rows", "[fast]") {
  const auto mixture = three({.temperature = round_robin});
  CHECK(mixture.order(Rng{5}, 2) == three({.temperature = round_robin}).order(Rng{5}, 2));
  CHECK(mixture.order(Rng{5}, 2) != mixture.order(Rng{5}, 3));
  CHECK(mixture.order(Rng{5}, 2) != mixture.order(Rng{6}, 2));
  const TaskMixture<double> two({{"b", numbered("b", 40, 100)}, {"c", numbered("c", 120, 1000)}}, {.temperature = round_robin});
  std::vector<Index> mine, theirs;
  for (const Index r : mixture.order(Rng{5}, 2))
    if (set_of(r) == 1) mine.push_back(r - 7);
  for (const Index r : two.order(Rng{5}, 2))
    if (r < 40) theirs.push_back(r);
  CHECK(mine == theirs);
}

TEST_CASE("a row has what its set has; all else is absent", "[fast]") {
  Rng rng{1};
  const auto draw = [&](const Shape& shape) { return Tensor<double>::normal(shape, rng); };
  const Tensor<double> x = draw({2, 3}), z = draw({2, 3}), y = draw({2, 2}), extra = draw({2, 1});
  const Dataset<double> a({{"x", x}, {"extra", extra}}, {{"kind", Tensor<Index>({2}, {1, 0})}, {"size", y}});
  const Dataset<double> b({{"x", {z, Tensor<bool>({2}, {true, false})}}}, {{"size", {y, Tensor<double>({2, 2}, {1, 0, 3, 1})}}});
  const TaskMixture<double> mixture({{"a", a}, {"b", b}});
  const Index rows[] = {3, 0, 1, 2};
  const Batch<double> batch = mixture.rows(rows);
  CHECK(list(batch.inputs["x"].present) == std::vector<bool>{false, true, true, true});
  CHECK(same_bits(slice(batch.inputs["x"].values, 0, 1, 3), x));
  CHECK(same_bits(slice(batch.inputs["x"].values, 0, 3, 4), slice(z, 0, 0, 1)));
  CHECK(list(batch.inputs["extra"].present) == std::vector<bool>{false, true, true, false});
  CHECK(list(batch.targets["kind"].classes) == std::vector<Index>{0, 1, 0, 0});
  CHECK(list(batch.targets["kind"].weight) == std::vector<double>{0, 1, 1, 0});
  CHECK(list(batch.targets["size"].weight) == std::vector<double>{3, 1, 1, 1, 1, 1, 1, 0});
  CHECK(same_bits(slice(batch.targets["size"].value, 0, 1, 3), y));
  batch.check();

  const auto message = [&](const Dataset<double>& second) {
    try {
      TaskMixture<double>({{"a", a}, {"b", second}});
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string("no error");
  };
  CHECK(message(Dataset<double>({{"x", draw({2, 4})}}, {{"size", y}})) ==
        "TaskMixture: a row of input 'x' has values [1, 4] in 'b', values [1, 3] in a set before it; what sets have in common must "
        "be alike");
  CHECK(message(Dataset<double>({{"x", x}}, {{"kind", y}})) ==
        "TaskMixture: a row of target 'kind' has values [1, 2] in 'b', no values in a set before it; what sets have in common must "
        "be alike");
  CHECK(message(Dataset<double>({{"x", Tensor<double>::zeros({0, 3})}}, {})) ==
        "TaskMixture: 'b' has no rows; it needs at least 1");
  CHECK_THROWS_WITH(TaskMixture<double>({{"a", a}, {"a", a}}), "TaskMixture: 'a' appears twice; names must differ");
  CHECK_THROWS_WITH(TaskMixture<double>(std::vector<Named<Dataset<double>>>{}),
                    "TaskMixture: no data set is given; it needs at least one");
  CHECK_THROWS_WITH(three({.temperature = 0.5}), "TaskMixture: temperature is 0.5; it must be at least 1");
  CHECK_THROWS_WITH(three({.shares = {1, 2}}), "TaskMixture: there are 2 shares for 3 data sets; give one per set");
  CHECK_THROWS_WITH(three({.shares = {1, 0, 2}}), "TaskMixture: the share of 'b' is 0; it must be finite and above 0");
  CHECK_THROWS_WITH(three({.block = 0}), "TaskMixture: block is 0; it must be at least 1");
  CHECK_THROWS_WITH(mixture.rows(std::vector<Index>{4}), "TaskMixture: row 4 is asked for; there are 4, counted from 0");
}

TEST_CASE("a loader goes through the epochs of a mixture, and on in the middle of one", "[fast]") {
  const auto mixture = three({.temperature = 2});
  Loader<double> loader(mixture, {.batch = 16}, Rng{5}), other(mixture, {.batch = 16}, Rng{5}),
      plain(mixture, {.batch = 16, .shuffle = false}, Rng{5});
  CHECK(loader.size() == mixture.epoch_rows());
  CHECK(plain.size() == 167);
  const std::vector<Index> order = mixture.order(Rng{5}, 1);
  Index at = 0;
  for (const auto& batch : loader.epoch(1)) {
    const auto part = std::span(order).subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(batch.size()));
    CHECK(same_bits(batch.inputs["x"].values, mixture.rows(part).inputs["x"].values));
    at += batch.size();
    if (at == 64) {
      other.seek(1, at);
      Index rest = 0;
      for (const auto& more : other.rest()) rest += more.size();
      CHECK(rest == mixture.epoch_rows() - 64);
    }
  }
  CHECK(at == mixture.epoch_rows());
  at = 0;
  for (const auto& batch : plain.epoch(1)) at += batch.size();
  CHECK(at == 167);
}

TEST_CASE("a trainer learns from a mixture, resumes to the bit, and is judged on all rows once", "[fast]") {
  Rng rng{1};
  const auto set = [&](std::string task, Index rows, double slope) {
    const Tensor<double> x = Tensor<double>::normal({rows, 2}, rng);
    return Dataset<double>({{"x", x}}, {{task, slice(x, 1, 0, 1) * slope + slice(x, 1, 1, 2)}});
  };
  const Dataset<double> a = set("a", 10, 1), b = set("b", 90, -1);
  const TaskMixture<double> mixture({{"a", a}, {"b", b}}, {.temperature = round_robin});
  struct Run {
    Rng rng{2};
    MultiTaskModel<double> model{{.trunk = sequential(Linear<double>(2, 8, rng), Tanh{}),
                                  .heads = {{"a", Linear<double>(8, 1, rng)}, {"b", Linear<double>(8, 1, rng)}}}};
    MultiObjective<double> objective{{{"a", MSE{}}, {"b", MSE{}}}, UPGrad{}};
    Adam<double> optimizer{parameters<double>(model), {.lr = 1e-2}};
  };
  const std::string path = "imbalance_test.safetensors";
  Run whole, cut, resumed;
  const Evaluation before = evaluate(whole.model, whole.objective, mixture);
  CHECK(before("a", "loss") == Approx(evaluate(whole.model, MultiObjective<double>({{"a", MSE{}}}), a)("a", "loss")));
  Trainer all{whole.model, whole.objective, whole.optimizer, {.epochs = 8, .batch = 16, .progress = quiet}};
  all.fit(mixture);
  Trainer first{
      cut.model, cut.objective, cut.optimizer, {.epochs = 8, .batch = 16, .progress = quiet, .callbacks = {[](const StepEvent& e) {
                                                                                               return e.epoch < 3 || e.batch < 5;
                                                                                             }}}};
  first.fit(mixture);
  first.save(path);
  Trainer second{resumed.model,
                 resumed.objective,
                 resumed.optimizer,
                 {.epochs = 8, .batch = 16, .progress = quiet, .callbacks = {[](const StepEvent&) { return true; }}}};
  second.resume(path);
  second.fit(mixture);
  std::filesystem::remove(path);
  CHECK(same_bits(values_of(resumed.model), values_of(whole.model)));
  const Evaluation after = evaluate(whole.model, whole.objective, mixture);
  for (const char* task : {"a", "b"}) CHECK(after(task, "loss") < 0.5 * before(task, "loss"));
}

TEST_CASE("a data set of one's own may say what its epochs are made of, but not nonsense", "[fast]") {
  struct Own {
    std::vector<Index> given;
    Index size() const { return 4; }
    Batch<double> rows(std::span<const Index> rows) const {
      return {{{"x", Tensor<double>::zeros({static_cast<Index>(rows.size()), 1})}}, {}};
    }
    Index epoch_rows() const { return 3; }
    std::vector<Index> order(const Rng&, Index) const { return given; }
  };
  const auto run = [](std::vector<Index> order) {
    Loader<double> loader(Own{std::move(order)}, {.batch = 2}, Rng{1});
    Index rows = 0;
    for (const auto& batch : loader.epoch(0)) rows += batch.size();
    return rows;
  };
  CHECK(run({3, 3, 0}) == 3);
  CHECK_THROWS_WITH(run({3, 3}), "Loader: the data gave an order of 2 rows; its epochs are of 3");
  CHECK_THROWS_WITH(run({3, 4, 0}), "Loader: row 4 is asked for; there are 4, counted from 0");
}

// ---- weights -------------------------------------------------------------------------------------------------------------

TEST_CASE("class weights balance the classes, positive weights the labels", "[fast]") {
  const Target<double> target(Tensor<Index>({6}, {0, 0, 0, 2, -7, 2}), Tensor<double>({6}, {1, 1, 2, 1, 0, 1}));
  CHECK(class_weights(target, 3) == std::vector<double>{6 / (3 * 4.0), 0, 6 / (3 * 2.0)});  // scikit-learn's n / (classes * n_c)
  const std::vector<double> effective = class_weights(target, 3, {.beta = 0.9});
  const double of0 = 0.1 / (1 - std::pow(0.9, 4)), of2 = 0.1 / (1 - std::pow(0.9, 2));
  CHECK(effective[0] == Approx(2 * of0 / (of0 + of2)).epsilon(1e-14));
  CHECK(effective[2] == Approx(2 * of2 / (of0 + of2)).epsilon(1e-14));
  CHECK(effective[1] == 0);
  CHECK_THROWS_WITH(class_weights(target, 2), "class_weights: sample 3 has class 2; classes must lie in [0, 1]");
  CHECK_THROWS_WITH(class_weights(target, 3, {.beta = 1}), "class_weights: beta is 1; it must be in [0, 1)");
  const Target<double> tags(Tensor<double>({4, 2}, {1, 0, 0, 1, 0, 0, NAN, 0}), Tensor<double>({4}, {1, 1, 1, 0}));
  CHECK(positive_weights(tags) == std::vector<double>{2, 2});
  CHECK_THROWS_WITH(class_weights(tags, 2), "class_weights: the target has values; it must have classes");
  CHECK_THROWS_WITH(positive_weights(Target<double>(Tensor<double>({2}, {0, 0}))),
                    "positive_weights: column 0 has 0 positives and 2 negatives; it must have both");
}

// ---- stopping ------------------------------------------------------------------------------------------------------------

TEST_CASE("a stopped task is as if it were absent, but its loss is still told", "[fast]") {
  Rng rng{3};
  MultiTaskModel<double> model(
      {.trunk = sequential(Linear<double>(2, 4, rng), Tanh{}),
       .heads = {{"a", Linear<double>(4, 1, rng)}, {"b", Linear<double>(4, 1, rng)}, {"c", Linear<double>(4, 1, rng)}}});
  const Tensor<double> x = Tensor<double>::normal({6, 2}, rng), y = Tensor<double>::normal({6, 1}, rng);
  for (const bool aggregate : {false, true}) {
    MultiObjective<double> objective({{"a", MSE{}}, {"b", MSE{}}, {"c", MSE{}}}, aggregate ? Combiner(UPGrad{}) : Combiner(Sum{}));
    const MultiObjective<double> untouched = objective;
    const auto gradients = [&](const Target<double>& b) {
      clear_gradients(model);
      Pass pass{rng};
      const auto losses = objective(model(x, pass), {{"a", y}, {"b", b}, {"c", y * 2}});
      objective.backward(losses);
      return losses["b"];
    };
    gradients({y, Tensor<double>::zeros({6})});
    const Values expected = gradients_of(model);
    objective.stop("b");
    CHECK(gradients(y) > 0);
    CHECK(same_bits(gradients_of(model), expected));
    CHECK(objective.stopped(1));
    CHECK_FALSE(untouched.stopped(1));
    CHECK(objective.record().active == std::vector<Index>{0, 2});
    for (const char* task : {"a", "c"}) objective.stop(task);
    gradients(y);  // nothing left to do
    for (const auto& g : gradients_of(model)) CHECK_FALSE(g.defined());
    objective.stop("b", false);
    CHECK_FALSE(objective.stopped(1));
    CHECK_THROWS_WITH(objective.stop("d"), "objective: unknown task 'd'; known: a, b, c");
  }
}

TEST_CASE("a stopped task whose loss is NaN does not touch the others", "[fast]") {
  Rng rng{3};
  for (const bool packed : {true, false}) {
    std::vector<Named<AnyModule<double>>> heads{
        {"a", Linear<double>(4, 1, rng)}, {"b", Linear<double>(4, 2, rng)}, {"c", Linear<double>(4, 1, rng)}, {"k", Linear<double>(4, 3, rng)}};
    if (!packed)
      for (auto& head : heads) head.value = sequential(head.value);
    MultiTaskModel<double> model({.trunk = sequential(Linear<double>(2, 4, rng), Tanh{}), .heads = heads});
    const Tensor<double> x = Tensor<double>::normal({6, 2}, rng), y = Tensor<double>::normal({6, 1}, rng);
    const Target<double> labels(Tensor<Index>({6}, {0, 1, 2, 0, 1, 2}));
    for (const Combiner& combiner : {Combiner(Sum{}), Combiner(UPGrad{}), Combiner(GradDrop{})}) {
      MultiObjective<double> objective({{"a", MSE{}}, {"b", MSE{}}, {"c", MSE{}}, {"k", CrossEntropy{}}}, combiner);
      const auto gradients = [&](const Target<double>& b) {
        clear_gradients(model);
        Pass pass{rng};
        objective.backward(objective(model(x, pass), {{"a", y}, {"b", b}, {"c", y * 2}, {"k", labels}}));
        return gradients_of(model);
      };
      MultiObjective<double> masked = objective;
      const Tensor<double> broken = Tensor<double>::full({6, 2}, NAN);
      INFO(combiner.name() << (packed ? " packed" : ""));
      const Values expected = gradients({broken, Tensor<double>::zeros({6})});
      CHECK_THROWS_WITH(gradients(broken), Catch::Contains("the loss of task 'b' is nan"));
      objective = masked;
      objective.stop("b");
      CHECK(same_bits(gradients(broken), expected));
    }
  }
}

TEST_CASE("tasks stop one by one, each by its own patience, and the run with the last", "[fast]") {
  MultiObjective<float> objective({{"a", MSE{}}, {"b", MSE{}}, {"c", MSE{}}});
  TaskStopping stopping(objective, {.patience = 2, .tasks = {"a", "b"}});
  History history({"validation/a/loss", "validation/b/loss"});
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::vector<std::vector<double>> rows{{3, 3}, {2, nan}, {2, 2}, {1, 2}, {1.5, 2.5}, {1, nan}};
  std::vector<std::string> found;
  for (std::size_t e = 0; e < rows.size(); ++e) {
    history.append(rows[e]);
    CHECK(stopping.epoch({static_cast<Index>(e), history}));  // c goes on
    found.push_back(join(objective.stopped(0) ? 'a' : '-', objective.stopped(1) ? 'b' : '-'));
  }
  CHECK(found == std::vector<std::string>{"--", "--", "--", "--", "-b", "ab"});
  objective.stop("c");
  CHECK_FALSE(stopping.epoch({6, history}));
  CHECK_THROWS_WITH(TaskStopping(objective, {.measure = "accuracy"}),
                    "TaskStopping: the measure is 'accuracy'; say which way is better, for instance {.higher_is_better = true}");
  {  // and that way counts
    MultiObjective<double> one({{"a", MSE{}}});
    TaskStopping rising(one, {.patience = 1, .measure = "r2", .higher_is_better = true});
    History up({"validation/a/r2"});
    for (const double r2 : {0.1, 0.5, 0.9}) {
      up.append(std::vector<double>{r2});
      CHECK(rising.epoch({0, up}));
    }
    up.append(std::vector<double>{0.2});
    CHECK_FALSE(rising.epoch({3, up}));
  }
  CHECK_THROWS_WITH(TaskStopping(objective, {.patience = 0}), "TaskStopping: patience is 0; it must be at least 1");
  CHECK_THROWS_WITH(TaskStopping(objective, {.tasks = {"d"}}), "TaskStopping: unknown task 'd'; known: a, b, c");

  // In a run: what has stopped stays where it is, and stays stopped when the run goes on from its file.
  Rng rng{4};
  const auto x = Tensor<float>::normal({40, 2}, rng);
  const Dataset<float> data({{"x", x}}, {{"easy", Tensor<float>::zeros({40, 1})}, {"hard", slice(x, 1, 0, 1)}});
  struct Run {
    Rng rng{2};
    MultiTaskModel<float> model{
        {.trunk = Sequential{Linear{2, 8, rng}, Tanh{}}, .heads = {{"easy", Linear{8, 1, rng}}, {"hard", Linear{8, 1, rng}}}}};
    MultiObjective<float> objective{{{"easy", MSE{}}, {"hard", MSE{}}}};
    Adam<float> optimizer{parameters(model), {.lr = 1e-2}};
  };
  Run run, other;
  const auto options = [](Run& r, Index epochs) {
    return TrainerOptions{.epochs = epochs,
                          .progress = quiet,
                          .callbacks = {TaskStopping(r.objective, {.patience = 1, .min_delta = 1e9, .tasks = {"easy"}})}};
  };
  {  // Where all may stop, the run is over with the last: the best epoch's values are put back, and nothing goes on by itself.
    Run all;
    TrainerOptions o{.epochs = 9, .early_stopping = {.patience = 9}, .progress = quiet,
                     .callbacks = {TaskStopping(all.objective, {.patience = 1, .min_delta = 1e9})}};
    Trainer ends{all.model, all.objective, all.optimizer, o};
    CHECK(ends.fit(data, data).rows() == 2);
    CHECK(ends.finished());
    CHECK(ends.ending() == "every task has been stopped");
    CHECK_THROWS_WITH(ends.fit(data, data), "Trainer: the run is over (every task has been stopped); let a task go on with "
                                            "objective.stop(task, false), or make a new Trainer");
    CHECK(ends.history().rows() == 2);
    all.objective.stop("hard", false);
    CHECK_FALSE(ends.finished());
    CHECK(ends.fit(data, data).rows() == 3);
  }
  const std::string path = "imbalance_test2.safetensors";
  Trainer trainer{run.model, run.objective, run.optimizer, options(run, 4)};
  trainer.fit(data, data);
  CHECK(run.objective.stopped(0));
  CHECK_FALSE(run.objective.stopped(1));
  trainer.save(path);
  const Tensor<float> easy = parameters(run.model)["heads.easy.weight"].clone(),
                      hard = parameters(run.model)["heads.hard.weight"].clone();
  Trainer again{other.model, other.objective, other.optimizer, options(other, 6)};
  again.resume(path);
  CHECK(other.objective.stopped(0));
  again.fit(data, data);
  std::filesystem::remove(path);
  CHECK(same_bits(parameters(other.model)["heads.easy.weight"], easy));
  CHECK_FALSE(same_bits(parameters(other.model)["heads.hard.weight"], hard));
}
