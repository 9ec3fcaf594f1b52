#include "espalier/nn/sequential.hpp"

#include "espalier/autograd/gradcheck.hpp"
#include "espalier/nn/dropout.hpp"
#include "espalier/nn/identity.hpp"
#include "support/catch.hpp"

using namespace espalier;

namespace {

template <class T>
bool same_bits(const Tensor<T>& a, const Tensor<T>& b) {
  return a.shape() == b.shape() && std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.size()) * sizeof(T)) == 0;
}

}  // namespace

TEST_CASE("Sequential calls its modules in order", "[nn][fast]") {
  const Sequential model{[](const Tensor<float>& x) { return x + 1; }, [](const Tensor<float>& x) { return 10 * x; },
                         ReLU{}};
  REQUIRE(model(Tensor<float>({2}, {1, -3})).text() == "float32 [2] [20, 0]");
  REQUIRE(model.size() == 3);
  REQUIRE(Sequential<float>{}(Tensor<float>({1}, {5})).item() == 5);
}

TEMPLATE_TEST_CASE("fusion changes no bit, forward or backward", "[nn][fast]", float, double) {
  using T = TestType;
  Rng rng{1};
  const Linear<T> first{7, 13, rng}, second{13, 5, rng, {.bias = false}};
  const Sequential<T> fused{first, ReLU{}, second, ReLU{}};
  const auto apart = [&](const Tensor<T>& x) { return relu(second(relu(first(x)))); };
  for (const Index batch : {0, 1, 3, 64}) {
    const Tensor<T> x = parameter(Tensor<T>::normal({batch, 7}, rng)), g = Tensor<T>::normal({batch, 5}, rng);
    const std::vector<Tensor<T>> inputs{x, first.weight, first.bias, second.weight};
    const Tensor<T> a = fused(x), b = apart(x);
    REQUIRE(same_bits(a, b));
    const auto da = vjp(a, inputs, g), db = vjp(b, inputs, g);
    for (std::size_t i = 0; i < inputs.size(); ++i) REQUIRE(same_bits(da[i], db[i]));
    Pass pass{rng};
    REQUIRE(same_bits(fused(x, pass), b));
  }
}

TEST_CASE("what is not next to an activation is not fused", "[nn][fast]") {
  Rng rng{1};
  const Linear<float> layer{2, 2, rng};
  const Tensor<float> x({1, 2}, {1, -1});
  REQUIRE(same_bits(Sequential{layer, Tanh{}}(x), tanh(layer(x))));
  REQUIRE(same_bits(Sequential{layer, Identity{}, ReLU{}}(x), relu(layer(x))));
  REQUIRE(same_bits(Sequential{ReLU{}, layer}(x), layer(relu(x))));
  REQUIRE(same_bits(Sequential{layer, layer, ReLU{}}(x), relu(layer(layer(x)))));
}

TEST_CASE("modules can be replaced", "[nn][fast]") {
  Rng rng{1};
  const Linear<float> layer{2, 2, rng};
  const Tensor<float> x({1, 2}, {1, -1});
  Sequential model{layer, ReLU{}, Identity{}};
  model[1] = Identity{};
  REQUIRE(same_bits(model(x), layer(x)));
  model[0] = Identity{};
  model[1] = ReLU{};
  REQUIRE(same_bits(model(x), relu(x)));
  model[2] = AnyModule<float>();
  REQUIRE_THROWS_WITH(model(x), "module: it is empty; assign a module to it first");
  REQUIRE_THROWS_WITH(model[3], "Sequential: module 3 is asked for; there are 3, counted from 0");
  REQUIRE_THROWS_WITH(model[-1], "Sequential: module -1 is asked for; there are 3, counted from 0");
}

TEST_CASE("Sequential refuses empty modules", "[nn][fast]") {
  REQUIRE_THROWS_WITH(Sequential(std::vector<AnyModule<float>>{ReLU{}, {}}), "Sequential: module 1 is empty");
}

TEST_CASE("every module of a Sequential draws for itself", "[nn][fast]") {
  const Rng rng{1};
  const Tensor<float> x = Tensor<float>::ones({64});
  const Sequential once{Dropout{0.5}}, twice{Dropout{0.5}, Dropout{0.5}};
  Pass a{rng}, b{rng}, c{rng};
  const Tensor<float> y = once(x, a), z = twice(x, b);
  REQUIRE_FALSE(same_bits(4 * sign(y), z));  // the second mask is not the first
  REQUIRE(same_bits(once(x, c), y));
  REQUIRE(same_bits(twice(x), x));
}

TEST_CASE("Sequential in Sequential: names and draws by path", "[nn][fast]") {
  Rng rng{1};
  Sequential model{Linear{2, 2, rng}, Sequential{ReLU{}, Linear{2, 1, rng}}};
  const auto p = parameters(model);
  REQUIRE(p.names() == "0.weight, 0.bias, 1.1.weight, 1.1.bias");
  REQUIRE(model(Tensor<float>::ones({3, 2})).shape() == Shape{3, 1});
}

TEST_CASE("gradients of a Sequential, first and second order", "[nn][fast]") {
  Rng rng{1};
  const Sequential<double> model{Linear<double>{3, 4, rng}, Tanh{}, Linear<double>{4, 2, rng}, ReLU{}, Softplus{}};
  const auto result = gradcheck([&](const auto& x) { return model(x[0]); }, {Tensor<double>::normal({5, 3}, rng)});
  INFO(result.text);
  REQUIRE(result.passed);
}
