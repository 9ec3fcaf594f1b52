#include "espalier/io/safetensors/format.hpp"

#include <limits>
#include <string>
#include <vector>

#include "espalier/io/safetensors.hpp"
#include "io/scratch.hpp"
#include "support/catch.hpp"

using namespace espalier;

namespace {

TensorRecord record(const std::string& name, Dtype dtype, Shape shape, std::string_view bytes) {
  return {name, dtype, shape, bytes_of(bytes)};
}
std::string plain(const std::vector<TensorRecord>& records, const Metadata& metadata = {}) {
  return safetensors_bytes(records, metadata, {.checksums = false});
}
/// The JSON of a file, without its padding.
std::string json_of(const std::string& file) { return file.substr(8, file.find_last_of('}') - 7); }

const std::string one_minus_two = from_hex("0000803f 000000c0");  // F32 [1, -2]

}  // namespace

TEST_CASE("a plain file is the reference writer's, byte for byte", "[fast]") {
  CHECK(plain({record("w", Dtype::f32, {2}, one_minus_two)}) ==
        from_hex(
            "38000000000000007b2277223a7b226474797065223a22463332222c227368617065223a5b325d2c22646174615f6f6666736574"
            "73223a5b302c385d7d7d20200000803f000000c0"));
}

TEST_CASE("a file with checksums has known bytes", "[fast]") {
  const std::vector<TensorRecord> records{record("w", Dtype::f32, {2}, one_minus_two)};
  const std::string file = safetensors_bytes(records, {{"note", "a\"b"}});
  // The data's checksum and the hash were computed by another program, bit by bit.
  std::string json = R"({"__metadata__":{"espalier.crc32c.header":"00000000","espalier.crc32c.buffer":"aa36f2c9",)"
                     R"("espalier.crc32c.tensors":"aa36f2c9","espalier.format":"1",)"
                     R"("espalier.schema":"b36edced5d543e95","espalier.version":")" +
                     detail::library_version() +
                     R"(","note":"a\"b"},"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  json.resize((json.size() + 7) / 8 * 8, ' ');
  json.replace(json.find("00000000"), 8, hex_digits(crc32c(detail::size_field(json.size()) + json), 8));
  CHECK(file == detail::size_field(json.size()) + json + one_minus_two);
}

TEST_CASE("large elements come first, then the names decide", "[fast]") {
  const std::string data(8, '\0');
  const auto part = [&](std::size_t n) { return std::string_view(data).substr(0, n); };
  const std::string file = plain({record("b", Dtype::u8, {}, part(1)), record("a", Dtype::f32, {1}, part(4)),
                                  record("c", Dtype::i32, {1}, part(4)), record("z", Dtype::f64, {1, 1}, part(8)),
                                  record("e", Dtype::f32, {0, 3}, {}), record("B", Dtype::f32, {1}, part(4)),
                                  record("y", Dtype::i64, {1}, part(8))});
  CHECK(json_of(file) == R"({"y":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},)"
                         R"("z":{"dtype":"F64","shape":[1,1],"data_offsets":[8,16]},)"
                         R"("B":{"dtype":"F32","shape":[1],"data_offsets":[16,20]},)"
                         R"("a":{"dtype":"F32","shape":[1],"data_offsets":[20,24]},)"
                         R"("e":{"dtype":"F32","shape":[0,3],"data_offsets":[24,24]},)"
                         R"("c":{"dtype":"I32","shape":[1],"data_offsets":[24,28]},)"
                         R"("b":{"dtype":"U8","shape":[],"data_offsets":[28,29]}})");
}

TEST_CASE("a header's size is a multiple of eight", "[fast]") {
  for (std::size_t n = 0; n < 9; ++n) {
    const std::string file = plain({record(std::string(n, 'x'), Dtype::u8, {1}, "7")});
    CHECK(file.size() % 8 == 1);
    CHECK(file.back() == '7');
  }
  CHECK(plain({}) == from_hex("0800000000000000 7b7d202020202020"));
  CHECK(json_of(plain({}, {{"k", "v"}})) == R"({"__metadata__":{"k":"v"}})");
}

TEST_CASE("the schema hash knows names, dtypes and shapes, and neither order nor values", "[fast]") {
  const std::vector<TensorRecord> one{record("a", Dtype::f32, {2}, one_minus_two), record("b", Dtype::u8, {1}, "x")};
  const auto hash_of = [](const std::vector<TensorRecord>& records) { return schema_hash(records); };
  CHECK(hash_of(one) == hash_of({record("b", Dtype::u8, {1}, "y"), record("a", Dtype::f32, {2}, one_minus_two)}));
  CHECK(hash_of(one) != hash_of({one[0]}));
  CHECK(hash_of({one[0]}) != hash_of({record("c", Dtype::f32, {2}, one_minus_two)}));
  CHECK(hash_of({one[0]}) != hash_of({record("a", Dtype::i32, {2}, one_minus_two)}));
  CHECK(hash_of({one[0]}) != hash_of({record("a", Dtype::f32, {2, 1}, one_minus_two)}));
}

TEST_CASE("what cannot be written is refused", "[fast]") {
  const auto refused = [](const std::vector<TensorRecord>& records, const Metadata& metadata,
                          const std::string& reason) {
    CHECK_THROWS_WITH(safetensors_bytes(records, metadata), "write_safetensors: " + reason);
  };
  const auto name = [&](const std::string& text, const std::string& shown, const std::string& fault) {
    refused({record(text, Dtype::u8, {1}, "x")}, {}, "tensor \"" + shown + "\": " + fault);
  };
  name("__metadata__", "__metadata__", "the name is reserved");
  name("/a", "/a", "the name starts with '/'");
  name("a/../b", "a/../b", "the name holds '..'");
  name("a\n", "a\\x0A", "the name holds a control character");
  name(std::string(1, '\0'), "\\x00", "the name holds a control character");
  name("a\xFF", "a\\xFF", "the name is not valid UTF-8");
  name(std::string(513, 'n'), std::string(80, 'n') + "...", "the name has more than 512 bytes");
  refused({record("a", Dtype::u8, {1}, "x"), record("b", Dtype::u8, {1}, "x"), record("a", Dtype::f32, {0}, "")}, {},
          "two tensors are called \"a\"; names must be unique");
  refused({record("a", Dtype::f32, {2}, "xyz")}, {}, "tensor \"a\" has 3 bytes; F32 [2] needs 8");
  refused({record("a", Dtype::f32, {2, 0}, "xyz")}, {}, "tensor \"a\" has 3 bytes; F32 [2, 0] needs 0");
  Shape vast;
  for (int i = 0; i < 2; ++i) vast.push_back(Index{1} << 32);
  refused({record("a", Dtype::f32, vast, "")}, {},
          "tensor \"a\" has 0 bytes; F32 [4294967296, 4294967296] needs more than 2^63 - 1");
  Shape wide;
  for (Index size : {Index{0}, (Index{1} << 48) + 1}) wide.push_back(size);
  refused({record("a", Dtype::u8, wide, "")}, {}, "tensor \"a\": shape [0, 281474976710657]; an axis has at most 2^48");
  refused({record("a", Dtype::boolean, {2}, "\1\2")}, {}, "tensor \"a\": byte 1 is neither 0 nor 1, as a BOOL must be");
  refused({}, {{"espalier.format", "2"}}, "metadata key \"espalier.format\" is reserved for the file itself");
  refused({}, {{"k", "\xC3"}}, "metadata \"k\" is not valid UTF-8");
  refused({}, {{"\x80", ""}}, "metadata \"\\x80\" is not valid UTF-8");
}
