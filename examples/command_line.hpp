#pragma once
// A program's options, each a name and a value: what there is, what was given, and a text that explains them.

#include <espalier/core/nearest.hpp>

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

  /// Options are `--name value` or `--name=value`. Throws Error for one that is not known, and for one without a value.
  CommandLine(std::vector<Option> known, const Words& words) : known_(std::move(known)) {
    for (std::size_t i = 0; i < words.size(); ++i) {
      const std::size_t equals = std::min(words[i].find('='), words[i].size());
      const std::string name = words[i].substr(0, equals);
      if (!is_known(name)) {
        Words names;
        for (const Option& o : known_) names.push_back(o.name);
        names.push_back("--help");
        espalier::fail("command line: unknown option '", name, "'; known: ", espalier::listing(names, [](const std::string& n) { return n; }),
                       espalier::did_you_mean(name, names));
      }
      const bool inside = equals < words[i].size();
      const std::string value = inside ? words[i].substr(equals + 1) : i + 1 < words.size() ? words[++i] : "";
      if (value.empty() || (!inside && is_known(value)))
        espalier::fail("command line: ", name, " has no value; one must follow it");
      given_.push_back({name, value, ""});
    }
  }
  /// Whether somebody wants to know what options there are.
  static bool asks_for_help(const Words& words) {
    return std::any_of(words.begin(), words.end(), [](const std::string& w) { return w == "--help" || w == "-h"; });
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
