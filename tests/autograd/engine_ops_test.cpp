#include "espalier/autograd/engine_ops.hpp"

#include "espalier/autograd/functional.hpp"
#include "support/catch.hpp"
#include "support/near.hpp"

using namespace espalier;
using support::list;

namespace {
using D = Tensor<double>;
}

TEST_CASE("reshape shares the values", "[fast]") {
  const D x({2, 3}, {1, 2, 3, 4, 5, 6}), y = reshape(x, Shape{3, 2});
  CHECK(y.data() == x.data());
  CHECK(y.shape() == Shape{3, 2});
  CHECK(reshape(D::scalar(4), {1, 1}).shape() == Shape{1, 1});
  CHECK(reshape(D({1}, {4}), {}).shape() == Shape{});
  CHECK(reshape(D::zeros({0, 4}), {2, 0}).shape() == Shape{2, 0});
}

TEST_CASE("reshape works out one size", "[fast]") {
  const D x = D::zeros({2, 3, 4});
  CHECK(reshape(x, {-1}).shape() == Shape{24});
  CHECK(reshape(x, {6, -1}).shape() == Shape{6, 4});
  CHECK(reshape(x, {-1, 4, 2}).shape() == Shape{3, 4, 2});
  CHECK(reshape(D::scalar(1), {-1}).shape() == Shape{1});
  CHECK(reshape(D::zeros({0, 3}), {-1, 3}).shape() == Shape{0, 3});
}

TEST_CASE("expand_to repeats", "[fast]") {
  CHECK(list(expand_to(D({2, 1}, {1, 2}), {2, 3})) == std::vector<double>{1, 1, 1, 2, 2, 2});
  CHECK(list(expand_to(D({2}, {1, 2}), {2, 2})) == std::vector<double>{1, 2, 1, 2});
  CHECK(list(expand_to(D::scalar(7), {2})) == std::vector<double>{7, 7});
  CHECK(expand_to(D::zeros({1}), {0}).shape() == Shape{0});
  const D x({2}, {1, 2});
  CHECK(expand_to(x, {2}).data() == x.data());
}

TEST_CASE("sum_to sums the repeats away", "[fast]") {
  const D x({2, 3}, {1, 2, 3, 4, 5, 6});
  CHECK(list(sum_to(x, 0, {3})) == std::vector<double>{5, 7, 9});
  CHECK(list(sum_to(x, 0, {2, 1})) == std::vector<double>{6, 15});
  CHECK(list(sum_to(x, 0, {1, 3})) == std::vector<double>{5, 7, 9});
  CHECK(list(sum_to(x, 0, {})) == std::vector<double>{21});
  CHECK(list(sum_to(x, 1, {})) == std::vector<double>{6, 15});
  CHECK(sum_to(x, 1, {1}).shape() == Shape{2, 1});
  CHECK(list(sum_to(D::zeros({0, 2}), 0, {2})) == std::vector<double>{0, 0});
}

TEST_CASE("misused engine operations name the op, the shapes and the rule", "[fast]") {
  const D x = D::zeros({2, 3});
  const std::string undefined = ": x is an undefined tensor; give it values first";
  CHECK_THROWS_WITH(reshape(x, Shape{4}), "reshape: x is [2, 3] (6 elements), shape is [4] (4); they must be equal");
  CHECK_THROWS_WITH(reshape(x, {4, 2}), "reshape: x is [2, 3] (6 elements), shape is [4, 2] (8); they must be equal");
  CHECK_THROWS_WITH(reshape(x, {-1, 4}),
                    "reshape: x is [2, 3] (6 elements), the sizes given hold 4; the one that is -1 cannot be worked out");
  CHECK_THROWS_WITH(reshape(x, {-1, 0}),
                    "reshape: x is [2, 3] (6 elements), the sizes given hold 0; the one that is -1 cannot be worked out");
  CHECK_THROWS_WITH(reshape(x, {-1, -1}), "reshape: two sizes are -1; at most one can be worked out");
  CHECK_THROWS_WITH(reshape(x, {-2, 3}), "shape: axis 0 has size -2; sizes are not negative");
  CHECK_THROWS_WITH(reshape(D(), {1}), "reshape" + undefined);
  CHECK_THROWS_WITH(expand_to(x, {2, 4}),
                    "expand_to: x is [2, 3], shape is [2, 4]; each axis of x, from the last, must be 1 or equal to the shape's");
  CHECK_THROWS_WITH(expand_to(x, {3}),
                    "expand_to: x is [2, 3], shape is [3]; each axis of x, from the last, must be 1 or equal to the shape's");
  CHECK_THROWS_WITH(expand_to(D(), {1}), "expand_to" + undefined);
  CHECK_THROWS_WITH(sum_to(x, 0, {2}),
                    "sum_to: x is [2, 3], shape is [2]; each axis of the shape, from the last, must be 1 or equal to x's");
  CHECK_THROWS_WITH(sum_to(x, 1, {2, 3}),
                    "sum_to: x is [2, 3], shape is [2, 3]; each axis of the shape, from the last, must be 1 or equal to x's");
  CHECK_THROWS_WITH(sum_to(D(), 0, {}), "sum_to" + undefined);
}
