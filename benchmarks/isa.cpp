// isa/*: a training step as a plain -O2 build runs it, which chooses its instruction set at run time, against the same step
// compiled with -O3 -march=native. 1 / ratio is the share of the speed that a plain build keeps; 1.18 is 0.85.

#include "cases.hpp"
#include "isa/plain.hpp"
#include "measure.hpp"

int main(int argc, char** argv) {
  bench::Report report(argc, argv);
  for (const bench::Case& c :
       {bench::Case{"isa/seed", {10, 20, 10}, 1, 100, 500}, bench::Case{"isa/mid", {64, 256, 256}, 4, 256, 10},
        bench::Case{"isa/wide", {64, 128, 128}, 64, 128, 30}, bench::Case{"isa/big", {512, 1024, 1024}, 8, 1024, 1}}) {
    if (!report.wants(c.name)) continue;
    PlainStep plain(c.trunk, c.heads, c.batch);
    bench::Training native(c);
    const auto [ours, theirs] = bench::alternate(c.calls, plain, [&] { native.step(); });
    report.add({c.name, "us", ours * 1e6, theirs * 1e6, "-O3 -march=native"});
  }
}
