#pragma once
// The element types that a file may hold, and their names in safetensors. Only a few of them can be computed with; the
// others are carried as bytes, and whoever makes a tensor of them converts.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <type_traits>

#include "espalier/config.hpp"

namespace espalier::inline ESPALIER_ABI {

/// Element type of stored data. The order is the one in which safetensors sorts a file: by size, later ones first.
enum class Dtype : unsigned char { boolean, u8, i8, i16, u16, f16, bf16, i32, u32, f32, c64, f64, i64, u64 };

namespace detail {

struct DtypeRow {
  std::string_view name;
  int bytes;
};
inline constexpr std::array<DtypeRow, 14> dtypes{{{"BOOL", 1},
                                                  {"U8", 1},
                                                  {"I8", 1},
                                                  {"I16", 2},
                                                  {"U16", 2},
                                                  {"F16", 2},
                                                  {"BF16", 2},
                                                  {"I32", 4},
                                                  {"U32", 4},
                                                  {"F32", 4},
                                                  {"C64", 8},
                                                  {"F64", 8},
                                                  {"I64", 8},
                                                  {"U64", 8}}};

}  // namespace detail

/// `F32`: the name in safetensors.
constexpr std::string_view dtype_name(Dtype dtype) { return detail::dtypes[static_cast<std::size_t>(dtype)].name; }

/// Bytes of one element.
constexpr int dtype_size(Dtype dtype) { return detail::dtypes[static_cast<std::size_t>(dtype)].bytes; }

/// The dtype called `name`, if there is one.
constexpr std::optional<Dtype> find_dtype(std::string_view name) {
  for (std::size_t i = 0; i < detail::dtypes.size(); ++i)
    if (detail::dtypes[i].name == name) return static_cast<Dtype>(i);
  return std::nullopt;
}

/// The dtype of a C++ number or bool.
template <class T>
constexpr Dtype dtype_of() {
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, double> || std::is_integral_v<T>,
                "dtype_of: float, double, bool and the integers have a dtype");
  if constexpr (std::is_same_v<T, float>) return Dtype::f32;
  if constexpr (std::is_same_v<T, double>) return Dtype::f64;
  if constexpr (std::is_same_v<T, bool>) return Dtype::boolean;
  constexpr bool is_signed = std::is_signed_v<T>;
  switch (sizeof(T)) {
    case 1:
      return is_signed ? Dtype::i8 : Dtype::u8;
    case 2:
      return is_signed ? Dtype::i16 : Dtype::u16;
    case 4:
      return is_signed ? Dtype::i32 : Dtype::u32;
    default:
      return is_signed ? Dtype::i64 : Dtype::u64;
  }
}

}  // namespace espalier::inline ESPALIER_ABI
