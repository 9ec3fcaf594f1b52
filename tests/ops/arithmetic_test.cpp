#include "espalier/ops/arithmetic.hpp"

#include <cmath>

#include "support/catch.hpp"
#include "support/near.hpp"
#include "support/op_zoo.hpp"
#include "support/threads.hpp"

using namespace espalier;
using support::difference;
using support::list;

namespace {
const std::vector<std::string> none_broken;
using D = Tensor<double>;
const double infinity = std::numeric_limits<double>::infinity(), not_a_number = std::numeric_limits<double>::quiet_NaN();
}  // namespace

TEST_CASE("arithmetic has the derivatives that central differences find", "[fast]") {
  CHECK(support::broken_derivatives(support::arithmetic_cases<ArithmeticOps>()) == none_broken);
}
TEST_CASE("arithmetic takes rows of tasks together", "[fast]") {
  CHECK(support::broken_rows(support::arithmetic_cases<ArithmeticOps>()) == none_broken);
  CHECK(support::broken_jacobians(support::arithmetic_cases<ArithmeticOps>()) == none_broken);
}
TEST_CASE("fused backward passes of arithmetic give what recorded ones give", "[fast]") {
  CHECK(support::broken_fused(support::arithmetic_cases<ArithmeticOps>()) == none_broken);
}

TEST_CASE("operators compute, with numbers on either side", "[fast]") {
  const D a({3}, {1, 2, 4}), b({3}, {3, 0.5, -2});
  CHECK(list(a + b) == std::vector<double>{4, 2.5, 2});
  CHECK(list(a - b) == std::vector<double>{-2, 1.5, 6});
  CHECK(list(a * b) == std::vector<double>{3, 1, -8});
  CHECK(list(b / a) == std::vector<double>{3, 0.25, -0.5});
  CHECK(list(a + 1) == std::vector<double>{2, 3, 5});
  CHECK(list(1 - a) == std::vector<double>{0, -1, -3});
  CHECK(list(2 * a) == std::vector<double>{2, 4, 8});
  CHECK(list(a / 2) == std::vector<double>{0.5, 1, 2});
  CHECK(list(4 / a) == std::vector<double>{4, 2, 1});
  CHECK(list(-a) == std::vector<double>{-1, -2, -4});
  CHECK(list(pow(a, 2)) == std::vector<double>{1, 4, 16});
  CHECK(list(maximum(a, b)) == std::vector<double>{3, 2, 4});
  CHECK(list(minimum(a, b)) == std::vector<double>{1, 0.5, -2});
  CHECK(list(Tensor<float>({1}, {3}) * 0.5f) == std::vector<float>{1.5f});
}

TEST_CASE("maximum and minimum share the gradient of a tie, and NaN wins on either side", "[fast]") {
  const D a = parameter(D({2}, {1, 5})), b = parameter(D({2}, {1, 3}));
  const auto g = grad(sum_to(maximum(a, b), 0, {}), {a, b}), h = grad(sum_to(minimum(a, b), 0, {}), {a, b});
  CHECK(list(g[0]) == std::vector<double>{0.5, 1});
  CHECK(list(g[1]) == std::vector<double>{0.5, 0});
  CHECK(list(h[0]) == std::vector<double>{0.5, 0});
  CHECK(list(h[1]) == std::vector<double>{0.5, 1});
  const D x({2}, {not_a_number, 1}), y({2}, {1, not_a_number});
  for (const D& z : {maximum(x, y), minimum(x, y)}) CHECK((std::isnan(z(0)) && std::isnan(z(1))));
}

TEST_CASE("powers of zero have finite slopes", "[fast]") {
  const D a = parameter(D({4}, {0, 0, 0, 0})), b = parameter(D({4}, {0, 1, 2, 3}));
  const D y = pow(a, b);
  CHECK(list(y) == std::vector<double>{1, 0, 0, 0});
  const auto first = grad(sum_to(y, 0, {}), {a, b}, {.create_graph = true});
  CHECK(list(first[0]) == std::vector<double>{0, 1, 0, 0});
  CHECK(list(first[1]) == std::vector<double>{0, 0, 0, 0});
  CHECK(list(grad(sum_to(first[0], 0, {}), {a})[0]) == std::vector<double>{0, 0, 2, 0});
}

TEST_CASE("a negative base has a slope for whole powers", "[fast]") {
  const D a = parameter(D({2}, {-3, 0}));
  CHECK(list(grad(sum_to(pow(a, 2), 0, {}), {a})[0]) == std::vector<double>{-6, 0});
}

TEST_CASE("comparisons broadcast and give masks", "[fast]") {
  const D a({2, 2}, {1, 2, 3, 4}), b({2}, {2, 2});
  CHECK(list(a < b) == std::vector<bool>{true, false, false, false});
  CHECK(list(a > b) == std::vector<bool>{false, false, true, true});
  CHECK(list(a == b) == std::vector<bool>{false, true, false, false});
  CHECK(list(!(a == b)) == std::vector<bool>{true, false, true, true});
  CHECK(list(a < b && a == D::scalar(1)) == std::vector<bool>{true, false, false, false});
  CHECK(list(Tensor<Index>({2}, {1, 2}) == Tensor<Index>::scalar(2)) == std::vector<bool>{false, true});
  CHECK((D::zeros({0, 2}) < b).shape() == Shape{0, 2});
}

TEST_CASE("all comparisons take numbers on either side, and NaN is unequal to everything", "[fast]") {
  const Tensor<float> x({4}, {-1, 0.5f, 2, NAN});
  const auto mask = [](const Tensor<bool>& m) {
    Index bits = 0;
    for (Index i = 0; i < m.size(); ++i) bits = 2 * bits + m.data()[i];
    return bits;
  };
  const Tensor<float> half = Tensor<float>::scalar(0.5f);
  CHECK(mask(x < 0.5f) == 0b1000);
  CHECK(mask(x > 0.5f) == 0b0010);
  CHECK(mask(x <= 0.5f) == 0b1100);
  CHECK(mask(x >= 0.5) == 0b0110);  // of the tensor's type
  CHECK(mask(x == 0.5f) == 0b0100);
  CHECK(mask(x != 0.5f) == 0b1011);
  CHECK(mask(0.5f < x) == mask(x > half));
  CHECK(mask(0.5f > x) == mask(x < half));
  CHECK(mask(0.5f <= x) == mask(x >= half));
  CHECK(mask(0.5f >= x) == mask(x <= half));
  CHECK(mask(0.5f == x) == mask(x == half));
  CHECK(mask(0.5f != x) == mask(x != half));
  CHECK(mask(Tensor<Index>({2}, {3, 4}) == 3) == 0b10);
  CHECK_THROWS_WITH(Tensor<float>() > 1, "greater: a is an undefined tensor; give it values first");
}

TEST_CASE("where selects, broadcasting all three", "[fast]") {
  const Tensor<bool> c({2, 1}, {true, false});
  const D a({3}, {1, 2, 3}), b = D::scalar(9);
  CHECK(list(where(c, a, b)) == std::vector<double>{1, 2, 3, 9, 9, 9});
  CHECK(where(Tensor<bool>::zeros({0}), D::scalar(1), D::scalar(2)).shape() == Shape{0});
}

TEST_CASE("what where does not choose may be NaN and gets the gradient 0", "[fast]") {
  const D x = parameter(D({3}, {not_a_number, -1, 4}));
  const Tensor<bool> valid({3}, {false, false, true});
  const D y = sum_to(where(valid, sqrt(where(valid, x, D::scalar(1))), D::scalar(0)), 0, {});
  CHECK(y.item() == 2);
  CHECK(list(grad(y, {x})[0]) == std::vector<double>{0, 0, 0.25});
  const D a = parameter(D({2}, {infinity, 1})), b = parameter(D({2}, {1, not_a_number}));
  const auto g = grad(sum_to(where(Tensor<bool>({2}, {false, true}), a, b), 0, {}), {a, b});
  CHECK(list(g[0]) == std::vector<double>{0, 1});
  CHECK(list(g[1]) == std::vector<double>{1, 0});
}

TEST_CASE("a condition changed after the forward pass is refused", "[fast]") {
  Tensor<bool> c({2}, {true, false});
  const D x = parameter(D({2}, {1, 2}));
  const D y = sum_to(where(c, x, D::scalar(0)), 0, {});
  c.mutate()[1] = true;
  CHECK_THROWS_WITH(backward(y),
                    "backward: a value [2] that where needs was changed in place after the forward pass (by an optimizer step or "
                    "mutate()); run the forward pass again before backward");
}

TEST_CASE("misused arithmetic names the op, the shapes and the rule", "[fast]") {
  const D a = D::zeros({2, 3}), b = D::zeros({4, 3}), none;
  const std::string rule = ": a is [2, 3], b is [4, 3]; axis -2 (2 and 4) must be equal, or one of them 1";
  ArithmeticOps::each([&](auto op) {
    using Op = decltype(op);
    CHECK_THROWS_WITH(apply<Op>(a, b), std::string(Op::name) + rule);
    CHECK_THROWS_WITH(apply<Op>(none, b), std::string(Op::name) + ": a is an undefined tensor; give it values first");
    CHECK_THROWS_WITH(apply<Op>(a, none), std::string(Op::name) + ": b is an undefined tensor; give it values first");
  });
  CHECK_THROWS_WITH(a < b, "less" + rule);
  CHECK_THROWS_WITH(a > b, "greater" + rule);
  CHECK_THROWS_WITH(a == b, "equal" + rule);
  CHECK_THROWS_WITH(a < none, "less: b is an undefined tensor; give it values first");
  const Tensor<bool> p = Tensor<bool>::zeros({2}), q = Tensor<bool>::zeros({3});
  CHECK_THROWS_WITH(p && q, "and: a is [2], b is [3]; axis -1 (2 and 3) must be equal, or one of them 1");
  CHECK_THROWS_WITH(!Tensor<bool>(), "not: a is an undefined tensor; give it values first");
  CHECK_THROWS_WITH(where(p, a, b), "where" + rule);
  CHECK_THROWS_WITH(where(p, a, a),
                    "where: condition is [2], a is [2, 3], b is [2, 3]; each axis, from the last, must be equal in all three, or 1");
  CHECK_THROWS_WITH(where(Tensor<bool>(), a, a), "where: condition is an undefined tensor; give it values first");
  CHECK_THROWS_WITH(where(p, none, a), "where: a is an undefined tensor; give it values first");
  CHECK_THROWS_WITH(where(p, a, none), "where: b is an undefined tensor; give it values first");
}

TEST_CASE("a result with too many elements is refused", "[fast]") {
  const D a = D::zeros({0, 1, Index{1} << 40}), b = D::zeros({0, Index{1} << 40, 1});
  CHECK_THROWS_WITH(a + b, "shape: [0, 1099511627776, 1099511627776] has more than 2^63 - 1 elements");
}

TEST_CASE("gradients have the same bits for every number of threads", "[fast]") {
  Rng rng{1};
  const Tensor<float> a = parameter(Tensor<float>::normal({500, 300}, rng)), b = parameter(Tensor<float>::normal({300}, rng));
  CHECK(support::same_for_all_threads([&] {
    const auto g = grad(sum_to(sigmoid(a * b), 0, {}), {a, b});
    std::vector<float> all = list(g[0]);
    for (float v : g[1].values()) all.push_back(v);
    return all;
  }));
}
