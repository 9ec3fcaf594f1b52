"""PyTorch with torch.compile: forward and backward as one compiled graph each, and the optimizer's step."""

import torch

from case import run
from torch_model import setup, total


def make(case):
    assert not case.upgrad
    model, x, targets, optimizer = setup(case)

    @torch.compile
    def loss_of(x, targets):
        return total(model(x), targets)

    def step():
        loss = loss_of(x, targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    return step, lambda: None


run(make, "PyTorch " + torch.__version__)
