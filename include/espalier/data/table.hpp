#pragma once
// Table: named columns of numbers or text, with what is missing; and the tensors that are made of them.
//
// A missing cell is stored as 0, never as NaN, and `present` says so: a product with the mask cannot leak. Text is kept
// as the number of its category; read_csv, unless it is told the categories, puts them in byte order, so that they do not
// depend on the order of the rows. Where the rows came from a file, messages name the file and the line.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "espalier/core/names.hpp"
#include "espalier/core/nearest.hpp"
#include "espalier/tensor/values.hpp"

namespace espalier::inline ESPALIER_ABI {

/// One column of a Table.
struct TableColumn {
  std::string name;
  std::vector<double> numbers;             // of text: the category's number; 0 where missing
  std::vector<std::uint8_t> present = {};  // 1 or 0 per row; empty: nothing is missing
  std::vector<std::string> categories = {};
  bool text = false;
};

namespace detail {
/// `cars.csv: unknown column 'colur'; known: colour, weight; did you mean 'colour'?`
[[noreturn, gnu::cold]] inline void unknown_column(std::string_view source, std::string_view name, std::string_view purpose,
                                                   const std::vector<std::string>& names) {
  const std::span<const std::string> some(names.data(), std::min<std::size_t>(names.size(), 20));
  fail(source, ": unknown column '", name, '\'', purpose, "; known: ", listing(some, [](const std::string& n) { return n; }),
       some.size() < names.size() ? join(", ... (", names.size(), " columns)") : "", did_you_mean(name, names));
}
}  // namespace detail

class Table {
 public:
  using Names = std::vector<std::string>;

  Table() = default;
  /// `source` names the table in messages, `lines` the line of each row in it. Throws Error when a name appears twice,
  /// the columns are not equally long, or a text column's number is no category's.
  template <class Lazy = void>
  explicit Table(std::vector<TableColumn> columns, std::string source = "table", std::vector<Index> lines = {})
      : source_(std::move(source)), lines_(std::move(lines)) {
    for (TableColumn& column : columns) add(std::move(column));
  }
  /// One more column, under the same rules.
  template <class Lazy = void>
  void add(TableColumn column);

  Index rows() const { return columns_.empty() ? 0 : static_cast<Index>(columns_[0].numbers.size()); }
  /// The given rows, in the given order, copied; a row may come twice. They keep their lines. The categories of text stay
  /// as they are, so that all parts of a table are numbered alike. Throws Error for a row that is not there.
  template <class Lazy = void>
  Table rows(std::span<const Index> rows) const;
  /// What messages call the table: its file.
  const std::string& source() const { return source_; }
  Index columns() const { return static_cast<Index>(columns_.size()); }
  const Names& names() const { return names_.names(); }
  /// The names for which `keep(name)` is true, in order: `table.names([](auto& n) { return n.starts_with("pixel_");
  /// })`.
  template <class Keep>
  Names names(Keep&& keep) const {
    Names kept;
    for (const std::string& name : names())
      if (keep(name)) kept.push_back(name);
    return kept;
  }
  bool has(std::string_view name) const { return names_.find(name) >= 0; }
  bool is_text(std::string_view name) const { return find(name).text; }

  // What follows throws Error for an unknown name, and for a column of the other kind.

  /// The numbers of a column, 0 where missing.
  std::span<const double> column(std::string_view name) const { return numbers(name).numbers; }
  /// Where a cell is, for messages: `digits.csv, line 7, column "digit"`; a table without lines counts rows from 0.
  std::string place(std::string_view name, Index row) const { return place(find(name), static_cast<std::size_t>(row)); }
  /// The number of missing cells.
  template <class Lazy = void>
  Index missing(std::string_view name) const {
    Index count = 0;
    for (std::uint8_t there : find(name).present) count += there == 0;
    return count;
  }
  /// What a text column holds, in the order of their numbers.
  template <class Lazy = void>
  std::span<const std::string> categories(std::string_view name) const;

  /// The columns side by side, [rows, names]; 0 where missing.
  template <Differentiable T = float>
  Tensor<T> matrix(const Names& names) const {
    return side_by_side<T>(names, [this](std::string_view name) {
      return [&c = numbers(name)](std::size_t row) { return static_cast<T>(c.numbers[row]); };
    });
  }
  /// Where `matrix` holds a value, [rows, names].
  template <class Lazy = void>
  Tensor<bool> present(const Names& names) const {
    return side_by_side<bool>(names, [this](std::string_view name) {
      return [&c = find(name)](std::size_t row) { return c.present.empty() || c.present[row]; };
    });
  }
  /// The rows in which all of the columns hold a value, [rows].
  template <class Lazy = void>
  Tensor<bool> complete(const Names& names) const;

  /// Class numbers, [rows]; 0 where missing. Of text: the category's number. Numbers must be whole and not negative.
  template <class Lazy = void>
  Tensor<Index> classes(std::string_view name) const;
  /// The same; also throws when a class is not below `count`.
  template <class Lazy = void>
  Tensor<Index> classes(std::string_view name, Index count) const;
  /// The position of each text in `categories`, so that tables of one kind (training data, today's data) are numbered
  /// alike; also throws for text that is not among them.
  template <class Lazy = void>
  Tensor<Index> classes(std::string_view name, const Names& categories) const;

  /// The columns as a modality, which a row has when it has all of them.
  template <Differentiable T = float>
  Input<T> input(const Names& names) const {
    return {matrix<T>(names), any_missing(names) ? complete(names) : Tensor<bool>()};
  }
  /// The columns as a regression target, [rows, names]; what is missing has weight 0.
  template <Differentiable T = float>
  Target<T> target(const Names& names) const {
    return {matrix<T>(names), any_missing(names) ? cast<T>(present(names)) : Tensor<T>()};
  }
  /// The column as a classification target; `known` as in `classes`, what is missing has weight 0.
  template <Differentiable T = float, class... Known>
  Target<T> class_target(std::string_view name, const Known&... known) const {
    return {classes(name, known...), missing(name) ? cast<T>(complete({std::string(name)})) : Tensor<T>()};
  }

 private:
  template <class Lazy = void>
  const TableColumn& find(std::string_view name) const;
  template <class Lazy = void>
  const TableColumn& numbers(std::string_view name) const;
  template <class Lazy = void>
  bool any_missing(const Names& names) const {
    for (const std::string& name : names)
      if (missing(name) > 0) return true;
    return false;
  }
  template <class Lazy = void>
  std::string place(const TableColumn& column, std::size_t row) const {
    return join(source_, lines_.empty() ? ", row " : ", line ", lines_.empty() ? static_cast<Index>(row) : lines_[row],
                ", column \"", column.name, '"');
  }
  template <class T, class CellsOf>
  Tensor<T> side_by_side(const Names& names, CellsOf&& cells_of) const {
    Tensor<T> all = Tensor<T>::empty({rows(), static_cast<Index>(names.size())});
    for (std::size_t k = 0; k < names.size(); ++k) {
      const auto cell = cells_of(names[k]);
      for (std::size_t row = 0; row < static_cast<std::size_t>(rows()); ++row)
        all.raw()[row * names.size() + k] = cell(row);
    }
    return all;
  }

  std::string source_ = "table";
  std::vector<Index> lines_;
  std::vector<TableColumn> columns_;
  NameTable names_;
};

template <class Lazy>
void Table::add(TableColumn column) {
  const std::size_t rows = columns_.empty() ? column.numbers.size() : columns_[0].numbers.size();
  if (column.numbers.size() != rows)
    fail(source_, ": column '", column.name, "' has ", column.numbers.size(), " rows, the others have ", rows);
  if (!column.present.empty() && column.present.size() != rows)
    fail(source_, ": column '", column.name, "' has ", rows, " rows, its mask ", column.present.size());
  if (!lines_.empty() && lines_.size() != rows)
    fail(source_, ": column '", column.name, "' has ", rows, " rows, but lines are given for ", lines_.size());
  for (std::size_t row = 0; row < rows; ++row) {
    double& number = column.numbers[row];
    if (!column.present.empty() && !column.present[row])
      number = 0;
    else if (column.text &&
             !(number >= 0 && number < static_cast<double>(column.categories.size()) && number == std::floor(number)))
      fail(place(column, row), ": ", number, " is no category's number; there are ", column.categories.size());
  }
  if (!names_.add(column.name)) fail(source_, ": column '", column.name, "' appears twice; names must differ");
  columns_.push_back(std::move(column));
}

template <class Lazy>
Table Table::rows(std::span<const Index> rows) const {
  for (Index r : rows)
    if (r < 0 || r >= this->rows())
      fail(source_, ": row ", r, " is asked for; there are ", this->rows(), ", counted from 0");
  const auto take = [&]<class Cell>(const std::vector<Cell>& from) {
    std::vector<Cell> taken;
    if (from.empty()) return taken;
    taken.reserve(rows.size());
    for (Index r : rows) taken.push_back(from[static_cast<std::size_t>(r)]);
    return taken;
  };
  Table some({}, source_, take(lines_));
  for (const TableColumn& c : columns_) some.add({c.name, take(c.numbers), take(c.present), c.categories, c.text});
  return some;
}

template <class Lazy>
const TableColumn& Table::find(std::string_view name) const {
  if (const Index found = names_.find(name); found >= 0) return columns_[static_cast<std::size_t>(found)];
  detail::unknown_column(source_, name, "", names());
}

template <class Lazy>
const TableColumn& Table::numbers(std::string_view name) const {
  const TableColumn& c = find(name);
  if (c.text)
    fail(source_, ": column '", name, "' holds text; numbers are asked for (classes() numbers its categories)");
  return c;
}

template <class Lazy>
std::span<const std::string> Table::categories(std::string_view name) const {
  const TableColumn& c = find(name);
  if (!c.text) fail(source_, ": column '", name, "' holds numbers; only text has categories");
  return c.categories;
}

template <class Lazy>
Tensor<bool> Table::complete(const Names& names) const {
  Tensor<bool> all = Tensor<bool>::full({rows()}, true);
  for (const std::string& name : names) {
    const std::vector<std::uint8_t>& there = find(name).present;
    for (std::size_t row = 0; row < there.size(); ++row) all.raw()[row] &= there[row] != 0;
  }
  return all;
}

template <class Lazy>
Tensor<Index> Table::classes(std::string_view name) const {
  constexpr double largest = 9007199254740992;  // 2^53: beyond it a double does not hold every whole number
  const TableColumn& c = find(name);
  Tensor<Index> out = Tensor<Index>::empty({rows()});
  for (std::size_t row = 0; row < c.numbers.size(); ++row) {
    const double number = c.numbers[row];
    if (!(number >= 0 && number <= largest && number == std::floor(number)))
      fail(place(c, row), ": ", number, " is no class; classes are whole numbers from 0 to 2^53");
    out.raw()[row] = static_cast<Index>(number);
  }
  return out;
}

template <class Lazy>
Tensor<Index> Table::classes(std::string_view name, Index count) const {
  const Tensor<Index> out = classes(name);
  const TableColumn& c = find(name);
  for (std::size_t row = 0; row < c.numbers.size(); ++row)
    if (out.data()[row] >= count && (c.present.empty() || c.present[row]))
      fail(place(c, row), ": class ", out.data()[row], " is not below the number of classes, ", count);
  return out;
}

template <class Lazy>
Tensor<Index> Table::classes(std::string_view name, const Names& categories) const {
  const std::span<const std::string> own = this->categories(name);
  const TableColumn& c = find(name);
  NameTable known;
  for (const std::string& category : categories) known.add(category);
  Tensor<Index> out = classes(name);
  for (std::size_t row = 0; row < c.numbers.size(); ++row) {
    if (!c.present.empty() && !c.present[row]) continue;
    const std::string& text = own[static_cast<std::size_t>(out.data()[row])];
    out.raw()[row] = known.find(text);
    if (out.data()[row] < 0)
      fail(place(c, row), ": '", text, "' is none of the categories ",
           listing(categories, [](const std::string& n) { return n; }));
  }
  return out;
}

}  // namespace espalier::inline ESPALIER_ABI
