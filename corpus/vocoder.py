"""Frames of spectrum and pitch to samples: a source–filter synthesiser over short overlapping frames.

Pulses at the pitch and white noise are cut into 10 ms windows; each goes through the minimum-phase filter
of its frame, and the answers are added up. Against WORLD's own synthesis, which filters every pulse by
itself, this is several times faster, as its cost doesn't grow with the pitch and all frames of a phrase
are transformed at once. It uses no BLAS, so the samples don't depend on the number of threads.

Source: Morise et al. 2016 (WORLD) for the model, doi:10.1587/transinf.2015EDP7457; Oppenheim & Schafer for
the minimum phase from the real cepstrum.
"""

import numpy as np
import numpy.typing as npt
import scipy.fft

Array32 = npt.NDArray[np.float32]

SAMPLE_RATE = 44100  # Hz
SIZE = 1024  # of the transforms: a window and 13 ms of its filter's answer
BINS = SIZE // 2 + 1
_HALF = 221  # samples on each side of a frame's centre; frames are 220 and 221 samples apart in turn
_TAPS = 8  # on each side of a pulse that falls between two samples
_BATCH = 256  # frames that are transformed at once


def hertz() -> npt.NDArray[np.float64]:
    """The frequencies (Hz) of the bins."""
    return np.linspace(0, SAMPLE_RATE / 2, BINS)


def synthesise(
    log_power: Array32,
    f0: npt.NDArray[np.float64],
    voiced: npt.NDArray[np.bool_],
    aperiodicity: Array32,
    rng: np.random.Generator,
) -> Array32:
    """Filter pulses and noise.

    Args:
        log_power: natural log of the power spectrum (frames, `BINS`), 5 ms a frame.
        f0: Hz of every frame, defined through unvoiced frames too.
        voiced: frames that are pulses and noise; the others are noise alone.
        aperiodicity: the noise's share of the amplitude in voiced frames, by bin.
    Returns:
        Samples (ceil(frames · 220.5),); a spectrum of ones gives them unit variance.
    """
    frames = len(log_power)
    centres = np.arange(frames) * 441 // 2
    length = int(centres[-1]) + _HALF
    padded = length + 2 * SIZE
    pulses = _pulses(f0, voiced, centres, padded)
    noise = np.zeros(padded, np.float32)
    noise[:length] = rng.standard_normal(length, dtype=np.float32)
    out = np.zeros(padded + _HALF, np.float32)
    tonal = np.sqrt(1 - aperiodicity**2)
    for first in range(0, frames, _BATCH):
        rows = slice(first, first + _BATCH)
        window, index = _windows(centres[rows], first), centres[rows, None] + np.arange(-_HALF, _HALF)
        mask = voiced[rows, None]
        source = scipy.fft.rfft(pulses[index] * window, SIZE) * np.where(mask, tonal, np.float32(0))
        source += scipy.fft.rfft(noise[index] * window, SIZE) * np.where(mask, aperiodicity, np.float32(1))
        answers = scipy.fft.irfft(source * _minimum_phase(log_power[rows]), SIZE)
        for centre, answer in zip(centres[rows], answers):
            out[centre : centre + SIZE] += answer
    return out[_HALF : _HALF + length]


def _windows(centres: npt.NDArray[np.int64], first: int) -> Array32:
    """For each frame a window (2 · `_HALF`,) that rises to its centre and falls to the next one.

    Neighbours sum to 1: the rise of one is the fall of the one before it mirrored, on the same samples.
    """
    shapes = []
    for before, after in ((221, 220), (220, 221)):  # even frames come 221 samples after the one before them
        rise = np.sin(np.pi / 2 * np.arange(before) / before) ** 2
        fall = np.cos(np.pi / 2 * np.arange(after) / after) ** 2
        shape = np.zeros(2 * _HALF)
        shape[_HALF - before : _HALF], shape[_HALF : _HALF + after] = rise, fall
        shapes.append(shape)
    return np.stack(shapes).astype(np.float32)[(np.arange(len(centres)) + first) % 2]


def _pulses(
    f0: npt.NDArray[np.float64],
    voiced: npt.NDArray[np.bool_],
    centres: npt.NDArray[np.int64],
    length: int,
) -> Array32:
    """A band-limited pulse for each cycle of the voiced frames; their power doesn't depend on the pitch."""
    phase = np.concatenate([[0.0], np.cumsum((f0[1:] + f0[:-1]) / 2 * np.diff(centres) / SAMPLE_RATE)])
    times = np.interp(np.arange(1, int(phase[-1]) + 1), phase, centres)
    frame = np.minimum(np.round(times / 220.5).astype(int), len(f0) - 1)
    times, frame = times[voiced[frame]], frame[voiced[frame]]
    whole = np.floor(times).astype(int)
    offsets = np.arange(1 - _TAPS, 1 + _TAPS)
    distance = offsets - (times - whole)[:, None]
    shape = np.sinc(distance) * np.cos(np.pi / 2 * distance / (_TAPS + 0.5)) ** 2
    shape *= np.sqrt(SAMPLE_RATE / f0[frame])[:, None]
    index = whole[:, None] + offsets
    inside = index >= 0
    return np.bincount(index[inside], shape[inside], minlength=length)[:length].astype(np.float32)


def _minimum_phase(log_power: Array32) -> npt.NDArray[np.complex64]:
    """The causal filters (frames, `BINS`) with these power spectra."""
    cepstrum = scipy.fft.irfft(log_power * np.float32(0.5), SIZE)
    cepstrum[:, 1 : SIZE // 2] *= 2
    cepstrum[:, SIZE // 2 + 1 :] = 0
    return np.exp(scipy.fft.rfft(cepstrum))
