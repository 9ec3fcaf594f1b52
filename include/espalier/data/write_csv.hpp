#pragma once
// write_csv: a Table as a CSV file that read_csv, and every other reader, takes.
//
//   Table results;
//   results.add({.name = "price", .numbers = prices});
//   write_csv("prices.csv", results);
//
// A header line, then the rows; lines end in LF. Numbers have the fewest digits that are read back as the same number, or
// as many as are asked for, in every locale. A missing cell is an empty field; an empty text is quoted, so that it stays one.
// Text that reads as a number ("007") is text in the file as well only for a reader that is told so: CsvOptions::text.

#include <charconv>
#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "espalier/data/table.hpp"
#include "espalier/io/file.hpp"

namespace espalier::inline ESPALIER_ABI {

struct CsvWriteOptions {
  char delimiter = ',';
  int digits = 0;  // significant ones of numbers, at most 17; 0: as many as are needed to read the same number
  std::string missing = {};  // what stands for a missing cell; a text equal to it is refused
};

namespace detail {

/// A field; in quotes where a reader would otherwise take it for something else (RFC 4180). A byte-order mark at the start
/// of a file would be taken for the file's own.
template <class Lazy = void>
[[gnu::cold]] void append_csv_field(std::string& out, std::string_view text, char delimiter) {
  const bool plain = !text.empty() && text.find_first_of("\"\r\n") == std::string_view::npos &&
                     text.find(delimiter) == std::string_view::npos && text[0] != '\xEF';
  if (plain) {
    out.append(text);
    return;
  }
  out += '"';
  for (const char c : text) out.append(c == '"' ? 2 : 1, c);
  out += '"';
}

}  // namespace detail

/// The table as CSV text. Throws Error for a table without columns, a number that is not finite (which read_csv refuses),
/// text that could not be told from a missing cell, text or a name with a NUL byte, and a delimiter that cannot be one.
template <class Lazy = void>
[[gnu::cold]] std::string csv_text(const Table& table, const CsvWriteOptions& options = {}) {
  constexpr std::string_view op = "write_csv";
  constexpr std::string_view never("\"\r\n\0", 4);  // a delimiter
  if (never.find(options.delimiter) != std::string_view::npos)
    fail(op, ": the delimiter is ", in_quotes({&options.delimiter, 1}), "; quotes, line ends and NUL cannot be it");
  if (options.digits < 0 || options.digits > 17) fail(op, ": .digits is ", options.digits, "; it must be in [0, 17]");
  if (table.columns() == 0) fail(op, ": the table has no columns; a file has at least one");
  const Table::Names& names = table.names();
  std::string out;
  const auto field = [&](std::string_view text, const std::string& column) {
    if (text.find('\0') != std::string_view::npos)
      fail(op, ": column ", in_quotes(column), " has a NUL byte in ", in_quotes(text), "; a CSV file holds none");
    detail::append_csv_field(out, text, options.delimiter);
  };
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i > 0) out += options.delimiter;
    field(names[i], names[i]);
  }
  out += '\n';

  struct Column {
    const double* numbers = nullptr;          // or
    Tensor<Index> classes;                    // of the
    std::span<const std::string> categories;  // of text
    Tensor<bool> present;
  };
  std::vector<Column> columns;
  for (const std::string& name : names) {
    Column column;
    if (table.is_text(name)) {
      column.classes = table.classes(name);
      column.categories = table.categories(name);
    } else {
      column.numbers = table.column(name).data();
    }
    column.present = table.present({name});
    columns.push_back(std::move(column));
  }
  for (Index row = 0; row < table.rows(); ++row) {
    for (std::size_t i = 0; i < columns.size(); ++i) {
      const Column& column = columns[i];
      if (i > 0) out += options.delimiter;
      if (!column.present.data()[row]) {
        if (!options.missing.empty()) field(options.missing, names[i]);
      } else if (column.numbers) {
        const double x = column.numbers[row];
        if (!std::isfinite(x))
          fail(table.place(names[i], row), ": ", x, " cannot be written; numbers in a file are finite");
        char digits[32];
        char* const last = digits + sizeof digits;
        const char* end = options.digits
                              ? std::to_chars(digits, last, x, std::chars_format::general, options.digits).ptr
                              : std::to_chars(digits, last, x).ptr;
        field({digits, static_cast<std::size_t>(end - digits)}, names[i]);  // the delimiter may be a point
      } else {
        const std::string& text = column.categories[static_cast<std::size_t>(column.classes.data()[row])];
        if (!options.missing.empty() && text == options.missing)
          fail(table.place(names[i], row), ": ", in_quotes(text),
               " is what stands for a missing cell; choose another .missing");
        field(text, names[i]);
      }
    }
    out += '\n';
  }
  return out;
}

/// The same into a file, by `replace_file`: a crash leaves the old file or the new one. Throws FileError as well.
template <class Lazy = void>
[[gnu::cold]] void write_csv(const std::string& path, const Table& table, const CsvWriteOptions& options = {}) {
  replace_file(path, csv_text(table, options));
}

}  // namespace espalier::inline ESPALIER_ABI
