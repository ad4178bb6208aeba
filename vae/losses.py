"""The ear-VAE's losses on waveforms: magnitudes of M, S, L and R, phases of L and R, K-weighted.

Source: Wang et al. 2025 "Back to Ear", sections 3.3 and 4.3. Every loss is a mean, so weights don't
depend on the length of a crop. Complex STFTs are in float32 whatever the caller's precision.
Differs from the public code: phase differences are wrapped (as the paper says), K-weighting is
exact at any rate, and the correlation is a mean, not a sum, over time and frequency.
"""

import math

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


class KWeighting(nn.Module):
    """Filters a waveform by its transform: the same as the recursion, but parallel and differentiable."""

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        self.biquads = k_weighting(sample_rate)
        self.tail = sample_rate // 3  # the high pass has died away by 200 dB

    def forward(self, wav: Float[Tensor, "*batch time"]) -> Float[Tensor, "*batch time"]:
        size = 1 << (wav.shape[-1] + self.tail - 1).bit_length()
        response = self._response(size, wav.device)
        return torch.fft.irfft(torch.fft.rfft(wav.float(), n=size) * response, n=size)[..., : wav.shape[-1]]

    def _response(self, size: int, device: torch.device) -> Complex[Tensor, " bins"]:
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
    """L1 distance of natural logarithms of magnitude, in nepers."""
    logs = [s.abs().clamp(min=_LOG_FLOOR).log() for s in (predicted, target)]
    return (logs[0] - logs[1]).abs().mean()


def correlation(predicted: Complex[Tensor, "*shape"], target: Complex[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """1 − mean cos(phase error), 0 … 2 (the paper's equation 1, as a mean).

    Bins where either side is silent have no phase and count as right.
    """
    cross = predicted * target.conj()
    sounding = cross.abs() > _TINY**2
    cosine = cross.real / cross.abs().clamp(min=_TINY**2)
    return 1 - torch.where(sounding, cosine, torch.ones_like(cosine)).mean()


def phase_derivatives(
    predicted: Complex[Tensor, "*shape bins frames"], target: Complex[Tensor, "*shape bins frames"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Mean |error| of instantaneous frequency and of group delay, wrapped to [0, π] (equation 2)."""

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
