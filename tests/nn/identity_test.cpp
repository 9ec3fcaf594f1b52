#include "espalier/nn/identity.hpp"

#include "espalier/autograd/functional.hpp"
#include "support/catch.hpp"

using namespace espalier;

TEMPLATE_TEST_CASE("Identity gives back what it gets", "[nn][fast]", float, double) {
  using T = TestType;
  Identity identity;
  const Tensor<T> x = parameter(Tensor<T>({2}, {1, NAN})), y = identity(x);
  REQUIRE(y.data() == x.data());
  REQUIRE(y.node() == x.node());
  REQUIRE(parameters<T>(identity).empty());
  const AnyModule<T> any = identity;
  const Rng rng{0};
  Pass pass{rng};
  REQUIRE(any(x, pass).data() == x.data());
  REQUIRE(any(Input<T>(x)).data() == x.data());
}
