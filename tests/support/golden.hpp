#pragma once
// Golden: the reference numbers of tests/golden/*.txt, which the scripts beside them wrote (PyTorch, scikit-learn).
// A file is text: lines that start with # are comments, every other line is one array,
//   name [2, 3] v v v v v v
// row-major. To add numbers, add them to the script and run it; this reader does not change.

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "espalier/core/error.hpp"
#include "espalier/core/shape.hpp"

// The path to tests/, a string, which the build defines.
#ifndef ESPALIER_TEST_DIR
#define ESPALIER_TEST_DIR "tests"
#endif

namespace espalier::inline ESPALIER_ABI {

/// One golden file, read whole.
class Golden {
 public:
  struct Array {
    std::string name;
    Shape shape;
    std::vector<double> values;  // row-major, shape.size() of them
  };

  /// Reads `file` of `folder`, by default of tests/golden. Throws FileError with file, line and reason.
  explicit Golden(std::string file, std::string folder = ESPALIER_TEST_DIR "/golden") : file_(std::move(file)) {
    const std::string path = folder + "/" + file_;
    std::ifstream in(path);
    if (!in) throw FileError(join("golden: ", path, " cannot be opened"));
    std::string text;
    for (int line = 1; std::getline(in, text); ++line)
      if (!text.empty() && text[0] != '#') add(text, line);
  }

  /// The array `name`; throws Error that lists the known names when there is none.
  const Array& operator[](std::string_view name) const {
    const auto found = find(name);
    if (found == arrays_.end())
      fail("golden: ", file_, " has no '", name, "'; it has ", listing(arrays_, [](const Array& a) { return a.name; }));
    return *found;
  }

  bool contains(std::string_view name) const { return find(name) != arrays_.end(); }
  /// All arrays in the order of the file.
  const std::vector<Array>& arrays() const { return arrays_; }

 private:
  std::vector<Array>::const_iterator find(std::string_view name) const {
    return std::find_if(arrays_.begin(), arrays_.end(), [&](const Array& a) { return a.name == name; });
  }

  void add(const std::string& text, int line) {
    const char* at = text.data();
    const char* const end = at + text.size();
    const auto check = [&](bool good, auto&&... reason) {
      if (!good) throw FileError(join("golden: ", file_, " line ", line, ": ", reason...));
    };
    const auto number = [&](auto& value) {
      const auto [rest, error] = std::from_chars(at, end, value);
      check(error == std::errc{}, "'", std::string_view(at, static_cast<std::size_t>(end - at)).substr(0, 16),
            "' is no number");
      at = rest;
    };

    Array array;
    const std::size_t open = text.find(" [");
    check(open != std::string::npos && open > 0, "a line is `name [shape] values`");
    array.name = text.substr(0, open);
    check(!contains(array.name), "'", array.name, "' is there twice");
    at += open + 2;
    while (at != end && *at != ']') {
      Index size = 0;
      number(size);
      array.shape.push_back(size);
      if (end - at > 1 && at[0] == ',' && at[1] == ' ') at += 2;
    }
    check(at != end, "the shape has no ]");
    for (++at; at != end;) {
      check(*at == ' ', "values are set apart by one space");
      ++at;
      number(array.values.emplace_back());
    }
    const auto count = static_cast<Index>(array.values.size());
    check(count == array.shape.size(), array.name, " is ", array.shape, " but has ", count, " values");
    arrays_.push_back(std::move(array));
  }

  std::string file_;
  std::vector<Array> arrays_;
};

}  // namespace espalier::inline ESPALIER_ABI
