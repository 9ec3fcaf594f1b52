#include "espalier/io/json_header.hpp"

#include <string>

#include "io/scratch.hpp"
#include "support/catch.hpp"

using namespace espalier;

namespace {

std::string read_string(std::string text) {
  detail::JsonScanner scan(text, 0, "f");
  const detail::JsonToken token = scan.string("text");
  scan.end();
  return std::string(scan.text(token));
}
std::int64_t read_integer(std::string text) {
  detail::JsonScanner scan(text, 100, "f");
  return scan.integer("shape");
}
std::string integer_error(const std::string& text, const std::string& rest) {
  return "f, byte 100: shape holds \"" + text + "\"; " + rest;
}

}  // namespace

TEST_CASE("strings are decoded", "[fast]") {
  CHECK(read_string(R"("")").empty());
  CHECK(read_string(R"("plain")") == "plain");
  CHECK(read_string(R"("\"\\\/\b\f\n\r\t")") == "\"\\/\b\f\n\r\t");
  CHECK(read_string(R"("\u0041\u00e9\u20AC\ud83d\ude00z")") == "A\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80z");
  CHECK(read_string(R"("\u0000")") == std::string(1, '\0'));
  CHECK(read_string("\"\xC3\xA9\"") == "\xC3\xA9");
}

TEST_CASE("what json_string writes is read back", "[fast]") {
  std::string all;
  for (int c = 0; c < 128; ++c) all += static_cast<char>(c);
  all += "\xC3\xA9\xF0\x9F\x98\x80";
  CHECK(read_string(detail::json_string(all)) == all);
  CHECK(detail::json_string("a\"\\\n\x01\x1F\x7F") == "\"a\\\"\\\\\\n\\u0001\\u001f\x7F\"");
}

TEST_CASE("broken strings are rejected", "[fast]") {
  CHECK_THROWS_WITH(read_string(R"("abc)"), "f, byte 0: this string has no closing quote");
  CHECK_THROWS_WITH(read_string(R"("abc\)"), "f, byte 4: a string holds an unknown escape");
  CHECK_THROWS_WITH(read_string(R"("\x41")"), "f, byte 1: a string holds an unknown escape");
  CHECK_THROWS_WITH(read_string("\"a\nb\""), "f, byte 2: a string holds a bare control character");
  CHECK_THROWS_WITH(read_string(R"("\u12g4")"), "f, byte 1: a string holds an escape without four hexadecimal digits");
  CHECK_THROWS_WITH(read_string(R"("\u12")"), "f, byte 1: a string holds an escape without four hexadecimal digits");
  for (const char* half :
       {R"("\ud83d")", R"("\ude00")", R"("\ud83dx")", R"("\ud83d\u0041")", R"("\ud83d\ud83d")", R"("\ud83d\)"})
    CHECK_THROWS_WITH(read_string(half), "f, byte 1: a string holds half a surrogate pair");
  CHECK_THROWS_WITH(read_string("\"a\"x"), "f, byte 3: \"x\" is found after the header's end; only spaces may pad it");
  CHECK_THROWS_WITH(read_string("7"), "f, byte 0: \"7\" is found; text is expected, a string");
  CHECK_THROWS_WITH(read_string(""), "f, byte 0: the header ends; text is expected, a string");
}

TEST_CASE("only well-formed UTF-8 passes", "[fast]") {
  for (const char* bad : {"80", "C0 80", "C1 BF", "E0 80 80", "ED A0 80", "F0 80 80 80", "F4 90 80 80", "F5 80 80 80",
                          "FF", "C3", "E2 82", "F0 9F 98", "C3 28"})
    CHECK(detail::utf8_prefix("ok" + from_hex(bad)) == 2);
  for (const char* good : {"7F", "C2 80", "DF BF", "E0 A0 80", "ED 9F BF", "EE 80 80", "F0 90 80 80", "F4 8F BF BF"})
    CHECK(detail::utf8_prefix(from_hex(good)) == from_hex(good).size());
  CHECK_THROWS_WITH(read_string("\"\xFF\""), "f, byte 1: the header is not valid UTF-8 here");
}

TEST_CASE("integers are plain digits below 2^63", "[fast]") {
  CHECK(read_integer("0") == 0);
  CHECK(read_integer(" 42]") == 42);
  CHECK(read_integer("9223372036854775807") == 9223372036854775807);
  for (const char* odd : {"-1", "1.5", "1e2", "+1", "007", "00", "0x10", "true", "null", "\"1\"", "[1", "{", ""})
    CHECK_THROWS_WITH(read_integer(odd),
                      integer_error(odd[0] == '"' ? "\"1\"" : odd, "unsigned integers in plain digits are expected"));
  for (const char* large : {"9223372036854775808", "18446744073709551616", "99999999999999999999999999"})
    CHECK_THROWS_WITH(read_integer(large), integer_error(large, "at most 2^63 - 1 is possible"));
}

TEST_CASE("punctuation is taken or expected", "[fast]") {
  std::string text = " \t\r\n{ }";
  detail::JsonScanner scan(text, 8, "f");
  CHECK_FALSE(scan.take('['));
  CHECK(scan.take('{'));
  CHECK_THROWS_WITH(scan.expect(']'), "f, byte 14: \"}\" is found; ']' is expected");
  scan.expect('}');
  CHECK_THROWS_WITH(scan.expect('}'), "f, byte 15: the header ends; '}' is expected");
}
