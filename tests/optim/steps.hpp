#pragma once
// Steps: gradients by hand, packs by hand, and a state dictionary in memory, for the tests of optimizers.

#include <algorithm>
#include <map>

#include "espalier/optim/optimizer.hpp"
#include "support/golden.hpp"

namespace espalier::support {

/// Adds to a parameter's gradient, as a backward pass does.
template <class T>
void add_gradient(const Tensor<T>& parameter, const std::vector<T>& values) {
  Leaf<T>* leaf = leaf_of(parameter);
  const bool add = leaf->open_grad({});
  Tensor<T> gradient = leaf->grad_view();
  for (std::size_t i = 0; i < values.size(); ++i) gradient.raw()[i] = values[i] + (add ? gradient.raw()[i] : T(0));
}

template <class T>
std::vector<T> values_of(const Tensor<T>& tensor) {
  return {tensor.data(), tensor.data() + tensor.size()};
}

template <class T>
std::vector<T> noise(Index n, std::uint64_t seed) {
  Rng rng{seed};
  return values_of(Tensor<T>::normal({n}, rng));
}

/// Parameters "a", "b", ... of the given shapes, equal for equal seeds.
template <class T>
NamedList<Tensor<T>> some_parameters(const std::vector<Shape>& shapes, std::uint64_t seed = 7) {
  NamedList<Tensor<T>> list;
  for (std::size_t i = 0; i < shapes.size(); ++i)
    list.add(std::string(1, static_cast<char>('a' + i)),
             parameter(Tensor<T>::copy(shapes[i], noise<T>(shapes[i].size(), seed + i))));
  return list;
}

/// Moves parameters into one block, rows of its axis 0, as models do with their task heads; returns the block.
template <class T>
Tensor<T> pack_up(const std::vector<Tensor<T>>& members) {
  Shape shape = members.front().shape();
  shape[0] = 0;
  for (const Tensor<T>& m : members) shape[0] += m.shape()[0];
  Tensor<T> whole = parameter(Tensor<T>::empty(shape));
  Index row = 0, part = 0;
  for (const Tensor<T>& m : members) {
    T* place = whole.raw() + row * shape.span(1, shape.rank());
    std::copy_n(m.data(), m.size(), place);
    m.buffer()->data = reinterpret_cast<std::byte*>(place);
    m.buffer()->pack = whole.buffer();
    leaf_of(m)->pack = whole.node();
    leaf_of(m)->part = part++;
    leaf_of(whole)->parts.push_back({row, row + m.shape()[0], true});
    row += m.shape()[0];
  }
  return whole;
}

/// The values of all fields by path.
using Dictionary = std::map<std::string, std::vector<double>>;

class Writer final : public Visitor {
 public:
  Dictionary fields;

 private:
  template <class T>
  void write(Tensor<T>& field) {
    fields[path()] = {field.data(), field.data() + field.size()};
  }
  void tensor(Tensor<float>& field) override { write(field); }
  void tensor(Tensor<double>& field) override { write(field); }
  void tensor(Tensor<Index>& field) override { write(field); }
  void tensor(Tensor<bool>& field) override { write(field); }
  void number(double& field) override { fields[path()] = {field}; }
  void number(Index& field) override { fields[path()] = {static_cast<double>(field)}; }
};

/// Puts the values back: in place, or as new tensors.
class Reader final : public Visitor {
 public:
  Reader(Dictionary fields, bool in_place) : fields_(std::move(fields)), in_place_(in_place) {}
  Dictionary fields_;

 private:
  template <class T>
  void read(Tensor<T>& field) {
    if (!in_place_) field = Tensor<T>::empty(field.shape());
    const std::vector<double>& from = fields_.at(path());
    std::transform(from.begin(), from.end(), field.mutate().begin(), [](double v) { return static_cast<T>(v); });
  }
  void tensor(Tensor<float>& field) override { read(field); }
  void tensor(Tensor<double>& field) override { read(field); }
  void tensor(Tensor<Index>& field) override { read(field); }
  void tensor(Tensor<bool>& field) override { read(field); }
  void number(double& field) override { field = fields_.at(path())[0]; }
  void number(Index& field) override { field = static_cast<Index>(fields_.at(path())[0]); }

  bool in_place_;
};

template <class Object>
Dictionary fields_of(Object& object) {
  Writer writer;
  walk(object, writer);
  return writer.fields;
}

/// The largest relative difference from the rows of a golden case, over all its steps. `make` builds the optimizer.
template <class T, class Make>
double golden_error(const std::string& name, Make make) {
  const Golden golden("optimizers.txt");
  const auto& start = golden["parameter"].values;
  const Tensor<T> p = parameter(Tensor<T>::copy({7}, std::vector<T>(start.begin(), start.end())));
  auto optimizer = make(NamedList<Tensor<T>>{{"p", p}});
  double worst = 0;
  for (std::size_t step = 0; step < 12; ++step) {
    const double* row = golden["gradients"].values.data() + step * 7;
    add_gradient(p, std::vector<T>(row, row + 7));
    optimizer.step();
    for (std::size_t i = 0; i < 7; ++i) {
      const double want = golden[name].values[step * 7 + i];
      worst = std::max(worst, std::abs(static_cast<double>(p.data()[i]) - want) / std::abs(want));
    }
  }
  return worst;
}

}  // namespace espalier::support
