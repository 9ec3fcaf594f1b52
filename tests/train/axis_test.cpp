#include "espalier/train/axis.hpp"

#include <cmath>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include "espalier/core/random.hpp"
#include "support/catch.hpp"

using namespace espalier;
using namespace espalier::detail;

namespace {

Axis axis(std::vector<double> values, bool logarithmic = false, bool whole = false) {
  Axis a(logarithmic);
  for (const double x : values) a.cover(x);
  a.finish(0.05, whole);
  return a;
}
std::string labels(const std::vector<Tick>& ticks) {
  return listing(ticks, [](const Tick& tick) { return tick.label; });
}

}  // namespace

TEST_CASE("ticks are at round numbers", "[fast]") {
  CHECK(labels(axis({0, 1}).ticks(5)) == "0, 0.5, 1.0");
  CHECK(labels(axis({0, 10}).ticks(5)) == "0, 5, 10");
  CHECK(labels(axis({0, 10}).ticks(6)) == "0, 2, 4, 6, 8, 10");
  CHECK(labels(axis({-1, 1}).ticks(5)) == "-1.0, -0.5, 0, 0.5, 1.0");
  CHECK(labels(axis({0.0001, 0.0004}).ticks(5)) == "1e-4, 2e-4, 3e-4, 4e-4");
  CHECK(labels(axis({1e-9, 3.3e-9}).ticks(6)) == "1.0e-9, 1.5e-9, 2.0e-9, 2.5e-9, 3.0e-9");
  CHECK(labels(axis({-1e9, 2e9}).ticks(5)) == "-1e9, 0, 1e9, 2e9");
  CHECK(labels(axis({1e9, 1e9 + 2}).ticks(3)) == "1000000000, 1000000001, 1000000002");
  CHECK(labels(axis({2e8, 2.1e8}).ticks(4)) == "2.00e8, 2.05e8, 2.10e8");
}

TEST_CASE("whole numbers have no ticks between them", "[fast]") {
  CHECK(labels(axis({1, 2, 3}, false, true).ticks(8)) == "1, 2, 3");
  CHECK(labels(axis({1, 2, 3}).ticks(5)) == "1.0, 1.5, 2.0, 2.5, 3.0");
  CHECK(labels(axis({1, 2.5, 3}, false, true).ticks(5)) == "1.0, 1.5, 2.0, 2.5, 3.0");
  CHECK(labels(axis({1}, false, true).ticks(8)) == "1");
}

TEST_CASE("a range without width has its value in the middle", "[fast]") {
  for (const double x : {0.0, 1.0, -3.0, 1e-9, 1e9, 1e300, -1e300, 5e-324, 0.1 + 1e-14}) {
    const Axis a = axis({x, x});
    CAPTURE(x);
    CHECK(a.place(x) == Approx(0.5));
    CHECK(a.ticks(5).size() >= 2);
  }
  CHECK(axis({7}, true).place(7) == Approx(0.5));
  CHECK(axis({1, 1 + 1e-13}).place(1) == Approx(0.5));
}

TEST_CASE("logarithmic ticks: powers of ten, 2 and 5 between few of them, round numbers in a narrow range", "[fast]") {
  CHECK(labels(axis({1e-4, 1}, true).ticks(8)) == "0.0001, 0.001, 0.01, 0.1, 1");
  CHECK(labels(axis({1e-9, 1e9}, true).ticks(5)) == "1e-5, 1, 100000");
  CHECK(labels(axis({1.5, 12}, true).ticks(5)) == "2, 5, 10");
  CHECK(labels(axis({1.01, 1.05}, true).ticks(4)) == "1.02, 1.04");
  CHECK(labels(axis({1e-300, 1e300}, true).ticks(4)) == "1e-200, 1, 1e200");
}

TEST_CASE("what cannot be shown needs no room", "[fast]") {
  const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(axis({inf, nan, -inf, 1e301}).empty() == false);  // finished: some range all the same
  CHECK(labels(axis({nan, 0, inf, 1}).ticks(5)) == "0, 0.5, 1.0");
  CHECK(labels(axis({0, -5, 1e-4, 1}, true).ticks(8)) == "0.0001, 0.001, 0.01, 0.1, 1");
  CHECK(axis({1e-4, 1}, true).place(0) == 0);
  CHECK_FALSE(Axis(true).shows(0));
  CHECK(Axis(false).shows(0));
  CHECK_FALSE(Axis(false).shows(nan));
}

TEST_CASE("labels say where their tick is, at any scale", "[fast]") {
  Rng rng(3);
  for (int round = 0; round < 3000; ++round) {
    const Draws draw = rng.next();
    const bool logarithmic = draw.below(2, 0) == 0;
    const double unit = std::pow(10.0, static_cast<double>(draw.below(560, 1)) - 280);
    double low = unit * (draw.uniform(2) + (logarithmic ? 1e-3 : -0.5)), high = low;
    high += unit * std::pow(10.0, 8 * draw.uniform(3) - 4);
    const Axis a = axis({low, high}, logarithmic);
    const Index most = 2 + draw.below(8, 4);
    const std::vector<Tick> ticks = a.ticks(most);
    CAPTURE(low, high, logarithmic, most, labels(ticks));
    REQUIRE(!ticks.empty());
    REQUIRE(static_cast<Index>(ticks.size()) <= most + 1);
    double before = -1;
    for (const Tick& tick : ticks) {
      REQUIRE(tick.place > before);
      REQUIRE(tick.place > -1e-5);
      REQUIRE(tick.place < 1 + 1e-5);
      REQUIRE(tick.label.size() < 20);
      REQUIRE(a.place(std::strtod(tick.label.c_str(), nullptr)) == Approx(tick.place).margin(1e-3));
      before = tick.place;
    }
  }
}
