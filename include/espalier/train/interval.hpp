#pragma once
// Interval: a mean over seeds with its confidence interval, of values or of paired differences.
//
// Included by name: train/comparison.hpp brings it.

#include <charconv>
#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "espalier/core/error.hpp"
#include "espalier/train/text.hpp"

namespace espalier::inline ESPALIER_ABI {

/// A mean over seeds and half of its 95 % confidence interval by Student's t; NaN when there are none, and for one seed.
struct Interval {
  double mean = std::numeric_limits<double>::quiet_NaN(), half_width = std::numeric_limits<double>::quiet_NaN();

  /// `0.962 +- 0.011`; `-` when there is no mean.
  [[gnu::cold]] std::string text() const {
    if (std::isnan(mean)) return "-";
    std::string out = detail::short_number(mean);
    if (std::isnan(half_width)) return out;
    const double half = half_width > 1e-12 * std::abs(mean) ? half_width : 0;  // less is rounding
    char digits[32];
    out += " +- ";
    const auto format = half < 10 ? std::chars_format::general : std::chars_format::fixed;
    return out.append(
        digits,
        std::to_chars(digits, digits + sizeof digits, half < 1e15 ? half : 1e15, format, half < 10 ? 2 : 0).ptr);
  }
};

namespace detail {

/// The 97.5 % point of Student's t: a table up to 30 degrees of freedom, beyond it Cornish and Fisher's expansion, right
/// to 3e-6.
inline double student_t(Index freedom) {
  constexpr double table[] = {12.706205, 4.302653, 3.182446, 2.776445, 2.570582, 2.446912, 2.364624, 2.306004,
                              2.262157,  2.228139, 2.200985, 2.178813, 2.160369, 2.144787, 2.131450, 2.119905,
                              2.109816,  2.100922, 2.093024, 2.085963, 2.079614, 2.073873, 2.068658, 2.063899,
                              2.059539,  2.055529, 2.051831, 2.048407, 2.045230, 2.042272};
  if (freedom < 1) return std::numeric_limits<double>::quiet_NaN();
  if (freedom <= 30) return table[freedom - 1];
  const double z = 1.959963984540054, n = static_cast<double>(freedom), z3 = z * z * z, z5 = z3 * z * z,
               z7 = z5 * z * z;
  return z + (z3 + z) / (4 * n) + (5 * z5 + 16 * z3 + 3 * z) / (96 * n * n) +
         (3 * z7 + 19 * z5 + 17 * z3 - 15 * z) / (384 * n * n * n);
}

}  // namespace detail

/// Over the values that are numbers.
inline Interval interval(std::span<const double> values) {
  double sum = 0, squares = 0;
  Index count = 0;
  for (const double x : values)
    if (!std::isnan(x)) {
      sum += x;
      ++count;
    }
  Interval found;
  if (count == 0) return found;
  const auto n = static_cast<double>(count);
  found.mean = sum / n;
  for (const double x : values)
    if (!std::isnan(x)) squares += (x - found.mean) * (x - found.mean);
  if (count > 1) found.half_width = detail::student_t(count - 1) * std::sqrt(squares / (n - 1) / n);
  return found;
}

/// Of a - b, pair by pair, where both are numbers: for values of the same seeds, which share their data and initial values,
/// so that what a seed does to both drops out. Throws Error for lists of different lengths.
[[gnu::cold]] inline Interval paired_difference(std::span<const double> a, std::span<const double> b) {
  if (a.size() != b.size())
    fail("paired_difference: a has ", a.size(), " values, b ", b.size(), "; there must be one of each for every pair");
  std::vector<double> differences;
  for (std::size_t i = 0; i < a.size(); ++i) differences.push_back(a[i] - b[i]);
  return interval(differences);
}

}  // namespace espalier::inline ESPALIER_ABI
