// PyTorch's C++ frontend, from the same package as the Python one; eager. Arguments and output as in espalier.cpp.

#include <torch/torch.h>
#include <torch/version.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "../measure.hpp"

namespace {

struct Case {
  std::vector<int64_t> trunk;
  int64_t heads = 0, batch = 0;
  std::ifstream binary;

  Case(const std::string& folder, std::string name) {
    std::replace(name.begin(), name.end(), '/', '-');
    std::ifstream text(folder + "/" + name + ".txt");
    binary.open(folder + "/" + name + ".bin", std::ios::binary);
    for (std::string line; std::getline(text, line);) {
      std::istringstream words(line);
      std::string key;
      words >> key;
      if (key == "heads") words >> heads;
      if (key == "batch") words >> batch;
      if (key == "trunk")
        for (int64_t size = 0; words >> size;) trunk.push_back(size);
    }
    if (trunk.empty() || !binary) {
      std::fprintf(stderr, "libtorch: no case '%s' in %s\n", name.c_str(), folder.c_str());
      std::exit(2);
    }
  }
  torch::Tensor take(std::vector<int64_t> shape) {
    torch::Tensor t = torch::empty(shape);
    binary.read(static_cast<char*>(t.data_ptr()), static_cast<std::streamsize>(t.nbytes()));
    return t;
  }
  torch::nn::Linear linear(int64_t in, int64_t out) {
    torch::nn::Linear layer(in, out);
    const torch::NoGradGuard no_grad;
    layer->weight.copy_(take({out, in}));
    layer->bias.copy_(take({out}));
    return layer;
  }
};

struct Model : torch::nn::Module {
  torch::nn::Sequential trunk;
  torch::nn::ModuleList heads;

  explicit Model(Case& c) {
    for (std::size_t i = 0; i + 1 < c.trunk.size(); ++i) {
      if (i > 0) trunk->push_back(torch::nn::ReLU());
      trunk->push_back(c.linear(c.trunk[i], c.trunk[i + 1]));
    }
    for (int64_t k = 0; k < c.heads; ++k) heads->push_back(c.linear(c.trunk.back(), 1));
    register_module("trunk", trunk);
    register_module("heads", heads);
  }
  std::vector<torch::Tensor> forward(const torch::Tensor& x) {
    const torch::Tensor features = trunk->forward(x);
    std::vector<torch::Tensor> outputs;
    for (const auto& head : *heads) outputs.push_back(head->as<torch::nn::Linear>()->forward(features));
    return outputs;
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return std::fprintf(stderr, "usage: %s DIR CASE\n", argv[0]), 2;
  const char* threads = std::getenv("OMP_NUM_THREADS");
  torch::set_num_threads(threads ? std::atoi(threads) : 1);
  Case c(argv[1], argv[2]);
  Model model(c);
  const torch::Tensor x = c.take({c.batch, c.trunk[0]});
  std::vector<torch::Tensor> targets;
  for (int64_t k = 0; k < c.heads; ++k) targets.push_back(c.take({c.batch, 1}));
  torch::optim::Adam optimizer(model.parameters(), torch::optim::AdamOptions(1e-3));
  torch::Tensor loss;
  const auto step = [&] {
    const auto outputs = model.forward(x);
    loss = torch::mse_loss(outputs[0], targets[0]);
    for (std::size_t k = 1; k < outputs.size(); ++k) loss = loss + torch::mse_loss(outputs[k], targets[k]);
    loss.backward();
    optimizer.step();
    optimizer.zero_grad();
  };
  for (int i = 0; i < 11; ++i) step();
  const double after = loss.item<double>();
  bench::report_peer(after, bench::step_time(step), "PyTorch " TORCH_VERSION);
}
