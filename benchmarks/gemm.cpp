// gemm/*: what gemm_table.hpp says, on one thread.
// gemm/blas, gemm/onednn: a layer's product through the engine of that name, against calling the library directly.

#include "engines/engines.hpp"
#include "gemm_table.hpp"

namespace {

/// The geometric mean over the layers' shapes.
template <class Engine, class Direct>
void engine_line(bench::Report& report, const char* name, const Engine& engine, const Direct& direct) {
  if (!report.wants(name)) return;
  double log_engine = 0, log_direct = 0, count = 0;
  const std::vector<bench::GemmGroup> groups = bench::gemm_groups();
  for (const bench::GemmShape& s : groups[1].shapes) {
    const std::vector<float> a(static_cast<std::size_t>(s.m * s.k), 0.5f), b(static_cast<std::size_t>(s.k * s.n), 0.25f);
    std::vector<float> c(static_cast<std::size_t>(s.m * s.n));
    if (!engine(s.m, s.n, s.k, a.data(), b.data(), c.data())) {
      std::printf("%-16s is not measured: it is not installed\n", name);
      return;
    }
    const int calls = static_cast<int>(std::clamp(1e7 / (2.0 * static_cast<double>(s.m * s.n * s.k)), 1.0, 2000.0));
    const auto [x, y] = bench::alternate(
        calls, [&] { engine(s.m, s.n, s.k, a.data(), b.data(), c.data()); }, [&] { direct(s, a.data(), b.data(), c.data()); }, 15);
    log_engine += std::log(x), log_direct += std::log(y), count += 1;
  }
  report.add({name, "us", std::exp(log_engine / count) * 1e6, std::exp(log_direct / count) * 1e6, "direct calls, geometric mean"});
}

}  // namespace

int main(int argc, char** argv) {
  bench::Report report(argc, argv);
  bench::gemm_table(report, "");
  engine_line(report, "gemm/blas", bench::blas_engine, [](const bench::GemmShape& s, const float* a, const float* b, float* c) {
#if defined(BENCH_CBLAS)
    const int m = static_cast<int>(s.m), n = static_cast<int>(s.n), k = static_cast<int>(s.k);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, n, k, 1, a, k, b, k, 0, c, n);
#else
    (void)s, (void)a, (void)b, (void)c;
#endif
  });
  engine_line(report, "gemm/onednn", bench::onednn_engine,
              [](const bench::GemmShape& s, const float* a, const float* b, float* c) { bench::their_gemm(s, a, b, c); });
}
