#pragma once
// Every operation of the library's lists, with points to try it at, and what must hold for all of them. Nothing is to be
// added here for a new operation: the elementwise ones come from ArithmeticOps and FunctionOps with inputs from their
// `domain`, away from their `kink`, the others from StructuredOps with their own samples.

#include <functional>
#include <string>
#include <vector>

#include "espalier/autograd/gradcheck.hpp"
#include "espalier/ops/list.hpp"
#include "support/collector.hpp"
#include "support/near.hpp"

namespace support {

using namespace espalier;
using Points = std::vector<Tensor<double>>;

struct Case {
  std::string name;
  std::function<Tensor<double>(const Points&)> f;
  Points points;
};

namespace zoo {

template <class Op>
Tensor<double> draw(const Shape& shape, Rng& rng) {
  espalier::detail::Domain domain;
  if constexpr (requires { Op::domain; }) domain = Op::domain;
  Tensor<double> x = Tensor<double>::uniform(shape, domain.low, domain.high, rng);
  if constexpr (requires { Op::kink; })
    for (double& v : x.mutate())
      if (std::abs(v - Op::kink) < 0.05) v += v < Op::kink ? -0.05 : 0.05;
  return x;
}

template <class Op>
std::string label(const std::vector<Shape>& shapes) {
  std::string text(Op::name);
  for (const Shape& s : shapes) text += ' ' + s.text();
  return text;
}

}  // namespace zoo

/// Sizes 0, 1, primes, and one off the width of a vector on both sides.
template <class Ops>
std::vector<Case> function_cases() {
  const Index width = pack<double>::size;
  Rng rng{1};
  std::vector<Case> cases;
  Ops::each([&](auto op) {
    using Op = decltype(op);
    for (const Shape& s : {Shape{}, Shape{0}, Shape{1}, Shape{width - 1}, Shape{width}, Shape{width + 1}, Shape{3, 5}, Shape{2, 0, 3}})
      cases.push_back({zoo::label<Op>({s}), [](const Points& x) { return apply<Op>(x[0]); }, {zoo::draw<Op>(s, rng)}});
  });
  return cases;
}

/// Equal shapes, and broadcasting from the left, the right and both.
template <class Ops>
std::vector<Case> arithmetic_cases() {
  const Index width = pack<double>::size;
  Rng rng{2};
  std::vector<Case> cases;
  const std::vector<std::pair<Shape, Shape>> shapes = {
      {{}, {}},         {{1}, {1}},          {{width + 1}, {width + 1}}, {{2, 3}, {2, 3}}, {{2, 3}, {3}},
      {{3}, {2, 3}},    {{2, 1}, {1, 3}},    {{5}, {}},                  {{}, {5}},        {{2, 3, 2}, {3, 1}},
      {{1, 1}, {4}},    {{0, 3}, {3}},       {{0}, {1}},                 {{7, 1}, {7, 2}}, {{3, 1, 2}, {2, 1}},
      {{width - 1}, {2, 1}}};
  Ops::each([&](auto op) {
    using Op = decltype(op);
    for (const auto& [a, b] : shapes)
      cases.push_back({zoo::label<Op>({a, b}), [](const Points& x) { return apply<Op>(x[0], x[1]); },
                       {zoo::draw<Op>(a, rng), zoo::draw<Op>(b, rng)}});
  });
  return cases;
}

/// The samples of one operation with structure.
template <class Op>
std::vector<Case> samples_of(std::uint64_t seed = 3) {
  Rng rng{seed};
  std::vector<Case> cases;
  Op::samples([&](auto f, const std::vector<Shape>& shapes) {
    Points points;
    for (const Shape& s : shapes) points.push_back(zoo::draw<Op>(s, rng));
    cases.push_back({zoo::label<Op>(shapes), f, std::move(points)});
  });
  return cases;
}
template <class Ops>
std::vector<Case> structured_cases() {
  std::vector<Case> cases;
  Ops::template each<double>([&](auto op) {
    for (Case& c : samples_of<typename decltype(op)::type>()) cases.push_back(std::move(c));
  });
  return cases;
}

// ---- what holds for all of them --------------------------------------------------------------------------------------

inline Points parameters_of(const Case& c) {
  Points xs;
  for (const auto& p : c.points) xs.push_back(parameter(p.clone()));
  return xs;
}

/// One line for every case whose derivatives of first or second order are not what central differences find.
inline std::vector<std::string> broken_derivatives(const std::vector<Case>& cases) {
  std::vector<std::string> broken;
  for (const Case& c : cases)
    if (const GradcheckResult result = gradcheck(c.f, c.points); !result.passed) broken.push_back(c.name + ": " + result.text);
  return broken;
}

/// The cases whose rows of several tasks in one sweep are not the sweeps of the single tasks.
inline std::vector<std::string> broken_rows(const std::vector<Case>& cases) {
  std::vector<std::string> broken;
  Rng rng{4};
  for (const Case& c : cases)
    for (const bool factors : {false, true}) {
      const Points xs = parameters_of(c);
      const Tensor<double> y = c.f(xs), g = Tensor<double>::normal(Shape{3} + y.shape(), rng);
      Collector sink;
      sink.takes_factors = factors;
      {
        Sweep<double> sweep({.retain = true, .separate = true}, &sink);
        sweep.start(y, g, rows_of({2, 5, 7}));
        sweep.run();
      }
      double worst = 0;
      for (Index k = 0; k < 3; ++k) {
        const auto alone = vjp(y, xs, g.view(y.shape(), k * y.size()), {.retain_graph = true});
        for (std::size_t i = 0; i < xs.size(); ++i)
          worst = std::max(worst, difference(sink.of(xs[i], k == 0 ? 2 : k == 1 ? 5 : 7), alone[i]));
      }
      for (const auto& x : xs)
        if (gradient(x).defined()) worst = HUGE_VAL;  // rows are the sink's alone
      if (!(worst <= 1e-12)) broken.push_back(c.name);
    }
  return broken;
}

/// The cases whose Jacobian is not what one sweep for each element gives.
inline std::vector<std::string> broken_jacobians(const std::vector<Case>& cases) {
  std::vector<std::string> broken;
  for (const Case& c : cases) {
    const Points xs = parameters_of(c);
    const Tensor<double> y = c.f(xs);
    Points rows;
    for (const auto& x : xs) rows.push_back(Tensor<double>::zeros(y.shape() + x.shape()));
    for (Index e = 0; e < y.size(); ++e) {
      Tensor<double> unit = Tensor<double>::zeros(y.shape());
      unit.raw()[e] = 1;
      const auto row = vjp(y, xs, unit, {.retain_graph = true});
      for (std::size_t i = 0; i < xs.size(); ++i) std::copy_n(row[i].data(), row[i].size(), rows[i].raw() + e * row[i].size());
    }
    if (!(difference(jacobian(y, xs), rows) <= 1e-12)) broken.push_back(c.name);
  }
  return broken;
}

/// The cases whose backward pass, not recorded and on paths of its own, does not give what the recorded one gives.
inline std::vector<std::string> broken_fused(const std::vector<Case>& cases) {
  std::vector<std::string> broken;
  Rng rng{5};
  for (const Case& c : cases) {
    const Points xs = parameters_of(c);
    const Tensor<double> y = c.f(xs), g = Tensor<double>::normal(y.shape(), rng);
    const auto recorded = vjp(y, xs, g, {.create_graph = true});
    double worst = difference(vjp(y, xs, g, {.retain_graph = true}), recorded);
    backward(y, g);  // straight into the parameters
    for (std::size_t i = 0; i < xs.size(); ++i) worst = std::max(worst, difference(gradient(xs[i]), recorded[i]));
    if (!(worst <= 1e-12)) broken.push_back(c.name);
  }
  return broken;
}

}  // namespace support
