"""Song forms that fill a duration exactly: sections, their bars, and syllables for every line.

Pure functions of their arguments and of the generator handed in, so that the lyric writer can
ask for the same shape that the composer will set to music.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from numbers import Real
from typing import NamedTuple

import numpy as np

from common.errors import RequestError
from common.lyrics import SectionTag

SHORTEST, LONGEST = 5.0, 600.0  # seconds
SLOWEST, QUICKEST = 30.0, 300.0  # quarter notes a minute
TEMPO_SHARE = 0.03  # how far a tempo may be bent so that whole bars fill a duration
_LEAD_IN = 0.2  # seconds before the first bar: consonants start before their beat
_TAIL = (1.0, 2.2, 4.0)  # seconds of ring-out: least, wanted, most
_SINGING = ("verse", "pre-chorus", "chorus", "bridge")


class FormSection(NamedTuple):
    """A section of the form; `lines` has the syllables of every line, none where nobody sings."""

    tag: SectionTag
    bars: int
    lines: tuple[int, ...] = ()


@dataclass(frozen=True)
class Fit:
    """Bars and tempo that fill a duration: lead_in + bars + tail = duration."""

    tempo: float
    bars: int
    lead_in: float
    tail: float


@dataclass(frozen=True)
class Form:
    """The sections of a song and how they fill its duration."""

    sections: tuple[FormSection, ...]
    fit: Fit


def bar_seconds(tempo: float, metre: tuple[int, int] = (4, 4)) -> float:
    return 240.0 / tempo * metre[0] / metre[1]


def check_tempo(tempo: object) -> float:
    """The tempo as a number of quarter notes a minute. Raises RequestError when no song has it."""
    try:
        value = float(tempo)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        value = math.nan
    if not SLOWEST <= value <= QUICKEST:
        raise RequestError(
            f"a tempo is {SLOWEST:g} to {QUICKEST:g} quarter notes a minute, but {tempo!r} was asked"
        )
    return value


def check_duration(duration: object) -> float:
    """The duration in seconds. Raises RequestError when no song has it."""
    value = float(duration) if isinstance(duration, Real) else math.nan
    if not SHORTEST <= value <= LONGEST:
        asked = f"{value:g}" if isinstance(duration, Real) else repr(duration)
        raise RequestError(f"a song lasts {SHORTEST:g} to {LONGEST:g} seconds, but {asked} were asked")
    return value


def fit(duration: float, tempo: float, metre: tuple[int, int] = (4, 4), exact: bool = False) -> Fit:
    """The tempo nearest to the asked one (±3 %) with which whole bars fill the duration.

    Args:
        duration: seconds, 5 … 600.
        tempo: quarter notes a minute, 30 … 300.
        exact: rather let the ring-out be short or long, within its bounds, than bend the tempo.
    Raises:
        RequestError: the duration or the tempo is out of range, or the duration is shorter than a bar
            and its ring-out.
    """
    duration, tempo = check_duration(duration), check_tempo(tempo)
    bar = bar_seconds(tempo, metre)
    room = duration - _LEAD_IN
    most = int((room - _TAIL[0] / 2) // (bar * (1 - TEMPO_SHARE)))
    least = int((room - _TAIL[2]) // bar) if exact else most - 3
    options = [_bend(room, bar, bars, exact) for bars in range(max(1, least), most + 1)]
    if not options:
        raise RequestError(f"{duration:g} s is too short for one bar at {tempo:g} quarter notes a minute")
    _, bars, stretch = min(options)
    return Fit(tempo / stretch, bars, _LEAD_IN, room - bars * bar * stretch)


def _bend(room: float, bar: float, bars: int, exact: bool) -> tuple[float, int, float]:
    """(cost, bars, stretch of the bar) of filling `room` seconds with so many bars and a tail."""
    shortest, wished, longest = ((room - tail) / (bars * bar) for tail in reversed(_TAIL))
    wished = float(np.clip(1.0, shortest, longest)) if exact else wished
    stretch = float(np.clip(wished, 1 - TEMPO_SHARE, 1 + TEMPO_SHARE))
    tail = room - bars * bar * stretch
    outside = max(0.0, _TAIL[0] - tail, tail - _TAIL[2])
    bending = 1e7 if exact else 20  # exact: no length of the ring-out is worth any of the tempo
    return outside * 10 + abs(tail - _TAIL[1]) * 0.3 + abs(stretch - 1) * bending, bars, stretch


# ---- sections that add up to a number of bars ----------------------------------------------

_LETTERS: dict[str, SectionTag] = {
    "i": "intro",
    "v": "verse",
    "p": "pre-chorus",
    "c": "chorus",
    "b": "bridge",
    "x": "interlude",
    "o": "outro",
}
_SHORT = (
    "c ic co vc ivc ico vpc ivco ivpco ivcvc ivcxco ivcvco ivvco ivpcxvco ivcxvcbco ivpcxvpcbco "
    "ivvpcxvpcbcco ivpcxvpcbxvcco"
)
FORMS: tuple[tuple[SectionTag, ...], ...] = tuple(
    tuple(_LETTERS[letter] for letter in form) for form in _SHORT.split()
)
# Bars that a section may have, and how unusual each is.
_SIZES: dict[str, dict[int, float]] = {
    "intro": {1: 0.5, 2: 0.1, 3: 1.0, 4: 0.0, 8: 0.8},
    "verse": {2: 1.5, 4: 0.2, 6: 1.2, 8: 0.0, 12: 1.5, 16: 1.0},
    "pre-chorus": {2: 0.3, 4: 0.0, 8: 0.8},
    "chorus": {1: 4.0, 2: 1.5, 3: 3.0, 4: 0.2, 5: 3.0, 6: 1.0, 8: 0.0, 12: 1.5, 16: 1.0},
    "bridge": {2: 1.0, 4: 0.0, 6: 1.0, 8: 0.1},
    "interlude": {1: 0.8, 2: 0.2, 3: 1.2, 4: 0.0, 8: 0.5},
    "outro": {1: 0.4, 2: 0.1, 3: 0.8, 4: 0.0, 5: 1.5, 8: 0.8},
}


@lru_cache(maxsize=64)
def _sizings(template: tuple[SectionTag, ...]) -> dict[int, list[tuple[float, dict[str, int]]]]:
    """By total bars: (cost, bars of each tag), the eight cheapest; sections of a tag have the same bars."""
    tags = list(dict.fromkeys(template))
    found: dict[int, list[tuple[float, dict[str, int]]]] = {}
    bars: dict[str, int]
    for sizes in product(*(_SIZES[tag].items() for tag in tags)):
        cost = float(sum(weight for _, weight in sizes))
        bars = {tag: size for tag, (size, _) in zip(tags, sizes)}
        if cost < 5.5:
            found.setdefault(sum(bars[tag] for tag in template), []).append((cost, bars))
    return {total: sorted(rows, key=lambda row: row[0])[:8] for total, rows in found.items()}


def _longer(cycles: int) -> tuple[SectionTag, ...]:
    """A form for what the templates are too short for: as many rounds as are needed."""
    around: tuple[SectionTag, ...] = ("verse", "pre-chorus", "chorus", "interlude")
    return ("intro", *(around * cycles), "bridge", "chorus", "outro")


_Row = tuple[tuple[SectionTag, ...], list[tuple[float, dict[str, int]]]]  # a form, its sizings by cost


def _candidates(bars: int, templates: Sequence[tuple[SectionTag, ...]]) -> Iterator[_Row]:
    for template in templates:
        rows = _sizings(template).get(bars)
        if rows:
            yield template, rows


def _nearest_long(bars: int) -> _Row:
    """A long form whose bars add up; the outro takes what is left over."""
    base = {"intro": 4, "verse": 8, "pre-chorus": 4, "chorus": 8, "interlude": 4, "bridge": 8, "outro": 4}
    cycles = max(1, (bars - 24) // 24)
    template = _longer(cycles)
    base["outro"] = bars - sum(base[tag] for tag in template[:-1])
    return template, [(0.0, base)]


def _softmax(costs: list[float], temperature: float) -> np.ndarray:
    values = -np.asarray(costs) / temperature
    values = np.exp(values - values.max())
    return values / values.sum()


def _sung_share(template: Sequence[SectionTag], sizing: Mapping[str, int]) -> float:
    """The share of a form's bars in which somebody sings."""
    return sum(sizing[t] for t in template if t in _SINGING) / sum(sizing[t] for t in template)


def _with_solos(rows: list[_Row]) -> list[_Row]:
    """The forms with a section that nobody sings, where there are any."""
    return [row for row in rows if any(tag not in _SINGING for tag in row[0])] or rows


def _sung_enough(rows: list[_Row], least: float) -> list[_Row]:
    """The forms and sizings of which at least such a share is sung; those that come nearest where none is."""
    best = max(_sung_share(template, sizing) for template, sizings in rows for _, sizing in sizings)
    kept = [
        (template, [row for row in sizings if _sung_share(template, row[1]) >= min(least, best)])
        for template, sizings in rows
    ]
    return [row for row in kept if row[1]]


def sections(
    bars: int,
    tempo: float,
    metre: tuple[int, int],
    rng: np.random.Generator,
    sung: float = 0.0,
    solos: bool = False,
    among: Sequence[tuple[SectionTag, ...]] = (),
) -> list[tuple[SectionTag, int]]:
    """Tags and bars of a form of so many bars, drawn from those that are usual for its length."""
    rows = list(_candidates(bars, among)) or list(_candidates(bars, FORMS)) or [_nearest_long(bars)]
    rows = _sung_enough(_with_solos(rows) if solos else rows, sung)
    seconds = bar_seconds(tempo, metre)

    def cost(template: tuple[SectionTag, ...], sizing: dict[str, int]) -> float:
        main = [sizing[t] * seconds for t in template if t in ("verse", "chorus")]
        return abs(math.log(sum(main) / len(main) / 14.0)) * 2

    costs = [min(c + cost(template, sizing) for c, sizing in sizings) for template, sizings in rows]
    template, sizings = rows[int(rng.choice(len(rows), p=_softmax(costs, 0.45)))]
    spread = [c + cost(template, sizing) for c, sizing in sizings]
    sizing = sizings[int(rng.choice(len(sizings), p=_softmax(spread, 0.35)))][1]
    return [(tag, sizing[tag]) for tag in template]


# ---- lines and their syllables ---------------------------------------------------------------


def line_bars(tempo: float, metre: tuple[int, int] = (4, 4), density: float = 1.0) -> int:
    """Bars of one line of lyrics, so that a line takes about four seconds: 1, 2 or 4."""
    seconds = bar_seconds(tempo, metre)
    return min((1, 2, 4), key=lambda n: abs(math.log(n * seconds * math.sqrt(density) / 4.3)))


def most_syllables(tempo: float, bars: float, metre: tuple[int, int] = (4, 4)) -> int:
    """The most syllables that can be sung in so many bars: 5 a second, none in the line's last eighth."""
    return max(1, int(bars * bar_seconds(tempo, metre) * 0.875 * 5.0))


def _line_counts(
    bars: int, tempo: float, metre: tuple[int, int], rate: float, rng: np.random.Generator
) -> tuple[int, ...]:
    """Syllables of the lines of a section: two counts that take turns, as songs have."""
    each = min(line_bars(tempo, metre, rate / 2.0), bars)
    lines = max(1, bars // each)
    most = min(13, most_syllables(tempo, each, metre))
    base = each * bar_seconds(tempo, metre) * rate * 0.8
    first = int(np.clip(round(base + rng.integers(-1, 2)), min(4, most), most))
    second = int(np.clip(first + rng.choice([-2, -1, 0, 0, 0, 1, 2]), min(4, most), most))
    counts = [first if i % 2 == 0 else second for i in range(lines)]
    return tuple(counts)


def form(
    duration: float,
    tempo: float,
    metre: tuple[int, int] = (4, 4),
    rng: np.random.Generator | None = None,
    *,
    instrumental: bool = False,
    density: float = 1.0,
    sung: float = 0.0,
    solos: bool = False,
    exact: bool = False,
    among: Sequence[tuple[SectionTag, ...]] = (),
) -> Form:
    """A form whose score lasts exactly `duration` seconds, from a hook to a whole song.

    Args:
        duration: seconds, 5 … 600.
        tempo: quarter notes a minute; bent by at most 3 % (see `Form.fit.tempo`).
        rng: draws among the forms that are usual for the length; None for the first generator.
        instrumental: no section has lines.
        density: syllables a second beside those of an average song.
        sung: the least share of the bars that has words; where no form has it, the largest there is.
        exact: as in `fit`.
        among: tags of the forms to choose from; where none is given, or none fits, the usual ones.
        solos: leave room for the lead instrument, a section without words, where any form of the length has.
    Returns:
        The form; sections of the same tag have the same bars and lines.
    Raises:
        RequestError: the duration is out of range.
    """
    rng = np.random.default_rng(0) if rng is None else rng
    fitted = fit(duration, tempo, metre, exact)
    drawn = sections(fitted.bars, fitted.tempo, metre, rng, sung, solos, among)
    rates = {"verse": 2.25, "pre-chorus": 2.3, "chorus": 2.0, "bridge": 1.9}
    lines: dict[str, tuple[int, ...]] = {}
    for tag, bars in drawn:
        if tag in _SINGING and tag not in lines and not instrumental:
            lines[tag] = _line_counts(bars, fitted.tempo, metre, rates[tag] * density, rng)
    return Form(tuple(FormSection(tag, bars, lines.get(tag, ())) for tag, bars in drawn), fitted)
