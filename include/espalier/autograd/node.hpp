#pragma once
// The graph: nodes, leaves, and the labelled cotangents that travel along it.
//
// A node belongs to one recorded value. It holds its inputs' nodes and what its derivative rule saved; the death of a graph
// never recurses. A leaf is a parameter: it owns a gradient. A *pack* is a leaf whose parts are parameters of their own
// (the weights of many task heads stored as one matrix): its gradient is written at once, each part knows whether it was
// reached.
//
// Cotangents carry labels: `rows` (one leading row per task) or `diagonal` (the task axis is an axis of the value itself,
// so that K packed heads never grow K dense rows). Labels are why task gradients, Jacobians and Gramians are one sweep.

#include <string>
#include <vector>

#include "espalier/core/pool_vector.hpp"
#include "espalier/tensor/tensor.hpp"

namespace espalier::inline ESPALIER_ABI {

template <class T>
class Sweep;

/// One task's place on a labelled cotangent: row number, or the segment [begin, end) of the diagonal axis. Diagonal labels
/// are in the order of the axis, and the cotangent is 0 outside their segments.
struct Label {
  Index task = 0, begin = 0, end = 0;
};

/// Which tasks a cotangent belongs to; empty for the plain one of an ordinary backward pass.
class Labels {
 public:
  Labels() = default;
  Labels(Index count, bool diagonal)
      : items_(make_buffer(static_cast<std::size_t>(count) * sizeof(Label))), count_(count), diagonal_(diagonal) {
    for (Label* label = begin(); label != end(); ++label) ::new (static_cast<void*>(label)) Label;
  }
  static Labels row(Index task) {
    Labels labels(1, false);
    *labels.begin() = {task, 0, 1};
    return labels;
  }

  Index count() const { return count_; }
  /// The task axis is the value's own last axis (axis 0 of a packed weight or bias).
  bool diagonal() const { return diagonal_; }
  /// The cotangent has one leading row per task.
  bool rows() const { return count_ > 0 && !diagonal_; }
  explicit operator bool() const { return count_ > 0; }
  Label* begin() const { return reinterpret_cast<Label*>(items_->data); }
  Label* end() const { return begin() + count_; }
  const Label& operator[](Index i) const { return begin()[i]; }
  /// Equal tasks in equal order; identity of the storage decides most cases.
  bool operator==(const Labels& other) const {
    if (count_ != other.count_ || diagonal_ != other.diagonal_) return false;
    if (count_ == 0 || items_ == other.items_) return true;
    return std::equal(begin(), end(), other.begin(),
                      [](const Label& a, const Label& b) { return a.task == b.task && a.begin == b.begin; });
  }

 private:
  Ref<Buffer> items_;
  Index count_ = 0;
  bool diagonal_ = false;
};

/// A gradient on its way: [rows..., shape of the node], in a list while it waits for others to arrive.
template <class T>
struct Cotangent {
  Tensor<T> value;
  Labels labels;
  Cotangent* next = nullptr;

  int lead() const { return labels.rows() ? 1 : 0; }
};

/// What the engine knows of an operation.
template <class T>
struct NodeType {
  std::string_view name;
  void (*vjp)(Sweep<T>&, Node<T>&, Cotangent<T>&);
  void (*release)(Node<T>&);   // frees what the rule saved
  void (*finish)(Node<T>&);    // destroys the node's own members
  bool rows_together;          // the rule takes a leading task axis; otherwise the engine loops over the rows
  bool keeps_diagonal;         // the rule takes diagonal labels; otherwise the engine opens them into rows
  bool takes_products = false;  // the rule takes a diagonal cotangent times a matrix (Sweep::factor) as well
};

namespace detail {
template <class T>
void bury(NodeHeader* header);
}  // namespace detail

template <class T>
struct Node {
  NodeHeader header{{}, &detail::bury<T>};  // first, where tensors look for it
  unsigned size_class = 0;
  int inputs = 0;
  bool leaf = false;
  bool consumed = false;  // a backward pass has used it up
  bool captured = false;  // `grad` wants the cotangent that arrives here
  bool frozen = false;    // a leaf that takes no gradient from backward passes
  std::uint64_t sequence = 0;
  const NodeType<T>* type = nullptr;
  Ref<Node>* in = nullptr;
  Cotangent<T>* pending = nullptr;
  Node* next_dead = nullptr;
  Shape shape;
};

/// Nodes that die while another one is dying queue up: no recursion however long the chain.
template <class T>
void detail::bury(NodeHeader* header) {
  static_assert(std::is_standard_layout_v<Node<T>>, "a node and its header have one address");
  auto* node = reinterpret_cast<Node<T>*>(header);
  auto& state = detail::thread_state;
  node->next_dead = static_cast<Node<T>*>(state.dead_nodes);
  state.dead_nodes = node;
  if (state.draining_nodes) return;
  state.draining_nodes = true;
  while (auto* dead = static_cast<Node<T>*>(state.dead_nodes)) {
    state.dead_nodes = dead->next_dead;
    const unsigned c = dead->size_class;
    dead->type->finish(*dead);
    detail::give_block(dead, c);
  }
  state.draining_nodes = false;
}

/// While one lives, operations record nothing: values only.
class NoGrad {
 public:
  NoGrad() { detail::thread_state.recording = false; }
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;
  ~NoGrad() { detail::thread_state.recording = was_; }

 private:
  bool was_ = detail::thread_state.recording;
};

/// A tensor that a rule needs again: a value, a condition, indices. Remembers the version, so that a value changed in place since
/// is refused.
template <class T>
class Saved {
 public:
  Saved() = default;
  explicit Saved(const Tensor<T>& tensor) : tensor_(tensor), version_(tensor.version()) {}
  /// The node's own output: kept without the node, which would otherwise own itself.
  static Saved output(const Tensor<T>& tensor) { return Saved(tensor.detach()); }

  template <class U>
  const Tensor<T>& get(const Node<U>& node) const {
    if (tensor_.version() != version_)
      fail("backward: a value ", tensor_.shape(), " that ", node.type->name,
           " needs was changed in place after the forward pass (by an optimizer step or mutate()); ",
           "run the forward pass again before backward");
    return tensor_;
  }
  /// The output with its node again, for a backward pass that is itself recorded.
  Tensor<T> get_output(Node<T>& node) const {
    Tensor<T> y = get(node);
    y.set_node(Ref<Node<T>>(&node));
    return y;
  }

 private:
  Tensor<T> tensor_;
  std::uint32_t version_ = 0;
};

namespace detail {

/// A node with N inputs and what its rule saved: `Rule` has `name`, `vjp(Sweep&, Node&, Cotangent&)` and, where they differ
/// from the defaults (false), `rows_together`, `keeps_diagonal` and `takes_products`.
template <class T, class Rule, std::size_t N>
struct OpNode : Node<T> {
  std::conditional_t<N == 0, PoolVector<Ref<Node<T>>>, std::array<Ref<Node<T>>, N>> ins;
  union {
    Rule rule;
  };
  explicit OpNode(Rule r) : rule(std::move(r)) {}
  ~OpNode() {
    if (!this->consumed) rule.~Rule();
  }

  static constexpr bool rows_together = [] {
    if constexpr (requires { Rule::rows_together; }) return bool{Rule::rows_together};
    else return false;
  }();
  static constexpr bool keeps_diagonal = [] {
    if constexpr (requires { Rule::keeps_diagonal; }) return bool{Rule::keeps_diagonal};
    else return false;
  }();
  static constexpr bool takes_products = [] {
    if constexpr (requires { Rule::takes_products; }) return bool{Rule::takes_products};
    else return false;
  }();
  static void vjp(Sweep<T>& sweep, Node<T>& node, Cotangent<T>& g) {
    static_cast<OpNode&>(node).rule.vjp(sweep, node, g);
  }
  static void release(Node<T>& node) { static_cast<OpNode&>(node).rule.~Rule(); }
  static void finish(Node<T>& node) { static_cast<OpNode&>(node).~OpNode(); }
  static constexpr NodeType<T> node_type{Rule::name, &vjp, &release, &finish, rows_together, keeps_diagonal, takes_products};
};

template <class T, class NodeKind, class... Args>
NodeKind* make_node(Args&&... args) {
  constexpr unsigned c = size_class(sizeof(NodeKind));
  auto* node = new (take_block(c)) NodeKind(std::forward<Args>(args)...);
  node->size_class = c;
  return node;
}

/// Hears on its thread what has just been done (autograd/profiler.hpp). While nobody listens this costs a test of a pointer.
struct Listener {
  enum class Phase { outside, forward, backward, update };  // outside: what was done belongs to no operation
  void (*hear)(Listener& self, std::string_view name, Phase phase, double bytes);
};
[[gnu::cold, gnu::noinline]] inline void tell_listener(std::string_view name, Listener::Phase phase, double bytes) {
  auto& listener = *static_cast<Listener*>(thread_state.listener);
  listener.hear(listener, name, phase, bytes);
}
/// `bytes()` are those of the results; asked for only when somebody listens.
template <class Bytes>
ESPALIER_INLINE void notice(std::string_view name, Listener::Phase phase, const Bytes& bytes) {
  if (thread_state.listener) [[unlikely]] tell_listener(name, phase, bytes());
}
template <class T>
double bytes_of(const Shape& shape) {
  return static_cast<double>(shape.size()) * static_cast<double>(sizeof(T));
}

/// Numbers a node later than everything this thread has made and later than its inputs, which another thread may have made.
template <class T>
void number_node(Node<T>& node) {
  std::uint64_t& last = thread_state.sequence;
  for (int i = 0; i < node.inputs; ++i)
    if (node.in[i] && node.in[i]->sequence > last) last = node.in[i]->sequence;
  node.sequence = ++last;
}

}  // namespace detail

/// Whether an operation on these tensors must be recorded.
template <class T, class... X>
bool recorded(const Tensor<T>& x, const X&... more) {
  if constexpr (Differentiable<T>) {
    if (detail::thread_state.recording && x.node()) return true;
    if constexpr (sizeof...(more) > 0) return recorded(more...);
  }
  return false;
}

/// Makes `y` the recorded result of `rule` on the inputs, under a type of the caller's: one rule may serve many operations.
template <class Rule, class T, class... X>
void record_as(const NodeType<T>& type, Tensor<T>& y, Rule rule, const Tensor<T>& x, const X&... more) {
  constexpr std::size_t n = 1 + sizeof...(more);
  using Kind = detail::OpNode<T, Rule, n>;
  Kind* node = detail::make_node<T, Kind>(std::move(rule));
  node->type = &type;
  node->inputs = static_cast<int>(n);
  node->in = node->ins.data();
  node->shape = y.shape();
  node->ins = {x.node(), more.node()...};
  detail::number_node(*node);
  y.set_node(Ref<Node<T>>(node));
  detail::notice(type.name, detail::Listener::Phase::forward, [&] { return detail::bytes_of<T>(node->shape); });
}
/// Makes `y` the recorded result of `rule` on the inputs. Call it only where `recorded(inputs...)`.
template <class Rule, class T, class... X>
void record(Tensor<T>& y, Rule rule, const Tensor<T>& x, const X&... more) {
  record_as(detail::OpNode<T, Rule, 1 + sizeof...(more)>::node_type, y, std::move(rule), x, more...);
}

/// The same for a number of inputs known at run time.
template <class Rule, class T>
void record_many(Tensor<T>& y, Rule rule, std::span<const Tensor<T>> inputs) {
  using Kind = detail::OpNode<T, Rule, 0>;
  Kind* node = detail::make_node<T, Kind>(std::move(rule));
  node->type = &Kind::node_type;
  node->inputs = static_cast<int>(inputs.size());
  node->ins.reserve(inputs.size());
  for (const Tensor<T>& x : inputs) node->ins.push_back(x.node());
  node->in = node->ins.data();
  node->shape = y.shape();
  detail::number_node(*node);
  y.set_node(Ref<Node<T>>(node));
  detail::notice(Rule::name, detail::Listener::Phase::forward, [&] { return detail::bytes_of<T>(node->shape); });
}

// ---- leaves ------------------------------------------------------------------------------------------------------

/// Whose a parameter is. Assemblies set it; `unknown` is decided by the graph: what two or more losses reach is shared.
struct Owner {
  enum class Kind : unsigned char { unknown, shared, task, modality };
  Kind kind = Kind::unknown;
  std::string name;  // of the task or modality

  std::string text() const {
    switch (kind) {
      case Kind::shared: return "shared";
      case Kind::task: return "task " + name;
      case Kind::modality: return "modality " + name;
      default: return "unknown";
    }
  }
};

/// A parameter's node: its gradient, and where it is stored when it is part of a pack.
template <class T>
struct Leaf : Node<T> {
  /// A part of a pack: rows [begin, end) of its axis 0.
  struct Part {
    Index begin, end;
    bool fresh;
    bool frozen = false;  // stays fresh, whatever is written to its rows
  };

  Tensor<T> grad;     // written on first use
  bool fresh = true;  // no gradient has arrived since the last clear: `grad` holds nothing
  Owner owner;
  std::string name;         // its path in the model, once `parameters(model)` has named it
  Ref<Node<T>> pack;        // the pack this leaf is a part of
  Index part = 0;           // which one
  std::vector<Part> parts;  // a pack's
  Index reached = 0;        // how many of them hold a gradient
  Index slot = -1;          // its place with a LeafSink, while one is at work

  static void finish(Node<T>& node) { static_cast<Leaf&>(node).~Leaf(); }
  static void none(Node<T>&) {}
  static void no_vjp(Sweep<T>&, Node<T>&, Cotangent<T>&) {}
  static constexpr NodeType<T> leaf_type{"parameter", &no_vjp, &none, &finish, true, false};

  Leaf* pack_leaf() const { return static_cast<Leaf*>(pack.get()); }
  Part& my_part() const { return pack_leaf()->parts[static_cast<std::size_t>(part)]; }
  bool has_grad() const { return pack ? !my_part().fresh : !fresh; }

  /// The gradient's storage, whether or not something has been written to it.
  Tensor<T> grad_view() {
    if (pack) {
      const Index row = this->shape.span(1, this->shape.rank());
      return pack_leaf()->grad_view().view(this->shape, my_part().begin * row);
    }
    if (!grad.defined()) grad = Tensor<T>::empty(this->shape);
    return grad;
  }
  void clear_grad() {
    if (pack) {
      if (std::exchange(my_part().fresh, true)) return;
      Leaf& whole = *pack_leaf();
      if (--whole.reached == 0) whole.fresh = true;
      else grad_view().fill(T(0));  // later writers add to the whole
      return;
    }
    fresh = true;
    if (reached > 0)
      for (Part& p : parts) p.fresh = true;
    reached = 0;
  }
  /// Whether it takes no gradient: what it holds is dropped, and it stays as it is through any step. A pack takes none when none
  /// of its parts does.
  void set_frozen(bool on) {
    if (on && has_grad()) clear_grad();
    this->frozen = on;
    if (!pack) return;
    Leaf& whole = *pack_leaf();
    if (!on && my_part().frozen && !whole.fresh && !whole.frozen) grad_view().fill(T(0));  // was written to, and did not count
    my_part().frozen = on;
    whole.frozen = true;
    for (const Part& p : whole.parts) whole.frozen &= p.frozen;
    if (whole.reached == 0) whole.fresh = true;
  }
  /// Opens the gradient for writing: marks the parts that `labels` name (all without labels) as reached and returns whether
  /// the caller must add to what is there instead of overwriting it.
  bool open_grad(const Labels& labels) {
    if (pack) {
      Leaf& whole = *pack_leaf();
      if (std::exchange(whole.fresh, false)) whole.grad_view().fill(T(0));
      whole.reach(my_part());
      return true;
    }
    grad_view();
    if (!labels || parts.empty()) {
      if (reached < static_cast<Index>(parts.size()))
        for (Part& p : parts) reach(p);
    } else {
      auto p = parts.begin();
      for (const Label& label : labels) {  // both are in the order of the axis
        while (p != parts.end() && p->begin < label.begin) ++p;
        if (p != parts.end() && p->begin == label.begin) reach(*p);
      }
    }
    return !std::exchange(fresh, false);
  }

 private:
  void reach(Part& p) {
    if (!p.frozen && std::exchange(p.fresh, false)) ++reached;
  }
};

/// The leaf behind a parameter; null for anything else.
template <class T>
Leaf<T>* leaf_of(const Tensor<T>& tensor) {
  return tensor.node() && tensor.node()->leaf ? static_cast<Leaf<T>*>(tensor.node().get()) : nullptr;
}

/// Makes a tensor a parameter: a leaf of the graph that receives a gradient. Handles copied from it share the leaf.
template <Differentiable T>
Tensor<T> parameter(Tensor<T> value) {
  if (!value.defined()) fail("parameter: the tensor is undefined");
  auto* leaf = detail::make_node<T, Leaf<T>>();
  leaf->type = &Leaf<T>::leaf_type;
  leaf->leaf = true;
  leaf->shape = value.shape();
  value = value.detach();
  value.set_node(Ref<Node<T>>(leaf));
  return value;
}

/// The gradient that backward passes have added up in a parameter since the optimizer last cleared it; an undefined tensor
/// when none has arrived. Throws Error for a tensor that is no parameter.
template <Differentiable T>
Tensor<T> gradient(const Tensor<T>& parameter) {
  Leaf<T>* leaf = leaf_of(parameter);
  if (!leaf) fail("gradient: the tensor ", parameter.shape(), " is not a parameter; make it one with parameter(tensor)");
  return leaf->has_grad() ? leaf->grad_view() : Tensor<T>();
}

/// Forgets a parameter's gradient.
template <Differentiable T>
void clear_gradient(const Tensor<T>& parameter) {
  if (Leaf<T>* leaf = leaf_of(parameter)) leaf->clear_grad();
}

}  // namespace espalier::inline ESPALIER_ABI
