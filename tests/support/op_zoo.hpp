#pragma once
// Every operation of the library's lists, with points to try it at, and what must hold for all of them. Nothing is to be
// added here for a new operation: the elementwise ones come from ArithmeticOps and FunctionOps with inputs from their
// `domain`, away from their `kink`, the others from StructuredOps with their own samples.

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "espalier/autograd/gradcheck.hpp"
#include "espalier/ops/list.hpp"
#include "support/catch.hpp"
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

inline void check_derivatives(const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    const GradcheckResult result = gradcheck(c.f, c.points);
    INFO(c.name << ": " << result.text);
    CHECK(result.passed);
    CHECK(result.first_order < 1e-6);
    CHECK(result.second_order < 1e-6);
  }
}

/// Adds up what a separate sweep brings, by parameter and task.
struct Collector final : LeafSink<double> {
  bool takes_factors = false;
  std::map<std::pair<Leaf<double>*, Index>, Tensor<double>> sums;

  void rows(Leaf<double>& leaf, Tensor<double> value, const Labels& labels) override {
    REQUIRE(value.shape() == Shape{labels.count()} + leaf.shape);
    for (Index r = 0; r < labels.count(); ++r) add(leaf, labels[r].task, value.view(leaf.shape, r * leaf.shape.size()));
  }
  bool factored(Leaf<double>& leaf, const Tensor<double>& g, const Tensor<double>& x, const Labels& labels) override {
    for (Index r = 0; takes_factors && r < labels.count(); ++r) {
      const Tensor<double> row = g.view(g.shape().part(1, 3), r * g.shape().span(1, 3));
      add(leaf, labels[r].task, matmul(transpose(row), x));
    }
    return takes_factors;
  }
  void add(Leaf<double>& leaf, Index task, const Tensor<double>& value) {
    Tensor<double>& sum = sums[{&leaf, task}];
    sum = sum.defined() ? sum + value : value.clone();
  }
};

inline Points parameters_of(const Case& c) {
  Points xs;
  for (const auto& p : c.points) xs.push_back(parameter(p.clone()));
  return xs;
}

/// Rows of several tasks in one sweep are the sweeps of the single tasks.
inline void check_rows(const std::vector<Case>& cases) {
  Rng rng{4};
  for (const Case& c : cases)
    for (const bool factors : {false, true}) {
      INFO(c.name);
      const Points xs = parameters_of(c);
      const Tensor<double> y = c.f(xs);
      const Index tasks[] = {2, 5, 7};
      const Tensor<double> g = Tensor<double>::normal(Shape{3} + y.shape(), rng);
      Labels labels(3, false);
      std::copy_n(std::initializer_list<Label>{{2, 0, 0}, {5, 0, 0}, {7, 0, 0}}.begin(), 3, labels.begin());
      Collector sink;
      sink.takes_factors = factors;
      {
        Sweep<double> sweep({.retain = true, .separate = true}, &sink);
        sweep.start(y, g, labels);
        sweep.run();
      }
      for (Index k = 0; k < 3; ++k) {
        const auto alone = vjp(y, xs, g.view(y.shape(), k * y.size()), {.retain_graph = true});
        for (std::size_t i = 0; i < xs.size(); ++i) {
          const auto found = sink.sums.find({leaf_of(xs[i]), tasks[k]});
          REQUIRE(found != sink.sums.end());
          CHECK(difference(found->second, alone[i]) < 1e-12);
        }
      }
      for (const auto& x : xs) CHECK(!gradient(x).defined());
    }
}

/// The Jacobian is what one sweep for each element gives.
inline void check_jacobian(const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    INFO(c.name);
    const Points xs = parameters_of(c);
    const Tensor<double> y = c.f(xs);
    const auto whole = jacobian(y, xs);
    for (std::size_t i = 0; i < xs.size(); ++i) REQUIRE(whole[i].shape() == y.shape() + xs[i].shape());
    for (Index e = 0; e < y.size(); ++e) {
      Tensor<double> unit = Tensor<double>::zeros(y.shape());
      unit.mutate()[static_cast<std::size_t>(e)] = 1;
      const auto row = vjp(y, xs, unit, {.retain_graph = true});
      for (std::size_t i = 0; i < xs.size(); ++i)
        CHECK(difference(whole[i].view(xs[i].shape(), e * xs[i].size()), row[i]) < 1e-12);
    }
  }
}

/// A backward pass that is not recorded, on paths of its own, gives what the recorded one gives.
inline void check_fused(const std::vector<Case>& cases) {
  Rng rng{5};
  for (const Case& c : cases) {
    INFO(c.name);
    const Points xs = parameters_of(c);
    const Tensor<double> y = c.f(xs), g = Tensor<double>::normal(y.shape(), rng);
    const auto recorded = vjp(y, xs, g, {.create_graph = true});
    const auto fused = vjp(y, xs, g, {.retain_graph = true});
    CHECK(difference(fused, recorded) < 1e-12);
    backward(y, g);  // writes into the parameters, on paths of its own
    for (std::size_t i = 0; i < xs.size(); ++i) CHECK(difference(gradient(xs[i]), recorded[i]) < 1e-12);
  }
}

}  // namespace support
