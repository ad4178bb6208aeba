"""What of the latents is speech: directions that tell sung phones apart, and a weight on errors along them.

Words are a small share of what the latents of a song hold, and a small model spends itself on the rest:
with equal weights for all dimensions it learns tunes and drums, and no consonant. Linear discriminant
analysis (Fisher 1936; Rao 1948) of short stretches of latents under phones that the scores know gives, in
closed form, the directions in which phones differ. Training weighs errors along them more. The weight is a
quadratic form that doesn't depend on the noise, so the best answer stays the same: the mean velocity.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import scipy.linalg
import torch
from torch import Tensor
from torch.nn import functional as F

from common.frames import GROUPS
from common.pinyin import FINALS, INITIALS
from dit.conditions import Conditions

logger = logging.getLogger(__name__)

SPAN = 5  # frames in a stretch: a consonant and its way into the vowel
_BEFORE = 3  # frames before a note in which its consonant sounds: at 43 Hz within frames.CONSONANT
_KEPT = 32  # directions
_FEWEST = 50  # frames of a phone that count
_CLASSES = len(INITIALS) + 2 * len(FINALS)  # the two halves of a note: finals move (iao, uang)


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


def stretches(latents: Tensor) -> Tensor:
    """(B, T, D) to (B, T, D · SPAN): each frame with its neighbours, zeros beyond the ends."""
    padded = F.pad(latents, (0, 0, SPAN // 2, SPAN // 2))
    return padded.unfold(1, SPAN, 1).flatten(2)


@dataclass(frozen=True)
class PhoneSpace:
    """Directions in which phones differ.

    Args:
        directions: (D · SPAN, k); along each the latents of one phone have variance 1.
        ratios: (k,) variance between phones along each, beside that within one.
        centres: (phones, k) the mean of each phone; NaN for one that was hardly seen.
    """

    directions: Tensor
    ratios: Tensor
    centres: Tensor

    def to(self, device: torch.device | str) -> "PhoneSpace":
        """On another device."""
        return PhoneSpace(self.directions.to(device), self.ratios.to(device), self.centres.to(device))

    def penalty(self, error: Tensor, phone: Tensor, consonants: float = 1.0) -> Tensor:
        """(B,) mean square of errors (B, T, D) along the directions, of unit length, over the sung frames.

        Directions count by how far apart they hold phones (the root of their ratio, so that fine
        differences aren't lost beside that of a consonant and a vowel); frames of a consonant `consonants`
        times. A song without a sung frame has 0.
        """
        weights = self.ratios.clamp(min=0).sqrt()
        along = stretches(error) @ (self.directions / self.directions.norm(dim=0))
        square = along.square() @ (weights / weights.sum())
        weight = (phone >= 0).float() + (consonants - 1) * is_consonant(phone).float()
        return (square * weight).sum(1) / weight.sum(1).clamp(min=1)

    def moved(self, difference: Tensor, phone: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        """How far latents went from some phones to others, and how far apart these are; (B, T) each.

        Their ratio is 1 for latents that moved from centre to centre, 0 for latents that didn't move, or
        moved elsewhere. Both are 0 where a phone is unknown or stays.

        Args:
            difference: (B, T, D) of the latents of `phone` and those of `other` (B, T).
        """
        way = self.centres[phone.clamp(min=0)] - self.centres[other.clamp(min=0)]
        known = (phone >= 0) & (other >= 0) & ~way.isnan().any(-1)
        gone = ((stretches(difference) @ self.directions) * way).sum(-1)
        return torch.where(known, gone, 0.0), torch.where(known, way.square().sum(-1), 0.0)


def exchanged(conditions: Conditions) -> Conditions:
    """The same song with every initial and every final replaced by another, the same everywhere."""

    def other(index: Tensor, count: int) -> Tensor:
        return torch.where(index > 0, (index - 1 + count // 2) % (count - 1) + 1, 0)

    initial = other(conditions.initial, len(INITIALS))
    return replace(conditions, initial=initial, final=other(conditions.final, len(FINALS)))


def is_consonant(phone: Tensor) -> Tensor:
    """Whether each phone is an initial."""
    return (phone >= 0) & (phone < len(INITIALS))


def fit(songs: Iterable[tuple[Tensor, Conditions]], most: int = 300) -> PhoneSpace | None:
    """The phone space of latents (T, D) with their conditions; None where nobody sings.

    Args:
        songs: stretches of songs; at most `most` are looked at.
    """
    total, scatter = 0, None
    counts, sums = np.zeros(_CLASSES), None
    for latents, conditions in islice(songs, most):
        phone = phones(conditions)[0].numpy()
        x = stretches(latents[None])[0].double().numpy()[phone >= 0]
        phone = phone[phone >= 0]
        if scatter is None or sums is None:
            scatter, sums = np.zeros((x.shape[1], x.shape[1])), np.zeros((_CLASSES, x.shape[1]))
        scatter += x.T @ x
        np.add.at(sums, phone, x)
        counts += np.bincount(phone, minlength=_CLASSES)
        total += len(x)
    seen = counts >= _FEWEST
    if scatter is None or sums is None or seen.sum() < 2:
        return None
    means = sums / np.maximum(counts, 1)[:, None]
    centred = means[seen] - (counts[seen] @ means[seen]) / counts[seen].sum()
    share = counts[seen] / counts[seen].sum()
    within = (scatter - means.T @ sums) / total
    within += 1e-3 * np.trace(within) / len(within) * np.eye(len(within))
    between = (centred * share[:, None]).T @ centred
    kept = min(_KEPT, int(seen.sum()) - 1, len(within))
    size = len(within)
    ratios, directions = scipy.linalg.eigh(between, within, subset_by_index=[size - kept, size - 1])
    centres = np.where(seen[:, None], means @ directions, np.nan)
    logger.info("phones: %d sung frames, %d phones, largest ratio %.2f", total, seen.sum(), ratios[-1])
    return PhoneSpace(*(torch.from_numpy(a.astype(np.float32)) for a in (directions, ratios, centres)))
