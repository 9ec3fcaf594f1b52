#include "espalier/multitask/objective.hpp"

#include "espalier/model/multi_task_model.hpp"
#include "espalier/ops/functions.hpp"
#include "support/catch.hpp"
#include "support/models.hpp"

using namespace espalier;
using namespace support;

namespace {

MultiTaskModel<double> make_model(bool packed = true) {
  Rng rng{1};
  MultiTaskOptions<double> options{.trunk = sequential(Linear<double>(5, 6, rng), Tanh{}),
                                   .heads = {{"kind", Linear<double>(6, 3, rng)},
                                             {"size", Linear<double>(6, 2, rng)},
                                             {"done", Linear<double>(6, 1, rng)}}};
  if (!packed)
    for (auto& head : options.heads) head.value = sequential(head.value);
  return MultiTaskModel<double>(std::move(options));
}

Tensor<double> huber(const Tensor<double>& y, const Target<double>& t) {
  const Tensor<double> d = y - t.value;
  return mean(sqrt(1.0 + d * d) - 1.0);
}

std::vector<Named<TaskLoss<double>>> tasks() {
  return {{"kind", CrossEntropy{}}, {"size", MSE{}}, {"done", BCEWithLogits{}}};
}

struct Samples {
  Tensor<double> x;
  Targets<double> targets;
};
Samples make_batch(bool size_is_there = true) {
  Rng rng{2};
  Samples b;
  b.x = Tensor<double>::normal({7, 5}, rng);
  const Target<double> size(Tensor<double>::normal({7, 2}, rng),
                            size_is_there ? Tensor<double>({7}, {1, 0, 2, 1, 0, 1, 1}) : Tensor<double>::zeros({7}));
  b.targets = {{"kind", Tensor<Index>({7}, {0, 1, 2, 1, 0, 2, 2})},
               {"size", size},
               {"done", Tensor<Index>({7}, {0, 1, 1, 1, 0, 0, 1})}};
  return b;
}

Losses<double> losses_of(const MultiTaskModel<double>& model, const MultiObjective<double>& objective,
                         const Samples& batch) {
  const Rng rng{0};
  Pass pass{rng};
  return objective(model(batch.x, pass), batch.targets);
}

/// sum_k weights[k] times task k's explicit gradient.
Values weighted(const Losses<double>& losses, const Values& parameters, const std::vector<double>& weights) {
  const auto rows = explicit_gradients(losses, parameters);
  Values all;
  for (std::size_t p = 0; p < parameters.size(); ++p) {
    Tensor<double> sum = Tensor<double>::zeros(parameters[p].shape());
    for (std::size_t k = 0; k < rows.size(); ++k) sum = sum + weights[k] * rows[k][p];
    all.push_back(sum);
  }
  return all;
}

bool is_defined(const MultiTaskModel<double>& model, const std::string& path) {
  MultiTaskModel<double> copy = model;
  return gradient(parameters<double>(copy)[path]).defined();
}

struct Wrong {  // a method of one's own that divides by nothing
  static constexpr std::string_view name = "wrong";
  void weights(std::span<const double>, const StepInfo&, std::span<double> out) const {
    for (double& w : out) w = std::numeric_limits<double>::quiet_NaN();
  }
};

}  // namespace

TEST_CASE("losses have names, values and weight sums", "[fast]") {
  const auto model = make_model();
  const MultiObjective<double> objective(tasks());
  const Samples batch = make_batch();
  const Losses<double> losses = losses_of(model, objective, batch);
  const Outputs<double> outputs = model(batch.x);
  CHECK(losses.size() == 3);
  CHECK(losses.name(1) == "size");
  CHECK(losses["kind"] == Approx(cross_entropy(outputs["kind"], *batch.targets.find("kind")).item()).epsilon(1e-14));
  CHECK(losses["size"] == Approx(mse(outputs["size"], *batch.targets.find("size")).item()).epsilon(1e-14));
  CHECK(losses["done"] == losses.value(2));
  CHECK(losses.weight(0) == 7);
  CHECK(losses.weight(1) == 12);  // two columns each
  CHECK(losses.total() == Approx(losses.value(0) + losses.value(1) + losses.value(2)));
  const Losses<double> without = losses_of(model, objective, make_batch(false));
  CHECK(without.weight(1) == 0);
  CHECK(without["size"] == 0);
  CHECK_FALSE(without.present(1));
}

TEST_CASE("Sum is the sum, FixedWeights the weighted sum, heads included", "[fast]") {
  for (const bool packed : {true, false})
    for (const bool size_is_there : {true, false}) {
      auto model = make_model(packed);
      const Samples batch = make_batch(size_is_there);
      for (const auto& [combiner, weights] :
           {std::pair{Combiner(Sum{}), std::vector<double>{1, 1, 1}},
            std::pair{Combiner(FixedWeights({0.5, 3, 0})), std::vector<double>{0.5, 3, 0}}}) {
        clear_gradients(model);
        MultiObjective<double> objective(tasks(), combiner);
        const Losses<double> losses = losses_of(model, objective, batch);
        const std::vector<double> active = size_is_there ? weights : std::vector<double>{weights[0], weights[2]};
        const Values expected = weighted(losses, tensors_of(model), active);
        objective.backward(losses);
        CHECK(gradient_error(model, expected) < 1e-12);
        CHECK(objective.record().weights == active);
        CHECK(objective.record().gramian.empty());
        CHECK(objective.record().active == (size_is_there ? std::vector<Index>{0, 1, 2} : std::vector<Index>{0, 2}));
      }
    }
}

TEST_CASE("UncertaintyWeighting scales whole gradients and learns its log variances", "[fast]") {
  auto model = make_model();
  MultiObjective<double> objective(tasks(), UncertaintyWeighting{{.lr = 0.1}});
  UncertaintyWeighting reference{{.lr = 0.1}};
  const Samples full = make_batch(), part = make_batch(false);
  for (int step = 0; step < 6; ++step) {
    clear_gradients(model);
    const bool all = step % 2 == 0;
    const Losses<double> losses = losses_of(model, objective, all ? full : part);
    std::vector<double> values, weights(all ? 3 : 2);
    for (Index k = 0; k < 3; ++k)
      if (losses.present(k)) values.push_back(losses.value(k));
    const std::vector<Index> active = all ? std::vector<Index>{0, 1, 2} : std::vector<Index>{0, 2};
    reference.weights(values, {.names = objective.names(), .active = active}, weights);
    const Values expected = weighted(losses, tensors_of(model), weights);
    objective.backward(losses);
    CHECK(gradient_error(model, expected) < 1e-12);
    CHECK(objective.record().weights == weights);
  }
}

TEST_CASE("UPGrad leaves heads their own gradients", "[fast]") {
  auto model = make_model();
  MultiObjective<double> objective(tasks(), UPGrad{});
  const Losses<double> losses = losses_of(model, objective, make_batch());
  const Values expected =
      upgrad_reference(losses, tensors_of(model), {true, true, false, false, false, false, false, false});
  objective.backward(losses);
  CHECK(gradient_error(model, expected) < 1e-12);
  CHECK(objective.record().gramian.size() == 9);
}

// ---- tasks and heads that are not the same list ----------------------------------------------------------------------

TEST_CASE("tasks in another order than the heads, heads without a task, losses of one's own", "[fast]") {
  const std::vector<std::vector<Named<TaskLoss<double>>>> lists = {
      {{"done", BCEWithLogits{}}, {"kind", CrossEntropy{}}, {"size", MSE{}}},
      {{"done", BCEWithLogits{}}, {"kind", CrossEntropy{}}},
      {{"size", MAE{}}},
      {{"kind", CrossEntropy{}}, {"size", huber}, {"done", BCEWithLogits{}}},
      {{"size", huber}},
      {{"done", MSE{}}, {"size", huber}}};
  for (std::size_t i = 0; i < lists.size(); ++i)
    for (const bool aggregated : {false, true})
      for (const bool size_is_there : {true, false}) {
        INFO("list " << i << (aggregated ? " UPGrad" : " Sum") << (size_is_there ? "" : " without size"));
        auto model = make_model();
        MultiObjective<double> objective(lists[i], aggregated ? Combiner(UPGrad{}) : Combiner());
        Samples batch = make_batch(size_is_there);
        if (lists[i][0].name == "done" && lists[i][0].value.name() == "mse")
          batch.targets = {{"size", *batch.targets.find("size")}, {"done", Tensor<double>::ones({7, 1})}};
        const Losses<double> losses = losses_of(model, objective, batch);
        const Values tensors = tensors_of(model);
        const auto rows = explicit_gradients(losses, tensors);
        Values expected = upgrad_reference(losses, tensors, {true, true, false, false, false, false, false, false});
        if (!aggregated) expected = weighted(losses, tensors, {1, 1, 1});
        objective.backward(losses);
        CHECK(gradient_error(model, expected) < 1e-12);
        for (const std::string name : {"kind", "size", "done"}) {
          const bool reached = std::ranges::any_of(lists[i], [&](const auto& l) { return l.name == name; }) &&
                               (size_is_there || name != "size");
          INFO(name);
          CHECK(is_defined(model, "heads." + name + ".weight") == reached);
          CHECK(is_defined(model, "heads." + name + ".bias") == reached);
        }
      }
}

TEST_CASE("a loss on one head's columns, by hand, reaches that head alone", "[fast]") {
  auto model = make_model();
  const Samples batch = make_batch();
  Pass pass{Rng{0}};
  const Outputs<double> outputs = model(batch.x, pass);
  backward(mse(outputs["size"], *batch.targets.find("size")));
  CHECK(is_defined(model, "heads.size.weight"));
  CHECK_FALSE(is_defined(model, "heads.kind.weight"));
  CHECK_FALSE(is_defined(model, "heads.done.bias"));
}

TEST_CASE("a task whose loss depends on no parameter is absent", "[fast]") {
  Rng rng{3};
  auto w = parameter(Tensor<double>::normal({5, 1}, rng)), v = parameter(Tensor<double>::normal({5, 1}, rng));
  const Samples batch = make_batch();
  const auto gradients = [&](bool third) {
    clear_gradient(w);
    clear_gradient(v);
    const Tensor<double> h = batch.x * transpose(w);
    const Outputs<double> outputs{{"a", matmul(h, v)}, {"b", -matmul(h, v)}, {"c", Tensor<double>::zeros({7, 1})}};
    std::vector<Named<TaskLoss<double>>> losses{{"a", MSE{}}, {"b", MSE{}}};
    if (third) losses.push_back({"c", MSE{}});
    MultiObjective<double> objective(losses, UPGrad{});
    const Tensor<double> one = Tensor<double>::ones({7});
    objective.backward(objective(outputs, {{"a", one}, {"b", one}, {"c", one}}));
    CHECK(objective.record().active == std::vector<Index>{0, 1});
    return std::vector{gradient(w).clone(), gradient(v).clone()};
  };
  CHECK(same_bits(gradients(true), gradients(false)));
}

TEST_CASE("predictions of one number a sample, and of rank 3", "[fast]") {
  Rng rng{4};
  const Tensor<double> w = parameter(Tensor<double>::normal({4}, rng)), x = Tensor<double>::normal({4}, rng);
  const Outputs<double> outputs{{"flat", w * x}, {"deep", reshape(w * x, {2, 2, 1})}};
  MultiObjective<double> objective({{"flat", MSE{}}, {"deep", MSE{}}});
  const Losses<double> losses =
      objective(outputs, {{"flat", x}, {"deep", {reshape(x, {2, 2, 1}), Tensor<double>({2}, {1, 0})}}});
  CHECK(losses["flat"] == Approx(mse(w * x, x).item()));
  CHECK(losses["deep"] == Approx(mse(slice(w * x, 0, 0, 2), slice(x, 0, 0, 2)).item()));
  CHECK(losses.weight(1) == 2);
}

TEST_CASE("every task absent: nothing happens", "[fast]") {
  auto model = make_model();
  Samples batch = make_batch(false);
  batch.targets = {{"size", *batch.targets.find("size")}};
  for (const Combiner& combiner : {Combiner(), Combiner(UPGrad{}), Combiner(UncertaintyWeighting{})}) {
    MultiObjective<double> objective({{"size", MSE{}}}, combiner);
    objective.backward(losses_of(model, objective, batch));
    CHECK(objective.record().active.empty());
    for (const auto& g : gradients_of(model)) CHECK_FALSE(g.defined());
  }
}

TEST_CASE("retain_graph serves two objectives on one forward pass", "[fast]") {
  auto model = make_model();
  MultiObjective<double> sum(tasks()), upgrad(tasks(), UPGrad{});
  const Losses<double> losses = losses_of(model, sum, make_batch());
  sum.backward(losses, {.retain_graph = true});
  const Values once = gradients_of(model);
  clear_gradients(model);
  sum.backward(losses, {.retain_graph = true});
  CHECK(same_bits(gradients_of(model), once));
  clear_gradients(model);
  upgrad.backward(losses);
  CHECK_FALSE(same_bits(gradients_of(model), once));
}

TEST_CASE("a custom loss is judged by its weights and gives one number", "[fast]") {
  const Tensor<double> y = parameter(Tensor<double>::ones({3, 1}));
  const Outputs<double> outputs{{"a", y}};
  const MultiObjective<double> rows({{"a", [](const auto& p, const Target<double>& t) { return p - t.value; }}});
  CHECK_THROWS_WITH(rows(outputs, {{"a", Tensor<double>::zeros({3, 1})}}),
                    "objective: the loss of task 'a' is [3, 1]; a loss function must give one number");
  const MultiObjective<double> none(
      {{"a", [](const Tensor<double>&, const Target<double>&) { return Tensor<double>(); }}});
  CHECK_THROWS_WITH(none(outputs, {{"a", Tensor<double>::zeros({3, 1})}}),
                    "objective: the loss of task 'a' is undefined; a loss function must give one number");
  const MultiObjective<double> custom({{"a", huber}});
  CHECK_THROWS_WITH(custom(outputs, {{"a", {Tensor<double>::zeros({3, 1}), Tensor<double>({3}, {1, NAN, 1})}}}),
                    "objective: task 'a': the weight of sample 1 is nan; weights are finite and not negative");
  const Losses<double> absent =
      custom(outputs, {{"a", {Tensor<double>::full({3, 1}, NAN), Tensor<double>::zeros({3})}}});
  CHECK(absent["a"] == 0);
  CHECK(absent.weight(0) == 0);
}

TEST_CASE("an objective needs tasks of different names", "[fast]") {
  CHECK_THROWS_WITH(MultiObjective<double>(std::vector<Named<TaskLoss<double>>>{}),
                    "MultiObjective: no task given; it needs at least one loss");
  CHECK_THROWS_WITH(MultiObjective<double>({{"a", MSE{}}, {"b", MSE{}}, {"a", MAE{}}}),
                    "MultiObjective: task 'a' appears twice; names must differ");
  CHECK_THROWS_WITH((MultiObjective{{{"a", MSE{}}, {"", MSE{}}}}), "MultiObjective: task 1 has no name; losses, metrics and files go by it");
}

TEST_CASE("a weight that is not finite reaches no parameter", "[fast]") {
  auto model = make_model();
  MultiObjective<double> objective(tasks(), Wrong{});
  const Samples b = make_batch();
  Pass pass{Rng{1}};
  const auto losses = objective(model(b.x, pass), b.targets);
  CHECK_THROWS_WITH(objective.backward(losses), "objective: wrong gave task 'kind' the weight nan; weights are finite. Clear the "
                                                "gradients before going on");
  for (const auto& p : parameters(std::as_const(model))) CHECK_FALSE(gradient(p.value).defined());
}
