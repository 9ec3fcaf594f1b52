#pragma once
// safetensors files at the level of bytes: names, dtypes, shapes and the data, with metadata text beside them. The
// format, and the checksums that a file of ours has besides, are described in safetensors/format.hpp.
//
// The reader believes nothing: the header is checked in full against the file's size before memory is allocated for the
// data, and what checking allocates is less than the header. Whether values are finite is for the layer that knows what
// they are to ask.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "espalier/core/error.hpp"
#include "espalier/io/checksum.hpp"
#include "espalier/io/file.hpp"
#include "espalier/io/safetensors/format.hpp"
#include "espalier/io/safetensors/header.hpp"

namespace espalier::inline ESPALIER_ABI {

struct SafetensorsOptions {
  /// Without checksums: byte for byte what the reference writer makes of the same tensors.
  bool checksums = true;
};

/// The bytes of a file that holds `records`, in the format's own order, and `metadata`. Throws Error for a name that is
/// used twice, reserved, longer than 512 bytes, starts with '/', or holds "..", control characters or invalid UTF-8;
/// for data that does not fit its dtype and shape, a BOOL other than 0 and 1 included; for metadata that is not UTF-8
/// or uses one of our own keys.
template <class Lazy = void>
std::string safetensors_bytes(std::span<const TensorRecord> records, const Metadata& metadata = {},
                                     SafetensorsOptions options = {}) {
  detail::check_writable(records, metadata);
  const std::vector<const TensorRecord*> order = detail::sorted(records, detail::file_less);
  std::string file = detail::make_header(records, order, metadata, options.checksums);
  for (const TensorRecord* r : order) file.append(reinterpret_cast<const char*>(r->bytes.data()), r->bytes.size());
  return file;
}

/// Writes that file by `replace_file`: after a failure the old one is untouched. The data is not copied. Throws Error
/// as above, before anything is written, and FileError when saving fails.
template <class Lazy = void>
void write_safetensors(const std::string& path, std::span<const TensorRecord> records,
                              const Metadata& metadata = {}, SafetensorsOptions options = {}) {
  detail::check_writable(records, metadata);
  const std::vector<const TensorRecord*> order = detail::sorted(records, detail::file_less);
  const std::string header = detail::make_header(records, order, metadata, options.checksums);
  std::vector<std::span<const std::byte>> parts{std::as_bytes(std::span(header))};
  for (const TensorRecord* r : order) parts.push_back(r->bytes);
  replace_file(path, parts);
}

/// A file that has been read and found right in every respect. It owns the bytes that its records point to, and can be
/// moved, not copied.
class SafetensorsFile {
 public:
  SafetensorsFile(SafetensorsFile&&) = default;
  SafetensorsFile& operator=(SafetensorsFile&&) = default;

  /// Throws FileError naming file, byte and reason for anything that is not as the format says.
  template <class Lazy = void>
  static SafetensorsFile read(const std::string& path) {
    InputFile file(path);
    return load(file);
  }
  /// The metadata of such a file alone; its data is not looked at.
  template <class Lazy = void>
  static Metadata read_metadata(const std::string& path) {
    InputFile file(path);
    return read_header(file).metadata();
  }
  /// The same as `read` from memory; `name` stands for the file in errors. The bytes are copied.
  template <class Lazy = void>
  static SafetensorsFile parse(std::span<const std::byte> bytes, const std::string& name) {
    Memory memory{bytes, name};
    return load(memory);
  }

  /// In the order of the file. This and the next two point into the file: `read(path).records()` would dangle.
  std::span<const TensorRecord> records() const& { return records_; }
  void records() const&& = delete;
  /// The record called `name`, null when there is none.
  template <class Lazy = void>
  const TensorRecord* find(std::string_view name) const& {
    const auto less = [](const TensorRecord* r, std::string_view wanted) { return r->name.compare(wanted) < 0; };
    const auto found = std::lower_bound(by_name_.begin(), by_name_.end(), name, less);
    return found != by_name_.end() && (*found)->name == name ? *found : nullptr;
  }
  void find(std::string_view name) const&& = delete;
  /// Without the keys that hold our own checksums.
  const Metadata& metadata() const& { return metadata_; }
  void metadata() const&& = delete;
  /// Whether the file had our checksums (they were right), hence was written by this library.
  bool has_checksums() const { return has_checksums_; }

 private:
  SafetensorsFile() = default;

  struct Memory {
    std::span<const std::byte> bytes;
    const std::string& file;

    const std::string& name() const { return file; }
    std::uint64_t size() const { return bytes.size(); }
    void read(std::span<std::byte> out) {
      if (!out.empty()) std::memcpy(out.data(), bytes.data() + position, out.size());
      position += out.size();
    }
    void finish() {}
    std::size_t position = 0;
  };

  template <class Source>
  static detail::SafetensorsHeader<> read_header(Source& source) {
    const std::string& name = source.name();
    if (source.size() < 8)
      fail_file(name, source.size(), "the file ends here; it must start with the eight bytes of the header's size");
    std::uint64_t header_size = 0;
    std::byte size_bytes[8];
    source.read(size_bytes);
    for (int i = 0; i < 8; ++i) header_size |= std::to_integer<std::uint64_t>(size_bytes[i]) << (8 * i);
    if (header_size < 2 || header_size > detail::largest_header)
      fail_file(name, 0, "is no safetensors file: its first 8 bytes tell of a header of ", header_size, " bytes; 2 to ",
                detail::largest_header, " are possible");
    if (header_size > source.size() - 8)
      fail_file(name, 0, "a header of ", header_size, " bytes; only ", source.size() - 8, " follow");
    std::string text(static_cast<std::size_t>(header_size), '\0');
    source.read(std::as_writable_bytes(std::span(text)));
    return {std::move(text), source.size() - 8 - header_size, name};
  }

  template <class Source>
  static SafetensorsFile load(Source& source) {
    const std::string& name = source.name();
    detail::SafetensorsHeader<> header = read_header(source);
    const std::uint64_t buffer_size = source.size() - header.data_at();

    SafetensorsFile file;
    file.buffer_.resize(static_cast<std::size_t>(buffer_size));
    const std::span<std::byte> buffer(file.buffer_);
    source.read(buffer);
    source.finish();
    check_data(header, buffer, name);

    file.has_checksums_ = header.has_checksums();
    file.metadata_ = header.metadata();
    file.records_.reserve(header.entries().size());
    for (const auto& entry : header.entries()) {
      file.records_.push_back(
          {std::string(header.name(entry)), entry.dtype, header.shape(entry), data_of(entry, buffer)});
    }
    file.by_name_ = detail::sorted(file.records_, detail::name_less);
    if (file.has_checksums_) {
      const std::string schema = hex_digits(schema_hash(file.records_), 16);
      if (schema != header.value(detail::schema_key))
        fail_file(name, 8, "the schema hash is ", schema, ", ", in_quotes(header.value(detail::schema_key)),
                  " is recorded");
    }
    return file;
  }

  template <class Lazy = void>
  static std::span<const std::byte> data_of(const detail::SafetensorsHeader<>::Entry& entry,
                                            std::span<const std::byte> buffer) {
    return buffer.subspan(static_cast<std::size_t>(entry.begin), static_cast<std::size_t>(entry.end - entry.begin));
  }

  /// Compares the checksums, where there are any, and refuses bytes that no bool can have.
  template <class Lazy = void>
  static void check_data(const detail::SafetensorsHeader<>& header, std::span<const std::byte> buffer,
                         const std::string& name) {
    const std::string_view each = header.value(detail::tensor_crcs_key);
    if (header.has_checksums() && each.size() != 8 * header.entries().size())
      fail_file(name, 8, "there are ", header.entries().size(), " tensors, but ", each.size(), " digits of checksums");
    std::uint32_t all = 0;
    for (std::size_t i = 0; i < header.entries().size(); ++i) {
      const auto& entry = header.entries()[i];
      const std::span<const std::byte> bytes = data_of(entry, buffer);
      if (header.has_checksums()) {
        const std::uint32_t own = crc32c(bytes);
        all = crc32c_joined(all, own, bytes.size());
        if (hex_digits(own, 8) != each.substr(8 * i, 8))
          fail_file(name, header.data_at() + entry.begin, "tensor ", in_quotes(header.name(entry)),
                    ": the checksum is ", hex_digits(own, 8), ", ", in_quotes(each.substr(8 * i, 8)),
                    " is recorded; the file is damaged");
      }
      if (entry.dtype != Dtype::boolean) continue;
      if (const std::size_t odd = detail::bool_prefix(bytes); odd < bytes.size())
        fail_file(name, header.data_at() + entry.begin + odd, "tensor ", in_quotes(header.name(entry)),
                  ": the byte is neither 0 nor 1, as a BOOL must be");
    }
    if (header.has_checksums() && hex_digits(all, 8) != header.value(detail::buffer_crc_key))
      fail_file(name, 8, "the data's checksum is ", hex_digits(all, 8), ", ",
                in_quotes(header.value(detail::buffer_crc_key)), " is recorded; the file is damaged");
  }

  std::vector<std::byte> buffer_;
  std::vector<TensorRecord> records_;
  std::vector<const TensorRecord*> by_name_;
  Metadata metadata_;
  bool has_checksums_ = false;
};

}  // namespace espalier::inline ESPALIER_ABI
