#include "espalier/train/svg.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "support/catch.hpp"

using namespace espalier;
using namespace espalier::detail;

TEST_CASE("text as XML", "[fast]") {
  CHECK(xml_text("a<b> & \"c\" 'd'") == "a&lt;b&gt; &amp; &quot;c&quot; 'd'");
  CHECK(xml_text("tab\tline\r\n") == "tab line  ");
  CHECK(xml_text("\u65e5\u672c \U0001F600") == "\u65e5\u672c \U0001F600");
  CHECK(xml_text(std::string("\0\x1b\x7f\xff", 4)) == "\uFFFD\uFFFD\uFFFD\uFFFD");
  CHECK(xml_text("\uFFFE\uFFFF") == "\uFFFD\uFFFD");
}

TEST_CASE("coordinates are short", "[fast]") {
  CHECK(pixels(0) == "0");
  CHECK(pixels(-0.001) == "0");
  CHECK(pixels(12.5) == "12.5");
  CHECK(pixels(100) == "100");
  CHECK(pixels(1.0 / 3) == "0.33");
}

TEST_CASE("text is cut to its place", "[fast]") {
  CHECK(cut_text("digit", 100, 12) == "digit");
  const std::string name(100, 'm');
  for (double most = 20; most < 500; most += 7) {
    const std::string cut = cut_text(name, most, 12);
    REQUIRE(cut.ends_with("m\u2026") + (most < 24) >= 1);
    REQUIRE(text_pixels(cut, 12) <= most + 12);
  }
  CHECK(cut_text("\u65e5\u672c\u8a9e\u65e5\u672c\u8a9e", 60, 12) ==
        "\u65e5\u672c\u8a9e\u2026");  // never within a character
}

TEST_CASE("a path shows every extreme, however many points share a pixel", "[fast]") {
  std::vector<Pixel> few{{0, 1}, {10, 2.5}, {20, 0}};
  std::string path;
  append_path(path, few);
  CHECK(path == "M0 1 10 2.5 20 0");
  append_path(path, few);
  CHECK(path == "M0 1 10 2.5 20 0 M0 1 10 2.5 20 0");

  std::vector<Pixel> many;
  for (int i = 0; i < 100000; ++i) many.push_back({i * 0.001, 50 + 40 * std::sin(0.37 * i)});
  many[77777].y = 3.25;
  many[44444].y = 99.75;
  path.clear();
  append_path(path, many);
  CHECK(path.size() < 5000);
  CHECK(path.find(" 3.25 ") != std::string::npos);
  CHECK(path.find(" 99.75 ") != std::string::npos);
  CHECK(path.starts_with("M0 50 "));
  CHECK(path.ends_with(pixels(many.back().x) + ' ' + pixels(many.back().y)));
}
