"""The lead sheet: tempo, metre, key, sections, chords by bar, melody notes with their syllables.

Positions are whole ticks, `TICKS` to a quarter note, counted from the start of their
section, so bars add up exactly; seconds appear only in the spans below. A score is written
to and read from ABC (`common.abc`), MIDI (`common.midi`) and the corpus record
(`to_json`/`from_json`), and rendered to frame channels by `common.frames`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from common import score_json
from common.errors import ScoreError
from common.lyrics import Lyrics, LyricSection, SectionTag, check_tag
from common.theory import Chord, Key

TICKS = 12  # per quarter note: sixteenths (3) and triplet eighths (4) are both whole
STEPS_PER_BEAT = 4  # of a groove

Drum = Literal["kick", "snare", "hat"]
DRUMS: tuple[Drum, ...] = ("kick", "snare", "hat")
HOLD = "-"  # the syllable of a note that goes on with the syllable before it (a melisma)


@dataclass(frozen=True)
class Note:
    """One note of the melody, sung when it has a syllable and played by the lead instrument otherwise."""

    start: int  # ticks from the start of the section
    duration: int  # ticks
    pitch: int  # MIDI
    syllable: str | None = None  # a character or word of the lyrics; HOLD for a melisma; None when played
    reading: str | None = None  # pinyin with its tone ("tian1"), None when played or not Chinese
    ends_line: bool = False  # the last note of a line of lyrics

    @property
    def sung(self) -> bool:
        return self.syllable is not None


@dataclass(frozen=True)
class ChordChange:
    """A chord that holds from `start` (ticks from the start of the section) to the next change."""

    start: int
    symbol: str  # read by Chord.parse; "N" is no chord


@dataclass(frozen=True)
class Groove:
    """One bar of drums: a character a sixteenth, `.` rest, `x` soft, `X` loud."""

    kick: str
    snare: str
    hat: str


@dataclass(frozen=True)
class Section:
    """A part of the form with its own chords, melody and drums."""

    tag: SectionTag
    bars: int
    chords: tuple[ChordChange, ...] = ()
    notes: tuple[Note, ...] = ()
    groove: Groove | None = None  # None: no drums
    fill: bool = False  # the last bar ends with a drum fill
    energy: float = 0.6  # 0 (bare) … 1 (everything plays)


@dataclass(frozen=True)
class NoteSpan:
    """A note in seconds from the start of the song."""

    start: float
    end: float
    pitch: int
    syllable: str | None
    reading: str | None
    section: int
    ends_line: bool


@dataclass(frozen=True)
class Span:
    """A label in seconds from the start of the song."""

    start: float
    end: float
    label: str


@dataclass(frozen=True)
class Hit:
    """A stroke of a drum, in seconds; velocity 0 … 1."""

    time: float
    drum: Drum
    velocity: float


@dataclass(frozen=True)
class Score:
    """A whole lead sheet.

    Raises:
        ScoreError: a section is empty, a note or chord leaves its section, notes overlap, a
            groove doesn't have a step a sixteenth; the message names the section and bar.
    """

    tempo: float  # quarter notes a minute
    key: Key
    sections: tuple[Section, ...]
    metre: tuple[int, int] = (4, 4)
    swing: float = 0.0  # 0 straight … 1/3 triplet: how far the off-beat eighth is late, in beats × 2
    lead_in: float = 0.0  # seconds of silence before the first bar
    tail: float = 0.0  # seconds in which the last chord rings out after the last bar
    title: str = ""
    meta: dict[str, str] = field(default_factory=dict)  # free: genre, singer, source

    def __post_init__(self) -> None:
        if not 20 <= self.tempo <= 400:
            raise ScoreError(f"a tempo lies between 20 and 400 quarter notes a minute, but got {self.tempo}")
        if not self.sections:
            raise ScoreError("a score needs at least one section")
        check_metre(self.metre)
        if not isinstance(self.title, str):
            raise ScoreError(f"a title is text, but got {self.title!r}")
        for name, value, low, high in (
            ("swing", self.swing, 0, 1),
            ("lead_in", self.lead_in, 0, 60),
            ("tail", self.tail, 0, 60),
        ):
            if not low <= value <= high:
                raise ScoreError(f"{name} lies between {low} and {high}, but got {value}")
        if not isinstance(self.meta, dict) or not all(isinstance(v, str) for v in self.meta.values()):
            raise ScoreError(f'meta says words by name, as {{"genre": "民谣"}}, but got {self.meta!r}')
        for number, section in enumerate(self.sections, 1):
            self._check(section, f"section {number} ({section.tag})")

    def _check(self, section: Section, name: str) -> None:
        check_tag(section.tag)
        if section.bars < 1:
            raise ScoreError(f"{name} needs at least one bar, but has {section.bars}")
        if not 0 <= section.energy <= 1:
            raise ScoreError(f"{name}: energy lies between 0 and 1, but got {section.energy}")
        length = section.bars * self.bar_ticks

        def bar(tick: int) -> str:
            return f"{name}, bar {tick // self.bar_ticks + 1}"

        end = 0
        for note in section.notes:
            if note.duration < 1:
                raise ScoreError(f"{bar(note.start)}: a note of {note.duration} ticks, at least 1 is needed")
            if note.start < end:
                raise ScoreError(f"{bar(note.start)}: a note starts before the one before it ends")
            if not 0 <= note.pitch <= 127:
                raise ScoreError(f"{bar(note.start)}: pitch {note.pitch} is not a MIDI note 0–127")
            end = note.start + note.duration
        self._check_words(section, bar)
        if end > length:
            raise ScoreError(f"{name}: its notes end at tick {end}, its {section.bars} bars at {length}")
        starts = [change.start for change in section.chords]
        if starts != sorted(set(starts)) or any(not 0 <= s < length for s in starts):
            raise ScoreError(f"{name}: its chord changes must rise within its {section.bars} bars")
        for change in section.chords:
            try:
                _ = change.symbol == "N" or Chord.parse(change.symbol)
            except ScoreError as error:
                raise ScoreError(f"{bar(change.start)}: {error}") from error
        steps = self.bar_ticks * STEPS_PER_BEAT // TICKS
        for drum in DRUMS if section.groove else ():
            pattern = getattr(section.groove, drum)
            if len(pattern) != steps or set(pattern) - set(".xX"):
                raise ScoreError(f"{name}: the {drum} groove needs {steps} of . x X, but got {pattern!r}")

    def _check_words(self, section: Section, bar: Callable[[int], str]) -> None:
        singing = False
        for note in section.notes:
            if note.syllable is None and (note.reading is not None or note.ends_line):
                raise ScoreError(f"{bar(note.start)}: a note without a syllable has a reading or ends a line")
            if note.syllable == HOLD and not singing:
                raise ScoreError(f"{bar(note.start)}: a held note ({HOLD}) has no syllable before it to hold")
            if note.syllable is not None and note.syllable.split() != [note.syllable]:
                raise ScoreError(f"{bar(note.start)}: a syllable is empty or has spaces: {note.syllable!r}")
            singing = note.sung

    # ---- lengths -------------------------------------------------------------------------

    @property
    def bar_ticks(self) -> int:
        return TICKS * 4 * self.metre[0] // self.metre[1]

    @property
    def beat_seconds(self) -> float:
        """Seconds of a quarter note."""
        return 60.0 / self.tempo

    @property
    def bars(self) -> int:
        return sum(section.bars for section in self.sections)

    @property
    def duration(self) -> float:
        """Seconds from the start of the file to the end of the last bar's ring-out."""
        return self.lead_in + self.bars * self.bar_ticks / TICKS * self.beat_seconds + self.tail

    def section_offsets(self) -> list[int]:
        """Ticks from the start of the first bar to the start of each section."""
        offsets, position = [], 0
        for section in self.sections:
            offsets.append(position)
            position += section.bars * self.bar_ticks
        return offsets

    def seconds(self, ticks: float) -> float:
        """Seconds from the start of the file of a position in ticks from the first bar, swing applied."""
        beats, within = divmod(ticks, TICKS)
        half = TICKS / 2
        late = 0.5 + self.swing / 2  # where the off-beat eighth falls in its beat
        share = within / half * late if within <= half else late + (within - half) / half * (1 - late)
        return self.lead_in + (beats + share) * self.beat_seconds

    # ---- the score in seconds ------------------------------------------------------------

    def beats(self) -> list[float]:
        """The times of all quarter-note beats."""
        return [self.seconds(t) for t in range(0, self.bars * self.bar_ticks, TICKS)]

    def downbeats(self) -> list[float]:
        return [self.seconds(bar * self.bar_ticks) for bar in range(self.bars)]

    def section_spans(self) -> list[Span]:
        return [
            Span(self.seconds(o), self.seconds(o + s.bars * self.bar_ticks), s.tag)
            for o, s in zip(self.section_offsets(), self.sections)
        ]

    def chord_spans(self) -> list[Span]:
        """Chords from change to change; a section that names none yields none."""
        spans = []
        for offset, section in zip(self.section_offsets(), self.sections):
            ends = [c.start for c in section.chords[1:]] + [section.bars * self.bar_ticks]
            spans += [
                Span(self.seconds(offset + c.start), self.seconds(offset + end), c.symbol)
                for c, end in zip(section.chords, ends)
            ]
        return spans

    def note_spans(self, sung: bool | None = None) -> list[NoteSpan]:
        """The melody; `sung=True` only what has words, `sung=False` only what the lead instrument plays."""
        return [
            NoteSpan(
                self.seconds(offset + n.start),
                self.seconds(offset + n.start + n.duration),
                n.pitch,
                n.syllable,
                n.reading,
                index,
                n.ends_line,
            )
            for index, (offset, section) in enumerate(zip(self.section_offsets(), self.sections))
            for n in section.notes
            if sung is None or n.sung == sung
        ]

    def drum_hits(self) -> list[Hit]:
        """Every stroke of the grooves; a fill replaces the snare of the last two beats by sixteenths."""
        hits = []
        step = TICKS // STEPS_PER_BEAT
        for offset, section in zip(self.section_offsets(), self.sections):
            for bar in range(section.bars if section.groove else 0):
                filling = section.fill and bar == section.bars - 1
                for drum, index, mark in _steps(section.groove, filling):
                    time = self.seconds(offset + bar * self.bar_ticks + index * step)
                    hits.append(Hit(time, drum, 1.0 if mark == "X" else 0.6))
        return hits

    # ---- other forms ---------------------------------------------------------------------

    def lines(self) -> list[tuple[NoteSpan, ...]]:
        """The sung notes of each line of lyrics; a line ends at `ends_line` and with its section."""
        lines: list[list[NoteSpan]] = []
        before: NoteSpan | None = None
        for note in self.note_spans(sung=True):
            if before is None or before.ends_line or before.section != note.section:
                lines.append([])
            lines[-1].append(note)
            before = note
        return [tuple(line) for line in lines]

    def lyrics(self) -> Lyrics:
        """The words of the score; sections without words have no lines."""
        words: list[list[str]] = [[] for _ in self.sections]
        for line in self.lines():
            if text := _text(line):
                words[line[0].section].append(text)
        return Lyrics(tuple(LyricSection(s.tag, tuple(lines)) for s, lines in zip(self.sections, words)))

    def lrc(self) -> str:
        """The lyrics with the time of each line, as players read them: `[01:02.34]月光洒在窗前`."""
        title = f"[ti:{self.title}]\n" if self.title else ""
        return title + "".join(
            f"[{_clock(line[0].start)}]{_text(line)}\n" for line in self.lines() if _text(line)
        )

    def to_json(self) -> dict[str, Any]:
        """A JSON object; `from_json` reads it back to an equal score."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Score":
        """Read what `to_json` wrote. Raises ScoreError naming the missing or wrong field by its path."""
        try:
            if isinstance(data, dict) and "metre" not in data:
                raise ScoreError("metre is missing")
            return score_json.read(cls, data, complete=(Section,))
        except ScoreError as error:
            raise ScoreError(f"a score's JSON has a missing or wrong field: {error}") from error


def check_metre(metre: tuple[int, int]) -> None:
    """Refuse a metre whose bars a score can't count. Raises ScoreError."""
    if metre[1] not in (2, 4, 8) or not 1 <= metre[0] <= 12:
        raise ScoreError(
            f"metre {metre[0]}/{metre[1]} isn't supported: use n/2, n/4 or n/8 with 1 to 12 beats a bar"
        )


def _steps(groove: Groove | None, filling: bool) -> Iterator[tuple[Drum, int, str]]:
    """(drum, step, mark) of one bar."""
    if groove is None:
        return
    steps = len(groove.kick)
    for drum in DRUMS:
        pattern = getattr(groove, drum)
        for index, mark in enumerate(pattern):
            in_fill = filling and index >= steps - 2 * STEPS_PER_BEAT
            if drum == "snare" and in_fill:
                yield drum, index, "X" if index % 2 == 0 else "x"
            elif mark != "." and not (in_fill and drum == "hat"):
                yield drum, index, mark


def _clock(seconds: float) -> str:
    """LRC's `mm:ss.xx`."""
    hundredths = round(seconds * 100)
    return f"{hundredths // 6000:02d}:{hundredths // 100 % 60:02d}.{hundredths % 100:02d}"


def _text(notes: Sequence[NoteSpan]) -> str:
    """The words of a line."""
    line = ""
    for note in notes:
        if note.syllable is not None and note.syllable != HOLD:
            line += _joined(line, note.syllable)
    return line


def _joined(line: str, syllable: str) -> str:
    """A space goes between two Latin words, none beside a Chinese character."""
    latin = bool(line) and line[-1].isascii() and syllable[:1].isascii()
    return (" " if latin else "") + syllable
