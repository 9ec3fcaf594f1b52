#include "espalier/ops/list.hpp"

#include "support/catch.hpp"
#include "support/near.hpp"
#include "support/op_zoo.hpp"

using namespace espalier;
using support::difference;
using support::Points;

namespace {
const std::vector<std::string> none_broken;
}  // namespace

TEST_CASE("operations with structure have the derivatives that central differences find", "[fast]") {
  CHECK(StructuredOps::size == 20);
  StructuredOps::each<double>([](auto op) { CHECK(!support::samples_of<typename decltype(op)::type>().empty()); });
  CHECK(support::broken_derivatives(support::structured_cases<StructuredOps>()) == none_broken);
}
TEST_CASE("operations with structure take rows of tasks together", "[fast]") {
  CHECK(support::broken_rows(support::structured_cases<StructuredOps>()) == none_broken);
  CHECK(support::broken_jacobians(support::structured_cases<StructuredOps>()) == none_broken);
}
TEST_CASE("fused backward passes of operations with structure give what recorded ones give", "[fast]") {
  CHECK(support::broken_fused(support::structured_cases<StructuredOps>()) == none_broken);
}

TEST_CASE("float values and derivatives agree with double", "[fast]") {
  struct Sample {
    std::vector<Tensor<float>> xs, slopes;
    Tensor<float> y, g;
  };
  StructuredOps::each<float>([]<template <class> class Op>(std::type_identity<Op<float>>) {
    INFO(Op<float>::name);
    Rng rng{6};
    std::vector<Sample> samples;
    Op<float>::samples([&](auto f, const std::vector<Shape>& shapes) {
      Sample s;
      for (const Shape& shape : shapes) s.xs.push_back(parameter(Tensor<float>::normal(shape, rng)));
      s.y = f(std::as_const(s.xs));
      s.g = Tensor<float>::normal(s.y.shape(), rng);
      s.slopes = vjp(s.y, s.xs, s.g);
      samples.push_back(std::move(s));
    });
    std::size_t i = 0;
    Op<double>::samples([&](auto f, const std::vector<Shape>&) {
      const Sample& s = samples[i++];
      Points xs;
      for (const Tensor<float>& x : s.xs) xs.push_back(parameter(cast<double>(x)));
      const Tensor<double> y = f(std::as_const(xs));
      CHECK(difference(cast<double>(s.y), y) < 1e-5);
      const auto slopes = vjp(y, xs, cast<double>(s.g));
      for (std::size_t k = 0; k < xs.size(); ++k) CHECK(difference(cast<double>(s.slopes[k]), slopes[k]) < 1e-5);
    });
  });
}
