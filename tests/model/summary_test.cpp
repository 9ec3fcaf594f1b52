#include "espalier/model/summary.hpp"

#include "espalier/model/multi_modal_model.hpp"
#include "espalier/model/multi_task_model.hpp"
#include "espalier/multimodal/fusion/concat.hpp"
#include "support/catch.hpp"

using namespace espalier;

TEST_CASE("summary lists parameters, owners, totals and shapes", "[fast]") {
  Rng rng{0};
  const MultiModalModel model{{.encoders = {{"a", Linear{3, 40, rng}}, {"b", Linear{2, 40, rng}}},
                               .fusion = ConcatFusion{40, 40},
                               .trunk = Linear{80, 60, rng},
                               .heads = {{"digit", Linear{60, 10, rng}}, {"ink", Linear{60, 1, rng}}}}};
  const Inputs<float> inputs{{"a", Tensor<float>::zeros({5, 3})}, {"b", Tensor<float>::zeros({5, 2})}};
  CHECK(summary(model, inputs) ==
        "parameter           shape     count  owner\n"
        "encoders.a.weight   [40, 3]     120  modality a\n"
        "encoders.a.bias     [40]         40  modality a\n"
        "encoders.b.weight   [40, 2]      80  modality b\n"
        "encoders.b.bias     [40]         40  modality b\n"
        "fusion.missing.0    [40]         40  shared\n"
        "fusion.missing.1    [40]         40  shared\n"
        "trunk.weight        [60, 80]  4,800  shared\n"
        "trunk.bias          [60]         60  shared\n"
        "heads.digit.weight  [10, 60]    600  task digit\n"
        "heads.digit.bias    [10]         10  task digit\n"
        "heads.ink.weight    [1, 60]      60  task ink\n"
        "heads.ink.bias      [1]           1  task ink\n"
        "\n"
        "modality a                      160\n"
        "modality b                      120\n"
        "shared                        4,940\n"
        "task digit                      610\n"
        "task ink                         61\n"
        "total                         5,891\n"
        "\n"
        "input   a [rows, 3]\n"
        "input   b [rows, 2]\n"
        "output  digit [rows, 10]\n"
        "output  ink [rows, 1]\n");
  const MultiTaskModel small{{.heads = {{"y", Linear{2, 1, rng}}}}};
  CHECK(summary(small, Tensor<float>::zeros({4, 2})) ==
        "parameter       shape   count  owner\n"
        "heads.y.weight  [1, 2]      2  task y\n"
        "heads.y.bias    [1]         1  task y\n"
        "\n"
        "task y                      3\n"
        "total                       3\n"
        "\n"
        "input   [rows, 2]\n"
        "output  y [rows, 1]\n");
  const Sequential layers{Linear{2, 3, rng}, ReLU{}};
  CHECK(summary(layers, Tensor<float>::zeros({4, 2})).ends_with("\ninput   [rows, 2]\noutput  [rows, 3]\n"));
  CHECK_THROWS_WITH(summary(small, Inputs<float>{}), "model: it takes one tensor, the data has 0 inputs: none; use a MultiModalModel, or data of one input");
}
