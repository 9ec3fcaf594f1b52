#pragma once
// LossSums: every task's loss over many batches, each batch counted by its label weights, so that it does not matter how the rows
// are cut. The Trainer keeps one of the epoch, an Evaluator one of the data.

#include <limits>
#include <vector>

#include "espalier/tensor/values.hpp"

namespace espalier::inline ESPALIER_ABI {

struct LossSums {
  std::vector<double> sums, weights;  // of each task

  explicit LossSums(Index tasks) : sums(static_cast<std::size_t>(tasks), 0), weights(sums) {}

  void reset() {
    sums.assign(sums.size(), 0);
    weights.assign(weights.size(), 0);
  }
  template <class T>
  void add(const Losses<T>& losses) {
    for (Index k = 0; k < losses.size(); ++k) {
      if (!losses.present(k)) continue;
      sums[static_cast<std::size_t>(k)] += losses.value(k) * losses.weight(k);
      weights[static_cast<std::size_t>(k)] += losses.weight(k);
    }
  }
  /// Whether a task has had a label.
  bool any(std::size_t task) const { return weights[task] > 0; }
  /// The mean over all that is labelled; NaN without a label.
  double mean(std::size_t task) const { return any(task) ? sums[task] / weights[task] : std::numeric_limits<double>::quiet_NaN(); }
  /// The sum of the means of the tasks that have labels; NaN when none has, or one of them is NaN.
  double total() const {
    double total = std::numeric_limits<double>::quiet_NaN();
    bool first = true;
    for (std::size_t k = 0; k < sums.size(); ++k) {
      if (!any(k)) continue;
      total = first ? mean(k) : total + mean(k);
      first = false;
    }
    return total;
  }
  void fields(auto&& visit) {
    visit("sums", sums);
    visit("weights", weights);
  }
};

}  // namespace espalier::inline ESPALIER_ABI
