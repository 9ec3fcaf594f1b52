#pragma once
// Problems whose truth is known, and the models to be tried on them: where sharing helps, where it hurts, and the
// synthetic of the MMoE paper. For the tests and for benchmarks/run --evidence.

#include <cmath>
#include <string>
#include <vector>

#include "espalier/espalier.hpp"
#include "espalier/model/sharing_model.hpp"
#include "espalier/multitask/sharing/cgc.hpp"
#include "espalier/multitask/sharing/cross_stitch.hpp"
#include "espalier/multitask/sharing/mmoe.hpp"
#include "espalier/train/compare.hpp"

namespace known_truth {

using namespace espalier;

struct Problem {
  Dataset<float> data;
  std::vector<Named<TaskLoss<float>>> losses;
  std::vector<ComparedModel<float>> models;
  CompareOptions<float> options;
};

inline Tensor<float> directions(Index in, Index count, float gain, Rng& rng) {
  return Tensor<float>::normal({in, count}, rng) * (gain / std::sqrt(static_cast<float>(in)));
}
inline auto adam(double lr) {
  return [lr](const auto& p) { return Adam{p, {.lr = lr}}; };
}
inline ComparedModel<float> hard_sharing(const std::string& name, Index in, Index width,
                                         const std::vector<std::string>& tasks) {
  return {name, [=](Rng& rng) {
            std::vector<Named<AnyModule<float>>> heads;
            for (const std::string& task : tasks) heads.push_back({task, Linear{width, 1, rng}});
            return MultiTaskModel<float>{{.trunk = Sequential{Linear{in, width, rng}, Tanh{}}, .heads = heads}};
          }};
}

/// Eight tasks y_t = v_t . tanh(B x) + noise of 30 inputs, with the same two directions B for all: what is hard to find,
/// 60 numbers, they share; two numbers v_t are a task's own. A task has 60 labelled rows to train on, too few for 60
/// numbers and enough for two, so the joint model, which sees eight times as many, must win. With `related` false each
/// task has a B of its own, and all else is the same: the control, in which there is nothing to gain.
inline Problem sharing_helps(bool related = true) {
  constexpr Index rows = 1000, in = 30, latent = 2, count = 8;
  Rng rng{7};
  Problem p{.data = {}, .losses = {}, .models = {}, .options = {}};
  const auto x = Tensor<float>::normal({rows, in}, rng);
  p.data.inputs.add("x", x);
  std::vector<std::string> tasks;
  Tensor<float> shared = directions(in, latent, 1, rng);
  for (Index t = 0; t < count; ++t) {
    if (!related) shared = directions(in, latent, 1, rng);
    const auto own = Tensor<float>::normal({latent, 1}, rng);
    tasks.push_back(join("task", t));
    p.data.targets.add(tasks.back(),
                       matmul(tanh(matmul(x, shared)), own) + 0.3f * Tensor<float>::normal({rows, 1}, rng));
    p.losses.push_back({tasks.back(), MSE{}});
  }
  p.models = {hard_sharing("hard sharing", in, 8, tasks)};
  p.options = {.seeds = 5,
               .validation = 0.04,
               .test = 0.9,
               .candidates = 0,
               .train = {.epochs = 200, .batch = 16, .early_stopping = {.patience = 20}},
               .optimizer = adam(5e-3)};
  return p;
}

/// Two tasks of the same ten inputs that have nothing in common: `clean` is almost without noise, `loud` is half noise
/// and comes in a unit ten times as small, so its squared error and its gradients are a hundred times as large. Through
/// eight shared units a sum of losses serves `loud` alone; `clean` gets features that were made for the other's signal
/// and noise. A method that does not look at the gradients' length (Nash-MTL, IMTL-G) gives it its half of the trunk; so
/// do experts of its own, which `loud` cannot reach (CGC). Width by itself does not: "wide" is hard sharing with as many
/// units as CGC has. MMoE's experts are all shared, and loud's. UPGrad lengthens the short gradient no more than it must
/// so as to do no harm.
inline Problem sharing_hurts(bool all = true) {
  constexpr Index rows = 2000, in = 10, latent = 3, width = 8;
  Rng rng{11};
  Problem p{.data = {}, .losses = {}, .models = {}, .options = {}};
  const auto x = Tensor<float>::normal({rows, in}, rng);
  p.data.inputs.add("x", x);
  const auto target = [&](float noise) {
    const auto own = directions(in, latent, 1.5f, rng);
    const auto mixed = Tensor<float>::normal({latent, 1}, rng);
    return matmul(tanh(matmul(x, own)), mixed) + noise * Tensor<float>::normal({rows, 1}, rng);
  };
  p.data.targets.add("clean", target(0.05f));
  p.data.targets.add("loud", 10.0f * target(1));
  p.losses = {{"clean", MSE{}}, {"loud", MSE{}}};
  const auto experts = [](Index count, Rng& r) {
    return repeat(count, [&] { return Sequential{Linear{in, width, r}, Tanh{}}; });
  };
  const auto heads = [](Rng& r) {
    return std::vector<Named<AnyModule<float>>>{{"clean", Linear{width, 1, r}}, {"loud", Linear{width, 1, r}}};
  };
  p.models = {hard_sharing("hard sharing", in, width, {"clean", "loud"}),
              hard_sharing("wide", in, 3 * width, {"clean", "loud"}),
              {"CGC", [=](Rng& r) {
                 const CGC<float> cgc{
                     in, {.shared = experts(1, r), .own = {{"clean", experts(1, r)}, {"loud", experts(1, r)}}}, r};
                 return SharingModel<float>{{.sharing = cgc, .heads = heads(r)}};
               }}};
  if (all) {
    p.models.push_back({"MMoE", [=](Rng& r) {
                          const MMoE<float> mmoe{in, {.tasks = {"clean", "loud"}, .experts = experts(3, r)}, r};
                          return SharingModel<float>{{.sharing = mmoe, .heads = heads(r)}};
                        }});
    p.models.push_back(
        {"cross-stitch", [=](Rng& r) {
           const CrossStitch<float> stitch{in, {.towers = {{"clean", experts(1, r)}, {"loud", experts(1, r)}}}};
           return SharingModel<float>{{.sharing = stitch, .heads = heads(r)}};
         }});
  }
  p.options = {.seeds = 5,
               .validation = 0.05,
               .test = 0.8,
               .candidates = 0,
               .train = {.epochs = 100, .batch = 16},
               .optimizer = adam(5e-3)};
  return p;
}

/// OMoE's gate, which is not per task.
struct Gate {
  Linear<float> linear;
  Tensor<float> operator()(const Tensor<float>& x) const { return softmax(linear(x), -1); }
  void fields(auto&& visit) { visit("linear", linear); }
};

struct MMoESynthetic {
  double c = 1, rho = 0;                 // the targets' scale; the cosine between the tasks' directions
  Index train = 10000, held_out = 1000;  // rows: to validate and to test as many
  Index epochs = 30;
};

/// The synthetic of Ma et al., KDD 2018: y_t = w_t.x + sum_i sin(alpha_i w_t.x + beta_i) + N(0, 0.1^2) of 100 inputs,
/// with w_1 = c u_1, w_2 = c (rho u_1 + sqrt(1 - rho^2) u_2), u orthonormal, i = 1 .. 5. Models: shared bottom (128),
/// OMoE and MMoE (8 experts of 16), towers of 8, ReLU; and linear regression. Measured by the squared error, `loss`. What
/// alpha and beta happen to be matters more than the architecture.
inline Problem mmoe_synthetic(std::uint64_t draw, const MMoESynthetic& of = {}) {
  constexpr Index in = 100;
  const Index rows = of.train + 2 * of.held_out;
  Rng rng{draw};
  std::vector<double> u1(in), u2(in), alpha(5), beta(5);
  for (auto* drawn : {&u1, &u2, &alpha, &beta}) rng.normal(std::span(*drawn));
  const auto dot = [](const auto& a, const auto& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
    return sum;
  };
  const auto normalise = [&](std::vector<double>& u) {
    const double norm = std::sqrt(dot(u, u));
    for (double& v : u) v /= norm;
  };
  normalise(u1);
  const double along = dot(u1, u2);
  for (std::size_t i = 0; i < u1.size(); ++i) u2[i] -= along * u1[i];
  normalise(u2);

  Problem p{.data = {}, .losses = {}, .models = {}, .options = {}};
  const auto x = Tensor<float>::normal({rows, in}, rng);
  p.data.inputs.add("x", x);
  const double across = std::sqrt(1 - of.rho * of.rho);
  for (const bool second : {false, true}) {
    Tensor<float> w = Tensor<float>::empty({in, 1});
    for (std::size_t i = 0; i < u1.size(); ++i)
      w.raw()[i] = static_cast<float>(of.c * (second ? of.rho * u1[i] + across * u2[i] : u1[i]));
    const Tensor<float> z = matmul(x, w);
    Tensor<float> y = z + 0.1f * Tensor<float>::normal({rows, 1}, rng);
    for (Index r = 0; r < rows; ++r)
      for (std::size_t i = 0; i < alpha.size(); ++i)
        y.raw()[r] += static_cast<float>(std::sin(alpha[i] * static_cast<double>(z.data()[r]) + beta[i]));
    p.data.targets.add(second ? "second" : "first", y);
    p.losses.push_back({second ? "second" : "first", MSE{}});
  }
  const auto towers = [](Index features, Rng& r) {
    std::vector<Named<AnyModule<float>>> heads;
    for (const char* task : {"first", "second"})
      heads.push_back({task, Sequential{Linear{features, 8, r}, ReLU{}, Linear{8, 1, r}}});
    return heads;
  };
  const auto mixture = [=](bool one_gate) {
    return [=](Rng& r) {
      MMoEOptions<float> options{.tasks = {"first", "second"}, .experts = repeat(8, [&] {
                                                                 return Sequential{Linear{in, 16, r}, ReLU{}};
                                                               })};
      if (one_gate) options.gates = {Gate{Linear{in, 8, r, {.bias = false}}}};
      return SharingModel<float>{{.sharing = MMoE<float>{in, options, r}, .heads = towers(16, r)}};
    };
  };
  p.models = {
      {"shared bottom",
       [=](Rng& r) {
         return MultiTaskModel<float>{{.trunk = Sequential{Linear{in, 128, r}, ReLU{}}, .heads = towers(128, r)}};
       }},
      {"OMoE", mixture(true)},
      {"MMoE", mixture(false)},
      {"linear regression", [=](Rng& r) {
         return MultiTaskModel<float>{{.heads = {{"first", Linear{in, 1, r}}, {"second", Linear{in, 1, r}}}}};
       }}};
  const double share = static_cast<double>(of.held_out) / static_cast<double>(rows);
  p.options = {.seeds = 1,
               .first_seed = draw,
               .validation = share,
               .test = share,
               .candidates = 0,
               .train = {.epochs = of.epochs, .batch = 32, .early_stopping = {.patience = of.epochs}},
               .optimizer = adam(1e-3)};
  return p;
}

}  // namespace known_truth
