#pragma once
// Loader: data in batches, epoch by epoch, able to go on in the middle of one.
//
//   Loader loader{train, {.batch = 32}, rng};   // a Dataset, or data of the program's own (data/source.hpp)
//   for (Index epoch = 0; epoch < 10; ++epoch)
//     for (const auto& batch : loader.epoch(epoch)) {
//       Pass pass{rng, loader.step()};
//       ...
//
// The order of an epoch depends on (seed, stream, epoch) alone: not on the epochs before it, nor on other random
// numbers. A loop that shall survive an interruption runs on the loader's own position, which is among its fields:
//
//   while (loader.at_epoch() < 10)
//     for (const auto& batch : loader.rest()) ...   // a checkpoint written after the step counts this batch as done

#include <algorithm>
#include <iterator>
#include <span>
#include <utility>
#include <vector>

#include "espalier/data/dataset.hpp"
#include "espalier/data/source.hpp"

namespace espalier::inline ESPALIER_ABI {

struct LoaderOptions {
  Index batch = 32;
  bool shuffle = true;
  bool drop_last = false;  // leave out a last batch that is not full
};

template <Differentiable T = float>
class Loader {
 public:
  /// The batches of one epoch that are still to come, once through. A batch is valid until the next one; its tensors
  /// are its own and may be kept. The position moves on as a batch is handed out, and to the next epoch after the last
  /// one.
  class Batches {
   public:
    struct Iterator {
      using value_type = Batch<T>;
      using difference_type = std::ptrdiff_t;
      const Batch<T>& operator*() const { return loader->batch_; }
      const Batch<T>* operator->() const { return &loader->batch_; }
      Iterator& operator++() {
        more = loader->advance();
        return *this;
      }
      void operator++(int) { ++*this; }
      bool operator==(std::default_sentinel_t) const { return !more; }

      Loader* loader = nullptr;
      bool more = false;
    };

    explicit Batches(Loader& loader) : loader_(&loader) {}
    Iterator begin() const { return {loader_, loader_->advance()}; }
    std::default_sentinel_t end() const { return {}; }

   private:
    Loader* loader_;
  };

  /// Takes seed and stream of `rng`, which does not advance. Throws Error when an epoch would have no batch.
  Loader(Dataset<T> data, LoaderOptions options, const Rng& rng)
      : Loader(detail::Source<T>(std::move(data)), options, rng) {}
  /// The same for data of the program's own, which is moved or copied in.
  template <DatasetFor<T> D>
  Loader(D data, LoaderOptions options, const Rng& rng)
      : Loader(detail::Source<T>(std::move(data)), options, rng) {}

  /// The rows of an epoch: those of the data, unless the data says otherwise.
  Index size() const { return options_.shuffle ? data_.epoch_rows() : data_.size(); }
  /// The number of batches in an epoch.
  Index batches() const { return size() / options_.batch + (!options_.drop_last && size() % options_.batch != 0); }
  const LoaderOptions& options() const { return options_; }

  /// Goes to the start of an epoch, and through it.
  Batches epoch(Index epoch) {
    seek(epoch, 0);
    return rest();
  }
  /// What is left of the current epoch.
  Batches rest() {
    order();
    return Batches(*this);
  }
  /// Goes to where so many rows of an epoch were handed out.
  void seek(Index epoch, Index row) {
    epoch_ = epoch;
    row_ = row;
    taken_ = 0;
  }
  /// The current epoch, from 0.
  Index at_epoch() const { return epoch_; }
  /// The rows of the current epoch that were handed out.
  Index at_row() const { return row_; }
  /// Which rows of the data the batch that was handed out last consists of; empty before the first one.
  std::span<const Index> batch_rows() const {
    return std::span(rows_).subspan(static_cast<std::size_t>(begin_), static_cast<std::size_t>(taken_));
  }
  /// The number of batches handed out since the start of the run, the current one included: a key for its Pass, the same
  /// after an interruption (the batches being as large as before).
  std::uint64_t step() const {
    return static_cast<std::uint64_t>(epoch_ * batches() + row_ / options_.batch + (row_ % options_.batch != 0));
  }

  /// The position and what the order depends on, not the data.
  void fields(auto&& visit) {
    visit("rng", rng_);
    visit("epoch", epoch_);
    visit("row", row_);
  }

 private:
  Loader(detail::Source<T> data, LoaderOptions options, const Rng& rng)
      : data_(std::move(data)), options_(options), rng_(rng.seed(), rng.stream()) {
    if (options_.batch < 1) fail("Loader: the batch is ", options_.batch, " rows; it must be at least 1");
    if (batches() == 0)
      fail("Loader: ", size(), " rows in batches of ", options_.batch,
           options_.drop_last ? " without the last, partial one" : "", " are no batch at all");
  }

  /// Puts the rows in the order of the current epoch.
  void order() {
    if (row_ < 0 || row_ > size()) fail("Loader: the position is row ", row_, " of ", size(), "; it was saved with other data");
    if (options_.shuffle && data_.order(rng_, epoch_, rows_)) return;
    rows_.resize(static_cast<std::size_t>(data_.size()));
    taken_ = 0;
    for (std::size_t r = 0; r < rows_.size(); ++r) rows_[r] = static_cast<Index>(r);
    if (!options_.shuffle) return;
    Rng of_epoch(rng_.draws("loader", static_cast<std::uint64_t>(epoch_)).bits(0));
    of_epoch.shuffle(std::span(rows_));
  }

  /// Makes the next batch; false, and on to the next epoch, when there is none.
  bool advance() {
    const Index count = std::min(options_.batch, size() - row_);
    if (count == 0 || (options_.drop_last && count < options_.batch)) {
      ++epoch_;
      row_ = taken_ = 0;
      return false;
    }
    begin_ = row_;
    taken_ = count;
    batch_ = data_.rows(batch_rows());
    row_ += count;
    return true;
  }

  detail::Source<T> data_;
  LoaderOptions options_;
  Rng rng_;
  Index epoch_ = 0, row_ = 0;
  Index begin_ = 0, taken_ = 0;  // the rows of the batch that was handed out last
  std::vector<Index> rows_;
  Batch<T> batch_;
};
template <class D>
  requires requires(const D& data, std::span<const Index> rows) { detail::scalar_of(data.rows(rows)); }
Loader(D, LoaderOptions, const Rng&)
    -> Loader<decltype(detail::scalar_of(std::declval<const D&>().rows(std::span<const Index>())))>;

}  // namespace espalier::inline ESPALIER_ABI
