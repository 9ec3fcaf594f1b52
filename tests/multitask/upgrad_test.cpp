#include "espalier/multitask/aggregator/upgrad.hpp"

#include <Eigen/Dense>

#include "support/catch.hpp"
#include "support/claims.hpp"

namespace upgrad_test {

using namespace espalier;
using Status = Certificate::Status;

namespace {

const std::vector<std::string> nothing;

struct Result {
  std::vector<double> weights;
  Certificate certificate;
};

Result run(const support::Jacobian& j, const UPGrad& upgrad = {}, const StepInfo& info = {}) {
  Result result{std::vector<double>(static_cast<std::size_t>(j.rows)), {}};
  result.certificate = upgrad.weights({support::gramian(j), j.rows}, info, result.weights);
  return result;
}

support::Jacobian animal(const std::string& name) {
  for (const support::Jacobian& j : support::zoo())
    if (j.name == name) return j;
  throw Error("no such animal: " + name);
}

/// The projection of row i onto {d : J d >= 0}: the shortest g_i + sum z_j g_j over all supports of z >= 0, by least
/// squares on the rows themselves.
Eigen::VectorXd projection_by_enumeration(const support::Jacobian& j, Index i) {
  const Eigen::MatrixXd rows = Eigen::Map<const Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>(
                                   j.values.data(), j.rows, j.cols)
                                   .transpose();
  Eigen::VectorXd best = rows.col(i);
  for (Index mask = 1; mask < (Index{1} << j.rows); ++mask) {
    if (mask >> i & 1) continue;
    std::vector<Index> support;
    for (Index t = 0; t < j.rows; ++t)
      if (mask >> t & 1) support.push_back(t);
    const Eigen::MatrixXd columns = rows(Eigen::all, support);
    const Eigen::ColPivHouseholderQR<Eigen::MatrixXd> qr(columns);
    if (qr.rank() < columns.cols()) continue;
    const Eigen::VectorXd z = qr.solve(-rows.col(i)), d = rows.col(i) + columns * z;
    if (z.minCoeff() >= 0 && d.squaredNorm() < best.squaredNorm()) best = d;
  }
  return best;
}

/// A method that claims what its weights do not keep.
struct Liar {
  static constexpr std::string_view name = "liar";
  Claims claims;
  void (*rule)(GramianView, const StepInfo&, std::span<double>);
  Certificate weights(GramianView g, const StepInfo& info, std::span<double> out) const {
    rule(g, info, out);
    return {};
  }
};

/// Whether `claim` is among the claims of a method that break somewhere in the zoo.
bool caught(const Liar& liar, const std::string& claim) {
  for (const std::string& text : support::broken_claims(liar, support::zoo()))
    if (text.ends_with(": " + claim)) return true;
  return false;
}

constexpr auto mean = [](GramianView g, const StepInfo&, std::span<double> out) {
  std::ranges::fill(out, 1.0 / static_cast<double>(g.tasks));
};

}  // namespace

TEST_CASE("upgrad: golden vectors", "[fast]") {
  // golden/aggregators.json, cases J2/UPGrad and J3/UPGrad with p = 1/m and no regularisation: an independent float64
  // computation by enumeration of active sets.
  const Result two = run(animal("J2")), three = run(animal("J3"));
  CHECK(two.weights[0] == Approx(1.1111111111111112).epsilon(1e-14));
  CHECK(two.weights[1] == Approx(0.7894736842105263).epsilon(1e-14));
  CHECK(three.weights[0] == Approx(0.9518701870187019).epsilon(1e-14));
  CHECK(three.weights[1] == Approx(0.6111111111111112).epsilon(1e-14));
  CHECK(three.weights[2] == Approx(0.7931793179317932).epsilon(1e-14));
  const std::vector<double> d = support::direction(animal("J3"), three.weights);
  CHECK(d[0] == Approx(0.12623762376237624).epsilon(1e-13));
  CHECK(d[1] == Approx(0.1353135313531353).epsilon(1e-13));
  CHECK(d[2] == Approx(-0.1586908690869087).epsilon(1e-13));
  CHECK(d[3] == Approx(1.4042904290429044).epsilon(1e-13));
}

TEST_CASE("upgrad: two tasks in closed form", "[fast]") {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const support::Jacobian j = support::normal(2, 3, 2, seed);
    const UPGrad upgrad{{.preference = {3, 1}}};
    const double conflict = std::min(0.0, support::inner(j, 0, 1));
    const Result result = run(j, upgrad);
    CHECK(result.weights[0] == Approx(0.75 - 0.25 * conflict / support::inner(j, 0, 0)).epsilon(1e-13));
    CHECK(result.weights[1] == Approx(0.25 - 0.75 * conflict / support::inner(j, 1, 1)).epsilon(1e-13));
  }
}

TEST_CASE("upgrad: its claims hold over the zoo", "[fast]") {
  CHECK(support::broken_claims(UPGrad{}, support::zoo()) == nothing);
  CHECK(support::broken_claims(UPGrad{}, support::zoo_in_float()) == nothing);
}

TEST_CASE("upgrad: certified on the whole zoo", "[fast]") {
  for (const auto& zoo : {support::zoo(), support::zoo_in_float()})
    for (const support::Jacobian& j : zoo) {
      CAPTURE(j.name);
      const Certificate certificate = run(j).certificate;
      CHECK(certificate.status == Status::exact);
      CHECK(certificate.residual <= 1e-10);
    }
}

TEST_CASE("upgrad: the optimum that enumeration finds, up to 6 tasks", "[fast]") {
  for (const Index m : {1, 2, 3, 4, 5, 6})
    for (const Index cols : {2, 4, 8})
      for (std::uint64_t seed = 0; seed < 3; ++seed) {
        CAPTURE(m, cols, seed);
        const support::Jacobian j = support::normal(m, cols, cols, seed);
        Eigen::VectorXd expected = Eigen::VectorXd::Zero(cols);
        for (Index i = 0; i < m; ++i) expected += projection_by_enumeration(j, i) / static_cast<double>(m);
        const std::vector<double> d = support::direction(j, run(j).weights);
        REQUIRE((Eigen::Map<const Eigen::VectorXd>(d.data(), cols) - expected).norm() <= 1e-10);
      }
}

TEST_CASE("upgrad: without a conflict it is the mean of the gradients", "[fast]") {
  const support::Jacobian j = animal("orthogonal rows");
  CHECK(run(j).weights == std::vector<double>(3, 1.0 / 3));
  CHECK(run(animal("zero")).weights == std::vector<double>(3, 1.0 / 3));
  CHECK(run(animal("one row")).weights == std::vector<double>{1});
}

TEST_CASE("upgrad: it stops where no direction helps every task", "[fast]") {
  for (const char* name : {"strongly stationary", "opposite pair", "one column"}) {
    const support::Direction d = support::aggregate(UPGrad{}, animal(name));
    CHECK(support::length(d.values) <= 1e-13 * d.unit);
  }
}

TEST_CASE("upgrad: scaling by a power of two changes no bit of the weights", "[fast]") {
  const support::Jacobian j = support::normal(6, 8, 6, 3);
  const Result plain = run(j);
  for (const double scale : {0x1p-100, 0x1p-30, 0x1p50, 0x1p200}) {
    const Result scaled = run(support::scaled(j, scale));
    CHECK(scaled.weights == plain.weights);
    CHECK(scaled.certificate.residual == plain.certificate.residual);
  }
}

TEST_CASE("upgrad: preferences", "[fast]") {
  const support::Jacobian j = support::normal(4, 6, 4, 1);
  SECTION("only their ratios matter") {
    CHECK(run(j, {{.preference = {2, 2, 2, 2}}}).weights == run(j).weights);
    CHECK(run(j, {{.preference = {4, 1, 2, 1}}}).weights == run(j, {{.preference = {8, 2, 4, 2}}}).weights);
  }
  SECTION("the direction is linear in them") {
    const std::vector<double> a = run(j, {{.preference = {1, 0, 0, 0}}}).weights,
                              b = run(j, {{.preference = {0, 0, 1, 0}}}).weights,
                              both = run(j, {{.preference = {1, 0, 3, 0}}}).weights;
    for (std::size_t i = 0; i < 4; ++i) CHECK(both[i] == Approx(0.25 * a[i] + 0.75 * b[i]).epsilon(1e-14));
  }
  SECTION("absent tasks are those that are not there") {
    const std::vector<Index> active{0, 2, 3};
    const support::Jacobian rest = support::picked_rows(j, active);
    CHECK(run(rest, {{.preference = {4, 9, 2, 1}}}, {.active = active}).weights ==
          run(rest, {{.preference = {4, 2, 1}}}).weights);
  }
}

TEST_CASE("upgrad: nothing to weigh", "[fast]") {
  CHECK(UPGrad{}.weights({}, {}, {}).status == Status::no_active_task);
  const std::vector<Index> active{1, 2};
  const Result result = run(support::normal(2, 3, 2), {{.preference = {1, 0, 0}}}, {.active = active});
  CHECK(result.certificate.status == Status::no_active_task);
  CHECK(result.weights == std::vector<double>{0, 0});
}

TEST_CASE("upgrad: what is no Gramian is reported, and stays bounded", "[fast]") {
  const std::vector<double> impossible{1, -0.9, -0.9, -0.9, 1, -0.9, -0.9, -0.9, 1};
  std::vector<double> w(3);
  const Certificate certificate = UPGrad{}.weights({impossible, 3}, {}, w);
  CHECK(certificate.status == Status::capped);
  CHECK(certificate.residual > 1e-3);
  CHECK(*std::ranges::max_element(w) <= 10);
}

TEST_CASE("upgrad: what is wrong is named", "[fast]") {
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  const std::vector<std::string> names{"digit", "ink", "style"};
  const std::vector<Index> active{0, 2}, twice{0, 7}, negative{-1, 0};
  std::vector<double> w(2), good{1, 0, 0, 1};
  const auto weigh = [&](const std::vector<double>& g, const StepInfo& info = {}, const UPGrad& upgrad = {}) {
    upgrad.weights({g, 2}, info, w);
  };
  const StepInfo named{.names = names}, masked{.names = names, .active = active};

  REQUIRE_THROWS_WITH(weigh({1, nan, nan, nan}, named),
                      "upgrad: the squared gradient norm of task 'ink' is nan; look at its loss and its labels");
  REQUIRE_THROWS_WITH(weigh({1, nan, nan, nan}, masked),
                      "upgrad: the squared gradient norm of task 'style' is nan; look at its loss and its labels");
  REQUIRE_THROWS_WITH(weigh({inf, 0, 0, 1}),
                      "upgrad: the squared gradient norm of task 0 is inf; look at its loss and its labels");
  REQUIRE_THROWS_WITH(weigh({1, -inf, -inf, 1}, named),
                      "upgrad: the inner product of the gradients of task 'digit' and task 'ink' is not finite");
  REQUIRE_THROWS_WITH(weigh({1, 0, 0, -2}, named),
                      "upgrad: the squared gradient norm of task 'ink' is negative (-2)");
  REQUIRE_THROWS_WITH(weigh({1, 0, 1}), "upgrad: the Gramian holds 3 values for 2 tasks; it must hold [2, 2]");
  REQUIRE_THROWS_WITH(UPGrad{}.weights({good, 2}, {}, std::span(w).first(1)),
                      "upgrad: out has room for 1 weights, the Gramian has 2 tasks");
  REQUIRE_THROWS_WITH(weigh(good, {.active = std::span(active).first(1)}),
                      "upgrad: 1 tasks are active, the Gramian has 2; every row belongs to one task");
  REQUIRE_THROWS_WITH(weigh(good, {.names = names, .active = twice}),
                      "upgrad: row 1 of the Gramian belongs to task 7, but 3 tasks are named");
  REQUIRE_THROWS_WITH(weigh(good, {.active = negative}),
                      "upgrad: row 0 of the Gramian belongs to task -1, but 0 tasks are named");
  REQUIRE_THROWS_WITH(weigh(good, {}, {{.preference = {1, 2, 3}}}),
                      "upgrad: there are 3 preferences for 2 tasks; give one a task, or none");
  REQUIRE_THROWS_WITH(weigh(good, masked, {{.preference = {1, 2}}}),
                      "upgrad: there are 2 preferences, but task 'style' is number 2; give one a task, absent tasks "
                      "included, or none");
  REQUIRE_THROWS_WITH(weigh(good, named, {{.preference = {1, -1}}}),
                      "upgrad: the preference of task 'ink' is -1; preferences are finite and not negative");
}

TEST_CASE("the claim checker catches methods that are wrong", "[fast]") {
  CHECK(support::broken_claims(
            Liar{{.permutation_equivariant = true, .linear_under_scaling = true, .non_negative = true}, mean},
            support::zoo()) == nothing);
  CHECK(caught({{.non_conflicting = true}, mean}, "non_conflicting"));
  CHECK(caught({{.degree = 0}, mean}, "degree"));
  CHECK(caught({{.invariant_under_scaling = true}, mean}, "invariant_under_scaling"));
  CHECK(caught({{.permutation_equivariant = true},
                [](auto, auto&, auto out) {
                  std::ranges::fill(out, 0.0);
                  out[0] = 1;
                }},
               "permutation_equivariant"));
  CHECK(caught({{.linear_under_scaling = true},
                [](GramianView g, auto&, auto out) {  // of degree 1, and yet not linear
                  double trace = 0;
                  for (Index i = 0; i < g.tasks; ++i) trace += g(i, i);
                  for (Index i = 0; i < g.tasks; ++i)
                    out[static_cast<std::size_t>(i)] = trace > 0 ? g(i, i) / trace : 0;
                }},
               "linear_under_scaling"));
  CHECK(caught({{.non_negative = true}, [](auto, auto&, auto out) { std::ranges::fill(out, -1.0); }}, "non_negative"));
  CHECK(caught({{.stops_at_strong_only = true}, [](auto, auto&, auto out) { std::ranges::fill(out, 0.0); }},
               "stops_at_strong_only"));
  CHECK(caught({{}, [](auto, auto&, auto) {}}, "finite"));  // writes nothing
  CHECK(caught({{}, [](auto, auto&, auto out) { std::ranges::fill(out, std::nan("")); }}, "finite"));
  CHECK(caught({{}, [](auto, const StepInfo& info, auto out) { std::ranges::fill(out, info.active.empty() ? 1 : 2); }},
               "an absent task is no task"));
}

}  // namespace upgrad_test
