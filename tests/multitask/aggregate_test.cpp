// Aggregators at work in a MultiObjective: one step is the method applied to gradients taken task by task, whatever the method;
// runs resume bit for bit; weights kept over steps, groups of parameters, the shared representation.

#include "espalier/io/checkpoint.hpp"
#include "espalier/model/multi_task_model.hpp"
#include "espalier/multitask/aggregator.hpp"
#include "espalier/multitask/diagnostics.hpp"
#include "espalier/multitask/objective.hpp"
#include "espalier/ops/functions.hpp"
#include "espalier/optim/adam.hpp"
#include "io/scratch.hpp"
#include "support/catch.hpp"
#include "support/golden.hpp"
#include "support/models.hpp"

namespace aggregate_test {

using namespace espalier;
using namespace support;

namespace {

std::vector<Combiner> methods() {
  return {UPGrad{},      DualProj{},  MGDA{},    MGDA{{.normalise = MGDAOptions::Normalise::loss_length}}, CAGrad{}, NashMTL{},
          FairGrad{},    IMTLG{},     ConFIG{},  AlignedMTL{}, PCGrad{}, GradVac{}, GradDrop{{.leak = {0, 0.3, 0.1, 1}, .seed = 5}},
          TrimmedMean{1}, MoCo{}, DBMTL{}};
}

/// Counts its calls, and fails when told to.
struct Moody {
  static constexpr std::string_view name = "moody";
  static constexpr Claims claims{};
  std::shared_ptr<int> calls = std::make_shared<int>(0);
  std::shared_ptr<bool> fails = std::make_shared<bool>(false);
  Certificate weights(GramianView, const StepInfo&, std::span<double> out) const {
    ++*calls;
    if (*fails) fail("moody: not now");
    for (double& w : out) w = 1;
    return {};
  }
};

MultiTaskModel<double> make_model(bool packed = true, std::vector<std::string> names = {"a", "b", "c", "d"}) {
  Rng rng{1};
  MultiTaskOptions<double> options{.trunk = sequential(Linear<double>(6, 8, rng), Tanh{}, Linear<double>(8, 5, rng), Tanh{})};
  for (std::size_t k = 0; k < names.size(); ++k) {
    const Linear<double> head(5, k % 2 == 0 ? 1 : 2, rng);
    options.heads.push_back({names[k], packed ? AnyModule<double>(head) : AnyModule<double>(sequential(head, Tanh{}))});
  }
  return MultiTaskModel<double>(std::move(options));
}

std::vector<Named<TaskLoss<double>>> losses_for(const std::vector<std::string>& names) {
  std::vector<Named<TaskLoss<double>>> losses;
  for (std::size_t i = 0; i < names.size(); ++i)
    losses.push_back(i % 3 == 2 ? Named<TaskLoss<double>>{names[i], MAE{}} : Named<TaskLoss<double>>{names[i], MSE{}});
  return losses;
}
const std::vector<std::string> four{"a", "b", "c", "d"};

Tensor<double> input_of(std::uint64_t step, Index batch = 9) {
  Rng rng{step + 100};
  return Tensor<double>::normal({batch, 6}, rng);
}
/// Targets of very different sizes; what lies behind the zero weights of an absent task is never read.
Targets<double> targets_of(const Outputs<double>& outputs, std::uint64_t step, const std::vector<std::string>& absent = {}) {
  Targets<double> targets;
  for (Index k = 0; k < outputs.size(); ++k) {
    const std::string& name = outputs.name(k);
    Rng rng{step * 10 + detail::hash_name(name)};
    const Shape shape = outputs[name].shape();
    Target<double> t(Tensor<double>::normal(shape, rng) * std::pow(3.0, static_cast<double>(name[0] - 'a') - 1));
    if (std::ranges::find(absent, name) != absent.end()) {
      t.value = Tensor<double>::full(shape, NAN);
      t.weight = Tensor<double>::zeros({shape[0]});
    }
    targets.add(name, t);
  }
  return targets;
}
std::vector<std::string> absent_at(std::uint64_t step) {
  if (step % 5 == 2) return {"b"};
  if (step % 7 == 3) return {"a", "d"};
  return {};
}

/// Explicit gradients as a Jacobian of blocks.
struct ExplicitBlocks final : JacobianBlocks {
  std::vector<std::string> names;
  std::vector<std::vector<double>> values, directions;  // [tasks, size], [size] of each block
  Index count = 0;
  Index tasks() const override { return count; }
  Index blocks() const override { return static_cast<Index>(values.size()); }
  Index size(Index b) const override { return static_cast<Index>(values[static_cast<std::size_t>(b)].size()) / count; }
  Index offset(Index) const override { return 0; }
  Index whole(Index b) const override { return size(b); }
  std::string_view name(Index b) const override { return names[static_cast<std::size_t>(b)]; }
  std::span<const double> rows(Index b) override { return values[static_cast<std::size_t>(b)]; }
  void direction(Index b, std::span<const double> d) override { directions[static_cast<std::size_t>(b)].assign(d.begin(), d.end()); }
};

struct Expected {
  Values gradients;
  std::vector<double> weights;
};

/// What `method` must bring to every parameter: its direction for what is shared, the plain sum for the rest.
template <class Model>
Expected reference(Model& model, Combiner& method, const Losses<double>& losses, std::uint64_t step,
                   const auto& is_shared) {
  const auto all = parameters<double>(model);
  const Values tensors = tensors_of(model);
  const std::vector<Values> rows = explicit_gradients(losses, tensors);
  std::vector<Index> active;
  std::vector<double> values;
  for (Index k = 0; k < losses.size(); ++k)
    if (losses.present(k)) {
      active.push_back(k);
      values.push_back(losses.value(k));
    }
  const std::size_t m = active.size();
  const StepInfo info{step, *losses.names(), active, values};
  ExplicitBlocks blocks;
  blocks.count = static_cast<Index>(m);
  std::vector<double> gramian(m * m), weights(m);
  Expected expected;
  std::vector<std::size_t> place;
  for (std::size_t p = 0; p < tensors.size(); ++p) {
    Tensor<double> sum = Tensor<double>::zeros(tensors[p].shape());
    for (const Values& row : rows) sum = sum + row[p];
    expected.gradients.push_back(sum);
    const std::string& name = all.at(static_cast<Index>(p)).name;
    if (!is_shared(name)) continue;
    place.push_back(p);
    blocks.names.push_back(name);
    std::vector<double>& block = blocks.values.emplace_back();
    for (const Values& row : rows) block.insert(block.end(), row[p].values().begin(), row[p].values().end());
    for (std::size_t i = 0; i < m; ++i)
      for (std::size_t j = 0; j < m; ++j)
        for (Index e = 0; e < tensors[p].size(); ++e) gramian[i * m + j] += rows[i][p].data()[e] * rows[j][p].data()[e];
  }
  blocks.directions.resize(blocks.values.size());
  if (method.kind() == CombinerKind::jacobian) method.aggregate(blocks, info, weights);
  else method.weights(GramianView{gramian, static_cast<Index>(m)}, info, weights);
  for (std::size_t b = 0; b < place.size(); ++b) {
    const std::size_t p = place[b];
    Tensor<double> d = Tensor<double>::zeros(tensors[p].shape());
    if (method.kind() == CombinerKind::jacobian) std::ranges::copy(blocks.directions[b], d.mutate().begin());
    else
      for (std::size_t i = 0; i < m; ++i) d = d + weights[i] * rows[i][p];
    expected.gradients[p] = d;
  }
  expected.weights = weights;
  return expected;
}

constexpr auto in_trunk = [](const std::string& name) { return name.starts_with("trunk"); };

Losses<double> losses_of(MultiTaskModel<double>& model, const MultiObjective<double>& objective, std::uint64_t step,
                         const std::vector<std::string>& absent, Index batch = 9) {
  Pass pass{Rng{0}, step};
  const Outputs<double> outputs = model(input_of(step, batch), pass);
  return objective(outputs, targets_of(outputs, step, absent));
}

/// A training run.
struct Run {
  MultiTaskModel<double> model;
  MultiObjective<double> objective;
  Adam<double> optimizer;
  explicit Run(const Combiner& method, AggregationOptions options = {}, std::vector<std::string> names = four)
      : model(make_model(true, names)), objective(losses_for(names), method, std::move(options)), optimizer(parameters<double>(model), {.lr = 0.01}) {}
  void steps(std::uint64_t first, std::uint64_t last, std::vector<std::string> always_absent = {}, bool sometimes = true) {
    for (std::uint64_t step = first; step < last; ++step) {
      std::vector<std::string> absent = sometimes ? absent_at(step) : std::vector<std::string>{};
      absent.insert(absent.end(), always_absent.begin(), always_absent.end());
      objective.backward(losses_of(model, objective, step, absent));
      optimizer.step();
    }
  }
  State state() { return State{{"model", model}, {"objective", objective}, {"optimizer", optimizer}}; }
};

/// All that a run consists of, bit for bit.
std::string bits(Run& run) {
  const State state = run.state();
  std::string all;
  for (const detail::StoredField& field : detail::read_fields("test", state.items()))
    all += field.name + '=' + std::string(reinterpret_cast<const char*>(field.bytes().data()), field.size) + '\n';
  return all;
}

}  // namespace

TEST_CASE("every aggregator's step is the method applied to explicit gradients", "[fast]") {
  for (const bool packed : {true, false})
    for (const Index batch : {3, 40})
      for (const Combiner& method : methods()) {
        CAPTURE(method.name(), packed, batch);
        auto model = make_model(packed);
        parameters<double>(model);
        Combiner twin = method;
        twin.prepare(4);
        MultiObjective<double> objective(losses_for(four), method);
        for (std::uint64_t step = 0; step < 4; ++step) {  // methods with a memory go on from theirs
          clear_gradients(model);
          const Losses<double> losses = losses_of(model, objective, step, absent_at(step), batch);
          const Expected expected = reference(model, twin, losses, step, in_trunk);
          objective.backward(losses);
          CHECK(gradient_error(model, expected.gradients) < 1e-10);
          for (std::size_t i = 0; i < expected.weights.size(); ++i)
            CHECK(objective.record().weights[i] == Approx(expected.weights[i]).epsilon(1e-8).margin(1e-12));
          descend(model, 0.01);
        }
      }
}

TEST_CASE("20 steps, saving, loading and 20 more are 40, bit for bit, for every aggregator", "[fast]") {
  const Scratch scratch;
  std::vector<std::pair<Combiner, AggregationOptions>> cases;
  for (const Combiner& method : methods()) cases.emplace_back(method, AggregationOptions{});
  for (const Combiner& method : {Combiner(NashMTL{}), Combiner(GradVac{})}) {
    cases.emplace_back(method, AggregationOptions{.every = 3});
    cases.emplace_back(method, AggregationOptions{.every = 7, .at_representation = true});
    cases.emplace_back(method, AggregationOptions{.every = 2, .groups = {"trunk.0"}});
  }
  for (const auto& [method, options] : cases) {
    CAPTURE(method.name(), options.every);
    Run whole(method, options), half(method, options);
    whole.steps(0, 40);
    half.steps(0, 20);
    save(scratch("half.safetensors"), half.state());
    Run again(method, options);
    again.steps(3, 4);  // in a state of its own
    State state = again.state();
    load(scratch("half.safetensors"), state);
    again.steps(20, 40);
    CHECK(same_bits(values_of(again.model), values_of(whole.model)));
    CHECK(bits(again) == bits(whole));
  }
}

TEST_CASE("a task that is always absent is no task, for every aggregator", "[fast]") {
  for (const Combiner& method : methods()) {
    if (method.name() == "grad_drop") continue;  // its leaks go by the task's number
    CAPTURE(method.name());
    Run with(method), without(method, {}, {"a", "b", "c"});
    with.steps(0, 12, {"d"}, false);
    without.steps(0, 12, {}, false);
    const auto all = parameters<double>(with.model), few = parameters<double>(without.model);
    for (Index i = 0; i < few.size(); ++i) CHECK(difference(all[few.at(i).name], few.at(i).value) < 1e-12);
    for (Index i = 0; i < all.size(); ++i)
      if (all.at(i).name.starts_with("heads.d")) CHECK(same_bits(all.at(i).value, parameters<double>(Run(method).model)[all.at(i).name]));
  }
}

// ---- weights kept over steps ---------------------------------------------------------------------------------------------

TEST_CASE("weights every k steps: a solution that failed is looked for again", "[fast]") {
  auto model = make_model();
  Moody method;
  MultiObjective<double> objective(losses_for(four), method, {.every = 3});
  const auto step = [&](std::uint64_t number) {
    Pass pass{Rng{7}, number};
    const auto outputs = model(input_of(number), pass);
    objective.backward(objective(outputs, targets_of(outputs, number)));
  };
  step(0);
  step(1);
  step(2);
  CHECK(*method.calls == 1);
  *method.fails = true;
  CHECK_THROWS_AS(step(3), Error);
  CHECK_THROWS_AS(step(3), Error);
  *method.fails = false;
  step(3);
  CHECK(*method.calls == 4);
  step(4);
  step(5);
  CHECK(*method.calls == 4);
  step(6);
  CHECK(*method.calls == 5);
}

TEST_CASE("weights every k steps: kept in between, found anew for a task that comes back", "[fast]") {
  for (const bool packed : {true, false}) {
    auto model = make_model(packed);
    MultiObjective<double> objective(losses_for(four), MGDA{}, {.every = 3});
    std::vector<double> last;
    for (std::uint64_t step = 0; step < 8; ++step) {
      clear_gradients(model);
      // Found in steps 0 and 3, in step 4 because b is back, and in step 7.
      const Losses<double> losses = losses_of(model, objective, step, step == 3 ? std::vector<std::string>{"b"} : std::vector<std::string>{});
      Combiner twin = MGDA{};
      Expected expected = reference(model, twin, losses, step, in_trunk);
      const bool found = step == 0 || step == 3 || step == 4 || step == 7;
      if (!found) {  // the trunk's gradients with the last weights
        const auto rows = explicit_gradients(losses, tensors_of(model));
        const auto all = parameters<double>(model);
        for (Index p = 0; p < all.size(); ++p) {
          if (!in_trunk(all.at(p).name)) continue;
          Tensor<double> sum = Tensor<double>::zeros(all.at(p).value.shape());
          for (std::size_t i = 0; i < rows.size(); ++i) sum = sum + last[i] * rows[i][static_cast<std::size_t>(p)];
          expected.gradients[static_cast<std::size_t>(p)] = sum;
        }
      }
      objective.backward(losses);
      CAPTURE(packed, step);
      CHECK(gradient_error(model, expected.gradients) < 1e-12);
      CHECK(objective.record().gramian.empty() == !found);
      if (!found) CHECK(objective.record().weights == last);
      last = objective.record().weights;
      for (const auto& p : parameters<double>(model)) CHECK(leaf_of(p.value)->slot == -1);
      descend(model, 0.05);
    }
  }
}

namespace {

/// No tags and no one representation: a layer that only two tasks reach, one that is used twice, one in a head and the trunk.
struct ByHand {
  Tensor<double> in, twice, side, a, b;
  explicit ByHand(Rng& rng) {
    const auto make = [&](const Shape& s) { return parameter(Tensor<double>::normal(s, rng)); };
    in = make({6, 6});
    twice = make({6, 6});
    side = make({6, 1});
    a = make({6, 1});
    b = make({6, 2});
  }
  Outputs<double> operator()(const Tensor<double>& x, Pass&) const {
    const Tensor<double> h = tanh(linear(x, in, Tensor<double>())), g = tanh(linear(tanh(linear(h, twice, Tensor<double>())), twice, Tensor<double>()));
    return Outputs<double>{{"a", matmul(g, a)}, {"b", matmul(g, b) + matmul(g, side)}, {"c", matmul(g, side)}, {"d", sum(linear(g, in, Tensor<double>()) * g, {1})}};
  }
  void fields(auto&& visit) {
    visit("in", in);
    visit("twice", twice);
    visit("side", side);
    visit("a", a);
    visit("b", b);
  }
};

}  // namespace

TEST_CASE("weights every k steps on a model by hand", "[fast]") {
  Rng rng{8};
  ByHand model(rng);
  const auto shared = [](const std::string& name) { return name.size() > 1; };
  MultiObjective<double> objective(losses_for(four), CAGrad{}, {.every = 2});
  for (std::uint64_t step = 0; step < 2; ++step) {
    clear_gradients(model);
    Pass pass{Rng{0}};
    const Outputs<double> outputs = model(input_of(0), pass);  // the same batch twice: kept weights are those found anew
    const Losses<double> losses = objective(outputs, targets_of(outputs, 0));
    Combiner twin = CAGrad{};
    const Expected expected = reference(model, twin, losses, 0, shared);
    objective.backward(losses);
    CHECK(gradient_error(model, expected.gradients) < 1e-10);
    CHECK(objective.record().gramian.empty() == (step == 1));
  }
}

// ---- the representation that all tasks share -----------------------------------------------------------------------------

TEST_CASE("at the representation: inner products of the trunk's output", "[fast]") {
  for (const bool packed : {true, false})
    for (const Index every : {1, 2}) {
      auto model = make_model(packed);
      MultiObjective<double> objective(losses_for(four), NashMTL{}, {.every = every, .at_representation = true});
      std::vector<double> last;
      for (std::uint64_t step = 0; step < 4; ++step) {
        clear_gradients(model);
        const bool absent = step == 2;
        // The gradients in the trunk's output, by hand: heads applied to a leaf of its value.
        const Tensor<double> z = parameter(model.trunk()(input_of(step)));
        Pass pass{Rng{0}, step};
        const Losses<double> losses = losses_of(model, objective, step, absent ? std::vector<std::string>{"c"} : std::vector<std::string>{});
        Values rows;
        {
          const Outputs<double> outputs = model.heads()(z, &pass);
          const Losses<double> upper = objective(outputs, targets_of(outputs, step, absent ? std::vector<std::string>{"c"} : std::vector<std::string>{}));
          for (const Values& row : explicit_gradients(upper, {z})) rows.push_back(row[0]);
        }
        const std::size_t m = rows.size();
        std::vector<double> gramian(m * m), weights(m);
        for (std::size_t i = 0; i < m; ++i)
          for (std::size_t j = 0; j < m; ++j) gramian[i * m + j] = sum(rows[i] * rows[j]).item();
        NashMTL{}.weights({gramian, static_cast<Index>(m)}, {}, weights);
        const std::vector<Values> explicit_rows = explicit_gradients(losses, tensors_of(model));
        objective.backward(losses);
        const std::vector<double> used = objective.record().weights;
        const bool found = every == 1 || step != 1;  // in step 2 after two; in step 3 because c is back
        REQUIRE(objective.record().gramian.size() == (found ? m * m : 0));
        for (std::size_t i = 0; found && i < m * m; ++i) CHECK(objective.record().gramian[i] == Approx(gramian[i]).margin(1e-12));
        for (std::size_t i = 0; i < m; ++i) CHECK(used[i] == (found ? Approx(weights[i]).epsilon(1e-9) : Approx(last[i]).epsilon(1e-15)));
        const auto all = parameters<double>(model);
        Values expected;
        for (Index p = 0; p < all.size(); ++p) {
          Tensor<double> sum = Tensor<double>::zeros(all.at(p).value.shape());
          for (std::size_t i = 0; i < m; ++i)
            sum = sum + (in_trunk(all.at(p).name) ? used[i] : 1.0) * explicit_rows[i][static_cast<std::size_t>(p)];
          expected.push_back(sum);
        }
        CHECK(gradient_error(model, expected) < 1e-12);
        last = used;
        descend(model, 0.05);
      }
    }
}

TEST_CASE("at the representation: models that have none are told so", "[fast]") {
  Rng rng{8};
  ByHand model(rng);
  MultiObjective<double> objective(losses_for(four), MGDA{}, {.at_representation = true});
  Pass pass{Rng{0}};
  const Outputs<double> outputs = model(input_of(0), pass);
  CHECK_THROWS_WITH(objective.backward(objective(outputs, targets_of(outputs, 0))),
                    "objective: tasks share parameters above the representation that they share; at_representation is for models in "
                    "which every path leads through one, aggregate at the parameters");
  MultiTaskModel<double> flat({.heads = {{"a", Linear<double>(6, 1, rng)}, {"b", Linear<double>(6, 1, rng)}}});
  MultiObjective<double> two(losses_for({"a", "b"}), MGDA{}, {.at_representation = true});
  const Outputs<double> predictions = flat(input_of(0), pass);
  CHECK_THROWS_WITH(two.backward(two(predictions, targets_of(predictions, 0))),
                    "objective: the tasks share no one representation; at_representation is for models in which every path leads "
                    "through one, aggregate at the parameters");
}

// ---- groups of parameters --------------------------------------------------------------------------------------------------

TEST_CASE("groups of parameters have weights of their own", "[fast]") {
  auto model = make_model();
  parameters<double>(model);
  MultiObjective<double> objective(losses_for(four), UPGrad{}, {.groups = {"trunk.0", "heads"}});
  const Losses<double> losses = losses_of(model, objective, 0, {});
  Combiner one = UPGrad{}, two = UPGrad{};
  const Expected first = reference(model, one, losses, 0, [](const std::string& n) { return n.starts_with("trunk.0."); }),
                 rest = reference(model, two, losses, 0, [](const std::string& n) { return n.starts_with("trunk.2."); });
  Values expected;
  const auto all = parameters<double>(model);
  for (Index p = 0; p < all.size(); ++p)
    expected.push_back((all.at(p).name.starts_with("trunk.2.") ? rest : first).gradients[static_cast<std::size_t>(p)]);
  objective.backward(losses);
  CHECK(gradient_error(model, expected) < 1e-12);
  const ObjectiveRecord& record = objective.record();
  REQUIRE(record.group_weights.size() == 12);
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(record.group_weights[i] == Approx(first.weights[i]).epsilon(1e-12));
    CHECK(record.group_weights[4 + i] == 0.25);  // nothing of the heads is shared
    CHECK(record.group_weights[8 + i] == Approx(rest.weights[i]).epsilon(1e-12));
  }
  auto nameless = make_model();
  for (const auto& p : all) leaf_of(p.value)->name.clear();
  const Losses<double> again = losses_of(model, objective, 0, {});
  CHECK_THROWS_WITH(objective.backward(again), "objective: a shared parameter [5, 8] has no name, which groups go by; call parameters(model) "
                                               "once, or make an optimizer of them");
}

TEST_CASE("options that a method has no use for are refused", "[fast]") {
  const auto make = [](const Combiner& method, AggregationOptions options) { MultiObjective<double>(losses_for(four), method, options); };
  CHECK_THROWS_WITH(make(UPGrad{}, {.every = 0}), "MultiObjective: every is 0; it must be at least 1");
  CHECK_THROWS_WITH(make(DBMTL{}, {.every = 2}),
                    "MultiObjective: db_mtl works on the gradients of every step; it has no weights to be kept for `every` 2 steps");
  for (const AggregationOptions& options : {AggregationOptions{.at_representation = true}, AggregationOptions{.groups = {"trunk"}}})
    for (const Combiner& method : {Combiner(MoCo{}), Combiner(Sum{})})
      CHECK_THROWS_WITH(make(method, options), join("MultiObjective: ", method.name(),
                                                    " does not work on inner products of gradients; it takes neither at_representation "
                                                    "nor groups"));
  CHECK_THROWS_WITH(make(MGDA{}, {.at_representation = true, .groups = {"trunk.0"}}),
                    "MultiObjective: at_representation and groups exclude each other; the representation has no parameters to group");
}

TEST_CASE("a diagnosed record has the Gramian and J d of every method, groups of parameters included", "[fast]") {
  std::vector<std::pair<Combiner, AggregationOptions>> cases;
  for (const Combiner& method : methods()) cases.emplace_back(method, AggregationOptions{});
  cases.emplace_back(UPGrad{}, AggregationOptions{.groups = {"trunk.0"}});
  cases.emplace_back(NashMTL{}, AggregationOptions{.groups = {"trunk.2.bias", "trunk.0"}});
  cases.emplace_back(Sum{}, AggregationOptions{});
  cases.emplace_back(FixedWeights{{1, 2, 3, 4}}, AggregationOptions{});
  for (const auto& [method, options] : cases)
    for (const bool packed : {true, false}) {
      CAPTURE(method.name(), options.groups.size(), packed);
      auto model = make_model(packed), plain = make_model(packed);
      MultiObjective<double> objective(losses_for(four), method, options), without(losses_for(four), method, options);
      objective.diagnose();
      const auto all = parameters<double>(model);
      parameters<double>(plain);
      const std::vector<std::string> absent{"c"};
      const Losses<double> losses = losses_of(model, objective, 1, absent);
      const std::vector<Values> rows = explicit_gradients(losses, tensors_of(model));
      objective.backward(losses);
      without.backward(losses_of(plain, without, 1, absent));
      CHECK(same_bits(gradients_of(model), gradients_of(plain)));  // looking changes nothing
      const Diagnostics d = diagnostics(objective.record());
      REQUIRE(d.active == std::vector<Index>{0, 1, 3});
      REQUIRE(d.descent.size() == 3);
      for (std::size_t i = 0; i < 3; ++i) {
        const auto& mine = rows[i];
        double fall = 0, length = 0;
        for (Index p = 0; p < all.size(); ++p) {
          if (!in_trunk(all.at(p).name)) continue;
          const auto &g = mine[static_cast<std::size_t>(p)], direction = gradient(all.at(p).value);
          fall += sum(g * direction)();
          length += sum(g * g)();
        }
        CHECK(d.descent[i] == Approx(fall).epsilon(1e-9).margin(1e-12));
        CHECK(d.norms[i] == Approx(std::sqrt(length)).epsilon(1e-9));
      }
    }
}

// ---- methods that see the gradients themselves -------------------------------------------------------------------------------

namespace {

ExplicitBlocks blocks_of(Index tasks, std::vector<std::vector<double>> values) {
  ExplicitBlocks blocks;
  blocks.count = tasks;
  for (std::size_t b = 0; b < values.size(); ++b) blocks.names.push_back("p" + std::to_string(b));
  blocks.directions.resize(values.size());
  blocks.values = std::move(values);
  return blocks;
}

}  // namespace

TEST_CASE("TrimmedMean: a golden vector, the median of what is left, misuse", "[fast]") {
  const Golden golden{"aggregators.txt"};
  ExplicitBlocks blocks = blocks_of(4, {golden["J_trim"].values});
  std::vector<double> w(4);
  CHECK(TrimmedMean{1}.aggregate(blocks, {}, w).status == Certificate::Status::exact);
  const auto& expected = golden["J_trim/TrimmedMean/trim_number=1/d"].values;
  for (std::size_t k = 0; k < 2; ++k) CHECK(blocks.directions[0][k] == Approx(expected[k]).epsilon(1e-12));
  ExplicitBlocks few = blocks_of(3, {{5, 1, -2}});
  const Certificate c = TrimmedMean{2}.aggregate(few, {}, std::span(w).first(3));
  CHECK(few.directions[0] == std::vector<double>{1});
  CHECK(c.fallback == "median");
  CHECK_THROWS_WITH(TrimmedMean{-1}, "trimmed_mean: trim is -1; it must not be negative");
  ExplicitBlocks bad = blocks_of(2, {{1, 2}, {1, NAN}});
  CHECK_THROWS_WITH(TrimmedMean{0}.aggregate(bad, {.names = four}, std::span(w).first(2)),
                    "trimmed_mean: the gradient of task 'b' in p1 is not finite; look at its loss and its labels");
  }

TEST_CASE("GradDrop: one sign a coordinate, as often as its share says", "[fast]") {
  // Reference, section 8: on J2, P = (.6, 1, 1), so d is (6, 2, 2) with probability .6 and (-4, 2, 2) otherwise.
  int up = 0;
  std::vector<double> w(2);
  for (std::uint64_t step = 0; step < 4000; ++step) {
    ExplicitBlocks blocks = blocks_of(2, {{-4, 1, 1, 6, 1, 1}});
    GradDrop{}.aggregate(blocks, {.step = step}, w);
    CHECK((blocks.directions[0] == std::vector<double>{6, 2, 2} || blocks.directions[0] == std::vector<double>{-4, 2, 2}));
    up += blocks.directions[0][0] > 0;
  }
  CHECK(std::abs(up - 2400) < 5 * std::sqrt(4000 * 0.24));
  ExplicitBlocks zero = blocks_of(2, {{0, 0}}), whole = blocks_of(2, {{-4, 6}}), part = blocks_of(2, {{-4, 6}});
  GradDrop{}.aggregate(zero, {}, w);
  CHECK(zero.directions[0] == std::vector<double>{0});
  GradDrop{{.leak = {1, 1}}}.aggregate(whole, {}, w);
  CHECK(whole.directions[0][0] == 2);
  GradDrop{{.leak = {0.5, 0}}}.aggregate(part, {}, w);
  CHECK((part.directions[0][0] == 4 || part.directions[0][0] == -4));
  CHECK_THROWS_WITH((GradDrop{{.leak = {0, 1.5}}}), "grad_drop: leak 1 is 1.5; it must be in [0, 1]");
  CHECK_THROWS_WITH(GradDrop{{.leak = {0.5}}}.aggregate(part, {}, w),
                    "grad_drop: there are 1 leaks, but task 1 is number 1; give one a task, absent tasks included, or none");
  // The draws of a parameter depend on its name alone, not on what else there is.
  std::vector<double> long_row(64);
  for (std::size_t k = 0; k < 64; ++k) long_row[k] = k < 32 ? 1 : -1;
  ExplicitBlocks alone = blocks_of(2, {long_row}), second = blocks_of(2, {{1, -1}, long_row});
  second.names = {"q", "p0"};
  GradDrop{}.aggregate(alone, {}, w);
  GradDrop{}.aggregate(second, {}, w);
  CHECK(alone.directions[0] == second.directions[1]);
  CHECK(std::ranges::count(alone.directions[0], 1) > 4);
  CHECK(std::ranges::count(alone.directions[0], -1) > 4);
}

TEST_CASE("MoCo and DB-MTL are their papers' loops", "[fast]") {
  MoCo moco{{.beta = 0.6, .gamma = 0.2, .rho = 0.1}};
  DBMTL db{{.beta = 0.7, .beta_decay = 0.5}};
  std::vector<std::vector<double>> y(3, std::vector<double>(5)), z = y;
  std::vector<double> lambda(3, 1.0 / 3), w(3);
  for (int t = 1; t <= 6; ++t) {
    Rng rng{static_cast<std::uint64_t>(t)};
    std::vector<double> first(6), second(9), losses{0.5, 2.0 / t, 1};
    rng.normal(std::span(first));
    rng.normal(std::span(second));
    std::vector<std::vector<double>> g(3);
    for (std::size_t i = 0; i < 3; ++i) {
      g[i].assign(first.begin() + static_cast<std::ptrdiff_t>(2 * i), first.begin() + static_cast<std::ptrdiff_t>(2 * i + 2));
      g[i].insert(g[i].end(), second.begin() + static_cast<std::ptrdiff_t>(3 * i), second.begin() + static_cast<std::ptrdiff_t>(3 * i + 3));
    }
    const auto dot = [](const auto& a, const auto& b) { return std::inner_product(a.begin(), a.end(), b.begin(), 0.0); };
    std::vector<double> step(3), expected(5), balanced(5);
    double total = 0, longest = 0;
    for (std::size_t i = 0; i < 3; ++i)
      for (std::size_t k = 0; k < 5; ++k) {
        y[i][k] -= 0.6 / std::sqrt(t) * (y[i][k] - losses[i] * g[i][k] / std::sqrt(dot(g[i], g[i])));
        const double h = g[i][k] / (losses[i] + 1e-8);
        z[i][k] = h + 0.7 / std::sqrt(t) * (z[i][k] - h);
      }
    for (std::size_t i = 0; i < 3; ++i) {
      double moved = 0.1 * lambda[i];
      for (std::size_t j = 0; j < 3; ++j) moved += dot(y[i], y[j]) * lambda[j];
      total += step[i] = std::exp(lambda[i] - 0.2 / std::sqrt(t) * moved);
      longest = std::max(longest, std::sqrt(dot(z[i], z[i])));
    }
    for (std::size_t i = 0; i < 3; ++i) {
      lambda[i] = step[i] / total;
      for (std::size_t k = 0; k < 5; ++k) {
        expected[k] += lambda[i] * y[i][k];
        balanced[k] += longest / std::sqrt(dot(z[i], z[i])) * z[i][k];
      }
    }
    const StepInfo info{.step = static_cast<std::uint64_t>(t), .losses = losses};
    ExplicitBlocks one = blocks_of(3, {first, second}), two = one;
    moco.aggregate(one, info, w);
    for (std::size_t i = 0; i < 3; ++i) CHECK(w[i] == Approx(lambda[i]).epsilon(1e-12));
    db.aggregate(two, info, w);
    for (std::size_t k = 0; k < 5; ++k) {
      CHECK(one.directions[k < 2 ? 0 : 1][k < 2 ? k : k - 2] == Approx(expected[k]).margin(1e-13));
      CHECK(two.directions[k < 2 ? 0 : 1][k < 2 ? k : k - 2] == Approx(balanced[k]).margin(1e-13));
    }
  }
  ExplicitBlocks bad = blocks_of(1, {{1, 2}}), other = blocks_of(3, {{1, 1, 1}});
  CHECK_THROWS_WITH(DBMTL{}.aggregate(bad, {.losses = std::vector{-1.0}}, std::span(w).first(1)),
                    "db_mtl: the loss of task 0 is -1; its logarithm is needed, so it must not be negative");
  CHECK_THROWS_WITH(MoCo{}.aggregate(bad, {}, std::span(w).first(1)),
                    "moco: there are 0 losses, but task 0 is row 0; it needs the loss of every row (StepInfo::losses)");
  CHECK_THROWS_WITH(MoCo{{.beta = 2}}, "moco: beta is 2; it must be at most 1");
  CHECK_THROWS_WITH(DBMTL{{.beta = 1}}, "db_mtl: beta is 1; it must be in [0, 1)");
  CHECK_THROWS_WITH(moco.aggregate(other, {.losses = std::vector{1.0, 1.0, 1.0}}, w),
                    "moco: 6 numbers are kept for p0, which has 1 elements and 3 tasks; a run goes on with the model that it began with");
}

// ---- small problems with known answers -----------------------------------------------------------------------------------------

namespace {

using Point = std::array<double, 2>;

/// The direction of a method on two gradients in the plane.
Point direction_of(Combiner& method, const std::array<Point, 2>& g, std::uint64_t step, double epsilon = 0x1p-52) {
  const auto inner = [&](std::size_t i, std::size_t j) { return g[i][0] * g[j][0] + g[i][1] * g[j][1]; };
  const std::array<double, 4> gramian{inner(0, 0), inner(0, 1), inner(1, 0), inner(1, 1)};
  std::array<double, 2> w{0.5, 0.5};
  if (method.aggregates()) method.weights(GramianView{gramian, 2}, {.step = step, .epsilon = epsilon}, w);
  return {w[0] * g[0][0] + w[1] * g[1][0], w[0] * g[0][1] + w[1] * g[1][1]};
}

/// Two element-wise quadratics.
std::array<double, 2> ewq(Combiner method, double rate, Point x) {
  for (std::uint64_t step = 0; step < 50; ++step) {
    const Point d = direction_of(method, {{{2 * x[0], 0}, {0, 2 * x[1]}}}, step);
    x = {x[0] - rate * d[0], x[1] - rate * d[1]};
  }
  return {x[0] * x[0], x[1] * x[1]};
}

/// Two convex quadratic forms.
std::array<double, 2> cqf(Combiner method, double rate, Point x) {
  const auto form = [&](double a, double b, double c, double u, bool gradient, std::size_t k) {
    const double p = x[0] - u, q = x[1];
    return gradient ? 2 * (k == 0 ? a * p + b * q : b * p + c * q) : a * p * p + 2 * b * p * q + c * q * q;
  };
  const auto first = [&](bool gradient, std::size_t k) { return form(1, 0.2, 0.05, 1, gradient, k); };
  const auto second = [&](bool gradient, std::size_t k) { return form(3, -0.6, 0.2, -1, gradient, k); };
  for (std::uint64_t step = 0; step < 200; ++step) {
    const Point d = direction_of(method, {{{first(true, 0), first(true, 1)}, {second(true, 0), second(true, 1)}}}, step);
    x = {x[0] - rate * d[0], x[1] - rate * d[1]};
  }
  return {first(false, 0), second(false, 0)};
}

/// The two-task toy of CAGrad's authors, its values and its gradients in closed form.
struct Toy {
  std::array<double, 2> f;
  std::array<Point, 2> g;
  explicit Toy(const Point& x) {
    const auto square = [](double v) { return v * v; };
    const double slope = 1 - square(std::tanh(x[1])), half = std::tanh(x[1] / 2), turn = 0.5 * (1 - half * half);
    const double c1 = std::max(half, 0.0), c2 = std::max(-half, 0.0), d1 = x[1] >= 0 ? turn : 0, d2 = x[1] <= 0 ? -turn : 0;
    const double valley[2] = {0.5 * (-x[0] - 7) + std::tanh(x[1]), 0.5 * (-x[0] + 3) - std::tanh(x[1]) + 2};
    for (std::size_t i = 0; i < 2; ++i) {
      const double far = i == 0 ? x[0] - 7 : x[0] + 7, v = valley[i], steep = std::abs(v) >= 5e-6 ? 1 / v : 0;
      const double h = std::log(std::max(std::abs(v), 5e-6)) + 6, q = (far * far + 0.1 * square(x[1] + 8)) / 10 - 20;
      f[i] = h * c1 + q * c2;
      g[i] = {-0.5 * steep * c1 + 0.2 * far * c2, (i == 0 ? slope : -slope) * steep * c1 + h * d1 + 0.02 * (x[1] + 8) * c2 + q * d2};
    }
  }
};

struct Place {
  Tensor<double> x;
  void fields(auto&& visit) { visit("x", x); }
};

/// Adam from `start`: the step of arrival on the Pareto set (0: never) and the place after 100,000 steps, where it takes long
/// to arrive 25,000 steps later.
std::pair<int, Point> toy_run(Combiner method, const Point& start) {
  Place place{parameter(Tensor<double>({2}, {start[0], start[1]}))};
  Adam<double> adam(parameters<double>(place), {.lr = 1e-3});
  int arrival = 0;
  Point x = start;
  for (int step = 1; step <= (arrival > 10000 ? arrival + 25000 : 100000); ++step) {
    // The reference decided on ranks in float: Aligned-MTL's arrival depends on it.
    const Point d = direction_of(method, Toy(x).g, static_cast<std::uint64_t>(step), 0x1p-23);
    leaf_of(place.x)->open_grad({});
    std::copy_n(d.data(), 2, leaf_of(place.x)->grad_view().raw());
    adam.step();
    x = {place.x.data()[0], place.x.data()[1]};
    if (arrival == 0 && x[1] > -8.5 && x[1] < -8.2 && std::abs(x[0]) <= 7.05) arrival = step;
  }
  return {arrival, x};
}

}  // namespace

TEST_CASE("gradient descent on quadratics ends where the reference says", "[fast]") {
  const auto close = [](double found, double expected) {  // to the digits that the reference has
    return std::abs(found - expected) <= 2e-3 * expected + 1e-6;
  };
  // Reference, section 9.2: f after 50 steps from a (3,-2), b (0,-3), c (-4,4), d (-3,4), e (-3.5,-.75).
  const std::vector<Point> starts{{3, -2}, {0, -3}, {-4, 4}, {-3, 4}, {-3.5, -0.75}};
  const std::vector<std::tuple<Combiner, double, std::vector<Point>>> table{
      {UPGrad{}, 1, {{.0037018, .0016453}, {0, .0037018}, {.0065810, .0065810}, {.0037018, .0065810}, {.0050386, .00023136}}},
      {DualProj{}, 1, {{.0037018, .0016453}, {0, .0037018}, {.0065810, .0065810}, {.0037018, .0065810}, {.0050386, .00023136}}},
      {PCGrad{}, .5, {{.0037018, .0016453}, {0, .0037018}, {.0065810, .0065810}, {.0037018, .0065810}, {.0050386, .00023136}}},
      {MGDA{}, 2, {{4.6300, 0}, {0, 9}, {1.40e-6, 1.40e-6}, {0, 6.3267}, {11.595, 0}}},
      {CAGrad{}, 1, {{.0037018, 2.72e-6}, {0, .0037018}, {1.049e-4, 1.049e-4}, {1.01e-5, .0065483}, {.0050386, 4.74e-6}}},
      {IMTLG{}, 1, {{1.0041, 4.1e-6}, {0, 7.9e-7}, {.0065810, .0065810}, {1.7e-5, 1.0084}, {7.5641, 8.6e-8}}},
      {AlignedMTL{}, 4, {{1.0000, 0}, {0, 0}, {0, 0}, {0, 1.0000}, {1.8158, 0}}}};
  for (const auto& [method, factor, ends] : table)
    for (std::size_t s = 0; s < starts.size(); ++s) {
      const auto f = ewq(method, 0.075 * factor, starts[s]);
      CAPTURE(method.name(), s, f[0], f[1]);
      CHECK(close(f[0], ends[s][0]));
      CHECK(close(f[1], ends[s][1]));
    }
  // After 200 steps from (.5,.5), (-.3,7), (0,0).
  const std::vector<Point> places{{.5, .5}, {-.3, 7}, {0, 0}};
  const std::vector<std::tuple<Combiner, double, std::vector<Point>>> forms{
      {Sum{}, 1, {{.49883, .78691}, {.48784, .79797}, {.49979, .78597}}},  // the mean, in direction_of
      {UPGrad{}, 1, {{.12198, 1.8268}, {.18960, 1.3286}, {.56259, .72762}}},
      {PCGrad{}, .5, {{.12198, 1.8268}, {.18960, 1.3286}, {.56259, .72762}}},
      {DualProj{}, 1, {{.16593, 1.4399}, {.22360, 1.2156}, {.79678, .55810}}},
      {MGDA{}, 2, {{.023799, 5.7593}, {.13712, 1.6552}, {.10423, 2.1075}}},
      {CAGrad{}, 1, {{.50094, .78483}, {.48384, .80206}, {.50265, .78315}}},
      {IMTLG{}, 1, {{.044315, 4.1758}, {.16896, 1.4383}, {.31039, 1.0281}}},
      {AlignedMTL{}, 4, {{.49502, .79069}, {.31839, 1.0147}, {.49905, .78668}}}};
  for (const auto& [method, factor, ends] : forms)
    for (std::size_t s = 0; s < places.size(); ++s) {
      const auto f = cqf(method, 0.125 * factor, places[s]);
      CAPTURE(method.name(), s, f[0], f[1]);
      CHECK(close(f[0], ends[s][0]));
      CHECK(close(f[1], ends[s][1]));
    }
}

TEST_CASE("the two-task toy: values and gradients of the reference", "[fast]") {
  const auto check = [](const Point& x, const Point& f, const std::array<Point, 2>& g) {
    const Toy toy(x);
    for (std::size_t i = 0; i < 2; ++i) {
      if (f[0] != 0) CHECK(toy.f[i] == Approx(f[i]).epsilon(1e-9));
      for (std::size_t k = 0; k < 2; ++k) CHECK(toy.g[i][k] == Approx(g[i][k]).margin(1e-9));
    }
  };
  check({-8.5, 7.5}, {6.5523634078, 7.9007981432}, {{{-.2853985120, .0072487202}, {-.0739921742, .0087394375}}});
  check({-8.5, -5}, {4.0599178369, -19.4215024591}, {{{-3.0585043243, .0044833515}, {-.2959842894, .3209308490}}});
  check({9, 9}, {7.9439491890, 6.6914953692}, {{{.0714109433, .0019607138}, {.2499383065, .0016516227}}});
  check({1, 2}, {0, 0}, {{{.1254283720, 1.4753972145}, {-.1870344973, 1.3827900666}}});
}

TEST_CASE("the two-task toy: who arrives from where, and when", "[slow]") {
  // Reference, section 9.1: arrival steps seen over 20 starts moved by up to 2e-9, widened by a tenth for the chaotic
  // runs, and the final x1; {0, 0} never arrives. Nash-MTL and FairGrad arrive as the reference says, and not chaotically.
  // But on the Pareto set no finite weights solve their equations, and how far they drift along it is the solver's cap. So
  // their ends here are those of the closed form for two tasks with our cap, over 20 such starts; the closed form without a
  // cap ends at (-2.918, -6.196, 2.925) and (-3.228, -6.289, 3.257), in tests/golden/toy_bargaining.py. The reference's
  // (-2.9, -6.3, 2.9) and (-4.1, -6.5, 4.1) are for FairGrad neither's.
  struct Row {
    Combiner method;
    std::array<Point, 3> steps, ends;
    double room = 0.06;
  };
  const double pareto = 7.05;
  const std::vector<Row> rows{
      {Sum{}, {{{0, 0}, {5630, 5630}, {0, 0}}}, {{{-5.1, -5.0}, {-.01, .01}, {5.0, 5.1}}}},
      {MGDA{}, {{{22235, 22235}, {5885, 5885}, {22978, 22978}}}, {{{-pareto, pareto}, {-pareto, pareto}, {-pareto, pareto}}}},
      {PCGrad{}, {{{44e3, 63e3}, {3127, 3127}, {50e3, 64e3}}}, {{{-4.4, -2.1}, {-6.43, -6.43}, {2.1, 3.7}}}},
      {UPGrad{}, {{{45e3, 60e3}, {3127, 3127}, {49e3, 64e3}}}, {{{-4.1, -2.1}, {-6.45, -6.45}, {2.1, 4.3}}}},
      {DualProj{}, {{{47e3, 63e3}, {3150, 3150}, {50e3, 66e3}}}, {{{-4.1, -1.4}, {-6.44, -6.44}, {1.3, 3.9}}}},
      {CAGrad{{.rescale = CAGradOptions::Rescale::one_plus_c}}, {{{52e3, 69e3}, {7151, 7151}, {60e3, 74e3}}},
       {{{-.01, .01}, {-.01, .01}, {-.01, .01}}}},
      {NashMTL{{.max_norm = 0}}, {{{14474, 14474}, {2680, 2680}, {15109, 15109}}},
       {{{-2.936, -2.935}, {-6.446, -6.406}, {2.938, 2.940}}}, 0.003},
      {FairGrad{{.max_norm = 0}}, {{{14324, 14324}, {2431, 2431}, {14968, 14968}}},
       {{{-3.264, -3.264}, {-6.648, -6.643}, {3.289, 3.289}}}, 0.003},
      {IMTLG{}, {{{23e3, 29e3}, {5777, 5777}, {24e3, 41e3}}}, {{{-.01, .01}, {-.01, .01}, {-.01, .01}}}},
      {AlignedMTL{}, {{{20859, 20859}, {5663, 5663}, {21556, 21556}}}, {{{-.01, .01}, {-.01, .01}, {-.01, .01}}}}};
  const std::array<Point, 3> starts{{{-8.5, 7.5}, {-8.5, -5}, {9, 9}}};
  for (const Row& row : rows)
    for (std::size_t s = 0; s < 3; ++s) {
      const auto [arrival, x] = toy_run(row.method, starts[s]);
      CAPTURE(row.method.name(), s, arrival, x[0], x[1]);
      const auto [first, last] = row.steps[s];
      CHECK(arrival >= (first < last ? 0.9 : 0.999) * first);
      CHECK(arrival <= (first < last ? 1.1 : 1.001) * last);
      const double room = first < last && row.ends[s][1] - row.ends[s][0] > 1 ? 0.5 : row.room;
      CHECK(x[0] >= row.ends[s][0] - room);
      CHECK(x[0] <= row.ends[s][1] + room);
      if (first > 0) CHECK((x[1] > -8.5 && x[1] < -8.2));
    }
}

}  // namespace aggregate_test
