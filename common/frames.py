"""A score as channels at a frame rate: what the song model and the VAE's decoder are told.

Frame i stands for the time (i + 0.5) / frame_rate, its centre. Channels are float32 in 0 … 1
(cosines and sines in -1 … 1); what a score doesn't say, and all time outside it, is zero.
A pulse is shared between the two frames around its time so that their weighted mean is exact.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from common.errors import ScoreError
from common.lyrics import TAGS
from common.pinyin import FINALS, INITIALS, split
from common.score import DRUMS, HOLD, TICKS, NoteSpan, Score
from common.theory import NOTE_NAMES, Chord

logger = logging.getLogger(__name__)
Array = NDArray[np.float32]

PITCH_LOW, PITCH_HIGH = 36, 95  # MIDI: C2 … B6, wider than any singer or lead
CONSONANT = 0.080  # seconds: an initial begins before the beat, so that its vowel falls on it
DECAY = {"kick": 0.12, "snare": 0.15, "hat": 0.05}  # seconds to 1/e

_LAYOUT: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("chord", NOTE_NAMES),
    ("bass", NOTE_NAMES),
    ("metre", ("beat_cos", "beat_sin", "bar_cos", "bar_sin")),
    ("section", TAGS),
    ("energy", ("",)),
    ("voice", ("on", "onset")),
    ("lead", ("on", "onset")),
    ("note", ("position", "left")),
    ("melody", tuple(str(p) for p in range(PITCH_LOW, PITCH_HIGH + 1))),
    ("drums", DRUMS),
    ("hits", DRUMS),
    ("fill", ("",)),
    ("song", ("position", "inside")),
)
CHANNELS: tuple[str, ...] = tuple(f"{g}.{n}".rstrip(".") for g, names in _LAYOUT for n in names)
N_CHANNELS = len(CHANNELS)


def _groups() -> dict[str, slice]:
    groups, at = {}, 0
    for name, names in _LAYOUT:
        groups[name] = slice(at, at + len(names))
        at += len(names)
    return groups


GROUPS: dict[str, slice] = _groups()  # columns by what they tell: "chord", "melody", "drums", …


@dataclass(frozen=True)
class ScoreFrames:
    """A score at a frame rate."""

    channels: Array  # (frames, N_CHANNELS)
    initial: NDArray[np.int64]  # (frames,) index into INITIALS of the syllable sung, 0 where none is
    final: NDArray[np.int64]  # (frames,) index into FINALS


def render(score: Score, frame_rate: float, frames: int) -> ScoreFrames:
    """The channels of `frames` frames at `frame_rate` Hz from the start of the file.

    Raises:
        ScoreError: the frame rate or the number of frames isn't positive.
    """
    if frame_rate <= 0 or frames < 1:
        raise ScoreError(f"frames need a rate and a count above 0, but got {frame_rate} Hz and {frames}")
    time = (np.arange(frames) + 0.5) / frame_rate
    channels = np.zeros((frames, N_CHANNELS), np.float32)
    notes = score.note_spans()
    _harmony(channels, score, time)
    _metre(channels, score, time)
    _form(channels, score, time)
    _melody(channels, notes, time, frame_rate)
    _drums(channels, score, time, frame_rate)
    initial, final = _syllables([n for n in notes if n.syllable is not None], time)
    return ScoreFrames(channels, initial, final)


def _current(starts: Sequence[float], ends: Sequence[float], time: NDArray) -> tuple[NDArray, NDArray]:
    """(frames in which an interval is alive, which interval it is), of intervals in rising order."""
    if not len(starts):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    index = np.searchsorted(np.asarray(starts), time, side="right") - 1
    alive = np.flatnonzero((index >= 0) & (time < np.asarray(ends)[index]))
    return alive, index[alive]


def _pulses(column: Array, times: ArrayLike, weights: ArrayLike, frame_rate: float) -> None:
    """Add each weight to the two frames around its time, in proportion to their nearness."""
    position = np.asarray(times, float) * frame_rate - 0.5
    left = np.floor(position).astype(np.int64)
    share = position - left
    for frame, part in ((left, 1 - share), (left + 1, share)):
        inside = (frame >= 0) & (frame < len(column))
        np.add.at(column, frame[inside], (part * np.asarray(weights, float))[inside].astype(np.float32))
    np.minimum(column, 1.0, out=column)


@lru_cache(maxsize=512)
def _chord_row(symbol: str) -> Array:
    row = np.zeros(24, np.float32)
    if symbol != "N":
        chord = Chord.parse(symbol)
        row[list(chord.classes)] = 1
        row[12 + chord.bass_class] = 1
    row.setflags(write=False)
    return row


def _harmony(channels: Array, score: Score, time: NDArray) -> None:
    spans = score.chord_spans()
    if not spans:
        return
    table = np.stack([_chord_row(span.label) for span in spans])
    ends = [span.end for span in spans]
    last_bar_end = score.duration - score.tail
    if ends[-1] >= last_bar_end - 1e-6:
        ends[-1] = score.duration  # the last chord rings on through the tail
    alive, index = _current([span.start for span in spans], ends, time)
    channels[alive, : GROUPS["bass"].stop] = table[index]


def _metre(channels: Array, score: Score, time: NDArray) -> None:
    beats = (time - score.lead_in) / score.beat_seconds
    beats_per_bar = score.bar_ticks / TICKS
    inside = (beats >= 0) & (beats < score.bars * beats_per_bar)
    beat, bar = 2 * np.pi * beats, 2 * np.pi * beats / beats_per_bar
    channels[:, GROUPS["metre"]] = np.stack([np.cos(beat), np.sin(beat), np.cos(bar), np.sin(bar)], 1)
    channels[~inside, GROUPS["metre"]] = 0
    channels[:, GROUPS["song"].start] = np.clip(time / score.duration, 0, 1)
    channels[inside, GROUPS["song"].start + 1] = 1


def _form(channels: Array, score: Score, time: NDArray) -> None:
    spans = score.section_spans()
    alive, index = _current([s.start for s in spans], [s.end for s in spans], time)
    tags = np.array([TAGS.index(s.tag) for s in score.sections])
    channels[alive, GROUPS["section"].start + tags[index]] = 1
    channels[alive, GROUPS["energy"].start] = np.array([s.energy for s in score.sections])[index]
    fill = 2 * TICKS  # a fill takes the last two beats
    for offset, section in zip(score.section_offsets(), score.sections):
        if section.fill and section.groove:
            end = offset + section.bars * score.bar_ticks
            start = score.seconds(end - min(fill, score.bar_ticks))
            channels[(time >= start) & (time < score.seconds(end)), GROUPS["fill"].start] = 1


def _melody(channels: Array, notes: Sequence[NoteSpan], time: NDArray, frame_rate: float) -> None:
    alive, index = _current([n.start for n in notes], [n.end for n in notes], time)
    if not len(alive):
        return
    start, end = (np.array([getattr(n, key) for n in notes]) for key in ("start", "end"))
    pitch, sung = (
        _in_range(np.array([n.pitch for n in notes])),
        np.array([n.syllable is not None for n in notes]),
    )
    channels[alive, GROUPS["melody"].start + pitch[index] - PITCH_LOW] = 1
    channels[alive, GROUPS["voice"].start] = sung[index]
    channels[alive, GROUPS["lead"].start] = ~sung[index]
    position, left = GROUPS["note"].start, GROUPS["note"].start + 1
    channels[alive, position] = (time[alive] - start[index]) / (end - start)[index]
    channels[alive, left] = np.minimum(end[index] - time[alive], 1)  # seconds, at most one
    struck = np.array([n.syllable != HOLD for n in notes])
    for group, of in (("voice", sung & struck), ("lead", ~sung)):
        _pulses(channels[:, GROUPS[group].start + 1], start[of], np.ones(of.sum()), frame_rate)


def _in_range(pitch: NDArray) -> NDArray:
    """Pitches beyond the channels, moved by octaves to the nearest that has one."""
    outside = (pitch < PITCH_LOW) | (pitch > PITCH_HIGH)
    if outside.any():
        logger.warning(
            "%d notes outside MIDI %d–%d are shown an octave off", outside.sum(), PITCH_LOW, PITCH_HIGH
        )
    low = pitch + 12 * np.ceil(np.maximum(PITCH_LOW - pitch, 0) / 12)
    return (low - 12 * np.ceil(np.maximum(low - PITCH_HIGH, 0) / 12)).astype(np.int64)


def _drums(channels: Array, score: Score, time: NDArray, frame_rate: float) -> None:
    hits = score.drum_hits()
    for number, drum in enumerate(DRUMS):
        own = sorted((h.time, h.velocity) for h in hits if h.drum == drum)
        if not own:
            continue
        at, velocity = np.array(own).T
        index = np.searchsorted(at, time, side="right") - 1
        since = time - at[np.maximum(index, 0)]
        envelope = velocity[np.maximum(index, 0)] * np.exp(-np.maximum(since, 0) / DECAY[drum])
        channels[:, GROUPS["drums"].start + number] = np.where((index >= 0) & (envelope > 1e-3), envelope, 0)
        _pulses(channels[:, GROUPS["hits"].start + number], at, velocity, frame_rate)


def _syllables(notes: Sequence[NoteSpan], time: NDArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The sung syllable's ids a frame; its initial already sounds up to `CONSONANT` before its note."""
    initial, final = np.zeros(len(time), np.int64), np.zeros(len(time), np.int64)
    ids: list[tuple[int, int]] = []
    for note in notes:
        held = note.syllable == HOLD and ids
        ids.append(ids[-1] if held else _ids(note.reading or note.syllable or ""))
    alive, index = _current([n.start for n in notes], [n.end for n in notes], time)
    if not len(alive):
        return initial, final
    table = np.array(ids)
    initial[alive], final[alive] = table[index].T
    middle = 0.0  # of the note before: a consonant takes at most the second half of it
    for note, (first, _) in zip(notes, ids):
        if note.syllable != HOLD:
            left, right = np.searchsorted(time, (max(note.start - CONSONANT, middle), note.start))
            initial[left:right] = first
        middle = (note.start + note.end) / 2
    return initial, final


@lru_cache(maxsize=4096)
def _ids(reading: str) -> tuple[int, int]:
    if not any(c.isalpha() for c in reading):
        return 0, 0  # a held note at the very start, or a mark: nothing to pronounce
    initial, final, _ = split(reading)
    return INITIALS.index(initial), FINALS.index(final)
