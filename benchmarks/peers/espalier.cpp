// Our side of the comparison with other libraries, which compare.py drives; every peer speaks the same way.
//   peers_espalier export DIR    writes the cases: DIR/<case>.txt (sizes) and DIR/<case>.bin (float32: the layers' weights
//                               [out, in] and biases, the heads', x [batch, in], the targets [tasks, batch])
//   peers_espalier DIR CASE      runs one: {"loss": after 10 steps, "us": median step, "best_us": the fastest, "cpu_us": what it
//                               computed, "mb": peak memory, "version": ...}

#include <filesystem>

#include "../cases.hpp"
#include "../measure.hpp"

namespace {

void write_case(const std::string& folder, const bench::Case& c) {
  bench::Training training(c);
  std::string file = c.name;
  std::replace(file.begin(), file.end(), '/', '-');
  std::FILE* text = std::fopen((folder + "/" + file + ".txt").c_str(), "w");
  std::FILE* binary = std::fopen((folder + "/" + file + ".bin").c_str(), "wb");
  if (!text || !binary) {
    std::perror(folder.c_str());
    std::exit(1);
  }
  std::fprintf(text, "heads %d\nbatch %d\nupgrad %d\ntrunk", c.heads, c.batch, c.upgrad);
  for (const int size : c.trunk) std::fprintf(text, " %d", size);
  std::fputs("\n", text);
  const auto write = [&](const espalier::Tensor<float>& t) {
    std::fwrite(t.data(), sizeof(float), static_cast<std::size_t>(t.size()), binary);
  };
  for (const auto& p : parameters(training.model)) write(p.value);
  write(training.x);
  for (const auto& target : training.targets) write(target.value.value);
  std::fclose(text);
  std::fclose(binary);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return std::fprintf(stderr, "usage: %s export DIR | DIR CASE\n", argv[0]), 2;
  if (std::string(argv[1]) == "export") {
    std::filesystem::create_directories(argv[2]);
    for (const bench::Case& c : bench::cases()) write_case(argv[2], c);
    return 0;
  }
  for (const bench::Case& c : bench::cases()) {
    if (c.name != argv[2]) continue;
    bench::Training training(c);
    for (int i = 0; i < 10; ++i) training.step();
    const double loss = training.step();
    bench::report_peer(loss, bench::step_time([&] { training.step(); }), "espalier");
    return 0;
  }
  return std::fprintf(stderr, "%s: no case '%s'\n", argv[0], argv[2]), 2;
}
