// Two translation units with all headers in both link into one program, also when only one of them has OpenMP, and
// understand each other's types and exceptions.
#include "part.hpp"

int main() {
  double squares[64], sum = 0;
  espalier::parallel_for(64, espalier::parallel_grain,
                         [&](espalier::Index i) { squares[i] = static_cast<double>(i * i); });
  for (double square : squares) sum += square;
  if (sum != 85344.0 || other_sum() != sum) return 1;

  if (espalier::Rng{3}.next().bits(0) != other_rng().next().bits(0)) return 2;

  try {
    other_failure();
  } catch (const espalier::Error& error) {
    return std::string_view(error.what()) == "raised by the other unit" ? 0 : 3;
  }
  return 4;
}
