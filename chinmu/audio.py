"""The audio towers: a window of features becomes one vector before the projection.

`CompactTower` is small and cheap: convolutions over bands and frames, a transformer over what
they leave of time, and one more token that sums up the window (spectrum, its spread, harmony,
and the autocorrelation of onsets, which shows the tempo) so that short trainings have something
to hold on to; where asked, a part of it listens to the words (`chinmu.sung`). `HTSAT` is CLAP's
tower (Chen 2022; Wu 2023) as transformers has it.
"""

import math

import torch
from torch import Tensor, nn
from transformers import ClapAudioConfig, ClapAudioModel

from chinmu.config import AudioConfig
from chinmu.sung import Words
from common.errors import ConfigError

_GROUPS = 4  # bands whose onsets are followed separately: low drums to cymbals
_LEVELS = (0.05, 0.25, 0.75, 0.95)  # shares of the frames of a window
_LAGS = 96  # frames of autocorrelation: 2.2 s at 43 Hz, more than a bar of fast music


def summary(features: Tensor, n_mels: int, levels: bool = False) -> Tensor:
    """What a window is like as a whole, whatever its length.

    Args:
        features: (N, bands, frames), mel bands first.
        levels: whether the levels below which each band is for some shares of the time belong to it: what
            sounds between the notes, such as rain, is heard in the least of them.
    Returns:
        (N, 3 * n_mels + 2 * chroma + 4 * 96): mean, spread and mean change of each band, mean
        and spread of chroma, and the normalised autocorrelation of the onsets of four groups; with
        levels 4 * n_mels more.
    """
    mel, chroma = features[:, :n_mels], features[:, n_mels:]
    change = torch.diff(mel, dim=-1, prepend=mel[..., :1])
    onsets = torch.stack([g.mean(1) for g in change.clamp_min(0).chunk(_GROUPS, dim=1)], dim=1)
    parts = [mel.mean(-1), _spread(mel), change.abs().mean(-1), _autocorrelation(onsets).flatten(1)]
    if chroma.shape[1]:
        parts += [chroma.mean(-1), _spread(chroma)]
    if levels:
        ordered = mel.sort(dim=-1).values
        parts += [ordered[..., round(share * (mel.shape[-1] - 1))] for share in _LEVELS]
    return torch.cat(parts, dim=1)


def _spread(x: Tensor) -> Tensor:
    """Standard deviation over frames, with a finite gradient where nothing moves."""
    return (x.var(-1, correction=0) + 1e-6).sqrt()


def _autocorrelation(x: Tensor) -> Tensor:
    """Autocorrelation at lags 1 … 96 over its value at lag 0; zero beyond the window. (…, T) → (…, 96)."""
    frames = x.shape[-1]
    x = x - x.mean(-1, keepdim=True)
    spectrum = torch.fft.rfft(x.float(), n=2 * frames)
    values = torch.fft.irfft(spectrum.abs().square(), n=2 * frames)
    values = values[..., 1 : min(frames, _LAGS + 1)] / (values[..., :1] + 1e-6)
    return nn.functional.pad(values, (0, _LAGS - values.shape[-1]))


class Standard(nn.Module):
    """Subtract a fixed mean and divide by a fixed deviation, measured once before training.

    A random tower says nearly the same of every song: what differs is a thousandth of what is common,
    and a contrastive loss then finds no direction to begin with. Measured on one batch, the
    differences have unit size from the first step (Krähenbühl 2016, data-dependent initialisation),
    and, unlike batch norm, an answer never depends on the rest of its batch.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))
        self.measuring = False

    def forward(self, x: Tensor) -> Tensor:
        if self.measuring:
            self.mean.copy_(x.float().mean(0))
            spread = x.float().std(0)
            self.deviation.copy_(spread.clamp_min(0.05 * float(spread.mean()) + 1e-6))
        return ((x.float() - self.mean) / self.deviation).to(x.dtype)


def positions(frames: int, width: int, device: torch.device) -> Tensor:
    """Sinusoidal positions (frames, width) (Vaswani 2017, section 3.5)."""
    rates = torch.exp(-math.log(10000.0) * torch.arange(0, width, 2, device=device) / width)
    angles = torch.arange(frames, device=device)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


class ConvBlock(nn.Module):
    """Halves bands and frames: convolution, group norm, GELU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)
        self.norm = nn.GroupNorm(1, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.gelu(self.norm(self.conv(x)))


class CompactTower(nn.Module):
    """Features of equally long windows (W, bands, frames) → (W, width)."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.config = config
        sizes = (1, *config.channels)
        self.stem = nn.Sequential(*(ConvBlock(a, b) for a, b in zip(sizes, sizes[1:])))
        bands = config.n_mels
        for _ in config.channels:
            bands = -(-bands // 2)
        self.inward = nn.Linear(bands * sizes[-1], config.width)
        summed = 3 * config.n_mels + 2 * config.n_chroma + _GROUPS * _LAGS
        summed += len(_LEVELS) * config.n_mels if config.levels else 0
        self.summary = nn.Sequential(
            Standard(summed),
            nn.Linear(summed, 2 * config.width),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(2 * config.width, config.width),
        )
        layer = nn.TransformerEncoderLayer(
            config.width,
            config.heads,
            4 * config.width,
            config.dropout,
            "gelu",
            batch_first=True,
            norm_first=True,
        )
        self.blocks = nn.TransformerEncoder(layer, config.depth, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(config.width)
        self.words = Words(config.n_mels, config.sung) if config.sung else None
        self.out_features = 2 * config.width + (self.words.out_features if self.words else 0)

    @torch.no_grad()
    def measure_levels(self, windows: Tensor) -> None:
        """Standardise the levels of the bands by those of windows (W, bands, frames)."""
        whole = summary(windows.float(), self.config.n_mels, levels=True)
        new = len(_LEVELS) * self.config.n_mels
        standard = self.summary[0]
        assert isinstance(standard, Standard)
        standard.mean[-new:] = whole[:, -new:].mean(0)
        standard.deviation[-new:] = whole[:, -new:].std(0).clamp_min(1e-3)

    def forward(self, features: Tensor) -> Tensor:
        return self.hear(features)[0]

    def hear(self, features: Tensor) -> tuple[Tensor, Tensor | None]:
        """What `forward` gives, and the logits of what is sung where the tower listens to that."""
        mel = features[:, None, : self.config.n_mels]
        x = self.inward(self.stem(mel).flatten(1, 2).transpose(1, 2))
        x = x + positions(x.shape[1], x.shape[2], x.device).to(x.dtype)
        with torch.autocast(features.device.type, enabled=False):
            whole = summary(features.float(), self.config.n_mels, self.config.levels)
        x = torch.cat([self.summary(whole.to(self.inward.weight.dtype))[:, None].to(x.dtype), x], dim=1)
        x = self.norm(self.blocks(x))
        if self.words is None:
            return torch.cat([x[:, 0], x[:, 1:].mean(1)], dim=1), None
        phones, words = self.words(mel[:, 0])
        return torch.cat([x[:, 0], x[:, 1:].mean(1), words.to(x.dtype)], dim=1), phones


class HTSAT(nn.Module):
    """CLAP's audio tower: windows (W, bands, frames) → (W, hidden_size).

    A window shorter than the tower's is repeated to its length, as CLAP's training has it, instead of
    being stretched. The batch norm of the bands is part of the front end: its statistics come with
    pretrained weights, or are measured once, and don't change in training.
    """

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        settings = ClapAudioConfig(**config.htsat | {"num_mel_bins": config.n_mels, "enable_fusion": False})
        longest = settings.spec_size * (settings.spec_size // config.n_mels)
        if config.window_frames > longest:
            raise ConfigError(
                f"this HTSAT hears {longest} frames at once, but a window of {config.window:g} s has "
                f"{config.window_frames}: lower window or raise hop_length"
            )
        self.frames = config.window_frames
        self.model = ClapAudioModel(settings)
        self.out_features = settings.hidden_size

    def train(self, mode: bool = True) -> "HTSAT":
        super().train(mode)
        self.model.audio_encoder.batch_norm.eval()
        return self

    @property
    def fresh(self) -> bool:
        """Whether the bands' statistics are still those of a new batch norm."""
        return not self._statistics()[0].any()

    def measure(self, features: Tensor) -> None:
        """Take the bands' means and variances from windows (W, bands, frames)."""
        mean, variance = self._statistics()
        mean.copy_(features.mean((0, 2)))
        variance.copy_(features.var((0, 2)).clamp_min(1e-3))

    def _statistics(self) -> tuple[Tensor, Tensor]:
        norm = self.model.audio_encoder.batch_norm
        assert norm.running_mean is not None and norm.running_var is not None, "CLAP's batch norm keeps both"
        return norm.running_mean, norm.running_var

    def forward(self, features: Tensor) -> Tensor:
        short = features.shape[-1]
        if short < self.frames:
            features = features.repeat(1, 1, -(-self.frames // short))[..., : self.frames]
        return self.model(input_features=features.transpose(1, 2)[:, None]).pooler_output

    def hear(self, features: Tensor) -> tuple[Tensor, None]:
        """What `forward` gives; this tower doesn't say what is sung."""
        return self(features), None


def build_tower(config: AudioConfig) -> CompactTower | HTSAT:
    """The tower that the configuration names."""
    return HTSAT(config) if config.tower == "htsat" else CompactTower(config)
