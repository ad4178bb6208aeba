"""Where a song's sections meet, heard as changes of colour and harmony.

Source: Foote 2000, "Automatic audio segmentation using a measure of audio novelty": a checkerboard along the
diagonal of the self-similarity matrix.
"""

import numpy as np
from scipy.signal import find_peaks

from common.audio import Audio
from common.score import Score
from eval import hearing

NEAR = 3.0  # seconds between a border and a heard one (the tolerance of MIREX's structure task)
_STEP = 0.5  # seconds between two places that are compared
_REACH = 8  # places on each side of a border: 4 s


def novelty(audio: Audio) -> np.ndarray:
    """How much changes (places,), two a second: Foote's novelty of chroma and band levels, at least 0."""
    samples = hearing.mono(audio)
    bands = _bands(samples)
    count = bands.shape[1]
    features = np.concatenate([_places(hearing.chromagram(samples), count), bands])
    centred = features - features.mean(1, keepdims=True)
    spread = np.maximum(centred.std(1, keepdims=True), 1e-6)
    unit = centred / spread
    unit = unit / np.maximum(np.linalg.norm(unit, axis=0), 1e-9)
    alike = np.pad(unit.T @ unit, _REACH)
    side = np.arange(-_REACH, _REACH) + 0.5
    taper = np.exp(-0.5 * (side / (_REACH / 2)) ** 2)
    board = np.outer(np.sign(side) * taper, np.sign(side) * taper)
    found = [(board * alike[i : i + 2 * _REACH, i : i + 2 * _REACH]).sum() for i in range(count)]
    return np.maximum(np.array(found), 0)


def _places(frames: hearing.Frames, places: int) -> np.ndarray:
    """Means over half seconds (features, places)."""
    times = (np.arange(frames.values.shape[1]) + 0.5) / frames.rate
    place = np.minimum((times / _STEP).astype(int), places - 1)
    sums = np.zeros((len(frames.values), places))
    np.add.at(sums.T, place, frames.values.T)
    return sums / np.maximum(np.bincount(place, minlength=places), 1)


def _bands(samples: np.ndarray) -> np.ndarray:
    """Log levels of octave bands (bands, places)."""
    size = round(_STEP * hearing.RATE)
    count = max(1, len(samples) // size)
    padded = np.zeros(count * size, np.float32)
    padded[: min(len(samples), len(padded))] = samples[: len(padded)]
    power = np.abs(np.fft.rfft(padded.reshape(count, size) * np.hanning(size))) ** 2
    hertz = np.fft.rfftfreq(size, 1 / hearing.RATE)
    edges = [60 * 2**i for i in range(9)]
    rows = [power[:, (hertz >= a) & (hertz < b)].sum(1) for a, b in zip(edges, edges[1:])]
    return np.log(np.array(rows) + 1e-6)


def borders_heard(audio: Audio, count: int) -> np.ndarray:
    """Times (s) of the `count` clearest changes, at least four seconds apart, in order."""
    curve = novelty(audio)
    peaks, _ = find_peaks(np.pad(curve, 1), distance=_REACH)
    best = sorted(peaks - 1, key=lambda place: -curve[place])[:count]
    return np.sort(np.array(best, dtype=float)) * _STEP


def borders_kept(audio: Audio, score: Score) -> list[bool]:
    """For each border between two sections of a score, whether one of as many heard borders is near."""
    starts = [span.start for span in score.section_spans()][1:]
    heard = borders_heard(audio, len(starts))
    return [bool(len(heard)) and bool(np.abs(heard - start).min() <= NEAR) for start in starts]
