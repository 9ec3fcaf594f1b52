#include "espalier/optim/sgd.hpp"

#include "optim/steps.hpp"
#include "support/catch.hpp"

using namespace espalier;
using namespace espalier::support;

namespace {

template <class T>
double error(const std::string& name, const SGDOptions& options) {
  return golden_error<T>(name, [&](auto list) { return SGD<T>(std::move(list), options); });
}

}  // namespace

TEST_CASE("SGD gives PyTorch's numbers", "[fast]") {
  REQUIRE(error<double>("sgd", {.lr = 0.1}) < 1e-12);
  REQUIRE(error<double>("sgd_momentum", {.lr = 0.1, .momentum = 0.9}) < 1e-12);
  REQUIRE(error<double>("sgd_nesterov", {.lr = 0.1, .momentum = 0.9, .nesterov = true}) < 1e-12);
  REQUIRE(error<double>("sgd_weight_decay", {.lr = 0.1, .weight_decay = 0.01}) < 1e-12);
  REQUIRE(error<double>("sgd_momentum_weight_decay", {.lr = 0.1, .momentum = 0.9, .weight_decay = 0.01}) < 1e-12);
  REQUIRE(error<float>("sgd", {.lr = 0.1}) < 1e-5);
  REQUIRE(error<float>("sgd_nesterov", {.lr = 0.1, .momentum = 0.9, .nesterov = true}) < 1e-5);
}

TEST_CASE("SGD's momentum starts at the first gradient, undamped", "[fast]") {
  const NamedList<Tensor<double>> list{{"p", parameter(Tensor<double>::zeros({1}))}};
  SGD sgd{list, {.lr = 1, .momentum = 0.5, .dampening = 0.75}};
  add_gradient(list.at(0).value, {4.0});
  sgd.step();
  REQUIRE(list.at(0).value.item() == -4);
  add_gradient(list.at(0).value, {8.0});
  sgd.step();
  REQUIRE(fields_of(sgd).at("p.momentum_buffer")[0] == 0.5 * 4 + 0.25 * 8);
  REQUIRE(list.at(0).value.item() == -8);
}

TEST_CASE("SGD without momentum keeps no tensors", "[fast]") {
  SGD sgd{some_parameters<float>({{4}}), {.lr = 0.5}};
  STATIC_REQUIRE(std::is_same_v<decltype(sgd), SGD<float>>);
  const Dictionary fields = fields_of(sgd);
  REQUIRE(fields.size() == 2);
  REQUIRE(fields.at("lr")[0] == 0.5);
  REQUIRE(fields.at("a.step")[0] == 0);
}

TEST_CASE("SGD refuses options that make no sense", "[fast]") {
  const auto make = [](const SGDOptions& options) { SGD sgd{some_parameters<float>({{1}}), options}; };
  REQUIRE_THROWS_WITH(make({.lr = -1}), "SGD: lr is -1; it must be at least 0");
  REQUIRE_THROWS_WITH(make({.momentum = -0.9}), "SGD: momentum is -0.9; it must be at least 0");
  REQUIRE_THROWS_WITH(make({.weight_decay = -0.1}), "SGD: weight_decay is -0.1; it must be at least 0");
  REQUIRE_THROWS_WITH(
      make({.nesterov = true}),
      "SGD: nesterov is set, momentum is 0, dampening is 0; nesterov needs a momentum above 0 and no dampening");
  REQUIRE_THROWS_WITH(
      make({.momentum = 0.9, .nesterov = true, .dampening = 0.5}),
      "SGD: nesterov is set, momentum is 0.9, dampening is 0.5; nesterov needs a momentum above 0 and no dampening");
}
