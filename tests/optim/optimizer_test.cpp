#include "espalier/optim/optimizer.hpp"

#include "espalier/autograd/functional.hpp"
#include "espalier/ops/functions.hpp"
#include "espalier/ops/reduce.hpp"
#include "espalier/optim/adam.hpp"
#include "espalier/optim/sgd.hpp"
#include "optim/steps.hpp"
#include "support/catch.hpp"

using namespace espalier;
using namespace espalier::support;

namespace {

template <class T>
void require_equal(const NamedList<Tensor<T>>& a, const NamedList<Tensor<T>>& b) {
  for (Index i = 0; i < a.size(); ++i) REQUIRE(values_of(a.at(i).value) == values_of(b.at(i).value));
}

/// Steps two optimizers with equal gradients for the parameters that `reached` picks.
template <class Optimizer, class Reached>
void step_both(const NamedList<Tensor<float>>& a, Optimizer& step_a, const NamedList<Tensor<float>>& b,
               Optimizer& step_b, int steps, Reached reached) {
  for (int step = 0; step < steps; ++step) {
    for (Index i = 0; i < a.size(); ++i)
      if (reached(step, i)) {
        const auto g = noise<float>(a.at(i).value.size(), static_cast<std::uint64_t>(step * 100 + i));
        add_gradient(a.at(i).value, g);
        add_gradient(b.at(i).value, g);
      }
    step_a.step();
    step_b.step();
  }
}

const std::vector<Shape> heads{{1, 5}, {3, 5}, {1, 5}, {2, 5}, {1, 5}, {4, 5}};

std::vector<Tensor<float>> tensors(const NamedList<Tensor<float>>& list) {
  std::vector<Tensor<float>> all;
  for (const auto& item : list) all.push_back(item.value);
  return all;
}

}  // namespace

TEST_CASE("a step applies the gradients and clears them", "[fast]") {
  const auto list = some_parameters<float>({{4}, {2, 2}});
  SGD sgd{list, {.lr = 0.5}};
  const auto before = values_of(list["a"]);
  add_gradient(list["a"], {1, 2, 3, 4});
  sgd.step();
  REQUIRE(list["a"](3) == before[3] - 2);
  REQUIRE(!gradient(list["a"]).defined());
  const auto after = values_of(list["a"]);
  sgd.step();
  REQUIRE(values_of(list["a"]) == after);
  add_gradient(list["a"], {1, 2, 3, 4});
  sgd.zero_grad();
  REQUIRE(!gradient(list["a"]).defined());
  sgd.step();
  REQUIRE(values_of(list["a"]) == after);
}

TEST_CASE("the learning rate may change between steps", "[fast]") {
  const NamedList<Tensor<double>> list{{"p", parameter(Tensor<double>::zeros({1}))}};
  SGD sgd{list, {.lr = 1}};
  for (double lr : {1.0, 0.25, 0.0}) {
    sgd.set_lr(lr);
    add_gradient(list["p"], {1.0});
    sgd.step();
  }
  REQUIRE(list["p"].item() == -1.25);
  REQUIRE_THROWS_WITH(sgd.set_lr(-1), "SGD: lr is -1; it must be at least 0");
  REQUIRE(sgd.lr() == 0);
}

TEST_CASE("a step counts as an update of what it moved, and of nothing else", "[fast]") {
  const auto list = some_parameters<double>({{3}, {3}});
  Adam adam{list};
  const auto a = list["a"].version(), b = list["b"].version();
  adam.step();
  REQUIRE(list["a"].version() == a);
  const Tensor<double> loss = sum(square(list["a"])), other = sum(square(list["b"]));
  add_gradient(list["a"], {1.0, 1, 1});
  adam.step();
  REQUIRE(list["a"].version() == a + 1);
  REQUIRE(list["b"].version() == b);
  REQUIRE_NOTHROW(backward(other));
  REQUIRE_THROWS_WITH(
      backward(loss),
      "backward: a value [3] that square needs was changed in place after the forward pass (by an optimizer step "
      "or mutate()); run the forward pass again before backward");
}

TEST_CASE("a large parameter moves bit for bit as its pieces do", "[fast]") {
  // Blocks and threads cut the large one, packs of other remainders the pieces.
  const Index n = 200001, piece = 4099;
  NamedList<Tensor<float>> large{{"p", parameter(Tensor<float>::copy({n}, noise<float>(n, 1)))}}, small;
  for (Index i = 0; i < n; i += piece) {
    const Index size = std::min(piece, n - i);
    const float* from = large.at(0).value.data() + i;
    small.add(std::to_string(i), parameter(Tensor<float>::copy({size}, {from, static_cast<std::size_t>(size)})));
  }
  Adam adam{large, {.lr = 0.1}}, pieces{small, {.lr = 0.1}};
  for (std::uint64_t step = 0; step < 3; ++step) {
    const auto g = noise<float>(n, 10 + step);
    add_gradient(large.at(0).value, g);
    Index at = 0;
    for (const auto& item : small) {
      add_gradient(item.value, std::vector<float>(g.begin() + at, g.begin() + at + item.value.size()));
      at += item.value.size();
    }
    adam.step();
    pieces.step();
  }
  std::vector<float> joined;
  for (const auto& item : small) joined.insert(joined.end(), item.value.values().begin(), item.value.values().end());
  REQUIRE(values_of(large.at(0).value) == joined);
}

TEST_CASE("packed parameters move bit for bit as separate ones do", "[fast]") {
  const auto packed = some_parameters<float>(heads), separate = some_parameters<float>(heads);
  const Tensor<float> whole = pack_up(tensors(packed));
  const AdamWOptions options{.lr = 0.1, .weight_decay = 0.1};
  AdamW adam{packed, options}, reference{separate, options};
  // All; then a head less each time; one alone; two neighbours; all again, with different counts by now.
  step_both(packed, adam, separate, reference, 3, [](int, Index) { return true; });
  step_both(packed, adam, separate, reference, 6, [](int step, Index i) { return i != step; });
  step_both(packed, adam, separate, reference, 4, [](int step, Index i) { return i == 2 || (step > 1 && i == 3); });
  step_both(packed, adam, separate, reference, 3, [](int, Index) { return true; });
  require_equal(packed, separate);
  REQUIRE(fields_of(adam) == fields_of(reference));
  REQUIRE(fields_of(adam).at("a.step")[0] == 3 + 5 + 3);
  REQUIRE(fields_of(adam).at("c.step")[0] == 3 + 5 + 4 + 3);
  REQUIRE(leaf_of(whole)->fresh);
  REQUIRE(leaf_of(whole)->reached == 0);
}

TEST_CASE("a head first reached late starts its own count", "[fast]") {
  const auto packed = some_parameters<float>(heads), separate = some_parameters<float>(heads);
  const Tensor<float> whole = pack_up(tensors(packed));
  Adam adam{packed}, reference{separate};
  step_both(packed, adam, separate, reference, 60, [](int step, Index i) { return i != 4 || step >= 50; });
  require_equal(packed, separate);
  REQUIRE(fields_of(adam).at("e.step")[0] == 10);
  REQUIRE(fields_of(adam).at("f.step")[0] == 60);
}

TEST_CASE("two optimizers may share a pack", "[fast]") {
  const auto packed = some_parameters<float>(heads), separate = some_parameters<float>(heads);
  const Tensor<float> whole = pack_up(tensors(packed));
  const auto part = [](const NamedList<Tensor<float>>& list, bool even) {
    NamedList<Tensor<float>> some;
    for (Index i = 0; i < list.size(); ++i)
      if ((i % 2 == 0) == even) some.add(list.at(i).name, list.at(i).value);
    return some;
  };
  Adam even{part(packed, true)}, odd{part(packed, false), {.lr = 0.5}};
  Adam even_reference{part(separate, true)}, odd_reference{part(separate, false), {.lr = 0.5}};
  for (int step = 0; step < 4; ++step) {
    for (Index i = 0; i < packed.size(); ++i) {
      const auto g = noise<float>(packed.at(i).value.size(), static_cast<std::uint64_t>(step * 10 + i));
      add_gradient(packed.at(i).value, g);
      add_gradient(separate.at(i).value, g);
    }
    even.step();
    REQUIRE(!gradient(packed["a"]).defined());
    REQUIRE(gradient(packed["b"]).defined());
    even_reference.step();
    if (step == 2) {
      odd.zero_grad();
      odd_reference.zero_grad();
    }
    odd.step();
    odd_reference.step();
    REQUIRE(leaf_of(whole)->fresh);
  }
  require_equal(packed, separate);
}

TEST_CASE("parameters that are packed between steps take their state along", "[fast]") {
  const auto packed = some_parameters<float>(heads), separate = some_parameters<float>(heads);
  Adam adam{packed}, reference{separate};
  step_both(packed, adam, separate, reference, 3, [](int step, Index i) { return step != 1 || i > 1; });
  const Tensor<float> whole = pack_up(tensors(packed));
  step_both(packed, adam, separate, reference, 3, [](int step, Index i) { return step != 1 || i > 2; });
  require_equal(packed, separate);
  REQUIRE(fields_of(adam) == fields_of(reference));
}

TEST_CASE("a pack whose values lie elsewhere is refused", "[fast]") {
  const auto list = some_parameters<float>({{1, 2}, {1, 2}});
  const Tensor<float> whole = pack_up(tensors(list));
  list["b"].buffer()->data = whole.buffer()->data;
  REQUIRE_THROWS_WITH(Adam(list), "Adam: 'b' is a part of a pack, but its values are stored elsewhere");
}

TEST_CASE("parameters that cannot be taken on leave the optimizer as it was", "[fast]") {
  const auto list = some_parameters<float>({{3}, {1, 2}, {1, 2}}), twin = some_parameters<float>({{3}, {1, 2}, {1, 2}});
  const auto part = [](const auto& all, Index first, Index last) {
    NamedList<Tensor<float>> some;
    for (Index i = first; i < last; ++i) some.add(all.at(i).name, all.at(i).value);
    return some;
  };
  Adam adam{part(list, 0, 1)}, reference{part(twin, 0, 1)};
  step_both(part(list, 0, 1), adam, part(twin, 0, 1), reference, 2, [](int, Index) { return true; });
  const Tensor<float> whole = pack_up(tensors(part(list, 1, 3)));
  list.at(2).value.buffer()->data = whole.buffer()->data;
  CHECK_THROWS_WITH(adam.add(list), "Adam: 'c' is a part of a pack, but its values are stored elsewhere");
  NamedList<Tensor<float>> same_name;
  same_name.add("a", parameter(Tensor<float>::zeros({1})));
  CHECK_THROWS_WITH(adam.add(same_name), "Adam: two parameters have the name 'a'; names must differ");
  NamedList<Tensor<float>> no_parameter;
  no_parameter.add("x", Tensor<float>::zeros({1}));
  CHECK_THROWS_WITH(adam.add(no_parameter), "Adam: 'x' [1] is not a parameter; make it one with parameter(tensor)");
  CHECK(adam.parameters().size() == 1);
  step_both(part(list, 0, 1), adam, part(twin, 0, 1), reference, 2, [](int, Index) { return true; });
  require_equal(part(list, 0, 1), part(twin, 0, 1));
  CHECK(fields_of(adam) == fields_of(reference));
  adam.add(part(list, 0, 2));  // and it still can take on others
  CHECK(adam.parameters().size() == 2);
}

TEST_CASE("an optimizer resumes from its fields bit for bit", "[fast]") {
  for (bool in_place : {true, false})
    for (bool as_pack : {true, false}) {
      const auto list = some_parameters<float>(heads), resumed = some_parameters<float>(heads, 99);
      const Tensor<float> whole = pack_up(tensors(list));
      Tensor<float> other;
      if (as_pack) other = pack_up(tensors(resumed));
      const AdamWOptions options{.lr = 0.1};
      AdamW first{list, options}, second{resumed, {.lr = 7}};
      const auto reached = [](int step, Index i) { return step % 3 != i % 3; };
      step_both(list, first, resumed, second, 5, reached);

      for (Index i = 0; i < list.size(); ++i)
        std::copy_n(list.at(i).value.data(), list.at(i).value.size(),
                    Tensor<float>(resumed.at(i).value).mutate().begin());
      Reader reader(fields_of(first), in_place);
      walk(second, reader);
      step_both(list, first, resumed, second, 5, reached);
      require_equal(list, resumed);
      REQUIRE(fields_of(first) == fields_of(second));
    }
}

TEST_CASE("a state that no optimizer can have is refused", "[fast]") {
  const auto list = some_parameters<float>({{2}});
  Adam adam{list};
  const Dictionary good = fields_of(adam);
  Dictionary bad = good;
  bad["a.step"] = {-3};
  Reader steps(bad, true);
  REQUIRE_THROWS_WITH(walk(adam, steps), "Adam: step of 'a' is -3; it must be at least 0");
  bad = good;
  bad["lr"] = {-1};
  Reader lr(bad, true);
  REQUIRE_THROWS_WITH(walk(adam, lr), "Adam: lr is -1; it must be at least 0");
  const auto longer = [](std::string_view, auto& field) {
    if constexpr (requires { field.fields([](std::string_view, auto&) {}); })
      field.fields([](std::string_view name, auto& moment) {
        if constexpr (std::is_same_v<std::remove_cvref_t<decltype(moment)>, Tensor<float>>)
          if (name == "exp_avg") moment = Tensor<float>::zeros({3});
      });
  };
  REQUIRE_THROWS_WITH(adam.fields(longer), "Adam: exp_avg of 'a' is [3]; the parameter is [2]");
}

TEST_CASE("a steady step asks the system for nothing", "[fast]") {
  const auto list = some_parameters<float>({{40}, {3, 5}, {1, 5}, {2, 5}});
  const Tensor<float> whole = pack_up<float>({list["b"], list["c"], list["d"]});
  Adam adam{list};
  SGD sgd{list, {.momentum = 0.9}};
  const auto steps = [&] {
    for (Index k = 1; k < 4; ++k) {
      add_gradient(list.at(k).value, std::vector<float>(5, 1.0f));
      add_gradient(list.at(0).value, std::vector<float>(40, 1.0f));
      if (k == 2)
        sgd.step();
      else
        adam.step();
    }
    leaf_of(whole)->open_grad({});
    adam.step();
  };
  steps();
  const auto before = system_allocations();
  for (int i = 0; i < 10; ++i) steps();
  REQUIRE(system_allocations() == before);
}

TEST_CASE("an optimizer may be moved, empty tensors and scalars may be listed", "[fast]") {
  const auto list = some_parameters<float>({{}, {0, 3}, {2}});
  Adam adam{list, {.lr = 0.5}};
  add_gradient(list["a"], {1.0f});
  add_gradient(list["b"], {});
  Adam<float> moved = std::move(adam);
  const float before = list["a"].item();
  moved.step();
  REQUIRE(list["a"].item() == Approx(before - 0.5f));
  REQUIRE(moved.parameters().names() == "a, b, c");
  STATIC_REQUIRE(!std::is_copy_constructible_v<Adam<float>>);
}

TEST_CASE("an optimizer refuses a list that it cannot serve", "[fast]") {
  const auto list = some_parameters<float>({{2}, {3}});
  using List = NamedList<Tensor<float>>;
  REQUIRE_THROWS_WITH(Adam(List{}), "Adam: the parameter list is empty; give it parameters(model)");
  REQUIRE_THROWS_WITH(SGD(List{{"x", Tensor<float>::zeros({2, 3})}}),
                      "SGD: 'x' [2, 3] is not a parameter; make it one with parameter(tensor)");
  REQUIRE_THROWS_WITH(Adam(List{{"x", Tensor<float>()}}),
                      "Adam: 'x' [] is not a parameter; make it one with parameter(tensor)");
  REQUIRE_THROWS_WITH(AdamW(List{{"x", list["a"]}, {"y", list["b"]}, {"z", list["a"]}}),
                      "AdamW: 'x' and 'z' are the same parameter; list it once");
  List twice = list;
  twice.add("a", parameter(Tensor<float>::zeros({1})));
  REQUIRE_THROWS_WITH(Adam(twice), "Adam: two parameters have the name 'a'; names must differ");
  const float fixed[2] = {1, 2};
  REQUIRE_THROWS_WITH(Adam(List{{"x", parameter(Tensor<float>::from_span({2}, fixed))}}),
                      "Adam: 'x' [2] is a read-only view of borrowed memory; clone it before making it a parameter");
}
