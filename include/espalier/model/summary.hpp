#pragma once
// summary: what a model is made of, as a table: every parameter with its shape, size and owner, the totals by owner and, given
// inputs, the shapes that go in and come out.
//
//   std::printf("%s", summary(model, train.inputs).c_str());

#include <algorithm>
#include <string>
#include <vector>

#include "espalier/core/names.hpp"
#include "espalier/model/model_ref.hpp"

namespace espalier::inline ESPALIER_ABI {

namespace detail {

struct SummaryRow {
  std::string name, shape, owner;
  Index count = 0;
};

/// 1234567 as 1,234,567.
template <class Lazy = void>
std::string with_commas(Index number) {
  std::string text = std::to_string(number);
  for (std::size_t at = text.size(); at > 3; at -= 3) text.insert(at - 3, ",");
  return text;
}

template <class Lazy = void>
[[gnu::cold, gnu::noinline]] std::string summary_text(const std::vector<SummaryRow>& rows, std::string shapes) {
  NameTable owners;           // in the order in which they appear
  std::vector<Index> totals;  // of each
  Index total = 0;
  std::size_t widths[3] = {9, 5, 5};
  const auto widen = [&](const SummaryRow& row) {
    widths[0] = std::max(widths[0], row.name.size());
    widths[1] = std::max(widths[1], row.shape.size());
    widths[2] = std::max(widths[2], with_commas(row.count).size());
  };
  for (const SummaryRow& row : rows) {
    total += row.count;
    if (owners.add(row.owner)) totals.push_back(0);
    totals[static_cast<std::size_t>(owners.find(row.owner))] += row.count;
    widths[0] = std::max(widths[0], row.owner.size());
    widen(row);
  }
  widen({"", "", "", total});
  std::string text;
  const auto line = [&](const std::string& name, const std::string& shape, const std::string& count, const std::string& owner) {
    const auto gap = [](std::size_t width, std::size_t used) { return std::string(width > used ? width - used : 0, ' '); };
    text += name + gap(widths[0], name.size()) + "  " + shape + gap(widths[1], shape.size()) + "  " +
            gap(widths[2], count.size()) + count;
    text += owner.empty() ? "\n" : "  " + owner + "\n";
  };
  line("parameter", "shape", "count", "owner");
  for (const SummaryRow& row : rows) line(row.name, row.shape, with_commas(row.count), row.owner);
  text += '\n';
  for (std::size_t i = 0; i < totals.size(); ++i) line(owners.names()[i], "", with_commas(totals[i]), "");
  line("total", "", with_commas(total), "");
  return text + shapes;
}

template <class T, class Model>
std::string summarise(const Model& model, std::string shapes) {
  std::vector<SummaryRow> rows;
  for (const Named<Tensor<T>>& p : parameters<T>(const_cast<Model&>(model)))  // `fields` is for readers and writers alike
    rows.push_back({p.name, p.value.shape().text(), leaf_of(p.value)->owner.text(), p.value.size()});
  return summary_text(rows, std::move(shapes));
}

}  // namespace detail

/// The parameters by name, shape, number of elements and owner (shared, a task, a modality; unknown in a model written by
/// hand), tied ones once, and the totals.
template <Differentiable T = float, class Model>
[[gnu::cold]] std::string summary(const Model& model) {
  return detail::summarise<T>(model, "");
}
/// The same, and the shapes of these inputs and of what the model makes of them; it is run on one row. A single module, such
/// as a Sequential, takes a tensor. Throws Error as the model does.
template <Differentiable T = float, class Model, class X>
[[gnu::cold]] std::string summary(const Model& model, const X& inputs) {
  std::string text = "\n";
  const auto line = [&](const char* what, std::string_view name, const Shape& shape) {
    const std::string all = shape.text();
    text += join(what, name, name.empty() ? "" : " ", "[rows", shape.rank() > 1 ? all.substr(all.find(',')) : "]", '\n');
  };
  const auto one = [](const auto& x) { return x.defined() && x.shape()[0] > 1 ? slice(x, 0, 0, 1) : x; };
  if constexpr (std::same_as<X, Tensor<T>>) {
    line("input   ", "", inputs.shape());
    const NoGrad no_grad;
    const auto y = model(one(inputs));
    if constexpr (std::same_as<std::remove_cvref_t<decltype(y)>, Outputs<T>>)
      for (Index k = 0; k < y.size(); ++k) line("output  ", y.name(k), y.at(k).shape());
    else line("output  ", "", y.shape());
  } else {
    Inputs<T> row;
    for (const auto& [name, input] : inputs) {
      line("input   ", name, input.values.defined() ? input.values.shape() : input.tokens.shape());
      Input<T> first = input;
      first.values = one(input.values);
      first.tokens = one(input.tokens);
      first.valid = one(input.valid);
      first.present = {};  // shapes do not depend on who has what
      row.add(name, std::move(first));
    }
    const Outputs<T> y = ModelRef<T>(model)(row);
    for (Index k = 0; k < y.size(); ++k) line("output  ", y.name(k), y.at(k).shape());
  }
  return detail::summarise<T>(model, std::move(text));
}

}  // namespace espalier::inline ESPALIER_ABI
