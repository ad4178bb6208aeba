"""What the recogniser learns from: crops of songs on the borders of lines, with what is sung in them.

Audio is heard once: the log-mel frames of every song are cached as float16. With a codec, a piece of
some songs is cached as the codec gives it back too, its latents disturbed a little, because generated
songs sound like that. A batch is a pure function of (seed, step, process).

Where the manifest knows when each character is sung, every frame has its token; a line without that
gives only the order of its tokens.
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.audio import Audio, read_audio, resample, to_channels
from common.errors import ConfigError, ManifestError
from common.seeds import generator
from corpus.record import SongRecord
from corpus.sung import UNKNOWN, Line, frame_labels, sung_lines
from eval.syllables import features
from eval.syllables.model import FRAME_RATE, STRIDE, frames

logger = logging.getLogger(__name__)

_MEL_RATE = features.RATE / features.HOP
_PIECE = 14.0  # seconds of a song that are sent through the codec


@dataclass(frozen=True)
class DataConfig:
    """How batches are drawn."""

    batch_size: int = 12  # crops in each process
    longest: float = 5.0  # seconds of a crop; a line that is longer is a crop of its own
    silent: float = 0.04  # share of crops where nobody sings
    decoded: float = 0.4  # share of crops of songs that have one from the codec's round trip
    gain_db: float = 6.0  # augmentation: ± of the whole crop
    tilt_db: float = 5.0  # augmentation: ± of a random smooth equaliser
    mask_bands: int = 6  # augmentation: at most so many neighbouring bands are blanked, twice
    mask_frames: int = 6  # augmentation: at most so many neighbouring mel frames are blanked, three times

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.longest <= 0:
            raise ConfigError(
                f"batch_size and longest are positive, but got {self.batch_size} and {self.longest}"
            )


@dataclass(frozen=True)
class Heard:
    """Cached frames and the lines in them."""

    file: Path  # (BANDS, M) float16
    duration: float  # seconds
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Batch:
    """Crops padded to the longest."""

    mel: Tensor  # (B, BANDS, M)
    lengths: Tensor  # (B,) mel frames
    labels: Tensor  # (B, T) token of each output frame or UNKNOWN
    targets: Tensor  # (sum of target lengths,)
    target_lengths: Tensor  # (B,)


# ---- cached frames ---------------------------------------------------------------------------


def cache(
    records: Sequence[SongRecord], root: Path, folder: Path, codec: str | None = None, decoded_songs: int = 0
) -> list[tuple[Heard, ...]]:
    """Every song as it is and, of the first `decoded_songs` sung ones, a piece through a codec.

    Args:
        root: the manifest's folder, which audio paths are relative to.
        codec: a folder of `vae.load`.
    Raises:
        AudioError, ManifestError, CheckpointError: a song's audio or the codec can't be had.
    """
    home = folder / _digest(features.CONVENTION)
    home.mkdir(parents=True, exist_ok=True)
    through = _round_trip(codec) if codec and decoded_songs else None
    sung = [r.id for r in records if r.timing][:decoded_songs] if through else []
    chosen, out = set(sung), []
    for number, record in enumerate(records):
        if number % 100 == 0:
            logger.info("listening to song %d of %d", number + 1, len(records))
        kept = home / f"{_digest(record.id)}.npy"
        lines = sung_lines(record)
        if not kept.exists():
            _put(kept, features.mono(_audio(record, root)))
        versions = [Heard(kept, record.duration, lines)]
        if record.id in chosen and through is not None:
            versions.append(
                _decoded(record, root, lines, kept.with_suffix(f".{_digest(str(codec))}.npy"), through)
            )
        out.append(tuple(versions))
    return out


def _decoded(record: SongRecord, root: Path, lines: tuple[Line, ...], kept: Path, through: Any) -> Heard:
    """A piece of the song from a random line on, as the codec gives it back."""
    rng = generator(0, "decoded", record.id)
    first = int(rng.integers(len(lines)))
    begin = max(0.0, lines[first].start - 0.3)
    inside = [line for line in lines[first:] if line.end <= begin + _PIECE] or [lines[first]]
    end = min(record.duration, inside[-1].end + 0.3)
    if not kept.exists():
        audio = _audio(record, root)
        cut = slice(round(begin * audio.sample_rate), round(end * audio.sample_rate))
        piece = Audio(audio.samples[:, cut], audio.sample_rate)
        _put(kept, features.mono(through(piece, float(rng.uniform(0, 0.3)), int(rng.integers(1 << 31)))))
    shifted = tuple(
        Line(
            x.start - begin, x.end - begin, x.syllables, tuple((a - begin, b - begin) for a, b in x.spans)
        )
        for x in inside
    )  # fmt: skip
    return Heard(kept, end - begin, shifted)


def _round_trip(folder: str) -> Any:
    """A function that sends audio through a codec: (audio, noise on its latents, seed) → audio."""
    from vae.load import load

    codec: Any = load(folder)
    if hasattr(codec, "iterations"):
        codec.iterations = min(codec.iterations, 2)  # phases matter little here, and time does

    @torch.inference_mode()
    def through(audio: Audio, noise: float, seed: int) -> Audio:
        if audio.sample_rate != codec.sample_rate:
            audio = resample(audio, codec.sample_rate)
        wav = torch.from_numpy(to_channels(audio, 2).samples)[None]
        latents = codec.encode(wav).mode()
        shaken = torch.randn(latents.shape, generator=torch.Generator().manual_seed(seed))
        decoded = codec.decode(latents + noise * shaken, length=wav.shape[-1])
        return Audio(decoded[0].float().numpy(), codec.sample_rate)

    return through


def _audio(record: SongRecord, root: Path) -> Audio:
    if record.audio is None:
        raise ManifestError(f"song {record.id} has no audio file, which the recogniser needs")
    return read_audio(root / record.audio)


def _put(path: Path, samples: np.ndarray) -> None:
    part = path.with_name(f".{path.name}.part.npy")
    np.save(part, features.log_mel(samples).numpy().astype(np.float16))
    part.replace(path)


def _digest(text: str) -> str:
    return hashlib.sha256(json.dumps(text).encode()).hexdigest()[:16]


# ---- crops -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Crop:
    """One example: mel frames, a token for every output frame, and the tokens in order."""

    mel: np.ndarray  # (BANDS, M)
    labels: np.ndarray  # (T,)
    targets: tuple[int, ...]


def crop(heard: Heard, config: DataConfig, rng: np.random.Generator) -> Crop:
    """Whole lines from a random one on, cut at random places in the pauses around them."""
    lines = heard.lines
    first = int(rng.integers(len(lines)))
    last = first
    while last + 1 < len(lines) and lines[last + 1].end - lines[first].start <= config.longest:
        last += 1
    last = int(rng.integers(first, last + 1)) if rng.random() < 0.3 else last
    before = lines[first - 1].end if first else 0.0
    after = lines[last + 1].start if last + 1 < len(lines) else heard.duration
    begin = rng.uniform(max(before, lines[first].start - 1.0), max(before, lines[first].start))
    end = rng.uniform(min(after, lines[last].end), min(after, lines[last].end + 1.0))
    return _cut(heard, lines[first : last + 1], begin, end)


def silence(heard: Heard, config: DataConfig, rng: np.random.Generator) -> Crop:
    """A part of the longest stretch in which nobody sings."""
    edges = [0.0, *(t for line in heard.lines for t in (line.start, line.end)), heard.duration]
    begin, end = max(zip(edges[::2], edges[1::2]), key=lambda gap: gap[1] - gap[0])
    length = min(end - begin, config.longest)
    start = rng.uniform(begin, end - length) if end > begin else begin
    return _cut(heard, (), start, max(start + length, start + 0.5))


def _cut(heard: Heard, lines: Sequence[Line], begin: float, end: float) -> Crop:
    first, last = round(begin * _MEL_RATE), round(end * _MEL_RATE)
    mel = np.load(heard.file, mmap_mode="r")[:, max(0, first) : max(first + STRIDE, last)]
    mel = mel.astype(np.float32)
    labels = frame_labels(lines, FRAME_RATE, first / _MEL_RATE, frames(mel.shape[1]))
    return Crop(mel, labels, tuple(t for line in lines for s in line.syllables for t in s))


def augmented(mel: np.ndarray, config: DataConfig, rng: np.random.Generator) -> np.ndarray:
    """Another loudness and equaliser, and blanked bands and moments.

    Source: SpecAugment (Park et al. 2019).
    """
    bands, count = mel.shape
    knots = rng.uniform(-config.tilt_db, config.tilt_db, 6)
    curve = np.interp(np.linspace(0, 5, bands), np.arange(6), knots) + rng.uniform(-1, 1) * config.gain_db
    mel = mel + (curve * features.PER_DB).astype(np.float32)[:, None]
    # What the floor hides stays hidden when it is made louder.
    mel = np.maximum(mel, features.SILENCE)
    for _ in range(2):
        width = int(rng.integers(0, config.mask_bands + 1))
        low = int(rng.integers(0, bands - width + 1))
        mel[low : low + width] = mel.mean()
    for _ in range(3):
        width = int(rng.integers(0, min(config.mask_frames, count // 4) + 1))
        start = int(rng.integers(0, count - width + 1))
        mel[:, start : start + width] = mel.mean()
    return mel


class Songs:
    """Batches of crops by number, in any order.

    Raises:
        ManifestError: nobody sings in any of the songs.
    """

    def __init__(
        self,
        songs: Sequence[tuple[Heard, ...]],
        config: DataConfig,
        seed: int,
        place: tuple[int, int] = (0, 1),
    ) -> None:
        self.sung = [versions for versions in songs if versions[0].lines]
        self.all, self.config, self.seed, self.place = list(songs), config, seed, place
        if not self.sung:
            raise ManifestError("the recogniser needs songs with timed lines, but the manifest has none")
        # Long songs have more to teach.
        weights = np.array([sum(len(line.syllables) for line in v[0].lines) for v in self.sung], float)
        self.weights = weights / weights.sum()

    def __getitem__(self, step: int) -> Batch:
        process, processes = self.place
        rng = generator(self.seed, "crops", step * processes + process)
        return collate([self._draw(rng) for _ in range(self.config.batch_size)])

    def _draw(self, rng: np.random.Generator) -> Crop:
        if rng.random() < self.config.silent:
            drawn = silence(self.all[int(rng.integers(len(self.all)))][0], self.config, rng)
        else:
            versions = self.sung[int(rng.choice(len(self.sung), p=self.weights))]
            other = len(versions) > 1 and rng.random() < self.config.decoded
            drawn = crop(versions[-1] if other else versions[0], self.config, rng)
        return Crop(augmented(drawn.mel, self.config, rng), drawn.labels, drawn.targets)

    def batches(self, first: int) -> Iterator[Batch]:
        """All batches from a step on, without end."""
        while True:
            yield self[first]
            first += 1


def collate(crops: Sequence[Crop]) -> Batch:
    """Pad crops to the longest."""
    lengths = [c.mel.shape[1] for c in crops]
    longest = max(lengths)
    mel = np.stack([np.pad(c.mel, ((0, 0), (0, longest - n))) for c, n in zip(crops, lengths)])
    size = frames(longest)
    labels = np.stack([np.pad(c.labels, (0, size - len(c.labels)), constant_values=UNKNOWN) for c in crops])
    return Batch(
        torch.from_numpy(mel),
        torch.tensor(lengths),
        torch.from_numpy(labels),
        torch.tensor([t for c in crops for t in c.targets], dtype=torch.long),
        torch.tensor([len(c.targets) for c in crops]),
    )
