#include "espalier/io/checksum.hpp"

#include <string>

#include "support/catch.hpp"

using namespace espalier;

TEST_CASE("CRC-32C has the known values", "[fast]") {
  CHECK(crc32c("123456789") == 0xE3069283u);
  CHECK(crc32c("") == 0);
  CHECK(crc32c(std::string(32, '\0')) == 0x8A9136AAu);  // this and the next: RFC 3720, B.4
  CHECK(crc32c(std::string(32, '\xFF')) == 0x62A8AB43u);
  CHECK(crc32c_masked(crc32c("123456789")) == 0xC78AB0E5u);
}

TEST_CASE("CRC-32 has the known value", "[fast]") {
  CHECK(crc32("123456789") == 0xCBF43926u);
  CHECK(crc32("") == 0);
}

TEST_CASE("checksums of pieces make the checksum of the whole", "[fast]") {
  std::string text;
  for (int i = 0; i < 300; ++i) text += static_cast<char>(i * i % 251);
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    const std::string head = text.substr(0, cut), tail = text.substr(cut);
    REQUIRE(crc32c(tail, crc32c(head)) == crc32c(text));
    REQUIRE(crc32(tail, crc32(head)) == crc32(text));
    REQUIRE(crc32c_joined(crc32c(head), crc32c(tail), tail.size()) == crc32c(text));
  }
}

TEST_CASE("the portable CRC-32C agrees with whatever this machine takes", "[fast]") {
  std::string text;
  for (int i = 0; i < 100; ++i) text += static_cast<char>(i * 37 % 256);
  for (std::size_t begin = 0; begin < 9; ++begin)
    for (std::size_t size = 0; begin + size <= text.size(); ++size) {
      const auto part = std::as_bytes(std::span(text)).subspan(begin, size);
      REQUIRE(~detail::crc_portable<detail::crc32c_polynomial>(~0u, part.data(), part.size()) == crc32c(part));
    }
}

TEST_CASE("FNV-1a and hex digits", "[fast]") {
  CHECK(fnv1a("") == 0xCBF29CE484222325u);
  CHECK(fnv1a("a") == 0xAF63DC4C8601EC8Cu);
  CHECK(fnv1a("foobar") == 0x85944171F73967E8u);
  CHECK(fnv1a("bar", fnv1a("foo")) == fnv1a("foobar"));
  CHECK(hex_digits(0xBEEF, 8) == "0000beef");
  CHECK(hex_digits(0x0123456789ABCDEFu, 16) == "0123456789abcdef");
}
