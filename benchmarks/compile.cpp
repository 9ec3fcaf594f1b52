// compile/*: what including the library costs. The compiler is $CXX or g++; seconds are user time, the smallest of three runs.

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "measure.hpp"

namespace {

struct Cost {
  double seconds = 1e9, megabytes = 0;
};

/// Runs the compiler quietly; the cost of the cheapest of `runs`.
Cost compile(std::vector<std::string> arguments, int runs = 3) {
  const char* compiler = std::getenv("CXX");
  arguments.insert(arguments.begin(), compiler ? compiler : "g++");
  std::vector<char*> argv;
  for (std::string& a : arguments) argv.push_back(a.data());
  argv.push_back(nullptr);
  Cost best;
  for (int i = 0; i < runs; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      execvp(argv[0], argv.data());
      _exit(127);
    }
    int status = 0;
    rusage usage{};
    wait4(child, &status, 0, &usage);
    if (status != 0) {
      std::fprintf(stderr, "%s failed\n", argv[0]);
      std::exit(1);
    }
    const double user = static_cast<double>(usage.ru_utime.tv_sec) + 1e-6 * static_cast<double>(usage.ru_utime.tv_usec);
    best.seconds = std::min(best.seconds, user);
    best.megabytes = static_cast<double>(usage.ru_maxrss) / 1024;
  }
  return best;
}

}  // namespace

int main(int argc, char** argv) {
  bench::Report report(argc, argv);
  if (!report.wants("compile/umbrella") && !report.wants("compile/program02")) return 0;
  char folder[] = "/tmp/espalier_compile_XXXXXX";
  if (!mkdtemp(folder)) return 1;
  const std::string base = folder;
  std::ofstream(base + "/umbrella.cpp") << "#include <espalier/espalier.hpp>\n";
  std::ofstream(base + "/eigen.cpp") << "#include <Eigen/Core>\n";
  const std::vector<std::string> common{"-std=c++20", "-Iinclude", "-I" ESPALIER_EIGEN_DIR, "-fsyntax-only"};
  const auto parse = [&](const std::string& file) {
    auto arguments = common;
    arguments.push_back(base + file);
    return compile(arguments);
  };
  if (report.wants("compile/umbrella")) {
    const Cost umbrella = parse("/umbrella.cpp"), eigen = parse("/eigen.cpp");
    report.add({"compile/umbrella", "s", umbrella.seconds, eigen.seconds, "Eigen/Core"});
    report.add({"compile/umbrella-memory", "MB", umbrella.megabytes, 350, "budget"});
  }
  if (report.wants("compile/program02")) {
    const std::vector<std::string> program{"-std=c++20", "-O2", "-Iinclude", "-c", "examples/02_multi_task_mse.cpp", "-o",
                                           base + "/program.o"};
    auto compiled = program;  // in the compiled mode: espalier/compiled.hpp
    compiled.push_back("-DESPALIER_COMPILED");
    const Cost whole = compile(program), part = compile(compiled);
    report.add({"compile/program02", "s", whole.seconds, 6, "budget"});
    report.add({"compile/program02-compiled", "s", part.seconds, 6, "budget"});
    report.add({"compile/program02-memory", "MB", whole.megabytes, 400, "budget"});
  }
  for (const char* file : {"/umbrella.cpp", "/eigen.cpp", "/program.o"}) unlink((base + file).c_str());
  rmdir(folder);
}
