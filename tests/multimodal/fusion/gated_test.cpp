#include "espalier/multimodal/fusion/gated.hpp"

#include "espalier/autograd/functional.hpp"
#include "support/catch.hpp"
#include "support/near.hpp"

using namespace espalier;
using support::difference;
using support::same_bits;

namespace {

constexpr Index batch = 4, width = 5;

/// Two modalities; sample 1 lacks the first, sample 2 the second, sample 3 both.
Encoded<double> encodings(double behind = 0) {
  Rng rng{1};
  Encoded<double> e;
  e.batch = batch;
  const Tensor<bool> first({batch}, {true, false, true, false}), second({batch}, {true, true, false, false});
  for (const Tensor<bool>& mask : {first, second}) {
    e.values.push_back(parameter(
        where(mask.view({batch, 1}), Tensor<double>::normal({batch, width}, rng), Tensor<double>::scalar(behind))));
    e.present.push_back(mask);
  }
  return e;
}

}  // namespace

TEST_CASE("gated fusion is a softmax of gates over what is present", "[fast]") {
  Rng rng{2};
  GatedFusion<double> fusion(width, rng);
  CHECK(parameters<double>(fusion).names() == "gate.weight, gate.bias, value.weight, value.bias");
  const Encoded<double> e = encodings();
  const Tensor<double> y = fusion(e);
  REQUIRE(y.shape() == Shape{batch, width});
  const Tensor<double> v0 = tanh(fusion.value(e.value(0))), v1 = tanh(fusion.value(e.value(1)));
  const Tensor<double> g0 = fusion.gate(e.value(0)), g1 = fusion.gate(e.value(1));
  for (Index j = 0; j < width; ++j) {
    const double a = std::exp(g0(0, j)), b = std::exp(g1(0, j));
    CHECK(y(0, j) == Approx((a * v0(0, j) + b * v1(0, j)) / (a + b)).epsilon(1e-12));
    CHECK(y(1, j) == Approx(v1(1, j)).epsilon(1e-14));
    CHECK(y(2, j) == Approx(v0(2, j)).epsilon(1e-14));
    CHECK(y(3, j) == 0);
  }
}

TEST_CASE("equal gates give the mean over what is present", "[fast]") {
  Rng rng{3};
  GatedFusion<double> fusion(width, rng);
  for (Tensor<double>* t : {&fusion.gate.weight, &fusion.gate.bias}) std::ranges::fill(t->mutate(), 0.0);
  const Encoded<double> e = encodings();
  const Tensor<double> y = fusion(e), v0 = tanh(fusion.value(e.value(0))), v1 = tanh(fusion.value(e.value(1)));
  for (Index j = 0; j < width; ++j) CHECK(y(0, j) == Approx((v0(0, j) + v1(0, j)) / 2).epsilon(1e-13));
}

TEST_CASE("the order of the modalities does not matter", "[fast]") {
  Rng rng{4};
  const GatedFusion<double> fusion(width, rng);
  Encoded<double> e = encodings();
  const Tensor<double> y = fusion(e);
  std::swap(e.values[0], e.values[1]);
  std::swap(e.present[0], e.present[1]);
  CHECK(difference(fusion(e), y) < 1e-14);
}

TEST_CASE("an absent modality has no part and no gradient; a sample with none gives 0 with gradient 0", "[fast]") {
  Rng rng{5};
  GatedFusion<double> fusion(width, rng);
  const Encoded<double> zeros = encodings(0), other = encodings(1e3);
  CHECK(same_bits(fusion(zeros), fusion(other)));
  const Tensor<double> u = Tensor<double>::normal({batch, width}, rng);
  std::vector<Tensor<double>> xs{zeros.value(0), zeros.value(1)};
  const auto g = vjp(fusion(zeros), xs, u);
  for (Index j = 0; j < width; ++j) {
    CHECK(g[0](1, j) == 0);
    CHECK(g[1](2, j) == 0);
    CHECK(g[0](3, j) == 0);
    CHECK(g[1](3, j) == 0);
    CHECK(g[0](0, j) != 0);
  }

  // A batch of samples that all lack everything: no gradient at all, or exactly 0.
  Encoded<double> none = encodings();
  none.present = {Tensor<bool>::zeros({batch}), Tensor<bool>::zeros({batch})};
  const Tensor<double> y = fusion(none);
  CHECK(difference(y, Tensor<double>::zeros({batch, width})) == 0);
  for (const auto& d : vjp(y, {fusion.gate.weight, fusion.gate.bias, fusion.value.weight, fusion.value.bias}, u))
    CHECK(difference(d, Tensor<double>::zeros(d.shape())) == 0);
  none.values = {Tensor<double>(), Tensor<double>()};
  CHECK(same_bits(fusion(none), Tensor<double>::zeros({batch, width})));
}

TEST_CASE("gated fusion needs equal widths", "[fast]") {
  Rng rng{6};
  const GatedFusion<double> fusion(4, rng);
  CHECK_THROWS_WITH(fusion(encodings()),
                    "GatedFusion: modality 0 is encoded as [4, 5]; every modality must be [batch, 4]");
  Encoded<double> named = encodings();
  named.names = {"left", "right"};
  CHECK_THROWS_WITH(fusion(named), "GatedFusion: modality 'left' is encoded as [4, 5]; every modality must be [batch, 4]");
}
