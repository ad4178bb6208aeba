"""The ear-VAE's losses: magnitudes of M, S, L and R, phases of L and R, K-weighted; and the adversary's.

Source: Wang et al. 2025 "Back to Ear", sections 3.3 and 4.3. Every loss is a mean, so weights don't
depend on the length of a crop. Complex STFTs are in float32 whatever the caller's precision.
Differs from the public code: phase differences are wrapped (as the paper says), K-weighting is
exact at any rate, and the correlation is a mean, not a sum, over time and frequency.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn
from torch.nn import functional as F

_TINY = 1e-8
_LOG_FLOOR = 1e-5  # magnitude, of an STFT normalised by its window


def k_weighting(sample_rate: int) -> tuple[tuple[list[float], list[float]], ...]:
    """The two biquads (b, a) of BS.1770 at any rate: high shelf, then high pass.

    Source: ITU-R BS.1770-5 for 48 kHz; the analogue prototypes of De Man 2014 "Evaluation of
    implementations of the EBU R128 loudness measurement" for other rates.
    """
    gain, q, corner = 3.99984385397, 0.7071752369554193, 1681.9744509555319
    k = math.tan(math.pi * corner / sample_rate)
    high = 10 ** (gain / 20)
    middle = high**0.499666774155
    unit = 1 + k / q + k * k
    numerator = (high + middle * k / q + k * k, 2 * (k * k - high), high - middle * k / q + k * k)
    shelf = ([b / unit for b in numerator], [1.0, 2 * (k * k - 1) / unit, (1 - k / q + k * k) / unit])
    q, corner = 0.5003270373253953, 38.13547087613982
    k = math.tan(math.pi * corner / sample_rate)
    unit = 1 + k / q + k * k
    high_pass = ([1.0, -2.0, 1.0], [1.0, 2 * (k * k - 1) / unit, (1 - k / q + k * k) / unit])
    return shelf, high_pass


def a_weighting(frequencies: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """A(f) as an amplitude, 1 at 1 kHz and 0 at 0 Hz (IEC 61672-1:2013, equation E.6).

    An amplitude f^4 · 12194² / ((f² + 20.6²) √(f² + 107.7²) √(f² + 737.9²) (f² + 12194²)), normalised.
    """

    def shape(f: Tensor) -> Tensor:
        square = f.double().square()
        low, first, second, high = (c * c for c in (20.598997, 107.65265, 737.86223, 12194.217))
        slopes = (square + low) * ((square + first) * (square + second)).sqrt() * (square + high)
        return square.square() * high / slopes

    return shape(frequencies) / shape(torch.tensor(1000.0))


Curve = Literal["K", "A", "none"]


class Weighting(nn.Module):
    """Filters a waveform by its transform, exactly at any rate, in parallel and differentiably.

    Args:
        curve: "K" is BS.1770's, phase included: the same as the recursion of its two biquads. "A" has
            the standard's magnitude and no phase (an ablation of the paper). "none" changes nothing.
    """

    def __init__(self, sample_rate: int, curve: Curve = "K") -> None:
        super().__init__()
        self.sample_rate, self.curve = sample_rate, curve
        self.biquads = k_weighting(sample_rate)
        self.tail = sample_rate // 3  # the high passes have died away by 200 dB

    def forward(self, wav: Float[Tensor, "*batch time"]) -> Float[Tensor, "*batch time"]:
        if self.curve == "none":
            return wav.float()
        size = 1 << (wav.shape[-1] + self.tail - 1).bit_length()
        response = self._response(size, wav.device)
        return torch.fft.irfft(torch.fft.rfft(wav.float(), n=size) * response, n=size)[..., : wav.shape[-1]]

    def gain(self, n_fft: int) -> Float[Tensor, " bins"]:
        """Amplitude at the bins of a transform of `n_fft` samples."""
        if self.curve == "none":
            return torch.ones(n_fft // 2 + 1)
        return self._response(n_fft, torch.device("cpu")).abs()

    def _response(self, size: int, device: torch.device) -> Complex[Tensor, " bins"]:
        if self.curve == "A":
            frequencies = torch.arange(size // 2 + 1) * (self.sample_rate / size)
            return a_weighting(frequencies).to(device=device, dtype=torch.complex64)
        delay = torch.exp(-2j * math.pi * torch.arange(size // 2 + 1, dtype=torch.float64) / size)
        powers = torch.stack([delay**0, delay, delay**2])
        response = torch.ones_like(delay)
        for b, a in self.biquads:
            top, bottom = (torch.tensor(c, dtype=torch.complex128) for c in (b, a))
            response = response * (top @ powers) / (bottom @ powers)
        return response.to(device=device, dtype=torch.complex64)


def four_channels(wav: Float[Tensor, "batch 2 time"]) -> Float[Tensor, "batch 4 time"]:
    """Mid, side, left, right: M = (L + R) / 2, S = (L − R) / 2."""
    left, right = wav.unbind(1)
    return torch.stack([(left + right) / 2, (left - right) / 2, left, right], dim=1)


def spectrum(
    wav: Float[Tensor, "batch channels time"], n_fft: int
) -> Complex[Tensor, "batch channels bins frames"]:
    """The STFT with a Hann window and a quarter hop, divided by the window's sum."""
    window = torch.hann_window(n_fft, device=wav.device)
    padded = F.pad(wav.float(), (n_fft // 2, n_fft // 2 + -wav.shape[-1] % (n_fft // 4)))
    flat = torch.stft(
        padded.flatten(0, 1), n_fft, n_fft // 4, window=window, center=False, return_complex=True
    )
    return flat.unflatten(0, wav.shape[:2]) / window.sum()


def log_magnitude(
    predicted: Complex[Tensor, "*shape"], target: Complex[Tensor, "*shape"]
) -> Float[Tensor, ""]:
    """L_stft-mag = mean |ln |Ŝ| − ln |S||, in nepers (section 3.3, after EnCodec)."""
    logs = [s.abs().clamp(min=_LOG_FLOOR).log() for s in (predicted, target)]
    return (logs[0] - logs[1]).abs().mean()


def correlation(predicted: Complex[Tensor, "*shape"], target: Complex[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """L_corr = 1 − mean Re(Ŝ S* / |Ŝ||S|) = 1 − mean cos(φ̂ − φ), 0 … 2 (equation 1, as a mean).

    Bins where either side is silent have no phase and count as right.
    """
    cross = predicted * target.conj()
    sounding = cross.abs() > _TINY**2
    cosine = cross.real / cross.abs().clamp(min=_TINY**2)
    return 1 - torch.where(sounding, cosine, torch.ones_like(cosine)).mean()


def phase_derivatives(
    predicted: Complex[Tensor, "*shape bins frames"], target: Complex[Tensor, "*shape bins frames"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Mean |error| of instantaneous frequency and of group delay, wrapped to [0, π] (equation 2).

    IF(φ)_t = φ_{t+1} − φ_t and GD(φ)_f = −(φ_{f+1} − φ_f); L_phase is the sum of both errors.
    """

    def error(axis: int) -> Tensor:
        steps = [s.narrow(axis, 1, s.shape[axis] - 1) * s.narrow(axis, 0, s.shape[axis] - 1).conj()
                 for s in (predicted, target)]  # fmt: skip
        return _angle(steps[0] * steps[1].conj()).abs().mean()

    return error(-1), error(-2)


def _angle(values: Complex[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The phase, 0 with a zero gradient where there is none: atan2's is infinite there."""
    size = values.abs().detach()
    sounding = size > _TINY**2
    unit = torch.where(sounding, values, torch.ones_like(values)) / torch.where(sounding, size, 1.0)
    return torch.atan2(unit.imag, unit.real)


# ---- the adversary ---------------------------------------------------------------------------


def critic_loss(real: Sequence[Tensor], made: Sequence[Tensor]) -> Float[Tensor, ""]:
    """L_Adv(D; G) = mean (1 − D(x))² + mean D(x̂)², a mean over discriminators (Mao et al. 2017, LSGAN).

    The scores are (batch, ...), of any shape.
    """
    rows = [(1 - r.float()).square().mean() + m.float().square().mean() for r, m in zip(real, made)]
    return torch.stack(rows).mean()


def adversarial(made: Sequence[Tensor]) -> Float[Tensor, ""]:
    """L_Adv(G; D) = mean (1 − D(x̂))², a mean over discriminators."""
    return torch.stack([(1 - m.float()).square().mean() for m in made]).mean()


def feature_matching(
    real: Sequence[Sequence[Tensor]],
    made: Sequence[Sequence[Tensor]],
) -> Float[Tensor, ""]:
    """L_fmap = mean over maps of |D(x) − D(x̂)| / mean |D(x)| (Défossez et al. 2022, equation 2).

    The denominator is of each example, so that the loss of a batch is the mean of its examples'.
    """
    rows = []
    for wanted, found in ((r, m) for rs, ms in zip(real, made) for r, m in zip(rs, ms)):
        wanted, found = wanted.detach().float().flatten(1), found.float().flatten(1)
        rows.append(((wanted - found).abs().mean(1) / wanted.abs().mean(1).clamp(min=_TINY)).mean())
    return torch.stack(rows).mean()
