#pragma once
// Version, ABI namespace and the few macros of the library.
//
// Everything lives in `espalier::inline ESPALIER_ABI`. The inline namespace names the version and the instruction set
// that the including translation unit was compiled for, because the width of `pack` follows it: translation units of
// different -m flags then fail at link, by name, instead of sharing functions of one name and two meanings. OpenMP is
// deliberately absent from the tag: it changes who runs a block of work, never a bit or a layout, so objects with and
// without -fopenmp link together.
//
// A unit compiled for plain x86-64 has its kernels three times, for SSE2, AVX2 with FMA and AVX-512, and chooses once, at
// run time (tensor/kernels/isa.hpp, where the environment variable ESPALIER_ISA is explained, too). A unit whose flags
// say more, as -march=native does, has the one level that they name. The same seed gives the same bits, whatever the
// number of threads, with one compiler and one ISA level: two machines that choose different levels differ in last bits,
// and ESPALIER_ISA=sse2 makes them agree.

// `template <class Lazy = void>` marks code that most programs never call (files, tables, texts, charts): a template is compiled
// where it is called, an inline function, with all that it uses, in every program that includes it.

#define ESPALIER_VERSION_MAJOR 0
#define ESPALIER_VERSION_MINOR 1
#define ESPALIER_VERSION_PATCH 0

// A unit may take another engine for its matrix products (tensor/kernels/gemm.hpp), which is part of the tag as well.
#if defined(ESPALIER_GEMM_BLAS) && defined(ESPALIER_GEMM_ONEDNN)
#error "ESPALIER_GEMM_BLAS and ESPALIER_GEMM_ONEDNN are both defined; matrix products have one engine"
#elif defined(ESPALIER_GEMM_BLAS)
#define ESPALIER_TAGGED(isa) v0_##isa##_blas
#elif defined(ESPALIER_GEMM_ONEDNN)
#define ESPALIER_TAGGED(isa) v0_##isa##_onednn
#else
#define ESPALIER_TAGGED(isa) v0_##isa
#endif

// ESPALIER_VECTOR_BYTES: the vectors of code that is compiled once. ESPALIER_DISPATCH: there are other levels as well.
#if defined(__AVX512F__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#define ESPALIER_ABI ESPALIER_TAGGED(avx512)
#define ESPALIER_VECTOR_BYTES 64
#elif defined(__AVX2__) && defined(__FMA__)
#define ESPALIER_ABI ESPALIER_TAGGED(avx2)
#define ESPALIER_VECTOR_BYTES 32
#elif defined(__SSE2__) && defined(__x86_64__)
#define ESPALIER_ABI ESPALIER_TAGGED(x86)
#define ESPALIER_VECTOR_BYTES 16
#define ESPALIER_DISPATCH 1
#elif defined(__SSE2__)
#define ESPALIER_ABI ESPALIER_TAGGED(sse2)
#define ESPALIER_VECTOR_BYTES 16
#else
#define ESPALIER_ABI ESPALIER_TAGGED(portable)
#define ESPALIER_VECTOR_BYTES 16
#endif

#define ESPALIER_INLINE __attribute__((always_inline)) inline

// A bare `#pragma omp` warns in every consumer built without OpenMP.
#ifdef _OPENMP
#define ESPALIER_OMP(...) _Pragma(#__VA_ARGS__)
#else
#define ESPALIER_OMP(...)
#endif
