#include "espalier/data/csv.hpp"

#include <chrono>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "espalier/autograd/node.hpp"
#include "io/scratch.hpp"
#include "support/catch.hpp"

using namespace espalier;

namespace {

std::vector<double> numbers(const Table& t, std::string_view name) {
  return {t.column(name).begin(), t.column(name).end()};
}
/// A text column, row by row.
std::vector<std::string> texts(const Table& t, std::string_view name) {
  std::vector<std::string> out;
  const Tensor<Index> numbers = t.classes(name);
  for (Index k : numbers.values()) out.push_back(t.categories(name)[static_cast<std::size_t>(k)]);
  return out;
}
std::vector<bool> present(const Table& t, const std::string& name) {
  const Tensor<bool> there = t.complete({name});
  return {there.values().begin(), there.values().end()};
}
/// The one cell under a header `x`.
double number(const std::string& cell) { return parse_csv("x\n" + cell + "\n").column("x")[0]; }

using Doubles = std::vector<double>;
using Texts = std::vector<std::string>;
using Bools = std::vector<bool>;

}  // namespace

TEST_CASE("a plain table", "[fast]") {
  const Table t = parse_csv("a,b,c\n1,2.5,x\n-3,4e2,y\n");
  CHECK(t.rows() == 2);
  CHECK(t.names() == Texts{"a", "b", "c"});
  CHECK(numbers(t, "a") == Doubles{1, -3});
  CHECK(numbers(t, "b") == Doubles{2.5, 400});
  CHECK(texts(t, "c") == Texts{"x", "y"});
}

TEST_CASE("line ends, byte-order mark and the end of the file do not matter", "[fast]") {
  for (const std::string start : {"", "\xEF\xBB\xBF"})
    for (const std::string end : {"\n", "\r\n"})
      for (const bool last : {true, false}) {
        const Table t = parse_csv(start + "a,b" + end + "1,2" + end + "3,4" + (last ? end : ""));
        CHECK(t.names() == Texts{"a", "b"});
        CHECK(numbers(t, "a") == Doubles{1, 3});
        CHECK(numbers(t, "b") == Doubles{2, 4});
      }
}

TEST_CASE("a header alone is a table without rows", "[fast]") {
  CHECK(parse_csv("a,b").rows() == 0);
  CHECK(parse_csv("a,b\n").columns() == 2);
  CHECK(parse_csv("a,b\n").matrix({"a", "b"}).shape() == Shape{0, 2});
}

TEST_CASE("quoted fields hold delimiters, quotes and line breaks", "[fast]") {
  const Table t = parse_csv("\"a\",\"b \"\"b\"\"\"\n\"x,y\",1\n\"line 1\r\nline 2\n\",\"2\"\n\"\"\"\",3\nplain,4\n");
  CHECK(t.names() == Texts{"a", "b \"b\""});
  CHECK(texts(t, "a") == Texts{"x,y", "line 1\r\nline 2\n", "\"", "plain"});
  CHECK(numbers(t, "b \"b\"") == Doubles{1, 2, 3, 4});
}

TEST_CASE("spaces belong to the field", "[fast]") {
  CHECK(texts(parse_csv("a\n x\ny \n"), "a") == Texts{" x", "y "});
  CHECK(parse_csv("a, b\n1,2\n").has(" b"));
  CHECK(parse_csv("a\n 5\n").is_text("a"));
}

TEST_CASE("empty and listed fields are missing", "[fast]") {
  const Table t = parse_csv("a,b,c\n1,,\n?,x,\n\"NA\",\"\",\n,?,\n", {.missing = {"NA", "?"}});
  CHECK(numbers(t, "a") == Doubles{1, 0, 0, 0});
  CHECK(present(t, "a") == Bools{true, false, false, false});
  CHECK(t.missing("a") == 3);
  CHECK(present(t, "b") == Bools{false, true, true, false});
  CHECK(Texts(t.categories("b").begin(), t.categories("b").end()) == Texts{"", "x"});
  CHECK(t.missing("c") == 4);
  CHECK_FALSE(t.is_text("c"));
  CHECK(parse_csv("a,b\n1,\"\"\n", {.missing = {""}}).missing("b") == 1);
  CHECK(parse_csv("a\n-999\n5\n", {.missing = {"-999"}}).missing("a") == 1);
  CHECK(parse_csv("a\nnan\n5\n", {.missing = {"nan"}}).missing("a") == 1);
}

TEST_CASE("with one column an empty line is a missing cell", "[fast]") {
  CHECK(present(parse_csv("a\n1\n\n2\n"), "a") == Bools{true, false, true});
}

TEST_CASE("categories are in byte order, not in the order of the rows", "[fast]") {
  const Table t = parse_csv("a\npear\napple\npear\nZebra\n");
  CHECK(Texts(t.categories("a").begin(), t.categories("a").end()) == Texts{"Zebra", "apple", "pear"});
  CHECK(texts(t, "a") == Texts{"pear", "apple", "pear", "Zebra"});
}

TEST_CASE("options: delimiter, names, columns of text", "[fast]") {
  const Table t = parse_csv("1;007\n2;abc\n", {.delimiter = ';', .text = {"id"}, .names = {"x", "id"}});
  CHECK(numbers(t, "x") == Doubles{1, 2});
  CHECK(texts(t, "id") == Texts{"007", "abc"});
  CHECK(numbers(parse_csv("a\tb\n1\t2\n", {.delimiter = '\t'}), "b") == Doubles{2});
  CHECK(texts(parse_csv("a\nnan\n1e400\n", {.text = {"a"}}), "a") == Texts{"nan", "1e400"});
  CHECK(parse_csv("a,b\n,1\n", {.text = {"a"}}).categories("a").empty());
}

TEST_CASE("numbers are read exactly", "[fast]") {
  CHECK(number("0.1") == 0.1);
  CHECK(number(".5") == 0.5);
  CHECK(number("5.") == 5);
  CHECK(number("-0.25e-2") == -0.0025);
  CHECK(std::signbit(number("-0")));
  CHECK(number("1.7976931348623157e308") == std::numeric_limits<double>::max());
  CHECK(number("2.2250738585072014e-308") == std::numeric_limits<double>::min());
  CHECK(number("5e-324") == std::numeric_limits<double>::denorm_min());
  CHECK(number("9007199254740993") == 9007199254740992);
  CHECK(number("0e999999") == 0);
}

TEST_CASE("what is too small for a double is 0, in any spelling", "[fast]") {
  CHECK(number("1e-400") == 0);
  CHECK(number("-1e-400") == 0);
  CHECK(number("0.1E-400") == 0);
  CHECK(number("1e-99999999999999999999") == 0);
  CHECK(number("0." + std::string(400, '0') + "1") == 0);
  CHECK(number("1" + std::string(100, '0') + "e-500") == 0);
}

TEST_CASE("what is written is read, whatever it holds", "[fast]") {
  Rng rng(7);
  const std::string letters = "ab,;\"\r\n \t.\xC3\xA4";
  for (int round = 0; round < 200; ++round) {
    const Draws draw = rng.next();
    std::uint64_t at = 0;
    const auto below = [&](Index n) { return draw.below(n, at++); };
    const Index rows = 1 + below(5), columns = 1 + below(4);
    std::vector<Texts> words(static_cast<std::size_t>(columns));
    std::vector<Doubles> values(static_cast<std::size_t>(columns));
    const std::string end = below(2) ? "\n" : "\r\n";
    std::string csv;
    for (Index c = 0; c < columns; ++c) csv += (c ? ",w" : "w") + std::to_string(c) + ",v" + std::to_string(c);
    for (Index r = 0; r < rows; ++r) {
      csv += end;
      for (std::size_t c = 0; c < words.size(); ++c) {
        std::string word = "t", quoted;  // a number by chance would be a mixture
        for (Index n = below(6); n > 0; --n) word += letters[static_cast<std::size_t>(below(Index(letters.size())))];
        for (char letter : word) quoted += letter == '"' ? "\"\"" : std::string(1, letter);
        const double value = std::ldexp(draw.normal(at++), static_cast<int>(below(400)) - 200);
        char digits[40];
        const std::string shortest(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
        csv += (c ? ",\"" : "\"") + quoted + "\"," + shortest;
        words[c].push_back(word);
        values[c].push_back(value);
      }
    }
    if (below(2)) csv += end;
    CAPTURE(csv);
    const Table t = parse_csv(csv);
    REQUIRE(t.rows() == rows);
    for (std::size_t c = 0; c < words.size(); ++c) {
      REQUIRE(texts(t, "w" + std::to_string(c)) == words[c]);
      REQUIRE(numbers(t, "v" + std::to_string(c)) == values[c]);
    }
  }
}

TEST_CASE("every byte string is a table or a FileError", "[fast]") {
  Rng rng(11);
  const std::string letters = "1.-e0nx,,\"\"\r\n\n";
  int tables = 0;
  for (int round = 0; round < 20000; ++round) {
    const Draws draw = rng.next();
    std::string csv;
    for (Index n = draw.below(14, 0); n > 0; --n)
      csv += letters[static_cast<std::size_t>(draw.below(Index(letters.size()), 1 + static_cast<std::uint64_t>(n)))];
    try {
      const Table t = parse_csv(csv);
      for (const std::string& name : t.names())
        if (!t.is_text(name))
          for (double x : t.column(name)) REQUIRE(std::isfinite(x));
      ++tables;
    } catch (const FileError&) {
    }
  }
  CHECK(tables > 1000);
}

TEST_CASE("rejected: the shape of the file", "[fast]") {
  using namespace std::string_literals;
  const auto rejects = [](const std::string& text, const std::string& message) {
    CAPTURE(text);
    REQUIRE_THROWS_AS(parse_csv(text, {}, "f.csv"), FileError);
    REQUIRE_THROWS_WITH(parse_csv(text, {}, "f.csv"), message);
  };
  rejects("", "f.csv: is empty; a table has at least one line");
  rejects("\xEF\xBB\xBF", "f.csv: is empty; a table has at least one line");
  rejects("a,b\n1,2\n3\0,4\n"s, "f.csv, line 3: there is a NUL byte; a table is text, in ASCII or UTF-8");
  rejects("a,b\n1,2\n3\n", "f.csv, line 3: fields in the row: 1; columns of the table: 2");
  rejects("a,b\n1,2,3\n", "f.csv, line 2: fields in the row: 3; columns of the table: 2");
  rejects("a,b\n1,2,\n", "f.csv, line 2: fields in the row: 3; columns of the table: 2");
  rejects("a,b\n1,2\n\n", "f.csv, line 3: fields in the row: 1; columns of the table: 2");
  rejects("a,b\n\"x\ny\",2\n3\n", "f.csv, line 4: fields in the row: 1; columns of the table: 2");
  rejects("a,b\n1,2\n\"x\ny,4\n", "f.csv, line 3, column 1 \"a\": the quote that opens here is never closed");
  rejects("a,\"b", "f.csv, line 1, column 2: the quote that opens here is never closed");
  rejects("a,b\n1,\"x\" y\n", "f.csv, line 2, column 2 \"b\": \" y\" follows the closing quote");
  rejects("a,b\n1,\"x\"\"\n", "f.csv, line 2, column 2 \"b\": the quote that opens here is never closed");
  rejects("a,b\n5\" pipe,1\n",
          "f.csv, line 2, column 1 \"a\": \"5\" pipe\" has a quote inside; quote the whole field and double the quotes "
          "in it");
  rejects("a,b\r1,2\r", "f.csv, line 1, column 2: a carriage return without a line feed follows");
  rejects("a,b\n1,2\r", "f.csv, line 2, column 2 \"b\": a carriage return without a line feed follows");
  rejects("a,b,a\n", "f.csv, line 1, column 3: \"a\" names column 1 already; names must differ");
  rejects("a,,\n", "f.csv, line 1, column 3: \"\" names column 2 already; names must differ");
}

TEST_CASE("rejected: cells", "[fast]") {
  const auto rejects = [](const std::string& column, const std::string& message) {
    CAPTURE(column);
    REQUIRE_THROWS_AS(parse_csv("x\n" + column, {}, "f.csv"), FileError);
    REQUIRE_THROWS_WITH(parse_csv("x\n" + column, {}, "f.csv"), "f.csv, line " + message);
  };
  for (const std::string bad : {"0x10", "1,5", "1_000", "1 ", " 1", "+1", "1e", "1.2.3", "--1", "1f", "-", "e5", "."})
    rejects("7\n\"" + bad + "\"\n",
            "3, column 1 \"x\": \"" + bad +
                "\" is no number, but line 2 has one; list it in .missing, or the column in .text");
  for (const std::string bad : {"nan", "NaN", "-nan", "inf", "-INF", "Infinity", "nan(1)"}) {
    const std::string message =
        "3, column 1 \"x\": \"" + bad + "\" is no finite number; if it means a missing value, list it in .missing";
    rejects("7\n" + bad + "\n", message);
    rejects("abc\n" + bad + "\n", message);
  }
  rejects("nan\n", "2, column 1 \"x\": \"nan\" is no finite number; if it means a missing value, list it in .missing");
  for (const std::string bad : {"1e400", "-1e400", "0.001e400", "1e99999999999999999999"})
    rejects(bad, "2, column 1 \"x\": \"" + bad + "\" is too large for a number");
  rejects("0.1" + std::string(500, '0') + "e+310",
          "2, column 1 \"x\": \"0.1" + std::string(37, '0') + "\"... is too large for a number");
  rejects("7\n\"\"\n",
          "3, column 1 \"x\": \"\" is no number, but line 2 has one; list it in .missing, or the column in "
          ".text");
  rejects("?\n\n7\n",
          "4, column 1 \"x\": \"7\" is a number, but line 2 has \"?\"; list that in .missing, or the column in "
          ".text");
  rejects("7\n" + std::string(50, 'z'),
          "3, column 1 \"x\": \"" + std::string(40, 'z') +
              "\"... is no number, but line 2 has one; list it in .missing, or the column "
              "in .text");
}

TEST_CASE("rejected: a quoted decimal comma", "[fast]") {
  REQUIRE_THROWS_WITH(parse_csv("a,b\n1,2\n\"1,5\",\"a\nb\"\n"),
                      "csv, line 3, column 1 \"a\": \"1,5\" is no number, but line 2 has one; list it in .missing, or "
                      "the column in .text");
}

TEST_CASE("a column is what the options say", "[fast]") {
  const CsvOptions options{.missing = {"NA"}, .numbers = {"n", "none"}, .categories = {{"size", {"S", "M", "L", "10"}}}};
  const Table t = parse_csv("n,size,none\n1,L,NA\nNA,10,\n2,S,\n", options);
  CHECK(numbers(t, "n") == Doubles{1, 0, 2});
  CHECK_FALSE(t.is_text("none"));  // nothing says that it is numbers but the options
  CHECK(t.missing("none") == 3);
  CHECK(t.is_text("size"));
  const auto sizes = t.categories("size");
  CHECK(std::vector<std::string>(sizes.begin(), sizes.end()) == std::vector<std::string>{"S", "M", "L", "10"});
  CHECK(t.classes("size")(0) == 2);
  CHECK(t.classes("size")(1) == 3);
  CHECK(t.classes("size")(2) == 0);
  const Table empty = parse_csv("n,size,none\n", options);
  CHECK(empty.categories("size").size() == 4);
  REQUIRE_THROWS_WITH(parse_csv("n,size,none\n?,L,\n1,S,\n", options),
                      "csv, line 2, column 1 \"n\": \"?\" is no number, and the column is read as numbers; if it means a missing "
                      "value, list it in .missing");
  REQUIRE_THROWS_WITH(parse_csv("n,size,none\ninf,L,\n", options),
                      "csv, line 2, column 1 \"n\": \"inf\" is no finite number; if it means a missing value, list it in .missing");
  REQUIRE_THROWS_WITH(parse_csv("n,size,none\n1,XL,\n", options),
                      "csv, line 2, column 2 \"size\": \"XL\" is none of the column's categories: S, M, L, 10");
}

TEST_CASE("rejected: what is too large", "[fast]") {
  REQUIRE_THROWS_WITH(parse_csv("a\n" + std::string(std::size_t{17} << 20, 'x')),
                      "csv, line 2: the row has more than 16777216 bytes");
  REQUIRE_THROWS_WITH(parse_csv(std::string(1'000'000, ',')), "csv, line 1: the row has more than 1000000 fields");
}

TEST_CASE("rejected: options", "[fast]") {
  REQUIRE_THROWS_WITH(parse_csv("a\n", {.delimiter = '"'}),
                      "read_csv: the delimiter is \"\"\"; quotes, line ends and NUL cannot be it");
  REQUIRE_THROWS_WITH(parse_csv("a\n", {.delimiter = '\n'}),
                      "read_csv: the delimiter is \"\\x0A\"; quotes, line ends and NUL cannot be it");
  REQUIRE_THROWS_WITH(parse_csv("a,c\n", {.text = {"b"}}, "f.csv"),
                      "f.csv: unknown column 'b', to be read as text; known: a, c");
  REQUIRE_THROWS_WITH(parse_csv("colour,size\n", {.numbers = {"colur"}}, "f.csv"),
                      "f.csv: unknown column 'colur', to be read as numbers; known: colour, size; did you mean 'colour'?");
  REQUIRE_THROWS_WITH(parse_csv("a\n", {.categories = {{"b", {"x"}}}}),
                      "csv: unknown column 'b', to be read as categories; known: a");
  for (const CsvOptions& twice : {CsvOptions{.text = {"a", "a"}}, CsvOptions{.text = {"a"}, .numbers = {"a"}},
                                  CsvOptions{.numbers = {"a"}, .categories = {{"a", {"x"}}}}})
    REQUIRE_THROWS_WITH(parse_csv("a\n", twice),
                        "read_csv: column \"a\" is listed twice in .text, .numbers and .categories; it is of one kind");
  REQUIRE_THROWS_WITH(parse_csv("a\n", {.categories = {{"a", {}}}}), "read_csv: .categories lists none of \"a\"; there must be at least one");
  REQUIRE_THROWS_WITH(parse_csv("a\n", {.categories = {{"a", {"x", "y", "x"}}}}),
                      "read_csv: .categories lists \"x\" of \"a\" twice; they must differ");
  REQUIRE_THROWS_WITH(parse_csv("1,2\n", {.names = {"a", "a"}}),
                      "read_csv: .names lists \"a\" twice; names must differ");
  REQUIRE_THROWS_WITH(parse_csv("1,2\n", {.names = {"a"}}),
                      "csv, line 1: fields in the row: 2; columns of the table: 1");
}

TEST_CASE("files are read", "[fast]") {
  const Scratch scratch;
  replace_file(scratch("t.csv"), "a,b\n1,x\n");
  CHECK(numbers(read_csv(scratch("t.csv")), "a") == Doubles{1});
  REQUIRE_THROWS_WITH(read_csv(scratch("t.csv")).classes("b", {"y"}),
                      scratch("t.csv") + ", line 2, column \"b\": 'x' is none of the categories y");
  REQUIRE_THROWS_WITH(read_csv(scratch("t.csv"), {.largest = 7}),
                      scratch("t.csv") + ": has 8 bytes; at most 7 are read");
  REQUIRE_THROWS_AS(read_csv(scratch("none.csv")), FileError);
  REQUIRE_THROWS_WITH(read_csv(scratch.folder()), scratch.folder() + ": is a directory; a regular file is needed");
}

TEST_CASE("the digits of the examples", "[fast]") {
  const auto start = std::chrono::steady_clock::now();
  const Table t = read_csv("examples/data/digits.csv");
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
  CHECK(t.rows() == 1797);
  CHECK(t.columns() == 65);
  const Tensor<Index> digits = t.classes("digit", 10);
  CHECK(std::ranges::count(digits.values(), 3) == 183);
  CHECK(t.matrix(t.names([](const std::string& n) { return n.starts_with("pixel_"); })).shape() == Shape{1797, 64});
  CHECK(std::ranges::all_of(t.names(), [&](const std::string& name) { return t.missing(name) == 0; }));
  CHECK(*std::ranges::max_element(t.column("pixel_3_3")) == 16);
  CHECK(took.count() < 1000);  // a few in fact; this runs on busy machines, without optimisation and under sanitizers
}
