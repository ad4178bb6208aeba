"""SnakeBeta, x + sin²(αx) / β, in one walk over memory each way.

Written as torch expressions it takes five passes over tensors that don't fit the cache, and a training
keeps three of them; an ear-VAE spends as long on it as on a convolution. Here a block of rows goes through
all steps while it is in the cache, in the gradient too, and only x is kept. Where torch can compile it
(`fused`), all steps are one loop over registers.

Source: Lee et al. 2023 "BigVGAN: A Universal Neural Vocoder with Large-Scale Training", section 3.1;
β of its own after the authors' code.
"""

import logging
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

logger = logging.getLogger(__name__)

_BLOCK = 1 << 16  # numbers of a block for each thread: 256 KiB stay in a core's cache
_TINY = 1e-9


def snake(
    x: Float[Tensor, "batch channels time"],
    alpha: Float[Tensor, " channels"],
    beta: Float[Tensor, " channels"],
) -> Float[Tensor, "batch channels time"]:
    """x + sin²(e^α x) / (e^β + 1e-9), with one α and β per channel."""
    return _Snake.apply(x, alpha, beta)


@torch.no_grad()
def snake_rows(
    x: Float[Tensor, "batch channels 1 time"],
    alpha: Float[Tensor, " channels"],
    beta: Float[Tensor, " channels"],
    keep: bool = True,
) -> Float[Tensor, "batch channels 1 time"]:
    """`snake` of a tensor whose channels lie beside each other in memory (channels last), without a gradient.

    Args:
        keep: leave x as it is; else the result may take its place: a large tensor's fresh pages cost as much
            as the arithmetic.
    """
    wide = torch.promote_types(x.dtype, alpha.dtype)
    flat = x.permute(0, 2, 3, 1).reshape(-1)  # a view of what is channels last
    out = torch.empty_like(flat, dtype=wide) if keep or wide != x.dtype else flat
    moments = max(1, _BLOCK * torch.get_num_threads() // len(alpha))
    # Repeated to a block, so that each step is one walk over numbers side by side.
    frequency, share = (v.to(wide).repeat(moments) for v in (alpha.exp(), 1 / (beta.exp() + _TINY)))
    for start in range(0, len(flat), len(frequency)):
        part = flat[start : start + len(frequency)].to(wide)
        wave = (part * frequency[: len(part)]).sin_().square_()
        torch.addcmul(part, wave, share[: len(part)], out=out[start : start + len(part)])
    batch, channels, _, time = x.shape
    return out.view(batch, 1, time, channels).permute(0, 3, 1, 2)


class _Snake(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
        ctx.save_for_backward(x, alpha, beta)
        wide = torch.promote_types(x.dtype, alpha.dtype)
        frequency, share = (v.to(wide)[:, None] for v in (alpha.exp(), 1 / (beta.exp() + _TINY)))
        out = torch.empty(x.shape, dtype=wide, device=x.device)
        for rows, times in _blocks(x):
            part = x[:, rows, times].to(wide)
            wave = (part * frequency[rows]).sin_().square_()
            torch.addcmul(part, wave, share[rows], out=out[:, rows, times])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, alpha, beta = ctx.saved_tensors
        wide = torch.promote_types(grad.dtype, torch.float32)
        frequency, inverse = (v.to(wide)[:, None] for v in (alpha.exp(), 1 / (beta.exp() + _TINY)))
        to_x = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        to_alpha, to_beta = (torch.zeros(len(alpha), dtype=wide, device=x.device) for _ in range(2))
        for rows, times in _blocks(x):
            part, slope = x[:, rows, times].to(wide), grad[:, rows, times].to(wide)
            # sin²u = (1 − cos 2u) / 2, and its derivative by u is sin 2u.
            double = part * (2 * frequency[rows])
            turning = double.sin() * slope * (frequency[rows] * inverse[rows])
            to_x[:, rows, times] = slope + turning
            to_alpha[rows] += turning.mul_(part).sum(dim=(0, 2))
            to_beta[rows] += double.cos_().neg_().add_(1).mul_(slope).sum(dim=(0, 2)) / 2
        to_beta = -to_beta * inverse[:, 0].square() * beta.exp().to(to_beta.dtype)
        return to_x, to_alpha.to(alpha.dtype), to_beta.to(beta.dtype)


def _blocks(x: Tensor) -> Iterator[tuple[slice, slice]]:
    """(channels, samples) that fit the cache together; everything where there is no cache to think of."""
    batch, channels, length = x.shape
    room = max(1, _BLOCK * torch.get_num_threads() // batch)
    if x.device.type != "cpu":
        room = max(room, channels * length)
    rows, times = max(1, room // max(1, length)), min(room, length)
    for first in range(0, channels, rows):
        for start in range(0, length, max(1, times)):
            yield slice(first, first + rows), slice(start, start + times)


# ---- compiled --------------------------------------------------------------------------------

Formula = Callable[[Tensor, Tensor, Tensor], Tensor]


def formula(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """`snake` as torch expressions, in float32 at least; α and β of a shape that fits x."""
    wide = torch.promote_types(x.dtype, alpha.dtype)
    y, a, b = (v.to(torch.promote_types(v.dtype, torch.float32)) for v in (x, alpha, beta))
    return (y + (y * a.exp()).sin().square() / (b.exp() + _TINY)).to(wide)


def _in_place(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    return x.copy_(formula(x, alpha, beta))


class Fused:
    """SnakeBeta compiled: `formula`, and the same in place of x."""

    def __init__(self, backend: str) -> None:
        # Sizes are symbols, so that each number of dimensions is compiled once, not each shape.
        self.formula: Formula = torch.compile(formula, backend=backend, dynamic=True)
        self.in_place: Formula = torch.compile(_in_place, backend=backend, dynamic=True)

    def rows(
        self,
        x: Float[Tensor, "batch channels 1 time"],
        alpha: Float[Tensor, " channels"],
        beta: Float[Tensor, " channels"],
        keep: bool = True,
    ) -> Float[Tensor, "batch channels 1 time"]:
        """`snake_rows`."""
        batch, channels, _, time = x.shape
        flat = x.permute(0, 2, 3, 1).reshape(-1, channels)  # a view of what is channels last
        room = not keep and torch.promote_types(x.dtype, alpha.dtype) == x.dtype
        # As views: sizes of parameters themselves would be taken as fixed.
        out = (self.in_place if room else self.formula)(flat, alpha[None], beta[None])
        return out.view(batch, 1, time, channels).permute(0, 3, 1, 2)

    def __call__(
        self,
        x: Float[Tensor, "batch channels time"],
        alpha: Float[Tensor, " channels"],
        beta: Float[Tensor, " channels"],
    ) -> Float[Tensor, "batch channels time"]:
        """`snake`, with its gradient."""
        return self.formula(x, alpha[:, None], beta[:, None])


@cache
def fused(backend: str = "inductor") -> Fused | None:
    """SnakeBeta compiled by torch.compile (Ansel et al. 2024); None, with a warning, where that fails.

    Compiling takes seconds to a minute in a process, less once torch's cache on the disk has it. It fails
    without a C++ compiler.
    """
    x, alpha, beta = torch.linspace(-3, 3, 48).reshape(1, 8, 6), torch.zeros(8), torch.ones(8)
    try:
        made = Fused(backend)
        with torch.no_grad():
            found = made(x, alpha, beta)
    except Exception as error:  # whatever a missing compiler or an unknown machine makes of it
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        logger.warning("torch.compile doesn't work here, so the plain layers are used: %s", reason)
        return None
    if not torch.allclose(found, formula(x, alpha[:, None], beta[:, None]), atol=1e-5):
        logger.warning("torch.compile computes something else here, so the plain layers are used")
        return None
    return made
