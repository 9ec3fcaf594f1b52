#pragma once
// TargetEncoder: a column of a Table as what a task is to learn, and predictions back as columns of a Table.
//
//   const TargetEncoder price(train, "price");                  // numbers: standardised, by the training part alone
//   const TargetEncoder fuel(table, "fuel");                    // text: numbered
//   const TargetEncoder grade(table, "grade", {.classes = true});   // class numbers: numbered, too
//   ... heads = {{"price", Linear{64, price.width(), rng}}, {"fuel", Linear{64, fuel.width(), rng}}}
//   Targets<float> targets{{"price", price(train)}, {"fuel", fuel(train)}};
//   for (TableColumn& column : fuel.decode(predict(model, today)["fuel"])) results.add(std::move(column));
//
// As a TableEncoder is, it is saved with the model, and one that is not yet fitted takes on what a file holds.

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "espalier/data/table_encoder.hpp"

namespace espalier::inline ESPALIER_ABI {

struct TargetEncoderOptions {
  bool classes = false;  // the column holds class numbers; text needs no telling
};

/// Numbers become (x - mean) / deviation, for a loss such as MSE; classes their position among the classes that the fitted
/// rows hold (text in byte order, class numbers rising), for CrossEntropy. A missing cell is a label of weight 0.
template <Differentiable T = float>
class TargetEncoder {
 public:
  /// Not fitted; to be loaded into.
  TargetEncoder() = default;
  /// Fitted on a column. Throws Error for an unknown one, one without any value, one of a single class, and for numbers
  /// that are not finite (of classes: whole and not negative).
  TargetEncoder(const Table& table, const std::string& column, const TargetEncoderOptions& options = {})
      : TargetEncoder() {
    code_.fit(table, {column},
              {.classes = options.classes ? Table::Names{column} : Table::Names(),
               .missing_flags = false,
               .unknown = NoCategory::error});
    if (of_classes() && width() < 2)
      fail(component, ": column '", column, "' of ", table.source(), " holds one class, '", classes()[0],
           "'; there must be at least two to tell apart");
  }

  /// The column's name; empty before fitting.
  std::string name() const { return fitted() ? code().name : std::string(); }
  bool of_classes() const { return fitted() && code().categorical; }
  /// The columns of a prediction: one per class, or 1.
  Index width() const { return fitted() ? code_.width() : 0; }
  /// The classes' texts, in the order of a prediction's columns; none for numbers.
  const std::vector<std::string>& classes() const { return checked().categories.names; }
  /// Of numbers, in the column's unit: what a prediction of 0 means, and how much one of 1 is more.
  double mean() const { return checked().mean; }
  double deviation() const { return checked().deviation; }

  /// Values [rows, 1], or classes [rows]; the weight is undefined where every row has a label. Throws Error before fitting,
  /// for a table without the column or with one of another kind, and for a class that was not there when fitting.
  Target<T> operator()(const Table& table) const {
    const detail::ColumnCode& code = checked();
    const Index rows = table.rows();
    const Tensor<T> weight = table.missing(code.name) ? cast<T>(table.present({code.name}).view({rows})) : Tensor<T>();
    if (code.categorical) {
      const std::vector<Index> places = code.categories.places(component, table, code.name);
      Tensor<Index> classes = Tensor<Index>::zeros({rows});
      for (Index r = 0; r < rows; ++r)
        if (const Index at = places[static_cast<std::size_t>(r)]; at >= 0) classes.raw()[r] = at;
      return {classes, weight};
    }
    std::vector<double> cells;
    Tensor<bool> present;
    code_.encode(code, table, cells, present);
    Tensor<T> values = Tensor<T>::empty({rows, 1});
    for (Index r = 0; r < rows; ++r) values.raw()[r] = static_cast<T>(cells[static_cast<std::size_t>(r)]);
    return {values, weight};
  }

  /// The way back, of predictions [rows, width]. Numbers: one column in the column's own unit. Classes, of logits: the most
  /// probable class (the first of equal ones), of the kind that was fitted, then each one's probability as a column
  /// `fuel=diesel`. Throws Error for another shape and for a prediction that is not finite.
  std::vector<TableColumn> decode(const Tensor<T>& predictions) const;

  /// All that belongs to the column; an encoder that is not fitted takes on that of a file.
  void fields(auto&& visit) {
    std::vector<std::string> texts = code_.write();
    const std::vector<std::string> before = texts;
    visit("column", texts);
    if (texts == before) return;
    detail::TableCode found;
    found.component = component;
    found.read(texts);
    if (found.columns.size() != 1)
      fail(component, ": the file has ", found.columns.size(), " columns here; a target is one");
    const detail::ColumnCode& code = found.columns[0];
    if (code.flag || code.width() != std::max<Index>(1, static_cast<Index>(code.categories.names.size())))
      fail(component, ": the file marks unknown or missing cells of '", code.name, "'; a target does not");
    code_ = std::move(found);
  }

 private:
  static constexpr std::string_view component = "TargetEncoder";

  bool fitted() const { return !code_.columns.empty(); }
  const detail::ColumnCode& code() const { return code_.columns[0]; }
  const detail::ColumnCode& checked() const {
    if (!fitted()) fail(component, ": it is not fitted; fit or load it first");
    return code();
  }

  detail::TableCode code_{.columns = {}, .component = component};
};
TargetEncoder(const Table&, const std::string&)->TargetEncoder<float>;
TargetEncoder(const Table&, const std::string&, const TargetEncoderOptions&)->TargetEncoder<float>;

template <Differentiable T>
std::vector<TableColumn> TargetEncoder<T>::decode(const Tensor<T>& predictions) const {
  const detail::ColumnCode& code = checked();
  if (!predictions.defined() || predictions.rank() != 2 || predictions.shape()[1] != width())
    fail(component, ": the predictions of '", code.name, "' are ",
         predictions.defined() ? predictions.shape().text() : "undefined", "; they must be [rows, ", width(), "]");
  const auto rows = static_cast<std::size_t>(predictions.shape()[0]), width = static_cast<std::size_t>(this->width());
  for (std::size_t i = 0; i < rows * width; ++i)
    if (!std::isfinite(predictions.data()[i]))
      fail(component, ": the prediction of '", code.name, "' for row ", i / width, " is ", predictions.data()[i],
           "; it must be finite");
  std::vector<TableColumn> columns;
  columns.push_back({.name = code.name, .numbers = std::vector<double>(rows)});
  if (!code.categorical) {
    for (std::size_t r = 0; r < rows; ++r)
      columns[0].numbers[r] = static_cast<double>(predictions.data()[r]) * code.deviation + code.mean;
    return columns;
  }
  std::vector<std::string> names;
  code.categories.append_columns(code.name, names);
  for (std::string& name : names) columns.push_back({.name = std::move(name), .numbers = std::vector<double>(rows)});
  std::vector<Index> numbers;  // of the classes
  for (const std::string& name : code.categories.names) {
    numbers.push_back(static_cast<Index>(numbers.size()));
    if (code.categories.numbers) detail::class_number(name, numbers.back());
  }
  if (!code.categories.numbers) {
    columns[0].text = true;
    columns[0].categories = code.categories.names;
  }
  for (std::size_t r = 0; r < rows; ++r) {
    const T* logits = predictions.data() + r * width;
    const std::size_t best = static_cast<std::size_t>(std::max_element(logits, logits + width) - logits);
    double sum = 0;
    for (std::size_t k = 0; k < width; ++k)
      sum += columns[k + 1].numbers[r] = std::exp(static_cast<double>(logits[k]) - static_cast<double>(logits[best]));
    for (std::size_t k = 0; k < width; ++k) columns[k + 1].numbers[r] /= sum;
    columns[0].numbers[r] = static_cast<double>(numbers[best]);
  }
  return columns;
}

}  // namespace espalier::inline ESPALIER_ABI
