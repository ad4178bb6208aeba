"""One typed record per song, and the manifest: a JSONL file of them.

A label that nobody knows is None ("unknown"), never invented; `provenance` says how each known
one was obtained (`composed`, `annotated`, `measured`, `filename`).
"""

from dataclasses import dataclass, field
from typing import Literal

from common.description import Description
from common.lyrics import Lyrics
from common.score import Score

Singer = Literal["female", "male", "child", "none"]  # "none": an instrumental
Split = Literal["train", "valid", "test"]


@dataclass(frozen=True)
class TimedSyllable:
    """One sung character: seconds from the start of the song."""

    text: str
    start: float  # onset of the vowel
    end: float
    reading: str | None = None  # pinyin with its tone
    pitch: int | None = None  # MIDI


@dataclass(frozen=True)
class TimedLine:
    """One sung line with its characters where they are known."""

    text: str
    start: float
    end: float
    syllables: tuple[TimedSyllable, ...] = ()


@dataclass(frozen=True)
class SongRecord:
    """Everything that is known of one song."""

    id: str
    source: str  # "synthetic", "muchin", a data set's name
    licence: str
    split: Split
    duration: float  # seconds
    audio: str | None = None  # path relative to the manifest's folder; None when made from the seed
    seed: int | None = None
    stems: dict[str, str] = field(default_factory=dict)  # vocals drums bass harmony lead → path
    lyrics: Lyrics | None = None
    timing: tuple[TimedLine, ...] = ()
    score: Score | None = None
    descriptions: tuple[Description, ...] = ()
    genre: str | None = None
    mood: str | None = None
    theme: str | None = None
    tempo: float | None = None  # quarter notes a minute
    key: str | None = None  # read by common.theory.Key.parse
    instruments: tuple[str, ...] | None = None  # Chinese names, None when unknown
    singer: Singer | None = None
    held_out: tuple[str, ...] = ()  # of "phrasing", "combination": what training never saw
    provenance: dict[str, str] = field(default_factory=dict)  # field → how it was obtained
