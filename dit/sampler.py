"""Samplers: from noise (t = 1) to data (t = 0) along a velocity field.

Each sampler is one function of the same form,

    heun(velocity, noise, times, path=…, generator=…, callback=…) -> clean

where `velocity(x, t)` is the model (with its conditions and guidance inside), `noise` has the
shape of the result and `times` fall from 1 to where integration stops. If they stop above 0,
the formula for x̂* finishes. `callback(index, t, x)` sees the state after each step. The single
steps are functions too, because `dit.scheduler` wraps the same ones.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dit.flow import Path

Velocity = Callable[[Tensor, float], Tensor]
Callback = Callable[[int, float, Tensor], None]


def schedule(steps: int, end: float = 0.0, shift: float = 1.0) -> list[float]:
    """`steps + 1` times from 1 to `end`; a shift above 1 spends more of them on strong noise.

    Source: Esser 2024 (SD3), section 5.3.2: t ↦ t / (t + (1 − t) / s) when t = 1 is noise.
    """
    even = [1 - i / steps * (1 - end) for i in range(steps)] + [end]
    return [t / (t + (1 - t) / shift) for t in even]


def euler_step(x: Tensor, velocity: Tensor, t: float, to: float) -> Tensor:
    """First order: x + (t′ − t) v."""
    return x + (to - t) * velocity


def heun_step(x: Tensor, velocity: Tensor, ahead: Tensor, t: float, to: float) -> Tensor:
    """Second order: the mean of the velocity at `x` and of the one at Euler's prediction."""
    return x + (to - t) * 0.5 * (velocity + ahead)


def sde_step(
    path: Path,
    x: Tensor,
    velocity: Tensor,
    t: float,
    to: float,
    noise: Tensor,
    diffusion: str,
    strength: float,
) -> Tensor:
    """Euler–Maruyama of dx = (v − ½ w score) dt + √w dW̄, whose marginals are those of the ODE.

    w is `strength` times σ² or σD. Both keep w · score bounded (−σε̂ and −Dε̂): w = σD/α, the
    choice that is optimal for likelihood, diverges at t = 1 (Ma 2024, section 2.3).
    """
    width = path.determinant(t) if diffusion == "sigma_d" else path.sigma(t)
    weight = strength * path.sigma(t) * width
    if diffusion == "sigma_d":  # Dε̂ without the division by D
        pull = path.alpha(t) * velocity - path.alpha_dot(t) * x
    else:
        pull = width * path.noise(x, velocity, t)
    drift = velocity + 0.5 * strength * pull
    return x + (to - t) * drift + math.sqrt(weight * (t - to)) * noise


def euler(
    velocity: Velocity,
    noise: Tensor,
    times: Sequence[float],
    path: Path,
    generator: torch.Generator | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """The probability-flow ODE by Euler's method: one evaluation a step."""
    x = noise
    for index, (t, to) in enumerate(zip(times, times[1:])):
        x = euler_step(x, velocity(x, t), t, to)
        if callback:
            callback(index, to, x)
    return finish(velocity, x, times[-1], path)


def heun(
    velocity: Velocity,
    noise: Tensor,
    times: Sequence[float],
    path: Path,
    generator: torch.Generator | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """The probability-flow ODE by Heun's method: two evaluations a step (Karras 2022, algorithm 1)."""
    x = noise
    for index, (t, to) in enumerate(zip(times, times[1:])):
        here = velocity(x, t)
        ahead = velocity(euler_step(x, here, t, to), to)
        x = heun_step(x, here, ahead, t, to)
        if callback:
            callback(index, to, x)
    return finish(velocity, x, times[-1], path)


def sde(
    velocity: Velocity,
    noise: Tensor,
    times: Sequence[float],
    path: Path,
    generator: torch.Generator | None = None,
    callback: Callback | None = None,
    diffusion: str = "sigma_d",
    strength: float = 1.0,
) -> Tensor:
    """The reverse-time SDE by Euler–Maruyama; let `times` end near 0.04 (Ma 2024, appendix B)."""
    x = noise
    for index, (t, to) in enumerate(zip(times, times[1:])):
        fresh = draw(x, generator)
        x = sde_step(path, x, velocity(x, t), t, to, fresh, diffusion, strength)
        if callback:
            callback(index, to, x)
    return finish(velocity, x, times[-1], path)


def finish(velocity: Velocity, x: Tensor, t: float, path: Path) -> Tensor:
    """x̂* at the last time; `x` itself when integration went all the way."""
    return path.clean(x, velocity(x, t), t) if t > 0 else x


def draw(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard normal noise of a tensor's shape, drawn where the generator lives."""
    device = generator.device if generator is not None else like.device
    return torch.randn(like.shape, generator=generator, device=device, dtype=like.dtype).to(like.device)
