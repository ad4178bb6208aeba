"""From a plan to a lead sheet: chords by bar, a tune with its words, drums.

The tune of a line is the cheapest path through the notes of the scale (dynamic programming):
small steps, chord tones where they are heard, a contour for each kind of section, closeness to
the motif that the line repeats, and a draw of noise so that no two songs are alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from common.errors import LyricsError
from common.lyrics import Lyrics, LyricSection, SectionTag
from common.pinyin import read, units
from common.score import HOLD, TICKS, ChordChange, Note, Score, Section
from common.seeds import generator
from common.theory import Chord
from corpus.forms import FormSection
from corpus.genres import GENRES
from corpus.moods import feeling
from corpus.plan import SectionPlan, SongPlan
from corpus.styles import Progressions, bars_of, chord
from corpus.words import write

_STRONG = 2 * TICKS  # the first and third beat of a bar carry the harmony
_SHORTEST = 0.21  # seconds: what a singer can still shape
# Which line of a section repeats which, by letters; a prime varies the end.
_LINE_PLANS = ("ABAC", "AABA", "ABAB", "AABC", "ABCA")
# Where in the range a section lies: centre and height of its arch, as shares of the range.
_CONTOURS: dict[str, tuple[float, float]] = {
    "intro": (0.55, 0.2), "verse": (0.33, 0.18), "pre-chorus": (0.45, 0.22), "chorus": (0.64, 0.22),
    "bridge": (0.52, 0.25), "interlude": (0.6, 0.2), "outro": (0.45, 0.1),
}  # fmt: skip
# Lead instruments that don't lie between MIDI 62 and 81.
_LEAD_RANGES = {
    42: (48, 67), 57: (50, 69), 66: (54, 73), 26: (57, 76), 27: (57, 76), 29: (57, 76), 30: (55, 74),
    71: (57, 76), 72: (69, 88), 106: (60, 79), 61: (58, 77), 24: (55, 76), 25: (55, 76), 105: (57, 76),
}  # fmt: skip
_STEP_COSTS = (0.75, 0.0, 0.4, 1.0, 1.5, 2.3, 3.2, 4.0)  # by scale steps between two notes

Rhythm = tuple[tuple[int, int], ...]  # (start, duration) in ticks from the start of the line


@dataclass
class _Tunes:
    """What the lines of one song share, so that a verse is heard again with other words."""

    rng: np.random.Generator
    rhythms: dict[tuple[str, int, int], Rhythm] = field(default_factory=dict)  # letter key, syllables, slot
    pitches: dict[tuple, tuple[int, ...]] = field(default_factory=dict)
    motifs: dict[str, tuple[Rhythm, tuple[int, ...]]] = field(default_factory=dict)
    plans: dict[str, str] = field(default_factory=dict)


def compose(plan: SongPlan, lyrics: Lyrics | None = None) -> Score:
    """Set a plan to music.

    Args:
        lyrics: the words; written from the plan's theme when None. Their sections must be the
            plan's sections in order; their lines may be of any length that can be sung.
    Returns:
        A score that lasts exactly `plan.duration` seconds.
    Raises:
        LyricsError: the sections aren't the plan's, or a line has more syllables than fit its bars.
    """
    lyrics = words(plan) if lyrics is None else lyrics
    if [s.tag for s in lyrics.sections] != [s.tag for s in plan.form]:
        raise LyricsError(
            f"the lyrics have the sections {' '.join(s.tag for s in lyrics.sections)}, "
            f"but the plan has {' '.join(s.tag for s in plan.form)}"
        )
    harmony = _harmony(plan, generator(plan.seed, "chords", plan.split))
    tunes = _Tunes(generator(plan.seed, "tune", plan.split))
    # The chorus is composed first: intro, interlude and outro quote it.
    order = sorted(range(len(plan.sections)), key=lambda i: (plan.form[i].tag != "chorus", i))
    notes: dict[int, list[Note]] = {}
    for index in order:
        last = index + 1 == len(plan.sections)
        notes[index] = _melody(
            plan, plan.sections[index], harmony[index], lyrics.sections[index], tunes, last
        )
    sections = tuple(
        Section(s.form.tag, s.form.bars, _changes(harmony[i]), tuple(notes[i]), s.groove, s.fill, s.energy)
        for i, s in enumerate(plan.sections)
    )
    meta = {"genre": plan.genre, "mood": plan.mood, "theme": plan.theme, "singer": plan.singer}
    return Score(
        plan.tempo, plan.key, sections, swing=plan.swing, lead_in=plan.lead_in, tail=plan.tail,
        title=plan.theme, meta=meta,
    )  # fmt: skip


def words(plan: SongPlan) -> Lyrics:
    """The lyrics of a plan; sections without words when nobody sings."""
    if plan.singer == "none":
        return Lyrics(tuple(LyricSection(tag) for tag, _ in plan.shape))
    return write(generator(plan.seed, "words", plan.split), plan.theme, plan.shape, plan.mood)


# ---- harmony ---------------------------------------------------------------------------------


def _progression(kind: str, rows: Progressions, rng: np.random.Generator) -> str:
    options = {"verse": rows.verse, "pre-chorus": rows.pre, "bridge": rows.bridge}.get(kind) or rows.chorus
    return options[int(rng.integers(len(options)))]


def _harmony(plan: SongPlan, rng: np.random.Generator) -> list[list[list[Chord]]]:
    """For every section the chords of each of its bars; the song ends on its tonic chord."""
    rows = GENRES[plan.genre].harmony[plan.key.scale]
    kinds = ("verse", "pre-chorus", "chorus", "bridge")
    drawn = {tag: bars_of(_progression(tag, rows, rng), plan.key) for tag in kinds}
    drawn["intro"] = drawn["verse" if rng.random() < 0.5 else "chorus"]
    drawn["interlude"] = drawn["outro"] = drawn["chorus"]
    harmony = [[drawn[tag][bar % len(drawn[tag])] for bar in range(bars)] for tag, bars, _ in plan.form]
    harmony[-1][-1] = [_tonic(plan, drawn)]
    return harmony


def _tonic(plan: SongPlan, drawn: dict[str, list[list[Chord]]]) -> Chord:
    """The tonic chord as the song's progressions have it, a plain triad if they never do."""
    for bars in drawn.values():
        for bar in bars:
            for found in bar:
                if found.root == plan.key.tonic and not found.quality.startswith("sus"):
                    return found
    return chord("i" if plan.key.family == "minor" else "I", plan.key)


def _changes(bars: Sequence[Sequence[Chord]]) -> tuple[ChordChange, ...]:
    """Chord changes of a section; a chord that goes on isn't repeated."""
    changes: list[ChordChange] = []
    for number, bar in enumerate(bars):
        for part, symbol in enumerate(map(str, bar)):
            if not changes or changes[-1].symbol != symbol:
                changes.append(ChordChange((number * 4 + part * 4 // len(bar)) * TICKS, symbol))
    return tuple(changes)


def _chord_at(bars: Sequence[Sequence[Chord]], tick: int) -> Chord:
    bar = bars[min(tick // (4 * TICKS), len(bars) - 1)]
    return bar[min(tick % (4 * TICKS) * len(bar) // (4 * TICKS), len(bar) - 1)]


# ---- rhythm ----------------------------------------------------------------------------------


def _onsets(count: int, cells: int, draws: int, rng: np.random.Generator) -> list[list[int]]:
    """Some ways to start `count` notes in so many cells, about evenly, the last with room to be held."""
    most = max(1, min(4, cells - count))
    held = rng.integers(min(2, most), most + 1, draws)
    span = cells - held
    first = np.where(span > count * 1.5, rng.integers(0, 2, draws), 0)
    spread = np.arange(count) / max(1, count - 1)
    spots = first[:, None] + spread[None] * (span - first)[:, None] + rng.normal(0, 0.7, (draws, count))
    out = []
    for row in np.round(spots).astype(int).tolist():
        onsets: list[int] = []
        for index, spot in enumerate(row):
            lowest = onsets[-1] + 1 if onsets else 0
            onsets.append(max(lowest, min(spot, cells - (count - index))))
        out.append(onsets)
    return out


def _rhythm_cost(onsets: list[int], cells: int, unit: int, seconds_per_tick: float) -> float:
    """Low where notes fall on beats, halves answer each other and no note is too short."""
    cost = 0.0
    for onset, after in zip(onsets, [*onsets[1:], cells + 1]):
        tick = onset * unit
        cost += 0.0 if tick % _STRONG == 0 else 0.25 if tick % TICKS == 0 else 0.6 if tick % 6 == 0 else 1.3
        if (after - onset) * unit * seconds_per_tick < _SHORTEST:
            cost += 2.5
    cost += 1.5 * max(0.0, 1.0 - (cells - onsets[-1]) * unit / TICKS)  # the last note wants a beat
    half = cells // 2
    left = {o for o in onsets if o < half}
    cost -= 0.35 * len(left & {o - (cells + 1) // 2 for o in onsets})
    return cost / len(onsets)


def rhythm(count: int, slot: int, seconds_per_tick: float, rng: np.random.Generator) -> Rhythm:
    """When the notes of a line of `count` syllables start and how long they last.

    Args:
        slot: ticks of the line; its end is left free to breathe.
    Raises:
        LyricsError: more syllables than the line can hold.
    """
    unit = 6 if slot // 6 - 1 >= count * 1.15 else 3
    cells = slot // unit - max(1, 6 // unit)
    if count > cells:
        raise LyricsError(
            f"a line of {count} syllables can't be sung in {slot * seconds_per_tick:.1f} s: "
            f"at most {cells} fit"
        )
    drawn = _onsets(count, cells, 20, rng)
    noise = rng.uniform(0, 0.15, len(drawn))
    costs = [_rhythm_cost(o, cells, unit, seconds_per_tick) + n for o, n in zip(drawn, noise)]
    best = drawn[int(np.argmin(costs))]
    longest = 4 * TICKS
    ends = [*best[1:], min(cells, best[-1] + longest // unit)]
    return tuple((a * unit, min(longest, (b - a) * unit)) for a, b in zip(best, ends))


# ---- pitch -----------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def _pool(classes: tuple[int, ...], low: int, high: int) -> np.ndarray:
    """The notes of a scale between two MIDI notes."""
    return np.array([p for p in range(low, high + 1) if p % 12 in classes])


@lru_cache(maxsize=4096)
def _strangeness(classes: tuple[int, ...], low: int, high: int, harmony: Chord) -> np.ndarray:
    """How little each note of the pool belongs to the chord: 0 its tones, more beside one by a semitone."""
    pool, tones = _pool(classes, low, high), np.array(harmony.classes)
    apart = np.abs((pool[:, None] % 12 - tones[None] + 6) % 12 - 6).min(axis=1)
    return np.where(apart == 0, 0.0, np.where(apart == 1, 1.8, 1.0))


@dataclass(frozen=True)
class _Line:
    """What the tune of a line is judged by."""

    rhythm: Rhythm
    chords: tuple[Chord, ...]  # of each note
    strong: tuple[bool, ...]
    low: int
    high: int
    contour: tuple[float, float]
    motif: tuple[int, ...]  # the notes of the line that this one repeats; () when new
    cadence: float  # how much the last note wants to be the tonic


def trace(line: _Line, plan: SongPlan, rng: np.random.Generator) -> tuple[int, ...]:
    """The pitches of a line: the cheapest path (Viterbi) under the costs named in the module docstring."""
    scale = (plan.key.classes, line.low, line.high)
    pool = _pool(*scale)
    count = len(line.rhythm)
    felt = feeling(plan.mood)
    # Who is stirred leaps; who is sad comes down step by step, in sighs.
    falling = -0.05 * min(0.0, felt.valence) * np.linspace(1, -1, count)
    centre = line.low + (line.contour[0] + falling) * (line.high - line.low)
    arch = line.contour[1] * (line.high - line.low) * np.sin(np.pi * (np.arange(count) + 1) / (count + 1))
    local = rng.gumbel(0, 0.35, (count, len(pool)))
    for index in range(count):
        weight = 2.2 if line.strong[index] or index == count - 1 else 0.5
        local[index] += weight * _strangeness(*scale, line.chords[index])
        local[index] += ((pool - centre[index] - arch[index]) / 5.0) ** 2 * 0.5
        if line.motif:
            wanted = line.motif[min(index, len(line.motif) - 1)]
            local[index] += 0.8 * np.minimum(np.abs(pool - wanted), 5)
    local[-1] += line.cadence * (pool % 12 != plan.key.tonic)
    steps = np.abs(np.arange(len(pool))[:, None] - np.arange(len(pool))[None])
    moves = np.array(_STEP_COSTS)[np.minimum(steps, len(_STEP_COSTS) - 1)] + 0.5 * np.maximum(steps - 7, 0)
    moves *= 1.0 - 0.15 * felt.arousal
    return tuple(int(pool[i]) for i in _cheapest(local, moves))


def _cheapest(local: np.ndarray, moves: np.ndarray) -> list[int]:
    """States of the cheapest path: `local` (notes, states), `moves` (from, to)."""
    total, back = local[0], []
    for row in local[1:]:
        through = total[:, None] + moves
        back.append(through.argmin(axis=0))
        total = through.min(axis=0) + row
    path = [int(total.argmin())]
    for choice in reversed(back):
        path.append(int(choice[path[-1]]))
    return path[::-1]


# ---- a section's melody ----------------------------------------------------------------------


def _melody(
    plan: SongPlan,
    section: SectionPlan,
    bars: list[list[Chord]],
    words: LyricSection,
    tunes: _Tunes,
    last: bool,
) -> list[Note]:
    if words.lines:
        syllables = [list(zip(units(line), read(line))) for line in words.lines]
        return _sung(plan, section.form, bars, syllables, tunes, last)
    return _played(plan, section.form, bars, tunes, last)


def _slots(form: FormSection, lines: int) -> list[tuple[int, int]]:
    """(start, ticks) of every line of a section; whole half bars, the rest goes to the last."""
    length = form.bars * 4 * TICKS
    each = max(TICKS * 2, length // lines // (2 * TICKS) * 2 * TICKS)
    if each * lines > length:
        raise LyricsError(f"<{form.tag}> has {lines} lines, but its {form.bars} bars hold {length // each}")
    return [(i * each, each if i + 1 < lines else length - i * each) for i in range(lines)]


def _sung(
    plan: SongPlan,
    form: FormSection,
    bars: list[list[Chord]],
    lines: list[list[tuple[str, str]]],
    tunes: _Tunes,
    last: bool,
) -> list[Note]:
    notes: list[Note] = []
    usual = form.bars * 4 * TICKS // max(1, len(form.lines or lines))
    for index, (start, slot) in enumerate(_slots(form, len(lines))):
        syllables = lines[index]
        ends = index + 1 == len(lines)
        held = min(slot, max(usual, 4 * TICKS))
        shape, pitches = _line(
            plan, form.tag, bars, start, held, len(syllables), index, ends, plan.range, tunes
        )
        if ends and last:
            shape, pitches = _final(shape, pitches, slot), (*pitches[:-1], _nearest_tonic(plan, pitches[-1]))
        notes += _with_words(start, shape, pitches, syllables, tunes.rng, plan)
    return notes


def _letter(tunes: _Tunes, tag: str, index: int) -> str:
    plans = tunes.plans.setdefault(tag, _LINE_PLANS[int(tunes.rng.integers(len(_LINE_PLANS)))])
    return f"{tag} {plans[index % 4]}"


def _line(
    plan: SongPlan, tag: SectionTag, bars: list[list[Chord]], start: int, slot: int, count: int, index: int,
    ends: bool, limits: tuple[int, int], tunes: _Tunes,
) -> tuple[Rhythm, tuple[int, ...]]:  # fmt: skip
    """Rhythm and pitches of a line; remembered, so that the same line of the same section sounds again."""
    letter = _letter(tunes, tag, index)
    beat = 60.0 / plan.tempo / TICKS
    key = (letter, count, slot)
    if key not in tunes.rhythms:
        tunes.rhythms[key] = rhythm(count, slot, beat, tunes.rng)
    shape = tunes.rhythms[key]
    chords = tuple(_chord_at(bars, start + at) for at, _ in shape)
    known = (tag, index, count, slot, ends, tuple(map(str, chords)))
    if known not in tunes.pitches:
        strong = tuple((start + at) % _STRONG == 0 or length >= TICKS for at, length in shape)
        motif = tunes.motifs.get(letter, ((), ()))[1]
        cadence = (2.0 if ends else 0.4) * (1.5 if tag == "chorus" else 1.0)
        line = _Line(shape, chords, strong, *limits, _CONTOURS[tag], motif, cadence)
        tunes.pitches[known] = trace(line, plan, tunes.rng)
        tunes.motifs.setdefault(letter, (shape, tunes.pitches[known]))
    return shape, tunes.pitches[known]


def _final(shape: Rhythm, pitches: tuple[int, ...], slot: int) -> Rhythm:
    """The last note of a song is held to the end of its bar."""
    at, length = shape[-1]
    return (*shape[:-1], (at, max(length, min(slot - at, 6 * TICKS))))


def _nearest_tonic(plan: SongPlan, pitch: int) -> int:
    return pitch + (plan.key.tonic - pitch + 6) % 12 - 6


def _with_words(
    start: int,
    shape: Rhythm,
    pitches: tuple[int, ...],
    syllables: list[tuple[str, str]],
    rng: np.random.Generator,
    plan: SongPlan,
) -> list[Note]:
    """Notes with their syllables; now and then a long one turns to a second pitch (a melisma)."""
    notes: list[Note] = []
    for index, ((at, length), pitch, (text, reading)) in enumerate(zip(shape, pitches, syllables)):
        ends = index + 1 == len(shape)
        after = pitches[index + 1] if not ends else pitch
        turn = pitch + int(np.sign(after - pitch)) * 2
        if (
            length >= 2 * TICKS
            and not ends
            and after != pitch
            and rng.random() < 0.3
            and turn % 12 in plan.key.classes
        ):
            first = length - TICKS // 2 * (1 if length < 3 * TICKS else 2)
            notes.append(Note(start + at, first, pitch, text, reading))
            notes.append(Note(start + at + first, length - first, turn, HOLD, reading))
        else:
            notes.append(Note(start + at, length, pitch, text, reading, ends_line=ends))
    return notes


def _played(
    plan: SongPlan, form: FormSection, bars: list[list[Chord]], tunes: _Tunes, last: bool
) -> list[Note]:
    """The lead instrument's phrases of two bars; outside instrumentals they quote the chorus."""
    limits = _LEAD_RANGES.get(plan.instruments["lead"].program, (62, 81))
    each = min(2, form.bars)
    phrases = form.bars // each
    notes: list[Note] = []
    for index in range(phrases):
        start = index * each * 4 * TICKS
        slot = each * 4 * TICKS if index + 1 < phrases else form.bars * 4 * TICKS - start
        ends = index + 1 == phrases
        count = _played_count(plan, form.tag, index, slot, tunes)
        shape, pitches = _line(plan, form.tag, bars, start, slot, count, index, ends, limits, tunes)
        if ends and last:
            shape = _final(shape, pitches, slot)
            pitches = (*pitches[:-1], _nearest_tonic(plan, pitches[-1]))
        notes += [Note(start + at, length, pitch) for (at, length), pitch in zip(shape, pitches)]
    return notes


def _played_count(plan: SongPlan, tag: str, index: int, slot: int, tunes: _Tunes) -> int:
    """Notes of a phrase of the lead instrument: fewer where it only answers the singer."""
    busy = 2.6 if plan.singer == "none" and tag in ("verse", "chorus", "bridge", "pre-chorus") else 1.9
    seconds = slot * 60.0 / plan.tempo / TICKS
    wanted = busy * seconds * float(tunes.rng.uniform(0.8, 1.2))
    known = tunes.rhythms.keys()
    again = [
        count for letter, count, ticks in known if letter == _letter(tunes, tag, index) and ticks == slot
    ]
    return again[0] if again else int(np.clip(round(wanted), 2, slot // 6 - 2))
