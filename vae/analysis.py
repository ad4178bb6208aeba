"""What the spectral codec hears: log band levels at a latent's time, deaf to phase.

Three views of a stereo waveform, one row of features per latent frame:

- pitch: bands a semitone apart (A1 … B7) of the mid channel, n_fft 8192;
- onsets: mel bands of the mid channel, n_fft 2048, in every sub-frame of a latent;
- width: in coarse bands, the level of side over mid and of left over right.

Long windows say which note sounds, short ones when it starts; a sum of both needs no phase, so the
features change slowly and a song model can predict them.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vae.phase import frame_transform

LOWEST, HIGHEST = 33, 107  # MIDI numbers of the outer semitone bands: 55 Hz and 3,951 Hz
LONG, SHORT = 8192, 2048  # window lengths
HOP = SHORT // 4  # samples between two STFTs; a latent has several


def mel_edges(bands: int, low: float, high: float) -> list[float]:
    """`bands` + 2 frequencies in Hz, equally spaced on the mel scale of O'Shaughnessy (1987)."""
    first, last = (2595 * math.log10(1 + f / 700) for f in (low, high))
    step = (last - first) / (bands + 1)
    return [700 * (10 ** ((first + step * i) / 2595) - 1) for i in range(bands + 2)]


def semitone_edges(lowest: int, highest: int) -> list[float]:
    """Frequencies in Hz of MIDI notes lowest − 1 … highest + 1."""
    return [440 * 2 ** ((note - 69) / 12) for note in range(lowest - 1, highest + 2)]


def triangles(edges: list[float], n_fft: int, sample_rate: int) -> Float[Tensor, "bands bins"]:
    """Triangular filters of unit sum between every third edge, never narrower than a bin each side."""
    frequencies = torch.arange(n_fft // 2 + 1) * (sample_rate / n_fft)
    bin_width = sample_rate / n_fft
    rows = []
    for low, middle, high in zip(edges, edges[1:], edges[2:]):
        low, high = min(low, middle - bin_width), max(high, middle + bin_width)
        slopes = torch.minimum((frequencies - low) / (middle - low), (high - frequencies) / (high - middle))
        row = slopes.clamp(min=0)
        rows.append(row / row.sum())
    return torch.stack(rows)


class Analysis(nn.Module):
    """Waveform (B, 2, HOP · subframes · frames) → features (B, `size`, frames), logarithms of magnitude."""

    long_window: Tensor
    short_window: Tensor
    semitones: Tensor
    mels: Tensor
    coarse: Tensor
    weight: Tensor

    def __init__(self, sample_rate: int, subframes: int, n_mels: int, n_width: int, floor: float) -> None:
        super().__init__()
        self.subframes, self.floor = subframes, floor
        top = 0.36 * sample_rate
        filters = {
            "long_window": torch.hann_window(LONG),
            "short_window": torch.hann_window(SHORT),
            "semitones": triangles(semitone_edges(LOWEST, HIGHEST), LONG, sample_rate),
            "mels": triangles(mel_edges(n_mels, 40, top), SHORT, sample_rate),
            "coarse": triangles(mel_edges(n_width, 20, 0.9 * top), SHORT, sample_rate),
        }
        n_pitch = HIGHEST - LOWEST + 1
        # Shares of attention: a note's pitch first, then its onset, then the width of the image.
        shares = ((n_pitch, 1.0), (subframes * n_mels, 0.6), (2 * n_width, 0.45))
        filters["weight"] = torch.cat([torch.full((count, 1), share) for count, share in shares])
        for name, value in filters.items():
            self.register_buffer(name, value, persistent=False)
        self.size = n_pitch + subframes * n_mels + 2 * n_width

    def forward(self, wav: Float[Tensor, "batch 2 time"]) -> Float[Tensor, "batch size frames"]:
        left, right = wav.float().unbind(1)
        mid, side = (left + right) / 2, (left - right) / 2
        # A sinusoid's magnitude grows with the window, so levels are brought to the short one's.
        long = frame_transform(mid, self.long_window, HOP * self.subframes).abs() * (SHORT / LONG)
        views = torch.stack([mid, side, left, right], dim=1)
        short = frame_transform(views, self.short_window, HOP).abs()
        pitch = self._levels(long, self.semitones)
        onset = self._levels(short[:, 0], self.mels).unflatten(1, (-1, self.subframes)).flatten(2)
        mid_, side_, left_, right_ = self._levels(
            short.unflatten(2, (-1, self.subframes)).square().mean(3).sqrt(), self.coarse
        ).unbind(1)
        features = torch.cat([pitch, onset, side_ - mid_, left_ - right_], dim=-1)
        return features.transpose(1, 2) * self.weight

    def _apply(self, fn, recurse=True):  # type: ignore[no-untyped-def]
        """Follow the model to another device, but stay in float32: levels span seven decades."""
        return super()._apply(lambda t: t.to(fn(t).device), recurse)

    def _levels(self, magnitude: Tensor, filters: Tensor) -> Tensor:
        return (magnitude.square() @ filters.T + self.floor**2).log() / 2
