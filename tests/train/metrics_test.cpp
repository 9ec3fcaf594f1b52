#include "espalier/train/metrics.hpp"

#include <bit>
#include <numeric>

#include "support/catch.hpp"
#include "train/metrics/cases.hpp"

using namespace espalier;
using support::apart;
using support::Case;
using support::hole;

namespace {

std::vector<Index> counted(Index from, Index to) {
  std::vector<Index> rows(static_cast<std::size_t>(to - from));
  std::iota(rows.begin(), rows.end(), from);
  return rows;
}
std::vector<Index> shuffled(Index n, std::uint64_t seed) {
  Rng rng{seed};
  std::vector<double> keys(static_cast<std::size_t>(n));
  rng.uniform(std::span<double>(keys), 0, 1);
  std::vector<Index> rows = counted(0, n);
  std::sort(rows.begin(), rows.end(),
            [&](Index a, Index b) { return keys[static_cast<std::size_t>(a)] < keys[static_cast<std::size_t>(b)]; });
  return rows;
}
bool same_bits(double a, double b) { return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b); }

/// A metric of one batch, worked out another way.
struct Otherwise {
  std::string text;
  double (*formula)(const Scored&);
  double found = hole;

  static constexpr bool higher_is_better = true;
  std::string_view name() const { return text; }
  void add(const Scored& batch) { found = formula(batch); }
  double value() const { return found; }
  void reset() { found = hole; }
};
/// How far a formula is from the golden values of the metric it gives itself out for, at the worst.
double noticed(std::string name, double (*formula)(const Scored&)) {
  double worst = -1;
  for (const Case& c : support::golden_cases())
    for (const auto& [metric, expected] : c.results)
      if (metric == name) worst = std::max(worst, apart(c.of(Otherwise{name, formula}), expected));
  return worst;
}
double weighted_mean(const Scored& s, double (*f)(double y, double t), bool by_weight = true) {
  double sum = 0, weights = 0;
  for (std::size_t i = 0; i < s.weight.size(); ++i) {
    if (s.weight[i] == 0) continue;
    sum += (by_weight ? s.weight[i] : 1) * f(s.prediction[i], s.value[i]);
    weights += by_weight ? s.weight[i] : 1;
  }
  return sum / weights;
}
double square(double y, double t) { return (y - t) * (y - t); }
/// All pairs, one by one; ties count `tie`.
double pairs_of_binary(const Scored& s, double tie) {
  double area = 0, columns = 0;
  for (Index k = 0; k < s.width; ++k) {
    double right = 0, all = 0;
    for (Index i = k; i < s.rows * s.width; i += s.width)
      for (Index j = k; j < s.rows * s.width; j += s.width) {
        const auto p = static_cast<std::size_t>(i), n = static_cast<std::size_t>(j);
        if (s.weight[p] == 0 || s.weight[n] == 0 || s.value[p] != 1 || s.value[n] != 0) continue;
        const double w = s.weight[p] * s.weight[n], up = s.prediction[p] - s.prediction[n];
        right += w * (up > 0 ? 1 : up == 0 ? tie : 0);
        all += w;
      }
    if (all > 0) area += right / all, columns += 1;
  }
  return area / columns;
}

}  // namespace

TEST_CASE("metrics are scikit-learn's", "[fast]") {
  int compared = 0;
  std::vector<std::string> seen;
  for (const Case& c : support::golden_cases())
    for (const auto& [name, expected] : c.results) {
      INFO(c.name << "." << name);
      CHECK(apart(c.of(support::metric_of(name)), expected) < 1e-12);
      seen.push_back(name);
      ++compared;
    }
  CHECK(compared == 260);
  for (const AnyMetric& metric : support::all_metrics()) {
    INFO(metric.name());
    CHECK(std::ranges::count(seen, metric.name()) >= 5);
  }
}

TEST_CASE("formulas that are right agree with the golden values", "[fast]") {
  CHECK(noticed("mse", [](const Scored& s) { return weighted_mean(s, square); }) < 1e-12);
  CHECK(noticed("mae", [](const Scored& s) {
          return weighted_mean(s, [](double y, double t) { return std::abs(y - t); });
        }) < 1e-12);
  CHECK(noticed("auroc", [](const Scored& s) {
          if (!s.of_classes) return pairs_of_binary(s, 0.5);
          metrics::AUROC auroc;
          auroc.add(s);
          return auroc.value();
        }) < 1e-12);
}

TEST_CASE("formulas that are nearly right are noticed", "[fast]") {
  CHECK(noticed("mse", [](const Scored& s) { return weighted_mean(s, square, false); }) > 1e-3);
  CHECK(noticed("mse", [](const Scored& s) { return weighted_mean(s, square) * (1 + 1e-11); }) > 1e-12);
  CHECK(noticed("rmse", [](const Scored& s) { return std::sqrt(weighted_mean(s, square)); }) > 1e-3);
  CHECK(noticed("r2", [](const Scored& s) {  // all columns around one mean
          double mean = weighted_mean(s, [](double, double t) { return t; }), spread = 0, weights = 0;
          for (std::size_t i = 0; i < s.weight.size(); ++i) {
            spread += s.weight[i] * square(mean, s.value[i]);
            weights += s.weight[i];
          }
          return 1 - weighted_mean(s, square) / (spread / weights);
        }) > 1e-3);
  CHECK(noticed("auroc", [](const Scored& s) { return s.of_classes ? hole : pairs_of_binary(s, 0); }) > 1e-3);
  CHECK(noticed("accuracy", [](const Scored& s) {  // the last of equal logits
          double right = 0, all = 0;
          for (Index i = 0; s.of_classes && i < s.rows; ++i) {
            const double* row = s.prediction.data() + i * s.width;
            Index best = 0;
            for (Index j = 0; j < s.width; ++j)
              if (row[j] >= row[best]) best = j;
            const auto at = static_cast<std::size_t>(i);
            right += s.weight[at] * (best == s.classes[at]);
            all += s.weight[at];
          }
          if (s.of_classes) return right / all;
          metrics::Accuracy accuracy;
          accuracy.add(s);
          return accuracy.value();
        }) > 1e-3);
  CHECK(noticed("f1_macro", [](const Scored& s) {  // the positive class alone
          metrics::F1 f1{.average = s.of_classes || s.width > 1 ? metrics::Average::macro : metrics::Average::binary};
          f1.add(s);
          return f1.value();
        }) > 1e-3);
}

TEST_CASE("however the rows are cut into batches, no bit changes", "[fast]") {
  for (const Case& c : support::golden_cases())
    for (const auto& [name, expected] : c.results) {
      const double whole = c.of(support::metric_of(name));
      for (const Index size : {1, 3, 7, 16}) {
        AnyMetric metric = support::metric_of(name);
        for (Index from = 0; from < c.batch(); from += size) {
          metric.add(c.rows(counted(from, std::min(c.batch(), from + size))));
          metric.add(c.rows({}));
        }
        INFO(c.name << "." << name << " by " << size);
        CHECK(same_bits(metric.value(), whole));
      }
    }
}

TEST_CASE("the order of the rows does not matter", "[fast]") {
  for (const Case& c : support::golden_cases())
    for (const auto& [name, expected] : c.results)
      for (const std::uint64_t seed : {1U, 2U, 3U}) {
        AnyMetric metric = support::metric_of(name);
        const std::vector<Index> rows = shuffled(c.batch(), seed);
        const auto middle = rows.begin() + c.batch() / 3;
        metric.add(c.rows({rows.begin(), middle}));
        metric.add(c.rows({middle, rows.end()}));
        INFO(c.name << "." << name << " seed " << seed);
        CHECK(apart(metric.value(), expected) < 1e-12);
      }
}

TEST_CASE("what lies behind a weight of 0 changes no bit", "[fast]") {
  int masked = 0;
  for (Case c : support::golden_cases()) {
    if (!c.target.weight.defined()) continue;
    Case other = c;  // with other numbers where c has NaN, and NaN for its predictions there
    other.prediction = c.prediction.clone();
    const Index width = c.prediction.shape()[1], each = c.target.weight.size() / c.batch();
    if (c.target.classes.defined())
      other.target.classes = c.target.classes.clone();
    else
      other.target.value = c.target.value.clone();
    for (Index i = 0; i < c.prediction.size(); ++i) {
      if (c.target.weight.data()[each == 1 ? i / width : i] != 0) continue;
      const auto at = static_cast<std::size_t>(i);
      other.prediction.mutate()[at] = hole;
      if (c.target.classes.defined()) {
        CHECK(c.target.classes.data()[i / width] == -1);
        other.target.classes.mutate()[at / static_cast<std::size_t>(width)] = 1;
      } else {
        CHECK(std::isnan(c.target.value.data()[i]));
        other.target.value.mutate()[at] = 1e9;
      }
      ++masked;
    }
    for (const auto& [name, expected] : c.results) {
      INFO(c.name << "." << name);
      CHECK(same_bits(c.of(support::metric_of(name)), other.of(support::metric_of(name))));
    }
  }
  CHECK(masked > 200);
}

TEST_CASE("weights count as repetitions, and a factor on all of them cancels", "[fast]") {
  for (const Case& c : support::golden_cases()) {
    if (!c.target.weight.defined() || c.target.weight.rank() != 1) continue;
    std::vector<Index> rows;  // weights are half steps
    for (Index i = 0; i < c.batch(); ++i)
      for (double w = c.target.weight(i); w > 0; w -= 0.5) rows.push_back(i);
    Case repeated = c, scaled = c;
    repeated.target.weight = {};
    scaled.target.weight = c.target.weight.clone();
    for (double& w : scaled.target.weight.mutate()) w *= 1e6;
    for (const auto& [name, expected] : c.results) {
      AnyMetric metric = support::metric_of(name);
      metric.add(repeated.rows(rows));
      INFO(c.name << "." << name);
      CHECK(apart(metric.value(), expected) < 1e-12);
      CHECK(apart(scaled.of(support::metric_of(name)), expected) < 1e-12);
    }
  }
}

TEST_CASE("a prediction that is NaN makes every metric NaN, until reset", "[fast]") {
  for (const Case& c : support::golden_cases()) {
    Case broken = c;
    broken.prediction = c.prediction.clone();
    Index row = 0;
    const Tensor<double>& w = c.target.weight;
    while (w.defined() && w.data()[row * (w.size() / c.batch())] == 0) ++row;
    broken.prediction.mutate()[static_cast<std::size_t>(row * c.prediction.shape()[1])] = hole;
    for (const auto& [name, expected] : c.results) {
      AnyMetric metric = support::metric_of(name);
      metric.add(broken.all());
      INFO(c.name << "." << name);
      CHECK(std::isnan(metric.value()));
      metric.add(c.all());
      CHECK(std::isnan(metric.value()));
      metric.reset();
      metric.add(c.all());
      CHECK(apart(metric.value(), expected) < 1e-12);
    }
  }
}

TEST_CASE("nothing labelled is NaN", "[fast]") {
  for (AnyMetric metric : support::all_metrics()) {
    INFO(metric.name());
    CHECK(std::isnan(metric.value()));
    const Tensor<double> none = Tensor<double>::zeros({4});
    metric.add(scored(Tensor<double>::zeros({4, 1}), Target<double>(Tensor<double>::full({4}, hole), none), "a"));
    CHECK(std::isnan(metric.value()));
  }
}

TEST_CASE("in float, the numbers are those of the floats as doubles", "[fast]") {
  for (const Case& c : support::golden_cases()) {
    Target<float> target;
    target.value = cast<float>(c.target.value);
    target.classes = c.target.classes;
    target.weight = cast<float>(c.target.weight);
    const Tensor<float> prediction = cast<float>(c.prediction);
    Case rounded = c;
    rounded.prediction = cast<double>(prediction);
    rounded.target.value = cast<double>(target.value);
    for (const auto& [name, expected] : c.results) {
      AnyMetric metric = support::metric_of(name);
      metric.add(scored(prediction, target, "a", c.options()));
      INFO(c.name << "." << name);
      CHECK(same_bits(metric.value(), rounded.of(support::metric_of(name))));
    }
  }
}
