#include "espalier/optim/schedule.hpp"

#include "support/catch.hpp"

using namespace espalier;

TEST_CASE("step, cosine and warm-up give PyTorch's factors", "[fast]") {
  const Schedule step = StepSchedule{.every = 3, .gamma = 0.5};
  const double expected_step[] = {1, 1, 1, 0.5, 0.5, 0.5, 0.25};
  for (int epoch = 0; epoch < 7; ++epoch) CHECK(step.factor(epoch, 7) == expected_step[epoch]);
  CHECK(step.factor(2.99, 7) == 1);

  // torch.optim.lr_scheduler.CosineAnnealingLR(SGD(lr=1), T_max=4, eta_min=0.2), epochs 0 to 4
  const Schedule cosine = CosineSchedule{.floor = 0.2};
  const double expected_cosine[] = {1.0, 0.8828427124746191, 0.6, 0.31715728752538104, 0.2};
  for (int epoch = 0; epoch < 5; ++epoch) CHECK(cosine.factor(epoch, 4) == Approx(expected_cosine[epoch]).epsilon(1e-14));
  CHECK(cosine.factor(9, 4) == 0.2);
  CHECK(Schedule(CosineSchedule{.epochs = 2}).factor(1, 100) == Approx(0.5));

  const Schedule warm = WarmUp{.epochs = 2, .then = CosineSchedule{}, .start = 0.1};
  CHECK(warm.factor(0, 6) == 0.1);
  CHECK(warm.factor(1, 6) == Approx(0.55));
  CHECK(warm.factor(2, 6) == 1);
  CHECK(warm.factor(4, 6) == Approx(0.5));
  CHECK(Schedule().factor(3, 4) == 1);
  CHECK_FALSE(warm.observes());
}

TEST_CASE("plateau follows ReduceLROnPlateau", "[fast]") {
  // By PyTorch's rule with factor 0.5, patience 1, cooldown 1: losses, and the factor after each.
  const double losses[] = {1.0, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.5, 0.6, 0.6, 0.6};
  const double expected[] = {1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125, 0.125};
  Schedule plateau = PlateauSchedule{.gamma = 0.5, .patience = 1, .cooldown = 1};
  Schedule upwards = plateau;
  CHECK(plateau.observes());
  for (std::size_t i = 0; i < std::size(losses); ++i) {
    plateau.observe(losses[i], false);
    upwards.observe(2 - losses[i], true);
    INFO(i);
    CHECK(plateau.factor(0, 1) == expected[i]);
    CHECK(upwards.factor(0, 1) == expected[i]);
  }
  Schedule floored = PlateauSchedule{.patience = 0, .floor = 0.3};
  for (int i = 0; i < 5; ++i) floored.observe(1, false);
  CHECK(floored.factor(0, 1) == 0.3);
  Schedule unknown = PlateauSchedule{.patience = 1};
  unknown.observe(std::numeric_limits<double>::quiet_NaN(), false);  // no value is no best one
  for (double loss : {1.0, 0.5, 0.25}) unknown.observe(loss, false);
  CHECK(unknown.factor(0, 1) == 1);
}

TEST_CASE("schedules refuse options that make no sense", "[fast]") {
  CHECK_THROWS_WITH(Schedule(StepSchedule{.every = 0}), "StepSchedule: every is 0 epochs; it must be above 0");
  CHECK_THROWS_WITH(Schedule(CosineSchedule{.epochs = -1}), "CosineSchedule: epochs is -1; it must not be negative (0 is the whole run)");
  CHECK_THROWS_WITH(Schedule(PlateauSchedule{.gamma = 1}), "PlateauSchedule: gamma is 1; it must lie between 0 and 1");
  CHECK_THROWS_WITH(Schedule(PlateauSchedule{.patience = -1}),
                    "PlateauSchedule: patience is -1, cooldown is 0; neither may be negative");
  CHECK_THROWS_WITH(Schedule(WarmUp{.epochs = -1}), "WarmUp: epochs is -1; it must not be negative");
}

namespace {
struct Mine {
  double factor(double, double) const { return 0.5; }
};
template <class T>
struct Other {
  double factor(double, double) const { return 0.5; }
};
}  // namespace

TEST_CASE("a schedule that does not describe itself goes by its type", "[fast]") {
  CHECK(Schedule(Mine{}).text() == "Mine, which describes no options");
  CHECK(Schedule(Other<std::vector<Mine>>{}).text() == "Other, which describes no options");
  CHECK(Schedule(WarmUp{.then = Mine{}}).text() == "WarmUp{.epochs = 1, .then = Mine, which describes no options, .start = 0}");
}
