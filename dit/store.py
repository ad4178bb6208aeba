"""The folder of prepared songs that training reads: latents, fragment vectors, words and scores.

A group of songs is a shard: `latents-00007.safetensors` (id → (T, D) float16),
`fragments-00007.safetensors` ("id/audience/k" → (F, 512) float16) and, written last,
`songs-00007.jsonl` with everything else. A shard with its JSONL is whole; one without is made anew.
`latents.json` says what the latents are.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from common.errors import ManifestError
from common.score import Score
from dit.lyrics import TimedTokens

FACTS = "latents.json"


@dataclass(frozen=True)
class LatentFacts:
    """What the latents of a folder are."""

    frame_rate: float  # Hz
    latent_dim: int
    vae: str  # name of the codec's class
    mean: float = 0.0  # over all values
    std: float = 1.0

    @classmethod
    def read(cls, folder: Path) -> "LatentFacts":
        """Raises ManifestError when the folder isn't one of `dit.prepare`, or isn't finished."""
        path = folder / FACTS
        if not path.is_file():
            raise ManifestError(f"{folder} holds no {FACTS}: prepare it with python -m dit.prepare")
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def write(self, folder: Path) -> None:
        write_text(folder / FACTS, json.dumps(asdict(self), indent=2))


@dataclass(frozen=True)
class StoredSong:
    """One line of `songs-*.jsonl`."""

    id: str
    shard: int
    frames: int
    duration: float  # seconds
    prompts: dict[str, list[str]]  # by audience, as many as there are fragment vectors
    tokens: TimedTokens | None
    score: dict[str, Any] | None  # Score.to_json
    arrangement: dict[str, str] = field(default_factory=dict)  # role → name, of `dit.arrangement`

    @property
    def parsed_score(self) -> Score | None:
        return Score.from_json(self.score) if self.score else None

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> "StoredSong":
        data = json.loads(line)
        timed = data.pop("tokens")
        if timed:
            times = None if timed["times"] is None else tuple(timed["times"])
            timed = TimedTokens(tuple(timed["ids"]), times)
        return cls(**data, tokens=timed)


def latents_path(folder: Path, shard: int) -> Path:
    return folder / f"latents-{shard:05d}.safetensors"


def fragments_path(folder: Path, shard: int) -> Path:
    return folder / f"fragments-{shard:05d}.safetensors"


def songs_path(folder: Path, shard: int) -> Path:
    return folder / f"songs-{shard:05d}.jsonl"


def skipped_path(folder: Path, shard: int) -> Path:
    """Why songs of a shard are left out, by their id (JSON); there only where some are."""
    return folder / f"skipped-{shard:05d}.json"


def read_songs(folder: Path) -> list[StoredSong]:
    """All songs of a folder in order. Raises ManifestError when there is none."""
    songs = [
        StoredSong.from_json(line)
        for path in sorted(folder.glob("songs-*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    if not songs:
        raise ManifestError(f"{folder} holds no prepared songs: prepare them with python -m dit.prepare")
    return songs


def write_songs(folder: Path, shard: int, songs: Iterable[StoredSong]) -> None:
    """The last file of a shard: its presence says that the shard is whole."""
    write_text(songs_path(folder, shard), "".join(song.to_json() + "\n" for song in songs))


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """A safetensors file that appears whole or not at all."""
    temporary = path.with_suffix(".tmp")
    save_file(arrays, str(temporary))
    temporary.replace(path)


def write_text(path: Path, text: str) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def fragment_key(song: str, audience: str, number: int) -> str:
    return f"{song}/{audience}/{number}"


def groups(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    """`items` in rows of `size`: row n is shard n."""
    return [items[i : i + size] for i in range(0, len(items), size)]
