#include "espalier/multitask/aggregator.hpp"

#include "espalier/multitask/combiner.hpp"
#include "support/catch.hpp"
#include "support/claims.hpp"
#include "support/golden.hpp"

namespace aggregator_test {

using namespace espalier;
using Status = Certificate::Status;

namespace {

/// A row of the table of methods: to add one, add its row.
struct Method {
  std::string name;
  Combiner (*make)(std::vector<double> preference);
  Claims claims;  // where the certificate says exact
  int exact;      // on how many of the zoo's Jacobians it does: of 68 where it is the first row of its name, else of 34
  std::string golden = {};
};

template <class M>
constexpr auto with_preference = [](std::vector<double> preference) -> Combiner {
  M method;
  method.options.preference = std::move(preference);
  return method;
};

Claims also(Claims claims, bool non_conflicting, bool linear = false, bool invariant = false) {
  claims.non_conflicting |= non_conflicting;
  claims.linear_under_scaling |= linear;
  claims.invariant_under_scaling |= invariant;
  return claims;
}

const std::vector<Method>& methods() {
  using enum AlignedMTLOptions::Scale;
  static const std::vector<Method> all{
      {"upgrad", with_preference<UPGrad>, UPGrad::claims, 68, "UPGrad"},
      {"dual_proj", with_preference<DualProj>, DualProj::claims, 68, "DualProj"},
      {"mgda", with_preference<MGDA>, MGDA::claims, 68, "MGDA/normalization=none"},
      {"cagrad", with_preference<CAGrad>, CAGrad::claims, 64, "CAGrad/c=0.5/rescale=none"},
      {"cagrad", [](auto p) -> Combiner { return CAGrad{{.c = 0.4, .preference = p}}; }, CAGrad::claims, 32,
       "CAGrad/c=0.4/rescale=none"},
      // From c = 1 on it has no answer wherever 0 is in the hull of the gradients.
      {"cagrad", [](auto p) -> Combiner { return CAGrad{{.c = 1.5, .preference = p}}; }, also(CAGrad::claims, true), 21},
      {"nash_mtl", [](auto p) -> Combiner { return NashMTL{{.max_norm = 0, .preference = p}}; }, NashMTL::claims, 40,
       "NashMTL/max_norm=None"},
      {"nash_mtl", with_preference<NashMTL>, NashMTL::claims, 20, "NashMTL/max_norm=1.0"},
      {"fair_grad", [](auto p) -> Combiner { return FairGrad{{.max_norm = 0, .preference = p}}; }, FairGrad::claims, 40,
       "FairGrad/alpha=2.0"},
      {"fair_grad", [](auto p) -> Combiner { return FairGrad{{.alpha = 1, .max_norm = 0, .preference = p}}; },
       NashMTL::claims, 20, "FairGrad/alpha=1.0"},
      {"fair_grad", [](auto p) -> Combiner { return FairGrad{{.alpha = 0.5, .max_norm = 0, .preference = p}}; },
       {.degree = 1.0 / 3, .non_conflicting = true, .permutation_equivariant = true, .non_negative = true}, 20,
       "FairGrad/alpha=0.5"},
      {"imtl_g", with_preference<IMTLG>, also(IMTLG::claims, true), 30, "IMTL-G"},
      {"config", with_preference<ConFIG>, also(ConFIG::claims, true, true, true), 32, "ConFIG"},
      {"aligned_mtl", with_preference<AlignedMTL>, AlignedMTL::claims, 68, "AlignedMTL/scale=min"},
      {"aligned_mtl", [](auto p) -> Combiner { return AlignedMTL{{.scale = median, .preference = p}}; },
       AlignedMTL::claims, 34, "AlignedMTL/scale=median"},
      {"aligned_mtl", [](auto p) -> Combiner { return AlignedMTL{{.scale = rmse, .preference = p}}; },
       AlignedMTL::claims, 34, "AlignedMTL/scale=rmse"},
      {"pcgrad", with_preference<PCGrad>, PCGrad::claims, 68},
      {"pcgrad", [](auto p) -> Combiner { return PCGrad{{.order = VisitOrder::ascending, .preference = p}}; },
       PCGrad::claims, 34, "PCGrad/order=ascending/reduction=sum"},
      {"pcgrad", [](auto p) -> Combiner { return PCGrad{{.order = VisitOrder::descending, .preference = p}}; },
       PCGrad::claims, 34, "PCGrad/order=descending/reduction=sum"},
      {"gradvac", with_preference<GradVac>, GradVac::claims, 68},
      {"gradvac", [](auto p) -> Combiner { return GradVac{{.order = VisitOrder::ascending, .preference = p}}; },
       GradVac::claims, 34, "GradVac/beta=0.5/order=ascending/call=first, phi_hat = 0"},
  };
  return all;
}

/// Any method, for the claim checker.
struct Held {
  static constexpr std::string_view name = "method";
  Claims claims;
  Combiner combiner;
  Certificate weights(GramianView g, const StepInfo& info, std::span<double> out) {
    return combiner.weights(g, info, out);
  }
};

struct Result {
  std::vector<double> weights;
  Certificate certificate;
};

Result run(Combiner combiner, const support::Jacobian& j, const StepInfo& info = {}) {
  Result result{std::vector<double>(static_cast<std::size_t>(j.rows), NAN), {}};
  const std::vector<double> g = support::gramian(j);
  result.certificate = combiner.weights({g, j.rows}, info, result.weights);
  return result;
}

/// Jacobians of independent rows, some with rows of very different lengths.
std::vector<support::Jacobian> regular() {
  std::vector<support::Jacobian> all;
  for (const Index m : {2, 3, 5, 12})
    for (std::uint64_t seed = 0; seed < 4; ++seed) {
      support::Jacobian j = support::normal(m, m + 3, m, seed);
      std::vector<double> scale(static_cast<std::size_t>(m));
      Rng{seed + 90}.uniform(std::span(scale), -3, 3);
      for (double& s : scale) s = seed % 2 == 0 ? 1 : std::pow(10, s);
      all.push_back(support::scaled_rows(j, scale));
    }
  return all;
}

std::vector<double> gains(const support::Jacobian& j, const std::vector<double>& d) {
  std::vector<double> out(static_cast<std::size_t>(j.rows));
  for (Index i = 0; i < j.rows; ++i)
    for (Index k = 0; k < j.cols; ++k) out[static_cast<std::size_t>(i)] += j(i, k) * d[static_cast<std::size_t>(k)];
  return out;
}
double row_length(const support::Jacobian& j, std::size_t i) {
  return std::sqrt(support::inner(j, static_cast<Index>(i), static_cast<Index>(i)));
}

}  // namespace

TEST_CASE("aggregators: golden vectors", "[fast]") {
  const Golden golden{"aggregators.txt"};
  int cases = 0;
  for (const Method& method : methods())
    for (const std::string input : {"J2", "J3"}) {
      const std::string name = input + "/" + method.golden;
      if (!golden.contains(name + "/d")) continue;
      CAPTURE(name);
      const Golden::Array& rows = golden[input];
      const support::Jacobian j{input, rows.shape[0], rows.shape[1], rows.values};
      const Result result = run(method.make({}), j);
      const std::vector<double> d = support::direction(j, result.weights);
      const double tolerance = std::min(1e-12, golden[name + "/tolerance"].values[0]);
      for (std::size_t k = 0; k < d.size(); ++k) CHECK(std::abs(d[k] - golden[name + "/d"].values[k]) <= tolerance);
      for (std::size_t i = 0; i < result.weights.size(); ++i)
        CHECK(std::abs(result.weights[i] - golden[name + "/w"].values[i]) <= tolerance);
      CHECK(result.certificate.status == Status::exact);
      ++cases;
    }
  CHECK(cases == 34);
}

namespace {

/// Checks the method's claims wherever its certificate says exact; returns on how many Jacobians it does.
int check_claims(const Method& method, const std::vector<support::Jacobian>& zoo) {
  CAPTURE(method.name, method.golden);
  int exact = 0;
  std::vector<std::string> broken;
  for (const support::Jacobian& j : zoo) {
    CAPTURE(j.name);
    const Certificate c = run(method.make({}), j).certificate;
    const bool good = c.status == Status::exact;
    exact += good;
    CHECK((!good || c.residual <= 1e-9));
    CHECK((c.status == Status::fallback) == !c.fallback.empty());
    Held held{method.claims, method.make({})};
    if (!good) held.claims = {.degree = method.claims.degree, .non_negative = method.claims.non_negative};
    for (const std::string& text : support::broken_claims(held, {j})) {
      const bool always = text.ends_with(": finite") || text.ends_with(": the same twice") ||
                          text.ends_with(": non_negative") || text.ends_with(": an absent task is no task");
      if (good || always) broken.push_back(text);
    }
  }
  CHECK(broken == std::vector<std::string>{});
  return exact;
}

constexpr auto is_large = [](const support::Jacobian& j) { return j.rows == 64; };

}  // namespace

TEST_CASE("aggregators: claims hold wherever the certificate says exact, over the zoo", "[fast]") {
  std::vector<support::Jacobian> zoo = support::zoo(), both = zoo;
  for (support::Jacobian& j : support::zoo_in_float()) both.push_back(std::move(j));
  std::erase_if(zoo, is_large);
  std::erase_if(both, is_large);
  std::string last;
  for (const Method& method : methods()) {
    const bool first = std::exchange(last, method.name) != method.name;
    CHECK(check_claims(method, first ? both : zoo) == method.exact);
  }
}

TEST_CASE("aggregators: claims hold for 64 tasks", "[slow]") {
  std::vector<support::Jacobian> zoo = support::zoo();
  std::erase_if(zoo, [](const support::Jacobian& j) { return !is_large(j); });
  for (const Method& method : methods()) CHECK(check_claims(method, zoo) == 1);
}

TEST_CASE("aggregators: what the certificates say, from the gradients themselves", "[fast]") {
  for (const support::Jacobian& j : regular()) {
    CAPTURE(j.name);
    const auto m = static_cast<std::size_t>(j.rows);
    const double p = 1 / static_cast<double>(m);
    const auto solved = [&](const Combiner& method, bool certain = true) {
      Result r = run(method, j);
      if (certain) CHECK(r.certificate.status == Status::exact);
      std::vector<double> d = support::direction(j, r.weights);
      return std::tuple(r.weights, d, gains(j, d), r.certificate);
    };
    {  // MGDA: no gradient has less of the direction than it has of itself
      const auto [w, d, gain, c] = solved(MGDA{});
      const double square = std::pow(support::length(d), 2);
      double total = 0;
      for (std::size_t i = 0; i < m; ++i) {
        CHECK(gain[i] >= square * (1 - 1e-9) - 1e-12 * row_length(j, i) * support::length(d));
        if (w[i] > 1e-6) CHECK(gain[i] == Approx(square).epsilon(1e-6));
        total += w[i];
      }
      CHECK(total == Approx(1).epsilon(1e-13));
    }
    {  // DualProj: the shortest w'G, w >= p, without conflict
      const auto [w, d, gain, c] = solved(DualProj{});
      for (std::size_t i = 0; i < m; ++i) {
        const double unit = row_length(j, i) * support::length(d);
        CHECK(w[i] >= p);
        CHECK(gain[i] >= -1e-9 * unit);
        if (w[i] > p * (1 + 1e-9)) CHECK(std::abs(gain[i]) <= 1e-9 * unit);
      }
    }
    {  // CAGrad: the worst gain (primal) equals its upper bound by the weights found (dual)
      for (const double size : {0.2, 0.5, 1.5}) {
        const auto [w, d, gain, c] = solved(CAGrad{{.c = size}}, size < 1);
        if (c.status != Status::exact) continue;
        const std::vector<double> mean = support::direction(j, std::vector<double>(m, p));
        std::vector<double> away = d, v = w;
        for (std::size_t k = 0; k < d.size(); ++k) away[k] -= mean[k];
        const double radius = size * support::length(mean);
        CHECK(support::length(away) == Approx(radius).epsilon(1e-9));
        double total = 0;
        for (double& x : v) total += x -= p;
        for (double& x : v) x /= total;
        const std::vector<double> lean = support::direction(j, v);
        const double bound = std::inner_product(lean.begin(), lean.end(), mean.begin(), 0.0) + radius * support::length(lean);
        double longest = 0;
        for (std::size_t i = 0; i < m; ++i) longest = std::max(longest, v[i] * row_length(j, i));
        CHECK(std::abs(*std::ranges::min_element(gain) - bound) <= 1e-9 * longest * support::length(mean) * (1 + size));
      }
    }
    for (const double alpha : {0.5, 1.0, 2.0, 5.0}) {  // FairGrad: (Gw)_i = w_i^(-1/alpha)
      const auto [w, d, gain, c] = solved(FairGrad{{.alpha = alpha, .max_norm = 0}});
      for (std::size_t i = 0; i < m; ++i) CHECK(gain[i] == Approx(std::pow(w[i], -1 / alpha)).epsilon(1e-9));
      const auto [clipped, e, less, certificate] = solved(FairGrad{{.alpha = alpha, .max_norm = 1e-3}});
      CHECK(support::length(e) == Approx(std::min(1e-3, support::length(d))).epsilon(1e-9));
    }
    {  // Nash-MTL: w_i g_i d = 1, so |d|^2 = m
      const auto [w, d, gain, c] = solved(NashMTL{{.max_norm = 0}});
      for (std::size_t i = 0; i < m; ++i) CHECK(w[i] * gain[i] == Approx(1).epsilon(1e-9));
      CHECK(c.iterations <= 25);
    }
    {  // IMTL-G: equal projections on unit gradients; the weights sum to 1
      const auto [w, d, gain, c] = solved(IMTLG{}, false);
      CHECK(std::accumulate(w.begin(), w.end(), 0.0) == Approx(1).epsilon(1e-9));
      for (std::size_t i = 0; i < m && c.status == Status::exact; ++i)
        CHECK(gain[i] / row_length(j, i) == Approx(gain[0] / row_length(j, 0)).epsilon(1e-8));
    }
    {  // ConFIG: the same, as long as the sum of the projections
      const auto [w, d, gain, c] = solved(ConFIG{});
      for (std::size_t i = 0; i < m; ++i)
        CHECK(gain[i] / row_length(j, i) == Approx(gain[0] / row_length(j, 0)).epsilon(1e-8));
      CHECK(std::accumulate(gain.begin(), gain.end(), 0.0) == Approx(std::pow(support::length(d), 2)).epsilon(1e-9));
    }
  }
  // Aligned-MTL on orthogonal rows: every component becomes as long as the shortest, or what the option says.
  const support::Jacobian j{"", 3, 3, {2, 0, 0, 0, -3, 0, 0, 0, 0.5}};
  using enum AlignedMTLOptions::Scale;
  for (const auto& [scale, length] : {std::pair{min, 0.5}, {median, 2.0}, {rmse, std::sqrt((4 + 9 + 0.25) / 3)}}) {
    const Result r = run(AlignedMTL{{.scale = scale}}, j);
    for (std::size_t i = 0; i < 3; ++i) CHECK(r.weights[i] == Approx(length / 3 / row_length(j, i)).epsilon(1e-14));
  }
}

TEST_CASE("aggregators: two tasks in closed form", "[fast]") {
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const support::Jacobian j = support::normal(2, 4, 2, seed);
    const double a = support::inner(j, 0, 0), b = support::inner(j, 0, 1), c = support::inner(j, 1, 1), phi = b / std::sqrt(a * c);
    const std::vector<double> mgda = run(MGDA{}, j).weights, nash = run(NashMTL{{.max_norm = 0}}, j).weights;
    CHECK(mgda[0] == Approx(std::clamp((c - b) / (a + c - 2 * b), 0.0, 1.0)).margin(1e-13));
    CHECK(nash[0] == Approx(1 / std::sqrt(a * (1 + phi))).epsilon(1e-12));
    CHECK(nash[1] == Approx(1 / std::sqrt(c * (1 + phi))).epsilon(1e-12));
    const std::vector<double> pcgrad = run(PCGrad{}, j).weights, upgrad = run(UPGrad{}, j).weights;
    for (std::size_t i = 0; i < 2; ++i) CHECK(pcgrad[i] == Approx(2 * upgrad[i]).epsilon(1e-13));
  }
}

TEST_CASE("aggregators: MGDA's divisors, CAGrad's rescaling, a radius of zero", "[fast]") {
  const support::Jacobian j = support::normal(4, 6, 4, 3);
  const std::vector<double> losses{0.5, 2, 1, 4};
  using enum MGDAOptions::Normalise;
  for (const auto kind : {length, loss, loss_length}) {
    std::vector<double> factor(4, 1);
    for (std::size_t i = 0; i < 4; ++i) {
      if (kind != loss) factor[i] /= row_length(j, i);
      if (kind != length) factor[i] /= losses[i];
    }
    const std::vector<double> found = run(MGDA{{.normalise = kind}}, j, {.losses = losses}).weights,
                              plain = run(MGDA{}, support::scaled_rows(j, factor)).weights;
    for (std::size_t i = 0; i < 4; ++i) CHECK(found[i] == Approx(plain[i]).margin(1e-13));
  }
  CHECK_THROWS_WITH(run(MGDA{{.normalise = loss}}, j),
                    "mgda: there are 0 losses, but task 0 is row 0; it needs the loss of every row (StepInfo::losses)");
  CHECK_THROWS_WITH(run(MGDA{{.normalise = loss}}, j, {.losses = std::vector<double>{1, 0, 1, 1}}),
                    "mgda: the loss of task 1 is 0; to divide by it, it must be positive");

  const std::vector<double> plain = run(CAGrad{{.c = 0.3}}, j).weights;
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(run(CAGrad{{.c = 0.3, .rescale = CAGradOptions::Rescale::one_plus_c}}, j).weights[i] == Approx(plain[i] / 1.3));
    CHECK(run(CAGrad{{.c = 0.3, .rescale = CAGradOptions::Rescale::one_plus_c_squared}}, j).weights[i] == Approx(plain[i] / 1.09));
  }
  CHECK(run(CAGrad{{.c = 0}}, j).weights == std::vector<double>(4, 0.25));
}

TEST_CASE("aggregators: fallbacks are named", "[fast]") {
  const support::Jacobian flip{"", 3, 3, {-2, 1, -1, -1, -2, 1, -1, 0, 0}}, pair{"", 2, 2, {1, 2, -2, -4}}, zero{"", 2, 2, {0, 0, 3, 4}};
  const Result imtl = run(IMTLG{}, flip), config = run(ConFIG{}, pair), cagrad = run(CAGrad{}, zero);
  CHECK(imtl.certificate.fallback == "mean");
  CHECK(imtl.weights == std::vector<double>(3, 1.0 / 3));
  CHECK(config.certificate.fallback == "sum");
  CHECK(config.weights == std::vector<double>(2, 1));
  CHECK(cagrad.certificate.fallback == "mean");
  CHECK(cagrad.weights == std::vector<double>(2, 0.5));
  // A gradient of length zero: MGDA stands still; bargaining leaves it out and says that it is not solved.
  CHECK(run(MGDA{}, zero).weights == std::vector<double>{1, 0});
  const Result nash = run(NashMTL{}, zero);
  CHECK(nash.certificate.status == Status::capped);
  CHECK(nash.certificate.residual == 1);
  CHECK(nash.weights == std::vector<double>{0, 0.2});
  CHECK(run(IMTLG{}, zero).weights == std::vector<double>{0, 1});
  CHECK(run(ConFIG{}, zero).weights == std::vector<double>{0, 1});
}

// ---- gradient surgery: PCGrad and GradVac against the papers' loops on the gradients -----------------------------------

namespace {

using Rows = std::vector<std::vector<double>>;

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}
Rows rows_of(const support::Jacobian& j) {
  Rows rows;
  for (Index i = 0; i < j.rows; ++i) rows.emplace_back(&j.values[static_cast<std::size_t>(i * j.cols)], &j.values[static_cast<std::size_t>(i * j.cols)] + j.cols);
  return rows;
}

}  // namespace

TEST_CASE("aggregators: PCGrad in a random order is the paper's loop in some order", "[fast]") {
  const support::Jacobian j = support::normal(3, 4, 3, 8);
  const Rows g = rows_of(j);
  std::vector<std::string> seen;
  for (std::uint64_t step = 0; step < 40; ++step) {
    const std::vector<double> d = support::direction(j, run(PCGrad{}, j, {.step = step}).weights);
    std::string found;
    for (int orders = 0; orders < 8; ++orders) {
      std::vector<double> sum(4);
      for (std::size_t i = 0; i < 3; ++i) {
        std::vector<std::size_t> others{(i + 1) % 3, (i + 2) % 3};
        if (orders >> i & 1) std::swap(others[0], others[1]);
        std::vector<double> own = g[i];
        for (const std::size_t k : others)
          if (const double product = dot(own, g[k]); product < 0)
            for (std::size_t x = 0; x < 4; ++x) own[x] -= product / dot(g[k], g[k]) * g[k][x];
        for (std::size_t x = 0; x < 4; ++x) sum[x] += own[x];
      }
      double error = 0;
      for (std::size_t x = 0; x < 4; ++x) error += std::abs(sum[x] - d[x]);
      if (error < 1e-12) found = std::to_string(orders);
    }
    CHECK_FALSE(found.empty());
    seen.push_back(found);
  }
  std::ranges::sort(seen);
  CHECK(std::ranges::distance(seen.begin(), std::ranges::unique(seen).begin()) >= 2);
  CHECK(run(PCGrad{{.seed = 1}}, j, {.step = 7}).weights == run(PCGrad{{.seed = 1}}, j, {.step = 7}).weights);
}

TEST_CASE("aggregators: PCGrad's order goes by the tasks' names", "[fast]") {
  const support::Jacobian j = support::normal(6, 9, 6, 2);
  const std::vector<std::string> names{"a", "b", "c", "d", "e", "f"}, moved{"d", "f", "a", "c", "b", "e"};
  const std::vector<Index> order{3, 5, 0, 2, 1, 4};
  for (std::uint64_t step = 0; step < 5; ++step) {
    const support::Direction d = support::aggregate(PCGrad{}, j, {.step = step, .names = names}),
                             e = support::aggregate(PCGrad{}, support::picked_rows(j, order), {.step = step, .names = moved});
    for (std::size_t k = 0; k < d.values.size(); ++k) CHECK(d.values[k] == Approx(e.values[k]).margin(1e-12));
  }
}

TEST_CASE("aggregators: GradVac over steps is the paper's loop, absent tasks aside", "[fast]") {
  GradVac method{{.beta = 0.3, .order = VisitOrder::ascending}};
  const std::vector<std::string> names{"a", "b", "c", "d"};
  std::vector<std::vector<double>> target(4, std::vector<double>(4, 0));
  bool turned = false;
  for (std::uint64_t step = 0; step < 30; ++step) {
    const std::vector<Index> active = step % 3 == 1 ? std::vector<Index>{0, 3} : std::vector<Index>{0, 1, 2, 3};
    const support::Jacobian j = support::picked_rows(support::normal(4, 5, 4, step), active);
    const Rows g = rows_of(j);
    std::vector<double> sum(5), w(active.size());
    for (std::size_t i = 0; i < g.size(); ++i) {
      std::vector<double> own = g[i];
      for (std::size_t k = 0; k < g.size(); ++k) {
        if (k == i) continue;
        double& t = target[static_cast<std::size_t>(active[i])][static_cast<std::size_t>(active[k])];
        const double size = std::sqrt(dot(own, own)), other = std::sqrt(dot(g[k], g[k])), phi = dot(own, g[k]) / size / other;
        if (phi < t) {
          const double amount = size * (t * std::sqrt(1 - phi * phi) - phi * std::sqrt(1 - t * t)) / (other * std::sqrt(1 - t * t));
          for (std::size_t x = 0; x < 5; ++x) own[x] += amount * g[k][x];
          CHECK(dot(own, g[k]) / std::sqrt(dot(own, own)) / other == Approx(t).margin(1e-9));
          turned |= t > 0;
        }
        t = 0.7 * t + 0.3 * phi;
      }
      for (std::size_t x = 0; x < 5; ++x) sum[x] += own[x];
    }
    const std::vector<double> gram = support::gramian(j);
    method.weights({gram, j.rows}, {.step = step, .names = names, .active = active}, w);
    const std::vector<double> d = support::direction(j, w);
    for (std::size_t x = 0; x < 5; ++x) CHECK(d[x] == Approx(sum[x]).margin(1e-9));
  }
  CHECK(turned);
  for (std::size_t i = 0; i < 16; ++i) CHECK(method.targets()[i] == Approx(target[i / 4][i % 4]).margin(1e-9));
}

// ---- preferences, nothing to do, misuse ---------------------------------------------------------------------------------

TEST_CASE("aggregators: preferences mean something to every method", "[fast]") {
  const support::Jacobian j = support::normal(4, 6, 4, 1);
  for (const Method& method : methods()) {
    CAPTURE(method.name, method.golden);
    const std::vector<double> plain = run(method.make({}), j).weights;
    const auto close = [](const std::vector<double>& a, const std::vector<double>& b) {
      for (std::size_t i = 0; i < a.size(); ++i)
        if (std::abs(a[i] - b[i]) > 1e-9 * (1 + std::abs(b[i]))) return false;
      return true;
    };
    CHECK(close(run(method.make({3, 3, 3, 3}), j).weights, plain));
    const std::vector<double> some = run(method.make({1, 4, 2, 1}), j).weights;
    CHECK_FALSE(close(some, plain));
    CHECK(close(run(method.make({0.5, 2, 1, 0.5}), j).weights, some));
    for (const double w : run(method.make({1, 0, 2, 1}), j).weights) CHECK(std::isfinite(w));
    const std::vector<Index> active{0, 2, 3};
    const support::Jacobian rest = support::picked_rows(j, active);
    CHECK(run(method.make({1, 9, 2, 1}), rest, {.active = active}).weights == run(method.make({1, 2, 1}), rest).weights);
  }
  // What they mean.
  const std::vector<double> p{1, 4, 2, 1}, q{0.5, 2, 1, 0.5};  // scaled to mean 1
  const std::vector<double> nash = run(NashMTL{{.max_norm = 0, .preference = p}}, j).weights,
                            fair = run(FairGrad{{.alpha = 2, .max_norm = 0, .preference = p}}, j).weights,
                            config = run(ConFIG{{.preference = p}}, j).weights, mgda = run(MGDA{{.preference = p}}, j).weights,
                            scaled = run(MGDA{}, support::scaled_rows(j, q)).weights;
  const std::vector<double> bargain = gains(j, support::direction(j, nash)), fairness = gains(j, support::direction(j, fair)),
                            angles = gains(j, support::direction(j, config));
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(nash[i] * bargain[i] == Approx(q[i]).epsilon(1e-9));
    CHECK(fairness[i] == Approx(std::pow(fair[i] / q[i], -0.5)).epsilon(1e-9));
    CHECK(angles[i] / row_length(j, i) / p[i] == Approx(angles[0] / row_length(j, 0)).epsilon(1e-9));
    CHECK(mgda[i] == Approx(q[i] * scaled[i]).margin(1e-12));
  }
  CHECK(run(MGDA{{.preference = {1, 0, 2, 1}}}, j).weights[1] == 0);
  CHECK(run(NashMTL{{.preference = {1, 0, 2, 1}}}, j).weights[1] == 0);
}

TEST_CASE("aggregators: nothing to weigh, and what is wrong is named", "[fast]") {
  const std::vector<std::string> names{"digit", "ink"};
  for (const Method& method : methods()) {
    CAPTURE(method.name);
    CHECK(method.make({}).weights(GramianView{}, {}, {}).status == Status::no_active_task);
    std::vector<double> w(2);
    const auto weigh = [&](const std::vector<double>& g, std::vector<double> preference = {}) {
      return method.make(std::move(preference)).weights(GramianView{g, 2}, {.names = names}, w).status;
    };
    CHECK(weigh({1, 0, 0, 1}, {0, 0}) == Status::no_active_task);
    CHECK(w == std::vector<double>{0, 0});
    CHECK_THROWS_WITH(weigh({1, NAN, NAN, NAN}), method.name + ": the squared gradient norm of task 'ink' is nan; look at its loss and its labels");
    CHECK_THROWS_WITH(weigh({1, 0, 0, 1}, {1, -1}), method.name + ": the preference of task 'ink' is -1; preferences are finite and not negative");
    CHECK_THROWS_WITH(weigh({1, 0, 0, 1}, {1}), method.name + ": there are 1 preferences for 2 tasks; give one a task, or none");
  }
  CHECK_THROWS_WITH(CAGrad{{.c = -1}}, "cagrad: c is -1; it must be finite and not negative");
  CHECK_THROWS_WITH(NashMTL{{.max_norm = NAN}}, "nash_mtl: max_norm is nan; it must be finite and not negative");
  CHECK_THROWS_WITH(FairGrad{{.alpha = 0}}, "fair_grad: alpha is 0; it must be finite and positive");
  CHECK_THROWS_WITH(FairGrad{{.max_norm = -2}}, "fair_grad: max_norm is -2; it must be finite and not negative");
  CHECK_THROWS_WITH(GradVac{{.beta = 0}}, "gradvac: beta is 0; it must be in (0, 1]");
}

TEST_CASE("aggregators: eigenvalues and eigenvectors", "[fast]") {
  for (const support::Jacobian& j : support::zoo()) {
    CAPTURE(j.name);
    const std::vector<double> g = support::gramian(j);
    SymmetricEigen eigen;
    eigen.assign({g, j.rows});
    double trace = 0, sum = 0;
    for (Index k = 0; k < j.rows; ++k) {
      trace += g[static_cast<std::size_t>(k * j.rows + k)];
      sum += eigen.values[static_cast<std::size_t>(k)];
      std::vector<double> image(static_cast<std::size_t>(j.rows));
      detail::times({g, j.rows}, eigen.vector(k).data(), image.data());
      for (Index i = 0; i < j.rows; ++i) {
        CHECK(std::abs(image[static_cast<std::size_t>(i)] - eigen.values[static_cast<std::size_t>(k)] * eigen.vector(k)[static_cast<std::size_t>(i)]) <= 1e-13 * eigen.largest);
        CHECK(std::abs(detail::inner(eigen.vector(i).data(), eigen.vector(k).data(), j.rows) - (i == k ? 1 : 0)) <= 1e-13);
      }
    }
    CHECK(sum == Approx(trace).epsilon(1e-12));
  }
}

}  // namespace aggregator_test
