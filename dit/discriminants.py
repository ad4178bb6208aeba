"""Directions of the latents in which sounds differ, and a weight on errors along them.

What listeners tell apart is a small share of what the latents of a song hold, and a small model spends
itself on the rest: with equal weights for all dimensions it learns tunes and drums, but no consonant and
no instrument that plays for a few seconds. Linear discriminant analysis (Fisher 1936; Rao 1948) of short
stretches of latents under labels that the scores know gives, in closed form, the directions in which the
labels differ. Training weighs errors along them more. The weight is a quadratic form that doesn't depend
on the noise, so the best answer stays the same: the mean velocity.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np
import scipy.linalg
import torch
from torch import Tensor
from torch.nn import functional as F

from dit.conditions import Conditions

logger = logging.getLogger(__name__)

SPAN = 5  # frames in a stretch: a consonant and its way into the vowel
_KEPT = 32  # directions
_FEWEST = 50  # frames of a label that count


def stretches(latents: Tensor) -> Tensor:
    """(B, T, D) to (B, T, D · SPAN): each frame with its neighbours, zeros beyond the ends."""
    padded = F.pad(latents, (0, 0, SPAN // 2, SPAN // 2))
    return padded.unfold(1, SPAN, 1).flatten(2)


@dataclass(frozen=True)
class Discriminants:
    """Directions in which labels differ.

    Args:
        directions: (D · SPAN, k); along each the latents of one label have variance 1.
        ratios: (k,) variance between labels along each, beside that within one.
        centres: (labels, k) the mean of each label; NaN for one that was hardly seen.
    """

    directions: Tensor
    ratios: Tensor
    centres: Tensor

    def to(self, device: torch.device | str) -> "Discriminants":
        """On another device."""
        return Discriminants(self.directions.to(device), self.ratios.to(device), self.centres.to(device))

    def penalty(self, error: Tensor, weight: Tensor) -> Tensor:
        """(B,) mean square of errors (B, T, D) along the directions, of unit length, over weighted frames.

        Directions count by how far apart they hold labels (the root of their ratio, so that fine
        differences aren't lost beside that of a consonant and a vowel).

        Args:
            weight: (B, T) of each frame; a song whose frames have none has 0.
        """
        shares = self.ratios.clamp(min=0).sqrt()
        along = stretches(error) @ (self.directions / self.directions.norm(dim=0))
        square = along.square() @ (shares / shares.sum())
        return (square * weight).sum(1) / weight.sum(1).clamp(min=1)

    def moved(self, difference: Tensor, label: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        """How far latents went from some labels to others, and how far apart these are; (B, T) each.

        Their ratio is 1 for latents that moved from centre to centre, 0 for latents that didn't move, or
        moved elsewhere. Both are 0 where a label is unknown or stays.

        Args:
            difference: (B, T, D) of the latents of `label` and those of `other` (B, T).
        """
        way = self.centres[label.clamp(min=0)] - self.centres[other.clamp(min=0)]
        known = (label >= 0) & (other >= 0) & ~way.isnan().any(-1)
        gone = ((stretches(difference) @ self.directions) * way).sum(-1)
        return torch.where(known, gone, 0.0), torch.where(known, way.square().sum(-1), 0.0)


def fit(
    songs: Iterable[tuple[Tensor, Conditions]],
    labels: Callable[[Conditions], Tensor],
    count: int,
    most: int = 300,
    even: bool = False,
) -> Discriminants | None:
    """The discriminants of latents (T, D) with their conditions; None where fewer than two labels are seen.

    Args:
        songs: stretches of songs; at most `most` are looked at.
        labels: (B, T) of conditions, -1 where there is none.
        count: of labels.
        even: labels count alike, else by how often they are seen.
    """
    total, scatter = 0, None
    counts, sums = np.zeros(count), None
    for latents, conditions in islice(songs, most):
        label = labels(conditions)[0].numpy()
        x = stretches(latents[None])[0].double().numpy()[label >= 0]
        label = label[label >= 0]
        if scatter is None or sums is None:
            scatter, sums = np.zeros((x.shape[1], x.shape[1])), np.zeros((count, x.shape[1]))
        scatter += x.T @ x
        np.add.at(sums, label, x)
        counts += np.bincount(label, minlength=count)
        total += len(x)
    seen = counts >= _FEWEST
    if scatter is None or sums is None or seen.sum() < 2:
        return None
    means = sums / np.maximum(counts, 1)[:, None]
    share = np.full(seen.sum(), 1 / seen.sum()) if even else counts[seen] / counts[seen].sum()
    centred = means[seen] - share @ means[seen]
    within = (scatter - means.T @ sums) / total
    within += 1e-3 * np.trace(within) / len(within) * np.eye(len(within))
    between = (centred * share[:, None]).T @ centred
    kept = min(_KEPT, int(seen.sum()) - 1, len(within))
    size = len(within)
    ratios, directions = scipy.linalg.eigh(between, within, subset_by_index=[size - kept, size - 1])
    centres = np.where(seen[:, None], means @ directions, np.nan)
    logger.info(
        "%s: %d frames, %d labels, largest ratio %.2f", labels.__name__, total, seen.sum(), ratios[-1]
    )
    return Discriminants(*(torch.from_numpy(a.astype(np.float32)) for a in (directions, ratios, centres)))
