#pragma once
// TaskGradients: what one separate sweep brings to the parameters, the tasks' Gramian over what they share, and the weighted
// combination of it. Heads keep their own, unweighted gradients.
//
// A linear layer's K weight gradients arrive as factors (G, X) and stay factors: their Gramian needs none of them whole
// (linear_gramian.hpp), and the combined gradient is the single product (sum_k w_k G_k)^T X.

#include "espalier/autograd/sweep.hpp"
#include "espalier/multitask/linear_gramian.hpp"

namespace espalier::inline ESPALIER_ABI {

template <class T>
class TaskGradients final : public LeafSink<T> {
 public:
  /// `active` lists the tasks of the sweep in rising order; row i of the Gramian is active[i].
  explicit TaskGradients(std::span<const Index> active) : active_(active) {}
  ~TaskGradients() override {
    for (Entry& e : entries_) e.leaf->slot = -1;
    for (Thin& t : thin_) t.leaf->slot = -1;
  }
  TaskGradients(const TaskGradients&) = delete;
  TaskGradients& operator=(const TaskGradients&) = delete;

  void rows(Leaf<T>& leaf, Tensor<T> value, const Labels& labels) override {
    if (leaf.owner.kind == Owner::Kind::task) return own(leaf, value, labels);
    if (leaf.slot < -1) thicken(leaf);
    Entry* known = find(leaf);
    if (!known) return insert(leaf, {&leaf, std::move(value), {}, labels});
    if (known->factor.defined()) multiply_out(*known);
    unite(*known, value, labels);
  }
  bool factored(Leaf<T>& leaf, const Tensor<T>& g, const Tensor<T>& x, const Labels& labels) override {
    if (leaf.owner.kind == Owner::Kind::task || leaf.slot != -1) return false;
    insert(leaf, {&leaf, g, x, labels});
    return true;
  }
  bool products(Leaf<T>& leaf, const Tensor<T>& left, const Tensor<T>& right, const Labels& labels) override {
    if (leaf.owner.kind == Owner::Kind::task || leaf.slot != -1) return false;
    leaf.slot = -2 - static_cast<Index>(thin_.size());
    thin_.push_back({&leaf, left, right, labels});
    return true;
  }

  /// After the sweep: what a single task reaches and nobody claims as shared is that task's own.
  void settle() {
    for (std::size_t i = thin_.size(); i-- > 0;)
      if (thin_[i].leaf->owner.kind == Owner::Kind::unknown && thin_[i].labels.count() == 1) thicken(*thin_[i].leaf);
    const auto done = [&](Entry& e) {
      if (e.leaf->owner.kind != Owner::Kind::unknown || e.labels.count() > 1) return false;
      if (e.factor.defined()) multiply_out(e);
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
    multiply_adds_ = 0;
    for (const Entry& e : entries_) {
      if (e.factor.defined()) {
        const LinearGramianCost cost = linear_gramian(
            e.value, e.factor, [&](Index k, Index l, double v) { add(out, e.labels[k].task, e.labels[l].task, v); });
        multiply_adds_ += cost.gramian() + cost.combination;
      } else {
        add_dense(e, out);
      }
    }
    for (const Thin& t : thin_)
      multiply_adds_ += product_gramian(t.left, t.right, t.labels, [&](Index k, Index l, double v) {
        add(out, t.labels[k].task, t.labels[l].task, v);
      }) + static_cast<double>(t.left.size() * t.right.shape()[1]);
    const Index m = static_cast<Index>(active_.size());
    for (Index i = 0; i < m; ++i)
      for (Index j = 0; j < i; ++j) at(out, i, j) = at(out, j, i);
  }

  /// Multiply-adds of the last Gramian and of the combination that goes with it.
  double multiply_adds() const { return multiply_adds_; }

  /// Adds sum_i weights[i] J_i to the gradients of everything shared.
  void combine(std::span<const double> weights) {
    for (const Thin& t : thin_) {
      const Index columns = t.left.shape()[0], out = t.left.shape()[1], in = t.right.shape()[1];
      Tensor<T> weighted = Tensor<T>::zeros({columns, in});
      for (const Label& label : t.labels) {
        const pack<T> w(static_cast<T>(weights[static_cast<std::size_t>(row(label.task))]));
        kernels::map((label.end - label.begin) * in, weighted.raw() + label.begin * in, [&w](const auto& v) { return w * v; },
                     t.right.data() + label.begin * in);
      }
      const bool accumulate = t.leaf->open_grad({});
      kernels::gemm<T>(out, in, columns, {t.left.data(), 1, out}, {weighted.data(), in, 1}, t.leaf->grad_view().raw(), in, accumulate);
    }
    for (Entry& e : entries_) {
      const Index count = e.labels.count(), size = e.value.size() / count;
      Tensor<T> sum = Tensor<T>::empty(e.value.shape().part(1, e.value.rank()));
      for (Index r = 0; r < count; ++r) {
        const pack<T> w(static_cast<T>(weights[static_cast<std::size_t>(row(e.labels[r].task))]));
        const T* from = e.value.data() + r * size;
        if (r == 0) kernels::map(size, sum.raw(), [&w](const auto& g) { return w * g; }, from);
        else
          kernels::map(size, sum.raw(), [&w](const auto& s, const auto& g) { return fma(w, g, s); },
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

  /// Gradients that are thin products, see LeafSink::products. Their leaves' slot is -2 - (the place in thin_).
  struct Thin {
    Leaf<T>* leaf;
    Tensor<T> left, right;
    Labels labels;
  };
  /// Makes rows of them: something else needs the gradients whole.
  void thicken(Leaf<T>& leaf) {
    const auto place = static_cast<std::size_t>(-2 - leaf.slot);
    const Thin t = thin_[place];
    thin_[place] = thin_.back();
    thin_[place].leaf->slot = leaf.slot;
    thin_.pop_back();
    const Index out = t.left.shape()[1], in = t.right.shape()[1];
    insert(leaf, {&leaf, detail::segment_products<T>(out, in, {t.left.data(), 1, out}, t.right.data(), t.labels, leaf.shape), {},
                  detail::as_rows(t.labels)});
  }

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
  static void own(Leaf<T>& leaf, const Tensor<T>& value, const Labels& labels) {
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

  void add_dense(const Entry& e, std::span<double> sum) {
    const Index count = e.labels.count(), size = e.leaf->shape.size();
    const auto pairs = static_cast<double>(count * (count + 1) / 2);
    multiply_adds_ += (pairs + static_cast<double>(count)) * static_cast<double>(size);
    PoolVector<const T*> gradients;
    for (Index k = 0; k < count; ++k) gradients.push_back(e.value.data() + k * size);
    const std::span<const T* const> all(gradients.data(), gradients.size());
    PoolVector<double> dots(static_cast<std::size_t>(count * count), 0.0);
    kernels::add_pair_dots<T>(size, all, all, 0, dots.data());
    for (Index k = 0; k < count; ++k)
      for (Index l = k; l < count; ++l)
        add(sum, e.labels[k].task, e.labels[l].task, dots[static_cast<std::size_t>(k * count + l)]);
  }

  std::span<const Index> active_;
  PoolVector<Entry> entries_;
  PoolVector<Thin> thin_;
  double multiply_adds_ = 0;
};

}  // namespace espalier::inline ESPALIER_ABI
