#include "espalier/ops/linalg.hpp"

#include "espalier/autograd/functional.hpp"
#include "support/catch.hpp"
#include "support/near.hpp"
#include "support/threads.hpp"

using namespace espalier;
using support::difference;
using support::list;

namespace {

using D = Tensor<double>;
using F = Tensor<float>;

/// The product by its definition, axes before the last two broadcast.
D naive_matmul(const D& a, const D& b) {
  const Shape batch = broadcast(a.shape().part(0, a.rank() - 2), b.shape().part(0, b.rank() - 2), "test");
  const Index m = a.shape()[-2], k = a.shape()[-1], n = b.shape()[-1];
  const D x = expand_to(a, batch + Shape{m, k}), y = expand_to(b, batch + Shape{k, n});
  D z = D::zeros(batch + Shape{m, n});
  for (Index s = 0; s < batch.size(); ++s)
    for (Index i = 0; i < m; ++i)
      for (Index j = 0; j < n; ++j)
        for (Index l = 0; l < k; ++l) z.raw()[(s * m + i) * n + j] += x.data()[(s * m + i) * k + l] * y.data()[(s * k + l) * n + j];
  return z;
}

}  // namespace

TEST_CASE("matmul agrees with its definition over sizes and broadcasts", "[fast]") {
  Rng rng{1};
  const Shape batches[] = {{}, {1}, {3}, {2, 1}, {2, 3}, {0}};
  const Index sizes[] = {1, 2, 5, 17, 0};
  for (const Shape& p : batches)
    for (const Shape& q : batches) {
      if (!broadcastable(p, q)) continue;
      for (Index m : sizes)
        for (Index k : sizes) {
          const Index n = sizes[(m + k) % 5];
          const D a = D::normal(p + Shape{m, k}, rng), b = D::normal(q + Shape{k, n}, rng);
          INFO(a.shape().text() << " times " << b.shape().text());
          REQUIRE(difference(matmul(a, b), naive_matmul(a, b)) < 1e-13);
        }
    }
}

TEST_CASE("linear is x weight^T + bias, over any axes before the last", "[fast]") {
  Rng rng{2};
  for (const Shape& batch : {Shape{}, Shape{1}, Shape{7}, Shape{2, 3}, Shape{0}}) {
    const D x = D::normal(batch + Shape{3}, rng), w = D::normal({4, 3}, rng), b = D::normal({4}, rng);
    const D product = reshape(matmul(reshape(x, {batch.size(), 3}), transpose(w)), batch + Shape{4});
    CHECK(difference(linear(x, w, D()), product) < 1e-14);
    CHECK(difference(linear(x, w, b), product + b) < 1e-14);
    CHECK(difference(linear(x, w, b, Activation::relu), relu(product + b)) < 1e-14);
  }
}

TEST_CASE("linear adds its gradients to what parameters have", "[fast]") {
  Rng rng{3};
  const D x = D::normal({5, 3}, rng), w = parameter(D::normal({4, 3}, rng)), b = parameter(D::normal({4}, rng));
  for (const Activation activation : {Activation::none, Activation::relu}) {
    clear_gradient(w);
    clear_gradient(b);
    const auto once = grad(sum(linear(x, w, b, activation)), {w, b});
    for (int i = 1; i <= 3; ++i) {
      backward(sum(linear(x, w, b, activation)));
      CHECK(difference(gradient(w), once[0] * double(i)) < 1e-14);
      CHECK(difference(gradient(b), once[1] * double(i)) < 1e-14);
    }
  }
}

TEST_CASE("a weight used twice gets both gradients", "[fast]") {
  Rng rng{4};
  const D x = D::normal({5, 3}, rng), w = parameter(D::normal({3, 3}, rng)), b = parameter(D::normal({3}, rng));
  const D tied = sum(linear(tanh(linear(x, w, b)), w, b));
  const D plain = sum(matmul(tanh(matmul(x, transpose(w)) + b), transpose(w)) + b);
  const auto expected = grad(plain, {w, b});
  CHECK(difference(tied, plain) < 1e-14);
  backward(tied);
  CHECK(difference(gradient(w), expected[0]) < 1e-13);
  CHECK(difference(gradient(b), expected[1]) < 1e-13);
}

TEST_CASE("an input that needs no gradient costs none", "[fast]") {
  Rng rng{5};
  const D x = D::normal({5, 3}, rng), w = D::normal({4, 3}, rng), b = parameter(D::normal({4}, rng));
  backward(sum(linear(x, w, b)));
  CHECK(list(gradient(b)) == std::vector<double>{5, 5, 5, 5});
  const D y = parameter(D::normal({5, 3}, rng));
  CHECK(difference(grad(sum(linear(y, w, D())), {y})[0], expand_to(sum(w, {0}), {5, 3})) < 1e-14);
  CHECK(!linear(x, w, D()).node());
}

TEST_CASE("products have the same bits for every number of threads", "[fast]") {
  Rng rng{6};
  const F x = F::normal({300, 200}, rng), w = parameter(F::normal({150, 200}, rng)), b = parameter(F::normal({150}, rng));
  CHECK(support::same_for_all_threads([&] {
    const F y = linear(x, w, b, Activation::relu);
    const auto g = grad(sum(y * y), {w, b});
    std::vector<float> all = list(y);
    for (const F& t : g) all.insert(all.end(), t.values().begin(), t.values().end());
    return all;
  }));
}

TEST_CASE("a row has the same bits alone as in a batch", "[fast]") {
  Rng rng{7};
  const F x = F::normal({37, 65}, rng), w = F::normal({33, 65}, rng), b = F::normal({33}, rng);
  const F y = linear(x, w, b);
  for (Index i = 0; i < 37; ++i) REQUIRE(support::same_bits(linear(slice(x, 0, i, i + 1), w, b), slice(y, 0, i, i + 1)));
}

TEST_CASE("misused products name the op, the shapes and the rule", "[fast]") {
  const F a = F::zeros({32, 8}), none;
  CHECK_THROWS_WITH(matmul(a, F::zeros({9, 4})), "matmul: a is [32, 8], b is [9, 4]; a's last axis (8) must equal b's second-to-last (9)");
  CHECK_THROWS_WITH(matmul(a, F::zeros({8})),
                    "matmul: a is [32, 8], b is [8]; both need at least two axes (reshape a vector to [1, n] or [n, 1])");
  CHECK_THROWS_WITH(matmul(F::zeros({2, 4, 3}), F::zeros({3, 3, 5})),
                    "matmul: a is [2, 4, 3], b is [3, 3, 5]; axis -3 (2 and 3) must be equal, or one of them 1");
  CHECK_THROWS_WITH(matmul(none, a), "matmul: a is an undefined tensor; give it values first");
  CHECK_THROWS_WITH(matmul(a, none), "matmul: b is an undefined tensor; give it values first");
  CHECK_THROWS_WITH(linear(a, F::zeros({4, 9}), none),
                    "linear: x is [32, 8], weight is [4, 9]; weight is [out, in] and x's last axis must equal in (9)");
  CHECK_THROWS_WITH(linear(a, F::zeros({8}), none),
                    "linear: x is [32, 8], weight is [8]; weight is [out, in] and x's last axis must equal in");
  CHECK_THROWS_WITH(linear(F::scalar(1), F::zeros({4, 1}), none),
                    "linear: x is [], weight is [4, 1]; weight is [out, in] and x's last axis must equal in (1)");
  CHECK_THROWS_WITH(linear(a, F::zeros({4, 8}), F::zeros({5})), "linear: bias is [5], weight is [4, 8]; bias must be [4]");
  CHECK_THROWS_WITH(linear(none, F::zeros({4, 8}), none), "linear: x is an undefined tensor; give it values first");
  CHECK_THROWS_WITH(linear(a, none, none), "linear: weight is an undefined tensor; give it values first");
}
