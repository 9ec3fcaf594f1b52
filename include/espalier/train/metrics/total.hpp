#pragma once
// Sums for metrics: the rounding errors are summed beside the sum, so that neither the order of the rows nor the way
// they are cut into batches shows in the result.

#include <cmath>
#include <limits>

#include "espalier/config.hpp"

namespace espalier::inline ESPALIER_ABI::detail {

/// A compensated sum (Neumaier 1974).
struct Total {
  double sum = 0, rest = 0;

  void add(double x) {
    const double next = sum + x;
    rest += std::abs(sum) >= std::abs(x) ? (sum - next) + x : (x - next) + sum;
    sum = next;
  }
  double value() const { return std::isfinite(sum) ? sum + rest : sum; }
};

/// sum w x / sum w; NaN of nothing.
struct WeightedMean {
  Total weight, sum;

  void add(double w, double x) {
    weight.add(w);
    sum.add(w * x);
  }
  double value() const {
    return weight.value() > 0 ? sum.value() / weight.value() : std::numeric_limits<double>::quiet_NaN();
  }
};

}  // namespace espalier::inline ESPALIER_ABI::detail
