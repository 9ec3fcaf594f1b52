#include "espalier/data/source.hpp"

#include <memory>
#include <numeric>
#include <vector>

#include "espalier/autograd/node.hpp"
#include "espalier/data/loader.hpp"
#include "espalier/data/split_rows.hpp"
#include "support/catch.hpp"

using namespace espalier;

namespace {

using Rows = std::vector<Index>;

/// Makes its rows when they are asked for, and counts how often; it can be moved, not copied.
template <class T>
struct Squares {
  Index count = 0;
  std::shared_ptr<Index> made = std::make_shared<Index>(0);
  std::unique_ptr<int> file = nullptr;

  Index size() const { return count; }
  Batch<T> rows(std::span<const Index> rows) const {
    ++*made;
    const Tensor<Index> classes = Tensor<Index>::copy({static_cast<Index>(rows.size())}, rows);
    return {{{"x", cast<T>(classes)}}, {{"y", {classes}}}};
  }
};
/// Not what it claims to be.
struct Broken {
  Index extra = 0;
  bool uneven = false;
  int size() const { return 6; }
  Batch<float> rows(std::span<const Index> rows) const {
    const Index n = static_cast<Index>(rows.size()) + extra;
    Batch<float> batch;
    batch.inputs.add("x", Tensor<float>::zeros({n}));
    batch.targets.add("y", Tensor<float>::zeros({n + uneven}));
    return batch;
  }
};
struct NoData {
  Index size() const { return 3; }
};
static_assert(DatasetFor<Squares<double>, double> && !DatasetFor<Squares<double>, float> && DatasetFor<Broken, float>);
static_assert(DatasetFor<Dataset<float>, float> && DatasetFor<Subset<Squares<float>>, float> &&
              !DatasetFor<NoData, float>);

template <class T>
Rows seen(Loader<T>& loader, Index epoch) {
  Rows rows;
  for (const auto& batch : loader.epoch(epoch)) {
    const auto values = batch.targets["y"].classes.values();
    rows.insert(rows.end(), values.begin(), values.end());
  }
  return rows;
}

}  // namespace

TEST_CASE("a program's own data loads as a dataset does, batch by batch", "[fast]") {
  Squares<double> squares{20};
  const std::shared_ptr<Index> made = squares.made;
  Rows all(20);
  std::iota(all.begin(), all.end(), Index{0});
  Loader stored{squares.rows(all), {.batch = 6}, Rng(4)};
  *made = 0;
  Loader loader{std::move(squares), {.batch = 6}, Rng(4)};
  static_assert(std::same_as<decltype(loader), Loader<double>>);
  CHECK(loader.size() == 20);
  CHECK(loader.batches() == 4);
  CHECK(*made == 0);
  for (Index epoch : {0, 3}) CHECK(seen(loader, epoch) == seen(stored, epoch));
  CHECK(*made == 8);
  Loader copy = loader;  // shares the data
  CHECK(seen(copy, 1) == seen(stored, 1));
  CHECK(*made == 12);
  static_assert(std::same_as<decltype(Loader{Squares<float>{3}, {}, Rng(1)}), Loader<float>>);
}

TEST_CASE("a subset has the given rows", "[fast]") {
  const Shared squares{Squares<float>{10}};
  Rng rng(2);
  Rows judged;
  for (const Fold& fold : k_folds(squares->size(), 3, rng)) {
    Loader train{Subset{squares, fold.train}, {.batch = 4, .shuffle = false}, rng};
    CHECK(seen(train, 0) == fold.train);
    Loader test{Subset{squares, fold.test}, {.batch = 4, .shuffle = false}, rng};
    const Rows rows = seen(test, 0);
    judged.insert(judged.end(), rows.begin(), rows.end());
  }
  std::ranges::sort(judged);
  CHECK(judged == Rows{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  const Subset odd{squares, {1, 3, 5}};
  CHECK(odd.rows(Rows{2, 0, 2}).inputs["x"].values(0) == 5);
  REQUIRE_THROWS_WITH(odd.rows(Rows{3}), "Subset: row 3 is asked for; there are 3, counted from 0");
  REQUIRE_THROWS_WITH((Subset{squares, {1, 10}}), "Subset: row 10 is asked for; there are 10, counted from 0");
  REQUIRE_THROWS_WITH((Subset{squares, {-1}}), "Subset: row -1 is asked for; there are 10, counted from 0");
  REQUIRE_THROWS_WITH((Subset{Shared<Squares<float>>(), {}}), "Subset: there is no data; make it with Shared{data}");
}

TEST_CASE("what a program's data gives is checked, and the position stays where it was", "[fast]") {
  Loader more{Broken{.extra = 1}, {.batch = 4}, Rng(1)};
  REQUIRE_THROWS_WITH(more.epoch(0).begin(), "Loader: the data gave a batch of 5 rows; 4 were asked for");
  CHECK(more.at_row() == 0);
  Loader uneven{Broken{.uneven = true}, {.batch = 4}, Rng(1)};
  REQUIRE_THROWS_WITH(uneven.epoch(0).begin(),
                      "dataset: input 'x' has 4 rows, but target 'y' has 5; all must have as many");
  REQUIRE_THROWS_WITH(Loader(Squares<float>{0}, {}, Rng(1)), "Loader: 0 rows in batches of 32 are no batch at all");
}
