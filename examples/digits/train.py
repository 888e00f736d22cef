"""Train three small convolutional networks on handwritten digits and keep what `gramian demo` compares.

The networks differ in their seed alone: initial weights and order of the batches. Of each layer the held-out
activations are kept after global average pooling, (samples, channels) in float16.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import Tensor, nn

import gramian as gm

Array = NDArray[Any]

ROOT = Path(__file__).parents[2]
CHANNELS, LAYERS = 32, 6
EPOCHS, BATCH, LEARNING_RATE = 15, 100, 5e-3
TRAINING_ROWS = 1200  # of 1797; the rest is held out
SPLIT_SEED = 0
MIB = 2**20


class Network(nn.Module):
    """Six 3×3 convolutions on the whole 8×8 image, then the mean over its pixels and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, CHANNELS, 3, padding=1), nn.BatchNorm2d(CHANNELS), nn.ReLU())
            for width in (1, *[CHANNELS] * (LAYERS - 1))
        )
        self.head = nn.Linear(CHANNELS, 10)

    def layers(self, images: Tensor) -> list[Tensor]:
        """What each block puts out."""
        return list(itertools.accumulate(self.blocks, lambda x, block: block(x), initial=images))[1:]

    def forward(self, images: Tensor) -> Tensor:
        return self.head(pooled(self.layers(images)[-1]))


def pooled(activations: Tensor) -> Tensor:
    return activations.mean((2, 3))


def train(seed: int, images: Tensor, labels: Tensor) -> Network:
    torch.manual_seed(seed)
    network = Network()
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(labels)).split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()
        schedule.step()
    return network.eval()


def most_similar_at_own_depth(networks: list[list[Array]], kernel: str) -> str:
    """Kornblith's check: how many layers are most like the layer of the same depth, over all pairs of networks."""
    matrices = [gm.cka_matrix(a, b, kernel).values for a, b in itertools.permutations(networks, 2)]
    own = [int((m.argmax(axis=1) == np.arange(LAYERS)).sum()) for m in [*matrices, np.mean(matrices, axis=0)]]
    return f"{own[-1]} of {LAYERS} on the mean matrix, {sum(own[:-1])} of {LAYERS * len(matrices)} pair by pair"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "python/gramian/data/digits.npz")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    digits = load_digits()
    images = torch.tensor(digits.images / 16, dtype=torch.float32)[:, None]
    labels = torch.tensor(digits.target)
    order = np.random.default_rng(SPLIT_SEED).permutation(len(labels))
    training, held_out = order[:TRAINING_ROWS], order[TRAINING_ROWS:]

    full, kept, accuracies = [], [], []
    for seed in arguments.seeds:
        start = time.perf_counter()
        network = train(seed, images[training], labels[training])
        with torch.inference_mode():
            right = network(images[held_out]).argmax(1) == labels[held_out]
            layers = network.layers(images[held_out])
        accuracies.append(right.double().mean().item())
        full.append([layer.flatten(1).numpy() for layer in layers])
        kept.append([pooled(layer).numpy().astype(np.float16) for layer in layers])
        print(f"seed {seed}: accuracy {accuracies[-1]:.4f} on held-out images, {time.perf_counter() - start:.0f} s")

    for kernel in ("linear", "rbf"):
        print(f"{kernel}, all activations: most similar at own depth {most_similar_at_own_depth(full, kernel)}")
        print(f"{kernel}, pooled, float16: most similar at own depth {most_similar_at_own_depth(kept, kernel)}")

    provenance = (
        f"examples/digits/train.py: {len(arguments.seeds)} networks of {LAYERS} convolutions with {CHANNELS} channels, "
        f"{EPOCHS} epochs on {TRAINING_ROWS} images; held-out activations, global average pooling, float16. "
        "Data: Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI, CC BY 4.0, as shipped by "
        f"scikit-learn {version('scikit-learn')}. torch {version('torch')}, numpy {np.__version__}, "
        f"{platform.machine()}."
    )
    np.savez_compressed(
        arguments.output,
        activations=np.array(kept),  # (networks, layers, samples, channels)
        labels=labels[held_out].numpy().astype(np.uint8),
        samples=held_out.astype(np.int16),  # rows of the data set
        seeds=np.array(arguments.seeds),
        accuracies=np.array(accuracies),
        provenance=np.array(provenance),
    )
    print(f"wrote {arguments.output}, {arguments.output.stat().st_size / MIB:.2f} MiB")


if __name__ == "__main__":
    main()
