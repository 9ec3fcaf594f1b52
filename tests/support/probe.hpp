#pragma once
// An operation that passes its input on and keeps a diary of what its rule is given.

#include <stdexcept>
#include <string>
#include <vector>

#include "espalier/autograd/engine_ops.hpp"

namespace support {

/// What one call of the rule saw.
struct Visit {
  espalier::Shape shape;
  std::vector<espalier::Index> tasks;  // empty without labels
  bool diagonal;
  bool operator==(const Visit&) const = default;
};
using Diary = std::vector<Visit>;

template <class T, bool RowsTogether, bool KeepsDiagonal>
struct ProbeRule {
  static constexpr std::string_view name = "probe";
  static constexpr bool rows_together = RowsTogether, keeps_diagonal = KeepsDiagonal;
  Diary* diary;
  bool throws;

  void vjp(espalier::Sweep<T>& sweep, espalier::Node<T>& node, espalier::Cotangent<T>& g) {
    if (throws) throw std::runtime_error("the probe's rule threw");
    Visit visit{g.value.shape(), {}, g.labels.diagonal()};
    for (const espalier::Label* l = g.labels ? g.labels.begin() : nullptr; l && l != g.labels.end(); ++l) visit.tasks.push_back(l->task);
    if (diary) diary->push_back(visit);
    sweep.emit(node, 0, g.value, g.labels);
  }
};

template <bool RowsTogether = true, bool KeepsDiagonal = false, class T>
espalier::Tensor<T> probe(const espalier::Tensor<T>& x, Diary* diary, bool throws = false) {
  espalier::Tensor<T> y = x.clone();
  if (recorded(x)) record(y, ProbeRule<T, RowsTogether, KeepsDiagonal>{diary, throws}, x);
  return y;
}

}  // namespace support
