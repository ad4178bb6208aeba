"""The symmetric contrastive loss over all processes, with shared descriptions counted as true.

Two songs of a batch often fit the same words ("流行"): to push such a text from the other song
would teach something false. `holds` says which texts hold for which songs; each row of targets
shares its mass between the pair that was drawn and the others that hold, or these are left out.
"""

from typing import Any

import torch
from torch import Tensor, distributed
from torch.nn import functional as F


class _Gather(torch.autograd.Function):
    """All-gather whose gradient is the sum over processes of what each returns for our rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        everyone = [torch.empty_like(x) for _ in range(distributed.get_world_size())]
        distributed.all_gather(everyone, x.contiguous())
        return torch.cat(everyone)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        total = grad.contiguous().clone()
        distributed.all_reduce(total)
        return total.chunk(distributed.get_world_size())[distributed.get_rank()]


def gather(x: Tensor) -> Tensor:
    """Concatenate (n, …) of every process to (n · processes, …), with gradients to all of them.

    Each process then computes the same loss on the whole batch; the backward pass sums what they
    return, and the mean over processes that data-parallel training takes makes that exact.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return x
    return _Gather.apply(x)


def targets(holds: Tensor, share: float) -> Tensor:
    """Rows of targets (N, N) that sum to one: 1 for the pair, `share` for others that hold.

    Args:
        holds: (N, N) bool, text i holds for song j; the diagonal counts as True.
        share: 0 (only the pair) … 1 (others that hold count alike).
    """
    pair = torch.eye(len(holds), device=holds.device)
    weights = torch.maximum(pair, share * holds.float())
    return weights / weights.sum(1, keepdim=True)


def contrastive(
    text: Tensor,
    audio: Tensor,
    scale: Tensor,
    holds: Tensor | None = None,
    share: float = 1.0,
    masked: bool = False,
) -> Tensor:
    """Mean of the cross-entropies text → audio and audio → text.

    Args:
        text, audio: unit vectors (N, D) of the whole batch, pairs at equal rows.
        scale: the factor of the cosine before the softmax.
        holds: (N, N) bool; None when only pairs are true.
        masked: leave the others that hold out of the softmax, instead of sharing the target with them.
    Source: Radford 2021 (CLIP), fig. 3. Differs: soft or masked where a text holds for several songs.
    """
    logits = scale * _full(text) @ _full(audio).T
    pairs = torch.eye(len(text), dtype=torch.bool, device=text.device)
    holds = pairs if holds is None else holds
    if masked:
        logits = logits.masked_fill(holds & ~pairs, -torch.inf)
        own = torch.arange(len(text), device=text.device)
        return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
    rows = F.cross_entropy(logits, targets(holds, share).to(logits.dtype))
    columns = F.cross_entropy(logits.T, targets(holds.T, share).to(logits.dtype))
    return (rows + columns) / 2


def _full(x: Tensor) -> Tensor:
    """At least float32: half precision can't hold the differences of a large batch's logits."""
    return x if x.dtype == torch.float64 else x.float()


def spread(vectors: Tensor, least: float = 0.7) -> Tensor:
    """How much the vectors of a batch lack in variety: 0 when each dimension varies enough.

    A contrastive loss from random weights first falls by making all vectors alike, and may never
    come back from there; this keeps the door open.

    Args:
        vectors: unit vectors (N, D) of the whole batch.
        least: deviation wanted of each dimension, as a share of that of evenly spread vectors.
    Source: Bardes 2022 (VICReg), eq. 1.
    """
    deviation = (vectors.float().var(0, correction=0) * vectors.shape[1] + 1e-6).sqrt()
    return F.relu(least - deviation).mean()


def agreement(text: Tensor, audio: Tensor, holds: Tensor | None = None) -> Tensor:
    """Share of texts whose most similar song of the batch is one that they hold for."""
    best = (text @ audio.T).argmax(1)
    if holds is None:
        return (best == torch.arange(len(text), device=text.device)).float().mean()
    holds = holds | torch.eye(len(text), dtype=torch.bool, device=holds.device)
    return holds.gather(1, best[:, None]).float().mean()


def kept(vectors: Tensor, before: Tensor) -> Tensor:
    """How far vectors have left where they were: the mean of 1 − cosine; unit vectors (N, D) both."""
    return (1 - (vectors * before).sum(-1)).mean()
