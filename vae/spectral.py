"""The demo codec: stereo waveforms ↔ smooth latents at 43 Hz, small enough to train in minutes.

A latent that carries phase is white over time, and a small song model learns nothing from it. So
this codec is deaf to phase: its latents are weighted principal components of log band levels
(`vae.analysis`), found in closed form by `calibrate` before training; a ConvNeXt decoder, the only
trained part, predicts the log magnitudes of the left and right STFT; phases are made at the end by
peak picking and fast Griffin–Lim (`vae.phase`), shared by both channels.

- Principal axes are divided by the root of their deviation, not the deviation itself: faint
  dimensions stay faint (they matter less to the ear), loud ones don't drown the rest.
- The posterior's std is one constant: it is the noise that the decoder learns to live with, so that
  it accepts the slightly wrong latents of a song model.
- What is lost: the waveform's phase, so SI-SDR is meaningless here, and width beyond panning.

Sources: Liu et al. 2022 "A ConvNet for the 2020s" and Siuzdak 2024 "Vocos" (the block).
"""

from collections.abc import Iterator

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vae.analysis import LONG, SHORT, SUBFRAMES, Analysis
from vae.phase import frame_transform, griffin_lim, overlap_add, to_phase, turns
from vae.posterior import Posterior, check_stereo

BINS = SHORT // 2 + 1
_CHUNK = 512  # latents decoded at once


class Block(nn.Module):
    """ConvNeXt in one dimension: time by a depthwise convolution, channels by a two-layer MLP."""

    def __init__(self, width: int, expansion: int, kernel: int = 7) -> None:
        super().__init__()
        self.time = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, expansion * width)
        self.down = nn.Linear(expansion * width, width)
        self.scale = nn.Parameter(torch.full((width,), 0.1))

    def forward(self, x: Float[Tensor, "batch width frames"]) -> Float[Tensor, "batch width frames"]:
        y = self.norm(self.time(x).transpose(1, 2))
        return x + (self.scale * self.down(F.gelu(self.up(y)))).transpose(1, 2)


class MagnitudeDecoder(nn.Module):
    """Latents → log magnitudes of left and right: a linear map plus a correction by ConvNeXt blocks.

    The output holds, for both sub-frames, the mean of the channels and half their difference.
    """

    def __init__(self, latent_dim: int, width: int, depth: int, expansion: int) -> None:
        super().__init__()
        out = SUBFRAMES * 2 * BINS
        self.margin = 1 + 3 * depth  # latents on each side that a frame depends on
        self.straight = nn.Linear(latent_dim, out)
        self.enter = nn.Conv1d(latent_dim, width, 3, padding=1)
        self.blocks = nn.Sequential(*[Block(width, expansion) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, out)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(
        self, latents: Float[Tensor, "batch latent_dim frames"]
    ) -> Float[Tensor, "batch 2 subframes bins"]:
        y = self.norm(self.blocks(self.enter(latents)).transpose(1, 2))
        out = self.straight(latents.transpose(1, 2)) + self.leave(y)
        mean, half = out.float().unflatten(2, (SUBFRAMES, 2, BINS)).flatten(1, 2).unbind(2)
        return torch.stack([mean + half, mean - half], dim=1)


class SpectralVAE(ModelMixin, ConfigMixin):
    """Waveform (B, 2, T) ↔ latents (B, latent_dim, frames), frames = ceil(T / hop_length).

    Args:
        sample_rate: Hz.
        latent_dim: at most the number of features (171 by default).
        n_mels, n_width: bands for onsets and for the stereo image.
        width, depth, expansion: of the decoder.
        floor: magnitude added before every logarithm (a full-scale sine has 512).
        posterior_std: noise on the latents in training, in units of their overall deviation.
        iterations: of fast Griffin–Lim.
    """

    @register_to_config
    def __init__(
        self,
        sample_rate: int = 44100,
        latent_dim: int = 96,
        n_mels: int = 40,
        n_width: int = 8,
        width: int = 384,
        depth: int = 5,
        expansion: int = 3,
        floor: float = 0.03,
        posterior_std: float = 0.1,
        iterations: int = 16,
    ) -> None:
        super().__init__()
        self.sample_rate, self.latent_dim = sample_rate, latent_dim
        self.hop_length = SHORT // 2
        self.floor, self.posterior_std, self.iterations = floor, posterior_std, iterations
        self.analysis = Analysis(sample_rate, self.hop_length, n_mels, n_width, floor)
        self.encoder = nn.Linear(self.analysis.size, latent_dim).requires_grad_(False)
        self.decoder = MagnitudeDecoder(latent_dim, width, depth, expansion)

    @property
    def frame_rate(self) -> float:
        """Latents a second."""
        return self.sample_rate / self.hop_length

    def frames(self, length: int) -> int:
        """Latents of a waveform of `length` samples."""
        return -(-length // self.hop_length)

    @property
    def encode_context(self) -> int:
        """Latents on each side of a tile that its encoding depends on: half of the longest window."""
        return -(-(LONG - self.hop_length) // (2 * self.hop_length))

    # ---- encoding ------------------------------------------------------------------------

    def encode(self, wav: Float[Tensor, "batch 2 time"]) -> Posterior:
        """Compress a waveform; what follows its end counts as silence.

        Raises:
            AudioError: the waveform isn't stereo, is empty or isn't finite.
        """
        check_stereo(wav)
        with torch.autocast(wav.device.type, enabled=False):
            features = self.analysis(self._padded(wav)).transpose(1, 2)
            mean = F.linear(features, self.encoder.weight.float(), self.encoder.bias.float()).transpose(1, 2)
        return Posterior(mean, torch.full_like(mean, self.posterior_std))

    def magnitudes(self, wav: Float[Tensor, "batch 2 time"]) -> Float[Tensor, "batch 2 subframes bins"]:
        """What the decoder is to predict: ln(|STFT| + floor) of left and right."""
        window, hop = self.analysis.short_window, self.hop_length // SUBFRAMES
        return (frame_transform(self._padded(wav).float(), window, hop).abs() + self.floor).log()

    def _padded(self, wav: Tensor) -> Tensor:
        return F.pad(wav, (0, -wav.shape[-1] % self.hop_length))

    # ---- decoding ------------------------------------------------------------------------

    @torch.no_grad()
    def decode(
        self,
        latents: Float[Tensor, "batch latent_dim frames"],
        length: int | None = None,
        score: object = None,
    ) -> Float[Tensor, "batch 2 length"]:
        """Waveforms of `length` samples (all frames when None); the same latents give the same samples.

        Args:
            score: accepted for the sake of codecs that need one; this one doesn't.
        """
        wav = torch.cat(list(self.decode_tiles(latents)), dim=2)
        return wav[..., :length] if length is not None else wav

    @torch.no_grad()
    def decode_tiles(
        self, latents: Float[Tensor, "batch latent_dim frames"], tile: int | None = None
    ) -> Iterator[Float[Tensor, "batch 2 time"]]:
        """The waveform of `decode` in pieces of `tile` latents, in memory that doesn't grow.

        A tile reaches as far into its neighbours as the iterations can carry anything, and goes on
        from the phases of the one before. Cuts elsewhere change the last bits, which the iterations
        on near-silent bins amplify: `decode` always cuts at the same places.
        """
        latents = latents.to(self.encoder.weight.dtype)
        songs = [self._tiles(song, tile or _CHUNK) for song in latents]
        for pieces in zip(*songs):
            yield torch.stack(pieces)

    def _tiles(
        self, latents: Float[Tensor, "latent_dim frames"], tile: int
    ) -> Iterator[Float[Tensor, "2 time"]]:
        """Both channels with the phases of their mean."""
        window, hop = self.analysis.short_window, self.hop_length // SUBFRAMES
        reach = -(-(SHORT // hop - 1) * (self.iterations + 2) // SUBFRAMES)
        before = torch.zeros(BINS, dtype=torch.float64, device=latents.device)
        for start in range(0, latents.shape[1], tile):
            stop = min(latents.shape[1], start + tile)
            first, last = max(0, start - reach), min(latents.shape[1], stop + reach)
            sizes = self._sizes(latents, first, last)
            mid = sizes.mean(dim=0)
            made = turns(mid, SHORT, hop, before)
            # The next tile goes on from where this one's turns stand when its own begin.
            done = (max(0, stop - reach) - first) * SUBFRAMES
            before = made[done - 1] if done else before
            phasors = griffin_lim(mid, to_phase(made), window, hop, self.iterations)
            wav = overlap_add(sizes * phasors, window, hop)
            yield wav[:, (start - first) * self.hop_length : (stop - first) * self.hop_length]

    def _sizes(self, latents: Tensor, first: int, last: int) -> Float[Tensor, "2 subframes bins"]:
        """Magnitudes of the frames `first` to `last`, decoded with what the convolutions see around them."""
        margin = self.decoder.margin
        low, high = max(0, first - margin), min(latents.shape[1], last + margin)
        logs = self.decoder(latents[None, :, low:high])[0]
        logs = logs[:, (first - low) * SUBFRAMES : (last - low) * SUBFRAMES]
        return (logs.exp() - self.floor).clamp(min=0)

    # ---- the closed form -----------------------------------------------------------------

    @torch.no_grad()
    def calibrate(self, crops: list[Float[Tensor, "2 time"]]) -> dict[str, float]:
        """Set the encoder, and the decoder's linear part, from some minutes of music.

        The encoder becomes weighted principal components with unit variance over all dimensions
        together; the linear part their ridge regression on the magnitudes. Returns what was found:
        share of the features' variance kept, and of the magnitudes' variance explained.
        """
        features = torch.cat([self.analysis(self._padded(c[None]))[0].T.double() for c in crops])
        centre = features.mean(dim=0)
        _, deviation, axes = _principal(features - centre, self.latent_dim)
        kept = float(deviation.square().sum() / (features - centre).square().sum() * len(features))
        scale = deviation.rsqrt() / deviation.mean().sqrt()
        weight = (axes * scale).T
        # Rounded to what the file will hold, so latents made now and after loading are the same.
        weight, bias = _rounded(weight), _rounded(-(weight @ centre))
        self.encoder.weight.copy_(weight)
        self.encoder.bias.copy_(bias)
        explained = self._fit_linear(crops)
        return {"features_kept": kept, "magnitudes_explained": explained}

    def _fit_linear(self, crops: list[Tensor]) -> float:
        """Ridge regression of the decoder's outputs on the latents, by normal equations."""
        size = self.latent_dim + 1
        gram = torch.zeros(size, size, dtype=torch.float64)
        cross = torch.zeros(size, SUBFRAMES * 2 * BINS, dtype=torch.float64)
        square = torch.zeros(SUBFRAMES * 2 * BINS, dtype=torch.float64)
        for crop in crops:
            latents = self.encode(crop[None]).mode()[0].T.double()
            inputs = F.pad(latents, (0, 1), value=1.0)
            targets = self._targets(crop).double()
            gram += inputs.T @ inputs
            cross += inputs.T @ targets
            square += targets.square().sum(dim=0)
        solution = torch.linalg.solve(gram + torch.eye(size, dtype=torch.float64), cross)
        self.decoder.straight.weight.copy_(solution[:-1].T)
        self.decoder.straight.bias.copy_(solution[-1])
        total = square - cross[-1].square() / gram[-1, -1]
        left = square - (solution * cross).sum(dim=0)
        return 1 - float(left.sum() / total.sum())

    def _targets(self, crop: Tensor) -> Float[Tensor, "frames outputs"]:
        left, right = self.magnitudes(crop[None])[0].unflatten(1, (-1, SUBFRAMES))
        return torch.stack([(left + right) / 2, (left - right) / 2], dim=2).flatten(1)


def _principal(centred: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """(all variances, deviations of the first `count` axes, the axes as columns), signs fixed."""
    variances, axes = torch.linalg.eigh(centred.T @ centred / len(centred))
    variances, axes = variances.flip(0), axes.flip(1)[:, :count]
    axes = axes * axes.gather(0, axes.abs().argmax(dim=0, keepdim=True)).sign()
    return variances, variances[:count].clamp(min=1e-12).sqrt(), axes


def _rounded(values: Tensor) -> Tensor:
    return values.to(torch.bfloat16).float()
