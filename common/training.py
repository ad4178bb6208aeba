"""What the trainings of all rooms share beside their loop (`common.run`).

Their state and their command, learning rates, weight decay, and training a part of a model.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

import torch
from torch import nn

from common.config import parse
from common.ema import EMA
from common.errors import ConfigError
from common.run import Run

if TYPE_CHECKING:
    from accelerate import Accelerator

C = TypeVar("C")
M = TypeVar("M", bound=nn.Module)


@dataclass
class State(Generic[C, M]):
    """Everything alive in the training of a network."""

    config: C
    accelerator: "Accelerator"
    run: Run
    model: M  # wrapped by accelerate where there are several processes
    optimizer: torch.optim.Optimizer
    ema: EMA

    @property
    def bare(self) -> M:
        return self.accelerator.unwrap_model(self.model)


def train_as_told(train: Callable[[C], Path | None], settings: type[C], argv: Sequence[str] | None) -> int:
    """A training's command behind its logging: read the settings, train, print the model's folder; 0."""
    folder = train(parse(settings, argv))
    if folder:
        print(folder)
    return 0


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


def train_only(model: nn.Module, parts: Sequence[str]) -> None:
    """Leave all weights but those of some parts (attributes of the model) as they are; none named: train all.

    Raises:
        ConfigError: the model has no such part.
    """
    known = sorted({name.split(".")[0] for name, _ in model.named_parameters()})
    if unknown := [part for part in parts if part not in known]:
        raise ConfigError(f"the model has no part {unknown[0]!r} to train: use some of {', '.join(known)}")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not parts or name.split(".")[0] in parts)
