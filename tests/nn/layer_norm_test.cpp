#include "espalier/nn/layer_norm.hpp"

#include "espalier/autograd/gradcheck.hpp"
#include "nn/layer_case.hpp"

using namespace espalier;

TEST_CASE("LayerNorm agrees with PyTorch", "[nn][fast]") {
  for (const char* name : {"layer_norm", "layer_norm_3d"}) {
    const support::LayerCase c("layers.txt", name);
    LayerNorm<double> layer{5};
    layer.weight = c.weight;
    layer.bias = c.bias;
    c.check(layer(c.x));
  }
}

TEST_CASE("LayerNorm: scalar types, fields and options", "[nn][fast]") {
  LayerNorm layer{3};
  STATIC_REQUIRE(std::is_same_v<decltype(layer), LayerNorm<float>>);
  STATIC_REQUIRE(std::is_same_v<decltype(LayerNorm{Shape{2, 3}}), LayerNorm<float>>);
  STATIC_REQUIRE(std::is_same_v<decltype(LayerNorm{3, {.eps = 1e-6}}), LayerNorm<float>>);
  REQUIRE(parameters(layer).names() == "weight, bias");
  REQUIRE(layer.weight.text() == "float32 [3] [1, 1, 1]");
  REQUIRE(layer.bias.text() == "float32 [3] [0, 0, 0]");
  LayerNorm plain{3, {.elementwise_affine = false}}, no_bias{3, {.bias = false}};
  REQUIRE(parameters(plain).empty());
  REQUIRE(parameters(no_bias).names() == "weight");
  const Tensor<float> x({1, 3}, {1, 2, 6});
  REQUIRE(std::ranges::equal(plain(x).values(), layer(x).values()));
  REQUIRE(std::ranges::equal(no_bias(x).values(), layer(x).values()));
  REQUIRE((LayerNorm{2, {.eps = 3}}(Tensor<float>({2}, {0, 2}))(1)) == Approx(0.5));
}

TEST_CASE("LayerNorm over several axes is that of the flattened axes", "[nn][fast]") {
  Rng rng{0};
  LayerNorm<double> deep{Shape{2, 3}}, flat{6};
  REQUIRE(deep.weight.shape() == Shape{2, 3});
  REQUIRE(parameters<double>(deep).at(0).name == "weight");
  for (std::size_t i = 0; i < 6; ++i) deep.weight.mutate()[i] = flat.weight.mutate()[i] = static_cast<double>(i);
  const Tensor<double> x = Tensor<double>::normal({4, 5, 2, 3}, rng);
  const Tensor<double> y = deep(x);
  REQUIRE(y.shape() == x.shape());
  REQUIRE(std::ranges::equal(y.values(), flat(reshape(x, {4, 5, 6})).values()));
  REQUIRE(deep(reshape(slice(slice(x, 0, 0, 1), 1, 0, 1), {2, 3})).shape() == Shape{2, 3});
}

TEST_CASE("LayerNorm: gradients of both orders", "[nn][fast]") {
  Rng rng{0};
  const auto check = [&](const Shape& shape, const Shape& inner) {
    const auto f = [&](const std::vector<Tensor<double>>& x) {
      LayerNorm<double> layer{inner};
      layer.weight = x[1];
      layer.bias = x[2];
      return layer(x[0]);
    };
    const auto normal = [&](const Shape& s) { return Tensor<double>::normal(s, rng); };
    const auto result = gradcheck(f, {normal(shape), normal(inner), normal(inner)});
    INFO(result.text);
    REQUIRE(result.passed);
  };
  check({3, 5}, {5});
  check({5}, {5});
  check({2, 3, 4}, {4});
  check({2, 2, 3}, {2, 3});
  check({3, 2}, {3, 2});
}

TEST_CASE("LayerNorm: rows of several tasks in one sweep", "[nn][fast]") {
  Rng rng{0};
  const LayerNorm<double> layer{5};
  const Tensor<double> x = parameter(Tensor<double>::normal({3, 5}, rng));
  const std::vector<Tensor<double>> inputs{x, layer.weight, layer.bias};
  const Tensor<double> y = sum(square(layer(x)), {0});
  const auto rows = jacobian(y, inputs);
  for (Index i = 0; i < 5; ++i) {
    const auto one = grad(slice(y, 0, i, i + 1), inputs, {.retain_graph = true});
    for (std::size_t k = 0; k < inputs.size(); ++k)
      for (Index j = 0; j < one[k].size(); ++j)
        REQUIRE(std::abs(rows[k].data()[i * one[k].size() + j] - one[k].data()[j]) < 1e-13);
  }
}

TEMPLATE_TEST_CASE("LayerNorm: empty batches, and rows that do not vary", "[nn][fast]", float, double) {
  using T = TestType;
  const LayerNorm<T> layer{3}, one{1};
  const Tensor<T> none = parameter(Tensor<T>::zeros({0, 3}));
  const Tensor<T> y = layer(none);
  REQUIRE(y.shape() == Shape{0, 3});
  const std::vector<Tensor<T>> inputs{none, layer.weight};
  const auto g = grad(sum(y), inputs, {.create_graph = true});
  REQUIRE(g[0].shape() == Shape{0, 3});
  REQUIRE(g[1].text() == Tensor<T>::zeros({3}).text());

  const Tensor<T> x = parameter(Tensor<T>({2, 3}, {7, 7, 7, 1, 2, 3}));
  const Tensor<T> z = layer(x);
  REQUIRE(z(0, 1) == 0);
  const Tensor<T> dx = grad(sum(square(z)), std::vector{x})[0];
  for (const T v : dx.values()) REQUIRE(std::isfinite(v));
  REQUIRE(one(Tensor<T>({2, 1}, {3, 4})).text() == Tensor<T>::zeros({2, 1}).text());
}

TEST_CASE("LayerNorm keeps samples apart", "[nn][fast]") {
  Rng rng{0};
  const LayerNorm layer{19};
  Tensor<float> x = Tensor<float>::normal({3, 19}, rng);
  const Tensor<float> before = layer(x);
  x.mutate()[0] = NAN;
  const Tensor<float> after = layer(x);
  REQUIRE(std::isnan(after(0, 18)));
  REQUIRE(std::ranges::equal(slice(after, 0, 1, 3).values(), slice(before, 0, 1, 3).values()));
  REQUIRE(std::ranges::equal(layer(slice(x, 0, 1, 2)).values(), slice(before, 0, 1, 2).values()));
}

TEST_CASE("LayerNorm: errors", "[nn][fast]") {
  const auto zeros = [](const Shape& shape) { return Tensor<float>::zeros(shape); };
  REQUIRE_THROWS_WITH(LayerNorm{4}(zeros({4, 3})), "LayerNorm: x is [4, 3]; it must be [..., 4]");
  REQUIRE_THROWS_WITH(LayerNorm{4}(zeros({})), "LayerNorm: x is []; it must be [..., 4]");
  REQUIRE_THROWS_WITH((LayerNorm{Shape{2, 4}}(zeros({5, 4}))), "LayerNorm: x is [5, 4]; it must be [..., 2, 4]");
  REQUIRE_THROWS_WITH((LayerNorm{Shape{2, 4}}(zeros({4}))), "LayerNorm: x is [4]; it must be [..., 2, 4]");
  REQUIRE_THROWS_WITH(LayerNorm{4}(Tensor<float>()), "LayerNorm: x is an undefined tensor; give it values first");
  REQUIRE_THROWS_WITH(LayerNorm{0}, "LayerNorm: shape is [0]; it must have at least one axis, and no axis of size 0");
  REQUIRE_THROWS_WITH(LayerNorm{Shape{}},
                      "LayerNorm: shape is []; it must have at least one axis, and no axis of size 0");
  REQUIRE_THROWS_WITH((LayerNorm{4, {.eps = -1}}), "LayerNorm: eps is -1; it must be above 0");
}
