#pragma once
// Pass: what a recording call carries besides its inputs.
//
// `model(inputs)` is inference; `model(inputs, pass)` records and trains: dropout draws, batch norm uses the batch.
// There is no hidden training flag. The Pass holds the random key (seed, stream, step and the path of the module that
// draws, so that adding a layer elsewhere shifts nobody's numbers) and collects updates of buffers such as running
// statistics, which take effect when the Pass ends: on `commit()` or, at the latest, in its destructor. `discard()` drops
// them (an evaluation that must leave no trace); so does leaving by an exception. Numbers that a module notes on the way, such as
// what its gates do, are handed on by the model (Outputs::note).

#include <exception>

#include "espalier/autograd/engine_ops.hpp"

namespace espalier::inline ESPALIER_ABI {

class Pass {
 public:
  /// A pass of the given step: the same (rng, step) draws the same numbers. The generator does not advance.
  explicit Pass(const Rng& rng, std::uint64_t step = 0) : rng_(rng), step_(step), exceptions_(std::uncaught_exceptions()) {
    detail::notice({}, detail::Listener::Phase::outside, [] { return 0.0; });  // what came before was no operation
  }
  /// The same for a step counted by an int or an Index. Throws Error for a negative one.
  template <std::signed_integral Step>
  Pass(const Rng& rng, Step step) : Pass(rng, checked(step)) {}
  Pass(const Pass&) = delete;
  Pass& operator=(const Pass&) = delete;
  ~Pass() {
    if (std::uncaught_exceptions() == exceptions_) commit();
  }

  std::uint64_t step() const { return step_; }
  /// The random numbers of the module that is running: a function of seed, stream, step, its path, and how often it has
  /// asked in this pass, so that a layer called twice, or two layers of a hand-written module, draw apart.
  Draws draws() {
    for (auto& [path, times] : drawn_)
      if (path == path_) return rng_.draws(path_ ^ detail::mix(++times), step_);
    drawn_.push_back({path_, 0});
    return rng_.draws(path_, step_);
  }

  /// Enters a named part of the model for as long as it lives.
  class Scope {
   public:
    Scope(Pass& pass, std::uint64_t name_hash) : pass_(pass), outer_(pass.path_) {
      pass.path_ = detail::mix(outer_ ^ name_hash);
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
    ~Scope() { pass_.path_ = outer_; }

   private:
    Pass& pass_;
    std::uint64_t outer_;
  };

  /// At the end of the pass: buffer = (1 - momentum) buffer + momentum value; a frozen buffer stays. Throws Error when that cannot
  /// be done.
  template <Differentiable T>
  void update(const Tensor<T>& buffer, const Tensor<T>& value, double momentum) {
    require(buffer, "Pass", "buffer");
    require(value, "Pass", "value");
    if (buffer.size() != value.size())
      fail("Pass: the buffer is ", buffer.shape(), ", its new value ", value.shape(),
           "; they must have as many elements");
    if (buffer.buffer()->borrowed)
      fail("Pass: the buffer ", buffer.shape(), " is a read-only view of borrowed memory; clone it first");
    if (!buffer.buffer()->frozen) updates<T>().push_back({buffer, value.detach(), momentum});
  }
  /// At the end of the pass: counter + 1.
  void increment(const Tensor<Index>& counter) {
    if (!counter.buffer()->frozen) counters_.push_back(counter);
  }

  /// A number for whoever diagnoses, and all of them so far, which are forgotten then.
  void note(double number) { notes_.push_back(number); }
  PoolVector<double> take_notes() { return std::exchange(notes_, {}); }
  template <class Lazy = void>
  void commit();
  void discard() {
    updates_float_.clear();
    updates_double_.clear();
    counters_.clear();
  }

 private:
  template <class T>
  struct Update {
    Tensor<T> buffer, value;
    double momentum;
  };
  template <class T>
  auto& updates() {
    if constexpr (std::same_as<T, float>) return updates_float_;
    else return updates_double_;
  }
  template <class T>
  static void apply(PoolVector<Update<T>>& updates) {
    for (Update<T>& u : updates) {
      const std::span<T> buffer = u.buffer.mutate();
      const T keep = static_cast<T>(1 - u.momentum), take = static_cast<T>(u.momentum);
      for (std::size_t i = 0; i < buffer.size(); ++i) buffer[i] = keep * buffer[i] + take * u.value.data()[i];
    }
  }

  static std::uint64_t checked(Index step) {
    if (step < 0) fail("Pass: the step is ", step, "; it must not be negative");
    return static_cast<std::uint64_t>(step);
  }

  Rng rng_;
  std::uint64_t step_, path_ = 0;
  int exceptions_;
  PoolVector<std::pair<std::uint64_t, std::uint64_t>> drawn_;  // paths that have drawn, and how often since
  PoolVector<Update<float>> updates_float_;
  PoolVector<Update<double>> updates_double_;
  PoolVector<Tensor<Index>> counters_;
  PoolVector<double> notes_;
};

template <class Lazy>
void Pass::commit() {
  apply(updates_float_);
  apply(updates_double_);
  for (Tensor<Index>& counter : counters_) ++counter.mutate()[0];
  discard();
}

}  // namespace espalier::inline ESPALIER_ABI
