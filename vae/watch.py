"""What a training sounds and looks like: fixed held-out excerpts, their spectrograms, the losses' curves.

In the run folder: `excerpts/<n>-original.flac`, `excerpts/<n>-<step>.flac`, a picture of both beside it,
and `curves.png` where matplotlib is installed.
"""

import json
import logging
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from common.audio import Audio, write_audio
from common.loudness import limit
from vae.data import SongFile, read_crop
from vae.load import Codec
from vae.losses import spectrum

logger = logging.getLogger(__name__)

_N_FFT, _RANGE = 2048, 90.0  # points, dB shown


def excerpts(
    songs: Sequence[SongFile], count: int, seconds: float, sample_rate: int
) -> list[Float[Tensor, "2 time"]]:
    """The middles of the first `count` songs."""
    length = int(seconds * sample_rate)
    starts = [max(0.0, (song.duration - seconds) / 2) for song in songs[:count]]
    return [
        torch.from_numpy(read_crop(s, start, length, sample_rate)) for s, start in zip(songs[:count], starts)
    ]


@torch.inference_mode()
def show(codec: Codec, originals: Sequence[Float[Tensor, "2 time"]], folder: Path, step: int) -> None:
    """Write the copy of every excerpt, and a picture of it below its original."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, wav in enumerate(originals):
        sound = wav[None].to(codec.device, codec.dtype)
        copy = codec.decode(codec.encode(sound).mode(), wav.shape[1])[0].float().cpu()
        first = folder / f"{number}-original.flac"
        if not first.exists():
            _write(first, wav, codec.sample_rate)
        _write(folder / f"{number}-{step:07d}.flac", copy, codec.sample_rate)
        Image.fromarray(picture([wav, copy])).save(folder / f"{number}-{step:07d}.png")


def _write(path: Path, wav: Tensor, sample_rate: int) -> None:
    write_audio(path, limit(Audio(torch.nan_to_num(wav).numpy(), sample_rate)))


def picture(wavs: Sequence[Float[Tensor, "2 time"]], height: int = 384, width: int = 900) -> np.ndarray:
    """Spectrograms of the mid channel one below the other, grey levels (rows, width), 0 Hz at the bottom.

    The frequency axis is linear to a third of its height (2 kHz at 44.1 kHz) and squeezed above it.
    """
    rows = []
    for wav in wavs:
        sizes = spectrum(torch.nan_to_num(wav).mean(dim=0)[None, None], _N_FFT).abs()[0, 0]
        decibels = 20 * sizes.clamp(min=1e-9).log10()
        bins = torch.linspace(0, 1, height).square() * (len(sizes) - 1)
        frames = torch.linspace(0, sizes.shape[1] - 1, width)
        shown = decibels[bins.round().long()][:, frames.round().long()].flip(0)
        rows.append(((shown / _RANGE + 1).clamp(0, 1) * 255).byte().numpy())
        rows.append(np.full((4, width), 255, np.uint8))
    return np.concatenate(rows[:-1])


def curves(metrics: Path, out: Path) -> bool:
    """Draw every loss of a `metrics.jsonl` over the steps; False where matplotlib isn't installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    series: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for line in metrics.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        for name, value in row.items():
            if name.startswith(("loss/", "critic/")):
                series[name].append((row["step"], value))
    if not series:
        return True
    figure = Figure(figsize=(8, 1.6 * len(series)), layout="constrained")
    for place, (name, points) in enumerate(sorted(series.items()), 1):
        axes = figure.add_subplot(len(series), 1, place)
        axes.plot(*zip(*points), linewidth=0.8)
        axes.set_title(name, fontsize=8, loc="left")
    figure.savefig(out)
    return True
