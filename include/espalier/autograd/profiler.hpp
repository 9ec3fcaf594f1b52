#pragma once
// Profiler: where the time of a training step goes, by operation. Nothing has to be switched on in the model; while no
// profiler lives an operation pays the test of one pointer.
//
//   Profiler profiler;                     // listens on this thread for as long as it lives
//   for (...) { ...; objective.backward(losses); optimizer.step(); }
//   std::puts(profiler.table().c_str());
//
//     operation          pass      count    time [ms]   share   each [us]   results [MB]
//     linear             backward    300       412.07   48.1%    1373.567          78.64
//     ...
//
// The clock runs from event to event: an operation's time is what passed since the one before it was done, so that what is
// around it (dispatch, the objective's bookkeeping, allocation) counts as its own, and the sum is the whole. What passes before
// a Pass begins (loading data, evaluation) is `outside`, and so is what `mark` ends. Only what is recorded is seen: inference is
// outside. `results` are the bytes of the values made, or of the cotangents taken in.
// Included by name: a tool, not a part of a program.

#include <charconv>
#include <chrono>

#include "espalier/autograd/sweep.hpp"

namespace espalier::inline ESPALIER_ABI {

class Profiler : private detail::Listener {
 public:
  using Phase = detail::Listener::Phase;
  /// What one operation did in one direction.
  struct Row {
    std::string name;
    Phase phase = Phase::outside;
    Index count = 0;
    double seconds = 0, bytes = 0;
  };

  /// Begins to listen, in the place of a profiler that this thread has already; that one goes on when this one ends.
  Profiler() : Listener{&Profiler::heard}, before_(detail::thread_state.listener), last_(Clock::now()) {
    detail::thread_state.listener = static_cast<Listener*>(this);
  }
  Profiler(const Profiler&) = delete;
  Profiler& operator=(const Profiler&) = delete;
  ~Profiler() {
    if (detail::thread_state.listener == static_cast<Listener*>(this)) detail::thread_state.listener = before_;
  }

  /// Says what has just been done, by a name of one's own; without one it is `outside`.
  [[gnu::cold]] void mark(std::string_view name = {}) { add(name, Phase::outside, 0); }
  /// Forgets what has been measured.
  [[gnu::cold]] void clear() {
    rows_.clear();
    last_ = Clock::now();
  }

  /// What has been measured: the longest first.
  [[gnu::cold]] std::vector<Row> rows() const {
    std::vector<Row> sorted;
    for (const Index i : detail::sorted_order(rows_.size(), [&](Index a, Index b) { return at(a).seconds > at(b).seconds; }))
      sorted.push_back(at(i));
    return sorted;
  }
  /// The sum of all rows.
  [[gnu::cold]] double seconds() const {
    double sum = 0;
    for (const Row& row : rows_) sum += row.seconds;
    return sum;
  }
  /// The rows as text, one a line, with a heading and the sum; rows beyond `most` are one line together.
  [[gnu::cold]] std::string table(Index most = 30) const {
    std::vector<Row> all = rows();
    Row rest{.name = "others"}, sum{.name = "all"};
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (static_cast<Index>(i) >= most) add_to(rest, all[i]);
      add_to(sum, all[i]);
    }
    if (static_cast<Index>(all.size()) > most) {
      all.resize(static_cast<std::size_t>(std::max<Index>(0, most)));
      all.push_back(rest);
    }
    all.push_back(sum);
    std::size_t width = 9;
    for (const Row& row : all) width = std::max(width, row.name.size());
    std::string text = padded("operation", width, true) + "  pass      " + padded("count", 9) + padded("time [ms]", 13) +
                       padded("share", 8) + padded("each [us]", 13) + padded("results [MB]", 15) + '\n';
    for (const Row& row : all) {
      const double share = sum.seconds > 0 ? 100 * row.seconds / sum.seconds : 0;
      const double each = row.count > 0 ? row.seconds / static_cast<double>(row.count) * 1e6 : 0;
      text += padded(row.name, width, true) + "  " + padded(phase_name(row), 10, true) +
              padded(join(row.count), 9) + padded(fixed(row.seconds * 1e3, 2), 13) + padded(fixed(share, 1) + '%', 8) +
              padded(fixed(each, 3), 13) + padded(fixed(row.bytes / 1e6, 2), 15) + '\n';
    }
    return text;
  }

 private:
  using Clock = std::chrono::steady_clock;

  const Row& at(Index i) const { return rows_[static_cast<std::size_t>(i)]; }
  static void heard(Listener& self, std::string_view name, Phase phase, double bytes) {
    static_cast<Profiler&>(self).add(name, phase, bytes);
  }
  void add(std::string_view name, Phase phase, double bytes) {
    const double seconds = std::chrono::duration<double>(Clock::now() - last_).count();
    if (name.empty()) name = "outside";
    Row* row = nullptr;
    for (Row& r : rows_)
      if (r.phase == phase && r.name == name) row = &r;
    if (!row) row = &rows_.emplace_back(Row{.name = std::string(name), .phase = phase});
    ++row->count;
    row->seconds += seconds;
    row->bytes += bytes;
    last_ = Clock::now();  // what the bookkeeping takes is nobody's
  }
  static void add_to(Row& sum, const Row& row) {
    sum.count += row.count;
    sum.seconds += row.seconds;
    sum.bytes += row.bytes;
  }

  static std::string_view phase_name(const Row& row) {
    switch (row.phase) {
      case Phase::forward: return "forward";
      case Phase::backward: return "backward";
      case Phase::update: return "update";
      default: return "";
    }
  }
  static std::string fixed(double value, int digits) {  // a decimal point in every locale
    char text[64];
    return {text, std::to_chars(text, text + sizeof text, value, std::chars_format::fixed, digits).ptr};
  }
  static std::string padded(std::string_view text, std::size_t width, bool left = false) {
    const std::string fill(width > text.size() ? width - text.size() : 0, ' ');
    return left ? std::string(text) + fill : fill + std::string(text);
  }

  void* before_;
  Clock::time_point last_;
  std::vector<Row> rows_;
};

}  // namespace espalier::inline ESPALIER_ABI
