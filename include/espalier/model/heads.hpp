#pragma once
// Heads: named modules on one trunk, the linear ones stored and run as one.
//
// Linear heads on the same features are packed at construction: their weights become rows of one matrix, so that 64 heads cost
// what one wide head costs. Each head keeps its tensors (views of the pack), names, checkpoints and gradient; a head whose
// tensors are used elsewhere too (tied) stays as it is.

#include "espalier/nn/sequential.hpp"
#include "espalier/ops/columns.hpp"

namespace espalier::inline ESPALIER_ABI {

namespace detail {
/// Throws Error for a part of a task that comes later with a parameter that is somebody's already.
template <class T>
void check_new(std::string_view task, std::string_view what, AnyModule<T>& part) {
  each_tensor(part, [&](const std::string& path, auto& tensor) {
    if constexpr (std::same_as<std::remove_cvref_t<decltype(tensor)>, Tensor<T>>)
      if (const Leaf<T>* leaf = leaf_of(tensor); leaf && leaf->owner.kind != Owner::Kind::unknown)
        fail("model: the ", what, " of task '", task, "' has a parameter, ", path, ", of ", leaf->owner.text(), "; a ", what,
             " that comes later needs its own");
  });
}

/// Tags the parameters of every head with its name; those that several heads have in common are shared.
template <class T>
void own_heads(std::vector<Named<AnyModule<T>>>& heads) {
  std::vector<std::pair<Leaf<T>*, std::size_t>> uses;
  std::vector<std::uint64_t> keys;
  for (std::size_t i = 0; i < heads.size(); ++i)
    each_tensor(heads[i].value, [&](const std::string&, auto& tensor) {
      if constexpr (std::same_as<std::remove_cvref_t<decltype(tensor)>, Tensor<T>>)
        if (Leaf<T>* leaf = leaf_of(tensor)) {
          uses.push_back({leaf, i});
          keys.push_back(key_of(leaf));
        }
    });
  const std::vector<std::size_t> first = first_places(keys);
  for (std::size_t i = 0; i < uses.size(); ++i) {
    auto& [leaf, head] = uses[i];
    if (first[i] == i) leaf->owner = {Owner::Kind::task, heads[head].name};
    else if (uses[first[i]].second != head) leaf->owner = {Owner::Kind::shared, ""};
  }
}
}  // namespace detail

template <Differentiable T = float>
class Heads {
 public:
  Heads() = default;
  /// `what` names the kind of head in messages ("task", "modality"). Throws Error for no head, an empty one, or equal names.
  /// To be followed by `pack`, once everything else in the model has been tagged with its owner.
  Heads(std::vector<Named<AnyModule<T>>> heads, std::string_view what);

  Index size() const { return static_cast<Index>(heads_.size()); }
  const Shared<OutputLayout>& layout() const { return layout_; }
  AnyModule<T>& operator[](Index i) { return heads_[static_cast<std::size_t>(i)].value; }
  /// Of the packed heads: [columns, in] and [columns]; undefined when none is.
  const Tensor<T>& packed_weight() const { return weight_; }
  const Tensor<T>& packed_bias() const { return bias_; }

  /// All heads on one tensor of features [batch, width].
  Outputs<T> operator()(const Tensor<T>& features, Pass* pass) const;
  /// One head alone.
  Tensor<T> one(std::size_t i, const Tensor<T>& features, Pass* pass) const;

  void fields(auto&& visit) {
    for (auto& head : heads_) visit(head.name, head.value);
    if (!holds_members()) pack();
  }
  /// One more head, for a task that comes later: it runs on its own, so that no bit of the others' outputs changes. Throws Error
  /// for an empty one, a name that is taken, and for a parameter that is somebody's already.
  void add(std::string name, AnyModule<T> head);
  /// Packs the linear heads whose parameters are theirs alone.
  void pack();

 private:
  bool added(std::size_t i) const { return i + added_ >= heads_.size(); }
  static bool packable(const Linear<T>& head);
  /// Whether the packed heads still are what was packed: a visitor (a deep copy, say) or a user may have replaced them.
  bool holds_members();
  /// Moves the tensors' storage into one block; every handle of theirs follows.
  static Tensor<T> pack_tensors(const std::vector<Tensor<T>*>& members, const Shape& shape);

  std::vector<Named<AnyModule<T>>> heads_;
  std::vector<std::uint64_t> hashes_;
  std::vector<std::size_t> separate_;  // heads that run on their own
  std::size_t added_ = 0;              // heads that came later, the last ones
  Tensor<T> weight_, bias_;            // of the packed heads: [columns, in], [columns]
  Shared<OutputLayout> layout_;
};

template <Differentiable T>
Heads<T>::Heads(std::vector<Named<AnyModule<T>>> heads, std::string_view what) : heads_(std::move(heads)) {
  if (heads_.empty()) fail("model: no ", what, " head given; it needs at least one");
  for (const auto& head : heads_)
    if (!head.value) fail("model: the head of ", what, " '", head.name, "' is empty");
  if (const std::string* twice = detail::repeated_name(heads_))
    fail("model: ", what, " '", *twice, "' appears twice; names must differ");
  for (auto& head : heads_) hashes_.push_back(detail::hash_name(head.name));
  detail::own_heads(heads_);
}

template <Differentiable T>
Outputs<T> Heads<T>::operator()(const Tensor<T>& features, Pass* pass) const {
  Tensor<T> block;
  if (weight_.defined()) {
    if (features.rank() != 2 || features.shape()[1] != weight_.shape()[1])
      fail("model: the heads take [batch, ", weight_.shape()[1], "], the trunk gives ", features.shape());
    block = linear(features, weight_, bias_);
  }
  PoolVector<Tensor<T>> separate;
  for (std::size_t i : separate_) separate.push_back(one(i, features, pass));
  return Outputs<T>(layout_, std::move(block), std::move(separate));
}

template <Differentiable T>
Tensor<T> Heads<T>::one(std::size_t i, const Tensor<T>& features, Pass* pass) const {
  if (!pass) return heads_[i].value(features);
  const Pass::Scope scope(*pass, hashes_[i]);
  return heads_[i].value(features, pass);
}

template <Differentiable T>
void Heads<T>::pack() {
  std::vector<Linear<T>*> members;
  OutputLayout layout;
  separate_.clear();
  Index columns = 0;
  for (std::size_t i = 0; i < heads_.size(); ++i) {
    Linear<T>* head = heads_[i].value.template as<Linear<T>>();
    const bool fits = head && !added(i) && packable(*head) && (members.empty() || head->in() == members[0]->in());
    layout.names.push_back(heads_[i].name);
    if (fits) {
      layout.places.push_back({columns, columns + head->out(), -1});
      columns += head->out();
      members.push_back(head);
    } else {
      layout.places.push_back({.separate = static_cast<Index>(separate_.size())});
      separate_.push_back(i);
    }
  }
  layout_ = Shared<OutputLayout>(std::move(layout));
  weight_ = bias_ = {};
  if (members.size() == 1) {  // one head is its own block
    weight_ = members[0]->weight;
    bias_ = members[0]->bias;
  } else if (members.size() > 1) {
    std::vector<Tensor<T>*> weights, biases;
    for (Linear<T>* head : members) {
      weights.push_back(&head->weight);
      biases.push_back(&head->bias);
    }
    weight_ = pack_tensors(weights, {columns, members[0]->in()});
    bias_ = pack_tensors(biases, {columns});
  }
}

template <Differentiable T>
bool Heads<T>::packable(const Linear<T>& head) {
  const auto free = [](const Tensor<T>& t) {
    return t.defined() && leaf_of(t) && leaf_of(t)->owner.kind == Owner::Kind::task && !leaf_of(t)->pack &&
           !t.buffer()->pack && t.offset() == 0 &&
           t.buffer()->bytes == static_cast<std::size_t>(t.size()) * sizeof(T);  // all of it: not borrowed, no view
  };
  return free(head.weight) && free(head.bias);
}

template <Differentiable T>
bool Heads<T>::holds_members() {
  const auto held = [](const Tensor<T>& t, const Tensor<T>& whole) {
    const Leaf<T>* leaf = leaf_of(t);
    return leaf && (t.node() == whole.node() || leaf->pack == whole.node());
  };
  for (std::size_t i = 0; layout_ && i < heads_.size(); ++i) {
    if (!layout_->places[i].packed()) continue;
    const Linear<T>* head = heads_[i].value.template as<Linear<T>>();
    if (!head || !held(head->weight, weight_) || !held(head->bias, bias_)) return false;
  }
  return true;
}

template <Differentiable T>
Tensor<T> Heads<T>::pack_tensors(const std::vector<Tensor<T>*>& members, const Shape& shape) {
  Tensor<T> whole = parameter(Tensor<T>::empty(shape));
  Leaf<T>& leaf = *leaf_of(whole);
  leaf.owner = {Owner::Kind::task, ""};
  const Index row = shape.span(1, shape.rank());
  Index at = 0;
  bool all_frozen = true;
  for (Tensor<T>* member : members) {
    const Index rows = member->shape()[0];
    std::copy_n(member->data(), member->size(), whole.raw() + at * row);
    Buffer& buffer = *member->buffer();
    buffer.data = reinterpret_cast<std::byte*>(whole.raw() + at * row);
    buffer.pack = whole.buffer();
    Leaf<T>& part = *leaf_of(*member);
    part.pack = whole.node();
    part.part = static_cast<Index>(leaf.parts.size());
    part.grad = {};
    part.fresh = true;
    leaf.parts.push_back({at, at + rows, true, part.frozen});
    all_frozen &= part.frozen;
    at += rows;
  }
  leaf.frozen = all_frozen;
  return whole;
}

template <Differentiable T>
void Heads<T>::add(std::string name, AnyModule<T> head) {
  if (!head) fail("model: the head of task '", name, "' is empty");
  for (const auto& known : heads_)
    if (known.name == name) fail("model: task '", name, "' appears twice; names must differ");
  detail::check_new(name, "head", head);
  set_owner<T>(head, {Owner::Kind::task, name});
  OutputLayout layout = *layout_;
  layout.names.push_back(name);
  layout.places.push_back({.separate = static_cast<Index>(separate_.size())});
  separate_.push_back(heads_.size());
  hashes_.push_back(detail::hash_name(name));
  heads_.push_back({std::move(name), std::move(head)});
  ++added_;
  layout_ = Shared<OutputLayout>(std::move(layout));
}


}  // namespace espalier::inline ESPALIER_ABI
