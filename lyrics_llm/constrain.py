"""Grammars: which tokens may come next, and what the tokens written so far mean.

A grammar is a generator: it yields the ids that are allowed, is sent the one that was chosen, and
returns what was written. So whatever a model writes can be read: sections and lines are those
that were asked, a line has its syllables and rhyme, bars add up, every syllable has its note, and
pitches lie in the singer's range. Fed with `lyrics_llm.sequence`'s rows it is their reader.
"""

from collections.abc import Callable, Container, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from common.errors import ScoreError
from common.lyrics import Lyrics, LyricSection, SectionTag
from common.pinyin import read, units
from common.rhyme import GROUPS, group, rhyme_groups
from common.score import DRUMS, HOLD, TICKS, ChordChange, Groove, Note, Section
from common.theory import Chord, Key
from corpus.genres import GENRES
from corpus.styles import bars_of
from corpus.words import THEMES, is_familiar, strangeness
from lyrics_llm import tokens as t
from lyrics_llm.chains import Chains, Ways
from lyrics_llm.sketch import BAR_TICKS, SongSketch, slots
from lyrics_llm.structure import FREE, OPEN, LineForm
from lyrics_llm.tokens import Vocabulary

Ids = NDArray[np.int64]
PLAYED_RANGE = (50, 88)  # MIDI notes of a lead instrument
_STUTTER = 3  # the same character so often in a row is refused
_ENOUGH = 12  # characters of a rhyme from which it can be chosen
_REPEATED = 5  # so many characters in a row that stand elsewhere in the song are refused
_CONSONANT = 0.75  # of the notes on a beat: where a line takes the tune of another, over its own chords


class Choice(NamedTuple):
    """Tokens that may come next, and a check of the drawn one that would be slow for all of them."""

    ids: Ids
    good: Callable[[int], bool]


def _degree(line: str) -> int:
    """0 for what the book says, 1 for nearly so, 2 for what is made of its words, 3 for anything else."""
    return min(2, strangeness(line)) if is_familiar(line) else 3


@dataclass
class Ahead:
    """What a grammar knows of the line that begins, for whoever drafts whole lines."""

    theme: str | None = None  # what the song is about, where that is known
    count: int = 0  # characters; 0 where no line begins
    body: Ids | None = None  # what any of them may be
    last: Ids | None = None  # what the last one may be
    # Of a whole line: 0 where the grammar wouldn't let it pass, 1 where it would, 2 where it ends anew, too.
    fits: Callable[[Sequence[int]], int] = len
    # How strange a whole line is to the corpus's book, from 0: cheaper to ask than `fits`.
    strange: Callable[[Sequence[int]], int] = bool
    ways: Ways | None = None  # how the line can be written as the book's clauses are

    def take(self) -> "Ahead | None":
        """The line, once."""
        count, self.count = self.count, 0
        return replace(self, count=count) if count else None


class Words:
    """Sets of ids by meaning, computed once."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.ids = vocabulary.ids
        self.names = vocabulary.names
        self._chains: dict[str | None, Chains] = {}

    def only(self, *tokens: str) -> Ids:
        return np.array([self.ids[token] for token in tokens], np.int64)

    @cached_property
    def by_field(self) -> dict[str, Ids]:
        fields = (*t.PLAN_FIELDS, *DRUMS, "energy", "chord", "bass", "rhyme", "pitch")
        return {name: np.array(self.vocabulary.matching(f"<{name}:"), np.int64) for name in fields}

    @cached_property
    def notes(self) -> tuple[Ids, NDArray, NDArray]:
        """Ids, starts and lengths of all note tokens."""
        ids = self.vocabulary.matching("<note:")
        parts = np.array([self.names[i][1:-1].split(":")[1:] for i in ids], np.int64)
        return np.array(ids, np.int64), parts[:, 0], parts[:, 1]

    @cached_property
    def rhyming(self) -> dict[str, Ids]:
        """Han characters by the track that they rhyme in."""
        found: dict[str, list[int]] = {}
        for i in self.vocabulary.han:
            found.setdefault(group(self.names[i]), []).append(i)
        return {name: np.array(ids, np.int64) for name, ids in found.items()}

    @cached_property
    def unsure(self) -> frozenset[int]:
        """Han characters whose rhyme depends on the words before them."""
        return frozenset(i for i in self.vocabulary.han if len(rhyme_groups(self.names[i])) > 1)

    @cached_property
    def han(self) -> Ids:
        return np.array(self.vocabulary.han, np.int64)

    def chains(self, theme: str | None) -> Chains:
        """Of a theme of the book, or of all."""
        theme = theme if theme in THEMES else None
        if theme not in self._chains:
            self._chains[theme] = Chains(self.ids, theme)
        return self._chains[theme]

    def pitches(self, low: int, high: int, base: int, classes: Container[int]) -> Ids:
        """Pitch tokens of MIDI notes `low` to `high` of some pitch classes."""
        inside = (p for p in t.PITCHES if low <= base + p <= high and (base + p) % 12 in classes)
        return self.only(*(f"<pitch:{p}>" for p in inside))

    def value(self, token: int) -> str:
        """`<genre:民谣>` → 民谣; the first colon ends the name."""
        return self.names[token][1:-1].partition(":")[2]


# ---- plan --------------------------------------------------------------------------------------


def plan_grammar(words: Words, fixed: Mapping[str, object]) -> Generator[Ids, int, dict[str, str]]:
    """The fields of a plan, in their order.

    Args:
        fixed: by field one value, a collection of allowed ones, or what gives them for the fields so far.
    """
    chosen: dict[str, str] = {}
    for name in t.PLAN_FIELDS:
        allowed = words.by_field[name]
        if name in fixed:
            wish = fixed[name]
            found = wish(chosen) if callable(wish) else wish
            values = found if isinstance(found, tuple | list | set) else (found,)
            wanted = [words.ids[f"<{name}:{v}>"] for v in values if f"<{name}:{v}>" in words.ids]  # type: ignore[attr-defined]
            allowed = np.array(wanted, np.int64) if wanted else allowed
        chosen[name] = words.value((yield allowed))
    return chosen


# ---- lyrics ------------------------------------------------------------------------------------


def lyrics_grammar(
    words: Words,
    shape: Sequence[tuple[SectionTag, Sequence[int]]],
    singable: Ids | None = None,
    fresh: bool = True,
    forms: Sequence[Sequence[LineForm]] | None = None,
    avoid: Sequence[str] = (),
    keep: Sequence[Sequence[str | None]] | None = None,
    done: list[list[str]] | None = None,
    ahead: Ahead | None = None,
) -> Generator[Ids, int, Lyrics]:
    """Words of the asked sections, lines and syllables.

    Args:
        singable: the characters that may be written; all when None.
        fresh: hold ends to their rhyme, refuse stutters and copies of other lines; off for reading
            what was written, where a character may be read in another way by its phrase.
        forms: the rhyme of every line of every section; the writer's choice when None.
        avoid: texts of which no long piece may be copied.
        keep: lines that are written already, None for those to write; behind the last one to write
            nothing is asked for any more.
        done: gets the lines of every section as they are finished.
        ahead: told of every line that begins.
    """
    written: list[LyricSection] = []
    done = [] if done is None else done
    last: dict[tuple, tuple[str, ...]] = {}
    for number, (tag, counts) in enumerate(shape):
        ours = list(keep[number]) if keep is not None else [None] * len(counts)
        rhymes = list(forms[number]) if forms is not None else [LineForm(n) for n in counts]
        done.append([])
        if keep is not None and not any(line is None for rest in keep[number:] for line in rest):
            done[-1] += [line for line in ours if line is not None]
            written.append(LyricSection(tag, tuple(done[-1])))
            continue
        yield words.only(f"<section:{tag}>")
        key = tag, tuple(counts), tuple((f.mark, f.group) for f in rhymes)
        if counts:
            opening = words.only(f"<line:{counts[0]}>")
            earlier = last.get(key) if keep is None else None
            allowed = np.append(opening, words.ids[t.AGAIN]) if earlier else opening
            if (yield allowed) == opening[0]:
                others = None if not fresh else [*avoid, *(line for s in written for line in s.lines)]
                others = others if others is None or keep is None else others + _later(keep, number)
                yield from _section_lines(words, rhymes, others, singable, ours, done[-1], ahead)
            else:
                done[-1] += earlier or ()
        last[key] = tuple(done[-1])
        written.append(LyricSection(tag, tuple(done[-1])))
    return Lyrics(tuple(written))


def _later(keep: Sequence[Sequence[str | None]], number: int) -> list[str]:
    """Kept lines from a section on, which what is written before them mustn't copy."""
    return [line for section in keep[number:] for line in section if line is not None]


def _section_lines(
    words: Words,
    forms: Sequence[LineForm],
    song: list[str] | None,
    singable: Ids | None,
    keep: Sequence[str | None],
    lines: list[str],
    ahead: Ahead | None,
) -> Generator[Ids, int, None]:
    """Append the lines of a section, from the rhyme of the first one on (its `<line:n>` was written)."""
    used: list[str] = []
    held = [(form.mark, line) for form, line in zip(forms, keep) if line is not None]
    letters = {mark: group(line) for mark, line in held if mark not in (OPEN, FREE) and group(line)}
    for index, form in enumerate(forms):
        if index:
            yield words.only(f"<line:{form.count}>")
        given = keep[index]
        if given is not None:
            for token in (t.FREE, *(c for unit in units(given) for c in words.vocabulary.characters(unit))):
                yield words.only(token)
            lines.append(given)
            continue
        allowed = _rhyme_choices(words, used, index, len(forms)) if form.mark == OPEN else None
        rhyme = words.names[(yield _asked(words, form, letters) if allowed is None else allowed)]
        track = None if rhyme == t.FREE else rhyme[len("<rhyme:") : -1]
        if track is not None:
            used.append(rhyme)
            letters.setdefault(form.mark, track)
        others = None if song is None else song + lines
        lines.append((yield from _line(words, form.count, track, others, singable, ahead)))


def _asked(words: Words, form: LineForm, letters: Mapping[str, str]) -> Ids:
    """The rhymes that a marked line may announce: its letter's, else one that no other letter has."""
    if form.mark == FREE:
        return words.only(t.FREE)
    if form.group is not None or form.mark in letters:
        return words.only(f"<rhyme:{form.group or letters[form.mark]}>")
    free = [g for g in GROUPS if g not in letters.values() and len(words.rhyming.get(g, ())) >= _ENOUGH]
    return words.only(*(f"<rhyme:{g}>" for g in free))


def _rhyme_choices(words: Words, used: Sequence[str], index: int, total: int) -> Ids:
    """At most two tracks in a section, and none that only one line has."""
    lonely = [name for name in set(used) if used.count(name) == 1]
    left = total - index
    if len(lonely) >= left:
        return words.only(*sorted(lonely))
    tracks = words.by_field["rhyme"]
    if len(set(used)) >= 2 or left <= len(lonely) + 1:
        return words.only(t.FREE, *sorted(set(used)))
    return np.unique(np.append(tracks, words.ids[t.FREE]))


def _line(
    words: Words,
    count: int,
    track: str | None,
    others: Sequence[str] | None,
    singable: Ids | None,
    ahead: Ahead | None,
) -> Generator[Ids, int, str]:
    everything = words.han if singable is None else singable
    rhyming = everything
    if track is not None:
        rhyming = np.intersect1d(words.rhyming.get(track, everything), everything)

    def allowed(line: str) -> Ids:
        """The characters that may follow the beginning of the line."""
        ids, ends = everything, len(line) + 1 == count
        if ends and track is not None and others is not None:
            sure = [i for i in rhyming if i not in words.unsure or group(line + words.names[i]) == track]
            ids = np.array(sure, np.int64) if sure else everything
        return ids if others is None else _fresh(words, ids, line, others, ends)

    def fits(tokens: Sequence[int]) -> int:
        line = ""
        for token in tokens:
            if token not in allowed(line):
                return 0
            line += words.names[token]
        return 1 if any(other.endswith(line[-1]) for other in others or ()) else 2

    if ahead is not None:
        ahead.count, ahead.body, ahead.fits = count, everything, fits
        ahead.strange = lambda tokens: _degree("".join(words.names[token] for token in tokens))
        ahead.last = rhyming if len(rhyming) else everything
        for theme in dict.fromkeys((ahead.theme, None)):  # its own way of speaking, else anybody's
            if (ways := words.chains(theme).ways(count, everything, ahead.last)) is not None:
                break
        ahead.ways = ways
    line = ""
    while len(line) < count:
        line += words.names[(yield allowed(line))]
    return line


def _fresh(words: Words, allowed: Ids, line: str, others: Sequence[str], ends: bool) -> Ids:
    """Without what would stutter, or copy another line or a long piece of one."""
    refused: set[str] = set()
    if len(line) >= _STUTTER - 1 and len(set(line[1 - _STUTTER :])) == 1:
        refused.add(line[-1])
    if len(line) > 4 and line[-5:-3] == line[-3:-1] and line[-5] == line[-1]:
        refused.add(line[-2])  # a third 一天 after 一天一天
    for size in range(3, (len(line) + 1) // 2 + 1):  # 课桌挤满课桌挤满
        if line[len(line) - size + 1 :] == line[len(line) - 2 * size + 1 : len(line) - size]:
            refused.add(line[-size])
    tail = line[1 - _REPEATED :]
    if len(tail) == _REPEATED - 1:
        for other in others:
            at = other.find(tail)
            if at >= 0 and at + len(tail) < len(other):
                refused.add(other[at + len(tail)])
    if ends:
        refused |= {other[-1] for other in others if other[:-1] == line}
    ids = [words.ids[character] for character in refused if character in words.ids]
    left = np.setdiff1d(allowed, ids)
    return left if len(left) else allowed


# ---- score -------------------------------------------------------------------------------------


def score_grammar(
    words: Words, sketch: SongSketch, lyrics: Lyrics, idiomatic: bool = True
) -> Generator[Ids, int, tuple[Section, ...]]:
    """The sections of the score of a sketch and its words.

    Args:
        idiomatic: chords are those of the genre in its scale, pitches those of the key, and on a beat
            those of its chord; a later chorus of the same lines has the first one's chords and tune. Off
            for reading what was written, where anything in the vocabulary may stand.
    Raises:
        ScoreError: the lyrics don't have the sections of the sketch.
        LyricsError: a line doesn't fit its place.
    """
    if [s.tag for s in lyrics.sections] != [f.tag for f in sketch.form]:
        raise ScoreError("the lyrics don't have the sections of the sketch: make a sketch for them")
    bounds = _Bounds.of(words, sketch, idiomatic)
    before: dict[tuple, Section] = {}
    written: list[Section] = []
    for form, section in zip(sketch.form, lyrics.sections):
        counts = tuple(len(units(line)) for line in section.lines)
        yield words.only(f"<section:{form.tag}>")
        yield words.only(f"<bars:{form.bars}>")
        key = form.tag, form.bars, counts
        tuned = yield from _section(words, sketch, bounds, form.tag, form.bars, counts, before.get(key))
        before[key] = tuned
        written.append(_with_words(tuned, section))
    yield words.only(t.END)
    return tuple(written)


@dataclass(frozen=True)
class _Bounds:
    """The chords and pitches that a song may have."""

    chords: Ids
    sung: Ids
    played: Ids
    idiomatic: bool  # notes on a beat belong to its chord, or are a step away from the note before

    @classmethod
    def of(cls, words: Words, sketch: SongSketch, idiomatic: bool) -> "_Bounds":
        low, high = sketch.range
        classes = set(sketch.key.classes) if idiomatic else set(range(12))
        chords = np.append(words.by_field["chord"], words.ids["<nochord>"])
        if idiomatic:
            chords = words.only(*_idiom(sketch))
        return cls(
            chords,
            words.pitches(low, high, sketch.base, classes),
            words.pitches(*PLAYED_RANGE, sketch.base, classes),
            idiomatic,
        )


def _idiom(sketch: SongSketch) -> list[str]:
    """Chord tokens of the genre's progressions in the scale; the key's triads where it has none."""
    rows = GENRES[sketch.genre].harmony.get(sketch.key.scale) if sketch.genre in GENRES else None
    key = Key(0, sketch.key.scale)
    if rows is None:
        triads = [Chord(root, q) for root in key.classes for q in ("", "m")]
        found = [chord for chord in triads if set(chord.classes) <= set(key.classes)]
    else:
        progressions = (*rows.verse, *rows.chorus, *rows.pre, *rows.bridge)
        found = [chord for row in progressions for bar in bars_of(row, key) for chord in bar]
    found = found or [Chord(0, "m" if key.family == "minor" else "")]
    return sorted({f"<chord:{chord.root}:{chord.quality}>" for chord in found})


def _with_words(section: Section, words: LyricSection) -> Section:
    """The section's notes with the syllables and readings of its lines; notes carry "?" until here."""
    syllables = iter([pair for line in words.lines for pair in zip(units(line), _readings(line))])
    notes = []
    for note in section.notes:
        if note.syllable is None:
            notes.append(note)
            continue
        text, reading = (HOLD, None) if note.syllable == HOLD else next(syllables)
        if text == HOLD:
            reading = notes[-1].reading
        notes.append(Note(note.start, note.duration, note.pitch, text, reading, note.ends_line))
    return Section(
        section.tag, section.bars, section.chords, tuple(notes), section.groove, section.fill, section.energy
    )


def _readings(line: str) -> list[str | None]:
    """Readings of a line's syllables; a Latin word has none."""
    return [reading if reading[-1:].isdigit() else None for reading in read(line)]


def _section(
    words: Words, sketch: SongSketch, bounds: _Bounds, tag: SectionTag, bars: int, counts: tuple[int, ...],
    earlier: Section | None,
) -> Generator[Ids, int, Section]:  # fmt: skip
    again = words.only(t.AGAIN) if earlier else words.only()
    token = yield np.append(words.by_field["energy"], again)
    if earlier and token == words.ids[t.AGAIN]:
        return earlier
    energy = int(words.value(token)) / 20
    groove, fill = yield from _groove(words)
    hook = bounds.idiomatic and earlier is not None and tag == "chorus"
    chords = yield from _chords(words, sketch, bounds.chords, bars, earlier, hook)
    notes = yield from _tune(words, sketch, bounds, bars, counts, chords, earlier, hook)
    return Section(tag, bars, chords, notes, groove, fill, energy)


def _groove(words: Words) -> Generator[Ids, int, tuple[Groove | None, bool]]:
    kick = yield np.append(words.by_field["kick"], words.ids[t.NO_DRUMS])
    groove = None
    if kick != words.ids[t.NO_DRUMS]:
        snare = yield words.by_field["snare"]
        hat = yield words.by_field["hat"]
        groove = Groove(words.value(kick), words.value(snare), words.value(hat))
    return groove, (yield words.only(t.FILL, t.NO_FILL)) == words.ids[t.FILL]


def _chords(
    words: Words, sketch: SongSketch, chords: Ids, bars: int, earlier: Section | None, hook: bool
) -> Generator[Ids, int, tuple[ChordChange, ...]]:
    opening = words.only(*_openings(t.BAR, earlier, hook))
    if (yield opening) == words.ids[t.AGAIN]:
        return earlier.chords if earlier else ()
    changes: list[ChordChange] = []
    bar, tick, bass = 0, -1, False  # the last change stood at `tick` of the bar; a bass may follow it
    at = 0
    while True:
        closing = words.only(t.BAR if bar + 1 < bars else t.NEXT)
        later = words.only(*(f"<at:{s}>" for s in t.STARTS if s > max(tick, 0)))
        allowed = [later, closing]
        if tick < 0:
            allowed = [chords] if bar == 0 else [chords, later, closing]
        elif bass:
            allowed.append(words.by_field["bass"])
        token = yield np.concatenate(allowed)
        name = words.names[token]
        if name == t.NEXT:
            return tuple(changes)
        if name == t.BAR:
            bar, tick, bass, at = bar + 1, -1, False, 0
        elif name.startswith("<at:"):
            at = int(words.value(token))
            token = yield chords
            changes.append(_change(words, sketch, bar * BAR_TICKS + at, token))
            tick, bass = at, changes[-1].symbol != "N"
        elif name.startswith("<bass:"):
            low = (int(words.value(token)) + sketch.key.tonic) % 12
            chord = Chord.parse(changes[-1].symbol)
            changes[-1] = ChordChange(changes[-1].start, str(Chord(chord.root, chord.quality, low)))
            bass = False
        else:
            changes.append(_change(words, sketch, bar * BAR_TICKS, token))
            tick, bass = 0, changes[-1].symbol != "N"


def _openings(fresh: str, earlier: Section | None, hook: bool) -> tuple[str, ...]:
    """How a section's chords or tune begin: anew, or as in an earlier one; a hook comes back as it was."""
    return (t.AGAIN,) if hook else (fresh, t.AGAIN) if earlier else (fresh,)


def _change(words: Words, sketch: SongSketch, start: int, token: int) -> ChordChange:
    name = words.names[token]
    if name == "<nochord>":
        return ChordChange(start, "N")
    root, _, quality = words.value(token).partition(":")
    return ChordChange(start, str(Chord((int(root) + sketch.key.tonic) % 12, quality)))


def _tune(
    words: Words,
    sketch: SongSketch,
    bounds: _Bounds,
    bars: int,
    counts: tuple[int, ...],
    chords: Sequence[ChordChange],
    earlier: Section | None,
    hook: bool,
) -> Generator[Ids, int, tuple[Note, ...]]:
    chords = chords if bounds.idiomatic else ()
    start = f"<line:{counts[0]}>" if counts else t.PLAYED
    if (yield words.only(*_openings(start, earlier, hook))) == words.ids[t.AGAIN]:
        return earlier.notes if earlier else ()
    if not counts:
        return (yield from _phrase(words, sketch, bounds.played, 0, bars * BAR_TICKS, None, t.NEXT, chords))
    notes: list[Note] = []
    tunes: list[tuple[int, int, tuple[Note, ...]]] = []  # (syllables, start, notes) of the lines so far
    for index, (count, (begin, end)) in enumerate(zip(counts, slots(bars, counts, sketch.shortest()))):
        closing = f"<line:{counts[index + 1]}>" if index + 1 < len(counts) else t.NEXT
        line = yield from _sung(words, sketch, bounds.sung, count, begin, end, tunes, closing, chords)
        tunes.append((count, begin, line))
        notes += line
    return tuple(notes)


def _sung(
    words: Words, sketch: SongSketch, pitches: Ids, count: int, begin: int, end: int,
    tunes: Sequence[tuple[int, int, tuple[Note, ...]]], closing: str, chords: Sequence[ChordChange],
) -> Generator[Ids, int, tuple[Note, ...]]:  # fmt: skip
    """A line's notes, its own or those of an earlier line."""
    likes = {
        words.ids[t.LIKE.format(back)]: [
            Note(n.start - at + begin, n.duration, n.pitch, n.syllable, None, n.ends_line) for n in notes
        ]
        for back, (syllables, at, notes) in enumerate(reversed(tunes), 1)
        if back <= t.MOST_LIKE
        and syllables == count
        and notes[-1].start + notes[-1].duration - at <= end - begin
        and (begin - at) % 12 == 0
    }
    likes = {like: tune for like, tune in likes.items() if _consonance(tune, chords) >= _CONSONANT}
    notes = yield from _phrase(words, sketch, pitches, begin, end, count, closing, chords, likes)
    return (*notes[:-1], Note(*_fields(notes[-1]), ends_line=True))


def _fields(note: Note) -> tuple[int, int, int, str | None, str | None]:
    return note.start, note.duration, note.pitch, note.syllable, note.reading


def _phrase(
    words: Words, sketch: SongSketch, pitches: Ids, begin: int, end: int, count: int | None, closing: str,
    chords: Sequence[ChordChange], likes: Mapping[int, list[Note]] | None = None,
) -> Generator[Ids, int, tuple[Note, ...]]:  # fmt: skip
    """Notes between two ticks: so many syllables, or any number that is played (count None)."""
    shortest = sketch.shortest() if (count or 0) * sketch.shortest() <= end - begin else 3
    bar, position, left, held = begin // BAR_TICKS, begin, count or 0, False
    notes: list[Note] = []
    while True:
        starts = _note_ids(words, bar, position, end, max(left - (not held), 0) * shortest, held)
        allowed = [starts] if held or left or count is None else []
        if not held:
            allowed.append(
                words.only(*_moves(words, bar, position, end, left, shortest, count, notes, closing))
            )
        if likes and not notes and not held:
            allowed.append(np.array(sorted(likes), np.int64))
        choices = np.concatenate(allowed)
        if held and not len(choices):
            raise AssertionError("a held note is offered only where one fits")
        token = yield choices
        name = words.names[token]
        if likes and token in likes:
            yield words.only(closing)
            return tuple(likes[token])
        if name == closing:
            return tuple(notes)
        if name == t.BAR:
            bar += 1
        elif name == t.HELD:
            held = True
        else:
            start, length = map(int, words.value(token).split(":"))
            before = notes[-1].pitch if notes else None
            fitting = _fitting(words, sketch, pitches, chords, bar * BAR_TICKS + start, before)
            pitch = sketch.base + int(words.value((yield fitting)))
            syllable = None if count is None else HOLD if held else "?"
            notes.append(Note(bar * BAR_TICKS + start, length, pitch, syllable))
            position, held = bar * BAR_TICKS + start + length, False
            left -= syllable == "?"


def _classes_at(chords: Sequence[ChordChange], tick: int) -> frozenset[int]:
    """The pitch classes of the chord that sounds at a tick; none where there is no chord."""
    before = [change.symbol for change in chords if change.start <= tick]
    return frozenset() if not before or before[-1] == "N" else frozenset(Chord.parse(before[-1]).classes)


def _fitting(
    words: Words,
    sketch: SongSketch,
    pitches: Ids,
    chords: Sequence[ChordChange],
    tick: int,
    before: int | None,
) -> Ids:
    """Of the pitches those of the chord, when a note begins on a beat; within a bar a passing step, too."""
    classes = _classes_at(chords, tick)
    if tick % TICKS or not classes:
        return pitches
    heights = np.array([sketch.base + int(words.value(int(i))) for i in pitches])
    kept = np.isin(heights % 12, list(classes))
    if before is not None and tick % BAR_TICKS:
        kept |= np.isin(np.abs(heights - before), (1, 2))
    return pitches[kept] if kept.any() else pitches


def _consonance(notes: Sequence[Note], chords: Sequence[ChordChange]) -> float:
    """Share of the notes that begin on a beat with a chord and belong to it; 1 where there are none."""
    found = [(n.pitch % 12, _classes_at(chords, n.start)) for n in notes if n.start % TICKS == 0]
    hits = [pitch in classes for pitch, classes in found if classes]
    return sum(hits) / len(hits) if hits else 1.0


def _note_ids(words: Words, bar: int, position: int, end: int, reserve: int, held: bool) -> Ids:
    """Notes that start after `position` and leave `reserve` ticks; a held one starts at once."""
    ids, starts, lengths = words.notes
    at = bar * BAR_TICKS + starts
    stop = at + lengths
    fits = (at >= position) & (-(-stop // 3) * 3 + reserve <= end if reserve else stop <= end)
    return ids[fits & (at == position)] if held else ids[fits]


def _moves(
    words: Words, bar: int, position: int, end: int, left: int, shortest: int, count: int | None,
    notes: Sequence[Note], closing: str,
) -> Iterator[str]:  # fmt: skip
    """What may come beside a note: the next bar, a held note, the end of the phrase."""
    following = (bar + 1) * BAR_TICKS
    room = end - max(following, position)
    # Behind the last syllable a bar is only entered to hold it on.
    goes_on = left > 0 or count is None or position == following
    if following < end and room >= max(left, 1) * shortest and goes_on:
        yield t.BAR
    if count is not None and notes and bool(len(_note_ids(words, bar, position, end, left * shortest, True))):
        yield t.HELD
    if left == 0:
        yield closing
