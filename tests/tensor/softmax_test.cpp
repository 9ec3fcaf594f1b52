#include "espalier/tensor/kernels/softmax.hpp"

#include "espalier/core/random.hpp"

using namespace espalier;

namespace {

/// Rows of every length around a vector's and a block's, against sums in long double.
template <class T>
void check_lengths(double tolerance) {
  for (const Index n : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 255, 256, 257, 265, 1024, 1030}) {
    CAPTURE(n);
    constexpr Index m = 3;
    std::vector<T> x(static_cast<std::size_t>(m * n)), y(x.size()), log_y(x.size()), lse(m);
    Rng rng{7};
    rng.uniform(std::span<T>(x), -100, -90);
    kernels::softmax(m, n, x.data(), y.data());
    kernels::log_softmax(m, n, x.data(), log_y.data());
    kernels::logsumexp(m, n, x.data(), lse.data());
    for (Index i = 0; i < m; ++i) {
      long double total = 0;
      for (Index j = 0; j < n; ++j) total += std::exp(static_cast<long double>(x[static_cast<std::size_t>(i * n + j)]));
      CHECK(std::abs(static_cast<double>(lse[static_cast<std::size_t>(i)]) - static_cast<double>(std::log(total))) <
            100 * tolerance);
      double error = 0, log_error = 0;
      for (Index j = 0; j < n; ++j) {
        const auto at = static_cast<std::size_t>(i * n + j);
        const long double p = std::exp(static_cast<long double>(x[at])) / total;
        error = std::max(error, static_cast<double>(std::abs(static_cast<long double>(y[at]) / p - 1)));
        log_error = std::max(log_error, static_cast<double>(std::abs(static_cast<long double>(log_y[at]) - std::log(p))));
      }
      CHECK(error < 4 * tolerance);
      CHECK(log_error < 10 * tolerance);
    }
    std::vector<T> in_place = x;  // and nothing changes in place
    kernels::softmax(m, n, in_place.data(), in_place.data());
    CHECK(in_place == y);
  }
}

}  // namespace

TEST_CASE("softmax, log_softmax and logsumexp are exact for rows of any length", "[fast]") {
  check_lengths<float>(1.2e-7);
  check_lengths<double>(2.3e-16);
}

TEST_CASE("softmax's limits: infinite elements share a row, a NaN takes it whole", "[fast]") {
  constexpr float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  for (const Index n : {3, 8, 40}) {
    CAPTURE(n);
    const auto run = [n](std::vector<float> first) {
      std::vector<float> x(static_cast<std::size_t>(n), -inf), y(x.size()), log_y(x.size());
      std::copy(first.begin(), first.end(), x.begin());
      float lse = 0;
      kernels::softmax(1, n, x.data(), y.data());
      kernels::log_softmax(1, n, x.data(), log_y.data());
      kernels::logsumexp(1, n, x.data(), &lse);
      return std::tuple{y, log_y, lse};
    };
    const auto all = [](const std::vector<float>& v, auto&& is) { return std::all_of(v.begin(), v.end(), is); };
    const auto is_nan = [](float v) { return std::isnan(v); };
    {
      const auto [y, log_y, lse] = run({});
      CHECK(all(y, [](float v) { return v == 0; }));
      CHECK(all(log_y, [](float v) { return v == -inf; }));
      CHECK(lse == -inf);
    }
    {
      const auto [y, log_y, lse] = run({inf, 2, inf});
      CHECK((y[0] == 0.5f && y[1] == 0 && y[2] == 0.5f));
      CHECK((std::abs(log_y[0] + std::log(2.0f)) < 1e-7f && log_y[1] == -inf));
      CHECK(lse == inf);
    }
    {
      const auto [y, log_y, lse] = run({-200, 0, 0});  // what is small goes to 0, not below
      CHECK((y[0] == 0 && y[1] == 0.5f && y[2] == 0.5f && log_y[0] < -200));
      CHECK(std::abs(lse - std::log(2.0f)) < 1e-7f);
    }
    for (const std::vector<float>& with : {std::vector<float>{nan}, {nan, 1, 2}, {1, nan, 2}, {inf, nan}, {nan, inf}, {1, 2, nan}}) {
      const auto [y, log_y, lse] = run(with);
      CHECK(all(y, is_nan));
      CHECK(all(log_y, is_nan));
      CHECK(std::isnan(lse));
    }
  }
}

TEST_CASE("exp_down is exp below 0, but for what is next to nothing", "[fast]") {
  const auto check = [](auto one, double from) {
    using T = decltype(one);
    std::vector<T> x(4096), y(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<T>(from * static_cast<double>(i) / 4096);
    kernels::map(static_cast<Index>(x.size()), y.data(),
                 [](const auto& v) __attribute__((always_inline)) { return exp_down(v); }, static_cast<const T*>(x.data()));
    double worst = 0;
    for (std::size_t i = 0; i < x.size(); ++i)
      worst = std::max(worst, std::abs(static_cast<double>(static_cast<long double>(y[i]) /
                                                               std::exp(static_cast<long double>(x[i])) - 1)));
    CHECK(worst < 1.5 * static_cast<double>(std::numeric_limits<T>::epsilon()));
    const T low[] = {static_cast<T>(2 * from), -std::numeric_limits<T>::infinity()};
    T out[2];
    kernels::map(2, out, [](const auto& v) __attribute__((always_inline)) { return exp_down(v); }, low);
    CHECK((out[0] == 0 && out[1] == 0));
  };
  check(1.0f, -87);
  check(1.0, -708);
}
