#include "espalier/data/one_hot.hpp"

#include <string>
#include <vector>

#include "espalier/autograd/node.hpp"
#include "espalier/data/csv.hpp"
#include "espalier/io/checkpoint.hpp"
#include "io/scratch.hpp"
#include "support/catch.hpp"

using namespace espalier;

namespace {

using Texts = std::vector<std::string>;
using Floats = std::vector<float>;

const Table train = parse_csv("fuel,month\npetrol,10\nZ,2\n,\npetrol,2\ngas,7\n", {}, "train.csv");
const Table today = parse_csv("fuel,month\ngas,10\nhydrogen,3\n,\nZ,7\n", {}, "today.csv");

Floats list(const Tensor<float>& x) { return {x.values().begin(), x.values().end()}; }

}  // namespace

TEST_CASE("one column per category, text in byte order, class numbers rising", "[fast]") {
  const OneHot fuel(train, "fuel"), month(train, "month");
  CHECK(fuel.categories() == Texts{"Z", "gas", "petrol"});
  CHECK(month.categories() == Texts{"2", "7", "10"});
  CHECK(fuel.width() == 3);
  CHECK(fuel(train, "fuel").shape() == Shape{5, 3});
  CHECK(list(fuel(train, "fuel")) == Floats{0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0});
  CHECK(list(month(train, "month")) == Floats{0, 0, 1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0});
  CHECK(OneHot<double>(train, "fuel")(train, "fuel")(0, 2) == 1);
}

TEST_CASE("what was fitted counts, not how the other table numbers its text", "[fast]") {
  const OneHot fuel(train, "fuel"), month(train, "month");
  CHECK(list(fuel(today, "fuel")) == Floats{0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0});
  CHECK(list(month(today, "month")) == Floats{0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0});
  // Some rows of a table have fewer categories than the table.
  const std::vector<Index> two{0, 4};
  CHECK(OneHot(train.rows(two), "fuel").categories() == Texts{"gas", "petrol"});
  // A table made by hand may list them in any order, and one twice.
  const Table mixed({{"c", {0, 1, 2, 3}, {}, {"b", "a", "b", "c"}, true}});
  CHECK(OneHot(mixed, "c").categories() == Texts{"a", "b", "c"});
  CHECK(list(OneHot(mixed, "c")(mixed, "c")) == Floats{0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1});
}

TEST_CASE("unknown and missing cells have columns of their own, or are errors, if asked for", "[fast]") {
  const OneHot unknown(train, "fuel", {.unknown = NoCategory::column});
  CHECK(unknown.width() == 4);
  CHECK(list(unknown(today, "fuel")) == Floats{0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0});
  const OneHot missing(train, "month", {.missing = NoCategory::column});
  CHECK(list(missing(today, "month")) == Floats{0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0});
  const OneHot both(train, "fuel", {.unknown = NoCategory::column, .missing = NoCategory::column});
  CHECK(both.width() == 5);
  CHECK(list(both(today, "fuel")) == Floats{0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0});
  REQUIRE_THROWS_WITH(OneHot(train, "fuel", {.unknown = NoCategory::error})(today, "fuel"),
                      "today.csv, line 3, column \"fuel\": 'hydrogen' is none of the categories Z, gas, petrol");
  REQUIRE_THROWS_WITH(OneHot(train, "month", {.unknown = NoCategory::error})(today, "month"),
                      "today.csv, line 3, column \"month\": '3' is none of the categories 2, 7, 10");
  REQUIRE_THROWS_WITH(OneHot(train, "fuel", {.missing = NoCategory::error})(today, "fuel"),
                      "today.csv, line 4, column \"fuel\": the cell is missing; it must hold one of the categories Z, "
                      "gas, petrol");
}

TEST_CASE("a long list of categories is cut in the message", "[fast]") {
  std::vector<double> numbers;
  for (int i = 0; i < 30; ++i) numbers.push_back(i);
  const OneHot n(Table({{"n", numbers}}), "n", {.unknown = NoCategory::error});
  REQUIRE_THROWS_WITH(
      n(Table({{"n", {99}}}), "n"),
      "table, row 0, column \"n\": '99' is none of the categories 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, "
      "12, 13, 14, 15, 16, 17, 18, 19, ... (30)");
}

TEST_CASE("a column that is missing throughout is of every kind", "[fast]") {
  const Table nothing = parse_csv("fuel,month\n,\n,\n");  // such a column reads as numbers
  CHECK(list(OneHot(train, "fuel")(nothing, "fuel")) == Floats(6));
  CHECK(list(OneHot(train, "fuel", {.missing = NoCategory::column})(nothing, "fuel")) ==
        Floats{0, 0, 0, 1, 0, 0, 0, 1});
  CHECK(OneHot(train, "fuel")(parse_csv("fuel\n"), "fuel").shape() == Shape{0, 3});
}

TEST_CASE("categories and options travel in a file, into an empty OneHot", "[fast]") {
  const Scratch scratch;
  for (const std::string column : {"fuel", "month"})
    for (const NoCategory unknown : {NoCategory::zeros, NoCategory::column})
      for (const NoCategory missing : {NoCategory::zeros, NoCategory::column}) {
        const OneHot fitted(train, column, {.unknown = unknown, .missing = missing});
        OneHot loaded;
        CHECK(loaded.width() == 0);
        REQUIRE_THROWS_WITH(loaded(train, column), "OneHot: it has no categories; fit or load it first");
        save(scratch("s"), {{"encode", fitted}});
        load(scratch("s"), {{"encode", loaded}});
        CHECK(loaded.categories() == fitted.categories());
        CHECK(list(loaded(today, column)) == list(fitted(today, column)));
      }
}

TEST_CASE("a file that is none of a OneHot's is refused, and nothing changes", "[fast]") {
  struct Other {
    Texts categories{"10", "9"};
    bool numbers = true;
    std::string unknown = "zeros", missing = "zeros";
    void fields(Visitor& visit) {
      visit("categories", categories);
      visit("numbers", numbers);
      visit("unknown", unknown);
      visit("missing", missing);
    }
  };
  const Scratch scratch;
  OneHot month(train, "month", {.missing = NoCategory::column});
  const auto rejects = [&](const Other& other, const std::string& message) {
    save(scratch("s"), {{"m", other}});
    REQUIRE_THROWS_WITH(load(scratch("s"), {{"m", month}}), message);
    CHECK(month.categories() == Texts{"2", "7", "10"});
    CHECK(month.width() == 4);
  };
  rejects({}, "OneHot: the category '9' comes after '10'; each comes once, in order");
  rejects({.categories = {"a", "a"}, .numbers = false},
          "OneHot: the category 'a' comes after 'a'; each comes once, in order");
  for (const std::string bad : {"", "x", "-1", "07", "1.5", "1 ", "99999999999999999999"})
    rejects({.categories = {bad}}, "OneHot: the category '" + bad + "' is no class number");
  rejects({.unknown = "soup"},
          "OneHot: 'soup' says nothing about cells without a category; known: zeros, column, error");
  Other good{.categories = {"9", "10"}};
  save(scratch("s"), {{"m", good}});
  load(scratch("s"), {{"m", month}});
  CHECK(month.width() == 2);
}

TEST_CASE("what has no categories is refused", "[fast]") {
  REQUIRE_THROWS_WITH(OneHot(parse_csv("a\n\n\n", {}, "t.csv"), "a"),
                      "OneHot: column 'a' of t.csv holds no value; there is nothing to fit on");
  REQUIRE_THROWS_WITH(OneHot(parse_csv("a\n1.5\n", {}, "t.csv"), "a"),
                      "t.csv, line 2, column \"a\": 1.5 is no class; classes are whole numbers from 0 to 2^53");
  REQUIRE_THROWS_WITH(OneHot(train, "x"), "train.csv: unknown column 'x'; known: fuel, month");
  REQUIRE_THROWS_WITH(
      OneHot(train, "fuel")(today, "month"),
      "OneHot: column 'month' of today.csv holds numbers, but text when it was fitted; it must be of one "
      "kind");
  REQUIRE_THROWS_WITH(
      OneHot(train, "month")(today, "fuel"),
      "OneHot: column 'fuel' of today.csv holds text, but class numbers when it was fitted; it must be of "
      "one kind");
}
