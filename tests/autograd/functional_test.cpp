#include "espalier/autograd/functional.hpp"

#include <cmath>

#include "espalier/ops/linalg.hpp"
#include "support/catch.hpp"
#include "support/near.hpp"

using namespace espalier;
using support::difference;
using support::list;

namespace {

using D = Tensor<double>;

D symmetric(Index n, Rng& rng) {
  const D a = D::normal({n, n}, rng);
  return a + transpose(a);
}

}  // namespace

TEST_CASE("grad of a quadratic form is its closed form", "[fast]") {
  Rng rng{1};
  const D a = symmetric(4, rng), x = parameter(D::normal({4, 1}, rng));
  const D y = 0.5 * sum(x * matmul(a, x));
  CHECK(difference(grad(y, {x})[0], matmul(a, x.detach())) < 1e-14);
  CHECK(!gradient(x).defined());
}

TEST_CASE("vjp is the cotangent times the Jacobian", "[fast]") {
  Rng rng{2};
  const D a = D::normal({3, 4}, rng), x = parameter(D::normal({4, 1}, rng)), u = D::normal({3, 1}, rng);
  CHECK(difference(vjp(matmul(a, x), {x}, u)[0], matmul(transpose(a), u)) < 1e-14);
}

TEST_CASE("the Jacobian of a linear map is its matrix", "[fast]") {
  Rng rng{3};
  const D a = D::normal({3, 4}, rng), x = parameter(D::normal({4}, rng));
  const D y = reshape(matmul(a, reshape(x, {4, 1})), {3});
  const auto j = jacobian(y, {x});
  CHECK(difference(j[0], a) < 1e-14);
  CHECK(difference(jacobian(y, {x})[0], a) < 1e-14);  // the graph is kept
  CHECK(jacobian(D(parameter(D::zeros({0}))) * 2.0, {x})[0].shape() == Shape{0, 4});
}

TEST_CASE("the Jacobian of an elementwise function is diagonal", "[fast]") {
  const D x = parameter(D({2, 2}, {1, 2, 3, 4}));
  const D j = jacobian(square(x), {x})[0];
  REQUIRE(j.shape() == Shape{2, 2, 2, 2});
  for (Index i = 0; i < 4; ++i)
    for (Index k = 0; k < 4; ++k) CHECK(j.data()[i * 4 + k] == (i == k ? 2.0 * double(i + 1) : 0.0));
}

TEST_CASE("the Gramian is J J^T over all parameters together", "[fast]") {
  Rng rng{4};
  const D a = D::normal({3, 4}, rng), b = D::normal({3, 2}, rng);
  const D x = parameter(D::normal({4, 1}, rng)), z = parameter(D::normal({2, 1}, rng));
  const D y = reshape(matmul(a, x) + matmul(b, z), {3});
  CHECK(difference(gramian(y, {x, z}), matmul(a, transpose(a)) + matmul(b, transpose(b))) < 1e-13);
}

TEST_CASE("the Hessian times a direction is its closed form", "[fast]") {
  Rng rng{5};
  const D a = symmetric(4, rng), x = parameter(D::normal({4, 1}, rng)), v = D::normal({4, 1}, rng);
  const D y = 0.5 * sum(x * matmul(a, x)) + sum(x * x * x);
  CHECK(difference(hvp(y, {x}, {v})[0], matmul(a, v) + 6.0 * x.detach() * v) < 1e-13);
}

TEST_CASE("the Hessian couples parameters, and is 0 where there is nothing to differentiate", "[fast]") {
  const D x = parameter(D({2}, {1, 2})), z = parameter(D({2}, {3, 4})), w = parameter(D({1}, {5}));
  const auto h = hvp(sum(x * z) + sum(w), {x, z, w}, {D({2}, {1, 0}), D({2}, {0, 1}), D({1}, {1})});
  CHECK(list(h[0]) == std::vector<double>{0, 1});
  CHECK(list(h[1]) == std::vector<double>{1, 0});
  CHECK(list(h[2]) == std::vector<double>{0});
}

TEST_CASE("third derivatives come from recorded second ones", "[fast]") {
  const D x = parameter(D({2}, {0.5, 2}));
  const auto first = grad(sum(x * x * x * x), {x}, {.create_graph = true});
  const auto second = grad(sum(first[0]), {x}, {.create_graph = true});
  const auto third = grad(sum(second[0]), {x});
  CHECK(list(third[0]) == std::vector<double>{12, 48});
}

TEST_CASE("a gradient penalty trains", "[fast]") {  // the gradient of |d y / d x|^2 in w
  const D x = parameter(D({2}, {1, 2})), w = parameter(D({2}, {3, 4}));
  const auto g = grad(sum(w * w * x), {x}, {.create_graph = true});
  backward(sum(square(g[0])));
  CHECK(list(gradient(w)) == std::vector<double>{4 * 27, 4 * 64});
  CHECK(!gradient(x).defined());
}

TEST_CASE("grad of an intermediate value stops there and goes on", "[fast]") {
  const D x = parameter(D({2}, {1, 2})), h = x * x, y = sum(h * h);
  const auto g = grad(y, {h, x});
  CHECK(list(g[0]) == std::vector<double>{2, 8});
  CHECK(list(g[1]) == std::vector<double>{4, 32});
}

TEST_CASE("the gradient of a value in itself is the cotangent", "[fast]") {
  const D x = parameter(D::scalar(3)), y = x * x;
  CHECK(grad(y, {y, x})[0].item() == 1);
  CHECK(grad(x, {x})[0].item() == 1);
}

TEST_CASE("a tensor may be asked for twice", "[fast]") {
  const D x = parameter(D::scalar(3));
  const auto g = grad(x * x, {x, x});
  CHECK(g[0].item() == 6);
  CHECK(g[1].item() == 6);
  const auto h = hvp(x * x * x, {x, x}, {D::scalar(1), D::scalar(0)});
  CHECK(h[0].item() == 18);
}

TEST_CASE("what is not reached has zeros", "[fast]") {
  const D x = parameter(D({2}, {1, 2})), z = parameter(D({3}, {1, 2, 3}));
  const D y = sum(x * x);
  CHECK(list(grad(y, {z}, {.retain_graph = true})[0]) == std::vector<double>{0, 0, 0});
  CHECK(jacobian(y, {z})[0].shape() == Shape{3});
  CHECK(list(hvp(y, {z}, {D::ones({3})})[0]) == std::vector<double>{0, 0, 0});
}

TEST_CASE("parameters' own gradients stay as they are", "[fast]") {
  const D x = parameter(D({2}, {1, 2}));
  const D y = sum(x * x * x);
  backward(y, {.retain_graph = true});
  const std::vector<double> before = list(gradient(x));
  (void)grad(y, {x}, {.create_graph = true});
  (void)jacobian(y, {x});
  (void)gramian(y, {x});
  (void)hvp(y, {x}, {D::ones({2})});
  CHECK(list(gradient(x)) == before);
}

TEST_CASE("grad uses the graph up unless told to keep it", "[fast]") {
  const D x = parameter(D::scalar(2)), y = x * x;
  (void)grad(y, {x}, {.retain_graph = true});
  (void)grad(y, {x});
  CHECK_THROWS_WITH(grad(y, {x}),
                    "backward: the graph of multiply [] has been used by a backward pass already; pass {.retain_graph = true} to the "
                    "first one");
}

TEST_CASE("gradients are recorded only when asked for", "[fast]") {
  const D x = parameter(D::scalar(2)), y = x * x;
  CHECK(!grad(y, {x}, {.retain_graph = true})[0].node());
  CHECK(grad(y, {x}, {.create_graph = true})[0].node());
  const NoGrad scope;
  CHECK(grad(y, {x}, {.create_graph = true})[0].node());
}

TEST_CASE("a cotangent given for a non-scalar y weighs its elements", "[fast]") {
  const D x = parameter(D({2}, {1, 2}));
  backward(x * x, D({2}, {10, 100}));
  CHECK(list(gradient(x)) == std::vector<double>{20, 400});
}

TEST_CASE("misused derivatives say what is wrong", "[fast]") {
  const D x = parameter(D({2}, {1, 2})), y = x * x, s = sum(y), plain = D::zeros({3}), none;
  const std::string no_parameter = " does not depend on any parameter; it was computed from plain tensors or within NoGrad",
                    one_element = ": y is [2]; it must have one element (sum it, or give the cotangent)",
                    undefined_y = ": y is an undefined tensor; give it values first";
  CHECK_THROWS_WITH(backward(y), "backward" + one_element);
  CHECK_THROWS_WITH(backward(plain), "backward: y [3]" + no_parameter);
  CHECK_THROWS_WITH(backward(none), "backward" + undefined_y);
  CHECK_THROWS_WITH(backward(y, D::zeros({3})), "backward: y is [2], the cotangent is [3]; they must be equal");
  CHECK_THROWS_WITH(backward(s, none), "backward: the cotangent is an undefined tensor; give it values first");
  CHECK_THROWS_WITH(grad(y, {x}), "grad" + one_element);
  CHECK_THROWS_WITH(grad(plain, {x}), "grad: y [3]" + no_parameter);
  CHECK_THROWS_WITH(grad(s, {x, plain}), "grad: x 1 [3] is not recorded; make it a parameter before y is computed from it");
  CHECK_THROWS_WITH(grad(s, {none}), "grad: x 0 is an undefined tensor; give it values first");
  CHECK_THROWS_WITH(vjp(y, {x}, D::zeros({1})), "vjp: y is [2], the cotangent is [1]; they must be equal");
  CHECK_THROWS_WITH(vjp(y, {x}, none), "vjp: the cotangent is an undefined tensor; give it values first");
  CHECK_THROWS_WITH(vjp(plain, {x}, plain), "vjp: y [3]" + no_parameter);
  CHECK_THROWS_WITH(vjp(y, {plain}, y), "vjp: x 0 [3] is not recorded; make it a parameter before y is computed from it");
  CHECK_THROWS_WITH(jacobian(plain, {x}), "jacobian: y [3]" + no_parameter);
  CHECK_THROWS_WITH(jacobian(y, {plain}), "jacobian: x 0 [3] is not recorded; make it a parameter before y is computed from it");
  CHECK_THROWS_WITH(gramian(none, {x}), "gramian" + undefined_y);
  CHECK_THROWS_WITH(gramian(y, {plain}), "gramian: x 0 [3] is not recorded; make it a parameter before y is computed from it");
  CHECK_THROWS_WITH(hvp(y, {x}, {x}), "hvp" + one_element);
  CHECK_THROWS_WITH(hvp(s, {x}, {}), "hvp: 1 tensors and 0 directions given; they must be as many");
  CHECK_THROWS_WITH(hvp(s, {x}, {plain}), "hvp: x 0 is [2], its direction is [3]; they must be equal");
  CHECK_THROWS_WITH(hvp(s, {x}, {none}), "hvp: direction 0 is an undefined tensor; give it values first");
  CHECK_NOTHROW(backward(s));  // nothing above has used the graph up
}
