"""What a training step minimises: waveforms in, named losses out.

An objective is a module around its codec, so that data-parallel wrappers see one forward call.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vae.analysis import SHORT
from vae.config import EarWeights, SpectralWeights
from vae.losses import KWeighting, correlation, four_channels, log_magnitude, phase_derivatives, spectrum
from vae.model import EarVAE
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


class EarObjective(nn.Module):
    """The generator's side of the ear-VAE: reconstruction of the K-weighted waveform, and KL.

    Args:
        windows: n_fft of the STFTs; the losses are means over them.
    """

    def __init__(self, codec: EarVAE, weights: EarWeights, windows: tuple[int, ...]) -> None:
        super().__init__()
        self.codec, self.weights, self.windows = codec, weights, windows
        self.ear = KWeighting(codec.sample_rate)

    def forward(
        self, wav: Float[Tensor, "batch 2 time"], generator: torch.Generator | None
    ) -> dict[str, Tensor]:
        """The losses named in `EarWeights` that have a weight, and their weighted `total`."""
        posterior = self.codec.encode(wav)
        made = self.codec.decode(posterior.sample(generator), wav.shape[-1])
        with torch.autocast(wav.device.type, enabled=False):
            losses = self.compare(made.float(), wav) | {"kl": posterior.kl()}
        weights = vars(self.weights)
        return losses | {"total": sum((weights[k] * v for k, v in losses.items()), torch.zeros(()).to(wav))}

    def compare(
        self, made: Float[Tensor, "batch 2 time"], wav: Float[Tensor, "batch 2 time"]
    ) -> dict[str, Tensor]:
        """Magnitudes of mid, side, left and right; phases of left and right alone."""
        pair = [four_channels(self.ear(x)) for x in (made, wav)]
        rows = [self._at(*(spectrum(x, n_fft) for x in pair)) for n_fft in self.windows]
        return {name: torch.stack([row[name] for row in rows]).mean() for name in rows[0]}

    def _at(self, made: Tensor, target: Tensor) -> dict[str, Tensor]:
        losses = {"magnitude": log_magnitude(made, target)}
        made, target, w = made[:, 2:], target[:, 2:], self.weights
        if w.correlation:
            losses["correlation"] = correlation(made, target)
        if w.frequency or w.delay:
            losses["frequency"], losses["delay"] = phase_derivatives(made, target)
        return losses


Objective = SpectralObjective | EarObjective
