"""Interpolant paths between data and noise, and what follows from a velocity.

Time runs as in the paper and in diffusers: **t = 0 is data, t = 1 is noise**. A path is
x_t = α(t) x* + σ(t) ε with ε ~ N(0, 1); its velocity is v = α′x* + σ′ε, and the song model
learns E[v | x_t]. With D = ασ′ − α′σ everything else follows:

    x̂* = (σ′x − σv) / D        ε̂ = (αv − α′x) / D        score = −ε̂ / σ

Sources: Wang 2025 (MuDiT/MuSiT), eq. 1–2, the Bézier path; Ma 2024 (SiT), table 1, the
linear and the generalised variance-preserving paths and the conversions.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from common.errors import ConfigError

Time = float | Tensor  # a number, or one for each item of the batch


def expand(t: Time, x: Tensor) -> Tensor:
    """`t` with as many axes as `x`, so that it multiplies batch items. Keeps at least float32."""
    t = torch.as_tensor(t, dtype=torch.promote_types(x.dtype, torch.float32), device=x.device)
    return t.reshape(t.shape + (1,) * (x.ndim - t.ndim)) if t.ndim else t


class Path(ABC):
    """x_t = α x* + σ ε; every method takes a number or a tensor of times."""

    @abstractmethod
    def alpha(self, t: Any) -> Any:
        """The share of data: 1 at t = 0, 0 at t = 1."""

    @abstractmethod
    def sigma(self, t: Any) -> Any:
        """The share of noise: 0 at t = 0, 1 at t = 1."""

    @abstractmethod
    def alpha_dot(self, t: Any) -> Any:
        """dα/dt."""

    @abstractmethod
    def sigma_dot(self, t: Any) -> Any:
        """dσ/dt."""

    def determinant(self, t: Any) -> Any:
        """D = ασ′ − α′σ, positive inside (0, 1)."""
        return self.alpha(t) * self.sigma_dot(t) - self.alpha_dot(t) * self.sigma(t)

    def interpolate(self, clean: Tensor, noise: Tensor, t: Time) -> Tensor:
        """x_t (B, …) from data and noise of the same shape."""
        t = expand(t, clean)
        return self.alpha(t) * clean + self.sigma(t) * noise

    def velocity(self, clean: Tensor, noise: Tensor, t: Time) -> Tensor:
        """dx_t/dt, the regression target."""
        t = expand(t, clean)
        return self.alpha_dot(t) * clean + self.sigma_dot(t) * noise

    def clean(self, x: Tensor, velocity: Tensor, t: Time) -> Tensor:
        """The data that x_t and its velocity point to."""
        t = expand(t, x)
        return (self.sigma_dot(t) * x - self.sigma(t) * velocity) / self.determinant(t)

    def noise(self, x: Tensor, velocity: Tensor, t: Time) -> Tensor:
        """The noise that x_t and its velocity contain."""
        t = expand(t, x)
        return (self.alpha(t) * velocity - self.alpha_dot(t) * x) / self.determinant(t)

    def score(self, x: Tensor, velocity: Tensor, t: Time) -> Tensor:
        """∇ log p_t(x), defined for t > 0."""
        return -self.noise(x, velocity, t) / self.sigma(expand(t, x))

    def velocity_from_clean(self, x: Tensor, clean: Tensor, t: Time) -> Tensor:
        """The velocity of x_t when its data is known, for t > 0: inverse of `clean`."""
        s = expand(t, x)
        return (self.sigma_dot(s) * x - self.determinant(s) * clean) / self.sigma(s)

    def velocity_from_noise(self, x: Tensor, noise: Tensor, t: Time) -> Tensor:
        """The velocity of x_t when its noise is known, for t < 1: inverse of `noise`."""
        s = expand(t, x)
        return (self.alpha_dot(s) * x + self.determinant(s) * noise) / self.alpha(s)

    def velocity_from_score(self, x: Tensor, score: Tensor, t: Time) -> Tensor:
        """The velocity that belongs to a score, for 0 < t < 1: inverse of `score`."""
        return self.velocity_from_noise(x, -score * self.sigma(expand(t, x)), t)


@dataclass(frozen=True)
class Linear(Path):
    """α = 1 − t, σ = t: the straight path of rectified flow."""

    def alpha(self, t: Any) -> Any:
        return 1 - t

    def sigma(self, t: Any) -> Any:
        return t

    def alpha_dot(self, t: Any) -> Any:
        return t * 0 - 1

    def sigma_dot(self, t: Any) -> Any:
        return t * 0 + 1


@dataclass(frozen=True)
class GVP(Path):
    """α = cos(πt/2), σ = sin(πt/2): generalised variance-preserving, α² + σ² = 1."""

    def alpha(self, t: Any) -> Any:
        return _cos(t)

    def sigma(self, t: Any) -> Any:
        return _sin(t)

    def alpha_dot(self, t: Any) -> Any:
        return -math.pi / 2 * _sin(t)

    def sigma_dot(self, t: Any) -> Any:
        return math.pi / 2 * _cos(t)


@dataclass(frozen=True)
class Bezier(Path):
    """The quadratic Bézier curve with control point Q = c x*, c = cos(π t̃ / 2) (Wang 2025, eq. 1–2).

    α = (1 − t)(1 + (2c − 1)t), σ = t². The paper doesn't publish t̃; 2/3 gives c = ½ and α = 1 − t.
    α falls monotonically for every 0 < c ≤ 1; c = 1 is the linear path under s = t².

    Raises:
        ConfigError: t̃ is outside [0, 1): at t̃ = 1 (c = 0) the velocity at t = 1 says nothing of the data.
    """

    t_tilde: float = 2 / 3

    def __post_init__(self) -> None:
        if not 0 <= self.t_tilde < 1 or self.c < 1e-6:
            raise ConfigError(
                f"the Bézier path needs 0 <= t_tilde < 1 (at 1 the control point is 0): got {self.t_tilde}"
            )

    @property
    def c(self) -> float:
        return math.cos(math.pi * self.t_tilde / 2)

    def alpha(self, t: Any) -> Any:
        return (1 - t) * (1 + (2 * self.c - 1) * t)

    def sigma(self, t: Any) -> Any:
        return t * t

    def alpha_dot(self, t: Any) -> Any:
        return 2 * self.c - 2 + (2 - 4 * self.c) * t

    def sigma_dot(self, t: Any) -> Any:
        return 2 * t

    def clean(self, x: Tensor, velocity: Tensor, t: Time) -> Tensor:
        """As in `Path`, with the common factor 2t taken out: regular on all of [0, 1]."""
        t = expand(t, x)
        return (x - t / 2 * velocity) / (1 - (1 - self.c) * t)


def make_path(name: str, t_tilde: float = 2 / 3) -> Path:
    """`bezier`, `linear` or `gvp`. Raises ConfigError naming them for anything else."""
    if name == "bezier":
        return Bezier(t_tilde)
    if name == "linear":
        return Linear()
    if name == "gvp":
        return GVP()
    raise ConfigError(f"path {name!r} is not known: use bezier, linear or gvp")


def _cos(t: Any) -> Any:
    return torch.cos(t * math.pi / 2) if isinstance(t, Tensor) else math.cos(t * math.pi / 2)


def _sin(t: Any) -> Any:
    return torch.sin(t * math.pi / 2) if isinstance(t, Tensor) else math.sin(t * math.pi / 2)
