#include "espalier/optim/adam.hpp"

#include "optim/steps.hpp"
#include "support/catch.hpp"

using namespace espalier;
using namespace espalier::support;

namespace {

template <class T>
double adam_error(const std::string& name, const AdamOptions& options) {
  return golden_error<T>(name, [&](auto list) { return Adam<T>(std::move(list), options); });
}
template <class T>
double adamw_error(const std::string& name, const AdamWOptions& options) {
  return golden_error<T>(name, [&](auto list) { return AdamW<T>(std::move(list), options); });
}

}  // namespace

TEST_CASE("Adam and AdamW give PyTorch's numbers", "[fast]") {
  REQUIRE(adam_error<double>("adam", {}) < 1e-12);
  REQUIRE(adam_error<double>("adam_weight_decay", {.weight_decay = 0.01}) < 1e-12);
  REQUIRE(adamw_error<double>("adamw", {}) < 1e-12);
  REQUIRE(adamw_error<double>("adamw_lr", {.lr = 1e-2}) < 1e-12);
  REQUIRE(adam_error<float>("adam", {}) < 1e-6);
  REQUIRE(adam_error<float>("adam_weight_decay", {.weight_decay = 0.01}) < 1e-6);
  REQUIRE(adamw_error<float>("adamw_lr", {.lr = 1e-2}) < 1e-6);
}

TEST_CASE("Adam's type follows from its parameters", "[fast]") {
  const auto list = some_parameters<float>({{3}});
  Adam adam{list, {.lr = 1e-3}};
  Adam plain{list};
  AdamW adamw{some_parameters<double>({{3}}), {.lr = 0.5, .weight_decay = 0}};
  STATIC_REQUIRE(std::is_same_v<decltype(adam), Adam<float>>);
  STATIC_REQUIRE(std::is_same_v<decltype(plain), Adam<float>>);
  STATIC_REQUIRE(std::is_same_v<decltype(adamw), AdamW<double>>);
  REQUIRE(plain.lr() == 1e-3);
  REQUIRE(adamw.lr() == 0.5);
}

TEST_CASE("Adam's first step is lr g / (|g| + eps)", "[fast]") {
  for (double g : {1e-6, 0.5, -3e4}) {
    const auto list = some_parameters<double>({{1}});
    const double before = list.at(0).value.item();
    Adam adam{list, {.lr = 0.1}};
    add_gradient(list.at(0).value, {g});
    adam.step();
    REQUIRE(before - list.at(0).value.item() == Approx(0.1 * g / (std::abs(g) + 1e-8)).epsilon(1e-13));
  }
}

TEST_CASE("Adam in float keeps to double within a few ulps a step", "[fast]") {
  // Sizes that end within a pack, gradients over 16 orders of magnitude, 200 steps.
  const Index n = 37;
  NamedList<Tensor<float>> list{{"p", parameter(Tensor<float>::zeros({n}))}};
  Adam adam{list, {.lr = 1e-2}};
  std::vector<double> p(n), m(n), v(n);
  for (int t = 1; t <= 200; ++t) {
    std::vector<float> g = noise<float>(n, static_cast<std::uint64_t>(t));
    for (std::size_t i = 0; i < g.size(); ++i) {
      g[i] *= std::ldexp(1.0f, static_cast<int>(i) * 3 / 2 - 30);
      m[i] = 0.9 * m[i] + 0.1 * double{g[i]};
      v[i] = 0.999 * v[i] + 0.001 * double{g[i]} * double{g[i]};
      p[i] -= 1e-2 / (1 - std::pow(0.9, t)) * m[i] / (std::sqrt(v[i] / (1 - std::pow(0.999, t))) + 1e-8);
    }
    add_gradient(list.at(0).value, g);
    adam.step();
  }
  double worst = 0;
  for (std::size_t i = 0; i < p.size(); ++i)
    worst = std::max(worst, std::abs(static_cast<double>(list.at(0).value.data()[i]) - p[i]));
  REQUIRE(worst < 200 * 1e-2 * 1e-6);
}

TEST_CASE("quotient is exact to about an ulp over its range", "[fast]") {
  using V = pack<float>;
  double worst = 0;
  for (int exponent = -126; exponent < 64; ++exponent)
    for (int k = 0; k < 64; ++k) {
      const float y = std::ldexp(1 + static_cast<float>(k) / 64, exponent), x = 3.7f * y / static_cast<float>(k + 1);
      float q[V::size];
      kernels::quotient(V(x), V(y)).store(q);
      const double want = static_cast<double>(x) / static_cast<double>(y);
      worst = std::max(worst, std::abs(static_cast<double>(q[0]) - want) / want);
    }
  REQUIRE(worst < 1.3e-7);
  float q[V::size];
  const float infinity = std::numeric_limits<float>::infinity();
  kernels::quotient(V(0.0f), V(std::numeric_limits<float>::min())).store(q);
  REQUIRE(q[0] == 0);
  kernels::quotient(V(1.0f), V(infinity)).store(q);
  REQUIRE(q[0] < 1e-37f);
  kernels::quotient(V(std::numeric_limits<float>::quiet_NaN()), V(1.0f)).store(q);
  REQUIRE(q[0] != q[0]);
}

TEST_CASE("a gradient that has always been zero moves nothing", "[fast]") {
  for (double eps : {1e-8, 1e-60, 0.0}) {
    const auto list = some_parameters<float>({{19}});
    const auto before = values_of(list.at(0).value);
    Adam adam{list, {.eps = eps}};
    for (int step = 0; step < 5; ++step) {
      add_gradient(list.at(0).value, std::vector<float>(19));
      adam.step();
    }
    REQUIRE(values_of(list.at(0).value) == before);
  }
}

TEST_CASE("a parameter without a gradient is left alone altogether", "[fast]") {
  // b gets a gradient in every third step; c is b's twin that lives through those steps only.
  const auto list = some_parameters<double>({{5}, {5}}), twin = some_parameters<double>({{5}, {5}});
  AdamW adam{list, {.lr = 0.1, .weight_decay = 0.3}}, alone{twin, {.lr = 0.1, .weight_decay = 0.3}};
  for (std::uint64_t step = 0; step < 9; ++step) {
    add_gradient(list.at(0).value, noise<double>(5, 100 + step));
    if (step % 3 == 2) {
      add_gradient(list.at(1).value, noise<double>(5, step));
      add_gradient(twin.at(1).value, noise<double>(5, step));
    }
    const auto before = values_of(list.at(1).value);
    const auto fields = fields_of(adam);
    adam.step();
    alone.step();
    if (step % 3 != 2) {
      REQUIRE(values_of(list.at(1).value) == before);
      REQUIRE(fields_of(adam).at("b.exp_avg") == fields.at("b.exp_avg"));
    }
  }
  REQUIRE(values_of(list.at(1).value) == values_of(twin.at(1).value));
  REQUIRE(fields_of(adam).at("a.step")[0] == 9);
  REQUIRE(fields_of(adam).at("b.step")[0] == 3);
}

TEST_CASE("Adam shows its state under PyTorch's names", "[fast]") {
  const auto list = some_parameters<float>({{2, 3}, {}});
  Adam adam{list, {.lr = 0.25}};
  add_gradient(list.at(1).value, {2.0f});
  adam.step();
  const Dictionary fields = fields_of(adam);
  REQUIRE(fields.size() == 7);
  REQUIRE(fields.at("lr")[0] == 0.25);
  REQUIRE(fields.at("a.step")[0] == 0);
  REQUIRE(fields.at("a.exp_avg") == std::vector<double>(6));
  REQUIRE(fields.at("b.step")[0] == 1);
  REQUIRE(fields.at("b.exp_avg")[0] == Approx(0.2));
  REQUIRE(fields.at("b.exp_avg_sq")[0] == Approx(0.004));
}

TEST_CASE("Adam refuses options that make no sense", "[fast]") {
  const auto make = [](const AdamOptions& options) { Adam adam{some_parameters<float>({{1}}), options}; };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  REQUIRE_THROWS_WITH(make({.lr = -0.5}), "Adam: lr is -0.5; it must be at least 0");
  REQUIRE_THROWS_WITH(make({.lr = nan}), "Adam: lr is nan; it must be at least 0");
  REQUIRE_THROWS_WITH(make({.beta1 = 1}), "Adam: beta1 is 1; it must be in [0, 1)");
  REQUIRE_THROWS_WITH(make({.beta1 = -0.1}), "Adam: beta1 is -0.1; it must be in [0, 1)");
  REQUIRE_THROWS_WITH(make({.beta2 = nan}), "Adam: beta2 is nan; it must be in [0, 1)");
  REQUIRE_THROWS_WITH(make({.eps = -1e-8}), "Adam: eps is -1e-08; it must be at least 0");
  REQUIRE_THROWS_WITH(make({.weight_decay = -1}), "Adam: weight_decay is -1; it must be at least 0");
  REQUIRE_THROWS_WITH(AdamW(some_parameters<float>({{1}}), {.beta2 = 1.5}),
                      "AdamW: beta2 is 1.5; it must be in [0, 1)");
}
