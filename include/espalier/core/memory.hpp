#pragma once
// Memory: thread-local pools of 64-byte aligned blocks, atomic reference counts, and the Buffer that tensors share.
//
// A training step repeats its sizes, so freed blocks wait in bins by size class and the next step takes them again: the
// system is asked only while the bins fill. A block freed on another thread joins that thread's bins. When a thread ends its
// bins go back to the system; whatever is freed later (a static model, after main's thread-locals are gone) bypasses them,
// as does what is freed on a thread that never asked for a block.

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

#include "espalier/core/shape.hpp"

namespace espalier::inline ESPALIER_ABI {

namespace detail {

struct FreeBlock {
  FreeBlock* next;
};

/// All thread-local state of the library: trivially destructible and constant-initialised, so no access pays a guard.
struct ThreadState {
  static constexpr unsigned classes = 192;
  std::array<FreeBlock*, classes> bins;
  std::uint64_t system_allocations;  // blocks asked of operator new
  std::uint64_t sequence;            // creation number of graph nodes
  void* dead_nodes;                  // graph nodes waiting to die (autograd/node.hpp)
  bool draining_nodes;
  bool recording;  // false within NoGrad
  bool guarded;    // the thread's PoolGuard has been registered
  bool pooling;    // and has not run yet: somebody will empty the bins
  void* listener;  // hears of every recorded operation (autograd/node.hpp); null: nobody measures
};
inline constinit thread_local ThreadState thread_state{{}, 0, 0, nullptr, false, true, false, false, nullptr};

/// Size classes: 64-byte steps up to 1 KiB, then four an octave (at most 25 % is wasted).
constexpr unsigned size_class(std::size_t bytes) {
  if (bytes <= 1024) return static_cast<unsigned>((bytes + 63 + (bytes == 0)) / 64);
  const auto octave = static_cast<unsigned>(std::bit_width(bytes - 1)) - 1;
  return 17 + (octave - 10) * 4 + static_cast<unsigned>(((bytes - 1) >> (octave - 2)) & 3);
}
constexpr std::size_t class_bytes(unsigned size_class) {
  if (size_class <= 16) return std::size_t{size_class} * 64;
  const unsigned c = size_class - 17;
  return std::size_t{5 + c % 4} << (c / 4 + 8);
}

/// Returns every waiting block of this thread to the system.
inline void empty_bins() noexcept {
  for (FreeBlock*& bin : thread_state.bins)
    while (bin) ::operator delete(std::exchange(bin, bin->next), std::align_val_t{64});
}

struct PoolGuard {
  PoolGuard() { thread_state.guarded = thread_state.pooling = true; }
  PoolGuard(const PoolGuard&) = delete;
  PoolGuard& operator=(const PoolGuard&) = delete;
  ~PoolGuard() {
    empty_bins();
    thread_state.pooling = false;
  }
};

__attribute__((noinline)) inline void* system_block(unsigned size_class) {
  if (!thread_state.guarded) static thread_local PoolGuard guard;
  ++thread_state.system_allocations;
  return ::operator new(class_bytes(size_class), std::align_val_t{64});
}

inline void* take_block(unsigned size_class) {
  FreeBlock*& bin = thread_state.bins[size_class];
  if (bin) return std::exchange(bin, bin->next);
  return system_block(size_class);
}

inline void give_block(void* block, unsigned size_class) noexcept {
  if (!thread_state.pooling) return ::operator delete(block, std::align_val_t{64});
  auto* free_block = static_cast<FreeBlock*>(block);
  free_block->next = thread_state.bins[size_class];
  thread_state.bins[size_class] = free_block;
}

/// Reference count that may be shared by threads; the sole owner releases without a locked instruction.
class Count {
 public:
  void up() { n_.fetch_add(1, std::memory_order_relaxed); }
  /// True when the last reference went.
  bool down() {
    return n_.load(std::memory_order_acquire) == 1 || n_.fetch_sub(1, std::memory_order_acq_rel) == 1;
  }
  bool sole() const { return n_.load(std::memory_order_acquire) == 1; }

 private:
  std::atomic<std::uint32_t> n_{0};
};

}  // namespace detail

/// Number of blocks this thread has asked of the system so far: constant over steady training steps.
inline std::uint64_t system_allocations() { return detail::thread_state.system_allocations; }

/// Gives this thread's cached blocks back to the system.
inline void release_memory() { detail::empty_bins(); }

/// Where a pointee keeps its count; overloaded for types that are not known where they are pointed to.
template <class P>
detail::Count& count_of(P* p) {
  return p->refs;
}

/// Intrusive pointer: `count_of(P*)` and `destroy(P*)` are found by the pointee's type.
template <class P>
class Ref {
 public:
  Ref() = default;
  explicit Ref(P* p) : p_(p) {
    if (p_) count_of(p_).up();
  }
  Ref(const Ref& other) : Ref(other.p_) {}
  Ref(Ref&& other) noexcept : p_(std::exchange(other.p_, nullptr)) {}
  Ref& operator=(Ref other) noexcept {
    std::swap(p_, other.p_);
    return *this;
  }
  ~Ref() {
    if (p_ && count_of(p_).down()) destroy(p_);
  }
  P* get() const { return p_; }
  P* operator->() const { return p_; }
  P& operator*() const { return *p_; }
  explicit operator bool() const { return p_; }
  bool operator==(const Ref& other) const { return p_ == other.p_; }

 private:
  P* p_ = nullptr;
};

/// The storage that tensor handles share. Its payload follows the header, unless the memory is borrowed from the user or
/// the buffer was moved into a pack (several parameters stored as one block, so that one product serves them all).
struct alignas(64) Buffer {
  detail::Count refs;
  std::uint32_t version = 0;  // counts in-place updates, so that backward can refuse stale values
  unsigned size_class = 0;
  bool borrowed = false;
  bool frozen = false;    // holds statistics that training leaves as they are; see nn/freeze.hpp
  std::size_t bytes = 0;  // asked for; 0 when borrowed
  std::byte* data = nullptr;
  Ref<Buffer> pack;  // where `data` lives when it is not ours

  std::uint32_t current_version() const { return pack ? pack->version : version; }
  void bump_version() { ++(pack ? pack->version : version); }
};

inline void destroy(Buffer* buffer) {
  const unsigned c = buffer->size_class;
  buffer->~Buffer();
  detail::give_block(buffer, c);
}

/// An uninitialised, 64-byte aligned buffer.
inline Ref<Buffer> make_buffer(std::size_t bytes) {
  constexpr std::size_t most = std::size_t{1} << 50;
  if (bytes > most) fail("memory: ", bytes, " bytes asked for one tensor; no machine has as many");
  const unsigned c = detail::size_class(bytes + sizeof(Buffer));
  auto* buffer = new (detail::take_block(c)) Buffer;
  buffer->size_class = c;
  buffer->bytes = bytes;
  buffer->data = reinterpret_cast<std::byte*>(buffer + 1);
  return Ref<Buffer>(buffer);
}

/// A buffer over memory that the caller keeps alive and nobody may write through.
inline Ref<Buffer> borrow_buffer(const void* data) {
  Ref<Buffer> buffer = make_buffer(0);
  buffer->borrowed = true;
  buffer->data = static_cast<std::byte*>(const_cast<void*>(data));
  return buffer;
}

}  // namespace espalier::inline ESPALIER_ABI
