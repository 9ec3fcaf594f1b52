#pragma once
// Random numbers, counter-based: a draw is a pure function of (seed, stream, step, name, index), never of call order,
// thread count or standard library. A layer or task added to a model therefore shifts nobody else's draws, and a mask can
// be computed again from its key. The generator is Philox-4x32-10 (Salmon et al., "Parallel random numbers: as easy as
// 1, 2, 3", SC 2011). There is no global generator: an Rng is passed in.

#include <array>
#include <cmath>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include "espalier/core/shape.hpp"

namespace espalier::inline ESPALIER_ABI {

namespace detail {

/// Ten rounds of Philox-4x32.
inline std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> c, std::uint32_t k0, std::uint32_t k1) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53u} * c[0], b = std::uint64_t{0xCD9E8D57u} * c[2];
    c = {static_cast<std::uint32_t>(b >> 32) ^ c[1] ^ k0, static_cast<std::uint32_t>(b),
         static_cast<std::uint32_t>(a >> 32) ^ c[3] ^ k1, static_cast<std::uint32_t>(a)};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c;
}

/// splitmix64's finaliser: spreads a counter or a hash over all bits.
constexpr std::uint64_t mix(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

/// FNV-1a, then mixed: a name's part of a key.
constexpr std::uint64_t hash_name(std::string_view name) {
  std::uint64_t h = 0xCBF29CE484222325u;
  for (char c : name) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  return mix(h);
}

}  // namespace detail

/// One keyed sequence of draws: `draw.uniform(i)` is the i-th uniform number in [0, 1).
class Draws {
 public:
  explicit Draws(std::uint64_t key) : key_(key) {}

  /// Four times 32 random bits at `index`, for who needs many; the first two are those of `bits`.
  std::array<std::uint32_t, 4> words(std::uint64_t index) const {
    return detail::philox({static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32), 0, 0},
                          static_cast<std::uint32_t>(key_), static_cast<std::uint32_t>(key_ >> 32));
  }
  /// 64 random bits at `index`.
  std::uint64_t bits(std::uint64_t index) const {
    const auto w = words(index);
    return (std::uint64_t{w[0]} << 32) | w[1];
  }
  /// Uniform in [0, 1), a multiple of 2^-53.
  double uniform(std::uint64_t index) const { return static_cast<double>(bits(index) >> 11) * 0x1p-53; }
  /// Standard normal (Box-Muller).
  double normal(std::uint64_t index) const {
    const auto w = detail::philox({static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32), 1, 0},
                                  static_cast<std::uint32_t>(key_), static_cast<std::uint32_t>(key_ >> 32));
    const double u = (static_cast<double>(((std::uint64_t{w[0]} << 32) | w[1]) >> 11) + 1.0) * 0x1p-53;  // (0, 1]
    const double v = static_cast<double>(((std::uint64_t{w[2]} << 32) | w[3]) >> 11) * 0x1p-53;
    return std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586476925 * v);
  }
  /// Uniform in [0, bound): the high half of a 128-bit product, rejecting the short remainder (Lemire 2019). Throws Error
  /// when bound < 1.
  Index below(Index bound, std::uint64_t index) const {
    if (bound < 1) fail("below: bound is ", bound, "; it must be at least 1");
    const auto n = static_cast<std::uint64_t>(bound);
    const std::uint64_t threshold = (0 - n) % n;
    for (std::uint64_t attempt = 0;; ++attempt) {
      __extension__ using Wide = unsigned __int128;
      const Wide product = static_cast<Wide>(detail::mix(bits(index) + attempt)) * n;
      if (static_cast<std::uint64_t>(product) >= threshold) return static_cast<Index>(product >> 64);
    }
  }

 private:
  std::uint64_t key_;
};

/// The generator that is passed to whatever needs random numbers. Copies go on independently from the same state.
class Rng {
 public:
  explicit Rng(std::uint64_t seed = 0, std::uint64_t stream = 0) : seed_(seed), stream_(stream) {}

  std::uint64_t seed() const { return seed_; }
  std::uint64_t stream() const { return stream_; }
  std::uint64_t step() const { return step_; }

  /// The draws of a named purpose at a step: a pure function, the generator does not advance.
  Draws draws(std::string_view name, std::uint64_t step) const { return draws(detail::hash_name(name), step); }
  Draws draws(std::uint64_t name_hash, std::uint64_t step) const {
    return Draws(detail::mix(detail::mix(detail::mix(seed_) ^ stream_) ^ detail::mix(step ^ detail::mix(name_hash))));
  }
  /// A fresh sequence, advancing the generator by one: what a layer's initialiser takes.
  Draws next() { return draws("next", step_++); }

  /// Fills with standard normal, or uniform [low, high), numbers; one `next()` each.
  template <class T>
  void normal(std::span<T> out) {
    const Draws d = next();
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<T>(d.normal(i));
  }
  template <class T>
  void uniform(std::span<T> out, double low, double high) {
    const Draws d = next();
    if (low > high) fail("uniform: low is ", low, ", high is ", high, "; low must not be above high");
    const T last = std::nextafter(static_cast<T>(high), static_cast<T>(low));  // rounding to T may reach `high`
    for (std::size_t i = 0; i < out.size(); ++i) {
      const T number = static_cast<T>(low + (high - low) * d.uniform(i));
      out[i] = number < static_cast<T>(high) ? number : last;
    }
  }
  /// A random order of the elements (Fisher-Yates); one `next()`.
  template <class T>
  void shuffle(std::span<T> items) {
    const Draws d = next();
    for (std::size_t i = items.size(); i > 1; --i) {
      const auto j = static_cast<std::size_t>(d.below(static_cast<Index>(i), i));
      std::swap(items[i - 1], items[j]);
    }
  }

  void fields(auto&& visit) {
    visit("seed", seed_);
    visit("stream", stream_);
    visit("step", step_);
  }

 private:
  std::uint64_t seed_, stream_, step_ = 0;
};

}  // namespace espalier::inline ESPALIER_ABI
