#pragma once
// How a MultiObjective joins the tasks' gradients: by weights from their inner products, at the parameters, in groups of them or
// at the representation, in every step or every few; or by a method that sees the gradients themselves. And what comes beside them.

#include "espalier/multitask/objective.hpp"

namespace espalier::inline ESPALIER_ABI {

template <Differentiable T>
void MultiObjective<T>::penalise(const Losses<T>& losses) {
  Sweep<T> sweep({.retain = true});
  for (const Penalty<T>& p : losses.penalties())
    if (counts(losses, p)) sweep.start(p.value, Tensor<T>::full(p.value.shape(), T(1)));
  sweep.run();
}

template <Differentiable T>
void MultiObjective<T>::measure(const Losses<T>& losses) {
  TaskGradients<T> gradients(record_.active, false);
  {
    Sweep<T> sweep({.retain = true, .separate = true, .own = false, .products = true}, &gradients);
    for (const auto& part : losses.parts()) start(sweep, losses, part, {});
    sweep.run();
  }
  gradients.settle();
  record_.gramian.resize(record_.active.size() * record_.active.size());
  gradients.gramian(record_.gramian, 0, norms_alone());
}

template <Differentiable T>
void MultiObjective<T>::aggregate(const Losses<T>& losses, const StepInfo& info, BackwardOptions options) {
  const std::size_t m = record_.active.size(), groups = options_.groups.size() + 1;
  std::vector<double>& weights = scratch_;
  weights.assign(groups * m, 0);
  const bool solve = !take_kept(weights);
  TaskGradients<T> gradients(record_.active);
  const bool whole = solve && groups == 1 && !options_.at_representation;  // the Gramian of everything at once
  Sweep<T> sweep({.retain = options.retain_graph, .separate = true, .products = whole}, &gradients);
  for (const auto& part : losses.parts()) start(sweep, losses, part, {});
  // Of a single task the graph does not tell where its head ends: then the parameters' gradient serves.
  const bool represented = options_.at_representation && m > 1;
  if (represented || (!solve && m > 1 && groups == 1)) {
    const Cotangent<T>* met = sweep.run_to_meeting(static_cast<Index>(m));
    if (represented && (!met || gradients.any_shared()))
      fail("objective: ",
           met ? "tasks share parameters above the representation that they share"
               : "the tasks share no one representation",
           "; at_representation is for models in which every path leads through one, aggregate at the parameters");
    if (represented && solve) {
      record_.gramian.resize(m * m);
      gradients.gramian(*met, record_.gramian);
      find_weights(combiner_, info, weights);
    }
    if (met) sweep.go_on(gradients.joined(*met, weights));
    gradients.settle();
  } else {
    sweep.run();
    gradients.settle();
  }
  if (groups > 1) gradients.group_by(options_.groups);
  if (solve && !represented) {
    record_.gramian.assign(m * m, 0);
    if (groups == 1) {
      gradients.gramian(record_.gramian);
      find_weights(combiner_, info, weights);
    } else {
      find_group_weights(gradients, info, weights);
    }
  }
  if (groups > 1) record_.group_weights = weights;
  for (std::size_t i = 0; i < m; ++i) {
    record_.weights[i] = 0;
    for (std::size_t g = 0; g < groups; ++g) record_.weights[i] += weights[g * m + i] / static_cast<double>(groups);
  }
  gradients.combine(weights);
  if (solve) keep(weights);  // not before: a step that throws is as if it had not been
  since_ = ((solve ? 0 : since_) + 1) % options_.every;
}

template <Differentiable T>
void MultiObjective<T>::find_weights(Combiner& method, const StepInfo& info, std::span<double> weights) {
  record_.certificate = method.weights(GramianView{record_.gramian, static_cast<Index>(info.active.size())}, info, weights);
  std::copy(weights.begin(), weights.end(), record_.weights.begin());
  check_weights();
}

template <Differentiable T>
void MultiObjective<T>::find_group_weights(TaskGradients<T>& gradients, const StepInfo& info, std::span<double> weights) {
  const std::size_t m = record_.active.size();
  std::vector<double> total(m * m, 0);
  record_.descent.assign(m, 0);
  Certificate worst;
  for (std::size_t g = 0; g <= group_combiners_.size(); ++g) {
    gradients.gramian(record_.gramian, static_cast<Index>(g));
    find_weights(g < group_combiners_.size() ? group_combiners_[g] : combiner_, info, weights.subspan(g * m, m));
    for (std::size_t i = 0; i < total.size(); ++i) total[i] += record_.gramian[i];
    for (std::size_t i = 0; i < total.size(); ++i) record_.descent[i / m] += record_.gramian[i] * weights[g * m + i % m];
    const Certificate& c = record_.certificate;
    if (c.status > worst.status) {
      worst.status = c.status;
      worst.fallback = c.fallback;
    }
    worst.residual = std::max(worst.residual, c.residual);
    worst.iterations += c.iterations;
  }
  record_.gramian = std::move(total);
  record_.certificate = worst;
}

template <Differentiable T>
bool MultiObjective<T>::take_kept(std::span<double> weights) {
  const std::size_t m = record_.active.size();
  bool kept = options_.every > 1 && since_ > 0;
  for (std::size_t i = 0; i < weights.size() && kept; ++i) {
    weights[i] = kept_weights_[i / m * losses_.size() + static_cast<std::size_t>(record_.active[i % m])];
    kept = !std::isnan(weights[i]);
  }
  return kept;
}

template <Differentiable T>
void MultiObjective<T>::keep(std::span<const double> weights) {
  const std::size_t m = record_.active.size();
  std::fill(kept_weights_.begin(), kept_weights_.end(), std::numeric_limits<double>::quiet_NaN());
  for (std::size_t i = 0; i < weights.size(); ++i)
    kept_weights_[i / m * losses_.size() + static_cast<std::size_t>(record_.active[i % m])] = weights[i];
}

template <Differentiable T>
void MultiObjective<T>::aggregate_rows(const Losses<T>& losses, const StepInfo& info, BackwardOptions options) {
  TaskGradients<T> gradients(record_.active);
  Sweep<T> sweep({.retain = options.retain_graph, .separate = true}, &gradients);
  for (const auto& part : losses.parts()) start(sweep, losses, part, {});
  sweep.run();
  gradients.settle();
  const std::size_t m = record_.active.size();
  if (rows_gramian_) {  // the method does without
    record_.gramian.resize(m * m);
    rows_gramian_(gradients, record_.gramian);
    record_.descent.assign(m, 0);
  }
  typename TaskGradients<T>::Blocks blocks(gradients, record_.descent);
  record_.certificate = combiner_.aggregate(blocks, info, record_.weights);
  check_weights();
  if (record_.certificate.status != Certificate::Status::no_active_task) blocks.finish(combiner_.name());
}

}  // namespace espalier::inline ESPALIER_ABI
