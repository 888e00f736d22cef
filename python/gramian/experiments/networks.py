"""Small networks on scikit-learn's handwritten digits, trained inside the experiment; torch is imported when called."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gramian.experiments.frame import Array

TRAINING_ROWS = 1200  # of 1797, as in examples/digits; the rest is held out
SPLIT_SEED = 0
BATCH = 100


@dataclass(frozen=True)
class Digits:
    """Optical Recognition of Handwritten Digits (Alpaydin, Kaynak 1998), as scikit-learn ships it."""

    images: NDArray[np.float32]  # (1797, 64), in [0, 1]
    labels: NDArray[np.int64]  # (1797,)
    training: NDArray[np.int64]
    held_out: NDArray[np.int64]

    @property
    def targets(self) -> NDArray[np.float32]:
        """(1797, 10): 1 for the digit, 0 for the others."""
        return np.eye(10, dtype=np.float32)[self.labels]


def digits() -> Digits:
    from sklearn.datasets import load_digits

    found = load_digits()
    order = np.random.default_rng(SPLIT_SEED).permutation(len(found.target))
    return Digits(
        images=(found.data / 16).astype(np.float32),
        labels=found.target.astype(np.int64),
        training=order[:TRAINING_ROWS],
        held_out=order[TRAINING_ROWS:],
    )


def perceptron(widths: Sequence[int], *, seed: int) -> Any:
    """Linear layers with ReLU between them: 64 pixels, the widths, 10 outputs. Layer i of `layers` is the i-th ReLU."""
    from torch import nn, random

    with random.fork_rng(devices=[]):
        random.manual_seed(seed)
        blocks = [nn.Sequential(nn.Linear(p, q), nn.ReLU()) for p, q in zip((64, *widths[:-1]), widths, strict=True)]
        return nn.Sequential(*blocks, nn.Linear(widths[-1], 10))


def convolutional(width: int, depth: int, *, seed: int) -> Any:
    """The network of examples/digits: 3×3 convolutions on the whole image, their mean over pixels, a linear layer."""
    from torch import nn, random

    with random.fork_rng(devices=[]):
        random.manual_seed(seed)
        blocks = [
            nn.Sequential(nn.Conv2d(p, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
            for p in (1, *[width] * (depth - 1))
        ]
        head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))
        return nn.Sequential(*blocks, head)


def train(
    network: Any,
    images: NDArray[np.float32],
    targets: NDArray[Any],
    *,
    epochs: int,
    seed: int,
    rate: float = 5e-3,
) -> Any:
    """Adam with a cosine schedule; cross-entropy for labels, squared error for rows of targets. In evaluation mode."""
    import torch

    x, y = _pixels(network, images), torch.from_numpy(targets)
    loss = torch.nn.functional.cross_entropy if y.ndim == 1 else squared_error
    optimizer = torch.optim.Adam(network.parameters(), rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    shuffle = torch.Generator().manual_seed(seed)
    network.train()
    for _ in range(epochs):
        order = torch.randperm(len(y), generator=shuffle)
        for batch in (order[start : start + BATCH] for start in range(0, len(y), BATCH)):
            optimizer.zero_grad()
            loss(network(x[batch]), y[batch]).backward()
            optimizer.step()
        schedule.step()
    return network.eval()


def squared_error(outputs: Any, targets: Any) -> Any:
    """The mean over rows of ‖output − target‖²: the risk of the theory."""
    return (outputs - targets).square().sum(1).mean()


def layers(network: Any, images: NDArray[np.float32]) -> list[Array]:
    """(n, width) of each hidden layer; of convolutions the mean over pixels."""
    import torch

    found, state = [], _pixels(network, images)
    with torch.inference_mode():
        for block in list(network)[:-1]:
            state = block(state)
            found.append((state.mean((2, 3)) if state.ndim == 4 else state).double().numpy())
    return found


def head(network: Any, layer: int) -> Any:
    """What follows the first `layer` hidden layers of a perceptron, in float64: a module from features to outputs."""
    from torch import nn

    rest = copy.deepcopy(list(network)[layer:])
    flat = [part for block in rest for part in (block if isinstance(block, nn.Sequential) else [block])]
    return nn.Sequential(*flat).double().eval()


def outputs(network: Any, images: NDArray[np.float32]) -> Array:
    """(n, 10)"""
    import torch

    with torch.inference_mode():
        found: Array = network(_pixels(network, images)).double().numpy()
    return found


def accuracy(network: Any, images: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    return float((outputs(network, images).argmax(axis=1) == labels).mean())


def _pixels(network: Any, images: NDArray[np.float32]) -> Any:
    import torch

    flat = torch.from_numpy(np.ascontiguousarray(images))
    return flat if isinstance(network[0][0], torch.nn.Linear) else flat.reshape(-1, 1, 8, 8)
