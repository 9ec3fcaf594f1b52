#pragma once
// TaskGradients: what one separate sweep brings to the parameters, the tasks' Gramian over what they share, and the weighted
// combination of it. Heads keep their own, unweighted gradients.
//
// A linear layer's K weight gradients arrive as factors (G, X). They are multiplied out only where that is cheaper: the
// Gramian has the closed form <G_k^T X, G_l^T X> = sum over i, j of (G_k G_l^T)_ij (X X^T)_ij, and the combined gradient is
// the single product (sum_k w_k G_k)^T X.

#include "espalier/autograd/sweep.hpp"
#include "espalier/tensor/kernels/gemm.hpp"

namespace espalier::inline ESPALIER_ABI {

template <class T>
class TaskGradients final : public LeafSink<T> {
 public:
  /// `active` lists the tasks of the sweep in rising order; row i of the Gramian is active[i]. With `own` false the sweep is
  /// only to measure: what is a task's own is dropped.
  explicit TaskGradients(std::span<const Index> active, bool own = true) : active_(active), keeps_own_(own) {}
  ~TaskGradients() override {
    for (Entry& e : entries_) e.leaf->slot = -1;
  }
  TaskGradients(const TaskGradients&) = delete;
  TaskGradients& operator=(const TaskGradients&) = delete;

  void rows(Leaf<T>& leaf, Tensor<T> value, const Labels& labels) override {
    if (leaf.owner.kind == Owner::Kind::task) return own(leaf, value, labels);
    Entry* known = find(leaf);
    if (!known) return insert(leaf, {&leaf, std::move(value), {}, labels});
    if (known->factor.defined()) multiply_out(*known);
    unite(*known, value, labels);
  }
  bool factored(Leaf<T>& leaf, const Tensor<T>& g, const Tensor<T>& x, const Labels& labels) override {
    if (leaf.owner.kind == Owner::Kind::task || find(leaf)) return false;
    insert(leaf, {&leaf, g, x, labels});
    return true;
  }

  /// After the sweep: what a single task reaches and nobody claims as shared is that task's own.
  void settle() {
    const auto done = [&](Entry& e) {
      if (e.leaf->owner.kind != Owner::Kind::unknown || e.labels.count() > 1) return false;
      if (e.factor.defined() && keeps_own_) multiply_out(e);
      own(*e.leaf, e.value, e.labels);
      e.leaf->slot = -1;
      return true;
    };
    entries_.shrink(std::remove_if(entries_.begin(), entries_.end(), done));
    for (std::size_t i = 0; i < entries_.size(); ++i) entries_[i].leaf->slot = static_cast<Index>(i);
  }

  /// Writes J J^T over everything shared to `out` [m, m], summed in double.
  void gramian(std::span<double> out) {
    std::fill(out.begin(), out.end(), 0.0);
    for (Entry& e : entries_) {
      if (e.factor.defined() && !closed_form_is_cheaper(e)) multiply_out(e);
      if (e.factor.defined()) add_closed_form(e, out);
      else add_dense(e, out);
    }
    const Index m = static_cast<Index>(active_.size());
    for (Index i = 0; i < m; ++i)
      for (Index j = 0; j < i; ++j) at(out, i, j) = at(out, j, i);
  }

  /// Adds sum_i weights[i] J_i to the gradients of everything shared.
  void combine(std::span<const double> weights) {
    for (Entry& e : entries_) {
      const Index count = e.labels.count(), size = e.value.size() / count;
      Tensor<T> sum = Tensor<T>::empty(e.value.shape().part(1, e.value.rank()));
      for (Index r = 0; r < count; ++r) {
        const T w = static_cast<T>(weights[static_cast<std::size_t>(row(e.labels[r].task))]);
        const T* from = e.value.data() + r * size;
        if (r == 0) kernels::map(size, sum.raw(), [w](const auto& g) __attribute__((always_inline)) { return w * g; }, from);
        else
          kernels::map(size, sum.raw(), [w](const auto& s, const auto& g) __attribute__((always_inline)) { return fma(w, g, s); },
                       static_cast<const T*>(sum.raw()), from);
      }
      const bool accumulate = e.leaf->open_grad({});
      Tensor<T> grad = e.leaf->grad_view();
      if (e.factor.defined()) {
        const Index batch = e.factor.shape()[0], in = e.factor.shape()[1], out = sum.shape()[1];
        kernels::gemm<T>(out, in, batch, {sum.data(), 1, out}, {e.factor.data(), in, 1}, grad.raw(), in, accumulate);
      } else if (accumulate) {
        kernels::add_to(size, grad.raw(), sum.data());
      } else {
        std::copy_n(sum.data(), size, grad.raw());
      }
    }
  }

 private:
  struct Entry {
    Leaf<T>* leaf;
    Tensor<T> value;   // rows of the gradient [rows, shape], or G [rows, batch, out]
    Tensor<T> factor;  // X [batch, in] when `value` is G
    Labels labels;
  };

  double& at(std::span<double> m, Index i, Index j) const {
    return m[static_cast<std::size_t>(i) * active_.size() + static_cast<std::size_t>(j)];
  }
  Index row(Index task) const { return std::lower_bound(active_.begin(), active_.end(), task) - active_.begin(); }
  /// Adds to the upper triangle; rows of tasks come in any order.
  void add(std::span<double> sum, Index task, Index other, double product) const {
    const auto [i, j] = std::minmax({row(task), row(other)});
    at(sum, i, j) += product;
  }

  Entry* find(const Leaf<T>& leaf) { return leaf.slot < 0 ? nullptr : &entries_[static_cast<std::size_t>(leaf.slot)]; }
  void insert(Leaf<T>& leaf, Entry entry) {
    leaf.slot = static_cast<Index>(entries_.size());
    entries_.push_back(std::move(entry));
  }

  /// Adds the rows to the parameter's own gradient, unweighted.
  void own(Leaf<T>& leaf, const Tensor<T>& value, const Labels& labels) const {
    if (!keeps_own_) return;
    const Index size = leaf.shape.size();
    for (Index r = 0; r < labels.count(); ++r) {
      const bool accumulate = leaf.open_grad({});
      Tensor<T> grad = leaf.grad_view();
      const T* from = value.data() + r * size;
      if (accumulate) kernels::add_to(size, grad.raw(), from);
      else std::copy_n(from, size, grad.raw());
    }
  }

  void multiply_out(Entry& e) {
    const Index count = e.labels.count(), batch = e.factor.shape()[0], in = e.factor.shape()[1], out = e.value.shape()[2];
    Tensor<T> rows = Tensor<T>::empty({count, out, in});
    for (Index r = 0; r < count; ++r)
      kernels::gemm<T>(out, in, batch, {e.value.data() + r * batch * out, 1, out}, {e.factor.data(), in, 1},
                       rows.raw() + r * out * in, in);
    e.value = std::move(rows);
    e.factor = {};
  }

  /// A parameter reached a second time: rows of equal tasks add, others join.
  void unite(Entry& e, const Tensor<T>& value, const Labels& labels) {
    PoolVector<Index> tasks;
    for (const Label& l : e.labels) tasks.push_back(l.task);
    for (const Label& l : labels) tasks.push_back(l.task);
    detail::sort_unique(tasks);
    const Index size = e.leaf->shape.size(), count = static_cast<Index>(tasks.size());
    Labels joined(count, false);
    for (Index k = 0; k < count; ++k) joined.begin()[k] = {tasks[static_cast<std::size_t>(k)], 0, 0};
    Tensor<T> all = Tensor<T>::zeros(Shape{count} + e.leaf->shape);
    const auto add = [&](const Tensor<T>& rows, const Labels& from) {
      for (Index r = 0; r < from.count(); ++r) {
        const Index k = std::lower_bound(tasks.begin(), tasks.end(), from[r].task) - tasks.begin();
        kernels::add_to(size, all.raw() + k * size, rows.data() + r * size);
      }
    };
    add(e.value, e.labels);
    add(value, labels);
    e.value = std::move(all);
    e.labels = joined;
  }

  /// Multiply-adds of the Gramian from factors, against forming the rows first; task pairs k <= l only.
  static bool closed_form_is_cheaper(const Entry& e) {
    const double count = static_cast<double>(e.labels.count()), pairs = count * (count + 1) / 2;
    const auto batch = static_cast<double>(e.factor.shape()[0]), in = static_cast<double>(e.factor.shape()[1]),
               out = static_cast<double>(e.value.shape()[2]);
    return batch * batch * in + pairs * batch * batch * (out + 1) < count * batch * in * out + pairs * in * out;
  }
  void add_closed_form(const Entry& e, std::span<double> sum) {
    const Index count = e.labels.count(), batch = e.factor.shape()[0], in = e.factor.shape()[1], out = e.value.shape()[2];
    Tensor<T> inputs = Tensor<T>::empty({batch, batch}), adjoints = Tensor<T>::empty({batch, batch});
    kernels::gemm<T>(batch, batch, in, {e.factor.data(), in, 1}, {e.factor.data(), 1, in}, inputs.raw(), batch);
    for (Index k = 0; k < count; ++k)
      for (Index l = k; l < count; ++l) {
        kernels::gemm<T>(batch, batch, out, {e.value.data() + k * batch * out, out, 1}, {e.value.data() + l * batch * out, 1, out},
                         adjoints.raw(), batch);
        add(sum, e.labels[k].task, e.labels[l].task, kernels::dot(batch * batch, inputs.data(), adjoints.data()));
      }
  }
  void add_dense(const Entry& e, std::span<double> sum) {
    const Index count = e.labels.count(), size = e.value.size() / count;
    for (Index k = 0; k < count; ++k)
      for (Index l = k; l < count; ++l)
        add(sum, e.labels[k].task, e.labels[l].task, kernels::dot(size, e.value.data() + k * size, e.value.data() + l * size));
  }

  std::span<const Index> active_;
  bool keeps_own_;
  PoolVector<Entry> entries_;
};

}  // namespace espalier::inline ESPALIER_ABI
