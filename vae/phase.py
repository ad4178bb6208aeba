"""Waveforms from magnitudes alone, without chance: peak-picked phases, then fast Griffin–Lim.

Frames are placed so that a signal of `hop · n` samples has exactly n of them, frame j centred on
sample hop · j + hop / 2; the signal is taken as zero outside. Everything is in float32 but the
accumulated phase, which needs float64 over a song.

Sources: Beauregard, Harish & Wyse 2015 "Single pass spectrogram inversion" (the initial phase);
Perraudin, Balazs & Søndergaard 2013 "A fast Griffin–Lim algorithm" (the iterations, α = 0.99).
"""

import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor
from torch.nn import functional as F

_TINY = 1e-8


def frame_transform(
    wav: Float[Tensor, "*batch time"], window: Float[Tensor, " n_fft"], hop: int
) -> Complex[Tensor, "*batch frames bins"]:
    """The STFT with frames centred in their hops; time must be a multiple of `hop`."""
    margin = (len(window) - hop) // 2
    frames = F.pad(wav, (margin, margin)).unfold(-1, len(window), hop)
    return torch.fft.rfft(frames * window)


def overlap_add(
    spectrum: Complex[Tensor, "*batch frames bins"], window: Float[Tensor, " n_fft"], hop: int
) -> Float[Tensor, "*batch time"]:
    """The least-squares inverse of `frame_transform` (Griffin & Lim 1984, eq. 6)."""
    n_fft, parts = len(window), len(window) // hop
    margin, count = (n_fft - hop) // 2, spectrum.shape[-2]
    frames = torch.fft.irfft(spectrum, n=n_fft) * window
    wav = _add(frames.unflatten(-1, (parts, hop)))
    weight = _add(window.square().expand(count, n_fft).unflatten(-1, (parts, hop)))
    return (wav / weight.clamp(min=1e-3))[..., margin : margin + count * hop]


def _add(frames: Float[Tensor, "*batch frames parts hop"]) -> Float[Tensor, "*batch time"]:
    """Sum frames whose parts overlap by one part less at each step."""
    count, parts, hop = frames.shape[-3:]
    out = frames.new_zeros(*frames.shape[:-3], count + parts - 1, hop)
    for part in range(parts):
        out[..., part : part + count, :] += frames[..., part, :]
    return out.flatten(-2)


def initial_phase(
    magnitude: Float[Tensor, "*batch frames bins"], n_fft: int, hop: int
) -> Float[Tensor, "*batch frames bins"]:
    """Phases in (−π, π] that advance at the frequency of the nearest spectral peak."""
    return to_phase(turns(magnitude, n_fft, hop))


def turns(
    magnitude: Float[Tensor, "*batch frames bins"],
    n_fft: int,
    hop: int,
    before: Float[Tensor, "*batch bins"] | None = None,
) -> Float[Tensor, "*batch frames bins"]:
    """Turns that every bin has made up to each frame, float64; `before` is where the last frame left off.

    A peak's frequency comes from a parabola through its log magnitude; the bins around a peak,
    out to the valleys, move with it.
    """
    left = F.pad(magnitude, (1, 0))[..., :-1]
    right = F.pad(magnitude, (0, 1))[..., 1:]
    peak = (magnitude > left) & (magnitude >= right)
    a, b, c = ((m + _TINY).log() for m in (left, magnitude, right))
    offset = (0.5 * (a - c) / (a - 2 * b + c).clamp(max=-1e-6)).clamp(-0.5, 0.5)
    bins = torch.arange(magnitude.shape[-1], device=magnitude.device)
    owner = _owner(peak, (magnitude <= left) & (magnitude < right), bins)
    frequency = owner + torch.where(peak, offset, torch.zeros_like(offset)).gather(-1, owner)
    made = (frequency.double() * (hop / n_fft)).cumsum(dim=-2)
    return made if before is None else made + before[..., None, :]


def to_phase(made: Float[Tensor, "*batch frames bins"]) -> Float[Tensor, "*batch frames bins"]:
    """Radians in (−π, π]; bins of one sinusoid alternate in sign, for a window starts at its frame."""
    made = made + 0.5 * torch.arange(made.shape[-1], device=made.device)
    return ((made - made.round()) * (2 * math.pi)).float()


def _owner(peak: Tensor, valley: Tensor, bins: Tensor) -> Tensor:
    """For each bin the index of the peak whose hill it stands on."""
    none, far = torch.full_like(bins, -1), torch.full_like(bins, len(bins))
    below = torch.where(peak, bins, none).cummax(-1).values
    above = torch.where(peak, bins, far).flip(-1).cummin(-1).values.flip(-1)
    last_valley = torch.where(valley, bins, none).cummax(-1).values
    rising = (last_valley > below) | (below < 0)
    owner = torch.where(rising & (above < len(bins)), above, below)
    return torch.where(owner < 0, bins, owner)


def griffin_lim(
    magnitude: Float[Tensor, "*batch frames bins"],
    phase: Float[Tensor, "*batch frames bins"],
    window: Float[Tensor, " n_fft"],
    hop: int,
    iterations: int,
    momentum: float = 0.99,
) -> Complex[Tensor, "*batch frames bins"]:
    """Unit phasors that make `magnitude` a nearly consistent STFT.

    A frame depends on at most (n_fft / hop − 1) · iterations frames on each side.
    """
    guess = torch.polar(magnitude, phase)
    last = guess
    for iteration in range(iterations):
        consistent = frame_transform(overlap_add(guess, window, hop), window, hop)
        projected = consistent * (magnitude / consistent.abs().clamp(min=_TINY))
        guess = projected + momentum * (projected - last) if iteration else projected
        last = projected
    return last / last.abs().clamp(min=_TINY)
