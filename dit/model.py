"""The song model: a diffusion transformer over audio latents (Wang 2025, section 3.2; Peebles 2023).

- Time and label embeddings steer every block through adaLN-zero: at the start each block is the
  identity, and the output is zero plus a learned share of the input.
- The description is a row of fragment vectors put before the audio tokens: joint self-attention.
  With `pooled_text` their mean also joins the steering: it is what tells a small model the genre.
- Lyrics come by cross-attention, in every `cross_every`-th block.
- The score comes frame by frame, added to the audio tokens at the input and again half way.
- RoPE turns half of each head, of audio tokens only, by their place in frames: fragments are a set.
- Long tokens are cheap but coarse: with `frame_width` the output is finished at the frame rate by
  convolutional blocks that see the noisy latents and the score again.
- What is sung has a road of its own to the output's frames, with `voice_width`.
- Who plays and sings, by name, joins the steering, the tokens and the output's frames, with `arrangement`.
- Padding is masked in the attention logits and zeroed at the input, so it changes nothing.

Differs from the paper: the score, the arrangement and the pooled description (it has none), and the skip from
input to output, whose share is a function of t: the network needn't learn to copy noise.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional as F

from common.errors import ConfigError
from common.frames import N_CHANNELS
from common.pinyin import FINALS, INITIALS
from dit.conditions import ROLES, TEXT_DIM, Conditions
from dit.layers import (
    Arrangement,
    Block,
    LyricEncoder,
    Modulation,
    Output,
    PooledText,
    Steering,
    TextInput,
    Voice,
    key_mask,
    rotations,
)
from dit.lyrics import VOCABULARY_SIZE

SIZES: dict[str, dict[str, Any]] = {
    "tiny": {
        "latent_dim": 8,
        "dim": 32,
        "depth": 2,
        "heads": 2,
        "patch": 2,
        "modulation_rank": 8,
        "pooled_text": True,
    },
    "demo": {
        "latent_dim": 96,
        "dim": 320,
        "depth": 8,
        "heads": 5,
        "patch": 4,
        "modulation_rank": 64,
        "frame_width": 128,
        "frame_depth": 3,
        "share_taps": 25,
        "pooled_text": True,
        "voice_width": 256,
        "voice_depth": 5,
    },
    # Wang 2025 gives 380M parameters and no shape; 16 × 1024 with cross-attention in every block fits.
    "paper": {"latent_dim": 64, "dim": 1024, "depth": 16, "heads": 16, "patch": 1, "cross_every": 1},
}


class SongTransformer(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Velocity (or noise) of noisy latents, given conditions.

    Args:
        latent_dim: D of the VAE.
        patch: latent frames in a token, 1–4.
        modulation_rank: width of the bottleneck of each block's adaLN; 0 for none.
        cross_every: every how many blocks one looks at the lyrics.
        pooled_text: whether the description's mean also steers every block.
        syllable_dim: size of the embeddings of a frame's initial and final.
        frame_width, frame_depth: of the blocks that finish the output at the frame rate; width 0 for none.
        voice_width, voice_depth: of the road of the sung phones to the output; width 0 for none.
        share_taps: frames of the noisy latents that an output frame has a linear share of; odd.
        arrangement: names of each of `dit.conditions.ROLES` that the model knows; None for no such input.
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
        pooled_text: bool = False,
        syllable_dim: int = 16,
        frame_width: int = 0,
        frame_depth: int = 1,
        voice_width: int = 0,
        voice_depth: int = 4,
        share_taps: int = 1,
        arrangement: Mapping[str, Sequence[str]] | None = None,
        lyric_vocabulary: int = VOCABULARY_SIZE,
        score_channels: int = N_CHANNELS,
        initials: int = len(INITIALS),
        finals: int = len(FINALS),
    ) -> None:
        super().__init__()
        _check(dim, depth, heads, patch, share_taps)
        self.gradient_checkpointing = False
        self.patch, self.latent_dim, self.heads = patch, latent_dim, heads
        self.input = nn.Linear(patch * latent_dim, dim)
        self.steering = Steering(dim)
        self.text = TextInput(text_dim, dim)
        self.pooled = PooledText(text_dim, dim) if pooled_text else None
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
        self.output = Output(dim, latent_dim, patch, frame, frame_width, frame_depth, share_taps)
        given = frame_width or latent_dim
        self.voice = (
            Voice(latent_dim, frame, initials, finals, dim, voice_width, voice_depth, given)
            if voice_width
            else None
        )
        # Lists, as the configuration's JSON gives them back.
        self.known = {role: tuple(names) for role, names in (arrangement or {}).items()}
        # A model that was trained before moods were a role has no table for them.
        counts = [len(self.known.get(role, ())) for role in ROLES if role != "mood" or role in self.known]
        roads = {name: width for name, width in (("output", frame_width), ("voice", voice_width)) if width}
        self.players = Arrangement(counts, dim, patch, roads) if self.known else None
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
        if mask is not None and bool(mask.all()):
            mask = None
        if mask is not None:
            latents = latents * mask[..., None]
        also: Tensor | float = 0.0
        if self.pooled is not None:
            also = self.pooled(conditions.fragments, conditions.fragment_mask)
        if self.players is not None:
            also = also + self.players.steering(conditions.arrangement)
        steering = self.steering(t, conditions.audience, conditions.timing, also)
        frames = self._frames(conditions, mask)
        score = self._score(frames, conditions.has_score)
        beside: dict[str, Tensor] = {}  # what the players add to the output's frames and to the voice's road
        if self.players is not None:
            playing = self.players(conditions.arrangement, frames, mask)
            score = score + self.players.tokens(self._patches(playing))
            beside = {name: layer(playing) for name, layer in self.players.roads.items()}
        audio = self.input(self._patches(latents)) + score
        text, text_mask = self.text(conditions.fragments, conditions.fragment_mask)
        words, word_mask = self.words(conditions.lyrics)
        token_mask = None if mask is None else self._patches(mask[..., None]).any(-1)
        keys = key_mask(text_mask, token_mask, audio.shape[1])
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
        players = beside.get("output", 0.0)
        out, seen = self.output(x[:, text.shape[1] :], steering, latents, frames, players, mask)
        if self.voice is not None:
            sung = (conditions.initial, conditions.final, conditions.has_score[:, None])
            players = beside.get("voice", 0.0)
            out = out + self.voice(seen, steering, latents, frames, sung, players, mask).float()
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
            if isinstance(module, Arrangement | Modulation | Output | PooledText | Voice):
                module.zero()
        nn.init.zeros_(self.again.weight)


def _check(dim: int, depth: int, heads: int, patch: int, share_taps: int) -> None:
    if dim % heads or (dim // heads) % 4:
        raise ConfigError(
            f"dim {dim} must be {heads} heads of a multiple of 4, but a head gets {dim / heads:g}"
        )
    if not 1 <= patch <= 4:
        raise ConfigError(f"a token holds 1–4 latent frames, but patch is {patch}")
    if share_taps < 1 or share_taps % 2 == 0:
        raise ConfigError(f"the share of the input spans an odd number of frames, but got {share_taps}")
    if depth < 1:
        raise ConfigError(f"the song model needs at least one block, but depth is {depth}")
