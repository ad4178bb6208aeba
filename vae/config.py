"""The settings of a codec's training. YAML files in `vae/configs` hold what differs from these."""

from dataclasses import dataclass, field
from typing import Literal

from common.errors import ConfigError


@dataclass(frozen=True)
class SpectralSize:
    """Arguments of `SpectralVAE`."""

    latent_dim: int = 96
    width: int = 384  # channels of the decoder
    depth: int = 5  # blocks of the decoder
    expansion: int = 3  # of the MLP in a block
    posterior_std: float = 0.1  # noise on the latents in training
    iterations: int = 16  # of fast Griffin–Lim when decoding


@dataclass(frozen=True)
class SpectralWeights:
    """Weights of the losses of `SpectralVAE`, named as in the log."""

    log: float = 1.0  # L1 on log magnitudes, weighted by ear
    linear: float = 0.5  # spectral convergence of the magnitudes


@dataclass(frozen=True)
class EarWeights:
    """Weights of the losses of `EarVAE`, named as in the log; a weight of 0 leaves the loss out.

    The adversary's two (feature maps 20, adversarial 1 in the paper) have their place here.
    """

    magnitude: float = 50.0  # L1 of log magnitudes over M, S, L, R
    correlation: float = 10.0  # 1 − cos of the phase error over L, R
    frequency: float = 10.0  # instantaneous frequency over L, R
    delay: float = 10.0  # group delay over L, R
    kl: float = 1e-6


@dataclass(frozen=True)
class TrainConfig:
    """One run of `python -m vae.train`."""

    manifest: str  # JSONL of songs
    out: str  # run folder
    kind: Literal["spectral", "ear"] = "spectral"
    spectral: SpectralSize = field(default_factory=SpectralSize)
    spectral_weights: SpectralWeights = field(default_factory=SpectralWeights)
    ear: str = "paper"  # a size of `EarVAE.named`
    ear_weights: EarWeights = field(default_factory=EarWeights)
    ear_windows: tuple[int, ...] = (2048, 1024, 512, 256, 128)  # n_fft of the losses' STFTs
    start: str | None = None  # folder of a codec to go on from; None for a fresh one
    split: Literal["train", "valid", "test"] = "train"
    seconds: float = 2.0  # of a crop
    batch_size: int = 8  # crops a process
    calibration: int = 160  # crops for the closed-form encoder
    lr: float = 1e-3
    warmup: int = 50  # steps
    final_lr: float = 0.05  # share of lr at the end of the run
    betas: tuple[float, float] = (0.8, 0.99)  # of AdamW
    weight_decay: float = 0.01
    clip: float = 1.0  # largest norm of the gradient
    ema: float = 0.998
    precision: Literal["no", "bf16"] = "no"  # bf16 is slower on a CPU without AVX512-BF16
    seed: int = 1
    max_minutes: float | None = None
    max_steps: int | None = None
    log_every: int = 20  # steps
    save_minutes: float = 3.0  # between checkpoints and exports

    def __post_init__(self) -> None:
        if self.max_minutes is None and self.max_steps is None:
            raise ConfigError("a run needs an end: set max_minutes or max_steps")
        if self.start is not None and self.kind == "spectral" and self.calibration:
            raise ConfigError("a codec that goes on from `start` keeps its encoder: set calibration to 0")
        if self.seconds <= 0 or self.batch_size < 1:
            raise ConfigError(f"crops need a length: got {self.batch_size} crops of {self.seconds} s")
