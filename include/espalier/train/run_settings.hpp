#pragma once
// What a run's options must be, and which of them a resumed run has in common with the one before, beside its fields.

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "espalier/core/nearest.hpp"
#include "espalier/io/checkpoint.hpp"
#include "espalier/train/trainer_options.hpp"

namespace espalier::inline ESPALIER_ABI {

/// Stored in a run's file, as metadata.
struct RunSettings {
  bool keeps_best = false;
  std::string monitor, schedule, method;
  bool diagnoses = false;

  [[gnu::cold]] Metadata metadata() const {
    return {{"trainer.keeps_best", keeps_best ? "on" : "off"}, {"trainer.monitor", monitor}, {"trainer.schedule", schedule},
            {"trainer.method", method}, {"trainer.diagnostics", diagnoses ? "on" : "off"}};
  }
  /// Throws FileError that says why the run in a file cannot go on with these: in place of the fields that the file would have
  /// too many or too few of, and of what would not be noticed at all.
  template <class Lazy = void>
  [[gnu::cold]] void check(const std::string& path, const ResumeOptions& options) const {
    const Metadata there = read_metadata(path), here = metadata();
    std::string text;
    const auto compare = [&](std::string_view key, std::string_view what, bool unset_differs) {
      const std::string *then = there.find(key), *now = here.find(key);
      if (!then || *then == *now || (!unset_differs && (then->empty() || now->empty()))) return true;
      text += join(text.empty() ? "" : ", ", what, " is ", *then, " there, ", *now, " here");
      return false;
    };
    compare("trainer.keeps_best", "early stopping with restore_best", true);
    compare("trainer.monitor", "the monitor", false);
    compare("trainer.method", "the objective's method", true);
    compare("trainer.diagnostics", "objective.diagnose()", true);
    const bool same_schedule = options.other_schedule || compare("trainer.schedule", "the schedule", true);
    if (!text.empty())
      throw FileError(join("Trainer: the run in ", path, " has other options: ", text, "; it goes on with its own",
                           same_schedule ? "" : "; resume(path, {.other_schedule = true}) changes the schedule"));
  }
};

namespace detail {

/// Throws Error for options that make no sense, whatever the model.
template <class Lazy = void>
[[gnu::cold]] void check_options(const TrainerOptions& o) {
  if (o.epochs < 1) fail("Trainer: epochs is ", o.epochs, "; it must be at least 1");
  if (o.batch < 1) fail("Trainer: batch is ", o.batch, "; it must be at least 1");
  if (!(o.clip_norm > 0)) fail("Trainer: clip_norm is ", o.clip_norm, "; it must be above 0");
  const EarlyStopping& early = o.early_stopping;
  if (early.patience < 0) fail("Trainer: early_stopping.patience is ", early.patience, "; it must not be negative");
  if (!(early.min_delta >= 0)) fail("Trainer: early_stopping.min_delta is ", early.min_delta, "; it must not be negative");
  if (o.checkpoint.steps < 0) fail("Trainer: checkpoint.steps is ", o.checkpoint.steps, "; it must not be negative");
  if (o.checkpoint.steps > 0 && o.checkpoint.last.empty())
    fail("Trainer: checkpoint.steps is ", o.checkpoint.steps, ", but checkpoint.last names no file");
}

/// Throws Error for a group that is none of these paths, and no folder of them.
template <class Lazy = void>
[[gnu::cold]] void check_groups(const std::vector<std::string>& groups, const std::vector<std::string>& paths) {
  std::vector<std::string> all;  // folders as well
  for (const std::string& path : paths)
    for (std::size_t end = 0; end != std::string::npos;) {
      end = path.find('.', end + 1);
      if (std::find(all.begin(), all.end(), path.substr(0, end)) == all.end()) all.push_back(path.substr(0, end));
    }
  for (const std::string& group : groups)
    if (std::find(all.begin(), all.end(), group) == all.end())
      fail("Trainer: the objective's group '", group, "' has no parameter of this model that tasks share; shared are: ",
           listing(all, [](const std::string& n) { return n; }), did_you_mean(group, all));
}

/// Of a monitor like `validation/*/r2`: the places of the columns that it is the mean of, one for each task that has the measure.
template <class Lazy = void>
[[gnu::cold]] std::vector<std::size_t> aggregated_columns(std::string_view monitor, const std::vector<std::string>& columns) {
  std::vector<std::size_t> places;
  const std::size_t star = monitor.find("/*/");
  if (star == std::string_view::npos) return places;
  const std::string_view before = monitor.substr(0, star + 1), after = monitor.substr(star + 2);
  for (std::size_t i = 0; i < columns.size(); ++i)
    if (columns[i].size() > before.size() + after.size() && columns[i].starts_with(before) && columns[i].ends_with(after))
      places.push_back(i);
  return places;
}

/// Throws Error unless the monitor is one of the run's measures, or none.
template <class Lazy = void>
[[gnu::cold]] void check_monitor(const std::string& monitor, const std::vector<std::string>& measures) {
  if (monitor.empty() || std::find(measures.begin(), measures.end(), monitor) != measures.end()) return;
  const std::span<const std::string> some(measures.data(), std::min<std::size_t>(measures.size(), 20));
  fail("Trainer: monitor is '", monitor,
       "', which is no loss or metric of this run; it can be: ", listing(some, [](const std::string& n) { return n; }),
       some.size() < measures.size() ? join(", ... (", measures.size(), ")") : "", did_you_mean(monitor, measures));
}

}  // namespace detail

}  // namespace espalier::inline ESPALIER_ABI
