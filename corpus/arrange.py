"""From a score to what every instrument plays: drums, bass, harmony and lead, in seconds.

Everything is derived from the score (chords, drums, melody, energy, swing) and from the
plan's instruments and ways of playing; the generator only humanises and chooses among
patterns, so that the labels of the score stay true of the audio.

A pattern is a bar of sixteen steps: `.` rest, `x` soft, `X` loud.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from common.score import TICKS, Score
from common.theory import Chord
from corpus.genres import GENRES
from corpus.instruments import Stroke, Track
from corpus.manner import Touch, touch
from corpus.moods import feeling
from corpus.plan import SongPlan
from corpus.styles import Kit

STEMS = ("drums", "bass", "harmony", "lead")
BAR = 4 * TICKS
_STEP = TICKS // 4
_DRUM_JITTER, _JITTER = 0.0015, 0.003  # seconds, standard deviations; cut at twice that
_SOFT, _LOUD = 0.62, 0.82  # velocities of x and X
_BREATH = 0.012  # seconds between two strokes of the same key
# Keys of General MIDI's drum map, sixteenths of a bar, velocity.
_PERCUSSION = {
    "tambourine": (54, "..x...x...x...x.", 0.62),
    "claps": (39, "....X.......X...", 0.75),
    "shaker": (82, "x.X.x.X.x.X.x.X.", 0.4),
}
_ORCHESTRAL = 48  # the kit that has other instruments on these keys


class Part(NamedTuple):
    """A stretch of one bar under one chord, in ticks from the start of the song."""

    start: int
    end: int
    chord: Chord
    following: Chord  # the chord after this stretch
    energy: float
    bar: int  # tick at which its bar starts


class Event(NamedTuple):
    """Notes struck together."""

    tick: int
    length: int  # ticks
    pitches: tuple[int, ...]
    velocity: float
    spread: float = 0.0  # seconds from one note of a strummed or rolled chord to the next


@dataclass(frozen=True)
class Strum:
    """A rhythmic way of playing chords: patterns by energy, and how long a chord sounds."""

    low: str  # patterns, parted by spaces
    middle: str
    high: str
    length: int | None = None  # ticks; None until the next stroke
    spread: float = 0.0  # seconds from string to string

    def pattern(self, energy: float, rng: np.random.Generator) -> str:
        options = (self.low if energy < 0.5 else self.middle if energy < 0.8 else self.high).split()
        return options[int(rng.integers(len(options)))]


STRUMS: dict[str, Strum] = {
    "block": Strum(
        "X...............",
        "X.......X....... X.....x.X.......",
        "X.....x.X...x... X...x...X...x...",
        None,
        0.004,
    ),
    "strum": Strum(
        "X.......X...x...",
        "X...x.x...x.x.x. X...X.x.x.x.X.x.",
        "X.x.X.xxx.x.X.xx X...X.xxx.xxX.x.",
        None,
        0.013,
    ),
    "power": Strum(
        "X...............", "X.x.x.x.X.x.x.x. X..x..x.X..x..x.", "X.X.X.X.X.X.X.X. X.x.X.x.X.x.X.xx", 5, 0.004
    ),
    "chug": Strum("X.......X.......", "X.xxX.xxX.xxX.xx", "XxxxXxxxXxxxXxxx X.xxX.xxX.xxX.Xx", 2, 0.003),
    "ring": Strum("X...............", "X.......X.......", "X...X...X...X...", None, 0.012),
    "skank": Strum("....X.......X...", "....X.......X...", "....X.x.....X.x. ....X.......X...", 3, 0.006),
    "bubble": Strum("..x...x...x...x.", "..X.x.X...X.x.X.", "..XxX.Xx..XxX.Xx", 3),
    "pump": Strum("X.......X.......", "..X...X...X...X.", "..X...X...X...X. ..X..XX...X..XX.", 5),
    "stab": Strum(
        "X.........x.....", "X..X......X..... X.....X....x....", "X..X..X...X..X.. ..X...X..X....X.", 4, 0.003
    ),
    "comp": Strum(
        "X............... ......X.........",
        "X.....X......... ......X.......X. ..X.......X.....",
        "X.....X.......x. ..X...X...X..... X.....x...X...x.",
        7,
        0.006,
    ),
    "four": Strum("X.......x.......", "X...x...X...x...", "X...X...X...X...", 9, 0.012),
    "lazy": Strum(
        "X...............",
        "X..........x.... X......x........",
        "X.....x...x..... X..x......X..x..",
        None,
        0.02,
    ),
    "scratch": Strum(
        "X.....x.........", "X..xx...X..x..x. ..X.x.x...X.x.x.", "X.xx.xX.x.xx.xXx X..xX.xxX..xX.xx", 2, 0.003
    ),
}
# Broken chords: for every eighth the index of the chord's tone, -1 the bass; quarters when quiet.
FIGURES: dict[str, tuple[tuple[int, ...], ...]] = {
    "arpeggio": ((0, 1, 2, 3, 4, 3, 2, 1), (0, 1, 2, 3, 2, 3, 2, 1)),
    "picking": ((-1, 2, 1, 3, -1, 2, 1, 3), (-1, 1, 2, 1, 3, 1, 2, 1)),
    "broken": ((-1, 1, 2, 3, 2, 1, 2, 1), (-1, 2, 1, 2, -1, 2, 1, 2)),
    "roll": ((0, 2, 3, 4, 5, 4, 3, 2), (5, 4, 3, 2, 3, 2, 1, 0)),
}
# Bass figures of a bar, `step+steps` and a tone: Root, Third, Fifth, Octave, Approach to the next chord.
BASSES: dict[str, tuple[str, ...]] = {
    "long": (
        "0+16R",
        "0+12R 12+4R",
    ),
    "root": (
        "0+6R 6+2R 8+8R",
        "0+7R 8+6R 14+2F",
    ),
    "eighths": ("0+2R 2+2R 4+2R 6+2R 8+2R 10+2R 12+2R 14+2R",),
    "octaves": ("0+2R 2+2O 4+2R 6+2O 8+2R 10+2O 12+2R 14+2O",),
    "offbeat": (
        "2+2R 6+2R 10+2R 14+2R",
        "2+1R 3+1R 6+1R 7+1R 10+1R 11+1R 14+1R 15+1R",
    ),
    "fifths": (
        "0+7R 8+7F",
        "0+7R 8+4F 12+4R",
    ),
    "two": (
        "0+7R 8+8F",
        "0+8R 8+4F 12+4A",
    ),
    "walk": (
        "0+4R 4+4T 8+4F 12+4A",
        "0+4R 4+4F 8+4O 12+4A",
    ),
    "syncopated": (
        "0+5R 6+3R 10+4R",
        "0+3R 3+4R 10+2F 12+3R",
    ),
    "reggae": (
        "0+3R 6+2R 8+3F 12+3R",
        "2+2R 4+3R 8+3T 12+3F",
    ),
    "funk": (
        "0+2R 3+1O 6+2R 10+1R 11+2O 14+1F",
        "0+3R 6+1R 7+2O 10+2F 13+2R",
    ),
}


def arrange(plan: SongPlan, score: Score, rng: np.random.Generator) -> dict[str, list[Track]]:
    """What the instruments of a song play, by stem; the vocals are sung by `corpus.voice`.

    Returns:
        For each of `STEMS` its tracks (harmony: the chords, then the pad), strokes in order.
    """
    parts = list(_parts(score))
    kit, how = _kit(plan), touch(feeling(plan.mood))
    chords = _touched(_chords(plan, parts, rng, how), how)
    harmony = [_track(plan, "harmony", _finish(score, chords, rng))]
    if "pad" in plan.instruments:
        harmony.append(_track(plan, "pad", _finish(score, _pad(plan, parts), rng)))
    drums = (*_drums(score, kit, rng), *_percussion(score, kit, how.percussion, rng))
    bass = [e._replace(length=max(1, round(e.length * how.held))) for e in _bass(plan, parts, rng)]
    return {
        "drums": [Track(kit.program, sorted(drums, key=lambda s: (s.time, s.pitch)), drums=True)],
        "bass": [_track(plan, "bass", _finish(score, bass, rng))],
        "harmony": harmony,
        "lead": [_track(plan, "lead", _lead(score, parts, how, rng))],
    }


def _touched(events: Iterable[Event], how: Touch) -> Iterator[Event]:
    """Chords held, rolled and doubled as a feeling has it."""
    for event in events:
        pitches = event.pitches
        if how.doubled and len(pitches) > 2 and min(pitches) >= 52:
            pitches = (min(pitches) - 12, *pitches)
        spread = event.spread + (how.rolled if len(pitches) > 1 else 0.0)
        yield Event(event.tick, max(1, round(event.length * how.held)), pitches, event.velocity, spread)


def _track(plan: SongPlan, role: str, strokes: Sequence[Stroke]) -> Track:
    return Track(plan.instruments[role].program, strokes)


def _parts(score: Score) -> Iterator[Part]:
    """The chords bar by bar; where a section names none the chord before it goes on."""
    spans: list[Part] = []
    for offset, section in zip(score.section_offsets(), score.sections):
        changes = [(c.start, Chord.parse(c.symbol)) for c in section.chords if c.symbol != "N"]
        for bar in range(section.bars):
            cuts = sorted({bar * BAR} | {at for at, _ in changes if bar * BAR < at < (bar + 1) * BAR})
            for start, end in zip(cuts, [*cuts[1:], (bar + 1) * BAR]):
                held = [found for at, found in changes if at <= start]
                current = held[-1] if held else spans[-1].chord if spans else Chord(score.key.tonic)
                at, until, first = offset + start, offset + end, offset + bar * BAR
                spans.append(Part(at, until, current, current, section.energy, first))
    for part, after in zip(spans, [*spans[1:], spans[-1]]):
        yield part._replace(following=after.chord)


# ---- drums -----------------------------------------------------------------------------------


def _kit(plan: SongPlan) -> Kit:
    kits = GENRES[plan.genre].kits
    return next(k for k in kits if (k.program, k.name) == tuple(plan.instruments["drums"]))


def _drums(score: Score, kit: Kit, rng: np.random.Generator) -> tuple[Stroke, ...]:
    """The score's hits on the kit, cymbals, soft strokes between them, and an end."""
    spans, energies = score.section_spans(), [s.energy for s in score.sections]
    fills = [
        span.end - 2 * score.beat_seconds for span, s in zip(spans, score.sections) if s.fill and s.groove
    ]
    strokes = []
    for hit in score.drum_hits():
        index = max(i for i, span in enumerate(spans) if span.start <= hit.time + 1e-6)
        key = {"kick": kit.kick, "snare": kit.snare, "hat": kit.hat}[hit.drum]
        into = next(
            (hit.time - f for f in fills if -1e-6 <= hit.time - f < 2 * score.beat_seconds - 1e-6), None
        )
        if hit.drum == "snare" and into is not None:
            key = _fill_key(kit, into / score.beat_seconds)
        elif hit.drum == "hat" and hit.velocity > 0.9 and energies[index] > 0.85 and rng.random() < 0.25:
            key = kit.open_hat
        loud = hit.velocity * (0.62 + 0.33 * energies[index])
        strokes.append(Stroke(hit.time, 0.2, key, loud))
    strokes += [Stroke(t, 0.2, kit.crash, 0.75) for t in _crashes(score)]
    strokes += _ghosts(score, kit, rng)
    end = score.seconds(score.bars * score.bar_ticks)
    if score.sections[-1].groove:
        strokes += [Stroke(end, 0.5, kit.kick, 0.8), Stroke(end, 2.0, kit.crash, 0.7)]
    touched = [_human(s, rng, _DRUM_JITTER, 0.05) for s in strokes]
    return tuple(sorted(touched, key=lambda s: (s.time, s.pitch)))


def _fill_key(kit: Kit, beats: float) -> int:
    """A fill goes from the snare down the toms."""
    step = int(beats * 4 + 1e-6)
    return kit.snare if step < 3 else kit.toms[min(len(kit.toms) - 1, (step - 3) * len(kit.toms) // 5)]


def _crashes(score: Score) -> list[float]:
    """A cymbal where a loud section begins."""
    return [
        span.start
        for span, section in zip(score.section_spans(), score.sections)
        if section.groove and section.energy >= 0.8
    ]


def _percussion(score: Score, kit: Kit, name: str, rng: np.random.Generator) -> list[Stroke]:
    """Somebody beside the drummer: a tambourine off the beat, claps on two and four, or a soft shaker."""
    key, steps, loud = _PERCUSSION.get(name, (0, "", 0.0))
    if kit.program == _ORCHESTRAL or key in (kit.snare, kit.hat):
        return []
    strokes = []
    for offset, section in zip(score.section_offsets(), score.sections):
        for bar in range(section.bars if section.groove else 0):
            for step, mark in enumerate(steps):
                if mark != ".":
                    time = score.seconds(offset + bar * BAR + step * _STEP)
                    stroke = Stroke(time, 0.1, key, loud * (1.0 if mark == "X" else 0.7))
                    strokes.append(_human(stroke, rng, _DRUM_JITTER, 0.05))
    return strokes


def _ghosts(score: Score, kit: Kit, rng: np.random.Generator) -> list[Stroke]:
    strokes: list[Stroke] = []
    for offset, section in zip(score.section_offsets(), score.sections):
        if not (kit.ghosts and section.groove and section.energy > 0.6):
            continue
        free = [i for i, mark in enumerate(section.groove.snare) if mark == "." and i % 2]
        for bar in range(section.bars - bool(section.fill)):
            for step in free:
                if rng.random() < 0.1:
                    time = score.seconds(offset + bar * BAR + step * _STEP)
                    strokes.append(Stroke(time, 0.1, kit.snare, float(rng.uniform(0.16, 0.28))))
    return strokes


# ---- bass ------------------------------------------------------------------------------------


def _bass(plan: SongPlan, parts: list[Part], rng: np.random.Generator) -> list[Event]:
    """A figure for every bar, its tones taken from the chord that sounds there; simple when quiet."""
    figures = BASSES[plan.bass_style]
    figure = figures[int(rng.integers(len(figures)))]
    calm = BASSES["long"][0] if plan.bass_style not in ("walk", "two", "reggae") else figures[0]
    events = []
    for part in parts:
        if part.energy < 0.3:
            continue
        if rng.random() < 0.15:
            figure = figures[int(rng.integers(len(figures)))]
        onsets = [
            (part.bar + step * _STEP, steps * _STEP, tone)
            for step, steps, tone in _notes_of(figure if part.energy >= 0.45 else calm)
        ]
        inside = [
            (max(at, part.start), length, tone) for at, length, tone in onsets if part.start <= at < part.end
        ]
        if not any(at == part.start for at, _, _ in inside) and part.start > part.bar:
            inside.insert(0, (part.start, min(TICKS, part.end - part.start), "R"))
        for at, length, tone in inside:
            pitch = _bass_pitch(part, tone, rng)
            events.append(
                Event(at, min(length, part.end - at), (pitch,), _LOUD if at == part.start else _SOFT + 0.1)
            )
    return _no_overlap(events)


def _notes_of(figure: str) -> Iterator[tuple[int, int, str]]:
    """(step, steps, tone) of a bass figure."""
    for note in figure.split():
        step, _, rest = note.partition("+")
        yield int(step), int(rest[:-1]), rest[-1]


def _bass_pitch(part: Part, tone: str, rng: np.random.Generator) -> int:
    root = 28 + (part.chord.bass_class - 28) % 12
    classes = part.chord.classes
    if tone == "A":
        target = 28 + (part.following.bass_class - 28) % 12
        return target + (1 if rng.random() < 0.5 else -1) if part.following != part.chord else root + 7
    if tone == "T":
        return root + (classes[1] - part.chord.root) % 12
    if tone == "F" and len(classes) > 2:
        return root + (classes[2] - part.chord.root) % 12
    return root + {"R": 0, "O": 12, "F": 7}[tone]


def _no_overlap(events: list[Event]) -> list[Event]:
    """A line of single notes: each ends where the next begins."""
    events = sorted(events)
    ends = [e.tick for e in events[1:]] + [events[-1].tick + events[-1].length] if events else []
    return [e._replace(length=max(1, min(e.length, end - e.tick))) for e, end in zip(events, ends)]


# ---- harmony ---------------------------------------------------------------------------------


def voicing(chord: Chord, before: tuple[int, ...], low: int, high: int) -> tuple[int, ...]:
    """The chord's tones in close position: the inversion nearest to the chord before it.

    Args:
        before: the last voicing, () for none.
        low, high: MIDI notes between which the lowest tone lies.
    """
    classes = list(dict.fromkeys(chord.classes))[:4]
    options = []
    for lowest in range(low, high + 1):
        if lowest % 12 in classes:
            rest = sorted((c - lowest) % 12 for c in classes)
            options.append(tuple(lowest + step for step in rest))
    centre = (low + high) / 2 + 4
    if not before:
        return min(options, key=lambda v: (abs(sum(v) / len(v) - centre), v))

    def distance(v: tuple[int, ...]) -> float:
        moved = sum(min(abs(p - q) for q in before) for p in v) / len(v)
        return moved + 0.25 * abs(sum(v) / len(v) - centre)

    return min(options, key=lambda v: (distance(v), v))


def _power(chord: Chord) -> tuple[int, ...]:
    """Root, fifth and octave on the low strings of a guitar."""
    root = 40 + (chord.root - 40) % 12
    return root, root + 7, root + 12


def _chords(plan: SongPlan, parts: list[Part], rng: np.random.Generator, how: Touch) -> list[Event]:
    style = plan.comping
    low, high = (50, 60) if plan.instruments["harmony"].program in range(24, 32) else (53, 64)
    low, high = low + how.register, high + how.register
    before: tuple[int, ...] = ()
    events: list[Event] = []
    figure: tuple[int, ...] = ()
    pattern, section = "", -1.0
    for part in parts:
        before = _power(part.chord) if style in ("power", "chug") else voicing(part.chord, before, low, high)
        if section != part.energy or rng.random() < 0.12:
            section = part.energy
            if style in STRUMS:
                pattern = STRUMS[style].pattern(part.energy, rng)
            elif style in FIGURES:
                figure = FIGURES[style][int(rng.integers(len(FIGURES[style])))]
        if style in STRUMS:
            events += _strummed(part, before, pattern, STRUMS[style])
        elif style in FIGURES:
            events += _figured(part, before, figure, rolled=style == "roll")
        else:
            events += _boomchick(part, before)
    return events


def _inside(part: Part) -> range:
    """The steps of its bar that a part covers."""
    return range((part.start - part.bar) // _STEP, (part.end - part.bar) // _STEP)


def _strummed(part: Part, tones: tuple[int, ...], pattern: str, strum: Strum) -> Iterator[Event]:
    steps = [i for i in _inside(part) if pattern[i] != "."]
    if part.start > part.bar and (not steps or steps[0] != _inside(part)[0]) and strum.length is None:
        steps.insert(0, _inside(part)[0])  # a new chord is heard where it begins
    for step, after in zip(steps, [*steps[1:], _inside(part)[-1] + 1]):
        length = (after - step) * _STEP if strum.length is None else min(strum.length, (after - step) * _STEP)
        loud = (_LOUD if pattern[step] == "X" else _SOFT) * (0.75 + 0.25 * part.energy)
        up = strum.spread > 0.01 and step % 4 == 2  # an upstroke runs from the highest string
        yield Event(part.bar + step * _STEP, length, tones[::-1] if up else tones, loud, strum.spread)


def _figured(part: Part, tones: tuple[int, ...], figure: tuple[int, ...], rolled: bool) -> Iterator[Event]:
    """Broken chords in eighths (quarters when quiet); a roll begins its bar with the whole chord."""
    ladder = [*tones, *(t + 12 for t in tones)]
    bass = tones[0] - 12 if tones[0] >= 55 else tones[0]
    bass += (part.chord.bass_class - bass) % 12 - (12 if (part.chord.bass_class - bass) % 12 > 6 else 0)
    stride = 2 if part.energy >= 0.42 else 4
    for step in _inside(part)[::stride] if _inside(part)[0] % stride == 0 else _inside(part)[1::stride]:
        index = figure[step // 2]
        pitch = (
            bass
            if index < 0 or (step == _inside(part)[0] and not rolled)
            else ladder[min(index, len(ladder) - 1)]
        )
        loud = (_LOUD if step % 8 == 0 else _SOFT) * (0.75 + 0.25 * part.energy)
        first = rolled and step == _inside(part)[0]
        pitches = (*tones, tones[0] + 12) if first else (pitch,)
        tick = part.bar + step * _STEP
        yield Event(tick, min(2 * TICKS, part.end - tick), pitches, loud, 0.045 if first else 0.0)


def _boomchick(part: Part, tones: tuple[int, ...]) -> Iterator[Event]:
    """The bass string on one and three, the chord on two and four."""
    for beat in range(part.start // TICKS, part.end // TICKS):
        place = beat - part.bar // TICKS
        low = tones[0] - 12 + (part.chord.root - tones[0]) % 12
        if place % 2:
            yield Event(beat * TICKS, TICKS // 2, tones, _LOUD, 0.01)
        else:
            yield Event(beat * TICKS, TICKS, (low + (7 if place == 2 else 0),), _LOUD)


def _pad(plan: SongPlan, parts: list[Part]) -> list[Event]:
    """Held chords, from the middle energies on."""
    before: tuple[int, ...] = ()
    events: list[Event] = []
    for part in parts:
        before = voicing(part.chord, before, 57, 67)
        held = events[-1] if events else None
        if part.energy < 0.42:
            continue
        if held and held.pitches == before and held.tick + held.length == part.start:
            events[-1] = held._replace(length=part.end - held.tick)
        else:
            events.append(Event(part.start, part.end - part.start, before, 0.34 + 0.2 * part.energy))
    return events


# ---- lead, time and touch --------------------------------------------------------------------


def _lead(score: Score, parts: list[Part], how: Touch, rng: np.random.Generator) -> tuple[Stroke, ...]:
    """The notes of the melody that nobody sings; where there are none, answers between sung lines."""
    strokes = []
    for span in score.note_spans(sung=False):
        loud = 0.62 + 0.2 * score.sections[span.section].energy
        strokes.append(Stroke(span.start, (span.end - span.start) * 0.96 * how.held, span.pitch, loud))
    if not strokes:
        strokes = sorted(_answers(score, parts), key=lambda s: s.time)
    return tuple(_human(s, rng, _JITTER, 0.05) for s in strokes)


def _answers(score: Score, parts: list[Part]) -> Iterator[Stroke]:
    """Two notes of the chord in eighths after each line of words, and one at the end of the song.

    So every instrument that describes a song is heard in it.
    """
    end = score.seconds(score.bars * score.bar_ticks)
    yield Stroke(end, max(0.5, score.tail * 0.6), 67 + (parts[-1].chord.root - 67) % 12, 0.6)
    for offset, section in zip(score.section_offsets(), score.sections):
        starts = [n.start for n in section.notes[1:]] + [section.bars * BAR]
        for note, following in zip(section.notes, starts):
            first = -(-(note.start + min(note.duration, TICKS)) // (TICKS // 2)) * (TICKS // 2)
            if note.ends_line and following - first >= TICKS:
                at = offset + first
                chord = next(p.chord for p in reversed(parts) if p.start <= at)
                for index, tone in enumerate(chord.classes[-2:]):
                    time = score.seconds(at + index * TICKS // 2)
                    length = score.beat_seconds / 2 * (0.9 if index == 0 else 1.6)
                    yield Stroke(time, length, 67 + (tone - 67) % 12, 0.6)


def _finish(score: Score, events: Iterable[Event], rng: np.random.Generator) -> tuple[Stroke, ...]:
    """Seconds and human touch; the last chord is struck once more after the last bar and rings out."""
    events = list(events)
    end = score.bars * score.bar_ticks
    strokes: list[Stroke] = []
    for event in events:
        start, stop = score.seconds(event.tick), score.seconds(event.tick + event.length)
        strokes += _spread(event, start, stop - start, rng)
    if events:
        final = max(events, key=lambda e: (e.tick + e.length, len(e.pitches)))
        chord = max((e for e in events if e.tick >= end - BAR), key=lambda e: len(e.pitches), default=final)
        rolled = chord._replace(spread=max(0.015, chord.spread))
        strokes += _spread(rolled, score.seconds(end), max(0.5, score.tail), rng)
    return _separate(strokes)


def _spread(event: Event, start: float, length: float, rng: np.random.Generator) -> list[Stroke]:
    touch = float(rng.normal(0, _JITTER))
    return [
        _human(Stroke(start + touch + i * event.spread, length, pitch, event.velocity), rng, 0.0005, 0.035)
        for i, pitch in enumerate(event.pitches)
    ]


def _human(stroke: Stroke, rng: np.random.Generator, jitter: float, touch: float) -> Stroke:
    late = float(np.clip(rng.normal(0, jitter), -2 * jitter, 2 * jitter))
    velocity = float(np.clip(stroke.velocity + rng.normal(0, touch), 0.08, 1.0))
    return replace(stroke, time=max(0.0, stroke.time + late), velocity=velocity)


def _separate(strokes: list[Stroke]) -> tuple[Stroke, ...]:
    """Strokes in order; one of the same key ends before the next begins, as on a real keyboard."""
    ordered = sorted(strokes, key=lambda s: (s.time, s.pitch))
    following: dict[int, float] = {}
    out = []
    for stroke in reversed(ordered):
        until = following.get(stroke.pitch, float("inf")) - _BREATH
        out.append(replace(stroke, duration=max(0.02, min(stroke.duration, until - stroke.time))))
        following[stroke.pitch] = stroke.time
    return tuple(reversed(out))
