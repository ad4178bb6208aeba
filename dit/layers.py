"""The parts of the song model: what conditions become, and the blocks that they steer."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.frames import GROUPS
from dit.conditions import NO_AUDIENCE, ROLES
from dit.lyrics import PADDING

_FREQUENCIES = 128  # of a sinusoidal embedding
_PLAYER = 32  # size of a player's embedding on a frame


class Steering(nn.Module):
    """Time, audience, timing and what else is given as (B, dim), to one vector (B, dim)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.time = _embedder(2 * _FREQUENCIES, dim)
        self.timing = _embedder(4 * _FREQUENCIES, dim)
        self.no_timing = nn.Parameter(torch.zeros(dim))
        self.audience = nn.Embedding(NO_AUDIENCE + 1, dim)

    def forward(self, t: Tensor, audience: Tensor, timing: Tensor, also: Tensor | float = 0.0) -> Tensor:
        known = ~timing.isnan().any(-1, keepdim=True)
        seconds = torch.where(known, timing, 0).float()
        place = self.timing(sinusoids(seconds * 10, longest=10_000.0).flatten(1))
        place = torch.where(known, place, self.no_timing.to(place.dtype))
        return F.silu(
            self.time(sinusoids(t.float() * 1000, longest=10_000.0)) + place + self.audience(audience) + also
        )


class PooledText(nn.Module):
    """The mean of a description's fragments as a share of the steering vector; zero at the start.

    What the whole song is (genre, singer, instruments) reaches every block at once, as in
    Esser 2024 (section 4); attention to the fragments alone took a small model too long to find.
    """

    def __init__(self, text_dim: int, dim: int) -> None:
        super().__init__()
        self.embed = _embedder(text_dim, dim)
        self.none = nn.Parameter(torch.zeros(dim))
        self.scale = math.sqrt(text_dim)

    def forward(self, fragments: Tensor, mask: Tensor) -> Tensor:
        """(B, dim)"""
        count = mask.sum(1, keepdim=True)
        mean = (fragments * mask[..., None]).sum(1) / count.clamp(min=1)
        pooled = self.embed(mean * self.scale)
        return torch.where(count > 0, pooled, self.none.to(pooled.dtype))

    def zero(self) -> None:
        last = self.embed[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)


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
        x = x + gate * self._attend(modulate(x, shift, scale), turns, keys)
        if self.cross is not None:
            x = x + self.cross(x, words, word_mask)
        return x + gate_mlp * self.mlp(modulate(x, shift_mlp, scale_mlp))

    def _attend(self, x: Tensor, turns: tuple[Tensor, Tensor], keys: Tensor | None) -> Tensor:
        q, k, v = split_heads(self.qkv(x), self.heads, 3)
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
        (q,) = split_heads(self.q(self.norm(x)), self.heads, 1)
        k, v = split_heads(self.kv(words), self.heads, 2)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None])
        return self.gate.to(x.dtype) * self.merge(attended.transpose(1, 2).flatten(2))


class Arrangement(nn.Module):
    """Who plays and sings: a name of each role to the steering, the tokens and the frames; zero at the start.

    All roles join the steering of every block. Frame by frame a model also sees the band (all but singer
    and lead) and who has the tune there: the singer where it is sung, the lead where it is played.

    Args:
        counts: of names of each role, in the order of `dit.conditions.ROLES`.
        roads: name → width of what works at the frame rate, and gets a projection of its own.
    """

    def __init__(self, counts: Sequence[int], dim: int, patch: int, roads: Mapping[str, int]) -> None:
        super().__init__()
        self.whole = nn.ModuleList(nn.Embedding(1 + count, dim) for count in counts)
        self.near = nn.ModuleList(nn.Embedding(1 + count, _PLAYER) for count in counts)
        self.tokens = nn.Linear(patch * 2 * _PLAYER, dim)
        self.roads = nn.ModuleDict({name: nn.Linear(2 * _PLAYER, width) for name, width in roads.items()})

    def steering(self, arrangement: Tensor) -> Tensor:
        """(B, dim)"""
        return sum((table(arrangement[:, k]) for k, table in enumerate(self.whole)), torch.zeros(()))

    def forward(self, arrangement: Tensor, channels: Tensor, mask: Tensor | None) -> Tensor:
        """The players of each frame (B, T, 2 · _PLAYER): the band, and who has the tune."""
        singer, lead = ROLES.index("singer"), ROLES.index("lead")
        each = [table(arrangement[:, k, None]) for k, table in enumerate(self.near)]
        band = sum((x for k, x in enumerate(each) if k not in (singer, lead)), torch.zeros(()))
        sung, played = (channels[..., GROUPS[name].start, None] for name in ("voice", "lead"))
        tune = each[singer] * sung + each[lead] * played
        players = torch.cat([band.expand_as(tune), tune], -1)
        return players if mask is None else players * mask[..., None]

    def zero(self) -> None:
        for layer in (self.tokens, *self.roads.values()):
            assert isinstance(layer, nn.Linear)
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        for whole, near in zip(self.whole, self.near):
            assert isinstance(whole, nn.Embedding) and isinstance(near, nn.Embedding)
            nn.init.zeros_(whole.weight)
            nn.init.normal_(near.weight, std=0.5)


class Output(nn.Module):
    """Tokens to frames, plus a share of the input that depends on the steering; zero at the start.

    The share is a filter over `taps` frames, one for each dimension of the latents: the best linear
    guess at smooth latents from noisy neighbours, which long tokens are bad at (Karras 2022's c_skip,
    with a memory). With `width` frames are finished at the frame rate by `depth` convolutional
    blocks that also see the noisy latents and the score: long tokens then cost no sharpness.
    """

    def __init__(
        self, dim: int, latent_dim: int, patch: int, score: int, width: int, depth: int, taps: int
    ) -> None:
        super().__init__()
        self.modulation = Modulation(dim, 0, 2)
        self.width = width or latent_dim
        self.frames = nn.Linear(dim, patch * self.width)
        self.taps = taps
        self.share = nn.Linear(dim, latent_dim * taps)
        self.near = nn.ModuleList(FrameBlock(width, dim) for _ in range(depth if width else 0))
        self.beside = nn.Linear(latent_dim + score, width) if width else None
        self.last = nn.Linear(width, latent_dim) if width else None

    def forward(
        self,
        x: Tensor,
        steering: Tensor,
        latents: Tensor,
        score: Tensor,
        players: Tensor | float,
        mask: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """(B, T, D), and the frames (B, T, width) that its last layer saw.

        Args:
            players: (B, T, width) what `Arrangement` adds to the frames, or 0.
        """
        shift, scale = self.modulation(steering)
        frames = self.frames(modulate(x, shift, scale))
        frames = frames.reshape(frames.shape[0], -1, self.width)[:, : latents.shape[1]]
        out = frames
        if self.beside is not None and self.last is not None:
            frames = frames + self.beside(torch.cat([latents, score], -1)) + players
            for block in self.near:
                frames = block(frames, steering, mask)
            out = self.last(frames)
        return out.float() + self._shared(steering, latents, mask), frames

    def _shared(self, steering: Tensor, latents: Tensor, mask: Tensor | None) -> Tensor:
        """The filtered input (B, T, D); what is padded counts as silence on both sides."""
        filters = self.share(steering).float().unflatten(-1, (-1, self.taps))
        inside = latents.float() if mask is None else latents.float() * mask[..., None]
        near = F.pad(inside, (0, 0, self.taps // 2, self.taps // 2)).unfold(1, self.taps, 1)
        return torch.einsum("btdk,bdk->btd", near, filters)

    def zero(self) -> None:
        for layer in (self.frames if self.last is None else self.last, self.share):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)


class Voice(nn.Module):
    """What is sung, frame by frame: a correction of the output from each frame's phones.

    Consonants last three frames, less than a token of the demo, and are a small share of all that is
    heard: without a road of their own a small model sang tunes without words. Initial and final have
    embeddings as wide as the road, and blocks at the frame rate see them beside their neighbours, the
    noisy latents and what the tokens say. Zero at the start.
    """

    def __init__(
        self,
        latent_dim: int,
        score: int,
        initials: int,
        finals: int,
        dim: int,
        width: int,
        depth: int,
        given: int,
    ) -> None:
        super().__init__()
        self.phones = nn.ModuleList([nn.Embedding(initials, width), nn.Embedding(finals, width)])
        self.beside = nn.Linear(latent_dim + score + given, width)
        self.blocks = nn.ModuleList(FrameBlock(width, dim) for _ in range(depth))
        self.last = nn.Linear(width, latent_dim)

    def forward(
        self,
        frames: Tensor,
        steering: Tensor,
        latents: Tensor,
        score: Tensor,
        sung: tuple[Tensor, Tensor, Tensor],
        players: Tensor | float,
        mask: Tensor | None,
    ) -> Tensor:
        """The correction (B, T, D).

        Args:
            frames: (B, T, given) what the tokens say.
            sung: (B, T) initials, (B, T) finals, and whether they are known, of a shape like (B, 1).
            players: (B, T, width) what `Arrangement` adds to the road, or 0.
        """
        initial, final, known = sung
        spoken = self.phones[0](initial) + self.phones[1](final)
        x = self.beside(torch.cat([latents, score, frames], -1)) + spoken * known[..., None] + players
        for block in self.blocks:
            x = block(x, steering, mask)
        return self.last(x)

    def zero(self) -> None:
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        for table in self.phones:
            assert isinstance(table, nn.Embedding)
            nn.init.normal_(table.weight, std=0.5)


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
        return x + self.mix(modulate(self.near(inside.mT).mT, shift, scale))


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


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:]) * (1 + scale) + shift


def split_heads(x: Tensor, heads: int, parts: int) -> tuple[Tensor, ...]:
    """(B, N, parts · dim) to `parts` tensors (B, heads, N, head_dim)."""
    x = x.reshape(x.shape[0], x.shape[1], parts, heads, -1)
    return tuple(part.transpose(1, 2) for part in x.unbind(2))


def key_mask(text: Tensor, audio: Tensor | None, tokens: int) -> Tensor | None:
    """(B, 1, 1, before + N) bool: what may be looked at; None for everything."""
    if audio is None:
        audio = text.new_ones(len(text), tokens)
    mask = torch.cat([text, audio], 1)
    return mask[:, None, None]


def _embedder(width: int, dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, dim), nn.SiLU(), nn.Linear(dim, dim))
