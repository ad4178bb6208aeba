"""How sure a figure is: intervals for shares and for means over songs, and the level of chance.

Conventions: an interval is (low, high) at 95 % unless `confidence` says otherwise; NaN entries are
refused rather than skipped; values that belong to one song are resampled together, because two
measurements of a song are not two songs. One song tells nothing of others: its limits are NaN.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from common.errors import RequestError
from common.seeds import generator


@dataclass(frozen=True)
class Estimate:
    """A figure with its count and its interval."""

    value: float
    low: float  # NaN, as `high` is, where there is no interval
    high: float
    count: int  # songs, or trials of a share
    chance: float | None = None  # what guessing gives, where that is known

    def __str__(self) -> str:
        chance = "" if self.chance is None else f", chance {self.chance:.3g}"
        interval = f"[{self.low:.3f}, {self.high:.3f}]" if self.has_interval else "[no interval]"
        return f"{self.value:.3f} {interval} (n = {self.count}{chance})"

    @classmethod
    def of_json(cls, values: dict[str, Any]) -> "Estimate":
        """From its fields as `finite` left them: what was NaN is None there."""
        lacking = {name: float("nan") for name in ("value", "low", "high") if values[name] is None}
        return cls(**values | lacking)

    @property
    def has_interval(self) -> bool:
        return bool(np.isfinite([self.low, self.high]).all())


def finite(value: Any) -> Any:
    """Nested dicts and lists without NaN and infinities, which JSON doesn't know: they are None."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def wilson(hits: int, trials: int, confidence: float = 0.95, chance: float | None = None) -> Estimate:
    """A share and its score interval, right even near 0 and 1 and for few trials.

    Raises:
        RequestError: no trials, or more hits than trials.
    Source: Wilson 1927, J. Am. Stat. Assoc. 22.
    """
    if not 0 <= hits <= trials or trials == 0:
        raise RequestError(f"a share needs 0 <= hits <= trials and a trial, but got {hits} of {trials}")
    z = float(stats.norm.ppf(0.5 + confidence / 2))
    share = hits / trials
    scale = 1 + z * z / trials
    middle = (share + z * z / (2 * trials)) / scale
    half = z * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials**2)) / scale
    low = 0.0 if hits == 0 else float(middle - half)
    high = 1.0 if hits == trials else float(middle + half)
    return Estimate(share, low, high, trials, chance)


def bootstrap(
    values: Sequence[float] | np.ndarray,
    songs: Sequence[object] | None = None,
    statistic: Callable[[np.ndarray], float] | None = None,
    draws: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
    chance: float | None = None,
) -> Estimate:
    """A statistic of values and its percentile interval over resampled songs.

    Args:
        values: (N,) or (N, ...) one row a measurement.
        songs: (N,) which song each row belongs to; every row is a song of its own when None.
        statistic: of the rows; their mean when None.
    Returns:
        NaN limits where all rows are of one song.
    Raises:
        RequestError: nothing came, a value isn't finite, or the lengths differ.
    Source: Efron 1979; clusters are resampled whole (Davison and Hinkley 1997, section 3.8).
    """
    rows = np.asarray(values, dtype=np.float64)
    clusters = np.arange(len(rows)) if songs is None else _numbered(songs)
    if len(rows) == 0 or len(clusters) != len(rows):
        raise RequestError(
            f"a bootstrap needs a song for each value, but got {len(rows)} and {len(clusters)}"
        )
    if not np.isfinite(rows).all():
        raise RequestError(f"{int((~np.isfinite(rows)).sum())} of {rows.size} values are not finite")
    count = int(clusters.max()) + 1
    rng = generator(seed, "bootstrap")
    if statistic is None:
        resampled = _means(rows, clusters, count, draws, rng)
        value = float(rows.mean())
    else:
        members = [np.flatnonzero(clusters == c) for c in range(count)]
        picks = (np.concatenate([members[c] for c in rng.integers(count, size=count)]) for _ in range(draws))
        resampled = np.array([statistic(rows[pick]) for pick in picks])
        value = float(statistic(rows))
    low, high = _limits(resampled, count, confidence)
    return Estimate(value, low, high, count, chance)


def _limits(resampled: np.ndarray, songs: int, confidence: float) -> tuple[float, float]:
    """The percentile interval; NaN where one song was drawn again and again."""
    if songs == 1:
        return float("nan"), float("nan")
    low, high = np.quantile(resampled, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def share(
    hits: Sequence[float] | np.ndarray, songs: Sequence[object] | None = None, chance: float | None = None
) -> Estimate:
    """The share of hits with its interval over songs at 95 %; right where all or none hit, too.

    Equal values give a bootstrap of no width, which would say that no other song could differ. There
    the interval is Wilson's, of as many trials as there are songs.

    Args:
        hits: (N,) 1 or True for a hit, else 0.
        songs: (N,) which song each belongs to; every one is of a song of its own when None.
    Raises:
        RequestError: as `bootstrap`.
    """
    found = bootstrap(hits, songs, chance=chance)
    if found.count == 1 or found.value not in (0.0, 1.0):
        return found
    return wilson(round(found.value) * found.count, found.count, chance=chance)


def corrected(
    judged: Sequence[float] | np.ndarray,
    songs: Sequence[object],
    sensitivity: Estimate,
    specificity: Estimate,
    draws: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Estimate | None:
    """The true share behind a judge's verdicts, when it is known how often the judge errs.

    p = (share + specificity − 1) / (sensitivity + specificity − 1), cut to 0 … 1. The interval resamples the
    songs and draws both accuracies from their Beta posteriors: a judge that was tried on few songs has a
    wide one.

    Args:
        judged: (N,) 1 where the judge says yes, else 0.
        songs: (N,) which song each verdict is of.
        sensitivity: share of true cases that the judge affirms; with a count of 0 it is taken as certain.
        specificity: share of false cases that it denies; likewise.
    Returns:
        None where the judge is hardly better than a coin: then its verdicts say nothing. NaN limits where all
        verdicts are of one song.
    Source: Rogan & Gladen 1978, American Journal of Epidemiology 107 (1).
    """
    gain = sensitivity.value + specificity.value - 1
    if gain <= 0.05 or not len(judged):
        return None
    rng, rows = np.random.default_rng(seed), np.asarray(judged, np.float64)
    clusters = _numbered(songs)
    count = int(clusters.max()) + 1
    sums, sizes = np.bincount(clusters, rows, count), np.bincount(clusters, minlength=count)
    alike = rows.min() == rows.max()
    if alike:
        # Draws of equal verdicts are equal: how often others would differ is drawn from its posterior.
        shares = _posterior(Estimate(float(rows[0]), 0, 0, count), rng, draws)
    else:
        picks = rng.integers(count, size=(draws, count))
        shares = sums[picks].sum(1) / sizes[picks].sum(1)
    true, false = (_posterior(e, rng, draws) for e in (sensitivity, specificity))
    found = np.clip((shares + false - 1) / np.maximum(true + false - 1, 0.02), 0, 1)
    value = float(np.clip((rows.mean() + specificity.value - 1) / gain, 0, 1))
    low, high = _limits(found, count, confidence)
    if alike and count > 1:  # the posterior doesn't reach 0 and 1
        low, high = min(low, value), max(high, value)
    return Estimate(value, low, high, count)


def _posterior(share: Estimate, rng: np.random.Generator, draws: int) -> np.ndarray:
    """Draws of a share from its Beta posterior under a flat prior; the share itself where it is certain."""
    if not share.count:
        return np.full(draws, share.value)
    hits = share.value * share.count
    return rng.beta(hits + 1, share.count - hits + 1, draws)


def _numbered(songs: Sequence[object]) -> np.ndarray:
    """Songs as 0 … n − 1 in order of first appearance."""
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(song, len(numbers)) for song in songs], dtype=np.int64)


def _means(
    rows: np.ndarray, clusters: np.ndarray, count: int, draws: int, rng: np.random.Generator
) -> np.ndarray:
    """Means of resampled clusters, from their sums alone."""
    flat = rows.reshape(len(rows), -1).mean(1)
    sums = np.bincount(clusters, flat, count)
    sizes = np.bincount(clusters, minlength=count)
    picks = rng.integers(count, size=(draws, count))
    return sums[picks].sum(1) / sizes[picks].sum(1)


def top_k_chance(k: int, pool: int) -> float:
    """The share of right answers within K of a pool of N by guessing: K / N."""
    return min(1.0, k / pool)


def mrr_chance(pool: int) -> float:
    """The mean reciprocal rank by guessing: the harmonic number over the pool."""
    return float((1 / np.arange(1, pool + 1)).mean())


def crossed_bootstrap(
    values: Sequence[float] | np.ndarray,
    first: Sequence[object],
    second: Sequence[object],
    draws: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Estimate:
    """A mean of values that belong to two kinds of clusters at once, such as marks of raters on songs.

    Both kinds are resampled, so the interval is about other raters and other songs; it errs on the
    wide side. The count is that of values; one rater of one song gives NaN limits.

    Raises:
        RequestError: nothing came, a value isn't finite, or the lengths differ.
    Source: Owen 2007, "The pigeonhole bootstrap", Ann. Appl. Stat. 1.
    """
    rows = np.asarray(values, np.float64)
    if not len(rows) or not np.isfinite(rows).all() or not len(rows) == len(first) == len(second):
        raise RequestError(f"{len(rows)} finite values need clusters of both kinds, one each")
    rng = generator(seed, "crossed")
    weights, most = np.ones((draws, len(rows))), 1
    for labels in (first, second):
        numbers = _numbered(labels)
        count = int(numbers.max()) + 1
        most = max(most, count)
        weights *= rng.multinomial(count, np.full(count, 1 / count), size=draws)[:, numbers]
    total = weights.sum(1)
    means = (weights[total > 0] @ rows) / total[total > 0]
    low, high = _limits(means, most, confidence)
    return Estimate(float(rows.mean()), low, high, len(rows))


# ---- distances of sets ---------------------------------------------------------------------


def half_jackknife(
    statistic: Callable[[np.ndarray], float],
    count: int,
    value: float | None = None,
    draws: int = 100,
    seed: int = 0,
    confidence: float = 0.95,
) -> Estimate:
    """A statistic of a set of songs and its interval from random halves, drawn without replacement.

    For statistics whose bias depends on the number of songs, such as a Fréchet distance, which a
    bootstrap inflates because it repeats songs: halves are compared with each other only.

    Args:
        statistic: of the places of the songs to use.
        count: songs.
        value: of all songs, where it is known already.
    Raises:
        RequestError: fewer than 4 songs.
    Source: delete-d jackknife with d = n / 2 (Shao and Wu 1989, Ann. Stat. 17).
    """
    if count < 4:
        raise RequestError(f"an interval by halves needs at least 4 songs, but got {count}")
    rng = generator(seed, "halves")
    kept = count - count // 2
    halves = [statistic(np.sort(rng.permutation(count)[:kept])) for _ in range(draws)]
    scale = np.sqrt(kept / (count - kept))
    error = float(scale * np.std(halves)) * float(stats.norm.ppf(0.5 + confidence / 2))
    whole = float(statistic(np.arange(count))) if value is None else value
    return Estimate(whole, whole - error, whole + error, count)


# ---- comparisons ---------------------------------------------------------------------------


def sign_flips(
    differences: Sequence[float] | np.ndarray,
    songs: Sequence[object] | None = None,
    draws: int = 9999,
    seed: int = 0,
) -> float:
    """The two-sided p-value of paired differences: how often random signs give as large a mean.

    Args:
        differences: (N,) of two systems on the same prompt.
        songs: (N,) which song each belongs to; those of a song change sign together.
    Raises:
        RequestError: nothing came, or a value isn't finite.
    Source: Fisher 1935, section 21; every assignment is tried up to 12 songs, else `draws` random ones.
    """
    rows = np.asarray(differences, np.float64)
    if not len(rows) or not np.isfinite(rows).all():
        raise RequestError("a paired test needs differences, all of them finite")
    clusters = np.arange(len(rows)) if songs is None else _numbered(songs)
    sums = np.bincount(clusters, rows)
    exact = len(sums) <= 12
    if exact:
        signs = 1 - 2 * ((np.arange(2 ** len(sums))[:, None] >> np.arange(len(sums))) & 1)
    else:
        signs = generator(seed, "signs").choice([-1, 1], size=(draws, len(sums)))
    # A hair of tolerance: the observed assignment must count as itself.
    as_large = np.abs(signs @ sums) >= np.abs(sums.sum()) * (1 - 1e-12)
    return float(as_large.mean()) if exact else float((as_large.sum() + 1) / (draws + 1))


def swaps(
    difference: Callable[[np.ndarray], float], count: int, most: int = 1999, enough: int = 20, seed: int = 0
) -> float:
    """The two-sided p-value of a difference of two sets of songs that answer the same prompts.

    Args:
        difference: given which pairs (count,) are swapped, True or False, the difference of the sets.
        count: prompts.
        most: random swaps at most; the smallest p is 1 / (most + 1).
        enough: as large differences after which no more are drawn: p is then known well enough.
    Source: Fisher 1935, section 21, on a statistic of sets; stopped as in Besag & Clifford 1991.
    """
    rng = generator(seed, "swaps")
    observed = abs(difference(np.zeros(count, dtype=bool)))
    as_large = 0
    for drawn in range(1, most + 1):
        as_large += abs(difference(rng.random(count) < 0.5)) >= observed * (1 - 1e-12)
        if as_large == enough:
            return as_large / drawn
    return (as_large + 1) / (most + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number. Source: Holm 1979, Scand. J. Stat. 6."""
    order = np.argsort(p_values, kind="stable")
    corrected = np.empty(len(p_values))
    steps = np.asarray(p_values, np.float64)[order] * np.arange(len(p_values), 0, -1)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(steps)) if len(order) else steps
    return corrected.tolist()


def least_p(songs: int) -> float:
    """The smallest p that random signs or swaps of so many songs can give: all of one sign.

    With many songs `sign_flips` and `swaps` stop at one in some thousands, which is small enough anyway.
    """
    return min(1.0, 2.0 ** (1 - songs))


def least_holm(p_values: Sequence[float], least: Sequence[float]) -> list[float]:
    """The smallest that each of Holm's corrected p-values could have been, the others being what they are.

    Where that is above the level of significance, the test could not have shown any difference.

    Args:
        least: the smallest that each p-value itself could have been.
    """
    best = [min(pair) for pair in zip(p_values, least)]
    return [holm([*p_values[:i], one, *p_values[i + 1 :]])[i] for i, one in enumerate(best)]
