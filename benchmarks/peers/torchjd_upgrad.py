"""TorchJD: task gradients of the trunk by mtl_backward, joined by UPGrad. Its regularisation is set as low as the solver
takes it, since ours has none."""

from importlib.metadata import version

import torch
from torch import nn
from torchjd.aggregation import UPGrad
from torchjd.autojac import jac_to_grad, mtl_backward

from case import run
from torch_model import setup


def make(case):
    assert case.upgrad
    model, x, targets, optimizer = setup(case)
    try:
        from torchjd.linalg import QuadprogProjector
    except ImportError:
        from torchjd._linalg import QuadprogProjector
    aggregator = UPGrad(projector=QuadprogProjector(norm_eps=1e-12, reg_eps=1e-7))

    def step():
        features = model.trunk(x)
        losses = [nn.functional.mse_loss(head(features), t) for head, t in zip(model.heads, targets)]
        mtl_backward(losses, features=features)
        jac_to_grad(model.trunk.parameters(), aggregator)
        optimizer.step()
        optimizer.zero_grad()
        return sum(loss.detach() for loss in losses)

    return step, lambda: None


run(make, f"TorchJD {version('torchjd')}, PyTorch {torch.__version__}")
