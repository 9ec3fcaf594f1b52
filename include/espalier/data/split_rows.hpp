#pragma once
// Which rows go where when data is split: at random, by class, by group, or in folds. These functions know row numbers
// only; data/split.hpp applies them to datasets and tables, `Subset` to data of the program's own.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "espalier/core/error.hpp"
#include "espalier/core/order.hpp"
#include "espalier/core/random.hpp"

namespace espalier::inline ESPALIER_ABI {

/// The rows of each part, in random order; no row is in two parts and none is left out.
using RowLists = std::vector<std::vector<Index>>;

/// One of the ways to divide rows into a part to train on and a part to judge by.
struct Fold {
  std::vector<Index> train, test;
};

namespace detail {

template <class Lazy = void>
[[gnu::cold]] std::string fraction_list(std::span<const double> fractions) {
  return listing(fractions, [](double f) { return join(f); });
}

/// Throws Error unless the fractions are parts of a whole; returns their sum, 1 but for rounding.
template <class Lazy = void>
double check_fractions(std::string_view op, std::span<const double> fractions) {
  double sum = 0;
  for (double f : fractions) {
    if (!(f > 0 && f < 1)) fail(op, ": the fractions are ", fraction_list(fractions), "; each lies between 0 and 1");
    sum += f;
  }
  if (std::abs(sum - 1) > 1e-6)
    fail(op, ": the fractions ", fraction_list(fractions), " sum to ", sum, "; they must sum to 1");
  return sum;
}

/// Throws Error when a part has no row.
template <class Lazy = void>
void check_parts(std::string_view op, std::span<const double> fractions, const RowLists& parts) {
  Index rows = 0;
  for (const auto& part : parts) rows += static_cast<Index>(part.size());
  for (std::size_t p = 0; p < parts.size(); ++p)
    if (parts[p].empty())
      fail(op, ": fractions of ", fraction_list(fractions), " of ", rows, " rows leave part ", p,
           " (counted from 0) empty; each needs a row");
}

/// All rows in random order; advances the generator by one.
template <class Lazy = void>
std::vector<Index> shuffled(Index rows, Rng& rng) {
  std::vector<Index> order(static_cast<std::size_t>(rows));
  for (std::size_t r = 0; r < order.size(); ++r) order[r] = static_cast<Index>(r);
  rng.shuffle(std::span(order));
  return order;
}

/// Numbers from 0 for what is equal, in order of appearance.
template <class Lazy = void>
std::vector<std::size_t> numbered(std::span<const Index> values, std::size_t& count) {
  std::vector<std::uint64_t> keys;
  for (Index v : values) keys.push_back(static_cast<std::uint64_t>(v));
  const std::vector<std::size_t> first = first_places(keys);
  std::vector<std::size_t> number(first.size());
  count = 0;
  for (std::size_t i = 0; i < first.size(); ++i) number[i] = first[i] == i ? count++ : number[first[i]];
  return number;
}

}  // namespace detail

/// At random, in parts of the given fractions; a part's end is its share of the rows, rounded to the nearest whole
/// number. Advances the generator by one. Throws Error unless the fractions sum to 1 and each part has a row.
template <class Lazy = void>
RowLists split_rows(Index rows, std::span<const double> fractions, Rng& rng) {
  constexpr std::string_view op = "split";
  if (rows < 0) fail(op, ": there are ", rows, " rows; their number is not negative");
  detail::check_fractions(op, fractions);
  RowLists parts(fractions.size());
  Rng ahead = rng;  // the caller's does not advance when there is nothing to be had
  const std::vector<Index> order = detail::shuffled(rows, ahead);
  double share = 0;
  Index begin = 0;
  for (std::size_t p = 0; p < parts.size(); ++p) {
    share += fractions[p];
    const Index end =
        p + 1 < parts.size() ? std::min(rows, Index{std::llround(share * static_cast<double>(rows))}) : rows;
    while (begin < end) parts[p].push_back(order[static_cast<std::size_t>(begin++)]);
  }
  detail::check_parts(op, fractions, parts);
  rng = ahead;
  return parts;
}

/// At random, each class in the given fractions: a part has of each class its share, rounded up or down. Rows that are not
/// `labelled` are a class of their own, whatever stands there as their class; an empty `labelled` means that all are. The
/// roundings even out over the classes, so that a part as a whole is about a row away from its share at most.
/// Advances the generator by one. Throws Error as `split_rows` does, and when there are not as many flags as classes.
template <class Lazy = void>
RowLists stratified_rows(std::span<const Index> classes, std::span<const bool> labelled,
                                std::span<const double> fractions, Rng& rng) {
  constexpr std::string_view op = "stratified_split";
  const double sum = detail::check_fractions(op, fractions);
  if (!labelled.empty() && labelled.size() != classes.size())
    fail(op, ": there are ", classes.size(), " classes, but ", labelled.size(), " flags; there must be as many");

  std::vector<Index> of_labelled;
  for (std::size_t r = 0; r < classes.size(); ++r)
    if (labelled.empty() || labelled[r]) of_labelled.push_back(classes[r]);
  std::size_t known = 0;
  const std::vector<std::size_t> number = detail::numbered(of_labelled, known);
  std::vector<std::size_t> stratum(classes.size(), known), size(known + 1);
  for (std::size_t r = 0, i = 0; r < classes.size(); ++r) {
    if (labelled.empty() || labelled[r]) stratum[r] = number[i++];
    ++size[stratum[r]];
  }

  // What each part gets of each stratum: the share rounded down, and of the rows that are then left over one each for
  // the parts that are furthest behind.
  const std::size_t parts = fractions.size();
  std::vector<Index> quota(size.size() * parts);
  std::vector<double> behind(parts), rest(parts);
  for (std::size_t s = 0; s < size.size(); ++s) {
    Index left = static_cast<Index>(size[s]);
    for (std::size_t p = 0; p < parts; ++p) {
      const double share = fractions[p] / sum * static_cast<double>(size[s]), down = std::floor(share + 1e-9);
      quota[s * parts + p] = static_cast<Index>(down);
      left -= static_cast<Index>(down);
      rest[p] = share - down;
      behind[p] += rest[p];
    }
    for (; left > 0; --left) {
      std::size_t next = parts;
      for (std::size_t p = 0; p < parts; ++p)
        if (rest[p] >= 1e-9 && (next == parts || behind[p] > behind[next])) next = p;
      if (next == parts) next = 0;  // only by rounding
      ++quota[s * parts + next];
      behind[next] -= 1;
      rest[next] = 0;
    }
  }

  RowLists lists(parts);
  Rng ahead = rng;
  for (Index row : detail::shuffled(static_cast<Index>(classes.size()), ahead)) {
    Index* of_stratum = quota.data() + stratum[static_cast<std::size_t>(row)] * parts;
    std::size_t p = 0;
    while (p + 1 < parts && of_stratum[p] == 0) ++p;
    --of_stratum[p];
    lists[p].push_back(row);
  }
  detail::check_parts(op, fractions, lists);
  rng = ahead;
  return lists;
}

/// At random, no group in two parts: the largest groups first, each into a part that has room for it, drawn in proportion
/// to the room, or where none has, into the one with most room; so the small groups level the sizes. With as many groups
/// as parts or more, each part gets one. Advances the generator by three. Throws Error as `split_rows` does, and for fewer
/// groups than parts.
template <class Lazy = void>
RowLists grouped_rows(std::span<const Index> groups, std::span<const double> fractions, Rng& rng) {
  constexpr std::string_view op = "grouped_split";
  detail::check_fractions(op, fractions);
  const std::size_t parts = fractions.size();
  std::size_t count = 0;
  const std::vector<std::size_t> group = detail::numbered(groups, count);
  if (count < parts) fail(op, ": ", count, " groups for ", parts, " parts; each part needs a group");
  std::vector<std::size_t> size(count), part_of(count), taken(parts);
  for (std::size_t g : group) ++size[g];

  const std::vector<Index> random = detail::shuffled(static_cast<Index>(count), rng);
  std::vector<double> room;
  for (double f : fractions) room.push_back(f * static_cast<double>(groups.size()));
  const Draws draws = rng.next();
  std::size_t placed = 0, empty = parts;
  const auto at = [&](Index i) { return static_cast<std::size_t>(random[static_cast<std::size_t>(i)]); };
  for (Index i : detail::sorted_order(count, [&](Index a, Index b) { return size[at(a)] > size[at(b)]; })) {
    const std::size_t g = at(i);                              // equal sizes come in random order
    const double rows = static_cast<double>(size[g]) - 1e-9;  // a share of 3 rows may be a bit less
    const bool only_empty = count - placed <= empty;
    double sum = 0;
    std::size_t most = parts;
    for (std::size_t p = 0; p < parts; ++p) {
      if (only_empty && taken[p]) continue;
      if (room[p] >= rows) sum += room[p];
      if (most == parts || room[p] > room[most]) most = p;
    }
    std::size_t chosen = most;
    double drawn = sum * draws.uniform(placed);
    for (std::size_t p = 0; p < parts && sum > 0; ++p) {
      if ((only_empty && taken[p]) || room[p] < rows) continue;
      chosen = p;
      if ((drawn -= room[p]) < 0) break;
    }
    empty -= taken[chosen]++ == 0;
    room[chosen] -= rows;
    part_of[g] = chosen;
    ++placed;
  }

  RowLists lists(parts);
  for (Index row : detail::shuffled(static_cast<Index>(groups.size()), rng))
    lists[part_of[group[static_cast<std::size_t>(row)]]].push_back(row);
  return lists;
}

/// Every row in the test part of one fold and the training part of the others; the test parts differ by a row at most.
///
///   for (const Fold& fold : k_folds(data.size(), 5, rng))
///     judge(data.rows(fold.train), data.rows(fold.test));
///
/// Advances the generator by one. Throws Error for fewer than two folds or more than rows.
template <class Lazy = void>
std::vector<Fold> k_folds(Index rows, Index k, Rng& rng) {
  if (k < 2 || k > rows)
    fail("k_folds: ", k, " folds of ", rows, " rows; there must be at least 2 folds, and a row for each");
  const std::vector<Index> order = detail::shuffled(rows, rng);
  std::vector<Fold> folds(static_cast<std::size_t>(k));
  const auto n = static_cast<std::size_t>(rows);
  for (std::size_t f = 0, begin = 0; f < folds.size(); ++f) {
    const std::size_t end = begin + n / folds.size() + (f < n % folds.size());
    for (std::size_t i = 0; i < n; ++i) (i >= begin && i < end ? folds[f].test : folds[f].train).push_back(order[i]);
    begin = end;
  }
  return folds;
}

}  // namespace espalier::inline ESPALIER_ABI
