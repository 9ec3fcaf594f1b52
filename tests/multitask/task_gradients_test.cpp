#include "espalier/multitask/task_gradients.hpp"

#include "espalier/model/multi_task_model.hpp"
#include "espalier/ops/functions.hpp"
#include "support/catch.hpp"
#include "support/models.hpp"

using namespace espalier;
using namespace support;

// One step with UPGrad must give what UPGrad gives on gradients taken task by task, whatever the model looks like.

namespace {

using Linearity = Linear<double>;

MultiObjective<double> objective_of(std::vector<std::string> names, Combiner combiner = UPGrad{}) {
  std::vector<Named<TaskLoss<double>>> losses;
  for (std::size_t i = 0; i < names.size(); ++i)
    losses.push_back(i % 3 == 2 ? Named<TaskLoss<double>>{names[i], MAE{}} : Named<TaskLoss<double>>{names[i], MSE{}});
  return MultiObjective<double>(losses, std::move(combiner));
}

/// Targets that pull in different directions, with weights here and there; tasks named in `absent` have no label.
Targets<double> targets_of(const Outputs<double>& outputs, std::vector<std::string> absent = {}) {
  Targets<double> targets;
  for (Index k = 0; k < outputs.size(); ++k) {
    Rng rng{static_cast<std::uint64_t>(50 + k)};
    const std::string& name = outputs.name(k);
    const Shape shape = outputs[name].shape();
    Target<double> t(Tensor<double>::normal(shape, rng) * (k % 2 == 0 ? 3.0 : -2.0));
    if (k % 2 == 1) t.weight = Tensor<double>::uniform({shape[0]}, 0, 2, rng);
    if (std::ranges::find(absent, name) != absent.end()) t.weight = Tensor<double>::zeros({shape[0]});
    targets.add(name, t);
  }
  return targets;
}

/// Runs the step both ways; `shared(path)` says what the tasks share.
template <class Model, class Shared>
void check_upgrad(Model& model, const Tensor<double>& x, std::vector<std::string> absent, const Shared& shared) {
  clear_gradients(model);
  const Rng rng{0};
  Pass pass{rng};
  const Outputs<double> outputs = model(x, pass);
  std::vector<std::string> names;
  for (Index k = 0; k < outputs.size(); ++k) names.push_back(outputs.name(k));
  MultiObjective<double> objective = objective_of(names);
  const Losses<double> losses = objective(outputs, targets_of(outputs, absent));
  std::vector<bool> is_shared;
  for (const auto& p : parameters<double>(model)) is_shared.push_back(shared(p.name));
  const Values expected = upgrad_reference(losses, tensors_of(model), is_shared);
  objective.backward(losses);
  CHECK(gradient_error(model, expected) < 1e-10);
  CHECK(objective.record().certificate.status == Certificate::Status::exact);
  for (const auto& p : parameters<double>(model)) CHECK(leaf_of(p.value)->slot == -1);
}
constexpr auto not_a_head = [](const std::string& path) { return !path.starts_with("heads"); };

MultiTaskModel<double> hard_shared(bool packed, std::uint64_t seed = 1) {
  Rng rng{seed};
  MultiTaskOptions<double> options{.trunk = sequential(Linearity(6, 12, rng), ReLU{}, Linearity(12, 8, rng), ReLU{}),
                                   .heads = {{"a", Linearity(8, 1, rng)},
                                             {"b", Linearity(8, 3, rng)},
                                             {"c", Linearity(8, 1, rng)},
                                             {"d", Linearity(8, 2, rng)}}};
  if (!packed)
    for (auto& head : options.heads) head.value = sequential(head.value);
  return MultiTaskModel<double>(std::move(options));
}

}  // namespace

TEST_CASE("UPGrad on packed heads is UPGrad on explicit gradients", "[fast]") {
  MultiTaskModel<double> model = hard_shared(true);
  Rng rng{3};
  // Small batches take the Gramian from factors, large ones multiply them out.
  for (const Index batch : {1, 2, 5, 16, 200}) {
    INFO("batch " << batch);
    check_upgrad(model, Tensor<double>::normal({batch, 6}, rng), {}, not_a_head);
    check_upgrad(model, Tensor<double>::normal({batch, 6}, rng), {"b"}, not_a_head);
    check_upgrad(model, Tensor<double>::normal({batch, 6}, rng), {"a", "b", "d"}, not_a_head);
  }
}

TEST_CASE("UPGrad on heads that are not packed", "[fast]") {
  Rng rng{4};
  MultiTaskModel<double> model = hard_shared(false);
  for (const Index batch : {1, 7, 100}) {
    check_upgrad(model, Tensor<double>::normal({batch, 6}, rng), {}, not_a_head);
    check_upgrad(model, Tensor<double>::normal({batch, 6}, rng), {"c"}, not_a_head);
  }
}

TEST_CASE("UPGrad on linear, deep and bias-free heads side by side", "[fast]") {
  Rng rng{5};
  MultiTaskModel<double> model({.trunk = sequential(Linearity(6, 8, rng), Tanh{}),
                                .heads = {{"a", Linearity(8, 2, rng)},
                                          {"deep", sequential(Linearity(8, 5, rng), ReLU{}, Linearity(5, 1, rng))},
                                          {"b", Linearity(8, 1, rng)},
                                          {"bare", Linearity(8, 1, rng, {.bias = false})}}});
  for (const Index batch : {3, 64}) {
    check_upgrad(model, Tensor<double>::normal({batch, 6}, rng), {}, not_a_head);
    check_upgrad(model, Tensor<double>::normal({batch, 6}, rng), {"deep", "a"}, not_a_head);
  }
}

TEST_CASE("UPGrad without a trunk has nothing to weigh", "[fast]") {
  Rng rng{6};
  MultiTaskModel<double> model({.heads = {{"a", Linearity(6, 1, rng)}, {"b", Linearity(6, 1, rng)}}});
  check_upgrad(model, Tensor<double>::normal({5, 6}, rng), {}, not_a_head);
}

// ---- models written by hand: what two tasks reach is shared ------------------------------------------------------------

namespace {

/// Parameters used twice, by some tasks only, through matmul, broadcasting and elementwise operations; no tags.
struct ByHand {
  Tensor<double> in, twice, scale, side, a, b, c;
  explicit ByHand(Rng& rng) {
    const auto make = [&](const Shape& s) { return parameter(Tensor<double>::normal(s, rng)); };
    in = make({6, 6});
    twice = make({6, 6});
    scale = make({6});
    side = make({6, 1});
    a = make({6, 1});
    b = make({6, 2});
    c = make({1});
  }
  Outputs<double> operator()(const Tensor<double>& x, Pass&) const {
    const Tensor<double> h = tanh(linear(x, in, Tensor<double>()));
    const Tensor<double> g = tanh(linear(tanh(linear(h, twice, scale)), twice, scale));  // a layer used twice
    const Tensor<double> s = matmul(h * scale, side);                                    // reached by b and c only
    return Outputs<double>{{"a", matmul(g, a)}, {"b", matmul(g, b) + s}, {"c", s * c}, {"d", sum(g * g * g, {1})}};
  }
  void fields(auto&& visit) {
    visit("in", in);
    visit("twice", twice);
    visit("scale", scale);
    visit("side", side);
    visit("a", a);
    visit("b", b);
    visit("c", c);
  }
};

}  // namespace

TEST_CASE("UPGrad on a model without tags: reachability decides", "[fast]") {
  Rng rng{8};
  ByHand model(rng);
  const auto shared = [](const std::string& path) { return path.size() > 1; };
  for (const Index batch : {1, 4, 50}) {
    check_upgrad(model, Tensor<double>::normal({batch, 6}, rng), {}, shared);
    check_upgrad(model, Tensor<double>::normal({batch, 6}, rng), {"d"}, shared);
  }
  // With b absent `side` is c's alone.
  check_upgrad(model, Tensor<double>::normal({4, 6}, rng), {"b"},
               [&](const std::string& p) { return shared(p) && p != "side"; });
  // One task alone shares nothing.
  check_upgrad(model, Tensor<double>::normal({4, 6}, rng), {"b", "c", "d"}, [](const std::string&) { return false; });
}

// ---- what a task does not have ----------------------------------------------------------------------------------------

TEST_CASE("an absent task is as good as no task, for what is shared", "[fast]") {
  Rng rng{9};
  const Tensor<double> x = Tensor<double>::normal({10, 6}, rng);
  for (const bool packed : {true, false}) {
    MultiTaskModel<double> model = hard_shared(packed);
    const auto gradients = [&](std::vector<std::string> tasks, std::vector<std::string> absent) {
      clear_gradients(model);
      Pass pass{rng};
      const Outputs<double> outputs = model(x, pass);
      MultiObjective<double> objective = objective_of(tasks);
      objective.backward(objective(outputs, targets_of(outputs, absent)));
      return gradients_of(model);
    };
    const Values without = gradients({"a", "b"}, {}), absent = gradients({"a", "b", "c", "d"}, {"c", "d"});
    CHECK(difference(absent, without) < 1e-14);
    const auto all = parameters<double>(model);
    for (std::size_t i = 0; i < absent.size(); ++i) {
      const std::string& name = all.at(static_cast<Index>(i)).name;
      const bool gone = name.starts_with("heads.c") || name.starts_with("heads.d");
      INFO(name);
      CHECK(absent[i].defined() == !gone);
      CHECK(without[i].defined() == !gone);
    }
  }
}

TEST_CASE("a parameter's rows do not come in the order of the tasks", "[fast]") {
  MultiTaskModel<double> model = hard_shared(true);
  Rng rng{10};
  for (const Index batch : {2, 100}) {
    const Tensor<double> x = Tensor<double>::normal({batch, 6}, rng);
    Values in_order;
    for (const bool reversed : {false, true}) {
      clear_gradients(model);
      Pass pass{rng};
      const Outputs<double> outputs = model(x, pass);
      std::vector<Named<TaskLoss<double>>> losses{{"a", MSE{}}, {"b", MSE{}}, {"c", MSE{}}, {"d", MSE{}}};
      if (reversed) std::ranges::reverse(losses);
      MultiObjective<double> objective(losses, UPGrad{});
      objective.backward(objective(outputs, targets_of(outputs)));
      if (!reversed)
        in_order = gradients_of(model);
      else
        CHECK(difference(gradients_of(model), in_order) < 1e-12);
    }
  }
}

TEST_CASE("gradients add up over two backward passes and start over when cleared", "[fast]") {
  MultiTaskModel<double> model = hard_shared(true);
  Rng rng{11};
  const Tensor<double> x = Tensor<double>::normal({5, 6}, rng);
  MultiObjective<double> objective = objective_of({"a", "b", "c", "d"});
  const auto step = [&] {
    Pass pass{rng};
    const Outputs<double> outputs = model(x, pass);
    objective.backward(objective(outputs, targets_of(outputs)));
  };
  step();
  const Values once = gradients_of(model);
  step();
  const Values twice = gradients_of(model);
  for (std::size_t i = 0; i < once.size(); ++i) CHECK(difference(twice[i], once[i] * 2.0) < 1e-13);
  clear_gradients(model);
  step();
  CHECK(same_bits(gradients_of(model), once));
}
