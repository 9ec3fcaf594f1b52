#include "espalier/train/metrics/defaults.hpp"

#include "espalier/multitask/objective.hpp"
#include "espalier/ops/loss/focal.hpp"
#include "espalier/ops/loss/huber.hpp"
#include "espalier/ops/loss/ordinal.hpp"
#include "espalier/ops/loss/quantile.hpp"
#include "support/catch.hpp"

using namespace espalier;

namespace {

std::vector<std::string> names(const TaskLoss<float>& loss) {
  std::vector<std::string> all;
  for (const AnyMetric& metric : metrics::defaults(loss.name())) all.emplace_back(metric.name());
  return all;
}
using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("every loss has its metrics", "[fast]") {
  CHECK(names(MSE{}) == Names{"rmse", "r2"});
  CHECK(names(MAE{}) == Names{"mae"});
  CHECK(names(CrossEntropy{}) == Names{"accuracy", "f1_macro"});
  CHECK(names(BCEWithLogits{}) == Names{"accuracy", "auroc"});
  CHECK(names([](const Tensor<float>& y, const Target<float>&) { return y; }).empty());
  CHECK(metrics::defaults("").empty());
  CHECK(names(Huber{}) == Names{"mae", "r2"});
  CHECK(names(SmoothL1{}) == Names{"mae", "r2"});
  CHECK(names(Focal{}) == Names{"accuracy", "f1_macro"});
  CHECK(names(BinaryFocal{}) == Names{"accuracy", "auroc"});
  CHECK(names(Ordinal{}) == Names{"accuracy", "ordinal_mae", "quadratic_kappa"});
  CHECK(names(Quantile{}).empty());  // nobody knows its levels
}

TEST_CASE("whatever a loss accepts its metrics score", "[fast]") {
  const Tensor<float> logits({2, 2}, {1, 2, 3, 1});
  const auto score = [&](std::string_view loss, const Target<float>& target) {
    const Scored batch = scored(logits, target, "a");
    for (AnyMetric& metric : metrics::defaults(loss)) {
      metric.add(batch);
      INFO(metric.name());
      CHECK(std::isfinite(metric.value()));
    }
  };
  score("mse", Tensor<float>({2, 2}, {1, 5, 2, 7}));
  score("mae", Tensor<float>({2, 2}, {1, 5, 2, 7}));
  score("cross_entropy", Tensor<Index>({2}, {1, 0}));
  score("bce_with_logits", Tensor<Index>({2, 2}, {1, 0, 0, 1}));
  score("bce_with_logits", Tensor<float>({2, 2}, {0.9F, 0.1F, 0.2F, 0.7F}));
}
