"""What a training step minimises: waveforms in, named losses out.

An objective is a module around its codec, so that data-parallel wrappers see one forward call.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vae.analysis import SHORT
from vae.config import SpectralWeights
from vae.spectral import SpectralVAE


class SpectralObjective(nn.Module):
    """Regression of the decoder on STFT magnitudes; the encoder is fixed."""

    ear: Tensor

    def __init__(self, codec: SpectralVAE, weights: SpectralWeights) -> None:
        super().__init__()
        self.codec, self.weights = codec, weights
        frequencies = torch.arange(SHORT // 2 + 1) * (codec.sample_rate / SHORT)
        density = 1 / (700 + frequencies)  # mels per Hz: a high bin counts less than a low one
        self.register_buffer("ear", density / density.mean(), persistent=False)

    def forward(
        self, wav: Float[Tensor, "batch 2 time"], generator: torch.Generator | None
    ) -> dict[str, Tensor]:
        """Losses `log` (nepers), `linear` (share of the magnitude missed) and their weighted `total`."""
        with torch.no_grad():
            target = self.codec.magnitudes(wav)
            latents = self.codec.encode(wav).sample(generator)
        logs = self.codec.decoder(latents)
        log = (self.ear * (logs - target).abs()).mean()
        missed = (logs.clamp(max=10).exp() - target.exp()).square().sum(dim=(1, 2, 3))
        whole = target.exp().square().sum(dim=(1, 2, 3))
        linear = (missed / whole.clamp(min=1.0)).sqrt().mean()
        total = self.weights.log * log + self.weights.linear * linear
        return {"log": log, "linear": linear, "total": total}
