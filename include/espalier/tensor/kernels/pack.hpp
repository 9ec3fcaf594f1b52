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
// Bytes is also the instruction set: 16 is SSE2 (or what the machine has, elsewhere), 32 is AVX2 with FMA, 64 is AVX-512.
// The code here is the same for all; a wide pack is inlined into a function whose target attribute has the instructions
// (isa.hpp). Therefore everything a kernel calls on packs is always_inline, lambdas too, and there are no builtins, which
// clang takes only where the instructions are: vector extensions, and single instructions by name. The `?` in the
// constraints says nothing; without it clang would compare the operand with the registers of the function around.
//
// Packs never cross the border of a function that is not inlined (the calling convention of wide vectors differs from
// flag to flag): pass pointers. The copy constructors are user-provided so that even then a pack goes by reference.

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
  asm("" : "+?v"(x));
#elif defined(__aarch64__)
  asm("" : "+w"(x));
#else
  (void)x;  // no constraint letter known: the promise about bits then ends at the compiler's contraction
#endif
}

/// v = value in every lane.
template <class Vector, class T>
ESPALIER_INLINE void fill(Vector& v, T value) {
#if defined(__SSE2__)
  // By name, as g++ would build it lane by lane before it knows the function around. Constants are better kept in memory.
  if constexpr (sizeof(Vector) > 16) {
    if (!__builtin_constant_p(value)) {
      typedef T quarter __attribute__((vector_size(16)));
      const quarter first = {value};
      if constexpr (sizeof(T) == 4) asm("vbroadcastss {%x1, %0|%0, %x1}" : "=?v"(v) : "?v"(first));
      if constexpr (sizeof(T) == 8) asm("vbroadcastsd {%x1, %0|%0, %x1}" : "=?v"(v) : "?v"(first));
      return;
    }
  }
#endif
  v = value - Vector{};
}

/// -1 n times from switch_on + size - n on, then zeros.
template <class Int, std::size_t size>
inline constexpr auto switch_on = [] {
  struct {
    Int lane[2 * size] = {};
  } made;
  for (std::size_t i = 0; i < size; ++i) made.lane[i] = -1;
  return made;
}();

// Whether instructions on vectors of this size have three operands. All do in functions compiled for AVX; a 16-byte pack
// within a dispatched kernel therefore has no use for the operations that are instructions by name.
#if defined(__AVX__)
template <int Bytes>
inline constexpr bool three_operands = true;
#else
template <int Bytes>
inline constexpr bool three_operands = Bytes > 16;
#endif

// r = op(a, b) by name. `b` is the operand that x86's min and max return when either is NaN.
#if defined(__SSE2__)
#define ESPALIER_BINARY_AS(op, r, a, b)                                   \
  if constexpr (detail::three_operands<Bytes>) {                          \
    asm("v" op " {%2, %1, %0|%0, %1, %2}" : "=?v"(r) : "?v"(a), "?v"(b)); \
  } else {                                                                \
    asm(op " {%2, %0|%0, %2}" : "=x"(r) : "0"(a), "x"(b));                \
  }
#define ESPALIER_UNARY_AS(op, r, a)                        \
  if constexpr (detail::three_operands<Bytes>) {           \
    asm("v" op " {%1, %0|%0, %1}" : "=?v"(r) : "?v"(a));   \
  } else {                                                 \
    asm(op " {%1, %0|%0, %1}" : "=x"(r) : "x"(a));         \
  }
#define ESPALIER_BINARY(op, r, a, b)       \
  if constexpr (sizeof(T) == 4) {          \
    ESPALIER_BINARY_AS(op "ps", r, a, b)   \
  } else {                                 \
    ESPALIER_BINARY_AS(op "pd", r, a, b)   \
  }
#define ESPALIER_UNARY(op, r, a)       \
  if constexpr (sizeof(T) == 4) {      \
    ESPALIER_UNARY_AS(op "ps", r, a)   \
  } else {                             \
    ESPALIER_UNARY_AS(op "pd", r, a)   \
  }
// r = p[...] and p[...] = x in the lanes of a mask, and nothing beyond: with AVX-512's masks, and with a vector's signs.
#if defined(__clang__)  // what the operand is called: neither compiler takes, or takes without a warning, the other's form
#define ESPALIER_MEMORY(p, Const) *reinterpret_cast<Const unaligned*>(p)
#else
#define ESPALIER_MEMORY(p, Const) *reinterpret_cast<Const T(*)[]>(p)
#endif
#define ESPALIER_LOAD_MASKED_512(op, r, p, mask)                              \
  asm(op " {%1, %0%{%2%}%{z%}|%0%{%2%}%{z%}, %1}" : "=?v"(r) : "m"(ESPALIER_MEMORY(p, const)), "Yk"(mask))
#define ESPALIER_STORE_MASKED_512(op, p, x, mask) \
  asm(op " {%1, %0%{%2%}|%0%{%2%}, %1}" : "+m"(ESPALIER_MEMORY(p, )) : "?v"(x), "Yk"(mask))
#define ESPALIER_LOAD_MASKED_256(op, r, p, mask) \
  asm(op " {%1, %2, %0|%0, %2, %1}" : "=?x"(r) : "m"(ESPALIER_MEMORY(p, const)), "?x"(mask))
#define ESPALIER_STORE_MASKED_256(op, p, x, mask) \
  asm(op " {%1, %2, %0|%0, %2, %1}" : "+m"(ESPALIER_MEMORY(p, )) : "?x"(x), "?x"(mask))
#endif

}  // namespace detail

/// `Bytes / sizeof(T)` numbers, computed with side by side. T is float or double; Bytes the width of a register.
template <class T, int Bytes = ESPALIER_VECTOR_BYTES>
struct pack {
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, double>);
  static_assert(Bytes == 16 || Bytes == 32 || Bytes == 64);

  static constexpr int size = Bytes / int(sizeof(T));
  /// True where `fma` rounds once: by the instruction set that Bytes names, whatever flags the unit adds.
#if defined(__aarch64__)
  static constexpr bool fused = true;
#else
  static constexpr bool fused = Bytes >= 32;
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

  /// The lanes' bit patterns, as integers: sums wrap, `>>` shifts zeros in.
  struct integers {
    int_vector v;
    ESPALIER_INLINE integers(lane_int value) { detail::fill(v, value); }
    ESPALIER_INLINE explicit integers(const int_vector& bits) : v(bits) {}
    ESPALIER_INLINE integers(const integers& other) : v(other.v) {}
    ESPALIER_INLINE friend integers operator&(const integers& a, const integers& b) { return integers(a.v & b.v); }
    ESPALIER_INLINE friend integers operator|(const integers& a, const integers& b) { return integers(a.v | b.v); }
    ESPALIER_INLINE friend integers operator~(const integers& a) { return integers(~a.v); }
    ESPALIER_INLINE friend integers operator+(const integers& a, const integers& b) {
      return of(reinterpret_cast<unsigned_vector>(a.v) + reinterpret_cast<unsigned_vector>(b.v));
    }
    ESPALIER_INLINE friend integers operator-(const integers& a, const integers& b) {
      return of(reinterpret_cast<unsigned_vector>(a.v) - reinterpret_cast<unsigned_vector>(b.v));
    }
    ESPALIER_INLINE friend integers operator<<(const integers& a, int n) {
      return of(reinterpret_cast<unsigned_vector>(a.v) << static_cast<unsigned_lane>(n));
    }
    ESPALIER_INLINE friend integers operator>>(const integers& a, int n) {
      return of(reinterpret_cast<unsigned_vector>(a.v) >> static_cast<unsigned_lane>(n));
    }
    ESPALIER_INLINE friend mask operator<(const integers& a, const integers& b) { return mask(a.v < b.v); }
    ESPALIER_INLINE friend mask operator>(const integers& a, const integers& b) { return mask(a.v > b.v); }

   private:
    using unsigned_lane = std::make_unsigned_t<lane_int>;
    typedef unsigned_lane unsigned_vector __attribute__((vector_size(Bytes)));
    ESPALIER_INLINE static integers of(const unsigned_vector& bits) { return integers(reinterpret_cast<int_vector>(bits)); }
  };

  vector v;

  /// Zeros.
  ESPALIER_INLINE pack() : v{} {}
  /// The same number in every lane; implicit, so that `1 - x` reads as maths.
  ESPALIER_INLINE pack(T value) { detail::fill(v, value); }
  ESPALIER_INLINE explicit pack(const vector& lanes) : v(lanes) {}
  ESPALIER_INLINE pack(const pack& other) : v(other.v) {}
  ESPALIER_INLINE pack& operator=(const pack& other) {
    v = other.v;
    return *this;
  }

  /// *p in every lane, straight from memory: where a load is all there is to do, as in gemm.
  ESPALIER_INLINE static pack repeat(const T* p) {
#if defined(__SSE2__)
    if constexpr (Bytes > 16) {
      pack r;
      if constexpr (sizeof(T) == 4) asm("vbroadcastss {%1, %0|%0, %1}" : "=?v"(r.v) : "m"(*p));
      if constexpr (sizeof(T) == 8) asm("vbroadcastsd {%1, %0|%0, %1}" : "=?v"(r.v) : "m"(*p));
      return r;
    }
#endif
    return pack(*p);
  }

  /// `size` numbers from `p`, which need not be aligned.
  ESPALIER_INLINE static pack load(const T* p) {
    const vector lanes = *reinterpret_cast<const unaligned*>(p);
    return pack(lanes);
  }
  ESPALIER_INLINE void store(T* p) const { *reinterpret_cast<unaligned*>(p) = v; }

  /// True in the first n lanes (0 <= n <= size).
  ESPALIER_INLINE static mask first(Index n) {
    typedef lane_int from __attribute__((vector_size(Bytes), aligned(sizeof(T)), may_alias));
    const int_vector lanes = *reinterpret_cast<const from*>(detail::switch_on<lane_int, std::size_t{size}>.lane + size - n);
    return mask(lanes);
  }
  /// The first `n` numbers (0 <= n < size), then zeros. Touches no memory beyond them.
  ESPALIER_INLINE static pack load(const T* p, Index n) {
    pack r;
#if defined(__SSE2__)
    if constexpr (Bytes == 64) {
      const auto lanes = static_cast<lane_mask>((1u << n) - 1);
      if constexpr (sizeof(T) == 4) ESPALIER_LOAD_MASKED_512("vmovups", r.v, p, lanes);
      if constexpr (sizeof(T) == 8) ESPALIER_LOAD_MASKED_512("vmovupd", r.v, p, lanes);
      return r;
    } else if constexpr (Bytes == 32) {
      const mask lanes = first(n);
      if constexpr (sizeof(T) == 4) ESPALIER_LOAD_MASKED_256("vmaskmovps", r.v, p, lanes.v);
      if constexpr (sizeof(T) == 8) ESPALIER_LOAD_MASKED_256("vmaskmovpd", r.v, p, lanes.v);
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
#if defined(__SSE2__)
    if constexpr (Bytes == 64) {
      const auto lanes = static_cast<lane_mask>((1u << n) - 1);
      if constexpr (sizeof(T) == 4) ESPALIER_STORE_MASKED_512("vmovups", p, v, lanes);
      if constexpr (sizeof(T) == 8) ESPALIER_STORE_MASKED_512("vmovupd", p, v, lanes);
      return;
    } else if constexpr (Bytes == 32) {
      const mask lanes = first(n);
      if constexpr (sizeof(T) == 4) ESPALIER_STORE_MASKED_256("vmaskmovps", p, v, lanes.v);
      if constexpr (sizeof(T) == 8) ESPALIER_STORE_MASKED_256("vmaskmovpd", p, v, lanes.v);
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
    ESPALIER_BINARY("div", r.v, a.v, b.v)
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
    pack r = c;
    r.add_product(a, b);
    return r;
  }
  /// *this += a * b, as fma does it: the form that needs no further register where many products are summed.
  ESPALIER_INLINE void add_product(const pack& a, const pack& b) {
    if constexpr (!fused) {
      *this = a * b + *this;
    } else {
#if defined(__SSE2__)
      if constexpr (sizeof(T) == 4) asm("vfmadd231ps {%2, %1, %0|%0, %1, %2}" : "+?v"(v) : "?v"(a.v), "?v"(b.v));
      if constexpr (sizeof(T) == 8) asm("vfmadd231pd {%2, %1, %0|%0, %1, %2}" : "+?v"(v) : "?v"(a.v), "?v"(b.v));
#elif defined(__aarch64__)
      if constexpr (sizeof(T) == 4) asm("fmla %0.4s, %1.4s, %2.4s" : "+w"(v) : "w"(a.v), "w"(b.v));
      if constexpr (sizeof(T) == 8) asm("fmla %0.2d, %1.2d, %2.2d" : "+w"(v) : "w"(a.v), "w"(b.v));
#endif
    }
  }
  /// *this = *this * a + c, the same number: the form that Horner's rule wants.
  ESPALIER_INLINE void multiply_add(const pack& a, const pack& c) {
#if defined(__SSE2__)
    if constexpr (fused) {
      if constexpr (sizeof(T) == 4) asm("vfmadd213ps {%2, %1, %0|%0, %1, %2}" : "+?v"(v) : "?v"(a.v), "?v"(c.v));
      if constexpr (sizeof(T) == 8) asm("vfmadd213pd {%2, %1, %0|%0, %1, %2}" : "+?v"(v) : "?v"(a.v), "?v"(c.v));
      return;
    }
#endif
    *this = fma(*this, a, c);
  }

  /// The larger; `x` when either is NaN or they are equal. So a NaN in `x` comes out, and one in `y` is ignored.
  ESPALIER_INLINE friend pack max(const pack& x, const pack& y) {
    pack r;
#if defined(__SSE2__)
    ESPALIER_BINARY("max", r.v, y.v, x.v)
#else
    r.v = y.v > x.v ? y.v : x.v;
#endif
    return r;
  }
  /// The smaller; `x` when either is NaN or they are equal.
  ESPALIER_INLINE friend pack min(const pack& x, const pack& y) {
    pack r;
#if defined(__SSE2__)
    ESPALIER_BINARY("min", r.v, y.v, x.v)
#else
    r.v = y.v < x.v ? y.v : x.v;
#endif
    return r;
  }
  ESPALIER_INLINE friend pack sqrt(const pack& x) {
    pack r;
#if defined(__SSE2__)
    ESPALIER_UNARY("sqrt", r.v, x.v)
#elif defined(__aarch64__)
    if constexpr (sizeof(T) == 4) asm("fsqrt %0.4s, %1.4s" : "=w"(r.v) : "w"(x.v));
    if constexpr (sizeof(T) == 8) asm("fsqrt %0.2d, %1.2d" : "=w"(r.v) : "w"(x.v));
#else
    for (int i = 0; i < size; ++i)
      r.v[i] = sizeof(T) == 4 ? T(__builtin_sqrtf(float(x.v[i]))) : T(__builtin_sqrt(x.v[i]));
#endif
    return r;
  }
  ESPALIER_INLINE friend pack abs(const pack& x) { return from_bits(x.bits() & ~integers(sign_bit)); }
  /// |x| with the sign of `s`.
  ESPALIER_INLINE friend pack copysign(const pack& x, const pack& s) {
    return from_bits((x.bits() & ~integers(sign_bit)) | (s.bits() & integers(sign_bit)));
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
    return (x.bits() & ~integers(sign_bit)) > infinity;
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
                        __attribute__((always_inline)) { return select(is_nan(b) | (b > a), b, a); });
  }

  /// The lanes' bit patterns, and back.
  ESPALIER_INLINE integers bits() const { return integers(reinterpret_cast<int_vector>(v)); }
  ESPALIER_INLINE static pack from_bits(const integers& bits) { return pack(reinterpret_cast<vector>(bits.v)); }

 private:
  typedef T unaligned __attribute__((vector_size(Bytes), aligned(sizeof(T)), may_alias));

  ESPALIER_INLINE static pack rounded(const vector& x) {
    pack r(x);
    detail::keep_rounded(r.v);
    return r;
  }
  static constexpr lane_int sign_bit = std::numeric_limits<lane_int>::min();
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
#undef ESPALIER_BINARY_AS
#undef ESPALIER_UNARY_AS
#undef ESPALIER_MEMORY
#undef ESPALIER_LOAD_MASKED_512
#undef ESPALIER_STORE_MASKED_512
#undef ESPALIER_LOAD_MASKED_256
#undef ESPALIER_STORE_MASKED_256

/// y[i] = f(a[i], b[i], ...) for i in [0, n), f taking and giving packs. The last n % size elements go through the same
/// f in a pack padded with zeros, so an element's bits do not depend on its position. y may be one of the inputs.
template <int Bytes = ESPALIER_VECTOR_BYTES, class T, class F, class... P>
ESPALIER_INLINE void for_each_pack(Index n, T* y, F&& f, const P*... inputs) {
  static_assert((std::is_same_v<P, T> && ...));
  using V = pack<T, Bytes>;
  Index i = 0;
  for (; i + V::size <= n; i += V::size) f(V::load(inputs + i)...).store(y + i);
  if (i < n) f(V::load(inputs + i, n - i)...).store(y + i, n - i);
}

}  // namespace espalier::inline ESPALIER_ABI
