#pragma once
// PoolVector: the small lists that a training step makes, on the pools, so that a steady step asks the system for nothing.
// A class of its own, since std::vector with an allocator costs a program three times as much compile time per element type,
// and a program has twenty of them.

#include <algorithm>
#include <initializer_list>
#include <new>

#include "espalier/core/memory.hpp"

namespace espalier::inline ESPALIER_ABI {

/// std::vector's part that lists of a step need, under its names; as unchecked.
template <class T>
class PoolVector {
 public:
  using value_type = T;

  PoolVector() = default;
  explicit PoolVector(std::size_t size) { resize(size); }
  PoolVector(std::size_t size, const T& value) { resize(size, value); }
  PoolVector(const T* first, const T* last) { append(first, last); }
  PoolVector(std::initializer_list<T> items) { append(items.begin(), items.end()); }
  PoolVector(const PoolVector& other) { append(other.begin(), other.end()); }
  PoolVector(PoolVector&& other) noexcept { swap(other); }
  PoolVector& operator=(PoolVector other) noexcept {
    swap(other);
    return *this;
  }
  ~PoolVector() {
    clear();
    if (data_) detail::give_block(data_, detail::size_class(capacity_ * sizeof(T)));
  }

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T* data() { return data_; }
  const T* data() const { return data_; }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }
  const T* begin() const { return data_; }
  const T* end() const { return data_ + size_; }
  T& operator[](std::size_t i) { return data_[i]; }
  const T& operator[](std::size_t i) const { return data_[i]; }
  T& back() { return data_[size_ - 1]; }
  const T& back() const { return data_[size_ - 1]; }

  void reserve(std::size_t size) {
    if (size > capacity_) grow(size);
  }
  /// By value: the item may be one of the list's own.
  void push_back(T item) {
    if (size_ == capacity_) grow(size_ + 1);
    ::new (static_cast<void*>(data_ + size_)) T(std::move(item));
    ++size_;
  }
  void pop_back() { data_[--size_].~T(); }
  /// Items of another list.
  void append(const T* first, const T* last) {
    reserve(size_ + static_cast<std::size_t>(last - first));
    for (; first != last; ++first) push_back(*first);
  }
  void resize(std::size_t size, T value = T()) {
    while (size_ > size) pop_back();
    reserve(size);
    while (size_ < size) push_back(value);
  }
  void clear() { shrink(data_); }
  /// Drops the items from `end` on.
  void shrink(T* end) {
    while (data_ + size_ != end) pop_back();
  }

 private:
  void swap(PoolVector& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }
  __attribute__((noinline)) void grow(std::size_t size) {
    const unsigned c = detail::size_class(std::max(size, 2 * capacity_) * sizeof(T));
    T* data = static_cast<T*>(detail::take_block(c));
    for (std::size_t i = 0; i < size_; ++i) {
      ::new (static_cast<void*>(data + i)) T(std::move(data_[i]));
      data_[i].~T();
    }
    if (data_) detail::give_block(data_, detail::size_class(capacity_ * sizeof(T)));
    data_ = data;
    capacity_ = detail::class_bytes(c) / sizeof(T);
  }

  T* data_ = nullptr;
  std::size_t size_ = 0, capacity_ = 0;
};

}  // namespace espalier::inline ESPALIER_ABI
