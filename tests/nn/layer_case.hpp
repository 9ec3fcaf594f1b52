#pragma once
// LayerCase: a layer of tests/golden as parameters, and the check of its values and gradients.

#include "espalier/autograd/functional.hpp"
#include "support/catch.hpp"
#include "support/golden.hpp"

namespace espalier::inline ESPALIER_ABI::support {

/// The worst error relative to 1 + |expected|.
inline double worst_error(const Tensor<double>& found, const Golden::Array& expected) {
  if (!(found.shape() == expected.shape)) return HUGE_VAL;
  double worst = 0;
  for (std::size_t i = 0; i < expected.values.size(); ++i) {
    const double error = std::abs(found.values()[i] - expected.values[i]) / (1 + std::abs(expected.values[i]));
    if (!(error <= worst)) worst = std::isnan(error) ? HUGE_VAL : error;
  }
  return worst;
}

struct LayerCase {
  Golden golden;
  std::string name;
  Tensor<double> x, weight, bias;  // parameters, so that each receives its gradient

  LayerCase(std::string file, std::string name_) : golden(std::move(file)), name(std::move(name_)) {
    x = parameter(array("x"));
    weight = parameter(array("weight"));
    bias = parameter(array("bias"));
  }

  Tensor<double> array(std::string_view field) const {
    const Golden::Array& a = golden[name + "." + std::string(field)];
    return Tensor<double>::copy(a.shape, a.values);
  }
  double error(const Tensor<double>& found, std::string_view field) const {
    return worst_error(found, golden[name + "." + std::string(field)]);
  }
  /// The output, and the gradients by an ordinary and by a recorded backward pass.
  void check(const Tensor<double>& y) const {
    INFO(name);
    REQUIRE(error(y, "y") < 1e-12);
    for (const bool create_graph : {false, true}) {
      const GradOptions options{.create_graph = create_graph, .retain_graph = true};
      const auto g = vjp(y, {x, weight, bias}, array("cotangent"), options);
      REQUIRE(error(g[0], "grad.x") < 1e-12);
      REQUIRE(error(g[1], "grad.weight") < 1e-12);
      REQUIRE(error(g[2], "grad.bias") < 1e-12);
    }
  }
};

}  // namespace espalier::inline ESPALIER_ABI::support
