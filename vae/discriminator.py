"""What tells copies from originals: the ear-VAE's multi-scale STFT discriminator, and HiFi-GAN's periods.

Source: Défossez et al. 2022 "High Fidelity Neural Audio Compression" (EnCodec), section 3.4, for the
STFT's; Kong et al. 2020 (HiFi-GAN) for the periods', which Wang et al. 2025 left out because they found
that it harms the stereo image: it is here for that ablation. Both see left and right together.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from common.errors import ConfigError
from vae.losses import spectrum

_SLOPE = 0.2  # of the leaky ReLU


class Opinions(NamedTuple):
    """What the discriminators say: a score map and the feature maps below it, of each."""

    scores: list[Tensor]
    maps: list[list[Tensor]]


class STFTDiscriminator(nn.Module):
    """2-D convolutions over (frames, bins) of a complex STFT, real and imaginary parts as channels.

    Kernels are 3 frames by 9 bins; three layers halve the bins while they look 1, 2 and 4 frames apart.
    """

    def __init__(self, n_fft: int, filters: int) -> None:
        super().__init__()
        self.n_fft = n_fft
        layers = [_conv(4, filters, (3, 9))]
        layers += [_conv(filters, filters, (3, 9), (1, 2), (dilation, 1)) for dilation in (1, 2, 4)]
        layers += [_conv(filters, filters, (3, 3))]
        self.layers = nn.ModuleList(layers)
        self.last = _conv(filters, 1, (3, 3))

    def forward(self, wav: Float[Tensor, "batch 2 time"]) -> tuple[Tensor, list[Tensor]]:
        # Divided by the root of the window's energy, white noise of unit power has unit bins.
        with torch.autocast(wav.device.type, enabled=False):
            bins = spectrum(wav, self.n_fft) * (self.n_fft / 2) / (self.n_fft * 3 / 8) ** 0.5
            x = torch.cat([bins.real, bins.imag], dim=1).transpose(2, 3)
        maps = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), _SLOPE)
            maps.append(x)
        return self.last(x), maps


class PeriodDiscriminator(nn.Module):
    """2-D convolutions along every `period`-th sample."""

    def __init__(self, period: int, channels: int) -> None:
        super().__init__()
        self.period = period
        widths = [2, channels, 4 * channels, 16 * channels, 32 * channels]
        layers = [_conv(a, b, (5, 1), (3, 1)) for a, b in zip(widths, widths[1:])]
        self.layers = nn.ModuleList([*layers, _conv(widths[-1], widths[-1], (5, 1))])
        self.last = _conv(widths[-1], 1, (3, 1))

    def forward(self, wav: Float[Tensor, "batch 2 time"]) -> tuple[Tensor, list[Tensor]]:
        x = F.pad(wav, (0, -wav.shape[-1] % self.period)).unflatten(-1, (-1, self.period))
        maps = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), _SLOPE)
            maps.append(x)
        return self.last(x), maps


def _conv(
    inputs: int,
    outputs: int,
    kernel: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
) -> nn.Module:
    padding = ((kernel[0] - 1) * dilation[0] // 2, (kernel[1] - 1) * dilation[1] // 2)
    return weight_norm(nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation))


class SpectrogramCritic(nn.Module):
    """2-D convolutions over (frames, bins) of log magnitudes, for a codec that is deaf to phase.

    A third channel tells the bin's place on the axis: noise that is right in a cymbal is wrong in a voice.

    Args:
        filters: channels of the first layer; the others have twice as many.
    """

    def __init__(self, filters: int = 16) -> None:
        super().__init__()
        wide = 2 * filters
        layers = [_conv(3, filters, (3, 9), (1, 4)), _conv(filters, wide, (3, 9), (1, 4))]
        self.layers = nn.ModuleList([*layers, _conv(wide, wide, (3, 5), (2, 2)), _conv(wide, wide, (3, 3))])
        self.last = _conv(wide, 1, (3, 3))

    def forward(self, logs: Float[Tensor, "batch 2 frames bins"]) -> Opinions:
        place = torch.linspace(-1, 1, logs.shape[-1], device=logs.device).expand_as(logs[:, :1])
        x, maps = torch.cat([logs / 2, place], dim=1), []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), _SLOPE)
            maps.append(x)
        return Opinions([self.last(x)], [maps])


class Critic(nn.Module):
    """All discriminators of waveforms.

    Args:
        windows: n_fft of the STFT's; the hop is a quarter.
        filters: channels of their layers.
        periods: of the period's; none in the paper.
        period_channels: of their first layer; the last has 32 times as many.
    Raises:
        ConfigError: there is no discriminator at all.
    """

    def __init__(
        self,
        windows: tuple[int, ...] = (2048, 1024, 512, 256, 128),
        filters: int = 64,
        periods: tuple[int, ...] = (),
        period_channels: int = 32,
    ) -> None:
        super().__init__()
        if not windows and not periods:
            raise ConfigError("a critic needs a window or a period: give one, or set its weights to 0")
        members: list[nn.Module] = [STFTDiscriminator(n_fft, filters) for n_fft in windows]
        members += [PeriodDiscriminator(period, period_channels) for period in periods]
        self.members = nn.ModuleList(members)

    def forward(self, wav: Float[Tensor, "batch 2 time"]) -> Opinions:
        pairs = [member(wav) for member in self.members]
        return Opinions([score for score, _ in pairs], [maps for _, maps in pairs])
