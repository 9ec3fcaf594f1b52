// threads/*: a training step on two threads against the same on one, which must never be faster: small work stays on one.
// growth/threads: by which power of the threads the time of the big step changes; -1 is all that there is to gain.

#include <cmath>

#ifdef _OPENMP
#include <omp.h>
#endif

#include "cases.hpp"
#include "measure.hpp"

int main(int argc, char** argv) {
  bench::Report report(argc, argv);
#ifdef _OPENMP
  for (const bench::Case& c : bench::cases()) {
    const std::string name = "threads" + c.name.substr(c.name.find('/'));
    const bool exponent = name == "threads/big" && report.wants("growth/threads");
    if (c.upgrad || !(exponent || report.wants(name))) continue;
    bench::Training training(c);
    const auto with = [&](int threads) {
      return [&, threads] {
        omp_set_num_threads(threads);
        training.step();
      };
    };
    const auto [two, one] = bench::alternate(c.calls, with(2), with(1));
    if (report.wants(name)) report.add({name, "us", two * 1e6, one * 1e6, "one thread"});
    if (exponent) report.add({"growth/threads", "", std::log2(two / one), -1, "twice as fast"});
  }
#endif
}
