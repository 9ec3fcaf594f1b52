#pragma once
// CompareFile: the runs of a comparison as a CSV file, kept up to date while they are done, and taken up again.
//
// Included by name: train/compare.hpp brings it.

#include <charconv>
#include <string>
#include <string_view>
#include <vector>

#include "espalier/data/write_csv.hpp"
#include "espalier/io/file.hpp"
#include "espalier/train/comparison.hpp"

namespace espalier::inline ESPALIER_ABI::detail {

/// A row per run: model, method, task (of a single-task run), seed, setup (a number that stands for all that makes runs
/// comparable), steps, ms_per_step, error, and every measure as validation/<task>/<measure> and test/<task>/<measure>; NaN is
/// an empty field. Rows of runs that this comparison does not have stay as they are. Written whole, by `replace_file`.
class CompareFile {
 public:
  /// Reads the file where there is one; an empty path is no file. Throws FileError for one of other columns.
  CompareFile(std::string path, const std::vector<ComparedMeasure>& measures) : path_(std::move(path)), measures_(measures.size()) {
    if (path_.empty()) return;
    header_ = "model,method,task,seed,setup,steps,ms_per_step,error";
    for (const char* part : {"validation/", "test/"})
      for (const ComparedMeasure& m : measures) {
        header_ += ',';
        append_csv_field(header_, join(part, m.task, '/', m.name), ',');
      }
    header_ += '\n';
    if (file_exists(path_)) read(read_file(path_, std::uint64_t{1} << 32));
    else check_replaceable(path_);
  }

  /// Fills in what a run has found, when the file has it. Throws FileError for a run of another setup.
  bool take(ComparedRun& run, std::uint64_t setup) const {
    for (const Row& row : rows_)
      if (row.run.same_run(run)) {
        if (row.setup != setup)
          throw FileError(join("compare: \"", path_, "\" has a run of model '", run.model, "', method '", run.method,
                               "', seed ", run.seed,
                               " with other data or options; name another file, or remove this one"));
        run = row.run;
        return true;
      }
    return false;
  }
  /// Adds a run that is done.
  void add(const ComparedRun& run, std::uint64_t setup) {
    if (path_.empty()) return;
    rows_.push_back({run, setup});
    std::string text = header_;
    for (const Row& row : rows_) append(text, row);
    replace_file(path_, text);
  }

 private:
  struct Row {
    ComparedRun run;
    std::uint64_t setup;
  };

  static void append_number(std::string& out, double x) {
    out += ',';
    if (!std::isnan(x)) append_exact(out, x);
  }
  static void append(std::string& out, const Row& row) {
    const ComparedRun& run = row.run;
    append_csv_field(out, run.model, ',');
    for (const std::string* text : {&run.method, &run.task}) {
      out += ',';
      if (!text->empty()) append_csv_field(out, *text, ',');
    }
    out += join(',', run.seed, ',', row.setup, ',', run.steps);
    append_number(out, run.milliseconds);
    out += ',';
    if (!run.error.empty()) append_csv_field(out, run.error, ',');
    for (const auto* values : {&run.validation, &run.test})
      for (const double x : *values) append_number(out, x);
    out += '\n';
  }

  [[noreturn, gnu::cold]] void refuse(std::string_view what) const {
    throw FileError(join("compare: \"", path_, "\" ", what, "; name another file, or remove this one"));
  }
  /// The fields of the next line; false at the end.
  bool next_row(std::string_view& text, std::vector<std::string>& fields) const {
    fields.clear();
    if (text.empty()) return false;
    for (bool more = true; more;) {
      std::string& field = fields.emplace_back();
      if (text.starts_with('"')) {
        text.remove_prefix(1);
        for (;;) {
          const std::size_t quote = text.find('"');
          if (quote == std::string_view::npos) refuse("ends within quotes");
          field.append(text.substr(0, quote));
          text.remove_prefix(quote + 1);
          if (!text.starts_with('"')) break;
          field += '"';
          text.remove_prefix(1);
        }
      } else {
        const std::size_t end = text.find_first_of(",\n");
        field.append(text.substr(0, end));
        text.remove_prefix(end == std::string_view::npos ? text.size() : end);
      }
      if (!text.starts_with(',') && !text.starts_with('\n')) refuse("has a broken line");
      more = text[0] == ',';
      text.remove_prefix(1);
    }
    return true;
  }
  template <class Number>
  Number number(const std::string& field, Number otherwise) const {
    if (field.empty()) return otherwise;
    Number value{};
    const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
    if (error != std::errc() || end != field.data() + field.size()) refuse(join("has '", field, "' where a number belongs"));
    return value;
  }
  [[gnu::cold]] void read(std::string_view text) {
    if (!text.starts_with(header_)) refuse("has other columns than the runs of this comparison");
    text.remove_prefix(header_.size());
    std::vector<std::string> fields;
    while (next_row(text, fields)) {
      if (fields.size() != 8 + 2 * measures_) refuse(join("has a line of ", fields.size(), " fields, not ", 8 + 2 * measures_));
      constexpr double nan = std::numeric_limits<double>::quiet_NaN();
      ComparedRun run{.model = fields[0], .method = fields[1], .task = fields[2], .seed = number<Index>(fields[3], 0),
                      .steps = number<Index>(fields[5], 0), .milliseconds = number(fields[6], nan), .error = fields[7]};
      for (std::size_t m = 0; m < measures_; ++m) {
        run.validation.push_back(number(fields[8 + m], nan));
        run.test.push_back(number(fields[8 + measures_ + m], nan));
      }
      rows_.push_back({std::move(run), number<std::uint64_t>(fields[4], 0)});
    }
  }

  std::string path_, header_;
  std::size_t measures_;
  std::vector<Row> rows_;
};

}  // namespace espalier::inline ESPALIER_ABI::detail
