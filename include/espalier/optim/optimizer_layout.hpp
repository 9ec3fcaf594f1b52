#pragma once
// How an Optimizer lays its parameters out: which span each belongs to and where its moments are, again whenever a model
// has put parameters into a pack since. Counts and moments move along, and a layout that fails leaves the one before.

#include "espalier/optim/optimizer.hpp"

namespace espalier::inline ESPALIER_ABI {

template <Differentiable T, class Rule>
bool Optimizer<T, Rule>::moved() const {
  for (const Single& s : singles_)
    if (s.leaf->pack) return true;
  for (const Pack& p : packs_)
    if (moved(p)) return true;
  return false;
}

template <Differentiable T, class Rule>
bool Optimizer<T, Rule>::moved(const Pack& p) const {
  const Leaf<T>* first = leaf_of(list_.at(p.listed[static_cast<std::size_t>(p.first)]).value);
  return first->pack.get() != p.leaf || p.leaf->parts.size() != p.count.size();
}

template <Differentiable T, class Rule>
void Optimizer<T, Rule>::lay_out_and_step() {
  lay_out();
  step();
}

template <Differentiable T, class Rule>
void Optimizer<T, Rule>::lay_out() {
  struct Before {  // comes back unless all goes well
    Optimizer& optimizer;
    std::vector<Place> places = std::move(optimizer.places_);
    std::vector<Single> singles = std::move(optimizer.singles_);
    std::vector<Pack> packs = std::move(optimizer.packs_);
    Tensor<T> state = optimizer.state_;
    bool done = false;
    explicit Before(Optimizer& o) : optimizer(o) {}
    Before(const Before&) = delete;
    Before& operator=(const Before&) = delete;
    ~Before() {
      if (done) return;
      optimizer.places_ = std::move(places);
      optimizer.singles_ = std::move(singles);
      optimizer.packs_ = std::move(packs);
      optimizer.state_ = std::move(state);
    }
  } before(*this);
  places_.assign(static_cast<std::size_t>(list_.size()), {});
  singles_.clear();
  packs_.clear();

  const Index moments = rule_.kept();
  Index used = 0;
  const auto take = [&](Index elements, Index& stride) {
    constexpr Index line = 64 / sizeof(T);  // spans start on a line of the cache
    stride = (elements + line - 1) / line * line;
    return std::exchange(used, used + moments * stride);
  };
  std::vector<Index> pack_start;
  for (Index i = 0; i < list_.size(); ++i) {
    Place& place = places_[static_cast<std::size_t>(i)];
    Leaf<T>& leaf = *leaf_of(list_.at(i).value);
    if (leaf.pack) {
      Leaf<T>& whole = *leaf.pack_leaf();
      place.group = static_cast<Index>(packs_.size()) - 1;  // families of packs alternate: the last few are close
      while (place.group >= 0 && packs_[static_cast<std::size_t>(place.group)].leaf != &whole) --place.group;
      if (place.group < 0) {
        place.group = static_cast<Index>(packs_.size());
        Pack& p = packs_.emplace_back();
        p.leaf = &whole;
        p.hold = leaf.pack;
        p.row = whole.shape.span(1, whole.shape.rank());
        p.count.assign(whole.parts.size(), 0);
        p.listed.assign(whole.parts.size(), -1);
        p.first = leaf.part;
        pack_start.push_back(take(whole.shape.size(), p.stride));
      }
      Pack& p = packs_[static_cast<std::size_t>(place.group)];
      place.at = leaf.part;
      place.stride = p.stride;
      place.start = pack_start[static_cast<std::size_t>(place.group)] + leaf.my_part().begin * p.row;
      p.listed[static_cast<std::size_t>(leaf.part)] = i;
    } else {
      place.at = static_cast<Index>(singles_.size());
      singles_.push_back({&leaf, &list_.at(i).value, nullptr, list_.at(i).value.size(), 0, 0});
      place.start = take(list_.at(i).value.size(), singles_.back().stride);
      place.stride = singles_.back().stride;
    }
  }

  state_ = Tensor<T>::zeros({used});
  for (std::size_t i = 0; i < places_.size(); ++i)
    if (places_[i].group < 0)
      singles_[static_cast<std::size_t>(places_[i].at)].state = state_.raw() + places_[i].start;
  for (std::size_t i = 0; i < packs_.size(); ++i) {
    Pack& p = packs_[i];
    p.state = state_.raw() + pack_start[i];
    const auto& parts = p.leaf->parts;
    p.whole = parts.front().begin == 0 && parts.back().end == p.leaf->shape[0];
    for (std::size_t k = 0; k < parts.size(); ++k)
      p.whole = p.whole && p.listed[k] >= 0 && (k == 0 || parts[k].begin == parts[k - 1].end);
    check_storage(p);
  }
  for (std::size_t i = 0; i < before.places.size(); ++i) {
    const Place& old = before.places[i];
    const auto at = static_cast<std::size_t>(old.at);
    count_of(static_cast<Index>(i)) =
        old.group < 0 ? before.singles[at].count : before.packs[static_cast<std::size_t>(old.group)].count[at];
    for (Index k = 0; k < moments; ++k) {
      Tensor<T> moment = this->moment(static_cast<Index>(i), k);
      std::copy_n(before.state.data() + old.start + k * old.stride, moment.size(), moment.raw());
    }
  }
  for (Pack& p : packs_) p.settle();
  before.done = true;
}

template <Differentiable T, class Rule>
void Optimizer<T, Rule>::check_storage(const Pack& p) const {
  const Tensor<T>& first = list_.at(p.listed[static_cast<std::size_t>(p.first)]).value;
  const T* block = first.data() - p.leaf->parts[static_cast<std::size_t>(p.first)].begin * p.row;
  for (std::size_t k = 0; k < p.listed.size(); ++k)
    if (p.listed[k] >= 0 && list_.at(p.listed[k]).value.data() != block + p.leaf->parts[k].begin * p.row)
      fail(Rule::name, ": '", list_.at(p.listed[k]).name,
           "' is a part of a pack, but its values are stored elsewhere");
}

}  // namespace espalier::inline ESPALIER_ABI
