#pragma once
// How a checkpoint sees an object: its fields, read in one walk and written in another.
//
// A text is stored as its bytes, U8 [bytes]. A list of texts is one such tensor of netstrings
// (cr.yp.to/proto/netstrings.txt): each text's length in digits, a colon, its bytes, a comma, so that any text may stand
// in it: {"red", "", "a,b"} is `3:red,0:,3:a,b,`.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "espalier/io/safetensors/format.hpp"
#include "espalier/tensor/fields.hpp"

namespace espalier::inline ESPALIER_ABI {

namespace detail {

/// The texts as netstrings, one after another.
template <class Lazy = void>
std::string pack_texts(const std::vector<std::string>& texts) {
  std::string packed;
  for (const std::string& text : texts) ((packed += std::to_string(text.size()) += ':') += text) += ',';
  return packed;
}

/// The texts of netstrings, in their one spelling; false when these are none, and then `texts` is of no use.
template <class Lazy = void>
bool unpack_texts(std::string_view packed, std::vector<std::string>& texts) {
  texts.clear();
  while (!packed.empty()) {
    std::size_t digits = 0, size = 0;
    for (; digits < packed.size() && packed[digits] >= '0' && packed[digits] <= '9'; ++digits) {
      size = 10 * size + static_cast<std::size_t>(packed[digits] - '0');
      if (size > packed.size()) return false;
    }
    if (digits == 0 || (digits > 1 && packed[0] == '0')) return false;
    if (packed.size() - digits < 2 || size > packed.size() - digits - 2) return false;
    if (packed[digits] != ':' || packed[digits + 1 + size] != ',') return false;
    texts.emplace_back(packed.substr(digits + 1, size));
    packed.remove_prefix(digits + size + 2);
  }
  return true;
}

/// A field as it was when visited. It outlives the visit, which may show a temporary: the values are the tensor's own
/// memory, or a copy of the number or text.
struct StoredField {
  enum class Kind : unsigned char { tensor, number, text, texts };

  std::string name;
  std::size_t position = 0;  // in the walk
  Kind kind = Kind::tensor;
  Dtype dtype = Dtype::f32;
  Shape shape;
  bool defined = true, writable = true;
  Ref<Buffer> buffer;               // of tensors alone
  const std::byte* data = nullptr;  // in the buffer
  std::size_t size = 0;             // bytes
  std::array<std::byte, 8> number{};
  std::string text;  // of texts: packed

  /// Whether its size may change when it is loaded.
  bool is_text() const { return kind == Kind::text || kind == Kind::texts; }
  std::span<const std::byte> bytes() const {
    if (is_text()) return std::as_bytes(std::span(text));
    return {buffer ? data : number.data(), size};
  }
  /// Whether both are the same tensor; a field is tied to itself.
  bool tied(const StoredField& other) const {
    return this == &other || (buffer && data == other.data && size == other.size);
  }
};

class FieldReader final : public Visitor {
 public:
  std::vector<StoredField> fields;

 private:
  using Kind = StoredField::Kind;

  StoredField& add(Kind kind, Dtype dtype) {
    StoredField& field = fields.emplace_back();
    field.name = path();
    field.position = fields.size() - 1;
    field.kind = kind;
    field.dtype = dtype;
    return field;
  }
  void add_tensor(Dtype dtype, bool defined, const Shape& shape, const Ref<Buffer>& buffer, const void* data) {
    StoredField& field = add(Kind::tensor, dtype);
    field.defined = defined;
    if (!defined) return;
    field.shape = shape;
    field.writable = !buffer->borrowed;
    field.buffer = buffer;
    field.data = static_cast<const std::byte*>(data);
    field.size = static_cast<std::size_t>(tensor_bytes(dtype, shape));
  }
  template <class T>
  void add(const Tensor<T>& tensor) {
    const void* data = tensor.defined() ? tensor.data() : nullptr;
    add_tensor(dtype_of<T>(), tensor.defined(), tensor.shape(), tensor.buffer(), data);
  }
  template <class Number>
  void add_number(const Number& number) {
    StoredField& field = add(Kind::number, dtype_of<Number>());
    field.size = sizeof number;
    std::memcpy(field.number.data(), &number, sizeof number);
  }
  void add_text(Kind kind, std::string text) {
    StoredField& field = add(kind, Dtype::u8);
    field.size = text.size();
    field.shape = Shape{static_cast<Index>(text.size())};
    field.text = std::move(text);
  }
  void tensor(Tensor<float>& field) override { add(field); }
  void tensor(Tensor<double>& field) override { add(field); }
  void tensor(Tensor<Index>& field) override { add(field); }
  void tensor(Tensor<bool>& field) override { add(field); }
  void number(double& field) override { add_number(field); }
  void number(Index& field) override { add_number(field); }
  void number(std::uint64_t& field) override { add_number(field); }
  void number(bool& field) override { add_number(field); }
  void text(std::string& field) override { add_text(Kind::text, field); }
  void texts(std::vector<std::string>& field) override { add_text(Kind::texts, pack_texts(field)); }
};

/// New bytes for each field, in the order of the fields. None: the field stays as it is, unless it is a text, which always
/// has a value, the empty one perhaps.
using FieldValues = std::vector<std::span<const std::byte>>;

/// Puts values where a FieldReader found `fields`. Throws Error when the walk is another one this time.
class FieldWriter final : public Visitor {
 public:
  FieldWriter(std::span<const StoredField> fields, const FieldValues& values) : fields_(fields), values_(values) {}
  void finish() const {
    if (at_ < fields_.size()) fail_at(fields_[at_].name);
  }

 private:
  using Kind = StoredField::Kind;

  [[noreturn]] static void fail_at(const std::string& name) {
    fail("load: field ", name, " came or went during loading; which fields there are must not depend on values");
  }
  /// A text has any size, as it may have been written already and is now put back.
  std::span<const std::byte> next(Kind kind, std::size_t size = 0) {
    const StoredField* field = at_ < fields_.size() ? &fields_[at_] : nullptr;
    if (!field || field->name != path() || field->kind != kind || (!field->is_text() && field->size != size))
      fail_at(path());
    return values_[at_++];
  }
  template <class T>
  void put(Tensor<T>& tensor) {
    const auto bytes = next(Kind::tensor, tensor.defined() ? static_cast<std::size_t>(tensor.size()) * sizeof(T) : 0);
    if (!bytes.empty()) std::memcpy(tensor.mutate().data(), bytes.data(), bytes.size());
  }
  template <class Number>
  void put_number(Number& number) {
    const auto bytes = next(Kind::number, sizeof number);
    if (!bytes.empty()) std::memcpy(&number, bytes.data(), bytes.size());
  }
  void tensor(Tensor<float>& field) override { put(field); }
  void tensor(Tensor<double>& field) override { put(field); }
  void tensor(Tensor<Index>& field) override { put(field); }
  void tensor(Tensor<bool>& field) override { put(field); }
  void number(double& field) override { put_number(field); }
  void number(Index& field) override { put_number(field); }
  void number(std::uint64_t& field) override { put_number(field); }
  void number(bool& field) override { put_number(field); }
  void text(std::string& field) override { field = view(next(Kind::text)); }
  void texts(std::vector<std::string>& field) override {
    unpack_texts(view(next(Kind::texts)), field);  // checked before
  }
  static std::string_view view(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  std::span<const StoredField> fields_;
  const FieldValues& values_;
  std::size_t at_ = 0;
};

}  // namespace detail

}  // namespace espalier::inline ESPALIER_ABI
