"""A case as a PyTorch user writes it: a Sequential trunk, a ModuleList of heads."""

import torch
from torch import nn

from case import threads

torch.set_num_threads(threads())
torch.set_num_interop_threads(1)


class Model(nn.Module):
    def __init__(self, case):
        super().__init__()
        layers = []
        for i, (weight, bias) in enumerate(case.trunk):
            layers += ([nn.ReLU()] if i > 0 else []) + [linear(weight, bias)]
        self.trunk = nn.Sequential(*layers)
        self.heads = nn.ModuleList(linear(weight, bias) for weight, bias in case.heads)

    def forward(self, x):
        features = self.trunk(x)
        return [head(features) for head in self.heads]


def linear(weight, bias):
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias))
    return layer


def setup(case):
    """The model, its data, and Adam in the fastest of its three forms on a CPU."""
    model = Model(case)
    targets = [torch.from_numpy(t) for t in case.targets]
    return model, torch.from_numpy(case.x), targets, torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)


def total(outputs, targets):
    return sum(nn.functional.mse_loss(y, t) for y, t in zip(outputs, targets))
