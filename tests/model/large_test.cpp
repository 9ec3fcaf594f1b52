// Ten thousand heads: what a step costs grows with their number, not with its square.

#include "espalier/model/multi_task_model.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/models.hpp"

using namespace espalier;
using namespace support;

namespace {

constexpr Index width = 4, batch = 3;

struct Large {
  MultiTaskModel<float> model;
  MultiObjective<float> objective;
  Targets<float> targets;
  Tensor<float> x;

  Large(Index heads, bool reversed, Combiner combiner = {})
      : model(make(heads)),
        objective(losses(heads, reversed), std::move(combiner)),
        targets(labels(heads)),
        x(inputs()) {}

  static std::string name(Index k) { return "task" + std::to_string(k); }
  static MultiTaskModel<float> make(Index heads) {
    Rng rng{1};
    std::vector<Named<AnyModule<float>>> list;
    const Linear trunk{width, width, rng};
    for (Index k = 0; k < heads; ++k) list.push_back({name(k), Linear{width, 1, rng}});
    return MultiTaskModel<float>({.trunk = trunk, .heads = list});
  }
  static std::vector<Named<TaskLoss<float>>> losses(Index heads, bool reversed) {
    std::vector<Named<TaskLoss<float>>> list;
    for (Index k = 0; k < heads; ++k) list.push_back({name(reversed ? heads - 1 - k : k), MSE{}});
    return list;
  }
  /// Every seventh task has no label.
  static Targets<float> labels(Index heads) {
    Rng rng{2};
    const Tensor<float> y = Tensor<float>::normal({batch, 1}, rng), none = Tensor<float>::zeros({batch});
    std::vector<Named<Target<float>>> list;
    for (Index k = 0; k < heads; ++k) list.push_back({name(k), k % 7 == 3 ? Target<float>(y, none) : Target<float>(y)});
    return Targets<float>(std::move(list));
  }
  static Tensor<float> inputs() {
    Rng rng{3};
    return Tensor<float>::normal({batch, width}, rng);
  }

  void step() {
    Pass pass{Rng{0}};
    const Losses<float> losses = objective(model(x, pass), targets);
    objective.backward(losses);
    descend(model, 1e-5f);
  }
};

}  // namespace

TEST_CASE("10,000 heads train", "[fast]") {
  const Index heads = 10'000;
  Large large(heads, false);
  auto list = parameters(large.model);
  REQUIRE(list.size() == 2 * heads + 2);
  CHECK(list.at(2).name == "heads.task0.weight");
  CHECK(list.at(2 * heads + 1).name == "heads.task9999.bias");
  CHECK(leaf_of(list.at(2 * heads + 1).value)->owner.text() == "task task9999");
  const float untouched = list.at(2 + 2 * 3).value.data()[0], before = list.at(2 + 2 * 4).value.data()[0];
  Pass pass{Rng{0}};
  const double first = large.objective(large.model(large.x, pass), large.targets).total();
  for (int i = 0; i < 3; ++i) large.step();
  Pass again{Rng{0}};
  const Losses<float> losses = large.objective(large.model(large.x, again), large.targets);
  CHECK(losses.total() < first);
  CHECK(losses.name(9'999) == "task9999");
  CHECK(losses["task3"] == 0);
  CHECK(large.objective.record().active.size() == 8'571);
  CHECK(list.at(2 + 2 * 3).value.data()[0] == untouched);
  CHECK(list.at(2 + 2 * 4).value.data()[0] != before);
}

TEST_CASE("a step over many heads holds as many blocks as one over few", "[fast]") {
  // Packed heads are one block: the graph of a step has the same nodes however many there are.
  const auto blocks = [](Index heads) {
    Large large(heads, false);
    for (int i = 0; i < 2; ++i) large.step();
    return cold_allocations([&] {
      Pass pass{Rng{0}};
      large.objective.backward(large.objective(large.model(large.x, pass), large.targets));
    });
  };
  const auto few = blocks(100), many = blocks(10'000);
  CHECK(many <= few + 10);
}

TEST_CASE("packed heads are one block in any order of the tasks", "[fast]") {
  for (const bool reversed : {false, true}) {
    Large large(10'000, reversed);
    Pass pass{Rng{0}};
    const Losses<float> losses = large.objective(large.model(large.x, pass), large.targets);
    CHECK(losses.parts().size() == 1);
    large.objective.backward(losses);
  }
}

TEST_CASE("many heads under UPGrad", "[fast]") {
  Large large(60, false, UPGrad{});
  for (int i = 0; i < 3; ++i) large.step();
  CHECK(large.objective.record().active.size() == 51);
  for (const auto& p : parameters(large.model)) CHECK(std::isfinite(p.value.data()[0]));
}
