"""The song model: a diffusion transformer over audio latents (Wang 2025, section 3.2; Peebles 2023).

- Time and label embeddings steer every block through adaLN-zero: at the start each block is the
  identity, and the output is zero plus a learned share of the input.
- The description is a row of fragment vectors put before the audio tokens: joint self-attention.
- Lyrics come by cross-attention, in every `cross_every`-th block.
- The score comes frame by frame, added to the audio tokens at the input and again half way.
- RoPE turns half of each head, of audio tokens only, by their place in frames: fragments are a set.
- Long tokens are cheap but coarse: with `frame_width` the output is finished at the frame rate by
  convolutional blocks that see the noisy latents and the score again.
- Padding is masked in the attention logits and zeroed at the input, so it changes nothing.

Differs from the paper: the score (it has none), and the skip from input to output, whose share is
a function of t: the network needn't learn to copy noise through its bottleneck.
"""

import math
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional as F

from common.errors import ConfigError
from common.frames import N_CHANNELS
from common.pinyin import FINALS, INITIALS
from dit.conditions import NO_AUDIENCE, TEXT_DIM, Conditions
from dit.lyrics import PADDING, VOCABULARY_SIZE

SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"latent_dim": 8, "dim": 32, "depth": 2, "heads": 2, "patch": 2, "modulation_rank": 8},
    "demo": {
        "latent_dim": 96,
        "dim": 320,
        "depth": 8,
        "heads": 5,
        "patch": 4,
        "modulation_rank": 64,
        "frame_width": 128,
    },
    # Wang 2025 gives 380M parameters and no shape; 16 × 1024 with cross-attention in every block fits.
    "paper": {"latent_dim": 64, "dim": 1024, "depth": 16, "heads": 16, "patch": 1, "cross_every": 1},
}
_FREQUENCIES = 128  # of a sinusoidal embedding


class SongTransformer(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Velocity (or noise) of noisy latents, given conditions.

    Args:
        latent_dim: D of the VAE.
        patch: latent frames in a token, 1–4.
        modulation_rank: width of the bottleneck of each block's adaLN; 0 for none.
        cross_every: every how many blocks one looks at the lyrics.
        syllable_dim: size of the embeddings of a frame's initial and final.
        frame_width, frame_depth: of the blocks that finish the output at the frame rate; width 0 for none.
        lyric_vocabulary, score_channels, initials, finals: sizes of the inputs, kept with the weights.
    Raises:
        ConfigError: sizes that don't fit together.
    """

    _supports_gradient_checkpointing = True

    @register_to_config
    def __init__(
        self,
        latent_dim: int = 64,
        dim: int = 384,
        depth: int = 8,
        heads: int = 6,
        patch: int = 2,
        mlp_ratio: float = 4.0,
        modulation_rank: int = 0,
        cross_every: int = 2,
        text_dim: int = TEXT_DIM,
        syllable_dim: int = 16,
        frame_width: int = 0,
        frame_depth: int = 1,
        lyric_vocabulary: int = VOCABULARY_SIZE,
        score_channels: int = N_CHANNELS,
        initials: int = len(INITIALS),
        finals: int = len(FINALS),
    ) -> None:
        super().__init__()
        _check(dim, depth, heads, patch)
        self.gradient_checkpointing = False
        self.patch, self.latent_dim, self.heads = patch, latent_dim, heads
        self.input = nn.Linear(patch * latent_dim, dim)
        self.steering = Steering(dim)
        self.text = TextInput(text_dim, dim)
        self.words = LyricEncoder(lyric_vocabulary, dim)
        frame = score_channels + 2 * syllable_dim
        self.syllables = nn.ModuleList(
            [nn.Embedding(initials, syllable_dim), nn.Embedding(finals, syllable_dim)]
        )
        self.score = nn.Sequential(nn.Linear(patch * frame, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.no_score = nn.Parameter(torch.zeros(dim))
        self.again = nn.Linear(dim, dim)
        hidden = int(dim * mlp_ratio)
        self.blocks = nn.ModuleList(
            Block(dim, heads, hidden, modulation_rank, cross=index % cross_every == 0)
            for index in range(depth)
        )
        self.output = Output(dim, latent_dim, patch, frame, frame_width, frame_depth)
        self._initialise()

    @classmethod
    def named(cls, name: str, **overrides: Any) -> "SongTransformer":
        """`tiny`, `demo` or `paper`, with some settings replaced. Raises ConfigError for another name."""
        if name not in SIZES:
            raise ConfigError(f"no song model is called {name!r}: use one of {', '.join(SIZES)}")
        return cls(**(SIZES[name] | overrides))

    def forward(
        self, latents: Tensor, t: Tensor, conditions: Conditions, mask: Tensor | None = None
    ) -> Tensor:
        """What the path's regression target is expected to be.

        Args:
            latents: (B, T, D) noisy latents.
            t: (B,) times in [0, 1], 1 is noise.
            conditions: of the same B and T.
            mask: (B, T) bool, False for padding at the end; None when there is none.
        Returns:
            (B, T, D), zero where padded.
        """
        length = latents.shape[1]
        if mask is not None and bool(mask.all()):
            mask = None
        if mask is not None:
            latents = latents * mask[..., None]
        steering = self.steering(t, conditions.audience, conditions.timing)
        frames = self._frames(conditions, mask)
        score = self._score(frames, conditions.has_score)
        audio = self.input(self._patches(latents)) + score
        text, text_mask = self.text(conditions.fragments, conditions.fragment_mask)
        words, word_mask = self.words(conditions.lyrics)
        token_mask = None if mask is None else self._patches(mask[..., None]).any(-1)
        keys = _key_mask(text_mask, token_mask, audio.shape[1])
        turns = rotations(
            text.shape[1], audio.shape[1], self.patch, audio.shape[2] // self.heads, audio.device
        )
        x = torch.cat([text.to(audio.dtype), audio], 1)
        for index, block in enumerate(self.blocks):
            if index == len(self.blocks) // 2:
                x = torch.cat([x[:, : text.shape[1]], x[:, text.shape[1] :] + self.again(score)], 1)
            arguments = (x, steering, turns, keys, words, word_mask)
            if torch.is_grad_enabled() and self.gradient_checkpointing:
                x = self._gradient_checkpointing_func(block, *arguments)  # type: ignore[misc]
            else:
                x = block(*arguments)
        out = self.output(x[:, text.shape[1] :], steering, latents, frames, mask)[:, :length]
        return out if mask is None else out * mask[..., None]

    def _patches(self, x: Tensor) -> Tensor:
        """(B, T, C) to (B, ceil(T / patch), patch · C), zeros at the end."""
        x = F.pad(x, (0, 0, 0, -x.shape[1] % self.patch))
        return x.reshape(x.shape[0], -1, self.patch * x.shape[2])

    def _frames(self, conditions: Conditions, mask: Tensor | None) -> Tensor:
        """What the score says of each frame (B, T, channels and embeddings)."""
        ids = (conditions.initial, conditions.final)
        embedded = [table(index) for table, index in zip(self.syllables, ids)]
        frames = torch.cat([conditions.channels, *embedded], -1)
        seen = conditions.has_score[:, None] if mask is None else conditions.has_score[:, None] & mask
        return frames * seen[..., None]

    def _score(self, frames: Tensor, has_score: Tensor) -> Tensor:
        """The score's share of each audio token (B, N, dim)."""
        score = self.score(self._patches(frames))
        return torch.where(has_score[:, None, None], score, self.no_score.to(score.dtype))

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
        for module in self.modules():
            if isinstance(module, Modulation | Output):
                module.zero()
        nn.init.zeros_(self.again.weight)


class Steering(nn.Module):
    """Time, audience and timing to one vector (B, dim)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.time = _embedder(2 * _FREQUENCIES, dim)
        self.timing = _embedder(4 * _FREQUENCIES, dim)
        self.no_timing = nn.Parameter(torch.zeros(dim))
        self.audience = nn.Embedding(NO_AUDIENCE + 1, dim)

    def forward(self, t: Tensor, audience: Tensor, timing: Tensor) -> Tensor:
        known = ~timing.isnan().any(-1, keepdim=True)
        seconds = torch.where(known, timing, 0).float()
        place = self.timing(sinusoids(seconds * 10, longest=10_000.0).flatten(1))
        place = torch.where(known, place, self.no_timing.to(place.dtype))
        return F.silu(
            self.time(sinusoids(t.float() * 1000, longest=10_000.0)) + place + self.audience(audience)
        )


class TextInput(nn.Module):
    """Fragment vectors to tokens; a learned one stands there when none is left."""

    def __init__(self, text_dim: int, dim: int) -> None:
        super().__init__()
        self.project = nn.Linear(text_dim, dim)
        self.none = nn.Parameter(torch.zeros(1, 1, dim))
        self.scale = math.sqrt(text_dim)  # ChinMu's vectors have unit length, tokens unit variance

    def forward(self, fragments: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """((B, 1 + F, dim), (B, 1 + F) bool)"""
        tokens = self.project(fragments * self.scale)
        none = self.none.to(tokens.dtype).expand(len(tokens), 1, -1)
        return torch.cat([none, tokens], 1), torch.cat([~mask.any(1, keepdim=True), mask], 1)


class LyricEncoder(nn.Module):
    """Lyric tokens with their place and their neighbours; a learned one stands there when there are none."""

    def __init__(self, vocabulary: int, dim: int, width: int = 7) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, dim)
        self.place = nn.Linear(2 * _FREQUENCIES, dim)
        self.near = nn.Conv1d(dim, dim, width, padding=width // 2, groups=dim)
        self.norm = nn.LayerNorm(dim)
        self.mix = nn.Sequential(nn.Linear(dim, 2 * dim), nn.SiLU(), nn.Linear(2 * dim, dim))
        self.none = nn.Parameter(torch.zeros(1, 1, dim))

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """((B, 1 + L, dim), (B, 1 + L) bool)"""
        mask = ids != PADDING
        place = torch.arange(ids.shape[1], device=ids.device, dtype=torch.float32)
        x = (self.embed(ids) + self.place(sinusoids(place, longest=10_000.0))) * mask[..., None]
        if ids.shape[1]:
            x = x + self.near(x.mT).mT
            x = x + self.mix(self.norm(x))
        none = self.none.to(x.dtype).expand(len(x), 1, -1)
        return torch.cat([none, x], 1), torch.cat([~mask.any(1, keepdim=True), mask], 1)


class Modulation(nn.Module):
    """`parts` vectors (B, 1, dim) from the steering vector; zero at the start."""

    def __init__(self, dim: int, rank: int, parts: int) -> None:
        super().__init__()
        self.parts = parts
        self.narrow = nn.Linear(dim, rank) if rank else nn.Identity()
        self.wide = nn.Linear(rank or dim, parts * dim)

    def forward(self, steering: Tensor) -> tuple[Tensor, ...]:
        return self.wide(self.narrow(steering))[:, None].chunk(self.parts, -1)

    def zero(self) -> None:
        nn.init.zeros_(self.wide.weight)
        nn.init.zeros_(self.wide.bias)


class Block(nn.Module):
    """Joint self-attention, cross-attention to the lyrics (in some), MLP; each steered by adaLN-zero."""

    def __init__(self, dim: int, heads: int, hidden: int, rank: int, cross: bool) -> None:
        super().__init__()
        self.heads = heads
        self.modulation = Modulation(dim, rank, 6)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.merge = nn.Linear(dim, dim)
        self.cross = CrossAttention(dim, heads) if cross else None
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.GELU("tanh"), nn.Linear(hidden, dim))

    def forward(
        self,
        x: Tensor,
        steering: Tensor,
        turns: tuple[Tensor, Tensor],
        keys: Tensor | None,
        words: Tensor,
        word_mask: Tensor,
    ) -> Tensor:
        shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = self.modulation(steering)
        x = x + gate * self._attend(_modulate(x, shift, scale), turns, keys)
        if self.cross is not None:
            x = x + self.cross(x, words, word_mask)
        return x + gate_mlp * self.mlp(_modulate(x, shift_mlp, scale_mlp))

    def _attend(self, x: Tensor, turns: tuple[Tensor, Tensor], keys: Tensor | None) -> Tensor:
        q, k, v = _heads(self.qkv(x), self.heads, 3)
        attended = F.scaled_dot_product_attention(rotate(q, turns), rotate(k, turns), v, attn_mask=keys)
        return self.merge(attended.transpose(1, 2).flatten(2))


class CrossAttention(nn.Module):
    """From every token to the lyrics; its output starts at zero."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.merge = nn.Linear(dim, dim)
        self.gate = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        (q,) = _heads(self.q(self.norm(x)), self.heads, 1)
        k, v = _heads(self.kv(words), self.heads, 2)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None])
        return self.gate.to(x.dtype) * self.merge(attended.transpose(1, 2).flatten(2))


class Output(nn.Module):
    """Tokens to frames, plus a share of the input that depends on the steering; zero at the start.

    With `width` frames are finished at the frame rate by `depth` convolutional blocks that also see
    the noisy latents and the score: long tokens then cost no sharpness.
    """

    def __init__(self, dim: int, latent_dim: int, patch: int, score: int, width: int, depth: int) -> None:
        super().__init__()
        self.modulation = Modulation(dim, 0, 2)
        self.width = width or latent_dim
        self.frames = nn.Linear(dim, patch * self.width)
        self.share = nn.Linear(dim, latent_dim)
        self.near = nn.ModuleList(FrameBlock(width, dim) for _ in range(depth if width else 0))
        self.beside = nn.Linear(latent_dim + score, width) if width else None
        self.last = nn.Linear(width, latent_dim) if width else None

    def forward(
        self, x: Tensor, steering: Tensor, latents: Tensor, score: Tensor, mask: Tensor | None
    ) -> Tensor:
        shift, scale = self.modulation(steering)
        frames = self.frames(_modulate(x, shift, scale))
        frames = frames.reshape(frames.shape[0], -1, self.width)[:, : latents.shape[1]]
        if self.beside is not None and self.last is not None:
            frames = frames + self.beside(torch.cat([latents, score], -1))
            for block in self.near:
                frames = block(frames, steering, mask)
            frames = self.last(frames)
        return frames.float() + self.share(steering)[:, None].float() * latents

    def zero(self) -> None:
        for layer in (self.frames if self.last is None else self.last, self.share):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)


class FrameBlock(nn.Module):
    """A ConvNeXt block (Liu 2022) on frames, steered by adaLN."""

    def __init__(self, width: int, dim: int, kernel: int = 7) -> None:
        super().__init__()
        self.near = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.modulation = Modulation(dim, width, 2)
        self.modulation.wide = nn.Linear(width, 2 * width)
        self.mix = nn.Sequential(nn.Linear(width, 3 * width), nn.GELU("tanh"), nn.Linear(3 * width, width))

    def forward(self, x: Tensor, steering: Tensor, mask: Tensor | None) -> Tensor:
        shift, scale = self.modulation(steering)
        inside = x if mask is None else x * mask[..., None]
        return x + self.mix(_modulate(self.near(inside.mT).mT, shift, scale))


def sinusoids(x: Tensor, longest: float) -> Tensor:
    """(…) to (…, 256): sines and cosines of periods from 2π to 2π · `longest`."""
    power = torch.arange(_FREQUENCIES, device=x.device, dtype=torch.float32) / _FREQUENCIES
    angle = x.float()[..., None] * torch.exp(-math.log(longest) * power)
    return torch.cat([angle.cos(), angle.sin()], -1)


def rotations(
    before: int, tokens: int, patch: int, head_dim: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Cosines and sines (before + tokens, head_dim / 4) of RoPE (Su 2021); none for the tokens before.

    A token stands at its first frame; the fastest pair turns by one radian a token, the slowest
    by one in 10,000, so a place beyond the training length is no new kind of place.
    """
    pairs = head_dim // 4
    frames = torch.arange(tokens, device=device, dtype=torch.float32) * patch
    speed = torch.exp(-math.log(10_000.0) * torch.arange(pairs, device=device) / pairs) / patch
    angle = F.pad(frames[:, None] * speed, (0, 0, before, 0))
    return angle.cos(), angle.sin()


def rotate(x: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
    """Turn the first half of each head of (B, heads, N, head_dim); the other half sees content only."""
    cos, sin = (part.to(x.dtype) for part in turns)
    pairs = cos.shape[-1]
    a, b, rest = x.split([pairs, pairs, x.shape[-1] - 2 * pairs], -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos, rest], -1)


def _modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:]) * (1 + scale) + shift


def _heads(x: Tensor, heads: int, parts: int) -> tuple[Tensor, ...]:
    """(B, N, parts · dim) to `parts` tensors (B, heads, N, head_dim)."""
    x = x.reshape(x.shape[0], x.shape[1], parts, heads, -1)
    return tuple(part.transpose(1, 2) for part in x.unbind(2))


def _key_mask(text: Tensor, audio: Tensor | None, tokens: int) -> Tensor | None:
    """(B, 1, 1, before + N) bool: what may be looked at; None for everything."""
    if audio is None:
        audio = text.new_ones(len(text), tokens)
    mask = torch.cat([text, audio], 1)
    return mask[:, None, None]


def _embedder(width: int, dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, dim), nn.SiLU(), nn.Linear(dim, dim))


def _check(dim: int, depth: int, heads: int, patch: int) -> None:
    if dim % heads or (dim // heads) % 4:
        raise ConfigError(
            f"dim {dim} must be {heads} heads of a multiple of 4, but a head gets {dim / heads:g}"
        )
    if not 1 <= patch <= 4:
        raise ConfigError(f"a token holds 1–4 latent frames, but patch is {patch}")
    if depth < 1:
        raise ConfigError(f"the song model needs at least one block, but depth is {depth}")
