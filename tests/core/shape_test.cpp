#include "espalier/core/shape.hpp"

#include <vector>

#include "support/catch.hpp"

using namespace espalier;

TEST_CASE("a shape knows its axes and its size", "[fast]") {
  const Shape s{2, 3, 4};
  CHECK(s.rank() == 3);
  CHECK(s.size() == 24);
  CHECK(s[0] == 2);
  CHECK(s[-1] == 4);
  CHECK(s[-3] == 2);
  CHECK(s.span(1, 3) == 12);
  CHECK(s.span(1, 1) == 1);
  CHECK(std::vector<Index>(s.begin(), s.end()) == std::vector<Index>{2, 3, 4});
}

TEST_CASE("a scalar has no axes and one element", "[fast]") {
  CHECK(Shape{}.rank() == 0);
  CHECK(Shape{}.size() == 1);
  CHECK(Shape{}.text() == "[]");
}

TEST_CASE("an axis of size 0 makes a shape empty", "[fast]") {
  CHECK(Shape{3, 0, 5}.size() == 0);
  CHECK(Shape{0}.text() == "[0]");
}

TEST_CASE("shapes are equal when rank and sizes are", "[fast]") {
  CHECK(Shape{2, 3} == Shape{2, 3});
  CHECK(!(Shape{2, 3} == Shape{3, 2}));
  CHECK(!(Shape{2} == Shape{2, 1}));
  CHECK(Shape{} == Shape{});
}

TEST_CASE("shapes are cut and joined", "[fast]") {
  CHECK(Shape{2, 3, 4}.part(1, 3) == Shape{3, 4});
  CHECK(Shape{2, 3, 4}.part(1, 1) == Shape{});
  CHECK(Shape{2} + Shape{3, 4} == Shape{2, 3, 4});
  Shape s{2, 3};
  s[-1] = 7;
  CHECK(s == Shape{2, 7});
}

TEST_CASE("what no shape may be is refused", "[fast]") {
  CHECK_THROWS_WITH((Shape{1, 2, 3, 4, 5, 6, 7, 8, 9}),
                    "shape: [1, 2, 3, 4, 5, 6, 7, 8] has the most axes a tensor may have (8); one more was asked for");
  CHECK_THROWS_WITH((Shape{2, -1}), "shape: axis 1 has size -1; sizes are not negative");
  CHECK_THROWS_WITH((Shape{Index{1} << 32, Index{1} << 31}), "shape: [4294967296, 2147483648] has more than 2^63 - 1 elements");
  CHECK_NOTHROW(Shape{(Index{1} << 62) + ((Index{1} << 62) - 1)});
}

TEST_CASE("sizes that overflow are refused beside an axis of size 0 too", "[fast]") {
  CHECK_THROWS_WITH((Shape{Index{1} << 62, 4, 0}), "shape: [4611686018427387904, 4, 0] has more than 2^63 - 1 elements");
  CHECK((Shape{0, Index{1} << 62}).size() == 0);
}

TEST_CASE("axes count from either end, and are checked", "[fast]") {
  const Shape s{2, 4};
  CHECK(s.axis(1, "op") == 1);
  CHECK(s.axis(-2, "op") == 0);
  CHECK_THROWS_WITH(s.axis(2, "op"), "op: axis 2 of [2, 4]; the axis must be in [-2, 1]");
  CHECK_THROWS_WITH(s.axis(-3, "op"), "op: axis -3 of [2, 4]; the axis must be in [-2, 1]");
  CHECK_THROWS_WITH(Shape{}.axis(-1, "op"), "op: axis -1 of a scalar; it has no axes");
}

TEST_CASE("broadcasting matches trailing axes", "[fast]") {
  CHECK(broadcast({2, 3}, {2, 3}, "op") == Shape{2, 3});
  CHECK(broadcast({3}, {2, 3}, "op") == Shape{2, 3});
  CHECK(broadcast({2, 3}, {3}, "op") == Shape{2, 3});
  CHECK(broadcast({2, 1}, {1, 3}, "op") == Shape{2, 3});
  CHECK(broadcast({}, {4}, "op") == Shape{4});
  CHECK(broadcast({1}, {0}, "op") == Shape{0});
  CHECK(broadcast({4, 1, 5}, {3, 1}, "op") == Shape{4, 3, 5});
}

TEST_CASE("shapes that do not broadcast are refused", "[fast]") {
  CHECK_THROWS_WITH(broadcast({2, 3}, {4, 3}, "op"),
                    "op: a is [2, 3], b is [4, 3]; axis -2 (2 and 4) must be equal, or one of them 1");
  CHECK_THROWS_WITH(broadcast({2}, {0}, "op"), "op: a is [2], b is [0]; axis -1 (2 and 0) must be equal, or one of them 1");
  CHECK(!broadcastable({2, 3}, {4, 3}));
  CHECK(broadcastable({2, 1}, {5, 1, 3}));
}

TEST_CASE("a shape repeats to another when it broadcasts to just that", "[fast]") {
  CHECK(repeats_to({}, {2, 3}));
  CHECK(repeats_to({3}, {2, 3}));
  CHECK(repeats_to({2, 1}, {2, 3}));
  CHECK(!repeats_to({2, 3}, {2, 1}));
  CHECK(!repeats_to({1, 2, 3}, {2, 3}));
  CHECK(!repeats_to({2}, {2, 3}));
}
