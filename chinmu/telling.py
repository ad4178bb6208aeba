"""What is said of a song in training: descriptions and prompts, as written or spoken anew.

A synthetic song's plan is drawn again from its seed, so that new sentences can be spoken of it all the
time; of any other song the descriptions of its record are used.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from chinmu.text import canonical
from common.config import check_least
from common.description import Audience, Description
from common.errors import ConfigError, ManifestError
from common.seeds import generator
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
    fragment: float = 0.2  # share of sentences and prompts of which only neighbouring parts are said
    # Lengths by stage: S words, M phrases, L sentences and prompts; ["L", "S-M-L"] begins with long ones.
    curriculum: tuple[str, ...] = ("S-M-L",)
    stage_steps: int = 500  # steps of each stage before the last
    most: int = 8  # descriptions joined to one prompt where none is written for the song
    hidden: float = 0.05  # share of characters that are shown as unknown
    anew: bool = True  # speak of synthetic songs anew
    anew_steps: int = 40  # after so many steps: to say all that can be said of a song is slow

    def __post_init__(self) -> None:
        if sum(self.shares.values()) <= 0 or min(self.shares.values()) < 0:
            raise ConfigError(f"the shares of word, phrase, sentence and prompt can't be {self.shares}")
        if self.anew_steps < 1:
            raise ConfigError(f"songs are spoken of anew after at least 1 step, but got {self.anew_steps}")
        check_least(self, 2, "most")
        if not (0 <= self.fragment <= 1 and 0 <= self.hidden <= 1):
            raise ConfigError(
                f"fragment and hidden are between 0 and 1, but got {self.fragment} and {self.hidden}"
            )
        if not self.curriculum:
            raise ConfigError("a curriculum needs at least one stage, such as S-M-L")
        for stage in self.curriculum:
            letters = stage.split("-")
            if not set(letters) <= set(_LETTERS) or len(set(letters)) < len(letters):
                raise ConfigError(f"a stage of the curriculum joins S, M and L by -, but got {stage!r}")
            if not sum(self.shares[kind] for letter in letters for kind in _LETTERS[letter]):
                raise ConfigError(f"the shares {self.shares} leave the stage {stage} without a text")

    @property
    def shares(self) -> dict[Kind, float]:
        return {"word": self.word, "phrase": self.phrase, "sentence": self.sentence, "prompt": self.prompt}


_LETTERS: dict[str, tuple[Kind, ...]] = {"S": ("word",), "M": ("phrase",), "L": ("sentence", "prompt")}


def shares_at(config: TellConfig, step: int) -> dict[Kind, float]:
    """The shares of the curriculum's stage at a step."""
    stage = min(step // max(1, config.stage_steps), len(config.curriculum) - 1)
    kinds = {kind for letter in config.curriculum[stage].split("-") for kind in _LETTERS[letter]}
    return {kind: share for kind, share in config.shares.items() if kind in kinds}


class Teller:
    """Says things about the songs of a corpus, and knows of which other songs they are true."""

    def __init__(self, records: Sequence[SongRecord], config: TellConfig, seed: int = 0) -> None:
        self.records, self.config, self.seed = list(records), config, seed
        self.written = [frozenset(canonical(d.text) for d in r.descriptions) for r in self.records]
        self._plans: dict[int, SongPlan | None] = {}
        self._said: dict[int, tuple[int, Sequence[Description]]] = {}  # by song: when, and what

    def say(self, song: int, rng: np.random.Generator, step: int = 0) -> tuple[str, Kind]:
        """A text about a song in canonical form, and its kind; of a length that the curriculum is at.

        Raises:
            ManifestError: the song has no description of a kind that the shares ask for.
        """
        said = self._spoken(song, step)
        have = {d.length for d in said}
        wanted = shares_at(self.config, step)
        shares = {k: s for k, s in wanted.items() if k in have or (k == "prompt" and have)}
        if not sum(shares.values()):
            raise ManifestError(f"song {self.records[song].id} has no description of {list(wanted)}")
        weights = np.array(list(shares.values()))
        kind = list(shares)[rng.choice(len(shares), p=weights / weights.sum())]
        if kind == "prompt":
            return self._part(self._prompt(song, said, rng), kind, rng)
        fitting = [d for d in said if d.length == kind]
        return self._part(canonical(fitting[rng.integers(len(fitting))].text), kind, rng)

    def _spoken(self, song: int, step: int) -> Sequence[Description]:
        """What is said of a song around a step: it follows from both and the seed."""
        turn = step // self.config.anew_steps
        if song not in self._said or self._said[song][0] != turn:
            self._said[song] = turn, self.descriptions(song, generator(self.seed, "spoken", song, turn))
        return self._said[song][1]

    def _part(self, text: str, kind: Kind, rng: np.random.Generator) -> tuple[str, Kind]:
        """A long text, or at random a run of its parts, which is a phrase (Wang 2025, section 3.1.1)."""
        pieces = text.split(",")
        if kind not in ("sentence", "prompt") or len(pieces) < 2 or rng.random() >= self.config.fragment:
            return text, kind
        count = int(rng.integers(1, len(pieces)))
        start = int(rng.integers(len(pieces) - count + 1))
        return ",".join(pieces[start : start + count]), "phrase"

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
    """Descriptions of one audience about different dimensions, in a row; or a single long one."""
    audiences = sorted({d.audience for d in said}, key=list(Audience).index)
    audience = audiences[rng.integers(len(audiences))]
    own = [d for d in said if d.audience == audience]
    text, dimensions = "", set()
    for index in rng.permutation(len(own))[: rng.integers(2, most + 1)]:
        piece = canonical(own[index].text)
        if own[index].dimension not in dimensions and len(text) + len(piece) < _LONGEST:
            dimensions.add(own[index].dimension)
            text += ("," if text else "") + piece
    return text or canonical(own[0].text)


def hide(text: str, rng: np.random.Generator, share: float) -> str:
    """Show some characters as unknown, but never all."""
    hidden = rng.random(len(text)) < share
    if hidden.all():
        return text
    return "".join(HIDDEN if h and c.isalnum() else c for c, h in zip(text, hidden))
