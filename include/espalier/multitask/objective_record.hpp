#pragma once
// What a MultiObjective is told about aggregation, and what it tells about its last step.

#include <string>
#include <vector>

#include "espalier/multitask/aggregator/aggregator.hpp"
#include "espalier/tensor/named.hpp"

namespace espalier::inline ESPALIER_ABI {

/// How a method is used: `every` is for weightings as well, the rest for aggregators that work on inner products.
struct AggregationOptions {
  /// Its weights are found in every so many steps and kept in between, where a step then costs little more than with Sum (and a
  /// weighting learns nothing). They are also found when a task is there that was absent when they were found last.
  Index every = 1;
  /// Inner products are those of the gradients of the representation that all tasks share (the trunk's output, over all
  /// samples), not of the parameters below it: much cheaper, another method (MGDA-UB of Sener and Koltun, arXiv 1810.04650,
  /// for MGDA), and only for models in which every path from a task to what is shared leads through one such value.
  bool at_representation = false;
  /// Paths of parameters ("trunk.0", "encoders.left"), or of folders of them. What is shared gets weights of its own for each
  /// of them and for the rest. One that is no path of the model's goes unnoticed; the Trainer refuses it.
  std::vector<std::string> groups = {};
};

/// What the last backward did; multitask/diagnostics.hpp reads it.
struct ObjectiveRecord {
  std::vector<Index> active = {};         // the tasks present, in order
  std::vector<double> weights = {};        // [active]: scaled losses, or shared gradients; with groups, their mean
  std::vector<double> gramian = {};        // [active, active]; empty where none was needed
  Certificate certificate = {};            // an aggregator's, with groups the worst; exact for weightings and kept weights
  std::vector<double> group_weights = {};  // [groups, active], the rest last; empty without groups
  std::vector<double> descent = {};        // [active]: J d, where it does not follow from the Gramian and the weights
  std::vector<Named<double>> notes = {};   // of the model: Outputs::note
};

}  // namespace espalier::inline ESPALIER_ABI
