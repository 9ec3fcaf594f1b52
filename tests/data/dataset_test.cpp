#include "espalier/data/dataset.hpp"

#include <cmath>
#include <vector>

#include "espalier/autograd/node.hpp"
#include "support/catch.hpp"

using namespace espalier;

namespace {

/// Three samples of everything a dataset may hold.
Dataset<float> all_kinds() {
  Input<float> steps(Tensor<float>({3, 2, 1}, {1, 2, 3, 4, 5, 6}), Tensor<bool>({3}, {true, false, true}));
  steps.valid = Tensor<bool>({3, 2}, {true, true, false, false, true, false});
  return {{{"steps", steps}, {"words", {Tensor<Index>({3, 2}, {7, 8, 9, 10, 11, 12})}}},
          {{"price", {Tensor<float>({3, 2}, {1, 2, 3, 4, 5, 6}), Tensor<float>({3, 2}, {1, 0, 1, 1, 0, 0})}},
           {"kind", {Tensor<Index>({3}, {2, 0, 1}), Tensor<float>({3}, {0.5, 1, 0})}}}};
}

template <class T>
std::vector<T> list(const Tensor<T>& x) {
  return {x.values().begin(), x.values().end()};
}

}  // namespace

TEST_CASE("rows are copied with all that belongs to them", "[fast]") {
  const Dataset<float> data = all_kinds();
  const std::vector<Index> wanted{2, 0, 2, 1};
  const Batch<float> batch = data.rows(wanted);
  CHECK(batch.size() == 4);
  const Input<float>& steps = batch.inputs["steps"];
  CHECK(steps.values.shape() == Shape{4, 2, 1});
  CHECK(list(steps.values) == std::vector<float>{5, 6, 1, 2, 5, 6, 3, 4});
  CHECK(list(steps.present) == std::vector<bool>{true, true, true, false});
  CHECK(list(steps.valid) == std::vector<bool>{true, false, true, true, true, false, false, false});
  CHECK_FALSE(steps.tokens.defined());
  CHECK(list(batch.inputs["words"].tokens) == std::vector<Index>{11, 12, 7, 8, 11, 12, 9, 10});
  CHECK_FALSE(batch.inputs["words"].present.defined());
  CHECK(list(batch.targets["price"].value) == std::vector<float>{5, 6, 1, 2, 5, 6, 3, 4});
  CHECK(list(batch.targets["price"].weight) == std::vector<float>{0, 0, 1, 0, 0, 0, 1, 1});
  CHECK(list(batch.targets["kind"].classes) == std::vector<Index>{1, 2, 1, 0});
  CHECK(list(batch.targets["kind"].weight) == std::vector<float>{0, 0.5, 0, 1});
  CHECK(batch.inputs.names() == "steps, words");
  CHECK(batch.targets.names() == "price, kind");
}

TEST_CASE("rows are copies", "[fast]") {
  const Dataset data{{{"x", Tensor<float>({2}, {1, 2})}}, {}};
  Dataset<float> one = data.rows(std::vector<Index>{1});
  one.inputs.at(0).value.values.mutate()[0] = 9;
  CHECK(data.inputs["x"].values(1) == 2);
}

TEST_CASE("NaN behind a mask travels as it is", "[fast]") {
  const Dataset data{{{"x", {Tensor<float>({2}, {std::nanf(""), 1}), Tensor<bool>({2}, {false, true})}}}, {}};
  CHECK(std::isnan(data.rows(std::vector<Index>{0}).inputs["x"].values(0)));
}

TEST_CASE("datasets may be empty, or have inputs or targets only", "[fast]") {
  CHECK(Dataset<float>().size() == 0);
  CHECK(Dataset<double>({}, {{"y", {Tensor<Index>({4}, {0, 1, 2, 3})}}}).size() == 4);
  CHECK(Dataset<double>({{"x", Tensor<double>::zeros({5, 2})}}, {}).size() == 5);
  const Dataset<float> none = all_kinds().rows({});
  CHECK(none.size() == 0);
  CHECK(none.inputs["steps"].values.shape() == Shape{0, 2, 1});
}

TEST_CASE("sizes that differ are all named", "[fast]") {
  REQUIRE_THROWS_WITH((Dataset<float>{{{"left", Tensor<float>::zeros({3, 2})}, {"right", Tensor<float>::zeros({2})}},
                                      {{"kind", {Tensor<Index>({3}, {0, 1, 2})}}, {"ink", Tensor<float>::zeros({4})}}}),
                      "dataset: input 'left' has 3 rows, but input 'right' has 2, target 'ink' has 4; all must have as "
                      "many");
  REQUIRE_THROWS_WITH((Dataset<float>{{{"x", Tensor<float>::zeros({})}}, {}}),
                      "dataset: input 'x' is a scalar; the first axis counts the samples");
  REQUIRE_THROWS_WITH((Dataset<float>{{{"x", Input<float>()}}, {}}),
                      "dataset: input 'x' has neither values nor tokens");
  REQUIRE_THROWS_WITH((Dataset<float>{{}, {{"y", Target<float>()}}}),
                      "dataset: target 'y' has neither values nor classes");
}

TEST_CASE("masks and weights fit what they mask", "[fast]") {
  const Tensor<float> x = Tensor<float>::zeros({3, 2});
  Input<float> input(x, Tensor<bool>::ones({2}));
  REQUIRE_THROWS_WITH((Dataset<float>{{{"x", input}}, {}}),
                      "dataset: input 'x' is [3, 2], present is [2]; it must be [batch]");
  input.present = Tensor<bool>::ones({3, 2});
  REQUIRE_THROWS_WITH((Dataset<float>{{{"x", input}}, {}}),
                      "dataset: input 'x' is [3, 2], present is [3, 2]; it must be [batch]");
  input.present = {};
  input.valid = Tensor<bool>::ones({3, 3});
  REQUIRE_THROWS_WITH((Dataset<float>{{{"x", input}}, {}}),
                      "dataset: input 'x' is [3, 2], valid is [3, 3]; it must be [batch, steps]");
  for (const Shape& weight : {Shape{2}, Shape{3, 1}, Shape{2, 3}, Shape{}})
    REQUIRE_THROWS_WITH(
        (Dataset<float>{{}, {{"y", {x, Tensor<float>::ones(weight)}}}}),
        "dataset: target 'y' is [3, 2], the weight is " + weight.text() + "; it must be [batch] or as the target");
}

TEST_CASE("rows that are not there are refused", "[fast]") {
  const Dataset<float> data = all_kinds();
  REQUIRE_THROWS_WITH(data.rows(std::vector<Index>{0, 3}), "dataset: row 3 is asked for; there are 3, counted from 0");
  REQUIRE_THROWS_WITH(data.rows(std::vector<Index>{-1}), "dataset: row -1 is asked for; there are 3, counted from 0");
  Dataset<float> changed = data;
  changed.inputs.add("late", Tensor<float>::zeros({2}));
  REQUIRE_THROWS_WITH(changed.rows(std::vector<Index>{2}),
                      "dataset: input 'steps' has 3 rows, but input 'late' has 2; all must have as many");
}
