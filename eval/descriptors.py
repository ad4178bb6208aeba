"""A window of audio as one vector for the probes, and what may happen to audio on its way.

The vector holds the spectrum and its spread, how bands are modulated (0.5–24 Hz), which pitches
sound, and how onsets repeat. A gain changes nothing; a change of spectrum does, so the probes are
trained on windows disturbed by `disturb` and by a codec's round trip.
"""

import numpy as np
from scipy import ndimage, signal

from common.audio import Audio
from eval import hearing
from eval.hearing import RATE

WINDOW = 16.0  # seconds described at once
_GROUPS = 8  # bands of modulation
_MODULATIONS = np.geomspace(0.5, 24.0, 17)  # Hz, edges
_LAGS = np.geomspace(0.25, 2.5, 64)  # seconds
SIZE = 4 * 64 + _GROUPS * 16 + 60 + 64


def describe(samples: np.ndarray) -> np.ndarray:
    """The vector (508,) of samples (time,) at 22,050 Hz, whatever their length; float32."""
    mel = hearing.log_mel(samples)
    levels = np.maximum(mel.values, mel.values.max() - 80)
    levels = levels - levels.mean()
    low, high = np.percentile(levels, [10, 90], axis=1)
    parts = [
        levels.mean(1),
        high - low,
        levels.std(1),
        np.abs(np.diff(levels, axis=1)).mean(1) if levels.shape[1] > 1 else np.zeros(64),
        _modulation(levels, mel.rate).ravel(),
        _pitches(samples),
        _repetition(hearing.onset_strength(samples)),
    ]
    return np.concatenate(parts).astype(np.float32)


def _modulation(levels: np.ndarray, rate: float) -> np.ndarray:
    """Log power of each group of bands at each modulation frequency, (8, 16)."""
    groups = levels.reshape(_GROUPS, -1, levels.shape[1]).mean(1)
    groups = groups - groups.mean(1, keepdims=True)
    size = max(1024, groups.shape[1])
    power = np.abs(np.fft.rfft(groups * np.hanning(groups.shape[1]), size, axis=1)) ** 2 / groups.shape[1]
    summed = np.concatenate([np.zeros((_GROUPS, 1)), np.cumsum(power, axis=1)], axis=1)
    edges = np.rint(_MODULATIONS * size / rate).astype(int)
    first, last = edges[:-1], np.maximum(edges[1:], edges[:-1] + 1)
    mean = (summed[:, last] - summed[:, first]) / (last - first)
    return np.log10(mean + 1e-3)


def _pitches(samples: np.ndarray) -> np.ndarray:
    """How often each semitone is the most salient one, blurred, (60,)."""
    salience = hearing.pitch_salience(samples).values
    loudest = salience.argmax(0) // hearing.STEPS
    counts = np.bincount(loudest, minlength=60) / max(1, len(loudest))
    return np.sqrt(ndimage.gaussian_filter1d(counts, 1.0))


def _repetition(strength: hearing.Frames) -> np.ndarray:
    """Autocorrelation of onset strength at lags from a quarter to two and a half seconds, (64,)."""
    values = strength.values - strength.values.mean()
    power = np.abs(np.fft.rfft(values, 2 * len(values))) ** 2
    correlation = np.fft.irfft(power)[: len(values)]
    lags = _LAGS * strength.rate
    return np.interp(lags, np.arange(len(values)), correlation / (correlation[0] + 1e-9), right=0.0)


def windows(samples: np.ndarray) -> list[np.ndarray]:
    """Equal windows of at most 16 s that cover a song; a rest of the division is spread by overlap."""
    length = round(WINDOW * RATE)
    count = -(-len(samples) // length)
    starts = np.linspace(0, max(0, len(samples) - length), count).round().astype(int)
    return [samples[start : start + length] for start in starts]


# ---- disturbances --------------------------------------------------------------------------


def disturb(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What codecs and generators do to a song: other balance, lost highs, blurred phases, a noise floor."""
    spectrum = _stft(samples)
    hz = np.linspace(0, RATE / 2, spectrum.shape[0])
    spectrum *= _balance(hz, rng)[:, None]
    if rng.random() < 0.5:
        spectrum *= np.where(hz < rng.uniform(6000, 10500), 1.0, 0.05)[:, None]
    if rng.random() < 0.6:
        spectrum = _blur(spectrum, rng)
    out = _istft(spectrum, len(samples)) * 10 ** (rng.uniform(-6, 6) / 20)
    floor = 10 ** (rng.uniform(-80, -50) / 20)
    return (out + floor * rng.standard_normal(len(out))).astype(np.float32)


def _balance(hz: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A smooth random equaliser, about ± 3 dB at five points from 60 Hz to 10 kHz."""
    points = np.geomspace(60, 10000, 5)
    decibels = np.interp(np.log(np.maximum(hz, 30)), np.log(points), rng.normal(0, 3, 5))
    return 10 ** (decibels / 20)


def _blur(spectrum: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise on the phases, and magnitudes smeared over neighbouring bins and frames."""
    magnitude, phase = np.abs(spectrum), np.angle(spectrum)
    width = rng.uniform(0.2, 1.2)
    magnitude = ndimage.gaussian_filter(magnitude, (width, width / 2))
    noise = rng.normal(0, rng.uniform(0.2, 1.5), phase.shape)
    return magnitude * np.exp(1j * (phase + noise))


def _stft(samples: np.ndarray) -> np.ndarray:
    return signal.stft(samples, RATE, nperseg=1024, noverlap=768)[2]


def _istft(spectrum: np.ndarray, length: int) -> np.ndarray:
    samples = signal.istft(spectrum, RATE, nperseg=1024, noverlap=768)[1]
    return np.pad(samples, (0, max(0, length - len(samples))))[:length]


def crop(audio: Audio, rng: np.random.Generator, seconds: float = WINDOW) -> tuple[float, Audio]:
    """A random stretch of a song and where it begins, in seconds; all of it when it is shorter."""
    length = round(seconds * audio.sample_rate)
    start = int(rng.integers(max(1, audio.samples.shape[1] - length + 1)))
    return start / audio.sample_rate, Audio(audio.samples[:, start : start + length], audio.sample_rate)
