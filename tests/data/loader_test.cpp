#include "espalier/data/loader.hpp"

#include <algorithm>
#include <numeric>
#include <vector>

#include "espalier/autograd/node.hpp"
#include "espalier/tensor/fields.hpp"
#include "support/catch.hpp"

using namespace espalier;

namespace {

using Rows = std::vector<Index>;

Dataset<double> numbered(Index rows) {
  Rows numbers(static_cast<std::size_t>(rows));
  std::iota(numbers.begin(), numbers.end(), Index{0});
  const Tensor<Index> classes = Tensor<Index>::copy({rows}, numbers);
  return {{{"x", cast<double>(classes)}}, {{"y", {classes}}}};
}
Rows rows(const Batch<double>& batch) {
  const auto values = batch.targets["y"].classes.values();
  return {values.begin(), values.end()};
}
std::vector<Rows> all(Loader<double>::Batches batches) {
  std::vector<Rows> seen;
  for (const auto& batch : batches) seen.push_back(rows(batch));
  return seen;
}
Rows joined(const std::vector<Rows>& batches) {
  Rows all;
  for (const Rows& batch : batches) all.insert(all.end(), batch.begin(), batch.end());
  return all;
}
Rows sorted(Rows rows) {
  std::ranges::sort(rows);
  return rows;
}

/// The numbers among an object's fields: read into `values`, or written from there.
struct Numbers : Visitor {
  std::vector<std::uint64_t> values;
  std::vector<std::string> paths;
  bool write = false;
  std::size_t at = 0;

  void tensor(Tensor<float>&) override {}
  void tensor(Tensor<double>&) override {}
  void tensor(Tensor<Index>&) override {}
  void tensor(Tensor<bool>&) override {}
  void number(Index& field) override { take(field); }
  void number(std::uint64_t& field) override { take(field); }

 private:
  template <class Number>
  void take(Number& field) {
    if (write) {
      field = static_cast<Number>(values.at(at++));
    } else {
      values.push_back(static_cast<std::uint64_t>(field));
      paths.push_back(path());
    }
  }
};

}  // namespace

TEST_CASE("an epoch has every row once, in batches of the asked size", "[fast]") {
  const Dataset<double> data = numbered(10);
  for (const Index batch : {1, 3, 5, 10, 64})
    for (const bool shuffle : {true, false}) {
      Loader<double> loader{data, {.batch = batch, .shuffle = shuffle}, Rng(1)};
      const std::vector<Rows> seen = all(loader.epoch(0));
      CHECK(static_cast<Index>(seen.size()) == loader.batches());
      CHECK(loader.batches() == (10 + batch - 1) / batch);
      for (std::size_t i = 0; i + 1 < seen.size(); ++i) CHECK(static_cast<Index>(seen[i].size()) == batch);
      CHECK(sorted(joined(seen)) == rows(data));
      if (!shuffle) CHECK(joined(seen) == rows(data));
    }
}

TEST_CASE("inputs and targets stay together", "[fast]") {
  Loader loader{numbered(20), {.batch = 6}, Rng(1)};
  for (const auto& batch : loader.epoch(0))
    for (Index i = 0; i < batch.size(); ++i)
      CHECK(batch.inputs["x"].values(i) == static_cast<double>(batch.targets["y"].classes(i)));
}

TEST_CASE("drop_last leaves out a partial batch", "[fast]") {
  Loader loader{numbered(10), {.batch = 4, .drop_last = true}, Rng(1)};
  CHECK(loader.batches() == 2);
  const std::vector<Rows> seen = all(loader.epoch(0));
  CHECK(seen.size() == 2);
  CHECK(seen[1].size() == 4);
  CHECK(Loader(numbered(8), {.batch = 4, .drop_last = true}, Rng(1)).batches() == 2);
}

TEST_CASE("the order depends on seed, stream and epoch alone", "[fast]") {
  const Dataset<double> data = numbered(50);
  Rng used(1);
  used.next();
  Loader<double> a{data, {.batch = 7}, Rng(1)}, b{data, {.batch = 50}, used};
  const Rows first = joined(all(a.epoch(0))), third = joined(all(a.epoch(2)));
  CHECK(first != third);
  CHECK(joined(all(b.epoch(2))) == third);
  CHECK(joined(all(b.epoch(0))) == first);
  CHECK(joined(all(a.epoch(0))) == first);
  CHECK(joined(all(Loader<double>(data, {}, Rng(2)).epoch(0))) != first);
  CHECK(joined(all(Loader<double>(data, {}, Rng(1, 1)).epoch(0))) != first);
  CHECK(used.step() == 1);
}

TEST_CASE("the loader tells which rows a batch consists of", "[fast]") {
  for (const bool drop_last : {false, true}) {
    Loader loader{numbered(50), {.batch = 7, .drop_last = drop_last}, Rng(1)};
    CHECK(loader.batch_rows().empty());
    for (const auto& batch : loader.epoch(1)) {
      const std::span<const Index> told = loader.batch_rows();
      CHECK(Rows(told.begin(), told.end()) == rows(batch));
    }
    CHECK(loader.batch_rows().empty());
    loader.seek(1, 14);
    CHECK(loader.batch_rows().empty());
    for (const auto& batch : loader.rest()) {
      const Loader<double> copy = loader;  // has rows of its own
      const std::span<const Index> told = copy.batch_rows();
      CHECK(Rows(told.begin(), told.end()) == rows(batch));
      break;
    }
  }
}

TEST_CASE("every position is equally likely for a row", "[fast]") {
  Loader loader{numbered(5), {.batch = 5}, Rng(9)};
  std::vector<int> hits(25);
  for (Index epoch = 0; epoch < 5000; ++epoch) {
    const Rows order = joined(all(loader.epoch(epoch)));
    for (std::size_t i = 0; i < 5; ++i) ++hits[i * 5 + static_cast<std::size_t>(order[i])];
  }
  for (int n : hits) CHECK(std::abs(n - 1000) < 150);  // five standard deviations
}

TEST_CASE("batches keep their tensors", "[fast]") {
  Loader loader{numbered(4), {.batch = 2, .shuffle = false}, Rng(1)};
  std::vector<Batch<double>> kept;
  for (const auto& batch : loader.epoch(0)) kept.push_back(batch);
  CHECK(rows(kept[0]) == Rows{0, 1});
  CHECK(rows(kept[1]) == Rows{2, 3});
}

TEST_CASE("rest goes on from the position and through the epochs", "[fast]") {
  Loader loader{numbered(10), {.batch = 4}, Rng(1)};
  std::vector<Rows> wanted = all(loader.epoch(0));
  for (const Rows& batch : all(loader.epoch(1))) wanted.push_back(batch);
  CHECK(loader.at_epoch() == 2);

  std::vector<Rows> seen;
  loader.epoch(0);
  while (loader.at_epoch() < 2)
    for (const auto& batch : loader.rest()) {
      seen.push_back(rows(batch));
      if (seen.size() % 2) break;  // leaves the loop in the middle
    }
  CHECK(seen == wanted);
}

TEST_CASE("a loader resumes from its fields at every batch", "[fast]") {
  const Dataset<double> data = numbered(10);
  Loader<double> whole{data, {.batch = 4}, Rng(1)};
  std::vector<Rows> wanted;
  while (whole.at_epoch() < 3)
    for (const auto& batch : whole.rest()) wanted.push_back(rows(batch));
  REQUIRE(wanted.size() == 9);
  for (std::size_t stop = 1; stop <= wanted.size(); ++stop) {
    std::vector<Rows> seen;
    Numbers saved;
    Loader<double> first{data, {.batch = 4}, Rng(1)};
    while (seen.size() < stop)
      for (const auto& batch : first.rest()) {
        seen.push_back(rows(batch));
        if (seen.size() < stop) continue;
        walk(first, saved);  // in the body, after the step
        break;
      }
    CHECK(saved.paths == std::vector<std::string>{"rng.seed", "rng.stream", "rng.step", "epoch", "row"});
    Loader<double> second{data, {.batch = 4}, Rng(77)};
    saved.write = true;
    walk(second, saved);
    while (second.at_epoch() < 3)
      for (const auto& batch : second.rest()) seen.push_back(rows(batch));
    CHECK(seen == wanted);
  }
}

TEST_CASE("the position is in rows, so the batch may change", "[fast]") {
  Loader<double> loader{numbered(10), {.batch = 4}, Rng(1)};
  const Rows order = joined(all(loader.epoch(0)));
  Numbers saved;
  for (const auto& batch : loader.epoch(0)) {
    CHECK(batch.size() == 4);
    CHECK(loader.at_row() == 4);
    walk(loader, saved);
    break;
  }
  Loader<double> other{numbered(10), {.batch = 5}, Rng(1)};
  saved.write = true;
  walk(other, saved);
  CHECK(joined(all(other.rest())) == Rows(order.begin() + 4, order.end()));
}

TEST_CASE("step counts the batches since the start, also after an interruption", "[fast]") {
  for (const bool drop_last : {false, true}) {
    const LoaderOptions options{.batch = 4, .drop_last = drop_last};
    Loader loader{numbered(10), options, Rng(1)};
    CHECK(loader.step() == 0);
    std::uint64_t step = 0;
    while (loader.at_epoch() < 3)
      for (const auto& batch : loader.rest()) {
        CHECK(loader.step() == ++step);
        CHECK(batch.size() > 0);
        Numbers saved;
        walk(loader, saved);
        Loader resumed{numbered(10), options, Rng(1)};
        saved.write = true;
        walk(resumed, saved);
        CHECK(resumed.step() == step);
      }
    CHECK(step == (drop_last ? 6 : 9));
    CHECK(loader.step() == step);
  }
  Loader<double> loader{numbered(10), {.batch = 4}, Rng(1)};
  loader.epoch(7);
  CHECK(loader.step() == 21);
}

TEST_CASE("loaders that cannot load are refused", "[fast]") {
  REQUIRE_THROWS_WITH(Loader(numbered(3), {.batch = 0}, Rng(1)), "Loader: the batch is 0 rows; it must be at least 1");
  REQUIRE_THROWS_WITH(Loader(numbered(3), {.batch = 4, .drop_last = true}, Rng(1)),
                      "Loader: 3 rows in batches of 4 without the last, partial one are no batch at all");
  REQUIRE_THROWS_WITH(Loader(Dataset<float>(), {}, Rng(1)), "Loader: 0 rows in batches of 32 are no batch at all");
  Loader<double> large{numbered(9), {.batch = 8}, Rng(1)}, small{numbered(3), {}, Rng(1)};
  Numbers saved;
  for (const auto& batch : large.epoch(0)) {
    CHECK(batch.size() == 8);
    walk(large, saved);
    break;
  }
  saved.write = true;
  walk(small, saved);
  REQUIRE_THROWS_WITH(small.rest(), "Loader: the position is row 8 of 3; it was saved with other data");
}
