#pragma once
// Metrics: how good a model's predictions are, per task, over a whole set that is seen batch by batch.
//
//   metrics::Accuracy accuracy;
//   for (const auto& batch : loader)
//     accuracy.add(scored(model(batch.inputs)["digit"], batch.targets["digit"], "digit"));
//   double share = accuracy.value();
//
// Values are scikit-learn's, where it has one, with label weights as its sample weights; missing labels are left out.
// A metric of one's own is a struct like those here: train/metrics/metric.hpp.

#include "espalier/train/metrics/accuracy.hpp"
#include "espalier/train/metrics/auroc.hpp"
#include "espalier/train/metrics/average_precision.hpp"
#include "espalier/train/metrics/defaults.hpp"
#include "espalier/train/metrics/f1.hpp"
#include "espalier/train/metrics/log_loss.hpp"
#include "espalier/train/metrics/metric.hpp"
#include "espalier/train/metrics/ordinal.hpp"
#include "espalier/train/metrics/pinball.hpp"
#include "espalier/train/metrics/regression.hpp"
