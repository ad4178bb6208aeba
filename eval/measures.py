"""What music theory counts in any audio: tempo, meter, key, and how complex rhythm and harmony are.

    python -m eval.measures song.flac

Conventions: computed from the signal alone, on 22,050 Hz mono. Complexities are entropies in bits, 0
for what never changes; they depend on how long the piece is, so compare pieces of one length. Silence has
no tempo, no meter and no key: None, null in JSON.

    tempo        quarter notes a minute (`eval.tempo`)
    meter        3 or 4 beats a bar, whichever the onsets repeat better at; simple meters only
    key          the best of 24 (`eval.adherence`)
    rhythm       entropy of the time between neighbouring onsets, in sixteenths of a beat's grid
    harmony      entropy of the chord heard on each beat (24 triads, and none)
    changes      chords changed a minute
    chroma       entropy of the mean chroma (Weiß 2018): 0 for one pitch class, log₂ 12 = 3.58 for all

Source: the list of Li 2024 (survey of music understanding), section 2.2.2, which gives no formulas.
"""

import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from common.audio import Audio, read_audio
from common.errors import AudioError, command
from common.statistics import finite
from common.theory import Key
from eval import hearing
from eval.adherence import key_heard
from eval.hearing import Frames
from eval.tempo import from_strength

_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_NO_CHORD = 0.6  # cosine below which nothing is named


@dataclass(frozen=True)
class Measures:
    """Of one piece."""

    tempo: float | None  # None, like meter and key, in silence
    meter: int | None
    key: str | None
    rhythm: float  # bits
    harmony: float  # bits
    changes: float  # a minute
    chroma: float  # bits


def measure(audio: Audio) -> Measures:
    """All measures of a piece. Raises AudioError for less than a tenth of a second."""
    samples = hearing.mono(audio)
    if hearing.is_silent(samples):
        return Measures(None, None, None, 0.0, 0.0, 0.0, 0.0)
    strength, heard = hearing.onset_strength(samples), hearing.chromagram(samples)
    tempo = from_strength(strength)
    chords = chords_heard(heard, tempo)
    named = chords[chords >= 0]
    changed = int((np.diff(named) != 0).sum()) if len(named) else 0
    key: Key = key_heard(heard)
    mean = heard.values.mean(1)
    return Measures(
        tempo,
        meter(strength, tempo),
        f"{_NAMES[key.tonic]} {key.scale}",
        rhythm(strength, tempo),
        entropy(np.bincount(chords + 1, minlength=25)),
        60 * changed / max(audio.duration, 1e-9),
        entropy(mean),
    )


def entropy(counts: np.ndarray) -> float:
    """Of a distribution given by counts or weights, bits; 0 where nothing was counted."""
    total = counts.sum()
    if total <= 0:
        return 0.0
    shares = counts[counts > 0] / total
    return float(-(shares * np.log2(shares)).sum()) + 0.0


def rhythm(strength: Frames, tempo: float) -> float:
    """Entropy of inter-onset intervals on a grid of a quarter of a beat."""
    onsets = hearing.onset_times(strength)
    if len(onsets) < 3:
        return 0.0
    grid = 60 / tempo / 4
    steps = np.clip(np.rint(np.diff(onsets) / grid), 0, 16).astype(int)
    return entropy(np.bincount(steps))


def meter(strength: Frames, tempo: float) -> int:
    """Whether onsets resemble those three and six beats later, or those four and eight."""
    smooth = np.convolve(strength.values, np.hanning(9), mode="same")
    values = smooth - smooth.mean()
    beat = 60 / tempo * strength.rate

    def alike(beats: int) -> float:
        # A tempo that is 2 % off misses by frames after eight beats.
        lags = np.arange(round(0.98 * beat * beats), round(1.02 * beat * beats) + 1)
        fitting = lags[lags < len(values) // 2]
        return max((float(np.mean(values[lag:] * values[:-lag])) for lag in fitting), default=0.0)

    return 3 if alike(3) + alike(6) > alike(4) + alike(8) else 4


def chords_heard(heard: Frames, tempo: float) -> np.ndarray:
    """The triad of each beat: 0–11 major, 12–23 minor, −1 none."""
    frames = max(1.0, 60 / tempo * heard.rate)
    edges = np.rint(np.arange(0, heard.values.shape[1], frames)).astype(int)
    beats = np.add.reduceat(heard.values, edges, axis=1)
    beats = beats / np.maximum(np.linalg.norm(beats, axis=0, keepdims=True), 1e-9)
    templates = np.zeros((24, 12))
    for root in range(12):
        templates[root, [root, (root + 4) % 12, (root + 7) % 12]] = 3**-0.5
        templates[12 + root, [root, (root + 3) % 12, (root + 7) % 12]] = 3**-0.5
    fit = templates @ beats
    return np.where(fit.max(0) >= _NO_CHORD, fit.argmax(0), -1)


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Print the measures of files: 0, or 2 with one sentence for a wrong input."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    files = list(sys.argv[1:] if argv is None else argv)
    if not files or files[0].startswith("-"):
        print("usage: python -m eval.measures FILE [FILE ...]", file=sys.stderr)
        return 2
    missing = []
    for file in files:
        try:
            found = measure(read_audio(file))
        except AudioError as error:  # the others are measured all the same
            missing.append(str(error))
            continue
        print(json.dumps(finite({"file": file, **asdict(found)}), ensure_ascii=False))
    if missing:
        raise AudioError("; ".join(missing))
    return 0


if __name__ == "__main__":
    sys.exit(main())
