"""Classifier-free guidance with one scale for the description and one for the score (Ho 2022).

    v = v(∅) + s_score · (v(score) − v(∅)) + s_description · (v(score, description) − v(score))

as in Brooks 2023 (InstructPix2Pix), eq. 3, for two conditions. Audience and arrangement go with the
description, the lyrics with the score: they say the same thing in another form. The description has a
scale of its own near noise only, where genre, mood and players are decided; then it has at most the
score's, which leaves the words clearer and costs a third less (guidance in an interval:
Kynkäänniemi 2024).
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from common.errors import RequestError
from dit.conditions import NO_AUDIENCE, Conditions
from dit.model import SongTransformer


@dataclass(frozen=True)
class Guidance:
    """Scales; 1 is no guidance, above 1 exaggerates what the condition says.

    Raises:
        RequestError: a scale outside 0 … 20, or a time outside 0 … 1.
    """

    description: float = 4.0  # with the audience and the arrangement
    score: float = 2.0  # the score's frames and the lyrics
    description_until: float = 0.8  # the time, counted down from noise (1), to which it has that scale

    def __post_init__(self) -> None:
        for name in ("description", "score"):
            if not 0 <= getattr(self, name) <= 20:
                raise RequestError(f"a guidance scale lies in 0 … 20, but {name} is {getattr(self, name)}")
        if not 0 <= self.description_until <= 1:
            raise RequestError(f"times lie in 0 … 1, but description_until is {self.description_until}")

    def at(self, t: float) -> "Guidance":
        """The scales at one time."""
        late = min(self.description, self.score)
        return self if t >= self.description_until else replace(self, description=late)


def guided(
    model: SongTransformer,
    x: Tensor,
    t: float,
    conditions: Conditions,
    guidance: Guidance,
    mask: Tensor | None = None,
) -> Tensor:
    """The guided velocity (B, T, D) at one time t, 1 (noise) to 0.

    Evaluates the model on three batches in one call; on two where the scales are equal (the terms in
    between cancel) or the score's is 1, on one where both are 1.
    """
    guidance = guidance.at(t)
    told = (conditions.audience != NO_AUDIENCE) | (conditions.arrangement != 0).any(1)
    described = bool((conditions.fragment_mask.any(1) | told).any())
    planned = bool((conditions.has_score | (conditions.lyrics != 0).any(1)).any())
    by_description = described and guidance.description != 1
    by_score = planned and guidance.score != 1
    at_once = by_score and guidance.description == guidance.score
    variants = [conditions]
    if not at_once and (by_description or (by_score and described)):
        variants.append(conditions.drop(description=True, audience=True, arrangement=True))
    if by_score:
        bare = conditions.drop(description=True, audience=True, lyrics=True, score=True, arrangement=True)
        variants.append(bare)
    count = len(variants)
    times = torch.full((count * len(x),), t, device=x.device)
    masks = None if mask is None else mask.repeat(count, 1)
    outputs = model(x.repeat(count, 1, 1), times, Conditions.batch(variants), masks).float().chunk(count)
    v = outputs[0]
    if at_once:
        return outputs[1] + guidance.score * (outputs[0] - outputs[1])
    if by_description:
        v = outputs[1] + guidance.description * (outputs[0] - outputs[1])
    if by_score:
        v = v + (guidance.score - 1) * (outputs[-2] - outputs[-1])
    return v
