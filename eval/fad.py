"""Fréchet audio distance between two sets of embeddings.

Conventions: embeddings are (N, D), one row a window; the distance is of the Gaussians fitted to
each set, in squared units of the embedding. With few rows it is biased upwards (true distance 0,
D = 128: N = 256 gives about 18): print rows, dimensions and rank beside each value.

The trace of √(C₁C₂) is the nuclear norm of S₁ᵀS₂ with Cᵢ = SᵢSᵢᵀ: always real, no matrix square
root, nothing added to the diagonal.
"""

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from common.errors import RequestError


@dataclass(frozen=True)
class Distance:
    """A Fréchet distance with what is needed to judge it."""

    value: float
    rows: tuple[int, int]
    dimensions: int
    ranks: tuple[int, int]  # of the covariances: below `dimensions` where rows are too few

    def __str__(self) -> str:
        rows, ranks = "/".join(map(str, self.rows)), "/".join(map(str, self.ranks))
        return f"{self.value:.4f} (rows {rows}, D = {self.dimensions}, rank {ranks})"


def frechet_distance(x: np.ndarray, y: np.ndarray) -> Distance:
    """Fréchet distance of the Gaussians fitted to two sets of embeddings (N, D).

    Raises:
        RequestError: not two matrices of equal width, fewer than 2 rows, or values not finite.
    Source: Dowson and Landau 1982; Kilgour 2019 (FAD), eq. 2. Differs: nuclear norm for the trace.
    """
    first, second = _checked(x, "first"), _checked(y, "second")
    if first.shape[1] != second.shape[1]:
        raise RequestError(
            f"embeddings have {first.shape[1]} and {second.shape[1]} dimensions: use one model"
        )
    factors = _factor(first), _factor(second)
    offset = float(((first.mean(0) - second.mean(0)) ** 2).sum())
    traces = sum(float((s**2).sum()) for s in factors)
    crossed = float(linalg.svdvals(factors[0].T @ factors[1]).sum())
    ranks = tuple(int(np.linalg.matrix_rank(s)) for s in factors)
    value = max(0.0, offset + traces - 2 * crossed)
    return Distance(value, (len(first), len(second)), first.shape[1], (ranks[0], ranks[1]))


def gaussian_distance(mean_x: np.ndarray, cov_x: np.ndarray, mean_y: np.ndarray, cov_y: np.ndarray) -> float:
    """The same distance from means (D,) and covariances (D, D), such as stored statistics."""
    roots = _root(np.asarray(cov_x, np.float64)), _root(np.asarray(cov_y, np.float64))
    offset = float(((np.asarray(mean_x, np.float64) - np.asarray(mean_y, np.float64)) ** 2).sum())
    crossed = float(linalg.svdvals(roots[0].T @ roots[1]).sum())
    return max(0.0, offset + float(np.trace(cov_x)) + float(np.trace(cov_y)) - 2 * crossed)


def _checked(x: np.ndarray, name: str) -> np.ndarray:
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 2 or len(x) < 2:
        raise RequestError(f"the {name} set needs embeddings (N >= 2, D), but its shape is {x.shape}")
    if not np.isfinite(x).all():
        raise RequestError(f"the {name} set has embeddings that are not finite")
    return x


def _factor(x: np.ndarray) -> np.ndarray:
    """S (D, min(N, D)) with S Sᵀ the covariance: from QR, so that it is never formed."""
    centred = (x - x.mean(0)) / np.sqrt(len(x) - 1)
    return centred.T if len(x) <= x.shape[1] else np.asarray(np.linalg.qr(centred, mode="r")).T


def _root(covariance: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.clip(values, 0, None))
