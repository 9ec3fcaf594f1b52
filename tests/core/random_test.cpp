#include "espalier/core/random.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "support/catch.hpp"

using namespace espalier;

TEST_CASE("Philox-4x32-10 gives the known answers of its authors", "[fast]") {
  using Words = std::array<std::uint32_t, 4>;
  const std::uint32_t ones = 0xffffffff;
  CHECK(detail::philox({0, 0, 0, 0}, 0, 0) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(detail::philox({ones, ones, ones, ones}, ones, ones) == Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(detail::philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0xa4093822, 0x299f31d0) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("a draw depends on key and index alone", "[fast]") {
  const Draws d{42}, same{42}, other{43};
  CHECK(d.bits(7) == same.bits(7));
  CHECK(d.bits(7) != d.bits(8));
  CHECK(d.bits(7) != other.bits(7));
  CHECK(d.bits(0) != d.bits(std::uint64_t{1} << 32));
}

TEST_CASE("uniform numbers have uniform moments", "[fast]") {
  const Draws d{1};
  const int n = 200000;
  double sum = 0, square = 0, low = 1, high = 0, lagged = 0;
  for (int i = 0; i < n; ++i) {
    const double u = d.uniform(static_cast<std::uint64_t>(i));
    sum += u;
    square += u * u;
    lagged += u * d.uniform(static_cast<std::uint64_t>(i + 1));
    low = std::min(low, u);
    high = std::max(high, u);
  }
  CHECK(low >= 0);
  CHECK(high < 1);
  CHECK(std::abs(sum / n - 0.5) < 4 * std::sqrt(1.0 / 12 / n));
  CHECK(std::abs(square / n - 1.0 / 3) < 4 * std::sqrt(4.0 / 45 / n));
  CHECK(std::abs(lagged / n - 0.25) < 4 * std::sqrt(7.0 / 144 / n) * 2);
}

TEST_CASE("normal numbers have normal moments", "[fast]") {
  const Draws d{2};
  const int n = 200000;
  double m1 = 0, m2 = 0, m3 = 0, m4 = 0;
  int beyond = 0;
  for (int i = 0; i < n; ++i) {
    const double z = d.normal(static_cast<std::uint64_t>(i));
    REQUIRE(std::isfinite(z));
    m1 += z / n;
    m2 += z * z / n;
    m3 += z * z * z / n;
    m4 += z * z * z * z / n;
    beyond += std::abs(z) > 1.959963985;
  }
  const double unit = 4 / std::sqrt(n);
  CHECK(std::abs(m1) < unit);
  CHECK(std::abs(m2 - 1) < unit * std::sqrt(2.0));
  CHECK(std::abs(m3) < unit * std::sqrt(15.0));
  CHECK(std::abs(m4 - 3) < unit * std::sqrt(96.0));
  CHECK(std::abs(beyond / double(n) - 0.05) < unit * std::sqrt(0.05 * 0.95));
}

TEST_CASE("normal and uniform draws of one index are unrelated", "[fast]") {
  const Draws d{3};
  const int n = 100000;
  double cross = 0;
  for (std::uint64_t i = 0; i < n; ++i) cross += (d.uniform(i) - 0.5) * d.normal(i);
  CHECK(std::abs(cross / n) < 4 * std::sqrt(1.0 / 12 / n));
}

TEST_CASE("below is uniform also where the bound does not divide 2^64", "[fast]") {
  const Draws d{4};
  for (const Index bound : {Index{1}, Index{2}, Index{3}, Index{7}, Index{10}}) {
    const int n = 70000;
    std::vector<int> counts(static_cast<std::size_t>(bound), 0);
    for (std::uint64_t i = 0; i < n; ++i) ++counts[static_cast<std::size_t>(d.below(bound, i))];
    double chi = 0;
    const double expected = n / static_cast<double>(bound);
    for (int c : counts) chi += (c - expected) * (c - expected) / expected;
    CHECK(chi <= static_cast<double>(bound - 1) + 4 * std::sqrt(2.0 * static_cast<double>(bound)));
  }
  // A third of the products are rejected here; taken without rejection, the lower half would come twice as often.
  const Index third = static_cast<Index>(0x6000000000000000);
  int lower = 0;
  for (std::uint64_t i = 0; i < 20000; ++i) {
    const Index x = d.below(third, i);
    REQUIRE(x >= 0);
    REQUIRE(x < third);
    lower += x < third / 2;
  }
  CHECK(std::abs(lower - 10000) < 4 * std::sqrt(20000 * 0.25));
}

TEST_CASE("below refuses an empty range", "[fast]") {
  CHECK_THROWS_WITH(Draws{0}.below(0, 0), "below: bound is 0; it must be at least 1");
  CHECK_THROWS_WITH(Draws{0}.below(-2, 0), "below: bound is -2; it must be at least 1");
}

TEST_CASE("an Rng advances by one for each call that draws", "[fast]") {
  Rng rng{5};
  std::vector<float> a(10), b(10);
  rng.normal(std::span<float>(a));
  CHECK(rng.step() == 1);
  rng.normal(std::span<float>(b));
  CHECK(rng.step() == 2);
  CHECK(a != b);
  Rng again{5};
  std::vector<float> c(10);
  again.normal(std::span<float>(c));
  CHECK(a == c);
}

TEST_CASE("a copy of an Rng goes on from the same state", "[fast]") {
  Rng rng{6};
  (void)rng.next();
  Rng copy = rng;
  CHECK(rng.next().bits(0) == copy.next().bits(0));
  (void)copy.next();
  CHECK(rng.step() == 2);
  CHECK(copy.step() == 3);
}

TEST_CASE("draws are keyed by seed, stream, step and name", "[fast]") {
  const Rng rng{7};
  CHECK(rng.draws("dropout", 3).bits(0) == Rng{7}.draws("dropout", 3).bits(0));
  CHECK(rng.draws("dropout", 3).bits(0) != rng.draws("dropout", 4).bits(0));
  CHECK(rng.draws("dropout", 3).bits(0) != rng.draws("noise", 3).bits(0));
  CHECK(rng.draws("dropout", 3).bits(0) != Rng{8}.draws("dropout", 3).bits(0));
  CHECK(rng.draws("dropout", 3).bits(0) != (Rng{7, 1}).draws("dropout", 3).bits(0));
  CHECK(rng.step() == 0);
  // Keys that differ in one place share nothing: 4,000 of them are as good as one.
  double sum = 0;
  std::vector<std::uint64_t> bits;
  for (std::uint64_t seed = 0; seed < 10; ++seed)
    for (std::uint64_t stream = 0; stream < 10; ++stream)
      for (std::uint64_t step = 0; step < 20; ++step)
        for (const char* name : {"a", "b"}) {
          const Draws d = (Rng{seed, stream}).draws(name, step);
          bits.push_back(d.bits(0));
          sum += d.uniform(0);
        }
  std::sort(bits.begin(), bits.end());
  CHECK(std::adjacent_find(bits.begin(), bits.end()) == bits.end());
  CHECK(std::abs(sum / 4000 - 0.5) < 4 * std::sqrt(1.0 / 12 / 4000));
}

TEST_CASE("uniform spans stay below their upper end, also where float rounds up to it", "[fast]") {
  Rng rng{8};
  std::vector<float> x(1000);
  const float next = std::nextafter(1.0f, 2.0f);
  rng.uniform(std::span<float>(x), 1, next);
  CHECK(std::all_of(x.begin(), x.end(), [](float v) { return v == 1; }));
  rng.uniform(std::span<float>(x), -2, 3);
  CHECK(*std::min_element(x.begin(), x.end()) >= -2);
  CHECK(*std::min_element(x.begin(), x.end()) < -1.9f);
  CHECK(*std::max_element(x.begin(), x.end()) > 2.9f);
  rng.uniform(std::span<float>(x), 4, 4);
  CHECK(std::all_of(x.begin(), x.end(), [](float v) { return v == 4; }));
  CHECK_THROWS_WITH(rng.uniform(std::span<float>(x), 1, 0.5), "uniform: low is 1, high is 0.5; low must not be above high");
}

TEST_CASE("shuffle gives every order about equally often", "[fast]") {
  Rng rng{9};
  std::vector<int> items(1000);
  std::iota(items.begin(), items.end(), 0);
  rng.shuffle(std::span<int>(items));
  std::vector<int> sorted = items;
  CHECK(!std::is_sorted(items.begin(), items.end()));
  std::sort(sorted.begin(), sorted.end());
  for (int i = 0; i < 1000; ++i) REQUIRE(sorted[static_cast<std::size_t>(i)] == i);
  std::vector<int> counts(27, 0);
  for (int round = 0; round < 12000; ++round) {
    int three[] = {0, 1, 2};
    rng.shuffle(std::span<int>(three));
    ++counts[static_cast<std::size_t>(9 * three[0] + 3 * three[1] + three[2])];
  }
  for (const int order : {5, 7, 11, 15, 19, 21}) CHECK(std::abs(counts[static_cast<std::size_t>(order)] - 2000) < 180);
}

TEST_CASE("an Rng's fields are its state", "[fast]") {
  Rng rng{10, 11};
  (void)rng.next();
  std::vector<std::pair<std::string, std::uint64_t>> seen;
  rng.fields([&](std::string_view name, std::uint64_t value) { seen.emplace_back(name, value); });
  CHECK(seen == decltype(seen){{"seed", 10}, {"stream", 11}, {"step", 1}});
}
