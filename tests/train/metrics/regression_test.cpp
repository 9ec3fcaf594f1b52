#include "espalier/train/metrics/regression.hpp"

#include "espalier/ops/loss.hpp"
#include "support/catch.hpp"
#include "train/metrics/cases.hpp"

using namespace espalier;
using support::apart;
using support::hole;

namespace {

Scored values(std::vector<double> prediction, std::vector<double> value, std::vector<double> weight = {},
              Index width = 1) {
  if (weight.empty()) weight.assign(value.size(), 1);
  const auto rows = static_cast<Index>(value.size()) / width;
  return {.task = "a",
          .rows = rows,
          .width = width,
          .prediction = std::move(prediction),
          .value = std::move(value),
          .weight = std::move(weight)};
}
template <class M>
double of(const Scored& batch) {
  M metric;
  metric.add(batch);
  return metric.value();
}

}  // namespace

TEST_CASE("mse and mae are the losses over the whole set", "[fast]") {
  for (const support::Case& c : support::golden_cases()) {
    if (!c.name.starts_with("values")) continue;
    INFO(c.name);
    CHECK(apart(c.of(metrics::MSE{}), mse(c.prediction, c.target).item()) < 1e-13);
    CHECK(apart(c.of(metrics::MAE{}), mae(c.prediction, c.target).item()) < 1e-13);
  }
}

TEST_CASE("errors by hand", "[fast]") {
  const Scored batch = values({1, 2, 3, 4}, {1, 4, 2, 4}, {1, 1, 2, 0});
  CHECK(of<metrics::MSE>(batch) == 1.5);
  CHECK(of<metrics::MAE>(batch) == 1);
  CHECK(of<metrics::RMSE>(batch) == Approx(std::sqrt(1.5)).epsilon(1e-15));
  CHECK(of<metrics::R2>(batch) == Approx(1 - 6 / 4.75).epsilon(1e-15));
  // Two outputs: the roots are averaged, not the squares.
  CHECK(of<metrics::RMSE>(values({3, 1}, {0, 0}, {}, 2)) == 2);
}

TEST_CASE("an output without labels is left out", "[fast]") {
  const Scored batch = values({1, 7, 2, 7}, {2, hole, 4, hole}, {1, 0, 1, 0}, 2);
  CHECK(of<metrics::RMSE>(batch) == of<metrics::RMSE>(values({1, 2}, {2, 4})));
  CHECK(of<metrics::R2>(batch) == of<metrics::R2>(values({1, 2}, {2, 4})));
}

TEST_CASE("R2 where the targets say little", "[fast]") {
  CHECK(std::isnan(of<metrics::R2>(values({1}, {1}))));  // one label has no spread
  CHECK(of<metrics::R2>(values({0.1, 0.1, 0.1}, {0.1, 0.1, 0.1})) == 1);
  CHECK(of<metrics::R2>(values({0.1, 0.1, 0.2}, {0.1, 0.1, 0.1})) == 0);
  CHECK(of<metrics::R2>(values({1, 5, 2, 6}, {1, 5, 2, hole}, {1, 1, 1, 0}, 2)) == 1);  // the second has one label
  CHECK(of<metrics::R2>(values({2, 2, 2}, {1, 2, 3})) == 0);
}

TEST_CASE("R2 loses no digits far from 0, nor to an outlier that comes first", "[fast]") {
  Rng rng{4};
  const Index n = 2000;
  Tensor<double> t = Tensor<double>::normal({n}, rng), y = Tensor<double>::normal({n}, rng);
  for (const double far : {0.0, 1e6, 1e9, -1e12}) {
    for (const bool outlier : {false, true}) {
      std::vector<double> target, prediction;
      for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
        target.push_back(std::round(t.data()[i] * 1024) / 1024 + far);  // exact, as far as it goes
        prediction.push_back(std::round((t.data()[i] + 0.3 * y.data()[i]) * 1024) / 1024 + far);
      }
      if (outlier) target[0] += 1e7, prediction[0] += 1e7;
      long double mean = 0, errors = 0, spread = 0;
      for (const double v : target) mean += static_cast<long double>(v) - static_cast<long double>(far);
      mean /= n;
      for (std::size_t i = 0; i < target.size(); ++i) {
        const long double off = static_cast<long double>(target[i]) - static_cast<long double>(far) - mean;
        const long double error = static_cast<long double>(prediction[i]) - static_cast<long double>(target[i]);
        spread += off * off;
        errors += error * error;
      }
      INFO(far << (outlier ? " outlier" : ""));
      metrics::R2 forwards, backwards;
      for (std::size_t i = 0; i < target.size(); ++i) {
        const std::size_t j = target.size() - 1 - i;
        forwards.add(values({prediction[i]}, {target[i]}));
        backwards.add(values({prediction[j]}, {target[j]}));
      }
      const auto exact = static_cast<double>(1 - errors / spread);
      CHECK(std::abs(forwards.value() - exact) < 1e-13);
      CHECK(std::abs(backwards.value() - exact) < 1e-13);
      if (!outlier) CHECK(exact > 0.8);
    }
  }
}

TEST_CASE("arrmse against the means of the training set", "[fast]") {
  metrics::ARRMSE own, given{.means = {3}}, two{.means = {3, 1}};
  const Scored batch = values({1, 2, 3, 4}, {1, 4, 2, 4}, {1, 1, 2, 0});
  own.add(batch);
  given.add(batch);
  CHECK(own.value() == Approx(std::sqrt(6 / 4.75)).epsilon(1e-15));
  CHECK(given.value() == Approx(std::sqrt(6 / 7.0)).epsilon(1e-15));  // (1 - 3)^2 + (4 - 3)^2 + 2 (2 - 3)^2
  given.reset();
  CHECK(given.means.size() == 1);
  CHECK_THROWS_WITH(two.add(batch), "arrmse: task 'a' has 1 outputs, but there are 2 means; give one per output");
}

TEST_CASE("pinball wants the levels of the loss", "[fast]") {
  const Tensor<double> y({2, 2}, {1, 5, 2, 7}), t({2}, {3, 6});
  metrics::Pinball pinball{.levels = {0.25, 0.75}};
  pinball.add(scored(y, t, "a", {.each = 2}));
  CHECK(pinball.value() == (0.25 * 2 + 0.25 * 2 + 0.25 * 4 + 0.25 * 1) / 4);
  pinball.reset();
  CHECK(pinball.levels.size() == 2);
  CHECK(std::isnan(pinball.value()));
  metrics::Pinball three, wrong{.levels = {0.5, 1}};
  CHECK_THROWS_WITH(three.add(scored(y, t, "a", {.each = 2})),
                    "pinball: task 'a' has 2 columns for 3 levels; give it the levels of its loss");
  CHECK_THROWS_WITH(wrong.add(scored(y, t, "a", {.each = 2})), "pinball: a level is 1; levels lie in (0, 1)");
  CHECK_THROWS_WITH(scored(y, Tensor<double>::zeros({2, 2}), "a", {.each = 2}),
                    "metrics: task 'a': the target is [2, 2], the prediction [2, 2]; the target must be [2, 1] or [2]");
}

TEST_CASE("classes are no values", "[fast]") {
  metrics::RMSE rmse;
  const Scored classes{
      .task = "a", .rows = 1, .width = 2, .of_classes = true, .prediction = {0, 1}, .classes = {1}, .weight = {1}};
  REQUIRE_THROWS_WITH(rmse.add(classes),
                      "rmse: task 'a' has classes; this metric compares values; use accuracy, f1, auroc or log_loss");
  CHECK_THROWS_AS(metrics::MSE{}.add(classes), Error);
  CHECK_THROWS_AS(metrics::MAE{}.add(classes), Error);
  CHECK_THROWS_AS(metrics::R2{}.add(classes), Error);
}
