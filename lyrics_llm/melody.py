"""A melody that somebody brings: its phrases as a structure for words, and words on its notes."""

import logging
from collections.abc import Sequence
from dataclasses import replace

from common.errors import LyricsError, RequestError
from common.lyrics import Lyrics, LyricSection
from common.pinyin import read, units
from common.score import HOLD, TICKS, ChordChange, Note, Score, Section
from common.theory import Chord
from lyrics_llm.structure import LineForm, Structure
from lyrics_llm.tokens import LONGEST_LINE

logger = logging.getLogger(__name__)

_REST = TICKS // 2  # ticks of silence that end a phrase
_LONG = 2 * TICKS  # ticks of a note that ends one
_LEAST = 4  # notes that a phrase has, unless a rest ends it
_FEWEST = 3  # notes that are left for the next one
_MOST = 14  # notes after which a phrase ends anyway
_SHORTEST = 3  # ticks of a note


def phrases(section: Section) -> list[list[Note]]:
    """The notes of a section line by line.

    Sung notes have their lines. Played ones are a line up to a rest, or a long note between some
    others, and at most `_MOST`.
    """
    sung = [n for n in section.notes if n.sung]
    lines: list[list[Note]] = [[]]
    if sung:
        for note in sung:
            lines[-1].append(note)
            if note.ends_line:
                lines.append([])
        return [line for line in lines if line]
    following = [*section.notes[1:], None]
    rests = [b is None or b.start - a.start - a.duration >= _REST for a, b in zip(section.notes, following)]
    for place, note in enumerate(section.notes):
        lines[-1].append(note)
        size, left = len(lines[-1]), rests[place:].index(True)
        long = note.duration >= _LONG and size >= _LEAST and left >= _FEWEST
        if rests[place] or size >= _MOST or long:
            lines.append([])
    return [line for line in lines if line]


def structure_of(score: Score) -> Structure:
    """Sections, lines and syllables that fit a melody: a syllable for every note that isn't held.

    Raises:
        RequestError: the score has no melody, or a phrase is longer than a line may be.
    """
    sections = []
    for number, section in enumerate(score.sections, 1):
        counts = [sum(note.syllable != HOLD for note in line) for line in phrases(section)]
        if any(n > LONGEST_LINE for n in counts):
            raise RequestError(
                f"section {number} ({section.tag}) of the score has a line of {max(counts)} syllables, "
                f"but one has at most {LONGEST_LINE}: end its lines earlier"
            )
        sections.append((section.tag, tuple(LineForm(n) for n in counts)))
    if not any(lines for _, lines in sections):
        raise RequestError("the score has no melody to write words for")
    return Structure(tuple(sections))


def sing(score: Score, lyrics: Lyrics) -> Score:
    """The score with other words on its melody; every pitch and every onset stays.

    A line with fewer syllables than notes holds some (short and weak ones go to the syllable
    before); one with more splits the longest notes.

    Raises:
        LyricsError: the lyrics don't have the melody's sections and lines, or a line has nothing to
            sing or more syllables than its notes can be split into.
    """
    tags = [section.tag for section in score.sections]
    if [section.tag for section in lyrics.sections] != tags:
        raise LyricsError(
            f"the melody has the sections {', '.join(tags)}, "
            f"but the lyrics {', '.join(s.tag for s in lyrics.sections)}"
        )
    sections = [
        _sung(section, words, number)
        for number, (section, words) in enumerate(zip(score.sections, lyrics.sections), 1)
    ]
    return replace(score, sections=tuple(sections))


def _sung(section: Section, words: LyricSection, number: int) -> Section:
    lines = phrases(section)
    if len(lines) != len(words.lines):
        raise LyricsError(
            f"section {number} ({section.tag}) of the melody has {len(lines)} lines, "
            f"but the lyrics have {len(words.lines)} there"
        )
    notes: list[Note] = []
    for line, text in zip(lines, words.lines):
        notes += _set(line, text, f"section {number} ({section.tag})")
    rest = [n for n in section.notes if not n.sung] if any(n.sung for n in section.notes) else []
    return replace(section, notes=tuple(sorted(notes + rest, key=lambda n: n.start)))


def _set(line: Sequence[Note], text: str, where: str) -> list[Note]:
    """Notes of one line with the syllables of a text."""
    syllables = list(zip(units(text), read(text)))
    if not syllables:
        raise LyricsError(
            f"{where}: {text!r} has nothing to sing, but the melody has {len(line)} notes for it: "
            "write words there"
        )
    notes = list(line)
    while len(notes) < len(syllables):
        longest = max(range(len(notes)), key=lambda i: notes[i].duration)
        whole = notes[longest]
        first = whole.duration // 2 // _SHORTEST * _SHORTEST or whole.duration // 2
        if first < _SHORTEST:
            raise LyricsError(
                f"{where}: {text!r} has {len(syllables)} syllables, too many for {len(line)} notes"
            )
        rest = replace(whole, start=whole.start + first, duration=whole.duration - first)
        notes[longest : longest + 1] = [replace(whole, duration=first), rest]
    held = _held(notes, len(notes) - len(syllables))
    out: list[Note] = []
    spoken = iter(syllables)
    for index, note in enumerate(notes):
        if index in held:
            out.append(replace(note, syllable=HOLD, reading=out[-1].reading, ends_line=False))
            continue
        unit, reading = next(spoken)
        known = reading if reading[-1:].isdigit() else None
        out.append(replace(note, syllable=unit, reading=known, ends_line=False))
    out[-1] = replace(out[-1], ends_line=True)
    return out


def _held(notes: Sequence[Note], count: int) -> set[int]:
    """Which notes go on with the syllable before them: those held already, then short and weak ones."""

    def strength(index: int) -> tuple[bool, float]:
        note = notes[index]
        weak = 0 if note.start % TICKS == 0 else TICKS // 2
        return note.syllable != HOLD, note.duration - weak

    joined = [i for i in range(1, len(notes)) if notes[i - 1].start + notes[i - 1].duration == notes[i].start]
    apart = [i for i in range(1, len(notes)) if i not in joined]
    order = sorted(joined, key=strength) + sorted(apart, key=strength)
    return set(order[:count])


def harmonised(score: Score) -> Score:
    """The score with chords where it has none: in each bar the key's triad that its melody is most in.

    Strong beats say more than weak ones; the first and the last bar of a section lean to the tonic chord,
    and where two triads fit as well the tonic, subdominant and dominant go before the others.
    """
    if any(section.chords for section in score.sections):
        return score
    logger.warning("the score has no chords: triads of %s are set to its melody", score.key)
    sections = tuple(replace(s, chords=_triads(s, score)) for s in score.sections)
    return replace(score, sections=sections)


def _stress(at: int, bar: int) -> float:
    """How much a note says of the chord by where it begins in the bar, in ticks."""
    return 1.5 if at <= 0 else 1.2 if 2 * at == bar else 1.0


def _triads(section: Section, score: Score) -> tuple[ChordChange, ...]:
    triads = [Chord(root, quality) for root in score.key.classes for quality in ("", "m")]
    inside = [c for c in triads if set(c.classes) <= set(score.key.classes)]
    tonic = Chord(score.key.tonic, "m" if score.key.family == "minor" else "")
    primary = [(score.key.tonic + fifths) % 12 for fifths in (0, 5, 7)]
    options = sorted(inside, key=lambda c: primary.index(c.root) if c.root in primary else len(primary))
    options = [tonic, *(c for c in options if c != tonic)]
    changes: list[ChordChange] = []
    for bar in range(section.bars):
        start, end = bar * score.bar_ticks, (bar + 1) * score.bar_ticks
        weights = [0.0] * 12
        for n in section.notes:
            sounding = max(0, min(end, n.start + n.duration) - max(start, n.start))
            weights[n.pitch % 12] += sounding * _stress(n.start - start, score.bar_ticks)
        lean = score.bar_ticks / 4 if bar in (0, section.bars - 1) else 0.0
        best = max(options, key=lambda c: sum(weights[p] for p in c.classes) + lean * (c == tonic))
        if not changes or changes[-1].symbol != str(best):
            changes.append(ChordChange(start, str(best)))
    return tuple(changes)
