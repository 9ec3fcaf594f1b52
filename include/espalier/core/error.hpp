#pragma once
// The one error path: every public boundary throws `Error` with exact text,
//   `<op or component>: <what was found>; <the rule>[; <the fix>]`,
// for example `matmul: a is [32, 8], b is [9, 4]; a's last axis (8) must equal b's second-to-last (9)`.
// Inner loops never check. Messages are built only when something is wrong, so checks cost a branch.

#include <charconv>
#include <concepts>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

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

/// One part of a message: text, a number, or anything that describes itself (shapes). It holds no string, so that building a
/// message costs a caller's code next to nothing: it is put together in one place.
class Part {
 public:
  template <class Text>
    requires std::convertible_to<const Text&, std::string_view>
  Part(const Text& text) : Part(std::string_view(text)) {}
  Part(std::string_view text) : kind_(Kind::text), data_(text.data()), size_(text.size()) {}
  Part(char c) : kind_(Kind::letter), integer_(c) {}
  template <std::integral Number>
  Part(Number n) : kind_(std::is_signed_v<Number> ? Kind::integer : Kind::natural), integer_(static_cast<long long>(n)) {}
  template <std::floating_point Number>
  Part(Number n) : kind_(Kind::real), real_(static_cast<double>(n)) {}
  template <class Described>
    requires requires(const Described& d) { d.text(); }
  Part(const Described& described)
      : kind_(Kind::described), data_(&described), describe_([](const void* p) -> std::string {
          return static_cast<const Described*>(p)->text();
        }) {}

  void append_to(std::string& text) const;

 private:
  enum class Kind : unsigned char { text, letter, integer, natural, real, described };
  Kind kind_;
  const void* data_ = nullptr;
  union {
    std::size_t size_ = 0;
    long long integer_;
    double real_;
    std::string (*describe_)(const void*);
  };
};

inline void Part::append_to(std::string& text) const {
  switch (kind_) {
    case Kind::text: text.append(static_cast<const char*>(data_), size_); break;
    case Kind::letter: text += static_cast<char>(integer_); break;
    case Kind::integer: text += std::to_string(integer_); break;
    case Kind::natural: text += std::to_string(static_cast<unsigned long long>(integer_)); break;
    case Kind::real: {  // as printf's %.6g, whatever the locale
      char digits[32];
      text.append(digits, std::to_chars(digits, digits + sizeof digits, real_, std::chars_format::general, 6).ptr);
      break;
    }
    case Kind::described: text += describe_(data_); break;
  }
}

template <class Lazy = void>
__attribute__((noinline, cold)) std::string join_parts(std::initializer_list<Part> parts) {
  std::string text;
  for (const Part& part : parts) part.append_to(text);
  return text;
}
template <class Lazy = void>
[[noreturn]] __attribute__((noinline, cold)) void fail_parts(std::initializer_list<Part> parts) {
  throw Error(join_parts(parts));
}

}  // namespace detail

/// The parts one after another: text, numbers, shapes.
template <class... Parts>
std::string join(const Parts&... parts) {
  return detail::join_parts({detail::Part(parts)...});
}

/// Throws `Error` with the joined parts.
template <class... Parts>
[[noreturn]] __attribute__((noinline, cold)) void fail(const Parts&... parts) {
  detail::fail_parts({detail::Part(parts)...});
}

/// What is wrong with one sample of a batch. Whoever knows which row of the data that is can say so instead: the Trainer does.
class SampleError : public Error {
 public:
  /// The message is `<before>sample <number><after>`.
  SampleError(long long sample, std::string before, std::string after)
      : Error(join(before, "sample ", sample, after)), sample_(sample), before_(std::move(before)), after_(std::move(after)) {}

  /// Its place in the batch, from 0.
  long long sample() const { return sample_; }
  /// The message with other words for the sample.
  std::string text(std::string_view words) const { return join(before_, words, after_); }

 private:
  long long sample_;
  std::string before_, after_;
};

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
