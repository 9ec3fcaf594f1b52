#include "espalier/data/write_csv.hpp"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "espalier/data/csv.hpp"
#include "io/scratch.hpp"
#include "support/catch.hpp"

using namespace espalier;

namespace {

using Doubles = std::vector<double>;
using Columns = std::vector<TableColumn>;

/// A text column of these cells.
TableColumn texts(std::string name, const std::vector<std::string>& cells) {
  NameTable known;
  TableColumn column{.name = std::move(name), .numbers = {}, .text = true};
  for (const std::string& cell : cells) {
    known.add(cell);
    column.numbers.push_back(static_cast<double>(known.find(cell)));
  }
  column.categories = known.names();
  return column;
}
/// What a cell holds.
std::string cell(const Table& table, const std::string& name, Index row) {
  if (!table.present({name})(row, 0)) return "missing";
  const auto r = static_cast<std::size_t>(row);
  if (!table.is_text(name)) return join("number ", std::to_string(table.column(name)[r]));
  return "text " + table.categories(name)[static_cast<std::size_t>(table.classes(name).data()[row])];
}

}  // namespace

TEST_CASE("a table as CSV text", "[fast]") {
  Table table;
  table.add({.name = "price", .numbers = {0.1, 1e300, 0, -2}, .present = {1, 1, 0, 1}});
  table.add(texts("fuel, \"kind\"", {"gas", "a,b", "say \"oil\"", ""}));
  CHECK(csv_text(table) ==
        "price,\"fuel, \"\"kind\"\"\"\n"
        "0.1,gas\n"
        "1e+300,\"a,b\"\n"
        ",\"say \"\"oil\"\"\"\n"
        "-2,\"\"\n");
  CHECK(csv_text(table, {.delimiter = ';', .missing = "NA"}) ==
        "price;\"fuel, \"\"kind\"\"\"\n"
        "0.1;gas\n"
        "1e+300;a,b\n"
        "NA;\"say \"\"oil\"\"\"\n"
        "-2;\"\"\n");
  CHECK(csv_text(Table(Columns{{.name = "a", .numbers = {1.5}}}), {.delimiter = '.'}) == "a\n\"1.5\"\n");
  CHECK(csv_text(Table(Columns{{.name = "a", .numbers = {}}})) == "a\n");
  const Table thirds(Columns{{.name = "a", .numbers = {2.0 / 3, 2e20 / 3, 2e-20 / 3, -0.5, 1234567}}});
  CHECK(csv_text(thirds, {.digits = 3}) == "a\n0.667\n6.67e+19\n6.67e-21\n-0.5\n1.23e+06\n");
  CHECK(csv_text(thirds, {.digits = 7}) == "a\n0.6666667\n6.666667e+19\n6.666667e-21\n-0.5\n1234567\n");
}

TEST_CASE("a table that is written is read", "[fast]") {
  Rng rng(3);
  const std::string letters = "ab,;\"\r\n \t.\xEF\xBB\xBF\xC3\xA4";
  for (int round = 0; round < 200; ++round) {
    const Draws draw = rng.next();
    std::uint64_t at = 0;
    const auto below = [&](Index n) { return draw.below(n, at++); };
    const Index rows = below(6), columns = 1 + below(4);
    const auto word = [&] {
      std::string text;
      for (Index n = below(5); n > 0; --n) text += letters[static_cast<std::size_t>(below(Index(letters.size())))];
      return text;
    };
    Table table;
    std::vector<std::string> of_text;
    for (Index c = 0; c < columns; ++c) {
      const std::string name = word() + std::to_string(c);
      std::vector<std::string> words;
      TableColumn column{.name = name, .numbers = {}};
      for (Index r = 0; r < rows; ++r) {
        words.push_back(word());
        column.numbers.push_back(std::ldexp(draw.normal(at++), static_cast<int>(below(400)) - 200));
      }
      if (below(2)) {
        column = texts(name, words);
        of_text.push_back(name);
      }
      if (below(2))
        for (Index r = 0; r < rows; ++r) column.present.push_back(below(2) != 0);
      table.add(std::move(column));
    }
    const CsvWriteOptions options{.delimiter = below(2) ? ',' : ';', .missing = below(2) ? "NA" : ""};
    const std::string csv = csv_text(table, options);
    CAPTURE(csv);
    const Table read = parse_csv(csv, {.delimiter = options.delimiter, .missing = {"NA"}, .text = of_text});
    REQUIRE(read.names() == table.names());
    REQUIRE(read.rows() == rows);
    for (const std::string& name : table.names()) {
      for (Index r = 0; r < rows; ++r) REQUIRE(cell(read, name, r) == cell(table, name, r));
      if (!table.is_text(name) && table.missing(name) < rows) {
        const std::span<const double> a = table.column(name), b = read.column(name);
        REQUIRE(Doubles(a.begin(), a.end()) == Doubles(b.begin(), b.end()));  // bit for bit
      }
    }
  }
}

TEST_CASE("tables are written into files", "[fast]") {
  const Scratch scratch;
  const Table table(Columns{{.name = "a", .numbers = {1, 2}}});
  write_csv(scratch("t.csv"), table);
  CHECK(read_file(scratch("t.csv"), 100) == "a\n1\n2\n");
  CHECK(scratch.files() == 1);
  CHECK_THROWS_AS(write_csv(scratch("no/t.csv"), table), FileError);
}

TEST_CASE("what a reader would misread is not written", "[fast]") {
  const Scratch scratch;
  replace_file(scratch("t.csv"), "old");
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const Table bad(Columns{{.name = "a", .numbers = {1, -infinity}}}, "results");
  CHECK_THROWS_WITH(write_csv(scratch("t.csv"), bad),
                    "results, row 1, column \"a\": -inf cannot be written; numbers in a file are finite");
  CHECK(read_file(scratch("t.csv"), 100) == "old");
  CHECK_THROWS_WITH(csv_text(Table(Columns{texts("a", {"yes", "NA"})}, "t"), {.missing = "NA"}),
                    "t, row 1, column \"a\": \"NA\" is what stands for a missing cell; choose another .missing");
  CHECK_THROWS_WITH(csv_text(Table(Columns{texts("a", {std::string("x\0y", 3)})})),
                    "write_csv: column \"a\" has a NUL byte in \"x\\x00y\"; a CSV file holds none");
  CHECK_THROWS_WITH(csv_text(Table()), "write_csv: the table has no columns; a file has at least one");
  CHECK_THROWS_WITH(csv_text(Table(Columns{{.name = "a", .numbers = {1}}}), {.delimiter = '\n'}),
                    "write_csv: the delimiter is \"\\x0A\"; quotes, line ends and NUL cannot be it");
  CHECK_THROWS_WITH(csv_text(Table(Columns{{.name = "a", .numbers = {1}}}), {.digits = 18}),
                    "write_csv: .digits is 18; it must be in [0, 17]");
  // What is missing is not looked at.
  CHECK(csv_text(Table(Columns{{.name = "a", .numbers = {1, infinity}, .present = {1, 0}}})) == "a\n1\n\n");
}
