// Many tasks at once. heads/*: a whole step with as many packed heads against one head of their width. kgrad/*: the gradients
// of K tasks in what they share, joined by UPGrad, against K backward passes that keep K gradients; only what differs is
// timed: no forward pass, no heads, no optimizer. The trunk is 512-1024-1024, with ReLU after its first layer.

#include "espalier/model/multi_task_model.hpp"
#include "espalier/multitask/objective.hpp"
#include "espalier/optim/adam.hpp"
#include "measure.hpp"

using namespace espalier;

namespace {

// ---- heads ---------------------------------------------------------------------------------------------------------------

/// A trunk 64-128-128 on a batch of 128 with `heads` heads of `width` numbers each.
struct Step {
  Rng rng{0};
  MultiTaskModel<float> model;
  MultiObjective<float> objective;
  Targets<float> targets;
  Adam<float> optimizer;
  Tensor<float> x = Tensor<float>::normal({128, 64}, rng);
  std::uint64_t steps = 0;

  Step(int heads, int width)
      : model(make_model(heads, width, rng)), objective(losses(heads)), optimizer(parameters(model), {.lr = 1e-3}) {
    for (int k = 0; k < heads; ++k) targets.add(task(k), Tensor<float>::normal({128, width}, rng));
  }
  void operator()() {
    Pass pass{rng, steps++};
    const auto values = objective(model(x, pass), targets);
    objective.backward(values);
    optimizer.step();
  }

 private:
  static std::string task(int k) { return "task" + std::to_string(k); }
  static MultiTaskModel<float> make_model(int heads, int width, Rng& rng) {
    std::vector<Named<AnyModule<float>>> named;
    for (int k = 0; k < heads; ++k) named.push_back({task(k), Linear{128, width, rng}});
    return MultiTaskModel<float>(
        {.trunk = Sequential{Linear{64, 128, rng}, ReLU{}, Linear{128, 128, rng}}, .heads = std::move(named)});
  }
  static std::vector<Named<TaskLoss<float>>> losses(int heads) {
    std::vector<Named<TaskLoss<float>>> all;
    for (int k = 0; k < heads; ++k) all.push_back({task(k), MSE{}});
    return all;
  }
};

void heads(bench::Report& report, int count) {
  const std::string name = "heads/" + std::to_string(count);
  if (!report.wants(name)) return;
  Step many(count, 1), one(1, count);
  const auto [ours, wide] = bench::alternate(count > 100 ? 5 : 30, many, one);
  report.add({name, "us", ours * 1e6, wide * 1e6, "one head of that width"});
}

// ---- task gradients ------------------------------------------------------------------------------------------------------

struct Trunk {
  Linear<float> first, second;
  Tensor<float> x, features, cotangents;  // [batch, 512], [batch, 1024], [tasks, batch, 1024]
  std::vector<Tensor<float>> parameters;

  Trunk(Index tasks, Index batch, Rng& rng)
      : first(512, 1024, rng), second(1024, 1024, rng), x(Tensor<float>::normal({batch, 512}, rng)),
        features(second(first.fused(x, Activation::relu))), cotangents(Tensor<float>::normal({tasks, batch, 1024}, rng)),
        parameters{first.weight, first.bias, second.weight, second.bias} {
    for (const auto& p : parameters) leaf_of(p)->owner = {Owner::Kind::shared, ""};
  }
  void clear() const {
    for (const auto& p : parameters) clear_gradient(p);
  }
};

/// Gradients in the parameters or, with `at_representation`, in the features: then one backward pass follows.
void task_gradients(bench::Report& report, Index tasks, Index batch, bool at_representation = false) {
  const std::string name = "kgrad/" + std::to_string(tasks) + (at_representation ? "-rep" : "x" + std::to_string(batch));
  if (!report.wants(name)) return;
  Rng rng{0};
  const Trunk trunk(tasks, batch, rng);
  const auto m = static_cast<std::size_t>(tasks);
  std::vector<Index> active;
  Labels rows(tasks, false);
  for (Index k = 0; k < tasks; ++k) {
    active.push_back(k);
    rows.begin()[k] = {k, 0, 0};
  }
  std::vector<double> gramian(m * m), weights(m), reference(m * m);
  double operations = 0;
  const auto in_parameters = [&] {
    trunk.clear();
    TaskGradients<float> gradients(active);
    Sweep<float> sweep({.retain = true, .separate = true}, &gradients);
    sweep.start(trunk.features, trunk.cotangents, rows);
    sweep.run();
    gradients.settle();
    gradients.gramian(gramian);
    UPGrad{}.weights({gramian, tasks}, {}, weights);
    operations = gradients.multiply_adds();
    gradients.combine(weights);
  };
  // The features' cotangents are at hand: their inner products, their weighted sum, and one backward pass of it.
  const auto in_features = [&] {
    trunk.clear();
    const Index size = trunk.features.size();
    PoolVector<const float*> given;
    for (Index k = 0; k < tasks; ++k) given.push_back(trunk.cotangents.data() + k * size);
    const std::span<const float* const> all(given.data(), m);
    std::fill(gramian.begin(), gramian.end(), 0.0);
    kernels::add_pair_dots<float>(size, all, all, 0, gramian.data());
    for (std::size_t i = 0; i < m; ++i)
      for (std::size_t j = 0; j < i; ++j) gramian[i * m + j] = gramian[j * m + i];
    UPGrad{}.weights({gramian, tasks}, {}, weights);
    Tensor<float> joined = Tensor<float>::zeros({batch, 1024});
    for (std::size_t k = 0; k < m; ++k) {
      const auto w = static_cast<float>(weights[k]);
      kernels::map(size, joined.raw(), [w](const auto& s, const auto& g) __attribute__((always_inline)) { return fma(w, g, s); },
                   static_cast<const float*>(joined.raw()), given[k]);
    }
    Sweep<float> sweep({.retain = true});
    sweep.start(trunk.features, std::move(joined));
    sweep.run();
  };
  std::vector<std::vector<Tensor<float>>> stored(m);
  const auto passes = [&] {
    for (Index k = 0; k < tasks; ++k) {
      trunk.clear();
      Sweep<float> sweep({.retain = true});
      sweep.start(trunk.features, trunk.cotangents.view({batch, 1024}, k * batch * 1024));
      sweep.run();
      auto& gradients = stored[static_cast<std::size_t>(k)];
      gradients.clear();
      for (const auto& p : trunk.parameters) gradients.push_back(std::exchange(leaf_of(p)->grad, {}));
    }
    std::fill(reference.begin(), reference.end(), 0.0);
    trunk.clear();
    for (std::size_t p = 0; p < trunk.parameters.size(); ++p) {
      PoolVector<const float*> rows_of_p;
      for (std::size_t i = 0; i < m; ++i) rows_of_p.push_back(stored[i][p].data());
      const std::span<const float* const> all(rows_of_p.data(), m);
      kernels::add_pair_dots<float>(trunk.parameters[p].size(), all, all, 0, reference.data());
    }
    for (std::size_t i = 0; i < m; ++i)
      for (std::size_t j = 0; j < i; ++j) reference[i * m + j] = reference[j * m + i];
    UPGrad{}.weights({reference, tasks}, {}, weights);
    for (std::size_t p = 0; p < trunk.parameters.size(); ++p) {
      Leaf<float>& leaf = *leaf_of(trunk.parameters[p]);
      Tensor<float> grad = leaf.grad_view();
      for (std::size_t i = 0; i < m; ++i) {
        const auto w = static_cast<float>(weights[i]);
        const float* from = stored[i][p].data();
        if (i == 0)
          kernels::map(
              grad.size(), grad.raw(), [w](const auto& g) __attribute__((always_inline)) { return w * g; }, from);
        else
          kernels::map(
              grad.size(),
              grad.raw(), [w](const auto& s, const auto& g) __attribute__((always_inline)) { return fma(w, g, s); },
              static_cast<const float*>(grad.raw()), from);
      }
      leaf.fresh = false;
    }
  };
  const auto ours = [&] { at_representation ? in_features() : in_parameters(); };
  const auto [one_sweep, k_sweeps] = bench::alternate(1, ours, passes, 15);
  report.add({name, "ms", one_sweep * 1e3, k_sweeps * 1e3, std::to_string(tasks) + " backward passes"});

  // Multiply-adds: the features' cotangents through the second layer, then Gramian and combination (without the biases' sums).
  const auto k = static_cast<double>(tasks), b = static_cast<double>(batch), back = b * 1024 * 1024, front = b * 512 * 1024;
  const double pairs = k * (k + 1) / 2, stored_gradients = 1024 * (1024 + 512 + 2);
  const double theirs = k * (2 * back + front) + (pairs + k) * stored_gradients;
  const double mine = at_representation ? (pairs + k) * b * 1024 + 2 * back + front : k * back + operations;
  std::printf("  multiply-adds    %10.1f M    %-34s %10.1f M", mine / 1e6, "", theirs / 1e6);
  if (!at_representation)
    for (const Index in : {512, 1024})
      std::printf("   %s->1024 by %s", in == 512 ? "512" : "1024",
                  LinearGramianCost(tasks, batch, in, 1024).by_kernel() ? "kernel" : "products");
  std::printf("\n");
}

}  // namespace

int main(int argc, char** argv) {
  bench::Report report(argc, argv);
  heads(report, 64);
  heads(report, 1024);
  task_gradients(report, 8, 32);
  task_gradients(report, 8, 256);
  task_gradients(report, 8, 32, true);
}
