#include "espalier/data/target_encoder.hpp"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "espalier/data/csv.hpp"
#include "espalier/io/checkpoint.hpp"
#include "io/scratch.hpp"
#include "support/catch.hpp"

using namespace espalier;

namespace {

using Texts = std::vector<std::string>;
using Doubles = std::vector<double>;

// Price is 100 and 300 where it is known: mean 200, deviation 100.
const Table train = parse_csv(
    "price,fuel,month,one\n"
    "100,gas,1,x\n"
    "300,oil,12,x\n"
    ",gas,,x\n"
    "300,,3,x\n"
    "100,gas,12,x\n",
    {}, "train.csv");

template <class T>
std::vector<T> list(const Tensor<T>& x) {
  return {x.values().begin(), x.values().end()};
}

}  // namespace

TEST_CASE("numbers are standardised and come back in their unit", "[fast]") {
  const TargetEncoder<double> price(train, "price");
  CHECK(price.name() == "price");
  CHECK_FALSE(price.of_classes());
  CHECK(price.width() == 1);
  CHECK(price.mean() == 200);
  CHECK(price.deviation() == 100);
  CHECK(price.classes().empty());
  const Target<double> y = price(train);
  CHECK(y.value.shape() == Shape{5, 1});
  CHECK(list(y.value) == Doubles{-1, 1, 0, 1, -1});
  CHECK(list(y.weight) == Doubles{1, 1, 0, 1, 1});
  CHECK_FALSE(price(train.rows(std::vector<Index>{0, 1})).weight.defined());
  const std::vector<TableColumn> back = price.decode(Tensor<double>({3, 1}, {-1, 0, 2.5}));
  REQUIRE(back.size() == 1);
  CHECK(back[0].name == "price");
  CHECK(back[0].numbers == Doubles{100, 200, 450});
}

TEST_CASE("a far number loses nothing that a float can hold of it once it is standardised", "[fast]") {
  const Table far(std::vector<TableColumn>{{.name = "x", .numbers = {1e9 + 1, 1e9 + 3}}});
  const TargetEncoder x(far, "x");
  CHECK(list(x(far).value) == std::vector<float>{-1, 1});
  CHECK(x.decode(x(far).value)[0].numbers == Doubles{1e9 + 1, 1e9 + 3});
}

TEST_CASE("text is numbered in byte order, class numbers rising", "[fast]") {
  const TargetEncoder fuel(train, "fuel");
  CHECK(fuel.of_classes());
  CHECK(fuel.width() == 2);
  CHECK(fuel.classes() == Texts{"gas", "oil"});
  CHECK(list(fuel(train).classes) == std::vector<Index>{0, 1, 0, 0, 0});
  CHECK(list(fuel(train).weight) == std::vector<float>{1, 1, 1, 0, 1});
  CHECK_FALSE(fuel(train).value.defined());
  const TargetEncoder month(train, "month", {.classes = true});
  CHECK(month.classes() == Texts{"1", "3", "12"});
  CHECK(list(month(train).classes) == std::vector<Index>{0, 2, 0, 1, 2});
  // Another table numbers its categories in another way.
  const Table other = parse_csv("fuel\noil\n", {}, "other.csv");
  CHECK(list(fuel(other).classes) == std::vector<Index>{1});
}

TEST_CASE("logits come back as classes and their probabilities", "[fast]") {
  const TargetEncoder<double> month(train, "month", {.classes = true});
  const double big = 800;  // exp of it is infinite
  const std::vector<TableColumn> back =
      month.decode(Tensor<double>({3, 3}, {0, std::log(2), 0, big, 0, big, -big, -big, -big + std::log(8)}));
  REQUIRE(back.size() == 4);
  CHECK(back[0].name == "month");
  CHECK(back[0].numbers == Doubles{3, 1, 12});
  CHECK_FALSE(back[0].text);
  CHECK(back[1].name == "month=1");
  CHECK(back[3].name == "month=12");
  for (std::size_t r = 0; r < 3; ++r)
    CHECK(std::abs(back[1].numbers[r] + back[2].numbers[r] + back[3].numbers[r] - 1) < 1e-15);
  CHECK(std::abs(back[2].numbers[0] - 0.5) < 1e-15);
  CHECK(back[1].numbers[1] == 0.5);
  CHECK(std::abs(back[3].numbers[2] - 0.8) < 1e-12);

  const TargetEncoder fuel(train, "fuel");
  Table table;
  for (TableColumn& column : fuel.decode(Tensor<float>({2, 2}, {0, 1, 1, 0}))) table.add(std::move(column));
  CHECK(table.names() == Texts{"fuel", "fuel=gas", "fuel=oil"});
  CHECK(list(table.classes("fuel", {"gas", "oil"})) == std::vector<Index>{1, 0});
}

TEST_CASE("a target encoder comes back from a file, into one that is not fitted", "[fast]") {
  const Scratch scratch;
  for (const bool classes : {false, true})
    for (const char* column : {"price", "fuel", "month"}) {
      if (classes && column == std::string("price")) continue;
      const TargetEncoder saved(train, column, {.classes = classes});
      save(scratch("run"), {{"target", saved}});
      TargetEncoder<float> loaded;
      load(scratch("run"), {{"target", loaded}});
      CHECK(loaded.name() == column);
      CHECK(loaded.of_classes() == saved.of_classes());
      CHECK(loaded.classes() == saved.classes());
      CHECK(loaded.mean() == saved.mean());
      CHECK(loaded.deviation() == saved.deviation());
      REQUIRE_THROWS_AS(loaded(parse_csv("other\n1\n")), Error);
    }
}

TEST_CASE("a file that holds no target is refused, and changes nothing", "[fast]") {
  const Scratch scratch;
  TargetEncoder loaded(train, "price");
  const auto refused = [&](Texts texts, const std::string& message) {
    struct Fake {
      Texts column;
      void fields(Visitor& visit) { visit("column", column); }
    } fake{std::move(texts)};
    save(scratch("run"), {{"target", fake}});
    CHECK_THROWS_WITH(load(scratch("run"), {{"target", loaded}}), message);
    CHECK(loaded.mean() == 200);
  };
  refused({}, "TargetEncoder: the file has 0 columns here; a target is one");
  refused({"a", "number", "0", "1", "0", "b", "number", "0", "1", "0"},
          "TargetEncoder: the file has 2 columns here; a target is one");
  refused({"a", "number", "0", "1", "1"},
          "TargetEncoder: the file marks unknown or missing cells of 'a'; a target does not");
  refused({"a", "text", "column", "zeros", "2", "x", "y"},
          "TargetEncoder: the file marks unknown or missing cells of 'a'; a target does not");
  refused({"a", "words"},
          "TargetEncoder: the columns of the file say 'words' where there must be number, text or classes");
}

TEST_CASE("what is no target is refused", "[fast]") {
  using Encoder = TargetEncoder<float>;
  CHECK_THROWS_WITH(Encoder(train, "cost"), "train.csv: unknown column 'cost'; known: price, fuel, month, one");
  CHECK_THROWS_WITH(
      Encoder(train, "one"),
      "TargetEncoder: column 'one' of train.csv holds one class, 'x'; there must be at least two to tell apart");
  CHECK_THROWS_WITH(Encoder(parse_csv("a\n\n\n", {}, "t"), "a"),
                    "TargetEncoder: column 'a' of t holds no value to fit on; leave it out");
  CHECK_THROWS_WITH(Encoder(parse_csv("a\n1\n2.5\n", {}, "t"), "a", {.classes = true}),
                    "t, line 3, column \"a\": 2.5 is no class; classes are whole numbers from 0 to 2^53");
  const Encoder fuel(train, "fuel"), month(train, "month", {.classes = true}), price(train, "price");
  CHECK_THROWS_WITH(fuel(parse_csv("fuel\ngas\ncoal\n", {}, "t")),
                    "t, line 3, column \"fuel\": 'coal' is none of the categories gas, oil");
  CHECK_THROWS_WITH(
      price(parse_csv("price\ncheap\n", {}, "t")),
      "TargetEncoder: column 'price' of t holds text, but numbers when it was fitted; it must be of one kind");
  CHECK_THROWS_WITH(Encoder()(train), "TargetEncoder: it is not fitted; fit or load it first");
  CHECK_THROWS_WITH(Encoder().classes(), "TargetEncoder: it is not fitted; fit or load it first");
  CHECK_THROWS_WITH(month.decode(Tensor<float>::zeros({2, 2})),
                    "TargetEncoder: the predictions of 'month' are [2, 2]; they must be [rows, 3]");
  CHECK_THROWS_WITH(month.decode({}),
                    "TargetEncoder: the predictions of 'month' are undefined; they must be [rows, 3]");
  CHECK_THROWS_WITH(fuel.decode(Tensor<float>({2, 2}, {0, 1, std::numeric_limits<float>::quiet_NaN(), 0})),
                    "TargetEncoder: the prediction of 'fuel' for row 1 is nan; it must be finite");
  CHECK(Encoder().name().empty());
  CHECK(Encoder().width() == 0);
}
