#pragma once
// trade_off: what the methods of a comparison give up for what.
//
//   save_svg("trade_off.svg", trade_off(result));
//
// Included by name: a program that draws nothing does not pay for it.

#include "espalier/train/chart.hpp"
#include "espalier/train/comparison.hpp"

namespace espalier::inline ESPALIER_ABI {

/// A panel of Delta_m over the cost of a step, then one for every pair of measures that count (at most `pairs` of them), a point a
/// row, with its confidence interval upwards and downwards.
[[gnu::cold]] inline Chart trade_off(const Comparison& comparison, Index pairs = 5) {
  Chart chart;
  const auto& measures = comparison.measures();
  const auto& rows = comparison.rows();
  bool models = false;
  for (const ComparedRow& row : rows) models |= row.model != rows[0].model;
  const auto add = [&](Panel& panel, const ComparedRow& row, double x, const Interval& y) {
    const double half = std::isnan(y.half_width) ? 0 : y.half_width;
    if (std::isnan(x) || std::isnan(y.mean)) return;
    panel.series.push_back({.name = models ? row.model + ", " + row.method : row.method, .x = {x}, .y = {y.mean},
                            .low = {y.mean - half}, .high = {y.mean + half}});
  };
  Panel cost{.title = "Delta_m and cost (lower is better)", .x_label = "ms a step", .y_label = "Delta_m, %"};
  for (const ComparedRow& row : rows) add(cost, row, row.milliseconds, row.delta_m);
  chart.panels.push_back(std::move(cost));
  const auto label = [](const ComparedMeasure& m) { return join(m.task, ' ', m.name, m.higher_is_better ? " (up)" : " (down)"); };
  for (std::size_t a = 0; a < measures.size(); ++a)
    for (std::size_t b = a + 1; b < measures.size(); ++b) {
      if (!measures[a].counts || !measures[b].counts || static_cast<Index>(chart.panels.size()) > pairs) continue;
      Panel panel{.x_label = label(measures[a]), .y_label = label(measures[b])};
      panel.title = join(measures[a].task, " and ", measures[b].task);
      for (const ComparedRow& row : rows) add(panel, row, row.measures[a].mean, row.measures[b]);
      chart.panels.push_back(std::move(panel));
    }
  return chart;
}

}  // namespace espalier::inline ESPALIER_ABI
