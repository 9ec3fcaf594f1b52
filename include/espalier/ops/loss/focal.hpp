#pragma once
// Focal losses: cross-entropy that turns its attention from what is predicted well to what is not, for rare classes
// (Lin et al. 2017, arXiv 1708.02002).

#include <optional>

#include "espalier/ops/loss_methods.hpp"

namespace espalier::inline ESPALIER_ABI {

/// -a (1 - p)^gamma log p, where p is the probability of what is true, by the sigmoid of the logit, and a is alpha for
/// positives, 1 - alpha for negatives. The target is 0 or 1, or a class; between them, the mean of both.
struct BinaryFocal {
  using every_isa = BinaryFocal;
  static constexpr std::string_view name = "binary_focal";
  static constexpr bool takes_classes = true;
  static constexpr Index parameters = 3;
  double gamma = 2;                    // 0: plain cross-entropy
  std::optional<double> alpha = 0.25;  // in (0, 1); std::nullopt: positives and negatives count 1

  void settle(LossHead& head) const {
    if (!(gamma >= 0) || gamma == std::numeric_limits<double>::infinity())
      head.bad(join("gamma is ", gamma, "; it must be finite and not negative"));
    if (alpha && !(*alpha > 0 && *alpha < 1)) head.bad(join("alpha is ", *alpha, "; it must lie in (0, 1)"));
    head.set(0, gamma);
    head.set(1, alpha.value_or(1));
    head.set(2, alpha ? 1 - *alpha : 1);
  }
  // log(1 - p) of a positive is -softplus(y), so that no power is taken of a difference.
  ESPALIER_INLINE static auto value(const auto& y, const auto& t, const auto& gamma, const auto& positive, const auto& negative) {
    const auto s = softplus(y), r = softplus(-y);
    return t * positive * (exp(-(gamma * s)) * r) + (1 - t) * negative * (exp(-(gamma * r)) * s);
  }
  ESPALIER_INLINE static auto slope(const auto& y, const auto& t, const auto& gamma, const auto& positive, const auto& negative) {
    const auto s = softplus(y), r = softplus(-y), p = sigmoid(y), q = sigmoid(-y);
    return (1 - t) * negative * (exp(-(gamma * r)) * (p + gamma * q * s)) -
           t * positive * (exp(-(gamma * s)) * (q + gamma * p * r));
  }
};

/// -(1 - p)^gamma log p, where p is the softmax probability of the sample's class.
struct Focal {
  static constexpr std::string_view name = "focal";
  static constexpr LossTarget target = LossTarget::classes;
  static constexpr Index parameters = 1;
  double gamma = 2;                        // 0: plain cross-entropy
  std::vector<double> class_weights = {};  // multiply the samples' weights: see CrossEntropy

  void settle(LossHead& head) const {
    if (!(gamma >= 0) || gamma == std::numeric_limits<double>::infinity())
      head.bad(join("gamma is ", gamma, "; it must be finite and not negative"));
    head.weigh_classes(class_weights, head.width);
    head.set(0, gamma);
  }

  template <class T>
  static double value(const detail::ClassRow<T>& at) {
    const Odds odds = odds_of(at);
    return std::pow(odds.rest, at.parameter(0)) * odds.loss;
  }
  template <class T>
  static void slope(const detail::ClassRow<T>& at, T* out) {
    const Odds odds = odds_of(at);
    kernels::softmax(1, at.width, at.y, out);
    const double gamma = at.parameter(0);
    // The slope in log p is -(1 - p)^gamma (1 + gamma p (-log p) / (1 - p)), and -log p / (1 - p) goes to 1 with p.
    const double ratio = odds.rest > 0 ? odds.loss / odds.rest : 1;
    const double factor = std::pow(odds.rest, gamma) * (1 + gamma * (1 - odds.rest) * ratio);
    for (Index j = 0; j < at.width; ++j)
      out[j] = static_cast<T>(factor * (j == at.label ? -odds.rest : static_cast<double>(out[j])));
  }
  template <class T>
  static Tensor<T> slope(const Tensor<T>& y, const Tensor<T>& chosen, const Tensor<T>& numbers) {
    const Tensor<T> p = softmax(y, -1), gamma = slice(numbers, 1, 0, 1);
    const auto over_classes = [](const Tensor<T>& x) { return sum(x, {-1}, {.keep_axes = true}); };
    const Tensor<T> loss = -over_classes(log_softmax(y, -1) * chosen);
    const Tensor<T> rest = over_classes(p * (T(1) - chosen)) + std::numeric_limits<T>::min();  // > 0, for its logarithm
    const Tensor<T> factor = exp(gamma * log(rest)) * (T(1) + gamma * over_classes(p * chosen) * (loss / rest));
    return factor * (p - chosen);
  }

 private:
  struct Odds {
    double rest, loss;  // 1 - p, -log p
  };
  /// 1 - p as the sum of the others' probabilities, which keeps its digits where p is near 1.
  template <class T>
  static Odds odds_of(const detail::ClassRow<T>& at) {
    T lse;
    kernels::logsumexp(1, at.width, at.y, &lse);
    double rest = 0;
    for (Index j = 0; j < at.width; ++j)
      if (j != at.label) rest += std::exp(static_cast<double>(at.y[j]) - static_cast<double>(lse));
    // lse is rounded to T: where p is near 1, the rest tells its logarithm better.
    const double loss = rest < 0.5 ? -std::log1p(-rest) : static_cast<double>(lse) - static_cast<double>(at.y[at.label]);
    return {std::min(rest, 1.0), loss};
  }
};

}  // namespace espalier::inline ESPALIER_ABI
