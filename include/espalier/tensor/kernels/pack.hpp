#pragma once
// pack<T>: as many T as one vector register of the target holds, the type that elementwise kernels compute with.
//
// A formula written with unqualified maths (`x / (1 + exp(-x))`) runs on a pack in kernels and on a Tensor in the
// graph. What it promises: the bits of an element depend on its inputs and on the instruction set alone, neither on the
// optimisation level, nor on -ffp-contract or -ffast-math (but for denormals, which a program linked with -ffast-math
// flushes), nor on the element's position. Compilers fuse `a * b + c` across inlined operators as they please, and
// fast-math reorders sums, so every rounded result passes an empty asm statement that ends what the optimiser can see;
// `fma` is the way to fuse. Division, square root, min and max are single instructions by name for the same reason.
//
// Packs never cross the border of a function that is not inlined (the calling convention of wide vectors differs from
// flag to flag): pass pointers. The copy constructor is user-provided so that even then a pack goes by reference.

#include <limits>
#include <type_traits>

#include "espalier/config.hpp"
#include "espalier/core/shape.hpp"

namespace espalier::inline ESPALIER_ABI {

namespace detail {

/// Ends what the optimiser knows about `x`: no instruction, but nothing is fused into it or reordered across it.
template <class Vector>
ESPALIER_INLINE void keep_rounded(Vector& x) {
#if defined(__SSE2__)
  asm("" : "+v"(x));
#elif defined(__aarch64__)
  asm("" : "+w"(x));
#else
  (void)x;  // no constraint letter known: the promise about bits then ends at the compiler's contraction
#endif
}

// r = op(a, b) by name. `b` is the operand that x86's min and max return when either is NaN.
#if defined(__AVX__)
#define ESPALIER_BINARY(op, r, a, b) asm("v" op " {%2, %1, %0|%0, %1, %2}" : "=v"(r) : "v"(a), "v"(b))
#define ESPALIER_UNARY(op, r, a) asm("v" op " {%1, %0|%0, %1}" : "=v"(r) : "v"(a))
#elif defined(__SSE2__)
#define ESPALIER_BINARY(op, r, a, b) asm(op " {%2, %0|%0, %2}" : "=x"(r) : "0"(a), "x"(b))
#define ESPALIER_UNARY(op, r, a) asm(op " {%1, %0|%0, %1}" : "=x"(r) : "x"(a))
#endif

}  // namespace detail

/// `Bytes / sizeof(T)` numbers, computed with side by side. T is float or double; Bytes the width of a register.
template <class T, int Bytes = ESPALIER_VECTOR_BYTES>
struct pack {
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, double>);
  static_assert(Bytes == 16 || Bytes == 32 || Bytes == 64);

  static constexpr int size = Bytes / int(sizeof(T));
  /// True where `fma` rounds once. It follows the ISA tag: a pre-AVX2 build does not fuse, whatever flags it adds.
#if defined(__aarch64__)
  static constexpr bool fused = true;
#else
  static constexpr bool fused = ESPALIER_VECTOR_BYTES >= 32;
#endif

  using lane_int = std::conditional_t<sizeof(T) == 4, int, long long>;
  typedef T vector __attribute__((vector_size(Bytes)));
  typedef lane_int int_vector __attribute__((vector_size(Bytes)));

  /// A condition per lane: what comparisons give and `select` takes.
  struct mask {
    int_vector v;  // -1 where true, 0 where false
    ESPALIER_INLINE mask() : v{} {}
    ESPALIER_INLINE explicit mask(const int_vector& bits) : v(bits) {}
    ESPALIER_INLINE mask(const mask& other) : v(other.v) {}
    ESPALIER_INLINE mask& operator=(const mask& other) {
      v = other.v;
      return *this;
    }
    ESPALIER_INLINE friend mask operator&(const mask& a, const mask& b) { return mask(a.v & b.v); }
    ESPALIER_INLINE friend mask operator|(const mask& a, const mask& b) { return mask(a.v | b.v); }
    ESPALIER_INLINE friend mask operator!(const mask& a) { return mask(~a.v); }
  };

  vector v;

  /// Zeros.
  ESPALIER_INLINE pack() : v{} {}
  /// The same number in every lane; implicit, so that `1 - x` reads as maths.
  ESPALIER_INLINE pack(T value) : v(value - vector{}) {}
  ESPALIER_INLINE explicit pack(const vector& lanes) : v(lanes) {}
  ESPALIER_INLINE pack(const pack& other) : v(other.v) {}
  ESPALIER_INLINE pack& operator=(const pack& other) {
    v = other.v;
    return *this;
  }

  /// `size` numbers from `p`, which need not be aligned.
  ESPALIER_INLINE static pack load(const T* p) {
    const vector lanes = *reinterpret_cast<const unaligned*>(p);
    return pack(lanes);
  }
  ESPALIER_INLINE void store(T* p) const { *reinterpret_cast<unaligned*>(p) = v; }

  /// The first `n` numbers (0 <= n < size), then zeros. Touches no memory beyond them.
  ESPALIER_INLINE static pack load(const T* p, Index n) {
    pack r;
#if defined(__AVX512F__)
    if constexpr (Bytes == 64) {
      const auto lanes = static_cast<lane_mask>((1u << n) - 1);
      if constexpr (sizeof(T) == 4) r.v = __builtin_ia32_loadups512_mask(p, r.v, lanes);
      if constexpr (sizeof(T) == 8) r.v = __builtin_ia32_loadupd512_mask(p, r.v, lanes);
      return r;
    }
#endif
#if defined(__AVX__)
    if constexpr (Bytes == 32) {
      const auto q = reinterpret_cast<const vector*>(p);
      if constexpr (sizeof(T) == 4) r.v = __builtin_ia32_maskloadps256(q, first(n));
      if constexpr (sizeof(T) == 8) r.v = __builtin_ia32_maskloadpd256(q, first(n));
      return r;
    }
#endif
    if (n > 0) r.v[0] = p[0];
    if constexpr (size > 2) {  // written out: an index that is not constant would send the vector through memory
      if (n > 1) r.v[1] = p[1];
      if (n > 2) r.v[2] = p[2];
      for (int i = 3; i < n; ++i) r.v[i] = p[i];
    }
    return r;
  }
  ESPALIER_INLINE void store(T* p, Index n) const {
#if defined(__AVX512F__)
    if constexpr (Bytes == 64) {
      const auto lanes = static_cast<lane_mask>((1u << n) - 1);
      if constexpr (sizeof(T) == 4) __builtin_ia32_storeups512_mask(p, v, lanes);
      if constexpr (sizeof(T) == 8) __builtin_ia32_storeupd512_mask(p, v, lanes);
      return;
    }
#endif
#if defined(__AVX__)
    if constexpr (Bytes == 32) {
      const auto q = reinterpret_cast<vector*>(p);
      if constexpr (sizeof(T) == 4) __builtin_ia32_maskstoreps256(q, first(n), v);
      if constexpr (sizeof(T) == 8) __builtin_ia32_maskstorepd256(q, first(n), v);
      return;
    }
#endif
    if (n > 0) p[0] = v[0];
    if constexpr (size > 2) {
      if (n > 1) p[1] = v[1];
      if (n > 2) p[2] = v[2];
      for (int i = 3; i < n; ++i) p[i] = v[i];
    }
  }

  ESPALIER_INLINE friend pack operator+(const pack& a, const pack& b) { return rounded(a.v + b.v); }
  ESPALIER_INLINE friend pack operator-(const pack& a, const pack& b) { return rounded(a.v - b.v); }
  ESPALIER_INLINE friend pack operator*(const pack& a, const pack& b) { return rounded(a.v * b.v); }
  ESPALIER_INLINE friend pack operator/(const pack& a, const pack& b) {
    pack r;
#if defined(__SSE2__)
    if constexpr (sizeof(T) == 4) ESPALIER_BINARY("divps", r.v, a.v, b.v);
    if constexpr (sizeof(T) == 8) ESPALIER_BINARY("divpd", r.v, a.v, b.v);
#else
    r = rounded(a.v / b.v);
#endif
    return r;
  }
  ESPALIER_INLINE pack operator-() const { return pack(-v); }
  ESPALIER_INLINE pack& operator+=(const pack& b) { return *this = *this + b; }
  ESPALIER_INLINE pack& operator-=(const pack& b) { return *this = *this - b; }
  ESPALIER_INLINE pack& operator*=(const pack& b) { return *this = *this * b; }
  ESPALIER_INLINE pack& operator/=(const pack& b) { return *this = *this / b; }

  /// a * b + c, rounded once where `fused`, else twice.
  ESPALIER_INLINE friend pack fma(const pack& a, const pack& b, const pack& c) {
    if constexpr (!fused) {
      return a * b + c;
    } else {
      pack r;
#if defined(__AVX512F__)
#if defined(__clang__)  // compilers differ in the signs of the builtins' masks
      constexpr lane_mask every = std::numeric_limits<lane_mask>::max();
#else
      constexpr int every = sizeof(T) == 4 ? -1 : 0xFF;
#endif
      if constexpr (Bytes == 64 && sizeof(T) == 4) r.v = __builtin_ia32_vfmaddps512_mask(a.v, b.v, c.v, every, 4);
      if constexpr (Bytes == 64 && sizeof(T) == 8) r.v = __builtin_ia32_vfmaddpd512_mask(a.v, b.v, c.v, every, 4);
#endif
#if defined(__FMA__)
      if constexpr (Bytes == 32 && sizeof(T) == 4) r.v = __builtin_ia32_vfmaddps256(a.v, b.v, c.v);
      if constexpr (Bytes == 32 && sizeof(T) == 8) r.v = __builtin_ia32_vfmaddpd256(a.v, b.v, c.v);
      if constexpr (Bytes == 16 && sizeof(T) == 4) r.v = __builtin_ia32_vfmaddps(a.v, b.v, c.v);
      if constexpr (Bytes == 16 && sizeof(T) == 8) r.v = __builtin_ia32_vfmaddpd(a.v, b.v, c.v);
#elif defined(__aarch64__)
      r = c;
      if constexpr (sizeof(T) == 4) asm("fmla %0.4s, %1.4s, %2.4s" : "+w"(r.v) : "w"(a.v), "w"(b.v));
      if constexpr (sizeof(T) == 8) asm("fmla %0.2d, %1.2d, %2.2d" : "+w"(r.v) : "w"(a.v), "w"(b.v));
#endif
      return r;
    }
  }

  /// The larger; `x` when either is NaN or they are equal. So a NaN in `x` comes out, and one in `y` is ignored.
  ESPALIER_INLINE friend pack max(const pack& x, const pack& y) {
    pack r;
#if defined(__SSE2__)
    if constexpr (sizeof(T) == 4) ESPALIER_BINARY("maxps", r.v, y.v, x.v);
    if constexpr (sizeof(T) == 8) ESPALIER_BINARY("maxpd", r.v, y.v, x.v);
#else
    r.v = y.v > x.v ? y.v : x.v;
#endif
    return r;
  }
  /// The smaller; `x` when either is NaN or they are equal.
  ESPALIER_INLINE friend pack min(const pack& x, const pack& y) {
    pack r;
#if defined(__SSE2__)
    if constexpr (sizeof(T) == 4) ESPALIER_BINARY("minps", r.v, y.v, x.v);
    if constexpr (sizeof(T) == 8) ESPALIER_BINARY("minpd", r.v, y.v, x.v);
#else
    r.v = y.v < x.v ? y.v : x.v;
#endif
    return r;
  }
  ESPALIER_INLINE friend pack sqrt(const pack& x) {
    pack r;
#if defined(__SSE2__)
    if constexpr (sizeof(T) == 4) ESPALIER_UNARY("sqrtps", r.v, x.v);
    if constexpr (sizeof(T) == 8) ESPALIER_UNARY("sqrtpd", r.v, x.v);
#elif defined(__aarch64__)
    if constexpr (sizeof(T) == 4) asm("fsqrt %0.4s, %1.4s" : "=w"(r.v) : "w"(x.v));
    if constexpr (sizeof(T) == 8) asm("fsqrt %0.2d, %1.2d" : "=w"(r.v) : "w"(x.v));
#else
    for (int i = 0; i < size; ++i)
      r.v[i] = sizeof(T) == 4 ? T(__builtin_sqrtf(float(x.v[i]))) : T(__builtin_sqrt(x.v[i]));
#endif
    return r;
  }
  ESPALIER_INLINE friend pack abs(const pack& x) { return from_bits(x.bits() & ~sign_bits()); }
  /// |x| with the sign of `s`.
  ESPALIER_INLINE friend pack copysign(const pack& x, const pack& s) {
    return from_bits((x.bits() & ~sign_bits()) | (s.bits() & sign_bits()));
  }

  /// max(x, 0); NaN stays NaN.
  ESPALIER_INLINE friend pack relu(const pack& x) { return max(x, pack()); }
  /// 1 where x > 0, else 0 (also for NaN): the slope of relu.
  ESPALIER_INLINE friend pack step(const pack& x) { return greater(x, pack()); }
  /// -1, 0 or 1; 0 for NaN.
  ESPALIER_INLINE friend pack sign(const pack& x) { return greater(x, pack()) - less(x, pack()); }

  ESPALIER_INLINE friend mask operator<(const pack& a, const pack& b) { return mask(a.v < b.v); }
  ESPALIER_INLINE friend mask operator<=(const pack& a, const pack& b) { return mask(a.v <= b.v); }
  ESPALIER_INLINE friend mask operator>(const pack& a, const pack& b) { return mask(a.v > b.v); }
  ESPALIER_INLINE friend mask operator>=(const pack& a, const pack& b) { return mask(a.v >= b.v); }
  ESPALIER_INLINE friend mask operator==(const pack& a, const pack& b) { return mask(a.v == b.v); }
  ESPALIER_INLINE friend mask operator!=(const pack& a, const pack& b) { return mask(a.v != b.v); }
  /// By its bits, so that -ffinite-math-only does not assume the answer.
  ESPALIER_INLINE friend mask is_nan(const pack& x) {
    constexpr lane_int infinity = sizeof(T) == 4 ? lane_int(0x7f800000) : lane_int(0x7ff0000000000000);
    return mask((x.bits() & ~sign_bits()) > infinity);
  }
  /// `a` where the mask is true, `b` elsewhere.
  ESPALIER_INLINE friend pack select(const mask& m, const pack& a, const pack& b) { return pack(m.v ? a.v : b.v); }
  /// Comparisons as numbers, 1 or 0, as the Tensor functions of these names give them.
  ESPALIER_INLINE friend pack less(const pack& a, const pack& b) { return select(a < b, pack(1), pack()); }
  ESPALIER_INLINE friend pack greater(const pack& a, const pack& b) { return select(a > b, pack(1), pack()); }
  ESPALIER_INLINE friend pack equal(const pack& a, const pack& b) { return select(a == b, pack(1), pack()); }

  /// The lanes added in a fixed tree: lane i with lane i + size / 2, then the same on the lower half.
  ESPALIER_INLINE friend T sum(const pack& x) {
    return x.reduce([](const auto& a, const auto& b) __attribute__((always_inline)) { return a + b; });
  }
  /// The largest lane, in the same tree; NaN when any lane is NaN.
  ESPALIER_INLINE friend T max(const pack& x) {
    return x.reduce([](const auto& a, const auto& b)
                        __attribute__((always_inline)) { return select(is_nan(b), b, max(a, b)); });
  }

  /// The lanes' bit patterns, and back.
  ESPALIER_INLINE int_vector bits() const { return reinterpret_cast<int_vector>(v); }
  ESPALIER_INLINE static pack from_bits(const int_vector& bits) { return pack(reinterpret_cast<vector>(bits)); }

 private:
  typedef T unaligned __attribute__((vector_size(Bytes), aligned(sizeof(T)), may_alias));

  ESPALIER_INLINE static pack rounded(vector x) {
    detail::keep_rounded(x);
    return pack(x);
  }
  ESPALIER_INLINE static int_vector sign_bits() { return std::numeric_limits<lane_int>::min() + int_vector{}; }
  /// -1 in the first n lanes, 0 in the others.
  ESPALIER_INLINE static int_vector first(Index n) {
    int_vector lane{};
    for (int i = 0; i < size; ++i) lane[i] = i;
    return lane < static_cast<lane_int>(n) + int_vector{};
  }
  using lane_mask = std::conditional_t<sizeof(T) == 4, unsigned short, unsigned char>;  // AVX-512's, at 64 bytes
  template <class Combine>
  ESPALIER_INLINE T reduce(const Combine& combine) const {
    if constexpr (Bytes > 16) {
      pack<T, Bytes / 2> low, high;
      __builtin_memcpy(&low.v, &v, Bytes / 2);
      __builtin_memcpy(&high.v, reinterpret_cast<const char*>(&v) + Bytes / 2, Bytes / 2);
      return combine(low, high).reduce(combine);
    } else if constexpr (sizeof(T) == 4) {
      const pack r = combine(*this, pack(__builtin_shufflevector(v, v, 2, 3, 0, 1)));
      return combine(r, pack(__builtin_shufflevector(r.v, r.v, 1, 0, 3, 2))).v[0];
    } else {
      return combine(*this, pack(__builtin_shufflevector(v, v, 1, 0))).v[0];
    }
  }
  template <class, int>
  friend struct pack;
};

#undef ESPALIER_BINARY
#undef ESPALIER_UNARY

/// y[i] = f(a[i], b[i], ...) for i in [0, n), f taking and giving packs. The last n % size elements go through the same
/// f in a pack padded with zeros, so an element's bits do not depend on its position. y may be one of the inputs.
template <class T, class F, class... P>
ESPALIER_INLINE void for_each_pack(Index n, T* y, F&& f, const P*... inputs) {
  static_assert((std::is_same_v<P, T> && ...));
  constexpr Index size = pack<T>::size;
  Index i = 0;
  for (; i + size <= n; i += size) f(pack<T>::load(inputs + i)...).store(y + i);
  if (i < n) f(pack<T>::load(inputs + i, n - i)...).store(y + i, n - i);
}

}  // namespace espalier::inline ESPALIER_ABI
