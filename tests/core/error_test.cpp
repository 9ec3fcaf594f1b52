#include "espalier/core/error.hpp"

#include <array>
#include <limits>

#include "espalier/core/shape.hpp"
#include "support/catch.hpp"

using namespace espalier;

TEST_CASE("join puts text, numbers and shapes one after another", "[fast]") {
  CHECK(join() == "");
  CHECK(join("a is ", Shape{2, 3}, ", b is ", Shape{}, '.') == "a is [2, 3], b is [].");
  CHECK(join(std::string("x"), std::string_view("y"), 'z') == "xyz");
  CHECK(join(-3, ' ', std::size_t{7}, ' ', Index{1} << 62) == "-3 7 4611686018427387904");
}

TEST_CASE("join writes fractions with six digits and no locale", "[fast]") {
  CHECK(join(0.5, ' ', 1e-9, ' ', 1234567.0, ' ', 2.0f, ' ', -0.0) == "0.5 1e-09 1.23457e+06 2 -0");
  CHECK(join(std::numeric_limits<double>::infinity(), ' ', std::numeric_limits<double>::quiet_NaN()) == "inf nan");
  CHECK(join(std::numeric_limits<double>::max(), ' ', std::numeric_limits<double>::denorm_min()) == "1.79769e+308 4.94066e-324");
}

TEST_CASE("fail throws Error with the joined text", "[fast]") {
  CHECK_THROWS_AS(fail("x"), Error);
  CHECK_THROWS_AS(fail("x"), std::runtime_error);
  CHECK_THROWS_WITH(fail("op: axis ", 3, " of ", Shape{2}), "op: axis 3 of [2]");
}

TEST_CASE("a FileError is an Error", "[fast]") { CHECK_THROWS_AS(throw FileError("f"), Error); }

TEST_CASE("listing names what there is", "[fast]") {
  const auto same = [](const char* name) { return std::string(name); };
  CHECK(listing(std::array<const char*, 0>{}, same) == "none");
  CHECK(listing(std::array{"a"}, same) == "a");
  CHECK(listing(std::array{"a", "b", "c"}, same) == "a, b, c");
}
