"""The training loss: mean squared error of the velocity, the same weight at every time.

Errors along the directions that tell sung phones apart, or who has the tune, may count more
(`dit.discriminants`). MuSiT learns
the velocity of an interpolant path, MuDiT the v-prediction of DDPM; both are told the time and see
noised latents, so one function serves both.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dit import arrangement, phones
from dit.conditions import Conditions
from dit.config import FlowConfig
from dit.data import Batch
from dit.discriminants import Discriminants
from dit.flow import Path, make_path
from dit.scheduler import Diffusion

BANDS = (0.0, 0.25, 0.5, 0.75, 1.0)  # of t, in which losses are logged


def make_flow(config: FlowConfig) -> Path | Diffusion:
    """What noises latents and says what is to be learned."""
    return Diffusion() if config.kind == "mudit" else make_path(config.path, config.t_tilde)


def draw_times(count: int, config: FlowConfig, generator: torch.Generator) -> Tensor:
    """(count,) times: logit-normal (Esser 2024, section 3.1), even, or even near 1; see `FlowConfig`.

    Each is drawn from one of `count` equal shares of its distribution.

    The shares make the mean loss of a batch vary less than independent draws would.
    """
    order = torch.randperm(count, generator=generator)
    share = (order + torch.rand(count, generator=generator)) / count
    kind = torch.rand(count, generator=generator)
    normal = torch.special.ndtri(share.clamp(1e-6, 1 - 1e-6))
    t = torch.sigmoid(config.time_mean + config.time_std * normal)
    t = torch.where(kind < config.uniform + config.near_noise, 0.9 + 0.1 * share, t)
    return torch.where(kind < config.uniform, share, t)


@dataclass(frozen=True)
class Prediction:
    """What a model says of noised latents."""

    flow: Path | Diffusion
    noised: Tensor  # (B, T, D)
    t: Tensor  # (B,)
    velocity: Tensor  # (B, T, D)
    error: Tensor  # (B, T, D) of the velocity
    mask: Tensor  # (B, T)

    @property
    def clean(self) -> Tensor:
        """(B, T, D) the latents that the velocity points to."""
        return self.flow.clean(self.noised, self.velocity, self.t)

    @property
    def losses(self) -> Tensor:
        """(B,) squared error of each song, mean over its frames and dimensions without padding."""
        return (self.error.square().mean(-1) * self.mask).sum(1) / self.mask.sum(1)


def predict(
    model: nn.Module, flow: Path | Diffusion, batch: Batch, conditions: Conditions, t: Tensor, noise: Tensor
) -> Prediction:
    """Noise the latents of a batch at times (B,) and ask the model."""
    if isinstance(flow, Diffusion):
        t = flow.grid(t)
    x = flow.interpolate(batch.latents, noise, t)
    velocity = model(x, t, conditions, batch.mask).float()
    error = velocity - flow.velocity(batch.latents, noise, t)
    return Prediction(flow, x, t, velocity, error, batch.mask)


@dataclass(frozen=True)
class Ear:
    """What is listened for beside the velocity; None what isn't."""

    phones: Discriminants | None = None  # of the sung phones
    tune: Discriminants | None = None  # of who has the tune: a singer, or a lead


def by_band(t: Tensor, losses: Tensor) -> dict[str, float]:
    """Mean loss in each band of t that has any: `band_0.75`: times from 0.75 up."""
    bands = {}
    for low, high in zip(BANDS, BANDS[1:]):
        within = (t >= low) & ((t < high) | (high == 1.0))
        if bool(within.any()):
            bands[f"band_{low:g}"] = float(losses[within].mean())
    return bands


@torch.no_grad()
def held_out(
    model: nn.Module,
    flow: Path | Diffusion,
    batches: Sequence[Batch],
    times: Sequence[float],
    seed: int,
    ear: Ear = Ear(),
) -> dict[str, float]:
    """Velocity losses of held-out songs at fixed times and noise: the measure of what is learned.

    `true` is with everything; `other_score` with the neighbour's score and words; `no_score` without;
    `no_description` and `no_arrangement` without; `nothing` with all dropped. A model that listens to
    its score has `true` far below `other_score`. With an ear also how the latents that the model points
    to answer an exchange of all `initials` and `finals`, or of the `leads`: 1 when they move from the
    means of the one to those of the other, 0 when they don't move.
    """
    totals: dict[str, list[Tensor]] = {}
    ways: dict[str, Tensor] = {}
    for number, batch in enumerate(batches):
        generator = torch.Generator().manual_seed(seed + number)
        noise = torch.randn(batch.latents.shape, generator=generator).to(batch.latents.device)
        for time in times:
            t = torch.full((len(noise),), time, device=noise.device)
            found = {
                name: predict(model, flow, batch, conditions, t, noise)
                for name, conditions in _variants(batch.conditions).items()
            }
            for name, prediction in found.items():
                totals.setdefault(f"{name}_{time:g}", []).append(prediction.losses)
            for swapped, space, labels in _exchanges(batch.conditions, ear):
                other = predict(model, flow, batch, swapped, t, noise)
                pair = labels(batch.conditions), labels(swapped)
                gone, way = space.moved(found["true"].clean - other.clean, *pair)
                for name, of in _kinds(labels, pair[0]).items():
                    so_far = ways.setdefault(f"{name}_{time:g}", torch.zeros(2))
                    so_far += torch.stack([gone[of].sum(), way[of].sum()]).cpu()
    means = {name: float(torch.cat(losses).mean()) for name, losses in totals.items()}
    return means | {name: float(gone / way) for name, (gone, way) in ways.items() if way > 0}


Labels = Callable[[Conditions], Tensor]


def _exchanges(c: Conditions, ear: Ear) -> Iterator[tuple[Conditions, Discriminants, Labels]]:
    """The same songs with other phones, then with other leads, and what tells them apart."""
    if ear.phones is not None:
        yield phones.exchanged(c), ear.phones, phones.phones
    if ear.tune is not None:
        yield arrangement.exchanged(c), ear.tune, arrangement.tune


def _kinds(labels: Labels, label: Tensor) -> dict[str, Tensor]:
    """Frames (B, T) by the name under which their answers are logged."""
    if labels is arrangement.tune:
        return {"leads": label >= 0}
    initial = phones.is_consonant(label)
    return {"initials": initial, "finals": ~initial}


def _variants(c: Conditions) -> dict[str, Conditions]:
    bare = c.drop(description=True, audience=True, lyrics=True, score=True, arrangement=True)
    return {
        "true": c,
        "other_score": c.with_plan_of(c.rolled()),
        "no_score": c.drop(score=True),
        "no_description": c.drop(description=True, audience=True),
        "no_arrangement": c.drop(arrangement=True),
        "nothing": bare,
    }
