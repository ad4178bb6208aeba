"""Keys, scales and chord symbols, as pitch classes (C = 0 … B = 11)."""

import logging
import re
from dataclasses import dataclass

from common.errors import ScoreError

logger = logging.getLogger(__name__)

NOTE_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}

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
# Fifths that a mode's signature lies from that of the major key on the same tonic.
_FIFTHS = {
    "major": 0, "gong": 0, "mixolydian": -1, "dorian": -2, "minor": -3, "yu": -3, "blues": -3,
    "lydian": 1, "phrygian": -4, "locrian": -5,
}  # fmt: skip
_PITCH_CLASS = re.compile(r"([A-G])(#|b|♯|♭)?")


def pitch_class(name: str) -> int:
    """Pitch class of a note name: `pitch_class("Eb") == 3`. Raises ScoreError for anything else."""
    match = _PITCH_CLASS.fullmatch(name)
    if not match:
        raise ScoreError(f"a note name is a letter A–G with an optional # or b, but got {name!r}")
    letter, accidental = match.groups()
    return (LETTERS[letter] + {"#": 1, "♯": 1, "b": -1, "♭": -1, None: 0}[accidental]) % 12


def key_signature(tonic: str, scale: str) -> dict[str, int]:
    """The alteration of each letter (-1 flat, 0, 1 sharp) in the signature of a key.

    `tonic` is a name and not a pitch class, because C# and Db differ here.

    Raises:
        ScoreError: the key needs more than seven sharps or flats.
    """
    letters = "FCGDAEB"  # the order in which a signature sharpens, and flattens backwards
    alteration = (pitch_class(tonic) - LETTERS[tonic[0]] + 6) % 12 - 6
    fifths = letters.index(tonic[0]) - 1 + 7 * alteration + _FIFTHS[scale]
    if abs(fifths) > 7:
        raise ScoreError(f"{tonic} {scale} has {abs(fifths)} sharps or flats; at most 7 can be written")
    signature = dict.fromkeys("CDEFGAB", 0)
    for letter in letters[:fifths] if fifths >= 0 else letters[fifths:]:
        signature[letter] = 1 if fifths >= 0 else -1
    return signature


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


# Spellings of chord qualities in other people's sheets, by ours.
_FOREIGN = {
    "maj": "", "M": "", "min": "m", "-": "m", "mi": "m", "M7": "maj7", "Maj7": "maj7", "Δ": "maj7",
    "Δ7": "maj7", "min7": "m7", "-7": "m7", "dom7": "7", "°": "dim", "o": "dim", "°7": "dim7", "o7": "dim7",
    "ø": "m7b5", "ø7": "m7b5", "m7(b5)": "m7b5", "+": "aug", "sus": "sus4", "7sus4": "sus4",
    "maj6": "6", "min6": "m6",
    "min9": "m9", "M9": "maj9", "2": "add9", "11": "9", "13": "9", "m11": "m9", "m13": "m9", "maj13": "maj9",
}  # fmt: skip
_QUALITY = re.compile(r"(?:m|M|maj|Maj|min|mi|dim|aug|sus|add|dom|°|o(?![a-z])|ø|Δ|[-+#b0-9()])*")


def foreign_chord(text: str) -> str | None:
    """A chord symbol as `Chord.parse` reads it, from what other programs write; None when it is no chord.

    A quality we don't know loses its end until the rest is known (`C7b9` becomes `C7`), with a warning.
    """
    text = text.strip()
    if text.upper() in ("N", "NC", "N.C.", "N.C"):
        return "N"
    body, slash, bass = text.rpartition("/")
    if not slash or not _PITCH_CLASS.fullmatch(bass):  # the slash of 6/9 and m/M7 stands before no bass
        body, bass = text, ""
    body = body.replace("/", "")
    match = _PITCH_CLASS.match(body)
    if not match:
        return None
    quality = body[match.end() :]
    if quality in CHORDS:
        return body + ("/" + bass if bass else "")
    if not _QUALITY.fullmatch(quality):
        return None
    shorter = (_FOREIGN.get(quality[:i], quality[:i]) for i in range(len(quality), -1, -1))
    known = next(q for q in shorter if q in CHORDS)
    if quality not in _FOREIGN:
        logger.warning("chord %s is taken for %s", text, match.group() + known)
    return match.group() + known + ("/" + bass if bass else "")
