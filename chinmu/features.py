"""What the audio tower hears: log-mel bands, and chroma, on one grid of frames.

Frame k is centred on sample k · hop_length, so audio of n samples has 1 + n // hop_length
frames. The features are computed on the mean of the channels, block by block, and are a fixed
function without weights: training caches them, and a model folder doesn't hold them.
"""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from chinmu.config import AudioConfig

_BLOCK = 1024  # frames transformed at once: bounds the memory of a long song
_CHROMA_STRIDE = 4  # harmony moves slowly: chroma is computed for every fourth frame
_TINY = 1e-10


def features(wav: Tensor, config: AudioConfig) -> Tensor:
    """Log-mel bands in standardised decibels, then chroma, of waveforms at `config.sample_rate`.

    Args:
        wav: (N, T) or (N, channels, T).
    Returns:
        (N, n_mels + n_chroma, 1 + T // hop_length), float32.
    """
    mono = (wav.mean(1) if wav.ndim == 3 else wav).float()
    power = _filtered(mono, config.n_fft, config.hop_length, _mel_filters(config), config.edges)
    decibels = 10 * torch.log10(power.clamp_min(_TINY))
    bands = (decibels - config.mean_db) / config.std_db
    if not config.n_chroma:
        return bands
    stride = _CHROMA_STRIDE
    sparse = _filtered(
        mono, config.chroma_n_fft, config.hop_length * stride, _chroma_filters(config), "zeros"
    )
    chroma = (sparse / sparse.sum(1, keepdim=True).clamp_min(_TINY)).repeat_interleave(stride, dim=-1)
    return torch.cat([bands, chroma[..., : bands.shape[-1]]], dim=1)


def _filtered(mono: Tensor, n_fft: int, hop: int, filters: np.ndarray, edges: str) -> Tensor:
    """Power spectra through a filter bank: (N, T) → (N, bands, 1 + T // hop)."""
    weights = torch.from_numpy(filters).to(mono.device)
    window = torch.hann_window(n_fft, device=mono.device)
    half = n_fft // 2
    if edges == "reflect":
        mono_with_edges = torch.nn.functional.pad(mono, (half, half), mode="reflect")
        padded = torch.nn.functional.pad(mono_with_edges, (0, half))
    else:
        padded = torch.nn.functional.pad(mono, (half, n_fft))
    frames = padded.unfold(-1, n_fft, hop)[:, : 1 + mono.shape[-1] // hop]
    blocks = [
        torch.fft.rfft(frames[:, start : start + _BLOCK] * window).abs().square() @ weights
        for start in range(0, frames.shape[1], _BLOCK)
    ]
    return torch.cat(blocks, dim=1).transpose(1, 2)


def _hz_to_mel(hz: np.ndarray | float, scale: str) -> np.ndarray:
    """Mel of a frequency; htk: 2595 log₁₀(1 + f/700), slaney: linear to 1 kHz, logarithmic above."""
    hz = np.asarray(hz, dtype=np.float64)
    if scale == "htk":
        return 2595 * np.log10(1 + hz / 700)
    above = 15 + np.log(np.maximum(hz, 1000) / 1000) * 27 / np.log(6.4)
    return np.where(hz < 1000, hz * 3 / 200, above)


def _mel_to_hz(mel: np.ndarray, scale: str) -> np.ndarray:
    if scale == "htk":
        return 700 * (10 ** (mel / 2595) - 1)
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))


@lru_cache(maxsize=8)
def _mel_filters_of(rate: int, n_fft: int, n_mels: int, low: float, high: float, scale: str) -> np.ndarray:
    ends = _hz_to_mel(np.array([low, high]), scale)
    edges = _mel_to_hz(np.linspace(ends[0], ends[1], n_mels + 2), scale)
    hz = np.linspace(0, rate / 2, n_fft // 2 + 1)[:, None]
    rising = (hz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hz) / (edges[2:] - edges[1:-1])
    triangles = np.maximum(0, np.minimum(rising, falling))
    if scale == "slaney":  # unit area, as CLAP was trained on
        return (triangles * 2 / (edges[2:] - edges[:-2])).astype(np.float32)
    # Low triangles may fall between two bins: give those their nearest bin, so that no band is empty.
    for band in np.flatnonzero(triangles.sum(0) == 0):
        triangles[np.abs(hz[:, 0] - edges[band + 1]).argmin(), band] = 1.0
    return (triangles / triangles.sum(0)).astype(np.float32)


def _mel_filters(config: AudioConfig) -> np.ndarray:
    c = config
    return _mel_filters_of(c.sample_rate, c.n_fft, c.n_mels, c.f_min, c.f_max, c.mel_scale)


@lru_cache(maxsize=8)
def _chroma_filters_of(rate: int, n_fft: int) -> np.ndarray:
    """Each bin from 60 Hz to 2 kHz counts for its nearest pitch classes; (bins, 12)."""
    hz = np.linspace(0, rate / 2, n_fft // 2 + 1)[1:]
    midi = 69 + 12 * np.log2(hz / 440)
    distance = (midi[:, None] - np.arange(12) + 6) % 12 - 6
    weights = np.maximum(0, 1 - np.abs(distance)) * ((hz > 60) & (hz < 2000))[:, None]
    # High octaves have more bins to a semitone: weigh by 1 / f so that each octave counts alike.
    weights /= hz[:, None]
    return np.concatenate([np.zeros((1, 12)), weights]).astype(np.float32)


def _chroma_filters(config: AudioConfig) -> np.ndarray:
    return _chroma_filters_of(config.sample_rate, config.chroma_n_fft)
