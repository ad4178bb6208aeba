"""What is known of songs and named in texts, as targets that both towers share.

Every value of every attribute (流行, 女声, slow, 钢琴 …) has a learned prototype in the shared space. In
training a song's vector is drawn to the prototypes of its labels and a text's to those it names, so
both towers have something to hold on to from the first step, long before pairs alone would align
them. Prototypes aren't part of the model: nothing of them is used afterwards.

Source: Movshovitz-Attias 2017 (proxy losses). Differs: one set of proxies for two modalities.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.theory import NOTE_NAMES, Key
from corpus.attributes import attributes, tempo_class
from corpus.record import SongRecord

KINDS = ("genre", "singer", "mood", "theme", "tempo_class", "mode", "instruments", "tonic", "tempo")
Labels = Mapping[str, Mapping[str, float]]  # by kind: how much each value counts

_SLOWEST, _RATIO = 40.0, 1.03  # values of `tempo` are this far apart: 40, 41.2, 42.4 … BPM


def of_song(record: SongRecord) -> Labels:
    """The labels that are known of a song and can be heard in it."""
    theme = None if record.singer == "none" else record.theme  # it is in the words
    known = {"genre": record.genre, "singer": record.singer, "mood": record.mood, "theme": theme}
    return _labels(known, record.tempo, record.key, record.instruments)


def of_text(text: str) -> Labels:
    """The labels that a text names."""
    named: dict[str, Any] = dict(attributes(text))
    known = {kind: named.get(kind) for kind in ("genre", "singer", "mood", "theme", "tempo_class", "mode")}
    return _labels(known, named.get("tempo"), named.get("key"), named.get("instruments"))


def _labels(
    named: Mapping[str, str | None], bpm: float | None, key: str | None, instruments: Sequence[str] | None
) -> Labels:
    """Every kind of label, of what is known."""
    labels: dict[str, dict[str, float]] = {kind: {v: 1.0} for kind, v in named.items() if v is not None}
    if bpm:
        labels |= {"tempo_class": {tempo_class(bpm): 1.0}, "tempo": _beside(bpm)}
    if key:
        parsed = Key.parse(key)
        labels |= {"mode": {parsed.family: 1.0}, "tonic": {NOTE_NAMES[parsed.tonic]: 1.0}}
    if instruments:
        labels["instruments"] = dict.fromkeys(instruments, 1.0)
    return labels


def _beside(bpm: float) -> dict[str, float]:
    """The two values of `tempo` that a tempo lies between, the nearer one more: near tempi share them."""
    place = math.log(bpm / _SLOWEST) / math.log(_RATIO)
    below = math.floor(place)
    return {f"{below + k:03d}": share for k, share in ((0, below + 1 - place), (1, place - below)) if share}


class Vocabulary:
    """The values of each kind among some songs, in a fixed order, and targets over all of them."""

    def __init__(self, records: Sequence[SongRecord]) -> None:
        seen: dict[str, set[str]] = {kind: set() for kind in KINDS}
        for record in records:
            for kind, values in of_song(record).items():
                seen[kind].update(values)
        self.columns: dict[tuple[str, str], int] = {}
        self.slices: list[slice] = []
        for kind in KINDS:
            start = len(self.columns)
            for value in sorted(seen[kind]):
                self.columns[kind, value] = len(self.columns)
            if len(self.columns) > start + 1:  # one value tells nothing
                self.slices.append(slice(start, len(self.columns)))

    def __len__(self) -> int:
        return len(self.columns)

    def row(self, labels: Labels) -> list[float]:
        """How much each value counts, 0 where it isn't named; values of no song are left out."""
        row = [0.0] * len(self)
        for kind, values in labels.items():
            for value, share in values.items():
                if (kind, value) in self.columns:
                    row[self.columns[kind, value]] = share
        return row


class Prototypes(nn.Module):
    """A unit vector for every value of a vocabulary."""

    def __init__(self, vocabulary: Vocabulary, dim: int, scale: float = 12.0) -> None:
        super().__init__()
        self.slices, self.scale = vocabulary.slices, scale
        self.vectors = nn.Parameter(torch.randn(max(1, len(vocabulary)), dim))

    @torch.no_grad()
    def place(self, texts: Tensor, named: Tensor) -> None:
        """Put the prototypes where a trained text tower has what it reads, instead of anywhere.

        Random ones take about as many steps to get there as a training has, and until then draw songs
        to nowhere. A value that no text names stays random.

        Args:
            texts: unit vectors (N, dim).
            named: (N, values), how much each value counts that a text names.
        """
        if not named.shape[1]:
            return
        rest = texts.float() - texts.float().mean(0)
        found = F.normalize(named.T @ rest, dim=-1) * self.vectors.norm(dim=-1, keepdim=True)
        self.vectors.copy_(torch.where(named.sum(0)[:, None] > 0, found, self.vectors))

    def forward(self, vectors: Tensor, targets: Tensor, fixed: bool = False) -> Tensor:
        """Mean over kinds of the cross-entropy between a softmax over prototypes and the named values.

        Args:
            vectors: unit vectors (N, dim) of texts or songs.
            targets: (N, values) of 0 … 1; a row that names nothing of a kind doesn't count in it.
            fixed: the prototypes get no gradient.
        """
        places = self.vectors.detach() if fixed else self.vectors
        logits = self.scale * vectors.float() @ F.normalize(places, dim=-1).T
        losses = [
            -(targets[:, s] * logits[:, s].log_softmax(1)).sum() / targets[:, s].sum().clamp_min(1)
            for s in self.slices
        ]
        return torch.stack(losses).mean() if losses else 0.0 * logits.sum()
