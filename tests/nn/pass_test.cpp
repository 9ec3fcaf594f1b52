#include "espalier/nn/pass.hpp"

#include <stdexcept>

#include "espalier/nn/dropout.hpp"
#include "espalier/nn/sequential.hpp"
#include "support/catch.hpp"

using namespace espalier;

namespace {

std::uint64_t bits(Pass& pass, std::string_view name = "") {
  if (name.empty()) return pass.draws().bits(0);
  const Pass::Scope scope(pass, detail::hash_name(name));
  return pass.draws().bits(0);
}
std::uint64_t bits(const Rng& rng, std::uint64_t step = 0, std::string_view name = "") {
  Pass pass{rng, step};
  return bits(pass, name);
}

/// Leaves out what the pass says, and remembers it.
struct Spy {
  std::uint64_t* seen;
  Tensor<float> operator()(const Tensor<float>& x) const { return x; }
  Tensor<float> operator()(const Tensor<float>& x, Pass& pass) const {
    *seen = pass.draws().bits(0);
    return x;
  }
};
/// Two parts of a model by name.
struct Pair {
  AnyModule<float> a, b;
  Tensor<float> operator()(const Tensor<float>& x, Pass& pass) const {
    Tensor<float> y;
    {
      const Pass::Scope scope(pass, detail::hash_name("a"));
      y = a(x, pass);
    }
    const Pass::Scope scope(pass, detail::hash_name("b"));
    return b(y, pass);
  }
};

}  // namespace

TEST_CASE("the same key gives the same draws", "[nn][fast]") {
  Rng rng{3};
  REQUIRE(bits(rng, 5, "trunk") == bits(rng, 5, "trunk"));
  REQUIRE(bits(rng, 5, "trunk") == bits(Rng{3}, 5, "trunk"));
  REQUIRE(bits(rng, 5, "trunk") != bits(rng, 6, "trunk"));
  REQUIRE(bits(rng, 5, "trunk") != bits(rng, 5, "head"));
  REQUIRE(bits(rng, 5, "trunk") != bits(rng, 5));
  REQUIRE(bits(rng, 5, "trunk") != bits(Rng{4}, 5, "trunk"));
  REQUIRE(bits(rng, 5, "trunk") != bits(Rng{3, 1}, 5, "trunk"));
  REQUIRE(Pass(rng, 5).step() == 5);
  REQUIRE(rng.step() == 0);  // a pass does not advance the generator
}

TEST_CASE("a step may be counted by an int", "[nn][fast]") {
  const Rng rng{3};
  const int epoch = 4;
  const Index step = 4;
  Pass by_int{rng, epoch}, by_index{rng, step}, literal{rng, 4};
  CHECK(bits(by_int) == bits(rng, 4));
  CHECK(bits(by_index) == bits(rng, 4));
  CHECK(literal.step() == 4);
  CHECK_THROWS_WITH((Pass{rng, -1}), "Pass: the step is -1; it must not be negative");
}

TEST_CASE("who draws twice at one place draws two different sequences", "[nn][fast]") {
  const Rng rng{3};
  Pass pass{rng}, again{rng};
  const std::uint64_t first = bits(pass, "drop"), second = bits(pass, "drop"), third = bits(pass, "drop");
  REQUIRE(first != second);
  REQUIRE(first != third);
  REQUIRE(second != third);
  REQUIRE(bits(again, "other") != first);
  REQUIRE(bits(again, "drop") == first);
  REQUIRE(bits(again, "drop") == second);
}

TEST_CASE("scopes nest and end", "[nn][fast]") {
  const Rng rng{3};
  Pass pass{rng};
  std::uint64_t inner = 0;
  {
    const Pass::Scope outer(pass, detail::hash_name("a"));
    inner = bits(pass, "b");
  }
  REQUIRE(bits(pass, "a") == bits(rng, 0, "a"));
  REQUIRE(inner != bits(rng, 0, "b"));
  REQUIRE(inner != bits(rng, 0, "a"));
  REQUIRE(bits(pass) == bits(rng));
}

TEST_CASE("a layer added elsewhere shifts nobody's draws", "[nn][fast]") {
  const Rng rng{3};
  const Tensor<float> x = Tensor<float>::ones({2, 2});
  std::uint64_t before = 0, after = 0, in_a = 0;
  {
    Pass pass{rng, 7};
    Pair{Sequential{ReLU{}}, Sequential{ReLU{}, Spy{&before}}}(x, pass);
  }
  {
    Pass pass{rng, 7};
    Pair{Sequential{Dropout{0.5}, Spy{&in_a}, Dropout{0.5}}, Sequential{ReLU{}, Spy{&after}, Dropout{0.5}}}(x, pass);
  }
  REQUIRE(before == after);
  REQUIRE(before != in_a);
}

TEST_CASE("buffers are updated when the pass ends", "[nn][fast]") {
  const Rng rng{0};
  Tensor<float> single({2}, {1, 2});
  Tensor<double> wide({1}, {10});
  Tensor<Index> counter = Tensor<Index>::scalar(4);
  {
    Pass pass{rng};
    pass.update(single, Tensor<float>({2}, {3, 6}), 0.5);
    pass.update(wide, Tensor<double>({1}, {20}), 0.1);
    pass.update(wide, Tensor<double>({1}, {21}), 0.5);
    pass.increment(counter);
    REQUIRE(single(0) == 1);
    REQUIRE(counter.item() == 4);
  }
  REQUIRE(single.text() == "float32 [2] [2, 4]");
  REQUIRE(wide.item() == Approx(16));
  REQUIRE(counter.item() == 5);
}

TEST_CASE("commit acts at once, and once", "[nn][fast]") {
  const Rng rng{0};
  Tensor<Index> counter = Tensor<Index>::scalar(0);
  {
    Pass pass{rng};
    pass.increment(counter);
    pass.commit();
    REQUIRE(counter.item() == 1);
    pass.commit();
    REQUIRE(counter.item() == 1);
    pass.increment(counter);
  }
  REQUIRE(counter.item() == 2);
}

TEST_CASE("discard and exceptions leave no trace", "[nn][fast]") {
  const Rng rng{0};
  Tensor<float> buffer({1}, {1});
  Tensor<Index> counter = Tensor<Index>::scalar(0);
  {
    Pass pass{rng};
    pass.update(buffer, Tensor<float>({1}, {3}), 0.5);
    pass.increment(counter);
    pass.discard();
  }
  REQUIRE(buffer.item() == 1);
  REQUIRE(counter.item() == 0);
  try {
    Pass pass{rng};
    pass.update(buffer, Tensor<float>({1}, {3}), 0.5);
    pass.increment(counter);
    throw std::runtime_error("stop");
  } catch (const std::runtime_error&) {
    REQUIRE(buffer.item() == 1);
    REQUIRE(counter.item() == 0);
    Pass pass{rng};  // one that begins and ends while another exception is at hand still commits
    pass.increment(counter);
  }
  REQUIRE(counter.item() == 1);
}

TEST_CASE("updates that cannot be made are refused at once", "[nn][fast]") {
  const Rng rng{0};
  Pass pass{rng};
  const std::vector<float> memory{1, 2};
  const Tensor<float> buffer({2}, {1, 2});
  REQUIRE_THROWS_WITH(pass.update(buffer, Tensor<float>({3}, {1, 2, 3}), 0.5),
                      "Pass: the buffer is [2], its new value [3]; they must have as many elements");
  REQUIRE_THROWS_WITH(pass.update(Tensor<float>(), Tensor<float>({1}, {1}), 0.5),
                      "Pass: buffer is an undefined tensor; give it values first");
  REQUIRE_THROWS_WITH(pass.update(Tensor<float>::from_span({2}, memory), buffer, 0.5),
                      "Pass: the buffer [2] is a read-only view of borrowed memory; clone it first");
}
