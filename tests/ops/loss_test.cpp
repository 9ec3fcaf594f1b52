#include "espalier/ops/loss.hpp"

#include "espalier/ops/loss/focal.hpp"
#include "espalier/ops/loss/huber.hpp"
#include "espalier/ops/loss/ordinal.hpp"
#include "espalier/ops/loss/quantile.hpp"

#include <limits>

#include "support/catch.hpp"
#include "support/golden.hpp"
#include "support/near.hpp"
#include "support/op_zoo.hpp"

using namespace espalier;
using support::difference;
using support::same_bits;

namespace {

const std::vector<double> class_weights{1, 0.5, 2, 4, 0.25};

/// Calls `f` with the loss of a case of golden/losses.txt, its options as there.
template <class F>
auto with_loss(std::string_view name, F f) {
  const auto is = [&](std::string_view start) { return name.starts_with(start); };
  if (is("mse")) return f(MSE{});
  if (is("mae")) return f(MAE{});
  if (is("huber")) return f(Huber{.delta = 0.75});
  if (is("smooth_l1")) return f(SmoothL1{.beta = 0.5});
  if (is("quantile")) return f(Quantile{.levels = {0.1, 0.5, 0.9}});
  if (is("bce_positive")) return f(BCEWithLogits{.positive_weights = {3, 1, 0.25}});
  if (is("bce")) return f(BCEWithLogits{});
  if (is("binary_focal_none")) return f(BinaryFocal{.gamma = 0.5, .alpha = std::nullopt});
  if (is("binary_focal")) return f(BinaryFocal{});
  if (is("focal_classes")) return f(Focal{.gamma = 1.5, .class_weights = class_weights});
  if (is("focal")) return f(Focal{});
  if (is("ordinal_important")) return f(Ordinal{.importance = {2, 1, 1, 0.5}, .class_weights = class_weights});
  if (is("ordinal")) return f(Ordinal{});
  if (is("cross_entropy_classes")) return f(CrossEntropy{.class_weights = class_weights});
  if (is("cross_entropy_smooth")) return f(CrossEntropy{.label_smoothing = 0.1});
  if (is("cross_entropy_both")) return f(CrossEntropy{.class_weights = class_weights, .label_smoothing = 0.1});
  return f(CrossEntropy{});
}
bool has_classes(std::string_view name) {
  return name.starts_with("cross_entropy") || name.starts_with("focal") || name.starts_with("ordinal");
}
/// The loss of one name, as a function of prediction and target.
template <class T>
Tensor<T> loss_of(std::string_view name, const Tensor<T>& prediction, const Target<T>& target) {
  return with_loss(name, [&](const auto& loss) { return mean_loss(loss, prediction, target); });
}

struct Case {
  Tensor<double> prediction, loss, grad;
  Target<double> target;

  Case(const Golden& file, const std::string& name) {
    const auto array = [&](const std::string& part) {
      const auto& a = file[name + "." + part];
      return Tensor<double>::copy(a.shape, a.values);
    };
    prediction = parameter(array("prediction"));
    loss = array("loss");
    grad = array("grad.prediction");
    if (has_classes(name))
      target.classes = cast<Index>(array("target"));
    else
      target.value = array("target");
    if (file.contains(name + ".weights")) target.weight = array("weights");
  }
};

Tensor<double> gradient_of(const Tensor<double>& y, const Tensor<double>& x) {
  return grad(y, {x}, {.retain_graph = true})[0];
}
bool all_zero(const Tensor<double>& x) {
  return std::ranges::all_of(x.values(), [](double v) { return v == 0; });
}
using Segments = std::span<const LossSegment<double>>;

/// Five heads of all kinds and ways to be weighted in one block of eleven columns, two of which are no head's; with `more`, as
/// many again with options.
struct Block {
  Target<double> numbers, weighted, elements, classes, none;
  Tensor<double> block;
  std::vector<LossSegment<double>> segments;

  Target<double> number;
  const Huber huber{.delta = 0.75}, tight{.delta = 0.1};
  const SmoothL1 smooth_l1{};
  const Quantile quantile{};
  const BCEWithLogits positive{.positive_weights = {3}};
  const BinaryFocal binary_focal{};
  const Focal focal{.gamma = 0.5, .class_weights = {1, 0.5, 2}};
  const Ordinal ordinal{.importance = {2, 1}, .class_weights = {1, 0.5, 2}};
  const CrossEntropy smooth{.class_weights = {1, 0, 2}, .label_smoothing = 0.2};

  explicit Block(bool gaps = true, bool more = false, Index n = 70) {  // 70: more than the 64 rows that are summed in float
    Rng rng{11};
    numbers = Target<double>(Tensor<double>::normal({n, 2}, rng));
    weighted = Target<double>(Tensor<double>::normal({n}, rng), Tensor<double>::uniform({n}, 0, 2, rng));
    elements = Target<double>(Tensor<double>::uniform({n, 2}, 0, 1, rng), Tensor<double>::uniform({n, 2}, 0, 2, rng));
    Tensor<Index> at = Tensor<Index>::zeros({n});
    for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
      at.mutate()[i] = static_cast<Index>(i * i % 3);
      if (i % 3 == 0) weighted.weight.mutate()[i] = 0;
      if (i % 5 == 0) elements.weight.mutate()[2 * i] = 0;
    }
    classes = Target<double>(at, Tensor<bool>::ones({n}));
    classes.weight.mutate()[4] = 0;
    none = Target<double>(Tensor<double>::full({n, 1}, NAN), Tensor<double>::zeros({n}));
    const Index gap = gaps ? 1 : 0;
    Index c = gap;
    const auto add = [&](const LossMethods<double>& kind, Index width, const Target<double>& target,
                         std::string_view name) {
      segments.push_back({&kind, c, c + width, &target, name});
      c += width;
    };
    add(loss_methods<double, MSE>, 2, numbers, "numbers");
    add(loss_methods<double, MSE>, 1, weighted, "weighted");
    c += gap;
    add(loss_methods<double, BCEWithLogits>, 2, elements, "elements");
    add(loss_methods<double, CrossEntropy>, 3, classes, "classes");
    add(loss_methods<double, MAE>, 1, none, "none");
    number = Target<double>(Tensor<double>::normal({n}, rng));
    const auto option = [&]<class Loss>(const Loss& loss, Index width, const Target<double>& target) {
      add(loss_methods<double, Loss>, width, target, Loss::name);
      segments.back().options = &loss;
    };
    if (more) {
      option(huber, 2, numbers);
      option(tight, 1, weighted);
      option(smooth_l1, 2, elements);
      option(quantile, 3, number);
      option(positive, 2, elements);
      add(loss_methods<double, BCEWithLogits>, 2, elements, "plain");
      option(binary_focal, 2, elements);
      option(focal, 3, classes);
      option(ordinal, 2, classes);
      option(smooth, 3, classes);
      add(loss_methods<double, CrossEntropy>, 3, classes, "plain classes");
      add(loss_methods<double, Ordinal>, 2, classes, "plain levels");
    }
    block = parameter(Tensor<double>::normal({n, c}, rng));
  }
  Block(const Block&) = delete;
  Tensor<double> losses() const { return segment_losses(block, Segments(segments)); }
};

}  // namespace

// ---- values ----------------------------------------------------------------------------------------------------------

TEST_CASE("losses and gradients are PyTorch's", "[fast]") {
  const Golden file("losses.txt");
  int cases = 0;
  for (const auto& array : file.arrays()) {
    if (!array.name.ends_with(".loss")) continue;
    const std::string name = array.name.substr(0, array.name.size() - 5);
    const Case c(file, name);
    INFO(name);
    const Tensor<double> loss = loss_of(name, c.prediction, c.target);
    CHECK(loss.rank() == 0);
    CHECK(std::abs(loss.item() - c.loss.item()) < 1e-12 * (1 + std::abs(c.loss.item())));
    CHECK(difference(gradient_of(loss, c.prediction), c.grad) < 1e-12);
    ++cases;
  }
  CHECK(cases == 38);
}

TEST_CASE("float losses agree with double", "[fast]") {
  const Golden file("losses.txt");
  for (const auto& array : file.arrays()) {
    if (!array.name.ends_with(".loss") || array.name.find("_far") != std::string::npos) continue;
    const std::string name = array.name.substr(0, array.name.size() - 5);
    const Case c(file, name);
    const Tensor<float> p = parameter(cast<float>(c.prediction));
    Target<float> t;
    t.value = cast<float>(c.target.value);
    t.classes = c.target.classes;
    t.weight = cast<float>(c.target.weight);
    const Tensor<float> loss = loss_of(name, p, t);
    INFO(name);
    CHECK(loss.item() == Approx(c.loss.item()).epsilon(1e-6));
    CHECK(difference(cast<double>(grad(loss, {p})[0]), c.grad) < 1e-6);
  }
}

TEST_CASE("a weight of 1 throughout is no weight, and a factor on all weights cancels", "[fast]") {
  const Golden file("losses.txt");
  for (const std::string name : {"mse", "mae", "bce_with_logits", "cross_entropy"}) {
    const Case c(file, name);
    const Index n = c.prediction.shape()[0];
    const Tensor<double> plain = loss_of(name, c.prediction, c.target);
    for (const double w : {1.0, 0.25, 1e6}) {
      Target<double> t = c.target;
      t.weight = Tensor<double>::full({n}, w);
      const Tensor<double> loss = loss_of(name, c.prediction, t);
      CHECK(difference(loss, plain) < 1e-14);
      CHECK(difference(gradient_of(loss, c.prediction), c.grad) < 1e-14);
    }
  }
}

TEST_CASE("predictions and targets of any rank, the batch first", "[fast]") {
  Rng rng{2};
  const Tensor<double> p = Tensor<double>::normal({6}, rng), t = Tensor<double>::normal({6}, rng);
  const Tensor<double> column = mse(reshape(p, {6, 1}), reshape(t, {6, 1}));
  CHECK(same_bits(mse(p, t), column));
  CHECK(same_bits(mse(p, reshape(t, {6, 1})), column));
  CHECK(same_bits(mse(reshape(p, {6, 1}), t), column));
  CHECK(same_bits(mse(reshape(p, {2, 3, 1}), reshape(t, {2, 3, 1})), column));
  const Tensor<double> w({2, 3, 1}, {1, 2, 0, 1, 1, 3}), flat_w = reshape(w, {6});
  CHECK(difference(mse(reshape(p, {2, 3, 1}), {reshape(t, {2, 3}), w}), mse(p, {t, flat_w})) < 1e-15);
  const Tensor<double> logits({2, 1}, {0.3, -2});
  CHECK(same_bits(bce_with_logits(logits, Target<double>(Tensor<Index>({2}, {1, 0}))),
                  bce_with_logits(logits, Target<double>(Tensor<double>({2}, {1, 0})))));
}

// ---- nothing labelled, and what lies behind a weight of 0 --------------------------------------------------------------

TEST_CASE("nothing labelled: loss 0, gradient exactly 0, weight sum 0", "[fast]") {
  for (const std::string name : {"mse", "mae", "bce", "cross_entropy", "huber", "quantile", "bce_positive", "binary_focal",
                                 "focal", "ordinal", "cross_entropy_smooth"}) {
    const Tensor<double> p = parameter(Tensor<double>({2, 3}, {1, -1e300, NAN, 1e300, 0, -0.0}));
    Target<double> t;
    if (has_classes(name))
      t.classes = Tensor<Index>({2}, {-7, 99});
    else
      t.value = Tensor<double>::full({2, name == "quantile" ? 1 : 3}, NAN);
    t.weight = Tensor<double>::zeros({2});
    const Tensor<double> loss = loss_of(name, p, t);
    INFO(name);
    CHECK(loss.item() == 0);
    CHECK(all_zero(gradient_of(loss, p)));
    backward(loss);
    CHECK(all_zero(gradient(p)));
  }
  const Block b;
  double sums[5];
  CHECK(segment_losses(b.block, Segments(b.segments), std::span<double>(sums))(4) == 0);
  CHECK(sums[4] == 0);
  CHECK(sums[0] == 140);
  CHECK(sums[3] == 69);
}

TEST_CASE("an empty batch: loss 0", "[fast]") {
  const Tensor<double> p = parameter(Tensor<double>::zeros({0, 3}));
  CHECK(mse(p, Tensor<double>::zeros({0, 3})).item() == 0);
  CHECK(cross_entropy(p, Tensor<Index>::zeros({0})).item() == 0);
  CHECK(gradient_of(mse(p, Tensor<double>::zeros({0, 3})), p).shape() == Shape{0, 3});
}

TEST_CASE("what lies behind a weight of 0 changes nothing by a bit", "[fast]") {
  const Golden file("losses.txt");
  for (const auto& array : file.arrays()) {
    if (!array.name.ends_with(".weights")) continue;
    const std::string name = array.name.substr(0, array.name.size() - 8);
    const Case c(file, name);
    const Tensor<double> loss = loss_of(name, c.prediction, c.target), g = gradient_of(loss, c.prediction);
    for (const double garbage : {double{NAN}, HUGE_VAL, -1e308, 7.0}) {
      Target<double> t = c.target;
      Tensor<double> p = parameter(c.prediction.clone());
      const Index n = p.shape()[0], width = p.shape()[1];
      const bool per_sample = t.weight.size() == n;
      if (t.value.defined())
        t.value = t.value.clone();
      else
        t.classes = t.classes.clone();
      const Index each = t.value.defined() ? p.size() / t.value.size() : width;  // columns of one number
      for (Index i = 0; i < n * width; ++i)
        if (t.weight.data()[per_sample ? i / width : i / each] == 0) {
          p.mutate()[static_cast<std::size_t>(i)] = garbage;  // the prediction too
          if (t.value.defined())
            t.value.mutate()[static_cast<std::size_t>(i / each)] = garbage;
          else
            t.classes.mutate()[static_cast<std::size_t>(i / width)] = -5;
        }
      INFO(name << " with " << garbage);
      const Tensor<double> same = loss_of(name, p, t);
      CHECK(same_bits(same, loss));
      CHECK(same_bits(gradient_of(same, p), g));
    }
  }
}

TEST_CASE("far from the target the losses stay finite and have the right limits", "[fast]") {
  for (const double far : {30.0, 800.0, 1e4}) {
    const Tensor<double> right({1, 2}, {far, -far}), wrong = -right;
    const Target<double> first(Tensor<double>({1, 2}, {1, 0})), label(Tensor<Index>({1}, {0}));
    const auto check = [&](const auto& loss, const Target<double>& t, double expected) {
      INFO(loss.name << ' ' << far);
      for (const bool good : {true, false}) {
        const Tensor<double> p = parameter((good ? right : wrong).clone()), value = mean_loss(loss, p, t);
        const Tensor<double> recorded = grad(value, {p}, {.create_graph = true})[0];
        CHECK(value.item() == Approx(good ? 0 : expected).epsilon(1e-12).margin(1e-12));
        for (const Tensor<double>& g : {gradient_of(value, p), recorded})
          for (const double v : g.values()) CHECK(std::isfinite(v));
      }
    };
    check(Focal{.gamma = 0.5}, label, 2 * far);
    check(Focal{}, label, 2 * far);
    check(BinaryFocal{.gamma = 0.5, .alpha = std::nullopt}, first, far);
    check(BCEWithLogits{.positive_weights = {3, 1}}, first, 2 * far);
  }
}

TEST_CASE("focal losses without focus are cross-entropy, and a class of weight 0 is no label", "[fast]") {
  Rng rng{5};
  const Tensor<double> p = Tensor<double>::normal({6, 3}, rng);
  const Target<double> labels(Tensor<Index>({6}, {0, 2, 1, 1, 0, 2})), numbers(Tensor<double>::uniform({6, 3}, 0, 1, rng));
  CHECK(difference(mean_loss(Focal{.gamma = 0}, p, labels), cross_entropy(p, labels)) < 1e-14);
  CHECK(difference(mean_loss(BinaryFocal{.gamma = 0, .alpha = std::nullopt}, p, numbers), bce_with_logits(p, numbers)) < 1e-14);
  const Target<double> masked(labels.classes, Tensor<double>({6}, {1, 0, 1, 1, 1, 0}));
  CHECK(same_bits(cross_entropy(p, labels, {.class_weights = {1, 1, 0}}), cross_entropy(p, masked)));
  CHECK(difference(mean_loss(Huber{.delta = 1e9}, p, numbers), 0.5 * mse(p, numbers)) < 1e-14);
  CHECK(difference(mean_loss(Quantile{.levels = {0.5}}, p, numbers), 0.5 * mae(p, numbers)) < 1e-14);
}

// ---- packed segments -------------------------------------------------------------------------------------------------

TEST_CASE("losses of segments are those of the heads one by one", "[fast]") {
  for (const bool gaps : {false, true}) {
    const Block b(gaps, true);
    const Tensor<double> losses = b.losses();
    Tensor<double> expected = Tensor<double>::zeros(b.block.shape());
    for (std::size_t k = 0; k < b.segments.size(); ++k) {
      const auto& s = b.segments[k];
      const Tensor<double> p = parameter(slice(b.block, 1, s.begin, s.end).clone());
      const LossSegment<double> only{s.loss, 0, s.end - s.begin, s.target, s.task, s.options};
      const Tensor<double> alone = sum(segment_losses(p, Segments(&only, 1)));
      CHECK(std::abs(losses(static_cast<Index>(k)) - alone.item()) < 1e-14);
      expected = expected + pad(gradient_of(alone, p), 1, s.begin, b.block.shape()[1] - s.end);
    }
    CHECK(difference(gradient_of(sum(losses), b.block), expected) < 1e-14);
    CHECK(difference(grad(sum(losses), {b.block}, {.create_graph = true})[0], expected) < 1e-14);
  }
}

TEST_CASE("columns of no segment get no gradient, whatever they hold", "[fast]") {
  const Block b;
  Tensor<double> dirty = parameter(b.block.clone());
  for (Index i = 0; i < 70; ++i)
    for (const Index c : {0, 4}) dirty.mutate()[static_cast<std::size_t>(i * b.block.shape()[1] + c)] = NAN;
  const Tensor<double> clean_losses = b.losses(), losses = segment_losses(dirty, Segments(b.segments));
  CHECK(same_bits(losses, clean_losses));
  CHECK(same_bits(gradient_of(sum(losses), dirty), gradient_of(sum(clean_losses), b.block)));
}

TEST_CASE("rows and a diagonal of tasks go through segment_losses as one task at a time", "[fast]") {
  const Block b;
  const Tensor<double> losses = b.losses();
  const Index tasks[] = {1, 2, 4, 7, 9}, columns = b.block.shape()[1];
  const double factor[] = {1, -2, 0.5, 3, 1};
  std::vector<Tensor<double>> dense;
  for (Index k = 0; k < 5; ++k) {
    Tensor<double> g = Tensor<double>::zeros({5});
    g.mutate()[static_cast<std::size_t>(k)] = factor[k];
    dense.push_back(vjp(losses, {b.block}, g, {.retain_graph = true})[0]);
  }
  support::Collector sink;
  {
    Labels rows(5, false);
    Tensor<double> g = Tensor<double>::zeros({5, 5});
    for (Index k = 0; k < 5; ++k) {
      rows.begin()[k] = {tasks[k], 0, 0};
      g.raw()[k * 5 + k] = factor[k];
    }
    Sweep<double> sweep({.retain = true, .separate = true}, &sink);
    sweep.start(losses, g, rows);
    sweep.run();
  }
  for (std::size_t k = 0; k < 5; ++k) CHECK(same_bits(sink.sums[{leaf_of(b.block), tasks[k]}], dense[k]));

  // A diagonal over three of them: one cotangent of the block's shape.
  for (const bool separate : {true, false}) {
    support::Collector opened;
    Labels diagonal(3, true);
    Tensor<double> g = Tensor<double>::zeros({5});
    Index at = 0;
    for (const Index k : {0, 2, 3}) {
      diagonal.begin()[at++] = {tasks[k], k, k + 1};
      g.raw()[k] = factor[k];
    }
    Sweep<double> sweep({.retain = true, .separate = separate}, separate ? &opened : nullptr);
    sweep.start(losses, g, diagonal);
    sweep.run();
    if (!separate) {
      CHECK(same_bits(gradient(b.block), dense[0] + dense[2] + dense[3]));
      continue;
    }
    CHECK(opened.sums.size() == 3);
    for (const Index k : {0, 2, 3}) {
      const Tensor<double>& row = opened.sums[{leaf_of(b.block), tasks[k]}];
      REQUIRE(row.shape() == Shape{70, columns});
      CHECK(difference(row, dense[static_cast<std::size_t>(k)]) == 0);
    }
  }
}

TEST_CASE("segment_losses has the derivatives that central differences find", "[fast]") {
  CHECK(support::broken_derivatives(support::samples_of<SegmentLosses<double>>()).empty());
  const Block b(true, true, 7);
  CHECK(gradcheck([&](const auto& x) { return segment_losses(x[0], Segments(b.segments)); }, {b.block}).passed);
}
TEST_CASE("segment_losses takes rows together, and its fused backward is the recorded one", "[fast]") {
  CHECK(support::broken_rows(support::samples_of<SegmentLosses<double>>()).empty());
  CHECK(support::broken_jacobians(support::samples_of<SegmentLosses<double>>()).empty());
  CHECK(support::broken_fused(support::samples_of<SegmentLosses<double>>()).empty());
}

// ---- misuse ----------------------------------------------------------------------------------------------------------

TEST_CASE("losses refuse what does not fit, naming the task", "[fast]") {
  const Tensor<double> p = Tensor<double>::zeros({4, 2}), one = Tensor<double>::zeros({4, 1});
  const Tensor<double> t = Tensor<double>::zeros({4, 2});
  CHECK_THROWS_WITH(mse(p, Tensor<double>::zeros({4, 3})),
                    "mse: task 'loss': the target is [4, 3], the prediction [4, 2]; the target must be [4, 2]");
  CHECK_THROWS_WITH(mae(one, Tensor<double>::zeros({5})),
                    "mae: task 'loss': the target is [5], the prediction [4, 1]; the target must be [4, 1] or [4]");
  CHECK_THROWS_WITH(mse(p, Tensor<double>::zeros({8})),
                    "mse: task 'loss': the target is [8], the prediction [4, 2]; the target must be [4, 2]");
  CHECK_THROWS_WITH(mse(p, Target<double>()), "mse: task 'loss': the target is undefined");
  CHECK_THROWS_WITH(mse(Tensor<double>(), t), "mse: prediction is an undefined tensor; give it values first");
  CHECK_THROWS_WITH(mse(Tensor<double>::scalar(1), t),
                    "mse: task 'loss': the prediction is []; it must be [batch, ...]");
  CHECK_THROWS_WITH(mse(p, Target<double>(Tensor<Index>::zeros({4}))),
                    "mse: task 'loss': the target has classes; this loss needs values");
  CHECK_THROWS_WITH(cross_entropy(p, t),
                    "cross_entropy: task 'loss': the target has values; this loss needs classes, a "
                    "Tensor<Index> [batch]");
  CHECK_THROWS_WITH(cross_entropy(Tensor<double>::zeros({4, 2, 3}), Tensor<Index>::zeros({4})),
                    "cross_entropy: task 'loss': the prediction is [4, 2, 3]; it must be [batch, classes]");
  CHECK_THROWS_WITH(cross_entropy(p, Tensor<Index>({4}, {0, 1, 2, 0})),
                    "cross_entropy: task 'loss': sample 2 has class 2; classes must lie in [0, 1]");
  CHECK_THROWS_WITH(cross_entropy(p, Tensor<Index>({4}, {0, 1, -1, 0})),
                    "cross_entropy: task 'loss': sample 2 has class -1; classes must lie in [0, 1]");
  CHECK_THROWS_WITH(bce_with_logits(one, Tensor<Index>({4}, {0, 1, 2, 0})),
                    "bce_with_logits: task 'loss': sample 2 has class 2; it must be 0 or 1");
  CHECK_THROWS_WITH(mse(p, {t, Tensor<double>::zeros({3})}),
                    "mse: task 'loss': the weight is [3]; it must be [4], one per sample, or the target's shape");
  CHECK_THROWS_WITH(cross_entropy(p, {Tensor<Index>::zeros({4}), Tensor<double>::zeros({4, 2})}),
                    "cross_entropy: task 'loss': the weight is [4, 2]; it must be [4], one per sample");
  const auto refuses = [&](const auto& loss, const Target<double>& target, const std::string& text) {
    CHECK_THROWS_WITH(mean_loss(loss, p, target), std::string(loss.name) + ": task 'loss': " + text);
  };
  const Target<double> two(Tensor<Index>({4}, {0, 1, 1, 0})), three(Tensor<Index>({4}, {0, 1, 3, 0}));
  refuses(Huber{.delta = 0}, t, "the delta is 0; it must be finite and above 0");
  refuses(SmoothL1{.beta = HUGE_VAL}, t, "the beta is inf; it must be finite and above 0");
  refuses(Quantile{.levels = {}}, t, "there are no levels; give it at least one");
  refuses(Quantile{.levels = {0.5, 1}}, t, "a level is 1; levels lie in (0, 1)");
  refuses(Quantile{}, t, "the prediction has 2 columns for 3 levels; it must have one per number and level");
  refuses(Quantile{.levels = {0.1, 0.9}}, t, "the target is [4, 2], the prediction [4, 2]; the target must be [4, 1] or [4]");
  refuses(BCEWithLogits{.positive_weights = {1, 2, 3}}, t,
          "there are 3 positive weights for 2 columns; give one per column, or one for all");
  refuses(BCEWithLogits{.positive_weights = {-1}}, t, "the positive weight is -1; it must be finite and above 0");
  refuses(BinaryFocal{.gamma = -1}, t, "gamma is -1; it must be finite and not negative");
  refuses(BinaryFocal{.alpha = 1}, t, "alpha is 1; it must lie in (0, 1)");
  refuses(Focal{.gamma = NAN}, two, "gamma is nan; it must be finite and not negative");
  refuses(Focal{.class_weights = {1}}, two, "there are 1 class weights for 2 classes; give one per class");
  refuses(CrossEntropy{.class_weights = {1, -1}}, two, "a class weight is -1; weights are finite and not negative");
  refuses(CrossEntropy{.label_smoothing = 1}, two, "label_smoothing is 1; it must be in [0, 1)");
  refuses(Ordinal{}, t, "the target has values; this loss needs classes, a Tensor<Index> [batch]");
  refuses(Ordinal{}, three, "sample 2 has class 3; classes must lie in [0, 2]");
  refuses(Ordinal{.importance = {1, 2, 3}}, two,
          "there are 3 importance weights for 2 columns; give one per column, or one for all");
  refuses(Ordinal{.class_weights = {1, 2}}, two, "there are 2 class weights for 3 classes; give one per class");
  CHECK_THROWS_WITH(mean_loss(Ordinal{}, Tensor<double>::zeros({4}), two),
                    "ordinal: task 'loss': the prediction is [4]; it must be [batch, classes - 1]");
  CHECK_THROWS_WITH(mse(p, {t, Tensor<double>({4}, {1, 0, -0.5, 1})}),
                    "mse: task 'loss': the weight of sample 2 is -0.5; weights are finite and not negative");
  CHECK_THROWS_WITH(mse(p, {t, Tensor<double>({4}, {1, NAN, 1, 1})}),
                    "mse: task 'loss': the weight of sample 1 is nan; weights are finite and not negative");
  CHECK_THROWS_WITH(mse(p, {t, Tensor<double>({4}, {HUGE_VAL, 0, 1, 1})}),
                    "mse: task 'loss': the weight of sample 0 is inf; weights are finite and not negative");
}

TEST_CASE("segments must be in the order of the columns", "[fast]") {
  const Tensor<double> p = Tensor<double>::zeros({4, 3});
  const Target<double> t(Tensor<double>::zeros({4, 2}));
  const LossSegment<double> overlapping[] = {{&loss_methods<double, MSE>, 0, 2, &t, "a"},
                                             {&loss_methods<double, MSE>, 1, 3, &t, "b"}};
  CHECK_THROWS_WITH(segment_losses(p, Segments(overlapping)),
                    "segment_losses: segment 'b' is [1, 3); it must lie in [2, 3]");
  const LossSegment<double> outside[] = {{&loss_methods<double, MSE>, 2, 4, &t, "a"}};
  CHECK_THROWS_WITH(segment_losses(p, Segments(outside)),
                    "segment_losses: segment 'a' is [2, 4); it must lie in [0, 3]");
  CHECK_THROWS_WITH(segment_losses(Tensor<double>::zeros({4}), Segments()),
                    "segment_losses: the predictions are [4]; they must be [batch, columns]");
}

TEST_CASE("a segment's loss that computes nothing without its options must come with them", "[fast]") {
  const Tensor<double> p = Tensor<double>::ones({3, 3});
  const Target<double> values(Tensor<double>::zeros({3, 3})), number(Tensor<double>::zeros({3, 1}));
  const Target<double> classes(Tensor<Index>({3}, {0, 1, 2}));
  const auto check = [&](const auto& loss, const Target<double>& target) {
    const LossMethods<double>& methods = loss_methods<double, std::remove_cvref_t<decltype(loss)>>;
    const LossSegment<double> without[] = {{&methods, 0, 3, &target, "a"}}, with[] = {{&methods, 0, 3, &target, "a", &loss}};
    CHECK_THROWS_WITH(segment_losses(p, Segments(without)), join("segment_losses: segment 'a' has the loss ", methods.name,
                                                                 " without its options; let `options` point to the loss"));
    CHECK(segment_losses(p, Segments(with)).size() == 1);
  };
  check(Huber{}, values);
  check(SmoothL1{}, values);
  check(BinaryFocal{}, values);
  check(Quantile{}, number);
  check(Focal{}, classes);
  for (const auto& [methods, target] : {std::pair{&loss_methods<double, CrossEntropy>, &classes}, {&loss_methods<double, MSE>, &values},
                                        {&loss_methods<double, Ordinal>, &classes}, {&loss_methods<double, BCEWithLogits>, &values}}) {
    const LossSegment<double> plain[] = {{methods, 0, 3, target, "a"}};
    CHECK(segment_losses(p, Segments(plain)).size() == 1);  // they have losses without options
  }
}

TEST_CASE("a target changed between forward and backward is refused", "[fast]") {
  const Tensor<double> p = parameter(Tensor<double>::ones({4, 2}));
  Tensor<double> t = Tensor<double>::zeros({4, 2});
  const Tensor<double> loss = mse(p, t);
  t.mutate()[0] = 5;
  CHECK_THROWS_WITH(backward(loss),
                    "backward: a value [4, 2] that segment_losses needs was changed in place after the forward "
                    "pass (by an optimizer step or mutate()); run the forward pass again before backward");
}
