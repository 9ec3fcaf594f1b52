#pragma once
// NameTable: names and their numbers, looked up in constant time. Here once for columns, categories and whatever else has
// names, because every other map costs each program that includes the library.

#include <string>
#include <string_view>
#include <vector>

#include "espalier/core/random.hpp"

namespace espalier::inline ESPALIER_ABI {

/// Different names, numbered 0, 1, ... in the order in which they were added. A hash table with open addressing.
class NameTable {
 public:
  Index size() const { return static_cast<Index>(names_.size()); }
  const std::vector<std::string>& names() const { return names_; }

  /// The number of a name; -1 when it was never added.
  Index find(std::string_view name) const { return slots_.empty() ? -1 : slots_[slot_of(name)]; }
  /// Adds a name; false, and nothing changes, when it is there already.
  bool add(std::string_view name) {
    if (2 * (names_.size() + 1) > slots_.size()) grow();
    Index& slot = slots_[slot_of(name)];
    if (slot >= 0) return false;
    slot = size();
    names_.emplace_back(name);
    return true;
  }

 private:
  /// Where a name is, or belongs.
  std::size_t slot_of(std::string_view name) const {
    std::size_t at = detail::hash_name(name) & (slots_.size() - 1);
    while (slots_[at] >= 0 && names_[static_cast<std::size_t>(slots_[at])] != name) at = (at + 1) & (slots_.size() - 1);
    return at;
  }
  void grow() {
    slots_.assign(slots_.empty() ? 16 : 2 * slots_.size(), -1);
    for (Index i = 0; i < size(); ++i) slots_[slot_of(names_[static_cast<std::size_t>(i)])] = i;
  }

  std::vector<std::string> names_;
  std::vector<Index> slots_;  // a power of two; at most half of it is taken, -1 elsewhere
};

}  // namespace espalier::inline ESPALIER_ABI
