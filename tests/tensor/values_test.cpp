#include "espalier/tensor/values.hpp"

#include "espalier/ops/columns.hpp"
#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/near.hpp"

using namespace espalier;
using support::list;

TEST_CASE("an input knows its batch", "[fast]") {
  CHECK(Input<float>{}.batch() == 0);
  CHECK(Input<float>{Tensor<float>::zeros({5, 2})}.batch() == 5);
  CHECK(Input<float>{Tensor<Index>::zeros({3, 7})}.batch() == 3);
  CHECK(Input<float>{Tensor<float>::scalar(1)}.batch() == 0);
  CHECK(Input<float>{Tensor<float>::zeros({0, 2})}.batch() == 0);
}

TEST_CASE("an input takes values or tokens, with what exists of them", "[fast]") {
  const Tensor<bool> present({2}, {true, false}), valid({2, 1}, {true, false});
  const Input<float> values{Tensor<float>::zeros({2, 4}), present};
  CHECK(values.values.defined());
  CHECK(!values.tokens.defined());
  CHECK(list(values.present) == std::vector<bool>{true, false});
  const Input<float> tokens{Tensor<Index>::zeros({2, 1}), {}, valid};
  CHECK(!tokens.values.defined());
  CHECK(!tokens.present.defined());
  CHECK(tokens.valid.shape() == Shape{2, 1});
  const Inputs<float> inputs{{"left", Tensor<float>::zeros({2, 4})}, {"right", {Tensor<float>::zeros({2, 3}), present}}};
  CHECK(inputs["right"].present.defined());
}

TEST_CASE("a mask of labels becomes weights", "[fast]") {
  const Tensor<bool> labelled({3}, {true, false, true});
  CHECK(list((Target<float>{Tensor<float>::zeros({3}), labelled}).weight) == std::vector<float>{1, 0, 1});
  CHECK(list((Target<double>{Tensor<Index>::zeros({3}), labelled}).weight) == std::vector<double>{1, 0, 1});
  CHECK((Target<float>{Tensor<Index>::zeros({3})}).classes.defined());
}

TEST_CASE("a mask that is not given means labelled throughout", "[fast]") {
  CHECK(!(Target<float>{Tensor<float>::zeros({3}), Tensor<bool>{}}).weight.defined());
  CHECK(!(Target<float>{Tensor<Index>::zeros({3}), Tensor<bool>{}}).weight.defined());
}

TEST_CASE("outputs are found by name, packed or not", "[fast]") {
  const Shared layout{OutputLayout{{"digit", "ink", "own"}, {{0, 2}, {2, 3}, {.separate = 0}}}};
  const Tensor<float> block({2, 3}, {1, 2, 3, 4, 5, 6}), own({2, 1}, {7, 8});
  const Outputs<float> outputs(layout, block, {own});
  CHECK(outputs.size() == 3);
  CHECK(outputs.name(1) == "ink");
  CHECK(list(outputs["digit"]) == std::vector<float>{1, 2, 4, 5});
  CHECK(list(outputs["ink"]) == std::vector<float>{3, 6});
  CHECK(outputs["ink"].shape() == Shape{2, 1});
  CHECK(list(outputs["own"]) == std::vector<float>{7, 8});
  CHECK(outputs.find("own") == 2);
  CHECK(outputs.find("own", 2) == 2);
  CHECK(outputs.find("other", 9) == -1);
  CHECK_THROWS_WITH(outputs["other"], "outputs: unknown task 'other'; known: digit, ink, own");
}

TEST_CASE("outputs may be listed by hand", "[fast]") {
  const Outputs<float> outputs{{"a", Tensor<float>::ones({2, 1})}, {"b", Tensor<float>::zeros({2, 1})}};
  CHECK(outputs.names() == "a, b");
  CHECK(list(outputs["a"]) == std::vector<float>{1, 1});
  CHECK(!outputs.block().defined());
  CHECK(Outputs<float>{}.names() == "none");
  CHECK(Outputs<float>{}.size() == 0);
  CHECK_THROWS_WITH(Outputs<float>{}["a"], "outputs: unknown task 'a'; known: none");
  NamedList<Tensor<float>> any;
  for (const char* name : {"x", "y", "z"}) any.add(name, Tensor<float>::full({1, 1}, static_cast<float>(*name)));
  const Outputs<float> counted(any);
  CHECK(counted.names() == "x, y, z");
  CHECK(list(counted["y"]) == std::vector<float>{'y'});
}

TEST_CASE("losses carry names, values and weights", "[fast]") {
  Losses<float> losses(Losses<float>::Names(std::vector<std::string>{"digit", "ink", "late"}));
  const double weights[] = {32, 0}, one[] = {5};
  losses.add({Tensor<float>({2}, {0.5f, 0}), {0, 1}}, weights);
  losses.add({Tensor<float>::scalar(2), {2}}, one);
  CHECK(losses.size() == 3);
  CHECK(losses["digit"] == 0.5);
  CHECK(losses.value(2) == 2);
  CHECK(losses.weight(0) == 32);
  CHECK(losses.present(0));
  CHECK(!losses.present(1));
  CHECK(losses.total() == 2.5);
  CHECK(losses.parts().size() == 2);
  CHECK_THROWS_WITH(losses["other"], "losses: unknown task 'other'; known: digit, ink, late");
  CHECK_THROWS_WITH(Losses<float>{}["x"], "losses: unknown task 'x'; known: none");
}
