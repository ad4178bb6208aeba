"""Crops of songs for the codecs' training, a pure function of (seed, step, process)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from jaxtyping import Float
from torch import Tensor

from common.errors import AudioError, ManifestError
from common.seeds import generator
from corpus.manifest import read


@dataclass(frozen=True)
class SongFile:
    """A song on disk."""

    path: Path
    duration: float  # seconds


def song_files(path: str | Path, split: str) -> list[SongFile]:
    """The songs of one split of a manifest that have a file.

    Raises:
        ManifestError: none is left; make the corpus with its audio first.
    """
    folder = Path(path).parent
    records = [r for r in read(path) if r.audio is not None and r.split == split]
    if not records:
        raise ManifestError(
            f"{path} names no audio file of split {split!r}: a codec trains on rendered songs"
        )
    return [SongFile(folder / str(r.audio), r.duration) for r in records]


def read_crop(song: SongFile, start: float, length: int, sample_rate: int) -> Float[np.ndarray, "2 length"]:
    """`length` samples from `start` seconds on; what is missing at the end is silence."""
    try:
        with soundfile.SoundFile(song.path) as file:
            rate = file.samplerate
            file.seek(min(int(start * rate), file.frames))
            data = file.read(int(np.ceil(length * rate / sample_rate)), dtype="float32", always_2d=True)
    except (OSError, soundfile.SoundFileError) as error:
        raise AudioError(f"{song.path} can't be read: {error}") from error
    if rate != sample_rate:
        data = soxr.resample(data, rate, sample_rate, quality="HQ")
    if data.shape[1] not in (1, 2):
        raise AudioError(f"{song.path} has {data.shape[1]} channels: the codec trains on mono or stereo")
    out = np.zeros((2, length), np.float32)
    out[:, : len(data)] = data[:length].T
    return out


def batch(
    songs: Sequence[SongFile], size: int, length: int, sample_rate: int, seed: int, *place: object
) -> Float[Tensor, "batch 2 length"]:
    """Random crops, songs weighted by duration; `place` is (purpose, step, process)."""
    rng = generator(seed, "crops", *place)
    durations = np.array([s.duration for s in songs])
    picks = rng.choice(len(songs), size=size, p=durations / durations.sum())
    starts = rng.random(size) * np.maximum(0.0, durations[picks] - length / sample_rate)
    crops = [read_crop(songs[i], float(start), length, sample_rate) for i, start in zip(picks, starts)]
    return torch.from_numpy(np.stack(crops))
