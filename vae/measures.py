"""How near a codec's copy is to its original, in figures that a phase-blind codec can be judged by.

Conventions: waveforms are float32 tensors (2, time) at `sample_rate` Hz with full scale 1, the copy
as long as the original; figures are floats, NaN where a song gives none (silence, no sung note).

- `stft_distance`: mean over resolutions of spectral convergence + L1 of log magnitude; 0 is equal.
- `spectral_convergence`: ‖|Y| − |X|‖ / ‖|X|‖ at n_fft 4096, fine enough to tell notes apart.
- `si_sdr`: dB; meaningless for a codec that makes its own phases, printed for honesty.
- `crest`: peak over RMS in dB.
- `melody`: share of sung notes whose pitch is found, octave included, in the mix.
- `smoothness`: lag-1 autocorrelation of latents, how easily a song model can follow them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

_RESOLUTIONS = (2048, 1024, 512)
_FLOOR = 1e-5  # magnitude below which a logarithm counts as silence
_HARMONICS, _DECAY, _BETWEEN = 16, 0.95, 0.5
_LOWEST, _HIGHEST, _STEP = 45, 84, 0.25  # MIDI range of the candidates: A2 … C6
_MELODY_FFT = 16384


@dataclass(frozen=True)
class SungNote:
    """A note of the melody: seconds and MIDI pitch."""

    start: float
    end: float
    pitch: float


def _magnitude(wav: Float[Tensor, "channels time"], n_fft: int) -> Float[Tensor, "channels bins frames"]:
    window = torch.hann_window(n_fft)
    padded = F.pad(wav, (n_fft // 2, n_fft // 2))
    return torch.stft(padded, n_fft, n_fft // 4, window=window, center=False, return_complex=True).abs()


def spectral_convergence(
    original: Float[Tensor, "2 time"], copy: Float[Tensor, "2 time"], n_fft: int = 4096
) -> float:
    """‖|Y| − |X|‖ / ‖|X|‖ over both channels (Arık et al. 2018)."""
    x, y = _magnitude(original, n_fft), _magnitude(copy, n_fft)
    return float((y - x).norm() / x.norm()) if x.any() else math.nan


def stft_distance(original: Float[Tensor, "2 time"], copy: Float[Tensor, "2 time"]) -> float:
    """Mean over n_fft 2048, 1024, 512 of spectral convergence and mean |ln X − ln Y|."""
    total = 0.0
    for n_fft in _RESOLUTIONS:
        x, y = _magnitude(original, n_fft), _magnitude(copy, n_fft)
        logs = (x.clamp(min=_FLOOR).log() - y.clamp(min=_FLOOR).log()).abs().mean()
        total += float((y - x).norm() / x.norm() + logs) if x.any() else math.nan
    return total / len(_RESOLUTIONS)


def si_sdr(original: Float[Tensor, "2 time"], copy: Float[Tensor, "2 time"]) -> float:
    """Scale-invariant signal-to-distortion ratio in dB, both channels as one zero-mean signal."""
    x, y = (w.flatten().double() - w.double().mean() for w in (original, copy))
    if not x.any() or not y.any():
        return math.nan
    wanted = x * (x @ y) / (x @ x)
    return float(10 * torch.log10((wanted @ wanted) / (y - wanted).square().sum().clamp(min=1e-20)))


def crest(wav: Float[Tensor, "2 time"]) -> float:
    """Peak over RMS in dB."""
    return float(20 * torch.log10(wav.abs().max() / wav.square().mean().sqrt())) if wav.any() else math.nan


def smoothness(latents: Float[Tensor, "latent_dim frames"]) -> float:
    """Mean over dimensions of the correlation between neighbouring frames."""
    centred = latents - latents.mean(dim=1, keepdim=True)
    power = centred.square().mean(dim=1)
    lagged = (centred[:, 1:] * centred[:, :-1]).mean(dim=1)
    return float((lagged / power)[power > 0].mean()) if (power > 0).any() else math.nan


# ---- melody ------------------------------------------------------------------------------------


def melody(wav: Float[Tensor, "2 time"], notes: Sequence[SungNote], sample_rate: int) -> tuple[float, float]:
    """(share of notes found within a semitone's half, the share by chance).

    The pitch of a note is the candidate of largest salience in its middle; chance is the mean over
    all pairings of found pitches with notes, so it knows the melody's range but not its order.
    """
    long_enough = [n for n in notes if n.end - n.start >= 0.15]
    found = [_pitch(wav.mean(dim=0), note, sample_rate) for note in long_enough]
    pairs = [(f, n.pitch) for f, n in zip(found, long_enough) if f is not None]
    if not pairs:
        return math.nan, math.nan
    heard, sung = np.array(pairs).T
    right = np.abs(heard[:, None] - sung[None, :]) <= 0.6
    return float(np.diag(right).mean()), float(right.mean())


def _pitch(mid: Float[Tensor, " time"], note: SungNote, sample_rate: int) -> float | None:
    """The MIDI pitch of largest salience around the middle of a note; None when nothing sounds."""
    width = min(8192, int(0.8 * (note.end - note.start) * sample_rate))
    middle = int((note.start + note.end) / 2 * sample_rate)
    part = mid[max(0, middle - width // 2) : middle + width // 2]
    if len(part) < width // 2 or not part.any():
        return None
    spectrum = torch.fft.rfft(part * torch.hann_window(len(part)), _MELODY_FFT).abs()
    return float(_LOWEST + _STEP * int(_salience(_flattened(spectrum, sample_rate), sample_rate).argmax()))


def _flattened(spectrum: Float[Tensor, " bins"], sample_rate: int) -> Float[Tensor, " bins"]:
    """The root of the spectrum over its level within ±300 Hz: formants and bass count less."""
    reach = int(300 * _MELODY_FFT / sample_rate)
    level = F.avg_pool1d(
        spectrum.square()[None, None], 2 * reach + 1, 1, reach, count_include_pad=False
    ).sqrt()[0, 0]
    return (spectrum / (level + 1e-3 * level.max())).sqrt()


def _salience(spectrum: Float[Tensor, " bins"], sample_rate: int) -> Float[Tensor, " candidates"]:
    """Harmonic sum, less what stands half-way between harmonics (after Klapuri 2006; Hermes 1988)."""
    notes = torch.arange(_LOWEST, _HIGHEST, _STEP)
    bins = 440 * 2 ** ((notes - 69) / 12) * (_MELODY_FFT / sample_rate)
    near = F.max_pool1d(spectrum[None, None], 3, 1, 1)[0, 0]
    salience = torch.zeros(len(notes))
    for harmonic in range(1, _HARMONICS + 1):
        weight = _DECAY ** (harmonic - 1)
        on, off = ((bins * h).round().long().clamp(max=len(near) - 1) for h in (harmonic, harmonic - 0.5))
        salience += weight * (near[on] - _BETWEEN * spectrum[off])
    return salience
