"""Fréchet audio distance between two sets of embeddings.

    python -m eval.fad --songs songs --references data/corpus/test/audio
    python -m eval.fad --references data/corpus/pool/audio --save pool.npz     # keep their statistics
    python -m eval.fad --songs songs --statistics pool.npz

Conventions: embeddings are (N, D), one row a window; the distance is of the Gaussians fitted to
each set, in squared units of the embedding. With few rows it is biased upwards (true distance 0,
D = 128: N = 256 gives about 18): songs, rows, dimensions and rank stand beside each value, and a
warning where a set has fewer than 2 D rows. An interval is over songs, at this number of songs: it
says how much another draw of songs would change the value, not how far the value is from the true
distance. `extrapolated` estimates that one.

The trace of √(C₁C₂) is the nuclear norm of S₁ᵀS₂ with Cᵢ = SᵢSᵢᵀ: always real, no matrix square
root, nothing added to the diagonal. With fewer rows than dimensions no covariance is ever formed.
"""

import logging
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy import linalg

from common import config as configs
from common.errors import CheckpointError, RequestError, run_command
from common.seeds import generator
from common.statistics import Estimate, half_jackknife
from eval import embeddings
from eval.nuclear import nuclear_norm

logger = logging.getLogger(__name__)

_FEWEST_SONGS = 8  # for an interval or an extrapolation
# What numpy raises for a file that isn't there, is empty, torn or no archive, and for values of other types.
_DAMAGED = (OSError, KeyError, ValueError, EOFError, TypeError, NotImplementedError, zipfile.BadZipFile)
_ROUNDING = float(np.finfo(np.float32).eps)  # for each dimension, of the largest eigenvalue
_SHARES = np.linspace(0.4, 1.0, 7)  # of the songs, to extrapolate from


# ---- Gaussians -----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Gaussian:
    """A mean and a factor of the covariance: C = S Sᵀ."""

    mean: np.ndarray  # (D,)
    factor: np.ndarray  # S, (D, min(N, D))
    rows: int

    @classmethod
    def of_rows(cls, x: np.ndarray, name: str = "a") -> "Gaussian":
        """Fitted to embeddings (N, D). Raises RequestError as `frechet_distance` does."""
        x = _checked(x, name)
        mean = x.mean(0)
        centred = (x - mean) / np.sqrt(len(x) - 1)
        # From QR where there are more rows than dimensions, so that the covariance is never formed.
        short = len(x) <= x.shape[1]
        factor = centred.T if short else np.asarray(linalg.qr(centred, mode="r")[0])[: x.shape[1]].T
        return cls(mean, factor, len(x))

    @property
    def dimensions(self) -> int:
        return len(self.mean)

    @cached_property
    def trace(self) -> float:
        """Of the covariance."""
        return float((self.factor**2).sum())

    @cached_property
    def rank(self) -> int:
        """Of the covariance, from the smaller Gram matrix of the factor."""
        s = self.factor
        gram = s.T @ s if s.shape[1] <= s.shape[0] else s @ s.T
        values = np.linalg.eigvalsh(gram)
        return int((values > values.max() * len(values) * np.finfo(float).eps * 10).sum())


@dataclass(eq=False)
class Statistics:
    """Count, mean and scatter of rows that come one song at a time; saved, they stand for a reference set.

    Source: Chan, Golub and LeVeque 1979, pairwise update.
    """

    count: int = 0
    songs: int = 0
    mean: np.ndarray = field(default_factory=lambda: np.zeros(0))
    scatter: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))  # sum of centred outer products
    encoder: str = ""  # name and digest of what made the rows

    def update(self, rows: np.ndarray) -> "Statistics":
        """Add the rows (N, D) of one song."""
        x = np.asarray(rows, np.float64)
        if x.ndim != 2 or not len(x) or not np.isfinite(x).all():
            raise RequestError(f"a song's embeddings are finite and (N >= 1, D), but got {x.shape}")
        mean = x.mean(0)
        part = Statistics(len(x), 1, mean, (x - mean).T @ (x - mean), self.encoder)
        return self.merge(part)

    def merge(self, other: "Statistics") -> "Statistics":
        """Add what another process counted."""
        if other.count == 0:
            return self
        if self.count == 0:
            self.mean, self.scatter = np.zeros_like(other.mean), np.zeros_like(other.scatter)
        if self.mean.shape != other.mean.shape:
            raise RequestError(
                f"rows have {len(self.mean)} and {len(other.mean)} dimensions: use one encoder"
            )
        total = self.count + other.count
        delta = other.mean - self.mean
        self.scatter = (
            self.scatter + other.scatter + np.outer(delta, delta) * (self.count * other.count / total)
        )
        self.mean = self.mean + delta * (other.count / total)
        self.count, self.songs = total, self.songs + other.songs
        return self

    def gaussian(self) -> Gaussian:
        """The Gaussian of the rows so far."""
        if self.count < 2:
            raise RequestError(f"a distance needs at least 2 rows, but the statistics have {self.count}")
        return Gaussian(self.mean, _root(self.scatter / (self.count - 1), "kept"), self.count)

    def save(self, path: str | Path) -> None:
        """Write an .npz, whole or not at all, in a folder that is made where it isn't there.

        Raises:
            CheckpointError: it can't be written there.
        """
        path = Path(path)
        part = path.with_name(f".{path.name}.part.npz")
        kept = {name: getattr(self, name) for name in ("count", "songs", "mean", "scatter", "encoder")}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(part, **kept)
            part.replace(path)
        except OSError as error:
            raise CheckpointError(f"statistics can't be kept in {path}: {error.strerror or error}") from error

    @classmethod
    def load(cls, path: str | Path, encoder: str | None = None) -> "Statistics":
        """Read what `save` wrote.

        Raises:
            CheckpointError: it isn't there, is no such file, is damaged, or another encoder made it.
        """
        try:
            with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as kept:
                count, songs = int(kept["count"]), int(kept["songs"])
                found = cls(count, songs, kept["mean"], kept["scatter"], str(kept["encoder"]))
        except _DAMAGED as error:
            raise CheckpointError(f"no statistics can be read from {path}: {error}") from error
        if fault := found._fault():
            raise CheckpointError(f"no statistics can be read from {path}: {fault}")
        if encoder is not None and found.encoder != encoder:
            raise CheckpointError(
                f"{path} was made with {found.encoder}, but the songs are heard by {encoder}"
            )
        return found

    def _fault(self) -> str | None:
        """What can't be true of statistics; None where nothing is wrong."""
        mean, scatter = self.mean, self.scatter
        if mean.ndim != 1 or not len(mean) or scatter.shape != (len(mean), len(mean)):
            return f"a mean (D,) and a scatter (D, D) are needed, but got {mean.shape} and {scatter.shape}"
        if not all(np.issubdtype(part.dtype, np.floating) for part in (mean, scatter)):
            return f"mean and scatter are real numbers, but got {mean.dtype} and {scatter.dtype}"
        if not (np.isfinite(mean).all() and np.isfinite(scatter).all()):
            return "mean or scatter holds values that aren't finite"
        if self.count < 1 or not 1 <= self.songs <= self.count:
            return f"rows are at least songs, and songs at least 1, but got {self.count} and {self.songs}"
        return None


# ---- the distance --------------------------------------------------------------------------


@dataclass(frozen=True)
class Distance:
    """A Fréchet distance with what is needed to judge it."""

    value: float
    sets: tuple[Gaussian, Gaussian]

    @property
    def rows(self) -> tuple[int, int]:
        return self.sets[0].rows, self.sets[1].rows

    @property
    def dimensions(self) -> int:
        return self.sets[0].dimensions

    @property
    def ranks(self) -> tuple[int, int]:
        """Of the covariances, found when asked for: below `dimensions` where rows are too few."""
        return self.sets[0].rank, self.sets[1].rank

    def __str__(self) -> str:
        rows, ranks = "/".join(map(str, self.rows)), "/".join(map(str, self.ranks))
        return f"{self.value:.4f} (rows {rows}, D = {self.dimensions}, rank {ranks})"


def frechet_distance(x: np.ndarray, y: np.ndarray) -> Distance:
    """Fréchet distance of the Gaussians fitted to two sets of embeddings (N, D).

    Raises:
        RequestError: not two matrices of equal width, fewer than 2 rows, or values not finite.
    Source: Dowson and Landau 1982; Kilgour 2019 (FAD), eq. 2. Differs: nuclear norm for the trace.
    """
    return between(Gaussian.of_rows(x, "first"), Gaussian.of_rows(y, "second"))


def between(x: Gaussian, y: Gaussian) -> Distance:
    """The distance of two Gaussians."""
    return Distance(_value(x, y), (x, y))


def _value(x: Gaussian, y: Gaussian) -> float:
    if x.dimensions != y.dimensions:
        raise RequestError(f"embeddings have {x.dimensions} and {y.dimensions} dimensions: use one model")
    offset = float(((x.mean - y.mean) ** 2).sum())
    crossed = nuclear_norm(x.factor.T @ y.factor)
    return max(0.0, offset + x.trace + y.trace - 2 * crossed)


def gaussian_distance(mean_x: np.ndarray, cov_x: np.ndarray, mean_y: np.ndarray, cov_y: np.ndarray) -> float:
    """The same distance from means (D,) and covariances (D, D), such as stored statistics.

    Raises:
        RequestError: shapes don't fit, values aren't real and finite, or a matrix is no covariance.
    """
    return _value(_gaussian(mean_x, cov_x, "first"), _gaussian(mean_y, cov_y, "second"))


def _gaussian(mean: np.ndarray, covariance: np.ndarray, name: str) -> Gaussian:
    """A Gaussian of checked parts."""
    mean, covariance = np.asarray(mean), np.asarray(covariance)
    if mean.ndim != 1 or not len(mean) or covariance.shape != (len(mean), len(mean)):
        raise RequestError(
            f"the {name} set needs a mean (D,) and a covariance (D, D), but got {mean.shape} and "
            f"{covariance.shape}"
        )
    for part in (mean, covariance):
        if not np.issubdtype(part.dtype, np.floating) and not np.issubdtype(part.dtype, np.integer):
            raise RequestError(f"the {name} set needs real numbers, but got {part.dtype}")
        if not np.isfinite(part).all():
            raise RequestError(f"the {name} set has a mean or a covariance that isn't finite")
    if not np.allclose(covariance, covariance.T, rtol=1e-6, atol=1e-9 * float(np.abs(covariance).max())):
        raise RequestError(f"the covariance of the {name} set isn't symmetric")
    return Gaussian(mean.astype(np.float64), _root(covariance.astype(np.float64), name), 0)


def _checked(x: np.ndarray, name: str) -> np.ndarray:
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 2 or len(x) < 2:
        raise RequestError(f"the {name} set needs embeddings (N >= 2, D), but its shape is {x.shape}")
    if not np.isfinite(x).all():
        raise RequestError(f"the {name} set has embeddings that are not finite")
    return x


def _root(covariance: np.ndarray, name: str) -> np.ndarray:
    """S of a covariance S Sᵀ.

    Raises:
        RequestError: an eigenvalue is negative by more than rounding in single precision leaves.
    """
    values, vectors = np.linalg.eigh(covariance)
    if values.min() < -_ROUNDING * max(float(values.max()), 0.0) * len(values) or values.max() < 0:
        raise RequestError(
            f"the matrix of the {name} set is no covariance: it has an eigenvalue of {values.min():.3g}"
        )
    return vectors * np.sqrt(np.clip(values, 0, None))


# ---- songs ---------------------------------------------------------------------------------

Reference = Gaussian | Sequence[np.ndarray]  # fitted already, or the rows of each song


@dataclass(frozen=True)
class Extrapolated:
    """The distance that endless songs would have, by a line through smaller sets."""

    value: float  # may be negative where the true distance is near 0
    r_squared: float
    songs: int


@dataclass(frozen=True)
class Score:
    """A distance of songs with its interval, its counts, and what to be warned of."""

    distance: Distance
    interval: Estimate | None  # None: too few songs
    extrapolated: Extrapolated | None
    songs: tuple[int, int]
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        d, limit = self.distance, self.extrapolated
        parts = [f"{d.value:.4f}"]
        if self.interval:
            parts.append(f"[{self.interval.low:.4f}, {self.interval.high:.4f}]")
        if limit:
            parts.append(f"extrapolated {limit.value:.4f} (R² {limit.r_squared:.3f})")
        counts = f"songs {self.songs[0]}/{self.songs[1]}, rows {d.rows[0]}/{d.rows[1]}"
        return f"{' '.join(parts)} ({counts}, D = {d.dimensions}, rank {d.ranks[0]}/{d.ranks[1]})"


def fitted(reference: Reference) -> Gaussian:
    """The Gaussian of a reference set. Raises RequestError where it has no songs or fewer than 2 rows."""
    return (
        reference if isinstance(reference, Gaussian) else Gaussian.of_rows(_joined(reference), "references'")
    )


def _joined(songs: Sequence[np.ndarray], name: str = "references'") -> np.ndarray:
    """The rows of all songs."""
    if not len(songs):
        raise RequestError(f"the {name} set has no songs")
    return np.concatenate(songs)


def score(
    songs: Sequence[np.ndarray],
    reference: Reference,
    draws: int = 40,
    seed: int = 0,
    reference_songs: int | None = None,
) -> Score:
    """The distance of songs from a reference set.

    Args:
        songs: the rows (N, D) of each.
        draws: halves of the songs for the interval.
        reference_songs: how many songs a fitted reference stands for.
    Raises:
        RequestError: a side has no songs, fewer than 2 rows, other dimensions, or values not finite.
    """
    target = fitted(reference)
    whole = between(Gaussian.of_rows(_joined(songs, "songs'"), "songs'"), target)
    count = len(reference) if not isinstance(reference, Gaussian) else (reference_songs or 0)
    warnings = [
        f"{rows} rows of {who} for {whole.dimensions} dimensions: below {2 * whole.dimensions} the value "
        "is mostly bias; compare only sets of equal size"
        for rows, who in zip(whole.rows, ("the songs", "the references"))
        if rows < 2 * whole.dimensions
    ]
    interval = limit = None
    if len(songs) >= _FEWEST_SONGS:
        interval = half_jackknife(
            lambda chosen: _value(Gaussian.of_rows(np.concatenate([songs[i] for i in chosen])), target),
            len(songs),
            value=whole.value,
            draws=draws,
            seed=seed,
        )
        limit = extrapolate(songs, reference, seed=seed)
    else:
        warnings.append(f"{len(songs)} songs: no interval and no extrapolation below {_FEWEST_SONGS}")
    return Score(whole, interval, limit, (len(songs), count), tuple(warnings))


def extrapolate(
    songs: Sequence[np.ndarray], reference: Reference, draws: int = 3, seed: int = 0
) -> Extrapolated:
    """FAD-inf: the intercept over 1 / share of the songs, drawn without replacement.

    Where the reference's rows are known it is thinned in the same share, so that its own bias goes
    too; a fitted reference stays whole.

    Source: Chong and Forsyth 2020; Gui 2024. Differs: whole songs, without replacement (drawing rows
    with replacement, as fadtk does, leaves the bias in), and both sets.
    Raises:
        RequestError: fewer than 8 songs.
    """
    if len(songs) < _FEWEST_SONGS:
        raise RequestError(f"an extrapolation needs at least {_FEWEST_SONGS} songs, but got {len(songs)}")
    rng = generator(seed, "extrapolation")
    whole = sum(map(len, songs))
    inverse, values = [], []
    for share in _SHARES:
        for _ in range(1 if share == 1 else draws):
            mine = np.concatenate(_thinned(songs, share, rng))
            target = reference
            if not isinstance(reference, Gaussian):
                target = Gaussian.of_rows(np.concatenate(_thinned(reference, share, rng)))
            inverse.append(whole / len(mine))
            values.append(_value(Gaussian.of_rows(mine), fitted(target)))
    slope, intercept = np.polyfit(inverse, values, 1)
    left = np.asarray(values) - (slope * np.asarray(inverse) + intercept)
    spread = float(np.var(values))
    return Extrapolated(float(intercept), 1 - float(np.var(left)) / spread if spread else 1.0, len(songs))


def _thinned(songs: Sequence[np.ndarray], share: float, rng: np.random.Generator) -> list[np.ndarray]:
    chosen = rng.permutation(len(songs))[: max(2, round(share * len(songs)))]
    return [songs[i] for i in sorted(chosen)]


def per_song(songs: Sequence[np.ndarray], reference: Reference) -> np.ndarray:
    """Each song's own distance from the reference, (songs,); NaN for a song of one row.

    For ranking alike songs only: with so few rows the value is nearly all bias, and grows with fewer.
    Source: Gui 2024, section 3.3.
    """
    target = fitted(reference)
    return np.array([_value(Gaussian.of_rows(x), target) if len(x) > 1 else np.nan for x in songs])


# ---- command -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Settings:
    """What to compare."""

    songs: str | None = None  # a folder of audio files
    references: str | None = None  # another
    statistics: str | None = None  # in the place of references: what `save` kept
    save: str | None = None  # keep the references' statistics in this file, for one encoder
    encoders: list[str] = field(default_factory=lambda: ["corpus"])
    cache: str = "runs/embeddings"
    songwise: bool = False  # print each song's own distance too
    allow_missing: bool = False
    weights: embeddings.Weights = field(default_factory=embeddings.Weights)


def statistics_of(songs: Iterable[np.ndarray], encoder: embeddings.Encoder) -> Statistics:
    """The statistics of songs that come one by one, in constant memory."""
    total = Statistics(encoder=f"{encoder.name} {encoder.digest}")
    for rows in songs:
        total.update(rows)
    return total


def _compare(settings: Settings, encoder: embeddings.Encoder, said: set[str]) -> None:
    references = None
    if settings.references:
        files = embeddings.audio_files(settings.references)
        references = embeddings.embed_files(encoder, files, settings.cache, settings.allow_missing)
        embeddings.say_missing(references.missing.values(), said)
    if settings.save and references is not None:
        statistics_of(references, encoder).save(settings.save)
        print(f"kept the statistics of {len(references)} songs in {settings.save}")
    if not settings.songs:
        return
    files = embeddings.audio_files(settings.songs)
    songs = embeddings.embed_files(encoder, files, settings.cache, settings.allow_missing)
    embeddings.say_missing(songs.missing.values(), said)
    kept = None
    if references is None:
        kept = Statistics.load(str(settings.statistics), f"{encoder.name} {encoder.digest}")
    reference: Reference = kept.gaussian() if kept else (references.all() if references else [])
    found = score(songs.all(), reference, reference_songs=kept.songs if kept else None)
    print(f"FAD, {encoder.name}: {found}; {encoder.convention}")
    for warning in found.warnings:
        print(f"warning: {warning}")
    if settings.songwise:
        for name, value in sorted(zip(songs.names, per_song(songs.all(), reference)), key=lambda p: p[1]):
            print(f"  {value:10.4f}  {name}")


def main() -> int:
    """Print the distance by each encoder."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    settings = configs.parse(Settings)
    if not (settings.references or settings.statistics):
        raise RequestError("a distance needs --references, a folder, or --statistics, a file")
    if settings.save and (len(settings.encoders) != 1 or not settings.references):
        raise RequestError("--save keeps the statistics of --references by one encoder")
    if not (settings.songs or settings.save):
        raise RequestError("name the songs with --songs")
    said: set[str] = set()
    for name in settings.encoders:
        _compare(settings, embeddings.load(name, embeddings.of(settings.weights, name)), said)
    return 0


if __name__ == "__main__":
    run_command(main)
