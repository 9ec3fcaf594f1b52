#pragma once
// Declares what instantiations.cpp compiles, so that test files do not compile it again.

#include <espalier/espalier.hpp>

#define INSTANTIATE extern template
#define T float
#include "support/instantiations.inc"
#undef T
#define T double
#include "support/instantiations.inc"
#undef T
#undef INSTANTIATE
