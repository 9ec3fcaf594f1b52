#include <cstdio>
#include <espalier/core/random.hpp>

int main() { std::printf("%.17g\n", espalier::Rng{1}.next().uniform(0)); }
