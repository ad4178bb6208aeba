"""Distances of sets against closed forms, streaming against whole, extrapolation, the kernel distance."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import CheckpointError, RequestError
from eval import fad, kad
from eval.fad import Gaussian, Statistics, frechet_distance, gaussian_distance


def rows(count: int, dimensions: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, dimensions)) @ rng.normal(size=(dimensions, dimensions)) / 4 + 1


def songs(count: int, each: int, dimensions: int, seed: int = 0) -> list[np.ndarray]:
    """Songs of windows that resemble each other, as windows of a song do."""
    rng = np.random.default_rng(seed)
    return [
        rng.standard_normal(dimensions) + 0.5 * rng.standard_normal((each, dimensions)) for _ in range(count)
    ]


@pytest.mark.parametrize(("count", "dimensions"), [(200, 12), (9, 40), (90, 120), (300, 80)])
def test_closed_forms(count: int, dimensions: int):
    x = rows(count, dimensions)
    trace = float(np.trace(np.cov(x.T)))
    near = {"abs": 1e-10 * max(1, trace)}
    shift = np.linspace(-1, 1, dimensions)
    assert frechet_distance(x, x).value == pytest.approx(0, **near)
    assert frechet_distance(x, x + shift).value == pytest.approx((shift**2).sum(), **near)
    scaled = x.mean(0) + 1.7 * (x - x.mean(0))
    assert frechet_distance(x, scaled).value == pytest.approx(0.7**2 * trace, **near)


def test_commuting_covariances():
    a, b = np.array([4.0, 1.0, 0.25, 0.0]), np.array([1.0, 9.0, 0.0, 0.0])
    wanted = ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    assert gaussian_distance(np.zeros(4), np.diag(a), np.zeros(4), np.diag(b)) == pytest.approx(
        wanted, abs=1e-10
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 30), st.integers(2, 30), st.integers(1, 20), st.integers(0, 5))
def test_real_symmetric_and_blind_to_rotation(n: int, m: int, dimensions: int, seed: int):
    x, y = rows(n, dimensions, seed), rows(m, dimensions, seed + 1)
    forth = frechet_distance(x, y)
    assert forth.value >= 0 and np.isfinite(forth.value)
    assert frechet_distance(y, x).value == pytest.approx(forth.value, abs=1e-9)
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(dimensions, dimensions)))[0]
    assert frechet_distance(x @ turn, y @ turn).value == pytest.approx(forth.value, abs=1e-9)
    assert forth.ranks == (min(n - 1, dimensions), min(m - 1, dimensions))


def test_a_few_rows_agree_with_the_matrix_root():
    from scipy.linalg import sqrtm

    x, y = rows(60, 8), rows(90, 8, 1)
    root = sqrtm(np.cov(x.T) @ np.cov(y.T)).real
    wanted = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(np.cov(x.T) + np.cov(y.T) - 2 * root)
    assert frechet_distance(x, y).value == pytest.approx(wanted, abs=1e-8)


# ---- statistics ----------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=2, max_size=6), st.integers(0, 9))
def test_streaming_equals_whole(lengths: list[int], seed: int):
    parts = [rows(n, 5, seed + i) + 1e4 for i, n in enumerate(lengths)]
    whole = np.concatenate(parts)
    total = Statistics()
    for part in parts:
        total.update(part)
    halves = Statistics().merge(Statistics().update(parts[0]))
    for part in parts[1:]:
        halves.merge(Statistics().update(part))
    for found in (total, halves):
        assert (found.count, found.songs) == (len(whole), len(parts))
        np.testing.assert_allclose(found.mean, whole.mean(0), rtol=1e-12)
        np.testing.assert_allclose(found.scatter, np.cov(whole.T) * (len(whole) - 1), atol=1e-7)


def test_kept_statistics_give_the_same_distance(tmp_path: Path):
    x, y = rows(80, 6), rows(50, 6, 1)
    Statistics(encoder="corpus 12").update(y).save(tmp_path / "y.npz")
    kept = Statistics.load(tmp_path / "y.npz", "corpus 12")
    assert fad.between(Gaussian.of_rows(x), kept.gaussian()).value == pytest.approx(
        frechet_distance(x, y).value, abs=1e-9
    )
    with pytest.raises(CheckpointError, match="made with corpus 12"):
        Statistics.load(tmp_path / "y.npz", "mert 3")
    (tmp_path / "z.npz").write_bytes(b"no archive")
    with pytest.raises(CheckpointError, match="no statistics"):
        Statistics.load(tmp_path / "z.npz")


def test_other_dimensions_and_values_are_refused():
    with pytest.raises(RequestError, match="8 and 7 dimensions"):
        frechet_distance(rows(9, 8), rows(9, 7))
    with pytest.raises(RequestError, match="not finite"):
        frechet_distance(np.array([[1.0], [np.nan]]), rows(9, 1))
    with pytest.raises(RequestError, match="N >= 2"):
        frechet_distance(rows(9, 8)[:1], rows(9, 8))


def saved(path: Path, **changes: object) -> Path:
    parts = {"count": 50, "songs": 2, "mean": np.zeros(3), "scatter": np.eye(3), "encoder": "corpus 12"}
    np.savez(path, **(parts | changes))  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scatter": np.eye(4)}, r"but got \(3,\) and \(4, 4\)"),
        ({"mean": np.zeros((1, 3))}, r"but got \(1, 3\)"),
        ({"mean": np.array([0, np.nan, 0])}, "aren't finite"),
        ({"scatter": np.eye(3) * 1j}, "real numbers, but got float64 and complex128"),
        ({"count": 0}, "got 0 and 2"),
        ({"songs": -1}, "got 50 and -1"),
        ({"count": np.arange(3)}, "no statistics"),
    ],
)
def test_statistics_that_contradict_themselves_are_refused(tmp_path: Path, changes, message: str):
    assert Statistics.load(saved(tmp_path / "sound.npz")).count == 50
    with pytest.raises(CheckpointError, match=message):
        Statistics.load(saved(tmp_path / "y.npz", **changes))


def test_damaged_files_of_statistics_are_refused(tmp_path: Path):
    whole = saved(tmp_path / "y.npz").read_bytes()
    np.save(tmp_path / "plain.npy", np.zeros(3))
    for name, data in (("empty", b""), ("torn", whole[: len(whole) // 2]), ("headless", whole[100:])):
        (tmp_path / name).write_bytes(data)
    middle = len(whole) // 3
    (tmp_path / "flipped").write_bytes(whole[:middle] + bytes(60) + whole[middle + 60 :])
    for name in ("empty", "torn", "headless", "flipped", "plain.npy", "nothing"):
        with pytest.raises(CheckpointError, match=f"no statistics can be read from .*{name}"):
            Statistics.load(tmp_path / name)


def test_statistics_make_their_folder(tmp_path: Path):
    Statistics().update(rows(9, 2)).save(tmp_path / "new/folder/y.npz")
    assert Statistics.load(tmp_path / "new/folder/y.npz").count == 9
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(CheckpointError, match="can't be kept in"):
        Statistics().update(rows(9, 2)).save(tmp_path / "file/y.npz")


@pytest.mark.parametrize(
    ("mean", "covariance", "message"),
    [
        (np.zeros(3), np.eye(2), r"but got \(3,\) and \(2, 2\)"),
        (np.zeros((2, 1)), np.eye(2), r"but got \(2, 1\)"),
        (np.zeros(2), np.diag([1.0, -0.1]), "eigenvalue of -0.1"),
        (np.zeros(2), -np.eye(2), "eigenvalue of -1"),
        (np.zeros(2), np.array([[1.0, 0.5], [0, 1]]), "isn't symmetric"),
        (np.zeros(2), np.eye(2) * 1j, "real numbers, but got complex128"),
        (np.zeros(2), np.diag([1.0, np.nan]), "isn't finite"),
        (np.array([0, np.inf]), np.eye(2), "isn't finite"),
    ],
)
def test_what_is_no_gaussian_is_refused(mean: np.ndarray, covariance: np.ndarray, message: str):
    sound = np.zeros(2), np.eye(2)
    with pytest.raises(RequestError, match=f"first.*{message}"):
        gaussian_distance(mean, covariance, *sound)
    with pytest.raises(RequestError, match=f"second.*{message}"):
        gaussian_distance(*sound, mean, covariance)


def test_eigenvalues_that_rounding_left_below_zero_are_allowed():
    x = rows(9, 40).astype(np.float32)
    covariance = np.cov(x.T, dtype=np.float32)
    assert np.linalg.eigvalsh(covariance.astype(np.float64)).min() < 0
    assert gaussian_distance(np.zeros(40), covariance, np.zeros(40), covariance) == pytest.approx(0, abs=1e-3)
    assert gaussian_distance([0, 0], np.zeros((2, 2)), [3, 4], np.zeros((2, 2))) == 25  # whole numbers too


# ---- songs ---------------------------------------------------------------------------------


def test_extrapolation_takes_the_bias_away():
    # Two sets of the same distribution: the true distance is 0.
    x, y = songs(120, 6, 24), songs(120, 6, 24, seed=1)
    found = fad.score(x, y, draws=10)
    assert found.distance.value > 1
    assert found.extrapolated is not None and found.interval is not None
    assert abs(found.extrapolated.value) < 0.25 * found.distance.value
    assert found.extrapolated.r_squared > 0.8
    assert found.interval.low < found.distance.value < found.interval.high
    assert found.songs == (120, 120) and not found.warnings


def test_an_interval_covers_what_another_draw_gives():
    reference = Gaussian.of_rows(np.concatenate(songs(300, 6, 8, seed=99)))
    inside, values = 0, []
    for seed in range(20):
        found = fad.score(songs(40, 6, 8, seed=seed), reference)
        values.append((found.distance.value, found.interval))
    middle = np.mean([v for v, _ in values])
    inside = sum(i is not None and i.low <= middle <= i.high for _, i in values)
    assert inside >= 15  # 95 % of 20, with room for its own chance


def test_few_rows_and_few_songs_are_warned_of():
    found = fad.score(songs(4, 3, 24), songs(4, 3, 24, seed=1))
    assert found.interval is None and found.extrapolated is None
    assert sum("for 24 dimensions: below 48" in w for w in found.warnings) == 2
    assert any("4 songs" in w for w in found.warnings)
    assert "rank 11/11" in str(found)
    with pytest.raises(RequestError, match="at least 8 songs"):
        fad.extrapolate(songs(4, 3, 24), songs(9, 3, 24))


def test_the_farthest_song_is_found():
    reference = songs(60, 6, 4)
    mine = songs(5, 6, 4, seed=1)
    mine[3] = mine[3] + 10
    assert fad.per_song(mine, reference).argmax() == 3


# ---- the kernel ----------------------------------------------------------------------------


def test_kernel_distance_against_its_definition():
    x, y = songs(3, 4, 5), songs(4, 3, 5, seed=1)
    a, b, sigma = np.concatenate(x), np.concatenate(y), kad.bandwidth(np.concatenate(y))

    def k(u: np.ndarray, v: np.ndarray) -> float:
        return float(np.exp(-((u - v) ** 2).sum() / (2 * sigma**2)))

    def mean(u: np.ndarray, v: np.ndarray, same: bool) -> float:
        values = [k(p, q) for i, p in enumerate(u) for j, q in enumerate(v) if not (same and i == j)]
        return float(np.mean(values))

    wanted = 100 * (mean(a, a, True) + mean(b, b, True) - 2 * mean(a, b, False))
    sums = kad.kernel(x, y)
    assert sums.distance() == pytest.approx(wanted, abs=1e-9)
    part = kad.kernel([x[0], x[2]], y).distance()
    assert sums.distance(np.array([0, 2])) == pytest.approx(part, abs=1e-9)


def test_kernel_distance_of_alike_sets_is_near_zero_and_of_others_is_not():
    alike = [
        kad.kernel_distance([x], [y]).value for x, y in ((rows(80, 6, s), rows(80, 6, s)) for s in range(3))
    ]
    independent = np.random.default_rng(0).standard_normal((10, 200, 6))
    values = [kad.kernel_distance([a], [b]).value for a, b in zip(independent[::2], independent[1::2])]
    assert min(values) < 0.1 and abs(np.mean(values)) < 0.3 and max(alike) < 0
    assert kad.kernel_distance([independent[0] + 1], [independent[1]]).value > 10
    with pytest.raises(RequestError, match="all the same"):
        kad.kernel_distance([rows(9, 3)], [np.ones((9, 3))])


def test_nothing_and_what_is_not_finite_have_no_distance():
    sound, hole = [rows(9, 3)], [np.array([[1.0, 2, 3], [np.nan, 0, 0], [3, 2, 1]])]
    for x, y in ((sound, hole), (hole, sound)):
        with pytest.raises(RequestError, match="finite embeddings"):
            kad.kernel_distance(x, y)
        with pytest.raises(RequestError, match="not finite"):
            fad.score(x, y)
    for x, y in ((sound, []), ([], sound)):
        with pytest.raises(RequestError, match="songs on both sides"):
            kad.kernel_distance(x, y)
        with pytest.raises(RequestError, match="set has no songs"):
            fad.score(x, y)
