"""What a training step minimises: waveforms in, named losses out.

An objective is a module around its codec, so that data-parallel wrappers see one forward call.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vae.analysis import SHORT
from vae.config import EarWeights, SpectralWeights
from vae.losses import (
    Curve,
    Weighting,
    correlation,
    four_channels,
    log_magnitude,
    phase_derivatives,
    spectrum,
)
from vae.model import EarVAE
from vae.spectral import SpectralVAE


class Outcome(NamedTuple):
    """Losses by name with their weighted `total`, and what a critic is to tell apart."""

    losses: dict[str, Tensor]
    original: Tensor  # waveforms, or log magnitudes
    copy: Tensor


class SpectralObjective(nn.Module):
    """Regression of the decoder on STFT magnitudes of L, R, M and S; the encoder is fixed.

    Left and right share their phases when decoded, so the copy's mid and side are half the sum and half the
    difference of their magnitudes. Of the paper's objective only the phase losses have no place here.
    """

    ear: Tensor
    gain: Tensor

    def __init__(self, codec: SpectralVAE, weights: SpectralWeights, curve: Curve = "K") -> None:
        super().__init__()
        self.codec, self.weights = codec, weights
        self.register_buffer("gain", Weighting(codec.sample_rate, curve).gain(SHORT), persistent=False)
        frequencies = torch.arange(SHORT // 2 + 1) * (codec.sample_rate / SHORT)
        density = 1 / (700 + frequencies)  # mels per Hz: a high bin counts less than a low one
        self.register_buffer("ear", density / density.mean(), persistent=False)

    def forward(
        self,
        wav: Float[Tensor, "batch 2 time"],
        noise: Float[Tensor, "batch latent_dim frames"],
        whole: bool = True,
    ) -> Outcome:
        """Losses `log` and `mid_side` (nepers), `linear` (share of the magnitude missed), weighted `total`.

        Args:
            whole: of no meaning here: a warm-up leaves out the critic alone.
        """
        with torch.no_grad():
            target = self.codec.magnitudes(wav)
            latents = self.codec.encode(wav).at(noise)
        logs = self.codec.decoder(latents)
        losses = {"log": (self.ear * (logs - target).abs()).mean()}
        sizes, wanted = logs.clamp(max=10).exp(), target.exp()
        missed = (self.gain * (sizes - wanted)).square().sum(dim=(1, 2, 3))
        power = (self.gain * wanted).square().sum(dim=(1, 2, 3))
        losses["linear"] = (missed / power.clamp(min=1.0)).sqrt().mean()
        if self.weights.mid_side:
            losses["mid_side"] = self._mid_side(sizes, wav)
        w = self.weights
        weights = {"log": w.log, "linear": w.linear, "mid_side": w.mid_side}
        total = sum((weights[k] * v for k, v in losses.items()), torch.zeros((), device=wav.device))
        return Outcome(losses | {"total": total}, target, logs)

    def _mid_side(self, sizes: Tensor, wav: Tensor) -> Tensor:
        """L1 of log magnitudes of mid and side."""
        left, right = (sizes - self.codec.floor).clamp(min=0).unbind(1)
        made = torch.stack([left + right, (left - right).abs()], dim=1) / 2 + self.codec.floor
        with torch.no_grad():
            target = self.codec.magnitudes(four_channels(wav)[:, :2])
        return (self.ear * (made.log() - target).abs()).mean()


class EarObjective(nn.Module):
    """The generator's side of the ear-VAE: reconstruction of the weighted waveform, and KL.

    L_G = λ_stft-mag L_stft-mag + λ_corr L_corr + λ_phase L_phase + λ_KL L_KL (equation 3); the critic's
    two terms are added by the training step.

    Args:
        windows: n_fft of the STFTs; the losses are means over them.
        curve: filter of both waveforms before the losses.
        mid_side_phase: compare phases of mid and side too (an ablation; the paper: left and right alone).
    """

    def __init__(
        self,
        codec: EarVAE,
        weights: EarWeights,
        windows: tuple[int, ...],
        curve: Curve = "K",
        mid_side_phase: bool = False,
    ) -> None:
        super().__init__()
        self.codec, self.weights, self.windows = codec, weights, windows
        self.ear = Weighting(codec.sample_rate, curve)
        self.first = 0 if mid_side_phase else 2  # of the channels M, S, L, R in the phase losses

    def forward(
        self,
        wav: Float[Tensor, "batch 2 time"],
        noise: Float[Tensor, "batch latent_dim frames"],
        whole: bool = True,
    ) -> Outcome:
        """The losses that have a weight, and their weighted `total`.

        Args:
            whole: False for the warm-up, on magnitudes and KL alone.
        """
        posterior = self.codec.encode(wav)
        copy = self.codec.decode(posterior.at(noise), wav.shape[-1]).float()
        with torch.autocast(wav.device.type, enabled=False):
            losses = self.compare(copy, wav, whole) | {"kl": posterior.kl()}
        w = self.weights
        weights = {"magnitude": w.magnitude, "correlation": w.correlation, "kl": w.kl}
        weights |= {"frequency": w.phase, "delay": w.phase}
        total = sum((weights[k] * v for k, v in losses.items()), torch.zeros((), device=wav.device))
        return Outcome(losses | {"total": total}, wav, copy)

    def compare(
        self, copy: Float[Tensor, "batch 2 time"], wav: Float[Tensor, "batch 2 time"], whole: bool = True
    ) -> dict[str, Tensor]:
        """Magnitudes of mid, side, left and right; phases of left and right alone."""
        pair = [four_channels(self.ear(x)) for x in (copy, wav)]
        rows = [self._at(spectrum(pair[0], n_fft), spectrum(pair[1], n_fft), whole) for n_fft in self.windows]
        return {name: torch.stack([row[name] for row in rows]).mean() for name in rows[0]}

    def _at(self, made: Tensor, target: Tensor, whole: bool) -> dict[str, Tensor]:
        losses = {"magnitude": log_magnitude(made, target)}
        made, target = made[:, self.first :], target[:, self.first :]
        if whole and self.weights.correlation:
            losses["correlation"] = correlation(made, target)
        if whole and self.weights.phase:
            losses["frequency"], losses["delay"] = phase_derivatives(made, target)
        return losses


Objective = SpectralObjective | EarObjective
