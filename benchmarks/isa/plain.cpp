#include "plain.hpp"

#include "../step.hpp"

PlainStep::PlainStep(const std::vector<int>& trunk, int heads, int batch)
    : step_(std::make_shared<TrainingStep>(Case{"", trunk, heads, batch, 1})) {}

void PlainStep::operator()() { (*static_cast<TrainingStep*>(step_.get()))(); }
