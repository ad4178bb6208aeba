"""What the trainings of all rooms share beside their loop (`common.run`): learning rates and weight decay."""

import math

from torch import nn


def warm_cosine(step: int, progress: float, warmup: int, floor: float) -> float:
    """Share of the learning rate: a linear rise over `warmup` steps, then half a cosine down to `floor`.

    Args:
        progress: share of the budget spent, 0 … 1.
    Source: Loshchilov & Hutter 2017 (SGDR), equation 5, without restarts.
    """
    cosine = 0.5 + 0.5 * math.cos(math.pi * progress)
    return min(1.0, (step + 1) / max(1, warmup)) * (floor + (1 - floor) * cosine)


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Groups for an optimiser: matrices decay; biases, norms and scales don't."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    rest = [p for p in model.parameters() if p.ndim < 2]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]
