// Task gradients without the tasks' gradients: the Gramian from factors, and what it costs; frozen heads.

#include "espalier/model/multi_task_model.hpp"
#include "espalier/multitask/objective.hpp"
#include "espalier/nn/batch_norm.hpp"
#include "espalier/nn/dropout.hpp"
#include "espalier/nn/layer_norm.hpp"
#include "espalier/ops/functions.hpp"
#include "espalier/optim/adam.hpp"
#include "support/catch.hpp"
#include "support/models.hpp"
#include "support/op_zoo.hpp"

using namespace espalier;
using namespace support;

namespace {

using Dense = Linear<double>;
using Matrix = std::vector<double>;

/// The largest difference of two Gramians, on the scale of the largest entry.
double gramian_error(const Matrix& found, const Matrix& expected) {
  double scale = 0, worst = found.size() == expected.size() ? 0 : HUGE_VAL;
  for (const double v : expected) scale = std::max(scale, std::abs(v));
  for (std::size_t i = 0; i < found.size() && i < expected.size(); ++i)
    if (const double e = std::abs(found[i] - expected[i]); !(e <= worst)) worst = std::isnan(e) ? HUGE_VAL : e;
  return worst / (scale > 0 ? scale : 1);
}
/// J J^T from the rows of J in pieces; `shared` says which pieces count.
template <class Shared>
Matrix explicit_gramian(const std::vector<Values>& rows, const Shared& shared) {
  Matrix g(rows.size() * rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i)
    for (std::size_t j = 0; j < rows.size(); ++j)
      for (std::size_t p = 0; p < rows[i].size(); ++p)
        for (Index e = 0; shared(p) && e < rows[i][p].size(); ++e) g[i * rows.size() + j] += rows[i][p].data()[e] * rows[j][p].data()[e];
  return g;
}
constexpr auto all_of_it = [](std::size_t) { return true; };

Labels labels_of(const std::vector<Index>& tasks) {
  Labels labels(static_cast<Index>(tasks.size()), false);
  for (std::size_t i = 0; i < tasks.size(); ++i) labels.begin()[i] = {tasks[i], 0, 0};
  return labels;
}
std::vector<Index> every_other(Index tasks) {
  std::vector<Index> list;
  for (Index k = 0; k < tasks; ++k) list.push_back(2 * k + 1);
  return list;
}

/// Gramian and combined gradient of `tasks` cotangents of c's value, in everything it depends on, against one sweep a task;
/// the parameters are used twice when asked: f(x) + f(x)^2.
double sweep_error(const Case& c, Index tasks, bool twice, std::uint64_t seed) {
  const Points xs = parameters_of(c);
  for (const auto& x : xs) leaf_of(x)->owner = {Owner::Kind::shared, ""};
  Tensor<double> y = c.f(xs);
  if (twice) y = y + square(c.f(xs));
  if (!y.node()) return 0;
  Rng rng{seed};
  const std::vector<Index> active = every_other(tasks);
  const Tensor<double> g = Tensor<double>::normal(Shape{tasks} + y.shape(), rng);
  std::vector<Values> rows;
  for (Index k = 0; k < tasks; ++k) rows.push_back(vjp(y, xs, g.view(y.shape(), k * y.size()), {.retain_graph = true}));
  Matrix gramian(static_cast<std::size_t>(tasks * tasks)), weights(static_cast<std::size_t>(tasks));
  for (std::size_t k = 0; k < weights.size(); ++k) weights[k] = 0.5 - 0.3 * static_cast<double>(k);
  TaskGradients<double> gradients(active);
  Sweep<double> sweep({.retain = true, .separate = true}, &gradients);
  sweep.start(y, g, labels_of(active));
  sweep.run();
  gradients.settle();
  gradients.gramian(gramian);
  gradients.combine(weights);
  double worst = gramian_error(gramian, explicit_gramian(rows, all_of_it));
  for (std::size_t p = 0; p < xs.size(); ++p) {
    Tensor<double> sum = Tensor<double>::zeros(xs[p].shape());
    for (std::size_t k = 0; k < rows.size(); ++k) sum = sum + weights[k] * rows[k][p];
    const Tensor<double> found = gradient(xs[p]);
    worst = std::max(worst, found.defined() ? difference(found, sum) : zero(sum) ? 0 : HUGE_VAL);
  }
  return worst;
}

}  // namespace

TEST_CASE("the Gramian is J J^T for every operation, its inputs shared and used twice", "[fast]") {
  std::vector<std::string> broken;
  for (const bool twice : {false, true}) {
    const auto check = [&](const std::vector<Case>& cases) {
      for (const Case& c : cases)
        if (!(sweep_error(c, 3, twice, 7) <= 1e-12)) broken.push_back(c.name + (twice ? ", twice" : ""));
    };
    check(structured_cases<StructuredOps>());
    check(function_cases<FunctionOps>());
    check(arithmetic_cases<ArithmeticOps>());
  }
  CHECK(broken == std::vector<std::string>{});
}

TEST_CASE("a linear layer's Gramian is J J^T in either order of products", "[fast]") {
  Rng rng{3};
  bool kernel = false, products = false;
  for (const Index tasks : {1, 2, 8, 9, 19})  // one tile of pairs, and more
    for (const auto& [batch, in, out] : {std::tuple<Index, Index, Index>{1, 1, 1}, {3, 40, 17}, {70, 5, 33}, {0, 3, 2}, {24, 24, 50}}) {
      INFO(tasks << " tasks, batch " << batch << ", " << in << " -> " << out);
      const Tensor<double> g = Tensor<double>::normal({tasks, batch, out}, rng), x = Tensor<double>::normal({batch, in}, rng);
      const auto m = static_cast<std::size_t>(tasks);
      std::vector<Values> rows;
      for (Index k = 0; k < tasks; ++k)
        rows.push_back({matmul(transpose(g.view({batch, out}, k * batch * out), 0, 1), x)});
      const Matrix expected = explicit_gramian(rows, all_of_it);
      const auto check = [&](const auto& f) {
        Matrix found(m * m);
        std::vector<int> calls(m * m);
        f(g, x, [&](Index k, Index l, double v) {
          REQUIRE(k <= l);
          const auto i = static_cast<std::size_t>(k), j = static_cast<std::size_t>(l);
          ++calls[i * m + j];
          found[i * m + j] = found[j * m + i] = v;
        });
        CHECK(gramian_error(found, expected) < 1e-12);
        CHECK(std::ranges::count(calls, 1) == static_cast<std::ptrdiff_t>(m * (m + 1) / 2));
      };
      // The diagonal alone has the same bits.
      std::vector<double> diagonals[2];
      for (const bool alone : {false, true})
        linear_gramian(g, x, [&](Index k, Index l, double v) {
          if (k == l) diagonals[alone].push_back(v);
          else if (alone) CHECK(v == 0);
        }, alone);
      CHECK(diagonals[0] == diagonals[1]);
      check([](const auto&... a) { detail::linear_gramian_by_kernel(a...); });
      check([](const auto&... a) { detail::linear_gramian_by_products(a...); });
      check([&](const auto&... a) {
        const bool by_kernel = linear_gramian(a...).by_kernel();
        kernel |= by_kernel;
        products |= !by_kernel;
      });
    }
  CHECK(kernel);
  CHECK(products);
}

TEST_CASE("inner products of many and of long vectors", "[fast]") {
  Rng rng{4};
  for (const auto& [rows, columns, first, n] :
       {std::tuple<Index, Index, Index, Index>{3, 3, 0, 1}, {20, 4, 16, 1000}, {70, 70, 0, 40}, {2, 2, 0, 200'000}, {8, 8, 0, 70'001}}) {
    const Tensor<double> a = Tensor<double>::normal({rows, n}, rng), b = Tensor<double>::normal({columns, n}, rng);
    std::vector<const double*> left, right;
    for (Index i = 0; i < rows; ++i) left.push_back(a.data() + i * n);
    for (Index j = 0; j < columns; ++j) right.push_back(b.data() + j * n);
    Matrix found(static_cast<std::size_t>(rows * columns), 1.0), expected = found;
    kernels::add_pair_dots<double>(n, left, right, first, found.data());
    for (Index i = 0; i < rows; ++i)
      for (Index j = 0; j < columns; ++j)
        for (Index e = 0; i <= first + j && e < n; ++e)
          expected[static_cast<std::size_t>(i * columns + j)] += a.data()[i * n + e] * b.data()[j * n + e];
    CHECK(gramian_error(found, expected) < 1e-12);
    Matrix diagonal(found.size(), 1.0);
    kernels::add_pair_dots<double>(n, left, right, first, diagonal.data(), true);
    for (Index i = 0; i < rows; ++i)
      for (Index j = 0; j < columns; ++j) {
        const auto at = static_cast<std::size_t>(i * columns + j);
        CHECK(diagonal[at] == (i == first + j ? found[at] : 1));
      }
  }
}

TEST_CASE("multiply-adds are counted, and the smaller count decides", "[fast]") {
  // The benchmark's layers: 8 tasks, 512 -> 1024 and 1024 -> 1024.
  const LinearGramianCost small(8, 32, 1024, 1024), large(8, 256, 512, 1024), huge(8, 2048, 512, 1024);
  CHECK(small.kernel == 32 * 32 * 1024 + 8 * 32 * 32 * 1024 + 36 * 32 * 1024);
  CHECK(small.products == 8 * 32 * 1024 * 1024 + 36 * 1024 * 1024);
  CHECK(small.combination == 8 * 32 * 1024 + 32 * 1024 * 1024);
  CHECK(small.by_kernel());
  CHECK(large.by_kernel());
  CHECK_FALSE(huge.by_kernel());
  CHECK(huge.gramian() == huge.products);

  Rng rng{5};
  Dense layer(6, 5, rng);
  for (const auto& p : parameters<double>(layer)) leaf_of(p.value)->owner = {Owner::Kind::shared, ""};
  const std::vector<Index> active = every_other(3);
  for (const Index batch : {2, 100}) {
    const Tensor<double> y = layer(Tensor<double>::normal({batch, 6}, rng));
    TaskGradients<double> gradients(active);
    Sweep<double> sweep({.separate = true}, &gradients);
    sweep.start(y, Tensor<double>::normal({3, batch, 5}, rng), labels_of(active));
    sweep.run();
    Matrix gramian(9);
    gradients.gramian(gramian);
    const LinearGramianCost cost(3, batch, 6, 5);
    CHECK(gradients.multiply_adds() == cost.gramian() + cost.combination + (6 + 3) * 5);  // and the bias
  }
}

TEST_CASE("no gradient of a task is held whole", "[fast]") {
  // 64 tasks on a layer of 256 x 256 would be 32 MB of gradients; their factors are 0.5 MB.
  constexpr Index tasks = 64, width = 256, batch = 4;
  Rng rng{6};
  Dense layer(width, width, rng);
  for (const auto& p : parameters<double>(layer)) leaf_of(p.value)->owner = {Owner::Kind::shared, ""};
  const std::vector<Index> active = every_other(tasks);
  const Tensor<double> y = layer(Tensor<double>::normal({batch, width}, rng));
  TaskGradients<double> gradients(active);
  Sweep<double> sweep({.separate = true}, &gradients);
  sweep.start(y, Tensor<double>::normal({tasks, batch, width}, rng), labels_of(active));
  sweep.run();
  Matrix gramian(tasks * tasks), weights(tasks, 1.0);
  release_memory();
  const auto largest = [] {
    for (unsigned c = espalier::detail::ThreadState::classes; c-- > 0;)
      if (espalier::detail::thread_state.bins[c]) return espalier::detail::class_bytes(c);
    return std::size_t{0};
  };
  REQUIRE(largest() == 0);
  gradients.gramian(gramian);
  CHECK(largest() < sizeof(double) * width * width);
  gradients.combine(weights);
  CHECK(largest() < 4 * sizeof(double) * width * width);
}

// ---- whole models ----------------------------------------------------------------------------------------------------------

namespace {

struct Batch {
  Tensor<double> x;
  Targets<double> targets;
};
/// Targets that pull apart; tasks in `absent` have no label, and NaN stands where there is none.
Batch batch_of(const Outputs<double>& outputs, const Tensor<double>& x, const std::vector<std::string>& absent) {
  Batch batch{x, {}};
  for (Index k = 0; k < outputs.size(); ++k) {
    Rng rng{static_cast<std::uint64_t>(70 + k)};
    const Shape shape = outputs.at(k).shape();
    Target<double> t(Tensor<double>::normal(shape, rng) * (k % 2 == 0 ? 3.0 : -2.0));
    if (k % 2 == 1) {
      t.weight = Tensor<double>::uniform({shape[0]}, 0, 2, rng);
      if (shape[0] > 1) {  // else the task would be absent
        t.weight.raw()[0] = 0;
        t.value.raw()[0] = std::nan("");
      }
    }
    if (std::ranges::find(absent, outputs.name(k)) != absent.end()) {
      t.weight = Tensor<double>::zeros({shape[0]});
      t.value = Tensor<double>::full(shape, std::nan(""));
    }
    batch.targets.add(outputs.name(k), t);
  }
  return batch;
}
MultiObjective<double> objective_of(const Outputs<double>& outputs) {
  std::vector<Named<TaskLoss<double>>> losses;
  for (Index k = 0; k < outputs.size(); ++k)
    losses.push_back(k % 3 == 2 ? Named<TaskLoss<double>>{outputs.name(k), MAE{}} : Named<TaskLoss<double>>{outputs.name(k), MSE{}});
  return MultiObjective<double>(losses, UPGrad{});
}
/// The objective's Gramian against J J^T over what `shared(path)` says; a reason of `rows` other than 0 is the tasks' number.
template <class Model, class Shared>
double model_error(Model& model, const Tensor<double>& x, const std::vector<std::string>& absent, const Shared& shared) {
  clear_gradients(model);
  Pass pass{Rng{0}};
  const Outputs<double> outputs = model(x, pass);
  MultiObjective<double> objective = objective_of(outputs);
  const Losses<double> losses = objective(outputs, batch_of(outputs, x, absent).targets);
  const auto list = parameters<double>(model);
  const auto rows = explicit_gradients(losses, tensors_of(model));
  const Matrix expected = explicit_gramian(rows, [&](std::size_t p) { return shared(list.at(static_cast<Index>(p)).name); });
  objective.backward(losses);
  return gramian_error(objective.record().gramian, expected);
}

/// A mixture of experts by hand: task a sees two of three experts, b the other two, c the sum of all through a tied layer.
struct Mixture {
  Dense first, second, third, tied, a, b, c;
  explicit Mixture(Rng& rng)
      : first(6, 5, rng), second(6, 5, rng), third(6, 5, rng), tied(5, 5, rng), a(5, 1, rng), b(5, 2, rng), c(5, 1, rng) {}
  Outputs<double> operator()(const Tensor<double>& x, Pass&) const {
    const Tensor<double> p = tanh(first(x)), q = tanh(second(x)), r = relu(third(x));
    return Outputs<double>{{"a", a(p + q)}, {"b", b(q * r)}, {"c", c(tanh(tied(tanh(tied(p + q + r)))))}};
  }
  void fields(auto&& visit) {
    visit("first", first);
    visit("second", second);
    visit("third", third);
    visit("tied", tied);
    visit("a", a);
    visit("b", b);
    visit("c", c);
  }
};

}  // namespace

TEST_CASE("the objective's Gramian is J J^T over models", "[fast]") {
  Rng rng{8};
  for (const Index batch : {1, 3, 40}) {
    INFO("batch " << batch);
    const Tensor<double> x = Tensor<double>::normal({batch, 6}, rng);
    // Every layer type that the trunk may hold, packed and separate heads, a masked and an absent task.
    MultiTaskModel<double> model({.trunk = sequential(Dense(6, 12, rng), BatchNorm1d<double>(12), Tanh{}, Dropout{0.3}, Dense(12, 8, rng),
                                                      LayerNorm<double>(8), ReLU{}),
                                  .heads = {{"a", Dense(8, 1, rng)},
                                            {"b", Dense(8, 3, rng)},
                                            {"deep", sequential(Dense(8, 4, rng), Tanh{}, Dense(4, 1, rng))},
                                            {"d", Dense(8, 2, rng)}}});
    const auto trunk = [](const std::string& path) { return path.starts_with("trunk"); };
    for (const std::vector<std::string>& absent : {std::vector<std::string>{}, {"b"}, {"a", "deep"}, {"b", "deep", "d"}})
      if (batch > 1) CHECK(model_error(model, x, absent, trunk) < 1e-12);
    Mixture mixture(rng);
    CHECK(model_error(mixture, x, {}, [](const std::string& p) { return p.starts_with("f") || p.starts_with("s") || p.starts_with("th"); }) <
          1e-12);
    // Without c, `first` and `third` have one task each: what is left to share is `second`.
    CHECK(model_error(mixture, x, {"c"}, [](const std::string& p) { return p.starts_with("second"); }) < 1e-12);
  }
}

// ---- packed heads right above a linear layer: gradients that are thin products -------------------------------------------

namespace {

/// Counts who brings what; the gradients themselves go nowhere.
struct Counting final : LeafSink<double> {
  int of_rows = 0, of_factors = 0, of_products = 0;
  void rows(Leaf<double>&, Tensor<double>, const Labels&) override { ++of_rows; }
  bool factored(Leaf<double>&, const Tensor<double>&, const Tensor<double>&, const Labels&) override { return ++of_factors; }
  bool products(Leaf<double>&, const Tensor<double>&, const Tensor<double>&, const Labels&) override { return ++of_products; }
};
Counting count_of(MultiTaskModel<double>& model, const Tensor<double>& x) {
  Pass pass{Rng{0}};
  const Outputs<double> outputs = model(x, pass);
  Labels labels(outputs.size(), true);
  for (Index k = 0; k < outputs.size(); ++k) labels.begin()[k] = {k, outputs.place(k).begin, outputs.place(k).end};
  Counting sink;
  Sweep<double> sweep({.separate = true, .products = true}, &sink);
  sweep.start(outputs.block(), Tensor<double>::ones(outputs.block().shape()), labels);
  sweep.run();
  clear_gradients(model);
  return sink;
}

}  // namespace

TEST_CASE("thin products of tasks give the Gramian and the gradients that rows give", "[fast]") {
  Rng rng{11};
  const auto trunk = [](const std::string& path) { return path.starts_with("trunk"); };
  const auto check = [&](MultiTaskModel<double> model, Index batch) {
    const Tensor<double> x = Tensor<double>::normal({batch, 6}, rng);
    for (const std::vector<std::string>& absent : {std::vector<std::string>{}, {"b"}, {"a", "c"}}) {
      CHECK(model_error(model, x, absent, trunk) < 1e-12);
      clear_gradients(model);
      Pass pass{Rng{0}};
      const Outputs<double> outputs = model(x, pass);
      MultiObjective<double> objective = objective_of(outputs);
      const Losses<double> losses = objective(outputs, batch_of(outputs, x, absent).targets);
      std::vector<bool> shared;
      for (const auto& p : parameters<double>(model)) shared.push_back(trunk(p.name));
      const Values expected = upgrad_reference(losses, tensors_of(model), shared);
      objective.backward(losses);
      CHECK(gradient_error(model, expected) < 1e-10);
      for (const auto& p : parameters<double>(model)) CHECK(leaf_of(p.value)->slot == -1);
    }
  };
  const auto heads = [&] {
    return std::vector<Named<AnyModule<double>>>{{"a", Dense(20, 1, rng)}, {"b", Dense(20, 2, rng)}, {"c", Dense(20, 1, rng)}};
  };
  const auto model = [](AnyModule<double> trunk_module, std::vector<Named<AnyModule<double>>> list) {
    return MultiTaskModel<double>({.trunk = std::move(trunk_module), .heads = std::move(list)});
  };
  const Tensor<double> x = Tensor<double>::normal({60, 6}, rng);
  auto one = model(sequential(Dense(6, 12, rng), Tanh{}, Dense(12, 20, rng)), heads());
  CHECK(count_of(one, x).of_products == 1);
  check(one, 60);
  check(one, 2);  // more columns than pay
  CHECK(count_of(one, Tensor<double>::normal({2, 6}, rng)).of_products == 0);
  auto row = model(sequential(Dense(6, 12, rng), Dense(12, 20, rng, {.bias = false}), Dense(20, 20, rng)), heads());
  CHECK(count_of(row, x).of_products == 3);  // a product's product, down to the input
  check(row, 60);
  auto bent = model(sequential(Dense(6, 12, rng), ReLU{}, Dense(12, 20, rng), ReLU{}), heads());
  CHECK(count_of(bent, x).of_products == 0);  // multiplied out at the first activation
  CHECK(count_of(bent, x).of_factors == 2);
  check(bent, 60);
  const Dense tied(20, 20, rng);
  check(model(sequential(Dense(6, 20, rng), tied, Tanh{}, tied), heads()), 60);  // brought as products, then as rows
  check(model(sequential(Dense(6, 20, rng), tied, tied), heads()), 60);          // twice as products
  auto mixed = heads();  // a head of its own brings the shared value a second cotangent
  mixed[1].value = sequential(Dense(20, 3, rng), Tanh{}, Dense(3, 2, rng));
  check(model(sequential(Dense(6, 12, rng), Tanh{}, Dense(12, 20, rng)), mixed), 60);
}

TEST_CASE("thin products of a single task are its own where nobody shares them", "[fast]") {
  Rng rng{12};
  const std::vector<Index> active = every_other(3);
  const auto w = parameter(Tensor<double>::zeros({4, 3})), v = parameter(Tensor<double>::zeros({4, 3}));
  const Tensor<double> left = Tensor<double>::normal({2, 4}, rng), right = Tensor<double>::normal({2, 3}, rng);
  TaskGradients<double> gradients(active);
  const auto labels_to = [](std::initializer_list<Label> list) {
    Labels labels(static_cast<Index>(list.size()), true);
    std::copy(list.begin(), list.end(), labels.begin());
    return labels;
  };
  CHECK(gradients.products(*leaf_of(w), left, right, labels_to({{3, 0, 2}})));
  CHECK(gradients.products(*leaf_of(v), left, right, labels_to({{1, 0, 1}, {5, 1, 2}})));
  gradients.settle();
  CHECK(difference(gradient(w), matmul(transpose(left, 0, 1), right)) < 1e-14);
  CHECK_FALSE(gradient(v).defined());
  Matrix gramian(9);
  gradients.gramian(gramian);
  CHECK(gramian[4] == 0);
  CHECK(gramian[0] > 0);
  const Matrix weights{1, 0, 1};
  gradients.combine(weights);
  CHECK(difference(gradient(v), matmul(transpose(left, 0, 1), right)) < 1e-14);
}

// ---- heads -----------------------------------------------------------------------------------------------------------------

namespace {

/// Not a Linear, so that it is not packed.
struct Wrapped {
  Dense inner;
  Tensor<double> operator()(const Tensor<double>& x) const { return inner(x); }
  void fields(auto&& visit) { inner.fields(visit); }
};

}  // namespace

TEST_CASE("a head without an optimizer is frozen, packed or not, and the others train on", "[fast]") {
  std::vector<Values> ends;
  for (const bool packed : {true, false}) {
    Rng rng{10};
    std::vector<Named<AnyModule<double>>> heads{{"a", Dense(5, 1, rng)}, {"b", Dense(5, 2, rng)}, {"c", Dense(5, 1, rng)}};
    if (!packed)
      for (auto& head : heads) head.value = Wrapped{*head.value.as<Dense>()};
    MultiTaskModel<double> model({.trunk = sequential(Dense(6, 5, rng), Tanh{}), .heads = heads});
    NamedList<Tensor<double>> trained;
    for (const auto& p : parameters<double>(model))
      if (!p.name.starts_with("heads.b")) trained.add(p.name, p.value);
    Adam<double> optimizer(trained, {.lr = 0.01});
    const Values before = values_of(model);
    const Tensor<double> x = Tensor<double>::normal({7, 6}, rng);
    for (int i = 0; i < 20; ++i) {
      Pass pass{Rng{0}};
      const Outputs<double> outputs = model(x, pass);
      MultiObjective<double> objective = objective_of(outputs);
      objective.backward(objective(outputs, batch_of(outputs, x, {}).targets));
      optimizer.step();
    }
    const auto list = parameters<double>(model);
    for (std::size_t p = 0; p < before.size(); ++p) {
      const Named<Tensor<double>>& item = list.at(static_cast<Index>(p));
      INFO(item.name);
      CHECK(same_bits(item.value, before[p]) == item.name.starts_with("heads.b"));
      CHECK(gradient(item.value).defined() == item.name.starts_with("heads.b"));  // nobody has taken it
    }
    ends.push_back(values_of(model));
  }
  CHECK(difference(ends[0], ends[1]) < 1e-11);
}
