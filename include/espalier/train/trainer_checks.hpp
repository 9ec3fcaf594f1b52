#pragma once
// What a Trainer checks before its first step, so that no run fails after an epoch for want of it: files, parameters, groups,
// the monitor; the columns of its history; and why a run has had nothing to judge by.

#include "espalier/train/trainer.hpp"

namespace espalier::inline ESPALIER_ABI {

template <Differentiable T>
void Trainer<T>::check_files() const {
  const CheckpointOptions& files = options_.checkpoint;
  for (const std::string* file : {&files.last, &files.best})
    if (!file->empty()) check_replaceable(*file);
  if (!files.last.empty() && (files.last == files.best || same_file(files.last, files.best)))
    fail("Trainer: checkpoint.last and checkpoint.best are one file, ", files.last, "; name two");
}

template <Differentiable T>
void Trainer<T>::check_parameters() {
  std::vector<std::uint64_t> leaves;
  detail::each_tensor(model_, [&](const std::string&, auto& tensor) {
    if constexpr (std::same_as<std::remove_cvref_t<decltype(tensor)>, Tensor<T>>)
      if (const Leaf<T>* leaf = leaf_of(tensor)) leaves.push_back(detail::key_of(leaf));
  });
  check_groups();
  for (const Named<Tensor<T>>& p : optimizer_.parameters())
    if (std::find(leaves.begin(), leaves.end(), detail::key_of(leaf_of(p.value))) != leaves.end()) return;
  fail("Trainer: the optimizer has no parameter of the model; make it with parameters(model), of this very model");
}

template <Differentiable T>
void Trainer<T>::check_groups() {
  if (objective_->options().groups.empty()) return;
  std::vector<std::string> shared;
  for (const Named<Tensor<T>>& p : espalier::parameters<T>(model_))
    if (leaf_of(p.value)->owner.kind != Owner::Kind::task) shared.push_back(p.name);
  detail::check_groups(objective_->options().groups, shared);
}

template <Differentiable T>
void Trainer<T>::lay_out_history() {
  std::vector<std::string> columns{"epoch", "lr", "seconds", "train/loss"};
  std::vector<bool> higher(columns.size(), false);
  const auto add = [&](std::string name, bool higher_is_better) {
    if (name == options_.monitor) higher_is_better_ = higher_is_better;
    higher.push_back(higher_is_better);
    columns.push_back(std::move(name));
  };
  for (const std::string& task : objective_->names()) add(join("train/", task, "/loss"), false);
  add("validation/loss", false);
  const Evaluation measures = evaluator_.result();
  for (const Evaluation::Measure& m : measures.measures()) add(join("validation/", m.task, '/', m.name), m.higher_is_better);
  aggregated_ = detail::aggregated_columns(options_.monitor, columns);
  if (!aggregated_.empty()) add(options_.monitor, higher[aggregated_[0]]);
  detail::check_monitor(options_.monitor, std::vector<std::string>(columns.begin() + 3, columns.end()));  // not the time it took
  for (std::string& column : meter_.columns()) columns.push_back(std::move(column));
  history_ = History(std::move(columns));
}

template <Differentiable T>
std::string Trainer<T>::never_measured() const {
  const Index epochs = history_.rows();
  std::string text = join(monitor_, " was nan after ", epochs == 1 ? "1 epoch" : join("all ", epochs, " epochs"));
  if (monitor_ != "validation/loss" && monitor_ != "train/loss") return text;
  std::vector<std::string> reasons;
  for (const std::string& task : objective_->names())
    if (const std::string column = join(monitor_.substr(0, monitor_.size() - 4), task, "/loss");
        std::isnan(history_[column].back()))
      reasons.push_back(column);
  const char* were = reasons.size() == 1 ? " was" : " were";
  return reasons.empty() ? text : text + ", as " + listing(reasons, [](const std::string& n) { return n; }) + were;
}

}  // namespace espalier::inline ESPALIER_ABI
