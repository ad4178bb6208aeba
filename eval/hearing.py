"""What the metrics hear: spectra, the strength of onsets, pitch classes, the salience of pitches.

Conventions: everything is computed on the mean of the channels at 22,050 Hz with numpy; frame k is
centred on k · hop / rate seconds; curves come with their frame rate in Hz.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage

from common.audio import Audio, resample, to_channels
from common.errors import AudioError

RATE = 22050
_BLOCK = 2048  # frames transformed at once
_TINY = 1e-10
_SILENCE = 1e-4  # the peak, −80 dBFS, below which nothing is heard


@dataclass(frozen=True, eq=False)
class Frames:
    """Values over time: (bands, frames) or (frames,), and the frame rate in Hz."""

    values: np.ndarray
    rate: float

    def index(self, seconds: np.ndarray | float) -> np.ndarray:
        """The nearest frame of each time, kept inside the curve."""
        frame = np.rint(np.asarray(seconds) * self.rate).astype(int)
        return np.clip(frame, 0, self.values.shape[-1] - 1)


def mono(audio: Audio) -> np.ndarray:
    """Samples (time,) at 22,050 Hz. Raises AudioError for less than a tenth of a second."""
    if audio.duration < 0.1:
        raise AudioError(f"at least 0.1 s of audio is needed, but there are {audio.duration:.3f} s")
    single = to_channels(audio, 1)
    return (single if single.sample_rate == RATE else resample(single, RATE)).samples[0]


def is_silent(samples: np.ndarray) -> bool:
    """Whether samples of any shape stay below −80 dBFS."""
    return bool(np.abs(samples).max(initial=0.0) < _SILENCE)


def spectrogram(samples: np.ndarray, n_fft: int, hop: int) -> np.ndarray:
    """Magnitudes of a Hann-windowed Fourier transform, (n_fft / 2 + 1, 1 + time // hop), float32."""
    window = np.hanning(n_fft + 1)[:-1].astype(np.float32)
    padded = np.pad(samples, (n_fft // 2, n_fft))
    views = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop][: 1 + len(samples) // hop]
    blocks = [
        np.abs(np.fft.rfft(views[start : start + _BLOCK] * window, axis=1)).astype(np.float32)
        for start in range(0, len(views), _BLOCK)
    ]
    return np.concatenate(blocks).T


@lru_cache(maxsize=4)
def mel_filters(bands: int, n_fft: int, low: float = 30.0, high: float = 10500.0) -> np.ndarray:
    """Triangles on the HTK mel scale, each summing to one, none empty; (bands, n_fft / 2 + 1)."""
    first, last = (2595 * np.log10(1 + hz / 700) for hz in (low, high))
    edges = 700 * (10 ** (np.linspace(first, last, bands + 2) / 2595) - 1)
    hz = np.linspace(0, RATE / 2, n_fft // 2 + 1)
    rising = (hz - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - hz) / (edges[2:] - edges[1:-1])[:, None]
    filters = np.maximum(0, np.minimum(rising, falling))
    for band in np.flatnonzero(filters.sum(1) == 0):
        filters[band, np.abs(hz - edges[band + 1]).argmin()] = 1
    return (filters / filters.sum(1, keepdims=True)).astype(np.float32)


def log_mel(samples: np.ndarray, bands: int = 64, n_fft: int = 1024, hop: int = 256) -> Frames:
    """Mel power in decibels (bands, frames)."""
    power = mel_filters(bands, n_fft) @ np.square(spectrogram(samples, n_fft, hop))
    return Frames(10 * np.log10(np.maximum(power, _TINY)), RATE / hop)


def onset_strength(samples: np.ndarray) -> Frames:
    """How much begins at each moment: the mean rise of log-mel bands, less its local mean; 86 Hz.

    Source: spectral flux with a maximum filter over bands (Böck and Widmer 2013, SuperFlux), which
    keeps vibrato from counting as onsets.
    """
    mel = log_mel(samples, bands=80)
    # 60 dB below the loudest is silence: noise that fades in there is no onset.
    levels = np.maximum(mel.values, mel.values.max() - 60)
    before = ndimage.maximum_filter1d(levels, 3, axis=0)[:, :-2]
    rise = np.maximum(0, levels[:, 2:] - before).mean(0)
    # A click is seen half a window before its frame: the rise counts at the later of the two frames.
    flux = np.concatenate([[0, 0], rise])
    local = ndimage.uniform_filter1d(flux, round(mel.rate), mode="nearest")
    return Frames(np.maximum(0, flux - local), mel.rate)


def onset_times(strength: Frames, threshold: float = 0.1) -> np.ndarray:
    """Times in seconds of local maxima above a share of the strongest (its 99th percentile)."""
    values = strength.values
    peak = (values == ndimage.maximum_filter1d(values, 7)) & (values > 0)
    return np.flatnonzero(peak & (values > threshold * np.percentile(values, 99))) / strength.rate


@lru_cache(maxsize=2)
def _chroma_filters(n_fft: int, low: float = 60.0, high: float = 2000.0) -> np.ndarray:
    """Each bin counts for its nearest pitch classes; weights 1 / f make octaves alike; (12, bins)."""
    hz = np.linspace(0, RATE / 2, n_fft // 2 + 1)[1:]
    midi = 69 + 12 * np.log2(hz / 440)
    distance = (midi - np.arange(12)[:, None] + 6) % 12 - 6
    weights = np.maximum(0, 1 - np.abs(distance)) * ((hz > low) & (hz < high)) / hz
    return np.concatenate([np.zeros((12, 1)), weights], axis=1).astype(np.float32)


def chromagram(samples: np.ndarray) -> Frames:
    """Energy of each pitch class (12, frames), every frame of unit length (zero in silence); 10.8 Hz."""
    n_fft, hop = 8192, 2048
    # The square root lets quiet chord tones count beside a loud bass.
    energy = np.sqrt(_chroma_filters(n_fft) @ np.square(spectrogram(samples, n_fft, hop)))
    norm = np.linalg.norm(energy, axis=0, keepdims=True)
    return Frames(np.where(norm > 1e-6, energy / np.maximum(norm, 1e-6), 0), RATE / hop)


LOWEST, HIGHEST, STEPS = 36, 96, 4  # of pitch salience: MIDI range, and steps to a semitone
_HARMONICS = 8


@lru_cache(maxsize=2)
def _harmonic_bins(n_fft: int) -> np.ndarray:
    """The fractional bins of the first harmonics of each pitch; (harmonics, pitches)."""
    midi = LOWEST + np.arange((HIGHEST - LOWEST) * STEPS) / STEPS
    return np.arange(1, _HARMONICS + 1)[:, None] * 440 * 2 ** ((midi - 69) / 12) * n_fft / RATE


def pitch_salience(samples: np.ndarray) -> Frames:
    """How strongly each pitch sounds: a decaying sum over its harmonics; (240 pitches, frames), 43 Hz.

    Pitches are quarter semitones from MIDI note 36 on.

    Source: harmonic summation (Klapuri 2006) on whitened magnitudes: each frame is divided by its
    own spectral envelope first, so that loud low notes don't hide the voice.
    """
    n_fft, hop = 4096, 512
    magnitude = spectrogram(samples, n_fft, hop)
    envelope = ndimage.uniform_filter1d(magnitude, 81, axis=0) + 1e-3 * magnitude.max() + 1e-9
    white = magnitude / envelope
    bins = _harmonic_bins(n_fft)
    low = np.minimum(np.floor(bins).astype(int), white.shape[0] - 2)
    part = np.clip(bins - low, 0, 1)[..., None].astype(np.float32)
    total = np.zeros((bins.shape[1], white.shape[1]), dtype=np.float32)
    for harmonic in range(_HARMONICS):
        near = white[low[harmonic]] * (1 - part[harmonic]) + white[low[harmonic] + 1] * part[harmonic]
        audible = (bins[harmonic] < white.shape[0] - 1)[:, None]
        total += np.float32(0.8**harmonic) * near * audible
    return Frames(total, RATE / hop)
