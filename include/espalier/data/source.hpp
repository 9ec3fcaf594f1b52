#pragma once
// Where rows come from: a Dataset in memory, or a type of the program's own that makes them on demand.
//
//   struct Images {                                              // reads its images when they are asked for
//     Index size() const { return static_cast<Index>(files.size()); }
//     Batch<float> rows(std::span<const Index> rows) const;      // these images and their labels, in this order
//     std::vector<std::string> files;
//   };
//   Loader loader{Images{files}, {.batch = 32}, rng};
//
// `rows` is const and may be called for any rows, in any order; what it returns is checked as any Dataset is. A type that wants
// to say which rows a shuffled epoch is made of has two members more (data/task_mixture.hpp is one):
//
//   Index epoch_rows() const;                                              // how many, the same for every epoch
//   std::vector<Index> order(const Rng& rng, Index epoch) const;           // which, of [0, size()), repeats allowed

#include <concepts>
#include <span>
#include <utility>
#include <vector>

#include "espalier/data/dataset.hpp"

namespace espalier::inline ESPALIER_ABI {

/// Whatever gives the rows that it is asked for.
template <class D, class T>
concept DatasetFor = requires(const D& data, std::span<const Index> rows) {
  { data.size() } -> std::convertible_to<Index>;
  { data.rows(rows) } -> std::same_as<Batch<T>>;
};

/// Whatever says itself which rows a shuffled epoch is made of.
template <class D>
concept OrdersEpochs = requires(const D& data, const Rng& rng) {
  { data.epoch_rows() } -> std::convertible_to<Index>;
  { data.order(rng, Index{}) } -> std::same_as<std::vector<Index>>;
};

/// Some rows of a type of the program's own, which is shared, not copied: the parts of a split, for a Loader each.
///
///   const Shared images{Images{files}};
///   for (const Fold& fold : k_folds(images->size(), 5, rng))
///     Loader train{Subset{images, fold.train}, {}, rng}, test{Subset{images, fold.test}, {}, rng};
template <class D>
class Subset {
 public:
  /// Throws Error for no data and for a row that is not there.
  Subset(Shared<D> data, std::vector<Index> rows) : data_(std::move(data)), rows_(std::move(rows)) {
    if (!data_) fail("Subset: there is no data; make it with Shared{data}");
    detail::check_rows("Subset", rows_, static_cast<Index>(data_->size()));
  }
  Index size() const { return static_cast<Index>(rows_.size()); }
  auto rows(std::span<const Index> rows) const {
    detail::check_rows("Subset", rows, size());
    std::vector<Index> of_data;
    for (Index r : rows) of_data.push_back(rows_[static_cast<std::size_t>(r)]);
    return data_->rows(std::span<const Index>(of_data));
  }

 private:
  Shared<D> data_;
  std::vector<Index> rows_;
};

namespace detail {

/// A data source whose type is forgotten; copies share it. Its size is asked for once: an epoch is of one length.
template <class T>
class Source {
 public:
  template <DatasetFor<T> D>
  explicit Source(D data)
      : size_(static_cast<Index>(std::as_const(data).size())), data_(new Held<D>(std::move(data))) {}

  Index size() const { return size_; }
  /// The rows of a shuffled epoch: all, unless the data says otherwise.
  Index epoch_rows() const {
    const Index rows = data_->epoch_rows();
    return rows < 0 ? size_ : rows;
  }
  /// The data's own order of an epoch; false when it leaves that to the loader. Throws Error for an order that is none.
  bool order(const Rng& rng, Index epoch, std::vector<Index>& rows) const {
    if (data_->epoch_rows() < 0) return false;
    rows = data_->order(rng, epoch);
    if (static_cast<Index>(rows.size()) != data_->epoch_rows())
      fail("Loader: the data gave an order of ", rows.size(), " rows; its epochs are of ", data_->epoch_rows());
    check_rows("Loader", rows, size_);
    return true;
  }
  /// Throws Error when the batch is none, or of another size.
  Batch<T> rows(std::span<const Index> rows) const {
    Batch<T> batch = data_->rows(rows);
    batch.check();
    if (batch.size() != static_cast<Index>(rows.size()))
      fail("Loader: the data gave a batch of ", batch.size(), " rows; ", rows.size(), " were asked for");
    return batch;
  }

 private:
  struct Base {
    Count refs;
    virtual ~Base() = default;
    virtual Batch<T> rows(std::span<const Index> rows) const = 0;
    virtual Index epoch_rows() const = 0;  // -1: all, in the loader's order
    virtual std::vector<Index> order(const Rng& rng, Index epoch) const = 0;
    friend void destroy(Base* base) { delete base; }
  };
  template <class D>
  struct Held final : Base {
    D data;
    explicit Held(D d) : data(std::move(d)) {}
    Batch<T> rows(std::span<const Index> rows) const override { return data.rows(rows); }
    Index epoch_rows() const override {
      if constexpr (OrdersEpochs<D>) return static_cast<Index>(data.epoch_rows());
      else return -1;
    }
    std::vector<Index> order([[maybe_unused]] const Rng& rng, [[maybe_unused]] Index epoch) const override {
      if constexpr (OrdersEpochs<D>) return data.order(rng, epoch);
      else return {};
    }
  };

  Index size_;
  Ref<Base> data_;
};

/// Data that somebody else keeps, for a Loader that does not outlive it: nothing is copied.
template <class D>
struct Borrowed {
  const D* data;
  Index size() const { return static_cast<Index>(data->size()); }
  auto rows(std::span<const Index> rows) const { return data->rows(rows); }
  Index epoch_rows() const requires OrdersEpochs<D> { return static_cast<Index>(data->epoch_rows()); }
  std::vector<Index> order(const Rng& rng, Index epoch) const requires OrdersEpochs<D> { return data->order(rng, epoch); }
};

/// The T of a Batch<T>.
template <class T>
T scalar_of(const Batch<T>&);

}  // namespace detail

}  // namespace espalier::inline ESPALIER_ABI
