#include "espalier/train/metrics/auroc.hpp"

#include "support/catch.hpp"
#include "train/metrics/cases.hpp"

using namespace espalier;
using support::apart;

namespace {

double of(const Scored& batch) {
  metrics::AUROC auroc;
  auroc.add(batch);
  return auroc.value();
}
Scored binary(std::vector<double> scores, std::vector<double> value, std::vector<double> weight) {
  const auto rows = static_cast<Index>(value.size());
  return {.task = "a",
          .rows = rows,
          .width = 1,
          .prediction = std::move(scores),
          .value = std::move(value),
          .weight = std::move(weight)};
}
/// The area by all pairs, of column `column` of scores [rows, width].
double by_pairs(const std::vector<double>& score, const std::vector<bool>& positive,
                const std::vector<double>& weight) {
  double right = 0, all = 0;
  for (std::size_t p = 0; p < score.size(); ++p)
    for (std::size_t n = 0; n < score.size(); ++n) {
      if (!positive[p] || positive[n]) continue;
      right += weight[p] * weight[n] * (score[p] > score[n] ? 1 : score[p] == score[n] ? 0.5 : 0);
      all += weight[p] * weight[n];
    }
  return right / all;
}

}  // namespace

TEST_CASE("the area is the share of pairs in the right order", "[fast]") {
  Rng rng{8};
  for (int round = 0; round < 50; ++round) {
    const Index n = 2 + round;
    const Tensor<double> draws = Tensor<double>::uniform({3, n}, 0, 1, rng);
    std::vector<double> score, value, weight;
    std::vector<bool> positive;
    for (Index i = 0; i < n; ++i) {
      score.push_back(std::floor((draws(0, i) - 0.5) * (round % 2 ? 6 : 1e6)));  // with many ties, with next to none
      positive.push_back(i == 0 || (i > 1 && draws(1, i) < 0.4));
      value.push_back(positive.back());
      weight.push_back(0.1 + draws(2, i));
    }
    CHECK(apart(of(binary(score, value, weight)), by_pairs(score, positive, weight)) < 1e-13);
    // A growing function of the scores changes nothing; turned round, they give the rest.
    std::vector<double> squeezed = score, turned = score;
    for (double& s : squeezed) s = std::exp(s * 1e-6);
    for (double& s : turned) s = -s;
    CHECK(of(binary(squeezed, value, weight)) == of(binary(score, value, weight)));
    CHECK(apart(of(binary(turned, value, weight)), 1 - of(binary(score, value, weight))) < 1e-13);
  }
}

TEST_CASE("-0 and 0 are tied, infinite scores are in order", "[fast]") {
  CHECK(of(binary({-0.0, 0.0}, {1, 0}, {1, 1})) == 0.5);
  CHECK(of(binary({HUGE_VAL, -HUGE_VAL, 1, -1}, {1, 0, 1, 0}, {1, 1, 1, 1})) == 1);
  CHECK(of(binary({HUGE_VAL, HUGE_VAL}, {1, 0}, {1, 1})) == 0.5);
}

TEST_CASE("two classes are class 1 against class 0", "[fast]") {
  const Tensor<double> logits({4, 2}, {1, 2, 3, 3, 5, 2, 0, 1}), margin({4}, {1, 0, -3, 1});
  const Tensor<Index> classes({4}, {1, 0, 0, 0});
  CHECK(of(scored(logits, classes, "a")) == of(scored(margin, classes, "a")));
}

TEST_CASE("probabilities that round to 0 and 1 are no ties", "[fast]") {
  // By softmax in double, class 0 has probability 1 in the first two rows and 0 in the last two.
  const Tensor<double> logits({4, 3}, {90, 0, 0, 80, 0, 0, -900, 0, 0, -950, 0, 0});
  std::vector<double> scores(logits.values().begin(), logits.values().end());
  for (std::size_t row = 0; row < 4; ++row) detail::log_odds(scores.data() + 3 * row, 3);
  for (std::size_t row = 0; row < 4; ++row)
    CHECK(scores[3 * row] == Approx(logits(static_cast<Index>(row), 0) - std::log(2.0)).epsilon(1e-15));
  const Scored one = scored(logits, Tensor<Index>({4}, {0, 1, 0, 1}), "a");
  // Class 1 has one tie, of odds 1 + e^-900 and 1 + e^-950 to 1; class 2 has no positives.
  CHECK(of(one) == (0.75 + 0.625) / 2);
}

TEST_CASE("log odds are those of the softmax", "[fast]") {
  Rng rng{3};
  for (const Index width : {2, 3, 7}) {
    const Tensor<double> logits = Tensor<double>::normal({20, width}, rng);
    std::vector<double> odds(logits.values().begin(), logits.values().end());
    for (Index i = 0; i < 20; ++i) {
      double sum = 0;
      for (Index j = 0; j < width; ++j) sum += std::exp(logits(i, j));
      detail::log_odds(odds.data() + i * width, width);
      for (Index j = 0; j < width; ++j) {
        const double p = std::exp(logits(i, j)) / sum;
        CHECK(odds[static_cast<std::size_t>(i * width + j)] ==
              Approx(std::log(p / (1 - p))).epsilon(1e-12).margin(1e-14));
      }
    }
  }
}

TEST_CASE("logits in another order have the same odds, to the bit", "[fast]") {
  Rng rng{5};
  for (int round = 0; round < 200; ++round) {
    const Tensor<double> logits = Tensor<double>::normal({6}, rng);
    std::vector<double> one(logits.values().begin(), logits.values().end()),
        other{one[0], one[3], one[5], one[2], one[4], one[1]};
    detail::log_odds(one.data(), 6);
    detail::log_odds(other.data(), 6);
    CHECK(one[0] == other[0]);
    CHECK(one[5] == other[2]);
  }
}

TEST_CASE("masked classes, of logit -infinity, are certain", "[fast]") {
  double row[] = {-HUGE_VAL, 1, -HUGE_VAL};
  detail::log_odds(row, 3);
  CHECK(row[0] == -HUGE_VAL);
  CHECK(row[1] == HUGE_VAL);
  CHECK(row[2] == -HUGE_VAL);
}

TEST_CASE("a column of one kind has no area", "[fast]") {
  CHECK(std::isnan(of(binary({1, 2}, {1, 1}, {1, 1}))));
  CHECK(std::isnan(of(binary({1, 2}, {0, 0}, {1, 1}))));
  CHECK(std::isnan(of(binary({1, 2}, {1, 0}, {1, 0}))));
  const Tensor<double> logits({2, 2}, {1, 5, 2, 4});
  CHECK(of(scored(logits, Tensor<double>({2, 2}, {1, 1, 0, 1}), "a")) == 0);  // of the first column
  const Tensor<double> three({3, 3}, {2, 1, 0, 1, 2, 0, 3, 1, 9});
  CHECK(of(scored(three, Tensor<Index>({3}, {0, 1, 1}), "a")) == (1 + 0.5) / 2);  // of classes 0 and 1
}
