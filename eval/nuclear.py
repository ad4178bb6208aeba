"""The sum of a matrix's singular values, in about two thirds of the time that the values themselves take.

Conventions: float64 in and out; the sum is exact to 1e-11 of itself, for matrices of any rank.

A matrix is brought to tridiagonal form faster than to bidiagonal form, so the eigenvalues of MᵀM come sooner
than the singular values of M. But rounding leaves each within ε of the largest, in which small singular
values drown. So these are taken apart: of the eigenvectors V of the smallest eigenvalues, M V is a narrow
matrix that was never squared, and its singular values are exact again. How many are taken apart follows
from a bound on what rounding can do to the sum; where they would be half of all, or V isn't orthogonal,
the singular values of M are taken after all.

Source: sytrd, sterf, stemr and ormqr of LAPACK; the split by the bound is ours.
"""

import numpy as np
from scipy import linalg
from scipy.linalg import blas, lapack

_EXACT = 1e-11  # of the sum: what rounding may do to it
_SHORT = 64  # columns up to which there is nothing to gain
_ORTHOGONAL = 1e-11  # largest departure of VᵀV from the identity


def nuclear_norm(matrix: np.ndarray) -> float:
    """The sum of the singular values of a real, finite matrix; 0 of an empty one."""
    m = np.asarray(matrix, np.float64)
    if not m.size:
        return 0.0
    m = m if m.shape[0] >= m.shape[1] else m.T
    scale = float(np.abs(m).max())
    found = _by_gram(m / scale) if m.shape[1] > _SHORT and scale else None
    return float(linalg.svdvals(m).sum()) if found is None else scale * found


def _by_gram(m: np.ndarray) -> float | None:
    """The sum for a tall matrix of entries up to 1; None where this way isn't exact or not faster."""
    count = m.shape[1]
    gram = blas.dsyrk(1.0, m, trans=1, lower=1)
    work = int(lapack.dsytrd_lwork(count, lower=1)[0])
    reflectors, diagonal, beside, factors, failed = lapack.dsytrd(gram, lower=1, lwork=work, overwrite_a=1)
    values, unsorted = lapack.dsterf(diagonal, beside)
    small = None if failed or unsorted else _endangered(values)
    if small is None:
        return None
    large = float(np.sqrt(values[small:]).sum())
    if small == 0:
        return large
    inner = linalg.eigh_tridiagonal(diagonal, beside, select="i", select_range=(0, small - 1))[1]
    below, _, failed = lapack.dormqr("L", "N", reflectors[1:, :-1], factors, inner[1:], 64 * small)
    vectors = np.concatenate([inner[:1], below])
    if failed or np.abs(vectors.T @ vectors - np.eye(small)).max() > _ORTHOGONAL:
        return None
    return large + float(linalg.svdvals(m @ vectors).sum())


def _endangered(values: np.ndarray) -> int | None:
    """How many of the eigenvalues, in rising order, have to be taken apart; None where it is half of them.

    An eigenvalue is wrong by ε of the largest, so its root σ by ε σ₁² / 2σ; the vectors that are taken apart
    hold as much of the smallest other one, each. The sum of both is the bound.
    """
    roots = np.sqrt(np.maximum(values, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = 1 / roots
        bound = np.cumsum(inverse[::-1])[::-1] + np.arange(len(roots)) * inverse
    limit = _EXACT * roots.sum() / (np.finfo(float).eps * values[-1])
    fine = np.flatnonzero(bound[: (len(roots) + 1) // 2] <= limit)
    return int(fine[0]) if len(fine) else None
