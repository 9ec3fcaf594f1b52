#pragma once
// What a Trainer can be told.

#include <limits>
#include <string>
#include <vector>

#include "espalier/optim/schedule.hpp"
#include "espalier/train/callback.hpp"
#include "espalier/train/evaluate.hpp"
#include "espalier/train/progress.hpp"

namespace espalier::inline ESPALIER_ABI {

struct EarlyStopping {
  Index patience = 0;        // stop after this many epochs in a row without an improvement; 0: never
  double min_delta = 0;      // an improvement is one by more than this
  bool restore_best = true;  // when the run ends, the model gets the values of its best epoch
};

struct CheckpointOptions {
  std::string last = {};  // file of the whole run, for `resume`: written after every epoch
  std::string best = {};  // file of the model's weights, for `load_weights`: written after every best epoch
  Index steps = 0;        // write `last` after so many steps as well; 0: after epochs only
};

struct ResumeOptions {
  bool if_exists = false;       // no such file: nothing happens
  bool other_schedule = false;  // from here on this Trainer's schedule counts, from its own start, whatever the run's was
};

struct TrainerOptions {
  Index epochs = 10;
  Index batch = 32;
  bool shuffle = true;
  bool drop_last = false;  // leave out an epoch's last batch when it is not full
  std::uint64_t seed = 0;  // of the order of the rows and of dropout: a run's own, so that it can be repeated and resumed
  double clip_norm = std::numeric_limits<double>::infinity();  // the gradients' common norm is cut to this
  Schedule schedule = {};  // of the learning rate, times the one that the optimizer has when the Trainer is made
  /// The column of the history that early stopping, `checkpoint.best` and PlateauSchedule look at, a loss or a metric, which knows
  /// which way is better; empty: validation/loss, or train/loss without validation data. With a `*` for the task,
  /// "validation/*/r2", it is a column of its own: the mean over all tasks that have the measure, NaN where one of them is.
  std::string monitor = {};
  EarlyStopping early_stopping = {};
  CheckpointOptions checkpoint = {};
  TaskMetrics metrics = {};  // for validation; a task that is not listed has the usual ones of its loss
  ProgressOptions progress = {};
  bool show_diagnostics = false;  // in the progress bar, the tasks' weights and the share of conflicting pairs
  std::vector<Callback> callbacks = {};
};

}  // namespace espalier::inline ESPALIER_ABI
