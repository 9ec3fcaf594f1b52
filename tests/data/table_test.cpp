#include "espalier/data/table.hpp"

#include <string>
#include <vector>

#include "espalier/autograd/node.hpp"
#include "support/catch.hpp"

using namespace espalier;

namespace {

Table cars() {
  return Table({{"power", {90, 0, 150}, {1, 0, 1}},
                {"weight", {1.5, 2, 2.5}},
                {"fuel", {1, 0, 0}, {1, 1, 0}, {"diesel", "petrol"}, true},
                {"doors", {3, 5, 0}, {1, 1, 0}}},
               "cars.csv", {2, 4, 5});
}

template <class T>
std::vector<T> list(const Tensor<T>& x) {
  return {x.values().begin(), x.values().end()};
}

}  // namespace

TEST_CASE("a table knows its columns", "[fast]") {
  const Table t = cars();
  CHECK(t.rows() == 3);
  CHECK(t.columns() == 4);
  CHECK(t.names() == Table::Names{"power", "weight", "fuel", "doors"});
  CHECK(t.names([](const std::string& name) { return name.size() == 5; }) == Table::Names{"power", "doors"});
  CHECK(t.has("fuel"));
  CHECK_FALSE(t.has("Fuel"));
  CHECK(t.is_text("fuel"));
  CHECK_FALSE(t.is_text("doors"));
  CHECK(t.column("weight")[2] == 2.5);
  CHECK(t.missing("power") == 1);
  CHECK(t.missing("weight") == 0);
  CHECK(t.categories("fuel")[1] == "petrol");
  CHECK(Table().rows() == 0);
}

TEST_CASE("columns become tensors, missing cells 0 and masked", "[fast]") {
  const Table t = cars();
  const Tensor<double> m = t.matrix<double>({"weight", "power"});
  CHECK(m.shape() == Shape{3, 2});
  CHECK(list(m) == std::vector<double>{1.5, 90, 2, 0, 2.5, 150});
  CHECK(list(t.present({"weight", "power"})) == std::vector<bool>{true, true, true, false, true, true});
  CHECK(list(t.complete({"weight", "power"})) == std::vector<bool>{true, false, true});
  CHECK(list(t.present({"fuel"})) == std::vector<bool>{true, true, false});
  CHECK(t.matrix({}).shape() == Shape{3, 0});
}

TEST_CASE("what is missing stores 0, whatever it held", "[fast]") {
  const Table t({{"a", {std::nan(""), 1}, {0, 1}}});
  CHECK(t.column("a")[0] == 0);
}

TEST_CASE("classes come from whole numbers or text", "[fast]") {
  const Table t = cars();
  CHECK(list(t.classes("doors")) == std::vector<Index>{3, 5, 0});
  CHECK(list(t.classes("doors", 6)) == std::vector<Index>{3, 5, 0});
  CHECK(list(t.classes("fuel")) == std::vector<Index>{1, 0, 0});
  CHECK(list(t.classes("fuel", {"petrol", "gas", "diesel"})) == std::vector<Index>{0, 2, 0});
}

TEST_CASE("inputs and targets carry what is missing", "[fast]") {
  const Table t = cars();
  const Input<float> both = t.input({"power", "weight"});
  CHECK(both.values.shape() == Shape{3, 2});
  CHECK(list(both.present) == std::vector<bool>{true, false, true});
  CHECK_FALSE(t.input({"weight"}).present.defined());
  const Target<float> power = t.target({"power"});
  CHECK(power.value.shape() == Shape{3, 1});
  CHECK(power.weight.shape() == Shape{3, 1});
  CHECK(list(power.weight) == std::vector<float>{1, 0, 1});
  CHECK_FALSE(t.target({"weight"}).weight.defined());
  const Target<double> fuel = t.class_target<double>("fuel");
  CHECK(list(fuel.classes) == std::vector<Index>{1, 0, 0});
  CHECK(list(fuel.weight) == std::vector<double>{1, 1, 0});
  CHECK(list(t.class_target("doors", 6).classes) == std::vector<Index>{3, 5, 0});
  CHECK(list(t.class_target("fuel", Table::Names{"petrol", "diesel"}).classes) == std::vector<Index>{0, 1, 0});
}

TEST_CASE("some rows of a table keep lines, masks and the numbering of text", "[fast]") {
  const std::vector<Index> rows{2, 0, 2};
  const Table t = cars().rows(rows);
  CHECK(t.names() == cars().names());
  CHECK(list(t.matrix<double>({"power", "weight", "doors"})) ==
        std::vector<double>{150, 2.5, 0, 90, 1.5, 3, 150, 2.5, 0});
  CHECK(list(t.present({"power", "fuel"})) == std::vector<bool>{true, false, true, true, true, false});
  CHECK(list(t.classes("fuel")) == std::vector<Index>{0, 1, 0});
  CHECK(t.categories("fuel").size() == 2);
  CHECK(t.source() == "cars.csv");
  CHECK(t.place("doors", 0) == "cars.csv, line 5, column \"doors\"");
  CHECK(Table({{"a", {1}}}).place("a", 0) == "table, row 0, column \"a\"");
  REQUIRE_THROWS_WITH(t.classes("weight"),
                      "cars.csv, line 5, column \"weight\": 2.5 is no class; classes are whole numbers from 0 to 2^53");
  const Table none = cars().rows({});
  CHECK(none.rows() == 0);
  CHECK(none.columns() == 4);
  CHECK(none.missing("power") == 0);
  for (const Index row : {-1, 3})
    REQUIRE_THROWS_WITH(cars().rows(std::span(&row, 1)),
                        "cars.csv: row " + std::to_string(row) + " is asked for; there are 3, counted from 0");
}

TEST_CASE("what does not fit is refused", "[fast]") {
  const Table t = cars();
  REQUIRE_THROWS_WITH(t.column("speed"), "cars.csv: unknown column 'speed'; known: power, weight, fuel, doors");
  REQUIRE_THROWS_WITH(t.matrix({"weight", "fuel"}),
                      "cars.csv: column 'fuel' holds text; numbers are asked for (classes() numbers its categories)");
  REQUIRE_THROWS_WITH(t.categories("doors"), "cars.csv: column 'doors' holds numbers; only text has categories");
  REQUIRE_THROWS_WITH(t.classes("weight"),
                      "cars.csv, line 2, column \"weight\": 1.5 is no class; classes are whole numbers from 0 to 2^53");
  REQUIRE_THROWS_WITH(t.classes("doors", 5),
                      "cars.csv, line 4, column \"doors\": class 5 is not below the number of classes, 5");
  REQUIRE_THROWS_WITH(t.classes("fuel", {"petrol", "gas"}),
                      "cars.csv, line 4, column \"fuel\": 'diesel' is none of the categories petrol, gas");
  REQUIRE_THROWS_WITH(Table({{"a", {0, -1}}}).classes("a"),
                      "table, row 1, column \"a\": -1 is no class; classes are whole numbers from 0 to 2^53");
  REQUIRE_THROWS_WITH(Table({{"a", {1}}, {"a", {2}}}), "table: column 'a' appears twice; names must differ");
  REQUIRE_THROWS_WITH(Table({{"a", {1}}, {"b", {2, 3}}}), "table: column 'b' has 2 rows, the others have 1");
  REQUIRE_THROWS_WITH(Table({{"a", {1}, {1, 0}}}), "table: column 'a' has 1 rows, its mask 2");
  REQUIRE_THROWS_WITH(Table({{"a", {1}}}, "t", {1, 2}), "t: column 'a' has 1 rows, but lines are given for 2");
  REQUIRE_THROWS_WITH(Table({{"a", {0, 2}, {}, {"x", "y"}, true}}),
                      "table, row 1, column \"a\": 2 is no category's number; there are 2");
}

TEST_CASE("a long list of names is cut in the message", "[fast]") {
  Table t;
  for (int i = 0; i < 30; ++i) t.add({std::to_string(i), {1}});
  REQUIRE_THROWS_WITH(t.column("x"),
                      "table: unknown column 'x'; known: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, "
                      "18, 19, ... (30 columns)");
}
