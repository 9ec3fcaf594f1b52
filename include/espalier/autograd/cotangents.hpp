#pragma once
// Cotangents of several tasks on their way through the graph: what their labels allow. Those of equal tasks add, those of
// different tasks stack; diagonal ones, whose tasks have segments of the last axis, are opened into rows where they must.

#include <algorithm>

#include "espalier/autograd/node.hpp"
#include "espalier/core/order.hpp"
#include "espalier/tensor/kernels/elementwise.hpp"
#include "espalier/tensor/kernels/gemm.hpp"

namespace espalier::inline ESPALIER_ABI::detail {

/// One matrix [m, n] for each label: a's columns [begin, end) times b's rows [begin, end). a is [m, columns] by strides.
template <class T>
Tensor<T> segment_products(Index m, Index n, kernels::Strided<T> a, const T* b, const Labels& labels, const Shape& shape) {
  Tensor<T> all = Tensor<T>::empty(Shape{labels.count()} + shape);
  for (Index k = 0; k < labels.count(); ++k) {
    const Label& label = labels[k];
    kernels::gemm<T>(m, n, label.end - label.begin, a.from(0, label.begin), {b + label.begin * n, n, 1},
                     all.raw() + k * m * n, n);
  }
  return all;
}
/// The tasks of diagonal labels, as rows.
inline Labels as_rows(const Labels& labels) {
  Labels rows(labels.count(), false);
  for (Index k = 0; k < labels.count(); ++k) rows.begin()[k] = {labels[k].task, 0, 0};
  return rows;
}

template <class T>
inline constexpr unsigned cotangent_class = size_class(sizeof(Cotangent<T>));
template <class T>
void drop_list(Cotangent<T>* c) {
  while (c) {
    Cotangent<T>* next = c->next;
    c->~Cotangent();
    give_block(std::exchange(c, next), cotangent_class<T>);
  }
}

/// Makes `a` the labels of the sum of two cotangents; false where they do not simply add: then the rows must be stacked.
/// Diagonal ones add unless a segment of one task cuts into one of another, or tasks that stay apart would have two.
inline bool unite(Labels& a, const Labels& b, bool separate) {
  if (a == b) return true;
  if (!a.diagonal() || !b.diagonal()) return false;
  PoolVector<Label> all;  // both are in the order of the axis: merged
  const Label *p = a.begin(), *q = b.begin();
  while (p != a.end() || q != b.end()) {
    const Label& label = q == b.end() || (p != a.end() && p->begin <= q->begin) ? *p++ : *q++;
    if (all.empty() || label.begin >= all.back().end) {
      all.push_back(label);
    } else if (label.task != all.back().task || label.begin != all.back().begin || label.end != all.back().end) {
      return false;
    }
  }
  if (separate) {  // a task has one segment
    PoolVector<Index> tasks;
    for (const Label& label : all) tasks.push_back(label.task);
    sort_unique(tasks);
    if (tasks.size() != all.size()) return false;
  }
  a = Labels(static_cast<Index>(all.size()), true);
  std::copy_n(all.begin(), all.size(), a.begin());
  return true;
}

/// A diagonal cotangent as rows: one per task, zero outside the task's segment of the last axis.
template <class T>
void open_rows(Cotangent<T>& c) {
  const Shape& shape = c.value.shape();
  const Index width = shape[-1], outer = width == 0 ? 0 : shape.size() / width, count = c.labels.count();
  Tensor<T> open = Tensor<T>::zeros(Shape{count} + shape);
  for (Index k = 0; k < count; ++k) {
    const Label& label = c.labels[k];
    for (Index i = 0; i < outer; ++i)
      std::copy_n(c.value.data() + i * width + label.begin, label.end - label.begin,
                  open.raw() + (k * outer + i) * width + label.begin);
  }
  c.value = std::move(open);
  c.labels = as_rows(c.labels);
}

/// What arrived at a node of a sweep that keeps tasks apart, in one cotangent: the sorted union of the tasks, each row
/// added up.
template <class T>
void merge(Cotangent<T>& first) {
  PoolVector<Index> tasks;
  for (Cotangent<T>* c = &first; c; c = c->next) {
    if (!c->labels) fail("backward: a task's cotangent met one without a task; label all starting points or none");
    if (c->labels.diagonal()) open_rows(*c);
    for (const Label& label : c->labels) tasks.push_back(label.task);
  }
  sort_unique(tasks);
  const auto count = static_cast<Index>(tasks.size());
  Labels labels(count, false);
  for (Index k = 0; k < count; ++k) labels.begin()[k] = {tasks[static_cast<std::size_t>(k)], 0, 0};
  const Shape row_shape = first.value.shape().part(1, first.value.rank());
  const Index row = row_shape.size();
  Tensor<T> all = Tensor<T>::empty(Shape{count} + row_shape);
  PoolVector<char> written(tasks.size(), 0);
  // The list is newest first; adding oldest first keeps the order of a sweep that sums.
  PoolVector<Cotangent<T>*> order;
  for (Cotangent<T>* c = &first; c; c = c->next) order.push_back(c);
  std::reverse(order.begin(), order.end());
  for (Cotangent<T>* c : order)
    for (Index i = 0; i < c->labels.count(); ++i) {
      const auto k = std::lower_bound(tasks.begin(), tasks.end(), c->labels[i].task) - tasks.begin();
      const T* from = c->value.data() + i * row;
      T* to = all.raw() + k * row;
      if (std::exchange(written[static_cast<std::size_t>(k)], 1)) kernels::add_to(row, to, from);
      else std::copy_n(from, row, to);
    }
  first.value = std::move(all);
  first.labels = labels;
  drop_list(std::exchange(first.next, nullptr));
}

}  // namespace espalier::inline ESPALIER_ABI::detail
