#include "espalier/multimodal/fusion/concat.hpp"

#include "espalier/autograd/functional.hpp"
#include "support/catch.hpp"
#include "support/near.hpp"

using namespace espalier;
using support::difference;
using support::same_bits;

namespace {

/// Three modalities of widths 2, 3 and 1 over three samples; the second is missing in sample 1, the third everywhere.
Encoded<double> encodings(bool third = false) {
  Rng rng{1};
  Encoded<double> e;
  e.batch = 3;
  const Tensor<bool> some({3}, {true, false, true});
  e.values = {parameter(Tensor<double>::normal({3, 2}, rng)),
              parameter(where(some.view({3, 1}), Tensor<double>::normal({3, 3}, rng), Tensor<double>::scalar(0))),
              third ? Tensor<double>::normal({3, 1}, rng) : Tensor<double>()};
  e.present = {Tensor<bool>(), some, third ? Tensor<bool>() : Tensor<bool>::zeros({3})};
  return e;
}

}  // namespace

TEST_CASE("concat puts modalities side by side, and embeddings where they are absent", "[fast]") {
  ConcatFusion<double> fusion({2, 3, 1});
  CHECK(parameters<double>(fusion).names() == "missing.0, missing.1, missing.2");
  const Encoded<double> e = encodings();
  for (Index m = 0; m < 3; ++m) {
    CHECK(difference(fusion.missing[static_cast<std::size_t>(m)], Tensor<double>::zeros({m == 0   ? 2
                                                                                         : m == 1 ? 3
                                                                                                  : 1})) == 0);
    std::ranges::fill(fusion.missing[static_cast<std::size_t>(m)].mutate(), 10.0 + static_cast<double>(m));
  }
  const Tensor<double> y = fusion(e);
  REQUIRE(y.shape() == Shape{3, 6});
  CHECK(same_bits(slice(y, 1, 0, 2).clone(), e.value(0).clone()));
  CHECK(y(0, 2) == e.value(1)(0, 0));
  CHECK(y(1, 2) == 11);
  CHECK(y(1, 4) == 11);
  for (Index i = 0; i < 3; ++i) CHECK(y(i, 5) == 12);

  const auto g = grad(sum(y), {e.value(0), e.value(1), fusion.missing[0], fusion.missing[1], fusion.missing[2]});
  CHECK(difference(g[0], Tensor<double>::ones({3, 2})) == 0);
  CHECK(difference(g[1], Tensor<double>({3, 3}, {1, 1, 1, 0, 0, 0, 1, 1, 1})) == 0);  // exactly 0 where absent
  CHECK(difference(g[2], Tensor<double>::zeros({2})) == 0);
  CHECK(difference(g[3], Tensor<double>::ones({3})) == 0);
  CHECK(difference(g[4], Tensor<double>::full({1}, 3)) == 0);
}

TEST_CASE("a linear layer after concat is a sum of linear layers", "[fast]") {
  Rng rng{2};
  const ConcatFusion<double> fusion({2, 3, 1});
  const Encoded<double> e = encodings(true);
  const Tensor<double> w = Tensor<double>::normal({4, 6}, rng);
  const Tensor<double> parts = linear(e.value(0), slice(w, 1, 0, 2), {}) + linear(e.value(1), slice(w, 1, 2, 5), {}) +
                               linear(e.value(2), slice(w, 1, 5, 6), {});
  CHECK(difference(linear(fusion(e), w, {}), parts) < 1e-14);
}

TEST_CASE("concat refuses what it was not made for", "[fast]") {
  const Encoded<double> e = encodings();
  CHECK_THROWS_WITH(ConcatFusion<double>({2, 3})(e), "ConcatFusion: made for 2 modalities, the model has 3");
  CHECK_THROWS_WITH(ConcatFusion<double>({2, 4, 1})(e),
                    "ConcatFusion: modality 1 is encoded as [3, 3]; it must be [batch, 4]");
  CHECK_THROWS_WITH(ConcatFusion<double>({2, 0}), "ConcatFusion: width 0; every width must be at least 1");
  CHECK_THROWS_WITH(ConcatFusion<double>(std::vector<Index>{}),
                    "ConcatFusion: no widths given; give the width of each encoder, in their order");
}
