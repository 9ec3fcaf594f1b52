#pragma once
// Optimizer: the machinery that all optimizers share. A member of the family is a *rule*: its scalars for the n-th
// update of a parameter, and the formula on packs (sgd.hpp is the one to imitate); everything else is here.
//
// Work is done by span. A parameter is a span of its own; the parameters of a pack (many task heads stored as one
// block, see Leaf) are updated in as few spans as possible: one, when a step reached them all. A span is one pass that
// reads and writes value, gradient and moments once. Every parameter has its own count of updates, so a head that is
// first labelled at step 50 starts there as if it were new, and a parameter without a gradient is left alone: no decay
// of its moments, no weight decay, no count. Formulas are elementwise, so neither packing nor threads change a bit.

#include <cmath>

#include "espalier/autograd/node.hpp"
#include "espalier/tensor/fields.hpp"
#include "espalier/tensor/kernels/elementwise.hpp"
#include "espalier/tensor/named.hpp"

namespace espalier::inline ESPALIER_ABI {

namespace kernels {

/// What an element of an update counts for in `parallel_for`: a square root, a division, and up to seven streams.
inline constexpr Index update_work = 16;

struct UpdateSpan {
  template <int Bytes, class T, class Update, class... State>
  ESPALIER_INLINE static void run(Index n, const Update* scalars, T* value, const T* gradient, State*... state) {
    using V = pack<T, Bytes>;
    const Update update = *scalars;  // a copy that no store below can change
    for (Index i = 0; i < n; i += V::size) {
      const Index rest = n - i;
      const bool whole = rest >= V::size;
      const auto load = [&](const T* x) __attribute__((always_inline)) {
        return whole ? V::load(x + i) : V::load(x + i, rest);
      };
      const auto store = [&](const V& v, T* x) __attribute__((always_inline)) {
        if (whole)
          v.store(x + i);
        else
          v.store(x + i, rest);
      };
      const auto lanes = [&](V p, auto... s) __attribute__((always_inline)) {
        update(p, load(gradient), s...);
        store(p, value);
        (store(s, state), ...);
      };
      lanes(load(value), load(state)...);
    }
  }
};

/// One pass over a span: `update(p, g, s...)` changes p (value) and s (state) in place, all of them packs.
template <class T, class Update, class... State>
ESPALIER_INLINE void update_span(Index n, const Update& update, T* value, const T* gradient, State*... state) {
  dispatch<UpdateSpan>(n, &update, value, gradient, state...);
}

}  // namespace kernels

namespace detail {

/// Throws `<optimizer>: <option> is <value>; it must be at least 0`, also for NaN.
inline void require_not_negative(std::string_view optimizer, std::string_view option, double value) {
  if (!(value >= 0)) fail(optimizer, ": ", option, " is ", value, "; it must be at least 0");
}
inline void require_below_one(std::string_view optimizer, std::string_view option, double value) {
  if (!(value >= 0 && value < 1)) fail(optimizer, ": ", option, " is ", value, "; it must be in [0, 1)");
}

/// The leaf of a listed parameter; throws Error for a tensor that is none.
template <class T>
Leaf<T>& listed_leaf(std::string_view who, const Named<Tensor<T>>& item) {
  Leaf<T>* leaf = leaf_of(item.value);
  if (!leaf)
    fail(who, ": '", item.name, "' ", item.value.shape(), " is not a parameter; make it one with parameter(tensor)");
  return *leaf;
}

}  // namespace detail

/// The base of all optimizers; not a polymorphic one. Rule has
///   name, moments                     text for messages; the names of the state tensors, in order
///   Index kept() const                how many of them are kept under the given options
///   Update at(Index step, double lr)  the scalars of a parameter's step-th update, counted from 1
///   static apply(n, update, value, gradient, state, stride)  one span; moment k lies at state + k * stride
template <Differentiable T, class Rule>
class Optimizer {
 public:
  /// Throws Error for an empty list, a tensor that is no parameter, one that is listed twice, two of one name, one
  /// whose values are borrowed memory, and a learning rate that is negative or NaN.
  Optimizer(NamedList<Tensor<T>> parameters, double lr, Rule rule);
  Optimizer(const Optimizer&) = delete;  // a copy would step the same parameters with moments of its own
  Optimizer& operator=(const Optimizer&) = delete;
  Optimizer(Optimizer&&) noexcept = default;
  Optimizer& operator=(Optimizer&&) noexcept = default;

  /// Applies the gradients that have arrived since the last step, and clears them.
  void step();
  /// Clears the gradients without applying them.
  void zero_grad();

  /// Takes on more parameters, for instance of a head that was added to the model: parameters(model) after it lists them all, those
  /// it has already keep their state. Throws Error as the constructor does, and then has taken on none.
  void add(const NamedList<Tensor<T>>& parameters) {
    if (moved()) lay_out();
    NamedList<Tensor<T>> joined = list_;
    for (const Named<Tensor<T>>& item : parameters) {
      const Leaf<T>& leaf = detail::listed_leaf(Rule::name, item);
      bool known = false;
      for (const Named<Tensor<T>>& mine : list_) known |= leaf_of(mine.value) == &leaf;
      if (!known) joined.add(item.name, item.value);
    }
    check_list(joined);
    std::swap(list_, joined);
    try {
      lay_out();
    } catch (...) {
      std::swap(list_, joined);  // the spans refer to the values where they were, and still are
      throw;
    }
  }

  double lr() const { return lr_; }
  /// Throws Error when it is negative or NaN.
  void set_lr(double lr) {
    detail::require_not_negative(Rule::name, "lr", lr);
    lr_ = lr;
  }
  const NamedList<Tensor<T>>& parameters() const { return list_; }

  /// `lr`, and for every parameter, under its name, `step` and the moments by PyTorch's names. Writing them back into
  /// an optimizer of the same options and parameter names resumes it bit for bit.
  /// Throws Error for a value that no optimizer can have, and keeps its own.
  void fields(auto&& visit) {
    if (moved()) lay_out();
    double lr = lr_;
    visit("lr", lr);
    set_lr(lr);
    for (Index i = 0; i < list_.size(); ++i) {
      Record record{*this, i};
      visit(std::string_view(list_.at(i).name), record);
    }
    for (Pack& p : packs_) p.settle();
  }

 private:
  using Update = decltype(std::declval<Rule&>().at(Index{}, double{}));

  /// A parameter with storage of its own.
  struct Single {
    Leaf<T>* leaf;
    Tensor<T>* value;  // in list_
    T* state;
    Index size, stride, count;
  };
  /// The listed parts of a pack. `count` and `listed` have one entry for each of its parts, listed or not.
  struct Pack {
    Leaf<T>* leaf;
    Ref<Node<T>> hold;
    T* state = nullptr;
    Index stride = 0, row = 0;  // row: elements in one row of axis 0
    std::vector<Index> count;   // updates of each part so far
    std::vector<Index> listed;  // its position in list_, or -1
    Index first = -1;           // a listed part
    bool whole = false;         // all parts are listed, and side by side
    bool level = false;         // whole, and all counts are equal

    void settle() {
      level = whole && std::adjacent_find(count.begin(), count.end(), std::not_equal_to<>{}) == count.end();
    }
  };
  /// Where a parameter's state is.
  struct Place {
    Index group = -1, at = 0;     // singles_[at], or part `at` of packs_[group]
    Index start = 0, stride = 0;  // in state_: moment k is at start + k * stride
  };
  /// What `fields` shows of one parameter.
  struct Record {
    Optimizer& optimizer;
    Index index;
    void fields(auto&& visit) {
      Index step = optimizer.count_of(index);
      visit("step", step);
      if (step < 0)
        fail(Rule::name, ": step of '", optimizer.list_.at(index).name, "' is ", step, "; it must be at least 0");
      optimizer.count_of(index) = step;
      for (Index k = 0; k < optimizer.rule_.kept(); ++k) {
        const Tensor<T> moment = optimizer.moment(index, k);
        Tensor<T> shown = moment;
        visit(Rule::moments[static_cast<std::size_t>(k)], shown);
        if (shown.defined() && shown.buffer() == moment.buffer() && shown.data() == moment.data()) continue;
        // The visitor put another tensor in its place: take over the values.
        if (!shown.defined() || !(shown.shape() == moment.shape()))
          fail(Rule::name, ": ", Rule::moments[static_cast<std::size_t>(k)], " of '", optimizer.list_.at(index).name,
               "' is ", shown.shape(), "; the parameter is ", moment.shape());
        std::copy_n(shown.data(), shown.size(), Tensor<T>(moment).raw());
      }
    }
  };
  /// The scalars of the count asked for last: parameters mostly agree on it.
  class Scalars {
   public:
    explicit Scalars(Optimizer& optimizer) : optimizer_(optimizer) {}
    const Update& at(Index count) {
      if (count != count_) {
        update_ = optimizer_.rule_.at(count, optimizer_.lr_);
        count_ = count;
      }
      return update_;
    }

   private:
    Optimizer& optimizer_;
    Index count_ = -1;
    Update update_;
  };

  static void apply(Index n, const Update& update, T* value, const T* gradient, T* state, Index stride) {
    if (n <= kernels::block_size) return Rule::apply(n, update, value, gradient, state, stride);
    parallel_for((n + kernels::block_size - 1) / kernels::block_size, n * kernels::update_work, [&](Index block) {
      const Index start = block * kernels::block_size;
      Rule::apply(std::min(kernels::block_size, n - start), update, value + start, gradient + start, state + start,
                  stride);
    });
  }

  void step_pack(Pack& p, Scalars& scalars);

  /// Clears the gradients of a pack's listed parts, of which `held` hold one; the others belong to another optimizer.
  void clear(Pack& p, Index held);

  static void check_list(const NamedList<Tensor<T>>& list);

  /// A model has put parameters into a pack, or into another one, since the spans were laid out.
  bool moved() const;
  bool moved(const Pack& p) const;
  /// What this step has applied already is cleared, so starting over does the rest.
  __attribute__((noinline, cold)) void lay_out_and_step();

  /// Cuts the parameters into spans and gives each its state; what they had before comes along. When it throws, nothing has
  /// changed.
  void lay_out();

  /// A span over parts writes where the first one says the block is, so all must say the same.
  void check_storage(const Pack& p) const;

  Index& count_of(Index i) {
    const Place& place = places_[static_cast<std::size_t>(i)];
    const auto at = static_cast<std::size_t>(place.at);
    return place.group < 0 ? singles_[at].count : packs_[static_cast<std::size_t>(place.group)].count[at];
  }
  /// The k-th moment of the i-th parameter, a view.
  Tensor<T> moment(Index i, Index k) const {
    const Place& place = places_[static_cast<std::size_t>(i)];
    return state_.view(list_.at(i).value.shape(), place.start + k * place.stride);
  }

  NamedList<Tensor<T>> list_;
  double lr_;
  Rule rule_;
  std::vector<Single> singles_;
  std::vector<Pack> packs_;
  std::vector<Place> places_;  // of each parameter of list_
  Tensor<T> state_;            // all moments
};

template <Differentiable T, class Rule>
Optimizer<T, Rule>::Optimizer(NamedList<Tensor<T>> parameters, double lr, Rule rule)
    : list_(std::move(parameters)), lr_(lr), rule_(std::move(rule)) {
  detail::require_not_negative(Rule::name, "lr", lr_);
  check_list(list_);
  lay_out();
}

template <Differentiable T, class Rule>
void Optimizer<T, Rule>::step() {
  Scalars scalars(*this);
  for (Single& s : singles_) {
    if (s.leaf->pack) return lay_out_and_step();
    if (s.leaf->fresh) continue;
    ++s.count;
    apply(s.size, scalars.at(s.count), s.value->mutate().data(), s.leaf->grad.data(), s.state, s.stride);
    s.leaf->clear_grad();
  }
  for (Pack& p : packs_) {
    if (moved(p)) return lay_out_and_step();
    if (p.leaf->reached > 0) step_pack(p, scalars);
  }
  detail::notice(Rule::name, detail::Listener::Phase::update, [this] {
    double bytes = 0;
    for (const auto& p : list_) bytes += detail::bytes_of<T>(p.value.shape());
    return bytes;
  });
}

template <Differentiable T, class Rule>
void Optimizer<T, Rule>::zero_grad() {
  if (moved()) lay_out();
  for (Single& s : singles_) s.leaf->clear_grad();
  for (Pack& p : packs_) {
    Index held = 0;
    for (std::size_t i = 0; i < p.listed.size(); ++i) held += p.listed[i] >= 0 && !p.leaf->parts[i].fresh;
    clear(p, held);
  }
}

template <Differentiable T, class Rule>
void Optimizer<T, Rule>::step_pack(Pack& p, Scalars& scalars) {
  Leaf<T>& leaf = *p.leaf;
  const auto parts = static_cast<Index>(leaf.parts.size());
  const auto part = [&](Index i) -> typename Leaf<T>::Part& { return leaf.parts[static_cast<std::size_t>(i)]; };
  const auto count = [&](Index i) -> Index& { return p.count[static_cast<std::size_t>(i)]; };
  const auto listed = [&](Index i) { return p.listed[static_cast<std::size_t>(i)]; };
  const auto applied = [&](Index i) { return !part(i).fresh && listed(i) >= 0; };

  Tensor<T>& first = list_.at(listed(p.first)).value;
  T* const value = first.raw() - part(p.first).begin * p.row;
  const T* const gradient = leaf.grad.data();
  Index done = 0;  // parts updated
  for (Index begin = 0; begin < parts && done < leaf.reached;) {
    if (!applied(begin)) {
      ++begin;
      continue;
    }
    // As many neighbours as the step reached and that have the same count.
    Index end = begin + 1;
    if (p.level && leaf.reached == parts)
      end = parts;
    else
      while (end < parts && applied(end) && count(end) == count(begin) && part(end).begin == part(end - 1).end) ++end;
    if (done == 0) first.mutate();  // counts as one update of the whole block
    const Index start = part(begin).begin * p.row, n = part(end - 1).end * p.row - start;
    apply(n, scalars.at(count(begin) + 1), value + start, gradient + start, p.state + start, p.stride);
    for (Index i = begin; i < end; ++i) ++count(i);
    p.level = p.whole && end - begin == parts;
    done += end - begin;
    begin = end;
  }
  clear(p, done);
}

template <Differentiable T, class Rule>
void Optimizer<T, Rule>::clear(Pack& p, Index held) {
  if (held == p.leaf->reached) return p.leaf->clear_grad();
  for (std::size_t i = 0; held > 0; ++i)
    if (p.listed[i] >= 0 && !p.leaf->parts[i].fresh) {
      leaf_of(list_.at(p.listed[i]).value)->clear_grad();
      --held;
    }
}

template <Differentiable T, class Rule>
void Optimizer<T, Rule>::check_list(const NamedList<Tensor<T>>& list) {
  if (list.empty()) fail(Rule::name, ": the parameter list is empty; give it parameters(model)");
  std::vector<std::uint64_t> leaves;
  for (const Named<Tensor<T>>& item : list) {
    leaves.push_back(detail::key_of(&detail::listed_leaf(Rule::name, item)));
    if (item.value.buffer()->borrowed)
      fail(Rule::name, ": '", item.name, "' ", item.value.shape(),
           " is a read-only view of borrowed memory; clone it before making it a parameter");
  }
  const std::vector<std::size_t> first = detail::first_places(leaves);
  for (std::size_t i = 0; i < first.size(); ++i)
    if (first[i] != i)
      fail(Rule::name, ": '", list.at(static_cast<Index>(first[i])).name, "' and '", list.at(static_cast<Index>(i)).name,
           "' are the same parameter; list it once");
  if (const std::string* twice = detail::repeated_name(list))
    fail(Rule::name, ": two parameters have the name '", *twice, "'; names must differ");
}

}  // namespace espalier::inline ESPALIER_ABI

#include "espalier/optim/optimizer_layout.hpp"
