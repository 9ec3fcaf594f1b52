// A shape is a list of sizes; a lone number is none.
// error: conversion from .int.
#include "espalier/core/shape.hpp"

int main() {
  espalier::Shape shape = {3};
#ifdef MISUSE
  espalier::Shape other = 3;
#endif
  return shape.rank() - 1;
}
