#include "espalier/model/model_ref.hpp"

#include "espalier/model/multi_task_model.hpp"
#include "espalier/optim/sgd.hpp"
#include "espalier/train/optimizer_ref.hpp"
#include "support/catch.hpp"

using namespace espalier;

TEST_CASE("references do what the objects do", "[fast]") {
  Rng rng{2};
  MultiTaskModel<float> model{{.heads = {{"y", Linear{2, 1, rng}}}}};
  SGD<float> optimizer{parameters(model), {.lr = 0.5}};
  const ModelRef<float> model_ref(model);
  OptimizerRef<float> optimizer_ref(optimizer);
  const Inputs<float> inputs{{"x", Tensor<float>::ones({3, 2})}};
  const float before = model(inputs["x"].values)["y"].data()[0];
  CHECK(model_ref(inputs)["y"].data()[0] == before);
  CHECK_FALSE(model_ref(inputs)["y"].node());
  Pass pass{rng};
  backward(sum(model_ref(inputs, pass)["y"]));
  CHECK(optimizer_ref.lr() == 0.5);
  optimizer_ref.set_lr(0.25);
  optimizer_ref.step();
  CHECK(optimizer.lr() == 0.25);
  CHECK(model_ref(inputs)["y"].data()[0] == Approx(before - 0.25 * 3 * 3));
  CHECK(&optimizer_ref.parameters() == &optimizer.parameters());
}
