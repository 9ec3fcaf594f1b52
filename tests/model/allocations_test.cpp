// A training step in its steady state asks the system for no memory: neither the pools nor anything else calls operator new.

#include <atomic>
#include <cstdlib>
#include <new>

#include "espalier/model/multi_modal_model.hpp"
#include "espalier/model/multi_task_model.hpp"
#include "espalier/multimodal/fusion/gated.hpp"
#include "espalier/multitask/objective.hpp"
#include "espalier/nn/batch_norm.hpp"
#include "espalier/nn/dropout.hpp"
#include "espalier/optim/adam.hpp"
#include "support/catch.hpp"

namespace {
std::atomic<std::uint64_t> calls{0};

[[gnu::noinline]] void* counted(std::size_t bytes, std::size_t alignment) {
  calls.fetch_add(1, std::memory_order_relaxed);
  const std::size_t rounded = (std::max<std::size_t>(1, bytes) + alignment - 1) / alignment * alignment;
  if (void* p = std::aligned_alloc(alignment, rounded)) return p;
  throw std::bad_alloc();
}
[[gnu::noinline]] void release(void* p) { std::free(p); }
}  // namespace

// Replaced for the whole program; the array forms call these. The nothrow ones would, but for the address sanitizer's own.
void* operator new(std::size_t bytes) { return counted(bytes, alignof(std::max_align_t)); }
void* operator new(std::size_t bytes, std::align_val_t alignment) { return counted(bytes, static_cast<std::size_t>(alignment)); }
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept { return counted(bytes, alignof(std::max_align_t)); }
void operator delete(void* p) noexcept { release(p); }
void operator delete(void* p, std::size_t) noexcept { release(p); }
void operator delete(void* p, std::align_val_t) noexcept { release(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { release(p); }

using namespace espalier;

namespace {

/// Calls of operator new in ten steps, after five to warm up.
template <class Step>
std::uint64_t steady_calls(const Step& step) {
  for (int i = 0; i < 5; ++i) step();
  const std::uint64_t before = calls;
  for (int i = 0; i < 10; ++i) step();
  return calls - before;
}

}  // namespace

TEST_CASE("operator new is counted", "[fast]") {
  const std::uint64_t before = calls;
  const std::vector<int> v(1000);
  CHECK(calls == before + 1);
  CHECK(v.size() == 1000);
}

TEST_CASE("a step of program 02 allocates nothing", "[fast]") {
  const int tasks = GENERATE(1, 3);
  Rng rng{0};
  MultiTaskOptions<float> options{.trunk = Sequential{Linear{10, 20, rng}, ReLU{}, Linear{20, 10, rng}}};
  std::vector<Named<TaskLoss<float>>> losses_of;
  Targets<float> targets;
  for (int k = 0; k < tasks; ++k) {
    options.heads.push_back({"task" + std::to_string(k), Linear{10, 1, rng}});
    losses_of.push_back({"task" + std::to_string(k), MSE{}});
    targets.add("task" + std::to_string(k), Tensor<float>::normal({100, 1}, rng));
  }
  MultiTaskModel<float> model{options};
  MultiObjective<float> objective{losses_of};
  Adam optimizer{parameters(model)};
  const auto x = Tensor<float>::normal({100, 10}, rng);
  std::uint64_t epoch = 0;
  CHECK(steady_calls([&] {
          Pass pass{rng, epoch++};
          const auto losses = objective(model(x, pass), targets);
          objective.backward(losses);
          optimizer.step();
        }) == 0);
}

TEST_CASE("a multi-modal step with masks and UPGrad allocates nothing", "[fast]") {
  Rng rng{0};
  MultiModalModel model{{.encoders = {{"camera", Sequential{Linear{6, 8, rng}, BatchNorm1d{8}, ReLU{}}}, {"sound", Linear{5, 8, rng}}},
                         .fusion = GatedFusion{8, rng},
                         .trunk = Sequential{Linear{8, 8, rng}, ReLU{}, Dropout{0.1}},
                         .heads = {{"class", Linear{8, 4, rng}}, {"size", Linear{8, 1, rng}}}}};
  MultiObjective objective{{{"class", CrossEntropy{}}, {"size", MSE{}}}, UPGrad{}};
  Adam optimizer{parameters(model)};
  Tensor<bool> hears = Tensor<bool>::ones({12});
  hears.mutate()[3] = false;
  const Inputs<float> inputs{{"camera", Tensor<float>::normal({12, 6}, rng)}, {"sound", {Tensor<float>::normal({12, 5}, rng), hears}}};
  const Targets<float> targets{{"class", Tensor<Index>::ones({12})}, {"size", Tensor<float>::normal({12, 1}, rng)}};
  std::uint64_t step = 0;
  CHECK(steady_calls([&] {
          Pass pass{rng, step++};
          const auto losses = objective(model(inputs, pass), targets);
          objective.backward(losses);
          optimizer.step();
        }) == 0);
}
