"""A singer: syllables on notes, spoken by espeak-ng, analysed by WORLD and re-sung by `corpus.vocoder`.

Each syllable's consonant sounds before its note so that the vowel starts on it; the vowel is stretched to
the note, a melisma carries it on. Pitch slides between notes within a share of the shorter one (so that
quick notes aren't smeared), is scooped into from below, wavers and, on long notes, vibrates after a while.

Source: Morise et al. 2016 (WORLD), doi:10.1587/transinf.2015EDP7457; the shape of the pitch follows
Saitou et al. 2005 (overshoot, vibrato, fine fluctuation), doi:10.1016/j.specom.2005.01.010.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.signal import butter, sosfilt

from common import pinyin
from common.audio import Samples
from common.errors import AudioError
from common.score import HOLD, NoteSpan
from corpus import vocoder
from corpus.record import Singer
from corpus.syllables import FRAME, GRID, VARIANTS, Template, template

log = logging.getLogger(__name__)

Array = npt.NDArray[np.float64]
Array32 = npt.NDArray[np.float32]

SAMPLE_RATE = vocoder.SAMPLE_RATE
# Where each singer is comfortable, lowest and highest MIDI note.
RANGES: dict[str, tuple[int, int]] = {"female": (57, 74), "male": (47, 66), "child": (60, 76)}
_LEVEL = 0.1  # RMS while singing
_JOINED = 0.12  # s: a shorter rest between two notes is sung through
_LEAD = 24  # frames that a consonant may take at most
_CLOSURE = 6  # frames of silence before a stop inside a phrase
_SILENT = -16.0  # log power
_DIPHTHONGS = ("ai", "ei", "ao", "ou", "iu", "ui")
_RELEASE = 16  # frames


@dataclass(frozen=True)
class Voice:
    """What makes one singer sound unlike another. Frozen, so that it can be written into a record."""

    variant: str = "f2"  # a key of corpus.syllables.VARIANTS
    formant: float = 1.0  # formants over the variant's own, 0.84 … 1.25
    vibrato_rate: float = 5.5  # Hz
    vibrato_depth: float = 0.25  # semitones to either side
    vibrato_delay: float = 0.3  # s from the start of a note
    breath: float = 0.1  # 0 pressed … 1 breathy
    brightness: float = 0.0  # dB an octave above 1 kHz
    portamento: float = 0.07  # s that a slide between long notes takes
    scoop: float = 0.6  # semitones below, where a phrase begins
    jitter: float = 0.04  # semitones of slow wandering

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise AudioError(f"voice variant {self.variant!r} is not one of {', '.join(VARIANTS)}")
        if not 0.8 <= self.formant <= 1.3:
            raise AudioError(f"formants are warped by 0.8 … 1.3, but got {self.formant}")


@dataclass(frozen=True, eq=False)
class Sung:
    """A vocal track and when its vowels begin."""

    samples: Samples  # (time,) at 44.1 kHz
    onsets: list[float]  # s, one for each sung note that isn't a HOLD


# By singer: variants, formants over the plain voice's, vibrato depth.
_SINGERS: dict[str, tuple[tuple[str, ...], tuple[float, float], tuple[float, float]]] = {
    "female": (("f1", "f2", "f3", "f4", "f5"), (1.09, 1.20), (0.12, 0.40)),
    "male": (("plain", "m1", "m2", "m3", "m4", "m5", "m6", "m7"), (0.91, 1.02), (0.10, 0.35)),
    "child": (("f1", "f2", "f3", "f4", "f5"), (1.27, 1.38), (0.0, 0.10)),
}


def draw_voice(singer: Singer, rng: np.random.Generator) -> Voice:
    """A random voice of a kind. Raises AudioError for "none"."""
    if singer not in _SINGERS:
        raise AudioError(f"a voice is one of {', '.join(_SINGERS)}, but got {singer!r}")
    variants, body, vibrato = _SINGERS[singer]
    variant = variants[int(rng.integers(len(variants)))]

    def uniform(low: float, high: float) -> float:
        return round(float(rng.uniform(low, high)), 4)

    return Voice(
        variant=variant,
        formant=round(float(np.clip(uniform(*body) / VARIANTS[variant].scale, 0.84, 1.25)), 4),
        vibrato_rate=uniform(4.9, 6.3),
        vibrato_depth=uniform(*vibrato),
        vibrato_delay=uniform(0.2, 0.45),
        breath=uniform(0.0, 0.6),
        brightness=uniform(-1.0, 2.0),
        portamento=uniform(0.04, 0.10),
        scoop=uniform(0.2, 1.2),
        jitter=uniform(0.02, 0.06),
    )


# ---- from notes to phrases -----------------------------------------------------------------


@dataclass
class _Unit:
    """A syllable and the notes it is sung on."""

    template: Template
    name: str  # toneless pinyin or a word
    start: float  # s
    end: float
    notes: list[tuple[float, int]]  # (start, MIDI)
    whole: bool = True  # False: only its vowel, where a melisma starts anew after a rest

    @property
    def onset(self) -> int:
        return self.template.onset if self.whole else 0


def _spelling(note: NoteSpan) -> str:
    """What is said on a note: toneless pinyin, or a word in Latin letters."""
    reading = pinyin.toneless((note.reading or "").lower().replace("ü", "v"))
    if reading in pinyin.SYLLABLES:
        return reading
    text = note.syllable or ""
    if len(text) == 1 and pinyin.is_han(text):
        read = pinyin.toneless(pinyin.read(text)[0])
        log.warning("the reading %r of %r is no Mandarin syllable: %r is sung", note.reading, text, read)
        return read
    if any(c.isalpha() and c.isascii() for c in text):
        log.warning("%r is sung as one English word", text)
        return text.lower()
    log.warning("%r with the reading %r can't be sung: 'a' is sung", text, note.reading)
    return "a"


def _units(notes: Sequence[NoteSpan], variant: str) -> list[_Unit]:
    units: list[_Unit] = []
    for note in sorted((n for n in notes if n.syllable is not None), key=lambda n: n.start):
        held = note.syllable == HOLD and bool(units)
        if held and note.start - units[-1].end < _JOINED:
            units[-1].notes.append((note.start, note.pitch))
            units[-1].end = note.end
            continue
        name = units[-1].name if held else "a" if note.syllable == HOLD else _spelling(note)
        if note.syllable == HOLD and not held:
            log.warning("a melisma at %.2f s has no syllable before it: 'a' is sung", note.start)
        made = template(variant, name)
        units.append(_Unit(made, name, note.start, note.end, [(note.start, note.pitch)], not held))
    return units


def _phrases(units: list[_Unit]) -> Iterator[list[_Unit]]:
    """Runs of syllables without a rest between them."""
    phrase: list[_Unit] = []
    for unit in units:
        if phrase and unit.start - phrase[-1].end >= _JOINED:
            yield phrase
            phrase = []
        phrase.append(unit)
    if phrase:
        yield phrase


# ---- the frames of a phrase ----------------------------------------------------------------


@dataclass
class _Frames:
    """A phrase at WORLD's frame rate."""

    origin: float  # s of frame 0
    envelope: Array32  # (frames, grid) log power
    voiced: npt.NDArray[np.bool_]
    vowel: npt.NDArray[np.bool_]  # inside a vowel: its power is evened out
    gain: Array32  # (frames,) log power
    pitch: Array  # (frames,) MIDI
    starts: list[int] = field(default_factory=list)  # the frame of each unit's vowel


def _leads(phrase: list[_Unit]) -> list[tuple[int, int]]:
    """Frames of consonant and of closure before each vowel."""
    first = min(phrase[0].onset, _LEAD, int(phrase[0].start / FRAME))
    leads = [(first, 0)]
    for before, unit in zip(phrase, phrase[1:]):
        room = int(0.4 * (unit.start - before.start) / FRAME)
        closure = min(_CLOSURE, room // 4) if unit.template.stopped and unit.whole else 0
        leads.append((min(unit.onset, _LEAD, room - closure), closure))
    return leads


def _stretch(final: int, length: int, name: str, rng: np.random.Generator) -> Array:
    """Which of `final` source frames each of `length` sung frames is made of.

    The first 90 ms keep their speed, the glide or nasal at the end is a little slower than spoken, and
    what lies between is stretched, wandering a little so that it doesn't freeze.
    """
    head = min(18, final // 3, length // 3)
    tail = min(16 if name.endswith(("n", "ng", "r")) else 10, final // 3)
    slow = min(tail + length // 12, length // 3)
    middle = length - head - slow
    u = np.linspace(0, 1, middle, endpoint=False)
    if name.endswith(_DIPHTHONGS):
        u = u**2.0  # stay on the vowel, glide late
    wander = np.clip(np.cumsum(rng.standard_normal(middle)) * 0.25, -2, 2)
    source = np.concatenate(
        [
            np.arange(head),
            head + u * (final - head - tail) + wander,
            np.linspace(final - tail, final - 1, slow) if slow else [],
        ]
    )
    return np.clip(source, 0, final - 1)


def _lay(phrase: list[_Unit], rng: np.random.Generator) -> _Frames:
    """Put the consonants and stretched vowels of a phrase side by side."""
    leads = _leads(phrase)
    origin = phrase[0].start - leads[0][0] * FRAME
    starts = [round((unit.start - origin) / FRAME) for unit in phrase]
    last = max(starts[-1] + 8, round((phrase[-1].end - origin) / FRAME))
    ends = [s - sum(lead) for s, lead in zip(starts[1:], leads[1:])] + [last]
    out = _Frames(
        origin,
        np.full((last, len(GRID)), _SILENT, np.float32),
        np.zeros(last, bool),
        np.zeros(last, bool),
        np.zeros(last, np.float32),
        np.zeros(last),
        starts,
    )
    for unit, (lead, _), start, end in zip(phrase, leads, starts, ends):
        source, onset = unit.template, unit.template.onset
        if lead:
            index = np.round(np.linspace(onset - unit.onset, onset - 1, lead)).astype(int)
            out.envelope[start - lead : start] = source.envelope[index]
            out.voiced[start - lead : start] = source.voiced[index]
        end = max(end, start + 2)
        position = onset + _stretch(len(source.envelope) - onset, end - start, unit.name, rng)
        low = position.astype(int)
        high = np.minimum(low + 1, len(source.envelope) - 1)
        share = (position - low)[:, None].astype(np.float32)
        out.envelope[start:end] = source.envelope[low] * (1 - share) + source.envelope[high] * share
        out.voiced[start:end] = source.voiced[low]
        out.vowel[start:end] = True
        out.gain[start:end] += (
            0.25 * np.sin(np.pi * np.linspace(0, 1, end - start)) + 0.1 * rng.standard_normal()
        )
    _blend(out, starts)
    return out


def _blend(frames: _Frames, starts: list[int]) -> None:
    """Smooth the spectrum over 20 ms where one voiced sound meets another."""
    joints = np.flatnonzero(np.diff(frames.vowel.astype(int))) + 1
    for joint in sorted({*joints.tolist(), *starts}):
        a, b = joint - 2, joint + 2
        if a >= 1 and b < len(frames.voiced) and frames.voiced[a - 1 : b + 1].all():
            share = np.linspace(0, 1, b - a + 2, dtype=np.float32)[1:-1, None]
            frames.envelope[a:b] = frames.envelope[a - 1] * (1 - share) + frames.envelope[b] * share


# ---- pitch ---------------------------------------------------------------------------------


def _smooth_noise(rng: np.random.Generator, length: int, width: int) -> Array:
    """Noise of unit variance that wanders over `width` frames."""
    window = np.hanning(width + 2)[1:-1]
    noise = rng.standard_normal(length + width - 1)
    return np.convolve(noise, window / np.sqrt((window**2).sum()), "valid")


def _tune(frames: _Frames, phrase: list[_Unit], voice: Voice, rng: np.random.Generator) -> None:
    """Fill in the pitch of a phrase."""
    notes = [note for unit in phrase for note in unit.notes]
    edges = [0] + [round((start - frames.origin) / FRAME) for start, _ in notes[1:]] + [len(frames.pitch)]
    first = frames.starts[0]
    for (_, pitch), a, b in zip(notes, edges, edges[1:]):
        frames.pitch[a:b] = pitch
    for index in range(1, len(notes)):
        _slide(frames.pitch, edges[index - 1 : index + 2], notes[index - 1][1], notes[index][1], voice)
    if notes[0][0] and (edges[1] - first) * FRAME > 0.2:
        dip = voice.scoop * rng.uniform(0.3, 1.0) * np.exp(-np.arange(24) / 9)
        span = frames.pitch[first : first + 24]
        span -= dip[: len(span)]
        frames.pitch[:first] -= dip[0]
    for a, b in zip([first, *edges[1:]], edges[1:]):
        _vibrate(frames, a, b, voice, rng)
    length = len(frames.pitch)
    frames.pitch += voice.jitter * _smooth_noise(rng, length, 100) + 0.02 * _smooth_noise(rng, length, 9)


def _slide(pitch: Array, edges: Sequence[int], before: int, after: int, voice: Voice) -> None:
    """A smooth step around `edges[1]`, most of it before the beat, never longer than its notes allow."""
    left, joint, right = edges
    wish = voice.portamento * (1 + 0.05 * abs(after - before)) / FRAME
    width = min(wish, 0.45 * (joint - left), 0.45 * (right - joint))
    a, b = round(joint - 0.65 * width), round(joint + 0.35 * width)
    u = (np.arange(a, b) - a + 0.5) / max(b - a, 1)
    pitch[a:b] = before + (after - before) * u * u * (3 - 2 * u)
    span = pitch[b : min(right, b + 30)]
    if abs(after - before) >= 3 and right - b > 50:
        n = np.arange(len(span))
        span += 0.2 * np.sign(after - before) * np.sin(np.pi * n / 12) * np.exp(-n / 8)


def _vibrate(frames: _Frames, a: int, b: int, voice: Voice, rng: np.random.Generator) -> None:
    """Vibrato on a note of frames a … b, with its trembling of loudness; nothing on a short one."""
    duration = (b - a) * FRAME
    rate = voice.vibrato_rate * rng.uniform(0.95, 1.05)
    delay = min(voice.vibrato_delay, 0.4 * duration)
    if duration < 0.4 or voice.vibrato_depth <= 0:
        return
    t = np.arange(b - a) * FRAME - delay
    depth = np.clip(t / 0.25, 0, 1) * np.clip((duration - delay - t) / 0.08, 0, 1)
    wave = depth * np.sin(2 * np.pi * rate * np.maximum(t, 0))
    frames.pitch[a:b] += voice.vibrato_depth * wave
    frames.gain[a:b] += (0.3 * voice.vibrato_depth * wave).astype(np.float32)


# ---- loudness and colour -------------------------------------------------------------------


def _hertz(pitch: Array) -> Array:
    return 440.0 * 2.0 ** ((pitch - 69.0) / 12.0)


def _even_out(frames: _Frames, voice: Voice) -> None:
    """Take most of the differences between vowels out of their loudness at the sung pitch.

    A high note whose harmonics miss the formants would be thin, and the end of a spoken syllable fades.
    """
    harmonics = _hertz(frames.pitch)[:, None] * np.arange(1, 11) / voice.formant
    position = np.interp(harmonics, GRID, np.arange(len(GRID)))
    low = np.minimum(position.astype(int), len(GRID) - 2)
    rows = np.arange(len(low))[:, None]
    share = position - low
    log_power = frames.envelope[rows, low] * (1 - share) + frames.envelope[rows, low + 1] * share
    power = np.log((np.exp(log_power) * harmonics[:, :1]).sum(axis=1) / GRID[1] + 1e-9)
    power = np.convolve(np.pad(power, 10, mode="edge"), np.full(21, 1 / 21), "valid")
    frames.gain -= np.where(frames.vowel, 0.75 * np.clip(power, -3, 3), 0).astype(np.float32)


def _fade(frames: _Frames) -> None:
    """A soft end, and a start without a click where the phrase begins with its vowel."""
    release = min(_RELEASE, len(frames.gain) // 3)
    frames.gain[-release:] += 2 * np.log(np.cos(np.linspace(0, 0.99 * np.pi / 2, release))).astype(np.float32)
    if frames.starts[0] == 0:
        frames.gain[:3] += np.asarray([-4.0, -1.5, -0.4], np.float32)


@lru_cache(maxsize=64)
def _warp(formant: float, brightness: float) -> tuple[npt.NDArray[np.int64], Array32, Array32, Array32]:
    """For each bin of the synthesis: the grid point below, the share of the next, the tilt voiced and not."""
    hertz = vocoder.hertz()
    source = hertz / formant
    position = np.interp(source, GRID, np.arange(len(GRID)))
    low = np.minimum(position.astype(np.int64), len(GRID) - 2)
    beyond = np.maximum(0, source - GRID[-1]) / 1000  # kHz above what espeak speaks in
    tilt = brightness * np.log(10) / 10 * np.log2(np.maximum(hertz, 1000) / 1000)
    rumble = -3.0 * np.maximum(0, 1 - hertz / 60)
    voiced = tilt - 0.7 * beyond + rumble
    unvoiced = -0.35 * beyond + rumble
    return low, (position - low).astype(np.float32), voiced.astype(np.float32), unvoiced.astype(np.float32)


def _aperiodicity(voice: Voice) -> Array32:
    """The share of noise by frequency (amplitude): espeak's own is below a singer's, so it is modelled."""
    middle = 9000.0 * 2.0 ** (-1.6 * voice.breath)
    share = 1 / (1 + np.exp(-2.2 * np.log2(np.maximum(vocoder.hertz(), 20) / middle)))
    return np.clip(0.002 + 0.03 * voice.breath**2 + 0.9 * share, 0, 0.95).astype(np.float32)


def _synthesise(frames: _Frames, voice: Voice, rng: np.random.Generator) -> Array32:
    """The samples of a phrase."""
    low, share, voiced, unvoiced = _warp(voice.formant, voice.brightness)
    spectrum = np.take(frames.envelope, low, axis=1)
    spectrum += (np.take(frames.envelope, low + 1, axis=1) - spectrum) * share
    spectrum += np.where(frames.voiced[:, None], voiced, unvoiced)
    spectrum += frames.gain[:, None]
    return vocoder.synthesise(spectrum, _hertz(frames.pitch), frames.voiced, _aperiodicity(voice), rng)


def _inhale(voice: Voice, rng: np.random.Generator) -> Array:
    """A breath, softer than the singing by 30 dB or so."""
    length = int(rng.uniform(0.16, 0.30) * SAMPLE_RATE)
    sections = butter(2, [900 * voice.formant, 5000 * voice.formant], "band", fs=SAMPLE_RATE, output="sos")
    swell = np.sin(np.pi * np.linspace(0, 1, length) ** 1.5) ** 2
    return sosfilt(sections, rng.standard_normal(length)) * swell


# ---- singing -------------------------------------------------------------------------------


def sing(notes: Sequence[NoteSpan], voice: Voice, rng: np.random.Generator, duration: float) -> Sung:
    """Sing the notes that have a syllable; the others are passed over.

    Args:
        notes: in seconds from the start of the song; `HOLD` goes on with the vowel before it.
        duration: seconds of the result.
    Returns:
        Samples (time,) with an RMS of 0.1 while singing (all zero when there is nothing to sing), and the
        onset of each syllable's vowel as it was placed.
    Raises:
        AudioError: espeak-ng can't be used.
    """
    out = np.zeros(round(duration * SAMPLE_RATE), np.float32)
    onsets: list[float] = []
    energy, sounding, last = 0.0, 0, 0.0
    for phrase in _phrases(_units(notes, voice.variant)):
        frames = _lay(phrase, rng)
        _tune(frames, phrase, voice, rng)
        _even_out(frames, voice)
        _fade(frames)
        samples = _synthesise(frames, voice, rng)
        # Not a dot product: BLAS sums in another order with another number of threads.
        power = float(np.square(samples, dtype=np.float64).sum())
        energy, sounding = energy + power, sounding + len(samples)
        _add(out, samples, frames.origin)
        if frames.origin - last > 0.5:
            breath = _inhale(voice, rng)
            level = np.sqrt(power / len(samples)) * (0.02 + 0.06 * voice.breath)
            _add(out, breath * level, frames.origin - 0.04 - len(breath) / SAMPLE_RATE)
        onsets += [frames.origin + s * FRAME for s, unit in zip(frames.starts, phrase) if unit.whole]
        last = phrase[-1].end
    if energy:
        out *= np.float32(_LEVEL / np.sqrt(energy / sounding))
    return Sung(out, onsets)


def _add(out: Samples, samples: Array | Array32, start: float) -> None:
    """Mix in at a time, cutting what lies outside."""
    at = round(start * SAMPLE_RATE)
    skip = max(0, -at)
    end = min(len(out), at + len(samples))
    if end > at + skip:
        out[at + skip : end] += samples[skip : end - at].astype(np.float32)
