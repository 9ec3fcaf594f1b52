#include "espalier/data/split_rows.hpp"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <vector>

#include "espalier/autograd/node.hpp"
#include "support/catch.hpp"

using namespace espalier;

namespace {

using Rows = std::vector<Index>;
using Fractions = std::vector<double>;

Rows all_of(const RowLists& parts) {
  Rows all;
  for (const Rows& part : parts) all.insert(all.end(), part.begin(), part.end());
  std::ranges::sort(all);
  return all;
}
Rows counted(Index rows) {
  Rows all(static_cast<std::size_t>(rows));
  std::iota(all.begin(), all.end(), Index{0});
  return all;
}
/// Parts of a whole, at random, none below a tenth.
Fractions some_fractions(const Draws& draw, std::size_t parts) {
  Fractions f(parts);
  double sum = 0;
  for (std::size_t p = 0; p < parts; ++p) sum += f[p] = 0.4 + draw.uniform(p);
  for (double& part : f) part /= sum;
  return f;
}

}  // namespace

TEST_CASE("split_rows: the parts have their shares, every row once", "[fast]") {
  Rng rng(3);
  for (int round = 0; round < 200; ++round) {
    const Draws draw = rng.next();
    const auto count = static_cast<std::size_t>(2 + draw.below(4, 100));
    const Fractions f = some_fractions(draw, count);
    const Index rows = 30 + draw.below(200, 101);
    const RowLists parts = split_rows(rows, f, rng);
    REQUIRE(parts.size() == count);
    REQUIRE(all_of(parts) == counted(rows));
    for (std::size_t p = 0; p < count; ++p)
      REQUIRE(std::abs(static_cast<double>(parts[p].size()) - f[p] * static_cast<double>(rows)) <= 1 + 1e-9);
  }
}

TEST_CASE("split_rows: thirds that are rounded are fractions, and what does not sum to 1 is not", "[fast]") {
  Rng rng(1);
  CHECK(split_rows(9, Fractions{1.0 / 3, 1.0 / 3, 1.0 / 3}, rng)[2].size() == 3);
  CHECK(split_rows(10, Fractions(10, 0.1), rng).size() == 10);
  const std::uint64_t step = rng.step();
  REQUIRE_THROWS_WITH(split_rows(10, Fractions{0.7, 0.2}, rng),
                      "split: the fractions 0.7, 0.2 sum to 0.9; they must sum to 1");
  REQUIRE_THROWS_WITH(split_rows(10, Fractions{0.33, 0.33, 0.33}, rng),
                      "split: the fractions 0.33, 0.33, 0.33 sum to 0.99; they must sum to 1");
  REQUIRE_THROWS_WITH(split_rows(10, Fractions{1, 0}, rng), "split: the fractions are 1, 0; each lies between 0 and 1");
  REQUIRE_THROWS_WITH(split_rows(10, Fractions{1.5, -0.5}, rng),
                      "split: the fractions are 1.5, -0.5; each lies between 0 and 1");
  REQUIRE_THROWS_WITH(split_rows(10, Fractions{std::nan(""), 0.5}, rng),
                      "split: the fractions are nan, 0.5; each lies between 0 and 1");
  REQUIRE_THROWS_WITH(split_rows(10, Fractions{}, rng), "split: the fractions none sum to 0; they must sum to 1");
  REQUIRE_THROWS_WITH(split_rows(3, Fractions{0.9, 0.05, 0.05}, rng),
                      "split: fractions of 0.9, 0.05, 0.05 of 3 rows leave part 1 (counted from 0) empty; each needs a "
                      "row");
  REQUIRE_THROWS_WITH(split_rows(-1, Fractions{0.5, 0.5}, rng),
                      "split: there are -1 rows; their number is not negative");
  CHECK(rng.step() == step);
}

TEST_CASE("stratified_rows: each class within one row of its share, the parts near theirs", "[fast]") {
  Rng rng(5);
  for (int round = 0; round < 400; ++round) {
    const Draws draw = rng.next();
    const auto count = static_cast<std::size_t>(2 + draw.below(4, 100));
    const Fractions f = some_fractions(draw, count);
    const Index rows = 60 + draw.below(200, 101), kinds = 1 + draw.below(30, 102);
    Rows classes;
    const auto labelled = std::make_unique<bool[]>(static_cast<std::size_t>(rows));
    for (Index r = 0; r < rows; ++r) {
      const auto i = static_cast<std::uint64_t>(1000 + r);
      const double u = draw.uniform(i);
      classes.push_back(static_cast<Index>(u * u * static_cast<double>(kinds)) - 3);  // unequal, and any number will do
      labelled[static_cast<std::size_t>(r)] = draw.below(5, i) > 0;
      if (!labelled[static_cast<std::size_t>(r)]) classes.back() = r;  // never read
    }
    const RowLists parts = stratified_rows(classes, std::span(labelled.get(), static_cast<std::size_t>(rows)), f, rng);
    REQUIRE(all_of(parts) == counted(rows));
    for (std::size_t p = 0; p < count; ++p)
      REQUIRE(std::abs(static_cast<double>(parts[p].size()) - f[p] * static_cast<double>(rows)) < 1);
    for (Index c = -4; c < kinds - 3; ++c) {  // -4: those without a label
      const auto is = [&](Index r) {
        const bool has = labelled[static_cast<std::size_t>(r)];
        return c == -4 ? !has : has && classes[static_cast<std::size_t>(r)] == c;
      };
      const auto size = static_cast<double>(std::ranges::count_if(counted(rows), is));
      for (std::size_t p = 0; p < count; ++p)
        REQUIRE(std::abs(static_cast<double>(std::ranges::count_if(parts[p], is)) - f[p] * size) < 1 + 1e-9);
    }
  }
}

TEST_CASE("stratified_rows: many small classes still give each part its share", "[fast]") {
  Rng rng(7);
  Rows classes = counted(100);
  for (Index& c : classes) c /= 2;  // 50 classes of two rows, of which 0.2 is never a whole row
  const RowLists parts = stratified_rows(classes, {}, Fractions{0.8, 0.2}, rng);
  CHECK(parts[0].size() == 80);
  CHECK(parts[1].size() == 20);
}

TEST_CASE("stratified_rows: at random, and refused where it cannot be done", "[fast]") {
  Rng a(5), b(5), c(6);
  const Rows classes(100, 4);
  const RowLists first = stratified_rows(classes, {}, Fractions{0.5, 0.5}, a);
  CHECK(stratified_rows(classes, {}, Fractions{0.5, 0.5}, b) == first);
  CHECK(stratified_rows(classes, {}, Fractions{0.5, 0.5}, b) != first);
  CHECK(stratified_rows(classes, {}, Fractions{0.5, 0.5}, c) != first);
  CHECK_FALSE(std::ranges::is_sorted(first[0]));
  CHECK(a.step() == 1);
  const bool flags[] = {true, false};
  REQUIRE_THROWS_WITH(stratified_rows(classes, flags, Fractions{0.5, 0.5}, a),
                      "stratified_split: there are 100 classes, but 2 flags; there must be as many");
  REQUIRE_THROWS_WITH(
      stratified_rows(Rows{1, 1, 1}, {}, Fractions{0.9, 0.1}, a),
      "stratified_split: fractions of 0.9, 0.1 of 3 rows leave part 1 (counted from 0) empty; each needs "
      "a row");
  REQUIRE_THROWS_WITH(stratified_rows(classes, {}, Fractions{0.9, 0.2}, a),
                      "stratified_split: the fractions 0.9, 0.2 sum to 1.1; they must sum to 1");
  CHECK(a.step() == 1);
}

TEST_CASE("grouped_rows: no group in two parts, sizes near the shares", "[fast]") {
  Rng rng(9);
  for (int round = 0; round < 400; ++round) {
    const Draws draw = rng.next();
    const auto count = static_cast<std::size_t>(2 + draw.below(3, 100));
    const Fractions f = some_fractions(draw, count);
    const Index kinds = 40 + draw.below(40, 101);
    Rows groups;
    Index largest = 0;
    for (Index g = 0; g < kinds; ++g) {
      const Index size = 1 + draw.below(8, static_cast<std::uint64_t>(1000 + g));
      largest = std::max(largest, size);
      groups.insert(groups.end(), static_cast<std::size_t>(size), 7 * g - 100);
    }
    for (Index& g : groups) std::swap(g, groups[static_cast<std::size_t>(draw.below(Index(groups.size()), 5000))]);
    const auto rows = static_cast<double>(groups.size());
    const RowLists parts = grouped_rows(groups, f, rng);
    REQUIRE(all_of(parts) == counted(static_cast<Index>(groups.size())));
    std::vector<Index> part_of(static_cast<std::size_t>(7 * kinds), -1);
    for (std::size_t p = 0; p < count; ++p) {
      // The small groups come last and level it out.
      REQUIRE(std::abs(static_cast<double>(parts[p].size()) - f[p] * rows) <= static_cast<double>(largest) / 2);
      for (Index r : parts[p]) {
        Index& known = part_of[static_cast<std::size_t>(groups[static_cast<std::size_t>(r)] + 100)];
        REQUIRE((known == -1 || known == static_cast<Index>(p)));
        known = static_cast<Index>(p);
      }
    }
  }
}

TEST_CASE("grouped_rows: one group per part at least, at random among equals", "[fast]") {
  Rng rng(11);
  // Ten rows a group: neither of the small parts has room for one.
  Rows groups = counted(30);
  for (Index& g : groups) g /= 10;
  std::vector<int> hits(3);
  for (int round = 0; round < 300; ++round) {
    const RowLists parts = grouped_rows(groups, Fractions{0.7, 0.15, 0.15}, rng);
    for (const Rows& part : parts) REQUIRE(part.size() == 10);
    ++hits[static_cast<std::size_t>(parts[0][0] / 10)];
  }
  for (int n : hits) CHECK(std::abs(n - 100) < 45);  // five standard deviations
  // Of groups that all differ in size, too, another lot each time.
  Rows unequal;
  for (Index g = 0; g < 12; ++g) unequal.insert(unequal.end(), static_cast<std::size_t>(g + 1), g);
  CHECK(grouped_rows(unequal, Fractions{0.5, 0.5}, rng) != grouped_rows(unequal, Fractions{0.5, 0.5}, rng));
  Rng a(4), b(4);
  CHECK(grouped_rows(unequal, Fractions{0.5, 0.5}, a) == grouped_rows(unequal, Fractions{0.5, 0.5}, b));
  CHECK(a.step() == 3);
  REQUIRE_THROWS_WITH(grouped_rows(Rows{5, 5, 5, 8}, Fractions{0.5, 0.25, 0.25}, a),
                      "grouped_split: 2 groups for 3 parts; each part needs a group");
  REQUIRE_THROWS_WITH(grouped_rows(Rows{5, 8}, Fractions{0.5, 0.25}, a),
                      "grouped_split: the fractions 0.5, 0.25 sum to 0.75; they must sum to 1");
  CHECK(a.step() == 3);
}

TEST_CASE("k_folds: every row is judged once, by a model that has not seen it", "[fast]") {
  Rng rng(13);
  for (const Index rows : {2, 5, 11, 40})
    for (const Index k : {2, 3, 5}) {
      if (k > rows) continue;
      const std::vector<Fold> folds = k_folds(rows, k, rng);
      REQUIRE(static_cast<Index>(folds.size()) == k);
      RowLists tests;
      for (const Fold& fold : folds) {
        CHECK(all_of({fold.train, fold.test}) == counted(rows));
        CHECK(
            (static_cast<Index>(fold.test.size()) == rows / k || static_cast<Index>(fold.test.size()) == rows / k + 1));
        tests.push_back(fold.test);
      }
      CHECK(all_of(tests) == counted(rows));
    }
  const std::uint64_t step = rng.step();
  CHECK_FALSE(std::ranges::is_sorted(k_folds(40, 2, rng)[0].test));
  CHECK(rng.step() == step + 1);
  REQUIRE_THROWS_WITH(k_folds(3, 5, rng),
                      "k_folds: 5 folds of 3 rows; there must be at least 2 folds, and a row for each");
  REQUIRE_THROWS_WITH(k_folds(3, 1, rng),
                      "k_folds: 1 folds of 3 rows; there must be at least 2 folds, and a row for each");
  CHECK(rng.step() == step + 1);
}
