"""Crops of songs for the codecs' training, a pure function of (seed, step).

Songs come from a manifest, from a list made by `vae.scan`, or straight from a folder (wav, flac, mp3, ogg,
opus). A crop is decoded from its place in the file, not from the start. A file that can't be read in the
middle of a training is named and counted once, and another song takes its place.
"""

import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr
import torch
from jaxtyping import Float
from torch import Tensor

from common.errors import AudioError, ManifestError
from common.score import Score
from common.seeds import derive_seed, generator
from corpus.manifest import read
from vae.scan import is_list, kept, scan
from vae.stream import SLACK

logger = logging.getLogger(__name__)

_TRIES = 20  # other songs in the place of one that can't be read


@dataclass(frozen=True)
class SongFile:
    """A song on disk."""

    path: Path
    duration: float  # seconds
    score: Score | None = None  # where a manifest knows it


class Crop(NamedTuple):
    """A piece of a song, and where it was read."""

    wav: Float[np.ndarray, "2 length"]
    song: SongFile
    start: float  # seconds


def song_files(path: str | Path, split: str, stage: int = 0) -> list[SongFile]:
    """The songs of a manifest's split, of a list of `vae.scan`, or of a folder.

    Args:
        stage: of the paper's filter, for a folder; 0 keeps all that can be opened.
    Raises:
        ManifestError: none is left; make the corpus with its audio first.
    """
    path = Path(path)
    if path.is_dir():
        files = [SongFile(path / v.path, v.duration or 0.0) for v in kept(scan(path, stage))]
    elif is_list(path):
        files = [SongFile(path.parent / v.path, v.duration or 0.0) for v in kept(path)]
    else:
        files = _of_split(path, split)
    if not files:
        raise ManifestError(
            f"{path} names no audio file of split {split!r}: a codec trains on rendered songs"
        )
    return files


def hold_out(songs: Sequence[SongFile], count: int, seed: int) -> list[SongFile]:
    """Songs to listen to, a tenth of all at most: by their names alone, whatever their order.

    Raises:
        ManifestError: there is one song or none, so that nothing would be left to train on.
    """
    if len(songs) < 2:
        raise ManifestError("the only song is needed for the training")
    order = sorted(songs, key=lambda s: (derive_seed(seed, "held out", s.path.name), str(s.path)))
    return order[: min(count, max(1, len(songs) // 10))]


def valid_songs(path: str | Path) -> list[SongFile]:
    """A manifest's valid split, perhaps empty; a folder or a list of `vae.scan` has none."""
    path = Path(path)
    return [] if path.is_dir() or is_list(path) else _of_split(path, "valid")


def _of_split(manifest: Path, split: str) -> list[SongFile]:
    records = [r for r in read(manifest) if r.audio is not None and r.split == split]
    return [SongFile(manifest.parent / str(r.audio), r.duration, r.score) for r in records]


def read_crop(song: SongFile, start: float, length: int, sample_rate: int) -> Float[np.ndarray, "2 length"]:
    """`length` samples from `start` seconds on; what is missing at the end is silence.

    Raises:
        AudioError: the file can't be read, isn't mono or stereo, or holds NaN.
    """
    try:
        with soundfile.SoundFile(song.path) as file:
            rate = file.samplerate
            if file.channels not in (1, 2):
                raise AudioError(
                    f"{song.path} has {file.channels} channels: the codec trains on mono or stereo"
                )
            first, wanted = min(int(start * rate), file.frames), int(np.ceil(length * rate / sample_rate))
            file.seek(first)
            data = file.read(wanted, dtype="float32", always_2d=True)
            missing = min(wanted, file.frames - first) - len(data)
    except (OSError, RuntimeError, soundfile.SoundFileError) as error:
        raise AudioError(f"{song.path} can't be read: {error}") from error
    if not len(data) or missing > SLACK * rate:
        raise AudioError(
            f"{song.path} is cut short: a crop from {start:.1f} s on lacks {missing / rate:.2f} s"
        )
    if not np.isfinite(data).all():
        raise AudioError(f"{song.path} holds NaN or infinite samples")
    if rate != sample_rate and len(data):
        data = soxr.resample(data, rate, sample_rate, quality="HQ")
    out = np.zeros((2, length), np.float32)
    out[:, : len(data)] = data[:length].T
    return out


class Crops:
    """Random crops of songs, weighted by duration.

    Args:
        length: of a crop, in samples at `sample_rate` Hz.
        readers: threads that read a batch while the one before it is used; 0 for none.
    """

    def __init__(
        self, songs: Sequence[SongFile], length: int, sample_rate: int, seed: int, readers: int = 0
    ) -> None:
        self.songs, self.length, self.sample_rate, self.seed = songs, length, sample_rate, seed
        durations = np.array([s.duration for s in songs])
        self.durations, self.shares = durations, durations / durations.sum()
        self.skipped: dict[Path, str] = {}  # files that couldn't be read, and why
        self._pool = ThreadPoolExecutor(readers) if readers else None
        self._ahead: dict[tuple[object, ...], list[Future[Crop]]] = {}

    def batch(self, size: int, part: slice, *place: object) -> Float[Tensor, "batch 2 length"]:
        """A part of the `size` crops that belong to `place`, such as ("step", 7).

        Every process draws the whole batch and reads its own part, so that several processes train on
        what one would.
        """
        return torch.from_numpy(np.stack([crop.wav for crop in self.read(size, part, *place)]))

    def read(self, size: int, part: slice, *place: object) -> list[Crop]:
        """The crops of `batch` with the songs and places that they were read from at last."""
        waiting = self._ahead.pop((size, part.start, part.stop, *place), None)
        if waiting is not None:
            return [future.result() for future in waiting]
        picks, starts = self._draw(size, place)
        return [self._crop(i, s, (*place, n)) for n, i, s in _of(picks, starts, part)]

    def prepare(self, size: int, part: slice, *place: object) -> None:
        """Begin to read what `batch` will be asked for."""
        key = (size, part.start, part.stop, *place)
        if self._pool is None or key in self._ahead:
            return
        picks, starts = self._draw(size, place)
        self._ahead[key] = [
            self._pool.submit(self._crop, i, s, (*place, n)) for n, i, s in _of(picks, starts, part)
        ]

    def _draw(self, size: int, place: tuple[object, ...]) -> tuple[np.ndarray, np.ndarray]:
        rng = generator(self.seed, "crops", *place)
        picks = rng.choice(len(self.songs), size=size, p=self.shares)
        room = np.maximum(0.0, self.durations[picks] - self.length / self.sample_rate)
        return picks, rng.random(size) * room

    def _crop(self, pick: int, start: float, place: tuple[object, ...]) -> Crop:
        """The crop, or one of another song where this one can't be read."""
        rng = generator(self.seed, "instead", *place)
        for _ in range(_TRIES):
            song = self.songs[pick]
            try:
                return Crop(read_crop(song, start, self.length, self.sample_rate), song, start)
            except AudioError as error:
                if song.path not in self.skipped:
                    self.skipped[song.path] = str(error)
                    logger.warning("skipped, %d of %d files: %s", len(self.skipped), len(self.songs), error)
            pick = int(rng.choice(len(self.songs), p=self.shares))
            start = float(rng.random() * max(0.0, self.durations[pick] - self.length / self.sample_rate))
        raise ManifestError(
            f"{_TRIES} songs in a row can't be read, the last of {len(self.skipped)} is {song.path}: "
            "is the disk there?"
        )


def _of(picks: np.ndarray, starts: np.ndarray, part: slice) -> list[tuple[int, int, float]]:
    """(number in the batch, song, start) of a part."""
    numbers = range(len(picks))[part]
    return [(n, int(picks[n]), float(starts[n])) for n in numbers]
