#include "espalier/autograd/sweep.hpp"

#include <pthread.h>

#include <cmath>
#include <thread>

#include "espalier/autograd/functional.hpp"
#include "espalier/ops/linalg.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/collector.hpp"
#include "support/near.hpp"
#include "support/packed.hpp"
#include "support/probe.hpp"

using namespace espalier;
using support::Collector;
using support::Diary;
using support::difference;
using support::list;
using support::Pack;
using support::probe;
using support::rows_of;
using support::segments_of;
using support::Visit;

namespace {

using D = Tensor<double>;

/// A separate sweep from roots [] of one task each.
void sweep_tasks(const std::vector<std::pair<D, Index>>& roots, Collector& sink, bool retain = false) {
  Sweep<double> sweep({.retain = retain, .separate = true}, &sink);
  for (const auto& [y, task] : roots) sweep.start(y, D::ones(Shape{1} + y.shape()), rows_of({task}));
  sweep.run();
}

/// g [batch, columns] opened into one row for each segment.
D opened(const D& g, const Labels& segments) {
  D rows = D::zeros(Shape{segments.count()} + g.shape());
  const Index columns = g.shape()[-1];
  for (Index k = 0; k < segments.count(); ++k)
    for (Index i = 0; i < g.size(); ++i)
      if (i % columns >= segments[k].begin && i % columns < segments[k].end) rows.raw()[k * g.size() + i] = g.data()[i];
  return rows;
}
D chain(const D& x, int length) {
  D y = x;
  for (int i = 0; i < length; ++i) y = tanh(y);
  return y;
}

}  // namespace

// ---- order and sums --------------------------------------------------------------------------------------------------

TEST_CASE("in a diamond every rule runs once, on the sum of what arrives", "[fast]") {
  Diary diary;
  const D x = parameter(D({2}, {0.5, 2}));
  const D top = probe(x, &diary), left = square(top), right = exp(top), y = sum(left * right + left);
  backward(y);
  CHECK(diary == Diary{{Shape{2}, {}, false}});
  for (Index i = 0; i < 2; ++i) {
    const double v = x(i);
    CHECK(gradient(x)(i) == Approx(2 * v * std::exp(v) + v * v * std::exp(v) + 2 * v));
  }
}

TEST_CASE("a node may be used many times, unevenly deep", "[fast]") {
  Diary diary;
  const D x = parameter(D::scalar(1.5)), h = probe(x, &diary);
  D y = h;
  for (int i = 1; i < 50; ++i) y = y + double(i) * h;
  backward(y);
  CHECK(diary.size() == 1);
  CHECK(gradient(x).item() == 1 + 49 * 50 / 2);
}

TEST_CASE("a leaf may stand on both sides of an op", "[fast]") {
  const D x = parameter(D({2}, {3, -4}));
  backward(sum(x * x + x / x));
  CHECK(list(gradient(x)) == std::vector<double>{6, -8});
  const D m = parameter(D({2, 2}, {1, 2, 3, 4}));
  backward(sum(matmul(m, m)));
  CHECK(list(gradient(m)) == std::vector<double>{7, 11, 9, 13});
}

TEST_CASE("a root may be a parameter itself", "[fast]") {
  const D x = parameter(D::scalar(2));
  backward(x);
  backward(x);
  CHECK(gradient(x).item() == 2);
}

TEST_CASE("a graph that several threads have built is swept in order", "[fast]") {
  Diary diary;
  const D x = parameter(D::scalar(0.3));
  D h = x;
  for (int i = 0; i < 100; ++i) h = h * 1.0;
  h = probe(h, &diary);
  D y;
  std::thread([&] {  // its own numbers start at 0
    const D a = tanh(h), b = exp(h);
    y = a * b + h;
  }).join();
  backward(y);
  CHECK(diary.size() == 1);
  const double t = std::tanh(0.3), e = std::exp(0.3);
  CHECK(gradient(x).item() == Approx((1 - t * t) * e + t * e + 1));
}

// ---- use, reuse and failure ------------------------------------------------------------------------------------------

TEST_CASE("a second backward needs the graph to be kept", "[fast]") {
  const D x = parameter(D({2}, {1, 2})), y = sum(x * x);
  backward(y, {.retain_graph = true});
  backward(y, {.retain_graph = true});
  CHECK(list(gradient(x)) == std::vector<double>{4, 8});
  backward(y);
  CHECK_THROWS_WITH(backward(y),
                    "backward: the graph of sum_to [] has been used by a backward pass already; pass {.retain_graph = true} to the "
                    "first one");
  CHECK(list(gradient(x)) == std::vector<double>{6, 12});
}

TEST_CASE("two losses on one trunk need the graph to be kept", "[fast]") {
  const D x = parameter(D({2}, {1, 2})), trunk = tanh(x), one = sum(trunk), two = mean(trunk);
  backward(one);
  CHECK_THROWS_WITH(backward(two),
                    "backward: the graph of tanh [2] has been used by a backward pass already; pass {.retain_graph = true} to the "
                    "first one");
}

TEST_CASE("a rule that throws leaves nothing behind", "[fast]") {
  const D x = parameter(D({2}, {1, 2}));
  const D h = tanh(x), bad = probe(h, nullptr, true), y = sum(bad * h) + sum(exp(h));
  CHECK_THROWS_WITH(backward(y, {.retain_graph = true}), "the probe's rule threw");
  CHECK_THROWS_WITH(grad(y, {x, h}, {.retain_graph = true}), "the probe's rule threw");
  CHECK(!h.node()->captured);
  CHECK(!x.node()->captured);
  CHECK(h.node()->pending == nullptr);
  CHECK(bad.node()->pending == nullptr);
  clear_gradient(x);
  backward(sum(h * h));  // the part of the graph that the rule did not reach is intact
  const double a = std::tanh(1.0);
  CHECK(gradient(x)(0) == Approx(2 * a * (1 - a * a)));
  CHECK((x * x).node());  // and recording goes on
}

TEST_CASE("an exception in a recorded sweep or in a sweep of rows leaves nothing behind", "[fast]") {
  const D x = parameter(D({2}, {1, 2}));
  const D y = probe(tanh(x), nullptr, true), z = probe<false>(tanh(x), nullptr, true);
  CHECK_THROWS_WITH(grad(sum(y), {x}, {.create_graph = true}), "the probe's rule threw");
  CHECK_THROWS_WITH(jacobian(z, {x}), "the probe's rule threw");
  CHECK(!x.node()->captured);
  const NoGrad scope;
  CHECK_THROWS(grad(sum(y), {x}, {.create_graph = true}));
  CHECK(!(x * x).node());
}

TEST_CASE("misused sweeps say so", "[fast]") {
  const D x = parameter(D({2}, {1, 2})), y = x * x;
  const char* const sink = "backward: a sweep that keeps tasks apart needs a sink for the parameters' rows and is never itself recorded";
  CHECK_THROWS_WITH(Sweep<double>({.separate = true}), sink);
  CHECK_THROWS_WITH(Sweep<double>({.record = true, .separate = true, .leaves = false}), sink);
  CHECK((x * x).node());
  Sweep<double> sweep({});
  CHECK_THROWS_WITH(sweep.start(y, D::ones({3})), "backward: the cotangent of y [2] is [3]; it must be [2]");
  CHECK_THROWS_WITH(sweep.start(y, D()), "backward: the cotangent of y [2] is undefined; it must be [2]");
  CHECK_THROWS_WITH(sweep.start(y, D::ones({1, 2}), rows_of({0})), "backward: rows of several tasks need a sweep that keeps tasks apart");
  Collector collector;
  Sweep<double> separate({.separate = true}, &collector);
  CHECK_THROWS_WITH(separate.start(y, D::ones({2}), rows_of({0})), "backward: the cotangent of y [2] is [2]; it must be [1, 2]");
}

TEST_CASE("tasks and no tasks do not meet", "[fast]") {
  const D x = parameter(D({2}, {1, 2})), h = tanh(x), a = sum(h), b = sum(square(h));
  Collector sink;
  Sweep<double> sweep({.separate = true}, &sink);
  sweep.start(a, D::ones({1}), rows_of({0}));
  sweep.start(b, D::ones({}));
  CHECK_THROWS_WITH(sweep.run(), "backward: a task's cotangent met one without a task; label all starting points or none");
}

// ---- tasks apart -----------------------------------------------------------------------------------------------------

TEST_CASE("an exclusive node sees its task's row, a shared one the rows of all", "[fast]") {
  Diary shared, first, second;
  const D w = parameter(D({2}, {0.3, 0.8})), a = parameter(D({2}, {1, 2})), b = parameter(D({2}, {3, 4}));
  const D trunk = probe(tanh(w), &shared);
  const D one = sum(probe(trunk * a, &first)), two = sum(probe(trunk * b, &second)), three = sum(square(trunk));
  Collector sink;
  sweep_tasks({{three, 4}, {one, 7}, {two, 2}}, sink);
  CHECK(shared == Diary{{Shape{3, 2}, {2, 4, 7}, false}});
  CHECK(first == Diary{{Shape{1, 2}, {7}, false}});
  CHECK(second == Diary{{Shape{1, 2}, {2}, false}});
  CHECK(sink.counts[leaf_of(w)] == std::vector<Index>{3});
  CHECK(sink.counts[leaf_of(a)] == std::vector<Index>{1});
  for (Index i = 0; i < 2; ++i) {
    const double t = std::tanh(w(i)), slope = 1 - t * t;
    CHECK(sink.of(w, 7)(i) == Approx(slope * a(i)));
    CHECK(sink.of(w, 2)(i) == Approx(slope * b(i)));
    CHECK(sink.of(w, 4)(i) == Approx(slope * 2 * t));
    CHECK(sink.of(a, 7)(i) == Approx(t));
  }
  CHECK(!sink.of(a, 2).defined());
  CHECK(!gradient(w).defined());
}

TEST_CASE("equal tasks add where they meet", "[fast]") {
  Diary diary;
  const D w = parameter(D({2}, {0.3, 0.8})), trunk = probe(tanh(w), &diary);
  const D y = sum(trunk * trunk) + sum(exp(trunk));
  Collector sink;
  sweep_tasks({{y, 1}}, sink, true);
  CHECK(diary == Diary{{Shape{1, 2}, {1}, false}});
  CHECK(difference(sink.of(w, 1), grad(y, {w})[0]) < 1e-14);
}

TEST_CASE("unions of tasks meet in unions", "[fast]") {
  Diary bottom;
  const D w = parameter(D({3}, {0.1, 0.2, 0.3})), base = probe(exp(w), &bottom);
  const D ab = tanh(base), bc = square(base);  // tasks 0, 1 and 1, 2
  const D y0 = sum(ab), y1 = sum(ab * bc), y2 = sum(bc);
  Collector sink;
  sweep_tasks({{y0, 0}, {y1, 1}, {y2, 2}}, sink, true);
  CHECK(bottom == Diary{{Shape{3, 3}, {0, 1, 2}, false}});
  CHECK(difference(sink.of(w, 0), grad(y0, {w}, {.retain_graph = true})[0]) < 1e-14);
  CHECK(difference(sink.of(w, 1), grad(y1, {w}, {.retain_graph = true})[0]) < 1e-14);
  CHECK(difference(sink.of(w, 2), grad(y2, {w}, {.retain_graph = true})[0]) < 1e-14);
}

TEST_CASE("a rule that takes one row is called for each", "[fast]") {
  Diary diary;
  const D w = parameter(D({2}, {0.3, 0.8})), trunk = probe<false>(tanh(w), &diary);
  const D one = sum(trunk), two = sum(square(trunk));
  Collector sink;
  sweep_tasks({{one, 3}, {two, 5}}, sink, true);
  CHECK(diary == Diary{{Shape{2}, {}, false}, {Shape{2}, {}, false}});
  CHECK(sink.counts[leaf_of(w)] == std::vector<Index>{2});
  CHECK(difference(sink.of(w, 3), grad(one, {w}, {.retain_graph = true})[0]) < 1e-14);
  CHECK(difference(sink.of(w, 5), grad(two, {w}, {.retain_graph = true})[0]) < 1e-14);
}

TEST_CASE("a task may reach a node that broadcasts", "[fast]") {
  const D x = parameter(D({3}, {1, 2, 3})), y = D({2, 3}, {1, 2, 3, 4, 5, 6});
  const D one = sum(x * y), two = sum(x + y);
  Collector sink;
  sweep_tasks({{one, 0}, {two, 1}}, sink);
  CHECK(list(sink.of(x, 0)) == std::vector<double>{5, 7, 9});
  CHECK(list(sink.of(x, 1)) == std::vector<double>{2, 2, 2});
}

// ---- diagonal labels -------------------------------------------------------------------------------------------------

TEST_CASE("diagonal labels through elementwise ops and linear equal dense rows", "[fast]") {
  Rng rng{1};
  const D x = parameter(D::normal({5, 3}, rng)), w = parameter(D::normal({4, 3}, rng)), b = parameter(D::normal({4}, rng)),
          c = parameter(D::normal({4}, rng)), s = parameter(D::normal({5, 1}, rng)), e = parameter(D::normal({5, 4}, rng));
  const Labels segments = segments_of({{6, 0, 1}, {2, 1, 3}, {4, 3, 4}});
  const D g = D::normal({5, 4}, rng);
  for (const Activation activation : {Activation::none, Activation::relu}) {
    const D h = tanh(x), y = (tanh(linear(h, w, b, activation)) + c + s) + exp(e) * e;
    Collector diagonal, dense;
    {
      Sweep<double> sweep({.retain = true, .separate = true}, &diagonal);
      sweep.start(y, g, segments);
      sweep.run();
    }
    {
      Sweep<double> sweep({.retain = true, .separate = true}, &dense);
      sweep.start(y, opened(g, segments), rows_of({6, 2, 4}));
      sweep.run();
    }
    for (const D& p : {x, w, b, c, s, e})
      for (Index task : {6, 2, 4}) {
        REQUIRE(diagonal.of(p, task).defined());
        CHECK(difference(diagonal.of(p, task), dense.of(p, task)) < 1e-13);
      }
  }
}

TEST_CASE("a parameter that an elementwise op makes diagonal is opened along its last axis", "[fast]") {
  const D p = parameter(D({3, 2}, {1, 2, 3, 4, 5, 6})), y = square(p);
  Collector sink;
  Sweep<double> sweep({.separate = true}, &sink);
  sweep.start(y, D::ones({3, 2}), segments_of({{0, 0, 1}, {1, 1, 2}}));
  sweep.run();
  CHECK(list(sink.of(p, 0)) == std::vector<double>{2, 0, 6, 0, 10, 0});
  CHECK(list(sink.of(p, 1)) == std::vector<double>{0, 4, 0, 8, 0, 12});
}

TEST_CASE("ops that keep the diagonal see it, others see rows", "[fast]") {
  Diary keeps, opens;
  const D p = parameter(D({2, 3}, {1, 2, 3, 4, 5, 6}));
  const D y = tanh(probe<true, true>(tanh(probe(p, &opens)), &keeps));
  Collector sink;
  Sweep<double> sweep({.separate = true}, &sink);
  sweep.start(y, D::ones({2, 3}), segments_of({{9, 0, 2}, {1, 2, 3}}));
  sweep.run();
  CHECK(keeps == Diary{{Shape{2, 3}, {9, 1}, true}});
  CHECK(opens == Diary{{Shape{2, 2, 3}, {9, 1}, false}});
}

TEST_CASE("packed heads keep their own gradients in a sweep of tasks", "[fast]") {
  Rng rng{2};
  Pack weight(D::normal({4, 2}, rng)), bias(D::normal({4}, rng));
  const D x = parameter(D::normal({5, 2}, rng)), g = D::normal({5, 4}, rng);
  const Labels segments = segments_of({{0, 0, 1}, {2, 3, 4}});  // the task of the middle head is absent
  D present = g.clone();
  for (Index i = 0; i < 5; ++i) present.raw()[i * 4 + 1] = present.raw()[i * 4 + 2] = 0;
  const D y = linear(tanh(x), weight.whole, bias.whole);
  const auto expected = vjp(y, {x, weight.whole, bias.whole}, present, {.retain_graph = true});
  for (int pass = 1; pass <= 2; ++pass) {  // the second adds
    Collector sink;
    Sweep<double> sweep({.retain = true, .separate = true}, &sink);
    sweep.start(y, present, segments);
    sweep.run();
    CHECK(difference(gradient(weight.whole), expected[1] * double(pass)) < 1e-13);
    CHECK(difference(gradient(bias.whole), expected[2] * double(pass)) < 1e-13);
    CHECK(weight.reached() == std::vector<bool>{true, false, true});
    CHECK(bias.reached() == std::vector<bool>{true, false, true});
    CHECK(difference(sink.of(x, 0) + sink.of(x, 2), expected[0]) < 1e-13);
    CHECK(sink.counts[leaf_of(x)] == std::vector<Index>{2});
    CHECK(sink.counts.count(leaf_of(weight.whole)) == 0);
  }
}

TEST_CASE("where diagonal cotangents meet, their tasks are reached together", "[fast]") {
  Rng rng{3};
  for (const bool separate : {false, true}) {
    Diary diary;
    Pack weight(D::normal({4, 2}, rng));
    const D x = parameter(D::normal({5, 2}, rng)), block = probe<true, true>(linear(x, weight.whole, D()), &diary);
    const D a = tanh(block), b = exp(block);
    D ga = D::zeros({5, 4}), gb = D::zeros({5, 4});
    for (Index i = 0; i < 5; ++i) ga.raw()[i * 4 + 3] = gb.raw()[i * 4] = double(i + 1);
    Collector sink;
    {
      Sweep<double> sweep({.retain = true, .separate = separate}, separate ? &sink : nullptr);
      sweep.start(a, ga, segments_of({{8, 3, 4}}));
      sweep.start(b, gb, segments_of({{5, 0, 1}}));
      sweep.run();
    }
    CHECK(diary == Diary{{Shape{5, 4}, {5, 8}, true}});
    CHECK(weight.reached() == std::vector<bool>{true, false, true});  // nobody spoke of the middle one
    const auto expected = grad(sum(a * ga) + sum(b * gb), {x, weight.whole});
    CHECK(difference(gradient(weight.whole), expected[1]) < 1e-13);
    if (separate) CHECK(difference(sink.of(x, 5) + sink.of(x, 8), expected[0]) < 1e-13);
    else CHECK(difference(gradient(x), expected[0]) < 1e-13);
  }
}

TEST_CASE("diagonal cotangents of two tasks on one segment are stacked", "[fast]") {
  Diary diary;
  const D x = parameter(D({2}, {0.5, 1})), h = probe<true, true>(tanh(x), &diary), a = tanh(h), b = exp(h);
  Collector sink;
  Sweep<double> sweep({.retain = true, .separate = true}, &sink);
  sweep.start(a, D({2}, {1, 0}), segments_of({{0, 0, 1}}));
  sweep.start(b, D({2}, {1, 0}), segments_of({{1, 0, 1}}));
  sweep.run();
  CHECK(diary == Diary{{Shape{2, 2}, {0, 1}, false}});
  CHECK(difference(sink.of(x, 0), vjp(a, {x}, D({2}, {1, 0}), {.retain_graph = true})[0]) < 1e-14);
  CHECK(difference(sink.of(x, 1), vjp(b, {x}, D({2}, {1, 0}), {.retain_graph = true})[0]) < 1e-14);
}

TEST_CASE("diagonal labels in an ordinary sweep change no gradient", "[fast]") {
  Rng rng{4};
  const D x = parameter(D::normal({5, 3}, rng)), w = parameter(D::normal({4, 3}, rng)), b = parameter(D::normal({4}, rng));
  const D y = tanh(linear(tanh(x), w, b)) * 2.0, g = D::normal({5, 4}, rng);
  const auto expected = vjp(y, {x, w, b}, g, {.retain_graph = true});
  Sweep<double> sweep({});
  sweep.start(y, g, segments_of({{0, 0, 2}, {1, 2, 4}}));
  sweep.run();
  CHECK(difference(gradient(x), expected[0]) < 1e-14);
  CHECK(difference(gradient(w), expected[1]) < 1e-14);
  CHECK(difference(gradient(b), expected[2]) < 1e-14);
}

// ---- memory and length -----------------------------------------------------------------------------------------------

TEST_CASE("a chain of 100,000 ops neither recurses nor grows faster than its length", "[fast]") {
  const auto run = [](void*) -> void* {
    const D x = parameter(D::scalar(0.5));
    backward(chain(x, 100000));
    chain(x, 100000);  // dies without a backward pass
    jacobian(chain(x, 20000), {x});
    return nullptr;
  };
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 512 << 10);  // a frame for each op would not fit
  pthread_t thread;
  REQUIRE(pthread_create(&thread, &attributes, run, nullptr) == 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);

  const D x = parameter(D::scalar(0.5));
  const auto blocks = [&](int length) { return support::cold_allocations([&] { backward(chain(x, length)); }); };
  const std::uint64_t one = blocks(1000), two = blocks(2000), four = blocks(4000);
  CHECK(two - one == 2000);  // a node and a value for each op; what the sweep takes is taken again
  CHECK(four - two == 4000);

  Diary diary;
  D y = x;
  for (int i = 0; i < 3000; ++i) y = probe(y, &diary) + y;  // 2^3000 paths
  CHECK_NOTHROW(backward(y));
  CHECK(diary.size() == 3000);
}

TEST_CASE("a training step asks the system for nothing once it has run", "[fast]") {
  Rng rng{5};
  const D x = D::normal({8, 3}, rng);
  const D w = parameter(D::normal({4, 3}, rng)), b = parameter(D::normal({4}, rng)), v = parameter(D::normal({2, 4}, rng));
  CHECK(support::steady_allocations([&] {
          const D h = relu(linear(x, w, b)), y = linear(h, v, D());
          backward(mean(square(y)) + sum(softmax(y, -1), {0, 1}));
          for (const D& p : {w, b, v}) clear_gradient(p);
        }) == 0);
  CHECK(support::steady_allocations([&] {
          const D h = tanh(linear(x, w, b));
          Collector sink;
          sweep_tasks({{sum(h), 0}, {mean(square(h)), 1}}, sink);
        }) == 0);
}

TEST_CASE("a step after a failed one asks for nothing either", "[fast]") {
  const D x = parameter(D::scalar(0.5));
  CHECK(support::steady_allocations([&] {
          try {
            backward(chain(probe(chain(x, 5), nullptr, true) * x, 5));
          } catch (const std::runtime_error&) {
          }
        }) == 0);
}

TEST_CASE("a graph may be built on one thread, swept on another and die on a third", "[fast]") {
  D x = parameter(D({2}, {1, 2})), y;
  std::thread([&] { y = sum(square(tanh(x))); }).join();
  std::thread([&] { backward(y, {.retain_graph = true}); }).join();
  CHECK(gradient(x).defined());
  std::thread([moved = std::move(y)]() mutable { moved = {}; }).join();
  CHECK(std::isfinite(gradient(x)(0)));
}
