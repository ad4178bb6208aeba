"""Keys, scales and chord symbols, as pitch classes (C = 0 … B = 11)."""

import re
from dataclasses import dataclass

from common.errors import ScoreError

NOTE_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
_LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}

# Semitones above the tonic. 宫 and 羽 are the pentatonic modes of Chinese folk music.
SCALES: dict[str, tuple[int, ...]] = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "gong": (0, 2, 4, 7, 9),
    "yu": (0, 3, 5, 7, 10),
    "blues": (0, 3, 5, 6, 7, 10),
}
# Which of the two families of keys a scale is heard as: its third decides.
FAMILY = {name: "minor" if 3 in steps else "major" for name, steps in SCALES.items()}

# Semitones above the root, by the suffix of the chord symbol. "5" is a power chord: no third.
CHORDS: dict[str, tuple[int, ...]] = {
    "": (0, 4, 7),
    "m": (0, 3, 7),
    "5": (0, 7),
    "dim": (0, 3, 6),
    "aug": (0, 4, 8),
    "sus2": (0, 2, 7),
    "sus4": (0, 5, 7),
    "6": (0, 4, 7, 9),
    "m6": (0, 3, 7, 9),
    "7": (0, 4, 7, 10),
    "maj7": (0, 4, 7, 11),
    "m7": (0, 3, 7, 10),
    "m7b5": (0, 3, 6, 10),
    "dim7": (0, 3, 6, 9),
    "9": (0, 4, 7, 10, 2),
    "maj9": (0, 4, 7, 11, 2),
    "m9": (0, 3, 7, 10, 2),
    "add9": (0, 4, 7, 2),
}
_PITCH_CLASS = re.compile(r"([A-G])(#|b|♯|♭)?")


def pitch_class(name: str) -> int:
    """Pitch class of a note name: `pitch_class("Eb") == 3`. Raises ScoreError for anything else."""
    match = _PITCH_CLASS.fullmatch(name)
    if not match:
        raise ScoreError(f"a note name is a letter A–G with an optional # or b, but got {name!r}")
    letter, accidental = match.groups()
    return (_LETTERS[letter] + {"#": 1, "♯": 1, "b": -1, "♭": -1, None: 0}[accidental]) % 12


@dataclass(frozen=True)
class Chord:
    """A chord of the lead sheet: root, quality (a key of `CHORDS`) and bass, as pitch classes."""

    root: int
    quality: str = ""
    bass: int | None = None  # the root when None

    @classmethod
    def parse(cls, symbol: str) -> "Chord":
        """Read `C`, `F#m7`, `Bbmaj7`, `A5`, `C/E`. Raises ScoreError naming the symbol."""
        body, _, bass = symbol.partition("/")
        match = _PITCH_CLASS.match(body)
        if not match or body[match.end() :] not in CHORDS:
            known = " ".join(q or "(none)" for q in CHORDS)
            raise ScoreError(f"chord {symbol!r} is not a root A–G with one of the qualities: {known}")
        return cls(pitch_class(match.group()), body[match.end() :], pitch_class(bass) if bass else None)

    @property
    def bass_class(self) -> int:
        return self.root if self.bass is None else self.bass

    @property
    def classes(self) -> tuple[int, ...]:
        """Pitch classes of the chord's tones, root first."""
        return tuple((self.root + step) % 12 for step in CHORDS[self.quality])

    def __str__(self) -> str:
        bass = "" if self.bass is None else "/" + NOTE_NAMES[self.bass]
        return NOTE_NAMES[self.root] + self.quality + bass


@dataclass(frozen=True)
class Key:
    """A tonic and a scale (a key of `SCALES`)."""

    tonic: int
    scale: str = "major"

    def __post_init__(self) -> None:
        if not 0 <= self.tonic < 12:
            raise ScoreError(f"a tonic is a pitch class 0–11, but got {self.tonic}")
        if self.scale not in SCALES:
            raise ScoreError(f"scale {self.scale!r} is not one of {', '.join(SCALES)}")

    @classmethod
    def parse(cls, text: str) -> "Key":
        """Read `C major`, `F# dorian`, and ABC's `Am`, `Dmix`. Raises ScoreError naming the text."""
        match = _PITCH_CLASS.match(text.strip())
        if not match:
            raise ScoreError(f"a key begins with a note name, but got {text!r}")
        mode = text.strip()[match.end() :].strip().lower()
        short = {"": "major", "maj": "major", "m": "minor", "min": "minor", "dor": "dorian"}
        short["mix"] = "mixolydian"
        return cls(pitch_class(match.group()), short.get(mode, mode))

    @property
    def family(self) -> str:
        return FAMILY[self.scale]

    @property
    def classes(self) -> tuple[int, ...]:
        return tuple((self.tonic + step) % 12 for step in SCALES[self.scale])

    def __str__(self) -> str:
        return f"{NOTE_NAMES[self.tonic]} {self.scale}"
