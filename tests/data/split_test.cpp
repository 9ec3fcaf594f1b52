#include "espalier/data/split.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "espalier/autograd/node.hpp"
#include "support/catch.hpp"

using namespace espalier;

namespace {

Dataset<double> numbered(Index rows) {
  std::vector<Index> numbers(static_cast<std::size_t>(rows));
  std::iota(numbers.begin(), numbers.end(), Index{0});
  const Tensor<Index> classes = Tensor<Index>::copy({rows}, numbers);
  return {{{"x", cast<double>(classes)}}, {{"y", {classes}}}};
}
std::vector<Index> rows(const Dataset<double>& data) {
  const auto values = data.targets["y"].classes.values();
  return {values.begin(), values.end()};
}

const Table cars({{"price", {1, 2, 3, 4, 5, 6, 7, 8}},
                  {"fuel", {0, 1, 0, 1, 0, 1, 0, 0}, {1, 1, 1, 1, 1, 1, 0, 0}, {"diesel", "petrol"}, true}},
                 "cars.csv");

}  // namespace

TEST_CASE("a split has the asked sizes, no row twice and every row", "[fast]") {
  Rng rng(3);
  for (const Index count : {2, 3, 10, 101})
    for (const double fraction : {0.3, 0.5, 0.6}) {
      const Dataset<double> data = numbered(count);
      const auto [train, test] = split(data, fraction, rng);
      CHECK(train.size() == std::llround(fraction * static_cast<double>(count)));
      CHECK(train.size() + test.size() == count);
      std::vector<Index> all = rows(train);
      const std::vector<Index> others = rows(test);
      all.insert(all.end(), others.begin(), others.end());
      std::ranges::sort(all);
      CHECK(all == rows(data));
      for (const auto& part : {train, test})
        for (Index i = 0; i < part.size(); ++i)
          CHECK(part.inputs["x"].values(i) == static_cast<double>(part.targets["y"].classes(i)));
    }
}

TEST_CASE("a split depends on the generator's state", "[fast]") {
  const Dataset<double> data = numbered(100);
  Rng a(5), b(5), c(6);
  const std::vector<Index> first = rows(split(data, 0.8, a).first);
  CHECK(rows(split(data, 0.8, b).first) == first);
  CHECK(rows(split(data, 0.8, b).first) != first);
  CHECK(rows(split(data, 0.8, c).first) != first);
  CHECK(a.step() == 1);
  CHECK_FALSE(std::ranges::is_sorted(first));
}

TEST_CASE("a split into nothing is refused", "[fast]") {
  Rng rng;
  const Dataset<double> data = numbered(10);
  REQUIRE_THROWS_WITH(split(data, 0.01, rng),
                      "split: a fraction of 0.01 of 10 rows leaves one part empty; both need a row");
  REQUIRE_THROWS_WITH(split(data, 0.99, rng),
                      "split: a fraction of 0.99 of 10 rows leaves one part empty; both need a row");
  REQUIRE_THROWS_WITH(split(data, 80, rng),
                      "split: a fraction of 80 of 10 rows leaves one part empty; both need a row");
  REQUIRE_THROWS_AS(split(data, std::nan(""), rng), Error);
  REQUIRE_THROWS_AS(split(numbered(1), 0.5, rng), Error);
  CHECK(rng.step() == 0);
}

TEST_CASE("a split in two has always had these rows", "[fast]") {
  Rng rng(5);
  const auto [train, test] = split(numbered(8), 0.75, rng);
  CHECK(rows(train) == std::vector<Index>{1, 3, 2, 6, 0, 5});
  CHECK(rows(test) == std::vector<Index>{4, 7});
}

TEST_CASE("a split into several parts", "[fast]") {
  const Dataset<double> data = numbered(101);
  Rng a(3), b(3);
  const auto [train, valid, test] = split(data, {0.7, 0.15, 0.15}, a);
  CHECK(train.size() == 71);
  CHECK(valid.size() == 15);
  CHECK(test.size() == 15);
  const auto two = split(data, {0.8, 0.2}, b);
  Rng c(3);
  const auto pair = split(data, 0.8, c);
  CHECK(rows(two[0]) == rows(pair.first));
  CHECK(rows(two[1]) == rows(pair.second));
  REQUIRE_THROWS_WITH(split(data, {0.7, 0.2}, a), "split: the fractions 0.7, 0.2 sum to 0.9; they must sum to 1");
}

TEST_CASE("a stratified split keeps the shares of a task's classes", "[fast]") {
  Rng rng(3);
  Dataset<double> data = numbered(60);
  Tensor<Index> classes = Tensor<Index>::zeros({60});
  Tensor<double> weight = Tensor<double>::ones({60});
  for (std::size_t r = 0; r < 60; ++r) {
    classes.mutate()[r] = r < 40 ? static_cast<Index>(r % 2) : std::numeric_limits<Index>::min();
    weight.mutate()[r] = r < 40 ? 0.5 : 0;
  }
  data.targets.add("kind", {classes, weight});
  const auto counts = [](const Dataset<double>& part) {
    std::array<int, 3> n{};
    for (Index r : rows(part)) ++n[r >= 40 ? 2 : static_cast<std::size_t>(r % 2)];
    return n;
  };
  const auto [train, test] = stratified_split(data, 0.75, "kind", rng);
  CHECK(counts(train) == std::array{15, 15, 15});
  CHECK(counts(test) == std::array{5, 5, 5});
  const auto three = stratified_split(data, {0.5, 0.3, 0.2}, "kind", rng);
  CHECK(counts(three[0]) == std::array{10, 10, 10});
  CHECK(counts(three[1]) == std::array{6, 6, 6});
  CHECK(counts(three[2]) == std::array{4, 4, 4});
}

TEST_CASE("a grouped split keeps groups whole", "[fast]") {
  Rng rng(3);
  const Dataset<double> data = numbered(60);
  Tensor<Index> groups = Tensor<Index>::zeros({60});
  for (std::size_t r = 0; r < 60; ++r) groups.mutate()[r] = static_cast<Index>(r % 10);
  const auto [train, test] = grouped_split(data, 0.7, groups, rng);
  CHECK(train.size() == 42);
  for (Index r : rows(train))
    for (Index other : rows(test)) REQUIRE(r % 10 != other % 10);
  CHECK(grouped_split(data, {0.5, 0.3, 0.2}, groups, rng)[2].size() == 12);
}

TEST_CASE("tables are split alike", "[fast]") {
  Rng rng(3), same(3);
  const auto [train, test] = split(cars, 0.75, rng);
  CHECK(train.rows() == 6);
  CHECK(test.categories("fuel").size() == 2);
  const auto of_data = split(numbered(8), 0.75, same);
  for (Index r = 0; r < 2; ++r)
    CHECK(test.column("price")[static_cast<std::size_t>(r)] == of_data.second.inputs["x"].values(r) + 1);
  const auto [half, other] = stratified_split(cars, 0.5, "fuel", rng);
  CHECK(half.missing("fuel") == 1);
  CHECK(other.missing("fuel") == 1);
  CHECK(std::abs(static_cast<int>(half.rows()) - 4) <= 1);
  CHECK(split(cars, {0.5, 0.25, 0.25}, rng)[0].rows() == 4);
  CHECK(stratified_split(cars, {0.5, 0.5}, "fuel", rng)[0].rows() == 4);
  CHECK(grouped_split(cars, 0.5, Tensor<Index>({8}, {1, 1, 2, 2, 3, 3, 4, 4}), rng).first.rows() == 4);
}

TEST_CASE("what cannot be split is refused", "[fast]") {
  Rng rng;
  Dataset<double> data = numbered(10);
  data.targets.add("ink", {Tensor<double>::zeros({10, 2})});
  data.targets.add("steps", {Tensor<Index>::zeros({10, 3})});
  REQUIRE_THROWS_WITH(stratified_split(data, 0.5, "digit", rng),
                      "stratified_split: unknown task 'digit'; known: y, ink, steps");
  REQUIRE_THROWS_WITH(stratified_split(data, 0.5, "ink", rng),
                      "stratified_split: target 'ink' holds values; a target of classes is needed");
  REQUIRE_THROWS_WITH(stratified_split(data, 0.5, "steps", rng),
                      "stratified_split: target 'steps' is [10, 3]; one class per row is needed, [rows]");
  REQUIRE_THROWS_WITH(stratified_split(data, 1.5, "y", rng),
                      "stratified_split: the fraction is 1.5; it lies between 0 and 1");
  REQUIRE_THROWS_WITH(stratified_split(cars, 0.5, "price!", rng),
                      "cars.csv: unknown column 'price!'; known: price, fuel; did you mean 'price'?");
  REQUIRE_THROWS_WITH(grouped_split(data, 0.0, Tensor<Index>::zeros({10}), rng),
                      "grouped_split: the fraction is 0; it lies between 0 and 1");
  REQUIRE_THROWS_WITH(grouped_split(data, 0.5, Tensor<Index>::zeros({9}), rng),
                      "grouped_split: there are 10 rows, the groups are [9]; each row needs one, [rows]");
  REQUIRE_THROWS_WITH(grouped_split(data, 0.5, Tensor<Index>::zeros({10, 1}), rng),
                      "grouped_split: there are 10 rows, the groups are [10, 1]; each row needs one, [rows]");
  REQUIRE_THROWS_WITH(grouped_split(data, 0.5, {}, rng),
                      "grouped_split: there are 10 rows, the groups are undefined; each row needs one, [rows]");
  REQUIRE_THROWS_WITH(grouped_split(data, 0.5, Tensor<Index>::zeros({10}), rng),
                      "grouped_split: 1 groups for 2 parts; each part needs a group");
  CHECK(rng.step() == 0);
}
