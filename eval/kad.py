"""Kernel audio distance: an unbiased squared maximum mean discrepancy of two sets of embeddings.

Conventions: as `eval.fad`; the kernel is exp(−‖x − y‖² / 2σ²) with σ the median distance of pairs of
reference rows, and the value is a hundred times the discrepancy, as kadtk prints it. It assumes no
Gaussian and doesn't grow with few rows, but it may be negative where the sets are alike. An interval
is over songs.

Source: Chung 2025 (KAD), eq. 5; Gretton 2012, lemma 6. Differs: σ from at most 2,000 rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import pdist

from common.errors import RequestError
from common.seeds import generator
from common.statistics import Estimate, half_jackknife

SCALE = 100.0
_FOR_BANDWIDTH = 2000
_BLOCK = 1024


@dataclass(frozen=True)
class Kernel:
    """Sums of the kernel between songs, from which the distance of any subset follows."""

    own: np.ndarray  # (S, S) between songs, a row with itself left out
    crossed: np.ndarray  # (S,) of each song with all references
    reference: float  # mean over pairs of different reference rows
    rows: np.ndarray  # (S,) of each song
    reference_rows: int
    bandwidth: float

    def distance(self, chosen: np.ndarray | None = None) -> float:
        """The distance of some songs, all when None."""
        chosen = np.arange(len(self.rows)) if chosen is None else chosen
        n = self.rows[chosen].sum()
        own = self.own[np.ix_(chosen, chosen)].sum() / (n * (n - 1))
        crossed = self.crossed[chosen].sum() / (n * self.reference_rows)
        return SCALE * float(own + self.reference - 2 * crossed)


def bandwidth(rows: np.ndarray, seed: int = 0) -> float:
    """The median distance of pairs of rows (N, D)."""
    drawn = generator(seed, "bandwidth").permutation(len(rows))[:_FOR_BANDWIDTH]
    found = float(np.median(pdist(np.asarray(rows, np.float64)[drawn])))
    if found <= 0:
        raise RequestError("the references' embeddings are all the same: no kernel fits them")
    return found


def kernel(songs: Sequence[np.ndarray], references: Sequence[np.ndarray], seed: int = 0) -> Kernel:
    """Sums between the rows of songs and references.

    Raises:
        RequestError: no songs or fewer than two rows on a side, other dimensions, or values not finite.
    """
    if not len(songs) or not len(references):
        raise RequestError(
            f"a kernel distance needs songs on both sides, but got {len(songs)} and {len(references)}"
        )
    x, y = (np.concatenate(side).astype(np.float64) for side in (songs, references))
    if x.ndim != 2 or y.ndim != 2 or len(x) < 2 or len(y) < 2 or x.shape[1] != y.shape[1]:
        raise RequestError(f"a kernel distance needs rows of one width, but got {x.shape} and {y.shape}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise RequestError("a kernel distance needs finite embeddings, but some aren't")
    sigma = bandwidth(y, seed)
    lengths = np.array([len(s) for s in songs])
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    own = np.zeros((len(songs), len(songs)))
    for song, start in enumerate(starts):
        part = _gauss(x[start : start + lengths[song]], x, sigma).sum(0)
        own[song] = np.add.reduceat(part, starts)
    own[np.diag_indices(len(songs))] -= lengths  # the kernel of a row with itself is 1
    crossed = np.add.reduceat(_row_sums(x, y, sigma), starts)
    reference = (float(_row_sums(y, y, sigma).sum()) - len(y)) / (len(y) * (len(y) - 1))
    return Kernel(own, crossed, reference, lengths, len(y), sigma)


def _row_sums(x: np.ndarray, y: np.ndarray, sigma: float) -> np.ndarray:
    """Each row's sum of the kernel with all rows of y, block by block."""
    return np.concatenate([_gauss(x[i : i + _BLOCK], y, sigma).sum(1) for i in range(0, len(x), _BLOCK)])


def _gauss(x: np.ndarray, y: np.ndarray, sigma: float) -> np.ndarray:
    squares = (x**2).sum(1)[:, None] + (y**2).sum(1) - 2 * x @ y.T
    return np.exp(-np.maximum(squares, 0) / (2 * sigma**2))


def kernel_distance(
    songs: Sequence[np.ndarray], references: Sequence[np.ndarray], draws: int = 200, seed: int = 0
) -> Estimate:
    """The distance with its interval over songs; below 8 songs the interval is NaN."""
    sums = kernel(songs, references, seed)
    value = sums.distance()
    if len(songs) < 8:
        return Estimate(value, float("nan"), float("nan"), len(songs))
    return half_jackknife(sums.distance, len(songs), value=value, draws=draws, seed=seed)
