"""The nuclear norm against singular values that are known, of matrices of any shape, rank and scale."""

import numpy as np
import pytest

from eval import nuclear
from eval.nuclear import nuclear_norm

SPECTRA = {  # of matrices with 90 singular values
    "alike": np.ones(90),
    "falling": np.logspace(0, -6, 90),
    "far apart": np.logspace(0, -16, 90),
    "a third of them nothing": np.concatenate([np.linspace(1, 2, 60), np.zeros(30)]),
    "nothing beside a shelf": np.concatenate([[1.0], np.full(59, 1e-4), np.zeros(30)]),
    "one alone": np.concatenate([[1.0], np.zeros(89)]),
}


def turned(values: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """A matrix with these singular values."""
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.standard_normal((n, len(values))))[0] for n in (rows, columns))
    return (left * values) @ right.T


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize(("rows", "columns"), [(90, 90), (140, 90), (90, 140)])
def test_the_sum_of_known_singular_values(name: str, rows: int, columns: int):
    m = turned(SPECTRA[name], rows, columns)
    for scale in (1.0, 1e180, 1e-170):
        assert nuclear_norm(scale * m) == pytest.approx(scale * SPECTRA[name].sum(), rel=1e-12, abs=0)


def test_small_values_are_taken_apart_by_the_short_way_and_too_many_by_the_long():
    assert nuclear._by_gram(turned(SPECTRA["a third of them nothing"], 90, 90)) is not None
    assert nuclear._endangered(SPECTRA["a third of them nothing"][::-1] ** 2) == 30
    assert nuclear._endangered(SPECTRA["alike"]) == 0
    for name in ("far apart", "nothing beside a shelf", "one alone"):
        assert nuclear._by_gram(turned(SPECTRA[name], 90, 90)) is None


def test_small_empty_and_zero_matrices():
    assert nuclear_norm(np.diag([3.0, -4.0])) == pytest.approx(7)
    assert nuclear_norm(np.zeros((0, 5))) == nuclear_norm(np.zeros((80, 70))) == 0
