#pragma once
// The training step as a plain -O2 build has it: compiled in a unit of its own, without -march=native.

#include <memory>
#include <vector>

struct PlainStep {
  PlainStep(const std::vector<int>& trunk, int heads, int batch);
  void operator()();

 private:
  std::shared_ptr<void> step_;
};
