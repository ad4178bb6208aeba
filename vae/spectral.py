"""The demo codec: stereo waveforms ↔ smooth latents at 43 Hz, small enough to train in minutes.

A latent that carries phase is white over time, and a small song model learns nothing from it. So
this codec is deaf to phase: its latents are weighted principal components of log band levels
(`vae.analysis`), found in closed form by `calibrate` before training; a ConvNeXt decoder, the only
trained part, predicts the log magnitudes of the left and right STFT; phases are made at the end by
peak picking and fast Griffin–Lim (`vae.phase`), shared by both channels.

- Principal axes are divided by the root of their deviation, not the deviation itself: faint
  dimensions stay faint (they matter less to the ear), loud ones don't drown the rest. Axes that change
  slowly, or that songs' scores explain, can be asked for instead (`calibrate`).
- The posterior's std is one constant: it is the noise that the decoder learns to live with, so that
  it accepts the slightly wrong latents of a song model.
- What is lost: the waveform's phase, so SI-SDR is meaningless here, and width beyond panning.

Sources: Liu et al. 2022 "A ConvNet for the 2020s" and Siuzdak 2024 "Vocos" (the block).
"""

from collections.abc import Iterator, Sequence

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from common.errors import ConfigError
from vae.analysis import HOP, LONG, SHORT, Analysis
from vae.phase import frame_transform, griffin_lim, overlap_add, to_phase, turns
from vae.posterior import Posterior, check_length, check_stereo
from vae.settings import check_number, check_whole

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

    The output holds, for every sub-frame, the mean of the channels and half their difference.
    """

    def __init__(self, latent_dim: int, subframes: int, width: int, depth: int, expansion: int) -> None:
        super().__init__()
        self.subframes, out = subframes, subframes * 2 * BINS
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
        mean, half = out.float().unflatten(2, (self.subframes, 2, BINS)).flatten(1, 2).unbind(2)
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
        subframes: STFTs of a latent, 512 samples apart: 2 make latents at 43 Hz, 4 at 21.5 Hz.
    Raises:
        ConfigError: a setting is of another kind or out of its range, or there are more latents than
            features.
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
        subframes: int = 2,
    ) -> None:
        super().__init__()
        check_whole(1, sample_rate=sample_rate, latent_dim=latent_dim, n_mels=n_mels, n_width=n_width)
        check_whole(1, width=width, expansion=expansion, subframes=subframes)
        check_whole(0, depth=depth, iterations=iterations)
        check_number(zero=False, floor=floor)
        check_number(zero=True, posterior_std=posterior_std)
        if HOP * subframes > LONG:
            raise ConfigError(f"subframes is at most {LONG // HOP}, but got {subframes}")
        self.sample_rate, self.latent_dim, self.subframes = sample_rate, latent_dim, subframes
        self.hop_length = HOP * subframes
        self.floor, self.posterior_std, self.iterations = floor, posterior_std, iterations
        self.analysis = Analysis(sample_rate, subframes, n_mels, n_width, floor)
        if latent_dim > self.analysis.size:
            raise ConfigError(
                f"latent_dim is at most the {self.analysis.size} features, but got {latent_dim}"
            )
        self.encoder = nn.Linear(self.analysis.size, latent_dim).requires_grad_(False)
        self.decoder = MagnitudeDecoder(latent_dim, subframes, width, depth, expansion)

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
        window = self.analysis.short_window
        return (frame_transform(self._padded(wav).float(), window, HOP).abs() + self.floor).log()

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
        Raises:
            AudioError: the latents have fewer samples.
        """
        check_length(length, latents.shape[-1], self.hop_length)
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
        window = self.analysis.short_window
        reach = -(-(SHORT // HOP - 1) * (self.iterations + 2) // self.subframes)
        before = torch.zeros(BINS, dtype=torch.float64, device=latents.device)
        for start in range(0, latents.shape[1], tile):
            stop = min(latents.shape[1], start + tile)
            first, last = max(0, start - reach), min(latents.shape[1], stop + reach)
            sizes = self._sizes(latents, first, last)
            mid = sizes.mean(dim=0)
            made = turns(mid, SHORT, HOP, before)
            # The next tile goes on from where this one's turns stand when its own begin.
            done = (max(0, stop - reach) - first) * self.subframes
            before = made[done - 1] if done else before
            phasors = griffin_lim(mid, to_phase(made), window, HOP, self.iterations)
            wav = overlap_add(sizes * phasors, window, HOP)
            yield wav[:, (start - first) * self.hop_length : (stop - first) * self.hop_length]

    def _sizes(self, latents: Tensor, first: int, last: int) -> Float[Tensor, "2 subframes bins"]:
        """Magnitudes of the frames `first` to `last`, decoded with what the convolutions see around them."""
        margin = self.decoder.margin
        low, high = max(0, first - margin), min(latents.shape[1], last + margin)
        logs = self.decoder(latents[None, :, low:high])[0]
        logs = logs[:, (first - low) * self.subframes : (last - low) * self.subframes]
        return (logs.exp() - self.floor).clamp(min=0)

    # ---- the closed form -----------------------------------------------------------------

    @torch.no_grad()
    def calibrate(
        self,
        crops: list[Float[Tensor, "2 time"]],
        smooth: float = 0.0,
        told: Sequence[Float[Tensor, "frames channels"]] = (),
        distil: float = 0.0,
    ) -> dict[str, float]:
        """Set the encoder, and the decoder's linear part, from some minutes of music.

        The encoder becomes weighted principal components with unit variance over all dimensions
        together; the linear part their ridge regression on the magnitudes. Returns what was found:
        share of the features' variance kept, and of the magnitudes' variance explained.

        Args:
            smooth: how much a change from frame to frame counts against an axis (Wiskott & Sejnowski
                2002, slow features); 0 leaves variance alone to choose.
            told: what the scores say of each crop's frames.
            distil: how much more of an axis's variance counts that `told` explains.
        """
        parts = [self.analysis(self._padded(c[None]))[0].T.double() for c in crops]
        features = torch.cat(parts)
        centre = features.mean(dim=0)
        wanted = _covariance(features - centre)
        if distil:
            known = _explained(features - centre, torch.cat([t.double() for t in told]))
            wanted = wanted + distil * known * (wanted.trace() / known.trace())
        changes = _covariance(torch.cat([part.diff(dim=0) for part in parts])) if smooth else None
        axes, worth = (found[..., : self.latent_dim] for found in _axes(wanted, changes, smooth))
        deviation = ((features - centre) @ axes).square().mean(dim=0).clamp(min=1e-24).sqrt()
        kept = _share_in(features - centre, axes)
        scale = (worth / worth.mean()).sqrt() / deviation
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
        cross = torch.zeros(size, self.subframes * 2 * BINS, dtype=torch.float64)
        square = torch.zeros(self.subframes * 2 * BINS, dtype=torch.float64)
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
        left, right = self.magnitudes(crop[None])[0].unflatten(1, (-1, self.subframes))
        return torch.stack([(left + right) / 2, (left - right) / 2], dim=2).flatten(1)


def _covariance(centred: Tensor) -> Tensor:
    return centred.T @ centred / len(centred)


def _explained(centred: Tensor, told: Tensor) -> Tensor:
    """The part of the features' covariance that a ridge regression on what is told explains."""
    told = F.pad(told, (0, 1), value=1.0)
    gram = told.T @ told + torch.eye(told.shape[1], dtype=told.dtype)
    return _covariance(told @ torch.linalg.solve(gram, told.T @ centred))


def _axes(wanted: Tensor, changes: Tensor | None, smooth: float) -> tuple[Tensor, Tensor]:
    """Unit columns, those first that have most of what is wanted beside how they change, and how much.

    A generalised eigenproblem, wanted · a = λ (1 + smooth · changes) a, with changes of a mean of 1:
    without them the principal axes. An axis's worth is the root of λ, a deviation; signs are fixed.
    """
    metric = torch.eye(len(wanted), dtype=wanted.dtype)
    if changes is not None:
        metric = metric + smooth * changes * (len(changes) / changes.trace())
    root = torch.linalg.cholesky(metric)
    within = torch.linalg.solve_triangular(root, wanted, upper=False)
    within = torch.linalg.solve_triangular(root, within.T, upper=False)
    shares, vectors = torch.linalg.eigh(within)
    axes = torch.linalg.solve_triangular(root.T, vectors.flip(1), upper=True)
    axes = axes / axes.norm(dim=0)
    worth = shares.flip(0).clamp(min=1e-24).sqrt()
    return axes * axes.gather(0, axes.abs().argmax(dim=0, keepdim=True)).sign(), worth


def _share_in(centred: Tensor, axes: Tensor) -> float:
    """Of the features' variance, what lies in the space of the axes."""
    basis = torch.linalg.qr(axes)[0]
    return float((centred @ basis).square().sum() / centred.square().sum())


def _rounded(values: Tensor) -> Tensor:
    return values.to(torch.bfloat16).float()
