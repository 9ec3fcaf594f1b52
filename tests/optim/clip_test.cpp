#include "espalier/optim/clip.hpp"

#include "optim/steps.hpp"
#include "support/catch.hpp"

using namespace espalier;
using namespace espalier::support;

namespace {

template <class T>
std::vector<T> gradient_of(const Tensor<T>& p) {
  return values_of(gradient(p));
}

/// The largest difference from a golden case's clipped gradients and its norm.
template <class T>
double error(const std::string& name) {
  const Golden golden("optimizers.txt");
  const auto list = some_parameters<T>({{3}, {2, 2}, {4}});  // c gets no gradient
  for (const char* p : {"a", "b"}) {
    const auto& g = golden[name + "." + p].values;
    add_gradient(list[p], std::vector<T>(g.begin(), g.end()));
  }
  double worst = std::abs(clip_grad_norm(list, 1) - golden[name + ".norm"].values[0]);
  for (const char* p : {"a", "b"}) {
    const auto& want = golden[name + ".clipped." + p].values;
    const auto got = gradient_of(list[p]);
    for (std::size_t i = 0; i < got.size(); ++i)
      worst = std::max(worst, std::abs(static_cast<double>(got[i]) - want[i]));
  }
  REQUIRE(!gradient(list["c"]).defined());
  return worst;
}

}  // namespace

TEST_CASE("clip_grad_norm gives PyTorch's numbers", "[fast]") {
  REQUIRE(error<double>("clip") < 1e-15);
  REQUIRE(error<double>("clip_small") < 1e-15);
  REQUIRE(error<float>("clip") < 1e-7);
  REQUIRE(error<float>("clip_small") < 1e-7);
}

TEST_CASE("the norm is computed in double", "[fast]") {
  // 100 003 equal floats: their squares, added in float, would be off in the third digit.
  const auto list = some_parameters<float>({{100003}});
  add_gradient(list.at(0).value, std::vector<float>(100003, 0.1f));
  const double exact = std::sqrt(100003.0) * static_cast<double>(0.1f);
  REQUIRE(std::abs(clip_grad_norm(list, std::numeric_limits<double>::infinity()) - exact) < 1e-12 * exact);
  REQUIRE(gradient_of(list.at(0).value)[7] == 0.1f);
}

TEST_CASE("the norm of huge and tiny gradients is right", "[fast]") {
  for (double scale : {1e-30, 1e30}) {
    const auto list = some_parameters<float>({{2}});
    add_gradient(list.at(0).value, {static_cast<float>(3 * scale), static_cast<float>(4 * scale)});
    REQUIRE(clip_grad_norm(list, 1e40) == Approx(5 * scale).epsilon(1e-6));
  }
  const auto list = some_parameters<double>({{2}});
  add_gradient(list.at(0).value, {3e200, 4e200});
  REQUIRE(clip_grad_norm(list, 1) == Approx(5e200));
  REQUIRE(gradient_of(list.at(0).value)[0] == Approx(0.6));
}

TEST_CASE("clipping sees the members of a pack", "[fast]") {
  const auto list = some_parameters<double>({{1, 2}, {2, 2}, {1, 2}});
  const auto whole = pack_up<double>({list["a"], list["b"], list["c"]});
  add_gradient(list["b"], {1.0, 1, 1, 1});
  REQUIRE(clip_grad_norm(list, 1) == 2);
  REQUIRE(gradient_of(list["b"])[3] == Approx(0.5));
  REQUIRE(!gradient(list["a"]).defined());
}

TEST_CASE("a gradient that is not finite is named, and none is changed", "[fast]") {
  const double infinity = std::numeric_limits<double>::infinity();
  for (double bad : {infinity, std::numeric_limits<double>::quiet_NaN()}) {
    const auto list = some_parameters<double>({{2}, {2, 2}, {1}});
    add_gradient(list["a"], {3.0, 4.0});
    add_gradient(list["b"], {0.0, 0.0, bad, 0.0});
    add_gradient(list["c"], {bad});
    REQUIRE_THROWS_WITH(clip_grad_norm(list, 1), std::string("clip_grad_norm: the gradient of 'b' [2, 2] holds ") +
                                                     (bad == infinity ? "inf" : "nan") +
                                                     " at position 2; no gradient was changed");
    REQUIRE(gradient_of(list["a"]) == std::vector<double>{3, 4});
  }
}

TEST_CASE("clip_grad_norm refuses what is no bound or no parameter", "[fast]") {
  const auto list = some_parameters<float>({{2}});
  REQUIRE_THROWS_WITH(clip_grad_norm(list, -1), "clip_grad_norm: max_norm is -1; it must be at least 0");
  REQUIRE(clip_grad_norm(list, 1) == 0);
  const NamedList<Tensor<float>> plain{{"x", Tensor<float>::zeros({3})}};
  REQUIRE_THROWS_WITH(clip_grad_norm(plain, 1),
                      "clip_grad_norm: 'x' [3] is not a parameter; make it one with parameter(tensor)");
}
