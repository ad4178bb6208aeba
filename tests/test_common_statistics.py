"""Intervals and the Fréchet distance against closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import RequestError
from common.statistics import bootstrap, mrr_chance, top_k_chance, wilson
from eval.fad import frechet_distance, gaussian_distance


def test_wilson_against_its_published_values():
    # Newcombe 1998, table I, method 3.
    table = [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ]
    for hits, trials, low, high in table:
        estimate = wilson(hits, trials)
        assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=1e-4)


@given(st.integers(0, 50), st.integers(1, 50))
def test_a_share_lies_in_its_interval(hits: int, trials: int):
    if hits > trials:
        with pytest.raises(RequestError):
            wilson(hits, trials)
        return
    estimate = wilson(hits, trials)
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


def test_the_bootstrap_of_a_mean_has_the_width_of_theory():
    values = np.random.default_rng(0).normal(5, 2, 400)
    estimate = bootstrap(values)
    half = 1.96 * values.std() / 20
    assert (estimate.low, estimate.high) == pytest.approx(
        (values.mean() - half, values.mean() + half), abs=0.03
    )
    assert estimate.count == 400


def test_repeating_a_songs_measurement_makes_nothing_surer():
    values = np.random.default_rng(1).normal(size=50)
    once = bootstrap(values)
    repeated = bootstrap(np.repeat(values, 20), songs=np.repeat(np.arange(50), 20))
    naive = bootstrap(np.repeat(values, 20))
    assert (repeated.low, repeated.high) == pytest.approx((once.low, once.high))
    assert naive.high - naive.low < 0.3 * (once.high - once.low)
    assert repeated.count == 50


def test_a_statistic_other_than_the_mean_and_its_seed():
    values = np.arange(101.0)
    first, second = bootstrap(values, statistic=np.median), bootstrap(values, statistic=np.median)
    assert first == second
    assert first.value == 50 and first.low < 50 < first.high
    by_hand = bootstrap(values, statistic=np.mean)
    assert (by_hand.low, by_hand.high) == pytest.approx(
        (bootstrap(values).low, bootstrap(values).high), abs=2
    )


def test_what_cannot_be_resampled_is_refused():
    with pytest.raises(RequestError, match="not finite"):
        bootstrap([1.0, np.nan])
    with pytest.raises(RequestError, match="a song for each value"):
        bootstrap([1.0, 2.0], songs=["a"])


def test_chance():
    assert top_k_chance(10, 666) == pytest.approx(10 / 666)
    assert mrr_chance(4) == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)


# ---- Fréchet distance ------------------------------------------------------------------------


def sample(rows: int, dim: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, dim)) @ rng.normal(size=(dim, dim))


@pytest.mark.parametrize("rows", [12, 300])
def test_a_set_is_at_distance_zero_from_itself(rows: int):
    distance = frechet_distance(sample(rows, 24), sample(rows, 24))
    assert distance.value == pytest.approx(0, abs=1e-10)
    assert distance.ranks == (min(rows - 1, 24),) * 2


@given(st.integers(3, 40), st.integers(2, 12), st.floats(-3, 3), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_a_shift_costs_its_square(rows: int, dim: int, shift: float, seed: int):
    x = sample(rows, dim, seed)
    assert frechet_distance(x, x + shift).value == pytest.approx(dim * shift**2, abs=1e-8)


@pytest.mark.parametrize("rows", [10, 200])
def test_scaling_costs_the_trace(rows: int):
    x = sample(rows, 16)
    x -= x.mean(0)
    trace = np.trace(np.cov(x.T))
    assert frechet_distance(x, 3 * x).value == pytest.approx((1 - 3) ** 2 * trace, rel=1e-10)


def test_a_rotation_of_both_changes_nothing_and_order_does_not_matter():
    x, y = sample(50, 8, 1), sample(40, 8, 2)
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(8, 8)))[0]
    value = frechet_distance(x, y).value
    assert frechet_distance(x @ turn, y @ turn).value == pytest.approx(value, rel=1e-10)
    assert frechet_distance(y, x).value == pytest.approx(value, rel=1e-10)


def test_commuting_covariances_have_their_closed_form():
    first, second = np.array([1.0, 4.0, 9.0]), np.array([4.0, 1.0, 16.0])
    zero = np.zeros(3)
    expected = ((np.sqrt(first) - np.sqrt(second)) ** 2).sum()
    assert gaussian_distance(zero, np.diag(first), zero, np.diag(second)) == pytest.approx(expected)


def test_samples_and_their_statistics_agree():
    x, y = sample(60, 6, 1), sample(50, 6, 2)
    stored = gaussian_distance(x.mean(0), np.cov(x.T), y.mean(0), np.cov(y.T))
    assert frechet_distance(x, y).value == pytest.approx(stored, rel=1e-9)


def test_embeddings_that_do_not_fit_are_refused():
    with pytest.raises(RequestError, match="dimensions"):
        frechet_distance(sample(5, 3), sample(5, 4))
    with pytest.raises(RequestError, match="first set"):
        frechet_distance(np.zeros((1, 3)), sample(5, 3))
    with pytest.raises(RequestError, match="not finite"):
        frechet_distance(sample(5, 3), np.full((5, 3), np.nan))
