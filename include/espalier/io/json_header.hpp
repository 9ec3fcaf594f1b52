#pragma once
// A pull scanner for the JSON header of a safetensors file: objects, strings and unsigned integers, nothing else. It
// builds no tree, does not recurse and allocates nothing, so a hostile header costs its own length and no more. General
// JSON readers are too lenient for this: they keep the last of two equal keys and turn -1 or 1.5 into a size.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "espalier/io/file.hpp"

namespace espalier::inline ESPALIER_ABI {

namespace detail {

/// Length of the well-formed UTF-8 sequence at the start of `text` (not empty), 0 when there is none: no overlong
/// forms, no surrogates, nothing above U+10FFFF (The Unicode Standard, table 3-7).
template <class Lazy = void>
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const unsigned lead = byte(0), second = byte(1);
  if (lead < 0x80) return 1;
  const std::size_t length = lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
  for (std::size_t i = 1; i < length; ++i)
    if ((byte(i) & 0xC0u) != 0x80u) return 0;
  const bool bad = (lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F) ||
                   (lead == 0xF0 && second < 0x90) || (lead == 0xF4 && second > 0x8F);
  return bad ? 0 : length;
}

/// Position of the first byte of `text` that is not UTF-8; its size when all is.
template <class Lazy = void>
std::size_t utf8_prefix(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t length = utf8_length(text.substr(at));
    if (length == 0) break;
    at += length;
  }
  return at;
}

/// `text` as a JSON string, quotes included.
template <class Lazy = void>
std::string json_string(std::string_view text) {
  constexpr std::string_view short_from = "\"\\\b\f\n\r\t", short_to = "\"\\bfnrt";
  std::string out = "\"";
  for (char c : text) {
    if (const std::size_t i = short_from.find(c); i != std::string_view::npos) {
      out += '\\';
      out += short_to[i];
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += "\\u00";
      out += c < 0x10 ? '0' : '1';
      out += "0123456789abcdef"[c & 15];
    } else {
      out += c;
    }
  }
  return out + '"';
}

/// A string of the scanned text, by position and size: half of a string_view, since a header may hold many.
struct JsonToken {
  std::uint32_t at = 0;
  std::uint32_t size = 0;
};

/// Reads `text` from its start. A string with escapes is decoded in place (it never grows), hence the mutable text.
/// Every member throws FileError naming `file`, the byte and the reason.
template <class Lazy = void>
class JsonScanner {
 public:
  /// `base` is the offset of `text` in the file; `text` holds less than 2^32 bytes.
  JsonScanner(std::span<char> text, std::uint64_t base, std::string_view file) : text_(text), base_(base), file_(file) {
    const std::size_t good = utf8_prefix({text.data(), text.size()});
    if (good < text.size()) fail_at(good, "the header is not valid UTF-8 here");
  }

  /// The tensor being read: errors say `tensor "w": ` before the reason. An unset one ({}) is left out.
  void set_tensor(JsonToken name) { tensor_ = name; }

  std::size_t at() const { return at_; }
  /// Goes back to `at`, where a value without strings starts.
  void seek(std::size_t at) { at_ = at; }
  std::string_view text(JsonToken token) const { return {text_.data() + token.at, token.size}; }

  /// Skips white space, then consumes `c` if it comes next.
  bool take(char c) {
    skip_space();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!take(c)) fail_at(at_, found(), "; '", c, "' is expected");
  }

  /// A string, decoded; `what` names it in errors: `the dtype`.
  JsonToken string(std::string_view what) {
    if (!take('"')) fail_at(at_, found(), "; ", what, " is expected, a string");
    const std::size_t start = at_;
    std::size_t end = at_;
    for (;;) {
      if (at_ == text_.size()) fail_at(start - 1, "this string has no closing quote");
      const char c = text_[at_++];
      if (c == '"') break;
      if (static_cast<unsigned char>(c) < 0x20) fail_at(at_ - 1, "a string holds a bare control character");
      if (c == '\\') {
        end = decode_escape(end);
      } else {
        text_[end++] = c;
      }
    }
    return {static_cast<std::uint32_t>(start), static_cast<std::uint32_t>(end - start)};
  }

  /// An unsigned integer below 2^63, in plain digits; `what` names it in errors.
  std::int64_t integer(std::string_view what) {
    skip_space();
    const std::size_t start = at_;
    std::int64_t value = 0;
    bool fits = true;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_)
      fits = fits && !__builtin_mul_overflow(value, 10, &value) &&
             !__builtin_add_overflow(value, text_[at_] - '0', &value);
    const std::size_t digits = at_ - start;
    while (at_ < text_.size() && std::string_view(",]}: \t\n\r").find(text_[at_]) == std::string_view::npos) ++at_;
    const std::string_view whole(text_.data() + start, at_ - start);
    if (digits != whole.size() || digits == 0 || (digits > 1 && whole[0] == '0'))
      fail_at(start, what, " holds ", in_quotes(whole), "; unsigned integers in plain digits are expected");
    if (!fits) fail_at(start, what, " holds ", in_quotes(whole), "; at most 2^63 - 1 is possible");
    return value;
  }

  /// The end of the header: nothing but spaces may follow.
  void end() {
    for (; at_ < text_.size(); ++at_)
      if (text_[at_] != ' ') fail_at(at_, found(), " after the header's end; only spaces may pad it");
  }

  /// Throws FileError for the position `at` of the text.
  template <class... Parts>
  [[noreturn]] void fail_at(std::size_t at, const Parts&... parts) const {
    fail_file(file_, base_ + at, tensor_.at == 0 ? "" : join("tensor ", in_quotes(text(tensor_)), ": "), parts...);
  }

 private:
  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r'))
      ++at_;
  }
  std::string found() const {
    if (at_ == text_.size()) return "the header ends";
    return in_quotes({text_.data() + at_, 1}) + " is found";
  }

  /// Decodes the escape whose backslash has just been read; writes it at `end` and returns the new end.
  std::size_t decode_escape(std::size_t end) {
    const std::size_t start = at_ - 1;
    const char letter = at_ < text_.size() ? text_[at_++] : '\0';
    constexpr std::string_view from = "\"\\/bfnrt", to = "\"\\/\b\f\n\r\t";
    if (const std::size_t i = from.find(letter); i != std::string_view::npos) {
      text_[end++] = to[i];
      return end;
    }
    if (letter != 'u') fail_at(start, "a string holds an unknown escape");
    std::uint32_t code = hex4(start);
    if (code >= 0xD800 && code < 0xE000) {
      const bool pair = code < 0xDC00 && at_ + 1 < text_.size() && text_[at_] == '\\' && text_[at_ + 1] == 'u';
      at_ += pair ? 2 : 0;
      const std::uint32_t low = pair ? hex4(start) : 0;
      if (low < 0xDC00 || low >= 0xE000) fail_at(start, "a string holds half a surrogate pair");
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    const auto put = [&](std::uint32_t byte) { text_[end++] = static_cast<char>(static_cast<unsigned char>(byte)); };
    if (code < 0x80) {
      put(code);
    } else {
      if (code < 0x800) {
        put(0xC0 | code >> 6);
      } else {
        if (code < 0x10000) {
          put(0xE0 | code >> 12);
        } else {
          put(0xF0 | code >> 18);
          put(0x80 | (code >> 12 & 63));
        }
        put(0x80 | (code >> 6 & 63));
      }
      put(0x80 | (code & 63));
    }
    return end;
  }
  std::uint32_t hex4(std::size_t start) {
    std::uint32_t code = 0;
    for (int i = 0; i < 4; ++i) {
      const char c = at_ < text_.size() ? text_[at_++] : '\0';
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) fail_at(start, "a string holds an escape without four hexadecimal digits");
      code = code << 4 | static_cast<std::uint32_t>(digit);
    }
    return code;
  }

  std::span<char> text_;
  std::uint64_t base_;
  std::string_view file_;
  JsonToken tensor_;
  std::size_t at_ = 0;
};

}  // namespace detail

}  // namespace espalier::inline ESPALIER_ABI
