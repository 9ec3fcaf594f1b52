#include "espalier/ops/reduce.hpp"

#include <cmath>
#include <numeric>

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
const double infinity = std::numeric_limits<double>::infinity(), not_a_number = std::numeric_limits<double>::quiet_NaN();

/// f of every row along `axis`, the slow way.
template <class G>
D naive(const D& x, int axis, const G& f) {
  const Index n = x.shape()[axis], inner = x.shape().span(axis + 1, x.rank()), outer = x.shape().span(0, axis);
  std::vector<double> out;
  for (Index o = 0; o < outer; ++o)
    for (Index i = 0; i < inner; ++i) {
      std::vector<double> row;
      for (Index k = 0; k < n; ++k) row.push_back(x.data()[(o * n + k) * inner + i]);
      out.push_back(f(row));
    }
  return D::copy(x.shape().part(0, axis) + x.shape().part(axis + 1, x.rank()), out);
}
double lse(const std::vector<double>& row) {
  double s = 0;
  for (double v : row) s += std::exp(v);
  return std::log(s);
}
bool all_nan(const D& x) { return std::all_of(x.data(), x.data() + x.size(), [](double v) { return std::isnan(v); }); }

}  // namespace

TEST_CASE("reductions along every axis agree with a loop", "[fast]") {
  Rng rng{1};
  const D x = D::normal({3, 4, 5}, rng);
  for (int axis = 0; axis < 3; ++axis) {
    const auto total = [](const std::vector<double>& row) { return std::accumulate(row.begin(), row.end(), 0.0); };
    CHECK(difference(sum(x, {axis}), naive(x, axis, total)) < 1e-14);
    CHECK(difference(mean(x, {axis}), naive(x, axis, [&](const auto& row) { return total(row) / double(row.size()); })) < 1e-14);
    CHECK(difference(max(x, axis), naive(x, axis, [](const auto& row) { return *std::max_element(row.begin(), row.end()); })) == 0);
    CHECK(difference(logsumexp(x, axis), naive(x, axis, lse)) < 1e-14);
    CHECK(difference(sum(softmax(x, axis), {axis}), D::ones(sum(x, {axis}).shape())) < 1e-14);
    CHECK(difference(log(softmax(x, axis)), log_softmax(x, axis)) < 1e-14);
    CHECK(difference(sum(x, {axis - 3}), sum(x, {axis})) == 0);
  }
  CHECK(difference(sum(x, {0, 2}), sum(sum(x, {2}), {0})) < 1e-14);
  CHECK(difference(sum(x), sum(x, {0, 1, 2})) < 1e-14);
  CHECK(difference(mean(x), sum(x) / 60.0) < 1e-15);
  CHECK(difference(sum(x, {}), x) == 0);
}

TEST_CASE("reduced axes may stay", "[fast]") {
  const D x = D::ones({2, 3});
  CHECK(sum(x, {1}, {.keep_axes = true}).shape() == Shape{2, 1});
  CHECK(mean(x, {0}, {.keep_axes = true}).shape() == Shape{1, 3});
  CHECK(max(x, -1, {.keep_axes = true}).shape() == Shape{2, 1});
  CHECK(sum(x, {0, 1}).shape() == Shape{});
}

TEST_CASE("the sum of nothing is 0, the mean of nothing NaN", "[fast]") {
  CHECK(sum(D::zeros({0})).item() == 0);
  CHECK(list(sum(D::zeros({0, 2}), {0})) == std::vector<double>{0, 0});
  CHECK(std::isnan(mean(D::zeros({0})).item()));
  CHECK(all_nan(mean(D::zeros({0, 2}), {0})));
  CHECK(mean(D::zeros({0, 2}), {1}).shape() == Shape{0});
}

TEST_CASE("sums and means of a million floats are accurate", "[fast]") {
  Rng rng{2};
  const F x = F::uniform({1000, 1000}, 0, 1, rng);
  const double exact = kernels::sum(Index{1000000}, cast<double>(x).data());
  CHECK(std::abs(sum(x).item() / exact - 1) < 1e-6);
  CHECK(std::abs(mean(x).item() * 1e6 / exact - 1) < 1e-6);
  CHECK(difference(cast<double>(sum(x, {0})), sum(cast<double>(x), {0})) < 1e-6);
  CHECK(difference(cast<double>(sum(x, {1})), sum(cast<double>(x), {1})) < 1e-6);
  CHECK(mean(F::ones({(1 << 24) + 1}), {0}).item() == 1);
}

TEST_CASE("max takes the first of equals and NaN where there is one", "[fast]") {
  const D x = parameter(D({3, 3}, {1, 7, 7, not_a_number, 1, 2, -infinity, -infinity, -infinity}));
  const D y = max(x, -1);
  CHECK(y(0) == 7);
  CHECK(std::isnan(y(1)));
  CHECK(y(2) == -infinity);
  CHECK(list(grad(sum(y), {x})[0]) == std::vector<double>{0, 1, 0, 1, 0, 0, 1, 0, 0});
}

TEST_CASE("argmax is the first of the largest, or the first NaN", "[fast]") {
  CHECK(list(argmax(D({2, 3}, {1, 3, 3, 5, 2, 1}))) == std::vector<Index>{1, 0});
  CHECK(list(argmax(D({2, 3}, {1, not_a_number, 9, not_a_number, 1, not_a_number}))) == std::vector<Index>{1, 0});
  CHECK(argmax(D({2}, {1, 2})).shape() == Shape{});
  CHECK(list(argmax(Tensor<Index>({1, 2}, {3, 8}))) == std::vector<Index>{1});
}

TEST_CASE("a row of -inf alone gives zeros, and gradients of 0", "[fast]") {
  const D x = parameter(D({2, 3}, {-infinity, -infinity, -infinity, 0, -infinity, 0}));
  CHECK(list(softmax(x, -1)) == std::vector<double>{0, 0, 0, 0.5, 0, 0.5});
  CHECK(list(logsumexp(x, -1)) == std::vector<double>{-infinity, std::log(2.0)});
  CHECK(list(slice(log_softmax(x, -1), 0, 0, 1)) == std::vector<double>{-infinity, -infinity, -infinity});
  const D weights({2, 3}, {1, 2, 3, 1, 2, 3});
  CHECK(list(grad(sum(softmax(x, -1) * weights), {x})[0]) == std::vector<double>{0, 0, 0, -0.5, 0, 0.5});
  CHECK(list(grad(sum(logsumexp(x, -1)), {x})[0]) == std::vector<double>{0, 0, 0, 0.5, 0, 0.5});
  CHECK(list(grad(sum(softmax(x, -1) * weights), {x}, {.create_graph = true})[0]) == std::vector<double>{0, 0, 0, -0.5, 0, 0.5});
}

TEST_CASE("infinite elements share their row", "[fast]") {
  const D x = parameter(D({2, 3}, {infinity, 1, -infinity, infinity, 5, infinity}));
  CHECK(list(softmax(x, -1)) == std::vector<double>{1, 0, 0, 0.5, 0, 0.5});
  CHECK(list(logsumexp(x, -1)) == std::vector<double>{infinity, infinity});
  CHECK(list(log_softmax(x, -1)) == std::vector<double>{0, -infinity, -infinity, -std::log(2.0), -infinity, -std::log(2.0)});
  CHECK(list(grad(sum(softmax(x, -1)), {x})[0]) == std::vector<double>{0, 0, 0, 0, 0, 0});
}

TEST_CASE("a NaN makes its own row NaN and no other", "[fast]") {
  const D x({2, 2}, {not_a_number, 1, 0, 0});
  for (const D& y : {softmax(x, -1), log_softmax(x, -1)}) {
    CHECK(all_nan(slice(y, 0, 0, 1)));
    CHECK(y(1, 0) == y(1, 1));
  }
  CHECK(std::isnan(logsumexp(x, -1)(0)));
  CHECK(logsumexp(x, -1)(1) == Approx(std::log(2.0)));
  CHECK(all_nan(softmax(D({3}, {infinity, not_a_number, 1}), 0)));
}

TEST_CASE("large and small logits neither overflow nor vanish", "[fast]") {
  const F x({2, 2}, {1e30f, -1e30f, -1e30f, -1e30f});
  CHECK(list(softmax(x, -1)) == std::vector<float>{1, 0, 0.5f, 0.5f});
  CHECK(logsumexp(x, -1)(0) == 1e30f);
  CHECK(list(log_softmax(F({1, 2}, {0, -200}), -1)) == std::vector<float>{0, -200});
  CHECK(logsumexp(F({1, 2}, {-500, -500}), -1).item() == Approx(-500 + std::log(2.0)));
}

TEST_CASE("softmax of nothing and of one", "[fast]") {
  CHECK(softmax(D::zeros({0, 3}), -1).shape() == Shape{0, 3});
  CHECK(softmax(D::zeros({3, 0}), -1).shape() == Shape{3, 0});
  CHECK(list(logsumexp(D::zeros({2, 0}), -1)) == std::vector<double>{-infinity, -infinity});
  CHECK(list(softmax(D({2, 1}, {4, 5}), -1)) == std::vector<double>{1, 1});
}

TEST_CASE("softmax has the same bits for every number of threads", "[fast]") {
  Rng rng{3};
  const F x = F::normal({700, 300}, rng);
  CHECK(support::same_for_all_threads([&] { return list(softmax(x, -1)); }));
}

TEST_CASE("misused reductions name the op, the shape and the rule", "[fast]") {
  const D x = D::zeros({2, 3}), none;
  const std::string axis = ": axis 2 of [2, 3]; the axis must be in [-2, 1]", scalar = ": axis -1 of a scalar; it has no axes",
                    undefined = ": x is an undefined tensor; give it values first";
  CHECK_THROWS_WITH(sum(x, {2}), "sum" + axis);
  CHECK_THROWS_WITH(sum(x, {1, -1}), "sum: axis -1 of [2, 3] is named twice");
  CHECK_THROWS_WITH(sum(none), "sum" + undefined);
  CHECK_THROWS_WITH(sum(none, {0}), "sum" + undefined);
  CHECK_THROWS_WITH(mean(x, {2}), "mean" + axis);
  CHECK_THROWS_WITH(mean(x, {0, 0}), "mean: axis 0 of [2, 3] is named twice");
  CHECK_THROWS_WITH(mean(none), "mean" + undefined);
  CHECK_THROWS_WITH(mean(none, {0}), "mean" + undefined);
  CHECK_THROWS_WITH(max(x, 2), "max" + axis);
  CHECK_THROWS_WITH(max(D::zeros({2, 0}), 1), "max: axis 1 of [2, 0] is empty; it needs at least one element");
  CHECK_THROWS_WITH(max(none, 0), "max" + undefined);
  CHECK_THROWS_WITH(argmax(D::zeros({2, 0})), "argmax: x is [2, 0]; its last axis must not be empty");
  CHECK_THROWS_WITH(argmax(D::scalar(1)), "argmax: x is []; its last axis must not be empty");
  CHECK_THROWS_WITH(argmax(none), "argmax" + undefined);
  CHECK_THROWS_WITH(softmax(x, 2), "softmax" + axis);
  CHECK_THROWS_WITH(softmax(D::scalar(1), -1), "softmax" + scalar);
  CHECK_THROWS_WITH(softmax(none, 0), "softmax" + undefined);
  CHECK_THROWS_WITH(log_softmax(x, 2), "log_softmax" + axis);
  CHECK_THROWS_WITH(log_softmax(none, 0), "log_softmax" + undefined);
  CHECK_THROWS_WITH(logsumexp(x, 2), "logsumexp" + axis);
  CHECK_THROWS_WITH(logsumexp(D::scalar(1), -1), "logsumexp" + scalar);
  CHECK_THROWS_WITH(logsumexp(none, 0), "logsumexp" + undefined);
}
