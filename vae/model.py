"""ear-VAE: a convolutional autoencoder of stereo music, 44.1 kHz waveforms ↔ 64 numbers at 43 Hz.

Source: Wang et al. 2025 "Back to Ear: Perceptually Driven High Fidelity Music Reconstruction"
(the architecture and `paper`), with the details of the authors' public code, so that their
checkpoints fit key by key:

- the paper's "128-dimensional" latent counts mean and scale: z has 64 dimensions;
- posterior std = softplus(scale);
- a two-layer transformer with rotary positions stands before the decoder's first convolution;
- a residual unit has one SnakeBeta in two places, and its tensors under two names in the state dict;
- the output convolution has no bias and no tanh.

Differs: any length goes in and the same length comes out (theirs drops what exceeds whole hops).
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from common.errors import ConfigError
from common.quiet import without_kernel_warning
from vae.posterior import Posterior, check_length, check_stereo
from vae.settings import check_number, check_whole, check_wholes
from vae.snake import Fused, fused, snake, snake_rows

with without_kernel_warning():
    from diffusers import ConfigMixin, ModelMixin
    from diffusers.configuration_utils import register_to_config

DILATIONS = (1, 3, 9)
TILE = 256  # latents decoded at once, 6 s: at the published widths the largest layer's output has 146 MB

SIZES: dict[str, dict[str, Any]] = {
    "paper": {},
    "paper_48k": {"sample_rate": 48000, "strides": (2, 2, 4, 6, 10), "transformer_depth": 0},
    "demo": {"channels": 16},
    "tiny": {"channels": 4, "multipliers": (1, 2, 4), "strides": (4, 4, 8), "latent_dim": 8},
}


class SnakeBeta(nn.Module):
    """x + sin²(e^α x) / e^β with α and β per channel (`vae.snake`)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    fused: Fused | None = None  # compiled, when `EarVAE.fuse` has asked for it

    def forward(
        self, x: Float[Tensor, "batch channels *time"], keep: bool = False
    ) -> Float[Tensor, "batch channels *time"]:
        """Args: keep: of x in rows (`in_rows`), which nobody but a residual unit needs again."""
        if x.ndim == 4:
            rows = snake_rows if self.fused is None else self.fused.rows
            return rows(x, self.alpha, self.beta, keep)
        return (self.fused or snake)(x, self.alpha, self.beta)


class Conv(nn.Module):
    """A weight-normalised convolution, w = g · v / ‖v‖ (Salimans & Kingma 2016).

    Written out instead of torch's parametrisation, whose parameters have other names and can't
    be built on the meta device.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        padding: int,
        dilation: int = 1,
        stride: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.padding, self.dilation, self.stride = padding, dilation, stride
        self._create(torch.empty(outputs, inputs, kernel), outputs if bias else None)

    folded: Tensor | None = None  # (…, 1, kernel): g · v / ‖v‖ while `folded_weights` holds it

    def _create(self, weight: Tensor, biases: int | None) -> None:
        nn.init.kaiming_uniform_(weight, a=math.sqrt(5))
        self.weight_g = nn.Parameter(weight.norm(dim=(1, 2), keepdim=True))
        self.weight_v = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(biases)) if biases is not None else None

    @property
    def weight(self) -> Tensor:
        if self.folded is not None:
            return self.folded[:, :, 0]
        return self.weight_v * (self.weight_g / self.weight_v.norm(dim=(1, 2), keepdim=True))

    def sees(self, low: int, high: int) -> tuple[int, int]:
        """The first and the last input that the outputs `low` … `high` depend on."""
        reach = (self.weight_v.shape[2] - 1) * self.dilation
        return low * self.stride - self.padding, high * self.stride - self.padding + reach

    @property
    def flat(self) -> Tensor:
        """The weight for inputs of one row, (batch, inputs, 1, time)."""
        return self.weight[:, :, None] if self.folded is None else self.folded

    def forward(self, x: Float[Tensor, "batch inputs *time"]) -> Float[Tensor, "batch outputs *new_time"]:
        if x.ndim == 4 and self.weight_v.shape[2] == 1:  # on one thread torch would unfold its input first
            rows = F.linear(x.permute(0, 2, 3, 1), self.flat[:, :, 0, 0], self.bias)
            return rows.permute(0, 3, 1, 2)
        if x.ndim == 4:
            return F.conv2d(x, self.flat, self.bias, (1, self.stride), (0, self.padding), (1, self.dilation))
        return F.conv1d(x, self.weight, self.bias, self.stride, self.padding, self.dilation)


class Upsample(Conv):
    """A weight-normalised transposed convolution that makes `stride` samples of one."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        nn.Module.__init__(self)
        self.stride = stride
        self._create(torch.empty(inputs, outputs, 2 * stride), outputs)

    def sees(self, low: int, high: int) -> tuple[int, int]:
        """Output o comes from the inputs i with 0 ≤ o + padding − i · stride < 2 · stride."""
        s, padding = self.stride, math.ceil(self.stride / 2)
        return -(-(low + padding - 2 * s + 1) // s), (high + padding) // s

    def forward(self, x: Float[Tensor, "batch inputs *time"]) -> Float[Tensor, "batch outputs *new_time"]:
        s, padding, more = self.stride, math.ceil(self.stride / 2), self.stride % 2
        if x.ndim == 4:
            return F.conv_transpose2d(x, self.flat, self.bias, (1, s), (0, padding), (0, more))
        return F.conv_transpose1d(x, self.weight, self.bias, s, padding, more)


@contextmanager
def folded_weights(module: nn.Module) -> Iterator[None]:
    """Within the block the convolutions of a module compute their weights once, not in every call."""
    layers = [layer for layer in module.modules() if isinstance(layer, Conv)]
    cpu = all(layer.weight_v.device.type == "cpu" for layer in layers)
    order = torch.channels_last if cpu else torch.contiguous_format  # as `in_rows` wants them
    try:
        with torch.no_grad():
            for layer in layers:
                layer.folded = layer.weight[:, :, None].contiguous(memory_format=order)
        yield
    finally:
        for layer in layers:
            layer.folded = None


@torch.no_grad()
def in_rows(
    layers: nn.Module, x: Float[Tensor, "batch channels time"]
) -> Float[Tensor, "batch new_channels new_time"]:
    """What convolutional layers make of x, without a gradient; on a CPU with channels beside each other.

    So oneDNN's convolutions are about 1.2 times, its transposed ones two to three times as fast
    (`docs/LOG.md`); on a GPU cuDNN chooses for itself.
    """
    if x.device.type != "cpu":
        return layers(x)
    return layers(x[:, :, None].contiguous(memory_format=torch.channels_last))[:, :, 0].contiguous()


def downsample(inputs: int, outputs: int, stride: int) -> Conv:
    """A convolution that makes one sample of `stride`."""
    return Conv(inputs, outputs, 2 * stride, padding=math.ceil(stride / 2), stride=stride)


class ResidualUnit(nn.Module):
    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        snake = SnakeBeta(channels)
        wide = Conv(channels, channels, 7, padding=3 * dilation, dilation=dilation)
        self.layers = nn.Sequential(snake, wide, snake, Conv(channels, channels, 1, padding=0))
        self.register_state_dict_post_hook(_unshare)

    def forward(self, x: Float[Tensor, "batch channels *time"]) -> Float[Tensor, "batch channels *time"]:
        if x.ndim == 4:
            first = self.layers[0]
            assert isinstance(first, SnakeBeta)
            return self.layers[1:](first(x, keep=True)).add_(x)
        return x + self.layers(x)


def _unshare(module: nn.Module, state: dict[str, Tensor], prefix: str, local: Any) -> None:
    """Safetensors refuses two names for one tensor, so the second name gets a copy."""
    for name in ("alpha", "beta"):
        key = f"{prefix}layers.2.{name}"
        state[key] = state[key].clone()


class EncoderBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        units = [ResidualUnit(inputs, dilation) for dilation in DILATIONS]
        self.layers = nn.Sequential(*units, SnakeBeta(inputs), downsample(inputs, outputs, stride))

    def forward(self, x: Float[Tensor, "batch inputs *time"]) -> Float[Tensor, "batch outputs *new_time"]:
        return self.layers(x)


class DecoderBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        units = [ResidualUnit(outputs, dilation) for dilation in DILATIONS]
        self.layers = nn.Sequential(SnakeBeta(inputs), Upsample(inputs, outputs, stride), *units)

    def forward(self, x: Float[Tensor, "batch inputs *time"]) -> Float[Tensor, "batch outputs *new_time"]:
        return self.layers(x)


class Encoder(nn.Module):
    """Waveform → mean and scale, `widths[i]` channels before the i-th stride."""

    def __init__(self, widths: list[int], strides: tuple[int, ...], latent_dim: int) -> None:
        super().__init__()
        blocks = [EncoderBlock(*sizes) for sizes in zip(widths, widths[1:], strides)]
        last = Conv(widths[-1], 2 * latent_dim, 3, padding=1)
        self.layers = nn.Sequential(Conv(2, widths[0], 7, padding=3), *blocks, SnakeBeta(widths[-1]), last)

    def forward(self, x: Float[Tensor, "batch 2 *time"]) -> Float[Tensor, "batch twice_latent_dim *frames"]:
        return self.layers(x)


class Decoder(nn.Module):
    """Latents → waveform, the encoder's widths and strides backwards."""

    def __init__(self, widths: list[int], strides: tuple[int, ...], latent_dim: int) -> None:
        super().__init__()
        widths, strides = widths[::-1], strides[::-1]
        blocks = [DecoderBlock(*sizes) for sizes in zip(widths, widths[1:], strides)]
        last = Conv(widths[-1], 2, 7, padding=3, bias=False)
        self.layers = nn.Sequential(
            Conv(latent_dim, widths[0], 7, padding=3), *blocks, SnakeBeta(widths[-1]), last
        )

    def forward(self, x: Float[Tensor, "batch latent_dim *frames"]) -> Float[Tensor, "batch 2 *time"]:
        return self.layers(x)


class Norm(nn.Module):
    """Layer norm whose shift is no parameter, only zeros that checkpoints carry."""

    beta: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))
        self.register_buffer("beta", torch.zeros(dim))

    def forward(self, x: Float[Tensor, "batch frames dim"]) -> Float[Tensor, "batch frames dim"]:
        return F.layer_norm(x, x.shape[-1:], self.gamma, self.beta, eps=1e-5)


class Rotary(nn.Module):
    """Rotary positions over whole heads, first half against second (Su et al. 2021)."""

    inv_freq: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("inv_freq", 10000.0 ** -(torch.arange(0, dim, 2) / dim))

    def forward(self, x: Float[Tensor, "batch heads frames dim"]) -> Float[Tensor, "batch heads frames dim"]:
        angles = torch.outer(torch.arange(x.shape[2], device=x.device).float(), self.inv_freq.float())
        cos, sin = (torch.cat([f, f], dim=-1).to(x.dtype) for f in (angles.cos(), angles.sin()))
        first, second = x.chunk(2, dim=-1)
        return x * cos + torch.cat([-second, first], dim=-1) * sin


class Attention(nn.Module):
    """Self-attention over all frames."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.to_out = nn.Linear(dim, dim, bias=False)
        nn.init.zeros_(self.to_out.weight)

    def forward(
        self, x: Float[Tensor, "batch frames dim"], rotary: Rotary
    ) -> Float[Tensor, "batch frames dim"]:
        q, k, v = self.to_qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(rotary(q), rotary(k), v)
        return self.to_out(mixed.transpose(1, 2).flatten(2))


class Gate(nn.Module):
    """SwiGLU (Shazeer 2020): the first half, times SiLU of the second."""

    def __init__(self, dim: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(dim, 2 * inner)

    def forward(self, x: Float[Tensor, "batch frames dim"]) -> Float[Tensor, "batch frames inner"]:
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.silu(gate)


class FeedForward(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        last = nn.Linear(4 * dim, dim)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.ff = nn.Sequential(Gate(dim, 4 * dim), nn.Identity(), last)

    def forward(self, x: Float[Tensor, "batch frames dim"]) -> Float[Tensor, "batch frames dim"]:
        return self.ff(x)


class TransformerBlock(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.pre_norm = Norm(dim)
        self.self_attn = Attention(dim, heads)
        self.ff_norm = Norm(dim)
        self.ff = FeedForward(dim)

    def forward(
        self, x: Float[Tensor, "batch frames dim"], rotary: Rotary
    ) -> Float[Tensor, "batch frames dim"]:
        x = x + self.self_attn(self.pre_norm(x), rotary)
        return x + self.ff(self.ff_norm(x))


class Transformer(nn.Module):
    """Pre-norm blocks without a final norm; the identity when new."""

    def __init__(self, dim: int, heads: int, depth: int) -> None:
        super().__init__()
        self.rotary_pos_emb = Rotary(dim // heads)
        self.layers = nn.ModuleList(TransformerBlock(dim, heads) for _ in range(depth))

    def forward(self, x: Float[Tensor, "batch dim frames"]) -> Float[Tensor, "batch dim frames"]:
        x = x.transpose(1, 2)
        for layer in self.layers:
            x = layer(x, self.rotary_pos_emb)
        return x.transpose(1, 2)


class EarVAE(ModelMixin, ConfigMixin):
    """Waveform (B, 2, T) ↔ latents (B, latent_dim, frames), frames = ceil(T / hop_length).

    Args:
        sample_rate: Hz.
        channels, multipliers: the first width, and the widths after each stride in units of it.
        strides: of the encoder; their product is `hop_length`.
        latent_dim: dimensions of z.
        transformer_depth, heads: before the decoder; depth 0 for none.
        scale: deviation of the latents of a trained model, by which `encode` divides.
    Raises:
        ConfigError: a setting is of another kind or out of its range, strides and multipliers differ in
            number, or heads don't divide the latent that a transformer sees.
    """

    @register_to_config
    def __init__(
        self,
        sample_rate: int = 44100,
        channels: int = 128,
        multipliers: tuple[int, ...] = (1, 2, 4, 8, 16),
        strides: tuple[int, ...] = (2, 4, 4, 4, 8),
        latent_dim: int = 64,
        transformer_depth: int = 2,
        heads: int = 2,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        check_whole(1, sample_rate=sample_rate, channels=channels, latent_dim=latent_dim, heads=heads)
        check_whole(0, transformer_depth=transformer_depth)
        check_wholes(1, multipliers=multipliers, strides=strides)
        check_number(zero=False, scale=scale)
        if len(strides) != len(multipliers):
            raise ConfigError(
                f"got {len(strides)} strides but {len(multipliers)} multipliers: each needs one"
            )
        if min(strides) < 2:
            raise ConfigError(f"every stride is at least 2, but got {tuple(strides)}")
        if transformer_depth and latent_dim % (2 * heads):
            raise ConfigError(f"{heads} heads of even size don't divide a latent of {latent_dim} dimensions")
        self.sample_rate, self.latent_dim, self.scale = sample_rate, latent_dim, scale
        self.hop_length = math.prod(strides)
        widths = [channels] + [channels * m for m in multipliers]
        self.encoder = Encoder(widths, tuple(strides), latent_dim)
        self.decoder = Decoder(widths, tuple(strides), latent_dim)
        self.transformers = Transformer(latent_dim, heads, transformer_depth) if transformer_depth else None

    @classmethod
    def named(cls, name: str, **changes: Any) -> "EarVAE":
        """A fresh model of a known size: `paper`, `paper_48k`, `demo` (2.5M) or `tiny`.

        Args:
            changes: arguments of the class that differ from that size's.
        """
        if name not in SIZES:
            raise ConfigError(f"there is no ear-VAE {name!r}: choose one of {', '.join(SIZES)}")
        return cls(**(SIZES[name] | changes))

    def fuse(self, backend: str = "inductor") -> bool:
        """Compile what torch.compile makes faster, SnakeBeta; False, with a warning, where it can't be.

        Results agree within rounding (1e-5 in float32). Worth it for more than a minute or two of sound.

        Args:
            backend: of torch.compile.
        """
        compiled = fused(backend)
        for layer in self.modules():
            if isinstance(layer, SnakeBeta):
                layer.fused = compiled
        return compiled is not None

    @property
    def frame_rate(self) -> float:
        """Latents a second."""
        return self.sample_rate / self.hop_length

    def frames(self, length: int) -> int:
        """Latents of a waveform of `length` samples."""
        return -(-length // self.hop_length)

    @property
    def encode_context(self) -> int:
        """Latents on each side of a tile that its encoding depends on: 9 for the published models."""
        low = high = 0
        for layer in reversed(_convolutions(self.encoder)):
            low, high = layer.sees(low, high)
        return max(-(low // self.hop_length), high // self.hop_length)

    @property
    def decode_context(self) -> int:
        """Latents on each side of a tile that the decoder's convolutions depend on."""
        low, high = 0, self.hop_length - 1
        for layer in reversed(_convolutions(self.decoder)):
            low, high = layer.sees(low, high)
        return max(-low, high)

    def encode(self, wav: Float[Tensor, "batch 2 time"]) -> Posterior:
        """Compress a waveform; what follows its end counts as silence.

        Raises:
            AudioError: the waveform isn't stereo, is empty or isn't finite.
        """
        check_stereo(wav)
        padded = F.pad(wav, (0, -wav.shape[-1] % self.hop_length))
        encoded = self.encoder(padded) if torch.is_grad_enabled() else in_rows(self.encoder, padded)
        mean, scale = encoded.chunk(2, dim=1)
        return Posterior(mean / self.scale, F.softplus(scale) / self.scale)

    def decode(
        self,
        latents: Float[Tensor, "batch latent_dim frames"],
        length: int | None = None,
        score: object = None,
    ) -> Float[Tensor, "batch 2 length"]:
        """Waveforms of `length` samples, of all frames when None.

        Args:
            score: accepted for the sake of codecs that need one; this one doesn't.
        Raises:
            AudioError: the latents have fewer samples.
        """
        check_length(length, latents.shape[-1], self.hop_length)
        mixed = self._mixed(latents)
        wav = self.decoder(mixed) if torch.is_grad_enabled() else in_rows(self.decoder, mixed)
        return wav[..., :length] if length is not None else wav

    def decode_tiles(
        self, latents: Float[Tensor, "batch latent_dim frames"], tile: int = TILE
    ) -> Iterator[Float[Tensor, "batch 2 time"]]:
        """The waveform of `decode` in pieces of `tile` latents, equal to it but for rounding; no gradient.

        The transformer, which sees all frames, runs once; the convolutions see a tile and its context.
        """
        mixed, context, hop = self._mixed(latents), self.decode_context, self.hop_length
        with folded_weights(self.decoder):
            for start in range(0, mixed.shape[2], tile):
                stop = min(mixed.shape[2], start + tile)
                first = max(0, start - context)
                wav = in_rows(self.decoder, mixed[..., first : stop + context])
                yield wav[..., (start - first) * hop : (stop - first) * hop]

    def _mixed(self, latents: Tensor) -> Float[Tensor, "batch latent_dim frames"]:
        latents = latents * self.scale
        return self.transformers(latents) if self.transformers is not None else latents


def _convolutions(module: nn.Module) -> list[Conv]:
    """In the order of the forward pass; a residual unit sees as far as its longer way."""
    return [layer for layer in module.modules() if isinstance(layer, Conv)]
