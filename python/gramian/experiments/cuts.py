"""Two networks cut and stitched: the measured risk beside every bound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import gramian as gm
from gramian.experiments.frame import Array

SLACK = 1e-9  # of a bound: the rounding of float64 sums


@dataclass(frozen=True)
class Cut:
    """A stitched model on rows that its stitch was not fitted on, in units of the squared loss."""

    misalignment: float  # Ã₂ = mean of ‖f2 − s(f1)‖²
    ratio: float  # of the mean of ‖f2‖²
    own: float  # R_2, of the second network itself
    stitched: float  # R_stitch
    effective: float  # bound by what the head did to these pairs
    refined: float  # certified bound with the residual that the head's first matrix sees
    certified: float  # bound by the certified Lipschitz constant of the whole head
    kappa: float  # that constant

    @property
    def violated(self) -> bool:
        """Whether the measured risk exceeds one of the bounds."""
        return any(self.stitched > bound * (1 + SLACK) for bound in (self.effective, self.refined, self.certified))


@dataclass(frozen=True, eq=False)
class Head:
    """The second network from the cut on, with its constants."""

    module: Any
    kappa: float  # certified
    kappa_rest: float  # certified, of what follows the first matrix
    first: Array  # the first matrix

    @classmethod
    def of(cls, module: Any) -> Head:
        from torch import nn

        rest = nn.Sequential(*list(module)[1:])
        return cls(
            module=module,
            kappa=gm.lipschitz.upper(module),
            kappa_rest=gm.lipschitz.upper(rest) if len(rest) else 1.0,
            first=module[0].weight.detach().numpy(),
        )


def cut(stitch: Any, head: Head, f1: Array, f2: Array, y: Array) -> Cut:
    mapped = np.asarray(stitch(f1))
    error = f2 - mapped
    misalignment = gm.risk(stitch, f1, f2)
    own = gm.risk(head.module, f2, y)
    return Cut(
        misalignment=misalignment,
        ratio=misalignment / float(np.mean(np.square(f2).sum(axis=1))),
        own=own,
        stitched=gm.stitching_risk(stitch, head.module, f1, y),
        effective=gm.bounds.stitching(own, gm.lipschitz.effective(head.module, mapped, f2), misalignment),
        refined=gm.bounds.stitching_refined(own, head.kappa_rest, head.first, error.T @ error / len(error)),
        certified=gm.bounds.stitching(own, head.kappa, misalignment),
        kappa=head.kappa,
    )
