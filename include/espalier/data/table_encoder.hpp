#pragma once
// TableEncoder: columns of a Table as one modality: numbers standardised, text one-hot, what is missing marked.
//
//   auto [train, test] = split(read_csv("cars.csv"), 0.8, rng);
//   const TableEncoder encoder(train, {"power", "weight", "fuel"});   // fitted on the training part alone
//   Dataset<float> data{{{"car", encoder(train)}}, {{"price", train.target({"price"})}}};
//   MultiModalModel model{{.encoders = {{"car", Linear{encoder.width(), 64, rng}}}, ...
//
// It is saved with the model, and an encoder that is not yet fitted takes on what a file holds:
//
//   save("run.safetensors", {{"encoder", encoder}, {"model", model}}, {.metadata = {{"width", std::to_string(encoder.width())}}});

#include <charconv>
#include <cmath>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "espalier/core/names.hpp"
#include "espalier/data/one_hot.hpp"
#include "espalier/data/standardise.hpp"
#include "espalier/data/table.hpp"

namespace espalier::inline ESPALIER_ABI {

struct TableEncoderOptions {
  std::vector<std::string> classes = {};  // columns of class numbers: one-hot, as text is
  /// A further column per column, 1 where the cell is missing. Unset: where the fitted rows miss some.
  std::optional<bool> missing_flags = {};
  NoCategory unknown = NoCategory::zeros;  // text, or a class, that was not there when fitting
};

namespace detail {

/// How one column of a table is encoded.
struct ColumnCode {
  std::string name;
  bool categorical = false, flag = false;  // flag: of numbers, whether a column marks missing cells
  double mean = 0, deviation = 1;
  Categories categories;  // a missing cell's mark is theirs

  Index width() const { return categorical ? categories.width() : 1 + flag; }
};

/// The columns' codes: all of a TableEncoder that does not depend on the scalar type.
class TableCode {
 public:
  std::vector<ColumnCode> columns;
  std::string_view component = "TableEncoder";  // for messages

  template <class Lazy = void>
  Index width() const {
    Index sum = 0;
    for (const ColumnCode& c : columns) sum += c.width();
    return sum;
  }
  template <class Lazy = void>
  void fit(const Table& table, const Table::Names& names, const TableEncoderOptions& options);
  /// Writes the cells of a column, [rows, its width], and which are there.
  template <class Lazy = void>
  void encode(const ColumnCode& code, const Table& table, std::vector<double>& cells, Tensor<bool>& present) const;
  /// All of it as texts, and back. Throws Error, and changes nothing, for texts that are none of `write`.
  template <class Lazy = void>
  std::vector<std::string> write() const;
  template <class Lazy = void>
  void read(const std::vector<std::string>& texts);

 private:
  template <class Lazy = void>
  static void check_number(const Table& table, std::string_view name, Index row, double number) {
    if (!std::isfinite(number))
      fail(table.place(name, row), ": ", number, " is no finite number; what is not marked as missing must be one");
  }
};

template <class Lazy>
void TableCode::fit(const Table& table, const Table::Names& names, const TableEncoderOptions& options) {
  if (names.empty()) fail(component, ": no columns are named; there must be at least one");
  NameTable known, classes;
  for (const std::string& name : names)
    if (!known.add(name)) fail(component, ": column '", name, "' is named twice; names must differ");
  for (const std::string& name : options.classes) {
    classes.add(name);
    if (known.find(name) < 0)
      fail(component, ": .classes lists '", name, "', which is not among the columns ",
           listing(names, [](const std::string& n) { return n; }));
  }

  std::vector<ColumnCode> fitted;
  for (const std::string& name : names) {
    ColumnCode code;
    code.name = name;
    const Index missing = table.missing(name);
    if (missing == table.rows())
      fail(component, ": column '", name, "' of ", table.source(), " holds no value to fit on; leave it out");
    const bool flag = options.missing_flags.value_or(missing > 0);
    code.categorical = table.is_text(name) || classes.find(name) >= 0;
    if (code.categorical) {
      code.categories.unknown = options.unknown;
      code.categories.missing = flag ? NoCategory::column : NoCategory::zeros;
      code.categories.fit(table, name);
    } else {
      code.flag = flag;
      const std::span<const double> numbers = table.column(name);
      const Tensor<bool> present = table.present({name});
      Moments moments;
      for (std::size_t r = 0; r < numbers.size(); ++r) {
        if (!present.data()[r]) continue;
        check_number(table, name, static_cast<Index>(r), numbers[r]);
        moments.add(1, numbers[r]);
      }
      moments.centre();
      for (std::size_t r = 0; r < numbers.size(); ++r)
        if (present.data()[r]) moments.add_square(1, numbers[r]);
      code.mean = moments.mean;
      code.deviation = moments.deviation();
    }
    fitted.push_back(std::move(code));
  }
  columns = std::move(fitted);
}

template <class Lazy>
void TableCode::encode(const ColumnCode& code, const Table& table, std::vector<double>& cells,
                              Tensor<bool>& present) const {
  const auto rows = static_cast<std::size_t>(table.rows()), width = static_cast<std::size_t>(code.width());
  cells.assign(rows * width, 0);
  present = table.present({code.name});
  if (code.categorical) {
    const std::vector<Index> places = code.categories.places(component, table, code.name);
    for (std::size_t r = 0; r < rows; ++r)
      if (places[r] >= 0) cells[r * width + static_cast<std::size_t>(places[r])] = 1;
    return;
  }
  const bool any = table.missing(code.name) < table.rows();
  if (any && table.is_text(code.name))
    fail(component, ": column '", code.name, "' of ", table.source(),
         " holds text, but numbers when it was fitted; it must be of one kind");
  const std::span<const double> numbers = any ? table.column(code.name) : std::span<const double>();
  for (std::size_t r = 0; r < rows; ++r) {
    if (present.data()[r]) {
      check_number(table, code.name, static_cast<Index>(r), numbers[r]);
      cells[r * width] = (numbers[r] - code.mean) / code.deviation;
    } else if (code.flag) {
      cells[r * width + 1] = 1;
    }
  }
}

// Per column: name, "number", mean, deviation, whether there is a flag; or name, "text" or "classes", what becomes of
// unknown and of missing cells, the number of categories, the categories. Numbers are the shortest that are read back
// exactly.
template <class Lazy>
std::vector<std::string> TableCode::write() const {
  std::vector<std::string> texts;
  const auto number = [&](double value) {
    char digits[32];
    texts.emplace_back(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
  };
  for (const ColumnCode& code : columns) {
    texts.push_back(code.name);
    if (!code.categorical) {
      texts.emplace_back("number");
      number(code.mean);
      number(code.deviation);
      texts.emplace_back(code.flag ? "1" : "0");
      continue;
    }
    texts.emplace_back(code.categories.numbers ? "classes" : "text");
    texts.emplace_back(word(code.categories.unknown));
    texts.emplace_back(word(code.categories.missing));
    texts.push_back(std::to_string(code.categories.names.size()));
    for (const std::string& category : code.categories.names) texts.push_back(category);
  }
  return texts;
}

template <class Lazy>
void TableCode::read(const std::vector<std::string>& texts) {
  const auto broken = [this](std::string_view text, std::string_view rule) {
    fail(component, ": the columns of the file say '", text, "' where there must be ", rule);
  };
  std::size_t at = 0;
  const auto next = [&]() -> std::string_view { return at < texts.size() ? texts[at++] : std::string_view("the end"); };
  const auto number = [&] {
    const std::string_view text = next();
    double value = 0;
    const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
    if (result.ec != std::errc() || result.ptr != text.data() + text.size() || !std::isfinite(value))
      broken(text, "a finite number");
    return value;
  };
  std::vector<ColumnCode> all;
  while (at < texts.size()) {
    ColumnCode code;
    code.name = next();
    const std::string_view kind = next();
    if (kind == "number") {
      code.mean = number();
      code.deviation = number();
      if (!(code.deviation > 0)) broken(texts[at - 1], "a deviation above 0");
      const std::string_view flag = next();
      if (flag != "0" && flag != "1") broken(flag, "0 or 1");
      code.flag = flag == "1";
    } else if (kind == "text" || kind == "classes") {
      code.categorical = true;
      code.categories.numbers = kind == "classes";
      set_choice(code.categories.unknown, component, next());
      set_choice(code.categories.missing, component, next());
      Index count = 0;
      const std::string_view text = next();
      if (!class_number(text, count) || count < 1 || static_cast<std::size_t>(count) > texts.size() - at)
        broken(text, "the number of the categories that follow");
      for (; count > 0; --count) code.categories.names.emplace_back(next());
      code.categories.check(component);
    } else {
      broken(kind, "number, text or classes");
    }
    all.push_back(std::move(code));
  }
  NameTable names;
  for (const ColumnCode& code : all)
    if (!names.add(code.name)) broken(code.name, "another column than before");
  const auto listed = [](const std::vector<ColumnCode>& codes) {
    return listing(codes, [](const ColumnCode& c) { return c.name + (c.categorical ? " (categories)" : ""); });
  };
  if (!columns.empty() && listed(columns) != listed(all))  // the model beside it expects its columns
    fail(component, ": the file is of the columns ", listed(all), "; this encoder was fitted on ", listed(columns),
         "; load into one that is not fitted");
  columns = std::move(all);
}

}  // namespace detail

/// Makes one modality of several columns, by what the fitted rows say. Columns of the result, in the order of the names:
/// a column of numbers is standardised (mean 0, deviation 1; a missing cell is 0, the mean); a column of text, or of
/// class numbers if the options list it, becomes one of 0 and 1 per category (see OneHot); after each, where
/// `missing_flags` says so, one that is 1 where the cell is missing. A row in which all of the columns are missing does
/// not have the modality: it is 0 throughout and not `present`.
template <Differentiable T = float>
class TableEncoder {
 public:
  /// Not fitted; to be loaded into.
  TableEncoder() = default;
  TableEncoder(const Table& table, const Table::Names& names, const TableEncoderOptions& options = {}) {
    fit(table, names, options);
  }
  /// Takes mean, deviation and categories from the table. Throws Error for an unknown column, for one that is named
  /// twice or holds no value, and for a number that is not finite (of classes: whole and not negative).
  void fit(const Table& table, const Table::Names& names, const TableEncoderOptions& options = {}) {
    code_.fit(table, names, options);
  }

  /// The columns of the result.
  Index width() const { return code_.width(); }
  /// Their names: `power`, `power missing`, `fuel=diesel`.
  std::vector<std::string> columns() const {
    std::vector<std::string> names;
    for (const detail::ColumnCode& code : code_.columns) {
      if (code.categorical) {
        code.categories.append_columns(code.name, names);
        continue;
      }
      names.push_back(code.name);
      if (code.flag) names.push_back(code.name + " missing");
    }
    return names;
  }

  /// The columns that held text, for CsvOptions::text of later files: what is in them then may look like numbers.
  std::vector<std::string> text_columns() const {
    std::vector<std::string> names;
    for (const detail::ColumnCode& code : code_.columns)
      if (code.categorical && !code.categories.numbers) names.push_back(code.name);
    return names;
  }

  /// Values [rows, width] and presence [rows], undefined when all rows have the modality. Throws Error before fitting,
  /// for a table without one of the columns or with one of another kind, and as OneHot does; a column that is missing
  /// throughout is of every kind.
  Input<T> operator()(const Table& table) const {
    if (code_.columns.empty()) fail("TableEncoder: it is not fitted; fit or load it first");
    const Index rows = table.rows(), width = this->width();
    Tensor<T> values = Tensor<T>::empty({rows, width});
    Tensor<bool> some = Tensor<bool>::zeros({rows}), present;
    std::vector<double> cells;
    Index begin = 0;
    for (const detail::ColumnCode& code : code_.columns) {
      code_.encode(code, table, cells, present);
      const double* cell = cells.data();
      for (Index r = 0; r < rows; ++r) {
        some.raw()[r] |= present.data()[r];
        for (Index c = begin; c < begin + code.width(); ++c) values.raw()[r * width + c] = static_cast<T>(*cell++);
      }
      begin += code.width();
    }
    bool all = true;
    for (Index r = 0; r < rows; ++r) {
      if (some.data()[r]) continue;
      all = false;
      std::fill_n(values.raw() + r * width, width, T(0));  // not even marks of what is missing
    }
    return {values, all ? Tensor<bool>() : some};
  }

  /// The columns with all that belongs to them; an encoder that is not fitted takes on those of a file, a fitted one needs
  /// the same. Throws Error for others.
  void fields(auto&& visit) {
    std::vector<std::string> texts = code_.write();
    const std::vector<std::string> before = texts;
    visit("columns", texts);
    if (texts != before) code_.read(texts);
  }

 private:
  detail::TableCode code_;
};
TableEncoder(const Table&, const Table::Names&) -> TableEncoder<float>;
TableEncoder(const Table&, const Table::Names&, const TableEncoderOptions&) -> TableEncoder<float>;

}  // namespace espalier::inline ESPALIER_ABI
