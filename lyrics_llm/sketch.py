"""What is decided of a song before its words: the plan that the writer makes, and its form."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from common.errors import LyricsError
from common.lyrics import Lyrics, SectionTag
from common.pinyin import units
from common.score import TICKS
from common.theory import Key
from corpus.forms import LONGEST, Fit, FormSection, fit
from corpus.plan import COMFORT, SongPlan
from lyrics_llm.tokens import LONGEST_LINE, SWINGS, TEMPI

BAR_TICKS = 4 * TICKS  # the writer's metre is 4/4
FASTEST, FAST = 5.5, 4.0  # syllables a second: the most that is sung, and from where it is said
MOST_BARS = 64  # of a section: the vocabulary has no word for more


@dataclass(frozen=True)
class SongSketch:
    """A plan of a song of exactly `duration` seconds."""

    genre: str
    mood: str
    theme: str
    singer: str  # female, male, child, none
    tempo: float  # quarter notes a minute
    key: Key
    swing: float  # as in common.score.Score
    harmony: str  # the instrument that plays the chords, in Chinese
    lead: str  # the instrument that plays tunes
    duration: float  # seconds
    lead_in: float  # seconds
    tail: float  # seconds
    form: tuple[FormSection, ...]
    drums: bool = True  # False: no section has a groove

    @classmethod
    def of_plan(cls, plan: SongPlan) -> "SongSketch":
        """The sketch of a song of the corpus."""
        return cls(
            plan.genre, plan.mood, plan.theme, plan.singer, plan.tempo, plan.key, plan.swing,
            plan.instruments["harmony"].name, plan.instruments["lead"].name, plan.duration, plan.lead_in,
            plan.tail, plan.form,
        )  # fmt: skip

    @property
    def shape(self) -> list[tuple[SectionTag, tuple[int, ...]]]:
        """Sections with the syllables of every line."""
        return [(section.tag, section.lines) for section in self.form]

    @property
    def range(self) -> tuple[int, int]:
        """The lowest and highest MIDI note of what is sung."""
        return COMFORT[self.singer]

    @property
    def base(self) -> int:
        """The tonic from which pitches are counted: the lowest one in the singer's range."""
        low = self.range[0]
        return low + (self.key.tonic - low) % 12

    def fields(self) -> dict[str, object]:
        """The values of `tokens.PLAN_FIELDS`, to their grid."""
        return {
            "genre": self.genre, "mood": self.mood, "theme": self.theme, "singer": self.singer,
            "tempo": min(TEMPI, key=lambda t: abs(t - self.tempo)), "tonic": self.key.tonic,
            "scale": self.key.scale, "swing": min(SWINGS, key=lambda s: abs(s - self.swing)),
            "harmony": self.harmony, "lead": self.lead,
        }  # fmt: skip

    def shortest(self) -> int:
        """Ticks of the shortest sung note, a sixteenth where that can still be shaped, else an eighth."""
        sixteenth = TICKS // 4
        return sixteenth if sixteenth * 60 / self.tempo / TICKS >= 0.15 else 2 * sixteenth


def slots(bars: int, counts: Sequence[int], shortest: int = 3) -> list[tuple[int, int]]:
    """(start, end) in ticks of every line of a section.

    Lines share a section equally, in half bars; where that is too short for one of them, in
    proportion to their syllables.

    Raises:
        LyricsError: there are more syllables than sixteenths.
    """
    length = bars * BAR_TICKS
    if 3 * sum(counts) > length:
        raise LyricsError(
            f"{sum(counts)} syllables don't fit the {length // 3} sixteenths of {bars} bars: "
            "shorten the lines, or ask for a longer song"
        )
    each = length // len(counts) // (2 * TICKS) * 2 * TICKS
    if each and all(n * shortest <= each for n in counts):
        starts = [i * each for i in range(len(counts))]
    else:
        starts = _in_proportion(length, counts)
    return list(zip(starts, [*starts[1:], length]))


def _in_proportion(length: int, counts: Sequence[int]) -> list[int]:
    """Starts of lines as long as their syllables ask, in beats or, where that is too coarse, sixteenths."""
    beats = [-(-3 * n // TICKS) for n in counts]
    unit, least = (TICKS, beats) if sum(beats) * TICKS <= length else (3, list(counts))
    sizes = _shared(length // unit, least, counts)
    return [sum(sizes[:i]) * unit for i in range(len(sizes))]


def counts_of(lyrics: Lyrics) -> list[tuple[SectionTag, tuple[int, ...]]]:
    """Sections with the syllables of every line that has any.

    Raises:
        LyricsError: a line has more syllables than a line may have.
    """
    shape = []
    for number, section in enumerate(lyrics.sections, 1):
        counts = tuple(len(units(line)) for line in section.lines)
        for place, (line, count) in enumerate(zip(section.lines, counts), 1):
            if count > LONGEST_LINE:
                raise LyricsError(
                    f"section {number} (<{section.tag}>), line {place}: a line is sung on 1 to "
                    f"{LONGEST_LINE} syllables, but {line!r} has {count}"
                )
        shape.append((section.tag, tuple(count for count in counts if count)))
    return shape


# ---- a form for given words --------------------------------------------------------------------

_UNSUNG = {"intro": 4.0, "interlude": 4.0, "outro": 4.0}  # seconds wanted of a section without words
_RATE = 2.3  # syllables a second that are wanted
_SLOWEST = 0.7  # syllables a second below which instruments get the time that is left


def natural_duration(lyrics: Lyrics) -> float:
    """Seconds in which words are sung at ease, with an intro and an outro."""
    wanted = sum(_wanted_seconds(tag, counts) for tag, counts in counts_of(lyrics))
    around = sum(_UNSUNG[tag] for tag in ("intro", "outro") if tag not in {s.tag for s in lyrics.sections})
    return float(min(LONGEST, max(12.0, round(wanted + around))))


def form_for(
    shape: Sequence[tuple[SectionTag, tuple[int, ...]]], duration: float, tempo: float, exact: bool = False
) -> tuple[tuple[FormSection, ...], float, float, float]:
    """Bars for the sections of given words, so that the song lasts exactly `duration` seconds.

    Where there is more time than the words need, an intro, an outro and an interlude are added. A section
    of more than `MOST_BARS` becomes several of its tag, its lines in the same order.

    Args:
        exact: keep the tempo as far as `corpus.forms.fit` can.
    Returns:
        (form, tempo, lead_in, tail) of the song.
    Raises:
        LyricsError: the words can't be sung in the duration; the message has both numbers.
    """
    fitting = partial(fit, tempo=tempo, exact=exact)
    fitted = fitting(duration)
    form = _form(shape, fitting, duration)
    while any(part.bars > MOST_BARS and len(part.lines) > 1 for part in form):
        long = {(part.tag, part.lines) for part in form if part.bars > MOST_BARS and part.lines}
        shape = [half for part in shape for half in (_halves(*part) if part in long else (part,))]
        form = _form(shape, fitting, duration)
    whole = [FormSection(part.tag, n, part.lines) for part in form for n in _parts(part.bars)]
    return tuple(whole), fitted.tempo, fitted.lead_in, fitted.tail


def _form(
    shape: Sequence[tuple[SectionTag, tuple[int, ...]]], fitting: Callable[[float], Fit], duration: float
) -> list[FormSection]:
    """As `form_for`, with sections of any length; `fitting` gives bars and tempo to a duration."""
    fitted = fitting(duration)
    bar = 240.0 / fitted.tempo
    needed = [_least_bars(counts, bar) for _, counts in shape]
    if sum(needed) > fitted.bars:
        syllables = sum(sum(counts) for _, counts in shape)
        least = _least_duration(shape, fitting, duration)
        need = f"at least {least}" if least is not None else f"more than {LONGEST:g}"
        raise LyricsError(
            f"{syllables} syllables in {sum(len(c) for _, c in shape)} lines need {need} seconds at "
            f"{fitted.tempo:.0f} beats a minute, but {duration:g} were asked: ask for a longer song or "
            "shorten the lyrics"
        )
    wanted = [_wanted_seconds(tag, counts) / bar for tag, counts in shape]
    sections = list(zip(shape, needed, wanted))
    while fitted.bars > 1.6 * sum(w for _, _, w in sections) + 1 and (
        added := _addition([s[0] for s in sections])
    ):
        place, tag = added
        sections.insert(place, ((tag, ()), 1, _UNSUNG[tag] / bar))
    most = [_most_bars(counts, bar) for (_, counts), _, _ in sections]
    if sum(most) < fitted.bars:  # every section is sung, and the words are few
        place = -(-len(sections) // 2)
        sections.insert(place, (("interlude", ()), 1, _UNSUNG["interlude"] / bar))
        most.insert(place, fitted.bars)
    bars = _shared(fitted.bars, [n for _, n, _ in sections], [w for _, _, w in sections], most)
    return [FormSection(tag, n, counts) for ((tag, counts), _, _), n in zip(sections, bars)]


def _halves(
    tag: SectionTag, counts: tuple[int, ...]
) -> tuple[tuple[SectionTag, tuple[int, ...]], tuple[SectionTag, tuple[int, ...]]]:
    """A section of two lines and more as two of its tag; couplets stay together."""
    middle = max(1, len(counts) // 4 * 2)
    return (tag, counts[:middle]), (tag, counts[middle:])


def _parts(bars: int) -> list[int]:
    """Bars of a section without words, in parts that a section may have."""
    parts = -(-bars // MOST_BARS)
    return [bars // parts + (i < bars % parts) for i in range(parts)]


def _least_duration(
    shape: Sequence[tuple[SectionTag, tuple[int, ...]]], fitting: Callable[[float], Fit], duration: float
) -> int | None:
    """Whole seconds, more than `duration`, in which words can be sung; None when no song is so long."""
    for seconds in range(int(duration) + 1, int(LONGEST) + 1):
        fitted = fitting(seconds)
        if sum(_least_bars(counts, 240.0 / fitted.tempo) for _, counts in shape) <= fitted.bars:
            return seconds
    return None


def _least_bars(counts: Sequence[int], bar: float) -> int:
    if not counts:
        return 1
    room = max(1, int(bar * FASTEST))  # syllables that one bar can hold
    room = min(room, BAR_TICKS // 3)
    return max(-(-sum(counts) // room), -(-len(counts) // 4), 1)


def _most_bars(counts: Sequence[int], bar: float) -> int:
    """Bars from which words would be held too long, so that instruments play instead of them."""
    if not counts:
        return int(LONGEST / bar)
    seconds = max(sum(counts) / _SLOWEST, 1.6 * _wanted_seconds("verse", counts))
    return min(max(math.ceil(seconds / bar), _least_bars(counts, bar)), MOST_BARS * len(counts))


def _wanted_seconds(tag: str, counts: Sequence[int]) -> float:
    return sum(max(n / _RATE, 2.0) for n in counts) if counts else _UNSUNG.get(tag, 6.0)


def _addition(shape: Sequence[tuple[SectionTag, tuple[int, ...]]]) -> tuple[int, SectionTag] | None:
    """Where the next section without words goes: an intro, an outro, then an interlude in the middle."""
    tags = [tag for tag, _ in shape]
    if tags[0] != "intro":
        return 0, "intro"
    if tags[-1] != "outro":
        return len(tags), "outro"
    if "interlude" not in tags and len(tags) >= 4:
        return len(tags) // 2 + 1, "interlude"
    return None


def _shared(
    total: int, least: Sequence[int], wanted: Sequence[float], most: Sequence[int] | None = None
) -> list[int]:
    """Whole bars that add up to `total`, none below its least, in proportion to what is wanted.

    Args:
        most: bars that none goes above; their sum is `total` or more.
    """
    scale = total / sum(wanted)
    most = most or [total] * len(least)
    bars = [min(max(low, round(w * scale)), high) for low, w, high in zip(least, wanted, most)]
    while (over := sum(bars) - total) != 0:
        step = -1 if over > 0 else 1
        free = [i for i in range(len(bars)) if (bars[i] < most[i] if step > 0 else bars[i] > least[i])]
        # The bar goes where it brings the section nearest to its share.
        best = min(free, key=lambda i: abs(bars[i] + step - wanted[i] * scale) / max(wanted[i] * scale, 1))
        bars[best] += step
    return bars
