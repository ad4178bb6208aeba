"""What an ABC tune is read into before it is a score: heads, measures and parts, and how they combine."""

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from common.errors import ScoreError
from common.lyrics import SectionTag
from common.score import HOLD, TICKS, Note

logger = logging.getLogger(__name__)


@dataclass
class Head:
    """A note head or a rest (pitch None), in ticks, with a word for each verse below it."""

    duration: Fraction
    pitch: int | None = None
    chords: list[str] = field(default_factory=list)  # symbols that stand over it
    tied: bool = False  # goes on with the head before it
    words: list[str | None] = field(default_factory=list)  # by verse; None: played; HOLD: held
    ends: list[bool] = field(default_factory=list)
    readings: list[str | None] = field(default_factory=list)

    def word(self, verse: int) -> tuple[str | None, str | None, bool]:
        if not self.words:
            return None, None, False
        verse = min(verse, len(self.words) - 1)
        return self.words[verse], self.readings[verse], self.ends[verse]

    def goes_on(self, verse: int) -> bool:
        """Whether it is the same note as the head before it: tied, and without a word of its own."""
        return self.tied and self.word(verse)[0] in (None, HOLD)


@dataclass
class Measure:
    line: int
    part: int
    heads: list[Head] = field(default_factory=list)
    opens: bool = False  # behind |:
    closes: bool = False  # before :|
    ending: int = 0  # the first measure of [1 or [2

    @property
    def length(self) -> Fraction:
        return sum((head.duration for head in self.heads), Fraction(0))


@dataclass
class Part:
    """A section under way."""

    tag: SectionTag
    settings: dict[str, Any] = field(default_factory=dict)


def quarters(ticks: Fraction | int) -> str:
    return f"{float(ticks) / TICKS:g}"


def broken_factor(marks: str, first: bool) -> Fraction:
    """The factor of `>` (the first longer) or `<` on one of its two notes."""
    short = Fraction(1, 2 ** len(marks))
    return 2 - short if (marks[0] == ">") == first else short


def uncommented(line: str) -> str:
    return re.sub(r"(?<!\\)%.*$", "", line)


def joined_lines(text: str) -> list[tuple[int, str]]:
    """The lines of a file with their numbers: `+:` joins its field, and blocks of text or code are out."""
    lines: list[tuple[int, str]] = []
    block = ""
    for number, raw in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
        line = raw.rstrip()
        if block:
            block = "" if re.match(rf"%%end{block}\b", line) else block
        elif match := re.match(r"%%begin(\w+)", line):
            logger.info("ABC line %d: the %s is left out, it is no music", number, match[0])
            block = match[1]
        elif line.startswith("+:"):
            place = next((i for i in reversed(range(len(lines))) if not lines[i][1].startswith("%")), None)
            if place is None or not re.match("[A-Za-z]:", lines[place][1]):
                raise ScoreError(f"ABC line {number}: +: has no field above it to go on with")
            before = uncommented(lines[place][1]).rstrip("\\ ")
            lines[place] = lines[place][0], f"{before} {uncommented(line[2:]).strip()}"
        else:
            lines.append((number, line))
    return lines


def first_voice(lines: Sequence[str]) -> str | None:
    """The name of the first voice that has notes, in the order in which V: names them; None without any V:.

    Notes before the first V: are of voice 1, as the standard has it.
    """
    names: dict[str, None] = {}
    sounding: set[str] = set()
    current, body = "1", False
    for line in lines:
        if not line and sounding:
            break  # an empty line ends the tune
        if match := re.match(r"([A-Za-z+]):(.*)", line):
            if match[1] == "V":
                current = _voice_name(match[2])
                names.setdefault(current)
            if match[1] == "K":
                current, body = (current if body else "1"), True
            continue
        for piece in re.split(r"(\[V:[^\]]*\])", "" if line.startswith("%") or not body else line):
            if piece.startswith("[V:"):
                current = _voice_name(piece[3:-1])
                names.setdefault(current)
            elif re.search("[A-Ga-g]", re.sub(r'"[^"]*"|!.*?!|\[[A-Za-z]:[^\]]*\]', "", piece)):
                sounding.add(current)
                names = names or {current: None}
    return next((name for name in names if name in sounding), None)


def _voice_name(value: str) -> str:
    return (value.split() or [""])[0]


def word_tokens(text: str) -> list[str]:
    """Words, `*`, `_` and `|` of a w: line; `-` parts words and `~` joins them."""
    text = re.sub(r"^\s*\d+[.)]?~+", "", text)  # the number of a verse stands before its first word
    tokens = re.findall(r"(?:\\.|[^\s\-_*|])+|[_*|]|(?<=[-\s])-", text)
    return [
        "_" if t == "-" else t if t in "_*|" else re.sub(r"\\(.)", r"\1", t.replace("~", "")) for t in tokens
    ]


def characters(token: str) -> list[str]:
    """A run of Han characters written without spaces, taken apart; punctuation stays with the one before."""
    if len(token) < 2 or not re.search("[\u4e00-\u9fff]", token):
        return [token]
    return re.findall("[\u4e00-\u9fff][^\u4e00-\u9fffA-Za-z0-9]*|[^\u4e00-\u9fff]+", token)


def expanded(measures: list[Measure]) -> Iterator[tuple[int, Measure]]:
    """Measures in the order of playing, with the pass (0 or 1): |: … :| twice, [1 and [2 once each."""
    start = 0
    while start < len(measures):
        stop = next((i for i in range(start, len(measures)) if measures[i].closes), None)
        opened = next((i for i in range(start + 1, len(measures)) if measures[i].opens), len(measures))
        if stop is None or opened <= stop:
            until = len(measures) if stop is None and opened == len(measures) else opened
            yield from ((0, m) for m in measures[start:until])
            start = until
            continue
        first = next((i for i in range(start, stop + 1) if measures[i].ending == 1), stop + 1)
        yield from ((0, m) for m in measures[start : stop + 1])
        yield from ((1, m) for m in measures[start:first])
        start = stop + 1
        if start < len(measures) and measures[start].ending == 2:
            second = next(
                (i for i in range(start + 1, len(measures)) if _apart(measures[i - 1], measures[i])), None
            )
            second = len(measures) if second is None else second
            yield from ((1, m) for m in measures[start:second])
            start = second


def _apart(before: Measure, measure: Measure) -> bool:
    """Whether a second ending is over: a new repeat or a new part begins."""
    return measure.opens or measure.part != before.part


def notes_of(played: list[tuple[Fraction, Fraction, Head, int]]) -> tuple[Note, ...]:
    """Notes in whole ticks: ties joined, words set."""
    notes: list[Note] = []
    moved = 0
    for start, end, head, verse in played:
        left, right = round(start), round(end)
        moved += left != start or right != end
        before = notes[-1] if notes else None
        word, reading, ends = head.word(verse)
        if (
            head.goes_on(verse)
            and before
            and before.start + before.duration == left
            and before.pitch == head.pitch
        ):
            notes[-1] = replace(before, duration=right - before.start)
        elif right > left:
            if word == HOLD and not (before and before.sung):
                word, reading, ends = None, None, False
            notes.append(Note(left, right - left, head.pitch or 0, word, reading, ends))
    if moved:
        logger.warning("%d notes were moved to the nearest twelfth of a quarter note", moved)
    return tuple(notes)


def tempo_of(text: str | None) -> float:
    """Quarter notes a minute of a Q: field; 100 when there is none."""
    if text is None:
        logger.warning("the ABC tune names no tempo: 100 quarter notes a minute are taken")
        return 100.0
    bare = re.sub(r'"[^"]*"', "", text).strip()
    match = re.fullmatch(r"(?:(\d+)/(\d+)|C)?\s*=?\s*(\d+(?:\.\d+)?)", bare)
    if not match:
        if not bare:
            return 100.0
        raise ScoreError(f"tempo {text!r} isn't understood: write one such as Q:1/4=100")
    if match[1] and not int(match[2]):
        raise ScoreError(f"tempo {text!r} divides by nought: write one such as Q:1/4=100")
    unit = 4 * int(match[1]) / int(match[2]) if match[1] else 1.0
    return float(match[3]) * unit
