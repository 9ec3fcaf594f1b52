#pragma once
// The one error path: every public boundary throws `Error` with exact text,
//   `<op or component>: <what was found>; <the rule>[; <the fix>]`,
// for example `matmul: a is [32, 8], b is [9, 4]; a's last axis (8) must equal b's second-to-last (9)`.
// Inner loops never check. Messages are built only when something is wrong, so checks cost a branch.

#include <charconv>
#include <concepts>
#include <stdexcept>
#include <string>
#include <string_view>

#include "espalier/config.hpp"

namespace espalier::inline ESPALIER_ABI {

/// What every misuse of the library throws.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A file that cannot be read or written as asked: names the file, the place and the reason.
class FileError : public Error {
 public:
  using Error::Error;
};

namespace detail {

inline void append(std::string& text, std::string_view part) { text += part; }
inline void append(std::string& text, char part) { text += part; }
template <class Number>
  requires requires(Number n) { std::to_string(n); }
void append(std::string& text, Number part) {
  if constexpr (std::floating_point<Number>) {  // as printf's %.6g, whatever the locale
    char digits[32];
    text.append(digits, std::to_chars(digits, digits + sizeof digits, part, std::chars_format::general, 6).ptr);
  } else {
    text += std::to_string(part);
  }
}
/// Anything that describes itself: shapes, dtypes.
template <class Described>
  requires requires(const Described& d) { d.text(); }
void append(std::string& text, const Described& part) {
  text += part.text();
}

}  // namespace detail

/// The parts one after another: text, numbers, shapes.
template <class... Parts>
std::string join(const Parts&... parts) {
  std::string text;
  (detail::append(text, parts), ...);
  return text;
}

/// Throws `Error` with the joined parts.
template <class... Parts>
[[noreturn]] __attribute__((noinline, cold)) void fail(const Parts&... parts) {
  throw Error(join(parts...));
}

/// `a, b, c`: the known names that an "unknown name" message lists.
template <class Range, class Name>
std::string listing(const Range& range, Name&& name_of) {
  std::string text;
  for (const auto& item : range) {
    if (!text.empty()) text += ", ";
    text += name_of(item);
  }
  return text.empty() ? "none" : text;
}

}  // namespace espalier::inline ESPALIER_ABI
