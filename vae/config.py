"""The settings of a codec's training. YAML files in `vae/configs` hold what differs from these."""

import math
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal

from common.config import check_least, check_training
from common.errors import ConfigError

_SHORTEST = 4  # samples of a window whose quarter is the hop
_OF_KIND = {  # settings that mean nothing to the other kind of codec
    "spectral": ("spectral", "spectral_weights", "spectral_critic"),
    "ear": (
        "ear", "compile", "ear_transformer", "ear_weights", "ear_windows", "phase_channels", "critic"
    ),
}  # fmt: skip


@dataclass(frozen=True)
class SpectralSize:
    """Arguments of `SpectralVAE`."""

    latent_dim: int = 96
    width: int = 384  # channels of the decoder
    depth: int = 5  # blocks of the decoder
    expansion: int = 3  # of the MLP in a block
    posterior_std: float = 0.1  # noise on the latents in training
    iterations: int = 16  # of fast Griffin–Lim when decoding
    subframes: int = 2  # STFTs of a latent, 512 samples apart

    def __post_init__(self) -> None:
        check_least(self, 1, "latent_dim", "width", "expansion", "subframes")
        check_least(self, 0, "depth", "iterations")
        _check_amounts(self, "posterior_std")


@dataclass(frozen=True)
class SpectralWeights:
    """Weights of the losses of `SpectralVAE`, named as in the log; 0 leaves a loss out."""

    log: float = 1.0  # L1 on log magnitudes of left and right, weighted by ear
    mid_side: float = 0.0  # the same of mid and side
    linear: float = 0.5  # spectral convergence of the magnitudes, after K-weighting
    feature: float = 0.0  # feature maps of the critic
    adversarial: float = 0.0  # least squares

    def __post_init__(self) -> None:
        _check_amounts(self, *vars(self), of="spectral_weights.")


@dataclass(frozen=True)
class EarWeights:
    """λ of the losses of `EarVAE`; a weight of 0 leaves the loss out (Wang et al. 2025, section 4.3)."""

    magnitude: float = 50.0  # L1 of log magnitudes over M, S, L, R
    correlation: float = 10.0  # 1 − cos of the phase error
    phase: float = 10.0  # instantaneous frequency and group delay, logged apart
    feature: float = 20.0  # feature maps of the critic
    adversarial: float = 1.0  # least squares
    kl: float = 1e-6

    def __post_init__(self) -> None:
        _check_amounts(self, *vars(self), of="ear_weights.")


@dataclass(frozen=True)
class CriticSize:
    """Arguments of `Critic`; it is left out when both its weights are 0."""

    windows: tuple[int, ...] = (2048, 1024, 512, 256, 128)  # n_fft
    filters: int = 64
    periods: tuple[int, ...] = ()  # (2, 3, 5, 7, 11) for HiFi-GAN's: an ablation
    period_channels: int = 32

    def __post_init__(self) -> None:
        check_least(self, 1, "filters", "period_channels")
        _check_each("critic.windows", self.windows, _SHORTEST)
        _check_each("critic.periods", self.periods, 1)


@dataclass(frozen=True)
class SpectrogramCriticSize:
    """Arguments of `SpectrogramCritic`, the adversary of `SpectralVAE`."""

    filters: int = 16

    def __post_init__(self) -> None:
        check_least(self, 1, "filters")


@dataclass(frozen=True)
class Phase:
    """A stretch of a training, after the one before it."""

    steps: int
    lr: float = 3e-4
    rise: int = 0  # steps in which the learning rate rises to lr
    halve_at: tuple[int, ...] = ()  # steps of the phase at which the learning rate is halved
    losses: Literal["warmup", "all"] = "all"  # warmup: magnitudes and KL alone, no critic
    songs: str | None = None  # what to train on, as `manifest`; None for `manifest` itself
    filter: Literal[0, 1, 2] | None = None  # as `TrainConfig.filter`; None for that


@dataclass(frozen=True)
class TrainConfig:
    """One run of `python -m vae.train`."""

    manifest: str  # JSONL of songs, a list made by vae.scan, or a folder of sound files
    out: str  # run folder
    kind: Literal["spectral", "ear"] = "spectral"
    spectral: SpectralSize = field(default_factory=SpectralSize)
    spectral_weights: SpectralWeights = field(default_factory=SpectralWeights)
    spectral_critic: SpectrogramCriticSize = field(default_factory=SpectrogramCriticSize)
    ear: str = "paper"  # a size of `EarVAE.named`
    compile: bool = False  # an ear-VAE's layers that torch.compile makes faster; plain where it fails
    ear_transformer: bool = True  # False: without the decoder's transformer, an ablation
    ear_weights: EarWeights = field(default_factory=EarWeights)
    ear_windows: tuple[int, ...] = (2048, 1024, 512, 256, 128)  # n_fft of the losses' STFTs
    weighting: Literal["K", "A", "none"] = "K"  # before the losses; in a spectral codec, `linear`'s
    phase_channels: Literal["LR", "MSLR"] = "LR"  # what the correlation and phase losses compare
    critic: CriticSize = field(default_factory=CriticSize)
    phases: tuple[
        Phase, ...
    ] = ()  # of an ear-VAE; none: one of max_steps or max_minutes with the settings below
    warmup_share: float = 0.0  # of a run without phases: without the critic, an ear-VAE on magnitudes and KL
    start: str | None = None  # folder of a codec to go on from; None for a fresh one
    split: Literal["train", "valid", "test"] = "train"
    filter: Literal[0, 1, 2] = (
        0  # stages of the paper's filter on a folder: 1 rate and loudness, 2 true peak too
    )
    seconds: float = 2.0  # of a crop
    batch_size: int = 8  # crops a process, at once
    accumulation: int = 1  # batches of an update
    readers: int = 0  # threads that read the crops of the next step; 0: read when needed
    calibration: int = 160  # crops for the closed-form encoder
    smooth: float = 0.0  # how much change from latent to latent counts against its axes
    distil: float = 0.0  # how much more of an axis counts that the songs' scores explain
    lr: float = 1e-3
    warmup: int = 50  # steps
    final_lr: float = 0.05  # share of lr at the end of the run
    betas: tuple[float, float] = (0.8, 0.99)  # of AdamW
    weight_decay: float = 0.01
    clip: float = 1.0  # largest norm of the gradient, of the codec and of the critic
    ema: float = 0.998
    precision: Literal["no", "bf16"] = "no"  # bf16 is slower on a CPU without AVX512-BF16
    seed: int = 1
    max_minutes: float | None = None
    max_steps: int | None = None
    log_every: int = 20  # steps
    save_minutes: float = 3.0  # between checkpoints and exports
    excerpts: int = 0  # held-out songs to hear and see
    excerpts_from: str | None = None  # as `manifest`; None: its valid split, or songs kept from the training
    excerpt_seconds: float = 8.0
    excerpt_minutes: float = 30.0  # between them

    def __post_init__(self) -> None:
        check_training(self, ema="ema", warmup="warmup", every="log_every")
        check_least(self, 0, "final_lr", "excerpt_minutes", "readers", "calibration", "excerpts")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"betas are at least 0 and below 1, but got {self.betas}")
        if self.max_minutes is None and self.max_steps is None and not self.phases:
            raise ConfigError("a run needs an end: set max_minutes, max_steps or phases")
        if self.phases and self.kind != "ear":
            raise ConfigError("phases belong to an ear-VAE: set kind to ear, or leave them out")
        if any(phase.steps < 1 for phase in self.phases):
            raise ConfigError("every phase needs at least one step")
        for phase in self.phases:
            check_least(phase, 0, "lr")
        if self.start is not None and self.kind == "spectral" and self.calibration:
            raise ConfigError("a codec that goes on from `start` keeps its encoder: set calibration to 0")
        _check_amounts(self, "smooth", "distil", "seconds", "excerpt_seconds")
        if (self.smooth or self.distil) and (self.kind != "spectral" or not self.calibration):
            raise ConfigError("smooth and distil choose the axes of a spectral codec, in its calibration")
        if self.start is None and self.kind == "spectral" and not self.calibration:
            raise ConfigError(
                "a fresh spectral codec finds its encoder in a calibration, but calibration is 0: give it "
                "crops, or a codec to go on from as `start`"
            )
        if self.seconds <= 0 or self.batch_size < 1 or self.accumulation < 1:
            raise ConfigError(
                f"crops need a length: got {self.accumulation} × {self.batch_size} crops of {self.seconds} s"
            )
        if self.excerpts and not self.excerpt_seconds:
            raise ConfigError("excerpts need a length: set excerpt_seconds above 0, or excerpts to 0")
        if not self.ear_windows:
            raise ConfigError("the losses need a window: give ear_windows at least one")
        _check_each("ear_windows", self.ear_windows, _SHORTEST)
        _check_kind(self)


def default_of(config: object, name: str) -> Any:
    """What a setting is where nobody sets it."""
    (setting,) = (s for s in fields(config) if s.name == name)  # type: ignore[arg-type]
    return setting.default if setting.default_factory is MISSING else setting.default_factory()


def _check_kind(config: TrainConfig) -> None:
    """Refuse settings of the kind of codec that isn't trained: they would change nothing.

    A weight that the trained codec's loss of the same name has too is no contradiction: an ablation may
    leave the critic out of both kinds.
    """
    other = "ear" if config.kind == "spectral" else "spectral"
    shared = {f"{other}_weights.{k}": v for k, v in vars(getattr(config, f"{config.kind}_weights")).items()}
    for name in _OF_KIND[other]:
        given, usual = getattr(config, name), default_of(config, name)
        rows = [(name, given, usual)]
        if hasattr(given, "__dataclass_fields__"):
            rows = [(f"{name}.{k}", v, getattr(usual, k)) for k, v in vars(given).items()]
        for path, value, default in rows:
            if value != default and (path not in shared or shared[path] != value):
                raise ConfigError(
                    f"{path} is {value}, but changes nothing where kind is {config.kind}: leave it out, "
                    f"or set kind to {other}"
                )


def _check_amounts(config: object, *names: str, of: str = "") -> None:
    """Refuse what isn't finite or is below 0; `of` begins the setting's whole name."""
    for name in names:
        value = getattr(config, name)
        if not 0 <= value < math.inf:
            raise ConfigError(f"{of}{name} is finite and at least 0, but got {value}")


def _check_each(name: str, values: Sequence[int], least: int) -> None:
    """Refuse a list of numbers with one below a least value."""
    if values and min(values) < least:
        raise ConfigError(f"{name} are at least {least} each, but got {min(values)}")
