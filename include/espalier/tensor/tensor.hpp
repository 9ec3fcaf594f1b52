#pragma once
// Tensor<T>: the one tensor type, a cheap handle of shape, shared buffer and optional graph node.
//
// Row-major and contiguous. Copies share the buffer and the node; `clone` copies the values. float and double are
// differentiable; Index and bool serve labels, tokens and masks. Values are written only through `mutate()`, which counts
// the update, so that a backward pass over stale values throws instead of being wrong. Operations are free functions (ops/).

#include <algorithm>
#include <concepts>
#include <cstring>
#include <initializer_list>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "espalier/core/memory.hpp"
#include "espalier/core/random.hpp"

namespace espalier::inline ESPALIER_ABI {

/// What a graph node begins with: enough to hold and drop one without knowing it, so that tensors serve data and files where
/// there is no graph.
struct NodeHeader {
  detail::Count refs;
  void (*bury)(NodeHeader*) = nullptr;
};
template <class T>
struct Node;  // autograd/node.hpp
template <class T>
detail::Count& count_of(Node<T>* node) {
  return reinterpret_cast<NodeHeader*>(node)->refs;
}
template <class T>
void destroy(Node<T>* node) {
  auto* header = reinterpret_cast<NodeHeader*>(node);
  header->bury(header);
}

/// The scalar types that carry gradients.
template <class T>
concept Differentiable = std::same_as<T, float> || std::same_as<T, double>;
/// The scalar types a tensor may have.
template <class T>
concept Scalar = Differentiable<T> || std::same_as<T, Index> || std::same_as<T, bool>;

/// `float32`, `float64`, `int64`, `bool`: how messages, printing and files name a scalar type.
template <Scalar T>
constexpr std::string_view dtype_name() {
  if constexpr (std::same_as<T, float>) return "float32";
  if constexpr (std::same_as<T, double>) return "float64";
  if constexpr (std::same_as<T, Index>) return "int64";
  return "bool";
}

namespace detail {
/// Only float and double tensors have a node; the others hold an empty member.
template <class T>
struct NodeHandle {
  Ref<Node<T>> node_;
};
template <class T>
  requires(!Differentiable<T>)
struct NodeHandle<T> {};
}  // namespace detail

template <class T = float>
class Tensor : private detail::NodeHandle<T> {
  static_assert(Scalar<T>, "Tensor<T>: T is float, double, espalier::Index or bool");

 public:
  using value_type = T;

  /// No tensor at all: `defined()` is false.
  Tensor() = default;
  /// The given values, row-major. Throws Error when their number is not the shape's.
  Tensor(const Shape& shape, std::initializer_list<T> values) : Tensor(copy(shape, {values.begin(), values.size()})) {}

  static Tensor empty(const Shape& shape) {
    shape.check_size();
    const auto size = static_cast<std::size_t>(shape.size());
    std::size_t bytes = 0;
    if (__builtin_mul_overflow(size, sizeof(T), &bytes)) bytes = size;  // refused all the same
    return Tensor(make_buffer(bytes), 0, shape);
  }
  static Tensor full(const Shape& shape, T value) {
    Tensor t = empty(shape);
    std::fill_n(t.raw(), t.size(), value);
    return t;
  }
  static Tensor zeros(const Shape& shape) {
    Tensor t = empty(shape);
    std::memset(static_cast<void*>(t.raw()), 0, static_cast<std::size_t>(t.size()) * sizeof(T));
    return t;
  }
  static Tensor ones(const Shape& shape) { return full(shape, T(1)); }
  /// A rank-0 tensor.
  static Tensor scalar(T value) { return full({}, value); }
  /// A copy of the values, row-major.
  static Tensor copy(const Shape& shape, std::span<const T> values) {
    check_count(shape, values.size());
    Tensor t = empty(shape);
    std::copy(values.begin(), values.end(), t.raw());
    return t;
  }
  /// A read-only view of memory that the caller keeps alive for as long as the tensor, or a graph made from it, lives.
  static Tensor from_span(const Shape& shape, std::span<const T> values) {
    check_count(shape, values.size());
    return Tensor(borrow_buffer(values.data()), 0, shape);
  }
  template <class Allocator>  // a temporary would be gone before the tensor
  static Tensor from_span(const Shape& shape, std::vector<T, Allocator>&& values) = delete;
  /// Standard normal numbers; advances the generator.
  static Tensor normal(const Shape& shape, Rng& rng)
    requires Differentiable<T>
  {
    Tensor t = empty(shape);
    rng.normal(std::span<T>(t.raw(), static_cast<std::size_t>(t.size())));
    return t;
  }
  /// Uniform numbers in [low, high); advances the generator.
  static Tensor uniform(const Shape& shape, double low, double high, Rng& rng)
    requires Differentiable<T>
  {
    Tensor t = empty(shape);
    rng.uniform(std::span<T>(t.raw(), static_cast<std::size_t>(t.size())), low, high);
    return t;
  }

  bool defined() const { return static_cast<bool>(buffer_); }
  const Shape& shape() const { return shape_; }
  int rank() const { return shape_.rank(); }
  Index size() const { return shape_.size(); }

  /// Unchecked: of a defined tensor only.
  const T* data() const { return reinterpret_cast<const T*>(buffer_->data) + offset_; }
  /// Throws Error for an undefined tensor, as whatever reads or writes values does.
  std::span<const T> values() const {
    check_defined("values");
    return {data(), static_cast<std::size_t>(size())};
  }
  /// Write access. Counts as an in-place update of every tensor that shares the buffer. Throws Error for borrowed memory.
  std::span<T> mutate() {
    check_defined("mutate");
    if (buffer_->borrowed) fail("mutate: the tensor ", shape_, " is a read-only view of borrowed memory; clone it first");
    buffer_->bump_version();
    return {raw(), static_cast<std::size_t>(size())};
  }
  /// The one value of a tensor of one element. Throws Error for any other size.
  T item() const {
    check_defined("item");
    if (size() != 1) fail("item: the tensor is ", shape_, "; item() needs exactly one element");
    return *data();
  }
  /// The element at the given position; checked.
  template <class... Position>
    requires(std::convertible_to<Position, Index> && ...)
  T operator()(Position... position) const {
    const Index at[] = {static_cast<Index>(position)..., 0};
    check_defined("element");
    if (static_cast<int>(sizeof...(Position)) != rank())
      fail("element: ", sizeof...(Position), " positions given for ", shape_, "; one is needed for each axis");
    Index offset = 0;
    for (int i = 0; i < rank(); ++i) {
      if (at[i] < 0 || at[i] >= shape_[i])
        fail("element: position ", at[i], " on axis ", i, " of ", shape_, "; it must lie in [0, ", shape_[i] - 1, "]");
      offset = offset * shape_[i] + at[i];
    }
    return data()[offset];
  }

  /// The same values, outside the graph.
  Tensor detach() const { return defined() ? Tensor(buffer_, offset_, shape_) : Tensor(); }
  /// A copy of the values, outside the graph.
  Tensor clone() const { return defined() ? copy(shape_, values()) : Tensor(); }

  /// Shape, type and the first values: `float32 [2, 2] [[1, 2], [3, 4]]`.
  std::string text() const;

  // ---- for the library's own layers: no checks -----------------------------------------------------------------
  Tensor(Ref<Buffer> buffer, Index offset, const Shape& shape)
      : buffer_(std::move(buffer)), offset_(offset), shape_(shape) {}
  /// Write access that is no update: for values nobody has read yet.
  T* raw() { return reinterpret_cast<T*>(buffer_->data) + offset_; }
  void fill(T value) { std::fill_n(raw(), size(), value); }
  const Ref<Buffer>& buffer() const { return buffer_; }
  Index offset() const { return offset_; }
  std::uint32_t version() const { return buffer_ ? buffer_->current_version() : 0; }
  /// A view of other shape (equal size) from `start` elements on, outside the graph.
  Tensor view(const Shape& shape, Index start = 0) const { return Tensor(buffer_, offset_ + start, shape); }
  /// Nobody else can see the values: they may be overwritten by their consumer.
  bool sole() const {
    if constexpr (Differentiable<T>)
      if (node()) return false;
    return buffer_ && buffer_->refs.sole() && !buffer_->borrowed && !buffer_->pack;
  }
  const Ref<Node<T>>& node() const
    requires Differentiable<T>
  {
    return this->node_;
  }
  void set_node(Ref<Node<T>> node)
    requires Differentiable<T>
  {
    this->node_ = std::move(node);
  }

 private:
  void check_defined(std::string_view op) const {
    if (!defined()) fail(op, ": the tensor is undefined; give it values first");
  }
  static void check_count(const Shape& shape, std::size_t count) {
    shape.check_size();
    if (static_cast<std::size_t>(shape.size()) != count)
      fail("tensor: ", count, " values given for shape ", shape, ", which has ", shape.size(), " elements");
  }

  Ref<Buffer> buffer_;
  Index offset_ = 0;
  Shape shape_;
};

/// Printing without <iostream>: any stream that takes a string.
template <class Stream, class T>
  requires requires(Stream& s, std::string text) { s.write(text.data(), 1); s << text; }
Stream& operator<<(Stream& stream, const Tensor<T>& tensor) {
  stream << tensor.text();
  return stream;
}

/// The values in another type, numbers truncated towards zero for Index; the result is outside the graph. Throws Error for a
/// number that no Index is near.
template <class To, class From>
Tensor<To> cast(const Tensor<From>& x) {
  if (!x.defined()) return {};
  if constexpr (std::same_as<To, Index> && Differentiable<From>)
    for (const From& v : x.values())
      if (!(v >= From(-0x1p63) && v < From(0x1p63)))
        fail("cast: element ", &v - x.data(), " of ", x.shape(), " is ", v, "; it does not fit into int64");
  Tensor<To> y = Tensor<To>::empty(x.shape());
  std::transform(x.data(), x.data() + x.size(), y.raw(), [](From v) { return static_cast<To>(v); });
  return y;
}

namespace detail {
/// Axes from `axis` on, the values starting at `data`; long axes show their first and last three.
template <class T>
void append_values(std::string& text, const T* data, const Shape& shape, int axis) {
  if (axis == shape.rank()) {
    if constexpr (std::same_as<T, bool>)
      text += *data ? "true" : "false";
    else
      Part(*data).append_to(text);
    return;
  }
  const Index n = shape[axis], stride = shape.span(axis + 1, shape.rank());
  text += '[';
  for (Index i = 0; i < n; ++i) {
    if (i) text += ", ";
    if (n > 8 && i == 3) {
      text += "..., ";
      i = n - 3;
    }
    append_values(text, data + i * stride, shape, axis + 1);
  }
  text += ']';
}
}  // namespace detail

template <class T>
std::string Tensor<T>::text() const {
  if (!defined()) return "undefined tensor";
  std::string text = join(dtype_name<T>(), ' ', shape_, ' ');
  detail::append_values(text, data(), shape_, 0);
  return text;
}

}  // namespace espalier::inline ESPALIER_ABI
