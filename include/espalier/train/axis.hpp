#pragma once
// The axis of a chart: its range, and ticks at round numbers (1, 2 or 5 times a power of ten; powers of ten on a
// logarithmic axis), with labels that are as short as the step allows.
//
// Included by name: train/chart.hpp draws with it.

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "espalier/train/text.hpp"

namespace espalier::inline ESPALIER_ABI::detail {

/// A value's place on the axis, from 0 to 1, and what is written there.
struct Tick {
  double place;
  std::string label;
};

class Axis {
 public:
  explicit Axis(bool logarithmic) : log_(logarithmic) {}

  /// Whether a number can be shown at all; NaN, infinity and, on a logarithmic axis, what is not positive cannot.
  bool shows(double x) const { return std::abs(x) <= 1e300 && (!log_ || x > 0); }

  /// Makes room for a number; one that cannot be shown needs none.
  template <class Lazy = void>
  void cover(double x) {
    if (!shows(x)) return;
    whole_ = whole_ && x == std::round(x);
    const double at = log_ ? std::log10(x) : x;
    low_ = std::min(low_, at);
    high_ = std::max(high_, at);
  }
  bool empty() const { return !(low_ <= high_); }

  /// After the last `cover`: widens the range a little; one without width gets some, so that its value is in the middle.
  /// With `whole_ticks`, there are no ticks between whole numbers when all numbers were whole.
  template <class Lazy = void>
  void finish(double margin, bool whole_ticks) {
    if (empty()) low_ = 0, high_ = 1, log_ = false;
    whole_ = whole_ && whole_ticks;
    const double most = std::max(std::abs(low_), std::abs(high_)), width = high_ - low_;
    const bool wide =
        width > 1e-10 * (log_ ? 1 : std::max(most, 1e-290));  // else its ticks would differ by rounding alone
    const double half = log_ || (whole_ && most < 5) ? 0.5 : most < 1e-290 ? 1 : 0.1 * most;
    low_ -= wide ? margin * width : half;
    high_ += wide ? margin * width : half;
  }

  /// Where a number is: 0 at the low end, 1 at the high one. On a logarithmic axis 0 and less are at the low end.
  template <class Lazy = void>
  double place(double x) const {
    if (log_ && !(x > 0)) return 0;
    return ((log_ ? std::log10(x) : x) - low_) / (high_ - low_);
  }

  /// At most about `most` ticks.
  std::vector<Tick> ticks(Index most) const { return log_ ? powers(most) : multiples(low_, high_, most); }

 private:
  /// k m 10^e, as near as a double comes.
  static double decimal(double km, int e) { return e >= 0 ? km * std::pow(10.0, e) : km / std::pow(10.0, -e); }

  template <class Lazy = void>
  std::vector<Tick> multiples(double low, double high, Index most) const {
    const double raw = (high - low) / static_cast<double>(most);
    int e = static_cast<int>(std::floor(std::log10(raw)));
    const double part = raw / std::pow(10.0, e);
    int m = part <= 1.000001 ? 1 : part <= 2.000001 ? 2 : part <= 5.000001 ? 5 : 10;
    if (m == 10) m = 1, ++e;
    if (whole_ && e < 0) m = 1, e = 0;
    const double step = decimal(m, e);
    const double first = std::ceil(low / step - 1e-6), last = std::floor(high / step + 1e-6);
    const double largest = std::max(std::abs(first), std::abs(last)) * step;
    const int size = largest > 0 ? static_cast<int>(std::floor(std::log10(largest * 1.0000001))) : 0;
    const auto plain = [&](double k) { return fixed_number(decimal(k * m, e), std::max(0, -e)); };
    const auto scientific = [&](double k) {
      return fixed_number(decimal(k * m, e - size), std::max(0, size - e)) + 'e' + std::to_string(size);
    };
    const double far = std::abs(first) > std::abs(last) ? first : last;
    const bool short_plain = (size < 6 && size >= -3) || plain(far).size() <= scientific(far).size();
    std::vector<Tick> out;
    for (double k = first; k <= last; ++k)
      out.push_back({place(decimal(k * m, e)), k == 0 ? "0" : short_plain ? plain(k) : scientific(k)});
    // A step may be wider than the range; an axis without a tick says nothing.
    return out.empty() && most < 10 ? multiples(low, high, most + 1) : out;
  }

  template <class Lazy = void>
  std::vector<Tick> powers(Index most) const {
    const double first = std::ceil(low_ - 1e-9), last = std::floor(high_ + 1e-9);
    const auto decades = static_cast<Index>(last - first) + 1;
    std::vector<Tick> out;
    const auto add = [&](int m, double e) {
      const double at = std::log10(m) + e;
      if (at < low_ - 1e-9 || at > high_ + 1e-9) return;
      const double value = decimal(m, static_cast<int>(e));
      out.push_back({(at - low_) / (high_ - low_), short_number(value)});
    };
    if (decades * 2 > most) {
      const double least = static_cast<double>(decades) / static_cast<double>(most);
      double step = 1;
      for (double unit = 1; step < least; unit *= 10)
        for (const double m : {1.0, 2.0, 5.0})
          if (step < least) step = m * unit;
      for (double e = std::ceil(first / step) * step; e <= last; e += step) add(1, e);
      return out;
    }
    for (double e = first - 1; e <= last; ++e)
      for (const int m : {1, 2, 5}) add(m, e);
    if (static_cast<Index>(out.size()) > most && decades >= 2) {
      out.clear();
      for (double e = first; e <= last; ++e) add(1, e);
    }
    while (static_cast<Index>(out.size()) > most && out.size() > 2)  // within a decade: every other one
      for (std::size_t i = 1; i < out.size(); ++i) out.erase(out.begin() + static_cast<std::ptrdiff_t>(i));
    if (out.size() >= 2) return out;
    return multiples(std::pow(10.0, low_), std::pow(10.0, high_), most);
  }

  bool log_, whole_ = true;
  double low_ = std::numeric_limits<double>::infinity(), high_ = -std::numeric_limits<double>::infinity();
};

}  // namespace espalier::inline ESPALIER_ABI::detail
