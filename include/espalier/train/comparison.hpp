#pragma once
// Comparison: what the runs of a comparison say: metrics with confidence intervals, the change to single-task models, ranks and
// cost. `compare` (train/compare.hpp) makes one; here is the arithmetic, for runs of any origin.
//
// Included by name.

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "espalier/core/error.hpp"
#include "espalier/core/order.hpp"
#include "espalier/train/interval.hpp"
#include "espalier/train/text.hpp"

namespace espalier::inline ESPALIER_ABI {

/// Delta_m (Maninis et al. 2019, with the sign of Nash-MTL, FAMO and FairGrad): the mean over all measures of their relative
/// change for the worse against the baseline's, in percent. Below 0: better than single-task models. NaN when a value is
/// missing, or a baseline is 0.
inline double delta_m(std::span<const double> values, std::span<const double> baseline, const std::vector<bool>& higher_is_better) {
  double sum = 0;
  for (std::size_t k = 0; k < values.size(); ++k) {
    const double change = (values[k] - baseline[k]) / std::abs(baseline[k]);
    if (!std::isfinite(change)) return std::numeric_limits<double>::quiet_NaN();
    sum += higher_is_better[k] ? -change : change;
  }
  return 100 * sum / static_cast<double>(values.size());
}
/// Delta_p of LibMTL: the opposite sign, above 0 is better; measures are averaged within each task first. `task` [measures]
/// numbers the task of each measure.
inline double delta_p(std::span<const double> values, std::span<const double> baseline, const std::vector<bool>& higher_is_better,
                      std::span<const Index> task) {
  double sum = 0;
  Index tasks = 0;
  for (std::size_t first = 0; first < values.size(); ++first) {
    std::vector<double> of_task, base;
    std::vector<bool> higher;
    bool seen = false;
    for (std::size_t k = 0; k < values.size(); ++k) {
      if (task[k] != task[first]) continue;
      seen |= k < first;
      of_task.push_back(values[k]);
      base.push_back(baseline[k]);
      higher.push_back(higher_is_better[k]);
    }
    if (seen) continue;
    sum -= delta_m(of_task, base, higher);
    ++tasks;
  }
  return sum / static_cast<double>(tasks);
}

/// What is measured of every run.
struct ComparedMeasure {
  std::string task, name;  // name: "loss", or a metric's
  bool higher_is_better = false;
  bool counts = false;  // in Delta_m and the ranks
  bool operator==(const ComparedMeasure&) const = default;
};

/// One training run.
struct ComparedRun {
  std::string model, method;
  std::string task = {};  // of a single-task run; empty for the others
  Index seed = 0;
  Index steps = 0;
  double milliseconds = std::numeric_limits<double>::quiet_NaN();  // of processor time, a training step
  std::vector<double> validation = {}, test = {};                   // [measures]; NaN: not taken
  std::string error = {};                                           // why it ended early; then it has no values

  bool same_run(const ComparedRun& other) const {
    return model == other.model && method == other.method && task == other.task && seed == other.seed;
  }
};

/// A method's line in the table.
struct ComparedRow {
  std::string model, method;
  bool baseline = false;            // the single-task models
  std::vector<Interval> measures;   // [measures], on the test data
  Interval delta_m, delta_p, rank;  // in percent; rank: 1 is best
  std::vector<std::vector<double>> measures_by_seed = {};  // [measures][seeds], on the test data; NaN: none
  std::vector<double> delta_m_by_seed = {};                // [seeds]
  double milliseconds = std::numeric_limits<double>::quiet_NaN();  // a step, the mean over the seeds; baseline: all its models
  std::string note = {};            // the weights that were tuned, failures
};

/// The names that a comparison gives to what it always holds.
inline constexpr std::string_view single_task_method = "single task", equal_weights_method = "sum",
                                  tuned_weights_method = "tuned fixed weights", weights_candidate = "fixed weights ";

class Comparison {
 public:
  /// `runs` hold, for every seed, a single-task run of every task on one model (the baseline), and any others. Candidates of
  /// fixed weights are the methods named "fixed weights 1", ...; with them `candidates` [candidates, tasks]: the weights of each.
  /// Of these and of "sum" the one with the best Delta_m on the validation data, mean over the seeds, is the tuned one; the test
  /// data has no say. Throws Error when a baseline is missing, or has failed.
  Comparison(std::vector<ComparedMeasure> measures, std::vector<ComparedRun> runs, std::vector<std::vector<double>> candidates = {})
      : measures_(std::move(measures)), runs_(std::move(runs)), candidates_(std::move(candidates)) {
    for (std::size_t m = 0; m < measures_.size(); ++m)
      if (measures_[m].counts) counted_.push_back(m);
    for (const ComparedRun& run : runs_)
      if (std::find(seeds_.begin(), seeds_.end(), run.seed) == seeds_.end()) seeds_.push_back(run.seed);
    detail::sort_numbers(seeds_);
    find_baselines();
    rank(lay_out_rows());
  }

  const std::vector<ComparedMeasure>& measures() const { return measures_; }
  const std::vector<ComparedRun>& runs() const { return runs_; }
  /// The baseline first, then model by model, methods in the order of the runs.
  const std::vector<ComparedRow>& rows() const { return rows_; }
  /// The row of a method, by default of the first model that has it. Throws Error for an unknown one, listing the known.
  const ComparedRow& row(std::string_view method, std::string_view model = {}) const {
    for (const ComparedRow& r : rows_)
      if (r.method == method && (model.empty() || r.model == model)) return r;
    fail("comparison: there is no method '", method, "'", model.empty() ? "" : join(" of model '", model, "'"),
         "; there are: ", listing(rows_, [](const ComparedRow& r) { return r.method; }));
  }
  /// A measure of a row by name. Throws Error for an unknown one, listing the known.
  const Interval& value(const ComparedRow& row, std::string_view task, std::string_view name) const {
    return row.measures[measure(task, name)];
  }

  /// How much more of a measure one row has than another: the mean difference over the seeds that both have, paired seed by
  /// seed, and its interval; where that leaves out 0, the seeds tell the two apart. Both rows are of this comparison. Throws
  /// Error for an unknown measure, listing the known.
  Interval difference(const ComparedRow& a, const ComparedRow& b, std::string_view task, std::string_view name) const {
    const std::size_t m = measure(task, name);
    return paired_difference(a.measures_by_seed[m], b.measures_by_seed[m]);
  }
  /// The same of Delta_m, in percent points: below 0 where a is better.
  Interval difference(const ComparedRow& a, const ComparedRow& b) const {
    return paired_difference(a.delta_m_by_seed, b.delta_m_by_seed);
  }

  /// A table for people: the measures that count, Delta_m, mean rank and cost, and what these are.
  std::string text() const;

 private:
  using RunsOfSeeds = std::vector<const ComparedRun*>;  // of one method

  std::size_t measure(std::string_view task, std::string_view name) const {
    for (std::size_t m = 0; m < measures_.size(); ++m)
      if (measures_[m].task == task && measures_[m].name == name) return m;
    fail("comparison: there is no '", name, "' of task '", task, "'; there are: ",
         listing(measures_, [](const ComparedMeasure& m) { return join(m.task, '/', m.name); }));
  }
  const ComparedRun* find(std::string_view model, std::string_view method, Index seed) const {
    for (const ComparedRun& run : runs_)
      if (run.task.empty() && run.model == model && run.method == method && run.seed == seed) return &run;
    return nullptr;
  }
  std::vector<double> counted(std::span<const double> values) const {
    std::vector<double> chosen;
    for (const std::size_t m : counted_) chosen.push_back(m < values.size() ? values[m] : std::numeric_limits<double>::quiet_NaN());
    return chosen;
  }
  std::vector<bool> higher() const {
    std::vector<bool> all;
    for (const std::size_t m : counted_) all.push_back(measures_[m].higher_is_better);
    return all;
  }
  std::size_t place(Index seed) const {
    return static_cast<std::size_t>(std::find(seeds_.begin(), seeds_.end(), seed) - seeds_.begin());
  }
  double delta_of(const ComparedRun& run, bool validation) const {
    const ComparedRun& base = baselines_[place(run.seed)];
    return espalier::delta_m(counted(validation ? run.validation : run.test), counted(validation ? base.validation : base.test),
                             higher());
  }

  /// Puts the single-task runs of each seed together.
  void find_baselines() {
    for (const Index seed : seeds_) {
      ComparedRun base{.model = {}, .method = std::string(single_task_method), .seed = seed};
      for (auto* values : {&base.validation, &base.test})
        values->assign(measures_.size(), std::numeric_limits<double>::quiet_NaN());
      base.milliseconds = 0;
      for (std::size_t m = 0; m < measures_.size(); ++m) {
        const ComparedRun* found = nullptr;
        for (const ComparedRun& run : runs_)
          if (run.seed == seed && run.task == measures_[m].task) found = &run;
        if (!found) fail("comparison: seed ", seed, " has no single-task run of task '", measures_[m].task, "'; Delta_m needs one");
        if (!found->error.empty())
          fail("comparison: the single-task run of task '", found->task, "', seed ", seed, ", failed: ", found->error);
        base.validation[m] = found->validation[m];
        base.test[m] = found->test[m];
        base.model = found->model;
        if (m == 0 || measures_[m].task != measures_[m - 1].task) base.milliseconds += found->milliseconds;
      }
      baselines_.push_back(std::move(base));
    }
  }

  ComparedRow row_of(std::string_view model, std::string_view method, const RunsOfSeeds& of_seeds) const {
    ComparedRow row{.model = std::string(model),
                    .method = std::string(method),
                    .measures = {},
                    .delta_m = {},
                    .delta_p = {},
                    .rank = {}};
    constexpr double none = std::numeric_limits<double>::quiet_NaN();
    row.measures_by_seed.assign(measures_.size(), std::vector<double>(seeds_.size(), none));
    row.delta_m_by_seed.assign(seeds_.size(), none);
    std::vector<double> other, cost;
    std::vector<Index> task;
    for (const std::size_t m : counted_) {
      Index number = 0;
      while (measures_[static_cast<std::size_t>(number)].task != measures_[m].task) ++number;
      task.push_back(number);
    }
    Index failures = 0;
    for (const ComparedRun* run : of_seeds) {
      if (!run->error.empty()) {
        if (failures++ == 0) row.note = run->error;
        continue;
      }
      const std::size_t seed = place(run->seed);
      for (std::size_t m = 0; m < measures_.size(); ++m) row.measures_by_seed[m][seed] = run->test[m];
      row.delta_m_by_seed[seed] = delta_of(*run, false);
      other.push_back(espalier::delta_p(counted(run->test), counted(baselines_[seed].test), higher(), task));
      cost.push_back(run->milliseconds);
    }
    if (failures > 0) row.note = join(failures, " of ", of_seeds.size(), " seeds failed: ", row.note);
    for (const std::vector<double>& of_measure : row.measures_by_seed) row.measures.push_back(interval(of_measure));
    row.delta_m = interval(row.delta_m_by_seed);
    row.delta_p = interval(other);
    row.milliseconds = interval(cost).mean;
    return row;
  }
  RunsOfSeeds all_seeds(std::string_view model, std::string_view method) const {
    RunsOfSeeds found;
    for (const Index seed : seeds_)
      if (const ComparedRun* run = find(model, method, seed)) found.push_back(run);
    return found;
  }

  /// Fills the rows but for the ranks; returns the runs of each.
  std::vector<RunsOfSeeds> lay_out_rows() {
    std::vector<RunsOfSeeds> row_runs;
    RunsOfSeeds base;
    for (const ComparedRun& run : baselines_) base.push_back(&run);
    rows_.push_back(row_of(baselines_[0].model, single_task_method, base));
    rows_.back().baseline = true;
    row_runs.push_back(std::move(base));
    for (const ComparedRun& of_model : runs_) {  // model by model
      bool seen = false;
      for (const ComparedRow& row : rows_) seen |= !row.baseline && row.model == of_model.model;
      if (seen || !of_model.task.empty()) continue;
      const std::string& model = of_model.model;
      for (const ComparedRun& run : runs_) {
        if (run.model != model || !run.task.empty() || run.method.starts_with(weights_candidate)) continue;
        bool known = false;
        for (const ComparedRow& row : rows_) known |= !row.baseline && row.model == model && row.method == run.method;
        if (known) continue;
        row_runs.push_back(all_seeds(model, run.method));
        rows_.push_back(row_of(model, run.method, row_runs.back()));
        if (run.method == equal_weights_method && !candidates_.empty()) row_runs.push_back(add_tuned(model));
      }
    }
    return row_runs;
  }
  RunsOfSeeds add_tuned(const std::string& model) {
    std::string best(equal_weights_method);
    double least = std::numeric_limits<double>::infinity();
    std::size_t chosen = candidates_.size();
    for (std::size_t c = 0; c <= candidates_.size(); ++c) {
      const std::string method = c == 0 ? std::string(equal_weights_method) : join(weights_candidate, c);
      std::vector<double> deltas;
      bool complete = true;
      for (const ComparedRun* run : all_seeds(model, method)) {
        complete &= run->error.empty();
        if (run->error.empty()) deltas.push_back(delta_of(*run, true));
      }
      const double mean = interval(deltas).mean;
      if (!complete || !(mean < least)) continue;
      least = mean;
      best = method;
      chosen = c == 0 ? candidates_.size() : c - 1;
    }
    RunsOfSeeds of_seeds = all_seeds(model, best);
    ComparedRow row = row_of(model, tuned_weights_method, of_seeds);
    std::string weights = "equal weights";
    if (chosen < candidates_.size())
      weights = join("weights ", listing(candidates_[chosen], [](double w) { return detail::short_number(w); }));
    row.note = join("chosen on the validation data: ", weights, row.note.empty() ? "" : "; ", row.note);
    rows_.push_back(std::move(row));
    return of_seeds;
  }

  /// Ranks the rows, the baseline apart, in every measure that counts and every seed; equal ones share their mean rank, and what
  /// has no value is last.
  void rank(const std::vector<RunsOfSeeds>& row_runs) {
    std::vector<std::vector<double>> ranks(rows_.size());  // of each row, the mean over the measures, by seed
    for (const Index seed : seeds_) {
      std::vector<const ComparedRun*> run(rows_.size(), nullptr);
      for (std::size_t r = 0; r < rows_.size(); ++r)
        for (const ComparedRun* candidate : row_runs[r])
          if (candidate->seed == seed && !rows_[r].baseline) run[r] = candidate;
      for (std::size_t r = 0; r < rows_.size(); ++r) {
        if (!run[r]) continue;
        double sum = 0;
        for (const std::size_t m : counted_) {
          const auto cost = [&](const ComparedRun& of) {  // lower is better
            const double x = of.error.empty() ? of.test[m] : std::numeric_limits<double>::quiet_NaN();
            return std::isnan(x) ? std::numeric_limits<double>::infinity() : measures_[m].higher_is_better ? -x : x;
          };
          double place = 0.5;
          for (const ComparedRun* other : run)
            if (other) place += cost(*other) < cost(*run[r]) ? 1 : cost(*other) == cost(*run[r]) ? 0.5 : 0;
          sum += place;
        }
        ranks[r].push_back(sum / static_cast<double>(counted_.size()));
      }
    }
    for (std::size_t r = 0; r < rows_.size(); ++r) rows_[r].rank = interval(ranks[r]);
  }

  std::vector<ComparedMeasure> measures_;
  std::vector<ComparedRun> runs_;
  std::vector<std::vector<double>> candidates_;  // [candidates, tasks]
  std::vector<std::size_t> counted_;             // measures
  std::vector<Index> seeds_;
  std::vector<ComparedRun> baselines_;           // [seeds]
  std::vector<ComparedRow> rows_;
};

[[gnu::cold]] inline std::string Comparison::text() const {
  bool models = false;
  for (const ComparedRow& row : rows_) models |= row.model != rows_[0].model;
  std::vector<std::vector<std::string>> columns;  // of cells
  const auto begin = [&](std::string above, std::string name) { columns.push_back({std::move(above), std::move(name)}); };
  if (models) {
    begin("", "model");
    for (const ComparedRow& row : rows_) columns.back().push_back(row.model);
  }
  begin("", "method");
  for (const ComparedRow& row : rows_) columns.back().push_back(row.method);
  for (const std::size_t m : counted_) {
    begin(measures_[m].task, measures_[m].name + (measures_[m].higher_is_better ? " (up)" : " (down)"));
    for (const ComparedRow& row : rows_) columns.back().push_back(row.measures[m].text());
  }
  begin("Delta_m", "% (down)");
  for (const ComparedRow& row : rows_) columns.back().push_back(row.baseline ? "0" : row.delta_m.text());
  begin("mean", "rank");
  for (const ComparedRow& row : rows_) columns.back().push_back(row.baseline ? "-" : row.rank.text());
  begin("ms", "a step");
  for (const ComparedRow& row : rows_) columns.back().push_back(Interval{.mean = row.milliseconds}.text());

  std::vector<std::string> lines(rows_.size() + 2);
  for (std::size_t c = 0; c < columns.size(); ++c) {
    Index width = 0;
    for (const std::string& cell : columns[c]) width = std::max(width, detail::display_width(cell));
    for (std::size_t i = 0; i < lines.size(); ++i) {
      std::string cell;
      detail::append_printable(cell, columns[c][i]);
      if (c > 0) lines[i] += "  ";
      if (columns[c][1] == "model" || columns[c][1] == "method")
        lines[i] += cell + std::string(static_cast<std::size_t>(std::max<Index>(0, width - detail::display_width(cell))), ' ');
      else detail::append_right(lines[i], cell, width);
    }
  }
  std::string out;
  for (std::string& line : lines) {
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + '\n';
  }
  for (const ComparedRow& row : rows_)
    if (!row.note.empty()) out += join(models ? row.model + ", " : "", row.method, ": ", row.note, '\n');
  out += join("test data, mean over ", seeds_.size(), seeds_.size() == 1 ? " seed" : " seeds",
              seeds_.size() > 1 ? " +- half of its 95 % confidence interval (Student's t)" : "", ".\n");
  out +=
      "Delta_m: mean change for the worse against the single-task models, below 0 is better. Rank: 1 is best. ms: "
      "processor time.\n";
  return out;
}

}  // namespace espalier::inline ESPALIER_ABI
