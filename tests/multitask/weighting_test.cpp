// All weightings, folded over: a method is a line in `methods`. Numbers are compared with PyTorch's (golden/weighting.txt).
#include "espalier/multitask/weighting/weighting.hpp"

#include "espalier/espalier.hpp"
#include "io/scratch.hpp"
#include "support/catch.hpp"
#include "support/golden.hpp"
#include "support/models.hpp"

using namespace espalier;
using namespace support;

namespace {

using Numbers = std::vector<double>;

struct Method {
  Combiner combiner;
  WeightingClaims claims;
};
template <class M>
Method method(M m) {
  return {m, M::claims};
}
std::vector<Method> methods() {
  return {method(Sum{}), method(Mean{}), method(FixedWeights({0.5, 2, 3})), method(RLW{{.seed = 7}}), method(UncertaintyWeighting{}),
          method(IMTLL{}), method(DWA{}), method(GLS{}), method(ScaleInvariant{}), method(STCH{{.mu = 0.5}}), method(FAMO{}),
          method(GradNorm{})};
}

/// One step: the weights for these losses; the gradients are as long as `norms` (the losses' roots) and at right angles, and
/// the step takes up to a tenth of a loss, of small ones more.
Numbers step_of(Combiner& combiner, const Numbers& losses, const StepInfo& info = {}, Numbers norms = {}) {
  const std::size_t m = losses.size();
  Numbers out(m, -1), gramian(m * m), after = losses;
  for (std::size_t i = 0; i < m; ++i) {
    gramian[i * m + i] = norms.empty() ? losses[i] : norms[i] * norms[i];
    after[i] *= 1 - 0.1 / (1 + losses[i]);
  }
  if (combiner.looks_at_gradients()) combiner.weights(losses, GramianView{gramian, static_cast<Index>(m)}, info, out);
  else combiner.weights(std::span<const double>(losses), info, out);
  if (combiner.learns_after_step()) combiner.after_step(after, info);
  return out;
}
template <class M>
  requires LossWeighting<M>
Numbers weights_of(M& m, const Numbers& losses, const StepInfo& info = {}) {
  Numbers out(losses.size(), -1);
  m.weights(std::span<const double>(losses), info, std::span<double>(out));
  return out;
}

/// The losses of step `i`, of any number of tasks, over six orders of magnitude.
Numbers losses_at(int i, std::size_t tasks = 3) {
  Numbers losses(tasks);
  for (std::size_t k = 0; k < tasks; ++k)
    losses[k] = std::pow(10, static_cast<double>(k * 5 % 7) - 3) * std::exp(-0.05 * i * static_cast<double>(k + 1)) *
                (1 + 0.5 * std::sin(i + static_cast<double>(k)));
  return losses;
}
/// Weights after 12 steps of 4 an epoch, on losses that `change` has changed.
template <class Change>
Numbers trained(Combiner combiner, std::size_t tasks, const Change& change) {
  combiner.prepare(static_cast<Index>(tasks));
  Numbers w;
  for (int i = 0; i < 13; ++i) {
    if (i % 4 == 0) combiner.begin_epoch(i / 4);
    Numbers losses = losses_at(i, tasks);
    change(losses);
    w = step_of(combiner, losses, {.step = static_cast<std::uint64_t>(i)});
  }
  return w;
}
double relative(double a, double b) { return std::abs(a - b) / std::max({std::abs(a), std::abs(b), 1e-300}); }

std::string_view name_of(const Method& m) { return m.combiner.name(); }

Numbers row(const Golden::Array& a, std::size_t i) {
  return {a.values.begin() + static_cast<std::ptrdiff_t>(3 * i), a.values.begin() + static_cast<std::ptrdiff_t>(3 * i + 3)};
}

// ---- in a model ------------------------------------------------------------------------------------------------------

const std::vector<Named<TaskLoss<double>>> three{{"kind", CrossEntropy{}}, {"size", MSE{}}, {"done", BCEWithLogits{}}};

/// Three tasks on one trunk, or the first and the last alone.
struct Setup {
  bool all = true;
  Rng rng{1};
  MultiTaskModel<double> model;
  MultiObjective<double> objective;
  Adam<double> optimizer;

  explicit Setup(const Combiner& combiner, bool all_ = true)
      : all(all_),
        model([&] {
          MultiTaskOptions<double> o{.trunk = sequential(Linear<double>(5, 6, rng), Tanh{})};
          const Linear<double> kind(6, 3, rng), size(6, 2, rng), done(6, 1, rng);
          o.heads = {{"kind", kind}, {"done", done}};
          if (all) o.heads.insert(o.heads.begin() + 1, {"size", size});
          return MultiTaskModel<double>(o);
        }()),
        objective(all ? three : std::vector<Named<TaskLoss<double>>>{three[0], three[2]}, combiner),
        optimizer(parameters<double>(model), {.lr = 1e-2}) {}

  /// A batch of its number; task "size" is absent from every third one (`never`: from all), NaN behind.
  void train(int from, int to, bool never = false) {
    for (int i = from; i < to; ++i) {
      if (i % 5 == 0) objective.begin_epoch(i / 5);
      Rng draws{100 + static_cast<std::uint64_t>(i)};
      const Tensor<double> x = Tensor<double>::normal({7, 5}, draws);
      Tensor<Index> kind = Tensor<Index>::zeros({7}), done = Tensor<Index>::zeros({7});
      Tensor<double> size = Tensor<double>::full({7, 2}, NAN), weight = Tensor<double>::zeros({7});
      for (Index r = 0; r < 7; ++r) {
        kind.raw()[r] = x(r, 0) > 0.5 ? 2 : x(r, 1) > 0;
        done.raw()[r] = x(r, 2) > 0;
        if (never || i % 3 == 1 || r == 4) continue;
        size.raw()[2 * r] = x(r, 3);
        size.raw()[2 * r + 1] = x(r, 0) * x(r, 4);
        weight.raw()[r] = 1;
      }
      const Targets<double> targets{{"kind", kind}, {"size", {size, weight}}, {"done", done}};
      Pass pass{rng, static_cast<std::uint64_t>(i)};
      objective.backward(objective(model(x, pass), targets));
      optimizer.step();
      objective.after_step([&] { return objective(model(x), targets); });
    }
  }
  State state() { return State{{"model", model}, {"objective", objective}, {"optimizer", optimizer}}; }
};

}  // namespace

TEST_CASE("weightings have the numbers of their papers", "[fast]") {
  const Golden file("weighting.txt");
  const Golden::Array &losses = file["steps.losses"], &after = file["steps.after"], &norms = file["steps.norms"];
  DWA dwa;
  FAMO famo{{.minima = {0, 0.1, 1}}};
  Combiner gradnorm = GradNorm{};
  UncertaintyWeighting uncertainty;
  IMTLL imtl_l;
  GLS gls;
  ScaleInvariant si;
  STCH stch{{.mu = 0.5}}, preferring{{.mu = 0.5, .preference = {1, 2, 5}, .ideal = {0.1, 0, 1}}};
  const auto check = [&](std::string_view name, std::size_t i, const Numbers& found) {
    const Numbers expected = row(file[name], i);
    for (std::size_t k = 0; k < 3; ++k) {
      INFO(name << ", step " << i << ", task " << k);
      CHECK(found[k] == Approx(expected[k]).epsilon(1e-12));
    }
  };
  for (std::size_t i = 0; i < 12; ++i) {
    const Numbers l = row(losses, i);
    check("gls", i, weights_of(gls, l));
    check("scale_invariant", i, weights_of(si, l));
    check("stch", i, weights_of(stch, l));
    check("stch.preference", i, weights_of(preferring, l));
    check("steps.uncertainty", i, weights_of(uncertainty, l));
    check("steps.imtl_l", i, weights_of(imtl_l, l));
    if (i % 3 == 0) dwa.begin_epoch(static_cast<Index>(i / 3));
    check("dwa", i, weights_of(dwa, l));
    check("famo", i, weights_of(famo, l));
    famo.after_step(row(after, i), {});
    check("gradnorm", i, step_of(gradnorm, l, {}, row(norms, i)));
  }
  const auto state = [&](std::string_view name, std::span<const double> found) { check(name, 0, {found.begin(), found.end()}); };
  state("steps.uncertainty.state", uncertainty.log_variances());
  state("steps.imtl_l.state", imtl_l.log_scales());
  state("famo.state", famo.logits());
  state("gradnorm.state", gradnorm.as<GradNorm>()->scores());
}

TEST_CASE("what weightings claim holds for any losses, new and trained", "[fast]") {
  for (const Method& m : methods()) {
    const WeightingClaims& claims = m.claims;
    for (const std::size_t tasks : {1u, 2u, 3u, 12u}) {
      if (tasks > 3 && name_of(m) == "fixed_weights") continue;
      INFO(name_of(m) << " with " << tasks << " tasks");
      const auto same = [](const Numbers& a, const Numbers& b, double factor = 1) {
        for (std::size_t k = 0; k < a.size(); ++k)
          if (!(relative(a[k], factor * b[k]) < 1e-9)) return false;
        return true;
      };
      const auto nothing = [](Numbers&) {};
      const Numbers w = trained(m.combiner, tasks, nothing);
      double sum = 0;
      for (const double x : w) {
        sum += x;
        CHECK(std::isfinite(x));
        CHECK(x >= 0);
        if (claims.positive && name_of(m) != "stch") CHECK(x > 0);  // stch's underflow: the losses are 1e6 mu apart
      }
      if (claims.sums_to_count) CHECK(sum == Approx(static_cast<double>(tasks)).epsilon(1e-12));
      if (claims.sums_to_one) CHECK(sum == Approx(1).epsilon(1e-12));
      CHECK(trained(m.combiner, tasks, nothing) == w);
      if (claims.scale_free)
        for (const double c : {1e-10, 1e15}) CHECK(same(trained(m.combiner, tasks, [&](Numbers& l) { for (double& x : l) x *= c; }), w));
      if (claims.permutation_equivariant) {
        Numbers turned = trained(m.combiner, tasks, [](Numbers& l) { std::ranges::reverse(l); });
        std::ranges::reverse(turned);
        CHECK(same(turned, w));
      }
      if (claims.unit_free) {
        const auto unit = [](std::size_t k) { return std::pow(10, 3.0 * static_cast<double>(k % 3) - 3); };
        Numbers other = trained(m.combiner, tasks, [&](Numbers& l) { for (std::size_t k = 0; k < l.size(); ++k) l[k] *= unit(k); });
        for (std::size_t k = 0; k < tasks; ++k) other[k] *= unit(k);
        CHECK(same(other, w, other[0] / w[0]));
      }
    }
  }
}

TEST_CASE("a task that is absent leaves the others as without it, and keeps its state", "[fast]") {
  const std::vector<std::string> names{"a", "b", "c"}, two{"a", "c"};
  for (const Method& m : methods()) {
    INFO(name_of(m));
    Combiner some = m.combiner, none = name_of(m) == "fixed_weights" ? Combiner(FixedWeights({0.5, 3})) : m.combiner, once = m.combiner;
    some.prepare(3);
    none.prepare(2);
    once.prepare(3);
    const Index present[] = {0, 2}, absent[] = {1};
    for (int i = 0; i < 10; ++i) {
      if (i % 3 == 0)
        for (Combiner* c : {&some, &none}) c->begin_epoch(i / 3);
      const auto number = static_cast<std::uint64_t>(i);
      const Numbers l = losses_at(i);
      const Numbers w = step_of(some, {l[0], l[2]}, {.step = number, .names = names, .active = present});
      CHECK(w == step_of(none, {l[0], l[2]}, {.step = number, .names = two}));
    }
    CHECK(step_of(some, {2.0}, {.step = 99, .names = names, .active = absent}) ==
          step_of(once, {2.0}, {.step = 99, .names = names, .active = absent}));
  }
}

TEST_CASE("twenty steps, save, load and twenty more are forty, for every weighting", "[fast]") {
  const Scratch scratch;
  for (const Method& m : methods()) {
    INFO(name_of(m));
    Setup whole(m.combiner), first(m.combiner), second(m.combiner);
    whole.train(0, 40);
    first.train(0, 20);
    save(scratch("run.safetensors"), first.state());
    second.train(3, 5);  // what it was before does not matter
    load(scratch("run.safetensors"), second.state());
    second.train(20, 40);
    CHECK(same_bits(values_of(second.model), values_of(whole.model)));
    CHECK(finite(values_of(whole.model)));
  }
}

TEST_CASE("a task without any label leaves the model as if it were not there", "[fast]") {
  for (const Method& m : methods()) {
    INFO(name_of(m));
    const bool fixed = name_of(m) == "fixed_weights";
    Setup three_tasks(m.combiner), two_tasks(fixed ? Combiner(FixedWeights({0.5, 3})) : m.combiner, false);
    three_tasks.train(0, 12, true);
    two_tasks.train(0, 12, true);
    Values all = values_of(three_tasks.model), some = values_of(two_tasks.model);
    all.erase(all.begin() + 4, all.begin() + 6);  // the head of "size"
    for (std::size_t i = 0; i < some.size(); ++i) CHECK(difference(all[i], some[i]) < 1e-12);
  }
}

TEST_CASE("GradNorm and diagnosed weightings see the explicit gradients in what is shared, and change no other bit", "[fast]") {
  for (const Combiner& combiner : {Combiner(GradNorm{}), Combiner(Sum{}), Combiner(UPGrad{})}) {
    Setup plain(combiner), diagnosed(combiner), lone(combiner);
    diagnosed.objective.diagnose();
    plain.train(0, 6);
    diagnosed.train(0, 6);
    CHECK(same_bits(values_of(plain.model), values_of(diagnosed.model)));
    CHECK(plain.objective.record().gramian.empty() == !combiner.aggregates());  // of GradNorm, norms alone are no Gramian

    Rng rng{5};
    const Tensor<double> x = Tensor<double>::normal({7, 5}, rng), size = Tensor<double>::normal({7, 2}, rng);
    const Targets<double> targets{
        {"kind", Tensor<Index>({7}, {0, 1, 2, 1, 0, 2, 2})}, {"size", size}, {"done", Tensor<Index>({7}, {0, 1, 1, 1, 0, 0, 1})}};
    Pass pass{rng};
    MultiObjective<double> objective(three, combiner);
    if (!combiner.aggregates()) objective.diagnose();
    const Losses<double> losses = objective(lone.model(x, pass), targets);
    const Values parameters = tensors_of(lone.model);
    const auto rows = explicit_gradients(losses, parameters);
    Numbers gramian(9);
    for (std::size_t i = 0; i < 3; ++i)
      for (std::size_t j = 0; j < 3; ++j)
        for (std::size_t p = 0; p < 2; ++p)  // the trunk
          for (Index e = 0; e < parameters[p].size(); ++e) gramian[3 * i + j] += rows[i][p].data()[e] * rows[j][p].data()[e];
    objective.backward(losses);
    REQUIRE(objective.record().gramian.size() == 9);
    for (std::size_t i = 0; i < 9; ++i) CHECK(objective.record().gramian[i] == Approx(gramian[i]).epsilon(1e-10));
    if (combiner.aggregates()) continue;
    Values expected;
    for (std::size_t p = 0; p < parameters.size(); ++p) {
      expected.push_back(Tensor<double>::zeros(parameters[p].shape()));
      for (std::size_t k = 0; k < 3; ++k) expected[p] = expected[p] + objective.record().weights[k] * rows[k][p];
    }
    CHECK(gradient_error(lone.model, expected) < 1e-12);
  }
}

TEST_CASE("GradNorm looks at what is shared by tag or by reach, not at heads", "[fast]") {
  Rng rng{3};
  auto w = parameter(Tensor<double>::normal({5, 2}, rng)), v = parameter(Tensor<double>::normal({2, 1}, rng));
  const Tensor<double> x = Tensor<double>::normal({7, 5}, rng), h = matmul(x, w);
  const Outputs<double> outputs{{"a", matmul(h, v)}, {"b", sum(h, {1}, {.keep_axes = true})}};
  MultiObjective<double> objective({{"a", MSE{}}, {"b", MSE{}}}, GradNorm{});
  objective.diagnose();
  const Tensor<double> one = Tensor<double>::ones({7, 1});
  const Losses<double> losses = objective(outputs, {{"a", one}, {"b", one}});
  const Values rows = {grad(loss_of(losses, 0), {w}, {.retain_graph = true})[0], grad(loss_of(losses, 1), {w}, {.retain_graph = true})[0]};
  objective.backward(losses);
  for (std::size_t i = 0; i < 2; ++i) CHECK(objective.record().gramian[3 * i] == Approx(sum(rows[i] * rows[i]).item()).epsilon(1e-12));
  CHECK(gradient(v).defined());
}

TEST_CASE("uncertainty weighting settles where e^s is the loss, IMTL-L where the weighted losses are 1", "[fast]") {
  UncertaintyWeighting uncertainty{{.lr = 0.01}};
  IMTLL imtl_l{{.lr = 0.01}};
  const Numbers losses{0.25, 1.5, 12};
  Numbers w;
  for (int step = 0; step < 3000; ++step) {
    weights_of(uncertainty, losses);
    w = weights_of(imtl_l, losses);
  }
  for (std::size_t k = 0; k < 3; ++k) {
    CHECK(std::exp(uncertainty.log_variances()[k]) == Approx(losses[k]).epsilon(1e-3));
    CHECK(w[k] * losses[k] == Approx(1).epsilon(1e-3));
  }
  UncertaintyWeighting extreme{{.lr = 1, .limit = 5}};
  IMTLL steep{{.lr = 1, .limit = 5}};
  for (int step = 0; step < 100; ++step) {
    weights_of(extreme, {0, 1e30});
    weights_of(steep, {0, 1e30});
  }
  CHECK(extreme.log_variances()[0] == -5);
  CHECK(extreme.log_variances()[1] == 5);
  CHECK(steep.log_scales()[0] == 5);
  CHECK(steep.log_scales()[1] == -5);
}

TEST_CASE("RLW draws a softmax of normal numbers, each task its own", "[fast]") {
  RLW rlw{{.seed = 3}};
  const std::vector<std::string> names{"a", "b"}, turned{"b", "a"};
  double mean = 0, square = 0;
  for (std::uint64_t step = 0; step < 4000; ++step) {
    const Numbers w = weights_of(rlw, {1, 1}, {.step = step, .names = names}), r = weights_of(rlw, {1, 1}, {.step = step, .names = turned});
    CHECK(w[0] == Approx(r[1]).epsilon(1e-14));
    const double z = std::log(w[0] / w[1]);  // the difference of two standard normal numbers
    mean += z / 4000;
    square += z * z / 4000;
  }
  CHECK(std::abs(mean) < 0.1);
  CHECK(square == Approx(2).epsilon(0.1));
}

TEST_CASE("DWA counts epochs per task, and repeats of begin_epoch change nothing", "[fast]") {
  DWA dwa{{.temperature = 1}};
  const std::vector<std::string> names{"a", "b"};
  const Index first[] = {0};
  const auto epoch = [&](const Numbers& losses, std::span<const Index> active = {}) {
    dwa.begin_epoch(0);
    dwa.begin_epoch(0);
    return weights_of(dwa, losses, {.names = names, .active = active});
  };
  CHECK(epoch({4, 3}) == Numbers{1, 1});
  CHECK(epoch({2, 3}) == Numbers{1, 1});
  CHECK(epoch({1}, first) == Numbers{1});
  const Numbers w = epoch({1, 1});  // r is 1/2 and, from its own two epochs, 1
  CHECK(w[0] / w[1] == Approx(std::exp(-0.5)).epsilon(1e-14));
  DWA zero;
  for (int i = 0; i < 3; ++i) {
    CHECK(weights_of(zero, {0, 0}) == Numbers{1, 1});
    zero.begin_epoch(i);
  }
}

TEST_CASE("FAMO gives more to the task whose loss falls least, and its hooks must be called", "[fast]") {
  FAMO famo;
  Numbers w;
  for (int i = 0; i < 50; ++i) {
    w = weights_of(famo, {1, 1});
    famo.after_step(Numbers{0.5, 0.9}, {});
  }
  CHECK(w[1] > 2 * w[0]);

  Setup setup((Combiner(FAMO{})));
  Rng rng{2};
  const Tensor<double> x = Tensor<double>::normal({2, 5}, rng);
  const Tensor<double> size = Tensor<double>::ones({2, 2});
  Targets<double> targets{{"kind", Tensor<Index>({2}, {0, 1})}, {"size", size}, {"done", Tensor<Index>({2}, {0, 1})}};
  const auto step = [&] {
    Pass pass{rng};
    setup.objective.backward(setup.objective(setup.model(x, pass), targets));
  };
  const auto after = [&](Index task, double value) {
    return [&, task, value] {
      Losses<double> losses(typename Losses<double>::Names(std::vector<std::string>{"kind", "size", "done"}));
      for (Index k = 0; k < 3; ++k) {
        const double one = 1, weight = k == task && value == 0 ? 0 : one;
        losses.add({Tensor<double>::full({1}, k == task ? value : one), {k}}, std::span(&weight, 1));
      }
      return losses;
    };
  };
  step();
  CHECK_THROWS_WITH(step(), "objective: famo learns from the losses after the step; after optimizer.step() call after_step(evaluate), or "
                            "abandon_step() when there was no step");
  setup.objective.abandon_step();
  step();
  CHECK_THROWS_WITH(setup.objective.after_step(after(1, NAN)),
                    "objective: after the step the loss of task 'size' is nan; look at the learning rate");
  step();
  CHECK_THROWS_WITH(setup.objective.after_step(after(2, 0)),
                    "objective: task 'done' has no label after the step, but had before; evaluate the same batch");
  step();
  CHECK_THROWS_WITH(setup.objective.after_step([] { return Losses<double>(); }), "objective: 0 losses after the step for 3 tasks");
  step();
  CHECK_THROWS_WITH(setup.objective.after_step(after(0, -1)),
                    "FAMO: the loss of task 'kind' is -1; it must not be below its minimum, 0; give lower ones: {.minima = {...}}");
  MultiObjective<double> sum(three);
  bool called = false;
  sum.after_step([&] { return called = true, Losses<double>(); });
  CHECK_FALSE(called);
}

TEST_CASE("a weighting every k steps: weights are kept, and learned in the steps that find them", "[fast]") {
  for (const Combiner& combiner : {Combiner(UncertaintyWeighting{{.lr = 0.5}}), Combiner(RLW{}), Combiner(GradNorm{{.lr = 0.5}}),
                                   Combiner(FAMO{{.lr = 0.5}})}) {
    CAPTURE(combiner.name());
    Setup setup(combiner);
    setup.objective = MultiObjective<double>(three, combiner, {.every = 4});
    setup.objective.diagnose();
    Rng draws{4};
    const Tensor<double> x = Tensor<double>::normal({6, 5}, draws), size = Tensor<double>::normal({6, 2}, draws);
    std::vector<double> found;
    int looked = 0;
    for (int i = 0; i < 12; ++i) {
      // Size is absent in steps 5 and 6, between two solutions.
      const bool there = i != 5 && i != 6;
      const Targets<double> targets{{"kind", Tensor<Index>({6}, {0, 1, 2, 0, 1, 2})},
                                    {"size", {size, Tensor<double>::full({6}, there)}},
                                    {"done", Tensor<Index>({6}, {0, 1, 0, 1, 1, 0})}};
      clear_gradients(setup.model);
      Pass pass{Rng{1}, static_cast<std::uint64_t>(i)};
      const Losses<double> losses = setup.objective(setup.model(x, pass), targets);
      const std::vector<Values> rows = explicit_gradients(losses, tensors_of(setup.model));
      setup.objective.backward(losses);
      const ObjectiveRecord& record = setup.objective.record();
      const bool finds = i == 0 || i == 4 || i == 8;
      if (finds) found = record.weights;
      if (there) CHECK(record.weights == found);
      CHECK(record.gramian.empty() == !finds);
      // What is kept is what the gradients are joined by.
      Values expected;
      for (std::size_t p = 0; p < rows[0].size(); ++p) {
        expected.push_back(record.weights[0] * rows[0][p]);
        for (std::size_t r = 1; r < record.active.size(); ++r)
          expected.back() = expected.back() + record.weights[r] * rows[r][p];
      }
      CHECK(gradient_error(setup.model, expected) < 1e-10);
      setup.optimizer.step();
      setup.objective.after_step([&] { return ++looked, setup.objective(setup.model(x), targets); });
    }
    CHECK(looked == (combiner.learns_after_step() ? 3 : 0));
    // A run resumes between two solutions, bit for bit.
    const Scratch scratch;
    const auto make = [&](Setup& s) { s.objective = MultiObjective<double>(three, combiner, {.every = 4}); };
    Setup whole(combiner), half(combiner), again(combiner);
    make(whole), make(half), make(again);
    whole.train(0, 20);
    half.train(0, 10);
    save(scratch("half.safetensors"), half.state());
    State state = again.state();
    load(scratch("half.safetensors"), state);
    again.train(10, 20);
    CHECK(same_bits(values_of(again.model), values_of(whole.model)));
  }
}

TEST_CASE("weightings refuse what they cannot weigh", "[fast]") {
  Sum sum;
  CHECK(weights_of(sum, {3, 4, 5}) == Numbers{1, 1, 1});
  FixedWeights fixed({0.5, 0, 2});
  CHECK(weights_of(fixed, {3, 4, 5}) == Numbers{0.5, 0, 2});
  const Index beyond[] = {1, 3};
  CHECK_THROWS_WITH(weights_of(fixed, {3, 5}, {.active = beyond}), "FixedWeights: 3 weights for at least 4 tasks; give one per task");
  CHECK_THROWS_WITH(FixedWeights({1, -2}), "FixedWeights: weight 1 is -2; weights are finite and not negative");
  CHECK_THROWS_WITH(FixedWeights({NAN}), "FixedWeights: weight 0 is nan; weights are finite and not negative");
  const std::vector<std::string> names{"a", "b", "c", "d"};
  const StepInfo info{.names = names, .active = beyond};
  GLS gls;
  ScaleInvariant si;
  DWA dwa;
  Combiner gradnorm = GradNorm{};
  constexpr auto fix = "; add a constant to the loss, or choose a method that takes any";
  CHECK_THROWS_WITH(weights_of(gls, {1, 0}, info), std::string("GLS: the loss of task 'd' is 0; it must be above 0") + fix);
  CHECK_THROWS_WITH(weights_of(si, {-1, 1}, info), std::string("ScaleInvariant: the loss of task 'b' is -1; it must be above 0") + fix);
  CHECK_THROWS_WITH(weights_of(dwa, {-1, 1}, {}), std::string("DWA: the loss of task 0 is -1; it must not be negative") + fix);
  CHECK_THROWS_WITH(step_of(gradnorm, {-1, 1}, {}, {1, 1}), std::string("GradNorm: the loss of task 0 is -1; it must not be negative") + fix);
  CHECK_THROWS_WITH(step_of(gradnorm, {1, 1}, info, {NAN, 1}),
                    "GradNorm: the squared gradient norm of task 'b' is nan; look at its loss and its labels");
  CHECK_THROWS_WITH(DWA({.temperature = 0}), "DWA: the temperature is 0; it must be above 0");
  CHECK_THROWS_WITH(GradNorm({.alpha = -1}), "GradNorm: alpha is -1; it must not be negative");
  CHECK_THROWS_WITH(GradNorm({.lr = NAN}), "GradNorm: lr is nan; it must be above 0");
  CHECK_THROWS_WITH(FAMO({.lr = -1}), "FAMO: lr is -1; it must be above 0");
  CHECK_THROWS_WITH(FAMO({.weight_decay = -1}), "FAMO: weight_decay is -1; it must not be negative");
  CHECK_THROWS_WITH(UncertaintyWeighting({.lr = 0}), "UncertaintyWeighting: lr is 0; it must be above 0");
  CHECK_THROWS_WITH(IMTLL({.limit = -1}), "IMTLL: limit is -1; it must be above 0");
  CHECK_THROWS_WITH(STCH({}), "STCH: mu is 0; it must be above 0; give it in the unit of the losses: {.mu = 0.1}");
  CHECK_THROWS_WITH(STCH({.mu = 1, .ideal = {0, NAN}}), "STCH: ideal 1 is nan; it must be finite");
  STCH short_of{{.mu = 1, .ideal = {0, 0}}}, unwilling{{.mu = 1, .preference = {1, 0, 1, 0}}};
  CHECK_THROWS_WITH(weights_of(short_of, {1, 1}, info),
                    "STCH: there are 2 ideals, but task 'd' is number 3; give one a task, absent tasks included, or none");
  CHECK(weights_of(unwilling, {1, 1}, info) == Numbers{0, 0});
  STCH few{{.mu = 1, .preference = {1, 1}}};
  CHECK_THROWS_WITH(weights_of(few, {1, 1}, info),
                    "STCH: there are 2 preferences, but task 'd' is number 3; give one a task, absent tasks included, or none");
  CHECK_THROWS_WITH(MultiObjective<double>(three, FAMO{{.minima = {0, 0}}}), "FAMO: 2 minima for 3 tasks; give one a task, or none");
  FAMO famo{{.minima = {0, 2}}};
  CHECK_THROWS_WITH(weights_of(famo, {1, 1}),
                    "FAMO: the loss of task 1 is 1; it must not be below its minimum, 2; give lower ones: {.minima = {...}}");
  famo = FAMO{};
  weights_of(famo, {1, 1});
  CHECK_THROWS_WITH(famo.after_step(Numbers{1}, {}), "FAMO: 1 losses after the step, 2 before; they must be of the same batch");
}
