#pragma once
// Sorting, and finding what appears twice: names that must differ, parameters that are tied, tasks listed by several. Here
// once, not in templates, because every instantiation of a sort costs each program that includes the library. What is
// sorted are positions; whoever has the items says which of two comes first.

#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include "espalier/core/pool_vector.hpp"
#include "espalier/core/random.hpp"

namespace espalier::inline ESPALIER_ABI::detail {

/// The one std::sort: numbers in the order of `before`, which `context` belongs to.
template <class Lazy = void>
[[gnu::noinline]] void sort_numbers(std::span<Index> numbers, const void* context,
                                    bool (*before)(const void* context, Index a, Index b)) {
  std::sort(numbers.data(), numbers.data() + numbers.size(), [=](Index a, Index b) { return before(context, a, b); });
}
/// Rising.
inline void sort_numbers(std::span<Index> numbers) {
  sort_numbers(numbers, nullptr, [](const void*, Index a, Index b) { return a < b; });
}
/// The positions 0 .. size - 1 in the order in which `before(a, b)` puts a before b; equal ones stay as they stand.
template <class Before>
PoolVector<Index> sorted_order(std::size_t size, const Before& before) {
  PoolVector<Index> order;
  order.reserve(size);
  for (std::size_t i = 0; i < size; ++i) order.push_back(static_cast<Index>(i));
  sort_numbers(order, &before, [](const void* context, Index a, Index b) {
    const Before& f = *static_cast<const Before*>(context);
    return f(a, b) || (a < b && !f(b, a));
  });
  return order;
}

/// For every key the position at which it appears first: keys[first[i]] == keys[i], and first[i] <= i.
template <class Lazy = void>
[[gnu::noinline]] std::vector<std::size_t> first_places(const std::vector<std::uint64_t>& keys) {
  const auto key = [&](Index i) { return keys[static_cast<std::size_t>(i)]; };
  const PoolVector<Index> order = sorted_order(keys.size(), [&](Index a, Index b) { return key(a) < key(b); });
  std::vector<std::size_t> first(keys.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    const auto at = static_cast<std::size_t>(order[i]);
    const bool again = i > 0 && key(order[i]) == key(order[i - 1]);
    first[at] = again ? first[static_cast<std::size_t>(order[i - 1])] : at;
  }
  return first;
}
inline std::uint64_t key_of(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer); }

/// The first name that repeats an earlier one; null when all differ.
template <class Lazy = void>
[[gnu::noinline]] const std::string* repeated(const std::vector<const std::string*>& names) {
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
template <class Lazy = void>
[[gnu::noinline]] void sort_unique(PoolVector<Index>& numbers) {
  sort_numbers(numbers);
  numbers.shrink(std::unique(numbers.begin(), numbers.end()));
}

}  // namespace espalier::inline ESPALIER_ABI::detail
