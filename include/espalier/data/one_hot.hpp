#pragma once
// OneHot: a column of text, or of class numbers, as a column of 0 and 1 for each of its categories.
//
//   const OneHot fuel(train, "fuel");                       // the categories of the training part alone
//   const Tensor<float> x = fuel(test, "fuel");             // [rows, categories]

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "espalier/core/names.hpp"
#include "espalier/core/order.hpp"
#include "espalier/data/table.hpp"

namespace espalier::inline ESPALIER_ABI {

/// What becomes of a cell that has no category: zeros in all columns, a 1 in a column of its own, or an Error.
enum class NoCategory : unsigned char { zeros, column, error };

struct OneHotOptions {
  NoCategory unknown = NoCategory::zeros;  // something is there that was not when fitting
  NoCategory missing = NoCategory::zeros;
};

namespace detail {

inline constexpr std::string_view no_category_words[] = {"zeros", "column", "error"};
inline std::string_view word(NoCategory choice) { return no_category_words[static_cast<std::size_t>(choice)]; }
/// Throws Error for any other word, as a file may hold.
template <class Lazy = void>
void set_choice(NoCategory& choice, std::string_view component, std::string_view word) {
  for (std::size_t i = 0; i < std::size(no_category_words); ++i)
    if (no_category_words[i] == word) {
      // What is const may be walked to be read: it is not written to.
      if (choice != static_cast<NoCategory>(i)) choice = static_cast<NoCategory>(i);
      return;
    }
  fail(component, ": '", word, "' says nothing about cells without a category; known: zeros, column, error");
}

/// A class number's text; false where the text is none.
template <class Lazy = void>
bool class_number(std::string_view text, Index& number) {
  const auto end = std::from_chars(text.data(), text.data() + text.size(), number);
  return end.ec == std::errc() && end.ptr == text.data() + text.size() && number >= 0 &&
         (text[0] != '0' || text.size() == 1);
}

/// The categories of a column, and its cells by them.
struct Categories {
  std::vector<std::string> names;  // text: in byte order; class numbers: rising
  bool numbers = false;
  NoCategory unknown = NoCategory::zeros, missing = NoCategory::zeros;

  template <class Lazy = void>
  Index width() const {
    return static_cast<Index>(names.size()) + (unknown == NoCategory::column) + (missing == NoCategory::column);
  }
  /// `fuel=diesel`, `fuel unknown`, `fuel missing`: the columns of 0 and 1.
  template <class Lazy = void>
  void append_columns(std::string_view name, std::vector<std::string>& all) const {
    for (const std::string& category : names) all.push_back(join(name, '=', category));
    if (unknown == NoCategory::column) all.push_back(join(name, " unknown"));
    if (missing == NoCategory::column) all.push_back(join(name, " missing"));
  }

  /// Finds the categories that occur.
  template <class Lazy = void>
  void fit(const Table& table, std::string_view name) {
    names.clear();
    numbers = !table.is_text(name);
    const Tensor<Index> classes = table.classes(name);
    const Tensor<bool> present = table.present({std::string(name)});
    PoolVector<Index> found;
    for (Index r = 0; r < classes.size(); ++r)
      if (present.data()[r]) found.push_back(classes.data()[r]);
    sort_unique(found);
    for (Index c : found)
      names.push_back(numbers ? std::to_string(c) : table.categories(name)[static_cast<std::size_t>(c)]);
    if (numbers) return;
    std::vector<std::string> in_order;  // a table from a file has them so
    for (Index i : sorted_order(names.size(), [&](Index a, Index b) { return text(a) < text(b); }))
      if (in_order.empty() || in_order.back() != text(i)) in_order.push_back(text(i));
    names = std::move(in_order);
  }

  /// The column of 0 and 1 that is 1, for each row; -1: none.
  template <class Lazy = void>
  std::vector<Index> places(std::string_view component, const Table& table, std::string_view name) const {
    const Index rows = table.rows(), unknown_at = unknown == NoCategory::column ? count() : -1,
                missing_at = missing == NoCategory::column ? width() - 1 : -1;
    std::vector<Index> places(static_cast<std::size_t>(rows), missing_at);
    const Index gone = table.missing(name);
    if (gone > 0 && missing == NoCategory::error) {
      const Tensor<bool> present = table.present({std::string(name)});
      Index row = 0;
      while (present.data()[row]) ++row;
      fail(table.place(name, row), ": the cell is missing; it must hold one of the categories ", list());
    }
    if (gone == rows) return places;  // such a column of a file looks like numbers, whatever it was
    if (table.is_text(name) == numbers)
      fail(component, ": column '", name, "' of ", table.source(), " holds ", numbers ? "text" : "numbers", ", but ",
           numbers ? "class numbers" : "text", " when it was fitted; it must be of one kind");

    const Tensor<Index> classes = table.classes(name);
    const Tensor<bool> present = table.present({std::string(name)});
    NameTable known;
    for (const std::string& category : names) known.add(category);
    std::vector<Index> of_text;  // of the table's categories, those here
    if (!numbers)
      for (const std::string& category : table.categories(name)) of_text.push_back(known.find(category));
    for (Index r = 0; r < rows; ++r) {
      if (!present.data()[r]) continue;
      const auto c = static_cast<std::size_t>(classes.data()[r]);
      const Index place = numbers ? known.find(std::to_string(c)) : of_text[c];
      if (place < 0 && unknown == NoCategory::error)
        fail(table.place(name, r), ": '", numbers ? std::to_string(c) : table.categories(name)[c],
             "' is none of the categories ", list());
      places[static_cast<std::size_t>(r)] = place < 0 ? unknown_at : place;
    }
    return places;
  }

  /// Throws Error unless the categories are such as `fit` finds: those of a file need not be.
  template <class Lazy = void>
  void check(std::string_view component) const {
    Index last = -1, number = 0;
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (numbers && !class_number(names[i], number))
        fail(component, ": the category '", names[i], "' is no class number");
      if (i > 0 && (numbers ? last >= number : names[i - 1] >= names[i]))
        fail(component, ": the category '", names[i], "' comes after '", names[i - 1], "'; each comes once, in order");
      last = number;
    }
  }

 private:
  const std::string& text(Index i) const { return names[static_cast<std::size_t>(i)]; }
  Index count() const { return static_cast<Index>(names.size()); }
  template <class Lazy = void>
  [[gnu::cold]] std::string list() const {
    const std::span<const std::string> first = std::span(names).first(std::min<std::size_t>(names.size(), 20));
    return join(listing(first, [](const std::string& n) { return n; }),
                names.size() > first.size() ? join(", ... (", names.size(), ")") : "");
  }
};

}  // namespace detail

/// One column of 0 and 1 for each category that the fitted rows hold, text in byte order, class numbers in rising order;
/// then, where the options ask for it, one for what is unknown and one for what is missing.
template <Differentiable T = float>
class OneHot {
 public:
  /// Without categories; to be loaded into, which brings the options as well.
  OneHot() = default;
  /// Fitted on a column of text, or of numbers that are whole and not negative. Throws Error when it has no value at all.
  OneHot(const Table& table, std::string_view column, OneHotOptions options = {}) {
    categories_.unknown = options.unknown;
    categories_.missing = options.missing;
    categories_.fit(table, column);
    if (categories_.names.empty())
      fail("OneHot: column '", column, "' of ", table.source(), " holds no value; there is nothing to fit on");
  }

  const std::vector<std::string>& categories() const { return categories_.names; }
  /// The columns of the result.
  Index width() const { return categories_.width(); }

  /// [rows, width]. Throws Error before fitting, for a column of another kind than the fitted one, unless all of it is
  /// missing, and, where the options say so, for what is unknown or missing.
  Tensor<T> operator()(const Table& table, std::string_view column) const {
    if (categories_.names.empty()) fail("OneHot: it has no categories; fit or load it first");
    const std::vector<Index> places = categories_.places("OneHot", table, column);
    Tensor<T> x = Tensor<T>::zeros({table.rows(), width()});
    for (Index r = 0; r < table.rows(); ++r)
      if (const Index at = places[static_cast<std::size_t>(r)]; at >= 0) x.raw()[r * width() + at] = 1;
    return x;
  }

  /// The categories and the options; an empty OneHot takes on those of a file.
  void fields(auto&& visit) {
    std::string unknown(detail::word(categories_.unknown)), missing(detail::word(categories_.missing));
    visit("categories", categories_.names);
    visit("numbers", categories_.numbers);
    visit("unknown", unknown);
    visit("missing", missing);
    detail::set_choice(categories_.unknown, "OneHot", unknown);
    detail::set_choice(categories_.missing, "OneHot", missing);
    categories_.check("OneHot");
  }

 private:
  detail::Categories categories_;
};
OneHot(const Table&, std::string_view) -> OneHot<float>;
OneHot(const Table&, std::string_view, OneHotOptions) -> OneHot<float>;

}  // namespace espalier::inline ESPALIER_ABI
