#pragma once
// Which of many things appear twice: names that must differ, parameters that are tied, tasks listed by several. Here once,
// not in templates, because every instantiation of a sort costs each program that includes the library.

#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include "espalier/core/memory.hpp"
#include "espalier/core/random.hpp"

namespace espalier::inline ESPALIER_ABI::detail {

/// For every key the position at which it appears first: keys[first[i]] == keys[i], and first[i] <= i.
[[gnu::noinline]] inline std::vector<std::size_t> first_places(const std::vector<std::uint64_t>& keys) {
  std::vector<std::pair<std::uint64_t, std::size_t>> sorted;
  for (std::size_t i = 0; i < keys.size(); ++i) sorted.push_back({keys[i], i});
  std::sort(sorted.begin(), sorted.end());
  std::vector<std::size_t> first(keys.size());
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    const bool again = i > 0 && sorted[i].first == sorted[i - 1].first;
    first[sorted[i].second] = again ? first[sorted[i - 1].second] : sorted[i].second;
  }
  return first;
}
inline std::uint64_t key_of(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer); }

/// The first name that repeats an earlier one; null when all differ.
[[gnu::noinline]] inline const std::string* repeated(const std::vector<const std::string*>& names) {
  std::vector<std::uint64_t> keys;
  for (const std::string* name : names) keys.push_back(hash_name(*name));
  const std::vector<std::size_t> first = first_places(keys);
  for (std::size_t i = 0; i < names.size(); ++i)
    if (first[i] != i && *names[i] == *names[first[i]]) return names[i];
  return nullptr;
}
/// The same for anything whose items have a `name`.
template <class Items>
const std::string* repeated_name(const Items& items) {
  std::vector<const std::string*> names;
  for (const auto& item : items) names.push_back(&item.name);
  return repeated(names);
}

/// Sorted, each number once.
[[gnu::noinline]] inline void sort_unique(PoolVector<Index>& numbers) {
  std::sort(numbers.begin(), numbers.end());
  numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
}

}  // namespace espalier::inline ESPALIER_ABI::detail
