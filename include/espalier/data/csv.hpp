#pragma once
// read_csv: a CSV file (RFC 4180) as a Table. Strict, and independent of the locale: what is not surely right is an
// error that names file, line, column and text, because a wrong number trains a wrong model without a word.
//
// Accepted: LF and CRLF, a byte-order mark, a last line without its end, quoted fields with delimiters, quotes
// (doubled) and line breaks in them. Spaces belong to the field. A field is missing when it is empty and unquoted, or
// listed in `missing`. A column is numbers when all that is there are numbers, text when none is; a mixture is an
// error, as it is most often a missing value that was not listed, or damage. The options may say of a column what it is. A
// number is what std::from_chars reads to the field's end, and finite.

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "espalier/data/table.hpp"
#include "espalier/io/file.hpp"

namespace espalier::inline ESPALIER_ABI {

struct CsvOptions {
  char delimiter = ',';
  std::vector<std::string> missing = {};           // further texts that mean "missing", quoted or not: {"NA", "?"}
  std::vector<std::string> text = {};              // columns to be read as text, whatever they hold: {"zip_code"}
  std::vector<std::string> numbers = {};           // columns that are numbers: whatever else stands there is the error
  /// Columns of text that hold nothing else than this, numbered in this order: {{"size", {"S", "M", "L"}}}.
  std::vector<Named<std::vector<std::string>>> categories = {};
  std::vector<std::string> names = {};             // the columns of a file without a header line
  std::uint64_t largest = std::uint64_t{1} << 32;  // bytes; a larger file is refused before anything is allocated
};

namespace detail {

inline constexpr std::size_t largest_csv_row = std::size_t{16} << 20;  // bytes
inline constexpr std::size_t most_csv_columns = 1'000'000;

/// Text for a message, cut to 40 bytes.
template <class Lazy = void>
std::string csv_quote(std::string_view text) {
  return in_quotes(text.substr(0, 40)) + (text.size() > 40 ? "..." : "");
}

/// Cuts text into rows of fields.
template <class Lazy = void>
class CsvScanner {
 public:
  struct Field {
    std::string_view raw = {};  // between the quotes, when there are any; then quotes inside are still doubled
    Index line = 0;             // counts from 1
    bool quoted = false, doubled = false;

    /// Without the doubling; `buffer` holds it where it differs from the file.
    std::string_view text(std::string& buffer) const {
      if (!doubled) return raw;
      buffer.clear();
      for (std::size_t i = 0; i < raw.size(); ++i) {
        buffer += raw[i];
        if (raw[i] == '"') ++i;
      }
      return buffer;
    }
  };

  CsvScanner(std::string_view text, char delimiter, std::string_view source)
      : text_(text), delimiter_(delimiter), source_(source) {
    if (text_.starts_with("\xEF\xBB\xBF")) at_ = 3;
    if (at_ == text_.size()) throw FileError(join(source_, ": is empty; a table has at least one line"));
    if (const std::size_t nul = text_.find('\0'); nul != std::string_view::npos) {
      line_ += std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(nul), '\n');
      fail_at(line_, 0, "there is a NUL byte; a table is text, in ASCII or UTF-8");
    }
  }

  /// The next row into `row`; false at the end.
  bool next(std::vector<Field>& row) {
    row.clear();
    if (at_ == text_.size()) return false;
    const std::size_t start = at_;
    const Index line = line_;
    for (bool more = true; more;) {
      if (row.size() == most_csv_columns) fail_at(line, 0, "the row has more than ", most_csv_columns, " fields");
      row.push_back(field(row.size() + 1));
      if (at_ - start > largest_csv_row) fail_at(line, 0, "the row has more than ", largest_csv_row, " bytes");
      more = separator(row.size());
    }
    return true;
  }

  /// The names of the columns, for messages.
  std::vector<std::string> names = {};

  /// Throws FileError `<source>, line 3, column 2 "<name>": <parts>`; column 0 leaves the column out.
  template <class... Parts>
  [[noreturn]] void fail_at(Index line, std::size_t column, const Parts&... parts) const {
    std::string where = join(source_, ", line ", line);
    if (column) where += join(", column ", column);
    if (column && column <= names.size()) where += ' ' + csv_quote(names[column - 1]);
    throw FileError(join(where, ": ", parts...));
  }

 private:
  Field field(std::size_t column) {
    Field f;
    f.line = line_;
    if (at_ < text_.size() && text_[at_] == '"') {
      f.quoted = true;
      const std::size_t start = ++at_;
      for (;; ++at_) {
        if (at_ == text_.size()) fail_at(f.line, column, "the quote that opens here is never closed");
        if (text_[at_] == '\n') ++line_;
        if (text_[at_] != '"') continue;
        if (at_ + 1 == text_.size() || text_[at_ + 1] != '"') break;
        f.doubled = true;
        ++at_;
      }
      f.raw = text_.substr(start, at_++ - start);
      return f;
    }
    const std::size_t start = at_;
    for (; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == delimiter_ || c == '\n' || c == '\r') break;
      if (c == '"')
        fail_at(f.line, column, csv_quote(rest(start)),
                " has a quote inside; quote the whole field and double the quotes in it");
    }
    f.raw = text_.substr(start, at_ - start);
    return f;
  }

  /// Steps over what follows a field; true when it is a delimiter.
  bool separator(std::size_t column) {
    if (at_ == text_.size()) return false;
    if (text_[at_] == delimiter_) return ++at_, true;
    const bool crlf = text_.substr(at_, 2) == "\r\n";
    if (!crlf && text_[at_] == '\r') fail_at(line_, column, "a carriage return without a line feed follows");
    if (!crlf && text_[at_] != '\n') fail_at(line_, column, csv_quote(rest(at_)), " follows the closing quote");
    at_ += crlf ? 2 : 1;
    ++line_;
    return false;
  }

  /// What stands at `start`, to the end of the field or line.
  std::string_view rest(std::size_t start) const {
    std::size_t end = start;
    while (end < text_.size() && text_[end] != delimiter_ && text_[end] != '\n' && text_[end] != '\r') ++end;
    return text_.substr(start, end - start);
  }

  std::string_view text_;
  std::size_t at_ = 0;
  Index line_ = 1;
  char delimiter_;
  std::string_view source_;
};

enum class NumberKind { none, finite, special, too_large };

/// The number that the whole text is, if it is one; `special` is an infinity or not a number.
template <class Lazy = void>
NumberKind parse_number(std::string_view text, double& value) {
  const char *begin = text.data(), *end = begin + text.size();
  value = 0;
  const auto [stop, error] = std::from_chars(begin, end, value);
  if (stop != end || error == std::errc::invalid_argument) return NumberKind::none;
  const std::string_view digits = text.substr(text[0] == '-' ? 1 : 0);
  if (digits[0] != '.' && (digits[0] < '0' || digits[0] > '9')) return NumberKind::special;
  if (error != std::errc::result_out_of_range) return NumberKind::finite;
  // Too large and too small are reported alike: the place of the first digit that is not 0 tells them apart.
  const std::size_t e = std::min(digits.find_first_of("eE"), digits.size());
  const std::size_t point = std::min(digits.find('.'), e), first = digits.find_first_of("123456789");
  Index exponent = 0;
  if (e < digits.size()) {
    const char* power = digits.data() + e + (digits[e + 1] == '+' ? 2 : 1);
    if (std::from_chars(power, end, exponent).ec == std::errc::result_out_of_range)
      exponent = (*power == '-' ? -1 : 1) * (Index{1} << 40);
  }
  value = 0;
  return static_cast<Index>(point) - static_cast<Index>(first) + exponent > 0 ? NumberKind::too_large
                                                                              : NumberKind::finite;
}

/// Takes a column's fields one by one and settles whether it is numbers or text.
template <class Lazy = void>
class CsvColumn {
 public:
  CsvColumn(std::string name, std::size_t number, const CsvScanner<>& scanner) : number_(number), scanner_(&scanner) {
    column_.name = std::move(name);
  }
  // What the caller says that it is; false when it was said already.
  bool read_as_text() { return declare(Kind::text_as_asked); }
  bool read_as_numbers() { return declare(Kind::numbers_as_asked); }
  bool read_as(const std::vector<std::string>& categories) {
    if (!declare(Kind::categories)) return false;
    if (categories.empty()) fail("read_csv: .categories lists none of ", csv_quote(column_.name), "; there must be at least one");
    for (const std::string& category : categories)
      if (!categories_.add(category))
        fail("read_csv: .categories lists ", csv_quote(category), " of ", csv_quote(column_.name), " twice; they must differ");
    return true;
  }

  void add(std::string_view text, Index line, bool missing) {
    double value = 0;
    if (!missing && kind_ != Kind::text_as_asked && kind_ != Kind::categories) settle(text, line, value);
    if (!missing && kind_ == Kind::categories && categories_.find(text) < 0)
      fail_here(line, text, " is none of the column's categories: ",
                listing(categories_.names(), [](const std::string& n) { return n; }),
                did_you_mean(text, categories_.names()));
    if (!missing && is_text()) value = category(text);
    any_missing_ |= missing;
    column_.present.push_back(!missing);
    column_.numbers.push_back(value);
  }

  TableColumn finish() && {
    if (!any_missing_) column_.present = {};
    column_.text = is_text();
    if (kind_ == Kind::categories) {
      column_.categories = categories_.names();
      return std::move(column_);
    }
    const std::vector<std::string>& seen = categories_.names();
    const auto text = [&](Index i) -> const std::string& { return seen[static_cast<std::size_t>(i)]; };
    std::vector<double> place(seen.size());
    for (Index i : sorted_order(seen.size(), [&](Index a, Index b) { return text(a) < text(b); })) {  // in byte order
      place[static_cast<std::size_t>(i)] = static_cast<double>(column_.categories.size());
      column_.categories.push_back(text(i));
    }
    if (!seen.empty())
      for (double& number : column_.numbers) number = place[static_cast<std::size_t>(number)];
    return std::move(column_);
  }

 private:
  enum class Kind { unknown, numbers, text, text_as_asked, numbers_as_asked, categories };

  bool is_text() const { return kind_ == Kind::text || kind_ == Kind::text_as_asked || kind_ == Kind::categories; }
  bool declare(Kind kind) {
    if (kind_ != Kind::unknown) return false;
    kind_ = kind;
    return true;
  }

  void settle(std::string_view text, Index line, double& value) {
    const NumberKind found = parse_number(text, value);
    if (found == NumberKind::special)
      fail_here(line, text, " is no finite number; if it means a missing value, list it in .missing");
    if (found == NumberKind::too_large) fail_here(line, text, " is too large for a number");
    if (kind_ == Kind::numbers_as_asked) {
      if (found != NumberKind::finite)
        fail_here(line, text, " is no number, and the column is read as numbers; if it means a missing value, list it in .missing");
      return;
    }
    const Kind kind = found == NumberKind::finite ? Kind::numbers : Kind::text;
    if (kind_ == Kind::unknown) {
      kind_ = kind;
      first_line_ = line;
      if (kind == Kind::text) first_ = text.substr(0, 41);
    }
    if (kind_ == kind) return;
    if (kind == Kind::text)
      fail_here(line, text, " is no number, but line ", first_line_,
                " has one; list it in .missing, or the column in .text");
    fail_here(line, text, " is a number, but line ", first_line_, " has ", csv_quote(first_),
              "; list that in .missing, or the column in .text");
  }

  template <class... Parts>
  [[noreturn]] void fail_here(Index line, std::string_view text, const Parts&... parts) const {
    scanner_->fail_at(line, number_, csv_quote(text), parts...);
  }

  /// Categories are numbered as they come, and in order at the end.
  double category(std::string_view text) {
    if (const Index known = categories_.find(text); known >= 0) return static_cast<double>(known);
    categories_.add(text);
    return static_cast<double>(categories_.size() - 1);
  }

  TableColumn column_;
  std::size_t number_;  // counts from 1
  const CsvScanner<>* scanner_;
  Kind kind_ = Kind::unknown;
  bool any_missing_ = false;
  Index first_line_ = 0;
  std::string first_;
  NameTable categories_;
};

}  // namespace detail

/// A table from CSV text; `source` names it in messages. Throws FileError for what is no such table or not surely read
/// right, and Error for options that make no sense.
template <class Lazy = void>
Table parse_csv(std::string_view text, const CsvOptions& options = {}, std::string_view source = "csv") {
  using namespace detail;
  if (std::string_view("\"\r\n\0", 4).find(options.delimiter) != std::string_view::npos)
    fail("read_csv: the delimiter is ", in_quotes({&options.delimiter, 1}), "; quotes, line ends and NUL cannot be it");
  CsvScanner<> scanner(text, options.delimiter, source);
  std::vector<CsvScanner<>::Field> row;
  std::string buffer;

  std::vector<std::string> names = options.names;
  if (names.empty()) {
    scanner.next(row);
    for (const CsvScanner<>::Field& field : row) names.emplace_back(field.text(buffer));
  }
  NameTable places;
  std::vector<CsvColumn<>> columns;
  for (const std::string& name : names) {
    const bool is_new = places.add(name);
    if (!is_new && options.names.empty())
      scanner.fail_at(row[columns.size()].line, columns.size() + 1, csv_quote(name), " names column ",
                      places.find(name) + 1, " already; names must differ");
    if (!is_new) fail("read_csv: .names lists ", csv_quote(name), " twice; names must differ");
    columns.emplace_back(name, columns.size() + 1, scanner);
  }
  scanner.names = names;
  const auto declare = [&](const std::string& name, std::string_view kind, auto&& as) {
    const Index found = places.find(name);
    if (found < 0) unknown_column(source, name, join(", to be read as ", kind), names);
    if (!as(columns[static_cast<std::size_t>(found)]))
      fail("read_csv: column ", csv_quote(name), " is listed twice in .text, .numbers and .categories; it is of one kind");
  };
  for (const std::string& name : options.text) declare(name, "text", [](CsvColumn<>& c) { return c.read_as_text(); });
  for (const std::string& name : options.numbers) declare(name, "numbers", [](CsvColumn<>& c) { return c.read_as_numbers(); });
  for (const auto& [name, list] : options.categories)
    declare(name, "categories", [&list = list](CsvColumn<>& c) { return c.read_as(list); });

  std::vector<Index> lines;
  while (scanner.next(row)) {
    lines.push_back(row[0].line);
    if (row.size() != columns.size())
      scanner.fail_at(lines.back(), 0, "fields in the row: ", row.size(), "; columns of the table: ", columns.size());
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string_view field = row[i].text(buffer);
      bool missing = field.empty() && !row[i].quoted;
      for (const std::string& other : options.missing) missing = missing || field == other;
      columns[i].add(field, row[i].line, missing);
    }
  }
  std::vector<TableColumn> finished;
  for (CsvColumn<>& column : columns) finished.push_back(std::move(column).finish());
  return Table(std::move(finished), std::string(source), std::move(lines));
}

/// A table from a CSV file: `read_csv("digits.csv")`, `read_csv("cars.txt", {.delimiter = ';', .missing = {"?"}})`.
/// Throws as `parse_csv`, and FileError when the file cannot be read.
template <class Lazy = void>
Table read_csv(const std::string& path, const CsvOptions& options = {}) {
  return parse_csv(read_file(path, options.largest), options, path);
}

}  // namespace espalier::inline ESPALIER_ABI
