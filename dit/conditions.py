"""What the song model is told: one object for a batch, with every part present or dropped.

A dropped part is replaced by a learned "unknown" inside the model, so one model answers with
and without each of them, and guidance compares the two.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from common.description import Audience
from common.errors import RequestError
from common.frames import N_CHANNELS, ScoreFrames
from dit.lyrics import PADDING

TEXT_DIM = 512  # of a ChinMu vector
AUDIENCES: tuple[Audience, ...] = (Audience.PROFESSIONAL, Audience.AMATEUR)
NO_AUDIENCE = len(AUDIENCES)
# Who plays and sings, and in which manner: what a lead sheet says beside its notes. A new role comes last.
ROLES = ("genre", "singer", "harmony", "bass", "lead", "pad", "drums", "mood")


@dataclass(frozen=True)
class Conditions:
    """Conditions of B songs of at most T frames, padded at the end.

    F is the number of fragments of the longest description, L the longest lyrics in tokens.
    """

    fragments: Tensor  # (B, F, 512) ChinMu vectors
    fragment_mask: Tensor  # (B, F) bool; a row without any True: no description
    audience: Tensor  # (B,) index into AUDIENCES, or NO_AUDIENCE
    timing: Tensor  # (B, 2) seconds: where in the song the first frame is, and the whole song; NaN unknown
    lyrics: Tensor  # (B, L) token ids; a row of padding: no lyrics
    channels: Tensor  # (B, T, N_CHANNELS) the score's frames
    initial: Tensor  # (B, T) index into INITIALS
    final: Tensor  # (B, T) index into FINALS
    has_score: Tensor  # (B,) bool; False: the frames are not looked at
    arrangement: Tensor  # (B, len(ROLES)) the name of each role, as `numbered` counts; 0 unknown

    @classmethod
    def single(
        cls,
        frames: int,
        fragments: Tensor | None = None,
        audience: Audience | None = None,
        duration: float | None = None,
        start: float = 0.0,
        lyrics: Sequence[int] = (),
        score: ScoreFrames | None = None,
        arrangement: Sequence[int] | None = None,
    ) -> "Conditions":
        """Conditions of one song (B = 1); whatever is None or empty is dropped.

        Args:
            frames: latent frames of the song or window.
            fragments: (F, 512) vectors of the description's fragments.
            duration: seconds of the whole song; `start`: seconds from its start to the first frame.
            lyrics: tokens of `dit.lyrics`.
            score: its rendering of exactly `frames` frames.
            arrangement: of each role, as `numbered` gives them.
        Raises:
            RequestError: the score has another number of frames.
        """
        vectors = torch.zeros(0, TEXT_DIM) if fragments is None else fragments.detach().float().cpu()
        if score is not None and len(score.channels) != frames:
            raise RequestError(
                f"the score is rendered to {len(score.channels)} frames, {frames} are asked for"
            )
        empty = torch.zeros(frames, dtype=torch.long)
        return cls(
            fragments=vectors[None],
            fragment_mask=torch.ones(1, len(vectors), dtype=torch.bool),
            audience=torch.tensor([NO_AUDIENCE if audience is None else AUDIENCES.index(audience)]),
            timing=torch.tensor([[start, duration] if duration is not None else [math.nan] * 2]),
            lyrics=torch.tensor([list(lyrics)], dtype=torch.long),
            channels=torch.zeros(1, frames, N_CHANNELS)
            if score is None
            else torch.from_numpy(score.channels)[None],
            initial=(empty if score is None else torch.from_numpy(score.initial))[None],
            final=(empty if score is None else torch.from_numpy(score.final))[None],
            has_score=torch.tensor([score is not None]),
            arrangement=torch.tensor([list(arrangement or [0] * len(ROLES))], dtype=torch.long),
        )

    @classmethod
    def batch(cls, items: Sequence["Conditions"]) -> "Conditions":
        """One after the other along B, padded to the longest."""
        return cls(**{f.name: _join([getattr(item, f.name) for item in items]) for f in fields(cls)})

    @property
    def size(self) -> int:
        """B."""
        return len(self.audience)

    @property
    def frames(self) -> int:
        """T."""
        return self.channels.shape[1]

    def to(self, device: torch.device | str) -> "Conditions":
        """On another device."""
        return Conditions(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})

    def drop(
        self,
        description: Tensor | bool = False,
        audience: Tensor | bool = False,
        timing: Tensor | bool = False,
        lyrics: Tensor | bool = False,
        score: Tensor | bool = False,
        arrangement: Tensor | bool = False,
    ) -> "Conditions":
        """The same without the named parts: of all songs (True), or of those where a (B,) mask is True."""

        def of(choice: Tensor | bool) -> Tensor:
            device = self.audience.device
            return torch.as_tensor(choice, dtype=torch.bool, device=device).expand(self.size)

        gone = of(lyrics)[:, None]
        return replace(
            self,
            fragment_mask=self.fragment_mask & ~of(description)[:, None],
            audience=torch.where(of(audience), NO_AUDIENCE, self.audience),
            timing=torch.where(of(timing)[:, None], torch.nan, self.timing),
            lyrics=torch.where(gone, PADDING, self.lyrics),
            has_score=self.has_score & ~of(score),
            arrangement=torch.where(of(arrangement)[:, None], 0, self.arrangement),
        )

    def with_plan_of(self, other: "Conditions") -> "Conditions":
        """The same with the score frames, arrangement and lyrics of other songs (same B and T)."""
        names = ("channels", "initial", "final", "has_score", "arrangement", "lyrics")
        return replace(self, **{name: getattr(other, name) for name in names})

    def rolled(self) -> "Conditions":
        """Each song gets its neighbour's conditions."""
        return Conditions(**{f.name: getattr(self, f.name).roll(1, 0) for f in fields(self)})


def numbered(named: Mapping[str, str], known: Mapping[str, Sequence[str]]) -> tuple[int, ...]:
    """The place of each role's name in its list, from 1; 0 for one that isn't named or isn't in it.

    Args:
        named: a name for some of `ROLES`.
        known: the names of each, as a model knows them (`SongTransformer.known`).
    """
    found = [(tuple(known.get(role, ())), named.get(role)) for role in ROLES]
    return tuple(listed.index(name) + 1 if name in listed else 0 for listed, name in found)


def _join(parts: Sequence[Tensor]) -> Tensor:
    """Concatenate along the first axis, padding the second with zeros (False, padding token, silence)."""
    if parts[0].ndim == 1:
        return torch.cat(list(parts))
    longest = max(part.shape[1] for part in parts)
    padded = []
    for part in parts:
        shape = (part.shape[0], longest - part.shape[1], *part.shape[2:])
        padded.append(torch.cat([part, part.new_zeros(shape)], 1) if shape[1] else part)
    return torch.cat(padded)
