#pragma once
// NamedList: values with names, in order. Lookup by name is checked and says which names there are.

#include <algorithm>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "espalier/core/error.hpp"
#include "espalier/core/nearest.hpp"
#include "espalier/core/order.hpp"
#include "espalier/core/shape.hpp"

namespace espalier::inline ESPALIER_ABI {

template <class Value>
struct Named {
  std::string name;
  Value value = {};
};

namespace detail {
/// What messages call the values of a list; a type may have a `kind` of its own.
template <class Value>
inline constexpr std::string_view kind_of = "name";
template <class Value>
  requires requires { Value::kind; }
inline constexpr std::string_view kind_of<Value> = Value::kind;

[[noreturn, gnu::cold]] inline void unknown_name(std::string_view kind, std::string_view name,
                                                 const std::vector<std::string>& known) {
  fail(kind, "s: unknown ", kind, " '", name, "'; known: ", listing(known, [](const std::string& n) { return n; }),
       did_you_mean(name, known));
}
}  // namespace detail

template <class Value>
class NamedList {
 public:
  NamedList() = default;
  NamedList(std::initializer_list<Named<Value>> items) : NamedList(std::vector<Named<Value>>(items)) {}
  /// Throws Error when a name appears twice.
  explicit NamedList(std::vector<Named<Value>> items) : items_(std::move(items)) {
    if (const std::string* twice = detail::repeated_name(items_))
      fail(detail::kind_of<Value>, "s: '", *twice, "' appears twice; names must differ");
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
  /// The value of a name; throws Error, for instance `inputs: unknown input 'x'; known: a, b`.
  const Value& operator[](std::string_view name) const {
    if (const Value* value = find(name)) return *value;
    std::vector<std::string> known;
    for (const Named<Value>& item : items_) known.push_back(item.name);
    detail::unknown_name(detail::kind_of<Value>, name, known);
  }
  std::string names() const {
    return listing(items_, [](const Named<Value>& item) { return item.name; });
  }

 private:
  std::vector<Named<Value>> items_;
};

/// Looks many names up in a list of `size` names, `name(i)` each: at once where both lists are in one order, else by
/// sorting, so that neither way costs the square of their number. Refers to the names.
template <class Name>
class NameIndex {
 public:
  NameIndex(Index size, Name name) : size_(size), name_(std::move(name)) {}

  /// The position of a name, -1 when there is none; looks at `hint` first.
  Index find(std::string_view name, Index hint) {
    if (hint < size_ && name_(hint) == name) return hint;
    if (sorted_.empty())
      sorted_ = detail::sorted_order(static_cast<std::size_t>(size_), [&](Index a, Index b) { return name_(a) < name_(b); });
    const Index* at = std::lower_bound(sorted_.begin(), sorted_.end(), name,
                                       [&](Index i, std::string_view n) { return name_(i) < n; });
    return at != sorted_.end() && name_(*at) == name ? *at : -1;
  }

 private:
  Index size_;
  Name name_;
  PoolVector<Index> sorted_;
};

}  // namespace espalier::inline ESPALIER_ABI
