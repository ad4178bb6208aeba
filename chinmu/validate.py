"""How well held-out songs are found by what is said of them, watched while training goes on.

A pool is all held-out songs (at most `most`); every song is asked for by one text of each length and
audience, the same ones each time. `eval.retrieval` has the full protocol, intervals and the oracle.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from chinmu.model import ChinMu
from chinmu.ranking import ranks
from common.description import Audience
from common.seeds import generator
from corpus.record import SongRecord

LETTERS = {"word": "S", "phrase": "M", "sentence": "L"}
KS = (5, 10, 15)
_SONGS_AT_ONCE = 16


@dataclass(frozen=True)
class HeldOut:
    """Songs by the files of their features, and the texts that ask for them."""

    files: tuple[Path, ...]
    texts: tuple[str, ...]
    songs: np.ndarray  # (Q,) which song each text was said of
    letters: np.ndarray  # (Q,) S, M or L


def held_out(records: Sequence[SongRecord], files: Sequence[Path], seed: int, most: int = 256) -> HeldOut:
    """The first `most` songs, and one text of each length and audience that each has."""
    texts: list[str] = []
    songs: list[int] = []
    letters: list[str] = []
    for song, record in enumerate(records[:most]):
        for audience in Audience:
            for length, letter in LETTERS.items():
                said = [d.text for d in record.descriptions if (d.audience, d.length) == (audience, length)]
                if said:
                    texts.append(
                        said[generator(seed, "held out", song, audience, length).integers(len(said))]
                    )
                    songs.append(song)
                    letters.append(letter)
    return HeldOut(tuple(files[:most]), tuple(texts), np.array(songs), np.array(letters))


def retrieval(model: ChinMu, asked: HeldOut) -> dict[str, float]:
    """Top-5/10/15 and the mean reciprocal rank by length and of all, with chance and the pool's size."""
    size = len(asked.files)
    heard = []
    for start in range(0, size, _SONGS_AT_ONCE):
        some = [np.load(file).astype(np.float32) for file in asked.files[start : start + _SONGS_AT_ONCE]]
        heard.append(model.embed_songs([torch.from_numpy(values) for values in some]))
    similarity = (model.embed_text(list(asked.texts)) @ torch.cat(heard).T).cpu().numpy()
    pools = np.tile(np.arange(size), (len(asked.texts), 1))
    found = ranks(similarity, asked.songs, pools)
    metrics = {"valid/pool": float(size)} | {f"valid/chance{k}": min(1.0, k / size) for k in KS}
    groups = {"": np.ones(len(found), bool)} | {f"_{x}": asked.letters == x for x in "SML"}
    for name, chosen in groups.items():
        if chosen.any():
            metrics |= {f"valid/top{k}{name}": float((found[chosen] <= k).mean()) for k in KS}
            metrics[f"valid/mrr{name}"] = float((1 / found[chosen]).mean())
    return metrics
