#include "espalier/data/split.hpp"

#include <algorithm>
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
