#pragma once
// The safetensors format: what a file may hold, and how its header is written.
//
// The format (huggingface.co/docs/safetensors): u64 N | N bytes of JSON, padded by spaces | the data of all tensors,
// row-major, little-endian, without holes. A file of ours is an ordinary safetensors file whose `__metadata__` also
// holds six keys:
//   espalier.crc32c.header   of N and the JSON, these eight digits being zeros meanwhile; always the file's first key
//   espalier.crc32c.buffer   of all data
//   espalier.crc32c.tensors  of each tensor in file order, eight digits each, so that the damaged one can be named
//   espalier.format          version of these rules, 1
//   espalier.schema          `schema_hash` of the file
//   espalier.version         of the library that wrote it
// With them every flipped bit is found. A file without them, from any other writer, is read as well; a file that has
// them elsewhere than at the start was damaged or rewritten, and is rejected.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "espalier/core/error.hpp"
#include "espalier/core/order.hpp"
#include "espalier/core/shape.hpp"
#include "espalier/io/checksum.hpp"
#include "espalier/io/dtype.hpp"
#include "espalier/io/file.hpp"
#include "espalier/io/json_header.hpp"

namespace espalier::inline ESPALIER_ABI {

/// One tensor of a file. `bytes` is borrowed, little-endian and row-major; in a file of ours it is aligned for its
/// dtype, in a foreign one it need not be.
struct TensorRecord {
  std::string name;
  Dtype dtype = Dtype::f32;
  Shape shape;
  std::span<const std::byte> bytes;
};

/// A file's own texts by key, in the order of the keys.
class Metadata {
 public:
  struct Entry {
    std::string key, value;
    bool operator==(const Entry&) const = default;
  };
  Metadata() = default;
  template <class Lazy = void>
  Metadata(std::initializer_list<Entry> entries) {
    for (const Entry& entry : entries) set(entry.key, entry.value);
  }

  std::size_t size() const { return entries_.size(); }
  bool empty() const { return entries_.empty(); }
  auto begin() const { return entries_.begin(); }
  auto end() const { return entries_.end(); }
  /// The text of a key; null when there is none.
  template <class Lazy = void>
  const std::string* find(std::string_view key) const {
    const auto at = std::lower_bound(begin(), end(), key, [](const Entry& e, std::string_view k) { return e.key.compare(k) < 0; });
    return at != end() && at->key == key ? &at->value : nullptr;
  }
  /// Adds a text, or puts it in the place of the key's old one.
  template <class Lazy = void>
  void set(std::string_view key, std::string_view value) {
    std::size_t at = entries_.size();  // mostly they come in order
    while (at > 0 && key < entries_[at - 1].key) --at;
    if (at > 0 && entries_[at - 1].key == key) {
      entries_[at - 1].value = value;
      return;
    }
    entries_.push_back({std::string(key), std::string(value)});
    std::rotate(entries_.begin() + static_cast<std::ptrdiff_t>(at), entries_.end() - 1, entries_.end());
  }
  bool operator==(const Metadata&) const = default;

 private:
  std::vector<Entry> entries_;
};

namespace detail {

inline constexpr std::string_view header_crc_key = "espalier.crc32c.header", buffer_crc_key = "espalier.crc32c.buffer",
                                  tensor_crcs_key = "espalier.crc32c.tensors", format_key = "espalier.format",
                                  schema_key = "espalier.schema", version_key = "espalier.version";
inline constexpr std::string_view reserved_keys[] = {header_crc_key, buffer_crc_key, tensor_crcs_key,
                                                     format_key,     schema_key,     version_key};
inline constexpr std::string_view checked_start = R"({"__metadata__":{"espalier.crc32c.header":")";
inline constexpr std::string_view metadata_name = "__metadata__", zero_digits = "00000000", file_format = "1";

inline constexpr std::uint64_t largest_header = 100'000'000;  // as in the reference reader
inline constexpr std::size_t most_tensors = 1'000'000, most_metadata = 65'536;
inline constexpr Index largest_axis = Index{1} << 48;

template <class Lazy = void>
std::string library_version() {
  return join(ESPALIER_VERSION_MAJOR, '.', ESPALIER_VERSION_MINOR, '.', ESPALIER_VERSION_PATCH);
}

template <class Lazy = void>
bool is_reserved(std::string_view key) {
  for (std::string_view reserved : reserved_keys)
    if (key == reserved) return true;
  return false;
}

/// Why `name` may not name a tensor; empty when it may. Names end up in messages, tables and paths of other programs.
template <class Lazy = void>
std::string_view name_fault(std::string_view name) {
  if (name == metadata_name) return "the name is reserved";
  if (name.size() > 512) return "the name has more than 512 bytes";
  if (name.starts_with('/')) return "the name starts with '/'";
  if (name.find("..") != std::string_view::npos) return "the name holds '..'";
  for (char c : name)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) return "the name holds a control character";
  return utf8_prefix(name) < name.size() ? "the name is not valid UTF-8" : "";
}

/// Bytes of a tensor, -1 beyond 2^63 - 1. Axes of size 0 are left out of that check, so no part of the shape overflows.
template <class Lazy = void>
std::int64_t tensor_bytes(Dtype dtype, const Shape& shape) {
  std::int64_t bytes = dtype_size(dtype);
  bool empty = false;
  for (Index size : shape) {
    empty = empty || size == 0;
    if (size != 0 && __builtin_mul_overflow(bytes, size, &bytes)) return -1;
  }
  return empty ? 0 : bytes;
}

using RecordLess = bool(const TensorRecord*, const TensorRecord*);
inline bool name_less(const TensorRecord* a, const TensorRecord* b) { return a->name < b->name; }
/// The order of the file: large elements first, so that all data is aligned, then by name.
template <class Lazy = void>
bool file_less(const TensorRecord* a, const TensorRecord* b) {
  return a->dtype != b->dtype ? a->dtype > b->dtype : a->name < b->name;
}
template <class Lazy = void>
std::vector<const TensorRecord*> sorted(std::span<const TensorRecord> records, RecordLess* less) {
  std::vector<const TensorRecord*> order;
  order.reserve(records.size());
  const auto at = [&](Index i) { return &records[static_cast<std::size_t>(i)]; };
  for (Index i : sorted_order(records.size(), [&](Index a, Index b) { return less(at(a), at(b)); })) order.push_back(at(i));
  return order;
}

}  // namespace detail

/// Hash of names, dtypes and shapes, whatever the order of the records. Models of equal shapes but other names differ.
template <class Lazy = void>
std::uint64_t schema_hash(std::span<const TensorRecord> records) {
  std::uint64_t hash = fnv1a("");
  for (const TensorRecord* r : detail::sorted(records, detail::name_less))
    hash = fnv1a(join(std::string_view(r->name), '\n', dtype_name(r->dtype), '\n', r->shape, '\n'), hash);
  return hash;
}

namespace detail {

/// Position of the first byte that no bool can have; the size when there is none.
template <class Lazy = void>
std::size_t bool_prefix(std::span<const std::byte> bytes) {
  std::size_t at = 0;
  while (at < bytes.size() && bytes[at] <= std::byte{1}) ++at;
  return at;
}

/// Throws Error unless the records and the metadata can be written and read back.
template <class Lazy = void>
void check_writable(std::span<const TensorRecord> records, const Metadata& metadata) {
  constexpr std::string_view op = "write_safetensors: ";
  if (records.size() > most_tensors) fail(op, records.size(), " tensors; at most ", most_tensors, " are possible");
  if (metadata.size() > most_metadata - std::size(reserved_keys))
    fail(op, metadata.size(), " metadata entries; at most ", most_metadata - std::size(reserved_keys), " are possible");
  for (const TensorRecord& r : records) {
    if (const std::string_view fault = name_fault(r.name); !fault.empty())
      fail(op, "tensor ", in_quotes(r.name), ": ", fault);
    const std::int64_t bytes = tensor_bytes(r.dtype, r.shape);
    if (bytes < 0 || static_cast<std::uint64_t>(bytes) != r.bytes.size())
      fail(op, "tensor ", in_quotes(r.name), " has ", r.bytes.size(), " bytes; ", dtype_name(r.dtype), " ", r.shape,
           " needs ", bytes < 0 ? std::string("more than 2^63 - 1") : std::to_string(bytes));
    for (Index size : r.shape)
      if (size > largest_axis)
        fail(op, "tensor ", in_quotes(r.name), ": shape ", r.shape, "; an axis has at most 2^48");
    if (r.dtype == Dtype::boolean && bool_prefix(r.bytes) < r.bytes.size())
      fail(op, "tensor ", in_quotes(r.name), ": byte ", bool_prefix(r.bytes), " is neither 0 nor 1, as a BOOL must be");
  }
  const TensorRecord* last = nullptr;
  for (const TensorRecord* r : sorted(records, name_less)) {
    if (last != nullptr && last->name == r->name)
      fail(op, "two tensors are called ", in_quotes(r->name), "; names must be unique");
    last = r;
  }
  for (const auto& [key, value] : metadata) {
    if (is_reserved(key)) fail(op, "metadata key ", in_quotes(key), " is reserved for the file itself");
    for (const std::string_view text : {std::string_view(key), std::string_view(value)})
      if (utf8_prefix(text) < text.size()) fail(op, "metadata ", in_quotes(key), " is not valid UTF-8");
  }
}

/// The file's first eight bytes.
template <class Lazy = void>
std::string size_field(std::uint64_t header_size) {
  std::string field(8, '\0');
  for (char& byte : field) {
    byte = static_cast<char>(header_size & 255u);
    header_size >>= 8;
  }
  return field;
}

/// N and the padded JSON for records in file order.
template <class Lazy = void>
std::string make_header(std::span<const TensorRecord> records, std::span<const TensorRecord* const> order,
                               const Metadata& metadata, bool checksums) {
  std::string json = "{";
  if (checksums || !metadata.empty()) json += "\"__metadata__\":{";
  const auto entry = [&](std::string_view key, std::string_view value) {
    if (json.back() != '{') json += ',';
    json += json_string(key) + ':' + json_string(value);
  };
  if (checksums) {
    std::uint32_t buffer = 0;
    std::string each;
    for (const TensorRecord* r : order) {
      const std::uint32_t own = crc32c(r->bytes);
      buffer = crc32c_joined(buffer, own, r->bytes.size());
      each += hex_digits(own, 8);
    }
    entry(header_crc_key, zero_digits);
    entry(buffer_crc_key, hex_digits(buffer, 8));
    entry(tensor_crcs_key, each);
    entry(format_key, file_format);
    entry(schema_key, hex_digits(schema_hash(records), 16));
    entry(version_key, library_version());
  }
  for (const auto& [key, value] : metadata) entry(key, value);
  if (checksums || !metadata.empty()) json += '}';
  std::size_t begin = 0;
  for (const TensorRecord* r : order) {
    if (json.size() > 1) json += ',';
    json += json_string(r->name) + ":{\"dtype\":\"";
    json += dtype_name(r->dtype);
    json += "\",\"shape\":[";
    for (int axis = 0; axis < r->shape.rank(); ++axis) json += join(axis > 0 ? "," : "", r->shape[axis]);
    json += join("],\"data_offsets\":[", begin, ',', begin + r->bytes.size(), "]}");
    begin += r->bytes.size();
  }
  json += '}';
  json.resize((json.size() + 7) / 8 * 8, ' ');
  if (json.size() > largest_header)
    fail("write_safetensors: the header has ", json.size(), " bytes; at most ", largest_header, " are possible");
  std::string header = size_field(json.size()) + json;
  if (checksums) header.replace(8 + checked_start.size(), 8, hex_digits(crc32c(header), 8));
  return header;
}

}  // namespace detail

}  // namespace espalier::inline ESPALIER_ABI
