"""Sufficient statistics of linear and kernel measures, whichever sums they come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from gramian.sweeps.represent import Representation

Array: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Statistics:
    """What every alignment measure and test of m representations needs."""

    n: int
    hsic_biased: Array  # (m, m) ⟨K̄_p, K̄_q⟩/n²
    hsic_unbiased: Array  # (m, m) ⟨U(K_p), U(K_q)⟩/(n(n−3)); nan for n < 4
    alignment_biased: Array  # (m, m) ⟨K_p, K_q⟩/n², in units of their own where K is 1 all but for 2^-400
    alignment_unbiased: Array  # (m, m) Σ_{i≠j} K_p K_q/(n(n−1))
    trace: Array  # (m,) tr K̄
    diagonal_inner: Array  # (m, m) Σ_i K̄_p,ii K̄_q,ii
    exponent: npt.NDArray[np.int32]  # (m,)
    rounding: Array  # (m,) eps times the scale at which the sums were rounded
    xs: tuple[Representation, ...] = ()  # whose sums these are, to tell why there is no value; none of moments

    def matrix(self, measure: str, estimator: str) -> Array:
        """The (m, m) sums behind a measure, in scaled units."""
        if measure == "kernel_alignment":
            return self.alignment_biased if estimator == "biased" else self.alignment_unbiased
        return self.hsic_biased if estimator == "biased" else self.hsic_unbiased
