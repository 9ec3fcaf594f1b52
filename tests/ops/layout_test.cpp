#include "espalier/ops/layout.hpp"

#include "espalier/autograd/functional.hpp"
#include "espalier/ops/arithmetic.hpp"
#include "support/catch.hpp"
#include "support/near.hpp"

using namespace espalier;
using support::list;

namespace {
using F = Tensor<float>;
using I = Tensor<Index>;
F counting(const Shape& shape) {
  F x = F::empty(shape);
  for (Index i = 0; i < x.size(); ++i) x.raw()[i] = static_cast<float>(i);
  return x;
}
const char* const changed =
    "needs was changed in place after the forward pass (by an optimizer step or mutate()); run the forward pass again before "
    "backward";
}  // namespace

TEST_CASE("transpose exchanges two axes", "[fast]") {
  const F x = counting({2, 3});
  CHECK(list(transpose(x)) == std::vector<float>{0, 3, 1, 4, 2, 5});
  CHECK(transpose(x).shape() == Shape{3, 2});
  const F y = counting({2, 3, 4}), z = transpose(y, 0, -1);
  CHECK(z.shape() == Shape{4, 3, 2});
  bool same = true;
  for (Index i = 0; i < 2; ++i)
    for (Index j = 0; j < 3; ++j)
      for (Index k = 0; k < 4; ++k) same = same && z(k, j, i) == y(i, j, k);
  CHECK(same);
  CHECK(support::same_bits(transpose(y, 1, 1), y));
  CHECK(transpose(F::zeros({0, 5}), 0, 1).shape() == Shape{5, 0});
}

TEST_CASE("a slice of the first axis shares the values, another one copies", "[fast]") {
  const F x = counting({3, 2});
  CHECK(slice(x, 0, 1, 3).data() == x.data() + 2);
  CHECK(list(slice(x, 0, 1, 3)) == std::vector<float>{2, 3, 4, 5});
  CHECK(list(slice(x, -1, 1, 2)) == std::vector<float>{1, 3, 5});
  CHECK(slice(x, 0, 2, 2).shape() == Shape{0, 2});
  CHECK(slice(x.view({1, 6}), 1, 2, 4).data() == x.data() + 2);
}

TEST_CASE("pad adds zeros", "[fast]") {
  CHECK(list(pad(counting({2, 2}), 0, 1, 0)) == std::vector<float>{0, 0, 0, 1, 2, 3});
  CHECK(list(pad(counting({2, 2}), -1, 0, 1)) == std::vector<float>{0, 1, 0, 2, 3, 0});
  CHECK(pad(F::zeros({2, 0}), 1, 1, 2).shape() == Shape{2, 3});
}

TEST_CASE("concat joins and stack piles up", "[fast]") {
  const F a = counting({2, 2}), b = F::ones({1, 2}), c = F::ones({2, 1});
  CHECK(list(concat(std::vector{a, b}, 0)) == std::vector<float>{0, 1, 2, 3, 1, 1});
  CHECK(list(concat(std::vector{a, c}, -1)) == std::vector<float>{0, 1, 1, 2, 3, 1});
  CHECK(concat(std::vector{a}, 0).shape() == Shape{2, 2});
  CHECK(concat(std::vector{F::zeros({2, 0}), F::zeros({2, 0})}, 1).shape() == Shape{2, 0});
  CHECK(stack(std::vector{a, a}, 0).shape() == Shape{2, 2, 2});
  CHECK(list(stack(std::vector{F({2}, {1, 2}), F({2}, {3, 4})}, -1)) == std::vector<float>{1, 3, 2, 4});
  CHECK(stack(std::vector{F::scalar(1), F::scalar(2)}, 0).shape() == Shape{2});
}

TEST_CASE("concat and stack take a braced list", "[fast]") {
  const F a = counting({1, 2}), b = counting({2, 2});
  CHECK(list(concat({a, b}, 0)) == std::vector<float>{0, 1, 0, 1, 2, 3});
  CHECK(concat({a, b, a}, 0).shape() == Shape{4, 2});
  CHECK(stack({a, a}, -1).shape() == Shape{1, 2, 2});
  CHECK(list(concat({I({1}, {7}), I({2}, {8, 9})}, 0)) == std::vector<Index>{7, 8, 9});
  const F x = parameter(counting({2}));
  CHECK(list(vjp(concat({x, x}, 0), {x}, F({4}, {1, 2, 3, 4}))[0]) == std::vector<float>{4, 6});
}

TEST_CASE("gather takes, scatter_add puts back", "[fast]") {
  const F x = counting({3, 2});
  CHECK(list(gather(x, I({4}, {2, 0, 2, 1}))) == std::vector<float>{4, 5, 0, 1, 4, 5, 2, 3});
  CHECK(list(gather(x, I({3}, {1, 1, 0}), -1)) == std::vector<float>{1, 1, 0, 3, 3, 2, 5, 5, 4});
  CHECK(gather(x, I::zeros({0})).shape() == Shape{0, 2});
  CHECK(list(scatter_add(x, I({3}, {1, 1, 0}), 0, 4)) == std::vector<float>{4, 5, 2, 4, 0, 0, 0, 0});
  CHECK(list(scatter_add(x, I({2}, {0, 0}), 1, 1)) == std::vector<float>{1, 5, 9});
}

TEST_CASE("labels, tokens and masks are moved too", "[fast]") {
  const I x({2, 2}, {1, 2, 3, 4});
  CHECK(list(transpose(x)) == std::vector<Index>{1, 3, 2, 4});
  CHECK(list(slice(x, 1, 0, 1)) == std::vector<Index>{1, 3});
  CHECK(list(pad(x, 0, 0, 1)) == std::vector<Index>{1, 2, 3, 4, 0, 0});
  CHECK(list(concat(std::vector{x, x}, 0)) == std::vector<Index>{1, 2, 3, 4, 1, 2, 3, 4});
  CHECK(stack(std::vector{x, x}, 2).shape() == Shape{2, 2, 2});
  CHECK(list(gather(x, I({1}, {1}))) == std::vector<Index>{3, 4});
  CHECK(list(reshape(x, {4})) == std::vector<Index>{1, 2, 3, 4});
  CHECK(list(expand_to(I::scalar(5), {2})) == std::vector<Index>{5, 5});
  const Tensor<bool> mask({2}, {true, false});
  CHECK(list(concat(std::vector{mask, mask}, 0)) == std::vector<bool>{true, false, true, false});
  CHECK(reshape(mask, {2, 1}).shape() == Shape{2, 1});
}

TEST_CASE("a shared slice is written in place by nobody", "[fast]") {
  const F x = parameter(counting({4}));
  const F a = slice(x, 0, 0, 2), b = slice(x, 0, 2, 4);
  CHECK(list(grad(sum_to(a * b, 0, {}), {x})[0]) == std::vector<float>{2, 3, 0, 1});
}

TEST_CASE("inputs without a gradient take part in concat", "[fast]") {
  const F x = parameter(F({2}, {1, 2})), plain = F::ones({3});
  const F y = concat(std::vector{plain, x}, 0);
  CHECK(list(grad(sum_to(y * counting({5}), 0, {}), {x})[0]) == std::vector<float>{3, 4});
}

TEST_CASE("indices changed after the forward pass are refused", "[fast]") {
  I at({2}, {0, 1});
  const F x = parameter(counting({3}));
  const F y = sum_to(gather(x, at), 0, {}), z = sum_to(scatter_add(gather(x, I({2}, {0, 1})), at, 0, 4), 0, {});
  at.mutate()[0] = 2;
  CHECK_THROWS_WITH(backward(y), std::string("backward: a value [2] that gather ") + changed);
  CHECK_THROWS_WITH(backward(z), std::string("backward: a value [2] that scatter_add ") + changed);
}

TEST_CASE("misused layout operations name the op, the shapes and the rule", "[fast]") {
  const F x = F::zeros({2, 3}), none;
  const std::string undefined = ": x is an undefined tensor; give it values first";
  CHECK_THROWS_WITH(transpose(x, 0, 2), "transpose: axis 2 of [2, 3]; the axis must be in [-2, 1]");
  CHECK_THROWS_WITH(transpose(F::scalar(1)), "transpose: axis -1 of a scalar; it has no axes");
  CHECK_THROWS_WITH(transpose(F::zeros({3})), "transpose: axis -2 of [3]; the axis must be in [-1, 0]");
  CHECK_THROWS_WITH(transpose(none), "transpose" + undefined);
  CHECK_THROWS_WITH(pad(x, 3, 0, 0), "pad: axis 3 of [2, 3]; the axis must be in [-2, 1]");
  CHECK_THROWS_WITH(pad(x, 0, -1, 2), "pad: before is -1, after is 2; neither may be negative");
  CHECK_THROWS_WITH(pad(none, 0, 0, 0), "pad" + undefined);
  CHECK_THROWS_WITH(slice(x, 1, 2, 4), "slice: [2, 4) of axis 1 of [2, 3]; it must lie in [0, 3]");
  CHECK_THROWS_WITH(slice(x, 1, -1, 2), "slice: [-1, 2) of axis 1 of [2, 3]; it must lie in [0, 3]");
  CHECK_THROWS_WITH(slice(x, 1, 2, 1), "slice: [2, 1) of axis 1 of [2, 3]; it must lie in [0, 3]");
  CHECK_THROWS_WITH(slice(x, -3, 0, 1), "slice: axis -3 of [2, 3]; the axis must be in [-2, 1]");
  CHECK_THROWS_WITH(slice(none, 0, 0, 0), "slice" + undefined);
  CHECK_THROWS_WITH(concat(std::vector<F>{}, 0), "concat: no tensors given");
  CHECK_THROWS_WITH(concat(std::vector{x, F::zeros({2, 4})}, 0),
                    "concat: tensor 1 is [2, 4], tensor 0 is [2, 3]; all axes but 0 must be equal");
  CHECK_THROWS_WITH(concat(std::vector{x, F::zeros({2})}, 0),
                    "concat: tensor 1 is [2], tensor 0 is [2, 3]; all axes but 0 must be equal");
  CHECK_THROWS_WITH(concat(std::vector{x}, 2), "concat: axis 2 of [2, 3]; the axis must be in [-2, 1]");
  CHECK_THROWS_WITH(concat(std::vector{x, none}, 0), "concat" + undefined);
  CHECK_THROWS_WITH(concat(std::vector{F::scalar(1)}, 0), "concat: axis 0 of a scalar; it has no axes");
  CHECK_THROWS_WITH(stack(std::vector<F>{}, 0), "stack: no tensors given");
  CHECK_THROWS_WITH(stack(std::vector{x, F::zeros({3, 2})}, 0), "stack: tensor 1 is [3, 2], tensor 0 is [2, 3]; they must be equal");
  CHECK_THROWS_WITH(stack(std::vector{x}, 3), "stack: axis 3 of a result of rank 3 does not exist; the axis must be in [-3, 2]");
  CHECK_THROWS_WITH(stack(std::vector{none}, 0), "stack" + undefined);
  CHECK_THROWS_WITH(gather(x, I({1}, {2})), "gather: index 2 at position 0; indices must lie in [0, 2)");
  CHECK_THROWS_WITH(gather(x, I({2}, {0, -1}), 1), "gather: index -1 at position 1; indices must lie in [0, 3)");
  CHECK_THROWS_WITH(gather(x, I::zeros({1, 1})), "gather: indices is [1, 1]; it must have one axis");
  CHECK_THROWS_WITH(gather(x, I()), "gather: indices is an undefined tensor; give it values first");
  CHECK_THROWS_WITH(gather(x, I({1}, {0}), 2), "gather: axis 2 of [2, 3]; the axis must be in [-2, 1]");
  CHECK_THROWS_WITH(gather(none, I({1}, {0})), "gather" + undefined);
  CHECK_THROWS_WITH(scatter_add(x, I({2}, {0, 5}), 0, 5), "scatter_add: index 5 at position 1; indices must lie in [0, 5)");
  CHECK_THROWS_WITH(scatter_add(x, I({1}, {0}), 0, 5), "scatter_add: 1 indices for axis 0 of [2, 3]; one is needed for each position");
  CHECK_THROWS_WITH(scatter_add(x, I({2}, {0, 0}), 0, -1), "scatter_add: size is -1; it must not be negative");
  CHECK_THROWS_WITH(scatter_add(x, I({2}, {0, 0}), 4, 1), "scatter_add: axis 4 of [2, 3]; the axis must be in [-2, 1]");
  CHECK_THROWS_WITH(scatter_add(none, I({2}, {0, 0}), 0, 1), "scatter_add" + undefined);
}
