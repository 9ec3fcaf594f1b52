#pragma once
// split, stratified_split, grouped_split: a Dataset or a Table at random into parts, for training and for judging.
//
//   auto [train, test] = split(data, 0.8, rng);
//   auto [train, valid, test] = stratified_split(data, {0.7, 0.15, 0.15}, "digit", rng);   // each class in all parts
//   auto [train, test] = grouped_split(data, 0.8, patients, rng);                          // no patient in both
//
// For cross-validation see `k_folds`, for data of the program's own the functions of data/split_rows.hpp.

#include <array>
#include <cmath>
#include <concepts>
#include <span>
#include <string_view>
#include <utility>

#include "espalier/data/dataset.hpp"
#include "espalier/data/split_rows.hpp"
#include "espalier/data/table.hpp"

namespace espalier::inline ESPALIER_ABI {

namespace detail {

inline Index row_count(const Table& table) { return table.rows(); }
template <class T>
Index row_count(const Dataset<T>& data) {
  return data.size();
}

/// What can be split: a Dataset or a Table.
template <class Data>
concept Splittable = requires(const Data& data, std::span<const Index> rows) {
  { data.rows(rows) } -> std::same_as<Data>;
  detail::row_count(data);
};

template <class Lazy = void>
std::array<double, 2> two_fractions(std::string_view op, double fraction) {
  if (!(fraction > 0 && fraction < 1)) fail(op, ": the fraction is ", fraction, "; it lies between 0 and 1");
  return {fraction, 1 - fraction};
}

template <class Data>
std::pair<Data, Data> two_parts(const Data& data, const RowLists& lists) {
  return {data.rows(std::span(lists[0])), data.rows(std::span(lists[1]))};
}
template <std::size_t N, class Data>
std::array<Data, N> parts(const Data& data, const RowLists& lists) {
  std::array<Data, N> all;
  for (std::size_t p = 0; p < N; ++p) all[p] = data.rows(std::span(lists[p]));
  return all;
}

/// The classes to stratify by, and where there is one.
struct Strata {
  Tensor<Index> classes;
  Tensor<bool> labelled;  // undefined: everywhere

  template <class Lazy = void>
  RowLists rows(std::span<const double> fractions, Rng& rng) const {
    return stratified_rows(classes.values(), labelled.defined() ? labelled.values() : std::span<const bool>(),
                           fractions, rng);
  }
};
template <class Lazy = void>
Strata strata(const Table& table, std::string_view column) {
  return {table.classes(column), table.missing(column) ? table.complete({std::string(column)}) : Tensor<bool>()};
}
template <class T>
Strata strata(const Dataset<T>& data, std::string_view task) {
  constexpr std::string_view op = "stratified_split";
  data.check();
  const Target<T>* target = data.targets.find(task);
  if (!target) fail(op, ": unknown task '", task, "'; known: ", data.targets.names());
  if (!target->classes.defined()) fail(op, ": target '", task, "' holds values; a target of classes is needed");
  if (target->classes.rank() != 1)
    fail(op, ": target '", task, "' is ", target->classes.shape(), "; one class per row is needed, [rows]");
  if (!target->weight.defined()) return {target->classes, {}};
  Tensor<bool> labelled = Tensor<bool>::empty(target->classes.shape());
  for (Index r = 0; r < labelled.size(); ++r) labelled.raw()[r] = target->weight.data()[r] != 0;
  return {target->classes, labelled};
}

template <class Lazy = void>
RowLists grouped(Index rows, const Tensor<Index>& groups, std::span<const double> fractions, Rng& rng) {
  if (!groups.defined() || groups.rank() != 1 || groups.size() != rows)
    fail("grouped_split: there are ", rows, " rows, the groups are ",
         groups.defined() ? groups.shape().text() : "undefined", "; each row needs one, [rows]");
  return grouped_rows(groups.values(), fractions, rng);
}

}  // namespace detail

// `split`, `stratified_split` and `grouped_split` take a fraction for the first of two parts, or the fractions of all
// parts in braces, which sum to 1. They throw Error, and leave the generator as it was, when a part would be empty.

/// At random: the first part gets `fraction` of the rows, rounded to the nearest whole number; both are in random order.
/// Advances the generator by one.
template <detail::Splittable Data>
std::pair<Data, Data> split(const Data& data, double fraction, Rng& rng) {
  const Index count = detail::row_count(data);
  const Index first = fraction > 0 && fraction < 1 ? std::llround(fraction * static_cast<double>(count)) : 0;
  if (first < 1 || first >= count)
    fail("split: a fraction of ", fraction, " of ", count, " rows leaves one part empty; both need a row");
  return detail::two_parts(data, split_rows(count, detail::two_fractions("split", fraction), rng));
}
template <detail::Splittable Data, std::size_t N>
  requires(N > 1)
std::array<Data, N> split(const Data& data, const double (&fractions)[N], Rng& rng) {
  return detail::parts<N>(data, split_rows(detail::row_count(data), fractions, rng));
}

/// At random, each class of a task (a table: of a column of text or class numbers) in the given fractions; see
/// `stratified_rows`. Rows without a label are a class of their own. Throws Error also for an unknown task and for one
/// that has no classes.
template <detail::Splittable Data>
std::pair<Data, Data> stratified_split(const Data& data, double fraction, std::string_view task, Rng& rng) {
  const std::array<double, 2> fractions = detail::two_fractions("stratified_split", fraction);
  return detail::two_parts(data, detail::strata(data, task).rows(fractions, rng));
}
template <detail::Splittable Data, std::size_t N>
  requires(N > 1)
std::array<Data, N> stratified_split(const Data& data, const double (&fractions)[N], std::string_view task, Rng& rng) {
  return detail::parts<N>(data, detail::strata(data, task).rows(fractions, rng));
}

/// At random, all rows of a group in one part; `groups` [rows] numbers them in any way. The sizes are near the fractions,
/// as far as the groups allow; see `grouped_rows`. Every row needs a group: `table.classes("patient")` is 0 where the cell is
/// missing.
template <detail::Splittable Data>
std::pair<Data, Data> grouped_split(const Data& data, double fraction, const Tensor<Index>& groups, Rng& rng) {
  const std::array<double, 2> fractions = detail::two_fractions("grouped_split", fraction);
  return detail::two_parts(data, detail::grouped(detail::row_count(data), groups, fractions, rng));
}
template <detail::Splittable Data, std::size_t N>
  requires(N > 1)
std::array<Data, N> grouped_split(const Data& data, const double (&fractions)[N], const Tensor<Index>& groups,
                                  Rng& rng) {
  return detail::parts<N>(data, detail::grouped(detail::row_count(data), groups, fractions, rng));
}

}  // namespace espalier::inline ESPALIER_ABI
