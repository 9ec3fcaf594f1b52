#include "espalier/train/text.hpp"

#include <cmath>
#include <cstdlib>
#include <limits>
#include <string>

#include "espalier/core/random.hpp"
#include "support/catch.hpp"

using namespace espalier;
using namespace espalier::detail;

namespace {

std::string printable(std::string_view text) {
  std::string out;
  append_printable(out, text);
  return out;
}
std::string exact_number(double x) {
  std::string out;
  append_exact(out, x);
  return out;
}

}  // namespace

TEST_CASE("short numbers", "[fast]") {
  CHECK(short_number(0) == "0");
  CHECK(short_number(-0.0) == "0");
  CHECK(short_number(1) == "1");
  CHECK(short_number(-12) == "-12");
  CHECK(short_number(123456) == "123456");
  CHECK(short_number(1e6) == "1e6");
  CHECK(short_number(0.31024) == "0.3102");
  CHECK(short_number(0.5) == "0.5");
  CHECK(short_number(12.3456) == "12.35");
  CHECK(short_number(0.99999) == "1");
  CHECK(short_number(12345.678) == "12346");
  CHECK(short_number(-99999.5) == "-100000");
  CHECK(short_number(1e-3) == "0.001");
  CHECK(short_number(1e-5) == "1e-5");
  CHECK(short_number(-1.23456e-7) == "-1.235e-7");
  CHECK(short_number(1.5e300) == "1.5e300");
  CHECK(short_number(2e10) == "2e10");
  CHECK(short_number(std::numeric_limits<double>::infinity()) == "inf");
  CHECK(short_number(-std::numeric_limits<double>::infinity()) == "-inf");
  CHECK(short_number(std::numeric_limits<double>::quiet_NaN()) == "nan");
  CHECK(short_number(-std::numeric_limits<double>::quiet_NaN()) == "nan");
}

TEST_CASE("short numbers are near, exact ones are equal, fixed ones have their decimals", "[fast]") {
  Rng rng(1);
  for (int round = 0; round < 5000; ++round) {
    const Draws draw = rng.next();
    const double x = std::ldexp(draw.normal(0), static_cast<int>(draw.below(200, 1)) - 100);
    const std::string text = short_number(x), exact = exact_number(x), fixed = fixed_number(x, 3);
    CAPTURE(x, text, exact, fixed);
    REQUIRE(std::abs(std::strtod(text.c_str(), nullptr) - x) <= 5.001e-4 * std::abs(x));
    REQUIRE(text.size() <= 10);
    REQUIRE(std::strtod(exact.c_str(), nullptr) == x);
    REQUIRE(fixed.size() - fixed.find('.') == 4);
    REQUIRE(fixed != "-0.000");
  }
  CHECK(fixed_number(-1e308, 2).size() == 313);
  CHECK(fixed_number(-0.004, 2) == "0.00");
  CHECK(fixed_number(-0.006, 2) == "-0.01");
  CHECK(fixed_number(2.5, 0) == "2");
}

TEST_CASE("widths of UTF-8 text", "[fast]") {
  CHECK(display_width("") == 0);
  CHECK(display_width("digit") == 5);
  CHECK(display_width("\u00fcber") == 4);
  CHECK(display_width("e\u0301") == 1);       // a combining accent
  CHECK(display_width("\u65e5\u672c") == 4);  // Japanese
  CHECK(display_width("\U0001F600!") == 3);   // an emoji
  CHECK(display_width("\xff\xc3") == 2);      // bytes that are no UTF-8 count one each
  CHECK(display_prefix("digit", 3) == "dig");
  CHECK(display_prefix("digit", 9) == "digit");
  CHECK(display_prefix("\u65e5\u672c", 3) == "\u65e5");
  CHECK(display_prefix("e\u0301x", 1) == "e\u0301");
  CHECK(display_prefix("abc", 0) == "");
  std::string text = "|";
  append_right(text, "\u00fc", 3);
  append_right(text, "long", 2);
  append_whole(text, -7, 4);
  append_whole(text, 5, 2, '0');
  append_whole(text, 123, 2);
  CHECK(text == "|  \u00fclong  -705123");
}

TEST_CASE("what is no UTF-8 is found, byte by byte", "[fast]") {
  const auto value = [](std::string_view text) { return code_point(text).value; };
  CHECK(value("\u20ac") == U'\u20ac');
  CHECK(value("\U0010FFFF") == char32_t{0x10FFFF});
  for (const std::string_view bad : {"\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x80\x80", "\xed\xa0\x80", "\xf0\x80\x80\x80",
                                     "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xe2\x82", "\xc3(", "\xff"}) {
    CHECK(value(bad) == char32_t{0xFFFD});
    CHECK(code_point(bad).bytes == 1);
  }
}

TEST_CASE("a name cannot steer the terminal", "[fast]") {
  CHECK(printable("digit \u00fc") == "digit \u00fc");
  CHECK(printable("a\x1b[2Jb\n\t\x7f") == "a?[2Jb???");
  CHECK(printable("\u009b"
                  "2J") == "?2J");  // the one-byte form of ESC [
  CHECK(printable("\xff\xfe") == "??");
}
