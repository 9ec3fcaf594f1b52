#include "espalier/ops/columns.hpp"

#include "support/catch.hpp"
#include "support/near.hpp"
#include "support/op_zoo.hpp"

using namespace espalier;
using support::difference;
using support::same_bits;

TEST_CASE("task_columns is a slice of the last axis", "[fast]") {
  Rng rng{1};
  const Tensor<double> x = parameter(Tensor<double>::normal({3, 5}, rng));
  CHECK(same_bits(task_columns(x, 1, 4), slice(x, 1, 1, 4)));
  CHECK_FALSE(task_columns(x.detach(), 0, 1).node());
  CHECK_THROWS_WITH(task_columns(x, 3, 6), "slice: [3, 6) of axis 1 of [3, 5]; it must lie in [0, 5]");
}

TEST_CASE("task_columns has the derivatives of a slice, with rows of tasks too", "[fast]") {
  const auto cases = support::samples_of<TaskColumns<double>>();
  CHECK(support::broken_derivatives(cases).empty());
  CHECK(support::broken_rows(cases).empty());
  CHECK(support::broken_jacobians(cases).empty());
  CHECK(support::broken_fused(cases).empty());
}

TEST_CASE("columns of several tasks add up to one diagonal", "[fast]") {
  Rng rng{2};
  const Tensor<double> x = parameter(Tensor<double>::normal({3, 5}, rng)), factor = Tensor<double>::normal({3, 5}, rng);
  const Tensor<double> block = x * factor, a = task_columns(block, 0, 2), b = task_columns(block, 2, 5),
                       c = task_columns(block, 0, 2);
  const Tensor<double> ga = Tensor<double>::normal({3, 2}, rng), gb = Tensor<double>::normal({3, 3}, rng);
  const auto expected_a = vjp(a, {x}, ga, {.retain_graph = true})[0],
             expected_b = vjp(b, {x}, gb, {.retain_graph = true})[0];
  support::Collector sink;
  {
    Sweep<double> sweep({.retain = true, .separate = true}, &sink);
    sweep.start(a, ga.view({1, 3, 2}), Labels::row(4));
    sweep.start(b, gb.view({1, 3, 3}), Labels::row(1));
    sweep.start(c, ga.view({1, 3, 2}), Labels::row(1));  // a second segment of the same task
    sweep.run();
  }
  CHECK(sink.sums.size() == 2);
  CHECK(difference(sink.sums[{leaf_of(x), 4}], expected_a) == 0);
  CHECK(difference(sink.sums[{leaf_of(x), 1}], expected_a + expected_b) < 1e-15);
}
