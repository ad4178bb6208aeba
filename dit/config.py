"""The settings of a song model's training. YAML files in `dit/configs` hold what differs from these."""

from dataclasses import dataclass, field
from typing import Any, Literal

from common.config import check_least, check_training
from common.errors import ConfigError
from dit.data import Dropout


@dataclass(frozen=True)
class ModelConfig:
    """A named size of `dit.model`, and what replaces its settings; None keeps the size's."""

    size: Literal["tiny", "demo", "paper"] = "demo"
    dim: int | None = None
    depth: int | None = None
    heads: int | None = None
    patch: int | None = None  # latent frames in a token
    arrangement: bool = True  # whether the model is told by name who plays and sings

    def __post_init__(self) -> None:
        check_least(self, 1, "dim", "depth", "heads", "patch")

    @property
    def overrides(self) -> dict[str, Any]:
        own = ("size", "arrangement")
        return {k: v for k, v in vars(self).items() if k not in own and v is not None}


@dataclass(frozen=True)
class FlowConfig:
    """What is learned, and at which times."""

    kind: Literal["musit", "mudit"] = "musit"  # an interpolant path, or DDPM
    path: Literal["bezier", "linear", "gvp"] = "bezier"
    t_tilde: float = 2 / 3  # of the Bézier path, which the paper doesn't publish; c = cos(π t̃ / 2)
    time_mean: float = 0.4  # of the logit of t; above 0 prefers strong noise, where structure is decided
    time_std: float = 1.0
    uniform: float = 0.2  # share of times drawn evenly from 0 … 1 instead
    # Share of times drawn evenly from 0.9 … 1. Averaged over a window even much noise betrays genre and
    # voice: only here the description is needed, and here sampling decides what the song sounds like.
    near_noise: float = 0.25

    def __post_init__(self) -> None:
        shares = self.uniform, self.near_noise
        if self.time_std <= 0 or min(shares) < 0 or sum(shares) > 1:
            raise ConfigError(
                "times need time_std > 0, and shares uniform and near_noise that are at most 1 together, "
                f"but got {self.time_std}, {self.uniform} and {self.near_noise}"
            )


@dataclass(frozen=True)
class TrainConfig:
    """One run of `python -m dit.train`."""

    data: str  # folder of dit.prepare
    out: str  # run folder
    valid: str | None = None  # folder of dit.prepare with songs that training doesn't see
    init: str | None = None  # folder of trained weights to begin from, of the same shape as `model`
    only: tuple[str, ...] = ()  # parts of the model that are trained, such as voice; the rest stays as it is
    model: ModelConfig = field(default_factory=ModelConfig)
    flow: FlowConfig = field(default_factory=FlowConfig)
    dropout: Dropout = field(default_factory=Dropout)
    # Weights, beside all errors, of errors along the directions that tell sung phones apart, and of a
    # consonant's frames beside those of a vowel; and along those that tell who has the tune, a singer or
    # which lead (`dit.discriminants`), and of a lead's frames beside those of a singer.
    phones: float = 0.0
    consonants: float = 3.0
    tune: float = 0.0
    leads: float = 3.0
    window: float = 24.0  # seconds of a song seen at once
    batch_size: int = 8  # songs a process
    accumulate: int = 1  # batches a step
    lr: float = 4e-4
    warmup: int = 100  # steps
    final_lr: float = 0.05  # share of lr at the end of the run
    weight_decay: float = 0.01
    clip: float = 1.0  # largest norm of the gradient
    ema: float = 0.998
    # "auto" times a product in both: bfloat16 is 3 times faster with AVX512-BF16 and 8 times slower without.
    precision: Literal["auto", "no", "bf16"] = "auto"
    seed: int = 1
    max_minutes: float | None = None
    max_steps: int | None = None
    log_every: int = 20  # steps
    save_minutes: float = 5.0  # between checkpoints and exports
    valid_minutes: float = 5.0  # between measurements on held-out songs
    valid_songs: int = 24
    listen_minutes: float = 20.0  # between samples to hear
    vae: str | None = None  # folder of the codec, only to make samples to hear

    def __post_init__(self) -> None:
        check_training(self, ema="ema", warmup="warmup", every="log_every")
        check_least(self, 0, "final_lr", "valid_minutes", "listen_minutes")
        check_least(self, 1, "batch_size")
        if self.max_minutes is None and self.max_steps is None:
            raise ConfigError("a run needs an end: set max_minutes or max_steps")
        if min(self.phones, self.tune) < 0 or min(self.consonants, self.leads) <= 0:
            raise ConfigError(
                "weights are phones ≥ 0, tune ≥ 0, consonants > 0 and leads > 0, "
                f"but got {self.phones}, {self.tune}, {self.consonants} and {self.leads}"
            )
        if self.window <= 0 or self.accumulate < 1:
            raise ConfigError(f"got a window of {self.window} s and {self.accumulate} batches a step")
