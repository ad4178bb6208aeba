"""A song as one row of tokens: description, plan, lyrics, score.

    <s> 描 述 <plan> <genre:…> … <lyrics> <section:verse> <line:7> <rhyme:江阳> 月 光 … <score>
    <section:verse> <bars:4> <energy:11> <kick:…> <snare:…> <hat:…> <nofill>
    <bar> <chord:0:> <bar> <chord:9:m> … <next> <line:7> <note:0:6> <pitch:4> … <next> … </s>

Lines of lyrics name their syllables and rhyme before their words, so that the words can aim at
them. A section that repeats an earlier one of its tag is `<again>`, a line that repeats the tune
of the line j lines back is `<like:j>`: repetition is what songs are made of, and costs a token.
`lyrics_llm.constrain` reads these rows back, and lets nothing else be written.
"""

from collections import Counter
from collections.abc import Sequence

from common.errors import ScoreError
from common.lyrics import Lyrics, LyricSection
from common.pinyin import units
from common.rhyme import group
from common.score import DRUMS, HOLD, Note, Score, Section
from common.theory import Chord
from lyrics_llm import tokens as t
from lyrics_llm.sketch import BAR_TICKS, SongSketch, slots
from lyrics_llm.tokens import Vocabulary

Row = list[str]


def plan_tokens(sketch: SongSketch) -> Row:
    return [f"<{name}:{value}>" for name, value in sketch.fields().items()]


def prompt_tokens(vocabulary: Vocabulary, description: str) -> Row:
    return [t.BEGIN, *vocabulary.characters(description), t.PLAN]


# ---- lyrics ------------------------------------------------------------------------------------


def lyrics_tokens(vocabulary: Vocabulary, lyrics: Lyrics) -> Row:
    row: Row = []
    last: dict[tuple[str, tuple[int, ...]], tuple[str, ...]] = {}
    for section in lyrics.sections:
        row.append(f"<section:{section.tag}>")
        counts = tuple(len(units(line)) for line in section.lines)
        if section.lines and last.get((section.tag, counts)) == section.lines:
            row.append(t.AGAIN)
        elif section.lines:
            row += _lines(vocabulary, section, counts)
        last[section.tag, counts] = section.lines
    return row


def _lines(vocabulary: Vocabulary, section: LyricSection, counts: Sequence[int]) -> Row:
    row: Row = []
    for line, count, rhyme in zip(section.lines, counts, rhymes(section.lines)):
        row += [f"<line:{count}>", rhyme]
        for unit in units(line):
            row += vocabulary.characters(unit)
    return row


def rhymes(lines: Sequence[str]) -> list[str]:
    """The rhyme token of each line: its track if another line shares it, at most two tracks a section."""
    groups = [group(line) for line in lines]
    shared = [g for g, n in Counter(g for g in groups if g).most_common(2) if n > 1]
    return [f"<rhyme:{g}>" if g in shared else t.FREE for g in groups]


# ---- score -------------------------------------------------------------------------------------


def score_tokens(score: Score, sketch: SongSketch) -> Row:
    """The score of a sketch, to the grid of the vocabulary.

    Raises:
        ScoreError: the score isn't in 4/4, or something lies outside the vocabulary's grid.
    """
    if score.metre != (4, 4):
        raise ScoreError(f"the lyric model knows 4/4, but the score is in {score.metre[0]}/{score.metre[1]}")
    row: Row = []
    before: dict[tuple, tuple[Row, Row, Row]] = {}
    for number, section in enumerate(score.sections, 1):
        try:
            key, parts = _section(section, sketch)
        except (ValueError, KeyError) as error:
            raise ScoreError(f"section {number} ({section.tag}) isn't on the grid: {error}") from error
        row += [f"<section:{section.tag}>", f"<bars:{section.bars}>"]
        earlier = before.get(key)
        if parts == earlier:
            row.append(t.AGAIN)
        else:
            drums, chords, melody = parts
            row += drums
            row += [t.AGAIN] if earlier and chords == earlier[1] else chords
            row += [t.AGAIN] if earlier and melody == earlier[2] else melody
        before[key] = parts
    return [*row, t.END]


def _section(section: Section, sketch: SongSketch) -> tuple[tuple, tuple[Row, Row, Row]]:
    lines = _sung_lines(section)
    counts = tuple(sum(n.syllable != HOLD for n in line) for line in lines)
    drums = [f"<energy:{round(section.energy * 20)}>", *_groove(section)]
    melody = _melody(lines, counts, section, sketch) if counts else _played(section, sketch)
    return (section.tag, section.bars, counts), (drums, _chords(section, sketch), melody)


def _sung_lines(section: Section) -> list[list[Note]]:
    lines: list[list[Note]] = [[]]
    for note in section.notes:
        if note.sung:
            lines[-1].append(note)
        if note.ends_line:
            lines.append([])
    return [line for line in lines if line]


def _groove(section: Section) -> Row:
    fill = t.FILL if section.fill else t.NO_FILL
    if section.groove is None:
        return [t.NO_DRUMS, fill]
    return [*(f"<{drum}:{getattr(section.groove, drum)}>" for drum in DRUMS), fill]


def _chords(section: Section, sketch: SongSketch) -> Row:
    row: Row = []
    for bar in range(section.bars):
        row.append(t.BAR)
        for change in section.chords:
            if change.start // BAR_TICKS == bar:
                row += _chord(change.start % BAR_TICKS, change.symbol, sketch)
    return [*row, t.NEXT]


def _chord(tick: int, symbol: str, sketch: SongSketch) -> Row:
    if tick not in t.STARTS:
        raise ValueError(f"a chord at tick {tick} of its bar")
    row = [f"<at:{tick}>"] if tick else []
    if symbol == "N":
        return [*row, "<nochord>"]
    chord = Chord.parse(symbol)
    row.append(f"<chord:{(chord.root - sketch.key.tonic) % 12}:{chord.quality}>")
    if chord.bass is not None:
        row.append(f"<bass:{(chord.bass - sketch.key.tonic) % 12}>")
    return row


Tune = tuple[tuple[int, int, int, bool], ...]  # (start in its slot, length, pitch, held) of each note


def _melody(lines: list[list[Note]], counts: Sequence[int], section: Section, sketch: SongSketch) -> Row:
    row: Row = []
    tunes: list[Tune] = []
    for line, count, (start, end) in zip(lines, counts, slots(section.bars, counts, sketch.shortest())):
        if line[0].start < start or line[-1].start + line[-1].duration > end:
            raise ValueError(f"a line leaves its place of ticks {start}–{end}")
        tune = tuple((n.start - start, n.duration, _within(n, sketch), n.syllable == HOLD) for n in line)
        back = next((j for j in range(1, t.MOST_LIKE + 1) if j <= len(tunes) and tunes[-j] == tune), None)
        row.append(f"<line:{count}>")
        row += [t.LIKE.format(back)] if back else _notes(line, start // BAR_TICKS, sketch)
        tunes.append(tune)
    return [*row, t.NEXT]


def _within(note: Note, sketch: SongSketch) -> int:
    """A sung pitch outside the singer's range is written an octave nearer."""
    low, high = sketch.range
    return note.pitch if not note.sung else note.pitch + 12 * (note.pitch < low) - 12 * (note.pitch > high)


def _played(section: Section, sketch: SongSketch) -> Row:
    return [t.PLAYED, *_notes(section.notes, 0, sketch), t.NEXT]


def _notes(notes: Sequence[Note], bar: int, sketch: SongSketch) -> Row:
    """Notes from a bar on: `<bar>` goes to the next one, starts are counted in the bar."""
    row: Row = []
    for note in notes:
        row += [t.BAR] * (note.start // BAR_TICKS - bar)
        bar = note.start // BAR_TICKS
        start, pitch = note.start % BAR_TICKS, _within(note, sketch) - sketch.base
        if start not in t.STARTS or note.duration not in t.LENGTHS or pitch not in t.PITCHES:
            raise ValueError(f"a note at {start} of {note.duration} ticks, {pitch} above the tonic")
        row += [t.HELD] * (note.syllable == HOLD)
        row += [f"<note:{start}:{note.duration}>", f"<pitch:{pitch}>"]
    return row
