#include "espalier/ops/list.hpp"

#include "support/catch.hpp"
#include "support/near.hpp"
#include "support/op_zoo.hpp"

using namespace espalier;
using support::difference;
using support::Points;

namespace {
const std::vector<std::string> none_broken;
}  // namespace

TEST_CASE("operations with structure have the derivatives that central differences find", "[fast]") {
  CHECK(StructuredOps::size == 17);
  StructuredOps::each<double>([](auto op) { CHECK(!support::samples_of<typename decltype(op)::type>().empty()); });
  CHECK(support::broken_derivatives(support::structured_cases<StructuredOps>()) == none_broken);
}
TEST_CASE("operations with structure take rows of tasks together", "[fast]") {
  CHECK(support::broken_rows(support::structured_cases<StructuredOps>()) == none_broken);
  CHECK(support::broken_jacobians(support::structured_cases<StructuredOps>()) == none_broken);
}
TEST_CASE("fused backward passes of operations with structure give what recorded ones give", "[fast]") {
  CHECK(support::broken_fused(support::structured_cases<StructuredOps>()) == none_broken);
}

TEST_CASE("float derivatives agree with double", "[fast]") {
  StructuredOps::each<float>([](auto op) {
    using Op = typename decltype(op)::type;
    Rng rng{6};
    Op::samples([&](auto f, const std::vector<Shape>& shapes) {
      std::vector<Tensor<float>> xs;
      Points ds;
      for (const Shape& s : shapes) {
        xs.push_back(parameter(Tensor<float>::normal(s, rng)));
        ds.push_back(parameter(cast<double>(xs.back())));
      }
      const Tensor<float> y = f(xs), g = Tensor<float>::normal(y.shape(), rng);
      const Tensor<double> z = f(ds);
      INFO(Op::name);
      CHECK(difference(cast<double>(y), z) < 1e-5);
      const auto dx = vjp(y, xs, g);
      const auto dd = vjp(z, ds, cast<double>(g));
      for (std::size_t i = 0; i < dx.size(); ++i) CHECK(difference(cast<double>(dx[i]), dd[i]) < 1e-5);
    });
  });
}
