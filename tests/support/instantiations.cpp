// Compiles what instantiations.hpp declares.
#include <espalier/espalier.hpp>

#define INSTANTIATE template
#define T float
#include "support/instantiations.inc"
#undef T
#define T double
#include "support/instantiations.inc"
