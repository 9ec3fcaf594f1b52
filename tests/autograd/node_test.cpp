#include "espalier/autograd/node.hpp"

#include <thread>

#include "espalier/autograd/functional.hpp"
#include "espalier/ops/linalg.hpp"
#include "support/catch.hpp"
#include "support/collector.hpp"
#include "support/near.hpp"
#include "support/packed.hpp"

using namespace espalier;
using support::list;
using support::Pack;
using support::segments_of;

namespace {

using D = Tensor<double>;
const char* const stale =
    "needs was changed in place after the forward pass (by an optimizer step or mutate()); run the forward pass again before "
    "backward";

}  // namespace

TEST_CASE("a parameter shares the tensor's values and starts without a gradient", "[fast]") {
  const D x({2}, {1, 2}), p = parameter(x);
  CHECK(p.data() == x.data());
  CHECK(leaf_of(p) != nullptr);
  CHECK(leaf_of(x) == nullptr);
  CHECK(!gradient(p).defined());
  CHECK_THROWS_WITH(parameter(D()), "parameter: the tensor is undefined");
}

TEST_CASE("gradients add up until they are cleared", "[fast]") {
  const D p = parameter(D({2}, {1, 2}));
  backward(sum(p * p));
  CHECK(list(gradient(p)) == std::vector<double>{2, 4});
  backward(sum(p));
  CHECK(list(gradient(p)) == std::vector<double>{3, 5});
  clear_gradient(p);
  CHECK(!gradient(p).defined());
  backward(sum(p));
  CHECK(list(gradient(p)) == std::vector<double>{1, 1});
}

TEST_CASE("copies of a parameter share its gradient", "[fast]") {
  const D p = parameter(D({1}, {3})), copy = p;
  backward(sum(p * copy));
  CHECK(gradient(copy).item() == 6);
}

TEST_CASE("what is no parameter has no gradient to ask for", "[fast]") {
  const D p = parameter(D({2}, {1, 2}));
  CHECK_THROWS_WITH(gradient(D::zeros({3})), "gradient: the tensor [3] is not a parameter; make it one with parameter(tensor)");
  CHECK_THROWS_WITH(gradient(p * p), "gradient: the tensor [2] is not a parameter; make it one with parameter(tensor)");
  CHECK_NOTHROW(clear_gradient(D::zeros({3})));
}

TEST_CASE("a gradient never aliases another parameter's, nor the cotangent given", "[fast]") {
  const D a = parameter(D({2}, {1, 2})), b = parameter(D({2}, {3, 4})), g({2}, {5, 6});
  backward(a + b, g);
  CHECK(gradient(a).data() != gradient(b).data());
  CHECK(gradient(a).data() != g.data());
  backward(sum(a));
  CHECK(list(gradient(a)) == std::vector<double>{6, 7});
  CHECK(list(gradient(b)) == std::vector<double>{5, 6});
  CHECK(list(g) == std::vector<double>{5, 6});
}

TEST_CASE("NoGrad records nothing and ends with its scope", "[fast]") {
  const D p = parameter(D({2}, {1, 2}));
  {
    const NoGrad outer;
    CHECK(!(p * p).node());
    {
      const NoGrad inner;
      CHECK(!tanh(p).node());
    }
    CHECK(!(p + p).node());
  }
  CHECK((p * p).node());
  try {
    const NoGrad scope;
    fail("x");
  } catch (const Error&) {
  }
  CHECK((p * p).node());
}

TEST_CASE("NoGrad is one thread's own", "[fast]") {
  const D p = parameter(D({1}, {1}));
  const NoGrad scope;
  bool recorded_there = false;
  std::thread([&] { recorded_there = static_cast<bool>((p * p).node()); }).join();
  CHECK(recorded_there);
}

TEST_CASE("plain tensors are not recorded", "[fast]") {
  const D x({2}, {1, 2});
  CHECK(!(x * x).node());
  CHECK(!parameter(x).detach().node());
  CHECK(!parameter(x).clone().node());
  CHECK(!cast<float>(parameter(x)).node());
}

TEST_CASE("a value changed in place between forward and backward is refused", "[fast]") {
  D p = parameter(D({2}, {1, 2}));
  const D y = sum(square(p)), z = sum(p * p), e = exp(p);
  p.mutate()[0] = 5;
  CHECK_THROWS_WITH(backward(y), std::string("backward: a value [2] that square ") + stale);
  CHECK_THROWS_WITH(backward(z), std::string("backward: a value [2] that multiply ") + stale);
  CHECK_NOTHROW(backward(sum(e)));  // needs its output alone
  CHECK_NOTHROW(backward(sum(square(p))));
}

TEST_CASE("an output changed in place is refused too", "[fast]") {
  const D p = parameter(D({2}, {1, 2}));
  D y = tanh(p);
  const D s = sum(y);
  y.mutate()[0] = 0;
  CHECK_THROWS_WITH(backward(s), std::string("backward: a value [2] that tanh ") + stale);
}

TEST_CASE("a value changed through a view is refused", "[fast]") {
  D p = parameter(D({2, 2}, {1, 2, 3, 4}));
  const D y = sum(square(p));
  D row = slice(p.detach(), 0, 1, 2);
  row.mutate()[0] = 9;
  CHECK_THROWS_WITH(backward(y), std::string("backward: a value [2, 2] that square ") + stale);
}

TEST_CASE("what a rule does not need may change", "[fast]") {
  D p = parameter(D({2}, {1, 2}));
  const D y = sum(p + p);
  p.mutate()[0] = 7;
  CHECK_NOTHROW(backward(y));
  CHECK(list(gradient(p)) == std::vector<double>{2, 2});
}

TEST_CASE("owners print themselves", "[fast]") {
  CHECK(Owner{}.text() == "unknown");
  CHECK(Owner{Owner::Kind::shared, ""}.text() == "shared");
  CHECK(Owner{Owner::Kind::task, "ink"}.text() == "task ink");
  CHECK(Owner{Owner::Kind::modality, "left"}.text() == "modality left");
}

TEST_CASE("the gradient of a pack is its parts' gradients", "[fast]") {
  Pack pack;
  const D x({1, 2}, {1, 10});
  backward(sum(linear(x, pack.whole, D())));
  CHECK(pack.reached() == std::vector<bool>{true, true, true});
  CHECK(list(gradient(pack.parts[1])) == std::vector<double>{1, 10, 1, 10});
  CHECK(gradient(pack.parts[2]).data() == gradient(pack.whole).data() + 6);
  for (const D& p : pack.parts) clear_gradient(p);
  CHECK(!gradient(pack.whole).defined());
}

TEST_CASE("a part that is used alone reaches itself alone", "[fast]") {
  Pack pack;
  backward(sum(pack.parts[1] * pack.parts[1] + pack.parts[1]));
  CHECK(pack.reached() == std::vector<bool>{false, true, false});
  CHECK(list(gradient(pack.parts[1])) == std::vector<double>{1, 1, 1, 1});
  CHECK(list(gradient(pack.whole)) == std::vector<double>{0, 0, 1, 1, 1, 1, 0, 0});
  backward(sum(pack.whole));
  CHECK(list(gradient(pack.whole)) == std::vector<double>{1, 1, 2, 2, 2, 2, 1, 1});
  CHECK(pack.reached() == std::vector<bool>{true, true, true});
}

TEST_CASE("clearing a part leaves the others' gradients", "[fast]") {
  Pack pack;
  backward(sum(pack.whole));
  clear_gradient(pack.parts[0]);
  clear_gradient(pack.parts[0]);
  CHECK(pack.reached() == std::vector<bool>{false, true, true});
  CHECK(list(gradient(pack.whole)) == std::vector<double>{0, 0, 1, 1, 1, 1, 1, 1});
  backward(sum(pack.parts[0]));
  CHECK(list(gradient(pack.parts[0])) == std::vector<double>{1, 1});
  clear_gradient(pack.whole);
  CHECK(pack.reached() == std::vector<bool>{false, false, false});
  backward(sum(pack.whole));
  CHECK(list(gradient(pack.whole)) == std::vector<double>(8, 1));
}

TEST_CASE("labels say which parts a gradient reaches", "[fast]") {
  Pack pack;
  Leaf<double>& leaf = *leaf_of(pack.whole);
  CHECK(!leaf.open_grad(segments_of({{7, 1, 3}})));
  CHECK(pack.reached() == std::vector<bool>{false, true, false});
  CHECK(leaf.reached == 1);
  CHECK(leaf.open_grad(segments_of({{5, 0, 1}, {7, 1, 3}})));
  CHECK(pack.reached() == std::vector<bool>{true, true, false});
  CHECK(leaf.open_grad({}));
  CHECK(leaf.reached == 3);
}

TEST_CASE("labels compare by tasks and places", "[fast]") {
  CHECK(Labels{} == Labels{});
  CHECK(!Labels{});
  CHECK(Labels::row(3) == Labels::row(3));
  CHECK(!(Labels::row(3) == Labels::row(4)));
  CHECK(Labels::row(3).rows());
  CHECK(segments_of({{1, 0, 2}}).diagonal());
  CHECK(!(segments_of({{1, 0, 2}}) == segments_of({{1, 2, 4}})));
  CHECK(!(segments_of({{1, 0, 1}}) == Labels::row(1)));
}

TEST_CASE("nodes number later than inputs that another thread made", "[fast]") {
  const D p = parameter(D({1}, {1}));
  D h = p;
  for (int i = 0; i < 50; ++i) h = h * 1.0;  // this thread has counted far
  std::thread([&] {
    const D a = tanh(h), b = exp(h);
    CHECK(a.node()->sequence > h.node()->sequence);
    CHECK((a + b).node()->sequence > b.node()->sequence);
  }).join();
}
