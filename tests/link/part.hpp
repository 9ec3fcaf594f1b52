#pragma once
// What the second translation unit of the link test offers. all_headers.hpp is generated: every header of the library.

#include "all_headers.hpp"

/// The sum of squares 0 .. 63, by a parallel_for compiled as the second unit is: with or without OpenMP.
double other_sum();
/// Throws espalier::Error("raised by the other unit").
void other_failure();
/// A generator of seed 3, made there.
espalier::Rng other_rng();
