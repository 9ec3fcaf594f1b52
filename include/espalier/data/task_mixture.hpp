#pragma once
// TaskMixture: several tasks, each with data of its own and of its own size, as the data of one model.
//
//   TaskMixture mixture{{{"price", prices}, {"sold", sales}}, {.temperature = 2}};
//   trainer.fit(mixture);                                    // or Loader loader{mixture, {.batch = 64}, rng};
//
// A row belongs to one of the data sets: the targets of the others have weight 0 for it, and inputs that its set does not have are
// absent. A shuffled epoch takes rows of each set by its share, p ~ rows^(1 / temperature): 1 is proportional, infinity gives all
// alike (round-robin), what lies between lifts small tasks without drowning in their repetitions (Arivazhagan et al. 2019, arXiv
// 1907.05019). It is as long as the task that needs most of it, so that no epoch ends with the smallest: every row comes at least
// once, and over the epochs the rows of a set come equally often. The sets are spread evenly over the epoch, so that every batch
// has its share of each.
// Included by name, as most programs have one data set.

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "espalier/core/order.hpp"
#include "espalier/data/source.hpp"

namespace espalier::inline ESPALIER_ABI {

struct TaskMixtureOptions {
  double temperature = 1;           // at least 1; std::numeric_limits<double>::infinity() for round-robin
  std::vector<double> shares = {};  // in place of it: of each set, in their order; they need not sum to 1
  Index rows = 0;                   // of an epoch, rounded set by set; 0: so many that every row comes at least once
  Index block = 1;                  // so many rows of one set in a row; the batch's size gives batches of one set each
};

template <Differentiable T = float>
class TaskMixture {
 public:
  /// A data set or a source of one's own (data/source.hpp), by name. Throws Error for no set, one without rows, equal names, sets
  /// that do not fit together (an input or a target that they have in common must be of one kind and width), and for options that
  /// make no sense.
  TaskMixture(std::initializer_list<Named<Dataset<T>>> sets, TaskMixtureOptions options = {}) : options_(std::move(options)) {
    for (const Named<Dataset<T>>& set : sets) add(set.name, detail::Source<T>(set.value));
    finish();
  }
  explicit TaskMixture(const std::vector<Named<Dataset<T>>>& sets, TaskMixtureOptions options = {}) : options_(std::move(options)) {
    for (const Named<Dataset<T>>& set : sets) add(set.name, detail::Source<T>(set.value));
    finish();
  }
  template <DatasetFor<T>... D>
    requires(sizeof...(D) > 0)
  explicit TaskMixture(TaskMixtureOptions options, Named<D>... sets) : options_(std::move(options)) {
    (add(sets.name, detail::Source<T>(std::move(sets.value))), ...);
    finish();
  }

  /// All rows of all sets, one set after another: what a loader that does not shuffle goes through.
  Index size() const { return starts_.back(); }
  /// The rows of a shuffled epoch, and how many of them are of set k.
  Index epoch_rows() const { return total_; }
  Index epoch_rows(Index k) const { return counts_[static_cast<std::size_t>(k)]; }
  const std::vector<std::string>& names() const { return names_; }

  /// The rows of an epoch, in order: a function of seed and stream of `rng`, the epoch and the sets' names and sizes.
  std::vector<Index> order(const Rng& rng, Index epoch) const {
    struct Place {
      double at;
      Index set, first;
    };
    std::vector<Place> places;
    for (std::size_t k = 0; k < counts_.size(); ++k) {
      const Draws draws = rng.draws("mixture", static_cast<std::uint64_t>(epoch));
      const double phase = draws.uniform(detail::hash_name(names_[k]));  // so that no set always comes first
      for (Index first = 0; first < counts_[k]; first += options_.block)
        places.push_back(
            {(static_cast<double>(first) + phase * static_cast<double>(options_.block)) / static_cast<double>(counts_[k]),
             static_cast<Index>(k), first});
    }
    const auto place = [&](Index i) -> const Place& { return places[static_cast<std::size_t>(i)]; };
    const PoolVector<Index> sequence =
        detail::sorted_order(places.size(), [&](Index a, Index b) { return place(a).at < place(b).at; });
    std::vector<std::vector<Index>> rows;
    for (std::size_t k = 0; k < counts_.size(); ++k) rows.push_back(rows_of_epoch(k, rng, epoch));
    std::vector<Index> order;
    order.reserve(static_cast<std::size_t>(total_));
    for (const Index i : sequence) {
      const auto set = static_cast<std::size_t>(place(i).set);
      for (Index j = place(i).first; j < std::min(counts_[set], place(i).first + options_.block); ++j)
        order.push_back(starts_[set] + rows[set][static_cast<std::size_t>(j)]);
    }
    return order;
  }

  /// These rows of all, in this order. Throws Error for a row that is not there.
  Batch<T> rows(std::span<const Index> rows) const {
    detail::check_rows("TaskMixture", rows, size());
    const auto count = static_cast<Index>(rows.size());
    Batch<T> joined = blank(count);
    for (std::size_t k = 0; k < names_.size(); ++k) {
      std::vector<Index> own, to;
      for (Index i = 0; i < count; ++i)
        if (const Index r = rows[static_cast<std::size_t>(i)]; r >= starts_[k] && r < starts_[k + 1]) {
          own.push_back(r - starts_[k]);
          to.push_back(i);
        }
      if (own.empty()) continue;
      const Batch<T> part = sources_[k].rows(own);
      for (const Named<Input<T>>& input : part.inputs) put(*joined.inputs.find(input.name), input.value, to);
      for (const Named<Target<T>>& target : part.targets) put(*joined.targets.find(target.name), target.value, to);
    }
    return joined;
  }

 private:
  void add(const std::string& name, detail::Source<T> source) {
    if (source.size() == 0) fail("TaskMixture: '", name, "' has no rows; it needs at least 1");
    for (const std::string& known : names_)
      if (known == name) fail("TaskMixture: '", name, "' appears twice; names must differ");
    const Index first = 0;
    const Batch<T> row = source.rows(std::span<const Index>(&first, 1));
    for (const Named<Input<T>>& input : row.inputs) {
      Input<T>* known = kinds_.inputs.find(input.name);
      if (!known) {
        kinds_.inputs.add(input.name, input.value);
        continue;
      }
      same("input", input.name, "values", known->values, input.value.values, name);
      same("input", input.name, "tokens", known->tokens, input.value.tokens, name);
      if (input.value.present.defined()) known->present = input.value.present;
      if (input.value.valid.defined()) known->valid = input.value.valid;
    }
    for (const Named<Target<T>>& target : row.targets) {
      Target<T>* known = kinds_.targets.find(target.name);
      if (!known) {
        kinds_.targets.add(target.name, target.value);
        continue;
      }
      same("target", target.name, "values", known->value, target.value.value, name);
      same("target", target.name, "classes", known->classes, target.value.classes, name);
      if (by_element(target.value) || !known->weight.defined()) known->weight = target.value.weight;
    }
    names_.push_back(name);
    sources_.push_back(std::move(source));
  }
  template <class U>
  static void same(std::string_view what, std::string_view name, std::string_view part, const Tensor<U>& a, const Tensor<U>& b,
                   std::string_view set) {
    const auto text = [&](const Tensor<U>& x) { return x.defined() ? join(part, ' ', x.shape()) : join("no ", part); };
    if (a.defined() != b.defined() || (a.defined() && !(a.shape() == b.shape())))
      fail("TaskMixture: a row of ", what, " '", name, "' has ", text(b), " in '", set, "', ", text(a),
           " in a set before it; what sets have in common must be alike");
  }
  static bool by_element(const Target<T>& t) {
    return t.weight.defined() && t.weight.rank() > 1 && t.weight.size() > t.weight.shape()[0];
  }

  void finish() {
    if (names_.empty()) fail("TaskMixture: no data set is given; it needs at least one");
    const auto count = names_.size();
    if (!(options_.temperature >= 1)) fail("TaskMixture: temperature is ", options_.temperature, "; it must be at least 1");
    if (!options_.shares.empty() && options_.shares.size() != count)
      fail("TaskMixture: there are ", options_.shares.size(), " shares for ", count, " data sets; give one per set");
    if (options_.rows < 0) fail("TaskMixture: rows is ", options_.rows, "; it must not be negative");
    if (options_.block < 1) fail("TaskMixture: block is ", options_.block, "; it must be at least 1");
    std::vector<double> shares = options_.shares;
    starts_.push_back(0);
    double all = 0, rows = static_cast<double>(options_.rows);
    for (std::size_t k = 0; k < count; ++k) {
      starts_.push_back(starts_.back() + sources_[k].size());
      if (options_.shares.empty()) shares.push_back(std::pow(static_cast<double>(sources_[k].size()), 1 / options_.temperature));
      if (!(shares[k] > 0) || std::isinf(shares[k]))
        fail("TaskMixture: the share of '", names_[k], "' is ", shares[k], "; it must be finite and above 0");
      all += shares[k];
    }
    if (options_.rows == 0)
      for (std::size_t k = 0; k < count; ++k) rows = std::max(rows, static_cast<double>(sources_[k].size()) * all / shares[k]);
    for (std::size_t k = 0; k < count; ++k) {
      counts_.push_back(std::max<Index>(1, static_cast<Index>(std::llround(rows * shares[k] / all))));
      total_ += counts_.back();
    }
    for (Named<Input<T>>& input : kinds_.inputs) {  // where somebody lacks it, there must be a mask
      std::size_t have = 0;
      for (const auto& source : sources_) {
        const Index first = 0;
        have += source.rows(std::span<const Index>(&first, 1)).inputs.find(input.name) != nullptr;
      }
      if (have < count && !input.value.present.defined()) input.value.present = Tensor<bool>::ones({1});
    }
    for (Named<Target<T>>& target : kinds_.targets) {
      std::size_t have = 0;
      for (const auto& source : sources_) {
        const Index first = 0;
        have += source.rows(std::span<const Index>(&first, 1)).targets.find(target.name) != nullptr;
      }
      if (have < count && !target.value.weight.defined()) target.value.weight = Tensor<T>::ones({1});
    }
  }

  /// What an epoch takes of a set: whole permutations, and for the rest of its share the next items of an endless row of
  /// permutations that goes on from epoch to epoch.
  std::vector<Index> rows_of_epoch(std::size_t k, const Rng& rng, Index epoch) const {
    const Index size = starts_[k + 1] - starts_[k], whole = counts_[k] / size, rest = counts_[k] % size;
    std::vector<Index> rows, permutation(static_cast<std::size_t>(size));
    const auto shuffle = [&](std::string_view kind, Index number) {
      for (std::size_t r = 0; r < permutation.size(); ++r) permutation[r] = static_cast<Index>(r);
      const std::uint64_t name = detail::hash_name(kind) ^ detail::mix(detail::hash_name(names_[k]));
      Rng of_this(rng.draws(name, static_cast<std::uint64_t>(number)).bits(0));
      of_this.shuffle(std::span(permutation));
    };
    for (Index i = 0; i < whole; ++i) {
      shuffle("mixture whole", epoch * whole + i);
      rows.insert(rows.end(), permutation.begin(), permutation.end());
    }
    for (Index j = epoch * rest; j < (epoch + 1) * rest; ++j) {
      if (j == epoch * rest || j % size == 0) shuffle("mixture rest", j / size);
      rows.push_back(permutation[static_cast<std::size_t>(j % size)]);
    }
    return rows;
  }

  template <class U>
  static Tensor<U> blank(const Tensor<U>& kind, Index count) {
    if (!kind.defined()) return {};
    return Tensor<U>::zeros(Shape{count} + kind.shape().part(1, kind.rank()));
  }
  /// `count` rows that have nothing.
  Batch<T> blank(Index count) const {
    Batch<T> batch;
    for (const auto& [name, kind] : kinds_.inputs) {
      Input<T> input;
      input.values = blank(kind.values, count);
      input.tokens = blank(kind.tokens, count);
      input.present = blank(kind.present, count);
      input.valid = blank(kind.valid, count);
      batch.inputs.add(name, std::move(input));
    }
    for (const auto& [name, kind] : kinds_.targets) {
      Target<T> target;
      target.value = blank(kind.value, count);
      target.classes = blank(kind.classes, count);
      target.weight = blank(kind.weight, count);
      batch.targets.add(name, std::move(target));
    }
    return batch;
  }
  /// Copies rows to their places; an undefined tensor stands for `otherwise` throughout, one per row for all of the row.
  template <class U>
  static void put(Tensor<U>& to, const Tensor<U>& from, const std::vector<Index>& places, U otherwise) {
    if (!to.defined()) return;
    const Index each = to.shape().span(1, to.rank()), given = from.defined() ? from.shape().span(1, from.rank()) : 1;
    for (std::size_t i = 0; i < places.size(); ++i) {
      U* row = to.raw() + places[i] * each;
      const U* source = from.defined() ? from.data() + static_cast<Index>(i) * given : &otherwise;
      if (from.defined() && given == each)
        std::copy_n(source, each, row);
      else
        std::fill_n(row, each, *source);
    }
  }
  static void put(Input<T>& to, const Input<T>& from, const std::vector<Index>& places) {
    put(to.values, from.values, places, T(0));
    put(to.tokens, from.tokens, places, Index(0));
    put(to.present, from.present, places, true);
    put(to.valid, from.valid, places, true);
  }
  static void put(Target<T>& to, const Target<T>& from, const std::vector<Index>& places) {
    put(to.value, from.value, places, T(0));
    put(to.classes, from.classes, places, Index(0));
    put(to.weight, from.weight, places, T(1));
  }

  TaskMixtureOptions options_;
  std::vector<std::string> names_;
  std::vector<detail::Source<T>> sources_;
  std::vector<Index> starts_, counts_;  // where a set's rows begin among all, and how many of it an epoch takes
  Index total_ = 0;
  Batch<T> kinds_;  // a row of everything: shapes, and which masks and weights there are
};
TaskMixture(std::initializer_list<Named<Dataset<float>>>)->TaskMixture<float>;
TaskMixture(std::initializer_list<Named<Dataset<float>>>, TaskMixtureOptions)->TaskMixture<float>;

}  // namespace espalier::inline ESPALIER_ABI
