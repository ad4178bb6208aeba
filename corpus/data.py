"""Synthetic songs as torch data sets, made on the fly from seeds.

An item depends on its index and the set's seed alone, so any number of workers, in any order,
gives the same items.

    loader = DataLoader(Songs(1000, seed=1), batch_size=None, num_workers=2)
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from common.errors import ConfigError
from common.seeds import generator
from corpus.instruments import SAMPLE_RATE
from corpus.record import SongRecord, Split
from corpus.synth import song, song_seed


@dataclass(frozen=True)
class Item:
    """A song, or a piece of one."""

    record: SongRecord  # of the whole song
    audio: torch.Tensor  # (2, time) at 44.1 kHz, in [-1, 1]
    stems: dict[str, torch.Tensor]  # the same stretch of each stem, when asked for
    start: float = 0.0  # seconds from the start of the song


class Songs(Dataset[Item]):
    """Whole songs by index.

    Args:
        length: number of songs.
        overrides: of `corpus.plan.plan`, such as `durations=(20, 30)`.
    """

    def __init__(
        self, length: int, seed: int = 1, split: Split = "train", stems: bool = False, **overrides: Any
    ) -> None:
        if length < 1:
            raise ConfigError(f"a set needs at least one song, but got {length}")
        self.length, self.seed, self.stems, self.overrides = length, seed, stems, overrides
        self.split: Split = split

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Item:
        if not 0 <= index < self.length:
            raise IndexError(f"song {index} of {self.length}")
        made = song(song_seed(self.seed, index, self.split), self.split, self.stems, **self.overrides)
        stems = {name: torch.from_numpy(audio.samples) for name, audio in made.stems.items()}
        return Item(made.record, torch.from_numpy(made.audio.samples), stems)


class Crops(IterableDataset[Item]):
    """Pieces of songs, endless: each song is made once and gives several pieces.

    With several workers, worker `w` of `n` makes the songs w, w + n, …; with `batch_size=None`
    and `each=1` the loader hands them out in the order of one worker.

    Args:
        songs: where the songs come from, round and round.
        seconds: length of a piece; a shorter song is passed over.
        each: pieces of one song.
    """

    def __init__(self, songs: Songs, seconds: float, each: int = 1) -> None:
        if seconds <= 0 or each < 1:
            raise ConfigError(
                f"a piece lasts longer than 0 s and a song gives at least 1, but got {seconds}, {each}"
            )
        self.songs, self.frames, self.each = songs, round(seconds * SAMPLE_RATE), each

    def __iter__(self) -> Iterator[Item]:
        worker = get_worker_info()
        index, stride = (worker.id, worker.num_workers) if worker else (0, 1)
        while True:
            yield from self._pieces(index)
            index += stride

    def _pieces(self, index: int) -> Iterator[Item]:
        whole = self.songs[index % len(self.songs)]
        rng = generator(self.songs.seed, "crop", index)
        room = whole.audio.shape[1] - self.frames
        for _ in range(self.each if room >= 0 else 0):
            start = int(rng.integers(room + 1))
            stretch = slice(start, start + self.frames)
            stems = {name: audio[:, stretch].clone() for name, audio in whole.stems.items()}
            yield Item(whole.record, whole.audio[:, stretch].clone(), stems, start / SAMPLE_RATE)
