#include "espalier/tensor/tensor.hpp"

#include <cmath>
#include <limits>
#include <sstream>
#include <thread>
#include <vector>

#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/near.hpp"

using namespace espalier;
using support::list;

TEST_CASE("a tensor holds its values row by row", "[fast]") {
  const Tensor<float> x({2, 3}, {1, 2, 3, 4, 5, 6});
  CHECK(x.shape() == Shape{2, 3});
  CHECK(x.rank() == 2);
  CHECK(x.size() == 6);
  CHECK(x(0, 2) == 3);
  CHECK(x(1, 0) == 4);
  CHECK(reinterpret_cast<std::uintptr_t>(x.data()) % 64 == 0);
}

TEST_CASE("tensors are made in several ways", "[fast]") {
  CHECK(list(Tensor<float>::zeros({2})) == std::vector<float>{0, 0});
  CHECK(list(Tensor<float>::ones({2})) == std::vector<float>{1, 1});
  CHECK(list(Tensor<Index>::full({2}, 7)) == std::vector<Index>{7, 7});
  CHECK(Tensor<double>::scalar(2.5).item() == 2.5);
  CHECK(Tensor<double>::scalar(2.5).shape() == Shape{});
  CHECK(Tensor<bool>({2}, {true, false})(0));
  CHECK(Tensor<float>::empty({0, 3}).size() == 0);
  const std::vector<double> values{1, 2};
  CHECK(list(Tensor<double>::copy({2, 1}, values)) == values);
}

TEST_CASE("random tensors follow the generator", "[fast]") {
  Rng rng{1}, again{1};
  const auto x = Tensor<float>::normal({4, 5}, rng), y = Tensor<float>::uniform({100}, 2, 3, rng);
  CHECK(support::same_bits(x, Tensor<float>::normal({4, 5}, again)));
  CHECK(support::same_bits(y, Tensor<float>::uniform({100}, 2, 3, again)));
  for (float v : y.values()) CHECK((v >= 2 && v < 3));
}

TEST_CASE("a number of values other than the shape's is refused", "[fast]") {
  CHECK_THROWS_WITH((Tensor<float>({2, 3}, {1, 2})), "tensor: 2 values given for shape [2, 3], which has 6 elements");
  const std::vector<double> one{1};
  CHECK_THROWS_WITH(Tensor<double>::copy({}, std::span(one).first(0)), "tensor: 0 values given for shape [], which has 1 elements");
  CHECK_THROWS_WITH(Tensor<double>::from_span({2}, one), "tensor: 1 values given for shape [2], which has 2 elements");
}

TEST_CASE("sizes that no memory holds are refused", "[fast]") {
  CHECK_THROWS_WITH(Tensor<double>::empty({Index{1} << 61}),
                    "memory: 2305843009213693952 bytes asked for one tensor; no machine has as many");
  CHECK_THROWS_WITH(Tensor<float>::empty({Index{1} << 55}),
                    "memory: 144115188075855872 bytes asked for one tensor; no machine has as many");
  CHECK_THROWS_WITH(Tensor<float>::empty(Shape{Index{1} << 40} + Shape{Index{1} << 40}),
                    "shape: [1099511627776, 1099511627776] has more than 2^63 - 1 elements");
}

TEST_CASE("copies share the values, clones do not", "[fast]") {
  Tensor<float> x({2}, {1, 2});
  const Tensor<float> copy = x, clone = x.clone(), detached = x.detach();
  x.mutate()[0] = 9;
  CHECK(list(copy) == std::vector<float>{9, 2});
  CHECK(list(detached) == std::vector<float>{9, 2});
  CHECK(list(clone) == std::vector<float>{1, 2});
}

TEST_CASE("every mutate counts as an update of all who share the buffer", "[fast]") {
  Tensor<float> x({4}, {1, 2, 3, 4});
  Tensor<float> part = x.view({2}, 2);
  CHECK(x.version() == 0);
  part.mutate()[0] = 7;
  CHECK(x.version() == 1);
  CHECK(x(2) == 7);
  (void)x.mutate();
  CHECK(part.version() == 2);
}

TEST_CASE("borrowed memory is seen, not copied, and cannot be written", "[fast]") {
  std::vector<float> memory{1, 2, 3};
  Tensor<float> x = Tensor<float>::from_span({3}, memory);
  CHECK(x.data() == memory.data());
  memory[1] = 5;
  CHECK(x(1) == 5);
  CHECK_THROWS_WITH(x.mutate(), "mutate: the tensor [3] is a read-only view of borrowed memory; clone it first");
  Tensor<float> part = x.view({2}, 1);
  CHECK_THROWS_WITH(part.mutate(), "mutate: the tensor [2] is a read-only view of borrowed memory; clone it first");
  CHECK(!x.sole());
  Tensor<float> mine = x.clone();
  mine.mutate()[0] = 8;
  CHECK(memory[0] == 1);
  CHECK(Tensor<float>::from_span({0}, {}).size() == 0);
}

TEST_CASE("elements are read by position, checked", "[fast]") {
  const Tensor<float> x({2, 3}, {1, 2, 3, 4, 5, 6});
  CHECK_THROWS_WITH(x(2, 0), "element: position 2 on axis 0 of [2, 3]; it must lie in [0, 1]");
  CHECK_THROWS_WITH(x(0, -1), "element: position -1 on axis 1 of [2, 3]; it must lie in [0, 2]");
  CHECK_THROWS_WITH(x(1), "element: 1 positions given for [2, 3]; one is needed for each axis");
  CHECK(Tensor<float>::scalar(3)() == 3);
}

TEST_CASE("item needs one element", "[fast]") {
  CHECK(Tensor<float>({1, 1}, {4}).item() == 4);
  CHECK_THROWS_WITH(Tensor<float>({2}, {1, 2}).item(), "item: the tensor is [2]; item() needs exactly one element");
  CHECK_THROWS_WITH(Tensor<float>::zeros({0}).item(), "item: the tensor is [0]; item() needs exactly one element");
}

TEST_CASE("an undefined tensor has no values, and says so", "[fast]") {
  Tensor<float> x;
  CHECK(!x.defined());
  CHECK(!x.clone().defined());
  CHECK(!x.detach().defined());
  CHECK(!cast<double>(x).defined());
  CHECK(x.version() == 0);
  CHECK(x.text() == "undefined tensor");
  CHECK_THROWS_WITH(x.item(), "item: the tensor is undefined; give it values first");
  CHECK_THROWS_WITH(x.mutate(), "mutate: the tensor is undefined; give it values first");
  CHECK_THROWS_WITH(x.values(), "values: the tensor is undefined; give it values first");
  CHECK_THROWS_WITH(x(), "element: the tensor is undefined; give it values first");
}

TEST_CASE("tensors print as nested lists", "[fast]") {
  CHECK(Tensor<float>({2, 2}, {1, 2.5f, -3, 4}).text() == "float32 [2, 2] [[1, 2.5], [-3, 4]]");
  CHECK(Tensor<double>::scalar(1.0 / 3).text() == "float64 [] 0.333333");
  CHECK(Tensor<bool>({2}, {true, false}).text() == "bool [2] [true, false]");
  CHECK(Tensor<float>::zeros({0}).text() == "float32 [0] []");
  CHECK(Tensor<float>::zeros({2, 0}).text() == "float32 [2, 0] [[], []]");
  CHECK(Tensor<Index>({9}, {0, 1, 2, 3, 4, 5, 6, 7, 8}).text() == "int64 [9] [0, 1, 2, ..., 6, 7, 8]");
  CHECK(Tensor<Index>({8}, {0, 1, 2, 3, 4, 5, 6, 7}).text() == "int64 [8] [0, 1, 2, 3, 4, 5, 6, 7]");
  CHECK(Tensor<float>({2}, {std::numeric_limits<float>::infinity(), std::nanf("")}).text() == "float32 [2] [inf, nan]");
}

TEST_CASE("whole numbers print in full", "[fast]") {
  CHECK(Tensor<Index>({2}, {123456789, -9007199254740993}).text() == "int64 [2] [123456789, -9007199254740993]");
}

TEST_CASE("any stream of strings prints a tensor", "[fast]") {
  std::ostringstream stream;
  stream << Tensor<float>({1}, {1}) << ';';
  CHECK(stream.str() == "float32 [1] [1];");
}

TEST_CASE("cast converts values", "[fast]") {
  const Tensor<double> x({4}, {-1.7, 0, 0.5, 3.9});
  CHECK(list(cast<Index>(x)) == std::vector<Index>{-1, 0, 0, 3});
  CHECK(list(cast<float>(x)) == std::vector<float>{-1.7f, 0, 0.5f, 3.9f});
  CHECK(list(cast<bool>(x)) == std::vector<bool>{true, false, true, true});
  CHECK(list(cast<double>(Tensor<bool>({2}, {true, false}))) == std::vector<double>{1, 0});
  CHECK(cast<float>(Tensor<Index>::zeros({2, 0, 3})).shape() == Shape{2, 0, 3});
}

TEST_CASE("numbers that no integer is near are not cast", "[fast]") {
  CHECK_THROWS_WITH(cast<Index>(Tensor<float>({2}, {1, std::nanf("")})), "cast: element 1 of [2] is nan; it does not fit into int64");
  CHECK_THROWS_WITH(cast<Index>(Tensor<double>({1}, {1e19})), "cast: element 0 of [1] is 1e+19; it does not fit into int64");
  CHECK_THROWS_WITH(cast<Index>(Tensor<float>({1}, {0x1p63f})), "cast: element 0 of [1] is 9.22337e+18; it does not fit into int64");
  CHECK(cast<Index>(Tensor<double>::scalar(-0x1p63)).item() == std::numeric_limits<Index>::min());
}

TEST_CASE("scalar types have the names that files use", "[fast]") {
  CHECK(dtype_name<float>() == "float32");
  CHECK(dtype_name<double>() == "float64");
  CHECK(dtype_name<Index>() == "int64");
  CHECK(dtype_name<bool>() == "bool");
}

TEST_CASE("a tensor is sole when nobody else sees its values", "[fast]") {
  Tensor<float> x({2}, {1, 2});
  CHECK(x.sole());
  {
    const Tensor<float> other = x.view({1});
    CHECK(!x.sole());
  }
  CHECK(x.sole());
  CHECK(!Tensor<float>().sole());
}

TEST_CASE("making and dropping tensors of one size asks the system for nothing", "[fast]") {
  CHECK(support::steady_allocations([] {
          const auto x = Tensor<float>::zeros({100, 100}), y = x.clone(), z = cast<float>(cast<double>(y));
          (void)z.text();
        }) == 0);
}

TEST_CASE("a tensor may die on another thread", "[fast]") {
  Tensor<float> x = Tensor<float>::ones({1000}), keep = x;
  std::thread([moved = std::move(x)]() mutable { moved = {}; }).join();
  CHECK(keep.sole());
  CHECK(keep(999) == 1);
}

TEST_CASE("a static tensor may live until the very end", "[fast]") {
  static const Tensor<float> late = Tensor<float>::ones({10});
  CHECK(late(9) == 1);
}
