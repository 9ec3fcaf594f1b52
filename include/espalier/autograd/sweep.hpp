#pragma once
// The reverse sweep: visits nodes in falling order of creation, one visit each, without recursion or pre-pass.
//
// A node's rule turns the cotangent of its value into cotangents of its inputs and hands them to `emit`, which sums away
// what broadcasting repeated (no rule mentions broadcasting), adds in place where it can, and queues a node when its first
// cotangent arrives. In a *separate* sweep tasks stay apart: cotangents of equal tasks add, those of different tasks stack,
// so a node that only head k reaches sees one row and a shared node sees all of them.
//
// Where packed heads meet what they share, K rows are K thin products, one a task. A linear layer below needs none of them
// multiplied out: it may take the two factors (`emit_product`).

#include <algorithm>

#include "espalier/autograd/cotangents.hpp"
#include "espalier/tensor/kernels/reduce.hpp"

namespace espalier::inline ESPALIER_ABI {

// The operations the engine itself needs when a backward pass is recorded (ops/engine_ops.hpp).
template <class T>
Tensor<T> sum_to(const Tensor<T>& x, int lead, const Shape& shape);
template <class T>
Tensor<T> add_same(const Tensor<T>& a, const Tensor<T>& b);
template <class T>
Tensor<T> slice(const Tensor<T>& x, int axis, Index begin, Index end);

/// Receives what a separate sweep brings to the parameters.
template <class T>
struct LeafSink {
  virtual ~LeafSink() = default;
  /// `value` is [rows, shape of the leaf], one row per label.
  virtual void rows(Leaf<T>& leaf, Tensor<T> value, const Labels& labels) = 0;
  /// The weight gradient of a linear layer, not multiplied out: row r is g[r]^T x with g [rows, batch, out] and
  /// x [batch, in]. Returns false to get `rows` instead.
  virtual bool factored(Leaf<T>& leaf, const Tensor<T>& g, const Tensor<T>& x, const Labels& labels) {
    (void)leaf, (void)g, (void)x, (void)labels;
    return false;
  }
  /// The same where all tasks' gradients are thin products: task k's is left^T right over the rows [begin, end) of its label,
  /// with left [columns, out] and right [columns, in]. Returns false to get `rows` instead.
  virtual bool products(Leaf<T>& leaf, const Tensor<T>& left, const Tensor<T>& right, const Labels& labels) {
    (void)leaf, (void)left, (void)right, (void)labels;
    return false;
  }
};

struct SweepOptions {
  bool record = false;    // the backward pass is itself recorded
  bool retain = false;    // the graph may be swept again
  bool separate = false;  // labelled tasks stay apart
  bool leaves = true;     // parameters receive gradients; otherwise only captured nodes do
  bool own = true;        // parameters that belong to one task are among them; false: only what is shared is looked at
  bool products = false;  // thin products of several tasks may wait in factors, where a rule takes them
};

/// The label of a row that stands for all tasks together.
inline constexpr Index joined_task = -1;

template <class T>
class Sweep {
 public:
  /// Throws Error for a separate sweep that would bring gradients to parameters without a sink for them.
  explicit Sweep(SweepOptions options, LeafSink<T>* sink = nullptr) : options_(options), sink_(sink) {
    if (options.separate && (options.record || (options.leaves && !sink)))
      fail("backward: a sweep that keeps tasks apart needs a sink for the parameters' rows and is never itself recorded");
    options_.retain |= options_.record;
    thread_recording_ = std::exchange(detail::thread_state.recording, options_.record);
  }
  Sweep(const Sweep&) = delete;
  Sweep& operator=(const Sweep&) = delete;
  ~Sweep() {
    detail::thread_state.recording = thread_recording_;
    for (Node<T>* node : heap_) detail::drop_list(std::exchange(node->pending, nullptr));
    for (Captured& c : captured_) c.node->captured = false;
  }

  /// Asks for the cotangent of this value (any recorded tensor); read it with `take` after `run`.
  void capture(const Tensor<T>& x) {
    capture(x.node().get());
    if (Leaf<T>* pack = pack_of(x)) capture(pack);
  }
  Tensor<T> take(const Tensor<T>& x) {
    const Tensor<T> direct = value_at(x.node().get());
    Leaf<T>* pack = pack_of(x);
    const Tensor<T> whole = pack ? value_at(pack) : Tensor<T>();
    if (!whole.defined()) return direct;
    const auto& part = leaf_of(x)->my_part();  // a part of a pack gets its share of what arrives there
    const Tensor<T> share = slice(whole, whole.rank() - x.rank(), part.begin, part.end);
    return direct.defined() ? add_same(direct, share) : share;
  }

  /// A starting point: the cotangent of `y`, [rows..., shape of y]. Throws Error for any other shape.
  void start(const Tensor<T>& y, Tensor<T> cotangent, const Labels& labels = {}) {
    if (labels.rows() && !options_.separate) fail("backward: rows of several tasks need a sweep that keeps tasks apart");
    const Shape shape = labels.rows() ? Shape{labels.count()} + y.shape() : y.shape();
    if (!cotangent.defined() || !(cotangent.shape() == shape))
      fail("backward: the cotangent of y ", y.shape(), " is ", cotangent.defined() ? cotangent.shape().text() : "undefined",
           "; it must be ", shape);
    if (Node<T>* node = y.node().get()) arrive(*node, std::move(cotangent), labels);
  }

  void run() {
    while (!heap_.empty()) {
      Node<T>& node = *pop();
      visit(node, std::exchange(node.pending, nullptr));
    }
  }

  /// Runs a separate sweep up to the node where `tasks` rows meet and through which all that is left must pass: the value
  /// that these tasks share, as a trunk's output. A layer that belongs to a task is none. Returns what arrived there, in wait
  /// for `go_on`; null where there is no such node, and then the sweep is over.
  const Cotangent<T>* run_to_meeting(Index tasks) {
    while (!heap_.empty()) {
      Node<T>& node = *pop();
      if (heap_.empty() && !node.leaf && !is_of_a_task(node)) {
        if (node.pending->next) detail::merge(*node.pending);
        if (node.pending->labels.rows() && node.pending->labels.count() == tasks) {
          push(&node);
          return node.pending;
        }
      }
      visit(node, std::exchange(node.pending, nullptr));
    }
    return nullptr;
  }
  /// Replaces what arrived at the meeting by one row (shape of the node) and runs on. It is labelled `joined_task`.
  void go_on(const Tensor<T>& row) {
    Cotangent<T>& met = *heap_.back()->pending;
    met.value = row.view(Shape{1} + row.shape());
    met.labels = Labels::row(joined_task);
    run();
  }

  // ---- for rules ---------------------------------------------------------------------------------------------------
  bool recording() const { return options_.record; }
  /// Labelled tasks must stay apart; otherwise diagonal labels are only a note of which tasks are present.
  bool separate() const { return options_.separate; }
  LeafSink<T>* sink() const { return sink_; }
  /// Whether anybody wants the cotangent of this input.
  bool wants(const Node<T>& node, int input) const {
    const Node<T>* x = node.in[input].get();
    return x && (!x->leaf || x->captured || (options_.leaves && reaches(static_cast<const Leaf<T>&>(*x))));
  }
  /// The leaf that this input is, when its gradient may be written to directly: nothing else has to see it.
  Leaf<T>* direct_leaf(const Node<T>& node, int input) const {
    Node<T>* x = node.in[input].get();
    return x && x->leaf && !x->captured && options_.leaves && !options_.record && !row_ && reaches(static_cast<Leaf<T>&>(*x))
               ? static_cast<Leaf<T>*>(x)
               : nullptr;
  }

  /// Hands over the cotangent of an input: [rows..., shape that the input was broadcast to].
  void emit(const Node<T>& node, int input, Tensor<T> g, const Labels& labels = {}) {
    Node<T>* x = node.in[input].get();
    if (!x) return;
    if (row_ && !labels) {  // the rule sees one row of several
      g = sum_to(g, 0, x->shape);
      return arrive(*x, g.view(Shape{1} + x->shape), row_);
    }
    const int lead = labels.rows() ? 1 : 0;
    if (g.rank() != x->shape.rank() + lead || !(g.shape().part(lead, g.rank()) == x->shape)) {
      if (labels.diagonal()) {  // the axis of the tasks would be summed away
        Cotangent<T> c{std::move(g), labels};
        open_diagonal(c);
        return emit(node, input, std::move(c.value), c.labels);
      }
      g = sum_to(g, lead, x->shape);
    }
    arrive(*x, std::move(g), labels);
  }

  /// Hands over the cotangent of an input as `g` [..., columns], diagonal, times `matrix` [columns, width]: task k's is its
  /// segment of g's columns times the same rows of the matrix. False when the input must have the rows themselves.
  bool emit_product(const Node<T>& node, int input, const Tensor<T>& g, const Tensor<T>& matrix, const Labels& labels) {
    Node<T>* x = node.in[input].get();
    if (!options_.products || x->captured || x->pending || !x->type->takes_products) return false;
    waiting_.push_back({x, matrix});
    arrive(*x, g, labels, true);
    return true;
  }
  /// The matrix that the cotangent of the rule being called is to be multiplied by; mostly undefined: by none.
  const Tensor<T>& factor() const { return factor_; }
  /// Multiplies it out: the cotangent of `node` as rows.
  void open_product(const Node<T>& node, Cotangent<T>& g) { open_product(node, g, std::exchange(factor_, {})); }

 private:
  struct Waiting {
    Node<T>* node;
    Tensor<T> matrix;
  };
  struct Captured {
    Node<T>* node;
    Tensor<T> value;
  };

  static Leaf<T>* pack_of(const Tensor<T>& x) {
    const Leaf<T>* leaf = leaf_of(x);
    return leaf ? leaf->pack_leaf() : nullptr;
  }
  void capture(Node<T>* node) {
    if (std::exchange(node->captured, true)) return;
    captured_.push_back({node, {}});
  }
  Tensor<T> value_at(const Node<T>* node) {
    for (Captured& c : captured_)
      if (c.node == node) return c.value;
    return {};
  }

  void open_product(const Node<T>& node, Cotangent<T>& g, const Tensor<T>& matrix) {
    const Index columns = matrix.shape()[0], width = matrix.shape()[1], rows = node.shape.size() / std::max<Index>(1, width);
    g.value = detail::segment_products<T>(rows, width, {g.value.data(), columns, 1}, matrix.data(), g.labels, node.shape);
    g.labels = detail::as_rows(g.labels);
  }
  /// The matrix that waits for the cotangent of a node; undefined where none does.
  Tensor<T> take_waiting(const Node<T>& node) {
    for (Waiting& w : waiting_)
      if (w.node == &node) {
        Tensor<T> matrix = std::move(w.matrix);
        w = std::move(waiting_.back());
        waiting_.pop_back();
        return matrix;
      }
    return {};
  }

  void arrive(Node<T>& node, Tensor<T> g, const Labels& labels, bool product = false) {
    if (!waiting_.empty() && !product)  // a second cotangent: the first one cannot stay in factors
      if (const Tensor<T> matrix = take_waiting(node); matrix.defined()) open_product(node, *node.pending, matrix);
    if (node.leaf && !node.captured) {
      if (options_.leaves) to_leaf(static_cast<Leaf<T>&>(node), std::move(g), labels);
      return;
    }
    if (Cotangent<T>* first = node.pending) {
      const bool united = detail::unite(first->labels, labels, options_.separate);
      if (!options_.separate || united) {
        if (!united) first->labels = {};
        return add(first->value, g);
      }
    }
    auto* c = new (detail::take_block(detail::cotangent_class<T>)) Cotangent<T>{std::move(g), labels, node.pending};
    if (!node.pending) push(&node);
    node.pending = c;
  }

  void add(Tensor<T>& sum, Tensor<T>& g) {
    if (options_.record) {
      sum = add_same(sum, g);
      return;
    }
    if (!sum.sole()) std::swap(sum, g);  // a + b == b + a, bit for bit
    if (!sum.sole()) sum = sum.clone();
    kernels::add_to(g.size(), sum.raw(), g.data());
  }

  static bool is_of_a_task(const Node<T>& node) {
    for (int i = 0; i < node.inputs; ++i)
      if (const Node<T>* x = node.in[i].get(); x && x->leaf)
        if (static_cast<const Leaf<T>*>(x)->owner.kind == Owner::Kind::task) return true;
    return false;
  }

  void visit(Node<T>& node, Cotangent<T>* list) {
    const Guard guard{list};
    if (!waiting_.empty()) factor_ = take_waiting(node);
    if (list->next) detail::merge(*list);
    if (node.captured) keep(node, list->value);
    if (node.leaf) {
      if (options_.leaves) to_leaf(static_cast<Leaf<T>&>(node), std::move(list->value), list->labels);
      return;
    }
    if (node.consumed)
      fail("backward: the graph of ", node.type->name, ' ', node.shape,
           " has been used by a backward pass already; pass {.retain_graph = true} to the first one");
    Cotangent<T>& g = *list;
    if (g.labels.diagonal() && !node.type->keeps_diagonal) open_diagonal(g);
    if (g.labels.rows() && !node.type->rows_together)
      each_row(node, g);
    else
      node.type->vjp(*this, node, g);
    if (factor_.defined()) factor_ = {};
    detail::notice(node.type->name, detail::Listener::Phase::backward, [&] {
      const Index rows = g.labels.rows() ? g.labels.count() : 1;
      return static_cast<double>(rows) * detail::bytes_of<T>(node.shape);
    });
    if (!options_.retain) {
      node.type->release(node);
      node.consumed = true;
    }
  }

  bool reaches(const Leaf<T>& leaf) const { return !leaf.frozen && (options_.own || leaf.owner.kind != Owner::Kind::task); }
  void to_leaf(Leaf<T>& leaf, Tensor<T> g, const Labels& labels) {
    if (!reaches(leaf)) return;
    if (options_.separate && labels.rows()) return sink_->rows(leaf, std::move(g), labels);
    if (options_.separate && labels.diagonal() && (leaf.parts.empty() || leaf.shape.rank() != 1)) {
      Cotangent<T> c{std::move(g), labels};
      open_diagonal(c);
      return sink_->rows(leaf, std::move(c.value), c.labels);
    }
    const bool has = leaf.open_grad(labels);
    if (!has && !leaf.pack && leaf.parts.empty() && g.sole() && g.offset() == 0) {
      leaf.grad = std::move(g);  // the cotangent becomes the gradient
      return;
    }
    Tensor<T> grad = leaf.grad_view();
    if (has) kernels::add_to(g.size(), grad.raw(), g.data());
    else std::copy_n(g.data(), g.size(), grad.raw());
  }

  void keep(Node<T>& node, const Tensor<T>& value) {
    for (Captured& c : captured_)
      if (c.node == &node) c.value = value;
  }

  /// For a rule that does not know of diagonal cotangents. In a sweep that sums the tasks the label is dropped instead.
  void open_diagonal(Cotangent<T>& c) const {
    if (options_.separate) detail::open_rows(c);
    else c.labels = {};
  }

  void each_row(Node<T>& node, Cotangent<T>& g) {
    const Shape shape = g.value.shape().part(1, g.value.rank());
    for (Index r = 0; r < g.labels.count(); ++r) {
      Cotangent<T> one{g.value.view(shape, r * shape.size()), {}};
      row_ = Labels::row(g.labels[r].task);
      node.type->vjp(*this, node, one);
    }
    row_ = {};
  }

  struct Earlier {
    bool operator()(const Node<T>* a, const Node<T>* b) const { return a->sequence < b->sequence; }
  };
  void push(Node<T>* node) {
    heap_.push_back(node);
    if (heap_.size() > 1) std::push_heap(heap_.begin(), heap_.end(), Earlier{});
  }
  Node<T>* pop() {
    if (heap_.size() > 1) std::pop_heap(heap_.begin(), heap_.end(), Earlier{});
    Node<T>* node = heap_.back();
    heap_.pop_back();
    return node;
  }

  struct Guard {
    Cotangent<T>* list;
    ~Guard() { detail::drop_list(list); }
  };

  SweepOptions options_;
  LeafSink<T>* sink_;
  bool thread_recording_;
  PoolVector<Node<T>*> heap_;
  PoolVector<Captured> captured_;
  PoolVector<Waiting> waiting_;
  Tensor<T> factor_;
  Labels row_;  // set while a rule is called row by row
};

}  // namespace espalier::inline ESPALIER_ABI
