#include "espalier/io/checkpoint_fields.hpp"

#include <string>
#include <vector>

#include "espalier/io/checkpoint.hpp"
#include "io/scratch.hpp"
#include "support/catch.hpp"

using namespace espalier;
using namespace std::string_literals;

namespace {

using Texts = std::vector<std::string>;

/// Whatever bytes there are.
std::string some_text(const Draws& draw, std::uint64_t from, Index longest) {
  std::string text;
  for (Index n = draw.below(longest + 1, from); n > 0; --n)
    text += static_cast<char>(static_cast<unsigned char>(draw.below(256, from + static_cast<std::uint64_t>(n))));
  return text;
}

struct Notes {
  std::string title = "oak";
  Tensor<float> weight = Tensor<float>::ones({2});
  Texts names{"red", "", "a,b"};
  std::vector<Texts> lists{{"x"}, {}};
  void fields(auto&& visit) {
    visit("title", title);
    visit("weight", weight);
    visit("names", names);
    visit("lists", lists);
  }
};

}  // namespace

TEST_CASE("texts are packed as netstrings", "[fast]") {
  Texts back;
  CHECK(detail::pack_texts({}).empty());
  CHECK(detail::pack_texts({"red", "", "a,b"}) == "3:red,0:,3:a,b,");
  CHECK(detail::unpack_texts("3:red,0:,3:a,b,", back));
  CHECK(back == Texts{"red", "", "a,b"});
  CHECK(detail::unpack_texts("", back));
  CHECK(back.empty());
  Rng rng(3);
  for (int round = 0; round < 300; ++round) {
    const Draws draw = rng.next();
    Texts texts;
    for (Index n = draw.below(5, 0); n > 0; --n)
      texts.push_back(some_text(draw, 1000 * static_cast<std::uint64_t>(n), 120));
    REQUIRE(detail::unpack_texts(detail::pack_texts(texts), back));
    REQUIRE(back == texts);
  }
}

TEST_CASE("a text has one spelling as netstrings, and all else is none", "[fast]") {
  Texts back;
  for (const std::string& bad :
       {"x"s, "3"s, "3:"s, "3:re"s, "3:red"s, "3:red;"s, "3:redd,"s, ":,"s, "03:red,"s, "00:,"s, "-1:,"s, " 1:a,"s,
        "1 :a,"s, "3:red,x"s, "3:red,,"s, "18446744073709551616:,"s, "18446744073709551615:a,"s,
        "99999999999999999999999:a,"s, ","s}) {
    CAPTURE(bad);
    CHECK_FALSE(detail::unpack_texts(bad, back));
  }
  Rng rng(4);
  const std::string letters = "0123:,a";
  int good = 0;
  for (int round = 0; round < 20000; ++round) {
    const Draws draw = rng.next();
    std::string text;
    for (Index n = draw.below(9, 0); n > 0; --n)
      text += letters[static_cast<std::size_t>(draw.below(Index(letters.size()), static_cast<std::uint64_t>(n)))];
    if (!detail::unpack_texts(text, back)) continue;
    REQUIRE(detail::pack_texts(back) == text);
    ++good;
  }
  CHECK(good > 100);
}

TEST_CASE("texts come back from a file, whatever length they had before", "[fast]") {
  const Scratch scratch;
  Rng rng(5);
  for (int round = 0; round < 30; ++round) {
    const Draws draw = rng.next();
    Notes saved, loaded;
    saved.title = some_text(draw, 0, 6);
    saved.names.clear();
    for (Index n = draw.below(4, 100); n > 0; --n)
      saved.names.push_back(some_text(draw, 100 * static_cast<std::uint64_t>(n), 9));
    saved.lists[1] = saved.names;
    saved.weight.fill(static_cast<float>(round));
    std::string own = some_text(draw, 5000, 3), other = "before";
    save(scratch("s"), {{"notes", saved}, {"own", own}});
    load(scratch("s"), {{"notes", loaded}, {"own", other}});
    REQUIRE(loaded.title == saved.title);
    REQUIRE(loaded.names == saved.names);
    REQUIRE(loaded.lists == saved.lists);
    REQUIRE(loaded.weight(1) == static_cast<float>(round));
    REQUIRE(other == own);
  }
}

TEST_CASE("an empty text is a value, also where a file holds nothing else", "[fast]") {
  const Scratch scratch;
  std::string none;
  Texts no_list;
  save(scratch("s"), {{"text", none}, {"list", no_list}});
  std::string text = "before";
  Texts list{"before"};
  load(scratch("s"), {{"text", text}, {"list", list}});
  CHECK(text.empty());
  CHECK(list.empty());
  Index refuses = 0;
  struct Picky {
    std::string& text;
    Index& refuses;
    void fields(Visitor& visit) {
      visit("text", text);
      if (refuses && !text.empty()) fail("Picky: '", text, "'");
    }
  } picky{text, refuses};
  none = "new";
  const Picky saved{none, refuses};
  save(scratch("s"), {{"p", saved}});
  refuses = 1;
  REQUIRE_THROWS_WITH(load(scratch("s"), {{"p", picky}}), "Picky: 'new'");
  CHECK(text.empty());
}

TEST_CASE("texts are U8 tensors of their bytes", "[fast]") {
  const Scratch scratch;
  const Notes notes;
  save(scratch("s"), {{"notes", notes}});
  const SafetensorsFile file = SafetensorsFile::read(scratch("s"));
  const auto text = [&](const std::string& name) {
    const TensorRecord* record = file.find(name);
    REQUIRE(record);
    CHECK(record->dtype == Dtype::u8);
    CHECK(record->shape == Shape{static_cast<Index>(record->bytes.size())});
    return std::string(reinterpret_cast<const char*>(record->bytes.data()), record->bytes.size());
  };
  CHECK(text("notes.title") == "oak");
  CHECK(text("notes.names") == "3:red,0:,3:a,b,");
  CHECK(text("notes.lists.0") == "1:x,");
  CHECK(text("notes.lists.1").empty());
  Notes weights;
  save_weights(scratch("w"), notes);
  weights.title = "";
  load_weights(scratch("w"), weights);
  CHECK(weights.title == "oak");
}

TEST_CASE("texts that do not fit are listed among all differences, and nothing changes", "[fast]") {
  const Scratch scratch;
  struct Saved {
    std::string text = "3:ab", gone = "x";
    Texts list{"a"};
    Tensor<bool> mask = Tensor<bool>::ones({3});
    Index number = 1;
    void fields(Visitor& visit) {
      visit("names", text);
      visit("gone", gone);
      visit("weight", list);
      visit("title", mask);
      visit("lists.1", number);
    }
  } saved;
  Notes here;
  save(scratch("s"), {{"n", saved}});
  REQUIRE_THROWS_WITH(load(scratch("s"), {{"n", here}}),
                      "load: \"" + scratch("s") +
                          "\" does not fit: missing n.lists.0 a list of texts; extra n.gone; "
                          "n.title is [3] bool in the file, text here; n.weight is [4] uint8 in the file, [2] float32 "
                          "here; n.names is text in the file, a list of texts here; "
                          "n.lists.1 is [] int64 in the file, a list of texts here");
  CHECK(here.title == "oak");
  CHECK(here.names == Texts{"red", "", "a,b"});
  struct Fewer {
    Tensor<float> title;
    void fields(Visitor& visit) { visit("title", title); }
  } fewer;
  struct Text {
    std::string title = "x";
    void fields(Visitor& visit) { visit("title", title); }
  } text;
  save(scratch("s"), {{"n", fewer}});
  REQUIRE_THROWS_WITH(load(scratch("s"), {{"n", text}}),
                      "load: \"" + scratch("s") + "\" does not fit: missing n.title text");
}

TEST_CASE("texts are put back when an object refuses what it is given", "[fast]") {
  struct Picky {
    std::string first = "a longer text than any small one", last = "z";
    Texts list{"one", "two"};
    bool refuses = false;
    void fields(Visitor& visit) {
      visit("first", first);
      visit("list", list);
      if (refuses && first.size() < 3) fail("Picky: '", first, "' is too short");
      visit("last", last);
    }
  };
  const Scratch scratch;
  Picky saved, here;
  saved.first = "";
  saved.list = {};
  saved.last = "new";
  save(scratch("s"), {{"p", saved}});
  here.refuses = true;
  REQUIRE_THROWS_WITH(load(scratch("s"), {{"p", here}}), "Picky: '' is too short");
  CHECK(here.first == Picky().first);
  CHECK(here.list == Picky().list);
  CHECK(here.last == "z");
  here.refuses = false;
  load(scratch("s"), {{"p", here}});
  CHECK(here.first.empty());
  CHECK(here.list.empty());
  CHECK(here.last == "new");
}

TEST_CASE("a text that comes or goes during loading is found out", "[fast]") {
  struct Bad {
    bool more = false;
    std::string text = "abc";
    Tensor<bool> mask = Tensor<bool>::ones({3});
    void fields(Visitor& visit) {
      visit("more", more);
      if (more)
        visit("field", mask);  // of as many bytes
      else
        visit("field", text);
    }
  } bad;
  const Scratch scratch;
  const TensorRecord records[] = {{"bad.more", Dtype::boolean, {}, bytes_of("\1")},
                                  {"bad.field", Dtype::u8, {3}, bytes_of("xyz")}};
  write_safetensors(scratch("b"), records, {{"espalier.kind", "state"}, {"espalier.kind.version", "1"}});
  REQUIRE_THROWS_WITH(load(scratch("b"), {{"bad", bad}}),
                      "load: field bad.field came or went during loading; which fields there are must not depend on "
                      "values");
  CHECK_FALSE(bad.more);
  CHECK(bad.text == "abc");
}
