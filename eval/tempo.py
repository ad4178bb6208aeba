"""Tempo of audio in quarter notes a minute, and whether it is the asked one.

Conventions: an estimate is right within 4 %; "octave" also accepts half, double, a third and three
times the tempo, since a beat can be felt at several levels (MIREX accuracies 1 and 2).
"""

from dataclasses import dataclass

import numpy as np

from common.audio import Audio
from eval.hearing import Frames, mono, onset_strength

SLOWEST, FASTEST = 50.0, 210.0
TOLERANCE = 0.04
_OCTAVES = (1.0, 2.0, 0.5, 3.0, 1 / 3)


@dataclass(frozen=True)
class TempoMatch:
    """Whether an estimate agrees with the asked tempo."""

    estimate: float
    asked: float
    exact: bool
    octave: bool


def estimate(audio: Audio) -> float:
    """The tempo of a song in quarter notes a minute, from the autocorrelation of its onset strength."""
    return from_strength(onset_strength(mono(audio)))


def from_strength(strength: Frames) -> float:
    """The tempo whose beat, half-bar and bar periods best repeat the onsets; a prior prefers 60–180.

    Source: Ellis 2007, "Beat tracking by dynamic programming", section 3.2. Differs: comb of 1, 2
    and 4 periods in the place of its two.
    """
    correlation = _autocorrelation(strength.values)
    tempi = np.exp(np.arange(np.log(SLOWEST), np.log(FASTEST), 0.0025))
    periods = 60 * strength.rate / tempi
    lags = np.arange(len(correlation))
    comb = sum(
        weight * np.interp(multiple * periods, lags, correlation, right=0.0)
        for multiple, weight in ((1, 1.0), (2, 0.7), (4, 0.5))
    )
    prior = np.exp(-0.5 * (np.log2(tempi / 105) / 0.9) ** 2)
    return float(tempi[int(np.argmax(np.maximum(comb, 0) * prior))])


def _autocorrelation(values: np.ndarray) -> np.ndarray:
    """Of the smoothed, centred curve, by lag in frames; 1 at lag 0, unbiased in the shrinking overlap."""
    smooth = np.convolve(values, np.hanning(7) / np.hanning(7).sum(), mode="same")
    centred = smooth - smooth.mean()
    spectrum = np.fft.rfft(centred, 2 * len(centred))
    raw = np.fft.irfft(np.abs(spectrum) ** 2)[: len(centred)]
    overlap = np.maximum(len(centred) - np.arange(len(centred)), len(centred) / 4)
    return raw / overlap / (raw[0] / len(centred) + 1e-12)


def compare(found: float, asked: float) -> TempoMatch:
    """Whether a tempo agrees with the asked one, exactly and up to the metrical level."""
    near = [abs(found / (asked * factor) - 1) <= TOLERANCE for factor in _OCTAVES]
    return TempoMatch(found, asked, near[0], any(near))
