#include "espalier/nn/linear.hpp"

#include "espalier/autograd/functional.hpp"
#include "nn/layer_case.hpp"
#include "support/catch.hpp"

using namespace espalier;

TEST_CASE("Linear agrees with PyTorch", "[nn][fast]") {
  Rng rng{0};
  for (const char* name : {"linear", "linear_3d"}) {
    const support::LayerCase c("layers.txt", name);
    Linear<double> layer{7, 3, rng};
    layer.weight = c.weight;
    layer.bias = c.bias;
    c.check(layer(c.x));
  }
}

TEST_CASE("Linear starts within +-1 / sqrt(in)", "[nn][fast]") {
  Rng rng{5};
  const Linear layer{100, 300, rng};
  const float bound = 0.1f;
  for (const Tensor<float>& p : {layer.weight, layer.bias}) {
    const auto [low, high] = std::minmax_element(p.values().begin(), p.values().end());
    REQUIRE(*low >= -bound);
    REQUIRE(*high <= bound);
    REQUIRE(*low < -0.95f * bound);
    REQUIRE(*high > 0.95f * bound);
    REQUIRE(std::abs(kernels::sum(p.size(), p.data()) / static_cast<double>(p.size())) < 0.2 * bound);
  }
  REQUIRE(layer.in() == 100);
  REQUIRE(layer.out() == 300);
}

TEST_CASE("Linear without bias", "[nn][fast]") {
  Rng rng{5}, other{5};
  Linear layer{4, 2, rng, {.bias = false}};
  const Linear with{4, 2, other};
  REQUIRE_FALSE(layer.bias.defined());
  REQUIRE(parameters(layer).names() == "weight");
  REQUIRE(std::ranges::equal(layer.weight.values(), with.weight.values()));
  REQUIRE(rng.step() == other.step());  // what is drawn afterwards does not depend on the option
  REQUIRE(layer(Tensor<float>::zeros({3, 4})).text() == "float32 [3, 2] [[0, 0], [0, 0], [0, 0]]");
}

TEST_CASE("Linear: scalar types", "[nn][fast]") {
  Rng rng{5};
  STATIC_REQUIRE(std::is_same_v<decltype(Linear{1, 1, rng}), Linear<float>>);
  STATIC_REQUIRE(std::is_same_v<decltype(Linear{1, 1, rng, {.bias = false}}), Linear<float>>);
  const Linear<double> wide{4, 2, rng};
  REQUIRE(wide(Tensor<double>::zeros({0, 4})).shape() == Shape{0, 2});
}

TEST_CASE("Linear: errors", "[nn][fast]") {
  Rng rng{5};
  REQUIRE_THROWS_WITH((Linear{0, 2, rng}), "Linear: in is 0, out is 2; both must be at least 1");
  REQUIRE_THROWS_WITH((Linear{3, -1, rng}), "Linear: in is 3, out is -1; both must be at least 1");
  REQUIRE_THROWS_WITH((Linear{3, 2, rng}(Tensor<float>::zeros({4, 5}))),
                      "linear: x is [4, 5], weight is [2, 3]; weight is [out, in] and x's last axis must equal in (3)");
  Sequential model{Linear{4, 3, rng}, Linear{3, 2, rng}};
  (void)parameters(model);
  REQUIRE_THROWS_WITH(model(Tensor<float>::zeros({4, 5})),
                      "linear: layer '0': x is [4, 5], weight is [3, 4]; weight is [out, in] and x's last axis must equal in (4)");
  REQUIRE_THROWS_WITH((Linear{3, 2, rng}(Tensor<float>())), "linear: x is an undefined tensor; give it values first");
}
