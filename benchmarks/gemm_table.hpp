#pragma once
// gemm/*: the matrix product against oneDNN's sgemm (float) and OpenBLAS's dgemm (double), over squares and the shapes of real
// layers. A line is the geometric mean of the times of a group of shapes, of ours and of theirs; with --only gemm/...,
// ESPALIER_GEMM_SHAPES=1 in the environment prints every shape.

#include <cmath>
#include <cstdlib>

#include "espalier/tensor/kernels/gemm.hpp"
#include "measure.hpp"

#if defined(BENCH_DNNL)
#include <dnnl.h>
#endif
#if defined(BENCH_CBLAS)
#include <cblas.h>
#endif

namespace bench {

using espalier::Index;

/// c[m, n] = a b, where a is stored [m, k] or, transposed, [k, m], and b [k, n] or [n, k].
struct GemmShape {
  Index m, n, k;
  bool transpose_a, transpose_b;
};

struct GemmGroup {
  const char* name;
  std::vector<GemmShape> shapes;
};

inline std::vector<GemmGroup> gemm_groups() {
  GemmGroup squares{"squares", {}}, layers{"layers", {}}, heads{"heads", {}}, backward{"backward", {}};
  for (Index n = 32; n <= 2048; n *= 2) squares.shapes.push_back({n, n, n, false, false});
  for (const Index batch : {1, 32, 256})
    for (const Index in : {16, 64, 256, 1024}) {
      for (const Index out : {16, 64, 256, 1024}) {
        layers.shapes.push_back({batch, out, in, false, true});
        backward.shapes.push_back({batch, in, out, false, false});  // of the input
        backward.shapes.push_back({out, in, batch, true, false});   // of the weight
      }
      for (const Index out : {1, 2, 4, 8, 32, 64}) {
        heads.shapes.push_back({batch, out, in, false, true});
        heads.shapes.push_back({batch, in, out, false, false});
        heads.shapes.push_back({out, in, batch, true, false});
      }
    }
  return {squares, layers, heads, backward};
}

/// The same product by the other library, row-major.
inline void their_gemm(const GemmShape& s, const float* a, const float* b, float* c) {
#if defined(BENCH_DNNL)
  dnnl_sgemm(s.transpose_a ? 'T' : 'N', s.transpose_b ? 'T' : 'N', s.m, s.n, s.k, 1, a, s.transpose_a ? s.m : s.k, b,
             s.transpose_b ? s.k : s.n, 0, c, s.n);
#else
  (void)s, (void)a, (void)b, (void)c;
#endif
}
inline void their_gemm(const GemmShape& s, const double* a, const double* b, double* c) {
#if defined(BENCH_CBLAS)
  const auto size = [](Index n) { return static_cast<int>(n); };
  cblas_dgemm(CblasRowMajor, s.transpose_a ? CblasTrans : CblasNoTrans, s.transpose_b ? CblasTrans : CblasNoTrans,
              size(s.m), size(s.n), size(s.k), 1, a, size(s.transpose_a ? s.m : s.k), b, size(s.transpose_b ? s.k : s.n), 0,
              c, size(s.n));
#else
  (void)s, (void)a, (void)b, (void)c;
#endif
}

template <class T>
void our_gemm(const GemmShape& s, const T* a, const T* b, T* c) {
  using espalier::kernels::Strided;
  espalier::kernels::gemm<T>(s.m, s.n, s.k, s.transpose_a ? Strided<T>{a, 1, s.m} : Strided<T>{a, s.k, 1},
                             s.transpose_b ? Strided<T>{b, 1, s.k} : Strided<T>{b, s.n, 1}, c, s.n);
}

/// Lines `<name>` (all groups together) and `<name>/<group>`, each ending in `suffix`.
template <class T>
void gemm_lines(Report& report, const std::string& name, const std::string& suffix, const char* theirs) {
  if (!report.wants(name)) return;
  const bool each = std::getenv("ESPALIER_GEMM_SHAPES") != nullptr;
  double all_ours = 0, all_theirs = 0, all_count = 0;
  for (const GemmGroup& group : gemm_groups()) {
    double log_ours = 0, log_theirs = 0;
    for (const GemmShape& s : group.shapes) {
      const auto numbers = [](Index n, T value) { return std::vector<T>(static_cast<std::size_t>(n), value); };
      const std::vector<T> a = numbers(s.m * s.k, T(0.5)), b = numbers(s.k * s.n, T(0.25));
      std::vector<T> c = numbers(s.m * s.n, 0), d = c;
      const double flops = 2.0 * static_cast<double>(s.m * s.n * s.k);
      const int calls = static_cast<int>(std::clamp(1e7 / flops, 1.0, 2000.0));
      const auto [x, y] = alternate(
          calls, [&] { our_gemm(s, a.data(), b.data(), c.data()); }, [&] { their_gemm(s, a.data(), b.data(), d.data()); },
          flops > 1e9 ? 5 : 11);
      for (std::size_t i = 0; i < c.size(); ++i)
        if (std::abs(c[i] - d[i]) > 1e-4 * std::abs(d[i])) std::fprintf(stderr, "%s: products differ\n", name.c_str()), std::exit(1);
      if (each)
        std::printf("  %-8s %5d x %5d x %5d %c%c %8.1f %8.1f Gflop/s  ratio %.2f\n", group.name, int(s.m), int(s.n), int(s.k),
                    s.transpose_a ? 'T' : 'N', s.transpose_b ? 'T' : 'N', flops / x * 1e-9, flops / y * 1e-9, x / y);
      log_ours += std::log(x);
      log_theirs += std::log(y);
    }
    const auto count = static_cast<double>(group.shapes.size());
    report.add({name + "/" + group.name + suffix, "us", std::exp(log_ours / count) * 1e6, std::exp(log_theirs / count) * 1e6, theirs});
    all_ours += log_ours, all_theirs += log_theirs, all_count += count;
  }
  report.add({name + suffix, "us", std::exp(all_ours / all_count) * 1e6, std::exp(all_theirs / all_count) * 1e6, theirs});
}

inline void gemm_table(Report& report, const std::string& suffix) {
#if defined(BENCH_DNNL)
  gemm_lines<float>(report, "gemm/default", suffix, "oneDNN sgemm, geometric mean");
#else
  if (report.wants("gemm/default")) std::puts("gemm/default      is not measured: there is no libdnnl-dev");
#endif
#if defined(BENCH_CBLAS)
  gemm_lines<double>(report, "gemm/double", suffix, "BLAS dgemm, geometric mean");
#else
  if (report.wants("gemm/double")) std::puts("gemm/double       is not measured: there is no libopenblas-dev");
#endif
}

}  // namespace bench
