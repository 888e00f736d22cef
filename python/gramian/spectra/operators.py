"""Kernel matrices as linear operators of SciPy, never stored."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
from scipy.sparse.linalg import LinearOperator

from gramian.kernels import Kernel, KernelName
from gramian.progress import Progress, opened
from gramian.rows.arrays import check_budget, one_of, require_rows
from gramian.rows.sources import matrix
from gramian.spectra import eigen
from gramian.sweeps.represent import Precision
from gramian.words import public

Array = npt.NDArray[np.float64]


@public
class GramOperator(LinearOperator):  # type: ignore[misc]
    """The kernel matrix K of the rows of X, or HKH, as a symmetric linear operator of float64 vectors.

    Every product is a sweep over the tiles, for 64 vectors at once: give solvers blocks of vectors (``matmat``) where
    they take them. What SciPy does with a ``LinearOperator`` it does with this: ``eigsh``, ``lobpcg``, ``cg``, ``@``.

    Parameters
    ----------
    X : array of shape (n, p)
    kernel : kernel or its name
    centered : bool
        HKH in place of K; the exact row means take one sweep at the start.
    precision, memory, progress
        As in `gramian.kernel_alignment`; one bar for each product, and for the start.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        Naming the argument, what came and what is needed.

    Notes
    -----
    O(n²(p + k)) time and O(nk) memory for k vectors, on the CPU or the device where X lies; vectors lie on the host.
    Vectors are multiplied and summed in float64. Tiles of float64 data are float64 too; those of other data are
    float32, so that products are within about 1e-8 of ‖K‖‖V‖. The same vectors give the same bits, whatever the number
    of threads.
    Source: Theory, 7.1.

    Examples
    --------
    >>> import numpy as np, gramian as gm
    >>> X = np.random.default_rng(0).standard_normal((100, 3))
    >>> K = gm.GramOperator(X, gm.RBF(2.0))
    >>> bool(np.allclose(K @ np.eye(100), np.exp(-((X[:, None] - X[None]) ** 2).sum(axis=2) / 8)))
    True
    """

    def __init__(
        self,
        X: object,
        kernel: Kernel | KernelName,
        *,
        centered: bool = False,
        precision: Precision = "highest",
        memory: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        one_of(precision, get_args(Precision), "precision")
        check_budget(memory, progress)
        x = matrix(X, "X")
        require_rows(x.n, 2, "GramOperator")
        self._progress = progress
        with opened(progress, "GramOperator") as told:
            made = eigen.kernel_matrix(
                x, kernel, centered=bool(centered), precision=precision, memory=memory, progress=told
            )
        self._products = replace(made, progress=None)
        super().__init__(dtype=np.dtype(np.float64), shape=(x.n, x.n))

    @property
    def kernel(self) -> Kernel:
        """With its bandwidth resolved."""
        return self._products.x.kernel

    @property
    def centered(self) -> bool:
        """Whether it is HKH."""
        return self._products.centered

    @property
    def trace(self) -> float:
        """Sum of the diagonal, of all eigenvalues."""
        return float(np.ldexp(self._products.trace, self._products.exponent))

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled and copied: all but the progress callable, which belongs to a process."""
        return self.__dict__ | {"_products": replace(self._products, progress=None), "_progress": None}

    def _matmat(self, X: Any) -> Array:
        vectors = np.asarray(X)
        if vectors.dtype.kind == "c":
            raise TypeError(f"GramOperator multiplies real vectors, got {vectors.dtype}")
        wide = vectors.astype(np.float64)
        if not np.isfinite(wide).all():
            raise ValueError("GramOperator multiplies finite vectors, got NaN or infinity")
        with opened(self._progress, "GramOperator") as told:
            found = replace(self._products, progress=told).multiply(wide)
        return np.ldexp(found, self._products.exponent)

    def _matvec(self, x: Any) -> Array:
        return self._matmat(np.asarray(x).reshape(-1, 1))[:, 0]

    def _adjoint(self) -> GramOperator:
        return self

    _transpose = _adjoint
