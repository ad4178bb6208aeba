"""Schedulers of the two song models, both with the interface of diffusers.

MuSiT has `InterpolantScheduler`, which takes the steps of `dit.sampler` one evaluation at a time.
MuDiT has diffusers' own DDPM (training) and DDIM (inference), as in Wang 2025, section 3.1.3.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
from diffusers import DDIMScheduler, DDPMScheduler
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from diffusers.utils import BaseOutput
from torch import Tensor

from common.errors import ConfigError
from dit.flow import Path, make_path
from dit.sampler import draw, euler_step, heun_step, schedule, sde_step

SOLVERS = ("heun", "euler", "sde")
SDE_END = 0.04  # below it the score's error grows as t⁻³: the x̂* formula takes over
# T and β of Wang 2025's code, but with zero terminal SNR: theirs leaves √ᾱ_T = 0.08 of the song.
_DDPM: dict[str, Any] = {
    "num_train_timesteps": 500,
    "beta_start": 1e-4,
    "beta_end": 0.02,
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
    "prediction_type": "v_prediction",
    "clip_sample": False,  # latents aren't pixels: clipping to [-1, 1] squashes them
}


@dataclass
class InterpolantSchedulerOutput(BaseOutput):
    """`prev_sample`: the next state; `pred_original_sample`: the data the model sees in it now."""

    prev_sample: Tensor
    pred_original_sample: Tensor


class InterpolantScheduler(SchedulerMixin, ConfigMixin):  # type: ignore[misc]
    """Integrates a velocity from noise (t = 1) to data (t = 0); `timesteps` are times in [0, 1].

    Args:
        path, t_tilde: the path the model was trained on, see `dit.flow.make_path`.
        solver: "heun" (two evaluations a step), "euler" or "sde".
        shift: above 1 spends more steps on strong noise.
        diffusion, strength: of the SDE, see `dit.sampler.sde_step`.
        num_train_timesteps: the unit of `timesteps`, for callers that divide by it.
    Raises:
        ConfigError: an unknown solver, path or diffusion.
    """

    order = 1

    @register_to_config
    def __init__(
        self,
        path: str = "bezier",
        t_tilde: float = 2 / 3,
        solver: str = "heun",
        shift: float = 1.0,
        diffusion: str = "sigma_d",
        strength: float = 1.0,
        num_train_timesteps: int = 1,
    ) -> None:
        if solver not in SOLVERS:
            raise ConfigError(f"solver {solver!r} is not known: use one of {', '.join(SOLVERS)}")
        if diffusion not in ("sigma", "sigma_d"):
            raise ConfigError(f"diffusion {diffusion!r} is not known: use sigma or sigma_d")
        self.path: Path = make_path(path, t_tilde)
        self.solver, self.shift, self.diffusion, self.strength = solver, shift, diffusion, strength
        self.unit = num_train_timesteps
        self.init_noise_sigma = 1.0
        self.set_timesteps(25)

    def set_timesteps(self, num_inference_steps: int, device: torch.device | str | None = None) -> None:
        """Begin anew with this many steps; Heun evaluates the model twice in each.

        Raises:
            ConfigError: fewer than one step.
        """
        if num_inference_steps < 1:
            raise ConfigError(f"sampling needs at least 1 step, but got {num_inference_steps}")
        end = SDE_END if self.solver == "sde" else 0.0
        times = schedule(num_inference_steps, end, self.shift)
        self._moves: list[tuple[str, float, float]] = []
        for t, to in zip(times, times[1:]):
            if self.solver == "heun":
                self._moves += [("predict", t, to), ("correct", t, to)]
            else:
                self._moves.append((self.solver, t, to))
        if end > 0:
            self._moves.append(("finish", end, 0.0))
        self.num_inference_steps = num_inference_steps
        at = [to if kind == "correct" else t for kind, t, to in self._moves]
        self.timesteps = torch.tensor(at, dtype=torch.float32, device=device)
        self._index = 0
        self._start: tuple[Tensor, Tensor] | None = None  # state and velocity that Heun corrects

    def scale_model_input(self, sample: Tensor, timestep: Any = None) -> Tensor:
        """The model sees the state as it is."""
        return sample

    def step(
        self,
        model_output: Tensor,
        timestep: Any,
        sample: Tensor,
        generator: torch.Generator | None = None,
        return_dict: bool = True,
    ) -> InterpolantSchedulerOutput | tuple[Tensor]:
        """Use one evaluation of the velocity; call it once for each of `timesteps`, in order.

        Raises:
            ConfigError: called more often than there are timesteps.
        """
        if self._index >= len(self._moves):
            raise ConfigError("all steps are done: call set_timesteps before sampling again")
        kind, t, to = self._moves[self._index]
        self._index += 1
        clean = self.path.clean(sample, model_output, to if kind == "correct" else t)
        if kind == "correct":
            assert self._start is not None, "a correction follows a prediction"
            moved = heun_step(*self._start, model_output, t, to)
        elif kind == "sde":
            noise = draw(sample, generator)
            how = (self.diffusion, self.strength)
            moved = sde_step(self.path, sample, model_output, t, to, noise, *how)
        elif kind == "finish":
            moved = clean
        else:
            self._start = (sample, model_output)
            moved = euler_step(sample, model_output, t, to)
        return InterpolantSchedulerOutput(moved, clean) if return_dict else (moved,)

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """x_t of the path."""
        return self.path.interpolate(original_samples, noise, timesteps)

    def get_velocity(self, sample: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """The training target."""
        return self.path.velocity(sample, noise, timesteps)

    def __len__(self) -> int:
        return self.unit


def ddpm() -> DDPMScheduler:
    """MuDiT's scheduler of training."""
    return DDPMScheduler(**_DDPM)


def ddim() -> DDIMScheduler:
    """MuDiT's scheduler of inference."""
    return DDIMScheduler(**_DDPM, set_alpha_to_one=True)


class Diffusion:
    """MuDiT's training in the terms of a path: times in [0, 1) are its discrete timesteps."""

    def __init__(self, scheduler: Any = None) -> None:
        self.scheduler = scheduler if scheduler is not None else cast(Any, ddpm())
        self.count = self.scheduler.config.num_train_timesteps

    def grid(self, t: Tensor) -> Tensor:
        """The times that exist: whole timesteps over their number, the last one below 1."""
        return (t * self.count).long().clamp(0, self.count - 1) / self.count

    def interpolate(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """The noised latents at times of the grid."""
        return self.scheduler.add_noise(clean, noise, self._index(t))

    def velocity(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """The target of v-prediction (Salimans 2022): √ᾱ ε − √(1 − ᾱ) x*."""
        return self.scheduler.get_velocity(clean, noise, self._index(t))

    def clean(self, x: Tensor, velocity: Tensor, t: Tensor) -> Tensor:
        """The data that noised latents and their v-prediction point to: √ᾱ x − √(1 − ᾱ) v."""
        return self.scheduler.get_velocity(velocity, x, self._index(t))

    def _index(self, t: Tensor) -> Tensor:
        return (t * self.count).round().long()
