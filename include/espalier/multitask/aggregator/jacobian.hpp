#pragma once
// Gradient aggregators that need the gradients themselves: coordinates (GradDrop, TrimmedMean), or gradients kept from
// earlier steps (MoCo, DB-MTL). They see the Jacobian in blocks of columns, one for each shared parameter, formed when asked
// for and gone at the next one, so that the [tasks, parameters] matrix never exists as a whole. They see doubles and no
// graph, as all aggregators.
//
// To add a method, write a struct of its own header: `name`, `aggregate`, and `fields` for what it keeps. trimmed_mean.hpp is
// the one to imitate; moco.hpp shows how to keep gradients.

#include <cmath>
#include <concepts>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "espalier/multitask/aggregator/aggregator.hpp"

namespace espalier::inline ESPALIER_ABI {

/// The Jacobian of a step and the direction that replaces the sum of its rows, block by block. A row is a task of the step
/// (StepInfo tells which), a block some elements of one shared parameter, which is cut where it is large.
class JacobianBlocks {
 public:
  virtual Index tasks() const = 0;
  virtual Index blocks() const = 0;
  virtual Index size(Index block) const = 0;
  /// The block's first element in its parameter, and how many elements that has.
  virtual Index offset(Index block) const = 0;
  virtual Index whole(Index block) const = 0;
  /// The parameter's path, or `parameter 3` while it has none: the key of what a method keeps or draws for it. Good until
  /// the next call.
  virtual std::string_view name(Index block) const = 0;
  /// [tasks, size], row-major; good until the next call. May be asked for again until the block has its direction.
  virtual std::span<const double> rows(Index block) = 0;
  /// Hands over the direction [size] of a block. Every block gets one; the parameters see them when all have.
  virtual void direction(Index block, std::span<const double> d) = 0;

 protected:
  ~JacobianBlocks() = default;
};

/// A method that needs the Jacobian: `aggregate` hands a direction to every block, fills `out` [tasks] with what each row
/// counts in it, where the method has such a number, and certifies the result. Throws Error when a gradient is not finite;
/// what it keeps is then as it was.
template <class A>
concept JacobianAggregator = requires(A& a, JacobianBlocks& jacobian, const StepInfo& info, std::span<double> out) {
  { A::name } -> std::convertible_to<std::string_view>;
  { a.aggregate(jacobian, info, out) } -> std::same_as<Certificate>;
};

/// Rows of the Jacobian that a method keeps from step to step: one per task and parameter, zero until first written.
class KeptRows {
 public:
  /// The kept rows of a block: row i begins at element i * whole. Throws Error when the parameter had another size.
  double* of(std::string_view method, const JacobianBlocks& jacobian, Index block, Index tasks) {
    return of(method, jacobian.name(block), tasks, jacobian.whole(block)).data() + jacobian.offset(block);
  }
  /// Names and numbers as two lists of texts (of bytes, in the machine's order), since how many there are is known only
  /// after the first step: lists of texts are the fields whose length a file may change.
  void fields(auto&& visit) {
    std::vector<std::string> names, values;
    for (const Entry& entry : entries_) {
      names.push_back(entry.name);
      values.emplace_back(reinterpret_cast<const char*>(entry.values.data()), entry.values.size() * sizeof(double));
    }
    visit("names", names);
    visit("values", values);
    if (names.size() != values.size())
      fail("KeptRows: ", names.size(), " names, but ", values.size(), " rows; they must be as many");
    entries_.resize(names.size());
    for (std::size_t i = 0; i < names.size(); ++i) {
      entries_[i].name = std::move(names[i]);
      entries_[i].values.resize(values[i].size() / sizeof(double));
      std::copy_n(values[i].data(), entries_[i].values.size() * sizeof(double), reinterpret_cast<char*>(entries_[i].values.data()));
    }
    next_ = 0;
  }

 private:
  struct Entry {
    std::string name;
    std::vector<double> values;  // [tasks, size]
  };
  /// [tasks, size] of a parameter.
  std::span<double> of(std::string_view method, std::string_view parameter, Index tasks, Index size) {
    const std::size_t count = entries_.size();
    for (std::size_t i = 0; i < count; ++i) {  // the order is the same in every step: this one or the next is the likely one
      Entry& entry = entries_[(next_ + i) % count];
      if (entry.name != parameter) continue;
      next_ = (next_ + i) % count;
      const auto wanted = static_cast<std::size_t>(tasks * size);
      if (entry.values.size() > wanted || entry.values.size() % static_cast<std::size_t>(size) != 0)
        fail(method, ": ", entry.values.size(), " numbers are kept for ", parameter, ", which has ", size, " elements and ",
             tasks, " tasks; a run goes on with the model that it began with");
      entry.values.resize(wanted);
      return entry.values;
    }
    entries_.push_back({std::string(parameter), std::vector<double>(static_cast<std::size_t>(tasks * size))});
    next_ = count;
    return entries_.back().values;
  }

  std::vector<Entry> entries_;
  std::size_t next_ = 0;  // where the next search begins
};

namespace detail {

/// The rows of a block, checked: throws Error for a gradient that is not finite.
inline std::span<const double> checked_rows(std::string_view method, JacobianBlocks& jacobian, const StepInfo& info, Index block) {
  const std::span<const double> rows = jacobian.rows(block);
  const Index size = jacobian.size(block);
  for (Index i = 0; i < jacobian.tasks(); ++i) {
    const double* row = rows.data() + i * size;
    double none = 0;  // stays 0 unless an element is not finite
    for (Index k = 0; k < size; ++k) none += row[k] * 0;
    if (none != 0 || std::isnan(none))
      fail(method, ": the gradient of ", info.name(i), " in ", jacobian.name(block),
           " is not finite; look at its loss and its labels");
  }
  return rows;
}

/// Checks the sizes; every method calls it first.
inline void check_jacobian(std::string_view method, const JacobianBlocks& jacobian, const StepInfo& info, std::size_t weights) {
  const auto tasks = static_cast<std::size_t>(jacobian.tasks());
  if (weights != tasks) fail(method, ": out has room for ", weights, " weights, the Jacobian has ", tasks, " tasks");
  if (!info.active.empty() && info.active.size() != tasks)
    fail(method, ": ", info.active.size(), " tasks are active, the Jacobian has ", tasks, "; every row belongs to one task");
}

}  // namespace detail

}  // namespace espalier::inline ESPALIER_ABI
