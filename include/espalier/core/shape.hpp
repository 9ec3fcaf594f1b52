#pragma once
// Index and Shape: the sizes of a tensor's axes, held inline (rank <= 8), row-major, last axis fastest.

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string>

#include "espalier/core/error.hpp"

namespace espalier::inline ESPALIER_ABI {

/// Sizes, positions and class labels. Signed, as every difference of two sizes is.
using Index = std::int64_t;

/// The sizes of the axes; `Shape{}` is a scalar's. Negative axes count from the end, as in NumPy.
class Shape {
 public:
  static constexpr int max_rank = 8;

  Shape() {}  // written out, so that a const tensor may be declared without values; sizes beyond the rank stay unset
  /// Throws Error for more than 8 axes, a negative size, or a number of elements beyond 2^63 - 1.
  Shape(std::initializer_list<Index> sizes) {
    for (Index size : sizes) push_back(size);
    check_size();
  }

  int rank() const { return rank_; }
  /// Size of `axis`, which counts from the end when negative. Unchecked: `Shape::axis` checks.
  Index operator[](int axis) const { return sizes_[axis < 0 ? rank_ + axis : axis]; }
  Index& operator[](int axis) { return sizes_[axis < 0 ? rank_ + axis : axis]; }
  const Index* begin() const { return sizes_; }
  const Index* end() const { return sizes_ + rank_; }

  /// Number of elements: the product of the sizes, 1 for a scalar.
  Index size() const { return span(0, rank_); }
  /// Product of the sizes of axes [first, last).
  Index span(int first, int last) const {
    Index n = 1;
    for (int i = first; i < last; ++i) n *= sizes_[i];
    return n;
  }

  bool operator==(const Shape& other) const {
    if (rank_ != other.rank_) return false;
    for (int i = 0; i < rank_; ++i)
      if (sizes_[i] != other.sizes_[i]) return false;
    return true;
  }

  /// The axes [first, last) alone.
  Shape part(int first, int last) const {
    Shape s;
    for (int i = first; i < last; ++i) s.push_back(sizes_[i]);
    return s;
  }
  /// This shape's axes followed by another's.
  Shape operator+(const Shape& tail) const {
    Shape s = *this;
    for (Index size : tail) s.push_back(size);
    return s;
  }
  void push_back(Index size) {
    if (rank_ == max_rank) fail("shape: ", text(), " has the most axes a tensor may have (8); one more was asked for");
    if (size < 0) fail("shape: axis ", rank_, " has size ", size, "; sizes are not negative");
    sizes_[rank_++] = size;
  }

  /// The non-negative form of `axis`; throws `<op>: axis 3 of [2, 4]; the axis must be in [-2, 1]`.
  int axis(int axis, std::string_view op) const {
    if (rank_ == 0) fail(op, ": axis ", axis, " of a scalar; it has no axes");
    if (axis < -rank_ || axis >= rank_)
      fail(op, ": axis ", axis, " of ", text(), "; the axis must be in [", -rank_, ", ", rank_ - 1, "]");
    return axis < 0 ? axis + rank_ : axis;
  }

  /// `[32, 8]`; a scalar is `[]`.
  template <class Lazy = void>
  std::string text() const;

  /// Throws when the product of the sizes, those of 0 left out, overflows: then no part of the product does either.
  void check_size() const {
    Index n = 1;
    for (Index size : *this)
      if (size != 0 && __builtin_mul_overflow(n, size, &n)) fail("shape: ", text(), " has more than 2^63 - 1 elements");
  }

 private:
  Index sizes_[max_rank] = {};
  int rank_ = 0;
};

template <class Lazy>
std::string Shape::text() const {
  std::string s = "[";
  for (int i = 0; i < rank_; ++i) {
    if (i) s += ", ";
    s += std::to_string(sizes_[i]);
  }
  return s + "]";
}

/// Whether a tensor of shape `from`, its axes matched from the last one on, repeats to `to`.
inline bool repeats_to(const Shape& from, const Shape& to) {
  if (from.rank() > to.rank()) return false;
  for (int i = 1; i <= from.rank(); ++i)
    if (from[-i] != to[-i] && from[-i] != 1) return false;
  return true;
}

/// Whether `a` and `b` broadcast.
inline bool broadcastable(const Shape& a, const Shape& b) {
  for (int i = 1; i <= a.rank() && i <= b.rank(); ++i)
    if (a[-i] != b[-i] && a[-i] != 1 && b[-i] != 1) return false;
  return true;
}

/// The shape that `a` and `b` broadcast to: trailing axes are matched, an axis of size 1 (or a missing one) repeats.
/// Throws `<op>: a is [2, 3], b is [4, 3]; ...`.
inline Shape broadcast(const Shape& a, const Shape& b, std::string_view op) {
  if (a == b) return a;
  const int rank = a.rank() > b.rank() ? a.rank() : b.rank();
  Shape out = a.rank() > b.rank() ? a : b;
  for (int i = 1; i <= rank; ++i) {
    const Index x = i <= a.rank() ? a[-i] : 1, y = i <= b.rank() ? b[-i] : 1;
    if (x != y && x != 1 && y != 1)
      fail(op, ": a is ", a, ", b is ", b, "; axis ", -i, " (", x, " and ", y, ") must be equal, or one of them 1");
    out[-i] = x == 1 ? y : x;
  }
  return out;
}

}  // namespace espalier::inline ESPALIER_ABI
