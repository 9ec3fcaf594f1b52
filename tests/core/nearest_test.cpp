#include "espalier/core/nearest.hpp"

#include <vector>

#include "support/catch.hpp"

using namespace espalier;

TEST_CASE("a name that is almost right is suggested, the nearest and first one", "[fast]") {
  const std::vector<std::string> known{"colour", "Weight", "width", "fuel", "a", "b", "validation/loss"};
  const auto meant = [&](std::string_view name) { return did_you_mean(name, known); };
  CHECK(meant("colur") == "; did you mean 'colour'?");    // one too few
  CHECK(meant("coluor") == "; did you mean 'colour'?");   // two exchanged
  CHECK(meant("colours") == "; did you mean 'colour'?");  // one too many
  CHECK(meant("wight") == "; did you mean 'Weight'?");
  CHECK(meant("weight") == "; did you mean 'Weight'?");
  CHECK(meant("A") == "; did you mean 'a'?");
  CHECK(meant("fule") == "; did you mean 'fuel'?");
  CHECK(meant("valid") == "; did you mean 'validation/loss'?");
  for (const char* name : {"z", "ab", "pressure", "full_name", "", "co"}) CHECK(meant(name).empty());
  CHECK(meant(std::string(1000, 'x')).empty());
  CHECK(did_you_mean("colour", {}).empty());
}

TEST_CASE("edits is the distance of its definition", "[fast]") {
  CHECK(detail::edits("", "abc", 9) == 3);
  CHECK(detail::edits("abc", "", 9) == 3);
  CHECK(detail::edits("kitten", "sitting", 9) == 3);
  CHECK(detail::edits("ca", "abc", 9) == 3);  // not 2: what was exchanged is not changed again
  CHECK(detail::edits("kitten", "sitting", 2) == 3);
  CHECK(detail::edits(std::string(64, 'a'), std::string(64, 'A'), 9) == 0);
}
