#include "espalier/model/multi_task_model.hpp"

#include <thread>

#include "espalier/nn/batch_norm.hpp"
#include "espalier/nn/dropout.hpp"
#include "espalier/ops/functions.hpp"
#include "support/catch.hpp"
#include "support/near.hpp"

using namespace espalier;
using support::same_bits;

namespace {

MultiTaskModel<float> make_model(std::uint64_t seed = 1) {
  Rng rng{seed};
  return MultiTaskModel{
      {.trunk = Sequential{Linear{11, 33, rng}, ReLU{}, BatchNorm1d{33}, Linear{33, 17, rng}, Tanh{}, Dropout{0.5}},
       .heads = {{"a", Linear{17, 1, rng}},
                 {"b", Linear{17, 10, rng}},
                 {"c", Sequential{Linear{17, 5, rng}, Sigmoid{}, Linear{5, 2, rng}}},
                 {"d", Linear{17, 3, rng}}}}};
}
const std::vector<std::string> heads{"a", "b", "c", "d"};

}  // namespace

TEST_CASE("a multi-task model has PyTorch's names", "[fast]") {
  MultiTaskModel<float> model = make_model();
  CHECK(parameters(model).names() ==
        "trunk.0.weight, trunk.0.bias, trunk.2.weight, trunk.2.bias, trunk.3.weight, trunk.3.bias, heads.a.weight, "
        "heads.a.bias, "
        "heads.b.weight, heads.b.bias, heads.c.0.weight, heads.c.0.bias, heads.c.2.weight, heads.c.2.bias, "
        "heads.d.weight, "
        "heads.d.bias");
  for (const auto& p : parameters(model)) {
    const Owner& owner = leaf_of(p.value)->owner;
    CHECK(owner.text() == (p.name.starts_with("heads") ? "task " + p.name.substr(6, 1) : "shared"));
    CHECK(leaf_of(p.value)->name == p.name);
  }
}

TEST_CASE("inference records nothing, training does", "[fast]") {
  const MultiTaskModel<float> model = make_model();
  Rng rng{2};
  const Tensor<float> x = Tensor<float>::normal({4, 11}, rng);
  const Outputs<float> inferred = model(x);
  Pass pass{rng};
  const Outputs<float> trained = model(x, pass);
  pass.discard();
  for (const std::string& name : heads) {
    CHECK_FALSE(inferred[name].node());
    CHECK(trained[name].node());
  }
  CHECK(detail::thread_state.recording);
}

TEST_CASE("a row alone has the bits that it has in any batch", "[fast]") {
  const MultiTaskModel<float> model = make_model();
  Rng rng{3};
  const Tensor<float> x = Tensor<float>::normal({67, 11}, rng);
  const Outputs<float> all = model(x);
  for (const Index rows : {1, 2, 3, 7, 13, 64})
    for (Index first = 0; first + rows <= 67; first += 5) {
      const Outputs<float> part = model(slice(x, 0, first, first + rows));
      for (const std::string& name : heads)
        if (!same_bits(part[name], slice(all[name], 0, first, first + rows)))
          FAIL(name << ", rows [" << first << ", " << first + rows << ")");
    }
}

TEST_CASE("a const model serves two threads at once", "[fast]") {
  const MultiTaskModel<float> model = make_model();
  Rng rng{4};
  const Tensor<float> x = Tensor<float>::normal({19, 11}, rng);
  const Outputs<float> expected = model(x);
  bool equal[2] = {true, true};
  const auto work = [&](bool& good) {
    for (int i = 0; i < 200; ++i) {
      const Outputs<float> y = model(x);
      for (const std::string& name : heads) good &= same_bits(y[name], expected[name]);
    }
  };
  std::thread other(work, std::ref(equal[0]));
  work(equal[1]);
  other.join();
  CHECK(equal[0]);
  CHECK(equal[1]);
}

TEST_CASE("what a pass draws depends on names, not on who else is there", "[fast]") {
  Rng rng{5};
  const Linear trunk{3, 8, rng}, a{8, 40, rng}, b{8, 40, rng};
  const auto make = [&](std::vector<std::string> names) {
    std::vector<Named<AnyModule<float>>> list;
    for (const std::string& name : names) list.push_back({name, Sequential{name == "a" ? a : b, Dropout{0.5}}});
    return MultiTaskModel<float>({.trunk = Sequential{trunk, Dropout{0.5}}, .heads = list});
  };
  const Tensor<float> x = Tensor<float>::normal({6, 3}, rng);
  const auto run = [&](const MultiTaskModel<float>& model, std::uint64_t step) {
    Pass pass{rng, step};
    return model(x, pass);
  };
  const auto alone = make({"a"}), both = make({"b", "a"});
  CHECK(same_bits(run(alone, 3)["a"], run(both, 3)["a"]));
  CHECK_FALSE(same_bits(run(alone, 3)["a"], run(alone, 4)["a"]));
}

TEST_CASE("a model without a trunk is its heads", "[fast]") {
  Rng rng{6};
  const Linear a{4, 2, rng};
  const MultiTaskModel model{{.heads = {{"a", a}}}};
  const Tensor<float> x = Tensor<float>::normal({5, 4}, rng);
  CHECK(same_bits(model(x)["a"], a(x)));
  CHECK(model(x).block().shape() == Shape{5, 2});
}

TEST_CASE("an empty batch goes through", "[fast]") {
  const MultiTaskModel<float> model = make_model();
  CHECK(model(Tensor<float>::zeros({0, 11}))["b"].shape() == Shape{0, 10});
  CHECK(model(Tensor<float>::zeros({0, 11}))["c"].shape() == Shape{0, 2});
}
