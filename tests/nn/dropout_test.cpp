#include "espalier/nn/dropout.hpp"

#include "espalier/autograd/gradcheck.hpp"
#include "espalier/nn/sequential.hpp"
#include "support/catch.hpp"

using namespace espalier;

namespace {

template <class T>
bool same_values(const Tensor<T>& a, const Tensor<T>& b) {
  return a.shape() == b.shape() && std::ranges::equal(a.values(), b.values());
}

}  // namespace

TEMPLATE_TEST_CASE("Dropout is the identity in inference", "[nn][fast]", float, double) {
  const Tensor<TestType> x({3}, {1, 2, 3});
  REQUIRE(Dropout{0.9}(x).data() == x.data());
  REQUIRE(Dropout{}.p == 0.5);
}

TEMPLATE_TEST_CASE("Dropout leaves out a share p and scales the rest", "[nn][fast]", float, double) {
  using T = TestType;
  const Rng rng{1};
  const Index n = 100'000;
  const Tensor<T> x = Tensor<T>::full({n}, 3);
  for (const double p : {0.1, 0.5, 0.9}) {
    Pass pass{rng};
    const Tensor<T> y = Dropout{p}(x, pass);
    const T kept = T(3) * static_cast<T>(1 / (1 - p));
    Index dropped = 0, neighbours = 0;
    for (Index i = 0; i < n; ++i) {
      const T v = y.data()[i];
      if (v != 0 && v != kept) FAIL("an element is neither 0 nor " << kept << ": " << v);
      dropped += v == 0;
      neighbours += i > 0 && v == 0 && y.data()[i - 1] == 0;
    }
    const double share = static_cast<double>(dropped) / n, pairs = static_cast<double>(neighbours) / n;
    REQUIRE(std::abs(share - p) < 5 * std::sqrt(p * (1 - p) / n));
    REQUIRE(std::abs(pairs - p * p) < 0.01);  // neighbours share a draw, but no bits
  }
}

TEST_CASE("Dropout: the mask follows from the key, the path and the position", "[nn][fast]") {
  const Rng rng{1};
  const Tensor<float> x = Tensor<float>::ones({9, 11}), longer = Tensor<float>::ones({20, 11});
  const Dropout drop{0.5};
  Pass a{rng, 3}, b{rng, 3}, c{rng, 4}, d{rng, 3}, e{rng, 3};
  const Tensor<float> y = drop(x, a);
  REQUIRE(same_values(drop(x, b), y));
  REQUIRE_FALSE(same_values(drop(x, c), y));
  REQUIRE(same_values(slice(drop(longer, d), 0, 0, 9), y));
  const Pass::Scope scope(e, detail::hash_name("elsewhere"));
  REQUIRE_FALSE(same_values(drop(x, e), y));
}

TEST_CASE("Dropout used twice in a pass has two masks", "[nn][fast]") {
  const Rng rng{1};
  const Tensor<float> x = Tensor<float>::ones({64});
  const Dropout drop{0.5};
  Pass pass{rng};
  const Tensor<float> first = drop(x, pass);
  REQUIRE_FALSE(same_values(drop(x, pass), first));
}

TEST_CASE("Dropout with p = 0 draws nothing", "[nn][fast]") {
  const Rng rng{1};
  const Tensor<float> x = Tensor<float>::ones({64});
  Pass a{rng}, b{rng};
  REQUIRE(Dropout{0}(x, a).data() == x.data());
  REQUIRE(a.draws().bits(0) == b.draws().bits(0));
}

TEST_CASE("what Dropout drops may be NaN", "[nn][fast]") {
  const Rng rng{1};
  const Tensor<float> ones = Tensor<float>::ones({40});
  const Dropout drop{0.5};
  Pass a{rng}, b{rng};
  const Tensor<float> mask = drop(ones, a);
  Tensor<float> holes = ones.clone();
  for (Index i = 0; i < 40; ++i)
    if (mask(i) == 0) holes.mutate()[static_cast<std::size_t>(i)] = NAN;
  const Tensor<float> x = parameter(holes);
  const Tensor<float> y = drop(x, b);
  REQUIRE(same_values(y, mask));
  Tensor<float> g = Tensor<float>::ones({40});
  for (Index i = 0; i < 40; ++i)
    if (mask(i) == 0) g.mutate()[static_cast<std::size_t>(i)] = NAN;
  REQUIRE(same_values(vjp(y, {x}, g)[0], mask));
}

TEST_CASE("Dropout: gradients of both orders, and rows of several tasks", "[nn][fast]") {
  Rng rng{1};
  const auto dropped = [](const Tensor<double>& x) {
    Pass pass{Rng{2}};
    return Dropout{0.3}(x * x * x, pass);
  };
  const auto result = gradcheck([&](const auto& x) { return dropped(x[0]); }, {Tensor<double>::normal({4, 5}, rng)});
  INFO(result.text);
  REQUIRE(result.passed);

  const Tensor<double> x = parameter(Tensor<double>::normal({4, 5}, rng));
  const std::vector<Tensor<double>> inputs{x};
  const Tensor<double> y = sum(dropped(x), {0});
  const Tensor<double> rows = jacobian(y, inputs)[0];
  for (Index i = 0; i < 5; ++i) {
    const Tensor<double> alone = grad(slice(y, 0, i, i + 1), inputs, {.retain_graph = true})[0];
    REQUIRE(same_values(rows.view({4, 5}, i * 20), alone));
  }
}

TEST_CASE("Dropout: empty and odd sizes", "[nn][fast]") {
  const Rng rng{1};
  const Tensor<float> none = parameter(Tensor<float>::zeros({0, 3}));
  Pass pass{rng};
  const Tensor<float> y = Dropout{0.5}(none, pass);
  REQUIRE(y.shape() == Shape{0, 3});
  REQUIRE(grad(sum(y), std::vector{none}, {.create_graph = true})[0].shape() == Shape{0, 3});
  REQUIRE(Dropout{0.5}(Tensor<float>::ones({1}), pass).shape() == Shape{1});
  REQUIRE(Dropout{0.5}(Tensor<float>::scalar(1), pass).shape() == Shape{});
  const Tensor<float> big = Tensor<float>::ones({8193}), odd = Dropout{0.5}(big, pass);
  REQUIRE(std::ranges::all_of(odd.values(), [](float v) { return v == 0 || v == 2; }));
}

TEST_CASE("Dropout: errors", "[nn][fast]") {
  REQUIRE_THROWS_WITH(Dropout{1}, "Dropout: p is 1; it must be in [0, 1)");
  REQUIRE_THROWS_WITH(Dropout{-0.1}, "Dropout: p is -0.1; it must be in [0, 1)");
  REQUIRE_THROWS_WITH(Dropout{NAN}, "Dropout: p is nan; it must be in [0, 1)");
  Pass pass{Rng{0}};
  REQUIRE_THROWS_WITH(Dropout{0.5}(Tensor<float>(), pass), "Dropout: x is an undefined tensor; give it values first");
}
