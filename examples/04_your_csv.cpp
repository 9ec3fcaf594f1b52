// A model of your own table: several targets, numbers and classes, from several groups of columns, with gaps.
// Without arguments it takes the 20 rows of examples/data/linnerud.csv: exercises done, and the bodies that did them.
// tolerance: 0.05

#include <espalier/espalier.hpp>

#include <cstdio>

#include "command_line.hpp"
#include "data_file.hpp"

using namespace espalier;

namespace {

constexpr std::string_view program = "04_your_csv";
constexpr const char* usage =
    "examples/run 04 --data FILE --inputs a,b,c --targets x,y:class [--save MODEL]   trains a model and judges it\n"
    "examples/run 04 --load MODEL --data FILE --predict OUT.csv                      predicts with it\n\n";
const std::vector<CommandLine::Option> known{
    {"--data", "FILE", "a table with a header line"},
    {"--inputs", "a,b", "columns to predict from: numbers, or text, which becomes categories"},
    {"--modality", "name=c,d", "further inputs, which some rows lack altogether; may be repeated"},
    {"--targets", "x,y:class", "columns to predict: numbers, or classes (text, or whole numbers marked :class)"},
    {"--missing", "NA,?", "what means a missing cell, besides an empty one"},
    {"--text", "zip", "columns to read as text though they look like numbers"},
    {"--delimiter", "\";\"", "what stands between the cells: one character, or tab (default: a comma)"},
    {"--seed", "N", "of the split and of the model (default: 0)"},
    {"--epochs", "N", "at most (default: 300); fewer when the validation loss does not improve"},
    {"--save", "MODEL", "writes the model and all that is needed to predict with it"},
    {"--load", "MODEL", "predicts with such a model; target columns are not needed then"},
    {"--predict", "OUT.csv", "what it predicts, a line per row of the data"}};

CsvOptions csv_options(const std::string& delimiter, const std::string& missing, Words text) {
  if (delimiter.size() != 1 && delimiter != "tab")
    fail("command line: --delimiter is '", delimiter, "'; it must be one character, or tab");
  return {.delimiter = delimiter == "tab" ? '\t' : delimiter[0], .missing = cut(missing), .text = std::move(text)};
}

/// Throws Error where a file could not be written, or is one that is read: before there is any work to lose.
void check_output(const CommandLine& line, const std::string& path) {
  for (const char* input : {"--data", "--load"})
    if (same_file(path, line.get(input)))
      fail(path, ": is to be written, but it is what ", input, " reads; name another file");
  check_replaceable(path);
}

/// How columns become tensors, and predictions columns: all of a trained program but the weights.
struct Coding {
  Words modalities;
  std::vector<TableEncoder<float>> inputs;  // of each modality
  std::vector<TargetEncoder<float>> targets;

  Dataset<float> operator()(const Table& table, bool labelled) const {
    Dataset<float> data;
    for (std::size_t m = 0; m < inputs.size(); ++m) data.inputs.add(modalities[m], inputs[m](table));
    for (std::size_t k = 0; labelled && k < targets.size(); ++k) data.targets.add(targets[k].name(), targets[k](table));
    return data;
  }
  void fields(auto&& visit) {
    visit("inputs", inputs);
    visit("targets", targets);
  }
};

MultiModalModel<float> make_model(const Coding& coding, Index hidden, Rng rng) {
  const std::size_t count = coding.inputs.size();
  MultiModalOptions<float> parts{.fusion = ConcatFusion(std::vector<Index>(count, hidden)),
                                 .trunk = Sequential{Linear{static_cast<Index>(count) * hidden, hidden, rng}, ReLU{}}};
  for (std::size_t m = 0; m < count; ++m)
    parts.encoders.push_back({coding.modalities[m], Sequential{Linear{coding.inputs[m].width(), hidden, rng}, ReLU{}}});
  for (const TargetEncoder<float>& target : coding.targets)
    parts.heads.push_back({target.name(), Linear{hidden, target.width(), rng}});
  return MultiModalModel<float>{parts};
}

/// Which columns are what.
struct Columns {
  std::vector<Named<Words>> inputs;  // of each modality
  std::vector<Named<bool>> targets;  // whether they are classes
};

/// Throws Error unless the table has all columns that the options name, each for one purpose.
Columns find_columns(const CommandLine& line, const Table& table) {
  Columns columns;
  NameTable used;
  const auto use = [&](const std::string& column) {
    const bool text = table.is_text(column);  // throws for an unknown one
    if (!used.add(column))
      fail("command line: column '", column, "' is named twice; it is an input or a target, and once");
    return text;
  };
  for (const auto& [option, value, help] : line.given()) {
    if (option != "--inputs" && option != "--modality") continue;
    const std::string modality = (option == "--inputs" ? "inputs=" : "") + value;
    const std::size_t equals = modality.find_first_of("=,");
    if (equals == 0 || equals == modality.npos || modality[equals] != '=')
      fail("command line: --modality is '", modality, "'; it must be name=column,column");
    columns.inputs.push_back({modality.substr(0, equals), cut(modality.substr(equals + 1))});
    for (const std::string& column : columns.inputs.back().value) use(column);
  }
  for (std::string column : cut(line.get("--targets"))) {
    const bool classes = column.ends_with(":class");
    if (classes) column.resize(column.size() - 6);
    columns.targets.push_back({column, use(column) || classes});
  }
  if (columns.inputs.empty() || columns.targets.empty())
    fail("command line: ", columns.inputs.empty() ? "--inputs" : "--targets", " names no column; it must name one");
  return columns;
}

/// Rows to train on, to validate and to test; alike in the first target that is classes.
std::array<Table, 3> divide(const Table& table, const Columns& columns, Rng rng) {
  if (table.rows() < 10) fail(table.source(), ": has ", table.rows(), " rows; to train and to test takes at least 10");
  const auto classes =
      std::find_if(columns.targets.begin(), columns.targets.end(), [](const auto& t) { return t.value; });
  const std::array<Table, 3> parts = classes == columns.targets.end()
                                         ? split(table, {0.7, 0.15, 0.15}, rng)
                                         : stratified_split(table, {0.7, 0.15, 0.15}, classes->name, rng);
  for (const auto& [column, is_classes] : columns.targets)
    for (const Table& part : parts)
      if (part.missing(column) == part.rows())
        fail(table.source(), ": column '", column, "' has ", table.rows() - table.missing(column),
             " values, and none in one of the three parts of the rows; it needs more, or another --seed");
  return parts;
}

/// A line per target, in its own unit, and what is to be said about it.
void report(const Coding& coding, const Table& test, const Evaluation& model, const Evaluation& baseline) {
  std::printf("%-24s %8s   %-9s %8s %9s   %-9s %8s %9s\n", join("on ", test.rows(), " test rows").c_str(), "labelled",
              "measure", "model", "baseline", "measure", "model", "baseline");
  Words unbeaten;
  for (const TargetEncoder<float>& target : coding.targets) {
    const std::string& name = target.name();
    const bool classes = target.of_classes();
    const char *first = classes ? "accuracy" : "rmse", *second = classes ? "f1_macro" : "r2";
    const double unit = classes ? 1 : target.deviation();
    std::printf("%-24s %8d   %-9s %8.4g %9.4g   %-9s %8.4g %9.4g\n", name.c_str(),
                static_cast<int>(test.rows() - test.missing(name)), first, unit * model(name, first),
                unit * baseline(name, first), second, model(name, second), baseline(name, second));
    if (classes ? model(name, first) <= baseline(name, first) : model(name, first) >= baseline(name, first))
      unbeaten.push_back(name);
  }
  std::printf("\nThe baseline is always the mean, or the most frequent class, of the training rows.\n");
  if (!unbeaten.empty()) std::printf("The model is no better than that at: %s.\n", joined(unbeaten).c_str());
  if (test.rows() < 30) std::printf("So few test rows say little: another --seed may say otherwise.\n");
}

Coding make_coding(const Columns& columns, const Table& table, const Table& train) {
  Coding coding;
  for (const auto& [name, list] : columns.inputs) {
    coding.modalities.push_back(name);
    coding.inputs.emplace_back(train, list);
  }
  for (const auto& [column, classes] : columns.targets)  // a class that only other rows have is still a class
    coding.targets.emplace_back(classes ? table : train, column, TargetEncoderOptions{.classes = classes});
  return coding;
}

void train(const CommandLine& line) {
  if (line.has("--predict")) fail("command line: --predict is given without --load; name the model by --load");
  const std::string path = line.get("--save");
  if (!path.empty()) check_output(line, path);
  const Index epochs = line.number("--epochs", 300, 1);
  const Rng rng(static_cast<std::uint64_t>(line.number("--seed", 0, 0)));
  const std::string delimiter = line.get("--delimiter", ","), missing = line.get("--missing");
  const Table table = read_csv(line.get("--data"), csv_options(delimiter, missing, cut(line.get("--text"))));
  const Columns columns = find_columns(line, table);
  const auto [train, validation, test] = divide(table, columns, rng);
  const Coding coding = make_coding(columns, table, train);
  std::vector<Named<TaskLoss<float>>> losses;
  for (const auto& [column, classes] : columns.targets)
    losses.push_back({column, classes ? TaskLoss<float>{CrossEntropy{}} : TaskLoss<float>{MSE{}}});
  const Index hidden =
      std::clamp(static_cast<Index>(2 * std::sqrt(static_cast<double>(train.rows()))), Index{8}, Index{128});
  MultiModalModel<float> model = make_model(coding, hidden, rng);
  MultiObjective<float> objective{losses};
  AdamW optimizer{parameters(model), {.lr = 3e-3, .weight_decay = 0.1}};
  TrainerOptions options{.epochs = epochs, .seed = rng.seed(), .early_stopping = {.patience = 50}};
  options.progress.stream = stderr;
  Trainer trainer{model, objective, optimizer, options};
  const Dataset<float> data = coding(train, true), unseen = coding(test, true);
  const History& history = trainer.fit(data, coding(validation, true));
  const int best = static_cast<int>(history.best("validation/loss", false)) + 1;
  std::printf("%s: %d rows to train on, %d to validate, %d to test\n%s; the best was epoch %d\n\n",
              table.source().c_str(), static_cast<int>(train.rows()), static_cast<int>(validation.rows()),
              static_cast<int>(test.rows()), trainer.ending().c_str(), best);
  const Baseline baseline(objective, model(data.inputs), data.targets);
  report(coding, test, evaluate(model, objective, unseen), evaluate(baseline, objective, unseen));
  if (path.empty()) return;

  save(path, {{"coding", coding}, {"model", model}},
       {.metadata = {{"program", std::string(program)},
                     {"modalities", joined(coding.modalities)},
                     {"targets", std::to_string(coding.targets.size())},
                     {"hidden", std::to_string(hidden)},
                     {"delimiter", delimiter},
                     {"missing", missing}}});
}

void predict_rows(const CommandLine& line) {
  for (const char* option : {"--inputs", "--modality", "--targets", "--text", "--save"})
    if (line.has(option))
      fail("command line: --load and ", option, " are given; the model knows its columns, leave ", option, " out");
  if (!line.has("--predict"))
    fail("command line: --load is given without --predict; name the file of predictions by --predict");
  const std::string path = line.get("--load"), out = line.get("--predict");
  check_output(line, out);
  const Metadata about = read_metadata(path);
  const auto entry = [&](std::string_view key) { return about.find(key) ? *about.find(key) : std::string(); };
  if (entry("program") != program) fail(path, ": is no model of this program; --load reads what --save has written");

  Coding coding{.modalities = cut(entry("modalities")), .inputs = {}, .targets = {}};
  coding.inputs.resize(coding.modalities.size());
  coding.targets.resize(static_cast<std::size_t>(whole_number(path, entry("targets"), 1)));
  load(path, {{"coding", coding}}, {.partial = true});  // it knows how wide the model is
  MultiModalModel<float> model = make_model(coding, whole_number(path, entry("hidden"), 1), Rng());
  load(path, {{"coding", coding}, {"model", model}});

  Words text;  // new data may look like numbers there
  for (const TableEncoder<float>& input : coding.inputs)
    for (const std::string& column : input.text_columns()) text.push_back(column);
  const CsvOptions csv =
      csv_options(line.get("--delimiter", entry("delimiter")), line.get("--missing", entry("missing")), text);
  const Table table = read_csv(line.get("--data"), csv);
  if (table.rows() == 0) fail(table.source(), ": has no rows; there is nothing to predict");
  const NamedList<Tensor<float>> found = predict(model, coding(table, false));
  Table predictions;
  for (const TargetEncoder<float>& target : coding.targets)
    for (TableColumn& column : target.decode(found[target.name()])) predictions.add(std::move(column));
  write_csv(out, predictions, {.delimiter = csv.delimiter, .digits = 7});  // as many as a float has
  std::printf("%s: %d rows predicted\n", out.c_str(), static_cast<int>(table.rows()));
}

}  // namespace

int main(int argc, char** argv) {
  try {
    Words words(argv + 1, argv + argc);
    if (CommandLine::asks_for_help(words)) return std::printf("%s%s", usage, CommandLine(known, {}).help().c_str()) < 0;
    if (words.empty())
      words = {"--data", data_file("linnerud.csv"), "--inputs", "chins,situps,jumps", "--targets", "weight,waist,pulse"};
    const CommandLine line(known, words);
    if (!line.has("--data")) fail("command line: no --data is given; name the table, or see --help");
    line.has("--load") ? predict_rows(line) : train(line);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
