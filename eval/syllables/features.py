"""What the recogniser hears: log-mel power of the mean of the channels at 16 kHz, 100 frames a second."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from common.audio import Audio, resample, to_channels

RATE = 16000  # Hz
HOP = 160  # samples; frame k is centred on k · HOP
BANDS = 80
_N_FFT, _WINDOW = 1024, 640
_LOW, _HIGH = 60.0, 7800.0  # Hz
_FLOOR = 1e-6  # power: −60 dB, below which all is silence
_MIDDLE, _SPREAD = -6.0, 3.0  # of log power in songs, about
PER_DB = float(np.log(10) / 10 / _SPREAD)  # standardised units of a decibel
SILENCE = float((np.log(_FLOOR) - _MIDDLE) / _SPREAD)
CONVENTION = f"{RATE} {HOP} {BANDS} {_N_FFT} {_WINDOW} {_LOW} {_HIGH} {_FLOOR} {_MIDDLE} {_SPREAD}"


def mono(audio: Audio) -> np.ndarray:
    """Samples (time,) at 16 kHz."""
    single = to_channels(audio, 1)
    return (single if single.sample_rate == RATE else resample(single, RATE)).samples[0]


@lru_cache(maxsize=1)
def _filters() -> Tensor:
    """Triangles of unit height on the HTK mel scale, (bands, n_fft / 2 + 1)."""
    first, last = (2595 * np.log10(1 + hz / 700) for hz in (_LOW, _HIGH))
    edges = 700 * (10 ** (np.linspace(first, last, BANDS + 2) / 2595) - 1)
    hz = np.linspace(0, RATE / 2, _N_FFT // 2 + 1)
    rising = (hz - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - hz) / (edges[2:] - edges[1:-1])[:, None]
    return torch.from_numpy(np.maximum(0, np.minimum(rising, falling))).float()


def log_mel(samples: np.ndarray) -> Tensor:
    """Standardised log power (BANDS, 1 + time // HOP) of mono samples at 16 kHz; 0 and 1 in songs, about."""
    wave = torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))
    spectrum = torch.stft(
        wave, _N_FFT, HOP, _WINDOW, torch.hann_window(_WINDOW), pad_mode="constant", return_complex=True
    )
    power = _filters() @ (spectrum.abs().square() / _WINDOW)
    return (torch.log(power + _FLOOR) - _MIDDLE) / _SPREAD
