#include "part.hpp"

double other_sum() {
  double squares[64], sum = 0;
  espalier::parallel_for(64, espalier::parallel_grain,
                         [&](espalier::Index i) { squares[i] = static_cast<double>(i * i); });
  for (double square : squares) sum += square;
  return sum;
}

void other_failure() { espalier::fail("raised by the other unit"); }

espalier::Rng other_rng() { return espalier::Rng{3}; }
