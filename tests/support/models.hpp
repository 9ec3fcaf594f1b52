#pragma once
// Models, batches and references that the tests of objectives and assemblies share: in double, so that two ways to the same
// number agree to rounding.

#include <string>
#include <vector>

#include "espalier/autograd/functional.hpp"
#include "espalier/multitask/objective.hpp"
#include "espalier/nn/sequential.hpp"
#include "support/near.hpp"

namespace support {

using namespace espalier;
using Values = std::vector<Tensor<double>>;

/// The parameters' own values or gradients, copied; a gradient that has not arrived is undefined.
template <class Model>
Values values_of(Model& model) {
  Values all;
  for (const auto& p : parameters<double>(model)) all.push_back(p.value.clone());
  return all;
}
template <class Model>
Values gradients_of(Model& model) {
  Values all;
  for (const auto& p : parameters<double>(model)) all.push_back(gradient(p.value).clone());
  return all;
}
template <class Model>
void clear_gradients(Model& model) {
  for (const auto& p : parameters<double>(model)) clear_gradient(p.value);
}
/// Plain gradient descent on what has a gradient; clears it.
template <class T, class Model>
void descend(Model& model, T lr) {
  for (auto& p : parameters<T>(model)) {
    const Tensor<T> g = gradient(p.value);
    if (!g.defined()) continue;
    const auto to = p.value.mutate();
    for (std::size_t i = 0; i < to.size(); ++i) to[i] -= lr * g.values()[i];
    clear_gradient(p.value);
  }
}
template <class T>
bool same_bits(const std::vector<Tensor<T>>& a, const std::vector<Tensor<T>>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (a[i].defined() != b[i].defined() || (a[i].defined() && !same_bits(a[i], b[i]))) return false;
  return true;
}
inline bool finite(const Tensor<double>& x) {
  return !x.defined() || std::ranges::all_of(x.values(), [](double v) { return std::isfinite(v); });
}
inline bool finite(const Values& all) {
  return std::ranges::all_of(all, [](const auto& x) { return finite(x); });
}

/// The recorded loss of one task, [1]; undefined when it is absent.
inline Tensor<double> loss_of(const Losses<double>& losses, Index task) {
  for (const auto& part : losses.parts())
    for (std::size_t i = 0; i < part.tasks.size(); ++i)
      if (part.tasks[i] == task && losses.present(task) && part.values.node())
        return slice(part.values, 0, static_cast<Index>(i), static_cast<Index>(i) + 1);
  return {};
}

/// The gradients of each present task in all parameters, one `grad` a task: the Jacobian in pieces. The graph is kept.
inline std::vector<Values> explicit_gradients(const Losses<double>& losses, const Values& parameters) {
  std::vector<Values> rows;
  for (Index k = 0; k < losses.size(); ++k)
    if (const Tensor<double> loss = loss_of(losses, k); loss.defined())
      rows.push_back(grad(loss, parameters, {.retain_graph = true}));
  return rows;
}

inline bool zero(const Tensor<double>& x) {
  return std::ranges::all_of(x.values(), [](double v) { return v == 0; });
}

/// What `objective.backward` with UPGrad must bring to every parameter: UPGrad of the explicit Gramian for what is shared
/// (`shared`, or else: what two tasks reach), and the plain sum for the rest.
inline Values upgrad_reference(const Losses<double>& losses, const Values& parameters,
                               const std::vector<bool>& shared) {
  const std::vector<Values> rows = explicit_gradients(losses, parameters);
  const std::size_t m = rows.size();
  std::vector<double> gramian(m * m), weights(m);
  for (std::size_t i = 0; i < m; ++i)
    for (std::size_t j = 0; j < m; ++j)
      for (std::size_t p = 0; p < parameters.size(); ++p)
        for (Index e = 0; shared[p] && e < parameters[p].size(); ++e)
          gramian[i * m + j] += rows[i][p].data()[e] * rows[j][p].data()[e];
  UPGrad{}.weights({gramian, static_cast<Index>(m)}, {}, weights);
  Values all;
  for (std::size_t p = 0; p < parameters.size(); ++p) {
    Tensor<double> sum = Tensor<double>::zeros(parameters[p].shape());
    for (std::size_t i = 0; i < m; ++i) sum = sum + (shared[p] ? weights[i] : 1.0) * rows[i][p];
    all.push_back(sum);
  }
  return all;
}

/// The largest difference between gradients that arrived and expected ones; where none arrived, 0 is expected.
template <class Model>
double gradient_error(Model& model, const Values& expected) {
  const Values found = gradients_of(model);
  double worst = found.size() == expected.size() ? 0 : HUGE_VAL;
  for (std::size_t i = 0; i < found.size(); ++i)
    worst = std::max(worst, found[i].defined() ? difference(found[i], expected[i]) : zero(expected[i]) ? 0 : HUGE_VAL);
  return worst;
}

/// The tensors of a list of parameters.
template <class Model>
Values tensors_of(Model& model) {
  Values all;
  for (const auto& p : parameters<double>(model)) all.push_back(p.value);
  return all;
}

template <class... M>
Sequential<double> sequential(M&&... modules) {
  return Sequential<double>(std::forward<M>(modules)...);
}

}  // namespace support
