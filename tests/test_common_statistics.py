"""Intervals and the Fréchet distance against closed forms."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import RequestError
from common.statistics import (
    bootstrap,
    finite,
    half_jackknife,
    holm,
    least_holm,
    least_p,
    mrr_chance,
    share,
    sign_flips,
    swaps,
    top_k_chance,
    wilson,
)
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


def test_one_song_tells_nothing_of_others():
    for found in (
        bootstrap([0.2, 0.4], songs="aa"),
        bootstrap([0.3]),
        share([1, 0], "aa"),
        share([1, 1], "aa"),
    ):
        assert found.count == 1 and np.isnan([found.low, found.high]).all() and not found.has_interval
    assert str(bootstrap([0.3], chance=0.1)) == "0.300 [no interval] (n = 1, chance 0.1)"
    kept = json.dumps(finite({"a": [asdict(bootstrap([0.3]))]}), allow_nan=False)
    assert json.loads(kept)["a"][0] == {"value": 0.3, "low": None, "high": None, "count": 1, "chance": None}


def test_a_share_of_all_or_none_is_as_unsure_as_its_songs_are_few():
    every = share([1] * 34, songs=np.repeat(np.arange(17), 2), chance=0.5)
    assert every == wilson(17, 17, chance=0.5) and every.low < 0.82
    assert share([False] * 3) == wilson(0, 3)
    mixed = np.arange(40) % 4 > 0
    assert share(mixed) == bootstrap(mixed)


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


def test_halves_give_the_width_of_theory():
    values = np.random.default_rng(0).normal(5, 2, 400)
    estimate = half_jackknife(lambda chosen: float(values[chosen].mean()), 400, draws=400)
    half = 1.96 * values.std() / 20
    assert (estimate.low, estimate.high) == pytest.approx(
        (values.mean() - half, values.mean() + half), abs=0.1 * half
    )
    with pytest.raises(RequestError, match="at least 4 songs"):
        half_jackknife(lambda chosen: 0.0, 3)


def test_signs_are_tried_all_for_few_songs():
    # Five differences of one sign: 2 of the 32 assignments are as far from zero.
    assert sign_flips([1.0, 2.0, 3.0, 4.0, 5.0]) == 2 / 32
    assert sign_flips([1.0, -1.0]) == 1.0
    # Two rows of a song change sign together: 4 assignments of 2 songs.
    assert sign_flips([1.0, 1.0, 2.0], ["a", "a", "b"]) == 2 / 4
    many = np.random.default_rng(0).normal(0.5, 1, 60)
    assert sign_flips(many) < 0.01 < sign_flips(many - many.mean())
    with pytest.raises(RequestError):
        sign_flips([])


def test_false_alarms_of_signs_are_as_rare_as_said():
    rng = np.random.default_rng(1)
    alarms = sum(sign_flips(rng.standard_normal(10)) < 0.1 for _ in range(300))
    assert 15 <= alarms <= 48  # 10 % of 300


def test_swapped_sets():
    rng = np.random.default_rng(0)
    first, second = rng.normal(0, 1, 30), rng.normal(3, 1, 30)

    def spread(swapped: np.ndarray) -> float:
        return float(np.where(swapped, second, first).mean() - np.where(swapped, first, second).mean())

    assert swaps(spread, 30) == 1 / 2000
    assert swaps(lambda swapped: 0.0, 30) == 1.0


def test_swaps_that_stop_early_agree_with_all_signs():
    rng = np.random.default_rng(3)
    pairs = rng.normal((0.35, 0.0), size=(12, 2))
    drawn = 0

    def difference(swapped: np.ndarray) -> float:
        nonlocal drawn
        drawn += 1
        return float(np.where(swapped, -1, 1) @ (pairs[:, 0] - pairs[:, 1]))

    exact = sign_flips(pairs[:, 0] - pairs[:, 1])
    assert 0.05 < exact < 0.8
    assert np.mean([swaps(difference, 12, seed=seed) for seed in range(20)]) == pytest.approx(exact, rel=0.2)
    assert drawn / 20 < 2 * 20 / exact


def test_what_a_test_of_few_songs_could_show():
    for songs in range(1, 9):
        assert least_p(songs) == sign_flips(np.arange(1.0, songs + 1))
    # Alone the third could have become the least of three: 3 · 0.004; the first is at its least.
    assert least_holm([0.01, 0.02, 0.5], [0.01, 0.02, 0.004]) == pytest.approx([0.03, 0.04, 0.012])
    assert least_holm([0.125], [0.125]) == [0.125] and least_holm([], []) == []


def test_holm_against_a_worked_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.9]) == [1.0, 1.0] and holm([]) == []
