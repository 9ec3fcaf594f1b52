#include "espalier/nn/batch_norm.hpp"

#include "espalier/autograd/gradcheck.hpp"
#include "nn/layer_case.hpp"

using namespace espalier;

namespace {

BatchNorm1d<double> layer_of(const support::LayerCase& c) {
  BatchNorm1d<double> layer{4};
  layer.weight = c.weight;
  layer.bias = c.bias;
  layer.running_mean = c.array("running_mean");
  layer.running_var = c.array("running_var");
  return layer;
}
template <class T>
bool finite(const Tensor<T>& x) {
  return std::ranges::all_of(x.values(), [](T v) { return std::isfinite(v); });
}

}  // namespace

TEST_CASE("BatchNorm1d trains as PyTorch's", "[nn][fast]") {
  const Rng rng{0};
  const support::LayerCase c("layers.txt", "batch_norm_train");
  const BatchNorm1d<double> layer = layer_of(c);
  {
    Pass pass{rng};
    c.check(layer(c.x, pass));
    REQUIRE(c.error(layer.running_mean, "running_mean") == 0);
    REQUIRE(c.error(layer.running_var, "running_var") == 0);
    REQUIRE(layer.num_batches_tracked.item() == 0);
  }
  REQUIRE(c.error(layer.running_mean, "running_mean_after") < 1e-12);
  REQUIRE(c.error(layer.running_var, "running_var_after") < 1e-12);
  REQUIRE(layer.num_batches_tracked.item() == 1);
}

TEST_CASE("BatchNorm1d infers as PyTorch's", "[nn][fast]") {
  const support::LayerCase c("layers.txt", "batch_norm_eval");
  const BatchNorm1d<double> layer = layer_of(c);
  c.check(layer(c.x));
  REQUIRE(c.error(layer.running_mean, "running_mean") == 0);
  REQUIRE(c.error(layer.running_var, "running_var") == 0);
  REQUIRE(layer.num_batches_tracked.item() == 0);
}

TEST_CASE("backward works after the running statistics were updated", "[nn][fast]") {
  const Rng rng{0};
  const support::LayerCase c("layers.txt", "batch_norm_train");
  const BatchNorm1d<double> layer = layer_of(c);
  Tensor<double> trained, inferred;
  {
    Pass pass{rng};
    inferred = layer(slice(c.x, 0, 0, 1), pass);  // one row: running statistics, in the same pass
    trained = layer(c.x, pass);
  }
  c.check(trained);
  REQUIRE_NOTHROW(backward(sum(inferred)));
}

TEST_CASE("BatchNorm1d: fields and options", "[nn][fast]") {
  Rng rng{0};
  BatchNorm1d layer{3};
  STATIC_REQUIRE(std::is_same_v<decltype(layer), BatchNorm1d<float>>);
  REQUIRE(parameters(layer).names() == "weight, bias");
  REQUIRE(layer.features() == 3);
  REQUIRE(layer.weight.text() == "float32 [3] [1, 1, 1]");
  REQUIRE(layer.bias.text() == "float32 [3] [0, 0, 0]");
  REQUIRE(layer.running_mean.text() == "float32 [3] [0, 0, 0]");
  REQUIRE(layer.running_var.text() == "float32 [3] [1, 1, 1]");
  REQUIRE(layer.num_batches_tracked.text() == "int64 [] 0");

  BatchNorm1d plain{1, {.eps = 1, .momentum = 1, .affine = false}};
  REQUIRE(parameters(plain).empty());
  const Tensor<float> x({2, 1}, {0, 2});
  REQUIRE(plain(x)(1, 0) == Approx(2 / std::sqrt(2.0)));
  {
    Pass pass{rng};
    REQUIRE(plain(x, pass)(1, 0) == Approx(1 / std::sqrt(2.0)));
  }
  REQUIRE(plain.running_mean.item() == 1);
  REQUIRE(plain.running_var.item() == 2);
}

TEMPLATE_TEST_CASE("BatchNorm1d: batches of 0 and 1", "[nn][fast]", float, double) {
  using T = TestType;
  Rng rng{0};
  BatchNorm1d<T> layer{3};
  layer.running_mean.mutate()[1] = 2;
  const std::vector<Tensor<T>> weights{layer.weight, layer.bias};
  for (const Index batch : {0, 1}) {
    const Tensor<T> x = Tensor<T>::normal({batch, 3}, rng);
    {
      Pass pass{rng};
      const Tensor<T> y = layer(x, pass);
      REQUIRE(y.shape() == x.shape());
      REQUIRE(std::ranges::equal(y.values(), layer(x).values()));
      for (const Tensor<T>& g : grad(sum(y), weights, {.create_graph = true})) REQUIRE(finite(g));
    }
    REQUIRE(layer.running_mean.text() == Tensor<T>({3}, {0, 2, 0}).text());
    REQUIRE(layer.num_batches_tracked.item() == 0);
  }
}

TEST_CASE("BatchNorm1d over sequences normalises over batch and length", "[nn][fast]") {
  Rng rng{0};
  const Tensor<double> x = Tensor<double>::normal({4, 3, 5}, rng);
  const BatchNorm1d<double> layer{3}, flat{3};
  layer.weight.detach().mutate()[1] = 2;
  flat.weight.detach().mutate()[1] = 2;
  Tensor<double> y, z;
  {
    Pass pass{rng};
    y = layer(x, pass);
    z = flat(reshape(transpose(x, 1, 2), {20, 3}), pass);
  }
  const auto worst = [&](const Tensor<double>& a, const Tensor<double>& rows) {
    double error = 0;
    for (Index b = 0; b < 4; ++b)
      for (Index f = 0; f < 3; ++f)
        for (Index t = 0; t < 5; ++t) error = std::max(error, std::abs(a(b, f, t) - rows(b * 5 + t, f)));
    return error;
  };
  REQUIRE(worst(y, z) < 1e-14);
  REQUIRE(std::abs(layer.running_var(1) - flat.running_var(1)) < 1e-15);
  REQUIRE(worst(layer(x), flat(reshape(transpose(x, 1, 2), {20, 3}))) < 1e-14);
  REQUIRE(layer(Tensor<double>::zeros({0, 3, 5})).shape() == Shape{0, 3, 5});
  REQUIRE(layer(Tensor<double>::zeros({2, 3, 0})).shape() == Shape{2, 3, 0});
  Pass pass{rng};
  REQUIRE(layer(Tensor<double>::zeros({2, 3, 0}), pass).shape() == Shape{2, 3, 0});
  REQUIRE(std::abs(sum(layer(slice(x, 0, 0, 1), pass)).item()) < 1e-13);  // one sample of five steps has statistics
}

TEST_CASE("BatchNorm1d: gradients of both orders", "[nn][fast]") {
  Rng rng{0};
  const auto check = [&](const Shape& shape, bool training) {
    const auto f = [&](const std::vector<Tensor<double>>& x) {
      BatchNorm1d<double> layer{shape[1]};
      layer.weight = x[1];
      layer.bias = x[2];
      Pass pass{Rng{0}};
      return training ? layer(x[0], pass) : layer(x[0]);
    };
    const auto normal = [&](const Shape& s) { return Tensor<double>::normal(s, rng); };
    const auto result = gradcheck(f, {normal(shape), normal({shape[1]}), normal({shape[1]})}, {.tolerance = 1e-6});
    INFO(result.text);
    REQUIRE(result.passed);
  };
  check({5, 3}, true);
  check({5, 1}, true);
  check({2, 2, 3}, true);
  check({5, 3}, false);
  check({2, 2, 3}, false);
}

TEST_CASE("BatchNorm1d: rows of several tasks in one sweep", "[nn][fast]") {
  Rng rng{0};
  const BatchNorm1d<double> layer{3};
  const Tensor<double> x = parameter(Tensor<double>::normal({4, 3}, rng));
  const std::vector<Tensor<double>> inputs{x, layer.weight, layer.bias};
  Pass pass{rng};
  const Tensor<double> y = sum(square(layer(x, pass)), {1});
  const auto rows = jacobian(y, inputs);
  for (Index i = 0; i < 4; ++i) {
    const auto one = grad(slice(y, 0, i, i + 1), inputs, {.retain_graph = true});
    for (std::size_t k = 0; k < inputs.size(); ++k)
      for (Index j = 0; j < one[k].size(); ++j)
        REQUIRE(std::abs(rows[k].data()[i * one[k].size() + j] - one[k].data()[j]) < 1e-13);
  }
}

TEST_CASE("BatchNorm1d: a feature that does not vary stays finite", "[nn][fast]") {
  Rng rng{0};
  const BatchNorm1d layer{2};
  const Tensor<float> x = parameter(Tensor<float>({3, 2}, {1, 5, 2, 5, 4, 5}));
  Pass pass{rng};
  const Tensor<float> y = layer(x, pass);
  REQUIRE(finite(y));
  REQUIRE(y(0, 1) == 0);
  REQUIRE(finite(grad(sum(square(y)), std::vector{x})[0]));
}

TEST_CASE("BatchNorm1d: a sample's inference does not depend on the batch", "[nn][fast]") {
  Rng rng{0};
  BatchNorm1d layer{19};
  layer.running_var = Tensor<float>::uniform({19}, 0.5, 2, rng);
  layer.running_mean = Tensor<float>::normal({19}, rng);
  const Tensor<float> x = Tensor<float>::normal({7, 19}, rng), all = layer(x);
  for (Index i = 0; i < 7; ++i)
    REQUIRE(std::ranges::equal(layer(slice(x, 0, i, i + 1)).values(), slice(all, 0, i, i + 1).values()));
}

TEST_CASE("BatchNorm1d: errors", "[nn][fast]") {
  const BatchNorm1d layer{4};
  const auto zeros = [](const Shape& shape) { return Tensor<float>::zeros(shape); };
  REQUIRE_THROWS_WITH(layer(zeros({4, 3})), "BatchNorm1d: x is [4, 3]; it must be [batch, 4]");
  REQUIRE_THROWS_WITH(layer(zeros({4})), "BatchNorm1d: x is [4]; it must be [batch, 4]");
  REQUIRE_THROWS_WITH(layer(zeros({})), "BatchNorm1d: x is []; it must be [batch, 4]");
  REQUIRE_THROWS_WITH(layer(zeros({2, 3, 4})), "BatchNorm1d: x is [2, 3, 4]; it must be [batch, 4, length]");
  REQUIRE_THROWS_WITH(layer(zeros({2, 4, 1, 1})), "BatchNorm1d: x is [2, 4, 1, 1]; it must be [batch, 4]");
  REQUIRE_THROWS_WITH(layer(Tensor<float>()), "BatchNorm1d: x is an undefined tensor; give it values first");
  Pass pass{Rng{0}};
  REQUIRE_THROWS_WITH(layer(zeros({4, 3}), pass), "BatchNorm1d: x is [4, 3]; it must be [batch, 4]");
  REQUIRE_THROWS_WITH(BatchNorm1d{0}, "BatchNorm1d: features is 0; it must be at least 1");
  REQUIRE_THROWS_WITH((BatchNorm1d{2, {.eps = 0}}), "BatchNorm1d: eps is 0; it must be above 0");
  REQUIRE_THROWS_WITH((BatchNorm1d{2, {.momentum = 1.5}}), "BatchNorm1d: momentum is 1.5; it must be in [0, 1]");
}
