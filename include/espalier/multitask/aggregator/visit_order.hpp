#pragma once
// The order in which gradient surgery visits the other tasks: PCGrad and GradVac.

#include <algorithm>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "espalier/core/order.hpp"
#include "espalier/core/random.hpp"
#include "espalier/multitask/aggregator/aggregator.hpp"

namespace espalier::inline ESPALIER_ABI {

/// Whom a task meets first. A random order is drawn anew for every task and step, from the seed, the step and the names of
/// the two tasks (their numbers, without names), so that it does not depend on which other tasks there are.
enum class VisitOrder { random, ascending, descending };

namespace detail {

/// Fills `order` with the rows other than `row`, in the order in which it visits them.
inline void visit_order(VisitOrder kind, std::uint64_t seed, const StepInfo& info, Index rows, Index row,
                        std::vector<Index>& order, std::vector<std::uint64_t>& keys) {
  order.clear();
  for (Index k = 0; k < rows; ++k) {
    const Index j = kind == VisitOrder::descending ? rows - 1 - k : k;
    if (j != row) order.push_back(j);
  }
  if (kind != VisitOrder::random) return;
  const auto key = [&](Index i) {
    return info.names.empty() ? mix(static_cast<std::uint64_t>(i))
                              : hash_name(info.names[static_cast<std::size_t>(info.task(i))]);
  };
  const Draws draws = Rng{seed}.draws("visit_order", info.step);
  const std::uint64_t own = mix(key(row));
  keys.resize(static_cast<std::size_t>(rows));
  for (const Index j : order) keys[static_cast<std::size_t>(j)] = draws.bits(own ^ key(j));
  sort_numbers(order, &keys, [](const void* context, Index a, Index b) {
    const auto& k = *static_cast<const std::vector<std::uint64_t>*>(context);
    const std::uint64_t x = k[static_cast<std::size_t>(a)], y = k[static_cast<std::size_t>(b)];
    return x < y || (x == y && a < b);
  });
}

}  // namespace detail

}  // namespace espalier::inline ESPALIER_ABI
