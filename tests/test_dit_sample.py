"""One loop for every scheduler; guidance; the same request twice."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler

from common.errors import ConfigError, RequestError
from dit import sampler
from dit.conditions import Conditions
from dit.flow import Bezier
from dit.guidance import Guidance, guided
from dit.sample import sample
from dit.scheduler import Diffusion, InterpolantScheduler, ddim, ddpm
from tests.test_dit_model import DIM, KNOWN, awake, noisy, song

FRAMES = 12


def gen(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("solver", "method"), [("heun", sampler.heun), ("euler", sampler.euler), ("sde", sampler.sde)]
)
def test_the_scheduler_takes_the_steps_of_the_sampler(solver: str, method: Any) -> None:
    model, c = awake(), song(FRAMES, 0)
    scheduler = InterpolantScheduler(solver=solver)
    plain = Guidance(1.0, 1.0)
    got = sample(model, c, FRAMES, scheduler, 4, plain, gen())
    g = gen()
    noise = torch.randn(1, FRAMES, DIM, generator=g)
    times = sampler.schedule(4, 0.04 if solver == "sde" else 0.0)

    def velocity(x: torch.Tensor, t: float) -> torch.Tensor:
        with torch.no_grad():
            return model(x, torch.tensor([t]), c)

    assert torch.allclose(got, method(velocity, noise, times, path=Bezier(), generator=g), atol=1e-4)


@pytest.mark.parametrize(
    "scheduler", [InterpolantScheduler(), InterpolantScheduler(solver="sde"), ddim(), ddpm()]
)
def test_the_same_request_gives_the_same_latents_bit_for_bit(scheduler: Any) -> None:
    model, c = awake(), song(FRAMES, 0)
    one, two = (sample(model, c, FRAMES, scheduler, 3, generator=gen(4)) for _ in range(2))
    assert torch.equal(one, two) and one.isfinite().all()
    assert not torch.equal(one, sample(model, c, FRAMES, scheduler, 3, generator=gen(5)))


def test_songs_of_a_batch_are_as_if_alone() -> None:
    model, songs = awake(), [song(FRAMES, 0), song(8, 1)]
    noise = torch.cat([noisy(FRAMES, 0), noisy(FRAMES, 1)])
    mask = torch.arange(FRAMES) < torch.tensor([[FRAMES], [8]])
    both = sample(model, Conditions.batch(songs), FRAMES, num_inference_steps=3, mask=mask, noise=noise)
    short = sample(model, songs[1], 8, num_inference_steps=3, noise=noise[1:, :8])
    assert torch.allclose(both[1:, :8], short, atol=1e-4)
    assert not both[1, 8:].any()


def test_a_scheduler_that_clips_is_refused() -> None:
    with pytest.raises(ConfigError, match="clip_sample=True"):
        sample(awake(), song(FRAMES, 0), FRAMES, DDIMScheduler(clip_sample=True))


def test_conditions_of_another_length_are_refused() -> None:
    with pytest.raises(RequestError, match="12 frames, 13 are asked for"):
        sample(awake(), song(FRAMES, 0), 13)


def test_numbers_that_are_not_finite_are_an_error() -> None:
    model = awake()
    torch.nn.init.constant_(model.output.frames.bias, torch.inf)
    with pytest.raises(RequestError, match="infinite"):
        sample(model, song(FRAMES, 0), FRAMES, num_inference_steps=1)


def test_callback_counts_evaluations() -> None:
    seen: list[tuple[int, int]] = []
    sample(
        awake(), song(FRAMES, 0), FRAMES, num_inference_steps=2, callback=lambda i, n, x: seen.append((i, n))
    )
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


# ---- guidance --------------------------------------------------------------------------------


@pytest.mark.parametrize("scales", [(1.0, 1.0), (2.5, 1.0), (1.0, 3.0), (2.5, 3.0), (3.0, 3.0), (0.0, 0.0)])
def test_guidance_is_the_formula(scales: tuple[float, float]) -> None:
    model, x, c = awake(arrangement=KNOWN), noisy(FRAMES, 0), song(FRAMES, 0)
    t = torch.tensor([0.9])
    plan = c.drop(description=True, audience=True, arrangement=True)
    none = plan.drop(lyrics=True, score=True)
    full, score, empty = (model(x, t, k) for k in (c, plan, none))
    expected = empty + scales[1] * (score - empty) + scales[0] * (full - score)
    assert torch.allclose(guided(model, x, 0.9, c, Guidance(*scales)), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("scales", "late"), [((4.0, 2.0), 2.0), ((1.0, 2.0), 1.0), ((4.0, 1.0), 1.0), ((3.0, 3.0), 3.0)]
)
def test_late_the_description_has_at_most_the_scores_scale(scales: tuple[float, float], late: float) -> None:
    model, x, c = awake(arrangement=KNOWN), noisy(FRAMES, 0), song(FRAMES, 0)
    found = guided(model, x, 0.6, c, Guidance(*scales))
    always = Guidance(late, scales[1], description_until=0.0)
    assert torch.allclose(found, guided(model, x, 0.6, c, always), atol=1e-5)
    own = guided(model, x, 0.6, c, replace(Guidance(*scales), description_until=0.5))
    assert torch.allclose(found, own, atol=1e-5) == (late == scales[0])


def test_an_arrangement_alone_is_guided_as_a_description() -> None:
    model, x = awake(arrangement=KNOWN), noisy(FRAMES, 0)
    c = song(FRAMES, 0).drop(description=True, audience=True, lyrics=True, score=True)
    t = torch.tensor([0.9])
    full, empty = model(x, t, c), model(x, t, c.drop(arrangement=True))
    found = guided(model, x, 0.9, c, Guidance(3.0, 1.0))
    assert torch.allclose(found, empty + 3 * (full - empty), atol=1e-4)
    assert not torch.allclose(full, empty, atol=1e-4)


def test_guidance_on_nothing_is_nothing() -> None:
    model, x, c = awake(), noisy(FRAMES, 0), Conditions.single(FRAMES)
    alone = guided(model, x, 0.6, c, Guidance(1.0, 1.0))
    assert torch.equal(guided(model, x, 0.6, c, Guidance(5.0, 5.0)), alone)


def test_a_scale_out_of_range_is_refused() -> None:
    with pytest.raises(RequestError, match="score is -1"):
        Guidance(score=-1)
    with pytest.raises(RequestError, match="description_until is 2"):
        Guidance(description_until=2.0)


# ---- schedulers ------------------------------------------------------------------------------


def test_a_scheduler_is_saved_with_its_path(tmp_path: Any) -> None:
    InterpolantScheduler(path="gvp", solver="sde", shift=2.0).save_pretrained(str(tmp_path))
    again = InterpolantScheduler.from_pretrained(str(tmp_path))
    assert (again.config.path, again.config.solver, again.config.shift) == ("gvp", "sde", 2.0)


@pytest.mark.parametrize("wrong", [{"solver": "rk4"}, {"diffusion": "alpha"}, {"path": "cubic"}])
def test_unknown_options_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="is not known"):
        InterpolantScheduler(**wrong)


def test_more_steps_than_set_are_an_error() -> None:
    scheduler = InterpolantScheduler(solver="euler")
    scheduler.set_timesteps(1)
    x = torch.zeros(1, 2, 3)
    scheduler.step(x, 1.0, x)
    with pytest.raises(ConfigError, match="set_timesteps"):
        scheduler.step(x, 1.0, x)


def test_mudit_learns_what_ddim_inverts() -> None:
    """With the true v-prediction, one DDIM step from pure noise returns the song."""
    flow = Diffusion()
    scheduler: Any = ddim()
    clean, noise = noisy(FRAMES, 1), noisy(FRAMES, 2)
    t = flow.grid(torch.tensor([0.5]))
    x, v = flow.interpolate(clean, noise, t), flow.velocity(clean, noise, t)
    scheduler.set_timesteps(flow.count)
    back = scheduler.step(v, int(t * flow.count), x).pred_original_sample
    assert torch.allclose(back, clean, atol=1e-4)


def test_mudit_ends_in_pure_noise() -> None:
    flow = Diffusion()
    t = flow.grid(torch.tensor([1.0]))
    noise = noisy(FRAMES, 2)
    assert torch.allclose(flow.interpolate(100 * torch.ones_like(noise), noise, t), noise, atol=1e-4)
