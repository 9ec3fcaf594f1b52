#pragma once
// What the benchmark programs share: alternating measurement, lines with a ratio, --only, --json.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <vector>

namespace bench {

inline double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Of this process.
inline double processor_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

struct Line {
  std::string name, unit;
  double value, baseline;
  std::string baseline_name;
};

class Report {
 public:
  Report(int argc, char** argv) {
    for (int i = 1; i < argc; ++i) {
      const bool more = i + 1 < argc;
      if (!std::strcmp(argv[i], "--only") && more) only_ = argv[++i];
      else if (!std::strcmp(argv[i], "--json") && more) json_ = argv[++i];
      else if (!std::strcmp(argv[i], "--threads") && more) ++i;  // benchmarks/run sets OMP_NUM_THREADS
      else {
        std::fprintf(stderr, "usage: %s [--only PREFIX] [--json FILE] [--threads N]\n", argv[0]);
        std::exit(2);
      }
    }
  }
  ~Report() {
    if (json_.empty()) return;
    std::FILE* file = std::fopen(json_.c_str(), "w");
    if (!file) {
      std::perror(json_.c_str());
      std::exit(1);
    }
    std::fputs("[", file);
    for (std::size_t i = 0; i < lines_.size(); ++i) {
      const Line& l = lines_[i];
      std::fprintf(file,
                   "%s\n  {\"name\": \"%s\", \"unit\": \"%s\", \"value\": %.6g, \"baseline\": %.6g, \"baseline_name\": \"%s\", "
                   "\"ratio\": %.4g}",
                   i ? "," : "", l.name.c_str(), l.unit.c_str(), l.value, l.baseline, l.baseline_name.c_str(),
                   l.value / l.baseline);
    }
    std::fputs("\n]\n", file);
    std::fclose(file);
  }

  bool wants(const std::string& name) const { return name.compare(0, only_.size(), only_) == 0; }
  /// --only names it, or a part of it: for lines that take too long to be measured unasked.
  bool asked(const std::string& name) const { return only_.compare(0, name.size(), name) == 0; }
  void add(const Line& line) {
    std::printf("%-16s %10.3f %-3s  %-34s %10.3f   ratio %.3f\n", line.name.c_str(), line.value, line.unit.c_str(),
                line.baseline_name.c_str(), line.baseline, line.value / line.baseline);
    std::fflush(stdout);
    lines_.push_back(line);
  }

 private:
  std::string only_, json_;
  std::vector<Line> lines_;
};

/// Seconds per call of a and of b: rounds of `calls` calls, the two in turn, the median round of each.
template <class A, class B>
std::pair<double, double> alternate(int calls, A&& a, B&& b, int rounds = 31, double (*clock)() = seconds) {
  std::vector<double> ta, tb;
  const auto time = [calls, clock](auto&& f) {
    const double start = clock();
    for (int i = 0; i < calls; ++i) f();
    return (clock() - start) / calls;
  };
  time(a), time(b);
  for (int r = 0; r < rounds; ++r) {
    ta.push_back(time(a));
    tb.push_back(time(b));
  }
  std::sort(ta.begin(), ta.end());
  std::sort(tb.begin(), tb.end());
  return {ta[ta.size() / 2], tb[tb.size() / 2]};
}

/// Seconds that this process has computed for, on all its threads together.
inline double cpu_seconds() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

/// Seconds of a step by itself, over two seconds of rounds of at least 5 ms, after warming up.
struct StepTime {
  double median, best;  // by the clock
  double cpu;           // the median of what it computed: the figure to compare where other programs share the machine
};
template <class F>
StepTime step_time(F&& step) {
  int calls = 1;
  while (true) {  // finds the round's length, and warms up
    const double start = seconds();
    for (int i = 0; i < calls; ++i) step();
    if (seconds() - start >= 0.005) break;
    calls *= 2;
  }
  std::vector<double> rounds, computed;
  for (const double end = seconds() + 2; rounds.size() < 5 || seconds() < end;) {
    const double start = seconds(), cpu_start = cpu_seconds();
    for (int i = 0; i < calls; ++i) step();
    rounds.push_back((seconds() - start) / calls);
    computed.push_back((cpu_seconds() - cpu_start) / calls);
  }
  std::sort(rounds.begin(), rounds.end());
  std::sort(computed.begin(), computed.end());
  return {rounds[rounds.size() / 2], rounds[0], computed[computed.size() / 2]};
}

/// The most memory that this process has held, in MB.
inline double peak_memory() {
  double kilobytes = 0;
  if (std::FILE* status = std::fopen("/proc/self/status", "r")) {
    char line[256];
    while (std::fgets(line, sizeof line, status))
      if (std::sscanf(line, "VmHWM: %lf", &kilobytes) == 1) break;
    std::fclose(status);
  }
  return kilobytes / 1024;
}

/// What a program tells peers/compare.py of itself.
inline void report_peer(double loss, const StepTime& step, const char* version) {
  std::printf("{\"loss\": %.8g, \"us\": %.4f, \"best_us\": %.4f, \"cpu_us\": %.4f, \"mb\": %.1f, \"version\": \"%s\"}\n", loss,
              step.median * 1e6, step.best * 1e6, step.cpu * 1e6, peak_memory(), version);
}

}  // namespace bench
