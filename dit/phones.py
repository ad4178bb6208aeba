"""The phones that are sung, frame by frame: labels for `dit.discriminants`, and their exchange."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from common.frames import GROUPS
from common.pinyin import FINALS, INITIALS
from dit.conditions import Conditions

_BEFORE = 3  # frames before a note in which its consonant sounds: at 43 Hz within frames.CONSONANT
COUNT = len(INITIALS) + 2 * len(FINALS)  # the two halves of a note: finals move (iao, uang)


def phones(conditions: Conditions) -> Tensor:
    """(B, T) the phone of each frame, -1 where nobody sings or no score is known.

    The frames before a note have its initial (0 … 21), those of the note its final, by halves.
    """
    voice, note = GROUPS["voice"].start, GROUPS["note"].start
    onset = conditions.channels[..., voice + 1]
    # A note begins behind the centre of the first frame of its pulse: that frame still is its consonant's.
    first = (onset > 0) & (F.pad(onset, (1, 0))[:, :-1] == 0)
    soon = F.max_pool1d(F.pad(first.float(), (0, _BEFORE - 1)), _BEFORE, 1) > 0
    consonant = soon & (conditions.initial > 0)
    half = (conditions.channels[..., note] >= 0.5).long()
    vowel = len(INITIALS) + half * len(FINALS) + conditions.final
    sung = (conditions.channels[..., voice] > 0) & (conditions.final > 0)
    found = torch.where(sung, vowel, -1)
    found = torch.where(consonant, conditions.initial, found)
    return torch.where(conditions.has_score[:, None], found, -1)


def weights(conditions: Conditions, consonants: float = 1.0) -> Tensor:
    """(B, T) of each frame's error: 1 where somebody sings, `consonants` in a consonant, else 0."""
    phone = phones(conditions)
    return (phone >= 0).float() + (consonants - 1) * is_consonant(phone).float()


def exchanged(conditions: Conditions) -> Conditions:
    """The same song with every initial and every final replaced by another, the same everywhere."""

    def other(index: Tensor, count: int) -> Tensor:
        return torch.where(index > 0, (index - 1 + count // 2) % (count - 1) + 1, 0)

    initial = other(conditions.initial, len(INITIALS))
    return replace(conditions, initial=initial, final=other(conditions.final, len(FINALS)))


def is_consonant(phone: Tensor) -> Tensor:
    """Whether each phone is an initial."""
    return (phone >= 0) & (phone < len(INITIALS))
