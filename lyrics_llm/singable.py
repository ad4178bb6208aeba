"""Whether words can be sung in a time: syllables a second, section by section.

What is sung at ease lies between `SLOW` and `sketch.FAST` syllables a second; above
`sketch.FASTEST` nobody follows. Of 328 sections of the corpus (seeds 0 to 149) the median is 1.7,
and 95 % lie between 1.2 and 2.8.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from common.errors import LyricsError
from common.lyrics import Lyrics, SectionTag
from corpus.forms import check_duration, check_tempo
from lyrics_llm.sketch import FAST, FASTEST, counts_of, form_for, natural_duration

SLOW = 0.8  # syllables a second below which a section drags
_TEMPO = 96.0  # quarter notes a minute, when none is given


@dataclass(frozen=True)
class SectionRate:
    """How fast a section is sung."""

    tag: SectionTag
    syllables: int
    seconds: float

    @property
    def rate(self) -> float:
        """Syllables a second."""
        return self.syllables / self.seconds


@dataclass(frozen=True)
class Singability:
    """Rates of the sung sections, and what to do about those that are too fast or too slow."""

    sections: tuple[SectionRate, ...]  # empty when the words don't fit at all
    warnings: tuple[str, ...]
    natural: float  # seconds in which these words are sung at ease

    @property
    def fits(self) -> bool:
        return not self.warnings


def singability(lyrics: Lyrics, duration: float, tempo: float | None = None) -> Singability:
    """Judge words for a song of `duration` seconds at `tempo` quarter notes a minute (96 when None).

    The sections get the bars that the composer would give them.

    Raises:
        LyricsError: there is nothing to sing, or a line is longer than a line may be.
        RequestError: no song has that duration or tempo.
    """
    check_duration(duration)
    exact, tempo = tempo is not None, _TEMPO if tempo is None else check_tempo(tempo)
    shape = counts_of(lyrics)
    if not any(counts for _, counts in shape):
        raise LyricsError("there are no lines to sing")
    natural = natural_duration(lyrics)
    try:
        form, tempo, _, _ = form_for(shape, duration, tempo, exact)
    except LyricsError as error:
        return Singability((), (f"too much text: {error}; about {natural:g} s suit these words",), natural)
    bar = 240.0 / tempo
    rates = tuple(SectionRate(s.tag, sum(s.lines), s.bars * bar) for s in form if s.lines)
    return Singability(rates, tuple(_warnings(rates, natural)), natural)


def _warnings(rates: Sequence[SectionRate], natural: float) -> list[str]:
    out = []
    for number, section in enumerate(rates, 1):
        where = f"<{section.tag}>, sung section {number}"
        said = f"{where}: {section.syllables} syllables in {section.seconds:.1f} s"
        if section.rate > FAST:
            much = int(section.syllables - 0.75 * FAST * section.seconds) + 1
            hard = "too fast to sing" if section.rate > FASTEST else "fast to sing"
            out.append(
                f"{said} are {section.rate:.1f} a second, {hard}: "
                f"leave out about {much} of them, or ask for {natural:g} s"
            )
        elif section.rate < SLOW:
            more = int(2 * SLOW * section.seconds - section.syllables) + 1
            out.append(
                f"{said} are {section.rate:.1f} a second, so it drags: "
                f"write about {more} more, or ask for {natural:g} s"
            )
    return out
