"""An exponential moving average of a model's weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


class EMA:
    """Keeps w̄ ← d·w̄ + (1 − d)·w in float32, with d = min(decay, (1 + n) / (10 + n)) after n updates.

    The warm-up of d lets short trainings forget their random start. Saved and restored with the
    run: `accelerator.register_for_checkpointing(ema)`.
    """

    def __init__(self, model: nn.Module, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"an EMA's decay lies in [0, 1), but got {decay}")
        self.decay = decay
        self.updates = 0
        self.weights = {k: v.detach().clone().float() for k, v in model.named_parameters() if v.requires_grad}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take one step towards the model's weights."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        live = dict(model.named_parameters())
        averages = list(self.weights.values())
        torch._foreach_lerp_(averages, [live[k].detach().float() for k in self.weights], 1 - decay)

    @contextmanager
    def swapped(self, model: nn.Module) -> Iterator[None]:
        """Within the block the model has the averaged weights; after it, its own again."""
        live = dict(model.named_parameters())
        kept = {k: live[k].detach().clone() for k in self.weights}
        try:
            self._copy(self.weights, live)
            yield
        finally:
            self._copy(kept, live)

    @staticmethod
    @torch.no_grad()
    def _copy(source: dict[str, torch.Tensor], target: dict[str, nn.Parameter]) -> None:
        for name, value in source.items():
            target[name].copy_(value)

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.updates = state["updates"]
        for name, value in state["weights"].items():
            self.weights[name].copy_(value)
