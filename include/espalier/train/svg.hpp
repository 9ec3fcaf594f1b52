#pragma once
// The pieces of an SVG file: text as XML, how wide it will be, coordinates, and lines of any number of points.
//
// Included by name: train/chart.hpp draws with it.

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <string>
#include <string_view>

#include "espalier/train/text.hpp"

namespace espalier::inline ESPALIER_ABI::detail {

/// The width of a text in a sans-serif font of this size, in pixels, rather too large than too small.
template <class Lazy = void>
double text_pixels(std::string_view text, double size) {
  double em = 0;
  while (!text.empty()) {
    const CodePoint c = code_point(text);
    text.remove_prefix(c.bytes);
    const char letter = c.value < 0x80 ? static_cast<char>(c.value) : 'a';
    if (std::string_view("ijltfr.,:;|!'()[]/ -").find(letter) != std::string_view::npos)
      em += 0.4;
    else if (std::string_view("mwMW@%").find(letter) != std::string_view::npos)
      em += 1;
    else
      em += letter >= 'A' && letter <= 'Z' ? 0.75 : static_cast<double>(display_width(c.value)) * 0.62;
  }
  return em * size;
}

/// Cut to `most` pixels, then with an ellipsis at its end.
template <class Lazy = void>
std::string cut_text(std::string_view text, double most, double size) {
  if (text_pixels(text, size) <= most) return std::string(text);
  std::size_t end = 0;
  while (end < text.size()) {
    const std::size_t next = end + code_point(text.substr(end)).bytes;
    if (text_pixels(text.substr(0, next), size) + size > most) break;
    end = next;
  }
  return std::string(text.substr(0, end)) + "\u2026";
}

/// As content of an XML element or attribute; characters that XML cannot hold are U+FFFD.
template <class Lazy = void>
std::string xml_text(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const CodePoint c = code_point(text);
    switch (c.value) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\t':
      case '\n':
      case '\r':
        out += ' ';
        break;
      default:
        if (is_control(c.value) || c.value == 0xFFFD || c.value == 0xFFFE || c.value == 0xFFFF)
          out += "\uFFFD";
        else
          out.append(text.substr(0, c.bytes));
    }
    text.remove_prefix(c.bytes);
  }
  return out;
}

/// A coordinate in pixels: two decimals at most, without zeros at the end.
template <class Lazy = void>
std::string pixels(double x) {
  std::string text = fixed_number(x, 2);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

struct Pixel {
  double x, y;
};

/// A stretch of points as path data. Where many share a column of pixels, the first, lowest, highest and last look alike
/// (Jugel et al., M4, VLDB 2014), so a million points make no larger picture than a thousand.
template <class Lazy = void>
void append_path(std::string& path, std::span<const Pixel> points) {
  bool first = true;
  const auto put = [&](const Pixel& p) {
    path += (first ? (path.empty() ? "M" : " M") : " ") + pixels(p.x) + ' ' + pixels(p.y);
    first = false;
  };
  for (std::size_t i = 0, end = 0; i < points.size(); i = end) {
    std::size_t least = i, most = i;
    for (end = i; end < points.size() && std::round(points[end].x) == std::round(points[i].x); ++end) {
      if (points[end].y < points[least].y) least = end;
      if (points[end].y > points[most].y) most = end;
    }
    if (end - i <= 4) {
      for (std::size_t k = i; k < end; ++k) put(points[k]);
      continue;
    }
    std::array<std::size_t, 4> kept{i, std::min(least, most), std::max(least, most), end - 1};
    for (std::size_t k = 0; k < 4; ++k)
      if (k == 0 || kept[k] != kept[k - 1]) put(points[kept[k]]);
  }
}

}  // namespace espalier::inline ESPALIER_ABI::detail
