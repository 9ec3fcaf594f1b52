// The reject list: everything that must not pass for a header, with the whole text of the error.
#include "espalier/io/safetensors/header.hpp"

#include <string>

#include "io/scratch.hpp"
#include "support/catch.hpp"

using namespace espalier;

namespace {

/// Reads `json` as the header of a file named "f" with `data` bytes behind it.
void read(const std::string& json, std::uint64_t data = 0) { detail::SafetensorsHeader(json, data, "f"); }

/// The entry of a U8 tensor of data [begin, end).
std::string u8(const std::string& name, int begin, int end) {
  return "\"" + name + "\":{\"dtype\":\"U8\",\"shape\":[" + std::to_string(end - begin) + "],\"data_offsets\":[" +
         std::to_string(begin) + "," + std::to_string(end) + "]}";
}
/// A header of one tensor "w" whose fields are `fields`.
std::string with(const std::string& fields) { return "{\"w\":{" + fields + "}}"; }
std::string shaped(const std::string& shape) {
  return with("\"dtype\":\"F32\",\"shape\":" + shape + ",\"data_offsets\":[0,8]");
}
std::string placed(const std::string& offsets) {
  return with("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":" + offsets);
}
std::string typed(const std::string& dtype) {
  return with("\"dtype\":" + dtype + ",\"shape\":[2],\"data_offsets\":[0,8]");
}

}  // namespace

TEST_CASE("valid headers are read, whatever their style", "[fast]") {
  CHECK_NOTHROW(read("{}"));
  CHECK_NOTHROW(read("{}      "));
  CHECK_NOTHROW(read("{ \"__metadata__\" : { } }"));
  CHECK_NOTHROW(
      read("{\n\t\"w\" : {\r\n\"data_offsets\" : [ 0 , 8 ] , \"shape\" : [ 2 ] , \"dtype\" : \"F32\" } }", 8));
  CHECK_NOTHROW(read("{" + u8("b", 4, 8) + ",\"__metadata__\":{\"k\":\"v\"}," + u8("a", 0, 4) + "}", 8));
  CHECK_NOTHROW(read("{" + u8("x", 2, 2) + "," + u8("y", 0, 2) + "," + u8("z", 0, 0) + "}", 2));
  CHECK_NOTHROW(read(shaped("[1,1,1,1,1,1,1,2]"), 8));
  CHECK_NOTHROW(read(with(R"("dtype":"F32","shape":[],"data_offsets":[0,4])"), 4));
  CHECK_NOTHROW(read(with(R"("dtype":"F32","shape":[5,0],"data_offsets":[0,0])"), 0));
}

TEST_CASE("entries come in the order of the data, names decoded", "[fast]") {
  const std::string file = "f";
  detail::SafetensorsHeader header("{" + u8("b", 4, 7) + "," + u8("\\u00e9", 0, 4) + "}", 7, file);
  REQUIRE(header.entries().size() == 2);
  CHECK(header.name(header.entries()[0]) == "\xC3\xA9");
  CHECK(header.shape(header.entries()[0]) == Shape{4});
  CHECK(header.entries()[1].begin == 4);
  CHECK(header.entries()[1].end == 7);
  CHECK(header.entries()[1].dtype == Dtype::u8);
  CHECK_FALSE(header.has_checksums());
}

TEST_CASE("a header is one JSON object", "[fast]") {
  CHECK_THROWS_WITH(read("[]"), "f, byte 8: the header starts with \"[\"; '{' is expected");
  CHECK_THROWS_WITH(read(" {}"), "f, byte 8: the header starts with \" \"; '{' is expected");
  CHECK_THROWS_WITH(read("\xEF\xBB\xBF{}"), "f, byte 8: the header starts with \"\\xEF\"; '{' is expected");
  CHECK_THROWS_WITH(read("{ "), "f, byte 10: the header ends; the name of a tensor is expected, a string");
  CHECK_THROWS_WITH(read("{,}"), "f, byte 9: \",\" is found; the name of a tensor is expected, a string");
  CHECK_THROWS_WITH(read("{" + u8("a", 0, 0) + ",}"),
                    "f, byte 61: \"}\" is found; the name of a tensor is expected, a string");
  CHECK_THROWS_WITH(read("{}x"), "f, byte 10: \"x\" is found after the header's end; only spaces may pad it");
  CHECK_THROWS_WITH(read("{}\n"), "f, byte 10: \"\\x0A\" is found after the header's end; only spaces may pad it");
  CHECK_THROWS_WITH(read(std::string("{}\0", 3)),
                    "f, byte 10: \"\\x00\" is found after the header's end; only spaces may pad it");
  CHECK_THROWS_WITH(read("{}{}"), "f, byte 10: \"{\" is found after the header's end; only spaces may pad it");
  CHECK_THROWS_WITH(read("{\"a\xFF\":{}}"), "f, byte 11: the header is not valid UTF-8 here");
  CHECK_THROWS_WITH(read("{\"a\":1}"), "f, byte 13: tensor \"a\": \"1\" is found; '{' is expected");
  CHECK_THROWS_WITH(read("{\"a\":{}}"), "f, byte 14: tensor \"a\": \"}\" is found; a field is expected, a string");
}

TEST_CASE("nothing nests deeper than the format", "[fast]") {
  CHECK_THROWS_WITH(read(shaped("[[2]]"), 8),
                    "f, byte 37: tensor \"w\": shape holds \"[2\"; unsigned integers in plain digits are expected");
  CHECK_THROWS_WITH(read(with("\"dtype\":{\"a\":1}"), 8),
                    "f, byte 22: tensor \"w\": \"{\" is found; the dtype is expected, a string");
  for (const char* brackets : {"[", "{", "{\"a\":", "[{"}) {
    std::string deep = "{\"a\":";
    for (int i = 0; i < 10'000; ++i) deep += brackets;
    CHECK_THROWS_AS(read(deep), FileError);
  }
}

TEST_CASE("nothing occurs twice", "[fast]") {
  CHECK_THROWS_WITH(read("{" + u8("a", 0, 4) + "," + u8("b", 4, 5) + "," + u8("a", 5, 8) + "}", 8),
                    "f, byte 113: tensor \"a\" occurs twice");
  CHECK_THROWS_WITH(read("{" + u8("a", 0, 4) + "," + u8("\\u0061", 4, 8) + "}", 8),
                    "f, byte 61: tensor \"a\" occurs twice");
  CHECK_THROWS_WITH(read(R"({"__metadata__":{},"__metadata__":{}})"), "f, byte 27: \"__metadata__\" occurs twice");
  CHECK_THROWS_WITH(read(R"({"__metadata__":{"k":"1","l":"","k":"2"}})"),
                    "f, byte 40: metadata key \"k\" occurs twice");
  CHECK_THROWS_WITH(read(with(R"("dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8])"), 8),
                    "f, byte 28: tensor \"w\": field \"dtype\" occurs twice");
}

TEST_CASE("an entry has its three fields and no other", "[fast]") {
  CHECK_THROWS_WITH(read(with(R"("shape":[2],"data_offsets":[0,8])"), 8),
                    "f, byte 9: tensor \"w\": field \"dtype\" is missing");
  CHECK_THROWS_WITH(read(with(R"("dtype":"F32","data_offsets":[0,8])"), 8),
                    "f, byte 9: tensor \"w\": field \"shape\" is missing");
  CHECK_THROWS_WITH(read(with(R"("dtype":"F32","shape":[2])"), 8),
                    "f, byte 9: tensor \"w\": field \"data_offsets\" is missing");
  CHECK_THROWS_WITH(read(with(R"("dtype":"F32","extra":1)"), 8),
                    "f, byte 28: tensor \"w\": field \"extra\" is unknown");
}

TEST_CASE("dtypes are known, unsupported or unknown", "[fast]") {
  CHECK_THROWS_WITH(
      read(typed("\"F33\""), 8),
      "f, byte 22: tensor \"w\": dtype \"F33\" is unknown; known are BOOL, U8, I8, I16, U16, F16, BF16, I32, "
      "U32, F32, C64, F64, I64, U64");
  for (const std::string name : {"F8_E4M3", "F8_E5M2", "F8_E8M0", "F6_E2M3", "F6_E3M2", "F4"})
    CHECK_THROWS_WITH(read(typed("\"" + name + "\""), 8),
                      "f, byte 22: tensor \"w\": dtype \"" + name + "\" is not supported");
  CHECK_THROWS_AS(read(typed("\"f32\""), 8), FileError);
  CHECK_THROWS_AS(read(typed("\"\""), 8), FileError);
  CHECK_THROWS_AS(read(typed("3"), 8), FileError);
}

TEST_CASE("shapes are checked before anything is multiplied out", "[fast]") {
  CHECK_THROWS_WITH(read(shaped("[1,1,1,1,1,1,1,1,2]"), 8),
                    "f, byte 36: tensor \"w\": rank 9 is not supported (8 at most)");
  CHECK_THROWS_WITH(read(shaped("[281474976710657]"), 8),
                    "f, byte 36: tensor \"w\": axis 0 has size 281474976710657; at most 2^48 is possible");
  const std::string too_large = " has more than 2^63 - 1 bytes";
  CHECK_THROWS_WITH(read(shaped("[4294967296,4294967296]"), 8),  // 2^64 elements wrap to none
                    "f, byte 9: tensor \"w\": F32 [4294967296, 4294967296]" + too_large);
  CHECK_THROWS_WITH(read(shaped("[2147483648,4294967296]"), 8),  // 2^63
                    "f, byte 9: tensor \"w\": F32 [2147483648, 4294967296]" + too_large);
  CHECK_THROWS_WITH(read(shaped("[281474976710656,281474976710656,0]"), 8),
                    "f, byte 9: tensor \"w\": F32 [281474976710656, 281474976710656, 0]" + too_large);
  CHECK_THROWS_WITH(read(shaped("[-1]"), 8),
                    "f, byte 37: tensor \"w\": shape holds \"-1\"; unsigned integers in plain digits are expected");
  CHECK_THROWS_AS(read(shaped("2"), 8), FileError);
  CHECK_THROWS_AS(read(shaped("[2,]"), 8), FileError);
  CHECK_THROWS_AS(read(shaped("[2 3]"), 8), FileError);
  CHECK_THROWS_AS(read(shaped("[1e0]"), 8), FileError);
}

TEST_CASE("offsets are two integers that fit shape and file", "[fast]") {
  CHECK_THROWS_WITH(read(placed("[0]"), 8), "f, byte 57: tensor \"w\": \"]\" is found; ',' is expected");
  CHECK_THROWS_WITH(read(placed("[0,8,8]"), 8), "f, byte 59: tensor \"w\": \",\" is found; ']' is expected");
  CHECK_THROWS_WITH(read(placed("[8,0]"), 8), "f, byte 55: tensor \"w\": data_offsets [8, 0] end before they begin");
  CHECK_THROWS_WITH(read(placed("[0,9]"), 9),
                    "f, byte 9: tensor \"w\": data_offsets [0, 9] hold 9 bytes; F32 [2] needs 8");
  CHECK_THROWS_WITH(read(placed("[0,8]"), 7),
                    "f, byte 9: tensor \"w\": data_offsets [0, 8] pass the end of the file's 7 bytes of data");
  for (const char* odd :
       {"[0,-8]", "[0,8.0]", "[0,\"8\"]", "[0,1e2]", "[0,18446744073709551616]", "[]", "8", "[[0,8]]"})
    CHECK_THROWS_AS(read(placed(odd), 8), FileError);
  CHECK_THROWS_WITH(read(with(R"("dtype":"F32","shape":[2,0],"data_offsets":[0,8])"), 8),
                    "f, byte 9: tensor \"w\": data_offsets [0, 8] hold 8 bytes; F32 [2, 0] needs 0");
}

TEST_CASE("the data has neither holes nor overlaps nor a rest", "[fast]") {
  const auto two = [](int begin, int end, int begin2, int end2) {
    return "{" + u8("a", begin, end) + "," + u8("b", begin2, end2) + "}";
  };
  const std::string rest = " is expected, since data has neither holes nor overlaps";
  CHECK_THROWS_WITH(read(two(0, 4, 5, 8), 8), "f, byte 61: tensor \"b\": the data begins at 5; 4" + rest);
  CHECK_THROWS_WITH(read(two(0, 4, 3, 8), 8), "f, byte 61: tensor \"b\": the data begins at 3; 4" + rest);
  CHECK_THROWS_WITH(read(two(0, 8, 0, 8), 8), "f, byte 61: tensor \"b\": the data begins at 0; 8" + rest);
  CHECK_THROWS_WITH(read(two(1, 4, 4, 8), 8), "f, byte 9: tensor \"a\": the data begins at 1; 0" + rest);
  CHECK_THROWS_WITH(read("{" + u8("a", 0, 4) + "}", 6), "f, byte 65: 2 bytes follow the data of the last tensor");
  CHECK_THROWS_WITH(read("{}", 6), "f, byte 10: 6 bytes follow the data of the last tensor");
}

TEST_CASE("names that could do harm elsewhere are rejected", "[fast]") {
  const auto named = [](const std::string& name, const std::string& shown, const std::string& fault) {
    CHECK_THROWS_WITH(read("{" + u8(name, 0, 1) + "}", 1), "f, byte 9: tensor \"" + shown + "\": " + fault);
  };
  named("a\\u0000b", "a\\x00b", "the name holds a control character");
  named("a\\n", "a\\x0A", "the name holds a control character");
  named("a\x7F", "a\\x7F", "the name holds a control character");
  named("..", "..", "the name holds '..'");
  named("/etc", "/etc", "the name starts with '/'");
  named("\\/etc", "/etc", "the name starts with '/'");
  named(std::string(513, 'n'), std::string(80, 'n') + "...", "the name has more than 512 bytes");
  CHECK_NOTHROW(read("{" + u8(std::string(512, 'n'), 0, 1) + "}", 1));
}

TEST_CASE("metadata is text to text", "[fast]") {
  CHECK_THROWS_WITH(read(R"({"__metadata__":{"k":1}})"),
                    "f, byte 29: \"1\" is found; a metadata value is expected, a string");
  CHECK_THROWS_WITH(read(R"({"__metadata__":{"k":{}}})"),
                    "f, byte 29: \"{\" is found; a metadata value is expected, a string");
  CHECK_THROWS_WITH(read(R"({"__metadata__":[]})"), "f, byte 24: \"[\" is found; '{' is expected");
  CHECK_THROWS_WITH(read(R"({"__metadata__":{"k":"\ud800"}})"), "f, byte 30: a string holds half a surrogate pair");
  const std::string file = "f";
  const detail::SafetensorsHeader header(R"({"__metadata__":{"z":"1","a\n":"\u00e9","":""}})", 0, file);
  CHECK(header.metadata() == Metadata{{"", ""}, {"a\n", "\xC3\xA9"}, {"z", "1"}});
  CHECK(header.value("z") == "1");
  CHECK(header.value("y").empty());
}

TEST_CASE("checksums are where they were written or the file is rejected", "[fast]") {
  CHECK_THROWS_WITH(read(R"({"__metadata__":{"espalier.crc32c.header":"00000000"}})"),
                    "f, byte 51: the header's checksum is 553c7e99, \"00000000\" is recorded; the file is damaged");
  CHECK_THROWS_WITH(
      read(R"({"__metadata__":{"a":"","espalier.crc32c.header":"00000000"}})"),
      "f, byte 8: metadata key \"espalier.crc32c.header\" is not where it was written; the file is damaged, "
      "or was rewritten by a program that should have left the checksums out");
  CHECK_THROWS_WITH(
      read(R"({"__metadata__":{"espalier.format":"1"}})"),
      "f, byte 8: metadata key \"espalier.format\" is not where it was written; the file is damaged, or was "
      "rewritten by a program that should have left the checksums out");
  const auto sealed = [](std::string json) {  // with the right checksum
    const std::size_t digits = detail::checked_start.size();
    return json.replace(digits, 8, hex_digits(crc32c(detail::size_field(json.size()) + json), 8));
  };
  const std::string start = std::string(detail::checked_start) + "00000000\"";
  CHECK_THROWS_WITH(read(sealed(start + "}}")),
                    "f, byte 8: metadata key \"espalier.crc32c.buffer\" is missing; the file "
                    "was rewritten by another program");
  const std::string rest =
      R"(,"espalier.crc32c.buffer":"00000000","espalier.crc32c.tensors":"","espalier.schema":"x",)";
  CHECK_NOTHROW(read(sealed(start + rest + R"("espalier.version":"1.0.0","espalier.format":"1"}})")));
  CHECK_THROWS_WITH(read(sealed(start + rest + R"("espalier.version":"9.8.7","espalier.format":"2"}})")),
                    "f, byte 8: the file has format \"2\" of espalier \"9.8.7\"; this version reads format 1");
}

TEST_CASE("the numbers of tensors and of metadata are limited", "[slow]") {
  std::string json = "{\"__metadata__\":{\"\":\"\"";
  for (int i = 0; i < 65'536; ++i) json += ",\"" + std::to_string(i) + "\":\"\"";
  CHECK_THROWS_WITH(read(json + "}}"), Catch::Contains("more than 65536 metadata entries are not supported"));
  json = "{" + u8("0", 0, 0);
  for (int i = 1; i < 1'000'000; ++i) json += "," + u8(std::to_string(i), 0, 0);
  CHECK_NOTHROW(read(json + "}"));
  CHECK_THROWS_WITH(read(json + "," + u8("last", 0, 0) + "}"),
                    Catch::Contains("more than 1000000 tensors are not supported"));
}
