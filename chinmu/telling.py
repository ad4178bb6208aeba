"""What is said of a song in training: descriptions and prompts, as written or spoken anew.

A synthetic song's plan is drawn again from its seed, so that new sentences can be spoken of it for
every batch; of any other song the descriptions of its record are used.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from chinmu.text import canonical
from common.description import Audience, Description
from common.errors import ConfigError, ManifestError
from common.theory import Key
from corpus.attributes import Attributes, attributes, tempo_class
from corpus.describe import describe, prompt
from corpus.plan import SongPlan, plan_of
from corpus.record import SongRecord

HIDDEN = "\ue000"  # a character that no vocabulary has: read as [UNK]
_LONGEST = 160  # characters of a text made of several descriptions
Kind = Literal["word", "phrase", "sentence", "prompt"]


@dataclass(frozen=True)
class TellConfig:
    """Which texts are drawn."""

    word: float = 0.2
    phrase: float = 0.2
    sentence: float = 0.2
    prompt: float = 0.4  # a whole description as a user would type it
    most: int = 8  # descriptions joined to one prompt where none is written for the song
    hidden: float = 0.05  # share of characters that are shown as unknown
    anew: bool = True  # speak of synthetic songs anew for every batch

    def __post_init__(self) -> None:
        if sum(self.shares.values()) <= 0 or min(self.shares.values()) < 0:
            raise ConfigError(f"the shares of word, phrase, sentence and prompt can't be {self.shares}")

    @property
    def shares(self) -> dict[Kind, float]:
        return {"word": self.word, "phrase": self.phrase, "sentence": self.sentence, "prompt": self.prompt}


class Teller:
    """Says things about the songs of a corpus, and knows of which other songs they are true."""

    def __init__(self, records: Sequence[SongRecord], config: TellConfig) -> None:
        self.records, self.config = list(records), config
        self.written = [frozenset(canonical(d.text) for d in r.descriptions) for r in self.records]
        self._plans: dict[int, SongPlan | None] = {}

    def say(self, song: int, rng: np.random.Generator) -> tuple[str, Kind]:
        """A text about a song in canonical form, and its kind.

        Raises:
            ManifestError: the song has no description of a kind that the shares ask for.
        """
        said = self.descriptions(song, rng)
        have = {d.length for d in said}
        shares = {k: s for k, s in self.config.shares.items() if k in have or (k == "prompt" and have)}
        if not sum(shares.values()):
            raise ManifestError(
                f"song {self.records[song].id} has no description of {list(self.config.shares)}"
            )
        weights = np.array(list(shares.values()))
        kind = list(shares)[rng.choice(len(shares), p=weights / weights.sum())]
        if kind == "prompt":
            return self._prompt(song, said, rng), kind
        fitting = [d for d in said if d.length == kind]
        return canonical(fitting[rng.integers(len(fitting))].text), kind

    def descriptions(self, song: int, rng: np.random.Generator) -> Sequence[Description]:
        """New descriptions of a song, or those of its record."""
        planned, record = self._plan(song), self.records[song]
        if planned is None or record.score is None:
            return record.descriptions
        return describe(planned, record.score, rng)

    def _prompt(self, song: int, said: Sequence[Description], rng: np.random.Generator) -> str:
        planned, score = self._plan(song), self.records[song].score
        if planned is None or score is None or rng.random() < 0.3:
            return joined(said, rng, self.config.most)
        return canonical(prompt(planned, score, rng, list(Audience)[rng.integers(2)]))

    def _plan(self, song: int) -> SongPlan | None:
        if song not in self._plans:
            self._plans[song] = plan_of(self.records[song]) if self.config.anew else None
        return self._plans[song]

    def holds(self, text: str, kind: Kind, songs: Sequence[int]) -> list[bool]:
        """Of which songs a text is true, as far as is known: it was written of them, or all it names fits."""
        named: Attributes = attributes(text) if kind in ("word", "phrase") else {}
        return [text in self.written[s] or (bool(named) and fits(named, self.records[s])) for s in songs]


def fits(named: Attributes, record: SongRecord) -> bool:
    """Whether everything that a text names is so in a song."""
    known = {
        "genre": record.genre,
        "mood": record.mood,
        "theme": record.theme,
        "singer": record.singer,
        "key": record.key,
        "mode": Key.parse(record.key).family if record.key else None,
        "tempo": round(record.tempo) if record.tempo else None,
        "tempo_class": tempo_class(record.tempo) if record.tempo else None,
    }
    played = set(record.instruments or ())
    return (
        all(named[name] == value for name, value in known.items() if name in named)  # type: ignore[literal-required]
        and played.issuperset(named.get("instruments", ()))
        and played.isdisjoint(named.get("without", ()))
    )


def joined(said: Sequence[Description], rng: np.random.Generator, most: int) -> str:
    """Descriptions of one audience about different dimensions, in a row."""
    audiences = sorted({d.audience for d in said}, key=list(Audience).index)
    audience = audiences[rng.integers(len(audiences))]
    own = [d for d in said if d.audience == audience]
    text, dimensions = "", set()
    for index in rng.permutation(len(own))[: rng.integers(2, most + 1)]:
        piece = canonical(own[index].text)
        if own[index].dimension not in dimensions and len(text) + len(piece) < _LONGEST:
            dimensions.add(own[index].dimension)
            text += ("," if text else "") + piece
    return text or canonical(own[0].text)[:_LONGEST]


def hide(text: str, rng: np.random.Generator, share: float) -> str:
    """Show some characters as unknown, but never all."""
    hidden = rng.random(len(text)) < share
    if hidden.all():
        return text
    return "".join(HIDDEN if h and c.isalnum() else c for c, h in zip(text, hidden))
