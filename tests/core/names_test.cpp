#include "espalier/core/names.hpp"

#include "support/catch.hpp"

using namespace espalier;

TEST_CASE("a NameTable numbers names in the order they come", "[fast]") {
  NameTable names;
  CHECK(names.find("a") == -1);
  for (int i = 0; i < 5000; ++i) REQUIRE(names.add("name " + std::to_string(i)));
  CHECK(names.size() == 5000);
  for (int i = 0; i < 5000; ++i) REQUIRE(names.find("name " + std::to_string(i)) == i);
  CHECK_FALSE(names.add("name 17"));
  CHECK(names.size() == 5000);
  CHECK(names.find("name 5000") == -1);
  CHECK(names.add(""));
  CHECK(names.find("") == 5000);
  CHECK(names.names()[4999] == "name 4999");
}
