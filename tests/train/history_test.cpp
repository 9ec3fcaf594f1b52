#include "espalier/train/history.hpp"

#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "espalier/autograd/node.hpp"
#include "espalier/data/csv.hpp"
#include "espalier/io/checkpoint.hpp"
#include "io/scratch.hpp"
#include "support/catch.hpp"

using namespace espalier;

namespace {

using Doubles = std::vector<double>;
using Names = std::vector<std::string>;
const double nan_value = std::numeric_limits<double>::quiet_NaN();

Doubles list(std::span<const double> values) { return {values.begin(), values.end()}; }
History run() {
  History history({"epoch", "train/digit/loss", "validation/digit/loss"});
  history.append(Doubles{1, 2.5, nan_value});
  history.append(Doubles{2, 0.125, 0.75});
  history.append(Doubles{3, 0.0625, 0.875});
  return history;
}

/// A record whose text is not checked.
struct Damaged {
  std::string csv;
  void fields(auto&& visit) { visit("csv", csv); }
};

}  // namespace

TEST_CASE("rows are appended, columns are read", "[fast]") {
  const History history = run();
  CHECK(history.rows() == 3);
  CHECK(Names(history.columns().begin(), history.columns().end()) ==
        Names{"epoch", "train/digit/loss", "validation/digit/loss"});
  CHECK(list(history["epoch"]) == Doubles{1, 2, 3});
  CHECK(list(history["train/digit/loss"]) == Doubles{2.5, 0.125, 0.0625});
  CHECK(std::isnan(history["validation/digit/loss"][0]));
  CHECK(history.has("epoch"));
  CHECK_FALSE(history.has("lr"));
  CHECK(History({"a"})["a"].empty());
  CHECK(History().rows() == 0);
}

TEST_CASE("the best row", "[fast]") {
  History history({"x", "none"});
  for (const double x : {nan_value, 2.0, 5.0, 1.0, 5.0, 1.0, nan_value}) history.append(Doubles{x, nan_value});
  CHECK(history.best("x", true) == 2);
  CHECK(history.best("x", false) == 3);
  history.append(Doubles{std::numeric_limits<double>::infinity(), nan_value});
  CHECK(history.best("x", true) == 7);
  CHECK(history.best("x", false) == 3);
  REQUIRE_THROWS_WITH(history.best("none", true),
                      "History: no row of column 'none' has a number (8 rows); there is no best one");
  REQUIRE_THROWS_WITH(history.best("y", true), "History: unknown column 'y'; known: x, none");
}

TEST_CASE("CSV", "[fast]") {
  CHECK(run().csv() == "epoch,train/digit/loss,validation/digit/loss\n1,2.5,\n2,0.125,0.75\n3,0.0625,0.875\n");
  History odd({"a,b", "say \"x\"", "plain"});
  odd.append(Doubles{-0.0, 1e-7, std::numeric_limits<double>::infinity()});
  CHECK(odd.csv() == "\"a,b\",\"say \"\"x\"\"\",plain\n-0,1e-07,inf\n");
  CHECK(parse_csv(odd.csv(), {.missing = {"inf", "-inf"}}).missing("plain") == 1);  // a table has finite numbers
  CHECK(History({"a"}).csv() == "a\n");
  CHECK(History().csv().empty());
}

TEST_CASE("what is saved as CSV is read back bit for bit", "[fast]") {
  const Scratch scratch;
  Rng rng(4);
  for (int round = 0; round < 20; ++round) {
    const Draws draw = rng.next();
    std::uint64_t at = 0;
    Names names;
    const std::string letters = "ab/,\"; \u00fc.";
    for (Index c = 1 + draw.below(5, at++); c > 0; --c) {
      std::string name = round == 0 ? "\xEF\xBB\xBF" : "";
      for (Index n = draw.below(6, at++); n > 0; --n)
        name += letters.substr(static_cast<std::size_t>(draw.below(7, at++)), 1);
      names.push_back(name + std::to_string(c));
    }
    History history(names);
    const Index rows = draw.below(50, at++);
    for (Index r = 0; r < rows; ++r) {
      Doubles row;
      for (std::size_t c = 0; c < names.size(); ++c)
        row.push_back(draw.below(4, at++) == 0
                          ? nan_value
                          : std::ldexp(draw.normal(at), static_cast<int>(draw.below(2000, at + 1)) - 1000)),
            at += 2;
      history.append(row);
    }
    history.save_csv(scratch("run.csv"));
    const Table table = read_csv(scratch("run.csv"));
    REQUIRE(table.names() == names);
    REQUIRE(table.rows() == rows);
    for (const std::string& name : names) {
      const Tensor<bool> present = table.present({name});
      for (std::size_t r = 0; r < static_cast<std::size_t>(rows); ++r) {
        const double was = history[name][r];
        REQUIRE(present.values()[r] == !std::isnan(was));
        if (!std::isnan(was))
          REQUIRE(std::bit_cast<std::uint64_t>(table.column(name)[r]) == std::bit_cast<std::uint64_t>(was));
      }
    }
  }
}

TEST_CASE("the table for people", "[fast]") {
  CHECK(run().text() ==
        "        train  validation\n"
        "        digit       digit\n"
        "epoch    loss        loss\n"
        "    1  2.5000           -\n"
        "    2  0.1250       0.750\n"
        "    3  0.0625       0.875\n");
  CHECK(run().text(1) ==
        "        train  validation\n"
        "        digit       digit\n"
        "epoch    loss        loss\n"
        "  ...\n"
        "    3  0.0625       0.875\n");
  CHECK(History({"lr", "\u65e5\u672c/x"}).text() ==
        "    \u65e5\u672c\n"
        "lr     x\n");
  History odd({"lr"});
  odd.append(Doubles{1e-5});
  odd.append(Doubles{0.5});
  odd.append(Doubles{-std::numeric_limits<double>::infinity()});
  CHECK(odd.text() == "  lr\n1e-5\n 0.5\n-inf\n");
  CHECK(odd.text(-3) == " lr\n...\n");
  CHECK(History().text().empty());
}

TEST_CASE("a copy has its own numbers", "[fast]") {
  History a = run();
  History b = a;
  a.append(Doubles{4, 1, 1});
  b.append(Doubles{4, 7, 7});
  CHECK(list(a["train/digit/loss"]) == Doubles{2.5, 0.125, 0.0625, 1});
  CHECK(list(b["train/digit/loss"]) == Doubles{2.5, 0.125, 0.0625, 7});
  b = a;
  a = History({"x"});
  CHECK(list(b["train/digit/loss"]) == Doubles{2.5, 0.125, 0.0625, 1});
  const History c = std::move(b);
  CHECK(c.rows() == 4);
  CHECK(History(History()).columns().empty());
}

TEST_CASE("a checkpoint holds the record, however long", "[fast]") {
  const Scratch scratch;
  History saved = run();
  saved.append(Doubles{4, std::numeric_limits<double>::infinity(), -0.0});
  saved.append(Doubles{0.1, 1e-310, nan_value});
  save(scratch("h"), {{"history", saved}});
  History loaded({"epoch", "train/digit/loss", "validation/digit/loss"});
  loaded.append(Doubles{9, 9, 9});
  load(scratch("h"), {{"history", loaded}});
  CHECK(loaded.rows() == 5);
  CHECK(loaded.csv() == saved.csv());
  CHECK(list(loaded["train/digit/loss"]) == list(saved["train/digit/loss"]));
  CHECK(std::signbit(loaded["validation/digit/loss"][3]));
  loaded.append(Doubles{4, 1, 2});
  CHECK(loaded.rows() == 6);

  History other({"epoch", "train/ink/loss"});
  other.append(Doubles{1, 2});
  REQUIRE_THROWS_WITH(load(scratch("h"), {{"history", other}}),
                      "History: the record has the columns epoch,train/digit/loss,validation/digit/loss; here they are epoch, "
                      "train/ink/loss");
  CHECK(list(other["epoch"]) == Doubles{1});
}

TEST_CASE("a damaged record is refused, and what was there stays", "[fast]") {
  const Scratch scratch;
  for (const char* rows : {"1,2\n3", "1,2\n3\n", "1,2\n3,4,5\n", "1,2\nx,4\n", "1,2\n3,4"}) {
    Damaged damaged{std::string("a,b\n") + rows};
    save(scratch("h"), {{"history", damaged}});
    History history({"a", "b"});
    history.append(Doubles{7, 8});
    INFO(rows);
    REQUIRE_THROWS_WITH(load(scratch("h"), {{"history", history}}), "History: row 1 of the record is not 2 numbers");
    CHECK(list(history["b"]) == Doubles{8});
  }
}

TEST_CASE("records that cannot be are refused", "[fast]") {
  REQUIRE_THROWS_WITH(History(Names{}), "History: there are no columns; a record has at least one");
  REQUIRE_THROWS_WITH(History({"a", ""}), "History: column 1 has no name; each needs one");
  REQUIRE_THROWS_WITH(History({"a\n"}),
                      "History: column \"a\\x0A\" has a control character in its name; it must have none");
  REQUIRE_THROWS_WITH(History({"a", "b", "a"}), "History: column 'a' appears twice; names must differ");
  History history = run();
  REQUIRE_THROWS_WITH(history.append(Doubles{1, 2}),
                      "History: the row has 2 numbers; there must be one for each of the 3 columns: epoch, "
                      "train/digit/loss, validation/digit/loss");
  REQUIRE_THROWS_WITH(history["loss"],
                      "History: unknown column 'loss'; known: epoch, train/digit/loss, validation/digit/loss");
  REQUIRE_THROWS_WITH(History()["loss"], "History: unknown column 'loss'; known: none");
  Names many;
  std::string first;
  for (int i = 0; i < 25; ++i) {
    many.push_back("c" + std::to_string(i));
    if (i < 20) first += (i ? ", c" : "c") + std::to_string(i);
  }
  REQUIRE_THROWS_WITH(History(many)["x"], "History: unknown column 'x'; known: " + first + ", ... (25 columns)");
}
