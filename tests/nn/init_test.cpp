#include "espalier/nn/init.hpp"

#include "espalier/nn/linear.hpp"
#include "support/catch.hpp"

using namespace espalier;

namespace {

struct Moments {
  double mean = 0, deviation = 0, largest = 0;
  explicit Moments(const Tensor<double>& x) {
    for (const double v : x.values()) {
      mean += v / static_cast<double>(x.size());
      deviation += v * v / static_cast<double>(x.size());
      largest = std::max(largest, std::abs(v));
    }
    deviation = std::sqrt(deviation);
  }
};

template <class F>
Moments filled(F fill, const Shape& shape = {200, 300}) {
  Rng rng{1};
  Tensor<double> weight = Tensor<double>::zeros(shape);
  fill(weight, rng);
  REQUIRE(rng.step() == 1);
  return Moments(weight);
}
void uniform(const Moments& m, double bound) {
  REQUIRE(m.largest <= bound);
  REQUIRE(m.largest > 0.999 * bound);
  REQUIRE(m.deviation == Approx(bound / std::sqrt(3.0)).epsilon(0.02));
  REQUIRE(std::abs(m.mean) < 0.02 * bound);
}
void normal(const Moments& m, double deviation) {
  REQUIRE(m.deviation == Approx(deviation).epsilon(0.02));
  REQUIRE(m.largest > 3 * deviation);
  REQUIRE(std::abs(m.mean) < 0.02 * deviation);
}

}  // namespace

TEST_CASE("gains are PyTorch's", "[nn][fast]") {
  REQUIRE(calculate_gain(Nonlinearity::linear) == 1);
  REQUIRE(calculate_gain(Nonlinearity::sigmoid) == 1);
  REQUIRE(calculate_gain(Nonlinearity::tanh) == 5.0 / 3);
  REQUIRE(calculate_gain(Nonlinearity::relu) == std::sqrt(2.0));
  REQUIRE(calculate_gain(Nonlinearity::leaky_relu) == std::sqrt(2 / 1.0001));
  REQUIRE(calculate_gain(Nonlinearity::leaky_relu, 0.2) == std::sqrt(2 / 1.04));
  REQUIRE(calculate_gain(Nonlinearity::selu) == 0.75);
}

TEST_CASE("Xavier: spread over both fans", "[nn][fast]") {
  uniform(filled([](auto& w, Rng& rng) { xavier_uniform_(w, rng); }), std::sqrt(6.0 / 500));
  uniform(filled([](auto& w, Rng& rng) { xavier_uniform_(w, rng, {.gain = 2}); }), 2 * std::sqrt(6.0 / 500));
  normal(filled([](auto& w, Rng& rng) { xavier_normal_(w, rng); }), std::sqrt(2.0 / 500));
  normal(filled([](auto& w, Rng& rng) { xavier_normal_(w, rng, {.gain = 2}); }), 2 * std::sqrt(2.0 / 500));
}

TEST_CASE("Kaiming: spread over one fan", "[nn][fast]") {
  uniform(filled([](auto& w, Rng& rng) { kaiming_uniform_(w, rng); }), std::sqrt(6.0 / 300));
  uniform(filled([](auto& w, Rng& rng) { kaiming_uniform_(w, rng, {.mode = FanMode::fan_out}); }),
          std::sqrt(6.0 / 200));
  normal(filled([](auto& w, Rng& rng) { kaiming_normal_(w, rng, {.nonlinearity = Nonlinearity::tanh}); }),
         5.0 / 3 / std::sqrt(300.0));
  normal(filled([](auto& w, Rng& rng) { kaiming_normal_(w, rng, {.a = 1}); }), std::sqrt(1.0 / 300));
  // [out, in, kernel...]: every position of the kernel counts
  uniform(filled([](auto& w, Rng& rng) { kaiming_uniform_(w, rng); }, {50, 60, 4, 5}), std::sqrt(6.0 / 1200));
  normal(filled([](auto& w, Rng& rng) { xavier_normal_(w, rng); }, {50, 60, 20}), std::sqrt(2.0 / 2200));
}

TEST_CASE("a = sqrt 5 is how Linear starts", "[nn][fast]") {
  Rng a{7}, b{7};
  const Linear<double> layer{9, 5, a};
  Tensor<double> weight = Tensor<double>::zeros({5, 9});
  kaiming_uniform_(weight, b, {.a = std::sqrt(5.0)});
  for (std::size_t i = 0; i < 45; ++i) REQUIRE(weight.values()[i] == Approx(layer.weight.values()[i]).epsilon(1e-12));
}

TEST_CASE("initialisers fill a parameter in place", "[nn][fast]") {
  Rng rng{7};
  Linear layer{3, 2, rng};
  const float* const data = layer.weight.data();
  const std::uint32_t version = layer.weight.version();
  const Tensor<float> before = layer.weight.clone();
  kaiming_normal_(layer.weight, rng);
  REQUIRE(layer.weight.data() == data);
  REQUIRE(leaf_of(layer.weight) != nullptr);
  REQUIRE(layer.weight.version() == version + 1);
  REQUIRE_FALSE(std::ranges::equal(layer.weight.values(), before.values()));
  Tensor<float> none = Tensor<float>::zeros({0, 0});
  REQUIRE_NOTHROW(xavier_uniform_(none, rng));
}

TEST_CASE("initialisers: errors", "[nn][fast]") {
  Rng rng{7};
  const Tensor<float> bias = Tensor<float>::zeros({3});
  const std::string rule = ": weight is [3]; it must be [out, in, ...], with at least two axes";
  REQUIRE_THROWS_WITH(xavier_uniform_(bias, rng), "xavier_uniform_" + rule);
  REQUIRE_THROWS_WITH(xavier_normal_(bias, rng), "xavier_normal_" + rule);
  REQUIRE_THROWS_WITH(kaiming_uniform_(bias, rng), "kaiming_uniform_" + rule);
  REQUIRE_THROWS_WITH(kaiming_normal_(bias, rng), "kaiming_normal_" + rule);
}
