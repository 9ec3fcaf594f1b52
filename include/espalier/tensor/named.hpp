#pragma once
// NamedList: values with names, in order. Lookup by name is checked and says which names there are.

#include <algorithm>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "espalier/core/error.hpp"
#include "espalier/core/shape.hpp"

namespace espalier::inline ESPALIER_ABI {

template <class Value>
struct Named {
  std::string name;
  Value value = {};
};

template <class Value>
class NamedList {
 public:
  NamedList() = default;
  NamedList(std::initializer_list<Named<Value>> items) : NamedList(std::vector<Named<Value>>(items)) {}
  /// Throws Error when a name appears twice.
  explicit NamedList(std::vector<Named<Value>> items) : items_(std::move(items)) {
    std::vector<std::string_view> sorted;
    sorted.reserve(items_.size());
    for (const Named<Value>& item : items_) sorted.push_back(item.name);
    std::sort(sorted.begin(), sorted.end());
    if (const auto twice = std::adjacent_find(sorted.begin(), sorted.end()); twice != sorted.end())
      fail("names: '", *twice, "' appears twice; names must differ");
  }

  Index size() const { return static_cast<Index>(items_.size()); }
  bool empty() const { return items_.empty(); }
  auto begin() const { return items_.begin(); }
  auto end() const { return items_.end(); }
  auto begin() { return items_.begin(); }
  auto end() { return items_.end(); }
  const Named<Value>& at(Index i) const { return items_[static_cast<std::size_t>(i)]; }
  Named<Value>& at(Index i) { return items_[static_cast<std::size_t>(i)]; }
  void add(std::string name, Value value) { items_.push_back({std::move(name), std::move(value)}); }

  /// The value of a name, or null; looks at position `hint` first, where lists in one order find each other.
  const Value* find(std::string_view name, Index hint = 0) const {
    if (hint < size() && at(hint).name == name) return &at(hint).value;
    for (const Named<Value>& item : items_)
      if (item.name == name) return &item.value;
    return nullptr;
  }
  Value* find(std::string_view name) { return const_cast<Value*>(std::as_const(*this).find(name)); }
  /// The value of a name; throws `unknown name 'x'; known: a, b`.
  const Value& operator[](std::string_view name) const {
    if (const Value* value = find(name)) return *value;
    fail("unknown name '", name, "'; known: ", names());
  }
  std::string names() const {
    return listing(items_, [](const Named<Value>& item) { return item.name; });
  }

 private:
  std::vector<Named<Value>> items_;
};

}  // namespace espalier::inline ESPALIER_ABI
