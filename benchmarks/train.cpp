// train/*: a whole step (forward, backward, Adam) of program 02's kind against the same arithmetic by hand;
// *_gemms: against its matrix products alone.
// infer/*: one sample through the trained model; frozen: by a Predictor, whose weights are packed. op/overhead: what recording
// costs beyond the kernel. progress/step: a Trainer that shows a bar against one that shows nothing.

#include "cases.hpp"
#include "espalier/model/predictor.hpp"
#include "espalier/train/trainer.hpp"
#include "hand_loop.hpp"
#include "measure.hpp"

using namespace espalier;

namespace {

void train(bench::Report& report, const bench::Case& c) {
  if (c.upgrad || !report.wants(c.name)) return;  // nobody writes UPGrad by hand
  bench::Training training(c);
  hand::Loop loop(c.trunk, c.heads, c.batch);
  const auto [ours, theirs] = bench::alternate(c.calls, [&] { training.step(); }, [&] { loop.step(); });
  report.add({c.name, "us", ours * 1e6, theirs * 1e6, "hand-written Eigen loop"});
}

/// A whole step against the matrix products that it consists of, timed by themselves: each layer's, and those of its gradients.
void train_over_gemms(bench::Report& report, const bench::Case& c) {
  const std::string name = c.name + "_gemms";
  if (!report.wants(name)) return;
  bench::Training training(c);
  struct Layer {
    Index in, out;
    Tensor<float> x, y, weight, gradient;
  };
  std::vector<Layer> layers;
  std::vector<int> sizes = c.trunk;
  sizes.push_back(c.heads);
  Rng rng{0};
  const auto normal = [&](Index rows, Index columns) { return Tensor<float>::normal({rows, columns}, rng); };
  for (std::size_t i = 0; i + 1 < sizes.size(); ++i)
    layers.push_back({sizes[i], sizes[i + 1], normal(c.batch, sizes[i]), normal(c.batch, sizes[i + 1]),
                      normal(sizes[i + 1], sizes[i]), normal(sizes[i + 1], sizes[i])});
  const auto products = [&] {
    using kernels::gemm;
    for (Layer& l : layers) {
      const float *x = l.x.data(), *y = l.y.data(), *w = l.weight.data();
      gemm<float>(c.batch, l.out, l.in, {x, l.in, 1}, {w, 1, l.in}, l.y.raw(), l.out);
      gemm<float>(l.out, l.in, c.batch, {y, 1, l.out}, {x, l.in, 1}, l.gradient.raw(), l.in);
      if (&l != layers.data()) gemm<float>(c.batch, l.in, l.out, {y, l.out, 1}, {w, l.in, 1}, l.x.raw(), l.in);
    }
  };
  const auto [step, gemms] = bench::alternate(c.calls, [&] { training.step(); }, products);
  report.add({name, "us", step * 1e6, gemms * 1e6, "the step's matrix products"});
}

void infer(bench::Report& report) {
  if (!report.wants("infer/seed")) return;
  Rng rng{0};
  const auto model = bench::make_model(bench::cases()[0], rng);
  const Tensor<float> x = Tensor<float>::normal({1, 10}, rng);
  Eigen::Matrix<float, 20, 10, Eigen::RowMajor> w1 = decltype(w1)::Random();
  Eigen::Matrix<float, 10, 20, Eigen::RowMajor> w2 = decltype(w2)::Random();
  Eigen::Matrix<float, 1, 10> w3 = decltype(w3)::Random();
  Eigen::Matrix<float, 10, 1> in = decltype(in)::Random();
  volatile float sink = 0;
  const auto [ours, theirs] = bench::alternate(
      2000, [&] { sink = model(x).block().data()[0]; },
      [&] {
        asm volatile("" : : "r"(in.data()) : "memory");
        const Eigen::Matrix<float, 20, 1> h = (w1 * in).cwiseMax(0.0f);
        sink = (w3 * (w2 * h))(0);
      });
  report.add({"infer/seed", "us", ours * 1e6, theirs * 1e6, "fixed-size Eigen, no biases"});
}

/// Against the model itself; the budget is 0.25 us.
void infer_frozen(bench::Report& report) {
  if (!report.wants("infer/frozen")) return;
  Rng rng{0};
  const auto model = bench::make_model(bench::cases()[0], rng);
  const Predictor predictor{model};
  const Tensor<float> x = Tensor<float>::normal({1, 10}, rng);
  volatile float sink = 0;
  const auto [packed, ordinary] = bench::alternate(
      2000, [&] { sink = predictor(x).block().data()[0]; }, [&] { sink = model(x).block().data()[0]; });
  report.add({"infer/frozen", "us", packed * 1e6, ordinary * 1e6, "the model's own inference"});
}

/// A Trainer's step on a small model, with a bar and without: the smaller a step, the more a bar would weigh. In processor time, as
/// the difference is small beside what other programs take.
void progress(bench::Report& report) {
  if (!report.wants("progress/step")) return;
  constexpr Index rows = 32000, batch = 32, epochs = 10;
  Rng rng{0};
  const Tensor<float> x = Tensor<float>::normal({rows, 32}, rng);
  const Dataset<float> data{{{"x", x}}, {{"sum", sum(x, {1})}, {"norm", sum(x * x, {1})}}};
  std::FILE* const nowhere = std::fopen("/dev/null", "w");
  const auto run = [&](Progress mode) {
    Rng own{1};
    MultiTaskModel<float> model{{.trunk = Sequential{Linear{32, 64, own}, ReLU{}},
                                 .heads = {{"sum", Linear{64, 1, own}}, {"norm", Linear{64, 1, own}}}}};
    MultiObjective objective{{{"sum", MSE{}}, {"norm", MSE{}}}};
    Adam optimizer{parameters(model), {.lr = 1e-3}};
    Trainer trainer{model, objective, optimizer,
                    {.epochs = epochs, .batch = batch, .progress = {.mode = mode, .stream = nowhere, .width = 100}}};
    trainer.fit(data);
  };
  const auto [shown, quiet] =
      bench::alternate(1, [&] { run(Progress::bar); }, [&] { run(Progress::quiet); }, 31, bench::processor_seconds);
  constexpr double steps = epochs * rows / batch;
  report.add({"progress/step", "us", shown / steps * 1e6, quiet / steps * 1e6, "without a progress bar"});
  std::fclose(nowhere);
}

/// Recording, backward and release of a chain of tanh on one element, the kernel's own time taken off.
void overhead(bench::Report& report) {
  if (!report.wants("op/overhead")) return;
  const auto x = parameter(Tensor<float>({1}, {0.5f}));
  const Tensor<float> one = Tensor<float>::ones({1});
  constexpr int length = 1000;
  float value = 0.5f;
  const auto [op, kernels] = bench::alternate(
      100,
      [&] {
        Tensor<float> y = x;
        for (int i = 0; i < length; ++i) y = tanh(y);
        clear_gradient(x);
        backward(y, one);
      },
      [&] {  // what the kernels of the same chain take: value forwards, slope backwards
        for (int i = 0; i < length; ++i) {
          kernels::map(1, &value, detail::ValueOf<Tanh>{}, static_cast<const float*>(&value));
          asm volatile("" : : "r"(&value) : "memory");
        }
        float g = 1;
        for (int i = 0; i < length; ++i) {
          kernels::map(1, &g, detail::SlopeTimes<Tanh>{}, static_cast<const float*>(&g), static_cast<const float*>(&value));
          asm volatile("" : : "r"(&g) : "memory");
        }
      });
  report.add({"op/overhead", "ns", (op - kernels) / length * 1e9, 100, "budget"});
}

}  // namespace

int main(int argc, char** argv) {
  bench::Report report(argc, argv);
  for (const bench::Case& c : bench::cases()) train(report, c);
  for (const std::size_t i : {1u, 3u}) train_over_gemms(report, bench::cases()[i]);
  infer(report);
  infer_frozen(report);
  overhead(report);
  progress(report);
}
