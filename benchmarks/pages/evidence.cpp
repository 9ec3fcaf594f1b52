// Evidence: what joint training, its methods and its architectures are worth, on problems whose truth is known and on
// real tables.
//   evidence [--only PREFIX] [--data DIR] [--seeds N]
// DIR holds enb/enb.csv, slump/slump.csv, penguins/penguins.csv and naval/naval.csv; without it, and where one is
// missing, that is said and the rest is done. Every seed has a split and initial values of its own; `+-` is half of
// Student's 95 % interval over the seeds, of differences paired seed by seed. A claim holds when its whole interval is on
// the right side of 0; the exit code is 1 when one does not. Real tables make no claim: they are reported. All models of
// a table train for as many epochs.

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "../../tests/support/known_truth.hpp"

using namespace espalier;
using namespace known_truth;

namespace {

std::string only, data_folder;
Index seeds = 0;  // 0: each problem's own
bool all_hold = true;

bool wants(const std::string& name) { return name.compare(0, only.size(), only) == 0; }
void heading(const std::string& name, const char* what) {
  std::printf("\n== %s: %s\n", name.c_str(), what);
  std::fflush(stdout);
}
Comparison run(Problem& p, const std::vector<ComparedMethod>& methods) {
  if (seeds > 0) p.options.seeds = seeds;
  return compare(p.models, p.losses, methods, p.data, p.options);
}
/// `difference` is to be below 0.
void claim(const std::string& name, const std::string& what, const Interval& difference) {
  const bool holds = difference.mean + difference.half_width < 0;
  all_hold &= holds;
  std::printf("%s  %-78s %18s  %s\n", name.c_str(), what.c_str(), difference.text().c_str(),
              holds ? "holds" : "DOES NOT HOLD");
  std::fflush(stdout);
}
void say(const std::string& name, const std::string& what, const Interval& difference) {
  std::printf("%s  %-78s %18s\n", name.c_str(), what.c_str(), difference.text().c_str());
}

void helps() {
  const std::string name = "evidence/sharing-helps";
  if (!wants(name)) return;
  heading(name, "8 tasks on the same two directions of 30 inputs, 60 rows to train on; RMSE");
  Problem p = sharing_helps();
  const Comparison c = run(p, {UPGrad{}});
  std::printf("%s", c.text().c_str());
  claim(name, "Delta_m: sum - single task", c.difference(c.row("sum"), c.rows()[0]));
  claim(name, "Delta_m: upgrad - single task", c.difference(c.row("upgrad"), c.rows()[0]));
  Problem control = sharing_helps(false);
  const Comparison unrelated = run(control, {});
  say(name, "Delta_m: sum - single task, where each task has directions of its own",
      unrelated.difference(unrelated.row("sum"), unrelated.rows()[0]));
}

void hurts() {
  const std::string name = "evidence/sharing-hurts";
  if (!wants(name)) return;
  heading(name, "a clean task and an unrelated, noisy one in a unit ten times as small, on 8 units; RMSE");
  Problem p = sharing_hurts();
  const Comparison c = run(p, {UPGrad{}, NashMTL{}, IMTLG{}, IMTLL{}});
  std::printf("%s", c.text().c_str());
  const auto rmse = [&](const std::string& what, const ComparedRow& a, const ComparedRow& b,
                        const char* task = "clean") { claim(name, what, c.difference(a, b, task, "rmse")); };
  const ComparedRow &single = c.rows()[0], &sum = c.row("sum", "hard sharing"), &wide = c.row("sum", "wide"),
                    &cgc = c.row("sum", "CGC");
  rmse("clean: single task - hard sharing, sum", single, sum);
  rmse("clean: nash_mtl - sum", c.row("nash_mtl", "hard sharing"), sum);
  rmse("clean: imtl_g - sum", c.row("imtl_g", "hard sharing"), sum);
  rmse("clean: upgrad - sum (in part)", c.row("upgrad", "hard sharing"), sum);
  rmse("clean: CGC, sum - hard sharing, sum", cgc, sum);
  rmse("clean: CGC, sum - hard sharing of as many units, sum", cgc, wide);
  rmse("clean: CGC, nash_mtl - hard sharing, nash_mtl", c.row("nash_mtl", "CGC"), c.row("nash_mtl", "hard sharing"));
  claim(name, "Delta_m: nash_mtl - sum", c.difference(c.row("nash_mtl", "hard sharing"), sum));
  claim(name, "Delta_m: CGC, sum - hard sharing, sum", c.difference(cgc, sum));
  say(name, "clean: MMoE, sum - hard sharing of as many units, sum",
      c.difference(c.row("sum", "MMoE"), wide, "clean", "rmse"));
  say(name, "loud: nash_mtl - sum", c.difference(c.row("nash_mtl", "hard sharing"), sum, "loud", "rmse"));
  say(name, "loud: CGC, sum - hard sharing, sum", c.difference(cgc, sum, "loud", "rmse"));
}

/// Test MSE of both tasks together over draws of labels.
void mmoe(double c, double rho, bool claimed) {
  const std::string name = join("evidence/mmoe/c", c, "-rho", rho);
  if (!wants(name)) return;
  heading(name, "the MMoE synthetic, mean squared error of both tasks over draws of labels");
  const Index draws = seeds > 0 ? seeds : 10;
  std::vector<std::string> models;
  std::vector<std::vector<double>> errors;  // [models][draws]
  for (Index draw = 0; draw < draws; ++draw) {
    Problem p = mmoe_synthetic(static_cast<std::uint64_t>(draw), {.c = c, .rho = rho});
    const Comparison found = compare(p.models, p.losses, {}, p.data, p.options);
    errors.resize(found.rows().size());
    models.clear();
    for (std::size_t r = 0; r < found.rows().size(); ++r) {
      const ComparedRow& row = found.rows()[r];
      models.push_back(row.baseline ? "shared bottom, single task" : row.model);
      errors[r].push_back((found.value(row, "first", "loss").mean + found.value(row, "second", "loss").mean) / 2);
    }
  }
  for (std::size_t m = 0; m < models.size(); ++m) {
    std::string each;
    for (const double e : errors[m]) each += join(' ', detail::short_number(e));
    std::printf("%-28s %20s   draws:%s\n", models[m].c_str(), interval(errors[m]).text().c_str(), each.c_str());
  }
  for (std::size_t m = 1; m + 1 < models.size(); ++m) {  // as a ratio, for draws differ by a factor of ten
    std::vector<double> ratio;
    bool every = true;
    for (std::size_t d = 0; d < errors[m].size(); ++d) {
      ratio.push_back(std::log(errors[m][d] / errors.back()[d]));
      every &= ratio.back() < 0;
    }
    const std::string what =
        join("log(MSE / that of linear regression): ", models[m], every ? ", below 0 for every draw" : "");
    if (claimed)
      claim(name, what, interval(ratio));
    else
      say(name, what, interval(ratio));
  }
}

struct RealTable {
  const char *name, *what;
  std::vector<std::string> inputs, targets;
  Index batch, epochs, width;
  double lr;
};

void real(const RealTable& t) {
  const std::string name = join("evidence/", t.name);
  if (!wants(name)) return;
  heading(name, t.what);
  const std::string path = join(data_folder, '/', t.name, '/', t.name, ".csv");
  if (data_folder.empty() || !file_exists(path)) {
    std::printf("%s  left out: %s\n", name.c_str(),
                data_folder.empty() ? "no --data is given; it names the folder with the tables"
                                    : join("there is no ", path).c_str());
    return;
  }
  // Scales come from the whole table, labels from nowhere else than their rows: gaps are of weight 0, and marked where
  // inputs.
  const Table table = read_csv(path, {.missing = {"NA"}});
  const TableEncoder<float> inputs(table, t.inputs);
  Problem p{.data = {}, .losses = {}, .models = {}, .options = {}};
  p.data.inputs.add("x", inputs(table));
  std::vector<Named<Index>> tasks;
  for (const std::string& column : t.targets) {
    const TargetEncoder<float> target(table, column);
    p.data.targets.add(column, target(table));
    p.losses.push_back({column, target.of_classes() ? TaskLoss<float>{CrossEntropy{}} : TaskLoss<float>{MSE{}}});
    tasks.push_back({column, target.width()});
  }
  const Index in = inputs.width(), width = t.width;
  const auto heads = [=](Rng& r) {
    std::vector<Named<AnyModule<float>>> all;
    for (const auto& [task, out] : tasks) all.push_back({task, Linear{width, out, r}});
    return all;
  };
  const auto layers = [=](Rng& r) { return Sequential{Linear{in, width, r}, ReLU{}, Linear{width, width, r}, ReLU{}}; };
  p.models = {{"hard sharing", [=](Rng& r) { return MultiTaskModel<float>{{.trunk = layers(r), .heads = heads(r)}}; }},
              {"CGC", [=](Rng& r) {
                 const auto expert = [&] { return layers(r); };
                 CGCOptions<float> experts{.shared = repeat(1, expert)};
                 for (const auto& task : tasks) experts.own.push_back({task.name, repeat(1, expert)});
                 return SharingModel<float>{{.sharing = CGC<float>{in, experts, r}, .heads = heads(r)}};
               }}};
  p.options = {.seeds = 10,
               .candidates = 4,
               .train = {.epochs = t.epochs, .batch = t.batch, .early_stopping = {.patience = 20}},
               .optimizer = adam(t.lr)};
  const Comparison c = run(p, {UPGrad{}, NashMTL{}, UncertaintyWeighting{}});
  std::printf("%s", c.text().c_str());
  for (const ComparedRow& row : c.rows()) {
    if (row.baseline) continue;
    for (const ComparedMeasure& m : c.measures())
      if (m.counts)
        say(name,
            join(m.task, ' ', m.name, m.higher_is_better ? " (up): " : " (down): ", row.model, ", ", row.method,
                 " - single task"),
            c.difference(row, c.rows()[0], m.task, m.name));
    say(name, join("Delta_m % (down): ", row.model, ", ", row.method), row.delta_m);
  }
}

}  // namespace

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const bool more = i + 1 < argc;
    if (!std::strcmp(argv[i], "--only") && more)
      only = argv[++i];
    else if (!std::strcmp(argv[i], "--data") && more)
      data_folder = argv[++i];
    else if (!std::strcmp(argv[i], "--seeds") && more)
      seeds = std::atoi(argv[++i]);
    else if (!std::strcmp(argv[i], "--threads") && more)
      ++i;  // benchmarks/run sets OMP_NUM_THREADS
    else
      return std::fprintf(stderr, "usage: %s [--only PREFIX] [--data DIR] [--seeds N] [--threads N]\n", argv[0]), 2;
  }
  try {
    helps();
    hurts();
    mmoe(0.3, 0.8, false);
    mmoe(1, 0, true);
    mmoe(1, 0.9, true);
    real({"enb",
          "energy efficiency of buildings, 768 rows",
          {"relative_compactness", "surface_area", "wall_area", "roof_area", "overall_height", "orientation",
           "glazing_area", "glazing_area_distribution"},
          {"heating_load", "cooling_load"},
          32,
          200,
          32,
          3e-3});
    real({"slump",
          "concrete slump, 103 rows",
          {"cement", "slag", "fly_ash", "water", "superplasticizer", "coarse_aggregate", "fine_aggregate"},
          {"slump_cm", "flow_cm", "compressive_strength_mpa"},
          16,
          300,
          16,
          3e-3});
    real({"penguins",
          "penguins, 344 rows, gaps in inputs and targets",
          {"island", "bill_length_mm", "bill_depth_mm", "flipper_length_mm"},
          {"species", "sex", "body_mass_g"},
          32,
          200,
          16,
          3e-3});
    real({"naval",
          "naval propulsion, 11934 rows",
          {"lever_position", "ship_speed", "gt_shaft_torque", "gt_rate_of_revolutions", "gg_rate_of_revolutions",
           "starboard_propeller_torque", "port_propeller_torque", "hp_turbine_exit_temperature",
           "compressor_outlet_temperature", "hp_turbine_exit_pressure", "compressor_outlet_pressure",
           "exhaust_gas_pressure", "turbine_injection_control", "fuel_flow"},
          {"compressor_decay", "turbine_decay"},
          128,
          60,
          32,
          3e-3});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  std::printf("\n%s\n", all_hold ? "every claim holds" : "not every claim holds");
  return all_hold ? 0 : 1;
}
