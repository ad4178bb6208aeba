"""How loud it is heard, how high it peaks, and bringing both to a target.

Loudness is ITU-R BS.1770-4 (K-weighting, 400 ms blocks with 75 % overlap, gates at −70 LUFS and
10 LU below the mean); filter coefficients are pyloudnorm's "DeMan" set, which gives the standard's own
at 48 kHz to 1e-8 and follows them at other rates. Everything runs in pieces: minutes of stereo need a
few megabytes beside the samples.
"""

import logging
import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyloudnorm
import soxr
from scipy.ndimage import convolve1d, maximum_filter1d
from scipy.signal import sosfilt

from common.audio import Audio, Samples
from common.errors import AudioError

log = logging.getLogger(__name__)

Array = npt.NDArray[np.float64]
TARGET = -14.0  # LUFS, what streaming services play at
CEILING = -1.0  # dBTP
_WEIGHTS = (1.0, 1.0, 1.0, 1.41, 1.41)  # L R C Ls Rs, BS.1770-4 table 3
_PIECE = 1 << 18  # samples
_MARGIN = 512  # samples around a piece that the interpolation filter may look at
_KNOT = 16  # samples between two values of the limiter's gain
_LOOK_AHEAD = 0.003  # s in which the gain falls before a peak
_RELEASE = 0.08  # s, time constant with which it comes back


def db(ratio: float) -> float:
    """Decibels of an amplitude ratio; −inf of zero."""
    return 20 * math.log10(ratio) if ratio > 0 else -math.inf


def amplitude(decibels: float) -> float:
    """The amplitude ratio of so many decibels."""
    return float(10 ** (decibels / 20))


# ---- loudness ----------------------------------------------------------------------------


def _k_weighting(rate: int) -> Array:
    """Second-order sections (2, 6) of the K-weighting filter."""
    filters = pyloudnorm.Meter(rate, filter_class="DeMan")._filters.values()
    return np.stack([np.concatenate([f.b, f.a]) for f in filters])


def _step_energies(audio: Audio) -> Array:
    """Sums over channels of the K-weighted squares in each whole 100 ms."""
    rate, length = audio.sample_rate, audio.samples.shape[1]
    steps = int(length / rate * 10 + 1e-9)
    edges = np.asarray([int(0.1 * i * rate + 1e-6) for i in range(steps + 1)])
    out = np.zeros(steps)
    sections = _k_weighting(rate)
    for weight, channel in zip(_WEIGHTS, audio.samples):
        state = np.zeros((len(sections), 2))
        for first in range(0, steps, 64):
            ends = edges[first : first + 65]
            y, state = sosfilt(sections, channel[ends[0] : ends[-1]].astype(np.float64), zi=state)
            out[first : first + 64] += weight * np.add.reduceat(y * y, ends[:-1] - ends[0])
    return out


def integrated_loudness(audio: Audio) -> float:
    """Integrated loudness in LUFS; −inf for silence. Sound shorter than one block is one block of its length.

    Raises:
        AudioError: more than five channels.
    Source: ITU-R BS.1770-4.
    """
    if audio.channels > len(_WEIGHTS):
        raise AudioError(f"loudness is defined for up to {len(_WEIGHTS)} channels, but got {audio.channels}")
    if audio.duration < 0.4:
        return _lufs(_short_power(audio))
    return _gated(_step_energies(audio), audio.sample_rate)


def _gated(steps: Array, rate: int) -> float:
    """The loudness of sums of squares over steps of 100 ms."""
    blocks = np.convolve(steps, np.ones(4), "valid") / (0.4 * rate)
    loud = blocks[blocks > _power(-70.0)]
    if not loud.size:
        return -math.inf
    return _lufs(float(loud[loud > loud.mean() * 0.1].mean()))


def _short_power(audio: Audio) -> float:
    weights = np.asarray(_WEIGHTS[: audio.channels])
    y = sosfilt(_k_weighting(audio.sample_rate), audio.samples.astype(np.float64), axis=1)
    power = float(weights @ (y * y).mean(axis=1))
    return power if power > _power(-70.0) else 0.0


def _lufs(power: float) -> float:
    return -0.691 + 10 * math.log10(power) if power > 0 else -math.inf


def _power(lufs: float) -> float:
    return float(10 ** ((lufs + 0.691) / 10))


# ---- peaks -------------------------------------------------------------------------------


def _oversampled_peaks(channel: Samples, block: int) -> Iterator[Samples]:
    """For each `block` samples, the largest magnitude of the signal at four times its rate."""
    for start in range(0, len(channel), _PIECE):
        left, right = min(start, _MARGIN), min(len(channel), start + _PIECE + _MARGIN)
        fine = soxr.resample(channel[start - left : right], 1, 4, quality="HQ")
        fine = np.abs(fine[4 * left : 4 * (left + min(_PIECE, len(channel) - start))])
        yield np.maximum(_block_peaks(fine, 4 * block), _block_peaks(channel[start : start + _PIECE], block))


def _block_peaks(samples: Samples, block: int) -> Samples:
    return np.pad(np.abs(samples), (0, -len(samples) % block)).reshape(-1, block).max(axis=1)


def _peak_envelope(audio: Audio, block: int) -> Samples:
    """The largest magnitude over all channels, between samples too, of each `block` samples."""
    return np.maximum.reduce([np.concatenate(list(_oversampled_peaks(c, block))) for c in audio.samples])


def true_peak(audio: Audio) -> float:
    """The largest magnitude between samples, in dBTP (oversampled four times, as BS.1770-4 annex 2 asks)."""
    return db(float(_peak_envelope(audio, _PIECE).max()))


# ---- limiting and normalising --------------------------------------------------------------


def _gain_knots(envelope: Samples, ceiling: float, rate: int) -> Array:
    """Gains at the edges of the blocks of `_KNOT` samples: down within the look-ahead, up by the release."""
    loss = np.maximum(0.0, 1.0 - ceiling / np.maximum(envelope.astype(np.float64), 1e-12))
    knots = np.maximum(np.concatenate([loss[:1], loss]), np.concatenate([loss, loss[-1:]]))
    ahead = max(1, round(_LOOK_AHEAD * rate / _KNOT))
    # A maximum over 2n+1 knots smoothed by a window of 2n+1 knots is never below the loss itself.
    held = maximum_filter1d(knots, 2 * ahead + 1, mode="nearest")
    # d[n] = max(held[n], decay · d[n−1]) is a running maximum once the decay is divided out.
    fall = np.arange(len(held)) * (_KNOT / (_RELEASE * rate))
    with np.errstate(divide="ignore"):
        released = np.exp(np.maximum.accumulate(np.log(held) + fall) - fall)
    window = np.hanning(2 * ahead + 3)[1:-1]
    return 1.0 - convolve1d(np.maximum(held, released), window / window.sum(), mode="nearest")


def _apply_gain(samples: Samples, knots: Array | Samples) -> Samples:
    """Multiply by the gain, straight lines between the knots."""
    knots = knots.astype(np.float32)
    ramp = np.arange(_KNOT, dtype=np.float32) / np.float32(_KNOT)
    gain = (knots[:-1, None] + np.diff(knots)[:, None] * ramp).reshape(-1)
    return samples * gain[: samples.shape[1]]


def limit(audio: Audio, ceiling: float = CEILING) -> Audio:
    """Hold the true peak at or below `ceiling` dBTP with one gain for all channels; linear below it."""
    return _limit(audio, _peak_envelope(audio, _KNOT), 1.0, ceiling)


def _limit(audio: Audio, envelope: Samples, gain: float, ceiling: float) -> Audio:
    if envelope.max() * gain <= amplitude(ceiling):
        return Audio(audio.samples * np.float32(gain), audio.sample_rate)
    out = Audio(_apply_gain(audio.samples, _limiter(audio, envelope, gain, ceiling)), audio.sample_rate)
    over = true_peak(out) - ceiling
    # A moving gain bends the signal between samples by hundredths of a decibel: take them off everywhere.
    if over > 0:
        np.multiply(out.samples, np.float32(amplitude(-over - 1e-3)), out=out.samples)
    return out


def _limiter(audio: Audio, envelope: Samples, gain: float, ceiling: float) -> Array:
    """Gain times the limiter's gain, at its knots."""
    return gain * _gain_knots(envelope * np.float32(gain), amplitude(ceiling) * 0.998, audio.sample_rate)


def _drive(audio: Audio, envelope: Samples, steps: Array, lufs: float, ceiling: float) -> float:
    """About the gain in dB at which the limiter gives `lufs`: it acts alike within each 100 ms."""
    gain = wanted = lufs - _gated(steps, audio.sample_rate)
    edges = (np.arange(len(steps)) * (audio.sample_rate / 10 / _KNOT)).astype(int)
    for _ in range(6):
        knots = _limiter(audio, envelope, amplitude(min(gain, 60.0)), ceiling)
        squares = np.add.reduceat(knots * knots, edges) / np.diff(edges, append=len(knots))
        gain += lufs - _gated(steps * squares, audio.sample_rate)
    return float(np.clip(gain, wanted, 60.0))


def normalise(audio: Audio, lufs: float = TARGET, ceiling: float = CEILING) -> Audio:
    """Bring to `lufs` integrated, with the true peak at or below `ceiling` dBTP.

    What limiting takes away is given back. Silence is returned as it came, and a sound too spiky to reach
    its loudness below the ceiling stays quieter; both are logged as warnings.
    """
    loudness = integrated_loudness(audio)
    if loudness == -math.inf:
        log.warning("%.1f s of audio is silent: it can't be brought to %.1f LUFS", audio.duration, lufs)
        return audio
    envelope = _peak_envelope(audio, _KNOT)
    gain = lufs - loudness
    if audio.duration >= 0.5 and envelope.max() * amplitude(gain) > amplitude(ceiling):
        gain = _drive(audio, envelope, _step_energies(audio), lufs, ceiling)
    for _ in range(4):
        out = _limit(audio, envelope, amplitude(min(gain, 60.0)), ceiling)
        lack = lufs - integrated_loudness(out)
        if abs(lack) < 0.2:
            break
        gain += lack
    if abs(lack) > 0.5:
        log.warning("the audio stays %.1f LU from %.1f LUFS below %.1f dBTP", abs(lack), lufs, ceiling)
    return out
