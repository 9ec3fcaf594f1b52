#include "espalier/core/parallel.hpp"

#include <atomic>
#include <vector>

#include "support/catch.hpp"

using namespace espalier;

TEST_CASE("every block runs once, whatever the work", "[fast]") {
  for (const Index work : {Index{0}, parallel_grain, 100 * parallel_grain})
    for (const Index blocks : {Index{0}, Index{1}, Index{2}, Index{37}}) {
      std::vector<std::atomic<int>> runs(static_cast<std::size_t>(blocks));
      parallel_for(blocks, work, [&](Index block) { ++runs[static_cast<std::size_t>(block)]; });
      for (const auto& n : runs) CHECK(n == 1);
    }
}

TEST_CASE("small work runs in order on the calling thread", "[fast]") {
  std::vector<Index> order;
  parallel_for(5, parallel_grain - 1, [&](Index block) { order.push_back(block); });
  CHECK(order == std::vector<Index>{0, 1, 2, 3, 4});
}

TEST_CASE("the exception of the lowest block comes out", "[fast]") {
  for (const Index work : {Index{0}, 2 * parallel_grain}) {
    const auto run = [&] {
      parallel_for(40, work, [](Index block) {
        if (block >= 3) fail("block ", block);
      });
    };
    CHECK_THROWS_AS(run(), Error);
    CHECK_THROWS_WITH(run(), "block 3");
  }
}

TEST_CASE("a region within a region is fine", "[fast]") {
  std::atomic<int> runs = 0;
  parallel_for(4, 2 * parallel_grain, [&](Index) { parallel_for(4, 2 * parallel_grain, [&](Index) { ++runs; }); });
  CHECK(runs == 16);
}

TEST_CASE("pieces are all done once, regions inside stay on their thread, and the lowest exception ends what has not begun", "[fast]") {
  for (const Index count : {0, 1, 7, 40}) {
    std::vector<int> begun(static_cast<std::size_t>(count)), finished(begun.size());
    std::vector<Index> inside(begun.size());
    int at_once = 0;
    bool alone = true;
    parallel_pieces(
        count,
        [&](Index i) {
          ++begun[static_cast<std::size_t>(i)];
          Index sum = 0;  // one thread, else this is a race and the sum is wrong
          parallel_for(100, parallel_grain, [&](Index block) { sum += block; });
          inside[static_cast<std::size_t>(i)] = sum;
        },
        [&](Index i) {
          alone &= ++at_once == 1;
          ++finished[static_cast<std::size_t>(i)];
          --at_once;
        });
    CHECK(begun == std::vector<int>(begun.size(), 1));
    CHECK(finished == begun);
    CHECK(inside == std::vector<Index>(begun.size(), 4950));
    CHECK(alone);
  }
  for (const bool in_body : {true, false}) {
    int finished = 0;
    const auto thrower = [](Index i) {
      if (i >= 5) throw Error(std::to_string(i));
    };
    CHECK_THROWS_WITH(parallel_pieces(
                          1000, [&](Index i) { if (in_body) thrower(i); },
                          [&](Index i) {
                            if (!in_body) thrower(i);
                            ++finished;
                          }),
                      "5");
    CHECK(finished == 5);
  }
}
