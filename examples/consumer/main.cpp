// Two tasks on one trunk: from three numbers their sum and their product.

#include <espalier/espalier.hpp>

#include <cstdio>

using namespace espalier;

int main() {
  Rng rng{0};
  const auto x = Tensor<float>::uniform({1000, 3}, 0, 1, rng);
  const auto column = [&](Index i) { return slice(x, 1, i, i + 1); };
  const Dataset data{{{"x", x}},
                     {{"sum", column(0) + column(1) + column(2)}, {"product", column(0) * column(1) * column(2)}}};
  const auto [train, test] = split(data, 0.8, rng);

  MultiTaskModel model{{.trunk = Sequential{Linear{3, 32, rng}, ReLU{}, Linear{32, 32, rng}, ReLU{}},
                        .heads = {{"sum", Linear{32, 1, rng}}, {"product", Linear{32, 1, rng}}}}};
  MultiObjective objective{{{"sum", MSE{}}, {"product", MSE{}}}};
  Adam optimizer{parameters(model), {.lr = 3e-3}};
  Trainer trainer{model, objective, optimizer, {.epochs = 20}};
  trainer.fit(train, test);
  std::printf("\n%s", evaluate(model, objective, test).text().c_str());
}
