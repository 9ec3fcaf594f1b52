#pragma once
// Trainer: the training loop, with validation, schedules, clipping, early stopping, checkpoints and a progress bar.
//
//   Trainer trainer{model, objective, optimizer, {.epochs = 30, .early_stopping = {.patience = 5}}};
//   const History& history = trainer.fit(train, validation);
//
// A step is the explicit loop's: a Pass of the step's number, losses, `objective.backward`, clipping, the scheduled learning
// rate, `optimizer.step`. Everything that the run consists of is among the fields, so that
//
//   Trainer trainer{model, objective, optimizer, {.epochs = 30, .checkpoint = {.last = "run.safetensors", .steps = 100}}};
//   trainer.resume("run.safetensors", {.if_exists = true});   // on the first start there is nothing to go on with
//   if (!trainer.finished()) trainer.fit(train, validation);
//
// ends with the very bits of an uninterrupted run, wherever it was interrupted.

#include "espalier/optim/clip.hpp"
#include "espalier/train/diagnostics_meter.hpp"
#include "espalier/train/kept_values.hpp"
#include "espalier/train/optimizer_ref.hpp"
#include "espalier/train/run_settings.hpp"

namespace espalier::inline ESPALIER_ABI {

/// Trains a model; refers to it, its objective and its optimizer, which must outlive it.
template <Differentiable T = float>
class Trainer {
 public:
  /// Throws Error for options that make no sense.
  template <class Model, class Optimizer>
  Trainer(Model& model, MultiObjective<T>& objective, Optimizer& optimizer, TrainerOptions options = {})
      : Trainer(reference(model), objective, OptimizerRef<T>(optimizer), std::move(options)) {}
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  /// Trains until all epochs are done, or early stopping or a callback ends it; returns `history()`. Goes on from where it
  /// was: after `resume`, after a callback's stop, or after an exception. Throws Error as model, objective and data do (a
  /// loss that is not finite names its task; the step that met it has changed nothing, but for a loss that FAMO meets after its
  /// step: that step counts as taken, and the message says so; what is wrong with a sample is said of its row in the data, from
  /// 0), when early stopping has had nothing to judge by, and when the run is over already.
  template <DatasetFor<T> Train>
  const History& fit(const Train& train) {
    run(loader(train), nullptr);
    return history_;
  }
  template <DatasetFor<T> Train, DatasetFor<T> Validation>
  const History& fit(const Train& train, const Validation& validation) {
    if (validation.size() == 0) fail("Trainer: the validation data has no rows; there must be at least 1, or none be given");
    Loader<T> rows(detail::Borrowed<Validation>{&validation},
                   {.batch = std::max<Index>(options_.batch, 256), .shuffle = false}, rng_);
    run(loader(train), &rows);
    return history_;
  }
  /// Makes the run longer, for another `fit`.
  void extend(Index epochs) {
    if (epochs < 1) fail("Trainer: extend by ", epochs, " epochs; it must be at least 1");
    if (epochs > std::numeric_limits<Index>::max() - options_.epochs)
      fail("Trainer: extend by ", epochs, " epochs; with the ", options_.epochs, " there are, they are too many");
    options_.epochs += epochs;
  }

  /// A row per epoch: epoch (from 1), lr, seconds; train/loss and validation/loss, the sums over the tasks;
  /// train/<task>/loss, the mean over the epoch's batches as they came; validation/<task>/loss and the metrics; a monitor that is
  /// the mean over tasks; of an objective that diagnosed when the Trainer was made, a DiagnosticsMeter's columns.
  const History& history() const { return history_; }
  /// Whether the run is over: all epochs are done, patience is at its end, or every task has been stopped (TaskStopping).
  bool finished() const { return epoch_ >= options_.epochs || out_of_patience() || all_stopped(); }
  /// Why `fit` ended, in a sentence, and whether no epoch could be the best; empty while it has not.
  const std::string& ending() const { return ending_; }

  /// Writes the whole run, from which `resume` goes on.
  void save(const std::string& path) { espalier::save(path, state(true), {.metadata = settings().metadata()}); }
  /// Takes over a run that a Trainer of the same model, objective, optimizer and options has written; epochs, patience and
  /// min_delta may be others (a schedule of the whole run's length then is another one). The file's learning rate and random
  /// numbers count. False when there is no such file and that is fine. Throws FileError for a run with another schedule (unless
  /// the options allow it), another monitor, another method, or early stopping or diagnostics switched on or off, and as
  /// `load` does, listing all differences.
  bool resume(const std::string& path, const ResumeOptions& options = {}) {
    if (options.if_exists && !file_exists(path)) return false;
    settings().check(path, options);
    espalier::load(path, state(!options.other_schedule), {.partial = options.other_schedule});
    optimizer_.set_lr(base_lr_);
    return true;
  }

  void fields(auto&& visit) {
    visit("model", model_);
    visit("optimizer", optimizer_);
    visit("objective", *objective_);
    visit("run", run_);
    visit("schedule", options_.schedule);
  }

 private:
  /// What is the trainer's own.
  struct Run {
    Trainer& trainer;
    void fields(Visitor& visit) { trainer.visit_run(visit); }
  };
  /// What the place in an epoch means something for.
  struct Rows {
    Index rows = 0, batch = 0;
    bool shuffle = false, drop_last = false;
    bool operator==(const Rows&) const = default;
    std::string text() const {
      return join(rows, " rows in batches of ", batch, shuffle ? ", shuffled" : "",
                  drop_last ? ", without the last, partial one" : "");
    }
    void fields(Visitor& visit) {
      visit("rows", rows);
      visit("batch", batch);
      visit("shuffle", shuffle);
      visit("drop_last", drop_last);
    }
  };

  template <class Model>
  static ModelRef<T> reference(Model& model) {
    static_assert(ModelFor<Model, T>,
                  "Trainer: the model must turn Inputs or a tensor into Outputs, task by task; wrap a single module as "
                  "MultiTaskModel{{.trunk = module, .heads = {{\"y\", Linear{...}}}}}");
    static_assert(!std::is_const_v<Model>, "Trainer: the model is const; it could not be trained");
    return ModelRef<T>(model);
  }

 public:
  /// Of a model and an optimizer whose types are forgotten already; what they refer to must outlive the Trainer.
  Trainer(ModelRef<T> model, MultiObjective<T>& objective, OptimizerRef<T> optimizer, TrainerOptions options)
      : model_(model),
        objective_(&objective),
        optimizer_(optimizer),
        options_(std::move(options)),
        rng_(options_.seed),
        evaluator_(objective, options_.metrics),
        base_lr_(optimizer.lr()),
        losses_(objective.size()) {
    detail::check_options(options_);
    if (options_.show_diagnostics && !objective.diagnoses())
      fail("Trainer: show_diagnostics is set, but the objective takes none; call objective.diagnose() first");
    check_files();
    check_parameters();
    if (objective.diagnoses()) meter_ = DiagnosticsMeter(objective.names(), model_.notes());
    lay_out_history();
    for (const std::string& task : objective.names()) shown_.push_back({task, 0});
    batch_losses_ = shown_;
    if (options_.show_diagnostics) {
      for (const std::string& task : objective.names()) shown_.push_back({join(task, " weight"), 0});
      shown_.push_back({"conflicts", 0});
    }
    if (keeps_best()) best_.make(model_);
  }

 private:
  template <class D>
  Loader<T> loader(const D& data) const {
    if (data.size() == 0) fail("Trainer: the training data has no rows; there must be at least 1");
    return Loader<T>(detail::Borrowed<D>{&data},
                     {.batch = options_.batch, .shuffle = options_.shuffle, .drop_last = options_.drop_last}, rng_);
  }
  State state(bool with_schedule) {
    State all{{"model", model_}, {"optimizer", optimizer_}, {"objective", *objective_}, {"run", run_}};
    if (with_schedule) all.add({"schedule", options_.schedule});
    return all;
  }
  bool keeps_best() const { return options_.early_stopping.patience > 0 && options_.early_stopping.restore_best; }
  bool out_of_patience() const {
    return options_.early_stopping.patience > 0 && since_best_ >= options_.early_stopping.patience;
  }
  bool all_stopped() const {
    Index k = 0;
    while (k < objective_->size() && objective_->stopped(k)) ++k;
    return k == objective_->size();
  }

  void visit_run(auto&& visit) {
    visit("rng", rng_);
    visit("epoch", epoch_);
    visit("row", row_);
    visit("data", data_);
    visit("ended", ended_);
    visit("ending", ending_);
    visit("monitor", monitor_);
    visit("base_lr", base_lr_);
    visit("losses", losses_);
    visit("seconds", seconds_);
    visit("history", history_);
    visit("best_value", best_value_);
    visit("best_in_model", best_in_model_);
    visit("epochs_since_best", since_best_);
    visit("best", best_);
    visit("callbacks", options_.callbacks);
    visit("diagnostics", meter_);
  }

  RunSettings settings() const {
    return {keeps_best(), monitor_.empty() ? options_.monitor : monitor_, options_.schedule.text(),
            std::string(objective_->method_name()), !meter_.empty()};
  }

  /// What would be noticed only when the first epoch is done.
  [[gnu::cold]] void check_files() const;
  [[gnu::cold]] void check_parameters();
  /// A group without a parameter would go unnoticed: its weights join nothing.
  [[gnu::cold]] void check_groups();
  [[gnu::cold]] void lay_out_history();

  // ---- the run ------------------------------------------------------------------------------------------------------

  void run(Loader<T> train, Loader<T>* validation) {
    if (finished() && ended_) {
      if (epoch_ >= options_.epochs)
        fail("Trainer: all ", options_.epochs,
             " epochs are done; ask finished() before fit, give it more with extend(epochs), or make a new Trainer");
      if (!out_of_patience())
        fail("Trainer: the run is over (", ending_,
             "); let a task go on with objective.stop(task, false), or make a new Trainer");
      fail("Trainer: early stopping has ended the run (", ending_,
           "); give it more patience when it is resumed, or make a new Trainer");
    }
    if (!validation && options_.monitor.starts_with("validation/"))
      fail("Trainer: monitor is '", options_.monitor, "', but fit was given no validation data");
    std::string monitor = !options_.monitor.empty() ? options_.monitor : validation ? "validation/loss" : "train/loss";
    if (!monitor_.empty() && monitor_ != monitor)
      fail("Trainer: the run was judged by ", monitor_, " so far, and would be by ", monitor, " now; a run has one measure");
    const Rows data{train.size(), options_.batch, options_.shuffle, options_.drop_last};
    if (row_ > 0 && !(data == data_))
      fail("Trainer: the run is in the middle of an epoch of ", data_, "; the data now is ", data, "; they must be the same");
    monitor_ = std::move(monitor);
    data_ = data;
    ended_ = false;
    ending_.clear();
    if (best_in_model_) swap_best();

    const LearningRate restored{*this};
    ProgressBar progress(options_.progress);
    progress.begin(options_.epochs, train.batches());
    while (!finished()) {
      train.seek(epoch_, row_);
      if (row_ == 0) objective_->begin_epoch(epoch_);
      const double start = detail::monotonic_seconds(), before = seconds_;
      for (const Batch<T>& batch : train.rest()) {
        const bool goes_on = step(batch, train, progress);
        seconds_ = before + detail::monotonic_seconds() - start;
        if (!goes_on) return interrupt(progress);
        if (options_.checkpoint.steps > 0 && train.step() % static_cast<std::uint64_t>(options_.checkpoint.steps) == 0)
          save(options_.checkpoint.last);
      }
      const bool goes_on = finish_epoch(validation, progress);
      if (finished()) break;
      if (!goes_on) return interrupt(progress);
      if (!options_.checkpoint.last.empty()) save(options_.checkpoint.last);
    }
    const bool measured = !std::isnan(best_value_);
    if (out_of_patience() && !measured) {
      if (!options_.checkpoint.last.empty()) save(options_.checkpoint.last);
      fail("Trainer: ", never_measured(), "; early stopping needs a value to judge by, and neither data without labels nor a nan "
           "among the inputs gives one; look at the data, or set another .monitor");
    }
    ended_ = true;
    const Index patience = options_.early_stopping.patience;
    ending_ = epoch_ >= options_.epochs ? "all epochs are done" : "every task has been stopped";
    if (out_of_patience()) ending_ = join("no better ", monitor_, " for ", patience, patience == 1 ? " epoch" : " epochs");
    if (!measured && (patience > 0 || !options_.checkpoint.best.empty() || options_.schedule.observes()))
      ending_ += join(", but ", never_measured(), ": none is the best");
    if (keeps_best() && measured) swap_best();
    if (!options_.checkpoint.last.empty()) save(options_.checkpoint.last);
    progress.end();
  }
  /// `validation/loss was nan after all 3 epochs, as validation/ink/loss was`
  [[gnu::cold]] std::string never_measured() const;

  /// A callback wants to stop here.
  void interrupt(ProgressBar& progress) {
    ending_ = "a callback ended it";
    if (!options_.checkpoint.last.empty()) save(options_.checkpoint.last);
    progress.end();
  }
  /// Gives the optimizer its own learning rate back when a run ends, however it does.
  struct LearningRate {
    Trainer& trainer;
    ~LearningRate() { trainer.optimizer_.set_lr(trainer.base_lr_); }
  };

  /// One batch; false when a callback wants to stop. The state is that after the step when callbacks are called.
  bool step(const Batch<T>& batch, const Loader<T>& train, ProgressBar& progress) {
    const double epoch = static_cast<double>(epoch_) + static_cast<double>(row_) / static_cast<double>(train.size());
    const double lr = base_lr_ * options_.schedule.factor(epoch, static_cast<double>(options_.epochs));
    optimizer_.set_lr(lr);
    const Losses<T> losses =
        detail::naming_rows(train, "training data", [&] { return update(batch, train.step()); });
    row_ = train.at_row();
    losses_.add(losses);
    for (Index k = 0; k < losses.size(); ++k) {
      const auto task = static_cast<std::size_t>(k);
      batch_losses_[task].value = losses.present(k) ? losses.value(k) : std::numeric_limits<double>::quiet_NaN();
      shown_[task].value = losses_.mean(task);
    }
    meter_.add(objective_->record());
    learn(batch, train.step());
    show_diagnostics();
    const Index position = (row_ - 1) / train.options().batch;
    progress.step(epoch_, position, batch.size(), shown_);
    bool goes_on = true;
    for (Callback& callback : options_.callbacks) goes_on &= callback.step({epoch_, position, lr, batch_losses_});
    return goes_on;
  }

  Losses<T> update(const Batch<T>& batch, std::uint64_t number) {
    try {
      Pass pass(rng_, number);
      Losses<T> losses = (*objective_)(model_(batch.inputs, pass), batch.targets);
      objective_->backward(losses);
      if (options_.clip_norm < std::numeric_limits<double>::infinity())
        clip_grad_norm(optimizer_.parameters(), options_.clip_norm);
      optimizer_.step();
      return losses;
    } catch (...) {
      optimizer_.zero_grad();  // what had arrived would count in the next step
      objective_->abandon_step();
      throw;
    }
  }
  /// What the method learns from a step that is done, and counted: when this throws, the run goes on with the next batch.
  void learn(const Batch<T>& batch, std::uint64_t number) {
    try {
      objective_->after_step([&] {  // the same dropout, the same batch statistics, and no trace of either
        const NoGrad no_grad;
        Pass again(rng_, number);
        Losses<T> after = (*objective_)(model_(batch.inputs, again), batch.targets);
        again.discard();
        return after;
      });
    } catch (const Error& e) {
      fail(e.what(), "; the step has been taken, but ", objective_->method_name(), " has learned nothing from it");
    }
  }

  /// Behind the losses in the progress bar.
  void show_diagnostics() {
    const std::size_t tasks = batch_losses_.size();
    if (shown_.size() == tasks) return;
    for (std::size_t k = 0; k < tasks; ++k) shown_[tasks + k].value = meter_.weight(k);
    shown_.back().value = meter_.conflict_rate();
  }

  /// Judges the epoch and goes on to the next one; false when a callback wants to stop.
  bool finish_epoch(Loader<T>* validation, ProgressBar& progress) {
    constexpr double nan = std::numeric_limits<double>::quiet_NaN();
    const double start = detail::monotonic_seconds();
    for (std::size_t k = 0; k < batch_losses_.size(); ++k) shown_[k].value = losses_.mean(k);
    show_diagnostics();
    evaluator_.reset();
    if (validation)
      for (const Batch<T>& batch : validation->epoch(0))
        detail::naming_rows(*validation, "validation data", [&] { evaluator_.add(model_(batch.inputs), batch.targets); });
    const Evaluation found = evaluator_.result();
    std::vector<double> row{static_cast<double>(epoch_ + 1), optimizer_.lr(),
                            seconds_ + detail::monotonic_seconds() - start, losses_.total()};
    for (std::size_t k = 0; k < batch_losses_.size(); ++k) row.push_back(shown_[k].value);
    row.push_back(validation ? found.loss() : nan);
    for (const Evaluation::Measure& m : found.measures()) row.push_back(validation ? m.value : nan);
    if (!aggregated_.empty()) {
      double sum = 0;
      for (const std::size_t place : aggregated_) sum += row[place];
      row.push_back(sum / static_cast<double>(aggregated_.size()));
    }
    for (const double x : meter_.take()) row.push_back(x);
    std::vector<Named<double>> measures;
    for (const Evaluation::Measure& m : found.measures())
      if (validation) measures.push_back({join(m.task, ' ', m.name), m.value});

    // From here to the next epoch's start nothing throws but for want of memory: a run that goes on after an exception, in
    // a callback or from a full disk, counts no epoch twice.
    history_.append(row);
    const double value = history_[monitor_].back();
    if (options_.schedule.observes()) options_.schedule.observe(value, higher_is_better_);
    const bool better = std::isnan(best_value_) ? !std::isnan(value)
                        : higher_is_better_     ? value > best_value_ + options_.early_stopping.min_delta
                                                : value < best_value_ - options_.early_stopping.min_delta;
    since_best_ = better ? 0 : since_best_ + 1;
    if (better) {
      best_value_ = value;
      if (keeps_best()) best_.take(model_);
    }
    const Index epoch = epoch_++;
    row_ = 0;
    seconds_ = 0;
    losses_.reset();

    progress.epoch({.epoch = epoch, .train = shown_, .validation = measures, .seconds = row[2]});
    if (better && !options_.checkpoint.best.empty()) save_weights(options_.checkpoint.best, model_);
    bool goes_on = true;
    for (Callback& callback : options_.callbacks) goes_on &= callback.epoch({epoch, history_});
    return goes_on;
  }

  /// The best values come into the model and the last ones are kept, or the other way round.
  void swap_best() {
    best_.swap(model_);
    best_in_model_ = !best_in_model_;
  }

  ModelRef<T> model_;
  MultiObjective<T>* objective_;
  OptimizerRef<T> optimizer_;
  TrainerOptions options_;
  Run run_{*this};
  Rng rng_;
  Evaluator<T> evaluator_;
  History history_;
  Index epoch_ = 0, row_ = 0;  // the epoch that is running, and how many of its rows are done
  Rows data_;
  bool ended_ = false;                         // `fit` came to the end of the run
  bool best_in_model_ = false;                 // the best values are in the model, the last ones are kept
  bool higher_is_better_ = false;              // of the monitored measure
  std::vector<std::size_t> aggregated_;        // the columns it is the mean of, where it is one of several tasks
  std::string ending_, monitor_;
  double base_lr_;
  LossSums losses_;                            // of this epoch's training
  double seconds_ = 0;                         // of this epoch, before the last checkpoint
  DiagnosticsMeter meter_;                     // of this epoch; empty when the objective does not diagnose
  std::vector<Named<double>> shown_;           // mean losses, for the progress bar; with diagnostics behind them on request
  std::vector<Named<double>> batch_losses_;    // for callbacks
  double best_value_ = std::numeric_limits<double>::quiet_NaN();
  Index since_best_ = 0;
  KeptValues<T> best_;
};

}  // namespace espalier::inline ESPALIER_ABI

#include "espalier/train/trainer_checks.hpp"
