// A generator is made on purpose: no number turns into one where a generator is expected.
// error: conversion from .int.
#include "espalier/core/random.hpp"

int main() {
  espalier::Rng rng{42};
#ifdef MISUSE
  espalier::Rng other = 42;
#endif
  return rng.seed() == 42 ? 0 : 1;
}
