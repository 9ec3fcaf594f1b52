#include "espalier/io/safetensors.hpp"

#include <cstring>
#include <filesystem>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "io/scratch.hpp"
#include "support/catch.hpp"

using namespace espalier;

namespace {

const std::string weights =
    from_hex("0000803f 000000c0 0000c07f 0000807f 00000080 01000000");  // NaN, inf, -0, denormal

std::vector<TensorRecord> small_model() {
  return {{"trunk.0.weight", Dtype::f32, {2, 3}, bytes_of(weights)},
          {"mask", Dtype::boolean, {2}, bytes_of(std::string_view("\0\1", 2))},
          {"steps", Dtype::i64, {}, bytes_of("12345678")},
          {"none", Dtype::f64, {0, 4}, {}},
          {"\xC3\xA9t\xC3\xA9 \"x\"", Dtype::u8, {1}, bytes_of("!")}};
}
const Metadata notes{{"step", "7"}, {"text", "a\n\"\\\xE2\x82\xAC"}};

SafetensorsFile parse(std::string_view file) { return SafetensorsFile::parse(bytes_of(file), "f"); }
std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

TEST_CASE("what is written is read, bit for bit", "[fast]") {
  const Scratch scratch;
  for (const bool checksums : {true, false}) {
    write_safetensors(scratch("m"), small_model(), notes, {.checksums = checksums});
    const SafetensorsFile file = SafetensorsFile::read(scratch("m"));
    CHECK(file.has_checksums() == checksums);
    CHECK(file.metadata() == notes);
    REQUIRE(file.records().size() == small_model().size());
    for (const TensorRecord& wanted : small_model()) {
      const TensorRecord* found = file.find(wanted.name);
      REQUIRE(found != nullptr);
      CHECK(found->name == wanted.name);
      CHECK(found->dtype == wanted.dtype);
      CHECK(found->shape == wanted.shape);
      CHECK(text_of(found->bytes) == text_of(wanted.bytes));
      CHECK(reinterpret_cast<std::uintptr_t>(found->bytes.data()) % static_cast<unsigned>(dtype_size(found->dtype)) ==
            0);
    }
    CHECK(file.find("trunk.0") == nullptr);
    CHECK(file.find("zzz") == nullptr);
    CHECK(file.records()[0].name == "steps");
    CHECK(schema_hash(file.records()) == schema_hash(small_model()));
  }
  CHECK(scratch.files() == 1);
}

TEST_CASE("writing again what was read gives the same bytes", "[fast]") {
  const std::string bytes = safetensors_bytes(small_model(), notes);
  const SafetensorsFile file = parse(bytes);
  CHECK(safetensors_bytes(file.records(), file.metadata()) == bytes);
}

TEST_CASE("a file can be moved", "[fast]") {
  SafetensorsFile first = parse(safetensors_bytes(small_model()));
  const SafetensorsFile second = std::move(first);
  CHECK(text_of(second.find("steps")->bytes) == "12345678");
  static_assert(!std::is_copy_constructible_v<SafetensorsFile>);
}

TEST_CASE("empty files of tensors are files", "[fast]") {
  for (const bool checksums : {true, false}) {
    const SafetensorsFile file = parse(safetensors_bytes({}, notes, {.checksums = checksums}));
    CHECK(file.records().empty());
    CHECK(file.metadata() == notes);
  }
}

// Written by safetensors 0.8.0 for Python: {"b": [[1.5, -2.0]] float16, "a": [7, -1] int64}, metadata {"k": "v"}.
TEST_CASE("a file of the reference writer is read", "[fast]") {
  const std::string file = from_hex(
      "90000000000000007b225f5f6d657461646174615f5f223a7b226b223a2276227d2c2261223a7b226474797065223a22"
      "493634222c227368617065223a5b325d2c22646174615f6f666673657473223a5b302c31365d7d2c2262223a7b226474"
      "797065223a22463136222c227368617065223a5b312c325d2c22646174615f6f666673657473223a5b31362c32305d7d"
      "7d202020202020200700000000000000ffffffffffffffff003e00c0");
  const SafetensorsFile read = parse(file);
  CHECK_FALSE(read.has_checksums());
  CHECK(read.metadata() == Metadata{{"k", "v"}});
  REQUIRE(read.records().size() == 2);
  CHECK(read.find("a")->dtype == Dtype::i64);
  CHECK(text_of(read.find("a")->bytes) == from_hex("0700000000000000 ffffffffffffffff"));
  CHECK(read.find("b")->dtype == Dtype::f16);
  CHECK(read.find("b")->shape == Shape{1, 2});
  CHECK(text_of(read.find("b")->bytes) == from_hex("003e 00c0"));
}

TEST_CASE("a file must start with a possible size of its header", "[fast]") {
  CHECK_THROWS_WITH(parse(""),
                    "f, byte 0: the file ends here; it must start with the eight bytes of the header's size");
  CHECK_THROWS_WITH(parse("1234567"),
                    "f, byte 7: the file ends here; it must start with the eight bytes of the header's size");
  const auto claims = [](const std::string& n) { return from_hex(n) + "{}"; };
  CHECK_THROWS_WITH(parse(claims("0000000000000000")), "f, byte 0: is no safetensors file: its first 8 bytes tell of a header of 0 bytes; 2 to 100000000 are possible");
  CHECK_THROWS_WITH(parse(claims("0100000000000000")), "f, byte 0: is no safetensors file: its first 8 bytes tell of a header of 1 bytes; 2 to 100000000 are possible");
  CHECK_THROWS_WITH(parse(claims("0300000000000000")), "f, byte 0: a header of 3 bytes; only 2 follow");
  CHECK_THROWS_WITH(parse(claims("00e1f50500000000")), "f, byte 0: a header of 100000000 bytes; only 2 follow");
  CHECK_THROWS_WITH(parse(claims("01e1f50500000000")),
                    "f, byte 0: is no safetensors file: its first 8 bytes tell of a header of 100000001 bytes; 2 to 100000000 are possible");
  CHECK_THROWS_WITH(parse(claims("ffffffffffffffff")),
                    "f, byte 0: is no safetensors file: its first 8 bytes tell of a header of 18446744073709551615 bytes; 2 to 100000000 are possible");
  CHECK_NOTHROW(parse(claims("0200000000000000")));
}

TEST_CASE("no truncated and no extended file is read", "[fast]") {
  for (const bool checksums : {true, false}) {
    const std::string file = safetensors_bytes(small_model(), notes, {.checksums = checksums});
    REQUIRE_NOTHROW(parse(file));
    for (std::size_t size = 0; size < file.size(); ++size) REQUIRE_THROWS_AS(parse(file.substr(0, size)), FileError);
    for (const char* more : {" ", "}", "01234567"}) REQUIRE_THROWS_AS(parse(file + more), FileError);
  }
}

TEST_CASE("every flipped bit is found", "[fast]") {
  std::string file = safetensors_bytes(small_model(), notes);
  for (std::size_t i = 0; i < file.size(); ++i)
    for (int bit = 0; bit < 8; ++bit) {
      const char right = file[i];
      file[i] = static_cast<char>(right ^ (1 << bit));
      INFO("byte " << i << ", bit " << bit);
      REQUIRE_THROWS_AS(parse(file), FileError);
      file[i] = right;
    }
  REQUIRE_NOTHROW(parse(file));
}

TEST_CASE("flipped bits of a foreign file are found or change nothing but text and data", "[fast]") {
  std::string file = safetensors_bytes(small_model(), notes, {.checksums = false});
  for (std::size_t i = 0; i < file.size(); ++i)
    for (int bit = 0; bit < 8; ++bit) {
      const char right = file[i];
      file[i] = static_cast<char>(right ^ (1 << bit));
      try {
        std::size_t total = 0;
        const SafetensorsFile read = parse(file);
        for (const TensorRecord& r : read.records()) total += r.bytes.size();
        REQUIRE(total == 24 + 2 + 8 + 1);
      } catch (const FileError&) {
      }
      file[i] = right;
    }
}

TEST_CASE("damage is named", "[fast]") {
  const std::string good = safetensors_bytes(small_model());
  std::string file = good;
  file[file.size() - 27] ^= 1;  // the first byte of the weights: 24 of them, then 3 of the others
  CHECK_THROWS_WITH(parse(file),
                    "f, byte " + std::to_string(file.size() - 27) +
                        ": tensor \"trunk.0.weight\": the checksum is 7517c119, \"cf580397\" is recorded; the "
                        "file is damaged");
  file = good;
  file[good.find("[2,3]") + 1] = '3';
  CHECK_THROWS_WITH(parse(file), Catch::StartsWith("f, byte 51: the header's checksum is "));
  const std::vector<TensorRecord> mask{{"mask", Dtype::boolean, {1}, bytes_of("\1")}};
  file = safetensors_bytes(mask, {}, {.checksums = false});
  file.back() = '\2';
  CHECK_THROWS_WITH(parse(file), "f, byte " + std::to_string(file.size() - 1) +
                                     ": tensor \"mask\": the byte is neither 0 nor 1, as a BOOL must be");
}

TEST_CASE("a failed save leaves the old file and nothing else", "[fast]") {
  const Scratch scratch;
  write_safetensors(scratch("m"), small_model(), notes);
  const std::string before = read_file(scratch("m"), 1 << 20);
  std::vector<TensorRecord> twice = small_model();
  twice.push_back(twice.front());
  CHECK_THROWS_WITH(write_safetensors(scratch("m"), twice),
                    "write_safetensors: two tensors are called \"trunk.0.weight\"; names must be unique");
  CHECK_THROWS_AS(write_safetensors(scratch("no/m"), small_model()), FileError);
  CHECK(read_file(scratch("m"), 1 << 20) == before);
  CHECK(scratch.files() == 1);
}

TEST_CASE("a half-written temporary beside the file is not read", "[fast]") {
  const Scratch scratch;
  write_safetensors(scratch("m"), small_model());
  replace_file(scratch(".m.tmp.1.2"), "half");
  CHECK_NOTHROW(SafetensorsFile::read(scratch("m")));
  CHECK_THROWS_WITH(SafetensorsFile::read(scratch(".m.tmp.1.2")),
                    scratch(".m.tmp.1.2") +
                        ", byte 4: the file ends here; it must start with the eight bytes of the "
                        "header's size");
}
