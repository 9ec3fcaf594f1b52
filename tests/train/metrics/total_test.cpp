#include "espalier/train/metrics/total.hpp"

#include "espalier/core/random.hpp"
#include "support/catch.hpp"

using namespace espalier;
using detail::Total;
using detail::WeightedMean;

TEST_CASE("a Total keeps what a plain sum loses", "[fast]") {
  Total total;
  for (const double x : {1.0, 1e100, 1.0, -1e100}) total.add(x);
  CHECK(total.value() == 2);
  Total tenths;
  double plain = 0;
  for (int i = 0; i < 1000000; ++i) tenths.add(0.1), plain += 0.1;
  CHECK(tenths.value() == 100000);
  CHECK(plain != 100000);
}

TEST_CASE("a Total of what is not finite is not finite", "[fast]") {
  Total total;
  total.add(HUGE_VAL);
  total.add(1);
  CHECK(total.value() == HUGE_VAL);
  total.add(-HUGE_VAL);
  CHECK(std::isnan(total.value()));
}

TEST_CASE("weighted means", "[fast]") {
  WeightedMean mean;
  CHECK(std::isnan(mean.value()));
  mean.add(1, 4);
  mean.add(3, 8);
  CHECK(mean.value() == 7);
}
