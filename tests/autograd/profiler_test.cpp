#include "espalier/autograd/profiler.hpp"

#include <thread>

#include "espalier/autograd/functional.hpp"
#include "espalier/nn/linear.hpp"
#include "espalier/nn/pass.hpp"
#include "espalier/ops/functions.hpp"
#include "espalier/optim/sgd.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"

using namespace espalier;

namespace {

using Phase = Profiler::Phase;

struct TrainStep {
  Rng rng{1};
  Linear<double> layer{3, 2, rng};
  SGD<double> optimizer{parameters<double>(layer), {.lr = 0.1}};
  Tensor<double> x = Tensor<double>::normal({5, 3}, rng);
  void operator()() {
    Pass pass{rng};
    backward(sum(tanh(layer(x))));
    optimizer.step();
  }
};
/// The row of an operation; one of count 0 when there is none.
Profiler::Row row_of(const Profiler& profiler, std::string_view name, Phase phase) {
  for (const Profiler::Row& row : profiler.rows())
    if (row.name == name && row.phase == phase) return row;
  return {};
}

}  // namespace

TEST_CASE("a profiler counts operations, their time and their results", "[fast]") {
  TrainStep step;
  step();  // heard by nobody
  Profiler profiler;
  for (int i = 0; i < 3; ++i) step();
  for (const Phase phase : {Phase::forward, Phase::backward}) {
    CHECK(row_of(profiler, "linear", phase).count == 3);
    CHECK(row_of(profiler, "linear", phase).bytes == 3 * 5 * 2 * sizeof(double));
    CHECK(row_of(profiler, "tanh", phase).count == 3);
  }
  CHECK(row_of(profiler, "SGD", Phase::update).count == 3);
  CHECK(row_of(profiler, "SGD", Phase::update).bytes == 3 * (2 * 3 + 2) * sizeof(double));
  CHECK(row_of(profiler, "outside", Phase::outside).count == 3);
  double sum = 0, last = HUGE_VAL;
  for (const Profiler::Row& row : profiler.rows()) {
    CHECK(row.seconds >= 0);
    CHECK(row.seconds <= last);  // the longest first
    sum += last = row.seconds;
  }
  CHECK(std::abs(sum - profiler.seconds()) < 1e-12);  // added up in another order

  profiler.mark("by hand");
  CHECK(row_of(profiler, "by hand", Phase::outside).count == 1);
  profiler.clear();
  CHECK(profiler.rows().empty());
  CHECK(profiler.seconds() == 0);
}

TEST_CASE("a task's rows count in a cotangent's bytes", "[fast]") {
  const auto x = parameter(Tensor<double>::ones({4}));
  const Tensor<double> y = tanh(x);
  const Profiler profiler;
  jacobian(y, {x});
  CHECK(row_of(profiler, "tanh", Phase::backward).bytes == 4 * 4 * sizeof(double));
}

TEST_CASE("only the latest profiler of a thread hears, and only while it lives", "[fast]") {
  TrainStep step;
  Profiler outer;
  {
    const Profiler inner;
    step();
    CHECK(row_of(inner, "SGD", Phase::update).count == 1);
  }
  CHECK(outer.rows().empty());
  step();
  CHECK(row_of(outer, "SGD", Phase::update).count == 1);
  std::thread([] { TrainStep()(); }).join();
  CHECK(row_of(outer, "SGD", Phase::update).count == 1);
}

TEST_CASE("a profiler's table has a heading, its rows and their sum", "[fast]") {
  Profiler profiler;
  CHECK(profiler.table() ==
        "operation  pass          count    time [ms]   share    each [us]   results [MB]\n"
        "all                          0         0.00    0.0%        0.000           0.00\n");
  TrainStep step;
  step();
  const std::string all = profiler.table(), short_one = profiler.table(2);
  CHECK(std::ranges::count(all, '\n') == 2 + static_cast<std::ptrdiff_t>(profiler.rows().size()));
  CHECK(std::ranges::count(short_one, '\n') == 2 + 3);
  CHECK(all.find("linear     backward          1 ") != std::string::npos);
  CHECK(short_one.find("\nothers ") != std::string::npos);
  CHECK(all.find(" 100.0% ") != std::string::npos);
  for (std::size_t at = 0, end = all.find('\n'); end != std::string::npos; at = end + 1, end = all.find('\n', at))
    CHECK(end - at == all.find('\n'));  // columns stand below each other
}

TEST_CASE("without a profiler nothing is kept", "[fast]") {
  CHECK(detail::thread_state.listener == nullptr);
  { const Profiler profiler; }
  CHECK(detail::thread_state.listener == nullptr);
}
