"""PyTorch in Python, eager."""

import torch

from case import run
from torch_model import setup, total


def make(case):
    assert not case.upgrad
    model, x, targets, optimizer = setup(case)

    def step():
        loss = total(model(x), targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    return step, lambda: None


run(make, "PyTorch " + torch.__version__)
