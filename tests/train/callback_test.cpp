#include "espalier/train/callback.hpp"

#include "support/catch.hpp"

using namespace espalier;

TEST_CASE("functions, lambdas and structs are callbacks", "[fast]") {
  const History history({"epoch"});
  const StepEvent step{0, 0, 0.1, {}};
  const EpochEvent epoch{0, history};
  Callback of_steps = [](const StepEvent& e) { return e.lr > 1; };
  CHECK_FALSE(of_steps.step(step));
  CHECK(of_steps.epoch(epoch));
  int calls = 0;
  Callback of_epochs = [&](const EpochEvent&) { ++calls; };
  CHECK(of_epochs.epoch(epoch));
  CHECK(of_epochs.step(step));
  CHECK(calls == 1);
  Callback copy = of_epochs;
  copy.epoch(epoch);
  CHECK(calls == 2);
}
