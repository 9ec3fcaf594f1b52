#pragma once
// Numbers and words as people read them in a terminal or a picture: short numbers, the width of UTF-8 text, columns.
// The same in every locale.

#include <charconv>
#include <string>
#include <string_view>

#include "espalier/core/shape.hpp"

namespace espalier::inline ESPALIER_ABI::detail {

/// The first character of a text and its length in bytes; what is no UTF-8 is U+FFFD, one byte long.
struct CodePoint {
  char32_t value = 0xFFFD;
  std::size_t bytes = 1;
};
template <class Lazy = void>
[[gnu::cold]] CodePoint code_point(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const std::size_t bytes = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < bytes) return {};
  char32_t value = lead & (0x7FU >> bytes);
  for (std::size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {};
    value = (value << 6) | (byte(i) & 0x3FU);
  }
  constexpr char32_t least[] = {0, 0, 0x80, 0x800, 0x10000};  // a longer form than needed is no UTF-8
  const bool surrogate = value >= 0xD800 && value < 0xE000;
  if (value < least[bytes] || value > 0x10FFFF || surrogate) return {};
  return {value, bytes};
}

/// Columns that a character takes in a terminal, roughly: 2 for East Asian scripts and emoji, 0 for what combines.
template <class Lazy = void>
[[gnu::cold]] Index display_width(char32_t c) {
  const auto within = [c](char32_t first, char32_t last) { return c >= first && c <= last; };
  if (c < 0x300) return 1;
  if (within(0x300, 0x36F) || within(0x200B, 0x200F) || within(0xFE00, 0xFE0F) || within(0x20D0, 0x20FF)) return 0;
  const bool wide = within(0x1100, 0x115F) || within(0x2E80, 0xA4CF) || within(0xAC00, 0xD7A3) ||
                    within(0xF900, 0xFAFF) || within(0xFE30, 0xFE6F) || within(0xFF00, 0xFF60) ||
                    within(0xFFE0, 0xFFE6) || within(0x1F300, 0x1FAFF) || within(0x20000, 0x3FFFD);
  return wide ? 2 : 1;
}
template <class Lazy = void>
[[gnu::cold]] Index display_width(std::string_view text) {
  Index width = 0;
  while (!text.empty()) {
    const CodePoint c = code_point(text);
    width += display_width(c.value);
    text.remove_prefix(c.bytes);
  }
  return width;
}

/// The longest beginning of a text that is at most `width` columns wide.
template <class Lazy = void>
[[gnu::cold]] std::string_view display_prefix(std::string_view text, Index width) {
  std::size_t size = 0;
  while (size < text.size()) {
    const CodePoint c = code_point(text.substr(size));
    width -= display_width(c.value);
    if (width < 0) break;
    size += c.bytes;
  }
  return text.substr(0, size);
}

/// Whether a character would steer a terminal, or break a line, instead of showing.
inline bool is_control(char32_t c) { return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x2028 || c == 0x2029; }

// What follows appends: in strings added together the compiler would see a destructor after every step.

/// With `?` for every control character and byte that is no UTF-8: a name must not steer the terminal.
template <class Lazy = void>
[[gnu::cold]] void append_printable(std::string& out, std::string_view text) {
  while (!text.empty()) {
    const CodePoint c = code_point(text);
    if (is_control(c.value) || (c.value == 0xFFFD && c.bytes == 1))
      out += '?';
    else
      out.append(text.substr(0, c.bytes));
    text.remove_prefix(c.bytes);
  }
}

/// `text` at the right end of `width` columns.
template <class Lazy = void>
[[gnu::cold]] void append_right(std::string& out, std::string_view text, Index width) {
  const Index spaces = width - display_width(text);
  if (spaces > 0) out.append(static_cast<std::size_t>(spaces), ' ');
  out.append(text);
}

/// A whole number, at the right end of `width` columns.
template <class Lazy = void>
[[gnu::cold]] void append_whole(std::string& out, Index n, Index width = 0, char before = ' ') {
  char digits[24];
  const Index size = std::to_chars(digits, digits + sizeof digits, n).ptr - digits;
  if (width > size) out.append(static_cast<std::size_t>(width - size), before);
  out.append(digits, static_cast<std::size_t>(size));
}

/// The number with a fixed number of decimals, which are kept: `1.50`; never `-0.00`.
template <class Lazy = void>
[[gnu::cold]] void append_fixed(std::string& out, double x, int decimals) {
  char digits[400];  // 309 before the point, and the decimals
  const char* end = std::to_chars(digits, digits + sizeof digits, x, std::chars_format::fixed, decimals).ptr;
  const std::string_view text(digits, static_cast<std::size_t>(end - digits));
  const bool minus_nothing = text[0] == '-' && text.find_first_of("123456789ni") == std::string_view::npos;
  out.append(text.substr(minus_nothing ? 1 : 0));
}

/// Four significant digits, without zeros at the end: `0.3102`, `12.5`, `1e-5`; whole numbers below a million in full.
template <class Lazy = void>
[[gnu::cold]] void append_short(std::string& out, double x) {
  const double size = x < 0 ? -x : x;
  if (size < 1e6 && (size >= 1e4 || x == static_cast<double>(static_cast<Index>(x)))) return append_fixed(out, x, 0);
  char digits[32];
  const char* end = std::to_chars(digits, digits + sizeof digits, x, std::chars_format::general, 4).ptr;
  std::string_view text(digits, static_cast<std::size_t>(end - digits));
  if (x != x) text = "nan";  // without its sign
  // As people write it: 1e-5, not 1e-05; 2e7, not 2e+07.
  const std::size_t e = text.find('e');
  out.append(text.substr(0, e));
  if (e == std::string_view::npos) return;
  out.append(text[e + 1] == '-' ? "e-" : "e");
  out.append(text.substr(text[e + 2] == '0' ? e + 3 : e + 2));
}

/// The fewest digits that are read back as the same number.
template <class Lazy = void>
[[gnu::cold]] void append_exact(std::string& out, double x) {
  char digits[32];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, x).ptr);
}

template <class Lazy = void>
std::string fixed_number(double x, int decimals) {
  std::string text;
  append_fixed(text, x, decimals);
  return text;
}
template <class Lazy = void>
std::string short_number(double x) {
  std::string text;
  append_short(text, x);
  return text;
}

}  // namespace espalier::inline ESPALIER_ABI::detail
