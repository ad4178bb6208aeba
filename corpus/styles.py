"""What a genre is made of: instruments, grooves, progressions; Roman numerals read as chords.

Grammar of a progression: bars are parted by spaces, two chords of one bar by "_". A numeral
is a degree of the scale's seven-note parent, lower case for minor; a "b" in front lowers it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from common.errors import ScoreError
from common.score import Groove
from common.theory import SCALES, Chord, Key

# The seven-note scale in which the chords of a five- or six-note mode are counted.
PARENTS = {"gong": "major", "yu": "minor", "blues": "mixolydian"}
_DEGREES = {"i": 0, "ii": 1, "iii": 2, "iv": 3, "v": 4, "vi": 5, "vii": 6}
_NUMERAL = re.compile(r"(b?)([iv]+|[IV]+)(.*)")
# They mark chords well, and a tune badly.
_CHORDS_ONLY = ("闷音吉他", "击弦键琴", "失真吉他", "拨弦")


class Instrument(NamedTuple):
    """A General MIDI program and what listeners call it."""

    program: int
    name: str


class Comping(NamedTuple):
    """An instrument that plays the chords, and the ways in which it does."""

    instrument: Instrument
    styles: tuple[str, ...]


@dataclass(frozen=True)
class Kit:
    """A drum kit: General MIDI keys of the three drums of a groove, and of what colours it."""

    program: int
    name: str
    kick: int = 36
    snare: int = 38
    hat: int = 42
    open_hat: int = 46  # the hat of loud sections; equal to `hat` where it never opens
    crash: int = 49
    toms: tuple[int, ...] = (48, 47, 45, 43)
    ghosts: bool = True  # soft snare strokes between the beats


@dataclass(frozen=True)
class Grooves:
    """Bars of drums, several for each level of energy."""

    low: tuple[Groove, ...]
    middle: tuple[Groove, ...]
    high: tuple[Groove, ...]


@dataclass(frozen=True)
class Progressions:
    """Chords of four bars (or two, repeated) by kind of section."""

    verse: tuple[str, ...]
    chorus: tuple[str, ...]
    pre: tuple[str, ...] = ()
    bridge: tuple[str, ...] = ()


@dataclass(frozen=True)
class Genre:
    """A row of the table."""

    name: str
    english: str
    moods: tuple[str, ...]
    tempo: tuple[int, int]  # quarter notes a minute
    harmony: dict[str, Progressions]  # by scale
    grooves: Grooves
    kits: tuple[Kit, ...]
    comping: tuple[Comping, ...]
    basses: tuple[Instrument, ...]
    bass_styles: tuple[str, ...]
    leads: tuple[Instrument, ...]
    pads: tuple[Instrument | None, ...] = (None,)
    swing: tuple[float, float] = (0.0, 0.0)
    density: float = 1.0  # syllables a second beside those of an average song
    fills: float = 0.5  # share of sections that end with a fill
    drumless: float = 0.1  # share of quiet verses without drums

    @property
    def soloists(self) -> tuple[Instrument, ...]:
        """Who may have the tune where nobody sings: the leads, and of the harmony whoever carries one."""
        passed = {*_CHORDS_ONLY, *(i.name for i in self.leads)}
        more = {c.instrument.name: c.instrument for c in self.comping if c.instrument.name not in passed}
        return (*self.leads, *more.values())

    @property
    def players(self) -> dict[str, tuple[str, ...]]:
        """Names of the instruments that may play each role."""
        named: dict[str, Sequence[Instrument | Kit]] = {
            "harmony": [comping.instrument for comping in self.comping],
            "bass": self.basses,
            "lead": self.soloists,
            "pad": [pad for pad in self.pads if pad is not None],
            "drums": self.kits,
        }
        return {role: tuple(option.name for option in options) for role, options in named.items()}


def chord(numeral: str, key: Key) -> Chord:
    """The chord of a Roman numeral in a key: `chord("V7", Key(0)) == Chord.parse("G7")`.

    Raises:
        ScoreError: the numeral can't be read.
    """
    match = _NUMERAL.fullmatch(numeral)
    if not match or match[2].lower() not in _DEGREES:
        raise ScoreError(f"a numeral is i … vii or I … VII with a quality, but got {numeral!r}")
    flat, roman, suffix = match.groups()
    steps = SCALES[PARENTS.get(key.scale, key.scale)]
    root = (key.tonic + steps[_DEGREES[roman.lower()]] - bool(flat)) % 12
    minor = roman.islower() and not suffix.startswith(("dim", "m7b5", "sus", "5"))
    return Chord.parse(str(Chord(root)) + ("m" if minor else "") + suffix)


def bars_of(progression: str, key: Key) -> list[list[Chord]]:
    """The chords of every bar of a progression."""
    return [[chord(numeral, key) for numeral in bar.split("_")] for bar in progression.split()]
