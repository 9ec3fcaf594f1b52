#pragma once
// compare: which method, and does sharing pay at all? The literature's honest answer is to try; here it is one call.
//
//   const Comparison result = compare({{"hard sharing", [](Rng& rng) { return MultiTaskModel{...}; }}},
//                                     {{"digit", CrossEntropy{}}, {"ink", MSE{}}},
//                                     {UPGrad{}, FAMO{}, {"stch 0.1", STCH{{.mu = 0.1}}}}, data,
//                                     {.seeds = 5, .train = {.epochs = 30}, .file = "runs.csv"});
//   std::printf("%s", result.text().c_str());
//   const Interval gain = result.difference(result.row("upgrad"), result.row("sum"));   // of Delta_m, seed by seed
//   save_svg("trade_off.svg", trade_off(result));                    // train/comparison_chart.hpp
//
// Every seed has a split of its own into training, validation and test data, and initial values of its own; all methods of a
// seed share both. Always among them are a single-task model for each task, equal weights ("sum") and fixed weights tuned on
// the validation data: hard to beat, says Kurin et al., NeurIPS 2022, arXiv 2201.04122. Runs are spread over the cores where the
// program is built with OpenMP; what they find does not depend on that. A comparison that was ended takes up its file and goes
// on with the runs that are missing; it also grows by more seeds, methods and models.
//
// Included by name.

#include <bit>
#include <cmath>
#include <cstdio>
#include <ctime>

#include "espalier/core/parallel.hpp"
#include "espalier/data/split.hpp"
#include "espalier/train/compare_file.hpp"
#include "espalier/train/compare_options.hpp"
#include "espalier/train/comparison.hpp"
#include "espalier/train/trainer.hpp"

namespace espalier::inline ESPALIER_ABI {

namespace detail {

inline double thread_seconds() {
  struct timespec now {};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// Adds up the processor time of the training steps; validation is left out.
struct StepClock {
  double* seconds;
  Index* steps;
  double began = thread_seconds(), last = began;

  void step(const StepEvent&) {
    last = thread_seconds();
    ++*steps;
  }
  void epoch(const EpochEvent&) {
    *seconds += last - began;
    began = last = thread_seconds();
  }
};

/// Gives what a method draws at random a seed of the run's.
class Reseed final : public Visitor {
 public:
  explicit Reseed(std::uint64_t seed) : seed_(seed) {}

 private:
  void tensor(Tensor<float>&) override {}
  void tensor(Tensor<double>&) override {}
  void tensor(Tensor<Index>&) override {}
  void tensor(Tensor<bool>&) override {}
  void number(std::uint64_t& field) override {
    if (path() == "seed" || path().ends_with(".seed")) field = mix(field ^ mix(seed_));
  }
  std::uint64_t seed_;
};

/// Some rows of a source, for one part of a split.
template <class T>
struct PartOfRows {
  const Source<T>* source;
  const std::vector<Index>* chosen;
  Index size() const { return static_cast<Index>(chosen->size()); }
  Batch<T> rows(std::span<const Index> rows) const {
    std::vector<Index> of_source;
    for (const Index r : rows) of_source.push_back((*chosen)[static_cast<std::size_t>(r)]);
    return source->rows(of_source);
  }
};

/// Fixed weights to try, [candidates, tasks], scaled to sum to the number of tasks: an evenly spread sequence of logarithms
/// (Roberts' R_d: multiples of powers of the root of x^(d+1) = x + 1, modulo 1).
inline std::vector<std::vector<double>> weight_candidates(Index candidates, Index tasks, double range) {
  double root = 1.5;
  for (int i = 0; i < 60; ++i) root = std::pow(1 + root, 1 / static_cast<double>(tasks + 1));
  std::vector<std::vector<double>> all;
  for (Index c = 0; c < candidates; ++c) {
    std::vector<double> weights;
    double sum = 0, power = 1;
    for (Index k = 0; k < tasks; ++k) {
      power /= root;
      const double place = 0.5 + static_cast<double>(c + 1) * power;
      weights.push_back(std::pow(range, 2 * (place - std::floor(place)) - 1));
      sum += weights.back();
    }
    for (double& w : weights) w *= static_cast<double>(tasks) / sum;
    all.push_back(std::move(weights));
  }
  return all;
}

/// One comparison: its plan, and how a run of it is done.
template <class T>
class Comparer {
 public:
  struct Job {
    std::size_t model;
    Combiner combiner;
    AggregationOptions options;
    Index task;   // -1: all
    Index split;  // the position of the seed
    ComparedRun run;
    std::uint64_t setup = 0;
  };

  Comparer(const std::vector<ComparedModel<T>>& models, const std::vector<Named<TaskLoss<T>>>& losses,
           const std::vector<ComparedMethod>& methods, Source<T> source, const CompareOptions<T>& options)
      : models_(models), losses_(losses), source_(std::move(source)), options_(options) {
    check(methods);
    const MultiObjective<T> objective(losses_, Combiner());
    const Evaluator<T> evaluator(objective, options_.train.metrics);
    const Evaluation measures = evaluator.result();
    for (const Evaluation::Measure& m : measures.measures())
      measures_.push_back({m.task, m.name, m.higher_is_better, false});
    for (const std::string& task : objective.names()) choose_measures(task);
    if (options_.candidates > 0) candidates_ = weight_candidates(options_.candidates, objective.size(), options_.weights_range);
    plan(methods);
  }

  /// The rows of each part of a split, [seeds][3]: training, validation, test.
  std::vector<RowLists> splits = {};

  Comparison compare() {
    CompareFile file(options_.file, measures_);
    std::vector<Index> waiting;
    for (std::size_t i = 0; i < jobs_.size(); ++i)
      if (!file.take(jobs_[i].run, jobs_[i].setup)) waiting.push_back(static_cast<Index>(i));
    Index done = static_cast<Index>(jobs_.size() - waiting.size());
    parallel_pieces(
        static_cast<Index>(waiting.size()), [&](Index i) { run(job(waiting, i)); },
        [&](Index i) {
          const Job& finished = job(waiting, i);
          file.add(finished.run, finished.setup);
          ++done;
          if (options_.log) log(finished.run, done);
        });
    std::vector<ComparedRun> runs;
    for (Job& j : jobs_) runs.push_back(std::move(j.run));
    return Comparison(measures_, std::move(runs), candidates_);
  }

 private:
  Job& job(const std::vector<Index>& waiting, Index i) {
    return jobs_[static_cast<std::size_t>(waiting[static_cast<std::size_t>(i)])];
  }

  [[gnu::cold]] void check(const std::vector<ComparedMethod>& methods) const {
    const auto& o = options_;
    if (models_.empty()) fail("compare: no model is given; it needs at least one");
    if (o.seeds < 1) fail("compare: seeds is ", o.seeds, "; it must be at least 1");
    if (!(o.validation > 0 && o.test > 0 && o.validation + o.test < 1))
      fail("compare: the shares of validation and test data are ", o.validation, " and ", o.test,
           "; both must be above 0, and their sum below 1");
    if (o.candidates < 0) fail("compare: candidates is ", o.candidates, "; it must not be negative");
    if (!(o.weights_range > 1 && std::isfinite(o.weights_range)))
      fail("compare: weights_range is ", o.weights_range, "; it must be above 1");
    const CheckpointOptions& files = o.train.checkpoint;
    if (!files.last.empty() || !files.best.empty())
      fail(
          "compare: train.checkpoint names a file, which the runs would overwrite for each other; name none: .file "
          "keeps what is done");
    std::vector<Named<Index>> names;
    for (const ComparedModel<T>& model : models_) names.push_back({model.name(), 0});
    if (const std::string* twice = repeated_name(names)) fail("compare: model '", *twice, "' appears twice; names must differ");
    if (const std::string* twice = repeated_name(methods))
      fail("compare: method '", *twice, "' appears twice; names must differ: give it as {\"name\", method}");
    for (const ComparedMethod& m : methods)
      if (m.name == single_task_method || m.name == tuned_weights_method || m.name.starts_with(weights_candidate))
        fail("compare: a method is called '", m.name, "'; that name is the comparison's own");
    for (const ComparedMethod& m : methods)
      if (m.name == equal_weights_method && m.combiner.name() != m.name)
        fail("compare: ", m.combiner.name(), " is called '", m.name,
             "', which is the name of equal weights; give it another one");
    for (const ComparedMethod& m : methods) {
      try {
        MultiObjective<T>(losses_, m.combiner, m.options);  // throws for what cannot be
      } catch (const Error& error) {
        fail("compare: method '", m.name, "': ", error.what());
      }
    }
  }

  void choose_measures(const std::string& task) {
    bool listed = false, any = false;
    for (const auto& [name, metrics] : options_.train.metrics) listed |= name == task && !metrics.empty();
    for (ComparedMeasure& m : measures_)
      if (m.task == task && m.name != "loss" && (listed || !any)) any = m.counts = true;
    for (ComparedMeasure& m : measures_)
      if (m.task == task && m.name == "loss" && !any) m.counts = true;
  }

  void plan(const std::vector<ComparedMethod>& methods) {
    const std::uint64_t common = options_.file.empty() ? 0 : common_setup();
    std::vector<std::uint64_t> of_model(models_.size(), 0);
    for (std::size_t m = 0; m < models_.size() && !options_.file.empty(); ++m) of_model[m] = model_setup(models_[m]);
    for (Index s = 0; s < options_.seeds; ++s) {
      const auto seed = static_cast<Index>(options_.first_seed) + s;
      const auto add = [&](std::size_t model, std::string_view name, Combiner combiner, Index task = -1,
                           const AggregationOptions& aggregation = {}) {
        Job j{.model = model, .combiner = std::move(combiner), .options = aggregation, .task = task, .split = s,
              .run = {.model = models_[model].name(), .method = std::string(name), .seed = seed}};
        if (task >= 0) j.run.task = losses_[static_cast<std::size_t>(task)].name;
        j.setup = mix(common ^ of_model[model] ^ fields_hash(j.combiner) ^ options_hash(aggregation));
        Reseed reseed(static_cast<std::uint64_t>(seed));
        walk(j.combiner, reseed);
        jobs_.push_back(std::move(j));
      };
      for (Index k = 0; k < static_cast<Index>(losses_.size()); ++k) add(0, single_task_method, Combiner(), k);
      for (std::size_t m = 0; m < models_.size(); ++m) {
        add(m, equal_weights_method, Combiner());
        for (std::size_t c = 0; c < candidates_.size(); ++c)
          add(m, join(weights_candidate, c + 1), FixedWeights(candidates_[c]));
        for (const ComparedMethod& method : methods)
          if (method.name != equal_weights_method) add(m, method.name, method.combiner, -1, method.options);
      }
    }
  }
  /// What makes runs comparable, as far as it can be seen: of all runs.
  std::uint64_t common_setup() const {
    const TrainerOptions& t = options_.train;
    std::string text =
        join("1 ", source_.size(), ' ', options_.validation, ' ', options_.test, ' ', options_.stratify, ' ', t.epochs,
             ' ', t.batch, ' ', t.shuffle ? 1 : 0, t.drop_last ? 1 : 0, ' ', t.clip_norm, ' ', t.monitor, ' ',
             t.early_stopping.patience, ' ', t.early_stopping.min_delta, ' ', options_.tag);
    for (const Named<TaskLoss<T>>& loss : losses_) text += join('/', loss.name, ' ', loss.value.name());
    for (int i = 0; i < 8; ++i) {
      const auto epochs = static_cast<double>(t.epochs);
      text += join(' ', t.schedule.factor(epochs * i / 8, epochs));
    }
    std::uint64_t hash = hash_name(text);
    std::vector<Index> rows;  // some, from all over the data
    const Index count = source_.size();
    for (Index i = 0; i < std::min<Index>(count, 64); ++i) rows.push_back(i * count / std::min<Index>(count, 64));
    if (rows.empty()) return hash;
    const Batch<T> some = source_.rows(rows);
    for (const auto& [name, input] : some.inputs) {
      add_bytes(hash, name, input.values);
      add_bytes(hash, name, input.present);
      add_bytes(hash, name, input.tokens);
      add_bytes(hash, name, input.valid);
    }
    for (const auto& [name, target] : some.targets) {
      add_bytes(hash, name, target.value);
      add_bytes(hash, name, target.classes);
      add_bytes(hash, name, target.weight);
    }
    return hash;
  }
  /// Of a model: its parameters, their initial values, and the learning rate.
  std::uint64_t model_setup(const ComparedModel<T>& model) const {
    Rng rng(options_.first_seed);
    std::uint64_t hash = 0;
    model.with(rng, [&](ModelRef<T>, const Parameters<T>& parameters) {
      for (const auto& [name, value] : parameters) add_bytes(hash, name, value);
      options_.optimizer.with(parameters, [&](OptimizerRef<T> optimizer) {
        hash = mix(hash ^ std::bit_cast<std::uint64_t>(optimizer.lr()));
      });
    });
    return hash;
  }
  template <class U>
  static void add_bytes(std::uint64_t& hash, std::string_view name, const Tensor<U>& x) {
    if (!x.defined()) return;
    hash = mix(hash ^ hash_name(name) ^ hash_name(x.shape().text()));
    hash = mix(hash ^ hash_name({reinterpret_cast<const char*>(x.data()), static_cast<std::size_t>(x.size()) * sizeof(U)}));
  }
  /// Of how a method is used; 0 as usual.
  static std::uint64_t options_hash(const AggregationOptions& o) {
    std::uint64_t hash = o.every == 1 && !o.at_representation ? 0 : mix(2 * static_cast<std::uint64_t>(o.every) + o.at_representation);
    for (const std::string& group : o.groups) hash = mix(hash ^ hash_name(group));
    return hash;
  }
  /// Of what a method is set to.
  static std::uint64_t fields_hash(Combiner combiner) {
    FieldHash visitor;
    walk(combiner, visitor);
    return mix(hash_name(combiner.name()) ^ visitor.hash);
  }
  class FieldHash final : public Visitor {
   public:
    std::uint64_t hash = 0;

   private:
    void tensor(Tensor<float>&) override {}
    void tensor(Tensor<double>&) override {}
    void tensor(Tensor<Index>&) override {}
    void tensor(Tensor<bool>&) override {}
    void number(double& field) override { add(std::bit_cast<std::uint64_t>(field)); }
    void number(Index& field) override { add(static_cast<std::uint64_t>(field)); }
    void number(std::uint64_t& field) override { add(field); }
    void number(bool& field) override { add(field); }
    void add(std::uint64_t value) { hash = mix(hash ^ hash_name(path()) ^ mix(value)); }
  };

  void run(Job& j) const {
    std::vector<Named<TaskLoss<T>>> losses;
    TrainerOptions train = options_.train;
    if (j.task < 0) {
      losses = losses_;
    } else {
      losses.push_back(losses_[static_cast<std::size_t>(j.task)]);
      TaskMetrics own;
      for (const auto& item : train.metrics)
        if (item.name == losses[0].name) own.push_back(item);
      train.metrics = std::move(own);
      if (!train.monitor.empty()) train.monitor = join("validation/", losses[0].name, "/loss");
    }
    const RowLists& split = splits[static_cast<std::size_t>(j.split)];
    const PartOfRows<T> parts[] = {{&source_, &split[0]}, {&source_, &split[1]}, {&source_, &split[2]}};
    double seconds = 0;
    train.seed = static_cast<std::uint64_t>(j.run.seed);
    train.progress = {.mode = Progress::quiet};
    train.callbacks.push_back(StepClock{&seconds, &j.run.steps});
    Rng rng(train.seed);
    const auto judged = [&](ModelRef<T> model, const MultiObjective<T>& objective, const PartOfRows<T>& part) {
      const Evaluation found = evaluate(model, objective, part, {.metrics = train.metrics});
      std::vector<double> values(measures_.size(), std::numeric_limits<double>::quiet_NaN());
      for (const Evaluation::Measure& m : found.measures())
        for (std::size_t i = 0; i < measures_.size(); ++i)
          if (measures_[i].task == m.task && measures_[i].name == m.name) values[i] = m.value;
      return values;
    };
    try {
      models_[j.model].with(rng, [&](ModelRef<T> model, const Parameters<T>& parameters) {
        options_.optimizer.with(parameters, [&](OptimizerRef<T> optimizer) {
          MultiObjective<T> objective(std::move(losses), j.combiner, j.options);
          Trainer<T> trainer(model, objective, optimizer, train);
          trainer.fit(parts[0], parts[1]);
          j.run.validation = judged(model, objective, parts[1]);
          j.run.test = judged(model, objective, parts[2]);
        });
      });
    } catch (const FileError&) {
      throw;
    } catch (const Error& error) {  // a method that diverges ends its own run, not the comparison
      j.run.error = error.what();
      j.run.validation.assign(measures_.size(), std::numeric_limits<double>::quiet_NaN());
      j.run.test = j.run.validation;
    }
    if (j.run.steps > 0) j.run.milliseconds = 1000 * seconds / static_cast<double>(j.run.steps);
  }

  [[gnu::cold]] void log(const ComparedRun& run, Index done) const {
    std::string line = join("compare: ", done, '/', jobs_.size(), "  ", run.model, ", ", run.method, run.task.empty() ? "" : " ",
                            run.task, ", seed ", run.seed, run.error.empty() ? "" : ", failed: ", run.error, '\n');
    std::fwrite(line.data(), 1, line.size(), options_.log);
    std::fflush(options_.log);
  }

  const std::vector<ComparedModel<T>>& models_;
  const std::vector<Named<TaskLoss<T>>>& losses_;
  Source<T> source_;
  const CompareOptions<T>& options_;
  std::vector<ComparedMeasure> measures_;
  std::vector<std::vector<double>> candidates_;
  std::vector<Job> jobs_;
};

}  // namespace detail

/// Trains every model with every method, seed by seed; `models` hold at least one, whose first also serves the single-task runs
/// (with one task's loss alone, its other heads untouched). Throws Error for options that make no sense, for a file of other
/// runs, and when a single-task run fails; any other run that ends by an Error is reported in the result.
template <Differentiable T = float, DatasetFor<T> Data>
Comparison compare(const std::vector<ComparedModel<T>>& models, const std::vector<Named<TaskLoss<T>>>& losses,
                   const std::vector<ComparedMethod>& methods, const Data& data, const CompareOptions<T>& options = {}) {
  detail::Comparer<T> comparer(models, losses, methods, detail::Source<T>(detail::Borrowed<Data>{&data}), options);
  const double fractions[] = {1 - options.validation - options.test, options.validation, options.test};
  for (Index s = 0; s < options.seeds; ++s) {
    Rng rng(options.first_seed + static_cast<std::uint64_t>(s), detail::hash_name("compare"));
    if (options.stratify.empty()) {
      comparer.splits.push_back(split_rows(static_cast<Index>(data.size()), fractions, rng));
    } else if constexpr (std::same_as<Data, Dataset<T>>) {
      comparer.splits.push_back(detail::strata(data, options.stratify).rows(fractions, rng));
    } else {
      fail("compare: stratify is '", options.stratify, "', but the data is no Dataset; leave it empty");
    }
  }
  return comparer.compare();
}

}  // namespace espalier::inline ESPALIER_ABI
