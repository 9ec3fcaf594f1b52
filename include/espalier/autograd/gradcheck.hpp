#pragma once
// gradcheck: compares derivatives with central differences, in double. For the library's operations and for users' own.

#include <cmath>
#include <limits>
#include <vector>

#include "espalier/autograd/functional.hpp"

namespace espalier::inline ESPALIER_ABI {

struct GradcheckOptions {
  double tolerance = 1e-6;  // relative to 1 + |derivative|
  double step = 1e-6;       // times 1 + |x|; use 1e-5 where values are large
  bool second_order = true;
  std::uint64_t seed = 0;
};

struct GradcheckResult {
  double first_order = std::numeric_limits<double>::quiet_NaN();   // worst error found; NaN: not checked
  double second_order = std::numeric_limits<double>::quiet_NaN();  // the same; that of the first order comes before
  bool passed = false;
  std::string text;  // what was compared where the worst error lies
};

namespace detail {

/// <f(xs), u> as a function of doubles, without recording.
template <class F>
double probe(const F& f, const std::vector<Tensor<double>>& xs, const Tensor<double>& u) {
  const NoGrad no_grad;
  const Tensor<double> y = f(std::as_const(xs));
  return kernels::dot(y.size(), y.data(), u.data());
}

/// The worst error of `analytic` against central differences of `value(xs)`, one element of one input at a time.
template <class Value>
double worst_difference(const std::vector<Tensor<double>>& points, const std::vector<Tensor<double>>& analytic, double step,
                        const Value& value, std::string& text) {
  double worst = 0;
  for (std::size_t k = 0; k < points.size(); ++k)
    for (Index i = 0; i < points[k].size(); ++i) {
      std::vector<Tensor<double>> moved = points;
      moved[k] = points[k].clone();
      const double x = points[k].data()[i], h = step * (1 + std::abs(x));
      moved[k].raw()[i] = x + h;
      const double above = value(moved);
      moved[k].raw()[i] = x - h;
      const double below = value(moved);
      const double numeric = (above - below) / (2 * h), found = analytic[k].data()[i];
      const double error = std::abs(found - numeric) / (1 + std::abs(numeric));
      if (!(error <= worst)) {
        worst = std::isnan(error) ? HUGE_VAL : error;
        text = join("input ", k, ", element ", i, ": derivative ", found, ", central difference ", numeric);
      }
    }
  return worst;
}

}  // namespace detail

/// Checks the first (and second) derivatives of f, a function of a vector of tensors, at `points`, against central
/// differences of <f(x), u> for a random u. Points must lie ten steps away from kinks.
template <class F>
GradcheckResult gradcheck(const F& f, const std::vector<Tensor<double>>& points, GradcheckOptions options = {}) {
  GradcheckResult result;
  Rng rng{options.seed};
  std::vector<Tensor<double>> xs;
  for (const Tensor<double>& p : points) xs.push_back(parameter(p.clone()));
  const Tensor<double> y = f(std::as_const(xs));
  if (!y.node()) {
    result.text = "the result does not depend on the inputs, or was not recorded";
    return result;
  }
  const Tensor<double> u = Tensor<double>::normal(y.shape(), rng);
  const auto first = vjp(y, xs, u, {.retain_graph = true});
  result.first_order = detail::worst_difference(points, first, options.step,
                                                [&](const auto& at) { return detail::probe(f, at, u); }, result.text);
  result.passed = result.first_order <= options.tolerance;
  if (!options.second_order || !result.passed) return result;

  // Second order: the derivative of <gradient, v>, v random, against differences of the (checked) first one.
  std::vector<Tensor<double>> v;
  for (const Tensor<double>& p : points) v.push_back(Tensor<double>::normal(p.shape(), rng));
  const auto recorded_first = vjp(y, xs, u, {.create_graph = true});
  std::vector<Tensor<double>> second;
  {
    Sweep<double> sweep({.retain = true, .leaves = false});
    for (const auto& x : xs) sweep.capture(x);
    for (std::size_t k = 0; k < xs.size(); ++k) sweep.start(recorded_first[k], v[k]);
    sweep.run();
    for (const auto& x : xs) {
      second.push_back(sweep.take(x));
      if (!second.back().defined()) second.back() = Tensor<double>::zeros(x.shape());
    }
  }
  std::string text;
  result.second_order = detail::worst_difference(
      points, second, options.step,
      [&](const auto& at) {
        std::vector<Tensor<double>> moved;
        for (const auto& p : at) moved.push_back(parameter(p));
        const Tensor<double> value = f(std::as_const(moved));
        const auto g = vjp(value, moved, u);
        double s = 0;
        for (std::size_t k = 0; k < g.size(); ++k) s += kernels::dot(g[k].size(), g[k].data(), v[k].data());
        return s;
      },
      text);
  if (result.second_order > options.tolerance) {
    result.passed = false;
    result.text = "second order, " + text;
  }
  return result;
}

}  // namespace espalier::inline ESPALIER_ABI
