// What joins the losses is a weighting or an aggregator; anything else is refused in words.
// error: the method is neither a weighting nor an aggregator
#include "espalier/multitask/objective.hpp"

struct Nothing {
  static constexpr std::string_view name = "nothing";
  void weights(int) const {}
};

int main() {
  espalier::MultiObjective<float> objective({{"a", espalier::MSE{}}}, espalier::Sum{});
#ifdef MISUSE
  espalier::MultiObjective<float> other({{"a", espalier::MSE{}}}, Nothing{});
#endif
  return objective.size() == 1 ? 0 : 1;
}
