#include "espalier/core/order.hpp"

#include "support/catch.hpp"

using namespace espalier;

TEST_CASE("sorted_order is a stable sort of positions", "[fast]") {
  Rng rng{3};
  for (std::size_t size : {0u, 1u, 2u, 17u, 300u}) {
    const Draws draws = rng.next();
    std::vector<Index> keys;
    for (std::size_t i = 0; i < size; ++i) keys.push_back(draws.below(10, i));
    std::vector<Index> expected(size);
    for (std::size_t i = 0; i < size; ++i) expected[i] = static_cast<Index>(i);
    const auto before = [&](Index a, Index b) { return keys[static_cast<std::size_t>(a)] < keys[static_cast<std::size_t>(b)]; };
    std::stable_sort(expected.begin(), expected.end(), before);
    const PoolVector<Index> found = detail::sorted_order(size, before);
    CHECK(std::equal(found.begin(), found.end(), expected.begin(), expected.end()));
  }
}

TEST_CASE("first_places, repeated and sort_unique find what appears twice", "[fast]") {
  CHECK(detail::first_places({7, 3, 7, 9, 3, 7}) == std::vector<std::size_t>{0, 1, 0, 3, 1, 0});
  const std::string a = "a", b = "b", again = "a";
  CHECK(detail::repeated({&a, &b}) == nullptr);
  CHECK(detail::repeated({&a, &b, &again}) == &again);
  PoolVector<Index> numbers{5, 1, 5, 2, 1};
  detail::sort_unique(numbers);
  CHECK(std::vector<Index>(numbers.begin(), numbers.end()) == std::vector<Index>{1, 2, 5});
}
