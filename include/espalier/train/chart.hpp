#pragma once
// Line charts as SVG, complete in one file: no script, no font, no style sheet. Readable on white paper, in dark viewers
// (the background is part of the picture) and for the colour-blind (the palette is Okabe and Ito's, jfly.uni-koeln.de/color).
//
//   save_svg("run.svg", learning_curves(history));
//   save_svg("lr.svg", {{{.title = "schedule", .series = {{.name = "lr", .x = steps, .y = rates}}, .log_y = true}}});
//
// The same chart gives the same bytes.
//
// Included by name: a program that draws nothing does not pay for it.

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "espalier/io/file.hpp"
#include "espalier/train/axis.hpp"
#include "espalier/train/history.hpp"
#include "espalier/train/svg.hpp"

namespace espalier::inline ESPALIER_ABI {

/// A line. Where a number cannot be shown (NaN, infinity, beyond 1e300; 0 and less on a logarithmic axis) it has a gap.
/// A series of at most 20 points also shows these; a point alone always shows.
struct Series {
  std::string name = {};                    // in the legend; none when empty
  std::vector<double> x = {}, y = {};       // [points] each
  std::vector<double> low = {}, high = {};  // [points] each, or none: the ends of a band around the line
  bool dashed = false;
};

/// One pair of axes.
struct Panel {
  std::string title = {}, x_label = {}, y_label = {};
  std::vector<Series> series = {};
  bool log_x = false, log_y = false;
};

/// Panels in a grid, row by row.
struct Chart {
  std::vector<Panel> panels = {};
  std::string title = {};
  Index columns = 0;  // of the grid; 0 is what suits their number
};

/// The chart as an SVG file's text. Names that are too long for their place are cut. Throws Error when a series has not
/// as many y, low and high as x, or a low above its high, and for a negative number of columns.
template <class Lazy = void>
std::string svg(const Chart& chart);

/// The same into a file, by `replace_file`. Throws Error as `svg`, and FileError.
template <class Lazy = void>
void save_svg(const std::string& path, const Chart& chart) {
  replace_file(path, svg(chart));
}

namespace detail {

/// Draws a chart: first everything is measured, then written.
template <class Lazy = void>
class ChartWriter {
 public:
  explicit ChartWriter(const Chart& chart) : chart_(chart) {
    const auto count = static_cast<Index>(chart.panels.size());
    columns_ = chart.columns > 0 ? chart.columns : count == 4 ? 2 : count <= 9 ? 3 : 4;
    columns_ = std::max<Index>(1, std::min(columns_, count));
    if (columns_ == 1) width_ = 520, height_ = 280;
    for (std::size_t i = 0; i < chart.panels.size(); ++i) measure(i);
  }

  std::string text() {
    const double wide = left_ + width_ + right, edge = 8;
    double top = edge + (chart_.title.empty() ? 0 : 30);
    const std::size_t columns = static_cast<std::size_t>(columns_);
    std::string body;
    for (std::size_t first = 0; first < plots_.size(); first += columns) {
      const std::size_t end = std::min(first + columns, plots_.size());
      double head = 0, foot = 0;  // the plots of one row of the grid stand on one line
      for (std::size_t i = first; i < end; ++i) {
        head = std::max(head, plots_[i].head);
        foot = std::max(foot, plots_[i].foot);
      }
      for (std::size_t i = first; i < end; ++i) {
        const double x = edge + static_cast<double>(i - first) * wide + left_;
        draw(body, chart_.panels[i], plots_[i], x, top + head, top + head - plots_[i].head);
      }
      top += head + height_ + foot + 10;
    }
    const std::string w = pixels(std::ceil(2 * edge + static_cast<double>(columns_) * wide)),
                      h = pixels(std::ceil(top + edge));
    std::string out =
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + w + "\" height=\"" + h + "\" viewBox=\"0 0 " + w + ' ' +
        h +
        "\" font-family=\"Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif\" font-size=\"12\">\n"
        "<rect width=\"" +
        w + "\" height=\"" + h + "\" fill=\"#ffffff\"/>\n";
    if (!chart_.title.empty())
      put_text(out, edge + 6, edge + 20, "start", cut_text(chart_.title, static_cast<double>(columns_) * wide - 12, 18),
               ink, " font-size=\"18\" font-weight=\"bold\"");
    return out + body + "</svg>\n";
  }

 private:
  static constexpr std::string_view ink = "#222222", pale = "#666666", grid = "#e4e4e4", frame = "#999999";
  static constexpr double right = 26;  // of a plot: room for half a label
  static constexpr double line = 18;   // of text

  struct Entry {  // of a legend
    double x;
    Index row;
    std::string text;
  };
  struct Plot {
    Axis x, y;
    std::vector<Tick> x_ticks = {}, y_ticks = {};
    std::vector<Entry> legend = {};  // per series; without text: not in it
    double head = 0, foot = 0;       // heights above and below
    double label = 0;                // the width of the widest one at the y axis
    bool empty = true;
  };

  static std::string_view colour(std::size_t series) {
    constexpr std::string_view palette[] = {"#0072B2", "#D55E00", "#009E73", "#E69F00",
                                            "#CC79A7", "#56B4E9", "#000000", "#F0E442"};
    return palette[series % 8];
  }
  /// Dashes that tell lines of one colour apart.
  static std::string dashes(std::size_t series, bool dashed) {
    constexpr std::string_view later[] = {"", "2 3", "9 3 2 3", "5 2"};
    const std::string_view pattern = dashed ? "6 4" : later[series / 8 % 4];
    return pattern.empty() ? "" : " stroke-dasharray=\"" + std::string(pattern) + '"';
  }

  static void check(const Series& s, std::size_t panel) {
    const auto place = [&] { return join("svg: panel ", panel, ", series '", s.name, "'"); };
    if (s.y.size() != s.x.size())
      fail(place(), " has ", s.x.size(), " x and ", s.y.size(), " y; there must be as many");
    for (const auto* end : {&s.low, &s.high})
      if (end->size() != (s.low.empty() && s.high.empty() ? 0 : s.x.size()))
        fail(place(), " has ", s.low.size(), " low and ", s.high.size(), " high for ", s.x.size(),
             " points; there must be as many, or none of both");
    for (std::size_t i = 0; i < s.low.size(); ++i)
      if (s.low[i] > s.high[i])
        fail(place(), ", point ", i, " is between low ", s.low[i], " and high ", s.high[i],
             "; low must not be above high");
  }

  void measure(std::size_t at) {
    const Panel& panel = chart_.panels[at];
    Plot plot{Axis(panel.log_x), Axis(panel.log_y)};
    for (const Series& s : panel.series) {
      check(s, at);
      for (std::size_t i = 0; i < s.x.size(); ++i) {
        const bool band = !s.low.empty() && plot.y.shows(s.high[i]);
        if (!plot.x.shows(s.x[i]) || !(plot.y.shows(s.y[i]) || band)) continue;
        plot.empty = false;
        plot.x.cover(s.x[i]);
        plot.y.cover(s.y[i]);
        if (!band) continue;
        plot.y.cover(s.low[i]);
        plot.y.cover(s.high[i]);
      }
    }
    plot.x.finish(0.02, true);
    plot.y.finish(0.05, false);
    if (!plot.empty) {
      plot.y_ticks = plot.y.ticks(static_cast<Index>(height_ / 36));
      for (Index most = static_cast<Index>(width_ / 50); most > 0; --most) {
        plot.x_ticks = plot.x.ticks(most);
        if (apart(plot.x_ticks)) break;
      }
    }
    for (const Tick& tick : plot.y_ticks) plot.label = std::max(plot.label, text_pixels(tick.label, 11));
    left_ = std::max(left_, std::ceil(plot.label + 12 + (panel.y_label.empty() ? 4 : line + 4)));

    double x = 0;
    Index row = 0;
    for (const Series& s : panel.series) {
      const std::string name = cut_text(s.name, width_ - 28, 12);
      const double needs = 28 + text_pixels(name, 12);
      if (!name.empty() && x > 0 && x + needs > width_ + right) x = 0, ++row;
      plot.legend.push_back({x, row, name});
      if (!name.empty()) x += needs + 14;
    }
    const double rows = x > 0 ? static_cast<double>(row + 1) : 0;
    plot.head = (panel.title.empty() ? 0 : line + 4) + rows * line + 6;
    plot.foot = line + (panel.x_label.empty() ? 0 : line);
    plots_.push_back(std::move(plot));
  }

  /// Whether the labels of an x axis have space between them.
  bool apart(const std::vector<Tick>& ticks) const {
    for (std::size_t i = 1; i < ticks.size(); ++i)
      if ((ticks[i].place - ticks[i - 1].place) * width_ <
          (text_pixels(ticks[i].label, 11) + text_pixels(ticks[i - 1].label, 11)) / 2 + 10)
        return false;
    return true;
  }

  static void put_text(std::string& out, double x, double y, std::string_view anchor, const std::string& text,
                       std::string_view fill, const std::string& more = "") {
    out += "<text x=\"" + pixels(x) + "\" y=\"" + pixels(y) + "\" text-anchor=\"" + std::string(anchor) + "\" fill=\"" +
           std::string(fill) + '"' + more + '>' + xml_text(text) + "</text>\n";
  }
  static std::string path(const std::string& data, std::string_view stroke, std::string_view width,
                          const std::string& more) {
    return "<path d=\"" + data + "\" fill=\"none\" stroke=\"" + std::string(stroke) + "\" stroke-width=\"" +
           std::string(width) + '"' + more + "/>\n";
  }
  static std::string segment(double x1, double y1, double x2, double y2) {
    return 'M' + pixels(x1) + ' ' + pixels(y1) + ' ' + pixels(x2) + ' ' + pixels(y2);
  }

  /// The plot's upper left corner is at (x, y); `top` is where its title begins.
  void draw(std::string& out, const Panel& panel, const Plot& plot, double x, double y, double top) const {
    out += "<g>\n";
    if (!panel.title.empty())
      put_text(out, x, top + 15, "start", cut_text(panel.title, width_ + right, 15), ink,
               " font-size=\"14\" font-weight=\"bold\"");
    const double first_row = top + (panel.title.empty() ? 0 : line + 4);
    for (std::size_t i = 0; i < plot.legend.size(); ++i) {
      const Entry& entry = plot.legend[i];
      if (entry.text.empty()) continue;
      const double row = first_row + static_cast<double>(entry.row) * line + 10;
      out += path(segment(x + entry.x, row - 4, x + entry.x + 22, row - 4), colour(i), "2",
                  dashes(i, panel.series[i].dashed));
      put_text(out, x + entry.x + 28, row, "start", entry.text, ink);
    }

    std::string lines;
    for (const Tick& tick : plot.x_ticks) {
      const double at = x + tick.place * width_;
      lines += segment(at, y, at, y + height_);
      put_text(out, at, y + height_ + 15, "middle", tick.label, pale, " font-size=\"11\"");
    }
    for (const Tick& tick : plot.y_ticks) {
      const double at = y + (1 - tick.place) * height_;
      lines += segment(x, at, x + width_, at);
      put_text(out, x - 6, at + 4, "end", tick.label, pale, " font-size=\"11\"");
    }
    if (!lines.empty()) out += path(lines, grid, "1", "");
    out += path(segment(x, y, x, y + height_) + ' ' + pixels(x + width_) + ' ' + pixels(y + height_), frame, "1", "");
    if (!panel.x_label.empty())
      put_text(out, x + width_ / 2, y + height_ + 15 + line, "middle", cut_text(panel.x_label, width_, 12), ink);
    if (!panel.y_label.empty()) {
      const double at = x - plot.label - 14, middle = y + height_ / 2;
      put_text(out, at, middle, "middle", cut_text(panel.y_label, height_, 12), ink,
               " transform=\"rotate(-90 " + pixels(at) + ' ' + pixels(middle) + ")\"");
    }
    if (plot.empty) put_text(out, x + width_ / 2, y + height_ / 2 + 4, "middle", "no data", pale);
    for (std::size_t i = 0; i < panel.series.size(); ++i) draw_band(out, panel.series[i], plot, i, x, y);
    for (std::size_t i = 0; i < panel.series.size(); ++i) draw_line(out, panel.series[i], plot, i, x, y);
    out += "</g>\n";
  }

  void draw_band(std::string& out, const Series& s, const Plot& plot, std::size_t at, double x, double y) const {
    if (s.low.empty()) return;
    std::vector<Pixel> high, low;
    std::string areas, strokes;
    const auto finish = [&] {
      if (high.size() == 1) strokes += segment(high[0].x, high[0].y, low[0].x, low[0].y);
      if (high.size() > 1) {
        std::string up, down;
        append_path(up, high);
        std::reverse(low.begin(), low.end());
        append_path(down, low);
        down[0] = ' ';  // goes on where the upper edge ends
        areas += up + down + 'Z';
      }
      high.clear();
      low.clear();
    };
    for (std::size_t i = 0; i < s.x.size(); ++i) {
      if (!plot.x.shows(s.x[i]) || !plot.y.shows(s.high[i]) || !(std::abs(s.low[i]) <= 1e300)) {
        finish();
        continue;
      }
      const double px = x + plot.x.place(s.x[i]) * width_;
      high.push_back({px, y + (1 - plot.y.place(s.high[i])) * height_});
      low.push_back({px, y + (1 - plot.y.place(s.low[i])) * height_});
    }
    finish();
    const std::string c(colour(at));
    if (!areas.empty()) out += "<path d=\"" + areas + "\" fill=\"" + c + "\" fill-opacity=\"0.18\"/>\n";
    if (!strokes.empty()) out += path(strokes, c, "4", " stroke-opacity=\"0.3\"");
  }

  void draw_line(std::string& out, const Series& s, const Plot& plot, std::size_t at, double x, double y) const {
    std::vector<Pixel> points, dots;
    std::string data;
    std::size_t shown = 0;
    for (std::size_t i = 0; i < s.x.size(); ++i) shown += plot.x.shows(s.x[i]) && plot.y.shows(s.y[i]);
    if (shown == 0) return;
    const auto finish = [&] {
      if (points.size() == 1 || shown <= 20) dots.insert(dots.end(), points.begin(), points.end());
      if (points.size() > 1) append_path(data, points);
      points.clear();
    };
    for (std::size_t i = 0; i < s.x.size(); ++i)
      if (plot.x.shows(s.x[i]) && plot.y.shows(s.y[i]))
        points.push_back({x + plot.x.place(s.x[i]) * width_, y + (1 - plot.y.place(s.y[i])) * height_});
      else
        finish();
    finish();
    out += "<g>\n";
    if (!s.name.empty()) out += "<title>" + xml_text(s.name) + "</title>\n";  // viewers show it at the pointer
    if (!data.empty()) out += path(data, colour(at), "1.8", dashes(at, s.dashed) + " stroke-linejoin=\"round\"");
    for (const Pixel& dot : dots)
      out += "<circle cx=\"" + pixels(dot.x) + "\" cy=\"" + pixels(dot.y) + "\" r=\"2.6\" fill=\"" +
             std::string(colour(at)) + "\"/>\n";
    out += "</g>\n";
  }

  const Chart& chart_;
  std::vector<Plot> plots_;
  Index columns_ = 1;
  double width_ = 320, height_ = 200, left_ = 36;  // of a plot, and the margin at its left
};

}  // namespace detail

template <class Lazy>
[[gnu::cold]] std::string svg(const Chart& chart) {
  if (chart.columns < 0) fail("svg: the chart has ", chart.columns, " columns; there must not be less than 0");
  return detail::ChartWriter<>(chart).text();
}

/// A panel for every task and measure among the columns `<part>/<task>/<measure>`, in the order of the columns, with a
/// line per part of the data (train, validation). The x axis is the column "epoch", or the row's number from 1. Columns
/// without a '/' (lr, seconds) are left out, and so are diagnostics (diagnostics_chart.hpp draws them). A row without a value is
/// passed over, so what was measured every few epochs is a line too.
template <class Lazy = void>
[[gnu::cold]] Chart learning_curves(const History& history) {
  Chart chart;
  std::vector<std::string> panels;  // `<task>/<measure>` of each
  std::vector<double> epochs;
  for (Index row = 0; row < history.rows(); ++row)
    epochs.push_back(history.has("epoch") ? history["epoch"][static_cast<std::size_t>(row)]
                                          : static_cast<double>(row + 1));
  for (const std::string& column : history.columns()) {
    const std::size_t slash = column.find('/');
    if (slash == std::string::npos || column.starts_with("diagnostics/")) continue;
    bool any = false;
    for (const double x : history[column]) any |= !std::isnan(x);
    if (!any) continue;  // what was never measured is no panel
    const std::string measure = column.substr(slash + 1);
    std::size_t at = 0;
    while (at < panels.size() && panels[at] != measure) ++at;
    if (at == panels.size()) {
      const std::size_t last = measure.rfind('/');
      std::string title = measure;
      if (last != std::string::npos) title[last] = ' ';
      if (title.starts_with("* ")) title.replace(0, 1, "mean");  // a monitor that is the mean over the tasks
      panels.push_back(measure);
      chart.panels.push_back({.title = std::move(title), .x_label = "epoch"});
    }
    std::vector<Series>& lines = chart.panels[at].series;
    Series series{.name = column.substr(0, slash), .dashed = !lines.empty()};
    const std::span<const double> values = history[column];
    for (std::size_t row = 0; row < values.size(); ++row) {
      if (std::isnan(values[row])) continue;
      series.x.push_back(epochs[row]);
      series.y.push_back(values[row]);
    }
    lines.push_back(std::move(series));
  }
  return chart;
}

}  // namespace espalier::inline ESPALIER_ABI
