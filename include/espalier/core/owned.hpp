#pragma once
// Owned and Shared: the library's two smart pointers. Owned copies what it points to, which is what the classes that hold "a
// module, a metric, a schedule of any type" by value need; Shared is one constant value of several owners. They also spare
// every program <memory>, which under g++ 12 brings all of <ostream> along.

#include <utility>

#include "espalier/core/memory.hpp"

namespace espalier::inline ESPALIER_ABI {

/// Owns an object of a class derived from Base, or none. Base has a virtual destructor and `virtual Base* copy() const`.
template <class Base>
class Owned {
 public:
  Owned() = default;
  /// Takes over an object made with `new`.
  explicit Owned(Base* object) : object_(object) {}
  Owned(const Owned& other) : object_(other.object_ ? other.object_->copy() : nullptr) {}
  Owned(Owned&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Owned& operator=(Owned other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Owned() { delete object_; }

  explicit operator bool() const { return object_ != nullptr; }
  Base* operator->() const { return object_; }
  Base& operator*() const { return *object_; }

 private:
  Base* object_ = nullptr;
};

namespace detail {
template <class T>
struct SharedBox {
  Count refs;
  T value;
};
template <class T>
void destroy(SharedBox<T>* box) {
  delete box;
}
}  // namespace detail

/// A constant value that its copies have in common, or none.
template <class T>
class Shared {
 public:
  Shared() = default;
  explicit Shared(T value) : box_(new detail::SharedBox<T>{{}, std::move(value)}) {}

  explicit operator bool() const { return static_cast<bool>(box_); }
  const T* operator->() const { return &box_->value; }
  const T& operator*() const { return box_->value; }
  bool operator==(const Shared&) const = default;

 private:
  Ref<detail::SharedBox<T>> box_;
};

}  // namespace espalier::inline ESPALIER_ABI
