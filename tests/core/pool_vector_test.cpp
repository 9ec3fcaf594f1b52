#include "espalier/core/pool_vector.hpp"

#include <string>
#include <vector>

#include "support/catch.hpp"

using namespace espalier;

namespace {

struct Counted {  // knows how many are alive
  explicit Counted(int v = 0) : value(v) { ++alive; }
  Counted(const Counted& other) : value(other.value) { ++alive; }
  Counted(Counted&& other) noexcept : value(std::exchange(other.value, -1)) { ++alive; }
  Counted& operator=(const Counted&) = default;
  ~Counted() { --alive; }
  int value;
  static inline int alive = 0;
};

}  // namespace

TEST_CASE("a PoolVector does what a std::vector does", "[fast]") {
  Rng rng{7};
  const Draws draws = rng.next();
  std::vector<std::string> expected;
  PoolVector<std::string> found;
  for (std::uint64_t i = 0; i < 2000; ++i) {
    const Index choice = draws.below(8, i);
    const std::string item = "a text that is too long to be stored in place " + std::to_string(i);
    if (choice < 4) {
      expected.push_back(item);
      found.push_back(item);
    } else if (choice == 4 && !expected.empty()) {  // one of its own
      expected.push_back(expected.front());
      found.push_back(found[0]);
    } else if (choice == 5 && !expected.empty()) {
      expected.pop_back();
      found.pop_back();
    } else if (choice == 6) {
      const auto size = static_cast<std::size_t>(draws.below(40, i + 10000));
      expected.resize(size, "new");
      found.resize(size, "new");
    } else if (choice == 7) {
      const PoolVector<std::string> copy = found;
      found = copy;
      PoolVector<std::string> moved = std::move(found);
      found = std::move(moved);
    }
    REQUIRE(std::equal(found.begin(), found.end(), expected.begin(), expected.end()));
  }
}

TEST_CASE("a PoolVector destroys each of its items once", "[fast]") {
  {
    PoolVector<Counted> items(5, Counted(3));
    items.push_back(Counted(4));
    const PoolVector<Counted> copy = items;
    items.shrink(items.begin() + 2);
    CHECK(Counted::alive == 2 + 6);
    CHECK(items.back().value == 3);
    CHECK(copy.back().value == 4);
  }
  CHECK(Counted::alive == 0);
}

TEST_CASE("a PoolVector in a loop asks the system for nothing", "[fast]") {
  const auto fill = [] {
    PoolVector<double> items;
    for (int i = 0; i < 1000; ++i) items.push_back(i);
    return items[999];
  };
  fill();
  const std::uint64_t before = system_allocations();
  CHECK(fill() == 999);
  CHECK(system_allocations() == before);
}
