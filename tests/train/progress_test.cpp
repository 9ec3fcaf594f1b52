#include "espalier/train/progress.hpp"

#include <fcntl.h>
#include <stdlib.h>

#include <algorithm>
#include <cstdio>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"

using namespace espalier;

namespace {

using Values = std::vector<Named<double>>;

double now = 0;  // what the clock says
double fake_clock() { return now; }

/// A file that holds what was written.
class Paper {
 public:
  Paper() : file_(std::tmpfile()) { now = 100; }
  Paper(const Paper&) = delete;
  Paper& operator=(const Paper&) = delete;
  ~Paper() { std::fclose(file_); }
  std::FILE* stream() const { return file_; }
  std::string text() const {
    std::string out;
    std::fseek(file_, 0, SEEK_SET);
    for (int c = std::fgetc(file_); c != EOF; c = std::fgetc(file_)) out += static_cast<char>(c);
    return out;
  }

 private:
  std::FILE* file_;
};

/// A pseudo-terminal: `stream` is what a program writes to, `text` what arrived at the screen.
class Terminal {
 public:
  explicit Terminal(unsigned short columns) : master_(::posix_openpt(O_RDWR | O_NOCTTY)) {
    now = 100;
    if (master_ < 0 || ::grantpt(master_) != 0 || ::unlockpt(master_) != 0) return;
    resize(columns);
    file_ = std::fopen(::ptsname(master_), "w");
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;
  ~Terminal() {
    if (file_) std::fclose(file_);
    ::close(master_);
  }
  void resize(unsigned short columns) const {
    struct winsize size {};
    size.ws_row = 24;
    size.ws_col = columns;
    ::ioctl(master_, TIOCSWINSZ, &size);
  }
  std::FILE* stream() const { return file_; }
  std::string text() const {
    ::fcntl(master_, F_SETFL, O_NONBLOCK);
    std::string out(1 << 16, '\0');
    const ssize_t size = ::read(master_, out.data(), out.size());
    out.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
    return out;
  }

 private:
  int master_;
  std::FILE* file_ = nullptr;
};

/// A known TERM while a test runs.
class Term {
 public:
  explicit Term(const char* value) : old_(::getenv("TERM") ? ::getenv("TERM") : "") { ::setenv("TERM", value, 1); }
  Term(const Term&) = delete;
  Term& operator=(const Term&) = delete;
  ~Term() { ::setenv("TERM", old_.c_str(), 1); }

 private:
  std::string old_;
};

const std::string erase = "\x1b[K";
const Values losses{{"digit", 0.31}, {"even", 0.12}, {"ink", 0.05}};

}  // namespace

TEST_CASE("the bar, exactly", "[fast]") {
  const Paper paper;
  ProgressBar bar{{.mode = Progress::bar, .keep_epochs = true, .stream = paper.stream(), .width = 120, .clock = fake_clock}};
  bar.begin(30, 45);
  bar.step(0, 0, 32, losses);  // no time has gone by: neither a rate nor an ETA
  now += 10;
  bar.step(0, 1, 32, losses);
  now += 0.05;
  bar.step(0, 2, 32, losses);  // too soon
  now += 0.06;
  bar.step(0, 17, 11978, losses);
  CHECK(paper.text() ==
        "\repoch  1/30 [>               ]  1/45  digit 0.31  even 0.12  ink 0.05" + erase +
            "\repoch  1/30 [>               ]  2/45  digit 0.31  even 0.12  ink 0.05  6 rows/s  ETA 1h52m" + erase +
            "\repoch  1/30 [======>         ] 18/45  digit 0.31  even 0.12  ink 0.05  1.2k rows/s  ETA 12m29s" + erase);
}

TEST_CASE("the epoch's line takes the bar's place and stays", "[fast]") {
  const Paper paper;
  {
    ProgressBar bar{{.mode = Progress::bar, .keep_epochs = true, .stream = paper.stream(), .width = 120, .clock = fake_clock}};
    bar.begin(2, 2);
    now += 1;
    bar.step(0, 0, 8, {});
    now += 1;
    bar.step(0, 1, 8, {});
    now += 5;  // validation, which is not in the rate of the next epoch
    const Values measures{{"digit/loss", 0.3372}, {"digit/accuracy", 0.9011}};
    bar.epoch({.epoch = 0, .train = losses, .validation = measures, .seconds = 7});
    now += 1;
    bar.step(1, 0, 8, {});
    now += 1;
    bar.epoch({.epoch = 1, .train = losses, .seconds = 1.23456});
    bar.end();
  }
  CHECK(paper.text() ==
        "\repoch 1/2 [========>       ] 1/2  8 rows/s  ETA 3s" + erase +  //
            "\repoch 1/2 [================] 2/2  8 rows/s  ETA 2s" + erase + "\r" + erase +
            "epoch 1/2 | train: digit 0.31  even 0.12  ink 0.05 | validation: digit/loss 0.3372  digit/accuracy 0.9011 "
            "| 7s\n"
            "\repoch 2/2 [========>       ] 1/2  8 rows/s  ETA 3s" +
            erase + "\r" + erase + "epoch 2/2 | train: digit 0.31  even 0.12  ink 0.05 | 1.235s\n");
}

TEST_CASE("on a terminal one line is refreshed, and the last epoch's stays", "[fast]") {
  for (const bool interrupted : {false, true}) {
    Paper paper;
    {
      ProgressBar bar{{.mode = Progress::bar, .stream = paper.stream(), .width = 120, .clock = fake_clock}};
      bar.begin(2, 1);
      const std::vector<Named<double>> losses{{"a", 0.5}};
      bar.step(0, 0, 10, losses);
      bar.epoch({.epoch = 0, .train = losses, .seconds = 1});
      now += 1;
      bar.step(1, 0, 10, losses);
      if (!interrupted) bar.epoch({.epoch = 1, .train = losses, .seconds = 2});
    }
    const std::string text = paper.text();
    CHECK(std::count(text.begin(), text.end(), '\n') == 1);
    CHECK(text.ends_with(interrupted ? "\r\x1b[Kepoch 1/2 | train: a 0.5 | 1s\n" : "\r\x1b[Kepoch 2/2 | train: a 0.5 | 2s\n"));
  }
}

TEST_CASE("it is drawn at most ten times a second", "[fast]") {
  const Paper paper;
  ProgressBar bar{{.mode = Progress::bar, .keep_epochs = true, .stream = paper.stream(), .width = 120, .clock = fake_clock}};
  bar.begin(10, 1000);
  for (Index epoch = 0; epoch < 10; ++epoch) {
    for (Index batch = 0; batch < 1000; ++batch) {
      bar.step(epoch, batch, 1, losses);
      now += 0.001;
    }
  }
  const std::string text = paper.text();
  const auto drawn = std::count(text.begin(), text.end(), '\r');
  CHECK(drawn >= 95);
  CHECK(drawn <= 101);
}

TEST_CASE("a line never is wider than the terminal; parts go from the right", "[fast]") {
  const Values wide{{"digit", 0.31}, {"\u65e5\u672c\u8a9e", 0.12}, {"e\u0301t\u00e9", 1e-5}};
  const std::vector<std::string> parts{"  digit 0.31", "  \u65e5\u672c\u8a9e 0.12", "  e\u0301t\u00e9 1e-5",
                                       "  1.2k rows/s", "  ETA 7h24m"};
  const std::vector<Index> widths{12, 13, 10, 13, 11};
  for (Index width = 1; width <= 120; ++width) {
    const Paper paper;
    ProgressBar bar{{.mode = Progress::bar, .keep_epochs = true, .stream = paper.stream(), .width = width, .clock = fake_clock}};
    bar.begin(18, 45);
    now += 38;
    bar.step(2, 17, 45600, wide);
    now += 2;
    bar.begin(18, 45);  // anew, on a fresh line
    std::string expected =
        std::string("epoch  3/18").substr(0, static_cast<std::size_t>(std::min<Index>(width - 1, 11)));
    Index left = width - 1 - 11;
    const bool with_bar = left >= 25, with_count = left >= 6;
    if (with_bar) expected += " [======>         ]";
    if (with_count) expected += " 18/45";
    left -= with_bar ? 25 : 6;
    for (std::size_t i = 0; i < parts.size() && with_count && left >= widths[i]; ++i) {
      expected += parts[i];
      left -= widths[i];
    }
    REQUIRE(paper.text() == "\r" + expected + erase + "\n");
    REQUIRE(detail::display_width(expected) < width);
  }
}

TEST_CASE("an epoch's line that is too wide goes on below", "[fast]") {
  const Paper paper;
  ProgressBar bar{{.mode = Progress::bar, .keep_epochs = true, .stream = paper.stream(), .width = 40, .clock = fake_clock}};
  bar.begin(3, 1);
  const Values measures{{"digit", 0.34}, {"even", 0.15}, {"a name that does not fit anywhere at all", 1}};
  bar.epoch({.epoch = 0, .train = losses, .validation = measures, .seconds = 2});
  CHECK(paper.text() ==
        "epoch 1/3 | train: digit 0.31  even 0.12\n"
        "            ink 0.05\n"
        "          | validation: digit 0.34\n"
        "            even 0.15\n"
        "            a name that does not fit anywhere at all 1\n"
        "          | 2s\n");
}

TEST_CASE("elsewhere than on a terminal: a line an epoch", "[fast]") {
  const Paper paper;
  {
    ProgressBar bar{{.stream = paper.stream(), .clock = fake_clock}};
    CHECK(bar.mode() == Progress::lines);
    bar.begin(10, 3);
    for (Index epoch = 8; epoch < 10; ++epoch) {
      for (Index batch = 0; batch < 3; ++batch, now += 1) bar.step(epoch, batch, 4, losses);
      bar.epoch({.epoch = epoch, .train = losses, .validation = losses, .seconds = 0.25});
    }
    bar.end();
  }
  const std::string rest =
      "/10 | train: digit 0.31  even 0.12  ink 0.05 | validation: digit 0.31  even 0.12  ink 0.05 | 0.25s\n";
  CHECK(paper.text() == "epoch  9" + rest + "epoch 10" + rest);
}

TEST_CASE("quiet is quiet, and needs no stream", "[fast]") {
  const Paper paper;
  for (std::FILE* stream : {paper.stream(), static_cast<std::FILE*>(nullptr)}) {
    ProgressBar bar{{.mode = Progress::quiet, .stream = stream, .clock = fake_clock}};
    bar.begin(1, 1);
    bar.step(0, 0, 1, losses);
    bar.epoch({.train = losses});
    bar.end();
  }
  CHECK(paper.text().empty());
}

TEST_CASE("on a terminal: the bar in its width, which may change", "[fast]") {
  const Terminal terminal(40);
  if (!terminal.stream()) return;  // no pseudo-terminals here
  const Term term("xterm");
  ProgressBar bar{{.stream = terminal.stream(), .clock = fake_clock}};
  REQUIRE(bar.mode() == Progress::bar);
  bar.begin(2, 2);
  bar.step(0, 0, 8, losses);
  CHECK(terminal.text() == "\repoch 1/2 [========>       ] 1/2" + erase);
  terminal.resize(50);
  now += 1;
  bar.step(0, 1, 8, losses);
  CHECK(terminal.text() == "\repoch 1/2 [================] 2/2  digit 0.31" + erase);
  terminal.resize(0);  // unknown: 80
  now += 1;
  bar.step(1, 0, 8, losses);
  CHECK(terminal.text() == "\repoch 2/2 [========>       ] 1/2  digit 0.31  even 0.12  ink 0.05  12 rows/s" + erase);
  bar.epoch({.epoch = 1, .seconds = 2});
  CHECK(terminal.text() == "\r" + erase + "epoch 2/2 | 2s\r\n");
}

TEST_CASE("a terminal that cannot refresh a line gets lines", "[fast]") {
  const Terminal terminal(80);
  if (!terminal.stream()) return;
  const Term term("dumb");
  CHECK(ProgressBar{{.stream = terminal.stream()}}.mode() == Progress::lines);
  CHECK(ProgressBar{{.mode = Progress::bar, .stream = terminal.stream()}}.mode() == Progress::bar);
}

TEST_CASE("a run that ends by an exception leaves a clean line", "[fast]") {
  const Paper paper;
  try {
    ProgressBar bar{{.mode = Progress::bar, .keep_epochs = true, .stream = paper.stream(), .width = 80, .clock = fake_clock}};
    bar.begin(1, 2);
    bar.step(0, 0, 1, {});
    throw std::runtime_error("diverged");
  } catch (const std::runtime_error&) {
  }
  CHECK(paper.text() == "\repoch 1/1 [========>       ] 1/2" + erase + "\n");

  const Paper nothing;
  { const ProgressBar bar{{.mode = Progress::bar, .stream = nothing.stream()}}; }
  CHECK(nothing.text().empty());
  static_assert(noexcept(std::declval<ProgressBar>().end()));
}

TEST_CASE("a stream that cannot be written does no harm", "[fast]") {
  std::FILE* full = std::fopen("/dev/full", "w");
  if (!full) return;
  {
    ProgressBar bar{{.mode = Progress::bar, .keep_epochs = true, .stream = full, .clock = fake_clock}};
    bar.begin(1, 1);
    bar.step(0, 0, 1, losses);
    bar.epoch({});
  }
  std::fclose(full);
  SUCCEED();
}

TEST_CASE("names cannot steer the terminal", "[fast]") {
  const Paper paper;
  ProgressBar bar{{.mode = Progress::bar, .keep_epochs = true, .stream = paper.stream(), .width = 80, .clock = fake_clock}};
  bar.begin(1, 1);
  bar.step(0, 0, 1, Values{{"a\x1b[2J\n", std::numeric_limits<double>::quiet_NaN()}});
  CHECK(paper.text() == "\repoch 1/1 [================] 1/1  a?[2J? nan" + erase);
}

TEST_CASE("a resumed run: the pace is that of what was done here", "[fast]") {
  const Paper paper;
  ProgressBar bar{{.mode = Progress::bar, .keep_epochs = true, .stream = paper.stream(), .width = 80, .clock = fake_clock}};
  bar.begin(10, 10);
  now += 1;
  bar.step(8, 5, 10, {});  // the first of 15 that are left: a batch a second
  CHECK(paper.text() == "\repoch  9/10 [=========>      ]  6/10  10 rows/s  ETA 14s" + erase);
}

TEST_CASE("a run without an end", "[fast]") {
  const Paper paper;
  ProgressBar bar{{.mode = Progress::bar, .keep_epochs = true, .stream = paper.stream(), .width = 200, .clock = fake_clock}};
  bar.begin(std::numeric_limits<Index>::max(), std::numeric_limits<Index>::max());
  now += 1;
  bar.step(0, 0, 1, {});
  CHECK(paper.text().ends_with("  1 rows/s  ETA ?" + erase));
}

TEST_CASE("durations and rates", "[fast]") {
  const auto duration_text = [](double seconds) {
    std::string text;
    detail::append_duration(text, seconds);
    return text;
  };
  const auto rate_text = [](double rate) {
    std::string text;
    detail::append_rate(text, rate);
    return text;
  };
  CHECK(duration_text(0) == "0s");
  CHECK(duration_text(0.2) == "1s");
  CHECK(duration_text(59.9) == "1m00s");
  CHECK(duration_text(125) == "2m05s");
  CHECK(duration_text(3600) == "1h00m");
  CHECK(duration_text(86399) == "23h59m");
  CHECK(duration_text(3 * 86400 + 4 * 3600) == "3d04h");
  CHECK(duration_text(1e300) == "?");
  CHECK(duration_text(std::numeric_limits<double>::quiet_NaN()) == "?");
  CHECK(rate_text(0) == "0");
  CHECK(rate_text(999.4) == "999");
  CHECK(rate_text(999.6) == "1.0k");
  CHECK(rate_text(9949) == "9.9k");
  CHECK(rate_text(9951) == "10k");
  CHECK(rate_text(5.64e6) == "5.6M");
  CHECK(rate_text(1e18) == "1000000T");
}

TEST_CASE("the bar that is full is full, and no other", "[fast]") {
  for (Index all = 1; all < 200; ++all)
    for (Index done = 1; done <= all; ++done) {
      std::string text;
      detail::append_bar(text, done, all, 16);
      REQUIRE(text.size() == 19);
      REQUIRE((text.find('>') == std::string::npos) == (done == all));
    }
}

TEST_CASE("misuse is refused in every mode", "[fast]") {
  for (const Progress mode : {Progress::bar, Progress::lines, Progress::quiet}) {
    const Paper paper;
    ProgressBar bar{{.mode = mode, .stream = paper.stream(), .clock = fake_clock}};
    REQUIRE_THROWS_WITH(bar.step(0, 0, 1, {}),
                        "ProgressBar: epoch 0, batch 0 of a run of 0 epochs of 0 batches; both count from 0, and "
                        "begin() tells how many there are");
    bar.begin(3, 4);
    bar.step(2, 3, 1, {});
    REQUIRE_THROWS_WITH(bar.step(3, 0, 1, {}),
                        "ProgressBar: epoch 3, batch 0 of a run of 3 epochs of 4 batches; both count from 0, and "
                        "begin() tells how many there are");
    REQUIRE_THROWS_AS(bar.step(0, 4, 1, {}), Error);
    REQUIRE_THROWS_AS(bar.step(0, -1, 1, {}), Error);
    REQUIRE_THROWS_AS(bar.epoch({.epoch = 3}), Error);
    REQUIRE_THROWS_WITH(bar.begin(-1, 4), "ProgressBar: a run of -1 epochs of 4 batches; neither must be negative");
  }
  REQUIRE_THROWS_WITH((ProgressBar{{.mode = Progress::bar, .stream = nullptr}}),
                      "ProgressBar: the stream is null; only a quiet one needs none");
  REQUIRE_THROWS_WITH((ProgressBar{{.width = -1}}), "ProgressBar: the width is -1 columns; it must not be negative");
}
