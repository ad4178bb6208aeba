"""The Gaussian that an encoder returns: a mean and a standard deviation for every latent."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from common.errors import AudioError

_VARIANCE_FLOOR = 1e-6  # as in the reference, keeps the logarithm finite


@dataclass(frozen=True, eq=False)
class Posterior:
    """q(z|x) with independent dimensions, latents on `(batch, latent_dim, frames)`."""

    mean: Float[Tensor, "batch latent_dim frames"]
    std: Float[Tensor, "batch latent_dim frames"]

    def mode(self) -> Float[Tensor, "batch latent_dim frames"]:
        """The most probable latents: use them to prepare data and to reconstruct."""
        return self.mean

    def sample(self, generator: torch.Generator | None = None) -> Float[Tensor, "batch latent_dim frames"]:
        """mean + std · ε by the reparametrisation trick; ε comes from `generator`, on its own device."""
        device = self.mean.device if generator is None else generator.device
        noise = torch.randn(self.mean.shape, generator=generator, device=device, dtype=torch.float32)
        return self.mean + self.std * noise.to(self.mean)

    def at(self, noise: Float[Tensor, "batch latent_dim frames"]) -> Float[Tensor, "batch latent_dim frames"]:
        """mean + std · noise, for noise that was drawn elsewhere."""
        return self.mean + self.std * noise.to(self.mean)

    def kl(self) -> Float[Tensor, ""]:
        """Σ_c (μ² + σ² − ln σ² − 1), mean over batch and frames, in nats × 2.

        Source: the public code of Wang 2025 (ear-VAE), which leaves out the ½ of the textbook.
        """
        mean, std = self.mean.float(), self.std.float()
        variance = std.square() + _VARIANCE_FLOOR
        return (mean.square() + variance - variance.log() - 1).sum(dim=1).mean()


def check_stereo(wav: Tensor) -> None:
    """Raise AudioError unless `wav` is a float array (batch, 2, time ≥ 1) of finite samples."""
    if not wav.is_floating_point():
        raise AudioError(f"the codec needs floats with full scale 1, but got {wav.dtype}")
    if wav.ndim != 3 or wav.shape[1] != 2 or wav.shape[2] < 1:
        raise AudioError(f"the codec needs waveforms (batch, 2, time ≥ 1), but got {tuple(wav.shape)}")
    if not torch.isfinite(wav).all():
        raise AudioError("the waveform holds NaN or infinite samples: check how it was made")


def check_length(length: int | None, frames: int, hop_length: int) -> None:
    """Raise AudioError when more samples are wanted than the latents have, or a negative number of them."""
    if length is not None and not 0 <= length <= frames * hop_length:
        raise AudioError(
            f"{frames} frames of latents are at most {frames * hop_length} samples, but {length} are wanted"
        )
