#include "espalier/multimodal/encoded.hpp"

#include "espalier/ops/functions.hpp"
#include "support/catch.hpp"
#include "support/near.hpp"

using namespace espalier;
using support::same_bits;

namespace {

/// A fusion of one's own: the sum of what is present.
struct SumFusion {
  Tensor<float> scale = parameter(Tensor<float>::ones({1}));
  Tensor<float> operator()(const Encoded<float>& encoded) const {
    Tensor<float> sum = Tensor<float>::zeros({encoded.batch, 2});
    for (Index m = 0; m < encoded.size(); ++m)
      if (encoded.value(m).defined())
        sum = sum + (encoded.complete(m) ? encoded.value(m)
                                         : where(encoded.mask(m), encoded.value(m), Tensor<float>::scalar(0)));
    return sum * scale;
  }
  void fields(auto&& visit) { visit("scale", scale); }
};

struct Encodings : Encoded<float> {
  Encodings() {
    batch = 2;
    values = {Tensor<float>({2, 2}, {1, 2, 3, 4}), Tensor<float>({2, 2}, {10, 20, 0, 0}), Tensor<float>()};
    present = {Tensor<bool>(), Tensor<bool>({2}, {true, false}), Tensor<bool>::zeros({2})};
  }
};

}  // namespace

TEST_CASE("Encoded tells who has what", "[fast]") {
  const Encodings e;
  CHECK(e.size() == 3);
  CHECK(e.complete(0));
  CHECK_FALSE(e.complete(1));
  CHECK(same_bits(e.mask(1), Tensor<bool>({2, 1}, {true, false})));
  CHECK_FALSE(e.value(2).defined());
}

TEST_CASE("AnyFusion holds any fusion by value, its parameters by handle", "[fast]") {
  const Encodings e;
  AnyFusion<float> none;
  CHECK_FALSE(none);
  AnyFusion<float> fusion = SumFusion{};
  REQUIRE(fusion);
  CHECK(same_bits(fusion(e), Tensor<float>({2, 2}, {11, 22, 3, 4})));
  AnyFusion<float> copy = fusion;
  auto list = parameters(fusion);
  REQUIRE(list.names() == "scale");
  std::ranges::fill(list.at(0).value.mutate(), 2.0f);
  CHECK(same_bits(copy(e), Tensor<float>({2, 2}, {22, 44, 6, 8})));
  AnyFusion<float> deep = clone(fusion);
  std::ranges::fill(list.at(0).value.mutate(), 3.0f);
  CHECK(deep(e)(0, 0) == 22);
  const AnyFusion<float> function = [](const Encoded<float>& x) { return x.value(0); };
  CHECK(same_bits(function(e), e.value(0)));
}
