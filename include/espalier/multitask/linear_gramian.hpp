#pragma once
// The Gramian of K tasks' gradients of one linear layer from its factors: task k's weight gradient is G_k^T X, with
// G_k [batch, out] and X [batch, in], and none of them has to exist.
//
// <G_k^T X, G_l^T X> is a network of four matrices, and what it costs is the order in which they are multiplied:
//   products   the K weight gradients, a few rows of each at a time, and the inner products of these rows;
//   kernel     X X^T once, (X X^T) G_l for every task, and the inner products of these with the G_k. This is the closed form
//              sum((X X^T) o (G_k G_l^T)), without a product for every pair of tasks.
// The kernel is worth it where a batch is smaller than the layer is wide; the smaller count decides. Where packed heads
// stand right above the layer the G_k are thin products themselves, and everything follows from their factors.

#include "espalier/autograd/node.hpp"
#include "espalier/tensor/kernels/gemm.hpp"
#include "espalier/tensor/kernels/pair_dots.hpp"

namespace espalier::inline ESPALIER_ABI {

/// Multiply-adds of both orders, over task pairs k <= l, and those of the combined gradient (sum_k w_k G_k)^T X.
struct LinearGramianCost {
  double products, kernel, combination;

  LinearGramianCost(Index tasks, Index batch, Index in, Index out) {
    const auto k = static_cast<double>(tasks), b = static_cast<double>(batch), i = static_cast<double>(in),
               o = static_cast<double>(out), pairs = k * (k + 1) / 2;
    products = k * b * i * o + pairs * i * o;
    kernel = b * b * i + k * b * b * o + pairs * b * o;
    combination = k * b * o + b * i * o;
  }
  bool by_kernel() const { return kernel < products; }
  double gramian() const { return std::min(kernel, products); }
};

namespace detail {

/// Calls `add(k, l, value)` with the Gramian's entries for k <= l. g is [tasks, batch, out], x [batch, in]. With `diagonal` those
/// for k < l are 0.
template <class T, class Add>
void linear_gramian_by_kernel(const Tensor<T>& g, const Tensor<T>& x, const Add& add, bool diagonal = false) {
  constexpr Index group = 8;
  const Index tasks = g.shape()[0], batch = g.shape()[1], out = g.shape()[2], in = x.shape()[1];
  Tensor<T> kernel = Tensor<T>::empty({batch, batch}), images = Tensor<T>::empty({std::min(group, tasks), batch, out});
  kernels::gemm<T>(batch, batch, in, {x.data(), in, 1}, {x.data(), 1, in}, kernel.raw(), batch);
  PoolVector<const T*> left, right;
  for (Index k = 0; k < tasks; ++k) left.push_back(g.data() + k * batch * out);
  PoolVector<double> sums;
  for (Index first = 0; first < tasks; first += group) {
    const Index count = std::min(group, tasks - first), rows = first + count;
    right.clear();
    for (Index l = 0; l < count; ++l) {
      T* image = images.raw() + l * batch * out;
      kernels::gemm<T>(batch, out, batch, {kernel.data(), batch, 1},
                       {left[static_cast<std::size_t>(first + l)], out, 1}, image, out);
      right.push_back(image);
    }
    sums.clear();
    sums.resize(static_cast<std::size_t>(rows * count), 0.0);
    kernels::add_pair_dots<T>(batch * out, {left.data(), static_cast<std::size_t>(rows)}, {right.data(), right.size()}, first,
                              sums.data(), diagonal);
    for (Index k = 0; k < rows; ++k)
      for (Index l = std::max<Index>(0, k - first); l < count; ++l)
        add(k, first + l, sums[static_cast<std::size_t>(k * count + l)]);
  }
}

template <class T, class Add>
void linear_gramian_by_products(const Tensor<T>& g, const Tensor<T>& x, const Add& add, bool diagonal = false) {
  const Index tasks = g.shape()[0], batch = g.shape()[1], out = g.shape()[2], in = x.shape()[1];
  // Rows of the weight at a time: 4 MB of float gradients stay in a last-level cache, and a product keeps a decent height.
  const Index rows = std::min(out, std::max<Index>(32, (Index{1} << 20) / std::max<Index>(1, tasks * in) / 32 * 32));
  Tensor<T> tile = Tensor<T>::empty({tasks, rows, in});
  PoolVector<const T*> gradients;
  for (Index k = 0; k < tasks; ++k) gradients.push_back(tile.data() + k * rows * in);
  const std::span<const T* const> all(gradients.data(), gradients.size());
  PoolVector<double> sums(static_cast<std::size_t>(tasks * tasks), 0.0);
  for (Index start = 0; start < out; start += rows) {
    const Index here = std::min(rows, out - start);
    for (Index k = 0; k < tasks; ++k)
      kernels::gemm<T>(here, in, batch, {g.data() + k * batch * out + start, 1, out}, {x.data(), in, 1},
                       tile.raw() + k * rows * in, in);
    kernels::add_pair_dots<T>(here * in, all, all, 0, sums.data(), diagonal);
  }
  for (Index k = 0; k < tasks; ++k)
    for (Index l = k; l < tasks; ++l) add(k, l, sums[static_cast<std::size_t>(k * tasks + l)]);
}

}  // namespace detail

/// Calls `add(k, l, value)` with the Gramian's entries, k <= l, of gradients that are thin products: that of label k is
/// left^T right over the label's rows, with left [columns, out] and right [columns, in]. Returns its multiply-adds.
template <class T, class Add>
double product_gramian(const Tensor<T>& left, const Tensor<T>& right, const Labels& labels, const Add& add) {
  const auto columns = static_cast<std::size_t>(left.shape()[0]);
  const auto products = [columns](const Tensor<T>& x) {
    const Index n = x.shape()[1];
    PoolVector<const T*> rows;
    for (std::size_t c = 0; c < columns; ++c) rows.push_back(x.data() + static_cast<Index>(c) * n);
    const std::span<const T* const> all(rows.data(), columns);
    PoolVector<double> sums(columns * columns, 0.0);
    kernels::add_pair_dots<T>(n, all, all, 0, sums.data());
    return sums;
  };
  const PoolVector<double> a = products(left), b = products(right);  // upper triangles
  for (Index k = 0; k < labels.count(); ++k)
    for (Index l = k; l < labels.count(); ++l) {
      double sum = 0;
      for (Index i = labels[k].begin; i < labels[k].end; ++i)
        for (Index j = labels[l].begin; j < labels[l].end; ++j) {
          const std::size_t at = static_cast<std::size_t>(std::min(i, j)) * columns + static_cast<std::size_t>(std::max(i, j));
          sum += a[at] * b[at];
        }
      add(k, l, sum);
    }
  return static_cast<double>(columns * (columns + 1) / 2) * static_cast<double>(left.shape()[1] + right.shape()[1]);
}

/// Calls `add(k, l, value)` with the Gramian's entries for tasks k <= l, in the order that costs less. g is
/// [tasks, batch, out], x [batch, in]. Returns what it cost. With `diagonal` those for k < l are 0, and the others the same bits.
template <class T, class Add>
LinearGramianCost linear_gramian(const Tensor<T>& g, const Tensor<T>& x, const Add& add, bool diagonal = false) {
  const LinearGramianCost cost(g.shape()[0], g.shape()[1], x.shape()[1], g.shape()[2]);
  if (cost.by_kernel()) detail::linear_gramian_by_kernel(g, x, add, diagonal);
  else detail::linear_gramian_by_products(g, x, add, diagonal);
  return cost;
}

}  // namespace espalier::inline ESPALIER_ABI
