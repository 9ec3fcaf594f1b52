#pragma once
// The metrics that a task is reported by when nobody chose any.

#include "espalier/ops/loss_methods.hpp"
#include "espalier/train/metrics/accuracy.hpp"
#include "espalier/train/metrics/auroc.hpp"
#include "espalier/train/metrics/f1.hpp"
#include "espalier/train/metrics/metric.hpp"
#include "espalier/train/metrics/regression.hpp"

namespace espalier::inline ESPALIER_ABI::metrics {

/// By the name of the task's loss: mse: RMSE, R2; mae: MAE; cross_entropy: Accuracy, F1; bce_with_logits: Accuracy,
/// AUROC; of any other loss there are none.
inline std::vector<AnyMetric> defaults(std::string_view loss) {
  std::vector<AnyMetric> chosen;
  if (loss == espalier::MSE::name) {
    chosen.push_back(RMSE{});
    chosen.push_back(R2{});
  } else if (loss == espalier::MAE::name) {
    chosen.push_back(MAE{});
  } else if (loss == CrossEntropy::name) {
    chosen.push_back(Accuracy{});
    chosen.push_back(F1{});
  } else if (loss == BCEWithLogits::name) {
    chosen.push_back(Accuracy{});
    chosen.push_back(AUROC{});
  }
  return chosen;
}

}  // namespace espalier::inline ESPALIER_ABI::metrics
