"""What a learned listener hears: streams of windows for impression and for alignment, and a text vector.

Conventions: impression and alignment may hear by different encoders. `Quality` is an encoder (as in
`eval.embeddings`) for faults of sound: what the probes hear, and how well tuned and how steady a piece
is; it needs no weights. In the paper both heads hear LAION-CLAP.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.audio import Audio
from eval import descriptors, hearing
from eval.embeddings import covering
from eval.encoders import no_text
from eval.hearing import RATE, Frames

_BANDS = 8
_CENTS = 12  # bins of the tuning histogram
_GRIDS = np.geomspace(0.09, 0.34, 120)  # seconds between possible sixteenths and eighths


@dataclass(frozen=True, eq=False)
class Heard:
    """One utterance: rows for impression (W, D), rows for alignment (V, E), text (T,) or None."""

    impression: np.ndarray
    alignment: np.ndarray
    text: np.ndarray | None


class Quality:
    """Windows of 10 s as descriptors of spectrum and rhythm, tuning and steadiness."""

    name, sample_rate, contrastive = "quality", RATE, False
    dimensions = 4 * _BANDS + _CENTS + 4 + 4
    convention = "22.05 kHz mono, windows of 10 s every 5 s, spectrum in eight bands, tuning, steadiness"
    digest = "quality-2"

    def embed(self, audio: Audio) -> np.ndarray:
        """Rows (windows, D)."""
        samples = hearing.mono(audio)
        return np.stack([self._window(w) for w in covering(samples, 10 * RATE, 5 * RATE)])

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        raise no_text(self.name)

    def _window(self, samples: np.ndarray) -> np.ndarray:
        parts = [bands(samples), tuning(samples), steadiness(hearing.onset_strength(samples))]
        return np.concatenate(parts).astype(np.float32)


def bands(samples: np.ndarray) -> np.ndarray:
    """Level, range, deviation and movement of eight bands, (32,): a floor of noise narrows the range.

    The first 256 values of the probes' descriptors (64 bands), averaged: a few hundred ratings can't
    teach more.
    """
    return descriptors.describe(samples)[:256].reshape(4, _BANDS, -1).mean(-1).ravel()


def tuning(samples: np.ndarray) -> np.ndarray:
    """How peaks of the spectrum lie between semitones, (12,), and how they drift from frame to frame, (4,).

    A tuned piece has its peaks at one place between semitones; a wavering one has them everywhere.
    """
    n_fft, hop = 8192, 1024
    magnitude = np.log(hearing.spectrogram(samples, n_fft, hop)[37:745] + 1e-6)  # 100 to 2000 Hz
    inner = magnitude[1:-1]
    # The strongest peaks only: 20 dB below the loudest bin of a frame is background.
    peak = (inner > magnitude[:-2]) & (inner > magnitude[2:]) & (inner > magnitude.max(0) - 2.3)
    curve = magnitude[:-2] - 2 * inner + magnitude[2:]
    offset = 0.5 * (magnitude[:-2] - magnitude[2:]) / np.minimum(curve, -1e-6)
    hertz = (np.arange(38, 38 + len(inner))[:, None] + np.clip(offset, -0.5, 0.5)) * RATE / n_fft
    semitones = 69 + 12 * np.log2(hertz / 440)
    if not peak.any():
        return np.zeros(_CENTS + 4)
    part = semitones[peak] % 1
    histogram = np.histogram(part, _CENTS, (0, 1))[0] / peak.sum()
    angle = np.exp(2j * np.pi * part)
    mean = np.abs(angle.mean())
    # How sure each frame is of its own tuning, and how the tuning of frames wanders.
    sums = np.where(peak, np.exp(2j * np.pi * semitones), 0).sum(0)
    counts = np.maximum(peak.sum(0), 1)
    turned = np.angle(sums[1:] * np.conj(sums[:-1])) if len(sums) > 1 else np.zeros(1)
    # The histogram begins at its fullest bin: where a piece is tuned to doesn't matter.
    rolled = np.roll(histogram, -int(histogram.argmax()))
    own = np.mean(np.abs(sums) / counts)
    return np.concatenate([rolled, [mean, own, np.mean(np.abs(turned)), np.log1p(peak.mean() * 1000)]])


def steadiness(strength: Frames) -> np.ndarray:
    """How well onsets lie on the best even grid, how far above the usual grid, (4,)."""
    times = hearing.onset_times(strength, 0.15)
    if len(times) < 4:
        return np.zeros(4)
    weights = strength.values[strength.index(times)]
    weights = np.sqrt(weights / weights.sum())
    weights = weights / weights.sum()
    # Over short stretches, since a tempo that is a hair off loses the grid in the long run.
    lengths = []
    for begin in np.arange(0, max(times[-1] - 4, 0.1), 2.0):
        inside = (times >= begin) & (times < begin + 5)
        if inside.sum() >= 4:
            phase = np.exp(2j * np.pi * times[inside] / _GRIDS[:, None])
            share = weights[inside] / weights[inside].sum()
            lengths.append(np.abs(phase @ share))
    if not lengths:
        return np.zeros(4)
    table = np.stack(lengths)
    together = table.mean(0)
    return np.array(
        [together.max(), table.max(1).mean(), together.max() - np.median(together), len(times) / 100]
    )
