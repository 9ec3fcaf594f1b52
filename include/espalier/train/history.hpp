#pragma once
// History: the record of a training run, a row per epoch and named columns.
//
//   History history({"epoch", "train/digit/loss", "validation/digit/loss"});
//   history.append(row);
//   const Index best = history.best("validation/digit/loss", false);
//   history.save_csv("run.csv");
//
// The trainer's names are `<part of the data>/<task>/<measure>`; train/chart.hpp draws these as learning curves. NaN is
// no value: a measure that was not taken in an epoch.

#include <charconv>
#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "espalier/core/nearest.hpp"
#include "espalier/io/file.hpp"
#include "espalier/train/text.hpp"

namespace espalier::inline ESPALIER_ABI {

/// In a checkpoint it is its own CSV text; one of other columns does not load.
class History {
 public:
  /// Without columns; for a member that is assigned later.
  History() = default;
  /// Throws Error when there is no column, or a name is empty, has a control character or appears twice.
  template <class Lazy = void>
  explicit History(std::vector<std::string> columns);

  /// Adds a row, a number for each column in their order. Throws Error for another count.
  template <class Lazy = void>
  void append(std::span<const double> row);

  Index rows() const { return values_.empty() ? 0 : static_cast<Index>(values_[0].size()); }
  std::span<const std::string> columns() const { return columns_; }
  bool has(std::string_view column) const { return find(column) >= 0; }

  /// The numbers of a column, [rows]; valid until a row is appended. Throws Error for an unknown name.
  template <class Lazy = void>
  std::span<const double> operator[](std::string_view column) const;

  /// The row of the largest number in a column, or of the smallest; the first one of equals. NaN is passed over. Throws
  /// Error for an unknown name, and when there is no number.
  template <class Lazy = void>
  Index best(std::string_view column, bool higher_is_better) const;

  /// All rows as CSV with a header, quoted as RFC 4180 says; lines end in LF as text does here, NaN is an empty field, numbers
  /// read back as they are, bit for bit. `read_csv` takes it; an infinity, which a loss may be, is written as `inf` or `-inf`,
  /// and is read with {.missing = {"inf", "-inf"}}, as a table has finite numbers only.
  template <class Lazy = void>
  std::string csv() const;
  /// The same into a file, by `replace_file`. Throws FileError.
  void save_csv(const std::string& path) const { replace_file(path, csv()); }

  /// The last rows as a table for people: four digits, right-aligned, names broken at '/'.
  template <class Lazy = void>
  std::string text(Index last = 10) const;

  /// Throws Error for a text that is not the record of such a run.
  void fields(auto&& visit) {
    std::string table = csv();
    const std::string before = table;
    visit("csv", table);
    if (table != before) read(table);
  }

 private:
  /// The position of a column, -1 when there is none.
  template <class Lazy = void>
  Index find(std::string_view column) const {
    for (std::size_t i = 0; i < columns_.size(); ++i)
      if (columns_[i] == column) return static_cast<Index>(i);
    return -1;
  }
  template <class Lazy = void>
  std::span<const double> numbers(std::size_t column) const {
    return values_[column];
  }
  template <class Lazy = void>
  void read(std::string_view table);
  template <class Lazy = void>
  std::string header() const;
  template <class Lazy = void>
  [[gnu::cold]] std::string known() const {
    const std::size_t shown = columns_.size() < 20 ? columns_.size() : 20;
    return listing(std::span(columns_).first(shown), [](const std::string& name) { return name; }) +
           (shown < columns_.size() ? join(", ... (", columns_.size(), " columns)") : "");
  }

  std::vector<std::string> columns_;
  std::vector<std::vector<double>> values_;  // of each column; NaN where there is no value
};

template <class Lazy>
[[gnu::cold]] History::History(std::vector<std::string> columns)
    : columns_(std::move(columns)), values_(columns_.size()) {
  if (columns_.empty()) fail("History: there are no columns; a record has at least one");
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    const std::string& name = columns_[i];
    if (name.empty()) fail("History: column ", i, " has no name; each needs one");
    for (const char c : name)
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F)
        fail("History: column ", in_quotes(name), " has a control character in its name; it must have none");
    if (find(name) != static_cast<Index>(i)) fail("History: column '", name, "' appears twice; names must differ");
  }
}

template <class Lazy>
void History::append(std::span<const double> row) {
  if (row.size() != columns_.size())
    fail("History: the row has ", row.size(), " numbers; there must be one for each of the ", columns_.size(),
         " columns: ", known());
  for (std::size_t i = 0; i < row.size(); ++i) values_[i].push_back(row[i]);
}

template <class Lazy>
std::span<const double> History::operator[](std::string_view column) const {
  const Index at = find(column);
  if (at < 0) fail("History: unknown column '", column, "'; known: ", known(), did_you_mean(column, columns_));
  return numbers(static_cast<std::size_t>(at));
}

template <class Lazy>
Index History::best(std::string_view column, bool higher_is_better) const {
  const std::span<const double> all = (*this)[column];
  Index best = -1;
  for (Index i = 0; i < rows(); ++i) {
    const double x = all[static_cast<std::size_t>(i)];
    const double most = best < 0 ? x : all[static_cast<std::size_t>(best)];
    if (best < 0 ? !std::isnan(x) : higher_is_better ? x > most : x < most) best = i;
  }
  if (best < 0) fail("History: no row of column '", column, "' has a number (", rows(), " rows); there is no best one");
  return best;
}

template <class Lazy>
[[gnu::cold]] std::string History::header() const {
  std::string out;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    if (i > 0) out += ',';
    const std::string& name = columns_[i];
    // A byte-order mark at the start would be taken for the file's own.
    const bool plain = name.find_first_of("\",\r\n") == std::string::npos && name[0] != '\xEF';
    if (!plain) out += '"';
    for (const char c : name) out.append(c == '"' ? 2 : 1, c);
    if (!plain) out += '"';
  }
  if (!columns_.empty()) out += '\n';
  return out;
}

template <class Lazy>
[[gnu::cold]] std::string History::csv() const {
  std::string out = header();
  for (std::size_t row = 0; row < static_cast<std::size_t>(rows()); ++row) {
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      const double x = numbers(i)[row];
      if (i > 0) out += ',';
      if (!std::isnan(x)) detail::append_exact(out, x);
    }
    out += '\n';
  }
  return out;
}

/// Takes over what `csv` wrote.
template <class Lazy>
[[gnu::cold]] void History::read(std::string_view table) {
  const std::string first = header();
  if (!table.starts_with(first))
    fail("History: the record has the columns ", table.substr(0, table.find('\n')), "; here they are ", known());
  History taken(columns_);
  std::vector<double> row;
  const char *at = table.data() + first.size(), *const end = table.data() + table.size();
  while (at != end) {
    double value = std::numeric_limits<double>::quiet_NaN();
    if (*at != ',' && *at != '\n') {
      const auto [stop, error] = std::from_chars(at, end, value);
      at = error == std::errc() ? stop : end;
    }
    row.push_back(value);
    if (at == end || (*at != ',' && *at != '\n') || (*at == '\n' && row.size() != columns_.size())) break;
    if (*at++ == ',') continue;
    taken.append(row);
    row.clear();
  }
  if (!row.empty()) fail("History: row ", taken.rows(), " of the record is not ", columns_.size(), " numbers");
  *this = std::move(taken);
}

template <class Lazy>
[[gnu::cold]] std::string History::text(Index last) const {
  const auto all = static_cast<std::size_t>(rows());
  const std::size_t shown = last < rows() ? static_cast<std::size_t>(last < 0 ? 0 : last) : all;
  std::vector<std::string> lines;  // of the table so far, column by column
  std::vector<std::string> cells;
  std::size_t height = 0;  // of the header
  for (const std::string& name : columns_) {
    std::size_t parts = 1;
    for (const char c : name) parts += c == '/';
    height = parts > height ? parts : height;
  }
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    cells.assign(height, "");
    std::string_view rest = columns_[i];
    for (std::size_t line = height; line-- > 0 && !rest.empty();) {  // from the last part up
      const std::size_t slash = rest.rfind('/');
      detail::append_printable(cells[line], slash == std::string_view::npos ? rest : rest.substr(slash + 1));
      rest = rest.substr(0, slash == std::string_view::npos ? 0 : slash);
    }
    if (shown < all) cells.push_back(i == 0 ? "..." : "");
    const std::size_t first = cells.size();
    std::size_t most = 0;  // decimals
    const auto decimals = [](const std::string& cell) {
      const std::size_t point = cell.find('.');
      return point == std::string::npos ? 0 : cell.size() - point - 1;
    };
    for (const double x : numbers(i).subspan(all - shown)) {
      cells.push_back(std::isnan(x) ? "-" : detail::short_number(x));
      if (cells.back().find('e') == std::string::npos && decimals(cells.back()) > most) most = decimals(cells.back());
    }
    // The points of a column below each other.
    for (std::size_t k = first; k < cells.size() && most > 0; ++k)
      if (cells[k].find_first_of("eni") == std::string::npos && cells[k] != "-") {
        if (decimals(cells[k]) == 0) cells[k] += '.';
        cells[k].append(most - decimals(cells[k]), '0');
      }
    Index width = 0;
    for (const std::string& cell : cells) {
      const Index wide = detail::display_width(cell);
      width = wide > width ? wide : width;
    }
    lines.resize(cells.size());
    for (std::size_t k = 0; k < cells.size(); ++k) {
      if (i > 0) lines[k] += "  ";
      detail::append_right(lines[k], cells[k], width);
    }
  }
  std::string out;
  for (std::string& line : lines) {
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + '\n';
  }
  return out;
}

}  // namespace espalier::inline ESPALIER_ABI
