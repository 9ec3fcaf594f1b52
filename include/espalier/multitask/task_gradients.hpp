#pragma once
// TaskGradients: what one separate sweep brings to the parameters, the tasks' Gramian over what they share, and the weighted
// combination of it. Heads keep their own, unweighted gradients.
//
// A linear layer's K weight gradients arrive as factors (G, X) and stay factors: their Gramian needs none of them whole
// (linear_gramian.hpp), and the combined gradient is the single product (sum_k w_k G_k)^T X.
//
// Where weights are known before the sweep is over, it goes on below the tasks' meeting point (Sweep::run_to_meeting) with
// their weighted sum as a single row, labelled joined_task: what it brings is final.

#include "espalier/autograd/sweep.hpp"
#include "espalier/multitask/aggregator/jacobian.hpp"
#include "espalier/multitask/linear_gramian.hpp"

namespace espalier::inline ESPALIER_ABI {

template <class T>
class TaskGradients final : public LeafSink<T> {
  struct Entry {
    Leaf<T>* leaf;
    Tensor<T> value;   // rows of the gradient [rows, shape], or G [rows, batch, out]
    Tensor<T> factor;  // X [batch, in] when `value` is G
    Labels labels;
    Index group = 0;
  };

 public:
  /// `active` lists the tasks of the sweep in rising order; row i of the Gramian is active[i]. With `own` false the sweep is
  /// only to measure: what is a task's own is dropped.
  explicit TaskGradients(std::span<const Index> active, bool own = true) : active_(active), keeps_own_(own) {}
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
      if (e.leaf->owner.kind != Owner::Kind::unknown || e.labels.count() > 1 || is_joined(e)) return false;
      if (e.factor.defined() && keeps_own_) multiply_out(e);
      own(*e.leaf, e.value, e.labels);
      e.leaf->slot = -1;
      return true;
    };
    entries_.shrink(std::remove_if(entries_.begin(), entries_.end(), done));
    for (std::size_t i = 0; i < entries_.size(); ++i) entries_[i].leaf->slot = static_cast<Index>(i);
  }

  /// Whether something that two tasks share, or that is tagged as shared, has been reached.
  bool any_shared() const {
    for (const Entry& e : entries_)
      if (e.labels.count() > 1 || e.leaf->owner.kind != Owner::Kind::unknown) return true;
    return false;
  }

  /// Sorts what is shared into groups: a parameter belongs to the first of `prefixes` that is its path or a folder of it, and
  /// without one to group prefixes.size(). Throws Error for a parameter without a path.
  void group_by(std::span<const std::string> prefixes) {
    for (Entry& e : entries_) {
      const std::string& path = e.leaf->name;
      if (path.empty())
        fail("objective: a shared parameter ", e.leaf->shape, " has no name, which groups go by; call parameters(model) once, ",
             "or make an optimizer of them");
      e.group = 0;
      for (const std::string& prefix : prefixes) {
        if (path.starts_with(prefix) && (path.size() == prefix.size() || path[prefix.size()] == '.')) break;
        ++e.group;
      }
    }
  }

  /// Writes J J^T over everything shared, of one group, to `out` [m, m], summed in double. With `diagonal` what is beside the
  /// diagonal means nothing, and costs little.
  void gramian(std::span<double> out, Index group = 0, bool diagonal = false) {
    std::fill(out.begin(), out.end(), 0.0);
    if (group == 0) multiply_adds_ = 0;
    for (const Entry& e : entries_) {
      if (e.group != group) continue;
      if (e.factor.defined()) {
        const LinearGramianCost cost = linear_gramian(
            e.value, e.factor, [&](Index k, Index l, double v) { add(out, e.labels[k].task, e.labels[l].task, v); }, diagonal);
        multiply_adds_ += cost.gramian() + cost.combination;
      } else {
        add_dense(e.value, e.labels, out, diagonal);
      }
    }
    for (const Thin& t : thin_)
      multiply_adds_ += product_gramian(t.left, t.right, t.labels, [&](Index k, Index l, double v) {
        add(out, t.labels[k].task, t.labels[l].task, v);
      }) + static_cast<double>(t.left.size() * t.right.shape()[1]);
    mirror(out);
  }
  /// The same for rows that have met: the gradients of a shared representation, all its samples and features.
  void gramian(const Cotangent<T>& met, std::span<double> out) {
    std::fill(out.begin(), out.end(), 0.0);
    multiply_adds_ = 0;
    add_dense(met.value, met.labels, out);
    mirror(out);
  }

  /// Multiply-adds of the last Gramian (with groups, of all of them) and of the combination that goes with it.
  double multiply_adds() const { return multiply_adds_; }

  /// sum_i weights[i] J_i of rows that have met.
  Tensor<T> joined(const Cotangent<T>& met, std::span<const double> weights) const {
    return weighted(met.value, met.labels, weights);
  }
  /// Adds sum_i weights[i] J_i to the gradients of everything shared; `weights` is [groups, m].
  void combine(std::span<const double> weights) {
    for (const Thin& t : thin_) {
      const Index columns = t.left.shape()[0], out = t.left.shape()[1], in = t.right.shape()[1];
      Tensor<T> weighted = Tensor<T>::zeros({columns, in});
      for (const Label& label : t.labels) {
        const T w = static_cast<T>(weights[static_cast<std::size_t>(row(label.task))]);
        kernels::map(
            (label.end - label.begin) * in,
            weighted.raw() + label.begin * in, [w](const auto& v) __attribute__((always_inline)) { return w * v; },
            t.right.data() + label.begin * in);
      }
      const bool accumulate = t.leaf->open_grad({});
      kernels::gemm<T>(out, in, columns, {t.left.data(), 1, out}, {weighted.data(), in, 1}, t.leaf->grad_view().raw(),
                       in, accumulate);
    }
    for (Entry& e : entries_) {
      const Tensor<T> sum =
          is_joined(e) ? e.value.view(e.value.shape().part(1, e.value.rank()))
                       : weighted(e.value, e.labels,
                                  weights.subspan(static_cast<std::size_t>(e.group) * active_.size(), active_.size()));
      const bool accumulate = e.leaf->open_grad({});
      Tensor<T> grad = e.leaf->grad_view();
      if (e.factor.defined()) {
        const Index batch = e.factor.shape()[0], in = e.factor.shape()[1], out = sum.shape()[1];
        kernels::gemm<T>(out, in, batch, {sum.data(), 1, out}, {e.factor.data(), in, 1}, grad.raw(), in, accumulate);
      } else if (accumulate) {
        kernels::add_to(sum.size(), grad.raw(), sum.data());
      } else {
        std::copy_n(sum.data(), sum.size(), grad.raw());
      }
    }
  }

  /// Everything shared as the blocks of a Jacobian in double, each formed when asked for. A parameter is cut along its first
  /// axis, by its shape and the number of tasks, so that a block fits a processor's cache. Directions take the place of the
  /// rows; `finish` adds them to the gradients.
  class Blocks final : public JacobianBlocks {
   public:
    /// Adds J d, a number for every task, to `descent` [m] as directions come; or does not, where that is empty.
    explicit Blocks(TaskGradients& gradients, std::span<double> descent = {}) : all_(gradients), descent_(descent) {
      for (std::size_t i = 0; i < all_.entries_.size(); ++i) {
        const Shape& shape = all_.entries_[i].leaf->shape;
        if (shape.size() == 0) continue;
        const Index rows = shape.rank() > 0 ? shape[0] : 1, width = shape.size() / rows;
        const Index step = std::max<Index>(1, block_elements / (tasks() * width));
        for (Index begin = 0; begin < rows; begin += step) cuts_.push_back({i, begin, std::min(step, rows - begin), width});
      }
    }
    Index tasks() const override { return static_cast<Index>(all_.active_.size()); }
    Index blocks() const override { return static_cast<Index>(cuts_.size()); }
    Index size(Index block) const override { return cut(block).rows * cut(block).width; }
    Index offset(Index block) const override { return cut(block).begin * cut(block).width; }
    Index whole(Index block) const override { return entry(block).leaf->shape.size(); }
    std::string_view name(Index block) const override {
      const std::string& path = entry(block).leaf->name;
      return path.empty() ? unnamed_ = join("parameter ", cut(block).entry) : path;
    }
    std::span<const double> rows(Index block) override {
      fill(block, values_);
      return {values_.data(), values_.size()};
    }
    void direction(Index block, std::span<const double> d) override {
      const Cut& c = cut(block);
      if (static_cast<Index>(d.size()) != size(block))
        fail("objective: a direction of ", d.size(), " elements was handed over for ", size(block), " of ", name(block),
             "; they must be as many");
      if (directions_.size() < all_.entries_.size()) directions_.resize(all_.entries_.size());
      Tensor<T>& whole = directions_[c.entry];
      if (!whole.defined()) whole = Tensor<T>::empty(Shape{1} + entry(block).leaf->shape);
      T* to = whole.raw() + offset(block);
      for (std::size_t k = 0; k < d.size(); ++k) to[k] = static_cast<T>(d[k]);
      ++handed_over_;
      if (descent_.empty()) return;
      fill(block, watched_);  // not `values_`, which the method may still be reading
      for (std::size_t i = 0; i < descent_.size(); ++i)
        for (std::size_t k = 0; k < d.size(); ++k) descent_[i] += watched_[i * d.size() + k] * d[k];
    }
    /// Throws Error unless every block has been given a direction.
    void finish(std::string_view method) {
      if (handed_over_ != blocks())
        fail("objective: ", method, " handed over ", handed_over_, " directions for ", blocks(), " blocks; each gets one");
      for (std::size_t i = 0; i < directions_.size(); ++i) {
        Entry& e = all_.entries_[i];
        if (!directions_[i].defined()) continue;  // a parameter without elements
        e.value = directions_[i];
        e.factor = {};
        e.labels = Labels::row(joined_task);
      }
      all_.combine({});
    }

   private:
    static constexpr Index block_elements = 1 << 17;
    struct Cut {
      std::size_t entry;
      Index begin, rows, width;  // along the parameter's first axis; elements of one step
    };
    const Cut& cut(Index block) const { return cuts_[static_cast<std::size_t>(block)]; }
    const Entry& entry(Index block) const { return all_.entries_[cut(block).entry]; }

    /// The rows of a block, [tasks, size].
    void fill(Index block, PoolVector<double>& to_all) const {
      const Entry& e = entry(block);
      const Cut& c = cut(block);
      const Index n = size(block);
      to_all.clear();
      to_all.resize(static_cast<std::size_t>(tasks() * n), 0);
      const Tensor<T> formed = e.factor.defined() ? Tensor<T>::empty({n}) : Tensor<T>();
      for (Index r = 0; r < e.labels.count(); ++r) {
        if (formed.defined()) form(e, r, c.begin, c.rows, const_cast<T*>(formed.data()));
        const T* from = formed.defined() ? formed.data() : e.value.data() + r * whole(block) + offset(block);
        double* to = to_all.data() + all_.row(e.labels[r].task) * n;
        for (Index k = 0; k < n; ++k) to[k] = static_cast<double>(from[k]);
      }
    }

    TaskGradients& all_;
    std::span<double> descent_;
    PoolVector<Cut> cuts_;
    PoolVector<Tensor<T>> directions_;  // [1, shape] of each parameter
    Index handed_over_ = 0;
    PoolVector<double> values_, watched_;
    mutable std::string unnamed_;
  };

 private:
  static bool is_joined(const Entry& e) { return e.labels.count() == 1 && e.labels[0].task == joined_task; }

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

  /// The upper triangle is the lower one's truth.
  void mirror(std::span<double> sum) const {
    const auto m = static_cast<Index>(active_.size());
    for (Index i = 0; i < m; ++i)
      for (Index j = 0; j < i; ++j) at(sum, i, j) = at(sum, j, i);
  }
  /// sum_r weights[row of task r] value_r; a row of all tasks together counts once.
  Tensor<T> weighted(const Tensor<T>& value, const Labels& labels, std::span<const double> weights) const {
    const Index count = labels.count(), size = value.size() / count;
    Tensor<T> sum = Tensor<T>::empty(value.shape().part(1, value.rank()));
    for (Index r = 0; r < count; ++r) {
      const Index task = labels[r].task;
      const T w(task == joined_task ? T(1) : static_cast<T>(weights[static_cast<std::size_t>(row(task))]));
      const T* from = value.data() + r * size;
      if (r == 0) kernels::map(size, sum.raw(), [w](const auto& g) __attribute__((always_inline)) { return w * g; }, from);
      else
        kernels::map(size, sum.raw(), [w](const auto& s, const auto& g) __attribute__((always_inline)) { return fma(w, g, s); },
                     static_cast<const T*>(sum.raw()), from);
    }
    return sum;
  }

  Entry* find(const Leaf<T>& leaf) { return leaf.slot < 0 ? nullptr : &entries_[static_cast<std::size_t>(leaf.slot)]; }
  void insert(Leaf<T>& leaf, Entry entry) {
    leaf.slot = static_cast<Index>(entries_.size());
    entries_.push_back(std::move(entry));
  }

  /// Adds the rows to the parameter's own gradient, unweighted.
  void own(Leaf<T>& leaf, const Tensor<T>& value, const Labels& labels) const {
    if (labels[0].task == joined_task)
      fail("objective: a parameter ", leaf.shape, leaf.name.empty() ? "" : " '", leaf.name,
           leaf.name.empty() ? "" : "'", " of task '", leaf.owner.name,
           "' lies below the representation that all tasks share; aggregate at the parameters, in every step");
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
    const Index count = e.labels.count(), in = e.factor.shape()[1], out = e.value.shape()[2];
    Tensor<T> rows = Tensor<T>::empty({count, out, in});
    for (Index r = 0; r < count; ++r) form(e, r, 0, out, rows.raw() + r * out * in);
    e.value = std::move(rows);
    e.factor = {};
  }
  /// Rows [begin, begin + rows) of task row r of a gradient that is still in factors, [rows, in].
  static void form(const Entry& e, Index r, Index begin, Index rows, T* to) {
    const Index batch = e.factor.shape()[0], in = e.factor.shape()[1], out = e.value.shape()[2];
    kernels::gemm<T>(rows, in, batch, {e.value.data() + r * batch * out + begin, 1, out}, {e.factor.data(), in, 1}, to, in);
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

  void add_dense(const Tensor<T>& value, const Labels& labels, std::span<double> sum, bool diagonal = false) {
    const Index count = labels.count(), size = value.size() / count;
    const auto pairs = static_cast<double>(count * (count + 1) / 2);
    multiply_adds_ += (pairs + static_cast<double>(count)) * static_cast<double>(size);
    PoolVector<const T*> gradients;
    for (Index k = 0; k < count; ++k) gradients.push_back(value.data() + k * size);
    const std::span<const T* const> all(gradients.data(), gradients.size());
    PoolVector<double> dots(static_cast<std::size_t>(count * count), 0.0);
    kernels::add_pair_dots<T>(size, all, all, 0, dots.data(), diagonal);
    for (Index k = 0; k < count; ++k)
      for (Index l = k; l < count; ++l)
        add(sum, labels[k].task, labels[l].task, dots[static_cast<std::size_t>(k * count + l)]);
  }

  std::span<const Index> active_;
  bool keeps_own_;
  PoolVector<Entry> entries_;
  PoolVector<Thin> thin_;
  double multiply_adds_ = 0;
};

}  // namespace espalier::inline ESPALIER_ABI
