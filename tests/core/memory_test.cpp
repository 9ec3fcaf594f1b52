#include "espalier/core/memory.hpp"

#include <memory>
#include <optional>
#include <thread>

#include "support/allocations.hpp"
#include "support/catch.hpp"

using namespace espalier;

namespace {

/// Destroyed after main, when the pool of the thread that runs main is gone.
struct Late {
  Ref<Buffer> buffer;
  ~Late() {
    buffer = make_buffer(1000);  // from the system, for want of a pool
    buffer = {};
  }
};
Late late_object;

}  // namespace

TEST_CASE("size classes hold what is asked and waste at most a quarter", "[fast]") {
  CHECK(detail::size_class(0) == 1);
  CHECK(detail::class_bytes(1) == 64);
  for (std::size_t bytes = 1; bytes < (std::size_t{1} << 40); bytes += 1 + bytes / 7) {
    const unsigned c = detail::size_class(bytes);
    REQUIRE(c < detail::ThreadState::classes);
    REQUIRE(detail::class_bytes(c) >= bytes);
    if (bytes > 1024) REQUIRE(static_cast<double>(detail::class_bytes(c)) <= 1.25 * static_cast<double>(bytes) + 1);
    if (c > 1) REQUIRE(detail::class_bytes(c - 1) < bytes);
  }
  for (unsigned c = 1; c < detail::ThreadState::classes; ++c) REQUIRE(detail::size_class(detail::class_bytes(c)) == c);
}

TEST_CASE("buffers are aligned to 64 bytes", "[fast]") {
  for (const std::size_t bytes : {0u, 1u, 63u, 64u, 65u, 1000u, 5000u, 100000u}) {
    const Ref<Buffer> b = make_buffer(bytes);
    CHECK(reinterpret_cast<std::uintptr_t>(b->data) % 64 == 0);
  }
}

TEST_CASE("a freed block is taken again", "[fast]") {
  Ref<Buffer> b = make_buffer(777);
  const void* where = b.get();
  b = {};
  b = make_buffer(800);  // the same class
  CHECK(b.get() == where);
}

TEST_CASE("equal steps ask the system for nothing", "[fast]") {
  CHECK(support::steady_allocations([] {
          PoolVector<Ref<Buffer>> held;
          for (std::size_t i = 0; i < 100; ++i) held.push_back(make_buffer(i * 37));
        }) == 0);
}

TEST_CASE("release_memory empties the bins", "[fast]") {
  make_buffer(123456);
  CHECK(support::cold_allocations([] { make_buffer(123456); }) == 1);
  CHECK(support::cold_allocations([] {}) == 0);
}

TEST_CASE("references are counted", "[fast]") {
  const Ref<Buffer> a = make_buffer(8);
  CHECK(a->refs.sole());
  {
    const Ref<Buffer> b = a;
    CHECK(!a->refs.sole());
    CHECK(b == a);
    Ref<Buffer> c = b;
    const Ref<Buffer> d = std::move(c);
    CHECK(!c);
    CHECK(d);
  }
  CHECK(a->refs.sole());
  Ref<Buffer> self = a;
  self = *&self;
  CHECK(self == a);
}

TEST_CASE("a buffer may be freed on another thread", "[fast]") {
  Ref<Buffer> b = make_buffer(4096);
  std::thread([&] {
    const Ref<Buffer> mine = make_buffer(10);  // so that this thread pools
    b = {};
    const std::uint64_t before = system_allocations();
    make_buffer(4096);
    CHECK(system_allocations() == before);  // it joined this thread's bins
  }).join();
  CHECK(!b);
}

TEST_CASE("a thread that frees but never asks keeps nothing", "[fast]") {  // a leak, as the sanitizer would tell, if it did
  Ref<Buffer> b = make_buffer(4096);
  std::thread([&] {
    b = {};
    for (const auto* bin : detail::thread_state.bins) REQUIRE(bin == nullptr);
  }).join();
}

TEST_CASE("a thread that ends gives its blocks back and may leave buffers behind", "[fast]") {
  Ref<Buffer> left;
  std::thread([&] {
    left = make_buffer(100);
    make_buffer(100000);
    *reinterpret_cast<int*>(left->data) = 42;
  }).join();
  CHECK(*reinterpret_cast<int*>(left->data) == 42);
}

TEST_CASE("a thread-local that dies after the pool is fine", "[fast]") {
  std::thread([] {
    static thread_local std::optional<Ref<Buffer>> early;  // made before the pool's guard, so destroyed after it
    early.emplace();
    *early = make_buffer(64);
  }).join();
}

TEST_CASE("counts survive threads that share a buffer", "[fast]") {
  const Ref<Buffer> shared = make_buffer(64);
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 20000; ++i) {
        const Ref<Buffer> copy = shared;
        wrong += copy.get() != shared.get();
      }
    });
  for (std::thread& t : threads) t.join();
  CHECK(wrong == 0);
  CHECK(shared->refs.sole());
}

TEST_CASE("borrowed buffers point at the caller's memory", "[fast]") {
  const int numbers[] = {1, 2, 3};
  const Ref<Buffer> b = borrow_buffer(numbers);
  CHECK(b->borrowed);
  CHECK(static_cast<const void*>(b->data) == numbers);
}

TEST_CASE("versions count updates, of the pack where there is one", "[fast]") {
  const Ref<Buffer> pack = make_buffer(64), part = make_buffer(0);
  part->bump_version();
  CHECK(part->current_version() == 1);
  part->pack = pack;
  CHECK(part->current_version() == 0);
  part->bump_version();
  CHECK(pack->current_version() == 1);
}

TEST_CASE("absurd sizes are refused before they are asked for", "[fast]") {
  CHECK_THROWS_WITH(make_buffer(std::size_t{1} << 60), "memory: 1152921504606846976 bytes asked for one tensor; no machine has as many");
  CHECK_THROWS_WITH(make_buffer(~std::size_t{0}), "memory: 18446744073709551615 bytes asked for one tensor; no machine has as many");
}

TEST_CASE("a static object may hold a buffer until the very end", "[fast]") {
  late_object.buffer = make_buffer(500);
  CHECK(late_object.buffer);
}
