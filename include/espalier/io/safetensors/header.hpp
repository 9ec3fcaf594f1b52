#pragma once
// The strict reader of a safetensors header.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "espalier/core/error.hpp"
#include "espalier/core/shape.hpp"
#include "espalier/io/checksum.hpp"
#include "espalier/io/dtype.hpp"
#include "espalier/io/file.hpp"
#include "espalier/io/json_header.hpp"
#include "espalier/io/safetensors/format.hpp"

namespace espalier::inline ESPALIER_ABI {

namespace detail {

/// What a header says, checked in full against the size of its file, without an allocation that its text could inflate:
/// an entry is smaller than the shortest text that makes one, and numbers of entries are limited.
template <class Lazy = void>
class SafetensorsHeader {
 public:
  struct Entry {
    std::uint64_t begin = 0, end = 0;  // of the data, from the start of the buffer
    JsonToken name;
    std::uint32_t shape_at = 0;
    Dtype dtype = Dtype::u8;
  };
  static constexpr std::size_t shortest_entry = 50;  // "":{"dtype":"U8","shape":[],"data_offsets":[0,0]},
  static_assert(sizeof(Entry) + sizeof(std::uint32_t) < shortest_entry);

  /// `text` is the JSON, found at byte 8 of `file`, `buffer_size` the number of bytes after it. Throws FileError.
  SafetensorsHeader(std::string text, std::uint64_t buffer_size, const std::string& file)
      : buffer_size_(buffer_size),
        text_(std::move(text)),
        file_(file),
        checked_(check_start()),  // before the scanner, whose complaints would hide that the header is damaged
        scan_(text_, 8, file) {
    entries_.reserve(std::min(most_tensors, text_.size() / shortest_entry + 1));
    scan_.expect('{');
    if (!scan_.take('}')) {
      do {
        scan_.set_tensor({});
        const JsonToken name = scan_.string("the name of a tensor");
        scan_.expect(':');
        scan_.text(name) == metadata_name ? read_metadata(name) : read_entry(name);
      } while (scan_.take(','));
      scan_.set_tensor({});
      scan_.expect('}');
    }
    scan_.end();
    check_names();
    check_ranges();
    check_reserved();
  }
  SafetensorsHeader(const SafetensorsHeader&) = delete;
  SafetensorsHeader& operator=(const SafetensorsHeader&) = delete;

  /// In the order of the file.
  std::span<const Entry> entries() const { return entries_; }
  std::string_view name(const Entry& entry) const { return scan_.text(entry.name); }
  Shape shape(const Entry& entry) {
    scan_.seek(entry.shape_at);
    return read_shape();
  }
  /// Offset in the file of the first byte of data.
  std::uint64_t data_at() const { return 8 + text_.size(); }
  bool has_checksums() const { return checked_; }
  /// The value of a metadata key; empty when it is missing.
  std::string_view value(std::string_view key) const {
    for (const Pair& p : pairs_)
      if (scan_.text(p.key) == key) return scan_.text(p.value);
    return {};
  }
  /// All metadata but the reserved keys.
  Metadata metadata() const {
    Metadata out;
    for (const Pair& p : pairs_)
      if (!is_reserved(scan_.text(p.key))) out.set(scan_.text(p.key), scan_.text(p.value));
    return out;
  }

 private:
  struct Pair {
    JsonToken key, value;
  };

  /// Decides whether the file is one of ours; if so, the header's checksum comes before any other judgement.
  bool check_start() const {
    if (text_.empty() || text_[0] != '{')
      fail_file(file_, 8, "the header starts with ", in_quotes(text_.substr(0, 1)), "; '{' is expected");
    if (!text_.starts_with(checked_start) || text_.size() < checked_start.size() + 8) return false;
    const std::string_view text = text_, digits = text.substr(checked_start.size(), 8);
    const std::string own =
        hex_digits(crc32c(text.substr(checked_start.size() + 8),
                          crc32c(zero_digits, crc32c(checked_start, crc32c(size_field(text_.size()))))),
                   8);
    if (own != digits)
      fail_file(file_, 8 + checked_start.size(), "the header's checksum is ", own, ", ", in_quotes(digits),
                " is recorded; the file is damaged");
    return true;
  }

  void read_metadata(JsonToken name) {
    if (has_metadata_) scan_.fail_at(name.at - 1, "\"__metadata__\" occurs twice");
    has_metadata_ = true;
    pairs_.reserve(std::min(most_metadata, text_.size() / 6 + 1));
    scan_.expect('{');
    if (!scan_.take('}')) {
      do {
        if (pairs_.size() == most_metadata)
          scan_.fail_at(scan_.at(), "more than ", most_metadata, " metadata entries are not supported");
        const JsonToken key = scan_.string("a metadata key");
        scan_.expect(':');
        pairs_.push_back({key, scan_.string("a metadata value")});
      } while (scan_.take(','));
      scan_.expect('}');
    }
    reorder(pairs_, [&](const Pair& a, const Pair& b) { return name_less(a.key, b.key); });
    for (std::size_t i = 1; i < pairs_.size(); ++i)
      if (const JsonToken key = pairs_[i].key; scan_.text(key) == scan_.text(pairs_[i - 1].key))
        scan_.fail_at(key.at - 1, "metadata key ", in_quotes(scan_.text(key)), " occurs twice");
  }

  void read_entry(JsonToken name) {
    const std::size_t here = name.at - 1;
    if (entries_.size() == most_tensors) scan_.fail_at(here, "more than ", most_tensors, " tensors are not supported");
    scan_.set_tensor(name);
    if (const std::string_view fault = name_fault(scan_.text(name)); !fault.empty()) scan_.fail_at(here, fault);
    Entry entry;
    entry.name = name;
    Shape shape;
    bool has_dtype = false, has_shape = false, has_offsets = false;
    scan_.expect('{');
    do {
      const JsonToken field = scan_.string("a field");
      const std::string_view text = scan_.text(field);
      bool* seen = text == "dtype"          ? &has_dtype
                   : text == "shape"        ? &has_shape
                   : text == "data_offsets" ? &has_offsets
                                            : nullptr;
      if (seen == nullptr) scan_.fail_at(field.at - 1, "field ", in_quotes(text), " is unknown");
      if (*seen) scan_.fail_at(field.at - 1, "field ", in_quotes(text), " occurs twice");
      *seen = true;
      scan_.expect(':');
      if (seen == &has_dtype) {
        entry.dtype = read_dtype();
      } else if (seen == &has_shape) {
        entry.shape_at = static_cast<std::uint32_t>(scan_.at());
        shape = read_shape();
      } else {
        read_offsets(entry);
      }
    } while (scan_.take(','));
    scan_.expect('}');
    if (!has_dtype || !has_shape || !has_offsets)
      scan_.fail_at(here, "field \"", !has_dtype ? "dtype" : !has_shape ? "shape" : "data_offsets", "\" is missing");
    const std::int64_t bytes = tensor_bytes(entry.dtype, shape);
    if (bytes < 0) scan_.fail_at(here, dtype_name(entry.dtype), " ", shape, " has more than 2^63 - 1 bytes");
    if (entry.end - entry.begin != static_cast<std::uint64_t>(bytes))
      scan_.fail_at(here, "data_offsets [", entry.begin, ", ", entry.end, "] hold ", entry.end - entry.begin,
                    " bytes; ", dtype_name(entry.dtype), " ", shape, " needs ", bytes);
    if (entry.end > buffer_size_)
      scan_.fail_at(here, "data_offsets [", entry.begin, ", ", entry.end, "] pass the end of the file's ", buffer_size_,
                    " bytes of data");
    entries_.push_back(entry);
  }

  Dtype read_dtype() {
    const JsonToken token = scan_.string("the dtype");
    const std::string_view text = scan_.text(token);
    if (const auto dtype = find_dtype(text)) return *dtype;
    const bool small = text.starts_with("F8_") || text.starts_with("F6_") || text == "F4";
    if (small) scan_.fail_at(token.at - 1, "dtype ", in_quotes(text), " is not supported");
    scan_.fail_at(token.at - 1, "dtype ", in_quotes(text), " is unknown; known are ",
                  listing(dtypes, [](const DtypeRow& row) { return row.name; }));
  }

  Shape read_shape() {
    scan_.expect('[');
    const std::size_t start = scan_.at() - 1;
    Shape shape;
    Index rank = 0;
    if (!scan_.take(']')) {
      do {
        const Index size = scan_.integer("shape");
        if (size > largest_axis) scan_.fail_at(start, "axis ", rank, " has size ", size, "; at most 2^48 is possible");
        if (rank++ < Shape::max_rank) shape.push_back(size);
      } while (scan_.take(','));
      scan_.expect(']');
    }
    if (rank > Shape::max_rank) scan_.fail_at(start, "rank ", rank, " is not supported (8 at most)");
    return shape;
  }

  void read_offsets(Entry& entry) {
    scan_.expect('[');
    const std::size_t start = scan_.at() - 1;
    entry.begin = static_cast<std::uint64_t>(scan_.integer("data_offsets"));
    scan_.expect(',');
    entry.end = static_cast<std::uint64_t>(scan_.integer("data_offsets"));
    scan_.expect(']');
    if (entry.begin > entry.end)
      scan_.fail_at(start, "data_offsets [", entry.begin, ", ", entry.end, "] end before they begin");
  }

  template <class Item, class Before>
  static void reorder(std::vector<Item>& items, const Before& before) {
    const auto at = [&](Index i) -> const Item& { return items[static_cast<std::size_t>(i)]; };
    std::vector<Item> sorted;
    sorted.reserve(items.size());
    for (Index i : sorted_order(items.size(), [&](Index a, Index b) { return before(at(a), at(b)); })) sorted.push_back(at(i));
    items = std::move(sorted);
  }
  /// By the text, equal texts by position.
  bool name_less(JsonToken a, JsonToken b) const {
    const int order = scan_.text(a).compare(scan_.text(b));
    return order < 0 || (order == 0 && a.at < b.at);
  }
  void sort_entries(bool by_name) {
    reorder(entries_, [&](const Entry& a, const Entry& b) {
      if (by_name) return name_less(a.name, b.name);
      if (a.begin != b.begin) return a.begin < b.begin;
      return a.end != b.end ? a.end < b.end : a.name.at < b.name.at;
    });
  }

  void check_names() {
    sort_entries(/*by_name=*/true);
    for (std::size_t i = 1; i < entries_.size(); ++i)
      if (name(entries_[i]) == name(entries_[i - 1]))
        scan_.fail_at(entries_[i].name.at - 1, "tensor ", in_quotes(name(entries_[i])), " occurs twice");
  }

  /// The tensors lie one after another, without hole or overlap, from the buffer's first byte to its last.
  void check_ranges() {
    sort_entries(/*by_name=*/false);
    std::uint64_t end = 0;
    for (const Entry& e : entries_) {
      if (e.begin != end)
        scan_.fail_at(e.name.at - 1, "tensor ", in_quotes(name(e)), ": the data begins at ", e.begin, "; ", end,
                      " is expected, since data has neither holes nor overlaps");
      end = e.end;
    }
    if (end != buffer_size_)
      fail_file(file_, data_at() + end, buffer_size_ - end, " bytes follow the data of the last tensor");
  }

  void check_reserved() {
    for (std::string_view key : reserved_keys) {
      const bool present = !value(key).empty();
      if (checked_ && !present && key != tensor_crcs_key)
        fail_file(file_, 8, "metadata key ", in_quotes(key), " is missing; the file was rewritten by another program");
      if (!checked_ && present)
        fail_file(file_, 8, "metadata key ", in_quotes(key),
                  " is not where it was written; the file is damaged, or was ",
                  "rewritten by a program that should have left the checksums out");
    }
    if (checked_ && value(format_key) != file_format)
      fail_file(file_, 8, "the file has format ", in_quotes(value(format_key)), " of espalier ",
                in_quotes(value(version_key)), "; this version reads format ", file_format);
  }

  std::uint64_t buffer_size_;
  std::string text_;
  const std::string& file_;
  bool checked_, has_metadata_ = false;
  JsonScanner<> scan_;
  std::vector<Entry> entries_;
  std::vector<Pair> pairs_;
};

}  // namespace detail

}  // namespace espalier::inline ESPALIER_ABI
