#include "espalier/tensor/fields.hpp"

#include "support/catch.hpp"

using namespace espalier;

namespace {

struct Layer {
  Tensor<float> weight = Tensor<float>::ones({2});
  double rate = 0.5;
  void fields(auto&& visit) {
    visit("weight", weight);
    visit("rate", rate);
  }
};
struct Function {};  // a module without fields
struct Wrapper {
  Layer inner;
  void fields(auto&& visit) { visit("", inner); }  // adds nothing to the path
};
struct Model {
  std::vector<Layer> layers{2};
  std::optional<Layer> absent, there = Layer{};
  Wrapper wrapper;
  Function function;
  Tensor<double> d;
  Tensor<Index> i;
  Tensor<bool> b;
  Index count = 3;
  std::uint64_t step = 4;
  bool flag = true;
  std::string title = "oak";
  std::vector<std::string> names{"a", "b"};
  void fields(auto&& visit) {
    visit("layers", layers);
    visit("absent", absent);
    visit("there", there);
    visit("wrapper", wrapper);
    visit("function", function);
    visit("d", d);
    visit("i", i);
    visit("b", b);
    visit("count", count);
    visit("step", step);
    visit("flag", flag);
    visit("title", title);
    visit("names", names);
  }
};

struct Paths : Visitor {
  std::vector<std::string> seen;
  void add(const char* kind) { seen.push_back(path() + ' ' + kind); }
  void tensor(Tensor<float>&) override { add("float"); }
  void tensor(Tensor<double>&) override { add("double"); }
  void tensor(Tensor<Index>&) override { add("index"); }
  void tensor(Tensor<bool>&) override { add("mask"); }
  void number(double&) override { add("number"); }
  void number(Index&) override { add("count"); }
  void number(std::uint64_t&) override { add("unsigned"); }
  void number(bool&) override { add("flag"); }
  void text(std::string& t) override { add(t.c_str()); }
  void texts(std::vector<std::string>& list) override {
    add(std::to_string(list.size()).c_str());
    list.push_back("c");
  }
};
/// Sees tensors only.
struct Counter : Visitor {
  int tensors = 0;
  void tensor(Tensor<float>& t) override {
    ++tensors;
    t = Tensor<float>::zeros({1});
  }
  void tensor(Tensor<double>&) override { ++tensors; }
  void tensor(Tensor<Index>&) override { ++tensors; }
  void tensor(Tensor<bool>&) override { ++tensors; }
};

}  // namespace

TEST_CASE("a walk sees every field under its path", "[fast]") {
  Model model;
  Paths paths;
  walk(model, paths);
  CHECK(paths.seen == std::vector<std::string>{"layers.0.weight float", "layers.0.rate number", "layers.1.weight float",
                                               "layers.1.rate number", "there.weight float", "there.rate number",
                                               "wrapper.weight float", "wrapper.rate number", "d double", "i index", "b mask",
                                               "count count", "step unsigned", "flag flag", "title oak",
                                               "names 2"});
  CHECK(model.names.size() == 3);  // a list of texts may grow
  CHECK(paths.path().empty());
}

TEST_CASE("a walk may start with a name", "[fast]") {
  Layer layer;
  Paths paths;
  walk(layer, paths, "trunk");
  CHECK(paths.seen == std::vector<std::string>{"trunk.weight float", "trunk.rate number"});
}

TEST_CASE("a visitor may ignore numbers and change tensors", "[fast]") {
  Model model;
  Counter counter;
  walk(model, counter);
  CHECK(counter.tensors == 7);
  CHECK(model.layers[1].weight.shape() == Shape{1});
}

TEST_CASE("an Rng has fields", "[fast]") {
  Rng rng{1};
  Paths paths;
  walk(rng, paths, "rng");
  CHECK(paths.seen == std::vector<std::string>{"rng.seed unsigned", "rng.stream unsigned", "rng.step unsigned"});
}
