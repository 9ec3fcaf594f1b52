#include "plain.hpp"

#include "../cases.hpp"

PlainStep::PlainStep(const std::vector<int>& trunk, int heads, int batch)
    : step_(std::make_shared<bench::Training>(bench::Case{"", trunk, heads, batch, 1})) {}

void PlainStep::operator()() { static_cast<bench::Training*>(step_.get())->step(); }
