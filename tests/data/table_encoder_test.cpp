#include "espalier/data/table_encoder.hpp"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "espalier/autograd/node.hpp"
#include "espalier/data/csv.hpp"
#include "espalier/data/split.hpp"
#include "espalier/io/checkpoint.hpp"
#include "io/scratch.hpp"
#include "support/catch.hpp"

using namespace espalier;

namespace {

using Texts = std::vector<std::string>;
using Doubles = std::vector<double>;

// Power is 1 and 3 where it is known: mean 2, deviation 1. Weight: mean 20, deviation 10.
const Table train = parse_csv(
    "power,weight,fuel,month\n"
    "1,10,gas,1\n"
    "3,30,oil,12\n"
    ",10,gas,1\n"
    "1,30,gas,3\n"
    "3,10,,12\n"
    ",30,oil,3\n",
    {}, "train.csv");

template <class T>
std::vector<T> list(const Tensor<T>& x) {
  return {x.values().begin(), x.values().end()};
}
/// One row as text, `1 0 -0.5`.
std::string row(const Tensor<double>& x, Index r) {
  std::string text;
  for (Index c = 0; c < x.shape()[1]; ++c) text += join(c ? " " : "", x(r, c));
  return text;
}

}  // namespace

TEST_CASE("columns of text are known, so that a later file is read alike", "[fast]") {
  const TableEncoder encode(train, {"month", "fuel", "power"}, {.classes = {"month"}});
  CHECK(encode.text_columns() == Texts{"fuel"});
  const std::string today = "month,fuel,power\n1,98,2\n";  // 98 is a fuel
  CHECK_THROWS_WITH(encode(parse_csv(today, {}, "today.csv")),
                    "TableEncoder: column 'fuel' of today.csv holds numbers, but text when it was fitted; it must be of one kind");
  CHECK_NOTHROW(encode(parse_csv(today, {.text = encode.text_columns()})));
  CHECK(TableEncoder<float>().text_columns().empty());
}

TEST_CASE("numbers are standardised, text is one-hot, what is missing is marked", "[fast]") {
  const TableEncoder<double> encode(train, {"fuel", "power", "weight"});
  CHECK(encode.columns() == Texts{"fuel=gas", "fuel=oil", "fuel missing", "power", "power missing", "weight"});
  CHECK(encode.width() == 6);
  const Input<double> x = encode(train);
  CHECK(x.values.shape() == Shape{6, 6});
  CHECK_FALSE(x.present.defined());
  CHECK(row(x.values, 0) == "1 0 0 -1 0 -1");
  CHECK(row(x.values, 1) == "0 1 0 1 0 1");
  CHECK(row(x.values, 2) == "1 0 0 0 1 -1");
  CHECK(row(x.values, 4) == "0 0 1 1 0 -1");
  const TableEncoder single(train, {"weight"});
  static_assert(std::same_as<decltype(single(train)), Input<float>>);
  CHECK(list(single(train).values) == std::vector<float>{-1, 1, -1, 1, -1, 1});
}

TEST_CASE("the training part's numbers are applied to any other table", "[fast]") {
  const TableEncoder<double> encode(train, {"power", "weight", "fuel"});
  // Columns in another order, with another numbering, and with missing cells where training had none.
  const Input<double> x = encode(parse_csv("fuel,weight,power,other\nwind,,5,1\noil,0,,2\n"));
  CHECK(encode.columns() == Texts{"power", "power missing", "weight", "fuel=gas", "fuel=oil", "fuel missing"});
  CHECK(row(x.values, 0) == "3 0 0 0 0 0");
  CHECK(row(x.values, 1) == "0 1 -2 0 1 0");
}

TEST_CASE("a row is absent when all of its columns are missing, and then holds nothing", "[fast]") {
  const TableEncoder<double> encode(train, {"power", "fuel"});
  const Input<double> x = encode(parse_csv("power,fuel,weight\n,,5\n2,,\n,oil,1\n,,\n"));
  CHECK(list(x.present) == std::vector<bool>{false, true, true, false});
  CHECK(row(x.values, 0) == "0 0 0 0 0");
  CHECK(row(x.values, 1) == "0 0 0 0 1");
  CHECK(row(x.values, 2) == "0 1 0 1 0");
  CHECK(row(x.values, 3) == "0 0 0 0 0");
  const Input<double> none = encode(parse_csv("power,fuel\n"));
  CHECK(none.values.shape() == Shape{0, 5});
  CHECK_FALSE(none.present.defined());
}

TEST_CASE("options: class numbers, marks, what was not there before", "[fast]") {
  const TableEncoder<double> months(train, {"month", "power"}, {.classes = {"month"}});
  CHECK(months.columns() == Texts{"month=1", "month=3", "month=12", "power", "power missing"});
  CHECK(row(months(train).values, 1) == "0 0 1 1 0");
  const TableEncoder<double> never(train, {"power", "fuel"}, {.missing_flags = false});
  CHECK(never.columns() == Texts{"power", "fuel=gas", "fuel=oil"});
  CHECK(row(never(train).values, 4) == "1 0 0");
  const TableEncoder<double> always(train, {"weight", "month"}, {.classes = {"month"}, .missing_flags = true});
  CHECK(always.columns() == Texts{"weight", "weight missing", "month=1", "month=3", "month=12", "month missing"});
  CHECK(row(always(parse_csv("weight,month\n,1\n20,\n")).values, 0) == "0 1 1 0 0 0");
  const TableEncoder<double> unknown(train, {"fuel"}, {.unknown = NoCategory::column});
  CHECK(unknown.columns() == Texts{"fuel=gas", "fuel=oil", "fuel unknown", "fuel missing"});
  CHECK(row(unknown(parse_csv("fuel\nwind\n")).values, 0) == "0 0 1 0");
  REQUIRE_THROWS_WITH(TableEncoder(train, {"fuel"}, {.unknown = NoCategory::error})(parse_csv("fuel\nwind\n")),
                      "csv, line 2, column \"fuel\": 'wind' is none of the categories gas, oil");
}

TEST_CASE("numbers agree with Standardise, and what lies behind the mask is never read", "[fast]") {
  Rng rng(3);
  for (const double hole : {std::numeric_limits<double>::quiet_NaN(), 1e300, 0.0}) {
    std::vector<TableColumn> columns;
    Tensor<double> values = Tensor<double>::normal({50, 3}, rng);
    Tensor<bool> there = Tensor<bool>::ones({50, 3});
    const Draws draw = Rng(8).next();
    for (Index c = 0; c < 3; ++c) {
      TableColumn column{std::to_string(c), Doubles(50), std::vector<std::uint8_t>(50, 1)};
      for (Index r = 0; r < 50; ++r) {
        const auto i = static_cast<std::size_t>(r);
        const bool gone = draw.below(4, static_cast<std::uint64_t>(3 * r + c)) == 0;
        there.mutate()[3 * i + static_cast<std::size_t>(c)] = !gone;
        column.numbers[i] = gone ? hole : values(r, c);
        column.present[i] = !gone;
      }
      columns.push_back(column);
    }
    const Table table(columns);
    const TableEncoder<double> encode(table, {"0", "1", "2"}, {.missing_flags = false});
    const Standardise<double> scale(values, there);
    const Tensor<double> expected = scale(values, there);
    const Input<double> x = encode(table);
    CHECK(list(x.values) == list(expected));
    for (Index r = 0; r < 50; ++r)
      if (x.present.defined() && !x.present(r)) CHECK((!there(r, 0) && !there(r, 1) && !there(r, 2)));
  }
}

TEST_CASE("a constant column is only shifted", "[fast]") {
  const Table t = parse_csv("a\n0.1\n0.1\n0.1\n");
  const TableEncoder<double> encode(t, {"a"});
  CHECK(list(encode(t).values) == Doubles{0, 0, 0});
  CHECK(encode(parse_csv("a\n1.1\n")).values(0, 0) == 1.1 - 0.1);
}

TEST_CASE("an encoder comes back from a file bit for bit, into one that is not fitted", "[fast]") {
  const Scratch scratch;
  Rng rng(5);
  std::vector<TableColumn> columns{{"text, with: signs\n", {0, 1, 2}, {}, {"", "1:a,", "\xC3\xA9"}, true},
                                   {"12", {3, 12, 5}, {1, 1, 0}}};
  for (int c = 0; c < 20; ++c) {
    Doubles numbers(3);
    for (double& v : numbers) v = std::ldexp(rng.next().normal(0), c * 20 - 200);
    columns.push_back({"n" + std::to_string(c), numbers});
  }
  const Table table(columns);
  const TableEncoder<double> fitted(table, table.names(), {.classes = {"12"}, .unknown = NoCategory::column});
  save(scratch("s"), {{"encode", fitted}}, {.metadata = {{"width", std::to_string(fitted.width())}}});
  const Metadata about = read_metadata(scratch("s"));
  CHECK(about == Metadata{{"width", std::to_string(fitted.width())}});
  TableEncoder<double> loaded, same(table, table.names(), {.classes = {"12"}});
  for (TableEncoder<double>* encode : {&loaded, &same}) {
    load(scratch("s"), {{"encode", *encode}});
    CHECK(encode->columns() == fitted.columns());
    CHECK(list((*encode)(table).values) == list(fitted(table).values));
  }
}

TEST_CASE("a file that is none of an encoder's is refused, and nothing changes", "[fast]") {
  struct Other {
    Texts columns;
    void fields(Visitor& visit) { visit("columns", columns); }
  };
  const Scratch scratch;
  TableEncoder<double> encode(train, {"weight", "fuel"});
  const Texts before = encode.columns();
  const auto rejects = [&](const Texts& texts, const std::string& message) {
    const Other other{texts};
    save(scratch("s"), {{"e", other}});
    REQUIRE_THROWS_WITH(load(scratch("s"), {{"e", encode}}), "TableEncoder: " + message);
    CHECK(encode.columns() == before);
  };
  const auto says = [](const std::string& text, const std::string& rule) {
    return "the columns of the file say '" + text + "' where there must be " + rule;
  };
  rejects({"a"}, says("the end", "number, text or classes"));
  rejects({"a", "soup"}, says("soup", "number, text or classes"));
  rejects({"a", "number", "x", "1", "0"}, says("x", "a finite number"));
  rejects({"a", "number", "1", "inf", "0"}, says("inf", "a finite number"));
  rejects({"a", "number", "1", "0", "0"}, says("0", "a deviation above 0"));
  rejects({"a", "number", "1", "1", "2"}, says("2", "0 or 1"));
  rejects({"a", "number", "1", "1"}, says("the end", "0 or 1"));
  rejects({"a", "text", "zeros", "ones"},
          "'ones' says nothing about cells without a category; known: zeros, column, error");
  for (const std::string bad : {"0", "3", "x", "9999999999999999999"})
    rejects({"a", "text", "zeros", "zeros", bad, "x", "y"}, says(bad, "the number of the categories that follow"));
  rejects({"a", "text", "zeros", "zeros", "2", "y", "x"},
          "the category 'x' comes after 'y'; each comes once, in order");
  rejects({"a", "classes", "zeros", "zeros", "1", "x"}, "the category 'x' is no class number");
}

TEST_CASE("what cannot be encoded is refused", "[fast]") {
  REQUIRE_THROWS_WITH(TableEncoder(train, {}), "TableEncoder: no columns are named; there must be at least one");
  REQUIRE_THROWS_WITH(TableEncoder(train, {"power", "fuel", "power"}),
                      "TableEncoder: column 'power' is named twice; names must differ");
  REQUIRE_THROWS_WITH(TableEncoder(train, {"power", "fuel"}, {.classes = {"month"}}),
                      "TableEncoder: .classes lists 'month', which is not among the columns power, fuel");
  REQUIRE_THROWS_WITH(TableEncoder(train, {"speed"}),
                      "train.csv: unknown column 'speed'; known: power, weight, fuel, month");
  REQUIRE_THROWS_WITH(TableEncoder(parse_csv("a,b\n,1\n,2\n", {}, "t.csv"), {"b", "a"}),
                      "TableEncoder: column 'a' of t.csv holds no value to fit on; leave it out");
  REQUIRE_THROWS_WITH(TableEncoder(train.rows({}), {"fuel"}),
                      "TableEncoder: column 'fuel' of train.csv holds no value to fit on; leave it out");
  REQUIRE_THROWS_WITH(
      TableEncoder(train, {"weight", "power"}, {.classes = {"power"}})(parse_csv("weight,power\n1,1.5\n")),
      "csv, line 2, column \"power\": 1.5 is no class; classes are whole numbers from 0 to 2^53");
  const double nan = std::numeric_limits<double>::quiet_NaN();
  REQUIRE_THROWS_WITH(TableEncoder(Table({{"a", {1, nan}}}), {"a"}),
                      "table, row 1, column \"a\": nan is no finite number; what is not marked as missing must be one");
  const TableEncoder encode(train, {"power", "fuel"});
  REQUIRE_THROWS_WITH(
      encode(Table({{"power", {nan}}, {"fuel", {0}, {}, {"gas"}, true}})),
      "table, row 0, column \"power\": nan is no finite number; what is not marked as missing must be one");
  REQUIRE_THROWS_WITH(encode(parse_csv("power\n1\n")), "csv: unknown column 'fuel'; known: power");
  REQUIRE_THROWS_WITH(
      encode(parse_csv("power,fuel\nx,gas\n")),
      "TableEncoder: column 'power' of csv holds text, but numbers when it was fitted; it must be of one "
      "kind");
  REQUIRE_THROWS_WITH(
      encode(parse_csv("power,fuel\n1,5\n")),
      "TableEncoder: column 'fuel' of csv holds numbers, but text when it was fitted; it must be of one "
      "kind");
  REQUIRE_THROWS_WITH(TableEncoder()(train), "TableEncoder: it is not fitted; fit or load it first");
  CHECK(TableEncoder().width() == 0);
}

TEST_CASE("a fitted encoder loads its own columns only", "[fast]") {
  const Scratch scratch;
  TableEncoder<float> saved(train, {"power", "fuel"}), other(train, {"power", "weight"}), same(train, {"power", "fuel"});
  save(scratch("e"), {{"encoder", saved}});
  load(scratch("e"), {{"encoder", same}});
  REQUIRE_THROWS_WITH(load(scratch("e"), {{"encoder", other}}),
                      "TableEncoder: the file is of the columns power, fuel (categories); this encoder was fitted on power, weight; "
                      "load into one that is not fitted");
  CHECK(list(other(train).values) == list(TableEncoder<float>(train, {"power", "weight"})(train).values));
}

TEST_CASE("a failed fit changes nothing", "[fast]") {
  TableEncoder encode(train, {"power"});
  REQUIRE_THROWS_AS(encode.fit(train, {"weight", "speed"}), Error);
  CHECK(encode.columns() == Texts{"power", "power missing"});
  encode.fit(train, {"weight"});
  CHECK(encode.columns() == Texts{"weight"});
}

TEST_CASE("from a table to a dataset, fitted on the training part alone", "[fast]") {
  Rng rng(1);
  const auto [part, rest] = split(train, 0.5, rng);
  const TableEncoder encode(part, {"weight", "month"});
  const Dataset<float> data{{{"car", encode(rest)}}, {{"power", rest.target({"power"})}}};
  CHECK(data.size() == 3);
  double sum = 0;
  for (const float v : encode(part).values.values()) sum += static_cast<double>(v);
  CHECK(std::abs(sum) < 1e-6);
}
