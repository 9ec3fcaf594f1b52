#pragma once
// Diagnostics: what a backward did, in the terms of the literature: how long the tasks' gradients are, where they conflict, what
// the step does to each task, and how far the method's answer can be trusted.
//
//   objective.diagnose();                       // before training: weightings, too, look at the gradients
//   ...
//   objective.backward(losses);
//   const Diagnostics d = diagnostics(objective.record());
//
// The Trainer does that in every step of an objective that diagnoses, and writes the epochs' means to its History
// (train/diagnostics_meter.hpp).

#include <cmath>
#include <limits>
#include <vector>

#include "espalier/multitask/aggregator/aggregator.hpp"
#include "espalier/multitask/objective.hpp"

namespace espalier::inline ESPALIER_ABI {

/// Of one step. "Gradient" is a task's gradient in what the tasks share. Rows are the tasks present, m of them. Where a step looked
/// at no inner products (a weighting that is not diagnosed, weights kept from an earlier step), what follows from them is empty.
struct Diagnostics {
  std::vector<Index> active;    // [m] the task of each row
  std::vector<double> weights;  // [m]
  std::vector<double> norms;    // [m] lengths of the gradients
  std::vector<double> cosines;  // [m, m] between them; 0 where one has no length
  std::vector<double> descent;  // [m] J d, which is G w for weights: how fast a small step along -d lowers each task's loss; below
                                // 0: it rises
  double conflict_rate = 0;     // the share of the pairs of tasks with a cosine below 0; NaN for one task, or where unknown
  double residual = 0;          // of the optimality conditions, as the method certifies it; 0 for weightings
  bool fallback = false;        // the method had no answer and another one's was taken
  bool capped = false;          // the method's solver missed its bound
};

/// Reads a record.
inline Diagnostics diagnostics(const ObjectiveRecord& record) {
  const std::size_t m = record.active.size();
  Diagnostics d{.active = record.active, .weights = record.weights, .norms = {}, .cosines = {}, .descent = {}};
  d.residual = record.certificate.residual;
  d.fallback = record.certificate.status == Certificate::Status::fallback;
  d.capped = record.certificate.status == Certificate::Status::capped;
  d.conflict_rate = std::numeric_limits<double>::quiet_NaN();
  if (record.gramian.size() != m * m) return d;
  detail::Cosines cosines;
  cosines.assign({record.gramian, static_cast<Index>(m)});
  d.norms = std::move(cosines.lengths);
  d.cosines = std::move(cosines.values);
  double conflicts = 0;
  for (std::size_t i = 0; i < m; ++i) {
    double sum = 0;
    for (std::size_t j = 0; j < m; ++j) {
      sum += record.gramian[i * m + j] * record.weights[j];
      conflicts += j < i && d.cosines[i * m + j] < 0;
    }
    if (record.descent.empty() && record.group_weights.empty()) d.descent.push_back(sum);  // groups have a Gramian each
  }
  if (!record.descent.empty()) d.descent = record.descent;
  const auto count = static_cast<double>(m);
  if (m > 1) d.conflict_rate = 2 * conflicts / (count * (count - 1));
  return d;
}

}  // namespace espalier::inline ESPALIER_ABI
