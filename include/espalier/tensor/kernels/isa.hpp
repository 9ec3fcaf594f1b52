#pragma once
// Isa: which instruction set the kernels run with, and how a kernel comes to be compiled for each.
//
// A kernel is a struct with `template <int Bytes> static run(...)`, always_inline, that computes with pack<T, Bytes>.
// `dispatch<Kernel>(...)` calls it. In a unit compiled for plain x86-64 it is compiled three times, inlined into functions
// whose target attributes name SSE2, AVX2 with FMA, and AVX-512 (F, VL, DQ), and the machine decides, once: a call costs a
// load and a branch that is always predicted. Any other unit has the level of its flags alone and nothing to decide.
//
// The environment variable ESPALIER_ISA = sse2, avx2 or avx512 names the level instead: bits then agree between machines.
// It is read before the first kernel runs. A word that is none of these, or a level that the machine lacks, throws, as
// another level would silently give other bits. Units without a choice do not look at it.

#include <cstdlib>

#include "espalier/core/error.hpp"

namespace espalier::inline ESPALIER_ABI::kernels {

/// A level of x86's instruction sets; the number is the size of its vectors in bytes. Elsewhere there is one level.
enum class Isa : int { sse2 = 16, avx2 = 32, avx512 = 64 };

namespace detail {

constexpr std::string_view isa_name(Isa isa) {
  return isa == Isa::avx512 ? "avx512" : isa == Isa::avx2 ? "avx2" : "sse2";
}

#if defined(ESPALIER_DISPATCH)

/// The best level that processor and operating system have.
[[gnu::cold]] inline Isa machine_isa() {
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
    return Isa::avx512;
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? Isa::avx2 : Isa::sse2;
}

/// What the words of ESPALIER_ISA (null: none) come to on a machine whose best level is `best`.
/// Throws Error when there is no such level, or the machine lacks it.
[[gnu::cold]] inline Isa choose_isa(const char* wanted, Isa best) {
  if (!wanted || !*wanted) return best;
  for (Isa isa : {Isa::sse2, Isa::avx2, Isa::avx512})
    if (wanted == isa_name(isa)) {
      if (isa > best)
        fail("ESPALIER_ISA: the environment asks for ", wanted, ", and this machine has ", isa_name(best),
             " at most; unset it, or name a level that the machine has");
      return isa;
    }
  fail("ESPALIER_ISA: the environment says '", wanted, "'; it must be sse2, avx2 or avx512");
}

inline constinit int chosen_isa = 0;  // 0: not yet; every thread would choose the same

/// Takes another level from here on; for tests, which compare levels. The machine must have it.
inline void use_isa(Isa isa) { __atomic_store_n(&chosen_isa, static_cast<int>(isa), __ATOMIC_RELAXED); }

[[gnu::cold, gnu::noinline]] inline int first_isa() {
  const Isa isa = choose_isa(std::getenv("ESPALIER_ISA"), machine_isa());
  use_isa(isa);
  return static_cast<int>(isa);
}

template <class Kernel, class... A>
[[gnu::noinline]] auto run_sse2(A... a) {
  return Kernel::template run<16>(a...);
}
template <class Kernel, class... A>
[[gnu::noinline, gnu::target("avx2,fma")]] auto run_avx2(A... a) {
  return Kernel::template run<32>(a...);
}
template <class Kernel, class... A>
[[gnu::noinline, gnu::target("avx2,fma,avx512f,avx512vl,avx512dq")]] auto run_avx512(A... a) {
  return Kernel::template run<64>(a...);
}

#else

template <class Kernel, class... A>
[[gnu::noinline]] auto run_here(A... a) {
  return Kernel::template run<ESPALIER_VECTOR_BYTES>(a...);
}

#endif

}  // namespace detail

/// The level that kernels run with. Throws Error for an ESPALIER_ISA that cannot be followed.
ESPALIER_INLINE Isa isa() {
#if defined(ESPALIER_DISPATCH)
  const int chosen = __atomic_load_n(&detail::chosen_isa, __ATOMIC_RELAXED);
  return static_cast<Isa>(__builtin_expect(chosen != 0, 1) ? chosen : detail::first_isa());
#else
  return static_cast<Isa>(ESPALIER_VECTOR_BYTES);
#endif
}

/// Kernel::run<Bytes>(a...) where the level is known; the arguments are pointers, numbers and references.
template <class Kernel, int Bytes, class... A>
ESPALIER_INLINE auto run_at(A... a) {
#if defined(ESPALIER_DISPATCH)
  if constexpr (Bytes == 64) return detail::run_avx512<Kernel, A...>(a...);
  else if constexpr (Bytes == 32) return detail::run_avx2<Kernel, A...>(a...);
  else return detail::run_sse2<Kernel, A...>(a...);
#else
  static_assert(Bytes == ESPALIER_VECTOR_BYTES);
  return detail::run_here<Kernel, A...>(a...);
#endif
}

/// The address of what run_at calls, for tables.
template <class Kernel, int Bytes, class... A>
constexpr auto entry() {
#if defined(ESPALIER_DISPATCH)
  if constexpr (Bytes == 64) return &detail::run_avx512<Kernel, A...>;
  else if constexpr (Bytes == 32) return &detail::run_avx2<Kernel, A...>;
  else return &detail::run_sse2<Kernel, A...>;
#else
  return &detail::run_here<Kernel, A...>;
#endif
}

/// The same at the level in use.
template <class Kernel, class... A>
ESPALIER_INLINE auto dispatch(A... a) {
#if defined(ESPALIER_DISPATCH)
  const Isa level = isa();
  if (level == Isa::avx2) return detail::run_avx2<Kernel, A...>(a...);
  if (level == Isa::avx512) return detail::run_avx512<Kernel, A...>(a...);
  return detail::run_sse2<Kernel, A...>(a...);
#else
  return detail::run_here<Kernel, A...>(a...);
#endif
}

}  // namespace espalier::inline ESPALIER_ABI::kernels
