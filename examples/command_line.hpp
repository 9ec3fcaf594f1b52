#pragma once
// A program's options, each a name and a value: what there is, what was given, and a text that explains them.

#include <espalier/core/error.hpp>

#include <algorithm>
#include <charconv>
#include <string>
#include <string_view>
#include <vector>

using Words = std::vector<std::string>;

/// `a,b` as its parts, and back.
inline Words cut(std::string_view list) {
  Words parts;
  for (std::size_t end = 0; !list.empty(); list.remove_prefix(std::min(end + 1, list.size())))
    parts.emplace_back(list.substr(0, end = std::min(list.find(','), list.size())));
  return parts;
}
inline std::string joined(const Words& parts) {
  std::string list;
  for (const std::string& part : parts) list += (list.empty() ? "" : ",") + part;
  return list;
}

/// The whole number that a text is. Throws Error when it is none, or below `least`.
inline long whole_number(std::string_view what, const std::string& text, long least) {
  long n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (error != std::errc() || end != text.data() + text.size() || n < least)
    espalier::fail(what, " is '", text, "'; it must be a whole number, at least ", least);
  return n;
}

class CommandLine {
 public:
  struct Option {
    std::string name, value, help;  // value: how the help calls it
  };

  /// Throws Error for an option that is not known, and for one without a value.
  CommandLine(std::vector<Option> known, const Words& words) : known_(std::move(known)) {
    for (std::size_t i = 0; i < words.size(); i += 2) {
      if (!is_known(words[i]))
        espalier::fail("command line: unknown option '", words[i],
                       "'; known: ", espalier::listing(known_, [](const Option& o) { return o.name; }), ", --help");
      if (i + 1 == words.size() || is_known(words[i + 1]))
        espalier::fail("command line: ", words[i], " has no value; one must follow it");
      given_.push_back({words[i], words[i + 1], ""});
    }
  }

  bool has(std::string_view name) const {
    return std::any_of(given_.begin(), given_.end(), [&](const Option& o) { return o.name == name; });
  }
  /// The value of an option, the last one given; `otherwise` when there is none.
  std::string get(std::string_view name, std::string otherwise = "") const {
    for (const Option& o : given_)
      if (o.name == name) otherwise = o.value;
    return otherwise;
  }
  long number(const std::string& name, long otherwise, long least) const {
    return has(name) ? whole_number("command line: " + name, get(name), least) : otherwise;
  }
  /// All that was given, in order.
  const std::vector<Option>& given() const { return given_; }

  std::string help() const {
    std::string text;
    for (const Option& o : known_) {
      const std::string left = "  " + o.name + ' ' + o.value;
      text += left + std::string(left.size() < 24 ? 24 - left.size() : 1, ' ') + o.help + '\n';
    }
    return text;
  }

 private:
  bool is_known(std::string_view name) const {
    return std::any_of(known_.begin(), known_.end(), [&](const Option& o) { return o.name == name; });
  }
  std::vector<Option> known_, given_;
};
