#include "espalier/io/checkpoint.hpp"

#include <bit>
#include <cstdio>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "espalier/nn/sequential.hpp"
#include "io/scratch.hpp"
#include "support/catch.hpp"

using namespace espalier;

namespace {

struct TwoHeads {
  Linear<float> digit, ink;
  explicit TwoHeads(Rng& rng) : digit(4, 3, rng), ink(4, 1, rng) {}
  void fields(auto&& visit) {
    visit("digit", digit);
    visit("ink", ink);
  }
};

struct Net {
  Sequential<float> trunk;
  TwoHeads heads;
  explicit Net(Rng& rng) : trunk(Linear(2, 4, rng), Linear(4, 4, rng, {.bias = false})), heads(rng) {}
  void fields(auto&& visit) {
    visit("trunk", trunk);
    visit("heads", heads);
  }
};

/// One field of each kind; the lists and the missing ones included.
struct AllKinds {
  double best = 0.5;
  Index epoch = 3;
  std::uint64_t draws = ~std::uint64_t{0};
  bool done = true;
  Tensor<double> curve{{2, 2}, {1, -0.0, 1e-310, 4}};
  Tensor<Index> order{{3}, {2, 0, std::numeric_limits<Index>::min()}};
  Tensor<bool> seen{{2}, {true, false}};
  Tensor<float> nothing, none = Tensor<float>::zeros({0, 4});
  std::vector<double> history{1, 2, 3};
  std::optional<double> limit;
  void fields(auto&& visit) {
    visit("best", best);
    visit("epoch", epoch);
    visit("draws", draws);
    visit("done", done);
    visit("curve", curve);
    visit("order", order);
    visit("seen", seen);
    visit("nothing", nothing);
    visit("none", none);
    visit("history", history);
    visit("limit", limit);
  }
};

/// All values of an object, bit for bit.
template <class Object>
std::string bits(Object& object) {
  const State state{{"object", object}};
  std::string all;
  for (const detail::StoredField& field : detail::read_fields("test", state.items()))
    all += field.name + '=' + std::string(reinterpret_cast<const char*>(field.bytes().data()), field.size) + '\n';
  return all;
}

std::string names_in(const std::string& path) {
  const SafetensorsFile file = SafetensorsFile::read(path);
  return listing(file.records(), [](const TensorRecord& r) { return r.name; });
}

TensorRecord record(const std::string& name, const Shape& shape, const std::vector<float>& values) {
  return {name, Dtype::f32, shape, std::as_bytes(std::span(values))};
}

/// What `call` throws.
template <class Call>
std::string error_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("checkpoint: a whole run comes back bit for bit", "[fast]") {
  const Scratch scratch;
  const std::string path = scratch("run.safetensors");
  Rng rng(7);
  Net model(rng);
  AllKinds progress;
  save(path, {{"model", model}, {"progress", progress}, {"rng", rng}});

  Rng other_rng(8, 2);
  Net other(other_rng);
  AllKinds other_progress;
  other_progress.best = 9;
  other_progress.epoch = 9;
  other_progress.draws = 9;
  other_progress.done = false;
  other_progress.curve.mutate()[1] = 9;
  other_progress.order.mutate()[2] = 9;
  other_progress.seen.mutate()[0] = false;
  other_progress.history = {0, 0, 0};
  REQUIRE(bits(other) != bits(model));
  State state{{"model", other}, {"progress", other_progress}, {"rng", other_rng}};
  load(path, state);
  REQUIRE(bits(other) == bits(model));
  REQUIRE(bits(other_progress) == bits(progress));
  REQUIRE(bits(other_rng) == bits(rng));
  REQUIRE(other_rng.next().bits(0) == rng.next().bits(0));
}

TEST_CASE("checkpoint: a file has the names and types of the fields", "[fast]") {
  const Scratch scratch;
  Rng rng(1);
  const Net model(rng);
  const AllKinds progress{};
  double lr = 0.1;
  save(scratch("run"), {{"model", model}, {"at", progress}, {"lr", lr}});  // const will do
  REQUIRE(names_in(scratch("run")) ==
          "at.draws, at.epoch, at.order, at.best, at.curve, at.history.0, at.history.1, at.history.2, lr, at.none, "
          "model.heads.digit.bias, model.heads.digit.weight, model.heads.ink.bias, model.heads.ink.weight, "
          "model.trunk.0.bias, model.trunk.0.weight, model.trunk.1.weight, at.done, at.seen");
  const SafetensorsFile file = SafetensorsFile::read(scratch("run"));
  REQUIRE(file.find("at.draws")->dtype == Dtype::u64);
  REQUIRE(file.find("at.epoch")->dtype == Dtype::i64);
  REQUIRE(file.find("at.best")->dtype == Dtype::f64);
  REQUIRE(file.find("at.done")->dtype == Dtype::boolean);
  REQUIRE(file.find("at.done")->shape == Shape{});
  REQUIRE(file.find("model.trunk.0.weight")->shape == Shape{4, 2});
  REQUIRE(file.metadata() == Metadata{{"espalier.kind", "state"}, {"espalier.kind.version", "1"}});
  save_weights(scratch("weights"), model);
  REQUIRE(names_in(scratch("weights")) ==
          "heads.digit.bias, heads.digit.weight, heads.ink.bias, heads.ink.weight, "
          "trunk.0.bias, trunk.0.weight, trunk.1.weight");
}

TEST_CASE("checkpoint: loading writes where every handle sees it and counts as an update", "[fast]") {
  const Scratch scratch;
  Tensor<float> x({2}, {1, 2});
  save(scratch("x"), {{"x", x}});
  const Tensor<float> handle = x;
  const std::uint32_t version = handle.version();
  x.mutate()[0] = 5;
  load(scratch("x"), {{"x", x}});
  REQUIRE(handle(0) == 1);
  REQUIRE(handle.version() == version + 2);
}

TEST_CASE("checkpoint: NaN, infinities and their bits survive", "[fast]") {
  const Scratch scratch;
  const std::vector<std::uint32_t> patterns{0x7FC00001, 0xFFC12345, 0x7FA00000, 0x7F800000, 0xFF800000, 0x80000000, 1};
  Tensor<float> x = Tensor<float>::empty({7});
  std::memcpy(x.raw(), patterns.data(), 28);
  double number = std::bit_cast<double>(0x7FF8000000000123u);
  save(scratch("x"), {{"x", x}, {"number", number}});
  x.fill(0);
  number = 0;
  load(scratch("x"), {{"x", x}, {"number", number}});
  REQUIRE(std::memcmp(x.data(), patterns.data(), 28) == 0);
  REQUIRE(std::bit_cast<std::uint64_t>(number) == 0x7FF8000000000123u);
}

TEST_CASE("checkpoint: all differences are listed and nothing changes", "[fast]") {
  const Scratch scratch;
  const std::string path = scratch("run");
  Rng rng(1);
  struct Saved {
    Tensor<float> first = Tensor<float>::ones({3}), weight = Tensor<float>::ones({10, 20}), gone = first;
    Tensor<double> precise = Tensor<double>::ones({2});
    Index count = 4;
    Tensor<float> filled = first;
    void fields(Visitor& visit) {
      visit("first", first);
      visit("weight", weight);
      visit("gone", gone);
      visit("precise", precise);
      visit("count", count);
      visit("filled", filled);
    }
  } saved;
  struct Here {
    Tensor<float> first = Tensor<float>::zeros({3}), weight = Tensor<float>::zeros({20, 10});
    Tensor<float> fresh = Tensor<float>::zeros({1}), precise = Tensor<float>::zeros({2});
    double count = 0;
    Tensor<float> filled, nothing;
    void fields(Visitor& visit) {
      visit("first", first);
      visit("weight", weight);
      visit("fresh", fresh);
      visit("precise", precise);
      visit("count", count);
      visit("filled", filled);
      visit("nothing", nothing);
    }
  } here;
  save(path, {{"model", saved}});
  const std::string before = bits(here);
  REQUIRE_THROWS_WITH(
      load(path, {{"model", here}, {"rng", rng}}),
      "load: \"" + path +
          "\" does not fit: missing model.fresh [1] float32; "
          "missing rng.seed [] uint64; missing rng.stream [] uint64; missing rng.step [] uint64; extra model.gone; "
          "model.weight is [10, 20] float32 in the file, [20, 10] float32 here; "
          "model.precise is [2] float64 in the file, [2] float32 here; "
          "model.count is [] int64 in the file, [] float64 here; "
          "model.filled is [3] float32 in the file, undefined here");
  REQUIRE(bits(here) == before);
  REQUIRE_THROWS_AS(load(path, {{"model", here}}), FileError);
}

TEST_CASE("checkpoint: a difference in the last tensor changes nothing", "[fast]") {
  const Scratch scratch;
  Rng rng(1), rng2(2);
  Tensor<float> last = Tensor<float>::ones({2, 3});
  Net model(rng), other(rng2);
  save(scratch("run"), {{"model", model}, {"last", last}});
  last = Tensor<float>::zeros({3, 2});
  const std::string before = bits(other);
  REQUIRE_THROWS_WITH(
      load(scratch("run"), {{"model", other}, {"last", last}}),
      "load: \"" + scratch("run") + "\" does not fit: last is [2, 3] float32 in the file, [3, 2] float32 here");
  REQUIRE(bits(other) == before);
  REQUIRE(last(0, 0) == 0);
}

TEST_CASE("checkpoint: many differences are cut after twenty", "[fast]") {
  const Scratch scratch;
  std::vector<double> many(50), fewer(5);
  Tensor<float> x = Tensor<float>::ones({1});
  save(scratch("run"), {{"many", many}});
  std::string expected = "load: \"" + scratch("run") + "\" does not fit: missing x [1] float32";
  for (int i : {10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28})
    expected += "; extra many." + std::to_string(i);
  const std::string error = error_of([&] { load(scratch("run"), {{"many", fewer}, {"x", x}}); });
  REQUIRE(error == expected + "; ... and 26 more");
}

TEST_CASE("checkpoint: some items of a file are loaded when that is asked for", "[fast]") {
  const Scratch scratch;
  const std::string path = scratch("run");
  Rng rng(1), rng2(2);
  Net model(rng), other(rng2);
  Index epoch = 7;
  Tensor<float> model2 = Tensor<float>::ones({2});  // begins as "model" does
  save(path, {{"model", model}, {"model2", model2}, {"epoch", epoch}});
  const std::string wanted = bits(model), before = bits(other);
  REQUIRE_THROWS_WITH(load(path, {{"model", other}}),
                      "load: \"" + path + "\" does not fit: extra epoch; extra model2");
  REQUIRE(bits(other) == before);
  load(path, {{"model", other}}, {.partial = true});
  CHECK(bits(other) == wanted);

  // What is asked for is there as a whole, and nothing else of it.
  struct Half {
    Linear<float> digit;
    void fields(Visitor& visit) { visit("digit", digit); }
  } half{Linear<float>(4, 3, rng)};
  save(path, {{"heads", model.heads}, {"epoch", epoch}});
  const std::string half_before = bits(half);
  CHECK_THROWS_WITH(load(path, {{"heads", half}}, {.partial = true}),
                    "load: \"" + path + "\" does not fit: extra heads.ink.bias; extra heads.ink.weight");
  CHECK_THROWS_WITH(load(path, {{"epoch", epoch}, {"step", epoch}}, {.partial = true}),
                    "load: \"" + path + "\" does not fit: missing step [] int64");
  CHECK(bits(half) == half_before);
}

TEST_CASE("checkpoint: equal shapes under other names do not fit", "[fast]") {
  const Scratch scratch;
  Rng rng(1);
  TwoHeads model(rng);
  struct Renamed {
    TwoHeads heads;
    void fields(Visitor& visit) {
      visit("digit", heads.digit);
      visit("paint", heads.ink);
    }
  } renamed{model};
  save_weights(scratch("w"), model);
  REQUIRE_THROWS_WITH(load_weights(scratch("w"), renamed),
                      "load_weights: \"" + scratch("w") +
                          "\" does not fit: missing paint.weight [1, 4] float32; missing paint.bias [1] float32; "
                          "extra ink.bias; extra ink.weight");
}

TEST_CASE("checkpoint: an object that refuses what it is given leaves all as it was", "[fast]") {
  struct Counter {
    Tensor<float> before = Tensor<float>::zeros({2});
    Index count = 1;
    Index lowest = 0;
    void fields(Visitor& visit) {
      visit("before", before);
      Index shown = count;  // a temporary: what is loaded has to arrive during the visit
      visit("count", shown);
      if (shown < lowest) fail("Counter: count is ", shown, "; it must be at least ", lowest);
      count = shown;
    }
  };
  const Scratch scratch;
  Counter low;
  low.count = 7;
  low.before.fill(5);
  save(scratch("c"), {{"low", low}});
  Counter high;
  high.count = 12;
  high.lowest = 10;
  high.before.fill(-1);
  const std::string before = bits(high);
  REQUIRE_THROWS_WITH(load(scratch("c"), {{"low", high}}), "Counter: count is 7; it must be at least 10");
  REQUIRE(bits(high) == before);
  high.lowest = 0;
  load(scratch("c"), {{"low", high}});
  REQUIRE(high.count == 7);
  REQUIRE(high.before(1) == 5);
}

TEST_CASE("checkpoint: fields that depend on values are found out, and undone", "[fast]") {
  struct Bad {
    Tensor<float> x = Tensor<float>::zeros({1});
    bool more = false;
    double late = 0;
    void fields(Visitor& visit) {
      visit("x", x);
      visit("more", more);
      visit(more ? "late" : "early", late);
    }
  } bad;
  const Scratch scratch;
  const std::vector<float> one{1};
  const TensorRecord records[] = {record("bad.x", {1}, one),
                                  {"bad.more", Dtype::boolean, {}, bytes_of("\1")},
                                  {"bad.early", Dtype::f64, {}, bytes_of("12345678")}};
  write_safetensors(scratch("b"), records, {{"espalier.kind", "state"}, {"espalier.kind.version", "1"}});
  const std::string before = bits(bad);
  REQUIRE_THROWS_WITH(load(scratch("b"), {{"bad", bad}}),
                      "load: field bad.late came or went during loading; "
                      "which fields there are must not depend on values");
  REQUIRE(bits(bad) == before);
}

TEST_CASE("checkpoint: tied tensors are written under each name", "[fast]") {
  struct Tied {
    Tensor<float> embed = Tensor<float>::ones({2}), head = embed;
    void fields(Visitor& visit) {
      visit("embed", embed);
      visit("head", head);
    }
  } tied;
  const Scratch scratch;
  const std::string path = scratch("w");
  save_weights(path, tied);
  REQUIRE(names_in(path) == "embed, head");
  tied.head.fill(3);
  load_weights(path, tied);
  REQUIRE(tied.embed(0) == 1);
  const std::vector<float> one{1, 2}, two{1, 3};
  write_safetensors(path, std::vector{record("embed", {2}, one), record("head", {2}, two)});
  REQUIRE_THROWS_WITH(load_weights(path, tied),
                      "load_weights: \"" + path + "\" does not fit: head is tied to embed here, but not in the file");
  write_safetensors(path, std::vector{record("head", {2}, two)});  // as Python's writers do
  load_weights(path, tied);
  REQUIRE(tied.embed(1) == 3);
  Tensor<float> head = tied.head;
  save(path, {{"head", head}});
  Tensor<float> again = head;
  REQUIRE_THROWS_WITH(load(path, {{"head", head}, {"again", again}}),
                      "load: \"" + path + "\" does not fit: missing again [2] float32");
}

TEST_CASE("checkpoint: borrowed memory is saved, and refused before anything is written", "[fast]") {
  const Scratch scratch;
  const std::vector<float> values{1, 2};
  Tensor<float> own = Tensor<float>::zeros({1}), view = Tensor<float>::from_span({2}, values);
  save(scratch("v"), {{"own", own}, {"view", view}});
  own.fill(4);
  REQUIRE_THROWS_WITH(
      load(scratch("v"), {{"own", own}, {"view", view}}),
      "load: \"" + scratch("v") + "\" does not fit: view is borrowed memory here, which cannot be written");
  REQUIRE(own(0) == 4);
}

TEST_CASE("checkpoint: files of another kind or version are refused", "[fast]") {
  const Scratch scratch;
  const std::string path = scratch("f");
  Tensor<float> x = Tensor<float>::ones({1});
  const std::vector<float> one{1};
  const State state{{"x", x}};
  struct Model {
    Tensor<float> x;
    void fields(Visitor& visit) { visit("x", x); }
  } model{x};
  const auto with = [&](const Metadata& metadata) {
    write_safetensors(path, std::vector{record("x", {1}, one)}, metadata);
  };
  save_weights(path, model);
  REQUIRE_THROWS_WITH(load(path, state),
                      "load: \"" + path + "\" holds \"weights\"; load reads \"state\"; try load_weights");
  with({});
  REQUIRE_THROWS_WITH(load(path, state), "load: \"" + path +
                                             "\" holds tensors of another program; "
                                             "load reads \"state\"; try load_weights");
  save(path, state);
  REQUIRE_THROWS_WITH(load_weights(path, model),
                      "load_weights: \"" + path + "\" holds \"state\"; load_weights reads \"weights\"; try load");
  with({{"espalier.kind", "soup"}});
  REQUIRE_THROWS_WITH(load(path, state), "load: \"" + path + "\" holds \"soup\"; load reads \"state\"");
  with({{"espalier.kind", "state"}, {"espalier.kind.version", "2"}});
  REQUIRE_THROWS_WITH(load(path, state), "load: \"" + path + "\" is of version \"2\"; this program reads version 1");
  with({{"espalier.kind", "weights"}, {"espalier.kind.version", "2"}});
  REQUIRE_THROWS_WITH(load_weights(path, model),
                      "load_weights: \"" + path + "\" is of version \"2\"; this program reads version 1");
}

TEST_CASE("checkpoint: weights of another program are read, with or without their metadata", "[fast]") {
  const Scratch scratch;
  Rng rng(1);
  Linear<float> layer(2, 1, rng);
  const std::vector<float> weight{1, 2}, bias{3};
  write_safetensors(scratch("w"), std::vector{record("weight", {1, 2}, weight), record("bias", {1}, bias)},
                    {{"format", "pt"}}, {.checksums = false});
  load_weights(scratch("w"), layer);
  REQUIRE(layer.weight(0, 1) == 2);
  REQUIRE(layer.bias(0) == 3);
}

TEST_CASE("checkpoint: a failed save leaves the old file and no other", "[fast]") {
  const Scratch scratch;
  const std::string path = scratch("run");
  Tensor<float> x = Tensor<float>::ones({1});
  const State state{{"x", x}};
  save(path, state);
  const std::string old = read_file(path, 1 << 20);
  Tensor<float> y = Tensor<float>::ones({1});
  REQUIRE_THROWS_WITH(save(path, {{"a..b", x}, {"y", y}}), "write_safetensors: tensor \"a..b\": the name holds '..'");
  REQUIRE_THROWS_AS(save(scratch("no/such/run"), state), FileError);
  REQUIRE(read_file(path, 1 << 20) == old);
  REQUIRE(scratch.files() == 1);
  x.fill(2);
  save(path, state);  // over the old one
  x.fill(0);
  load(path, state);
  REQUIRE(x(0) == 2);
}

TEST_CASE("checkpoint: every flipped bit and every cut of a file is found, and changes nothing", "[fast]") {
  const Scratch scratch;
  Tensor<float> x({2}, {1, 2});
  Index count = 3;
  const State state{{"x", x}, {"count", count}};
  save(scratch("good"), state);
  const std::string good = read_file(scratch("good"), 1 << 20);
  x.fill(7);
  count = 7;
  int accepted = 0;
  const auto attempt = [&](const std::string& bytes) {
    {
      FILE* file = std::fopen(scratch("bad").c_str(), "wb");
      std::fwrite(bytes.data(), 1, bytes.size(), file);
      std::fclose(file);
    }
    try {
      load(scratch("bad"), state);
      ++accepted;
    } catch (const FileError&) {
    }
  };
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::string bytes = good;
    bytes[i] = static_cast<char>(bytes[i] ^ (1 << (i % 8)));
    attempt(bytes);
    attempt(good.substr(0, i));
  }
  REQUIRE(accepted == 0);
  REQUIRE(x(0) == 7);
  REQUIRE(count == 7);
}

TEST_CASE("checkpoint: names of a state must differ", "[fast]") {
  Tensor<float> x = Tensor<float>::ones({1});
  const Tensor<float> fixed = x;
  std::vector<double> list{1};
  double number = 1;
  const Scratch scratch;
  REQUIRE_THROWS_WITH((State{{"x", x}, {"x", x}}), "State: 'x' appears twice; names must differ");
  REQUIRE_THROWS_WITH((State{{"x", x}, {"", x}}), "State: item 1 has no name; each needs one");
  REQUIRE_THROWS_WITH(save(scratch("s"), {{"list", list}, {"list.0", number}}),
                      "save: two fields are called list.0; names must differ");
  REQUIRE_THROWS_WITH(load(scratch("s"), {{"x", fixed}}), "load: 'x' is const; it can be saved, not loaded");
}

TEST_CASE("checkpoint: a program's metadata is read without the rest of the file", "[fast]") {
  const Scratch scratch;
  const std::string path = scratch("run");
  Rng rng(1);
  Linear<float> layer(2, 1, rng);
  const Metadata own{{"", "empty"}, {"recipe", "wide \"and\" deep\n"}, {"width", "64"}};
  save(path, {{"layer", layer}}, {.metadata = own});
  CHECK(read_metadata(path) == own);
  CHECK(*read_metadata(path).find("width") == "64");
  load(path, {{"layer", layer}});
  save(path, {{"layer", layer}}, {.metadata = {{"recipe", "plain"}}});
  CHECK(read_metadata(path) == Metadata{{"recipe", "plain"}});
  save(path, {{"layer", layer}});
  CHECK(read_metadata(path).empty());
  save_weights(path, layer, {.metadata = own});
  CHECK(read_metadata(path) == own);
  const SafetensorsFile whole = SafetensorsFile::read(path);
  CHECK(*whole.metadata().find("format") == "pt");
  load_weights(path, layer);
  write_safetensors(path, {}, {{"format", "pt"}, {"by", "another"}}, {.checksums = false});
  CHECK(read_metadata(path) == Metadata{{"by", "another"}, {"format", "pt"}});
}

TEST_CASE("checkpoint: reserved metadata is refused, damaged files and missing ones too", "[fast]") {
  const Scratch scratch;
  const std::string path = scratch("run");
  Tensor<float> x = Tensor<float>::ones({4});
  struct Model {
    Tensor<float> x;
    void fields(Visitor& visit) { visit("x", x); }
  } model{x};
  for (const std::string key : {"espalier.", "espalier.kind", "espalier.mine"}) {
    REQUIRE_THROWS_WITH(save(path, {{"x", x}}, {.metadata = {{key, "1"}}}),
                        "save: metadata key \"" + key + "\" is reserved; a program's keys do not begin with \"espalier.\"");
    REQUIRE_THROWS_WITH(
        save_weights(path, model, {.metadata = {{key, "1"}}}),
        "save_weights: metadata key \"" + key + "\" is reserved; a program's keys do not begin with \"espalier.\"");
  }
  REQUIRE_THROWS_WITH(save_weights(path, model, {.metadata = {{"format", "pt"}}}),
                      "save_weights: metadata key \"format\" is reserved; weights say there \"pt\", for Python's loaders");
  REQUIRE_THROWS_WITH(save(path, {{"x", x}}, {.metadata = {{"a", "\xFF"}}}),
                      "write_safetensors: metadata \"a\" is not valid UTF-8");
  CHECK(scratch.files() == 0);
  REQUIRE_THROWS_AS(read_metadata(path), FileError);
  save(path, {{"x", x}}, {.metadata = {{"format", "mine"}, {"espalier", "no dot"}}});
  CHECK(read_metadata(path) == Metadata{{"espalier", "no dot"}, {"format", "mine"}});

  const std::string good = read_file(path, 1 << 20);
  const std::size_t at = good.find("no dot");
  std::string bad = good;
  bad[at] = 'N';
  replace_file(path, bad);
  REQUIRE_THROWS_AS(read_metadata(path), FileError);  // the header has a checksum
  bad = good;
  bad.back() = static_cast<char>(bad.back() ^ 1);
  replace_file(path, bad);
  CHECK(read_metadata(path).size() == 2);  // the data is not looked at
  REQUIRE_THROWS_AS(load(path, {{"x", x}}), FileError);
}
