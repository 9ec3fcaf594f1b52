#pragma once
// diagnostics_curves: what the steps did, over time.
//
//   save_svg("diagnostics.svg", diagnostics_curves(trainer.history()));
//
// Included by name: a program that draws nothing does not pay for it.

#include "espalier/tensor/named.hpp"
#include "espalier/train/chart.hpp"

namespace espalier::inline ESPALIER_ABI {

/// Panels of the task weights, gradient norms, J d, cosines (a line per pair), conflict rate, KKT residual, and the shares of
/// steps with a fallback or a capped solver, the experts' mean weights in the gates, a panel for each task, and the penalty, from the
/// columns of a DiagnosticsMeter; what never occurred is left out. The x axis
/// is the column "epoch", or the row's number from 1. Throws Error for a history without such columns.
[[gnu::cold]] inline Chart diagnostics_curves(const History& history) {
  constexpr std::string_view prefix = "diagnostics/";
  struct Kind {
    std::string_view measure, title;
    bool log;
  };
  const bool epochs = history.has("epoch");
  const auto points = [&](const std::string& column, std::string name) {  // the rows that have a value
    Series series{.name = std::move(name)};
    const std::span<const double> values = history[column];
    for (std::size_t row = 0; row < values.size(); ++row) {
      if (std::isnan(values[row])) continue;
      series.x.push_back(epochs ? history["epoch"][row] : static_cast<double>(row + 1));
      series.y.push_back(values[row]);
    }
    return series;
  };
  constexpr Kind kinds[] = {{"weight", "task weights", false},       {"gradient_norm", "gradient norms", true},
                            {"descent", "J d", false},               {"cosine", "cosines", false},
                            {"conflict_rate", "conflict rate", false}, {"kkt_residual", "KKT residual", true},
                            {"fallback_rate", "fallbacks", false},   {"capped_rate", "capped solvers", false},
                            {"penalty", "penalty", false}};
  Chart chart;
  bool any = false;
  const auto x_label = epochs ? "epoch" : "step";
  for (const Kind& kind : kinds) {
    Panel panel{.title = std::string(kind.title), .x_label = x_label, .log_y = kind.log};
    for (const std::string& column : history.columns()) {
      if (!column.starts_with(prefix)) continue;
      any = true;
      std::string_view name = std::string_view(column).substr(prefix.size());
      if (!name.ends_with(kind.measure)) continue;
      name.remove_suffix(kind.measure.size());
      if (!name.empty() && name.back() != '/') continue;
      Series series = points(column, std::string(name.substr(0, name.empty() ? 0 : name.size() - 1)));
      bool occurred = kind.measure == "weight";
      for (const double y : series.y) occurred |= y != 0;
      if (occurred || kind.measure == "conflict_rate") panel.series.push_back(std::move(series));
    }
    if (!panel.series.empty()) chart.panels.push_back(std::move(panel));
  }
  std::vector<Named<Panel>> gates;  // by whose they are
  for (const std::string& column : history.columns()) {
    const std::size_t at = column.rfind("/gate/");  // the last one, as a task may be called "gate"
    const bool measure = std::ranges::any_of(kinds, [&](const Kind& k) { return column.ends_with(join('/', k.measure)); });
    if (!column.starts_with(prefix) || at == std::string::npos || at + 1 < prefix.size() || measure) continue;
    const std::string whose = at + 1 == prefix.size() ? "all tasks" : column.substr(prefix.size(), at - prefix.size());
    std::size_t g = 0;
    while (g < gates.size() && gates[g].name != whose) ++g;
    if (g == gates.size()) gates.push_back({whose, {.title = "gate of " + whose, .x_label = x_label}});
    gates[g].value.series.push_back(points(column, column.substr(at + 6)));
  }
  for (Named<Panel>& panel : gates) chart.panels.push_back(std::move(panel.value));
  if (!any) fail("diagnostics_curves: the history has no diagnostics; call objective.diagnose() before the Trainer is made");
  return chart;
}

}  // namespace espalier::inline ESPALIER_ABI
