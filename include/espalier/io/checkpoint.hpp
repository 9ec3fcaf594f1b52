#pragma once
// Checkpoints: everything that a run consists of, in one safetensors file.
//
//   State state{{"model", model}, {"optimizer", optimizer}, {"objective", objective}, {"rng", rng}};
//   save("run.safetensors", state);   // atomic: a crash leaves the old file or the new one
//   load("run.safetensors", state);   // all or nothing
//   load("run.safetensors", {{"model", model}}, {.partial = true});   // of a whole run, the model alone
//   save_weights("model.safetensors", model);   // bare PyTorch names, for Python and back
//   load_weights("model.safetensors", other.trunk(), {.prefix = "trunk"});   // a part, for another model to start from
//
// A file holds what `fields` visits, under the visitor's paths ("model.trunk.0.weight"): tensors with their dtype and
// shape, numbers as rank-0 tensors (F64, I64, U64, BOOL), texts as their bytes (io/checkpoint_fields.hpp), an undefined
// tensor not at all, tied tensors under each of their names, as in a PyTorch state_dict. Values are stored bit for bit,
// NaN included. The metadata says which kind of file it is ("state" or "weights") and by which version of these rules it
// was written; a program may add texts of its own, to build the right objects before it loads them:
//
//   save("run.safetensors", state, {.metadata = {{"width", "64"}}});
//   const Metadata about = read_metadata("run.safetensors");
//
// Objects that take their size from a file (an encoder, its categories) can tell it, too: load them first, with .partial.
//
// Loading is strict. The file is verified, compared with the fields by name, dtype and shape, and all differences are
// listed in one message. Only then are values written, in place, so that every handle of a tensor sees them. The
// objects' structure never comes from the file: which fields an object has must not depend on their values. A text alone,
// and a list of texts, takes on the length that it has in the file.

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "espalier/io/checkpoint_fields.hpp"
#include "espalier/io/safetensors.hpp"
#include "espalier/tensor/fields.hpp"

namespace espalier::inline ESPALIER_ABI {

namespace detail {

/// Whether a Visitor finds something in a T. It passes over objects without fields, which here would be lost silently.
template <class T>
inline constexpr bool has_fields = requires(T& object, Visitor& visit) {
  object.fields(visit);
};
template <class T>
inline constexpr bool has_fields<Tensor<T>> = true;
template <class T>
inline constexpr bool has_fields<std::vector<T>> = has_fields<T>;
template <class T>
inline constexpr bool has_fields<std::optional<T>> = has_fields<T>;
template <>
inline constexpr bool has_fields<double> = true;
template <>
inline constexpr bool has_fields<Index> = true;
template <>
inline constexpr bool has_fields<std::uint64_t> = true;
template <>
inline constexpr bool has_fields<bool> = true;
template <>
inline constexpr bool has_fields<std::string> = true;

}  // namespace detail

/// What a checkpoint consists of: names and references to objects, which must outlive it. Made once, it serves for
/// every save and load of a run.
class State {
 public:
  class Item {
   public:
    /// Refers to anything with fields, to a tensor, to a double, Index, std::uint64_t, bool or std::string, or to a
    /// vector of these. What is const can only be saved.
    template <class Object>
    Item(std::string name, Object& object)
        : name_(std::move(name)),
          object_(std::addressof(object)),
          walk_([](const void* o, std::string_view path, Visitor& visitor) {
            // `fields` is written once, for readers and writers; on a const object it is only called to read.
            espalier::walk(*const_cast<std::remove_const_t<Object>*>(static_cast<const Object*>(o)), visitor, path);
          }),
          constant_(std::is_const_v<Object>) {
      static_assert(detail::has_fields<std::remove_const_t<Object>>,
                    "State: an item is an object with fields(visit), a Tensor, a double, Index, std::uint64_t, bool or "
                    "std::string, or a vector of these");
    }

    const std::string& name() const { return name_; }
    bool constant() const { return constant_; }
    void walk(Visitor& visitor) const { walk_(object_, name_, visitor); }

   private:
    std::string name_;
    const void* object_;
    void (*walk_)(const void*, std::string_view, Visitor&);
    bool constant_;
  };

  /// Throws Error when a name is empty or used twice.
  template <class Lazy = void>
  State(std::initializer_list<Item> items) {
    for (const Item& item : items) add(item);
  }
  template <class Lazy = void>
  void add(Item item) {
    if (item.name().empty()) fail("State: item ", items_.size(), " has no name; each needs one");
    for (const Item& other : items_)
      if (other.name() == item.name()) fail("State: '", item.name(), "' appears twice; names must differ");
    items_.push_back(std::move(item));
  }
  std::span<const Item> items() const { return items_; }

 private:
  std::vector<Item> items_;
};

struct LoadOptions {
  bool partial = false;  // the file may hold items beside those asked for; these are passed over, and stay unread
};

struct SaveOptions {
  /// The program's own texts, UTF-8. Keys that begin with "espalier." are reserved, in weights "format" as well.
  Metadata metadata = {};
};

namespace detail {

static_assert(std::endian::native == std::endian::little, "checkpoints: the byte order must be the files' own");

inline constexpr std::string_view kind_key = "espalier.kind", kind_version_key = "espalier.kind.version",
                                  kind_version = "1", state_kind = "state", weights_kind = "weights",
                                  own_keys = "espalier.", python_key = "format";

using FieldLess = bool(const StoredField*, const StoredField*);
inline bool field_name_less(const StoredField* a, const StoredField* b) { return a->name < b->name; }
/// By memory, tied fields in the order of the walk.
template <class Lazy = void>
bool field_memory_less(const StoredField* a, const StoredField* b) {
  if (a->data != b->data) return std::bit_cast<std::uintptr_t>(a->data) < std::bit_cast<std::uintptr_t>(b->data);
  return a->size != b->size ? a->size < b->size : a->position < b->position;
}
template <class Lazy = void>
std::vector<const StoredField*> sorted(std::span<const StoredField> fields, FieldLess* less) {
  std::vector<const StoredField*> order;
  order.reserve(fields.size());
  const auto at = [&](Index i) { return &fields[static_cast<std::size_t>(i)]; };
  for (Index i : sorted_order(fields.size(), [&](Index a, Index b) { return less(at(a), at(b)); })) order.push_back(at(i));
  return order;
}

/// All fields of the items. Throws Error when two have one name.
template <class Lazy = void>
std::vector<StoredField> read_fields(std::string_view op, std::span<const State::Item> items) {
  FieldReader reader;
  for (const State::Item& item : items) item.walk(reader);
  const std::vector<const StoredField*> order = sorted(reader.fields, field_name_less);
  for (std::size_t i = 1; i < order.size(); ++i)
    if (order[i]->name == order[i - 1]->name)
      fail(op, ": two fields are called ", order[i]->name, "; names must differ");
  return std::move(reader.fields);
}

template <class Lazy = void>
void write_fields(std::span<const State::Item> items, std::span<const StoredField> fields,
                         const FieldValues& values) {
  FieldWriter writer(fields, values);
  for (const State::Item& item : items) item.walk(writer);
  writer.finish();
}

template <class Lazy = void>
void save_items(std::string_view op, const std::string& path, std::span<const State::Item> items,
                       std::string_view kind, Metadata metadata) {
  for (const auto& [key, value] : metadata) {
    if (key.starts_with(own_keys))
      fail(op, ": metadata key ", in_quotes(key), " is reserved; a program's keys do not begin with \"", own_keys, '"');
    if (kind == weights_kind && key == python_key)
      fail(op, ": metadata key ", in_quotes(key), " is reserved; weights say there \"pt\", for Python's loaders");
  }
  const std::vector<StoredField> fields = read_fields(op, items);
  std::vector<TensorRecord> records;
  records.reserve(fields.size());
  for (const StoredField& field : fields)
    if (field.defined) records.push_back({field.name, field.dtype, field.shape, field.bytes()});
  metadata.set(kind_key, kind);
  metadata.set(kind_version_key, kind_version);
  if (kind == weights_kind) metadata.set(python_key, "pt");  // what Python's loaders of whole models ask for
  write_safetensors(path, records, metadata);
}

/// `[20, 10] float32`.
template <class Lazy = void>
std::string type_text(const Shape& shape, Dtype dtype) {
  constexpr std::string_view words[] = {"bool",  "uint8",  "int8",    "int16",     "uint16",  "float16", "bfloat16",
                                        "int32", "uint32", "float32", "complex64", "float64", "int64",   "uint64"};
  static_assert(std::size(words) == std::size(dtypes));
  return join(shape, ' ', words[static_cast<std::size_t>(dtype)]);
}
template <class Lazy = void>
std::string type_text(const StoredField& field) {
  if (!field.defined) return "undefined";
  if (!field.is_text()) return type_text(field.shape, field.dtype);
  return field.kind == StoredField::Kind::text ? "text" : "a list of texts";
}

/// Whether the file's tensor can be the field's value.
template <class Lazy = void>
bool fits(const TensorRecord& record, const StoredField& field) {
  if (!field.defined || field.dtype != record.dtype) return false;
  return field.is_text() ? record.shape.rank() == 1 : field.shape == record.shape;
}
template <class Lazy = void>
bool holds_texts(const TensorRecord& record) {
  std::vector<std::string> texts;
  return unpack_texts({reinterpret_cast<const char*>(record.bytes.data()), record.bytes.size()}, texts);
}

/// Throws FileError unless the file is of the kind that `op` reads, by rules that this version knows.
template <class Lazy = void>
void check_kind(std::string_view op, const std::string& path, const Metadata& metadata,
                       std::string_view wanted) {
  const auto value = [&](std::string_view key) {
    const std::string* found = metadata.find(key);
    return found ? *found : std::string();
  };
  const std::string kind = value(kind_key), version = value(kind_version_key);
  if (kind.empty() && wanted == weights_kind) return;  // from another program
  if (kind != wanted) {
    const bool known = kind == state_kind || kind == weights_kind || kind.empty();
    throw FileError(join(op, ": \"", path, "\" holds ", kind.empty() ? "tensors of another program" : in_quotes(kind),
                         "; ", op, " reads ", in_quotes(wanted),
                         !known                 ? ""
                         : wanted == state_kind ? "; try load_weights"
                                                : "; try load"));
  }
  if (version != kind_version)
    throw FileError(
        join(op, ": \"", path, "\" is of version ", in_quotes(version), "; this program reads version ", kind_version));
}

/// Whether a field of this name belongs to one of the items.
template <class Lazy = void>
bool among(std::span<const State::Item> items, std::string_view field) {
  for (const State::Item& item : items)
    if (field.starts_with(item.name()) && (field.size() == item.name().size() || field[item.name().size()] == '.')) return true;
  return false;
}

/// The file's bytes for each field; tied fields get them once. Throws FileError with all differences. Where
/// `one_suffices`, a field may be missing to which another one is tied. The file may have what belongs to none of `only`,
/// unless that is empty.
template <class Lazy = void>
FieldValues match(std::string_view op, const std::string& path, const SafetensorsFile& file,
                         std::span<const StoredField> fields, bool one_suffices, std::span<const State::Item> only) {
  constexpr std::size_t most = 20;
  FieldValues values(fields.size());
  std::vector<std::string> missing, extra, other;
  for (const StoredField& field : fields) {
    const TensorRecord* record = file.find(field.name);
    if (!record) continue;
    if (!fits(*record, field))
      other.push_back(join(field.name, " is ", type_text(record->shape, record->dtype), " in the file, ",
                           type_text(field), " here"));
    else if (field.kind == StoredField::Kind::texts && !holds_texts(*record))
      other.push_back(join(field.name, " is text in the file, a list of texts here"));
    else if (!field.writable)
      other.push_back(join(field.name, " is borrowed memory here, which cannot be written"));
    else
      values[field.position] = record->bytes;
  }
  std::vector<char> covered(fields.size(), 0);  // need not be in the file
  const std::vector<const StoredField*> by_memory = sorted(fields, field_memory_less);
  for (std::size_t begin = 0, end = 0; begin < by_memory.size(); begin = end) {
    const StoredField* source = nullptr;  // of the fields tied to each other, the one that gets the values
    for (end = begin; end < by_memory.size() && by_memory[end]->tied(*by_memory[begin]); ++end) {
      std::span<const std::byte>& value = values[by_memory[end]->position];
      if (value.empty()) continue;
      if (!source) {
        source = by_memory[end];
        continue;
      }
      if (std::memcmp(values[source->position].data(), value.data(), value.size()) != 0)
        other.push_back(join(by_memory[end]->name, " is tied to ", source->name, " here, but not in the file"));
      value = {};
    }
    for (std::size_t i = begin; i < end; ++i) covered[by_memory[i]->position] = one_suffices && source;
  }
  for (const StoredField& field : fields)
    if (field.defined && !covered[field.position] && !file.find(field.name))
      missing.push_back(join("missing ", field.name, ' ', type_text(field)));
  const std::vector<const StoredField*> by_name = sorted(fields, field_name_less);
  for (const TensorRecord& record : file.records()) {
    const auto less = [](const StoredField* field, std::string_view name) { return field->name.compare(name) < 0; };
    const auto found = std::lower_bound(by_name.begin(), by_name.end(), std::string_view(record.name), less);
    if ((found == by_name.end() || (*found)->name != record.name) && (only.empty() || among(only, record.name)))
      extra.push_back("extra " + record.name);
  }

  const std::size_t count = missing.size() + extra.size() + other.size();
  if (count == 0) return values;
  std::string text = join(op, ": \"", path, "\" does not fit:");
  std::size_t shown = 0;
  for (const auto* list : {&missing, &extra, &other})
    for (const std::string& difference : *list)
      if (shown++ < most) text += (shown > 1 ? "; " : " ") + difference;
  if (count > most) text += join("; ... and ", count - most, " more");
  throw FileError(text);
}

template <class Lazy = void>
void load_items(std::string_view op, const std::string& path, std::span<const State::Item> items,
                       std::string_view kind, bool partial) {
  for (const State::Item& item : items)
    if (item.constant()) fail(op, ": '", item.name(), "' is const; it can be saved, not loaded");
  const SafetensorsFile file = SafetensorsFile::read(path);
  check_kind(op, path, file.metadata(), kind);
  const std::vector<StoredField> fields = read_fields(op, items);
  // Python's writers refuse tied tensors, or keep one of their names.
  const FieldValues values = match(op, path, file, fields, kind == weights_kind, partial ? items : std::span<const State::Item>());

  // `fields` may judge what it is given, and throw: the values that stood there are kept until all is well.
  const auto stays = [&](const StoredField& field) { return values[field.position].empty() && !field.is_text(); };
  std::size_t size = 0;
  for (const StoredField& field : fields) size += stays(field) ? 0 : field.size;
  std::vector<std::byte> copies(size);
  FieldValues before(fields.size());
  size = 0;
  for (const StoredField& field : fields) {
    if (stays(field)) continue;
    std::copy_n(field.bytes().data(), field.size, copies.data() + size);
    before[field.position] = {copies.data() + size, field.size};
    size += field.size;
  }
  try {
    write_fields(items, fields, values);
  } catch (...) {
    try {
      write_fields(items, fields, before);
    } catch (...) {  // the first error is the one to hear of
    }
    throw;
  }
}

}  // namespace detail

/// Writes all that `state` refers to, by `replace_file`: on any error the old file is untouched. Throws Error when two
/// fields have one name, a name cannot stand in a file, or a metadata key is reserved; FileError when saving fails.
template <class Lazy = void>
void save(const std::string& path, const State& state, const SaveOptions& options = {}) {
  detail::save_items("save", path, state.items(), detail::state_kind, options.metadata);
}

/// Reads such a file into what `state` refers to. Throws Error when an item is const, FileError when the file cannot be
/// read, is damaged, is of another kind or a newer version, or differs from the fields (in name, dtype or shape; by a
/// missing or extra one): the message lists all differences, or the first 20. What an object's `fields` throws about
/// values that it cannot have goes through. After any error all objects are as they were. With `partial`, what the file
/// holds of other items is no difference; each item of the state is still there as a whole or not loaded.
template <class Lazy = void>
void load(const std::string& path, const State& state, const LoadOptions& options = {}) {
  detail::load_items("load", path, state.items(), detail::state_kind, options.partial);
}

/// Writes a model's fields under their bare names ("trunk.0.weight"), as `save` does. Python reads the file by
/// `safetensors.torch.load_file`.
template <class Model>
void save_weights(const std::string& path, const Model& model, const SaveOptions& options = {}) {
  const State::Item item("", model);
  detail::save_items("save_weights", path, {&item, 1}, detail::weights_kind, options.metadata);
}

struct LoadWeightsOptions {
  /// Only what the file has under this name, such as "trunk", for a part of a model; what else it has stays unread. Empty: all.
  std::string prefix = {};
};

/// Reads a file of `save_weights`, or one that Python wrote, as `load` does. Of tied tensors one name suffices. A trunk from a
/// file of another model with other heads: load_weights(path, model.trunk(), {.prefix = "trunk"}).
template <class Model>
  requires(!std::is_const_v<Model>)
void load_weights(const std::string& path, Model& model, const LoadWeightsOptions& options = {}) {
  const State::Item item(options.prefix, model);
  detail::load_items("load_weights", path, {&item, 1}, detail::weights_kind, !options.prefix.empty());
}

/// The program's own metadata in a file of `save` or `save_weights`; of a file of another program, all there is. Reads
/// and verifies the header alone. Throws FileError as `load` does, whatever the kind of the file.
template <class Lazy = void>
Metadata read_metadata(const std::string& path) {
  const Metadata all = SafetensorsFile::read_metadata(path);
  const std::string* kind = all.find(detail::kind_key);
  const bool weights = kind && *kind == detail::weights_kind;
  Metadata own;
  for (const auto& [key, value] : all)
    if (!key.starts_with(detail::own_keys) && !(weights && key == detail::python_key)) own.set(key, value);
  return own;
}

}  // namespace espalier::inline ESPALIER_ABI
