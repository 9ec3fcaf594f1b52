#pragma once
// RepresentationGradients: the tasks' gradients at the values they share (the trunk's output) in place of those in the shared
// parameters. K cotangents of a value cost no backward pass through what lies before it: their Gramian takes the place of the
// parameters' one, and a single pass brings their combination to the parameters. An upper bound of the parameters' Gramian
// up to the trunk's Jacobian: Sener and Koltun 2018, "Multi-Task Learning as Multi-Objective Optimization", arXiv 1810.04650.
//
//   Sweep<T> heads({.retain = true, .separate = true}, &own);   // heads get their gradients
//   RepresentationGradients<T> gradients(active);
//   heads.stop(features), ..., heads.run();
//   gradients.take(heads, features);
//   gradients.gramian(g);                                       // then the weights
//   Sweep<T> trunk({});
//   gradients.combine(weights, trunk), trunk.run();

#include "espalier/autograd/sweep.hpp"
#include "espalier/tensor/kernels/pair_dots.hpp"

namespace espalier::inline ESPALIER_ABI {

template <class T>
class RepresentationGradients {
 public:
  /// `active` lists the tasks in rising order; row i of the Gramian is active[i].
  explicit RepresentationGradients(std::span<const Index> active) : active_(active) {}

  /// Takes what arrived at `x`, a value shared by tasks, where the sweep was told to stop. Several values (one trunk run on
  /// several modalities) count together.
  void take(const Sweep<T>& sweep, const Tensor<T>& x) {
    auto [value, labels] = sweep.stopped(x);
    if (value.defined()) entries_.push_back({x, std::move(value), labels});
  }
  /// Writes the inner products [m, m] of the tasks' cotangents, summed in double.
  void gramian(std::span<double> out) const {
    const auto m = active_.size();
    std::fill(out.begin(), out.end(), 0.0);
    for (const Entry& e : entries_) {
      const Index count = e.labels.count(), size = e.x.size();
      PoolVector<const T*> rows;
      for (Index k = 0; k < count; ++k) rows.push_back(e.value.data() + k * size);
      const std::span<const T* const> all(rows.data(), rows.size());
      PoolVector<double> dots(rows.size() * rows.size(), 0.0);
      kernels::add_pair_dots<T>(size, all, all, 0, dots.data());
      for (Index k = 0; k < count; ++k)
        for (Index l = k; l < count; ++l) {
          const auto [i, j] = std::minmax({row(e.labels[k].task), row(e.labels[l].task)});
          out[i * m + j] += dots[static_cast<std::size_t>(k * count + l)];
        }
    }
    for (std::size_t i = 0; i < m; ++i)
      for (std::size_t j = 0; j < i; ++j) out[i * m + j] = out[j * m + i];
  }
  /// Starts `sweep` at the shared values with sum_i weights[i] times the cotangent of task i.
  void combine(std::span<const double> weights, Sweep<T>& sweep) const {
    for (const Entry& e : entries_) {
      const Index size = e.x.size();
      Tensor<T> sum = Tensor<T>::zeros(e.x.shape());
      for (Index k = 0; k < e.labels.count(); ++k) {
        const pack<T> w(static_cast<T>(weights[row(e.labels[k].task)]));
        kernels::map(size, sum.raw(), [&w](const auto& s, const auto& g) { return fma(w, g, s); },
                     static_cast<const T*>(sum.raw()), e.value.data() + k * size);
      }
      sweep.start(e.x, std::move(sum));
    }
  }

 private:
  struct Entry {
    Tensor<T> x, value;  // the shared value, and its cotangents [rows, shape of x]
    Labels labels;
  };
  std::size_t row(Index task) const {
    return static_cast<std::size_t>(std::lower_bound(active_.begin(), active_.end(), task) - active_.begin());
  }

  std::span<const Index> active_;
  PoolVector<Entry> entries_;
};

}  // namespace espalier::inline ESPALIER_ABI
