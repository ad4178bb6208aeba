"""The denoising loop of both song models: from noise to latents, whatever the scheduler."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from common.errors import ConfigError, RequestError
from dit.conditions import Conditions
from dit.guidance import Guidance, guided
from dit.model import SongTransformer
from dit.scheduler import InterpolantScheduler

StepEnd = Callable[[int, int, Tensor], None]  # (evaluation done, evaluations in all, latents)


@torch.no_grad()
def sample(
    model: SongTransformer,
    conditions: Conditions,
    frames: int,
    scheduler: Any = None,
    num_inference_steps: int = 25,
    guidance: Guidance | None = None,
    generator: torch.Generator | None = None,
    mask: Tensor | None = None,
    noise: Tensor | None = None,
    callback: StepEnd | None = None,
) -> Tensor:
    """Latents (B, frames, D) of B songs.

    Args:
        conditions: of B songs of `frames` frames.
        scheduler: `InterpolantScheduler` for MuSiT (the default), a diffusers DDIM or DDPM for MuDiT.
        generator: every random draw comes from it: same generator state, same latents, bit for bit.
        mask: (B, frames) bool, False for padding of the shorter songs.
        noise: (B, frames, D), drawn when None.
        callback: sees the state after each evaluation; an exception it raises ends the sampling.
    Raises:
        RequestError: conditions of another length, or latents that are not finite.
        ConfigError: a scheduler that clips the latents.
    """
    if conditions.frames != frames:
        raise RequestError(f"the conditions have {conditions.frames} frames, {frames} are asked for")
    scheduler = scheduler or InterpolantScheduler()
    check_scheduler(scheduler)
    guidance = guidance or Guidance()
    device = model.device
    conditions = conditions.to(device)
    mask = None if mask is None else mask.to(device)
    shape = (conditions.size, frames, model.latent_dim)
    x = starting_noise(shape, generator, device) if noise is None else noise.to(device)
    scheduler.set_timesteps(num_inference_steps, device=device)
    x = x * scheduler.init_noise_sigma
    # DDIM's step takes no generator when it draws nothing; DDPM's and ours always do.
    extra = {"generator": generator} if "generator" in inspect.signature(scheduler.step).parameters else {}
    unit = scheduler.config.num_train_timesteps
    model.eval()
    for index, t in enumerate(scheduler.timesteps):
        v = guided(model, scheduler.scale_model_input(x, t), float(t) / unit, conditions, guidance, mask)
        x = scheduler.step(v, t, x, **extra).prev_sample
        if callback:
            callback(index + 1, len(scheduler.timesteps), x)
    if not bool(x.isfinite().all()):
        raise RequestError(
            "the song model answered with infinite or missing numbers: use another model or seed"
        )
    return x if mask is None else x * mask[..., None]


def starting_noise(shape: tuple[int, ...], generator: torch.Generator | None, device: torch.device) -> Tensor:
    """Standard normal noise, drawn on the generator's device so that a CPU seed means the same anywhere."""
    where = generator.device if generator is not None else device
    return torch.randn(shape, generator=generator, device=where).to(device)


def check_scheduler(scheduler: Any) -> None:
    """Refuse settings that squash latents into [-1, 1]. Raises ConfigError naming the setting."""
    for name in ("clip_sample", "thresholding"):
        if scheduler.config.get(name, False):
            raise ConfigError(f"the scheduler has {name}=True, which is meant for pixels: set it to False")
