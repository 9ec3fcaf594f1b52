#pragma once
// ProgressBar: what a person watching a training run sees. On a terminal one line that is refreshed in place,
//
//   epoch  3/30 [======>         ] 18/45  digit 0.31  even 0.12  ink 0.05  1.2k rows/s  ETA 4s
//
// that gives way to a line about the last epoch when the run ends; elsewhere (a file, a pipe) a line for every epoch.
//
//   ProgressBar progress;
//   progress.begin(30, loader.batches());
//   ...                                                        // per batch:
//   progress.step(epoch, batch, rows, losses);                 // costs a reading of the clock
//   ...                                                        // per epoch:
//   progress.epoch({.epoch = epoch, .train = losses, .validation = measures, .seconds = seconds});
//   progress.end();
//
// What cannot be written (a full disk, a closed pipe) is passed over: training goes on.

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <span>
#include <string>
#include <string_view>

#include "espalier/tensor/named.hpp"
#include "espalier/train/text.hpp"

namespace espalier::inline ESPALIER_ABI {

/// What is shown: a bar, a line per epoch, or nothing. `automatic`: a bar when the stream is a terminal that can
/// refresh a line, else lines.
enum class Progress { automatic, bar, lines, quiet };

namespace detail {
/// A clock that never goes back; seconds since some moment.
template <class Lazy = void>
double monotonic_seconds() {
  struct timespec now {};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}
}  // namespace detail

struct ProgressOptions {
  Progress mode = Progress::automatic;
  bool keep_epochs = false;                       // on a terminal too, a line that stays for every epoch
  std::FILE* stream = stdout;                     // must outlive the bar
  Index width = 0;                                // columns; 0: the terminal's, 80 where unknown; lines are not broken
  double (*clock)() = detail::monotonic_seconds;  // in seconds
};

/// An epoch that is over.
struct EpochSummary {
  Index epoch = 0;                                 // from 0
  std::span<const Named<double>> train = {};       // mostly the losses by task
  std::span<const Named<double>> validation = {};  // losses and metrics
  double seconds = 0;
};

class ProgressBar {
 public:
  /// Throws Error when there is no stream, or the width is negative.
  template <class Lazy = void>
  explicit ProgressBar(ProgressOptions options = {});
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  /// As `end`: a run that ends by an exception leaves the cursor at the start of a line.
  ~ProgressBar() { end(); }

  /// A run of that many epochs, of that many batches each. Throws Error for a negative number.
  template <class Lazy = void>
  void begin(Index epochs, Index batches);

  /// After a batch: its position, its number of rows, and what to show (most often the losses). A run may begin in the
  /// middle, when it is resumed. The bar is drawn at most ten times a second; other calls only read the clock. The rate
  /// is that of training since the run began, what comes between the epochs left out; ETA is the time to the end of the
  /// run at its pace so far, all included. Throws Error for an epoch or batch that `begin` does not know.
  template <class Lazy = void>
  void step(Index epoch, Index batch, Index rows, std::span<const Named<double>> values) {
    if (epoch < 0 || epoch >= epochs_ || batch < 0 || batch >= batches_) refuse(epoch, batch);
    if (mode_ != Progress::bar) return;
    rows_ += rows;
    if (first_ < 0) first_ = position(epoch, batch);
    const double now = last_ = options_.clock();
    if (now >= next_) draw(epoch, batch, values, now);
  }

  /// After an epoch: its line, which replaces the bar when the run ends, or at once with `keep_epochs`. Throws Error for an
  /// epoch that `begin` does not know.
  template <class Lazy = void>
  void epoch(const EpochSummary& summary);

  /// After the run, or when it is given up.
  template <class Lazy = void>
  void end() noexcept {
    if (!open_ && kept_.empty()) return;
    if (open_) std::fputs(kept_.empty() ? "\n" : "\r\x1b[K", options_.stream);
    std::fwrite(kept_.data(), 1, kept_.size(), options_.stream);
    std::fflush(options_.stream);
    open_ = false;
    kept_.clear();
  }

  /// What is shown in fact: never `automatic`.
  Progress mode() const { return mode_; }

 private:
  static constexpr double refresh = 0.1;  // seconds
  static constexpr Index cells = 16;      // of the bar

  template <class Lazy = void>
  [[noreturn, gnu::cold]] void refuse(Index epoch, Index batch) const {
    fail("ProgressBar: epoch ", epoch, ", batch ", batch, " of a run of ", epochs_, " epochs of ", batches_,
         " batches; both count from 0, and begin() tells how many there are");
  }
  /// Columns that a line may take; 0 is any number.
  template <class Lazy = void>
  Index width() const;
  /// Batches before this one in the whole run; a double, as a run without an end may have 2^63 - 1 epochs.
  template <class Lazy = void>
  double position(Index epoch, Index batch) const {
    return static_cast<double>(epoch) * static_cast<double>(batches_) + static_cast<double>(batch);
  }
  template <class Lazy = void>
  void draw(Index epoch, Index batch, std::span<const Named<double>> values, double now);
  template <class Lazy = void>
  void write(const std::string& text) const {
    std::fwrite(text.data(), 1, text.size(), options_.stream);
    std::fflush(options_.stream);
  }

  ProgressOptions options_;
  Progress mode_;
  bool terminal_ = false;
  bool open_ = false;  // the bar stands on the current line
  std::string kept_;   // the line of the last epoch, while it waits for the end
  Index epochs_ = 0, batches_ = 0;
  Index rows_ = 0;      // since the run began
  double first_ = -1;   // the position that the run began with
  double began_ = 0;    // the run
  double turned_ = 0;   // to this epoch
  double last_ = 0;     // step
  double trained_ = 0;  // seconds, in the epochs before
  double next_ = 0;     // no sooner is the bar drawn
};

namespace detail {

/// `950`, `1.2k`, `34k`, `5.6M`: a rate.
template <class Lazy = void>
[[gnu::cold]] void append_rate(std::string& out, double x) {
  std::size_t unit = 0;
  for (; unit < 4 && x >= 999.5; ++unit) x /= 1000;
  append_fixed(out, x, unit > 0 && x < 9.95 ? 1 : 0);
  if (unit > 0) out += "kMGT"[unit - 1];
}

/// `4s`, `2m05s`, `1h03m`, `3d04h`: how long something will take.
template <class Lazy = void>
[[gnu::cold]] void append_duration(std::string& out, double seconds) {
  if (!(seconds < 1e9)) {
    out += '?';
    return;
  }
  constexpr Index units[] = {86400, 3600, 60, 1};
  auto rest = static_cast<Index>(seconds);
  rest += static_cast<double>(rest) < seconds;  // it takes no less
  int unit = 0;
  while (unit < 3 && rest < units[unit]) ++unit;
  append_whole(out, rest / units[unit]);
  out += "dhms"[unit];
  if (unit == 3) return;
  append_whole(out, rest % units[unit] / units[unit + 1], 2, '0');
  out += "hms"[unit];
}

/// ` [======>         ]` after `done` of `all` steps.
template <class Lazy = void>
[[gnu::cold]] void append_bar(std::string& out, Index done, Index all, Index cells) {
  const double part = static_cast<double>(done) / static_cast<double>(all);
  const auto full = static_cast<Index>(part * static_cast<double>(cells));
  out.append(" [");
  for (Index i = 0; i < cells; ++i) out += i < full ? '=' : i == full ? '>' : ' ';
  out += ']';
}

/// ` 3/30`, from a position that counts from 0.
template <class Lazy = void>
[[gnu::cold]] void append_position(std::string& out, Index position, Index count) {
  Index digits = 1;
  for (Index n = count; n >= 10; n /= 10) ++digits;
  append_whole(out, position + 1, digits);
  out += '/';
  append_whole(out, count);
}

template <class Lazy = void>
[[gnu::cold]] void append_value(std::string& out, const Named<double>& item) {
  append_printable(out, item.name);
  out += ' ';
  append_short(out, item.value);
}

}  // namespace detail

template <class Lazy>
[[gnu::cold]] ProgressBar::ProgressBar(ProgressOptions options) : options_(options), mode_(options.mode) {
  if (options_.width < 0) fail("ProgressBar: the width is ", options_.width, " columns; it must not be negative");
  if (mode_ == Progress::quiet) return;
  if (!options_.stream) fail("ProgressBar: the stream is null; only a quiet one needs none");
  const int descriptor = ::fileno(options_.stream);
  terminal_ = descriptor >= 0 && ::isatty(descriptor) == 1;
  if (mode_ != Progress::automatic) return;
  const char* kind = std::getenv("TERM");
  mode_ = terminal_ && !(kind && std::string_view(kind) == "dumb") ? Progress::bar : Progress::lines;
}

template <class Lazy>
void ProgressBar::begin(Index epochs, Index batches) {
  if (epochs < 0 || batches < 0)
    fail("ProgressBar: a run of ", epochs, " epochs of ", batches, " batches; neither must be negative");
  end();
  epochs_ = epochs;
  batches_ = batches;
  first_ = -1;
  rows_ = 0;
  trained_ = 0;
  if (mode_ == Progress::bar) began_ = turned_ = last_ = next_ = options_.clock();
}

template <class Lazy>
Index ProgressBar::width() const {
  if (options_.width > 0) return options_.width;
  struct winsize size {};
  if (terminal_ && ::ioctl(::fileno(options_.stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return mode_ == Progress::bar ? 80 : 0;
}

template <class Lazy>
[[gnu::cold]] void ProgressBar::draw(Index epoch, Index batch, std::span<const Named<double>> values,
                                            double now) {
  next_ = now + refresh;
  std::string line = "\repoch ";
  detail::append_position(line, epoch, epochs_);
  Index left = width() - 1;  // a character in the last column makes some terminals wrap
  std::size_t kept = 1;
  const auto fits = [&] {  // keeps what was appended since the last time, if there is room for it
    const Index wide = detail::display_width(std::string_view(line).substr(kept));
    if (wide > left) {
      line.resize(kept);
      return false;
    }
    kept = line.size();
    left -= wide;
    return true;
  };
  line.resize(1 + detail::display_prefix(std::string_view(line).substr(1), left).size());
  fits();
  bool more = false;
  for (const bool with_bar : {true, false}) {
    if (more) break;
    if (with_bar) detail::append_bar(line, batch + 1, batches_, cells);
    line += ' ';
    detail::append_position(line, batch, batches_);
    more = fits();
  }
  for (const Named<double>& item : values) {
    if (!more) break;
    line.append("  ");
    detail::append_value(line, item);
    more = fits();
  }
  const double trained = trained_ + now - turned_;  // of less than a tenth of a second a pace would be chance
  if (more && trained >= refresh) {
    line.append("  ");
    detail::append_rate(line, static_cast<double>(rows_) / trained);
    line.append(" rows/s");
    more = fits();
  }
  const double at = position(epoch, batch) + 1, done = at - first_;
  if (more && now - began_ >= refresh && done > 0) {
    line.append("  ETA ");
    detail::append_duration(line, (now - began_) * (position(epochs_, 0) - at) / done);
    fits();
  }
  line.append("\x1b[K");  // erases what is left of the line before
  open_ = true;
  write(line);
}

template <class Lazy>
[[gnu::cold]] void ProgressBar::epoch(const EpochSummary& summary) {
  if (summary.epoch < 0 || summary.epoch >= epochs_) refuse(summary.epoch, 0);
  if (mode_ == Progress::quiet) return;
  // Unlike the bar this line is a record: what does not fit into the width goes on below, set in.
  const Index most = width();
  std::string text = "epoch ";
  detail::append_position(text, summary.epoch, epochs_);
  const std::size_t margin = text.size();
  Index used = static_cast<Index>(margin);
  const auto place = [&](std::size_t before, bool new_group) {  // the part from `before` on
    const Index wide = detail::display_width(std::string_view(text).substr(before));
    const bool below = most > 0 && used + wide > most && used > static_cast<Index>(margin);
    if (below) {
      const std::size_t inset = new_group ? margin : margin + 1;  // the stroke stands where it is, values right of it
      text.insert(before, inset + 1, ' ');
      text[before] = '\n';
      used = static_cast<Index>(inset);
    }
    used += wide;
  };
  for (const bool training : {true, false}) {
    bool first = true;
    for (const Named<double>& item : training ? summary.train : summary.validation) {
      const std::size_t before = text.size();
      text.append(!first ? "  " : training ? " | train: " : " | validation: ");
      detail::append_value(text, item);
      place(before, first);
      first = false;
    }
  }
  const std::size_t before = text.size();
  text.append(" | ");
  detail::append_short(text, summary.seconds);
  text.append("s");
  place(before, true);
  text += '\n';
  if (mode_ != Progress::bar) return write(text);
  kept_ = std::move(text);
  if (options_.keep_epochs || summary.epoch + 1 == epochs_) end();
  trained_ += last_ - turned_;
  turned_ = last_ = options_.clock();
}

}  // namespace espalier::inline ESPALIER_ABI
