#include "support/golden.hpp"

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "support/catch.hpp"

using namespace espalier;

namespace {

/// A file of its own for every test, gone with it.
struct File {
  explicit File(std::string_view text) : folder(std::filesystem::temp_directory_path().string()) {
    static int count = 0;
    name = "espalier_golden_" + std::to_string(++count) + ".txt";
    std::ofstream(folder + "/" + name) << text;
  }
  ~File() { std::remove((folder + "/" + name).c_str()); }
  Golden read() const { return Golden(name, folder); }
  std::string folder, name;
};

std::string error_of(std::string_view text) {
  const File file(text);
  try {
    file.read();
  } catch (const FileError& error) {
    const std::string what = error.what(), start = "golden: " + file.name + " ";
    return what.substr(0, start.size()) == start ? what.substr(start.size()) : what;
  }
  return "no error";
}

}  // namespace

TEST_CASE("golden files hold named arrays", "[support][fast]") {
  const File file("# a comment\nw [2, 3] 1 -2.5 3e-300 0.10000000000000001 -0 6\n\ns [] 7\ne [0, 4]\n");
  const Golden golden = file.read();
  REQUIRE(golden.arrays().size() == 3);
  REQUIRE(golden["w"].shape == Shape{2, 3});
  REQUIRE(golden["w"].values == std::vector<double>{1, -2.5, 3e-300, 0.1, 0, 6});
  REQUIRE(golden["s"].shape == Shape{});
  REQUIRE(golden["s"].values == std::vector<double>{7});
  REQUIRE(golden["e"].shape == Shape{0, 4});
  REQUIRE(golden["e"].values.empty());
  REQUIRE(golden.contains("s"));
  REQUIRE_FALSE(golden.contains("t"));
  REQUIRE_THROWS_WITH(golden["t"], "golden: " + file.name + " has no 't'; it has w, s, e");
}

TEST_CASE("malformed golden files are refused with line and reason", "[support][fast]") {
  REQUIRE(error_of("a [1] 1\na [1] 2\n") == "line 2: 'a' is there twice");
  REQUIRE(error_of("a 1 2\n") == "line 1: a line is `name [shape] values`");
  REQUIRE(error_of(" [1] 2\n") == "line 1: a line is `name [shape] values`");
  REQUIRE(error_of("a [2, 3") == "line 1: the shape has no ]");
  REQUIRE(error_of("a [2 3] 1\n") == "line 1: ' 3] 1' is no number");
  REQUIRE(error_of("a [2] 1 x\n") == "line 1: 'x' is no number");
  REQUIRE(error_of("a [2] 1,2\n") == "line 1: values are set apart by one space");
  REQUIRE(error_of("a [2] 1\n") == "line 1: a is [2] but has 1 values");
  REQUIRE_THROWS_WITH(Golden("none.txt", "nowhere"), "golden: nowhere/none.txt cannot be opened");
}

TEST_CASE("every golden file can be read", "[support][fast]") {
  for (const char* name : {"programs_02_k1.txt", "programs_02_k3.txt", "programs_02_masked.txt", "programs_03.txt",
                           "layers.txt", "losses.txt", "metrics.txt", "optimizers.txt", "weighting.txt"})
    REQUIRE_FALSE(Golden(name).arrays().empty());
  const Golden program("programs_02_k3.txt");
  REQUIRE(program["inputs"].shape == Shape{100, 10});
  REQUIRE(program["step100.trunk.0.weight"].shape == Shape{20, 10});
  REQUIRE(program["losses"].shape == Shape{101, 3});
}
