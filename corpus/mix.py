"""Stems to a mastered stereo mix.

Each stem is brought to its level, equalised, placed and sent to a reverb; their sum is balanced towards the
spectrum of pop records, compressed, limited and set to −14 LUFS with at most −1 dBTP. The stems that come
back carry one master gain and sum to the mix as it was before mastering.
"""

import logging
import math
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import scipy.fft
from scipy.ndimage import convolve1d
from scipy.signal import butter, sosfilt

from common.audio import Audio, Samples, die_away
from common.errors import AudioError
from common.loudness import amplitude, db, integrated_loudness, normalise

log = logging.getLogger(__name__)

Array = npt.NDArray[np.float64]
Stem = Samples | Callable[[], Samples]

SAMPLE_RATE = 44100  # Hz
STEMS = ("vocals", "drums", "bass", "harmony", "lead")
_PIECE = 1 << 18  # samples
_CREST = 20.0  # dB that a stem's highest peak may stand over its level
_BLOCK = 441  # samples between two values of the compressor's gain: 10 ms

# Octave bands (Hz) and their power in dB, of the average of successful pop recordings: within a decibel
# or two of 2 dB an octave down to 4 kHz, steeper above (Pestana et al. 2013, AES convention paper 8897).
_BANDS = (62.5, 125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0, 16000.0)
_TARGET = (-1.0, 0.0, -2.5, -4.5, -6.5, -8.5, -11.0, -15.0, -24.0)


@dataclass(frozen=True)
class StemSettings:
    """How one stem sits in the mix."""

    level: float  # LUFS before mastering
    low_cut: float = 30.0  # Hz
    presence: float = 0.0  # dB around 3 kHz
    air: float = 0.0  # dB above 7 kHz
    pan: float = 0.0  # −1 left … 1 right
    width: float = 0.0  # 0 as it is … 1: a mono stem spread over the sides
    send: float = -math.inf  # dB to the reverb
    compression: float = 0.0  # share of its loud passages' excess that is taken away
    grit: float = 0.0  # 0 clean … 1 saturated
    echo: float = -math.inf  # dB of the first of its echoes


def _stems() -> dict[str, StemSettings]:
    return {
        "vocals": StemSettings(-18.0, 90, 2.5, 3.0, 0.0, 0.15, -14.0, 0.5),
        "drums": StemSettings(-19.5, 28, 1.0, 3.0, 0.0, 0.0, -24.0, 0.2),
        "bass": StemSettings(-21.5, 30, 1.5, 0.0, 0.0, 0.0, -math.inf, 0.4),
        "harmony": StemSettings(-22.0, 130, 1.5, 3.0, 0.0, 0.4, -16.0, 0.2),
        "lead": StemSettings(-21.5, 160, 2.0, 2.0, 0.0, 0.2, -13.0, 0.3),
    }


@dataclass(frozen=True)
class MixSettings:
    """A taste in mixing; `vary` draws one near it."""

    stems: Mapping[str, StemSettings] = field(default_factory=_stems)
    reverb_time: float = 1.6  # s to −60 dB
    pre_delay: float = 0.02  # s
    echo_time: float = 0.5  # s from one echo to the next
    damping: float = 5000.0  # Hz above which the reverb dies sooner
    balance: float = 0.7  # share of the way to the target spectrum
    tilt: float = 0.0  # dB an octave added to the target
    glue: float = 0.35  # share of the bus's excess over its mean that is taken away
    drive: float = -10.5  # LUFS at which the limiter works, before the level is set
    loudness: float = -14.0  # LUFS
    ceiling: float = -1.0  # dBTP


def vary(settings: MixSettings, rng: np.random.Generator) -> MixSettings:
    """Settings near the given ones: other levels, places, reverb and tone, within taste."""
    stems = {}
    for name in sorted(settings.stems):
        s = settings.stems[name]
        side = 0.3 if name in ("harmony", "lead") else 0.0
        stems[name] = replace(
            s,
            level=s.level + float(rng.uniform(-1, 1)),
            presence=s.presence + float(rng.uniform(-1, 1)),
            air=s.air + float(rng.uniform(-1, 1)),
            pan=float(np.clip(s.pan + side * rng.uniform(-1, 1), -1, 1)),
            send=s.send + float(rng.uniform(-2.5, 2)),
        )
    return replace(
        settings,
        stems=stems,
        reverb_time=settings.reverb_time * float(rng.uniform(0.75, 1.35)),
        pre_delay=settings.pre_delay * float(rng.uniform(0.5, 2.0)),
        damping=settings.damping * float(rng.uniform(0.7, 1.5)),
        balance=float(np.clip(settings.balance + rng.uniform(-0.15, 0.15), 0, 1)),
        tilt=settings.tilt + float(rng.uniform(-0.2, 0.4)),
        glue=float(np.clip(settings.glue + rng.uniform(-0.15, 0.15), 0, 0.9)),
        drive=settings.drive + float(rng.uniform(-1.0, 1.0)),
    )


@dataclass(frozen=True, eq=False)
class Mix:
    """A mastered song and what it was made of."""

    audio: Audio
    stems: dict[str, Audio]  # empty unless asked for
    settings: MixSettings  # as drawn


# ---- filters -----------------------------------------------------------------------------


def _shelf(hertz: float, gain: float) -> Array:
    """A high shelf, one second-order section (R. Bristow-Johnson's cookbook, slope 1)."""
    a, w = 10 ** (gain / 40), 2 * np.pi * hertz / SAMPLE_RATE
    cos, alpha = np.cos(w), np.sin(w) / 2 * np.sqrt(2.0)
    root = 2 * np.sqrt(a) * alpha
    b = a * np.asarray([(a + 1) + (a - 1) * cos + root, -2 * ((a - 1) + (a + 1) * cos),
                        (a + 1) + (a - 1) * cos - root])  # fmt: skip
    d = np.asarray([(a + 1) - (a - 1) * cos + root, 2 * ((a - 1) - (a + 1) * cos),
                    (a + 1) - (a - 1) * cos - root])  # fmt: skip
    return np.concatenate([b, d]) / d[0]


def _bell(hertz: float, gain: float, q: float) -> Array:
    """A peaking equaliser, one second-order section (cookbook)."""
    a, w = 10 ** (gain / 40), 2 * np.pi * hertz / SAMPLE_RATE
    alpha = np.sin(w) / (2 * q)
    b = np.asarray([1 + alpha * a, -2 * np.cos(w), 1 - alpha * a])
    d = np.asarray([1 + alpha / a, -2 * np.cos(w), 1 - alpha / a])
    return np.concatenate([b, d]) / d[0]


def _filter(x: Samples, sections: Array) -> None:
    """Filter (2, time) in place, piece by piece: doubles of a whole song would fill the memory."""
    for channel in x:
        state = np.zeros((len(sections), 2))
        for start in range(0, len(channel), _PIECE):
            y, state = sosfilt(sections, channel[start : start + _PIECE].astype(np.float64), zi=state)
            channel[start : start + _PIECE] = y


def _equalise(x: Samples, s: StemSettings) -> None:
    cut = butter(2, s.low_cut, "high", fs=SAMPLE_RATE, output="sos")
    _filter(x, np.stack([cut[0], _bell(3000, s.presence, 0.8), _shelf(7000, s.air)]))


# ---- placing -----------------------------------------------------------------------------


def _place(x: Samples, s: StemSettings) -> None:
    """Widen and pan (2, time) in place; the mono sum keeps its level."""
    if s.width:
        delay = round(0.013 * SAMPLE_RATE)
        middle = (x[0] + x[1]) * np.float32(0.5 * s.width)
        middle[delay:] = middle[:-delay].copy()
        middle[:delay] = 0
        x[0] += middle
        x[1] -= middle
    angle = (s.pan + 1) * math.pi / 4
    x[0] *= np.float32(math.cos(angle) * math.sqrt(2))
    x[1] *= np.float32(math.sin(angle) * math.sqrt(2))


def _echo(x: Samples, gain: float, seconds: float) -> None:
    """Add three echoes to (2, time) in place, each softer by 8 dB and from the other side."""
    delay = round(seconds * SAMPLE_RATE)
    dry = x.copy()
    for number in range(1, 4):
        late = number * delay
        if late >= x.shape[1]:
            return
        dry = dry[::-1]
        x[:, late:] += dry[:, : x.shape[1] - late] * np.float32(gain * amplitude(-8.0 * (number - 1)))


def _impulse_response(settings: MixSettings, rng: np.random.Generator) -> Samples:
    """A room (2, time): a few early reflections, then noise that decays sooner in the treble."""
    length = round(min(settings.reverb_time * 1.1, 4.0) * SAMPLE_RATE)
    t = np.arange(length) / SAMPLE_RATE
    noise = rng.standard_normal((2, length))
    low = sosfilt(butter(1, settings.damping, fs=SAMPLE_RATE, output="sos"), noise, axis=1)
    decay = np.exp(-6.9 * t / settings.reverb_time)
    tail = low * decay + (noise - low) * decay**2.2
    tail *= 1 - np.exp(-t / 0.01)
    for _ in range(8):
        at = round(rng.uniform(0.002, 0.04) * SAMPLE_RATE)
        tail[int(rng.integers(2)), at] += rng.choice([-1, 1]) * rng.uniform(2, 6)
    tail = sosfilt(butter(2, [220, 11000], "band", fs=SAMPLE_RATE, output="sos"), tail, axis=1)
    tail = np.pad(tail, ((0, 0), (round(settings.pre_delay * SAMPLE_RATE), 0)))
    return (tail / np.sqrt((tail**2).sum(axis=1, keepdims=True))).astype(np.float32)


def _reverberate(x: Samples, response: Samples, gain: float) -> None:
    """Add the room's answer to the mono sum of (2, time) in place, by overlap-add."""
    size, length = _PIECE, x.shape[1]
    room = scipy.fft.rfft(response * np.float32(gain * 0.5), size)
    step = size - response.shape[1] + 1
    send = x[0] + x[1]
    for start in range(0, length, step):
        wet = scipy.fft.irfft(scipy.fft.rfft(send[start : start + step], size) * room, size)
        stop = min(length, start + size)
        x[:, start:stop] += wet[:, : stop - start]


# ---- dynamics ----------------------------------------------------------------------------


def _compress(x: Samples, share: float) -> None:
    """Take `share` of the level over its mean away, in (2, time) in place, smoothed over 60 ms."""
    if share <= 0:
        return
    length = x.shape[1]
    step = _PIECE // _BLOCK * _BLOCK  # piece by piece: squares of a whole song would fill the memory
    pieces = [x[:, start : start + step] for start in range(0, length, step)]
    power = np.concatenate([_block_power(piece) for piece in pieces])
    level = 10 * np.log10(power / _BLOCK + 1e-10)
    loud = level[level > level.max() - 40]
    window = np.hanning(9)[1:-1]
    level = convolve1d(level, window / window.sum(), mode="nearest")
    gain = 10 ** (-share * np.maximum(level - loud.mean(), 0) / 20)
    knots = np.concatenate([gain[:1], (gain[1:] + gain[:-1]) / 2, gain[-1:]]).astype(np.float32)
    ramp = np.arange(_BLOCK, dtype=np.float32) / np.float32(_BLOCK)
    for number, piece in enumerate(pieces):
        near = knots[number * step // _BLOCK :][: step // _BLOCK + 1]
        piece *= (near[:-1, None] + np.diff(near)[:, None] * ramp).reshape(-1)[: piece.shape[1]]


def _saturate(x: Samples, grit: float) -> None:
    """Bend (2, time) in place, as a valve or tape does that is driven too hard; the peak stays."""
    peak = float(max(x.max(), -x.min()))
    if grit <= 0 or peak == 0:
        return
    drive = 1 + 7 * grit
    x *= np.float32(drive / peak)
    np.tanh(x, out=x)
    x *= np.float32(peak / math.tanh(drive))


def _block_power(x: Samples) -> Array:
    """The energy of each block of (2, time)."""
    edges = np.arange(0, x.shape[1], _BLOCK)
    return np.sum([np.add.reduceat(c * c, edges).astype(np.float64) for c in x], axis=0)


# ---- mastering ---------------------------------------------------------------------------


def octave_levels(audio: Audio) -> Array:
    """Power in the octaves from 62.5 Hz to 16 kHz, dB over their sum, from up to 200 windows of the audio."""
    size = 8192
    length = audio.samples.shape[1]
    starts = np.linspace(0, max(0, length - size), min(200, max(1, length // size))).astype(int)
    window = np.hanning(size).astype(np.float32)
    power = np.zeros(size // 2 + 1)
    for start in starts:
        piece = audio.samples[:, start : start + size]
        piece = np.pad(piece, ((0, 0), (0, size - piece.shape[1]))) * window
        power += (np.abs(scipy.fft.rfft(piece)) ** 2).sum(axis=0)
    hertz = np.arange(len(power)) * audio.sample_rate / size
    bands = [power[(hertz >= f / math.sqrt(2)) & (hertz < f * math.sqrt(2))].sum() for f in _BANDS]
    return 10 * np.log10(np.asarray(bands) / max(sum(bands), 1e-12) + 1e-12)


def _balance(audio: Audio, settings: MixSettings) -> None:
    """Bring the octave bands part of the way to the target, in place; no band by more than 9 dB."""
    target = np.asarray(_TARGET) + settings.tilt * (np.arange(len(_BANDS)) - 4)
    lack = target - octave_levels(audio)
    lack = settings.balance * (lack - np.median(lack))
    gains = np.clip(convolve1d(lack, [0.2, 0.6, 0.2], mode="nearest"), -6, 9)
    sections = [_bell(f, g, 1.2) for f, g in zip(_BANDS[:-2], gains)] + [_shelf(7000, float(gains[-2]))]
    _filter(audio.samples, np.stack(sections))


def _master(total: Samples, settings: MixSettings) -> Audio:
    """Tone, glue, limiter and level of (2, time), which is overwritten."""
    audio = Audio(total, SAMPLE_RATE)
    _balance(audio, settings)
    _compress(audio.samples, settings.glue)
    loud = normalise(audio, settings.drive, settings.ceiling)
    down = settings.loudness - integrated_loudness(loud)
    if down > 0:  # the limiter couldn't reach its drive, or the target is louder
        return normalise(loud, settings.loudness, settings.ceiling)
    np.multiply(loud.samples, np.float32(amplitude(down)), out=loud.samples)
    return loud


# ---- mixing ------------------------------------------------------------------------------


def _stereo(name: str, stem: Stem) -> Samples:
    """A copy (2, time) of a stem, rendered now if it is still to be made."""
    samples = stem() if callable(stem) else stem
    if samples.ndim == 1:
        return np.repeat(samples[None], 2, axis=0)
    if samples.ndim != 2 or samples.shape[1] != 2:
        raise AudioError(f"the stem {name!r} is an array (time, 2), but its shape is {samples.shape}")
    return np.array(samples.T, dtype=np.float32, order="C")


def _prepare(x: Samples, s: StemSettings, room: Samples, echo_time: float) -> bool:
    """Give a stem (2, time) its tone, level, place and reverb, in place; False when it is silent."""
    _equalise(x, s)
    _compress(x, s.compression)
    _saturate(x, s.grit)
    loudness = integrated_loudness(Audio(x.mean(axis=0, keepdims=True), SAMPLE_RATE)) + 3.0
    if loudness == -math.inf:
        return False
    # A few strokes far apart have little loudness: brought to the level, they would tower over the rest.
    peak = float(max(x.max(), -x.min()))  # without a copy of the song
    x *= np.float32(min(amplitude(s.level - loudness), amplitude(s.level + _CREST) / peak))
    _place(x, s)
    if s.echo > -60:
        _echo(x, amplitude(s.echo), echo_time)
    if s.send > -60:
        _reverberate(x, room, amplitude(s.send))
    return True


def mix(
    stems: MutableMapping[str, Stem],
    rng: np.random.Generator,
    settings: MixSettings | None = None,
    keep_stems: bool = True,
) -> Mix:
    """Mix and master.

    Args:
        stems: (time, 2), or (time,) for mono, at 44.1 kHz, all of one length; any of `STEMS`, silent ones
            are left out of the mix. A function that returns such an array is called when its turn comes, so
            that a long song never has all its stems in memory. Emptied when `keep_stems` is False.
        settings: where the random settings are drawn around.
        keep_stems: return the stems too.
    Raises:
        AudioError: a stem has an unknown name or another length, or all are silent.
    """
    unknown = sorted(set(stems) - set(STEMS))
    if unknown or not stems:
        raise AudioError(f"stems are some of {', '.join(STEMS)}, but got {unknown or 'none'}")
    drawn = vary(settings or MixSettings(), rng)
    room = _impulse_response(drawn, rng)
    total: Samples | None = None
    kept: dict[str, Samples] = {}
    for name in [n for n in STEMS if n in stems]:
        stem = stems.get(name) if keep_stems else stems.pop(name, None)
        assert stem is not None, "the name is among the stems"
        x = _stereo(name, stem)
        del stem  # before the next one is rendered
        total = np.zeros_like(x) if total is None else total
        if x.shape != total.shape:
            raise AudioError(f"stems are of one length, but got {total.shape[1]} and {x.shape[1]} samples")
        if _prepare(x, drawn.stems[name], room, drawn.echo_time):
            die_away(x, SAMPLE_RATE)
            total += x
            if keep_stems:
                kept[name] = x
        del x  # before the next one is rendered
    if total is None or not total.any():
        raise AudioError("all stems are silent: there is nothing to mix")
    if kept:
        _set_gain(kept, drawn.loudness - integrated_loudness(Audio(total, SAMPLE_RATE)))
    audio = _master(total, drawn)
    return Mix(audio, {name: Audio(x, SAMPLE_RATE) for name, x in kept.items()}, drawn)


def _set_gain(stems: Mapping[str, Samples], wanted: float) -> None:
    """One gain for all stems, in place: to the loudness of the mix, but never beyond full scale."""
    peak = max(float(np.abs(x).max()) for x in stems.values())
    gain = np.float32(amplitude(min(wanted, -db(peak) - 0.1)))
    for x in stems.values():
        x *= gain
