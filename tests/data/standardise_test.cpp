#include "espalier/data/standardise.hpp"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "espalier/autograd/node.hpp"
#include "espalier/tensor/fields.hpp"
#include "support/catch.hpp"

using namespace espalier;

namespace {

const double hole = std::numeric_limits<double>::quiet_NaN();
const float hole_f = std::numeric_limits<float>::quiet_NaN();

template <class T>
std::vector<T> list(const Tensor<T>& x) {
  return {x.values().begin(), x.values().end()};
}
using Doubles = std::vector<double>;

}  // namespace

TEST_CASE("mean 0 and deviation 1 per column", "[fast]") {
  const Tensor<double> x({4, 2}, {1, 10, 1, 30, 3, 10, 3, 30});
  const Standardise scale(x);
  CHECK(list(scale.mean()) == Doubles{2, 20});
  CHECK(list(scale.deviation()) == Doubles{1, 10});
  CHECK(list(scale(x)) == Doubles{-1, -1, -1, 1, 1, -1, 1, 1});
  CHECK(list(scale.undo(scale(x))) == list(x));
  CHECK(list(scale(Tensor<double>({1, 2}, {4, 25}))) == Doubles{2, 0.5});
}

TEST_CASE("one axis is one column, more axes have theirs last", "[fast]") {
  CHECK(list(Standardise(Tensor<float>({4}, {1, 1, 5, 5})).mean()) == Doubles{3});
  const Standardise scale(Tensor<float>({2, 2, 2}, {1, 5, 3, 5, 1, 7, 3, 7}));
  CHECK(list(scale.mean()) == Doubles{2, 6});
  CHECK(list(scale.deviation()) == Doubles{1, 1});
}

TEST_CASE("masks per element, sample and step: NaN behind them counts for nothing", "[fast]") {
  const Tensor<double> x({4, 2}, {1, hole, hole, 4, 3, 8, hole, hole});
  const Tensor<bool> cells({4, 2}, {true, false, false, true, true, true, false, false});
  const Standardise scale(x, cells);
  CHECK(list(scale.mean()) == Doubles{2, 6});
  CHECK(list(scale.deviation()) == Doubles{1, 2});
  CHECK(list(scale(x, cells)) == Doubles{-1, 0, 0, -1, 1, 1, 0, 0});

  Input<float> input(Tensor<float>({3, 2, 1}, {1, hole_f, 3, 5, hole_f, hole_f}),
                     Tensor<bool>({3}, {true, true, false}));
  input.valid = Tensor<bool>({3, 2}, {true, false, true, true, true, true});
  const Standardise steps(input);
  CHECK(list(steps.mean()) == Doubles{3});
  CHECK(steps.deviation()(0) == Approx(std::sqrt(8.0 / 3)).epsilon(1e-15));
  const Input<float> out = steps(input);
  CHECK(out.values(0, 0, 0) == Approx(-std::sqrt(1.5)));
  CHECK(out.values(0, 1, 0) == 0);
  CHECK(out.values(1, 0, 0) == 0);
  CHECK(out.values(1, 1, 0) == Approx(std::sqrt(1.5)));
  CHECK(out.values(2, 0, 0) == 0);
  CHECK(out.values(2, 1, 0) == 0);
  CHECK(list(out.present) == list(input.present));
  CHECK(list(out.valid) == list(input.valid));
  CHECK(std::isnan(input.values(2, 0, 0)));
}

TEST_CASE("weights count as repetitions", "[fast]") {
  const Target<double> target(Tensor<double>({3, 1}, {1, 4, hole}), Tensor<double>({3}, {2, 1, 0}));
  const Standardise scale(target), repeated(Tensor<double>({3, 1}, {1, 1, 4}));
  CHECK(scale.mean()(0) == repeated.mean()(0));
  CHECK(scale.deviation()(0) == Approx(repeated.deviation()(0)).epsilon(1e-15));
  const Target<double> out = scale(target);
  CHECK(out.value(1, 0) == Approx(std::sqrt(2.0)));
  CHECK(out.value(2, 0) == 0);
  CHECK(list(out.weight) == list(target.weight));
}

TEST_CASE("constant columns and columns without a value are safe", "[fast]") {
  const float tenth = 0.1F;
  Tensor<float> x = Tensor<float>::zeros({1000, 3});
  Tensor<bool> mask = Tensor<bool>::ones({1000, 3});
  for (std::size_t i = 0; i < 1000; ++i) {
    x.mutate()[3 * i] = tenth;
    x.mutate()[3 * i + 1] = hole_f;
    mask.mutate()[3 * i + 1] = false;
    x.mutate()[3 * i + 2] = static_cast<float>(i % 2);
  }
  const Standardise scale(x, mask);
  CHECK(list(scale.mean()) == Doubles{static_cast<double>(tenth), 0, 0.5});
  CHECK(list(scale.deviation()) == Doubles{1, 1, 0.5});
  CHECK(scale(x, mask)(0, 0) == 0);
  CHECK(scale(x, mask)(0, 1) == 0);
  CHECK(scale(Tensor<float>({1, 3}, {1.1F, 2, 1})).values()[1] == 2);
  CHECK(list(Standardise(Tensor<float>({1, 2}, {5, 6})).deviation()) == Doubles{1, 1});
  CHECK(list(Standardise(Tensor<float>::zeros({0, 2})).mean()) == Doubles{0, 0});
}

TEST_CASE("against the closed form, at any scale", "[fast]") {
  Rng rng(2);
  const Index rows = 101, columns = 3;
  for (const double unit : {1e-170, 1e-3, 1.0, 1e8, 1e150}) {
    Tensor<double> x = Tensor<double>::normal({rows, columns}, rng);
    for (double& v : x.mutate()) v = unit * (5 + v);
    const Standardise scale(x);
    const Tensor<double> y = scale(x);
    for (Index c = 0; c < columns; ++c) {
      double sum = 0, square = 0, of_y = 0, square_of_y = 0;
      for (Index r = 0; r < rows; ++r) sum += x(r, c) / unit;
      for (Index r = 0; r < rows; ++r) square += std::pow(x(r, c) / unit - sum / rows, 2);
      for (Index r = 0; r < rows; ++r) of_y += y(r, c), square_of_y += y(r, c) * y(r, c);
      CHECK(scale.mean()(c) / unit == Approx(sum / rows).epsilon(1e-13));
      CHECK(scale.deviation()(c) / unit == Approx(std::sqrt(square / rows)).epsilon(1e-13));
      CHECK(std::abs(of_y / rows) < 1e-13);
      CHECK(square_of_y / rows == Approx(1).epsilon(1e-13));
    }
  }
}

TEST_CASE("a float column far from 0 keeps its digits", "[fast]") {
  const Standardise scale(Tensor<float>({3}, {16777216 - 2, 16777216 - 1, 16777216}));
  CHECK(scale.mean()(0) == 16777215);
  CHECK(scale(Tensor<float>({1}, {16777215}))(0) == 0);
}

TEST_CASE("what was fitted is among the fields", "[fast]") {
  struct Names : Visitor {
    std::string text;
    void tensor(Tensor<float>&) override {}
    void tensor(Tensor<double>& field) override { text += path() + ' ' + field.shape().text() + ' '; }
    void tensor(Tensor<Index>&) override {}
    void tensor(Tensor<bool>&) override {}
  } names;
  Standardise scale(3);
  walk(scale, names, "scale");
  CHECK(names.text == "scale.mean [3] scale.deviation [3] ");
  CHECK(list(scale(Tensor<float>({1, 3}, {1, 2, 3}))) == std::vector<float>{1, 2, 3});
}

TEST_CASE("what cannot be standardised is refused", "[fast]") {
  const Tensor<float> x({2, 2}, {1, 2, 3, hole_f});
  REQUIRE_THROWS_WITH(Standardise(x),
                      "Standardise: row 1, column 1 is nan with weight 1; values that count are finite, weights are "
                      "finite and not negative");
  REQUIRE_THROWS_WITH(Standardise(x, Tensor<float>({2}, {1, -1})),
                      "Standardise: row 1, column 0 is 3 with weight -1; values that count are finite, weights are "
                      "finite and not negative");
  REQUIRE_THROWS_WITH(Standardise(x, Tensor<bool>::ones({3})),
                      "Standardise: x is [2, 2], its mask is [3]; a mask has x's shape or leading axes of it");
  REQUIRE_THROWS_WITH(Standardise(Input<float>(Tensor<Index>({1, 1}, {0}))),
                      "Standardise: there are no values; tokens and classes have no mean");
  REQUIRE_THROWS_WITH(Standardise(2)(Input<float>(Tensor<Index>({1, 1}, {0}), Tensor<bool>({1}, {true}))),
                      "Standardise: there are no values; tokens and classes have no mean");
  REQUIRE_THROWS_WITH(Standardise(3)(Tensor<float>::zeros({2, 2})),
                      "Standardise: x is [2, 2], but 3 columns were fitted; the last axis must be as long");
  REQUIRE_THROWS_WITH(Standardise(3).undo(Tensor<float>::zeros({2})),
                      "Standardise: x is [2], but 3 columns were fitted; the last axis must be as long");
  REQUIRE_THROWS_WITH(Standardise(0), "Standardise: 0 columns; there must be at least 1");
}
