"""Batches of prepared songs, each a pure function of (seed, step, process).

Songs longer than the window are cut to a random stretch of frames; their lyrics are the words
sung in it and their score the frames of it. Songs of like length come together, so that little
is padded. Conditions are dropped at random, so that one model learns to do with and without.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from common.description import Audience
from common.errors import ConfigError
from common.frames import ScoreFrames, render
from common.seeds import generator
from dit.conditions import Conditions, numbered
from dit.store import LatentFacts, StoredSong, fragment_key, fragments_path, latents_path, read_songs

_POOL = 16  # batches among which songs are sorted by length


@dataclass(frozen=True)
class Dropout:
    """Chances that a condition is dropped from a song, independent of each other."""

    description: float = 0.1
    audience: float = 0.1
    timing: float = 0.1
    lyrics: float = 0.2
    score: float = 0.2
    everything: float = 0.05  # all of them at once: the base of guidance
    arrangement: float = 0.1
    player: float = 0.15  # of each of the arrangement's names apart: a lead sheet needn't name them all

    def __post_init__(self) -> None:
        for name, chance in vars(self).items():
            if not 0 <= chance <= 1:
                raise ConfigError(f"a chance lies in 0 … 1, but dropout.{name} is {chance}")

    def apply(self, conditions: Conditions, rng: np.random.Generator) -> Conditions:
        """Drop by independent draws for each song."""
        names = ("description", "audience", "timing", "lyrics", "score", "arrangement")
        draws = rng.random((len(names) + 1, conditions.size))
        everything = draws[-1] < self.everything
        gone = {n: torch.from_numpy((d < getattr(self, n)) | everything) for n, d in zip(names, draws)}
        left = conditions.drop(**gone)
        missing = torch.from_numpy(rng.random(left.arrangement.shape) < self.player)
        return replace(left, arrangement=torch.where(missing, 0, left.arrangement))


NO_DROPOUT = Dropout(0, 0, 0, 0, 0, 0, 0, 0)


@dataclass(frozen=True)
class Batch:
    """What a training step sees."""

    latents: Tensor  # (B, T, D) float32
    mask: Tensor  # (B, T) bool
    conditions: Conditions


class LatentSongs:
    """The songs of a folder of `dit.prepare`.

    Args:
        window: seconds of the longest stretch.
        known: names of each role that a model knows; without them nobody is named.
        cached: megabytes of rendered scores kept in memory.
    Raises:
        ManifestError: the folder isn't prepared.
    """

    def __init__(
        self,
        folder: str | Path,
        window: float,
        known: Mapping[str, Sequence[str]] = MappingProxyType({}),
        cached: float = 1500,
    ) -> None:
        self.folder, self.known = Path(folder), known
        self.facts = LatentFacts.read(self.folder)
        self.songs = read_songs(self.folder)
        self.frames = max(4, int(window * self.facts.frame_rate) // 4 * 4)  # whole tokens at any patch
        self._files: dict[Path, safe_open] = {}
        self._scores: OrderedDict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = OrderedDict()
        self._room = cached * 1e6

    def __len__(self) -> int:
        return len(self.songs)

    def stretch(self, index: int, rng: np.random.Generator) -> tuple[int, int]:
        """(first frame, frames): often the start or the end of the song, which hold intros and endings."""
        total = self.songs[index].frames
        if total <= self.frames:
            return 0, total
        last = total - self.frames
        start = int(rng.choice(np.array([0, last, rng.integers(0, last + 1)]), p=[0.25, 0.1, 0.65]))
        return start, self.frames

    def item(
        self, index: int, start: int, frames: int, rng: np.random.Generator
    ) -> tuple[Tensor, Conditions]:
        """Latents (frames, D) and conditions of a stretch, with one of the song's descriptions at random."""
        song = self.songs[index]
        rate = self.facts.frame_rate
        latents = self._slice(latents_path(self.folder, song.shard), song.id, start, start + frames)
        audience = Audience(sorted(song.prompts)[rng.integers(len(song.prompts))]) if song.prompts else None
        whole = start == 0 and frames == song.frames
        tokens = song.tokens
        words: tuple[int, ...] = ()
        if tokens is not None:
            words = tokens.ids if whole else tokens.window(start / rate, (start + frames) / rate)
        return latents.float(), Conditions.single(
            frames,
            fragments=None if audience is None else self._fragments(song, audience, rng),
            audience=audience,
            duration=song.duration,
            start=start / rate,
            lyrics=words,
            score=self._score(index, start, frames),
            arrangement=numbered(song.arrangement, self.known),
        )

    def _fragments(self, song: StoredSong, audience: Audience, rng: np.random.Generator) -> Tensor | None:
        path = fragments_path(self.folder, song.shard)
        if not path.is_file():
            return None
        number = int(rng.integers(len(song.prompts[audience])))
        return self._open(path).get_tensor(fragment_key(song.id, audience, number)).float()

    def _score(self, index: int, start: int, frames: int) -> ScoreFrames | None:
        """The rendered score of a stretch; whole songs are rendered once and kept in half precision."""
        song = self.songs[index]
        if song.score is None:
            return None
        if index not in self._scores:
            score = song.parsed_score
            assert score is not None, "a stored score parses to one"
            full = render(score, self.facts.frame_rate, song.frames)
            self._scores[index] = (
                full.channels.astype(np.float16),
                full.initial.astype(np.int16),
                full.final.astype(np.int16),
            )
            self._room -= self._scores[index][0].nbytes
            while self._room < 0 and len(self._scores) > 1:
                self._room += self._scores.popitem(last=False)[1][0].nbytes
        channels, initial, final = (part[start : start + frames] for part in self._scores[index])
        return ScoreFrames(channels.astype(np.float32), initial.astype(np.int64), final.astype(np.int64))

    def _slice(self, path: Path, key: str, start: int, end: int) -> Tensor:
        return self._open(path).get_slice(key)[start:end]

    def _open(self, path: Path) -> safe_open:
        if path not in self._files:
            self._files[path] = safe_open(str(path), framework="pt")
        return self._files[path]


class Batches:
    """Batches of a set of songs: `batch(step)` needs no memory of the steps before.

    Args:
        size: songs in a batch of one process.
        process, processes: which of how many.
    """

    def __init__(
        self,
        songs: LatentSongs,
        size: int,
        seed: int,
        dropout: Dropout = NO_DROPOUT,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        if size < 1:
            raise ConfigError(f"a batch needs at least 1 song, but batch_size is {size}")
        self.songs, self.size, self.seed, self.dropout = songs, size, seed, dropout
        self.process, self.processes = process, processes
        self._plan: tuple[int, list[np.ndarray]] = (-1, [])

    def batch(self, step: int) -> Batch:
        """The batch of a step, of this process."""
        number = step * self.processes + self.process
        rng = generator(self.seed, "batch", number)
        pairs = []
        for index in self._songs_of(number):
            start, frames = self.songs.stretch(index, rng)
            pairs.append(self.songs.item(index, start, frames, rng))
        batch = collate(pairs)
        return Batch(batch.latents, batch.mask, self.dropout.apply(batch.conditions, rng))

    def __iter__(self) -> Iterator[Batch]:
        """An endless row from step 0."""
        step = 0
        while True:
            yield self.batch(step)
            step += 1

    def _songs_of(self, number: int) -> list[int]:
        """Indices of batch `number`; every epoch shuffles anew and leaves out what fills no batch."""
        per_epoch = max(1, len(self.songs) // self.size)
        epoch, place = divmod(number, per_epoch)
        if self._plan[0] != epoch:
            self._plan = (epoch, self._plan_epoch(epoch, per_epoch))
        return [int(i) for i in self._plan[1][place]]

    def _plan_epoch(self, epoch: int, per_epoch: int) -> list[np.ndarray]:
        rng = generator(self.seed, "epoch", epoch)
        order = rng.permutation(len(self.songs))
        if len(order) < self.size:
            order = np.resize(order, self.size)
        order = order[: per_epoch * self.size]
        lengths = np.array([min(song.frames, self.songs.frames) for song in self.songs.songs])
        rows: list[np.ndarray] = []
        for i in range(0, len(order), _POOL * self.size):
            pool = order[i : i + _POOL * self.size]
            pool = pool[np.argsort(lengths[pool], kind="stable")]
            rows += list(pool.reshape(-1, self.size))
        return [rows[i] for i in rng.permutation(len(rows))]


def collate(pairs: list[tuple[Tensor, Conditions]]) -> Batch:
    """Pad latents to the longest; conditions pad themselves."""
    longest = max(len(latents) for latents, _ in pairs)
    mask = torch.stack([torch.arange(longest) < len(latents) for latents, _ in pairs])
    padded = [torch.nn.functional.pad(latents, (0, 0, 0, longest - len(latents))) for latents, _ in pairs]
    return Batch(torch.stack(padded), mask, Conditions.batch([conditions for _, conditions in pairs]))
