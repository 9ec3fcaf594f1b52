#include "espalier/core/owned.hpp"

#include "support/catch.hpp"

using namespace espalier;

namespace {

struct Base {
  virtual ~Base() { --alive; }
  virtual int number() const = 0;
  virtual Base* copy() const = 0;
  static inline int alive = 0;
};
struct Number final : Base {
  int value;
  explicit Number(int v) : value(v) { ++alive; }
  int number() const override { return value; }
  Base* copy() const override { return new Number(value); }
};

}  // namespace

TEST_CASE("Owned copies what it owns and deletes each once", "[fast]") {
  {
    Owned<Base> a(new Number(3));
    Owned<Base> b = a;
    CHECK(&*a != &*b);
    CHECK(b->number() == 3);
    CHECK(Base::alive == 2);
    const Owned<Base> c = std::move(a);
    CHECK_FALSE(a);
    CHECK(c->number() == 3);
    b = c;
    b = Owned<Base>();
    CHECK_FALSE(b);
    const Owned<Base> none = b;
    CHECK_FALSE(none);
    CHECK(Base::alive == 1);
  }
  CHECK(Base::alive == 0);
}

TEST_CASE("Shared is one value of several owners", "[fast]") {
  const Shared<std::string> none;
  CHECK_FALSE(none);
  const Shared<std::string> a{std::string("text")};
  const Shared<std::string> b = a;
  CHECK(&*a == &*b);
  CHECK(b->size() == 4);
  CHECK(a == b);
  CHECK_FALSE(a == none);
}
