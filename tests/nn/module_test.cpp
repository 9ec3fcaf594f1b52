#include "espalier/nn/module.hpp"

#include <thread>

#include "espalier/autograd/functional.hpp"
#include "espalier/nn/batch_norm.hpp"
#include "espalier/nn/dropout.hpp"
#include "espalier/nn/layer_norm.hpp"
#include "espalier/nn/sequential.hpp"
#include "support/catch.hpp"

using namespace espalier;

namespace {

bool same_bits(const Tensor<float>& a, const Tensor<float>& b) {
  return a.shape() == b.shape() &&
         std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.size()) * sizeof(float)) == 0;
}

/// A module as the header's first lines show it.
struct Scale {
  Tensor<float> factor = parameter(Tensor<float>({1}, {3}));
  Tensor<float> operator()(const Tensor<float>& x) const { return x * factor; }
  void fields(auto&& visit) { visit("factor", factor); }
};
/// Behaves differently in training.
struct Trained {
  Tensor<float> operator()(const Tensor<float>& x) const { return x; }
  Tensor<float> operator()(const Tensor<float>& x, Pass&) const { return 2 * x; }
};
struct OnlyTrained {
  Tensor<float> operator()(const Tensor<float>& x, Pass&) const { return x; }
};
/// Reads tokens.
struct Lookup {
  Tensor<float> table = parameter(Tensor<float>({3, 2}, {0, 1, 10, 11, 20, 21}));
  Tensor<float> operator()(const Tensor<Index>& tokens) const { return gather(table, tokens.view({tokens.size()}), 0); }
  void fields(auto&& visit) { visit("weight", table); }
};
/// Reads values and presence.
struct Masked {
  Tensor<float> operator()(const Input<float>& input) const {
    const Index batch = input.batch();
    const Tensor<bool> present = input.present.defined() ? input.present : Tensor<bool>::full({batch}, true);
    return where(present.view({batch, 1}), input.values, Tensor<float>::scalar(-1));
  }
};
Tensor<float> twice(const Tensor<float>& x) { return 2 * x; }

struct Heads {
  Linear<float> price, tags;
  void fields(auto&& visit) {
    visit("price", price);
    visit("tags", tags);
  }
};
struct Net {
  Sequential<float> trunk;
  std::vector<Linear<float>> blocks;
  std::optional<LayerNorm<float>> norm;
  Heads heads;
  void fields(auto&& visit) {
    visit("trunk", trunk);
    visit("blocks", blocks);
    visit("norm", norm);
    visit("heads", heads);
  }
};

Net make_net(Rng& rng) {
  return {Sequential{Linear{3, 4, rng}, BatchNorm1d{4}, ReLU{},
                     Sequential{Dropout{0.1}, Linear{4, 4, rng, {.bias = false}}}},
          {Linear{4, 4, rng}, Linear{4, 4, rng}},
          LayerNorm{4},
          {Linear{4, 1, rng}, Linear{4, 2, rng}}};
}
template <class List>
std::vector<std::string> names(const List& list) {
  std::vector<std::string> out;
  for (const auto& item : list) out.push_back(item.name);
  return out;
}
template <class Model>
std::vector<std::string> tensor_names(Model& model) {
  std::vector<std::string> out;
  detail::each_tensor(model, [&](const std::string& path, auto&) { out.push_back(path); });
  return out;
}

}  // namespace

TEST_CASE("AnyModule holds lambdas, functions and structs", "[nn][fast]") {
  const Tensor<float> x({1, 2}, {1, -2});
  const float shift = 1;
  const AnyModule<float> lambda = [shift](const Tensor<float>& t) { return t + shift; };
  REQUIRE(lambda(x).text() == "float32 [1, 2] [[2, -1]]");
  const AnyModule<float> function = twice;
  REQUIRE(function(x).text() == "float32 [1, 2] [[2, -4]]");
  const AnyModule<float> pointer = &twice;
  REQUIRE(pointer(x).text() == "float32 [1, 2] [[2, -4]]");
  const AnyModule<float> own = Scale{};
  REQUIRE(own(x).text() == "float32 [1, 2] [[3, -6]]");
  const AnyModule<float> op = ReLU{};
  REQUIRE(op(x).text() == "float32 [1, 2] [[1, 0]]");
  const Sequential all{twice, Scale{}, [](const Tensor<float>& t) { return t + 1; }};
  REQUIRE(all(x).text() == "float32 [1, 2] [[7, -11]]");
  const AnyModule<double> wide = ReLU{};
  REQUIRE(wide(Tensor<double>({1}, {-1})).item() == 0);
}

TEST_CASE("functions and lambdas have no fields", "[nn][fast]") {
  Sequential model{twice, &twice, [](const Tensor<float>& t) { return t; }, Scale{}};
  REQUIRE(names(parameters(model)) == std::vector<std::string>{"3.factor"});
  REQUIRE(clone(model)(Tensor<float>::ones({1})).item() == 12);
}

TEST_CASE("AnyModule says what type it holds", "[nn][fast]") {
  AnyModule<float> module = Scale{}, empty;
  REQUIRE(module.as<Scale>() != nullptr);
  REQUIRE(module.as<Masked>() == nullptr);
  REQUIRE(empty.as<Scale>() == nullptr);
  REQUIRE(module);
  REQUIRE_FALSE(empty);
  REQUIRE_THROWS_WITH(empty(Tensor<float>::ones({1})), "module: it is empty; assign a module to it first");
  REQUIRE_THROWS_WITH(empty(Input<float>()), "module: it is empty; assign a module to it first");
  REQUIRE(parameters(empty).empty());
}

TEST_CASE("AnyModule takes values, tokens and inputs", "[nn][fast]") {
  const Tensor<float> x({2, 2}, {1, 2, NAN, NAN});
  const Tensor<Index> tokens({2, 1}, {2, 0});
  const Tensor<bool> present({2}, {true, false});
  const AnyModule<float> on_values = twice, on_tokens = Lookup{}, on_inputs = Masked{};
  REQUIRE(on_values(Input<float>(x)).text() == "float32 [2, 2] [[2, 4], [nan, nan]]");
  REQUIRE(on_tokens(Input<float>(tokens)).text() == "float32 [2, 2] [[20, 21], [0, 1]]");
  REQUIRE(on_inputs(Input<float>(x, present)).text() == "float32 [2, 2] [[1, 2], [-1, -1]]");
  REQUIRE(on_inputs(x).text() == "float32 [2, 2] [[1, 2], [nan, nan]]");
  REQUIRE_THROWS_WITH(on_values(Input<float>(tokens)),
                      "module: it takes values [batch, ...], but the input has tokens only");
  REQUIRE_THROWS_WITH(on_tokens(Input<float>(x)),
                      "module: it takes tokens [batch, steps], but the input has values only");
  REQUIRE_THROWS_WITH(on_tokens(x), "module: it takes tokens [batch, steps], but the input has values only");
  AnyModule<float> lookup = Lookup{};
  REQUIRE(names(parameters(lookup)) == std::vector<std::string>{"weight"});
}

TEST_CASE("a module gets the pass where it takes one", "[nn][fast]") {
  const Rng rng{0};
  Pass pass{rng};
  const Tensor<float> x = Tensor<float>::ones({1});
  const AnyModule<float> module = Trained{}, plain = twice, only = OnlyTrained{};
  REQUIRE(module(x).item() == 1);
  REQUIRE(module(x, pass).item() == 2);
  REQUIRE(module(Input<float>(x), &pass).item() == 2);
  REQUIRE(plain(x, pass).item() == 2);
  REQUIRE(only(x, pass).item() == 1);
  REQUIRE_THROWS_WITH(only(x),
                      "module: it can only be called with a Pass; give it a call operator without one for inference");
}

TEST_CASE("parameters have PyTorch's names, in the order of the fields", "[nn][fast]") {
  Rng rng{0};
  Net net = make_net(rng);
  REQUIRE(names(parameters(net)) ==
          std::vector<std::string>{"trunk.0.weight", "trunk.0.bias", "trunk.1.weight", "trunk.1.bias",
                                   "trunk.3.1.weight", "blocks.0.weight", "blocks.0.bias", "blocks.1.weight",
                                   "blocks.1.bias", "norm.weight", "norm.bias", "heads.price.weight",
                                   "heads.price.bias", "heads.tags.weight", "heads.tags.bias"});
  REQUIRE(tensor_names(net) ==
          std::vector<std::string>{"trunk.0.weight", "trunk.0.bias", "trunk.1.weight", "trunk.1.bias",
                                   "trunk.1.running_mean", "trunk.1.running_var", "trunk.1.num_batches_tracked",
                                   "trunk.3.1.weight", "blocks.0.weight", "blocks.0.bias", "blocks.1.weight",
                                   "blocks.1.bias", "norm.weight", "norm.bias", "heads.price.weight",
                                   "heads.price.bias", "heads.tags.weight", "heads.tags.bias"});
  REQUIRE(leaf_of(net.heads.price.weight)->name == "heads.price.weight");
  REQUIRE(parameters<double>(net).empty());
  net.norm.reset();
  REQUIRE(parameters(net).find("norm.weight") == nullptr);
}

TEST_CASE("a layer used twice appears once", "[nn][fast]") {
  Rng rng{0};
  const Linear shared{2, 2, rng};
  Sequential model{shared, ReLU{}, shared, Linear{2, 2, rng}};
  REQUIRE(names(parameters(model)) == std::vector<std::string>{"0.weight", "0.bias", "3.weight", "3.bias"});
  REQUIRE(leaf_of(parameters(model)["0.weight"]) == leaf_of(shared.weight));
  backward(sum(model(Tensor<float>::ones({1, 2}))));
  REQUIRE(gradient(shared.weight).defined());
}

TEST_CASE("copies share, clones do not", "[nn][fast]") {
  Rng rng{0};
  Net net = make_net(rng), copy = net, deep = clone(net);
  const auto p = parameters(net), c = parameters(copy), d = parameters(deep);
  REQUIRE(names(d) == names(p));
  for (Index i = 0; i < p.size(); ++i) {
    REQUIRE(leaf_of(c.at(i).value) == leaf_of(p.at(i).value));
    REQUIRE(leaf_of(d.at(i).value) != leaf_of(p.at(i).value));
    REQUIRE(d.at(i).value.data() != p.at(i).value.data());
    REQUIRE(same_bits(d.at(i).value, p.at(i).value));
  }
  REQUIRE(leaf_of(deep.heads.price.weight)->name == "heads.price.weight");
  copy.heads.price.bias.mutate()[0] = 7;
  REQUIRE(net.heads.price.bias.item() == 7);
  REQUIRE(deep.heads.price.bias.item() != 7);
}

TEST_CASE("a clone keeps ties and owners, and has buffers of its own", "[nn][fast]") {
  Rng rng{0};
  const BatchNorm1d norm{2};
  Sequential model{norm, Linear{2, 2, rng}, norm};
  set_owner<float>(model, {Owner::Kind::task, "price"});
  Sequential deep = clone(model);
  BatchNorm1d<float>&first = *deep[0].as<BatchNorm1d<float>>(), &last = *deep[2].as<BatchNorm1d<float>>();
  REQUIRE(leaf_of(first.weight) == leaf_of(last.weight));
  REQUIRE(leaf_of(first.weight)->owner.text() == "task price");
  REQUIRE(first.running_mean.data() == last.running_mean.data());
  REQUIRE(first.num_batches_tracked.data() == last.num_batches_tracked.data());
  REQUIRE(first.running_mean.data() != norm.running_mean.data());
  REQUIRE(first.running_mean.data() != first.running_var.data());
  {
    Pass pass{rng};
    deep(Tensor<float>({2, 2}, {1, 2, 3, 4}), pass);
  }
  REQUIRE(last.num_batches_tracked.item() == 2);
  REQUIRE(norm.num_batches_tracked.item() == 0);
  REQUIRE(norm.running_mean.text() == "float32 [2] [0, 0]");
}

TEST_CASE("inference on a const model is safe from two threads", "[nn][fast]") {
  Rng rng{0};
  const Sequential model{Linear{8, 32, rng}, BatchNorm1d{32}, ReLU{}, LayerNorm{32}, Dropout{0.5}, Linear{32, 4, rng}};
  const Tensor<float> x = Tensor<float>::normal({16, 8}, rng), expected = model(x);
  std::array<int, 2> equal{};
  const auto work = [&](std::size_t k) {
    for (int i = 0; i < 50; ++i) equal[k] += same_bits(model(x), expected);
  };
  std::thread a(work, 0), b(work, 1);
  a.join();
  b.join();
  REQUIRE(equal[0] == 50);
  REQUIRE(equal[1] == 50);
}
