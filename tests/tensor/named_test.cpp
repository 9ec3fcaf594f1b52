#include "espalier/tensor/named.hpp"

#include "support/catch.hpp"

using namespace espalier;

namespace {
struct Coin {
  static constexpr std::string_view kind = "coin";
};
}  // namespace

TEST_CASE("names keep their order and find their values", "[fast]") {
  NamedList<int> list{{"b", 2}, {"a", 1}};
  CHECK(list.size() == 2);
  CHECK(list["a"] == 1);
  CHECK(list["b"] == 2);
  CHECK(list.at(0).name == "b");
  CHECK(list.names() == "b, a");
  CHECK(*list.find("a") == 1);
  CHECK(*list.find("a", 1) == 1);
  CHECK(list.find("c") == nullptr);
  CHECK(list.find("c", 5) == nullptr);
  *list.find("a") = 7;
  CHECK(list["a"] == 7);
}

TEST_CASE("an unknown name is answered with the known ones", "[fast]") {
  const NamedList<int> list{{"left", 1}, {"right", 2}};
  CHECK_THROWS_WITH(list["up"], "names: unknown name 'up'; known: left, right");
  CHECK_THROWS_WITH(NamedList<int>{}["up"], "names: unknown name 'up'; known: none");
}

TEST_CASE("a list says what it is of, and which name is meant", "[fast]") {
  CHECK_THROWS_WITH((NamedList<Coin>{{"penny", {}}, {"shilling", {}}}["peny"]),
                    "coins: unknown coin 'peny'; known: penny, shilling; did you mean 'penny'?");
  CHECK_THROWS_WITH((NamedList<Coin>{{"penny", {}}, {"penny", {}}}), "coins: 'penny' appears twice; names must differ");
}

TEST_CASE("a name may appear once", "[fast]") {
  CHECK_THROWS_WITH((NamedList<int>{{"x", 1}, {"y", 2}, {"x", 3}}), "names: 'x' appears twice; names must differ");
}

TEST_CASE("a name may appear once in a long list too", "[fast]") {
  std::vector<Named<int>> many;
  for (int i = 0; i < 200; ++i) many.push_back({std::to_string(i), i});
  CHECK(NamedList<int>(many).size() == 200);
  many.push_back({"17", 0});
  CHECK_THROWS_WITH(NamedList<int>(many), "names: '17' appears twice; names must differ");
}

TEST_CASE("an empty list is empty", "[fast]") {
  NamedList<int> list;
  CHECK(list.empty());
  CHECK(list.names() == "none");
  list.add("x", 3);
  CHECK(!list.empty());
  int sum = 0;
  for (const Named<int>& item : list) sum += item.value;
  CHECK(sum == 3);
}
