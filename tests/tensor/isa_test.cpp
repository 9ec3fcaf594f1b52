// The levels of the instruction set: how one is chosen, and that all that the machine has agree.

#include "espalier/tensor/kernels/isa.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "espalier/autograd/functional.hpp"
#include "espalier/ops/linalg.hpp"
#include "espalier/ops/reduce.hpp"
#include "espalier/optim/adam.hpp"
#include "espalier/optim/clip.hpp"
#include "espalier/optim/sgd.hpp"
#include "support/catch.hpp"

using namespace espalier;
using kernels::Isa;

namespace {

/// f(level) at every level that the machine has; afterwards kernels run with the level of before.
template <class F>
void each_level(const F& f) {
#if defined(ESPALIER_DISPATCH)
  const Isa before = kernels::isa();
  for (const Isa isa : {Isa::sse2, Isa::avx2, Isa::avx512})
    if (isa <= kernels::detail::machine_isa()) {
      kernels::detail::use_isa(isa);
      f(isa);
    }
  kernels::detail::use_isa(before);
#else
  f(kernels::isa());
#endif
}

template <class T>
std::vector<T> numbers(Index n, std::uint64_t seed) {
  std::vector<T> x(static_cast<std::size_t>(n));
  Rng(seed).uniform(std::span<T>(x), -2, 2);
  return x;
}

/// Everything that kernels compute, as one list of numbers; odd sizes, so that every tail is met.
template <class T>
std::vector<T> everything() {
  std::vector<T> out;
  const auto keep = [&](const Tensor<T>& y) { out.insert(out.end(), y.data(), y.data() + y.size()); };
  Rng rng{5};
  const auto x = Tensor<T>::uniform({7, 133}, T(0.2), T(0.9), rng), y = Tensor<T>::uniform({7, 133}, T(0.2), T(0.9), rng);
  const auto one_row = Tensor<T>::uniform({133}, T(0.2), T(0.9), rng);
  const auto ones = Tensor<T>::ones(x.shape());
  FunctionOps::each([&]<class Op>(Op) {
    const auto p = parameter(x.clone());
    const Tensor<T> value = apply<Op>(p);
    keep(value.detach());
    if (value.node()) keep(vjp(value, {p}, ones)[0]);
  });
  ArithmeticOps::each([&]<class Op>(Op) {
    const auto p = parameter(x.clone()), q = parameter(one_row.clone());
    const Tensor<T> value = apply<Op>(p, q);
    keep(value.detach());
    if (value.node())
      for (const Tensor<T>& g : vjp(value, {p, q}, ones)) keep(g);
  });
  keep(softmax(x, -1));
  keep(log_softmax(x, -1));
  keep(logsumexp(x, -1));
  keep(sum(x, {0}));
  keep(sum(x, {1}));
  for (const Index n : {1, 2, 3, 5, 9, 33, 70}) {
    const auto w = Tensor<T>::uniform({n, 133}, T(-0.1), T(0.1), rng), b = Tensor<T>::uniform({n}, -1, 1, rng);
    const auto p = parameter(x.clone()), weight = parameter(w);
    const Tensor<T> z = linear(p, weight, b, Activation::relu);
    keep(z.detach());
    for (const Tensor<T>& g : vjp(z, {p, weight}, Tensor<T>::ones(z.shape()))) keep(g);
  }
  const auto p = parameter(y.clone());
  NamedList<Tensor<T>> list;
  list.add("p", p);
  Adam<T> adam{list, {.lr = 0.01, .weight_decay = 0.1}};
  SGD<T> sgd{list, {.lr = 0.01, .momentum = 0.5}};
  for (int step = 0; step < 2; ++step) {
    backward(p * x, ones);
    out.push_back(static_cast<T>(clip_grad_norm(list, 2.0)));
    if (step == 0) adam.step();
    else sgd.step();
    keep(p.detach());
  }
  return out;
}

}  // namespace

#if defined(ESPALIER_DISPATCH)
TEST_CASE("isa: ESPALIER_ISA names a level that the machine has", "[fast]") {
  using kernels::detail::choose_isa;
  CHECK(choose_isa(nullptr, Isa::avx2) == Isa::avx2);
  CHECK(choose_isa("", Isa::avx512) == Isa::avx512);
  CHECK(choose_isa("sse2", Isa::avx512) == Isa::sse2);
  CHECK(choose_isa("avx2", Isa::avx512) == Isa::avx2);
  CHECK(choose_isa("avx512", Isa::avx512) == Isa::avx512);
  CHECK_THROWS_WITH(choose_isa("AVX2", Isa::avx512),
                    "ESPALIER_ISA: the environment says 'AVX2'; it must be sse2, avx2 or avx512");
  CHECK_THROWS_WITH(choose_isa("avx512", Isa::avx2),
                    "ESPALIER_ISA: the environment asks for avx512, and this machine has avx2 at most; unset it, or name a level "
                    "that the machine has");
}
#endif

TEMPLATE_TEST_CASE("isa: all levels agree, and each with itself", "[fast]", float, double) {
  using T = TestType;
  std::vector<T> first;
  each_level([&](Isa isa) {
    INFO("level " << kernels::detail::isa_name(isa));
    const std::vector<T> now = everything<T>(), again = everything<T>();
    REQUIRE(now.size() > 10000);
    REQUIRE(std::memcmp(now.data(), again.data(), now.size() * sizeof(T)) == 0);
    if (first.empty()) first = now;
    REQUIRE(now.size() == first.size());
    double worst = 0;
    for (std::size_t i = 0; i < now.size(); ++i) {
      const double difference = std::abs(double(now[i]) - double(first[i])), size = std::max(1.0, std::abs(double(first[i])));
      worst = difference / size > worst || std::isnan(difference) ? difference / size : worst;
    }
    CHECK(worst <= (sizeof(T) == 4 ? 1e-6 : 4e-15));
  });
}

TEMPLATE_TEST_CASE("isa: at every level a row's bits stand alone, and a part's do not depend on its place", "[fast]", float, double) {
  using T = TestType;
  const Index shapes[][2] = {{1, 40}, {2, 70}, {4, 70}, {20, 10}, {33, 300}, {140, 40}, {300, 30}};
  each_level([&](Isa isa) {
    INFO("level " << kernels::detail::isa_name(isa));
    for (const auto& [n, k] : shapes) {
      const Index m = 50;
      const std::vector<T> a = numbers<T>(m * k, 1), b = numbers<T>(n * k, 2);
      std::vector<T> whole(static_cast<std::size_t>(m * n)), part(whole.size());
      kernels::gemm<T>(m, n, k, {a.data(), k, 1}, {b.data(), 1, k}, whole.data(), n);
      for (Index i = 0, rows = 1; i < m; i += rows, rows = std::min(rows + 3, m - i))
        kernels::gemm<T>(rows, n, k, {a.data() + i * k, k, 1}, {b.data(), 1, k}, part.data() + i * n, n);
      INFO("n " << n << ", k " << k);
      REQUIRE(std::memcmp(whole.data(), part.data(), whole.size() * sizeof(T)) == 0);
    }
    const auto x = numbers<T>(70, 3);
    std::vector<T> y(x.size()), part(x.size());
    const auto f = [](const auto& v) __attribute__((always_inline)) { return exp(v) * tanh(v) / (2 + v * v) + log1p(abs(v)); };
    kernels::map(Index(x.size()), y.data(), f, x.data());
    for (std::size_t start = 1; start < x.size(); ++start) {
      kernels::map(Index(x.size() - start), part.data(), f, x.data() + start);
      REQUIRE(std::memcmp(y.data() + start, part.data(), (x.size() - start) * sizeof(T)) == 0);
    }
  });
}

TEMPLATE_TEST_CASE("isa: no level touches what lies beyond an array", "[fast]", float, double) {
  using T = TestType;
  // Two arrays that end where the readable memory ends: what goes beyond dies.
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  char* const memory = static_cast<char*>(mmap(nullptr, 4 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  REQUIRE(memory != MAP_FAILED);
  REQUIRE(mprotect(memory + page, page, PROT_NONE) == 0);
  REQUIRE(mprotect(memory + 3 * page, page, PROT_NONE) == 0);
  T* const x_end = reinterpret_cast<T*>(memory + page);
  T* const y_end = reinterpret_cast<T*>(memory + 3 * page);
  each_level([&](Isa isa) {
    INFO("level " << kernels::detail::isa_name(isa));
    for (Index n = 1; n < 40; ++n) {
      std::fill_n(x_end - n, n, T(2));
      kernels::map(n, y_end - n, [](const auto& v) __attribute__((always_inline)) { return v * 3; }, static_cast<const T*>(x_end - n));
      REQUIRE(std::count(y_end - n, y_end, T(6)) == n);
      REQUIRE(kernels::sum(n, static_cast<const T*>(x_end - n)) == double(2 * n));
      kernels::gemm<T>(1, n, 1, {x_end - n, 1, 1}, {x_end - n, n, 1}, y_end - n, n);
      REQUIRE(std::count(y_end - n, y_end, T(4)) == n);
      kernels::gemm<T>(n, 1, n, {x_end - n, 0, 1}, {x_end - n, 1, 1}, y_end - n, 1);
      REQUIRE(std::count(y_end - n, y_end, T(4 * n)) == n);
    }
  });
  munmap(memory, 4 * page);
}
