#pragma once
// Metrics of values: MSE, MAE, RMSE, R2, ARRMSE.
//
// MSE and MAE are means over all labelled elements, so each is the loss of that name over the whole set. RMSE, R2 and ARRMSE
// are taken of every output (column) and then averaged over the outputs that can be scored, each counting alike:
// scikit-learn's uniform_average. A prediction that is NaN makes the metric NaN, as does a set without labels.

#include "espalier/train/metrics/scored.hpp"
#include "espalier/train/metrics/total.hpp"

namespace espalier::inline ESPALIER_ABI {

namespace detail {

/// One output's errors, and how far its targets spread around their mean.
struct OutputErrors {
  WeightedMean squares;        // of the errors
  double shift = 0, mean = 0;  // the first target; the mean of what comes on top of it
  Total spread;                // sum w (t - mean of t)^2
  Index labels = 0;

  /// Welford's update (West 1979), of targets less the first one: no digit is lost to a mean far from 0, and targets
  /// that are all the same spread by 0 exactly.
  void add(double prediction, double target, double w) {
    if (labels++ == 0) shift = target;
    squares.add(w, (prediction - target) * (prediction - target));
    const double more = target - shift, off = more - mean;
    mean += off * (w / squares.weight.value());
    spread.add(w * off * (more - mean));
  }
};

/// The outputs of a task.
struct AllOutputs {
  BatchKind kind;
  std::vector<OutputErrors> outputs;

  void add(std::string_view metric, const Scored& batch) {
    if (!kind.admits(metric, batch, Values::numbers)) return;
    outputs.resize(static_cast<std::size_t>(kind.width));
    std::size_t i = 0;
    for (Index row = 0; row < batch.rows; ++row)
      for (OutputErrors& output : outputs) {
        if (batch.weight[i] > 0) output.add(batch.prediction[i], batch.value[i], batch.weight[i]);
        ++i;
      }
  }
  /// The mean of a score over the outputs of at least `labels` labels.
  double average(Index labels, double (*score)(const OutputErrors&)) const {
    WeightedMean mean;
    for (const OutputErrors& output : outputs)
      if (output.labels >= labels) mean.add(1, score(output));
    return mean.value();
  }
};

}  // namespace detail

namespace metrics {

/// The mean squared error, sum w (y - t)^2 / sum w over all elements.
struct MSE {
  static constexpr std::string_view name = "mse";
  static constexpr bool higher_is_better = false;
  /// Throws Error for classes, and for a batch of another width than before.
  void add(const Scored& batch) {
    if (!kind_.admits(name, batch, detail::Values::numbers)) return;
    for (std::size_t i = 0; i < batch.value.size(); ++i) {
      if (!(batch.weight[i] > 0)) continue;
      const double off = batch.prediction[i] - batch.value[i];
      mean_.add(batch.weight[i], off * off);
    }
  }
  double value() const { return mean_.value(); }
  void reset() { *this = {}; }

 private:
  detail::BatchKind kind_;
  detail::WeightedMean mean_;
};

/// The mean absolute error, sum w |y - t| / sum w over all elements.
struct MAE {
  static constexpr std::string_view name = "mae";
  static constexpr bool higher_is_better = false;
  /// Throws Error for classes, and for a batch of another width than before.
  void add(const Scored& batch) {
    if (!kind_.admits(name, batch, detail::Values::numbers)) return;
    for (std::size_t i = 0; i < batch.value.size(); ++i)
      if (batch.weight[i] > 0) mean_.add(batch.weight[i], std::abs(batch.prediction[i] - batch.value[i]));
  }
  double value() const { return mean_.value(); }
  void reset() { *this = {}; }

 private:
  detail::BatchKind kind_;
  detail::WeightedMean mean_;
};

/// The root of the mean squared error of an output, averaged over the outputs (scikit-learn's root_mean_squared_error):
/// in the target's unit.
struct RMSE {
  static constexpr std::string_view name = "rmse";
  static constexpr bool higher_is_better = false;
  /// Throws Error for classes, and for a batch of another width than before.
  void add(const Scored& batch) { all_.add(name, batch); }
  double value() const {
    return all_.average(1, [](const detail::OutputErrors& output) { return std::sqrt(output.squares.value()); });
  }
  void reset() { *this = {}; }

 private:
  detail::AllOutputs all_;
};

/// The coefficient of determination of an output, 1 - sum w (y - t)^2 / sum w (t - mean of t)^2, averaged over the
/// outputs (scikit-learn's r2_score). 1 is perfect, 0 what the mean of the targets gives. As there, a constant target
/// gives 1 when every prediction meets it and 0 otherwise. An output of fewer than two labels has none and is left out;
/// NaN when all are.
struct R2 {
  static constexpr std::string_view name = "r2";
  static constexpr bool higher_is_better = true;
  /// Throws Error for classes, and for a batch of another width than before.
  void add(const Scored& batch) { all_.add(name, batch); }
  double value() const {
    return all_.average(2, [](const detail::OutputErrors& output) {
      const double errors = output.squares.sum.value(), spread = output.spread.value();
      return errors == 0 ? 1.0 : spread == 0 && !std::isnan(errors) ? 0.0 : 1 - errors / spread;
    });
  }
  void reset() { *this = {}; }

 private:
  detail::AllOutputs all_;
};

/// The average relative root mean squared error, the usual measure of multi-target regression (Spyromitros-Xioufis et al. 2016,
/// arXiv 1211.6581): of an output sqrt(sum w (y - t)^2 / sum w (t - mean)^2), averaged over the outputs. 0 is perfect, 1 what the
/// mean gives. The mean is that of the set itself, which makes it sqrt(1 - R2), or one of `means`: those of the training targets,
/// as the literature has it. A constant target that is not met gives infinity. An output of fewer than two labels is left out;
/// NaN when all are.
struct ARRMSE {
  static constexpr std::string_view name = "arrmse";
  static constexpr bool higher_is_better = false;
  std::vector<double> means = {};  // one per output; none: of the set itself

  /// Throws Error for classes, for a batch of another width than before, and for another number of means.
  void add(const Scored& batch) {
    all_.add(name, batch);
    if (batch.rows > 0 && !means.empty() && static_cast<Index>(means.size()) != batch.width)
      fail(name, ": task '", batch.task, "' has ", batch.width, " outputs, but there are ", means.size(),
           " means; give one per output");
  }
  double value() const {
    detail::WeightedMean mean;
    for (std::size_t k = 0; k < all_.outputs.size(); ++k) {
      const detail::OutputErrors& output = all_.outputs[k];
      if (output.labels < 2) continue;
      const double away = means.empty() ? 0 : output.shift + output.mean - means[k];
      const double errors = output.squares.sum.value();
      const double spread = output.spread.value() + output.squares.weight.value() * away * away;
      mean.add(1, errors == 0 ? 0 : std::sqrt(errors / spread));
    }
    return mean.value();
  }
  void reset() { all_ = {}; }

  detail::AllOutputs all_ = {};
};

}  // namespace metrics
}  // namespace espalier::inline ESPALIER_ABI
