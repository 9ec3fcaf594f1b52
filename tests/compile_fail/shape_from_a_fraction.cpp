// Sizes are whole numbers.
// error: narrow
#include "espalier/core/shape.hpp"

int main() {
  espalier::Shape shape{2, 3};
#ifdef MISUSE
  shape = espalier::Shape{2.5, 3.0};
#endif
  return shape.rank() - 2;
}
