#include "espalier/ops/functions.hpp"

#include <cmath>
#include <numbers>

#include "support/catch.hpp"
#include "support/near.hpp"
#include "support/op_zoo.hpp"

using namespace espalier;
using support::difference;

namespace {
const std::vector<std::string> none_broken;
using D = Tensor<double>;
const double infinity = std::numeric_limits<double>::infinity(), not_a_number = std::numeric_limits<double>::quiet_NaN();

std::vector<double> slope_of(auto f, std::initializer_list<double> at) {
  const D x = parameter(D({static_cast<Index>(at.size())}, at));
  return support::list(grad(sum(f(x)), {x})[0]);
}
}  // namespace

TEST_CASE("functions have the derivatives that central differences find", "[fast]") {
  CHECK(support::broken_derivatives(support::function_cases<FunctionOps>()) == none_broken);
}
TEST_CASE("functions take rows of tasks together", "[fast]") {
  CHECK(support::broken_rows(support::function_cases<FunctionOps>()) == none_broken);
  CHECK(support::broken_jacobians(support::function_cases<FunctionOps>()) == none_broken);
}
TEST_CASE("fused backward passes of functions give what recorded ones give", "[fast]") {
  CHECK(support::broken_fused(support::function_cases<FunctionOps>()) == none_broken);
}

TEST_CASE("functions agree with the standard library", "[fast]") {
  const D x({5}, {-1.5, -0.25, 0, 0.75, 2.5}), p({3}, {0.25, 1, 3});
  const auto check = [](const D& found, const D& at, auto f) {
    D expected = D::empty(at.shape());
    std::transform(at.data(), at.data() + at.size(), expected.raw(), f);
    CHECK(difference(found, expected) < 1e-15);
  };
  check(exp(x), x, [](double v) { return std::exp(v); });
  check(expm1(x), x, [](double v) { return std::expm1(v); });
  check(log(p), p, [](double v) { return std::log(v); });
  check(log1p(p), p, [](double v) { return std::log1p(v); });
  check(sqrt(p), p, [](double v) { return std::sqrt(v); });
  check(square(x), x, [](double v) { return v * v; });
  check(abs(x), x, [](double v) { return std::abs(v); });
  check(tanh(x), x, [](double v) { return std::tanh(v); });
  check(sigmoid(x), x, [](double v) { return 1 / (1 + std::exp(-v)); });
  check(relu(x), x, [](double v) { return v > 0 ? v : 0; });
  check(softplus(x), x, [](double v) { return std::log1p(std::exp(v)); });
  check(erf(x), x, [](double v) { return std::erf(v); });
  check(gelu(x), x, [](double v) { return 0.5 * v * (1 + std::erf(v / std::sqrt(2.0))); });
  check(gelu_tanh(x), x, [](double v) { return 0.5 * v * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (v + 0.044715 * v * v * v))); });
  check(step(x), x, [](double v) { return v > 0 ? 1 : 0; });
  check(sign(x), x, [](double v) { return (v > 0) - (v < 0); });
}

TEST_CASE("flat functions are never recorded", "[fast]") {
  const D x = parameter(D({2}, {1, 2}));
  CHECK(!step(x).node());
  CHECK(!sign(x).node());
  CHECK(!equal(x, x).node());
  CHECK(support::list(equal(x, D::scalar(2))) == std::vector<double>{0, 1});
}

TEST_CASE("the slope of sqrt at 0 is 0, of relu and abs too", "[fast]") {
  CHECK(slope_of([](const D& x) { return sqrt(x); }, {0, 4}) == std::vector<double>{0, 0.25});
  CHECK(slope_of([](const D& x) { return relu(x); }, {-1, 0, 1}) == std::vector<double>{0, 0, 1});
  CHECK(slope_of([](const D& x) { return abs(x); }, {-1, 0, 1}) == std::vector<double>{-1, 0, 1});
}

TEST_CASE("a norm of zero has the gradient 0, also when it is differentiated twice", "[fast]") {
  const D x = parameter(D::zeros({3}));
  const auto g = grad(sqrt(sum(square(x))), {x}, {.create_graph = true});
  CHECK(support::list(g[0]) == std::vector<double>{0, 0, 0});
  CHECK(support::list(grad(sum(g[0]), {x})[0]) == std::vector<double>{0, 0, 0});
}

TEST_CASE("extreme inputs saturate", "[fast]") {
  const D x({4}, {-infinity, -800, 800, infinity});
  CHECK(support::list(sigmoid(x)) == std::vector<double>{0, 0, 1, 1});
  CHECK(support::list(tanh(x)) == std::vector<double>{-1, -1, 1, 1});
  CHECK(support::list(softplus(x)) == std::vector<double>{0, 0, 800, infinity});
  CHECK(support::list(exp(x)) == std::vector<double>{0, 0, infinity, infinity});
  CHECK(slope_of([](const D& v) { return softplus(v); }, {-800, 800}) == std::vector<double>{0, 1});
  CHECK(slope_of([](const D& v) { return tanh(v); }, {-800, 800}) == std::vector<double>{0, 0});
}

TEST_CASE("NaN stays NaN", "[fast]") {
  const D x({1}, {not_a_number});
  FunctionOps::each([&](auto op) {
    INFO(decltype(op)::name);
    CHECK(std::isnan(apply<decltype(op)>(x).item()));
  });
}

TEST_CASE("a function is a module without fields", "[fast]") {
  const D x({2}, {-1, 2});
  CHECK(difference(ReLU{}(x), relu(x)) == 0);
  CHECK(difference(GELU{}(x), gelu(x)) == 0);
}

TEST_CASE("an undefined tensor is refused by name", "[fast]") {
  FunctionOps::each([&](auto op) {
    using Op = decltype(op);
    CHECK_THROWS_WITH(apply<Op>(D()), std::string(Op::name) + ": x is an undefined tensor; give it values first");
  });
}
