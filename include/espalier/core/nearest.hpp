#pragma once
// did_you_mean: the known name that somebody probably meant, for messages about an unknown one.

#include <span>
#include <string>
#include <string_view>

#include "espalier/core/error.hpp"
#include "espalier/core/shape.hpp"

namespace espalier::inline ESPALIER_ABI {

namespace detail {

inline char lower_case(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

/// Letters to add, leave out, change, or exchange with their neighbour between two names of at most 64 (optimal string
/// alignment; Damerau 1964), upper and lower case being one; `most` + 1 when there are more.
template <class Lazy = void>
[[gnu::cold]] Index edits(std::string_view a, std::string_view b, Index most) {
  Index rows[3][65];
  const std::size_t n = b.size();
  for (std::size_t j = 0; j <= n; ++j) rows[0][j] = static_cast<Index>(j);
  Index *before = rows[2], *last = rows[0], *row = rows[1];
  for (std::size_t i = 1; i <= a.size(); ++i) {
    const char c = lower_case(a[i - 1]);
    Index least = row[0] = static_cast<Index>(i);
    for (std::size_t j = 1; j <= n; ++j) {
      const char d = lower_case(b[j - 1]);
      Index best = last[j - 1] + (c != d);
      if (last[j] + 1 < best) best = last[j] + 1;
      if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
      if (i > 1 && j > 1 && c == lower_case(b[j - 2]) && d == lower_case(a[i - 2]) && before[j - 2] + 1 < best)
        best = before[j - 2] + 1;
      row[j] = best;
      least = best < least ? best : least;
    }
    if (least > most) return most + 1;
    Index* const oldest = before;
    before = last;
    last = row;
    row = oldest;
  }
  return last[n];
}

}  // namespace detail

/// `; did you mean 'colour'?` where one of the names is much like the unknown one: a third of its letters differ at most, or it
/// is the name's beginning. Empty otherwise.
template <class Lazy = void>
[[gnu::cold]] std::string did_you_mean(std::string_view unknown, std::span<const std::string> known) {
  const std::string* best = nullptr;
  const auto length = static_cast<Index>(unknown.size());
  if (length > 64) return "";
  Index fewest = length / 3 < 3 ? length / 3 : 3;
  for (const std::string& name : known) {
    const Index longer = static_cast<Index>(name.size()) - length;
    if (name.empty() || name.size() > 64 || longer > fewest || -longer > fewest) continue;
    const Index found = detail::edits(unknown, name, fewest);
    if (found > fewest || (best && found == fewest)) continue;
    best = &name;
    fewest = found;
  }
  for (const std::string& name : known)
    if (!best && length > 2 && name.starts_with(unknown)) best = &name;
  return best ? join("; did you mean '", *best, "'?") : "";
}

}  // namespace espalier::inline ESPALIER_ABI
