"""Paths and samplers against closed forms: for Gaussian data the true velocity is known."""

import math
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import ConfigError
from dit import sampler
from dit.flow import GVP, Bezier, Linear, Path, make_path

PATHS: list[Path] = [Bezier(), Bezier(0.0), Bezier(0.9), Linear(), GVP()]


def t_tilde(c: float) -> float:
    return 2 / math.pi * math.acos(c)


@pytest.mark.parametrize("path", PATHS)
def test_ends_are_data_and_noise(path: Path) -> None:
    assert (path.alpha(0.0), path.sigma(0.0)) == (1, 0)
    assert path.alpha(1.0) == pytest.approx(0, abs=1e-12)
    assert path.sigma(1.0) == 1


@pytest.mark.parametrize("path", PATHS)
@settings(deadline=None)
@given(t=st.floats(0.01, 0.99))
def test_derivatives_are_those_of_alpha_and_sigma(path: Path, t: float) -> None:
    h = 1e-6
    assert path.alpha_dot(t) == pytest.approx((path.alpha(t + h) - path.alpha(t - h)) / (2 * h), abs=1e-6)
    assert path.sigma_dot(t) == pytest.approx((path.sigma(t + h) - path.sigma(t - h)) / (2 * h), abs=1e-6)
    assert path.determinant(t) > 0


@settings(deadline=None)
@given(c=st.floats(0.01, 1.0), t=st.floats(0, 1))
def test_bezier_is_the_paper_curve(c: float, t: float) -> None:
    path = Bezier(t_tilde(c))
    assert path.alpha(t) == pytest.approx((1 - t) ** 2 + 2 * (1 - t) * t * c, abs=1e-9)
    assert path.determinant(t) == pytest.approx(2 * t * (1 - (1 - c) * t), abs=1e-9)
    assert path.alpha_dot(t) <= 1e-9, "the share of data only falls"


def test_bezier_defaults_to_c_one_half() -> None:
    assert Bezier().c == pytest.approx(0.5)
    assert [Bezier().alpha(t) for t in (0.0, 0.25, 1.0)] == pytest.approx([1.0, 0.75, 0.0])


@settings(deadline=None)
@given(t=st.floats(0, 1))
def test_bezier_with_c_one_is_the_linear_path_in_squared_time(t: float) -> None:
    path = Bezier(0.0)
    assert path.alpha(t) == pytest.approx(Linear().alpha(t * t), abs=1e-12)
    assert path.sigma(t) == pytest.approx(Linear().sigma(t * t), abs=1e-12)


@pytest.mark.parametrize("value", [1.0, -0.1, 1.5])
def test_a_control_point_that_vanishes_is_refused(value: float) -> None:
    with pytest.raises(ConfigError, match="t_tilde"):
        Bezier(value)


def test_unknown_path_names_those_that_are_known() -> None:
    with pytest.raises(ConfigError, match="bezier, linear or gvp"):
        make_path("cubic")


@pytest.mark.parametrize("path", PATHS)
def test_velocity_gives_data_noise_and_score_back(path: Path) -> None:
    g = torch.Generator().manual_seed(1)
    clean, noise = torch.randn(2, 5, 3, 4, generator=g, dtype=torch.float64)
    t = torch.tensor([0.2, 0.4, 0.5, 0.7, 0.95], dtype=torch.float64)
    x, v = path.interpolate(clean, noise, t), path.velocity(clean, noise, t)
    sigma = path.sigma(t)[:, None, None]
    assert torch.allclose(path.clean(x, v, t), clean)
    assert torch.allclose(path.noise(x, v, t), noise)
    assert torch.allclose(path.score(x, v, t), -noise / sigma)
    assert torch.allclose(path.velocity_from_clean(x, clean, t), v)
    assert torch.allclose(path.velocity_from_noise(x, noise, t), v)
    assert torch.allclose(path.velocity_from_score(x, -noise / sigma, t), v)


def test_bezier_data_formula_is_regular_at_both_ends() -> None:
    x, v = torch.tensor([1.5]), torch.tensor([-0.5])
    assert torch.equal(Bezier().clean(x, v, 0.0), x)
    assert torch.allclose(Bezier().clean(x, v, 1.0), (x - v / 2) / 0.5)


# ---- samplers --------------------------------------------------------------------------------

MEAN, STD = 0.7, 0.5


def gaussian_velocity(path: Path) -> sampler.Velocity:
    """E[v | x_t] of data N(MEAN, STD²), by the conditional mean of jointly Gaussian v and x_t."""

    def velocity(x: torch.Tensor, t: float) -> torch.Tensor:
        a, s, da, ds = path.alpha(t), path.sigma(t), path.alpha_dot(t), path.sigma_dot(t)
        variance = a * a * STD**2 + s * s
        return da * MEAN + (a * da * STD**2 + s * ds) / variance * (x - a * MEAN)

    return velocity


def drawn(method: Any, path: Path, times: list[float], count: int = 20_000) -> torch.Tensor:
    g = torch.Generator().manual_seed(3)
    noise = torch.randn(count, generator=g, dtype=torch.float64)
    noise = (noise - noise.mean()) / noise.std()
    return method(gaussian_velocity(path), noise, times, path=path, generator=g)


@pytest.mark.parametrize("c", [0.05, 0.5, 1.0])
def test_heun_recovers_a_gaussian_in_ten_steps(c: float) -> None:
    x = drawn(sampler.heun, Bezier(t_tilde(c)), sampler.schedule(10), count=2000)
    assert float(x.mean()) == pytest.approx(MEAN, abs=0.01)
    assert float(x.std()) == pytest.approx(STD, abs=0.01)


def test_euler_needs_more_steps_than_heun() -> None:
    few = drawn(sampler.euler, Bezier(), sampler.schedule(10), count=2000)
    many = drawn(sampler.euler, Bezier(), sampler.schedule(400), count=2000)
    assert float(few.std()) < STD - 0.03
    assert float(many.std()) == pytest.approx(STD, abs=0.005)


@pytest.mark.parametrize("diffusion", ["sigma", "sigma_d"])
@pytest.mark.parametrize("path", [Bezier(), Linear(), GVP()])
def test_sde_has_the_marginals_of_the_ode(path: Path, diffusion: str) -> None:
    x = drawn(partial(sampler.sde, diffusion=diffusion), path, sampler.schedule(60, end=0.04))
    assert float(x.mean()) == pytest.approx(MEAN, abs=0.02)
    # The x̂* formula at t = 0.04 returns a conditional mean: a linear path has σ = 0.04 left.
    assert float(x.std()) == pytest.approx(STD, abs=0.02)


def test_sde_is_the_ode_when_its_strength_is_zero() -> None:
    path, times = Bezier(), sampler.schedule(5, end=0.04)
    noise = torch.linspace(-2, 2, 9, dtype=torch.float64)
    velocity = gaussian_velocity(path)
    still = sampler.sde(velocity, noise, times, path=path, strength=0.0)
    assert torch.allclose(still, sampler.euler(velocity, noise, times, path=path))


def test_samplers_are_the_same_bit_for_bit_with_the_same_generator() -> None:
    path = Bezier()
    a = drawn(sampler.sde, path, sampler.schedule(8, end=0.04), count=100)
    b = drawn(sampler.sde, path, sampler.schedule(8, end=0.04), count=100)
    assert torch.equal(a, b)


def test_callback_sees_every_step() -> None:
    seen: list[tuple[int, float]] = []
    path, times = Bezier(), sampler.schedule(4)
    noise = torch.zeros(3, dtype=torch.float64)
    velocity = gaussian_velocity(path)
    sampler.heun(velocity, noise, times, path=path, callback=lambda i, t, x: seen.append((i, t)))
    assert seen == list(enumerate(times[1:]))


@settings(deadline=None)
@given(steps=st.integers(1, 50), shift=st.floats(0.3, 5), end=st.floats(0, 0.1))
def test_schedule_falls_from_one(steps: int, shift: float, end: float) -> None:
    times = sampler.schedule(steps, end, shift)
    assert len(times) == steps + 1 and times[0] == 1
    assert all(a > b for a, b in zip(times, times[1:])) and times[-1] >= 0
