#!/usr/bin/env python3
"""Makes metrics.txt: reference values of the metrics from scikit-learn in float64.

Run `python3 make_metrics.py` in any folder; it writes next to itself, and a second run on the same machine writes the
same bytes. Needs scikit-learn (the file kept here comes from 1.9) and numpy. The format is that of make_golden.py.

What has weight 0 is taken out before scikit-learn sees it, and is NaN (a class: -1) in the file.
"""

import pathlib
import textwrap
import warnings

import numpy as np
import sklearn
from sklearn import metrics

FOLDER = pathlib.Path(__file__).resolve().parent
draws = np.random.default_rng(12)
lines, names = [], set()


def note(text):
    """Adds a comment; every line of it is wrapped on its own."""
    for line in text.splitlines():
        lines.extend(textwrap.wrap(line, 118, initial_indent="# ", subsequent_indent="# "))


def add(name, value):
    value = np.asarray(value)
    assert name not in names and " " not in name, name
    assert value.dtype in (np.float64, np.int64), (name, value.dtype)
    names.add(name)
    lines.append(" ".join([name, str(list(value.shape)), *("%.17g" % v for v in value.reshape(-1).tolist())]))


def noise(*shape, scale=1.0, unit=1024):
    """Gaussian noise in multiples of 1/unit: short in text, exact in float32, and with ties when the unit is small."""
    return np.round(draws.normal(size=shape) * unit * scale) / unit


def weights_of(*shape):
    """Half steps from 0 to 2, some of them 0."""
    w = np.round(draws.uniform(size=shape) * 4) / 2
    w.reshape(-1)[1] = 0
    return w


def case(name, prediction, label, weights, results):
    """Writes a case, NaN behind what has no weight, and its results: pairs of metric and value."""
    label = label.copy()
    if weights is not None:
        label[weights == 0] = -1 if label.dtype == np.int64 else np.nan
    add(f"{name}.prediction", prediction)
    add(f"{name}.classes" if label.dtype == np.int64 else f"{name}.value", label)
    if weights is not None:
        add(f"{name}.weights", weights)
    for metric, value in results:
        add(f"{name}.{metric}", np.float64(value))


def columns(prediction, label, weights):
    """Every column with what of it counts: label, prediction, weights."""
    w = np.ones(len(label)) if weights is None else weights
    w = w if w.ndim == 2 else np.repeat(w[:, None], label.shape[1], axis=1)
    keep = [w[:, j] > 0 for j in range(label.shape[1])]
    return [(label[k, j], prediction[k, j], w[k, j]) for j, k in enumerate(keep)]


def elements(prediction, label, weights):
    return [np.concatenate(parts) for parts in zip(*columns(prediction, label, weights))]


# Values --------------------------------------------------------------------------------------------------------------


def relative_error(t, y, w):
    """scikit-learn has no arrmse, but knows the parts; a constant target has no spread."""
    errors = metrics.mean_squared_error(t, y, sample_weight=w)
    spread = metrics.mean_squared_error(t, np.full_like(t, np.average(t, weights=w)), sample_weight=w)
    return 0.0 if errors == 0 else np.inf if np.ptp(t) == 0 else np.sqrt(errors / spread)


def quantiles(name, prediction, label, weights=None):
    """Three levels; the label of a column is that of its number."""
    t, y, w = elements(prediction, label, weights)
    levels = [0.1, 0.5, 0.9]
    each = [(metrics.mean_pinball_loss(t, y, sample_weight=w, alpha=levels[j % 3]), w.sum())
            for j, (t, y, w) in enumerate(columns(prediction, label, weights))]
    case(name, prediction, label, weights, [("pinball", np.average([e for e, _ in each], weights=[w for _, w in each]))])


def regression(name, prediction, label, weights=None):
    if weights is None or weights.ndim == 1:  # scikit-learn knows weights per sample
        keep = np.ones(len(label), bool) if weights is None else weights > 0
        arguments = (label[keep], prediction[keep])
        options = {"sample_weight": None if weights is None else weights[keep]}
        results = {"mse": metrics.mean_squared_error(*arguments, **options),
                   "mae": metrics.mean_absolute_error(*arguments, **options),
                   "rmse": metrics.root_mean_squared_error(*arguments, **options),
                   "r2": metrics.r2_score(*arguments, **options)}
        own = metrics.r2_score(*arguments, **options, multioutput="raw_values")
    else:
        t, y, w = elements(prediction, label, weights)
        each = columns(prediction, label, weights)
        results = {"mse": metrics.mean_squared_error(t, y, sample_weight=w),
                   "mae": metrics.mean_absolute_error(t, y, sample_weight=w),
                   "rmse": np.mean([metrics.root_mean_squared_error(t, y, sample_weight=w) for t, y, w in each]),
                   "r2": np.mean([metrics.r2_score(t, y, sample_weight=w) for t, y, w in each])}
        own = [metrics.r2_score(t, y, sample_weight=w) for t, y, w in each]
    results["arrmse"] = np.mean([relative_error(*column) for column in columns(prediction, label, weights)])
    if all(np.ptp(t) > 0 for t, _, _ in columns(prediction, label, weights)):
        assert np.isclose(results["arrmse"], np.mean(np.sqrt(1 - np.asarray(own))), rtol=1e-12)
    case(name, prediction, label, weights, results.items())


def regressions():
    note("Values. Weights are per sample, or in values_elements per element: then mse and mae are of all elements, "
         "rmse and r2 the mean over the columns. values_far are 2^21 from 0; of values_constant the first "
         "column never changes, of values_met it is also predicted exactly.")
    label = noise(30, 1)
    regression("values_one", label + noise(30, 1, scale=0.5), label)
    label = noise(30, 3, scale=2) + [0, 3, -5]
    prediction = label + noise(30, 3) * [0.5, 1, 4]
    regression("values", prediction, label)
    regression("values_weighted", prediction, label, weights_of(30))
    regression("values_elements", prediction, label, weights_of(30, 3))
    regression("values_far", prediction + 2.0**21, label + 2.0**21, weights_of(30))
    constant = label.copy()
    constant[:, 0] = 0.5
    regression("values_constant", prediction, constant)
    met = prediction.copy()
    met[:, 0] = 0.5
    regression("values_met", met, constant, weights_of(30))


# Classes and labels --------------------------------------------------------------------------------------------------

AVERAGES = ("macro", "micro", "weighted")
SCORES = {"precision": metrics.precision_score, "recall": metrics.recall_score, "f1": metrics.f1_score}


def softmax(logits):
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def tied(scores):
    """Scores as ranks: those nearer than 1e-12, which rounding alone sets apart, are one. There is none between."""
    flat = np.sort(scores.reshape(-1))
    gaps = np.diff(flat)
    assert not np.any((gaps > 1e-14) & (gaps < 1e-9))
    return np.searchsorted(flat[np.concatenate([[True], gaps > 1e-12])], scores + 1e-11)


def one_against_rest(label, p, w):
    """roc_auc_score(multi_class="ovr", average="macro") of probabilities whose ties rounding has not broken."""
    area = np.mean([metrics.roc_auc_score(label == k, tied(p[:, k]), sample_weight=w) for k in range(p.shape[1])])
    theirs = metrics.roc_auc_score(label, p, sample_weight=w, multi_class="ovr", average="macro")
    assert abs(area - theirs) < 1e-2, (area, theirs)
    return area


def ordinal(t, y, w, count):
    return [("ordinal_mae", metrics.mean_absolute_error(t, y, sample_weight=w)),
            ("quadratic_kappa", metrics.cohen_kappa_score(t, y, weights="quadratic", sample_weight=w, labels=range(count)))]


def ordered(name, prediction, label, weights=None):
    """Logits of being above each class but the last."""
    keep = np.ones(len(label), bool) if weights is None else weights > 0
    t, logits, w = label[keep], prediction[keep], None if weights is None else weights[keep]
    y = (logits > 0).sum(axis=1)
    results = [("accuracy", metrics.accuracy_score(t, y, sample_weight=w))] + ordinal(t, y, w, logits.shape[1] + 1)
    case(name, prediction, label, weights, results)


def classes(name, prediction, label, weights=None, auroc=True):
    keep = np.ones(len(label), bool) if weights is None else weights > 0
    t, logits, w = label[keep], prediction[keep], None if weights is None else weights[keep]
    y, p = logits.argmax(axis=1), softmax(logits)
    count = p.shape[1]
    results = [("accuracy", metrics.accuracy_score(t, y, sample_weight=w)),
               ("log_loss", metrics.log_loss(t, p, sample_weight=w, labels=range(count)))]
    results += ordinal(t, y, w, count)
    if auroc:
        precision = [metrics.average_precision_score(t == k, tied(p[:, k]), sample_weight=w) for k in range(count)]
        results.append(("average_precision", precision[1] if count == 2 else np.mean(precision)))
        area = metrics.roc_auc_score(t, tied(p[:, 1]), sample_weight=w) if count == 2 else one_against_rest(t, p, w)
        results.append(("auroc", area))
    for score, function in SCORES.items():
        results += [(f"{score}_{a}", function(t, y, average=a, sample_weight=w)) for a in AVERAGES]
        if count == 2:
            results.append((score, function(t, y, average="binary", sample_weight=w)))
    case(name, prediction, label, weights, results)


def binary(name, prediction, label, weights=None):
    """One logit: scikit-learn's binary case, with a label and a weight for every sample."""
    (t, logits, w), = columns(prediction, label, weights)
    t, y, p = t.astype(int), (logits > 0).astype(int), 1 / (1 + np.exp(-logits))
    results = [("accuracy", metrics.accuracy_score(t, y, sample_weight=w)),
               ("log_loss", metrics.log_loss(t, p, sample_weight=w, labels=[0, 1])),
               ("auroc", metrics.roc_auc_score(t, logits, sample_weight=w))]
    precision = metrics.average_precision_score(t, logits, sample_weight=w) if t.any() else np.nan
    results.append(("average_precision", precision))
    for score, function in SCORES.items():
        results += [(f"{score}_{a}", function(t, y, average=a, sample_weight=w)) for a in AVERAGES]
        results.append((score, function(t, y, average="binary", sample_weight=w)))
    case(name, prediction, label, weights, results)


def average(values, weights=None):
    return np.average(values, weights=weights if weights is not None and np.sum(weights) > 0 else None)


def labels(name, prediction, label, weights=None):
    """Several logits, a label to each. Weights per element are put together from the columns."""
    t, logits, w = elements(prediction, label, weights)
    each = columns(prediction, label, weights)
    y, p = (logits > 0).astype(int), 1 / (1 + np.exp(-logits))
    results = [("accuracy", metrics.accuracy_score(t, y, sample_weight=w)),
               ("log_loss", metrics.log_loss(t, p, sample_weight=w, labels=[0, 1]))]
    if weights is None or weights.ndim == 1:
        keep = np.ones(len(label), bool) if weights is None else weights > 0
        t, logits, w = label[keep].astype(int), prediction[keep], None if weights is None else weights[keep]
        results.append(("auroc", metrics.roc_auc_score(t, logits, sample_weight=w, average="macro")))
        results.append(("average_precision", metrics.average_precision_score(t, logits, sample_weight=w, average="macro")))
        for score, function in SCORES.items():
            results += [(f"{score}_{a}", function(t, (logits > 0).astype(int), average=a, sample_weight=w))
                        for a in AVERAGES]
    else:
        results.append(("auroc", np.mean([metrics.roc_auc_score(t, s, sample_weight=w) for t, s, w in each])))
        precision = [metrics.average_precision_score(t, s, sample_weight=w) for t, s, w in each]
        results.append(("average_precision", np.mean(precision)))
        for score, function in SCORES.items():
            of = [function(t.astype(int), (s > 0).astype(int), sample_weight=w) for t, s, w in each]
            results += [(f"{score}_macro", np.mean(of)),
                        (f"{score}_micro", function(t.astype(int), y, sample_weight=w)),
                        (f"{score}_weighted", average(of, [(t * w).sum() for t, _, w in each]))]
    case(name, prediction, label, weights, results)


def classifications():
    note("Classes, from logits. classes_ties has coarse logits: largest ones and scores that are equal, also where the "
         "logits are equal in another order. classes_rare has a fourth class that is predicted and never true, and a "
         "fifth that is neither. classes_two is binary.")
    label = draws.integers(0, 4, 40)
    prediction = noise(40, 4) + np.eye(4)[label]
    prediction[10:15] = prediction[20:25]
    classes("classes", prediction, label)
    classes("classes_weighted", prediction, label, weights_of(40))
    classes("classes_ties", noise(40, 4, unit=1), label, weights_of(40))
    rare = np.concatenate([prediction, np.full((40, 1), -9.0)], axis=1)
    classes("classes_rare", rare, label % 3, weights_of(40), auroc=False)
    label = draws.integers(0, 2, 40)
    classes("classes_two", noise(40, 2, unit=2) + np.eye(2)[label], label)
    classes("classes_two_weighted", noise(40, 2, unit=2) + np.eye(2)[label], label, weights_of(40))

    note("One logit, with ties; binary_never has no positive prediction, binary_none neither a positive label.")
    label = draws.integers(0, 2, (40, 1)).astype(float)
    prediction = noise(40, 1, unit=4) + label - 0.5
    binary("binary", prediction, label)
    binary("binary_weighted", prediction, label, weights_of(40))
    binary("binary_never", -np.abs(prediction) - 0.25, label, weights_of(40))
    binary("binary_none", -np.abs(prediction) - 0.25, 0 * label, weights_of(40))

    note("Several logits. labels_elements has weights per element: precision and its kin are put together from the "
         "columns, accuracy and log_loss are of all elements. The first column of labels_never is never predicted.")
    label = (draws.uniform(size=(40, 3)) < [0.5, 0.2, 0.7]).astype(float)
    prediction = noise(40, 3, unit=4) + label - 0.5
    labels("labels", prediction, label)
    labels("labels_weighted", prediction, label, weights_of(40))
    labels("labels_elements", prediction, label, weights_of(40, 3))
    prediction[:, 0] = -np.abs(prediction[:, 0])
    labels("labels_never", prediction, label, weights_of(40))


def quantiles_and_orders():
    note("Quantiles of levels 0.1, 0.5, 0.9: of one number, in quantiles_two of two, each number's in neighbouring columns.")
    for name, numbers, weights in (("quantiles", 1, None), ("quantiles_weighted", 1, weights_of(30)),
                                   ("quantiles_elements", 1, weights_of(30, 3)), ("quantiles_two", 2, None),
                                   ("quantiles_two_weighted", 2, weights_of(30)),
                                   ("quantiles_two_elements", 2, weights_of(30, 6))):
        label = noise(30, numbers).repeat(3, axis=1)
        quantiles(name, label + noise(30, 3 * numbers, scale=0.5) + np.tile([-1, 0, 1], numbers), label, weights)

    note("Ordered classes: the logits of being above classes 0, 1 and 2 of four; ordered_two has two classes.")
    label = draws.integers(0, 4, 40)
    prediction = noise(40, 3) + label[:, None] - [0.5, 1.5, 2.5]
    ordered("ordered", prediction, label)
    ordered("ordered_weighted", prediction, label, weights_of(40))
    label = draws.integers(0, 2, 40)
    ordered("ordered_two", noise(40, 1) + label[:, None] - 0.5, label)


def main():
    note(f"Metrics: <case>.<metric> is the metric of <case>.prediction and <case>.value or <case>.classes, with "
         f"<case>.weights where there are any. Made by make_metrics.py with scikit-learn {sklearn.__version__}.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sklearn.exceptions.UndefinedMetricWarning)
        regressions()
        classifications()
        quantiles_and_orders()
    (FOLDER / "metrics.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
