#pragma once
// Checksums of files: CRC-32C (our safetensors files, TensorBoard records), CRC-32 (zip, hence .npz, and PNG) and the
// 64-bit FNV-1a hash. They find accidents: a flipped bit, a torn write, a wrong file. They stop no attacker, who can
// compute them as well as we can.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "espalier/config.hpp"

namespace espalier::inline ESPALIER_ABI {

namespace detail {

inline constexpr std::uint32_t crc32c_polynomial = 0x82F63B78u;  // reflected, as all polynomials here
inline constexpr std::uint32_t crc32_polynomial = 0xEDB88320u;

/// Tables for eight bytes at a time: `row[k][b]` is the remainder of byte b followed by k zero bytes. Plain arrays, as
/// every includer's compiler fills them.
struct CrcTables {
  std::uint32_t row[8][256] = {};

  explicit constexpr CrcTables(std::uint32_t polynomial) {
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
      std::uint32_t r = byte;
      for (int bit = 0; bit < 8; ++bit) r = (r >> 1) ^ ((r & 1u) != 0 ? polynomial : 0u);
      row[0][byte] = r;
    }
    for (int k = 1; k < 8; ++k)
      for (int byte = 0; byte < 256; ++byte) row[k][byte] = (row[k - 1][byte] >> 8) ^ row[0][row[k - 1][byte] & 255u];
  }
};

template <std::uint32_t polynomial>
inline constexpr CrcTables crc_tables{polynomial};

/// Slice-by-8 (Kounavis and Berry, "A systematic approach to building high performance software-based CRC generators",
/// ISCC 2005) on the inverted state.
template <std::uint32_t polynomial>
std::uint32_t crc_portable(std::uint32_t state, const std::byte* bytes, std::size_t size) {
  const auto& table = crc_tables<polynomial>.row;
  const auto at = [&](std::size_t i) { return std::to_integer<std::uint32_t>(bytes[i]); };
  for (; size >= 8; bytes += 8, size -= 8) {
    state ^= at(0) | at(1) << 8 | at(2) << 16 | at(3) << 24;
    state = table[7][state & 255u] ^ table[6][(state >> 8) & 255u] ^ table[5][(state >> 16) & 255u] ^
            table[4][state >> 24] ^ table[3][at(4)] ^ table[2][at(5)] ^ table[1][at(6)] ^ table[0][at(7)];
  }
  for (; size > 0; ++bytes, --size) state = (state >> 8) ^ table[0][(state ^ at(0)) & 255u];
  return state;
}

#ifdef __x86_64__
/// The same by the CRC-32C instruction, which the caller has found at run time: a compile flag must not be needed.
__attribute__((target("sse4.2"))) inline std::uint32_t crc32c_instruction(std::uint32_t state, const std::byte* bytes,
                                                                          std::size_t size) {
  unsigned long long wide = state;
  for (; size >= 8; bytes += 8, size -= 8) {
    unsigned long long word;
    std::memcpy(&word, bytes, 8);
    wide = __builtin_ia32_crc32di(wide, word);
  }
  state = static_cast<std::uint32_t>(wide);
  for (; size > 0; ++bytes, --size) state = __builtin_ia32_crc32qi(state, std::to_integer<unsigned char>(*bytes));
  return state;
}
#endif

/// a * b modulo the CRC-32C polynomial; bit 31 is the coefficient of 1.
constexpr std::uint32_t crc32c_multiply(std::uint32_t a, std::uint32_t b) {
  std::uint32_t product = 0;
  for (; a != 0; a <<= 1) {
    if ((a & 0x80000000u) != 0) product ^= b;
    b = (b >> 1) ^ ((b & 1u) != 0 ? crc32c_polynomial : 0u);
  }
  return product;
}

}  // namespace detail

/// CRC-32C of `bytes`; `before` is the checksum of what preceded them, so long data may come in pieces.
template <class Lazy = void>
std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t before = 0) {
#ifdef __x86_64__
  if (__builtin_cpu_supports("sse4.2")) return ~detail::crc32c_instruction(~before, bytes.data(), bytes.size());
#endif
  return ~detail::crc_portable<detail::crc32c_polynomial>(~before, bytes.data(), bytes.size());
}
template <class Lazy = void>
std::uint32_t crc32c(std::string_view text, std::uint32_t before = 0) {
  return crc32c(std::as_bytes(std::span(text)), before);
}

/// CRC-32 of zip and PNG, in pieces as above.
template <class Lazy = void>
std::uint32_t crc32(std::span<const std::byte> bytes, std::uint32_t before = 0) {
  return ~detail::crc_portable<detail::crc32_polynomial>(~before, bytes.data(), bytes.size());
}
template <class Lazy = void>
std::uint32_t crc32(std::string_view text, std::uint32_t before = 0) {
  return crc32(std::as_bytes(std::span(text)), before);
}

/// CRC-32C of two pieces of data from the checksums of each, the second being `second_size` bytes long: the first is
/// moved past the second by a product with x^(8 * second_size). A file's checksum thus follows from its tensors'.
constexpr std::uint32_t crc32c_joined(std::uint32_t first, std::uint32_t second, std::uint64_t second_size) {
  std::uint32_t power = 0x00800000u;  // x^8, then squared again and again
  for (; second_size != 0; second_size >>= 1) {
    if ((second_size & 1u) != 0) first = detail::crc32c_multiply(power, first);
    power = detail::crc32c_multiply(power, power);
  }
  return first ^ second;
}

/// The disguise under which TensorBoard's record format stores a CRC-32C.
constexpr std::uint32_t crc32c_masked(std::uint32_t checksum) {
  return ((checksum >> 15) | (checksum << 17)) + 0xA282EAD8u;
}

/// 64-bit FNV-1a of `text`, continuing `before`.
constexpr std::uint64_t fnv1a(std::string_view text, std::uint64_t before = 0xCBF29CE484222325u) {
  for (char c : text) before = (before ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  return before;
}

/// The last `digits` hexadecimal digits of `value`, in lower case.
template <class Lazy = void>
std::string hex_digits(std::uint64_t value, int digits) {
  std::string text(static_cast<std::size_t>(digits), '0');
  for (std::size_t i = text.size(); i-- > 0; value >>= 4) text[i] = "0123456789abcdef"[value & 15u];
  return text;
}

}  // namespace espalier::inline ESPALIER_ABI
