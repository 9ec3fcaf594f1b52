#pragma once
// DiagnosticsMeter: the means of steps' diagnostics, as columns of a History. The Trainer has one for objectives that diagnose;
// in a loop of one's own, here a row per step:
//
//   objective.diagnose();
//   DiagnosticsMeter meter(objective.names());
//   History steps(meter.columns());
//   ...
//   objective.backward(losses);
//   meter.add(objective.record());
//   steps.append(meter.take());
//
// train/diagnostics_chart.hpp draws it.

#include <string>
#include <vector>

#include "espalier/multitask/diagnostics.hpp"

namespace espalier::inline ESPALIER_ABI {

class DiagnosticsMeter {
 public:
  /// Of no task: it has no columns, and nothing is to be added.
  DiagnosticsMeter() = default;
  /// `notes`: the names of what the model notes in a step (Outputs::note), `model.notes()`.
  explicit DiagnosticsMeter(std::vector<std::string> tasks, std::vector<std::string> notes = {})
      : tasks_(std::move(tasks)), notes_(std::move(notes)), sums_(columns().size(), 0), counts_(columns().size(), 0) {}

  bool empty() const { return tasks_.empty(); }
  /// `diagnostics/<task>/` weight, gradient_norm and descent (J d) of every task; `diagnostics/<task> ~ <task>/cosine` of every
  /// pair; `diagnostics/` conflict_rate, kkt_residual (the largest), fallback_rate and capped_rate; and `diagnostics/` the notes.
  template <class Lazy = void>
  [[gnu::cold]] std::vector<std::string> columns() const {
    std::vector<std::string> all;
    if (empty()) return all;
    for (const std::string& task : tasks_)
      for (const char* measure : {"weight", "gradient_norm", "descent"}) all.push_back(join("diagnostics/", task, '/', measure));
    for (std::size_t i = 0; i < tasks_.size(); ++i)
      for (std::size_t j = 0; j < i; ++j) all.push_back(join("diagnostics/", tasks_[j], " ~ ", tasks_[i], "/cosine"));
    for (const char* measure : {"conflict_rate", "kkt_residual", "fallback_rate", "capped_rate"})
      all.push_back(join("diagnostics/", measure));
    for (const std::string& note : notes_) all.push_back(join("diagnostics/", note));
    return all;
  }

  /// After a `backward`. A task that is absent from a step does not count in it, nor does what the step did not look at.
  template <class Lazy = void>
  void add(const ObjectiveRecord& record) {
    if (empty() || record.active.empty()) return;
    const Diagnostics d = diagnostics(record);
    const std::size_t m = d.active.size(), pairs = 3 * tasks_.size(), rest = after_pairs();
    for (std::size_t i = 0; i < m; ++i) {
      const auto task = static_cast<std::size_t>(d.active[i]);
      count(3 * task, d.weights[i]);
      if (d.norms.empty()) continue;
      count(3 * task + 1, d.norms[i]);
      if (!d.descent.empty()) count(3 * task + 2, d.descent[i]);
      for (std::size_t j = 0; j < i; ++j)
        count(pairs + task * (task - 1) / 2 + static_cast<std::size_t>(d.active[j]), d.cosines[i * m + j]);
    }
    count(rest, d.conflict_rate);
    sums_[rest + 1] = std::max(sums_[rest + 1], d.residual);
    counts_[rest + 1] = 1;
    count(rest + 2, d.fallback);
    count(rest + 3, d.capped);
    for (std::size_t i = 0; i < record.notes.size(); ++i) {
      std::size_t at = i;  // where lists in one order find each other
      if (at >= notes_.size() || notes_[at] != record.notes[i].name)
        at = static_cast<std::size_t>(std::find(notes_.begin(), notes_.end(), record.notes[i].name) - notes_.begin());
      if (at < notes_.size()) count(rest + 4 + at, record.notes[i].value);
    }
  }
  /// The mean of a column so far; NaN where there was nothing.
  template <class Lazy = void>
  double mean(std::size_t column) const {
    return counts_[column] > 0 ? sums_[column] / counts_[column] : std::numeric_limits<double>::quiet_NaN();
  }
  double weight(std::size_t task) const { return mean(3 * task); }
  double conflict_rate() const { return mean(after_pairs()); }

  /// A number for every column; begins anew.
  template <class Lazy = void>
  std::vector<double> take() {
    std::vector<double> row;
    for (std::size_t i = 0; i < sums_.size(); ++i) row.push_back(mean(i));
    sums_.assign(sums_.size(), 0);
    counts_.assign(counts_.size(), 0);
    return row;
  }
  void fields(auto&& visit) {
    visit("sums", sums_);
    visit("counts", counts_);
  }

 private:
  template <class Lazy = void>
  void count(std::size_t column, double value) {
    if (std::isnan(value)) return;  // a gate that no row came to has no mean
    sums_[column] += value;
    counts_[column] += 1;
  }
  std::size_t after_pairs() const { return tasks_.size() * (tasks_.size() + 5) / 2; }

  std::vector<std::string> tasks_, notes_;
  std::vector<double> sums_, counts_;  // [columns]
};

}  // namespace espalier::inline ESPALIER_ABI
