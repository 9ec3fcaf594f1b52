#include "espalier/train/chart.hpp"

#include <cmath>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include "espalier/autograd/node.hpp"
#include "io/scratch.hpp"
#include "support/catch.hpp"

using namespace espalier;

namespace {

const double nan_value = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
using Doubles = std::vector<double>;

/// What is wrong with an XML text, empty when nothing is: tags are balanced, attributes quoted, `&` begins an entity,
/// and there is no character that XML cannot hold.
std::string xml_fault(const std::string& text) {
  std::vector<std::string> open;
  std::size_t roots = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::string here = " at " + std::to_string(i) + ": " + text.substr(i, 40);
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x20 && text[i] != '\n') return "control character" + here;
    if (text[i] == '&') {
      bool known = false;
      for (const std::string_view entity : {"&amp;", "&lt;", "&gt;", "&quot;"})
        known = known || text.compare(i, entity.size(), entity) == 0;
      if (!known) return "bare &" + here;
    }
    if (text[i] == '>') return "bare >" + here;
    if (text[i] != '<') {
      if (open.empty() && text[i] != '\n') return "text outside the root" + here;
      continue;
    }
    std::size_t end = i + 1;
    bool quoted = false;
    for (; end < text.size() && (quoted || text[end] != '>'); ++end) {
      if (text[end] == '"') quoted = !quoted;
      if (text[end] == '<') return "< in a tag" + here;
    }
    if (end == text.size()) return "tag without end" + here;
    const std::string tag = text.substr(i + 1, end - i - 1);
    if (tag[0] == '/') {
      if (open.empty() || open.back() != tag.substr(1)) return "unbalanced" + here;
      open.pop_back();
    } else {
      roots += open.empty();
      if (tag.back() != '/') open.push_back(tag.substr(0, tag.find(' ')));
    }
    i = end;
  }
  return !open.empty() ? "open: " + open.back() : roots == 1 ? "" : "not one root";
}

std::size_t count(const std::string& text, std::string_view part) {
  std::size_t n = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}
double attribute(const std::string& text, const std::string& name, std::size_t from = 0) {
  return std::strtod(text.c_str() + text.find(' ' + name + "=\"", from) + name.size() + 3, nullptr);
}

/// Whether all coordinates are numbers within the picture.
void check_inside(const std::string& text) {
  const double width = attribute(text, "width"), height = attribute(text, "height");
  const auto inside = [&](double x, double y) { return x >= 0 && x <= width && y >= 0 && y <= height; };
  for (std::size_t at = text.find(" d=\""); at != std::string::npos; at = text.find(" d=\"", at + 1)) {
    std::string data = text.substr(at + 4, text.find('"', at + 4) - at - 4);
    for (char& c : data)
      if (c == 'M' || c == 'Z') c = ' ';
    const char* rest = data.c_str();
    for (char* end = nullptr;; rest = end) {
      const double x = std::strtod(rest, &end);
      if (end == rest) break;
      const char* second = end;
      const double y = std::strtod(second, &end);
      CAPTURE(data, x, y);
      REQUIRE(end != second);
      REQUIRE(inside(x, y));
    }
    REQUIRE(std::string(rest).find_first_not_of(' ') == std::string::npos);
  }
  for (const std::string element : {"<text x=", "<circle cx="})
    for (std::size_t at = text.find(element); at != std::string::npos; at = text.find(element, at + 1)) {
      const bool circle = element[1] == 'c';
      REQUIRE(inside(attribute(text, circle ? "cx" : "x", at), attribute(text, circle ? "cy" : "y", at)));
    }
}

Chart single(Series series, bool log_y = false) { return {{{.series = {std::move(series)}, .log_y = log_y}}}; }

}  // namespace

TEST_CASE("a chart, exactly", "[fast]") {
  CHECK(svg({{{.title = "loss", .x_label = "epoch", .series = {{.name = "train", .x = {1, 2}, .y = {2, 0}}}}}}) ==
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"598\" height=\"388\" viewBox=\"0 0 598 388\" "
        "font-family=\"Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif\" font-size=\"12\">\n"
        "<rect width=\"598\" height=\"388\" fill=\"#ffffff\"/>\n"
        "<g>\n"
        "<text x=\"44\" y=\"23\" text-anchor=\"start\" fill=\"#222222\" font-size=\"14\" "
        "font-weight=\"bold\">loss</text>\n"
        "<path d=\"M44 36 66 36\" fill=\"none\" stroke=\"#0072B2\" stroke-width=\"2\"/>\n"
        "<text x=\"72\" y=\"40\" text-anchor=\"start\" fill=\"#222222\">train</text>\n"
        "<text x=\"54\" y=\"349\" text-anchor=\"middle\" fill=\"#666666\" font-size=\"11\">1</text>\n"
        "<text x=\"554\" y=\"349\" text-anchor=\"middle\" fill=\"#666666\" font-size=\"11\">2</text>\n"
        "<text x=\"38\" y=\"325.27\" text-anchor=\"end\" fill=\"#666666\" font-size=\"11\">0</text>\n"
        "<text x=\"38\" y=\"261.64\" text-anchor=\"end\" fill=\"#666666\" font-size=\"11\">0.5</text>\n"
        "<text x=\"38\" y=\"198\" text-anchor=\"end\" fill=\"#666666\" font-size=\"11\">1.0</text>\n"
        "<text x=\"38\" y=\"134.36\" text-anchor=\"end\" fill=\"#666666\" font-size=\"11\">1.5</text>\n"
        "<text x=\"38\" y=\"70.73\" text-anchor=\"end\" fill=\"#666666\" font-size=\"11\">2.0</text>\n"
        "<path d=\"M54 54 54 334M554 54 554 334M44 321.27 564 321.27M44 257.64 564 257.64M44 194 564 194M44 130.36 564 "
        "130.36M44 66.73 564 66.73\" fill=\"none\" stroke=\"#e4e4e4\" stroke-width=\"1\"/>\n"
        "<path d=\"M44 54 44 334 564 334\" fill=\"none\" stroke=\"#999999\" stroke-width=\"1\"/>\n"
        "<text x=\"304\" y=\"367\" text-anchor=\"middle\" fill=\"#222222\">epoch</text>\n"
        "<g>\n"
        "<title>train</title>\n"
        "<path d=\"M54 66.73 554 321.27\" fill=\"none\" stroke=\"#0072B2\" stroke-width=\"1.8\" "
        "stroke-linejoin=\"round\"/>\n"
        "<circle cx=\"54\" cy=\"66.73\" r=\"2.6\" fill=\"#0072B2\"/>\n"
        "<circle cx=\"554\" cy=\"321.27\" r=\"2.6\" fill=\"#0072B2\"/>\n"
        "</g>\n"
        "</g>\n"
        "</svg>\n");
}

TEST_CASE("every chart is well-formed XML within its own borders", "[fast]") {
  Rng rng(5);
  const std::string letters = "ab<>&\"'\t\n\x01\x1b\xff\xc3 \u65e5\u00fc\U0001F600MW";
  for (int round = 0; round < 300; ++round) {
    const Draws draw = rng.next();
    std::uint64_t at = 0;
    const auto below = [&](Index n) { return draw.below(n, at++); };
    const auto word = [&] {
      std::string text;
      for (Index n = below(2) ? below(8) : below(120); n > 0; --n)
        text += letters[static_cast<std::size_t>(below(static_cast<Index>(letters.size())))];
      return text;
    };
    const auto number = [&]() -> double {
      switch (below(12)) {
        case 0:
          return nan_value;
        case 1:
          return below(2) ? infinity : -infinity;
        case 2:
          return 0;
        case 3:
          return (below(2) ? 1 : -1) * std::numeric_limits<double>::max();
        default:
          return draw.normal(at++) * std::pow(10.0, static_cast<double>(round % 600) - 300);
      }
    };
    Chart chart{.title = word(), .columns = below(5)};
    for (Index p = below(10); p > 0; --p) {
      Panel panel{word(), word(), word(), {}, below(2) == 0, below(2) == 0};
      for (Index s = below(12); s > 0; --s) {
        Series series{.name = word(), .dashed = below(2) == 0};
        const bool band = below(2) == 0;
        for (Index i = below(3) ? below(4) : below(60); i > 0; --i) {
          series.x.push_back(number());
          series.y.push_back(number());
          if (!band) continue;
          const double a = number(), b = number();
          series.low.push_back(b < a ? b : a);
          series.high.push_back(b < a ? a : b);
        }
        panel.series.push_back(std::move(series));
      }
      chart.panels.push_back(std::move(panel));
    }
    const std::string text = svg(chart);
    CAPTURE(round);
    REQUIRE(xml_fault(text) == "");
    REQUIRE(text.find("nan") == std::string::npos);
    REQUIRE(text.find("inf") == std::string::npos);
    check_inside(text);
    REQUIRE(svg(chart) == text);
  }
}

TEST_CASE("the check of XML finds what is wrong", "[fast]") {
  CHECK(xml_fault("<a b=\"c\"><d/>x&amp;y</a>\n").empty());
  for (const std::string bad :
       {"<a>", "<a></b>", "<a>&</a>", "<a>></a>", "<a b=\"<\"/>", "<a/><b/>", "x<a/>", "", "<a>\x1b</a>", "<a"})
    CHECK_FALSE(xml_fault(bad).empty());
}

TEST_CASE("a gap is a gap; a point alone shows", "[fast]") {
  const auto lines = [](const std::string& text) {  // the strokes of the one series
    const std::size_t at = text.rfind("<path");
    return text.substr(at, text.find('\n', at) - at);
  };
  Doubles x, y;
  for (int i = 0; i < 50; ++i) x.push_back(i), y.push_back(i % 7);
  std::string text = svg(single({.x = x, .y = y}));
  CHECK(count(lines(text), "M") == 1);
  CHECK(count(text, "<circle") == 0);
  for (const double hole : {nan_value, infinity, -infinity, 1e301}) {
    y[10] = y[12] = hole;
    text = svg(single({.x = x, .y = y}));
    CHECK(count(lines(text), "M") == 2);
    CHECK(count(text, "<circle") == 1);  // point 11
  }
  y[10] = y[12] = 0;
  CHECK(count(lines(svg(single({.x = x, .y = y}, true))), "M") == 7);  // on a logarithmic axis 0 is a gap: 9 stretches
  CHECK(count(svg(single({.x = {1, 2, 3}, .y = {1, 2, 1}})), "<circle") == 3);
  CHECK(count(svg(single({.x = {1}, .y = {5}})), "<circle") == 1);
}

TEST_CASE("what has no data says so", "[fast]") {
  for (const Chart& chart : {Chart{{{}}}, single({}), single({.x = {1, nan_value}, .y = {nan_value, 1}}),
                             single({.x = {1, 2}, .y = {0, -1}}, true)}) {
    const std::string text = svg(chart);
    CHECK(count(text, ">no data<") == 1);
    CHECK(xml_fault(text) == "");
  }
  CHECK(xml_fault(svg({})) == "");
}

TEST_CASE("colours differ within a panel, dashes beyond eight lines", "[fast]") {
  std::vector<Series> series;
  for (int i = 0; i < 16; ++i) series.push_back({.name = "s" + std::to_string(i), .x = {1, 2}, .y = {1.0 * i, 2}});
  const std::string text = svg({{{.series = series}}});
  for (const std::string colour :
       {"#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#000000", "#F0E442"}) {
    CHECK(count(text, "stroke=\"" + colour + "\" stroke-width=\"1.8\" stroke-linejoin") == 1);
    CHECK(count(text, "stroke=\"" + colour + "\" stroke-width=\"1.8\" stroke-dasharray=\"2 3\"") == 1);
  }
  CHECK(count(svg(single({.x = {1, 2}, .y = {1, 2}, .dashed = true})), "stroke-dasharray=\"6 4\"") == 1);
}

TEST_CASE("a band is an area per stretch, a stroke for a point alone", "[fast]") {
  const std::string text = svg(single(
      {.x = {1, 2, 3, 4}, .y = {1, nan_value, 2, 3}, .low = {0, nan_value, 1, 2}, .high = {2, nan_value, 3, 4}}));
  CHECK(count(text, "fill-opacity=\"0.18\"") == 1);
  CHECK(count(text, "stroke-opacity=\"0.3\"") == 1);
  CHECK(count(text, "Z") == 1);
}

TEST_CASE("a million points make no large picture", "[fast]") {
  Doubles x(1'000'000), y(1'000'000);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<double>(i), y[i] = std::sin(static_cast<double>(i));
  CHECK(svg(single({.x = x, .y = y})).size() < 40'000);
}

TEST_CASE("panels stand in a grid", "[fast]") {
  const auto size = [](Index panels, Index columns) {
    const std::string text = svg({std::vector<Panel>(static_cast<std::size_t>(panels)), "", columns});
    return std::pair{attribute(text, "width"), attribute(text, "height")};
  };
  CHECK(size(3, 0).second == size(2, 0).second);  // one row
  CHECK(size(4, 0).first == size(2, 0).first);    // two by two
  CHECK(size(8, 0) == size(9, 0));                // three by three
  CHECK(size(10, 0).first > size(9, 0).first);    // four wide
  CHECK(size(3, 5) == size(3, 3));
  CHECK(size(3, 1).second > 2 * size(1, 1).second);
}

TEST_CASE("learning curves: a panel per task and measure, a line per part of the data", "[fast]") {
  History history({"epoch", "lr", "train/digit/loss", "train/ink/loss", "train/loss", "validation/digit/loss",
                   "validation/ink/loss", "validation/digit/accuracy"});
  history.append(Doubles{3, 1e-3, 2, 20, 22, nan_value, 21, nan_value});
  history.append(Doubles{4, 1e-3, 1, 10, 11, 1.5, 11, 0.5});
  const Chart chart = learning_curves(history);
  REQUIRE(chart.panels.size() == 4);
  const auto& [digit, ink, all, accuracy] =
      std::tie(chart.panels[0], chart.panels[1], chart.panels[2], chart.panels[3]);
  CHECK(digit.title == "digit loss");
  CHECK(ink.title == "ink loss");
  CHECK(all.title == "loss");
  CHECK(accuracy.title == "digit accuracy");
  CHECK(digit.x_label == "epoch");
  REQUIRE(digit.series.size() == 2);
  CHECK(digit.series[0].name == "train");
  CHECK(digit.series[0].x == Doubles{3, 4});
  CHECK(digit.series[0].y == Doubles{2, 1});
  CHECK_FALSE(digit.series[0].dashed);
  CHECK(digit.series[1].name == "validation");
  CHECK(digit.series[1].x == Doubles{4});  // what was not measured is passed over
  CHECK(digit.series[1].y == Doubles{1.5});
  CHECK(digit.series[1].dashed);
  CHECK(all.series.size() == 1);
  CHECK(accuracy.series.size() == 1);
  CHECK_FALSE(accuracy.series[0].dashed);
  CHECK(xml_fault(svg(chart)) == "");

  History plain({"a/b"});
  plain.append(Doubles{5});
  CHECK(learning_curves(plain).panels[0].series[0].x == Doubles{1});
  CHECK(learning_curves(History({"lr"})).panels.empty());
  History mean({"validation/*/r2"});  // a monitor that is the mean over the tasks
  mean.append(Doubles{0.5});
  CHECK(learning_curves(mean).panels[0].title == "mean r2");
}

TEST_CASE("a chart is saved as it is", "[fast]") {
  const Scratch scratch;
  const Chart chart = single({.name = "a", .x = {1, 2}, .y = {3, 4}});
  save_svg(scratch("c.svg"), chart);
  CHECK(read_file(scratch("c.svg"), 1 << 20) == svg(chart));
  REQUIRE_THROWS_AS(save_svg(scratch("none/c.svg"), chart), FileError);
}

TEST_CASE("charts that cannot be drawn are refused", "[fast]") {
  REQUIRE_THROWS_WITH(svg(single({.name = "train", .x = {1, 2, 3}, .y = {1, 2}})),
                      "svg: panel 0, series 'train' has 3 x and 2 y; there must be as many");
  REQUIRE_THROWS_WITH(
      svg(single({.name = "s", .x = {1, 2}, .y = {1, 2}, .low = {0, 0}})),
      "svg: panel 0, series 's' has 2 low and 0 high for 2 points; there must be as many, or none of both");
  REQUIRE_THROWS_WITH(svg({{{}, {.series = {{.name = "s", .x = {1, 2}, .y = {1, 2}, .low = {0, 3}, .high = {1, 2}}}}}}),
                      "svg: panel 1, series 's', point 1 is between low 3 and high 2; low must not be above high");
  REQUIRE_THROWS_WITH(svg({.columns = -1}), "svg: the chart has -1 columns; there must not be less than 0");
}
