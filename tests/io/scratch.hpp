#pragma once
// Files for a test: a fresh folder in the working directory, removed with all it holds; hex for golden bytes.

#include <stdlib.h>

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

class Scratch {
 public:
  Scratch() {
    if (::mkdtemp(folder_.data()) == nullptr) throw "no scratch folder";
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { std::filesystem::remove_all(folder_); }

  const std::string& folder() const { return folder_; }
  std::string operator()(const std::string& name) const { return folder_ + "/" + name; }
  /// Number of files, those that start with a dot included.
  std::ptrdiff_t files() const {
    return std::distance(std::filesystem::directory_iterator(folder_), std::filesystem::directory_iterator());
  }

 private:
  std::string folder_ = "scratch_XXXXXX";
};

inline std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

/// The bytes that hexadecimal digits stand for; spaces are skipped.
inline std::string from_hex(std::string_view digits) {
  std::string bytes, pair;
  for (char c : digits) {
    if (c == ' ') continue;
    pair += c;
    if (pair.size() < 2) continue;
    bytes += static_cast<char>(std::stoi(pair, nullptr, 16));
    pair.clear();
  }
  return bytes;
}
