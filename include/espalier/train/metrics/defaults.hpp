#pragma once
// The metrics that a task is reported by when nobody chose any.

#include "espalier/ops/loss_methods.hpp"
#include "espalier/train/metrics/accuracy.hpp"
#include "espalier/train/metrics/auroc.hpp"
#include "espalier/train/metrics/f1.hpp"
#include "espalier/train/metrics/metric.hpp"
#include "espalier/train/metrics/ordinal.hpp"
#include "espalier/train/metrics/regression.hpp"

namespace espalier::inline ESPALIER_ABI::metrics {

/// By the name of the task's loss: mse: RMSE, R2; mae: MAE; huber, smooth_l1: MAE, R2; cross_entropy, focal: Accuracy, F1;
/// bce_with_logits, binary_focal: Accuracy, AUROC; ordinal: Accuracy, OrdinalMAE, QuadraticKappa; of any other loss there are none.
inline std::vector<AnyMetric> defaults(std::string_view loss) {
  std::vector<AnyMetric> chosen;
  if (loss == espalier::MSE::name) {
    chosen.push_back(RMSE{});
    chosen.push_back(R2{});
  } else if (loss == espalier::MAE::name) {
    chosen.push_back(MAE{});
  } else if (loss == "huber" || loss == "smooth_l1") {
    chosen.push_back(MAE{});
    chosen.push_back(R2{});
  } else if (loss == "ordinal") {
    chosen.push_back(Accuracy{});
    chosen.push_back(OrdinalMAE{});
    chosen.push_back(QuadraticKappa{});
  } else if (loss == CrossEntropy::name || loss == "focal") {
    chosen.push_back(Accuracy{});
    chosen.push_back(F1{});
  } else if (loss == BCEWithLogits::name || loss == "binary_focal") {
    chosen.push_back(Accuracy{});
    chosen.push_back(AUROC{});
  }
  return chosen;
}

}  // namespace espalier::inline ESPALIER_ABI::metrics
