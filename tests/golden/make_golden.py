#!/usr/bin/env python3
"""Makes every golden file of this folder: reference numbers from PyTorch in float64.

Run `python3 make_golden.py` in any folder; it writes next to itself, and a second run on the same machine writes the
same bytes. Needs torch (the files kept here come from 1.13) and numpy.

Format, read by tests/support/golden.hpp: lines that start with # are comments, every other line is one array,
    name [2, 3] v v v v v v
row-major, every value with 17 significant digits, so that a double survives the way through the text.

Data and initial values are exactly representable in float32, so float and double tests start from the same numbers.
Programs draw their initial weights as PyTorch does by default, under torch.manual_seed, in float32.
"""

import math
import pathlib
import textwrap

import torch
from torch import nn
from torch.nn import functional as F

FOLDER = pathlib.Path(__file__).resolve().parent


class File:
    """One golden file: comments and arrays in the order in which they are added."""

    def __init__(self, name, purpose):
        self.name, self.names, self.lines = name, set(), []
        self.note(purpose)
        self.note(f"Made by make_golden.py with PyTorch {torch.__version__.split('a')[0]} in float64.")

    def note(self, text):
        """Adds a comment; every line of it is wrapped on its own."""
        for line in text.splitlines():
            self.lines += textwrap.wrap(line, 118, initial_indent="# ", subsequent_indent="# ")

    def add(self, name, value):
        value = torch.as_tensor(value).detach()
        assert name not in self.names and " " not in name, name
        assert value.dtype in (torch.float64, torch.int64), (name, value.dtype)
        self.names.add(name)
        numbers = ["%.17g" % v for v in value.reshape(-1).tolist()]
        self.lines.append(" ".join([name, str(list(value.shape)), *numbers]))

    def write(self):
        (FOLDER / self.name).write_text("\n".join(self.lines) + "\n")


def noise(generator, *shape, scale=1.0):
    """Gaussian noise, rounded to multiples of 1/1024: short in text and exact in float32."""
    return (torch.randn(*shape, generator=generator, dtype=torch.float64) * (1024 * scale)).round() / 1024


def generator(seed):
    return torch.Generator().manual_seed(seed)


# Programs ------------------------------------------------------------------------------------------------------------


def make_model(names, seed):
    """Trunk Linear(10, 20), ReLU, Linear(20, 10) and a head Linear(10, 1) for every name; state as in PyTorch."""
    torch.manual_seed(seed)
    model = nn.ModuleDict({
        "trunk": nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 10)),
        "heads": nn.ModuleDict({name: nn.Linear(10, 1) for name in names}),
    })
    return model.double()


def train(file, model, losses_of, steps, record):
    """Adam with default settings on the sum of the losses; a loss of None (no label) stays out of the sum."""
    optimizer = torch.optim.Adam(model.parameters())
    history, distances = [], []
    model["trunk"][0].register_forward_hook(lambda layer, x, y: distances.append(y.abs().min().item()))
    for step in range(steps + 1):
        losses = losses_of()
        history.append([0.0 if loss is None else loss.item() for loss in losses])
        if step in record:
            for name, value in model.state_dict().items():
                file.add(f"step{step}.{name}", value)
        if step < steps:
            optimizer.zero_grad(set_to_none=True)
            sum(loss for loss in losses if loss is not None).backward()
            optimizer.step()
    file.add("losses", torch.tensor(history, dtype=torch.float64))
    # Seeds are chosen so that a run in float, a millionth off, sees every ReLU on the same side of its kink.
    assert min(distances) > KINK, f"{file.name}: a ReLU input is {min(distances):.1e}; choose another seed"


KINK = 5e-6
PROGRAM = """
Full batch of 100 samples, Adam with default settings (lr 1e-3, betas 0.9 and 0.999, eps 1e-8).
step<N>.<parameter>: the weights after N steps, step0 the initial ones; weights of linear layers are [out, in].
losses [steps + 1, losses]: row N holds the losses at the weights after N steps, which step N + 1 descends."""


def program_02(name, tasks, seed):
    file = File(name, f"Multi-task learning, {tasks} task(s): trunk Linear(10, 20), ReLU, Linear(20, 10); every task "
                "has a head Linear(10, 1); the loss is the sum over the tasks of the mean squared error." + PROGRAM)
    draws = generator(seed)
    names = [f"task{k}" for k in range(tasks)]
    inputs = noise(draws, 100, 10)
    targets = {task: noise(draws, 100, 1) for task in names}
    file.add("inputs", inputs)
    for task in names:
        file.add(f"targets.{task}", targets[task])
    model = make_model(names, seed)

    def losses():
        features = model["trunk"](inputs)
        return [F.mse_loss(model["heads"][task](features), targets[task]) for task in names]

    train(file, model, losses, 100, {0, 1, 10, 100})
    file.write()


def program_02_masked(name, seed):
    file = File(name, "Multi-task learning with missing labels, 3 tasks: as programs_02_k3, but the loss of a task is "
                "the mean squared error over its labelled samples, sum(w l) / sum(w). task0 is fully labelled, task1 "
                "in part, and task2 not at all: its loss is 0, it takes no part in the sum, and no optimizer step "
                "touches its head." + PROGRAM)
    draws = generator(seed)
    names = [f"task{k}" for k in range(3)]
    inputs = noise(draws, 100, 10)
    targets = {task: noise(draws, 100, 1) for task in names}
    weights = {"task0": torch.ones(100, dtype=torch.float64),
               "task1": (torch.rand(100, generator=draws) < 0.4).double(),
               "task2": torch.zeros(100, dtype=torch.float64)}
    file.add("inputs", inputs)
    for task in names:
        file.add(f"targets.{task}", targets[task])
    for task in names:
        file.add(f"label_weights.{task}", weights[task])
    model = make_model(names, seed)

    def losses():
        features = model["trunk"](inputs)
        out = []
        for task in names:
            w = weights[task]
            squares = (model["heads"][task](features) - targets[task]).square()[:, 0]
            out.append((w * squares).sum() / w.sum() if w.sum() > 0 else None)
        return out

    train(file, model, losses, 10, {0, 1, 10})
    idle = model["heads"]["task2"]
    assert idle.weight.grad is None and idle.bias.grad is None
    file.write()


def program_03(name, modalities, seed):
    file = File(name, f"Multi-modal learning, {modalities} modalities: every modality passes through the same trunk "
                "Linear(10, 20), ReLU, Linear(20, 10) and then its own head Linear(10, 1); the loss is the sum over "
                "the modalities of the mean squared error." + PROGRAM)
    draws = generator(seed)
    names = [f"modality{m}" for m in range(modalities)]
    inputs = {modality: noise(draws, 100, 10) for modality in names}
    targets = {modality: noise(draws, 100, 1) for modality in names}
    for modality in names:
        file.add(f"inputs.{modality}", inputs[modality])
    for modality in names:
        file.add(f"targets.{modality}", targets[modality])
    model = make_model(names, seed)

    def losses():
        return [F.mse_loss(model["heads"][m](model["trunk"](inputs[m])), targets[m]) for m in names]

    train(file, model, losses, 100, {0, 1, 10, 100})
    file.write()


# Layers, activations, reductions -------------------------------------------------------------------------------------


def layers():
    file = File("layers.txt", "Layers: <case>.x and parameters, <case>.y = layer(x), and the gradients <case>.grad.* "
                "of sum(cotangent * y).")
    draws = generator(3)

    def case(name, function, x, **parameters):
        inputs = {"x": x, **parameters}
        leaves = {key: value.clone().requires_grad_() for key, value in inputs.items()}
        y = function(**leaves)
        cotangent = noise(draws, *y.shape)
        gradients = torch.autograd.grad(y, list(leaves.values()), cotangent)
        for key, value in inputs.items():
            file.add(f"{name}.{key}", value)
        file.add(f"{name}.y", y)
        file.add(f"{name}.cotangent", cotangent)
        for key, gradient in zip(inputs, gradients):
            file.add(f"{name}.grad.{key}", gradient)

    linear = lambda x, weight, bias: F.linear(x, weight, bias)
    weight, bias = noise(draws, 3, 7), noise(draws, 3)
    file.note("linear: y = x weight^T + bias, weight [out, in].")
    case("linear", linear, noise(draws, 5, 7), weight=weight, bias=bias)
    case("linear_3d", linear, noise(draws, 2, 5, 7), weight=weight, bias=bias)

    x = noise(draws, 4, 6, scale=2)
    file.note("Activations. gelu is x Phi(x) with erf, gelu_tanh its approximation with tanh. The wide ones reach far "
              "into the tails, where a slope formed as 1 - y^2 or y - y^2 is exact to about 1e-16 of 1, not of itself.")
    # PyTorch's own gelu and softplus lose the tails (1 + erf cancels; softplus is the identity above x = 20).
    gelu = lambda x: x * 0.5 * torch.erfc(-x / math.sqrt(2))
    gelu_tanh = lambda x: x * torch.sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))
    softplus = lambda x: torch.logaddexp(x, torch.zeros_like(x))
    wide = torch.tensor([-1000.0, -100, -30, -20, -8, -1e-3, 1e-3, 8, 20, 30, 100, 1000], dtype=torch.float64)
    wide = wide.float().double()
    for ours, theirs in ((gelu, F.gelu), (gelu_tanh, lambda x: F.gelu(x, approximate="tanh")), (softplus, F.softplus)):
        assert torch.allclose(ours(x), theirs(x), rtol=1e-13, atol=1e-15)
        assert torch.allclose(ours(wide), theirs(wide), rtol=3e-9, atol=1e-14)
    activations = {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "relu": torch.relu, "gelu": gelu,
                   "gelu_tanh": gelu_tanh, "softplus": softplus}
    for name, function in activations.items():
        case(name, function, x)
        case(name + "_wide", function, wide)

    file.note("softmax, log_softmax and logsumexp over axis 1 and over axis 0.")
    for axis in (1, 0):
        x = noise(draws, 3, 5, scale=3)
        case(f"softmax_axis{axis}", lambda x: F.softmax(x, axis), x)
        case(f"log_softmax_axis{axis}", lambda x: F.log_softmax(x, axis), x)
        case(f"logsumexp_axis{axis}", lambda x: torch.logsumexp(x, axis), x)
    far = noise(draws, 3, 5) + torch.tensor([[1000.0], [-1000.0], [0.0]], dtype=torch.float64)
    file.note("The same of rows around 1000, -1000 and 0.")
    case("softmax_far", lambda x: F.softmax(x, 1), far)
    case("log_softmax_far", lambda x: F.log_softmax(x, 1), far)
    case("logsumexp_far", lambda x: torch.logsumexp(x, 1), far)

    file.note("batch_norm: x [6, 4], eps 1e-5, momentum 0.1. The batch is normalised with its biased variance; the "
              "running variance takes up the unbiased one. running_*: before the call, running_*_after: after it. "
              "batch_norm_eval normalises with running_* and leaves them as they are.")
    x, weight, bias = noise(draws, 6, 4, scale=2) + 1, noise(draws, 4), noise(draws, 4)
    mean, var = noise(draws, 4), noise(draws, 4).abs() + 0.5
    for name, training in (("batch_norm_train", True), ("batch_norm_eval", False)):
        mean_after, var_after = mean.clone(), var.clone()
        file.add(f"{name}.running_mean", mean)
        file.add(f"{name}.running_var", var)
        case(name, lambda x, weight, bias: F.batch_norm(x, mean_after, var_after, weight, bias, training, 0.1, 1e-5), x,
             weight=weight, bias=bias)
        if training:
            file.add(f"{name}.running_mean_after", mean_after)
            file.add(f"{name}.running_var_after", var_after)
        else:
            assert torch.equal(mean_after, mean) and torch.equal(var_after, var)

    file.note("layer_norm over the last axis, eps 1e-5, biased variance.")
    norm = lambda x, weight, bias: F.layer_norm(x, (5,), weight, bias, 1e-5)
    weight, bias = noise(draws, 5), noise(draws, 5)
    case("layer_norm", norm, noise(draws, 4, 5, scale=2) + 1, weight=weight, bias=bias)
    case("layer_norm_3d", norm, noise(draws, 2, 3, 5, scale=2) + 1, weight=weight, bias=bias)
    file.write()


# Losses --------------------------------------------------------------------------------------------------------------


def losses():
    file = File("losses.txt", "Losses: <case>.loss is the mean, or with <case>.weights the weighted mean "
                "sum(w l) / sum(w), of the losses l of the elements (of the samples for cross entropy); "
                "<case>.grad.prediction is its gradient. Weights have one entry a sample, or in the _elements cases "
                "one an element; some are 0.")
    draws = generator(4)

    def case(name, element_losses, prediction, target, weights=None):
        leaf = prediction.clone().requires_grad_()
        values = element_losses(leaf, target)
        if weights is None:
            loss = values.mean()
        else:
            w = weights if weights.shape == values.shape else weights.reshape(-1, *[1] * (values.dim() - 1))
            w = w.expand_as(values)
            loss = (w * values).sum() / w.sum()
        loss.backward()
        file.add(f"{name}.prediction", prediction)
        file.add(f"{name}.target", target)
        if weights is not None:
            file.add(f"{name}.weights", weights)
        file.add(f"{name}.loss", loss)
        file.add(f"{name}.grad.prediction", leaf.grad)

    def weights(*shape):
        values = (torch.rand(*shape, generator=draws, dtype=torch.float64) * 4).round() / 2
        values.view(-1)[1] = 0
        return values

    mse = lambda p, t: F.mse_loss(p, t, reduction="none")
    mae = lambda p, t: F.l1_loss(p, t, reduction="none")
    bce = lambda p, t: F.binary_cross_entropy_with_logits(p, t, reduction="none")
    cross_entropy = lambda p, t: F.cross_entropy(p, t, reduction="none")
    soft = (torch.rand(7, 3, generator=draws, dtype=torch.float64) * 64).round() / 64
    soft[:, 0] = (soft[:, 0] > 0.5).double()
    for name, function, target in (("mse", mse, noise(draws, 7, 3)), ("mae", mae, noise(draws, 7, 3)),
                                   ("bce_with_logits", bce, soft)):
        prediction = noise(draws, 7, 3, scale=2)
        assert (prediction != target).all()  # the slope of |x| at 0 is a matter of taste
        case(name, function, prediction, target)
        case(name + "_weighted", function, prediction, target, weights(7))
        case(name + "_elements", function, prediction, target, weights(7, 3))
    prediction = noise(draws, 8, 5, scale=2)
    target = torch.randint(0, 5, (8,), generator=draws)
    case("cross_entropy", cross_entropy, prediction, target)
    case("cross_entropy_weighted", cross_entropy, prediction, target, weights(8))
    file.note("Logits far from 0, where a careless formula overflows.")
    logits = torch.tensor([[-1000.0, -40, -1], [0, 1, 40], [1000, -1000, 1000]], dtype=torch.float64)
    case("bce_with_logits_far", bce, logits, torch.tensor([[1.0, 0, 1], [0, 1, 1], [1, 0, 0]], dtype=torch.float64))
    case("cross_entropy_far", cross_entropy, logits, torch.tensor([2, 0, 1]))
    losses_with_options(file, generator(6), weights)
    file.write()


def losses_with_options(file, draws, weights):
    """sum(w l) / sum(w v) of element losses l that hold class weights v already, where there are any."""

    def case(name, element_losses, prediction, target, sample_weights=None, class_weights=None):
        leaf = prediction.clone().requires_grad_()
        values = element_losses(leaf, target)
        w = torch.ones_like(values) if sample_weights is None else sample_weights
        if w.shape != values.shape:
            w = w.repeat_interleave(values.numel() // w.numel()).reshape(values.shape)
        v = torch.ones_like(values) if class_weights is None else class_weights[target]
        loss = (w * values).sum() / (w * v).sum()
        loss.backward()
        file.add(f"{name}.prediction", prediction)
        file.add(f"{name}.target", target)
        if sample_weights is not None:
            file.add(f"{name}.weights", sample_weights)
        file.add(f"{name}.loss", loss)
        file.add(f"{name}.grad.prediction", leaf.grad)

    file.note("Losses with options. huber: delta 0.75. smooth_l1: beta 0.5.")
    huber = lambda p, t: F.huber_loss(p, t, reduction="none", delta=0.75)
    smooth_l1 = lambda p, t: F.smooth_l1_loss(p, t, reduction="none", beta=0.5)
    for name, function in (("huber", huber), ("smooth_l1", smooth_l1)):
        prediction, target = noise(draws, 7, 3), noise(draws, 7, 3)
        case(name, function, prediction, target)
        case(name + "_elements", function, prediction, target, weights(7, 3))

    file.note("quantile: levels 0.1, 0.5, 0.9 of one number, in quantile_two of two; weights are per number.")
    levels = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)

    def pinball(p, t):
        d = t.repeat_interleave(3, dim=1) - p
        q = levels.repeat(t.shape[1])
        return torch.maximum(q * d, (q - 1) * d)

    case("quantile", pinball, noise(draws, 7, 3), noise(draws, 7, 1))
    case("quantile_two_elements", pinball, noise(draws, 7, 6), noise(draws, 7, 2), weights(7, 2))

    file.note("bce_positive: positive weights 3, 1, 0.25. binary_focal: gamma 2, alpha 0.25; binary_focal_none: gamma 0.5, "
              "without alpha, by the formula of torchvision's sigmoid_focal_loss.")
    positive = torch.tensor([3, 1, 0.25], dtype=torch.float64)
    bce = lambda p, t: F.binary_cross_entropy_with_logits(p, t, reduction="none", pos_weight=positive)

    def binary_focal(gamma, alpha):
        def losses(p, t):
            ce, q = F.binary_cross_entropy_with_logits(p, t, reduction="none"), torch.sigmoid(p)
            factor = 1 if alpha is None else alpha * t + (1 - alpha) * (1 - t)
            return factor * (1 - (q * t + (1 - q) * (1 - t))) ** gamma * ce

        return losses

    hard = (torch.rand(7, 3, generator=draws, dtype=torch.float64) > 0.6).double()
    for name, function in (("bce_positive", bce), ("binary_focal", binary_focal(2, 0.25)),
                           ("binary_focal_none", binary_focal(0.5, None))):
        prediction = noise(draws, 7, 3, scale=2)
        case(name, function, prediction, hard)
        case(name + "_elements", function, prediction, hard, weights(7, 3))
    soft = (torch.rand(7, 3, generator=draws, dtype=torch.float64) * 64).round() / 64
    case("bce_positive_soft", bce, noise(draws, 7, 3), soft)

    file.note("cross_entropy_classes: class weights 1, 0.5, 2, 4, 0.25; cross_entropy_smooth: label smoothing 0.1; "
              "cross_entropy_both: both. focal: gamma 2; focal_classes: gamma 1.5 and the class weights.")
    classes = torch.tensor([1, 0.5, 2, 4, 0.25], dtype=torch.float64)

    def focal(gamma, class_weights=None):
        def losses(p, t):
            q = F.softmax(p, 1).gather(1, t[:, None])[:, 0]
            return (1 - q) ** gamma * F.cross_entropy(p, t, weight=class_weights, reduction="none")

        return losses

    target = torch.randint(0, 5, (8,), generator=draws)
    for name, function, v in (
            ("cross_entropy_classes", lambda p, t: F.cross_entropy(p, t, weight=classes, reduction="none"), classes),
            ("cross_entropy_smooth", lambda p, t: F.cross_entropy(p, t, label_smoothing=0.1, reduction="none"), None),
            ("cross_entropy_both",
             lambda p, t: F.cross_entropy(p, t, weight=classes, label_smoothing=0.1, reduction="none"), classes),
            ("focal", focal(2), None), ("focal_classes", focal(1.5, classes), classes)):
        prediction = noise(draws, 8, 5, scale=2)
        case(name, function, prediction, target, class_weights=v)
        case(name + "_weighted", function, prediction, target, weights(8), class_weights=v)
    prediction = noise(draws, 8, 5)
    ours = F.cross_entropy(prediction, target, weight=classes, label_smoothing=0.1, reduction="none").sum()
    assert torch.isclose(ours / classes[target].sum(),
                         F.cross_entropy(prediction, target, weight=classes, label_smoothing=0.1))

    file.note("ordinal: CORAL's loss of 4 logits for 5 classes; ordinal_important: importance 2, 1, 1, 0.5 and the class "
              "weights.")
    important = torch.tensor([2, 1, 1, 0.5], dtype=torch.float64)

    def coral(importance, class_weights=None):
        def losses(p, t):
            above = (t[:, None] > torch.arange(4)).double()
            terms = F.logsigmoid(p) * above + (F.logsigmoid(p) - p) * (1 - above)  # as the authors write it
            sums = -(terms * importance).sum(1)
            return sums if class_weights is None else class_weights[t] * sums

        return losses

    case("ordinal", coral(1), noise(draws, 8, 4, scale=2), target)
    case("ordinal_important_weighted", coral(important, classes), noise(draws, 8, 4, scale=2), target, weights(8),
         class_weights=classes)


# Optimizers ----------------------------------------------------------------------------------------------------------


def optimizers():
    file = File("optimizers.txt", "Optimizers: one parameter of 7 elements starts at `parameter` and sees the rows of "
                "`gradients` in turn; row N (from 0) of <case> is the parameter after step N + 1.")
    draws = generator(5)
    parameter = noise(draws, 7)
    # Seven scales: the smallest is near eps, so that its place (outside the square root) shows even in float.
    gradients = noise(draws, 12, 7) * torch.tensor([2.0**k for k in (-20, -10, -5, -1, 0, 1, 3)], dtype=torch.float64)
    file.add("parameter", parameter)
    file.add("gradients", gradients)
    optim = torch.optim
    for name, make, options in (
            ("sgd", optim.SGD, {"lr": 0.1}),
            ("sgd_momentum", optim.SGD, {"lr": 0.1, "momentum": 0.9}),
            ("sgd_nesterov", optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
            ("sgd_weight_decay", optim.SGD, {"lr": 0.1, "weight_decay": 0.01}),
            ("sgd_momentum_weight_decay", optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
            ("adam", optim.Adam, {"lr": 1e-3}),
            ("adam_weight_decay", optim.Adam, {"lr": 1e-3, "weight_decay": 0.01}),
            ("adamw", optim.AdamW, {"lr": 1e-3, "weight_decay": 0.01}),
            ("adamw_lr", optim.AdamW, {"lr": 1e-2, "weight_decay": 0.01})):
        leaf = nn.Parameter(parameter.clone())
        optimizer = make([leaf], **options)
        rows = []
        for gradient in gradients:
            leaf.grad = gradient.clone()
            optimizer.step()
            rows.append(leaf.detach().clone())
        file.note(f"{make.__name__}: " + ", ".join(f"{key} {value}" for key, value in options.items()) +
                  ("" if make is optim.SGD else "; betas 0.9 and 0.999, eps 1e-8"))
        file.add(name, torch.stack(rows))

    file.note("clip: the gradients a and b together have the norm `norm`, of which at most 1 is left; PyTorch scales "
              "by min(1, 1 / (norm + 1e-6)). clip_small is within the bound and stays as it is.")
    for name, scale in (("clip", 1.0), ("clip_small", 0.125)):
        a, b = nn.Parameter(torch.zeros(3, dtype=torch.float64)), nn.Parameter(torch.zeros(2, 2, dtype=torch.float64))
        a.grad, b.grad = noise(draws, 3, scale=scale), noise(draws, 2, 2, scale=scale)
        file.add(f"{name}.a", a.grad)
        file.add(f"{name}.b", b.grad)
        file.add(f"{name}.norm", nn.utils.clip_grad_norm_([a, b], 1.0))
        file.add(f"{name}.clipped.a", a.grad)
        file.add(f"{name}.clipped.b", b.grad)
    file.write()


# Multi-task ----------------------------------------------------------------------------------------------------------


def weighting():
    file = File("weighting.txt", "Uncertainty weighting (Kendall, Gal, Cipolla 2018) of 3 losses l with log variances "
                "s: total = sum_i 0.5 exp(-s_i) l_i + 0.5 s_i, and its gradients.")
    for name, s in (("uncertainty_start", [0.0, 0.0, 0.0]), ("uncertainty", [-0.75, 0.5, 2.0])):
        s = torch.tensor(s, dtype=torch.float64, requires_grad=True)
        losses = torch.tensor([0.25, 1.5, 12.0], dtype=torch.float64, requires_grad=True)
        total = (0.5 * torch.exp(-s) * losses + 0.5 * s).sum()
        total.backward()
        file.add(f"{name}.s", s)
        file.add(f"{name}.losses", losses)
        file.add(f"{name}.total", total)
        file.add(f"{name}.grad.s", s.grad)
        file.add(f"{name}.grad.losses", losses.grad)
    weightings(file)
    file.write()


def weightings(file):
    """The other weightings, by autograd: weights are derivatives of what a method minimises; what it learns, torch.optim
    updates."""
    steps, tasks, rate = 12, 3, 0.025
    t = torch.arange(steps, dtype=torch.float64)[:, None]
    losses = torch.tensor([[2.0, 0.5, 30.0]], dtype=torch.float64) * torch.exp(
        -t * torch.tensor([[0.02, 0.1, 0.3]], dtype=torch.float64)) * (1 + 0.25 * torch.sin(
            t * torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)))
    after = losses * (1 - 0.1 * torch.cos(t + torch.arange(3)))
    norms = torch.sqrt(losses) * torch.tensor([[3.0, 0.1, 1.0]], dtype=torch.float64)
    file.note("Weightings over 12 steps of 3 losses; `after`: the losses after the step, `norms`: of the gradients.")
    file.add("steps.losses", losses)
    file.add("steps.after", after)
    file.add("steps.norms", norms)

    def slopes(of):
        rows = []
        for row in losses:
            row = row.clone().requires_grad_()
            rows.append(torch.autograd.grad(of(row), row)[0])
        return torch.stack(rows)

    def learned(initial, total):
        """What `total(losses, state)` teaches the state by Adam, and the weights d total / d loss before each step."""
        state = torch.full((tasks,), initial, dtype=torch.float64, requires_grad=True)
        adam = torch.optim.Adam([state], lr=rate)
        rows = []
        for row in losses:
            row = row.clone().requires_grad_()
            adam.zero_grad()
            value = total(row, state)
            value.backward()
            rows.append(row.grad)
            adam.step()
        return torch.stack(rows), state

    file.note("GLS, SI, STCH with mu 0.5, and with preferences (1, 2, 5) / 8 and ideals (0.1, 0, 1).")
    file.add("gls", slopes(lambda l: torch.exp(torch.log(l).mean())))
    file.add("scale_invariant", slopes(lambda l: torch.log(l).sum()))
    file.add("stch", slopes(lambda l: 0.5 * torch.logsumexp(l / 3 / 0.5, 0)))
    preference = torch.tensor([1, 2, 5], dtype=torch.float64) / 8
    ideal = torch.tensor([0.1, 0, 1], dtype=torch.float64)
    file.add("stch.preference", slopes(lambda l: 0.5 * torch.logsumexp(preference * (l - ideal) / 0.5, 0)))
    for name, total in (("uncertainty", lambda l, s: (0.5 * torch.exp(-s) * l + 0.5 * s).sum()),
                        ("imtl_l", lambda l, s: (torch.exp(s) * l - s).sum())):
        weights, state = learned(0.0, total)
        file.add(f"steps.{name}", weights)
        file.add(f"steps.{name}.state", state)

    file.note("DWA, temperature 2, epochs of 3 steps.")
    means = losses.reshape(4, 3, 3).mean(1)
    rows = []
    for step in range(steps):
        epoch = step // 3
        r = means[epoch - 1] / means[epoch - 2] if epoch > 1 else torch.ones(tasks, dtype=torch.float64)
        rows.append(tasks * torch.softmax(r / 2, 0))
    file.add("dwa", torch.stack(rows))

    file.note("FAMO as published (github.com/Cranial-XIX/FAMO), weight decay 1e-3; minima (0, 0.1, 1).")
    w = torch.zeros(tasks, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([w], lr=rate, weight_decay=1e-3)
    minima = torch.tensor([0, 0.1, 1], dtype=torch.float64)
    rows = []
    for before, later in zip(losses, after):
        row = before.clone().requires_grad_()
        z = torch.softmax(w, -1)
        d = row - minima + 1e-8
        c = (z / d).sum().detach()
        rows.append(torch.autograd.grad((d.log() * z / c).sum(), row)[0])
        delta = (before - minima + 1e-8).log() - (later - minima + 1e-8).log()
        w.grad = torch.autograd.grad(torch.softmax(w, -1), w, grad_outputs=delta)[0]
        adam.step()
    file.add("famo", torch.stack(rows))
    file.add("famo.state", w)

    file.note("GradNorm, alpha 1.5, weights 3 softmax(s).")
    s = torch.zeros(tasks, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([s], lr=rate)
    rows = []
    for row, norm in zip(losses, norms):
        adam.zero_grad()
        c = tasks * torch.softmax(s, 0)
        rows.append(c.detach())
        n = c * norm
        r = row / losses[0]
        wanted = (n.mean() * (r / r.mean()) ** 1.5).detach()
        (n - wanted).abs().sum().backward()
        adam.step()
    file.add("gradnorm", torch.stack(rows))
    file.add("gradnorm.state", s)


def distillation():
    file = File("distillation.txt", "Distillation: (1 - soft) cross-entropy + soft T^2 KL(teacher || student) at temperature T = 3, "
                "soft = 0.3, by F.kl_div; the mean over the samples, in `weighted` by their weights. Class -1: no label.")
    draws = generator(8)
    student, teacher = noise(draws, 6, 4, scale=2).requires_grad_(), noise(draws, 6, 4, scale=2)
    labels = torch.tensor([0, 3, -1, 1, 2, -1])
    hard = F.cross_entropy(student, labels.clamp(min=0), reduction="none") * (labels >= 0)
    soft = F.kl_div(F.log_softmax(student / 3, 1), F.softmax(teacher / 3, 1), reduction="none").sum(1) * 9
    weights = torch.tensor([1, 0.5, 2, 0, 1, 0.25], dtype=torch.float64)
    for name, value in (("student", student), ("teacher", teacher), ("labels", labels), ("weights", weights)):
        file.add(name, value)
    for name, w in (("plain", torch.ones_like(weights)), ("weighted", weights)):
        loss = (w * (0.7 * hard + 0.3 * soft)).sum() / w.sum()
        file.add(name + ".loss", loss)
        file.add(name + ".grad", torch.autograd.grad(loss, student, retain_graph=True)[0])
    file.write()


def sharing():
    file = File("sharing.txt", "Architectures of multitask/sharing under a SharingModel: tasks a and b, heads Linear(3, 1) and "
                "Linear(3, 2), batch 6, 4 inputs. <case>.p.<parameter>: values; <case>.x: input; <case>.y.<task>: outputs; "
                "<case>.c.<task>: cotangents; <case>.g.<parameter>, <case>.gx: gradients of sum(c y) over all outputs.")
    draws = generator(7)

    def linear(p, name, x):
        return F.linear(x, p[name + ".weight"], p.get(name + ".bias"))

    def stage(p, name, x):  # Sequential(Linear, Tanh)
        return torch.tanh(linear(p, name + ".0", x))

    def block(name, wide, out):
        return {name + ".weight": (out, wide), name + ".bias": (out,)}

    def stages(*names, wide=4):
        return {k: v for name in names for k, v in block(name + ".0", wide, 3).items()}

    def case(name, shapes, forward):
        shapes = {**{"sharing." + k: v for k, v in shapes.items()}, **block("heads.a", 3, 1), **block("heads.b", 3, 2)}
        x = noise(draws, 6, 4).requires_grad_()
        p = {k: noise(draws, *shape, scale=0.7).requires_grad_() for k, shape in shapes.items()}
        a, b, *penalty = forward({k.removeprefix("sharing."): v for k, v in p.items()}, x)
        outputs = {"a": linear(p, "heads.a", a), "b": linear(p, "heads.b", b)}
        if penalty:
            outputs["penalty"] = penalty[0]
        cotangents = {k: noise(draws, *y.shape) for k, y in outputs.items()}
        sum((c * outputs[k]).sum() for k, c in cotangents.items()).backward()
        file.add(f"{name}.x", x)
        file.add(f"{name}.gx", x.grad)
        for k, v in p.items():
            file.add(f"{name}.p.{k}", v)
            file.add(f"{name}.g.{k}", v.grad)
        for k, y in outputs.items():
            file.add(f"{name}.y.{k}", y)
            file.add(f"{name}.c.{k}", cotangents[k])

    def mix(gate, experts):
        return sum(gate[:, e:e + 1] * expert for e, expert in enumerate(experts))

    def softmax_gate(p, name, x):
        return F.softmax(x @ p[name + ".weight"].T, 1)

    def mmoe(p, x):
        experts = [stage(p, f"experts.{e}", x) for e in range(3)]
        return [mix(softmax_gate(p, f"gates.{t}", x), experts) for t in "ab"]

    experts = stages("experts.0", "experts.1", "experts.2")
    case("mmoe", {**experts, "gates.a.weight": (3, 4), "gates.b.weight": (3, 4)}, mmoe)

    def omoe(p, x):
        f = mix(softmax_gate(p, "gate", x), [stage(p, f"experts.{e}", x) for e in range(3)])
        return f, f

    case("omoe", {**experts, "gate.weight": (3, 4)}, omoe)

    def choices(p, name, x):
        z = (x @ p[name + ".select.weight"].T).reshape(-1, 2, 2)
        step = torch.where(z <= -0.5, 0.0, torch.where(z >= 0.5, 1.0, -2 * z**3 + 1.5 * z + 0.5))
        bit = lambda b, e: step[:, :, b] if e >> b & 1 else 1 - step[:, :, b]
        return torch.stack([bit(0, e) * bit(1, e) for e in range(3)], 2)

    def dselect(p, x):
        experts = [stage(p, f"experts.{e}", x) for e in range(3)]
        features, penalties = [], []
        for t in "ab":
            r = choices(p, f"gates.{t}", x)
            features.append(mix((F.softmax(x @ p[f"gates.{t}.mix.weight"].T, 1)[:, :, None] * r).sum(1), experts))
            entropy = -(r * torch.log(r + 1e-6)).sum((1, 2))
            penalties.append(entropy + (1 / (r.sum(2) + 1e-6)).sum(1))
        return *features, torch.stack(penalties, 1)

    case("dselect", {**experts, **{f"gates.{t}.{k}.weight": (n, 4) for t in "ab" for k, n in (("select", 4), ("mix", 2))}},
         dselect)

    def level(p, start, xa, xb, xs, shared_gate):
        shared = [stage(p, f"{start}shared.{e}", xs) for e in range(2)]
        own = {t: [stage(p, f"{start}own.{t}.{e}", x) for e in range(n)] for t, x, n in (("a", xa, 1), ("b", xb, 2))}
        out = [mix(softmax_gate(p, f"{start}gates.{t}", x), shared + own[t]) for t, x in (("a", xa), ("b", xb))]
        if shared_gate:
            out.append(mix(softmax_gate(p, start + "gates_shared", xs), shared + own["a"] + own["b"]))
        return out

    def level_shapes(start, wide, shared_gate):
        shapes = stages(*(start + k for k in ("shared.0", "shared.1", "own.a.0", "own.b.0", "own.b.1")), wide=wide)
        shapes |= {start + "gates.a.weight": (3, wide), start + "gates.b.weight": (4, wide)}
        return shapes | ({start + "gates_shared.weight": (5, wide)} if shared_gate else {})

    case("cgc", level_shapes("", 4, False), lambda p, x: level(p, "", x, x, x, False))

    def ple(p, x):
        xs = [x, x, x]
        for i in range(3):
            xs = level(p, f"levels.{i}.", *xs, i < 2)
        return xs

    case("ple", {k: v for i in range(3) for k, v in level_shapes(f"levels.{i}.", 4 if i == 0 else 3, i < 2).items()}, ple)

    def cross_stitch(p, x):
        a = b = x
        for i in range(2):
            a, b = stage(p, f"towers.a.{i}", a), stage(p, f"towers.b.{i}", b)
            s, r = p[f"stitches.{i}.a"], p[f"stitches.{i}.b"]
            a, b = s[0] * a + s[1] * b, r[0] * a + r[1] * b
        return a, b

    for name, width in (("cross_stitch", 1), ("cross_stitch_channels", 3)):
        case(name, {**stages("towers.a.0", "towers.b.0"), **stages("towers.a.1", "towers.b.1", wide=3),
                    **{f"stitches.{i}.{t}": (2, width) for i in range(2) for t in "ab"}}, cross_stitch)

    def mtan(norm):
        def forward(p, x):
            def mask(name, z):
                for k, act in ((0, torch.relu), (3 if norm else 2, torch.sigmoid)):
                    z = linear(p, f"{name}.{k}", z)
                    if norm:
                        z = F.batch_norm(z, None, None, p[f"{name}.{k + 1}.weight"], p[f"{name}.{k + 1}.bias"], True)
                    z = act(z)
                return z

            e, p_last = {}, x
            for i in range(2):
                u = stage(p, f"stages.{i}.first", p_last)
                p_last = stage(p, f"stages.{i}.last", u) if i == 0 else u
                for t in "ab":
                    e[t] = mask(f"masks.{t}.{i}", u if i == 0 else torch.cat([u, e[t]], 1)) * p_last
                    e[t] = stage(p, f"stages.{i}.next", e[t]) if i == 0 else e[t]
            return e["a"], e["b"]

        return forward

    def mask_shapes(norm):
        shapes = stages("stages.0.first") | stages("stages.0.last", "stages.0.next", "stages.1.first", wide=3)
        for name, wide in ((f"masks.{t}.{i}", 3 + 3 * i) for t in "ab" for i in range(2)):
            second = 3 if norm else 2
            shapes |= block(f"{name}.0", wide, 3) | block(f"{name}.{second}", 3, 3)
            if norm:
                shapes |= {f"{name}.{k}.{part}": (3,) for k in (1, 4) for part in ("weight", "bias")}
        return shapes

    case("mtan", mask_shapes(False), mtan(False))
    case("mtan_norm", mask_shapes(True), mtan(True))

    def film(p, x):
        def features(t):
            h = x
            for i in range(2):
                h = torch.relu(p[f"gamma.{t}.{i}"] * linear(p, f"stages.{i}", h) + p[f"beta.{t}.{i}"])
            return h

        return features("a"), features("b")

    case("film", {**block("stages.0", 4, 3), **block("stages.1", 3, 3),
                  **{f"{k}.{t}.{i}": (3,) for k in ("gamma", "beta") for t in "ab" for i in range(2)}}, film)
    file.write()


def main():
    torch.set_num_threads(1)
    program_02("programs_02_k1.txt", tasks=1, seed=51)
    program_02("programs_02_k3.txt", tasks=3, seed=83)
    program_02_masked("programs_02_masked.txt", seed=3)
    program_03("programs_03.txt", modalities=2, seed=86)
    layers()
    losses()
    optimizers()
    weighting()
    distillation()
    sharing()


if __name__ == "__main__":
    main()
