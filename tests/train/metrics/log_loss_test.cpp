#include "espalier/train/metrics/log_loss.hpp"

#include "espalier/ops/loss.hpp"
#include "support/catch.hpp"
#include "train/metrics/cases.hpp"

using namespace espalier;
using support::apart;

namespace {

double of(const Scored& batch) {
  metrics::LogLoss loss;
  loss.add(batch);
  return loss.value();
}

}  // namespace

TEST_CASE("log_loss is the loss over the whole set", "[fast]") {
  int cases = 0;
  for (const support::Case& c : support::golden_cases()) {
    if (c.name.starts_with("values") || c.name.starts_with("quantiles") || c.name.starts_with("ordered")) continue;
    const Tensor<double> loss =
        c.target.classes.defined() ? cross_entropy(c.prediction, c.target) : bce_with_logits(c.prediction, c.target);
    INFO(c.name);
    CHECK(apart(of(c.all()), loss.item()) < 1e-13);
    ++cases;
  }
  CHECK(cases == 14);
}

TEST_CASE("soft labels, and logits far from 0", "[fast]") {
  const Tensor<double> logits({1, 4}, {-1000, -40, 40, 1000}), soft({1, 4}, {0.25, 0, 1, 0.75});
  CHECK(of(scored(logits, soft, "a")) == Approx(bce_with_logits(logits, soft).item()).epsilon(1e-15));
  CHECK(of(scored(Tensor<double>({1}, {40}), Tensor<double>({1}, {1}), "a")) == Approx(std::exp(-40.0)).epsilon(1e-15));
  const Tensor<double> rows({2, 3}, {1000, -1000, 960, 0, -HUGE_VAL, -HUGE_VAL});
  CHECK(of(scored(rows, Tensor<Index>({2}, {0, 0}), "a")) == Approx(std::exp(-40.0) / 2).epsilon(1e-15));
  CHECK(of(scored(rows, Tensor<Index>({2}, {1, 0}), "a")) == 1000);
  CHECK(of(scored(rows, Tensor<Index>({2}, {0, 1}), "a")) == HUGE_VAL);
}

TEST_CASE("certain logits cost nothing when they are right", "[fast]") {
  CHECK(of(scored(Tensor<double>({2}, {HUGE_VAL, -HUGE_VAL}), Tensor<double>({2}, {1, 0}), "a")) == 0);
  CHECK(of(scored(Tensor<double>({1}, {HUGE_VAL}), Tensor<double>({1}, {0}), "a")) == HUGE_VAL);
  CHECK(of(scored(Tensor<double>({1, 2}, {HUGE_VAL, 0}), Tensor<Index>({1}, {0}), "a")) == 0);
  CHECK(of(scored(Tensor<double>({1, 2}, {HUGE_VAL, 0}), Tensor<Index>({1}, {1}), "a")) == HUGE_VAL);
}
