#pragma once
// Quantile: heads that predict quantiles of their target.

#include "espalier/ops/loss_methods.hpp"

namespace espalier::inline ESPALIER_ABI {

/// The pinball loss of level q, q (t - y) where t > y, else (1 - q) (y - t): least, on average, where y is the q-quantile of t
/// (Koenker & Bassett 1978). A head of `levels.size()` columns for every number of the target, the levels of the first number
/// first; the loss is the mean over the columns. At y = t the slope is 1/2 - q.
struct Quantile {
  using every_isa = Quantile;
  static constexpr std::string_view name = "quantile";
  static constexpr Index parameters = 1;
  std::vector<double> levels = {0.1, 0.5, 0.9};  // each in (0, 1)

  void settle(LossHead& head) const {
    const auto count = static_cast<Index>(levels.size());
    if (count == 0) head.bad("there are no levels; give it at least one");
    for (const double q : levels)
      if (!(q > 0 && q < 1)) head.bad(join("a level is ", q, "; levels lie in (0, 1)"));
    if (head.width % count != 0)
      head.bad(join("the prediction has ", head.width, " columns for ", count, " levels; it must have one per number and level"));
    head.each = count;
    for (Index j = 0; j < head.width; ++j) head.set(0, j, levels[static_cast<std::size_t>(j % count)]);
  }
  ESPALIER_INLINE static auto value(const auto& y, const auto& t, const auto& q) {
    const auto d = y - t;
    return 0.5f * (abs(d) + (1 - 2 * q) * d);
  }
  ESPALIER_INLINE static auto slope(const auto& y, const auto& t, const auto& q) { return 0.5f * (sign(y - t) + (1 - 2 * q)); }
};

}  // namespace espalier::inline ESPALIER_ABI
