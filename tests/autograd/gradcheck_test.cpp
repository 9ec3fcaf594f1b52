#include "espalier/autograd/gradcheck.hpp"

#include "support/catch.hpp"
#include "support/op_zoo.hpp"

using namespace espalier;
using support::Case;
using support::Points;

// The checkers are checked with operations that are wrong by a thousandth in one place.
namespace {

using D = Tensor<double>;

struct Right {
  static constexpr std::string_view name = "right";
  static constexpr bool from_output = false;
  ESPALIER_INLINE static auto value(const auto& x) { return x * x * x; }
  ESPALIER_INLINE static auto slope(const auto& x) { return 3 * (x * x); }
};
struct WrongValue : Right {
  ESPALIER_INLINE static auto value(const auto& x) { return constant_like(x, 1.001) * (x * x * x); }
};
struct WrongSlope : Right {
  ESPALIER_INLINE static auto slope(const auto& x) { return constant_like(x, 3.003) * (x * x); }
};
/// x^2 with the slope 2.002 x, in the graph only: a pack has no slope to get wrong.
struct NearSquare : Right {
  ESPALIER_INLINE static auto value(const auto& x) { return x * x; }
  ESPALIER_INLINE static auto slope(const auto& x) { return constant_like(x, 2.002) * x; }
};
struct WrongSecondOrder : Right {
  template <int B>
  ESPALIER_INLINE static auto slope(const pack<double, B>& x) {
    return 3 * (x * x);
  }
  static auto slope(const D& x) { return 3 * apply<NearSquare>(x); }
};
struct WrongGraphSlope : Right {  // the kernel and the graph see different formulas
  template <int B>
  ESPALIER_INLINE static auto slope(const pack<double, B>& x) {
    return 3 * (x * x);
  }
  static auto slope(const D& x) { return 3.003 * (x * x); }
};
struct WrongPartial {
  static constexpr std::string_view name = "wrong_partial";
  static constexpr bool linear = false;
  ESPALIER_INLINE static auto value(const auto& a, const auto& b) { return a * b; }
  template <int I>
  ESPALIER_INLINE static auto slope(const auto& a, const auto& b) {
    if constexpr (I == 0) return b;
    else return constant_like(a, 0.999) * a;
  }
};

/// y = 2x, with the rule given.
template <class Rule>
D twice(const D& x) {
  D y = D::empty(x.shape());
  for (Index i = 0; i < x.size(); ++i) y.raw()[i] = 2 * x.data()[i];
  if (recorded(x)) record(y, Rule{}, x);
  return y;
}
template <int Thousandths, bool RowsTooFew = false, int FusedThousandths = Thousandths>
struct Rule {
  static constexpr std::string_view name = "twice";
  static constexpr bool rows_together = true;
  void vjp(Sweep<double>& sweep, Node<double>& node, Cotangent<double>& g) {
    D out = 0.001 * (sweep.recording() ? Thousandths : FusedThousandths) * g.value;
    if (RowsTooFew && g.lead() == 1)  // the first task's row for everybody
      out = expand_to(slice(out, 0, 0, 1), g.value.shape());
    sweep.emit(node, 0, out, g.labels);
  }
};

template <class Op>
std::vector<Case> unary() {
  return {{"unary", [](const Points& x) { return apply<Op>(x[0]); }, {D({3}, {0.7, -1.3, 2})}}};
}
template <class R>
std::vector<Case> custom() {
  return {{"custom", [](const Points& x) { return twice<R>(x[0]); }, {D({3}, {0.7, -1.3, 2})}}};
}

}  // namespace

TEST_CASE("gradcheck passes what is right, with room to spare", "[fast]") {
  const GradcheckResult result = gradcheck([](const Points& x) { return apply<Right>(x[0]); }, {D({3}, {0.7, -1.3, 2})});
  CHECK(result.passed);
  CHECK(result.first_order < 1e-8);
  CHECK(result.second_order < 1e-8);
  CHECK(support::broken_derivatives(custom<Rule<2000>>()).empty());
  CHECK(support::broken_rows(custom<Rule<2000>>()).empty());
  CHECK(support::broken_jacobians(custom<Rule<2000>>()).empty());
  CHECK(support::broken_fused(custom<Rule<2000>>()).empty());
}

TEST_CASE("gradcheck catches a value, a slope, a partial slope and a rule that are off by a thousandth", "[fast]") {
  CHECK(support::broken_derivatives(unary<WrongValue>()).size() == 1);
  CHECK(support::broken_derivatives(unary<WrongSlope>()).size() == 1);
  CHECK(support::broken_derivatives(custom<Rule<2002>>()).size() == 1);
  CHECK(support::broken_derivatives(custom<Rule<1998>>()).size() == 1);
  CHECK(!gradcheck([](const Points& x) { return apply<WrongPartial>(x[0], x[1]); }, {D({2}, {1, 2}), D({2}, {3, 4})}).passed);
}

TEST_CASE("gradcheck catches a second derivative that is off by a thousandth", "[fast]") {
  const GradcheckResult result = gradcheck([](const Points& x) { return apply<WrongSecondOrder>(x[0]); }, {D({1}, {2})});
  CHECK(!result.passed);
  CHECK(result.first_order < 1e-8);
  CHECK(result.second_order > 1e-4);
  CHECK(result.text.rfind("second order, input 0, element 0: derivative ", 0) == 0);
}

TEST_CASE("a kernel's slope that differs from the graph's is caught", "[fast]") {
  CHECK(support::broken_fused(unary<WrongGraphSlope>()).size() == 1);
  CHECK(support::broken_fused(custom<Rule<2000, false, 2002>>()).size() == 1);
}

TEST_CASE("a rule that mixes up the tasks' rows is caught", "[fast]") {
  CHECK(support::broken_rows(custom<Rule<2000, true>>()).size() == 2);  // with factors and without
  CHECK(support::broken_jacobians(custom<Rule<2000, true>>()).size() == 1);
  CHECK(support::broken_derivatives(custom<Rule<2000, true>>()).empty());
}

TEST_CASE("gradcheck says where the worst error lies", "[fast]") {
  const auto f = [](const Points& x) { return x[0] * apply<WrongSlope>(x[1]); };
  const GradcheckResult result = gradcheck(f, {D({2}, {1, 1}), D({2}, {0.001, 3})});
  CHECK(!result.passed);
  CHECK(result.text.rfind("input 1, element 1: derivative ", 0) == 0);
}

TEST_CASE("gradcheck fails where NaN comes out", "[fast]") {
  CHECK(!gradcheck([](const Points& x) { return log(x[0]); }, {D({1}, {-1})}).passed);
}

TEST_CASE("gradcheck says when nothing was recorded", "[fast]") {
  const GradcheckResult result = gradcheck([](const Points& x) { return x[0].detach(); }, {D({1}, {1})});
  CHECK(!result.passed);
  CHECK(result.text == "the result does not depend on the inputs, or was not recorded");
}

TEST_CASE("what gradcheck did not check is NaN", "[fast]") {
  const auto square = [](const Points& x) { return x[0] * x[0]; };
  const GradcheckResult first = gradcheck(square, {D({1}, {3})}, {.second_order = false});
  CHECK(first.passed);
  CHECK(first.first_order < 1e-6);
  CHECK(std::isnan(first.second_order));
  CHECK(std::isnan(gradcheck([](const Points& x) { return x[0].detach(); }, {D({1}, {1})}).first_order));
}

TEST_CASE("gradcheck leaves the points as they are", "[fast]") {
  const D x({2}, {1, 2});
  CHECK(gradcheck([](const Points& p) { return p[0] * p[0]; }, {x}).passed);
  CHECK(support::list(x) == std::vector<double>{1, 2});
  CHECK(x.version() == 0);
}
