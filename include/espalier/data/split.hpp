#pragma once
// split: a dataset at random into two, for training and for judging.

#include <cmath>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "espalier/data/dataset.hpp"

namespace espalier::inline ESPALIER_ABI {

/// `auto [train, test] = split(data, 0.8, rng)`: the first part gets `fraction` of the rows, rounded to the nearest
/// whole number; both are in random order. Advances the generator by one. Throws Error when a part would be empty.
template <Differentiable T>
std::pair<Dataset<T>, Dataset<T>> split(const Dataset<T>& data, double fraction, Rng& rng) {
  const Index count = data.size();
  const Index first = fraction > 0 && fraction < 1 ? std::llround(fraction * static_cast<double>(count)) : 0;
  if (first < 1 || first >= count)
    fail("split: a fraction of ", fraction, " of ", count, " rows leaves one part empty; both need a row");
  std::vector<Index> rows(static_cast<std::size_t>(count));
  std::iota(rows.begin(), rows.end(), Index{0});
  rng.shuffle(std::span(rows));
  const auto cut = static_cast<std::size_t>(first);
  return {data.rows(std::span(rows).first(cut)), data.rows(std::span(rows).subspan(cut))};
}

}  // namespace espalier::inline ESPALIER_ABI
